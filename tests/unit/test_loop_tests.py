"""Self-tests that send: only where it was approved, judged by the card's own inbox (SIM-18)."""

import uuid
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from modemctl.cli.sheets import show_sheet
from modemctl.errors import InvalidRequest, PolicyRefused
from modemctl.lifecycle import SegmentState
from modemctl.model import Category
from modemctl.policy.digest import decode_header
from modemctl.policy.hours import Quiet
from modemctl.policy.incoming import InboxKind
from modemctl.policy.loops import LoopFacts, LoopState, judge_loop
from modemctl.policy.numbers import NumberRules
from modemctl.service.loop_tests import NO_APPROVAL, TEXT, LoopTests, Proposal
from modemctl.service.principal import Scope
from modemctl.service.self_tests import SelfTests
from modemctl.service.submission import SubmissionRules
from modemctl.store import inbox
from modemctl.store.tables import batch, event, message, opt_out, segment
from tests.support.apis import open_api
from tests.support.loops import CARDS, NUMBERS, add_numbered, as_operator, bay_of, seat, signed
from tests.support.people import RETAIL, open_office
from tests.support.stores import open_store
from tests.unit.test_loopbacks import SETTINGS
from tests.unit.test_self_tests import MAINTAINER, ZONE
from tests.unit.test_unreadable import NO_TEXT, damage

DAY = 86_400
HOUR = timedelta(hours=1)


@asynccontextmanager
async def bank(folder):
    """An office, two cards in their bays, and the self-tests that may send."""
    async with open_store(folder) as store:
        office = await open_office(store)
        await store.write(add_numbered)
        await store.write(seat)
        loops = LoopTests(store, office.batches, SubmissionRules.of(SETTINGS))
        tests = SelfTests(store, numbers=NumberRules(), zone=ZONE, patience=0.01, loops=loops)
        yield office, loops, tests


def proposal(**changes):
    values = {
        "batch_id": str(uuid.uuid4()), "department": RETAIL, "drafter": "drafter",
        "operator": "general_operator", "runs_per_week": 2,
    }  # fmt: skip
    return Proposal(**{**values, **changes})


async def approved(office, loops, **changes):
    shown = await loops.propose(office.who["system"], proposal(**changes))
    return await signed(office, shown)


async def told(tests, **how):
    return [(one.sms.state, one.sms.told) for one in await tests.run(MAINTAINER, **how)]


def of_sms(one):
    """Its faults but for those of modems that nobody plays here."""
    return [fault for fault in one.faults if fault.startswith("SMS")]


async def after(store, card, state, *, seconds=3, note=None):
    """Play the fleet: the card's message is in this state, sent so many seconds ago."""

    def act(tx):
        own = select(message.c.message_id).where(
            message.c.recipient_bidx == tx.vault.blind_index(NUMBERS[card]),
            message.c.batch_id.in_(select(batch.c.batch_id).where(batch.c.under.is_not(None))),
        )
        sent_at = tx.now - timedelta(seconds=seconds)
        tx.conn.execute(
            update(segment)
            .where(segment.c.message_id.in_(own))
            .values(state=state.value, sent_at=sent_at, note=note)
        )

    await store.write(act)


async def arrive(store, card, *, text=TEXT, sender=None, n=1):
    message_ = inbox.NewMessage(
        iccid=card, bay=bay_of(card), sender=sender or NUMBERS[card], is_sender_number=True,
        scts=store.clock.now(), text=text, concat=None, tpdu=bytes([n]), kind=InboxKind.TEXT,
    )  # fmt: skip
    await store.write_in_set(inbox.add, message_)


async def alarms(store):
    chosen = select(event.c.data).where(event.c.kind == "alarm")
    return await store.read(lambda conn: [str(one) for one in conn.scalars(chosen)])


# ---------------------------------------------------------------- asked for, and allowed


async def test_without_a_standing_approval_nothing_is_sent_and_that_is_told(tmp_path):
    async with bank(tmp_path) as (office, loops, tests):
        assert await told(tests, sends_sms=True) == [(LoopState.NONE, NO_APPROVAL)] * 2
        await loops.propose(office.who["system"], proposal())
        assert await told(tests, sends_sms=True) == [(LoopState.NONE, NO_APPROVAL)] * 2
        assert await told(tests) == [(LoopState.NONE, "none")] * 2
        assert not await office.store.read(
            lambda conn: conn.scalars(select(batch.c.under).where(batch.c.under.is_not(None))).all()
        )


async def test_a_proposal_lists_the_departments_active_cards_from_the_register(tmp_path):
    async with bank(tmp_path) as (office, loops, _):
        shown = await loops.propose(office.who["system"], proposal(days=30))
        assert (shown.totals.n_messages, shown.runs_per_week) == (2, 2)
        assert shown.batch.template == TEXT
        assert shown.batch.not_after - office.store.clock.now() == timedelta(days=30)
        with pytest.raises(InvalidRequest, match="no active card") as caught:
            await loops.propose(office.who["system"], proposal(department="loans"))
        assert caught.value.field == "department"


async def test_its_sheet_does_not_say_that_somebody_starts_it(tmp_path, capsys):
    async with bank(tmp_path) as (office, loops, _):
        shown = await loops.propose(office.who["system"], proposal())
        sheet = await office.batches.sheet(office.who["checker"], shown.batch.batch_id)
    header = decode_header(sheet.header.encode())
    show_sheet({"names": dict(sheet.names), "digest": sheet.digest}, header)
    told = capsys.readouterr().err
    assert "starts 启动: never; self-tests send under it" in told
    assert "预计发完" not in told


async def test_a_self_test_sends_only_when_asked_and_as_often_as_was_signed(tmp_path):
    async with bank(tmp_path) as (office, loops, tests):
        await approved(office, loops)
        assert await told(tests) == [(LoopState.NONE, "none")] * 2
        for _ in range(2):
            assert (
                await told(tests, sends_sms=True) == [(LoopState.WAITING, "waiting to leave")] * 2
            )
        (first, _) = await told(tests, sends_sms=True)
        assert first[0] is LoopState.NONE
        assert first[1].startswith("no SMS: 2 self-tests ran under this approval")
        with pytest.raises(InvalidRequest) as caught:
            await tests.run(MAINTAINER, [bay_of(CARDS[0])], sends_sms=True)
        assert caught.value.field == "bays"


async def test_each_week_it_sends_by_itself_where_it_is_approved(tmp_path):
    async with bank(tmp_path) as (office, loops, tests):
        await approved(office, loops)
        await tests.look()
        office.store.clock.advance(8 * DAY)
        await tests.look()
        found = await tests.latest(MAINTAINER)
        assert [one.sms.state for one in found] == [LoopState.WAITING] * 2


async def test_in_quiet_hours_it_waits_and_is_told_so(tmp_path):
    async with bank(tmp_path) as (office, loops, _):
        await approved(office, loops)
        clock = office.store.clock
        begins = clock.now().astimezone(ZONE).time()
        quiet = Quiet(start=begins, end=(clock.now() + HOUR).astimezone(ZONE).time(), zone=ZONE)
        held = replace(SubmissionRules.of(SETTINGS), quiet={Category.OTHER: quiet})
        later = LoopTests(office.store, office.batches, held)
        tests = SelfTests(
            office.store, numbers=NumberRules(), zone=ZONE, patience=0.01, loops=later
        )
        quiet_hours = (LoopState.NONE, "no SMS: quiet hours")
        assert await told(tests, sends_sms=True) == [quiet_hours] * 2
        clock.advance(7 * DAY)
        await tests.look()
        assert [one.sms.state for one in await tests.latest(MAINTAINER)] == [LoopState.NONE] * 2
        clock.advance(HOUR.total_seconds())
        await tests.look()
        assert [one.sms.state for one in await tests.latest(MAINTAINER)] == [LoopState.WAITING] * 2
        await tests.look()
        runs = select(batch.c.batch_id).where(batch.c.under.is_not(None))
        assert len(await office.store.read(lambda conn: conn.scalars(runs).all())) == 1


async def test_a_withdrawn_approval_is_told_as_the_failure_of_what_waits(tmp_path):
    async with bank(tmp_path) as (office, loops, tests):
        shown = await approved(office, loops)
        await tests.run(MAINTAINER, sends_sms=True)
        await office.batches.withdraw(office.who["system"], shown.batch.batch_id, "no more")
        assert await told(tests, sends_sms=True) == [(LoopState.NONE, NO_APPROVAL)] * 2


async def test_a_held_approval_is_told_with_its_reason_and_what_to_do(tmp_path):
    async with bank(tmp_path) as (office, loops, tests):
        shown = await approved(office, loops)
        batch_id = shown.batch.batch_id
        await office.batches.hold(as_operator(office), batch_id, "to look at it")
        since = office.store.clock.now()
        said = (
            f"no SMS: the standing approval is held since {since:%Y-%m-%d %H:%M} UTC"
            f" (to look at it); to go on: modemctl batch resume {batch_id}"
        )
        assert await told(tests, sends_sms=True) == [(LoopState.NONE, said)] * 2
        await office.batches.resume(as_operator(office), batch_id)
        waiting = (LoopState.WAITING, "waiting to leave")
        assert await told(tests, sends_sms=True) == [waiting] * 2


ODD = [
    f"UPDATE batch SET reason = {NO_TEXT} WHERE batch_id = :b",
    "UPDATE batch SET header = 'x' WHERE batch_id = :b",
    f"UPDATE approval SET jws = {NO_TEXT} WHERE batch_id = :b",
    "UPDATE message SET line_no = 'x' || line_no WHERE batch_id = :b",
    f"UPDATE message SET recipient_bidx = {NO_TEXT} WHERE batch_id = :b",
]


@pytest.mark.sqlite_only  # elsewhere a cell holds what its column says
@pytest.mark.parametrize("statement", ODD)
async def test_a_standing_approval_that_nobody_can_read_stops_no_other(tmp_path, statement):
    async with bank(tmp_path) as (office, loops, tests):
        odd = (await approved(office, loops)).batch.batch_id
        damage(tmp_path, statement, b=odd)
        for state, said in await told(tests, sends_sms=True):
            assert state is LoopState.NONE
            assert said.startswith("no SMS: ")
        await approved(office, loops)
        waiting = (LoopState.WAITING, "waiting to leave")
        assert await told(tests, sends_sms=True) == [waiting] * 2


# ---------------------------------------------------------------- what came of it


async def test_the_cards_own_inbox_says_whether_it_arrived(tmp_path):
    async with bank(tmp_path) as (office, loops, tests):
        store = office.store
        await approved(office, loops)
        await tests.run(MAINTAINER, sends_sms=True)
        for card in CARDS[:2]:
            await after(store, card, SegmentState.DELIVERED, seconds=4)
        await arrive(store, CARDS[0], text="something else")
        await arrive(store, CARDS[0], sender=NUMBERS[CARDS[1]], n=2)
        first, second = await tests.latest(MAINTAINER)
        assert (first.sms.state, of_sms(first)) == (LoopState.DELIVERED, [])
        await arrive(store, CARDS[0], n=3)
        first, second = await tests.latest(MAINTAINER)
        assert (first.sms.state, first.sms.told, first.sms.seconds) == (
            LoopState.ARRIVED, "arrived after 4 s", 4.0,
        )  # fmt: skip
        store.clock.advance(3_600)
        first, second = await tests.latest(MAINTAINER)
        assert (first.sms.state, of_sms(first)) == (LoopState.ARRIVED, [])
        assert of_sms(second) == ["SMS to itself delivered, but not arrived within an hour"]
        faulty = await tests.latest(MAINTAINER, only_faulty=True)
        assert any(of_sms(one) for one in faulty)
        store.clock.advance(14 * DAY)
        found = await tests.latest(MAINTAINER)
        assert [one.sms.state for one in found] == [LoopState.NONE] * 2, "that was long ago"


async def test_a_text_to_oneself_makes_no_noise_and_stays_on_record(tmp_path):
    async with bank(tmp_path) as (office, loops, tests):
        store = office.store
        await approved(office, loops, text="TD")
        await tests.run(MAINTAINER, sends_sms=True)
        await arrive(store, CARDS[0], text="TD")
        assert await alarms(store) == []
        await arrive(store, CARDS[0], text="TD", sender=NUMBERS[CARDS[1]], n=2)
        await arrive(store, CARDS[0], text="Hello", n=3)
        assert [one.count("own_card_wrote") for one in await alarms(store)] == [1, 1]
        store.clock.advance(3 * DAY)
        await arrive(store, CARDS[0], text="TD", n=4)
        assert len(await alarms(store)) == 3, "long after, it is nobody's test"
        kept = await store.read(
            lambda conn: inbox.find(conn, store.vault, inbox.Query(), before=None, limit=9)
        )
        assert len(kept) == 4
        assert not await store.read(lambda conn: conn.execute(select(opt_out)).all())


def facts(*states, **changes):
    values = {"note": "", "held": None, "sent_at": None, "arrived_at": None}
    return LoopFacts(states=states, **{**values, **changes})


@pytest.mark.parametrize(
    ("states", "minutes", "changes", "state", "said", "is_fault"),
    [
        (["queued"], None, {}, "waiting", "waiting to leave", False),
        (["sent", "queued"], None, {}, "waiting", "waiting to leave", False),
        (["queued"], None, {"held": "its batch is held"}, "failed",
         "failed: its batch is held", False),
        (["expired"], None, {"note": "withdrawn", "is_ruled": True}, "failed",
         "failed: expired: withdrawn", False),
        (["sent"], 1, {}, "waiting", "sent, not arrived yet", False),
        (["sent"], 60, {}, "failed", "failed: sent, and not arrived within an hour", True),
        (["delivered"], 1, {}, "delivered", "delivered, but not arrived yet", False),
        (["delivered"], 60, {}, "delivered", "delivered, but not arrived within an hour", True),
        (["refused"], None, {"note": "cms 38"}, "failed", "failed: refused: cms 38", True),
        (["expired"], None, {"note": "its card was not ready"}, "failed",
         "failed: expired: its card was not ready", True),
        (["undelivered", "delivered"], 1, {}, "failed", "failed: undelivered", True),
    ],
)  # fmt: skip
def test_what_came_of_it_is_judged(states, minutes, changes, state, said, is_fault):
    now = datetime(2026, 11, 23, 9, tzinfo=UTC)
    sent_at = None if minutes is None else now - timedelta(minutes=minutes)
    found = judge_loop(
        facts(*(SegmentState(one) for one in states), sent_at=sent_at, **changes), now
    )
    assert (found.state, found.told, found.is_fault) == (state, said, is_fault)
    if sent_at is not None:
        came = facts(SegmentState.IN_DOUBT, sent_at=sent_at, arrived_at=now)
        assert judge_loop(came, now).state is LoopState.ARRIVED


# ---------------------------------------------------------------- the API


async def test_the_api_proposes_and_sends(tmp_path):
    async with open_api(tmp_path) as bench:
        await bench.store.write(lambda tx: add_numbered(tx, department="sales"))
        await bench.store.write(seat)
        async with bench.client(await bench.token_of("maintainer")) as client:
            found = (await client.post("/v1/self-tests", json={"sms": True})).json()
            assert [one["sms"]["told"] for one in found] == [NO_APPROVAL] * 2
            refused = await client.post("/v1/self-tests", json={"sms": True, "bays": ["x"]})
            assert refused.status_code == 422
            body = {"batch_id": "x", "department": "sales", "drafter": "a", "operator": "b"}
            for n in (0, 15, 10**30):
                asked = {**body, "runs_per_week": n}
                refused = await client.post("/v1/standing-approvals", json=asked)
                assert (refused.status_code, refused.json()["field"]) == (422, "runs_per_week")


async def test_who_may_not_submit_proposes_nothing(tmp_path):
    async with bank(tmp_path) as (office, loops, _):
        with pytest.raises(Exception, match="batches:submit"):
            await loops.propose(
                replace(office.who["system"], scopes=frozenset({Scope.BATCHES_READ})), proposal()
            )
        with pytest.raises(PolicyRefused):
            await loops.propose(office.who["system"], proposal(operator="operator"))
