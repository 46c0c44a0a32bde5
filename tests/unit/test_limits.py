"""Caps on holders, departments, carriers, batches and recipients, in the sending path."""

from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy.dialects import sqlite

from modemctl.config import Settings
from modemctl.config.toml_file import load
from modemctl.errors import ConfigError
from modemctl.lifecycle import SegmentState
from modemctl.model import Bay
from modemctl.policy.quotas import (
    Cap,
    Caps,
    Measure,
    QuotaRules,
    ScopeKind,
    Span,
    setting_of,
)
from modemctl.store import leases, quota_rows, segments, sweeps
from modemctl.store.charges import Charge
from modemctl.store.leases import Leased, LeaseRequest, Nothing
from modemctl.store.outcomes import Doubtful, NotSent, Took
from modemctl.store.quotas import Book
from modemctl.store.segments import Release
from modemctl.store.submits import Cleared, NotYet
from tests.support.approved import SALES, amend_cards, numbers
from tests.support.benches import CARDS, bench, used
from tests.support.statements import statements
from tests.support.stores import TestClock, open_store

NO = NotSent(code="cms:38", title="network out of order", action="back", blame="network")
ZONE = ZoneInfo("Asia/Shanghai")
WIDE = Caps(minute=1_000, hour=1_000, day=1_000, gap=0)


def limits(kind: ScopeKind, most: int, measure=Measure.MESSAGES, span=Span.DAY) -> QuotaRules:
    """Wide caps but for one."""
    return QuotaRules(
        caps=WIDE, zone=ZONE, more={kind: (Cap(measure=measure, span=span, most=most),)}
    )


async def leased(b, *cards) -> list[bool]:
    return [isinstance(one, Leased) for one in await b.lease(*cards)]


async def name_cards(b, **facts) -> None:
    """Give the first two cards these facts in the register."""
    await b.store.write(lambda tx: amend_cards(tx, CARDS[:2], **facts))


# ---------------------------------------------------------------- on whom caps fall


@pytest.mark.parametrize("kind", [ScopeKind.HOLDER, ScopeKind.CARRIER])
async def test_cards_of_one_holder_or_carrier_share_a_cap(tmp_path, kind):
    async with bench(tmp_path, quota=limits(kind, 3)) as b:
        await name_cards(b, **{kind.value: "one and the same"})
        await b.batch(9)
        assert await leased(b, *CARDS[:2]) == [True, True]
        assert await leased(b, *CARDS[:3]) == [True, False, True]
        assert await leased(b, *CARDS[:3]) == [False, False, True]


async def test_a_department_without_room_is_passed_over_whatever_the_priority(tmp_path):
    async with bench(tmp_path, quota=limits(ScopeKind.DEPARTMENT, 1)) as b:
        urgent = await b.batch(5, priority=0)
        other = await b.batch(5, department="loans", recipients=numbers(5, start=50))
        found = await b.lease(*CARDS[:4])
        assert [one.batch_id for one in found[:2]] == [urgent, other]
        assert found[2:] == [Nothing(), Nothing()]


async def test_a_batch_without_room_is_passed_over(tmp_path):
    async with bench(tmp_path, quota=limits(ScopeKind.BATCH, 1)) as b:
        one, other = await b.batch(5), await b.batch(5, recipients=numbers(5, start=50))
        found = await b.lease(*CARDS[:3])
        assert {found[0].batch_id, found[1].batch_id} == {one, other}
        assert found[2] == Nothing()


async def test_a_recipient_without_room_is_put_off_and_others_go_on(tmp_path):
    async with bench(tmp_path, quota=limits(ScopeKind.RECIPIENT, 1)) as b:
        first = await b.batch(recipients=numbers(1))
        assert await leased(b, CARDS[0]) == [True]
        later = await b.batch(recipients=[*numbers(1), *numbers(1, start=7)], priority=0)
        [one] = await b.lease(CARDS[1])
        assert (one.batch_id, one.line_no) == (later, 2)
        assert await b.lease(CARDS[2]) == [Nothing()]
        assert await b.states(first) == {SegmentState.LEASED: 1}
        waiting = await b.row(one.segments[0][0] - 1)
        assert waiting.note == leases.RECIPIENT_FULL
        midnight = waiting.not_before.astimezone(ZONE)
        assert (midnight.day, midnight.hour, midnight.minute) == (22, 0, 0)
        b.clock.at = waiting.not_before
        [one] = await b.lease(CARDS[3])
        assert (one.batch_id, one.line_no) == (later, 1)


async def test_a_segment_counts_for_who_holds_the_card_when_it_is_submitted(tmp_path):
    quota = limits(ScopeKind.HOLDER, 5, Measure.SEGMENTS)
    async with bench(tmp_path, quota=quota) as b:
        await name_cards(b, holder="before")
        await b.batch(1)
        [one] = await b.lease(CARDS[0])
        await name_cards(b, holder="after")
        assert isinstance(await b.begin(one), Cleared)
        counts = [await count(b, ScopeKind.HOLDER, name) for name in ("before", "after")]
        assert counts == [0, 1]


async def count(b, kind, name, measure=Measure.SEGMENTS, span=Span.DAY) -> int:
    return await b.store.write(lambda tx: used(tx, b.rules.quota, kind, name, span, measure))


async def test_counts_follow_a_card_to_another_bay(tmp_path):
    async with bench(tmp_path, caps=replace(WIDE, day=1)) as b:
        await b.batch(3)
        assert await leased(b, CARDS[0]) == [True]
        moved = LeaseRequest(bay=Bay("bay-elsewhere"), iccid=CARDS[0], rules=b.rules)
        [found] = await b.store.write(lambda tx: leases.lease(tx, [moved]))
        assert isinstance(found, Nothing)


# ---------------------------------------------------------------- what is counted


@pytest.mark.both_databases
async def test_the_second_message_to_a_number_is_no_new_recipient(tmp_path):
    quota = limits(ScopeKind.SIM, 2, Measure.RECIPIENTS)
    async with bench(tmp_path, quota=quota) as b:
        for _ in range(3):
            await b.batch(recipients=numbers(1))
        await b.batch(recipients=numbers(2, start=5))
        assert [(await leased(b, CARDS[0]))[0] for _ in range(5)] == [True] * 4 + [False]
        assert await count(b, ScopeKind.SIM, CARDS[0], Measure.RECIPIENTS) == 2


@pytest.mark.sqlite_only  # SQLite's own plan
async def test_known_recipients_are_found_by_their_whole_key(tmp_path):
    facts = {"scopes": ["department:a", "sim:b"], "recipients": ["00", "01"]}
    text, values = quota_rows._CONTACTS.spelled(sqlite.dialect(), facts)
    async with open_store(tmp_path) as store:
        query = f"EXPLAIN QUERY PLAN {text}"
        plan = await store.read(lambda conn: conn.exec_driver_sql(query, tuple(values)).all())
    assert [row[3].rpartition(" (")[2] for row in plan] == ["scope=? AND span=? AND recipient=?)"]


@pytest.mark.sqlite_only  # statements as SQLite tells them
@pytest.mark.parametrize("measure", [Measure.MESSAGES, Measure.RECIPIENTS])
async def test_whom_a_scope_knows_is_asked_once_for_a_set_where_recipients_count(tmp_path, measure):
    """A query a charge was a tenth of what a message costs."""
    async with bench(tmp_path, quota=limits(ScopeKind.DEPARTMENT, 9, measure)) as b:
        await b.batch(4)
        leases_ = await b.lease(*CARDS[:4])
        charges = [Charge.of(b.store.vault, await charge_row(b, one)) for one in leases_]
        with statements(b.store) as run:
            await b.store.write(lambda tx: Book(tx, b.rules.quota).read_charges(charges))
    asked = [one for one in run if one.startswith("SELECT quota_contact")]
    assert len(asked) == (measure is Measure.RECIPIENTS)


async def charge_row(b, one: Leased):
    row = await b.row(one.segments[0][0])
    return row._mapping


async def test_the_last_recipient_of_a_day_leaves_where_the_clocks_differ(tmp_path):
    quota = limits(ScopeKind.SIM, 1, Measure.RECIPIENTS)
    async with bench(tmp_path, quota=quota) as b:
        b.clock.step(86_400)  # from now on each charge of a recipient counts anew
        await b.batch(2)
        [one] = await b.lease(CARDS[0])
        assert isinstance(await b.begin(one), Cleared)
        assert await leased(b, CARDS[0]) == [False]


async def test_a_long_message_is_one_message_and_many_segments(tmp_path):
    more = (
        Cap(measure=Measure.MESSAGES, span=Span.HOUR, most=9),
        Cap(measure=Measure.SEGMENTS, span=Span.MONTH, most=9),
    )
    async with bench(
        tmp_path, quota=QuotaRules(caps=WIDE, zone=ZONE, more={ScopeKind.SIM: more})
    ) as b:
        await b.batch(1, template="a" * 400)
        [one] = await b.lease(CARDS[0])
        for place in range(3):
            assert isinstance(await b.begin(one, place), Cleared)
            await b.end(one, Took(mr=place), place)
        who = (ScopeKind.SIM, CARDS[0])
        assert await count(b, *who, Measure.MESSAGES, Span.HOUR) == 1
        assert await count(b, *who, Measure.SEGMENTS, Span.MONTH) == 3


ALL = {
    kind: tuple(
        Cap(measure=measure, span=span, most=50)
        for measure in Measure
        for span in Span
        if (kind, measure) != (ScopeKind.SIM, Measure.SEGMENTS)
    )
    for kind in ScopeKind
}


async def all_counts(b, line) -> set[int]:
    names = {
        ScopeKind.SIM: CARDS[0], ScopeKind.HOLDER: "h", ScopeKind.CARRIER: "c",
        ScopeKind.DEPARTMENT: SALES, ScopeKind.BATCH: line[0], ScopeKind.RECIPIENT: line[1],
    }  # fmt: skip
    return {
        await count(b, kind, names[kind], cap.measure, cap.span)
        for kind, caps in ALL.items()
        for cap in caps
    }


@pytest.mark.both_databases
@pytest.mark.parametrize(
    ("result", "left"), [(NO, {0}), (Doubtful(reason="?"), {1}), (Took(mr=1), {1})]
)
async def test_every_count_is_given_back_only_on_a_proven_non_send(tmp_path, result, left):
    async with bench(tmp_path, quota=QuotaRules(caps=WIDE, zone=ZONE, more=ALL)) as b:
        await name_cards(b, holder="h", carrier="c")
        batch_id = await b.batch(1)
        line = (batch_id, b.store.vault.blind_index(numbers(1)[0]).hex())
        [one] = await b.lease(CARDS[0])
        assert await all_counts(b, line) == {1}
        b.clock.advance(700)  # leased in other buckets than it is submitted in
        await b.store.write(lambda tx: sweeps.sweep(tx, b.rules) and None)
        [one] = await b.lease(CARDS[0])
        b.clock.advance(300)
        assert isinstance(await b.begin(one), Cleared)
        assert await all_counts(b, line) == {1}
        await b.end(one, result)
        assert await all_counts(b, line) == left


async def test_what_other_rules_charged_is_never_given_back(tmp_path):
    async with bench(tmp_path, quota=limits(ScopeKind.SIM, 9)) as b:
        await b.batch(1)
        [one] = await b.lease(CARDS[0])
        changed = replace(b.rules, quota=limits(ScopeKind.SIM, 9, span=Span.MONTH))
        item = Release(token=one.token, reason="restart", rules=changed)
        await b.store.write(lambda tx: segments.release(tx, [item]) and None)
        assert await count(b, ScopeKind.SIM, CARDS[0], Measure.MESSAGES) == 1


async def test_a_raised_cap_keeps_what_was_counted(tmp_path):
    async with bench(tmp_path, quota=limits(ScopeKind.BATCH, 1)) as b:
        await b.batch(3)
        assert await leased(b, *CARDS[:2]) == [True, False]
        b.rules = replace(b.rules, quota=limits(ScopeKind.BATCH, 2))
        assert await leased(b, *CARDS[1:3]) == [True, False]


# ---------------------------------------------------------------- clocks that are set


@pytest.mark.parametrize("days", [-1, 1, -40, 40])
async def test_a_wall_clock_that_is_set_opens_no_window(tmp_path, days):
    async with bench(tmp_path, caps=Caps(minute=9, hour=9, day=2, gap=5)) as b:
        await b.batch(9, not_before=b.clock.at - timedelta(days=60),
                      not_after=b.clock.at + timedelta(days=60))  # fmt: skip
        for _ in range(2):
            [one] = await b.lease(CARDS[0])
            b.clock.advance(6)
            assert isinstance(await b.begin(one), Cleared)
        b.clock.step(days * 86_400)
        [nothing] = await b.lease(CARDS[0])
        assert isinstance(nothing, Nothing)
        assert nothing.until > b.clock.at


async def test_the_gap_outlasts_a_clock_that_is_set(tmp_path):
    async with bench(tmp_path, caps=replace(WIDE, gap=5)) as b:
        await b.batch(3)
        for _ in range(2):
            [one] = await b.lease(CARDS[0])
            shown = await b.begin(one)
            b.clock.step(60)
        assert isinstance(shown, NotYet)


async def test_a_restart_goes_on_where_steady_time_was(tmp_path):
    clock = TestClock()
    async with open_store(tmp_path, clock) as store:
        before = store.journal.steady.now()
    clock.step(86_400)
    clock.advance(10)
    async with open_store(tmp_path, clock) as store:
        assert store.journal.steady.now() == before + timedelta(seconds=10)


async def test_steady_time_is_never_earlier_after_the_machine_started_anew(tmp_path):
    clock = TestClock()
    async with open_store(tmp_path, clock) as store:
        clock.advance(100)
        await store.write(store.journal.steady.beat)
        before = store.journal.steady.now()
    clock.step(-86_400)
    clock.reboot("boot-2")
    async with open_store(tmp_path, clock) as store:
        assert store.journal.steady.now() == before
    clock.step(2 * 86_400)
    clock.reboot("boot-3")
    async with open_store(tmp_path, clock) as store:
        assert store.journal.steady.now() == clock.now()


# ---------------------------------------------------------------- configuration, preview


def configured(tmp_path, text: str) -> Settings:
    path = tmp_path / "modemctl.toml"
    path.write_text(text)
    return load(path, {})


def test_nothing_but_a_card_is_capped_by_default():
    rules = QuotaRules.of(Settings().limits, ZONE)
    assert set(rules.by_kind) == {ScopeKind.SIM}
    assert not rules.knows_recipients


def test_every_cap_of_the_configuration_is_a_cap(tmp_path):
    text = "".join(
        f"[limits.{kind}]\n"
        + "".join(
            f"{measure}_per_{span} = {n}\n"
            for n, (measure, span) in enumerate(((m, s) for m in Measure for s in Span), 1)
            if (kind, measure) != (ScopeKind.RECIPIENT, Measure.RECIPIENTS)
            and not (kind is ScopeKind.SIM and measure is Measure.SEGMENTS and span != Span.MONTH)
        )
        for kind in ScopeKind
    )
    rules = QuotaRules.of(configured(tmp_path, text).limits, ZONE)
    assert {kind: len(caps) for kind, caps in rules.by_kind.items()} == {
        ScopeKind.SIM: 12, ScopeKind.HOLDER: 12, ScopeKind.DEPARTMENT: 12,
        ScopeKind.CARRIER: 12, ScopeKind.BATCH: 12, ScopeKind.RECIPIENT: 8,
    }  # fmt: skip
    names = [setting_of(kind, cap) for kind, caps in rules.by_kind.items() for cap in caps]
    assert len(set(names)) == len(names)
    assert {"limits.segments_per_minute", "limits.sim.segments_per_month"} <= set(names)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[limits.sim]\nsegments_per_day = 5", "is set in [limits]: limits.segments_per_day"),
        ("[limits.recipient]\nrecipients_per_day = 5", "use messages_per_day"),
        ("[limits.department]\nmessages_per_day = -1", "greater than or equal to 0"),
        ("[limits.batch]\nmessages_a_day = 5", "unknown key; did you mean messages_per_day?"),
    ],
)
def test_a_senseless_cap_is_told_with_its_cure(tmp_path, text, told):
    with pytest.raises(ConfigError, match=r"limits") as caught:
        configured(tmp_path, text)
    assert told in str(caught.value)


def test_a_changed_cap_is_another_policy(tmp_path):
    plain = configured(tmp_path, "").policy_digest()
    assert configured(tmp_path, "[limits.batch]\nmessages_per_day = 5").policy_digest() != plain
