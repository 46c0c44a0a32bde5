"""Limits of a day and a month run in a card's own zone; no change of zones opens one (SIM-08)."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update

from modemctl.errors import Conflict, InvalidRequest, NotPermitted, PolicyRefused
from modemctl.model import AccountId
from modemctl.policy.quotas import Cap, Caps, Measure, QuotaRules, ScopeKind, Span
from modemctl.service.card_acts import note
from modemctl.service.limits import Limits
from modemctl.service.principal import Principal, Scope
from modemctl.service.zones import Zones
from modemctl.store import card_zones, segments, sims
from modemctl.store.leases import Leased, Nothing
from modemctl.store.outcomes import Took
from modemctl.store.segments import Release
from modemctl.store.submits import Cleared
from modemctl.store.tables import sim
from tests.support.approved import add_cards, numbers
from tests.support.benches import CARDS, bench
from tests.support.statements import statements
from tests.support.stores import TestClock, open_store
from tests.unit.test_audit_replay import faults
from tests.unit.test_audits import tamper

CARD = CARDS[0]
SITE = ZoneInfo("Asia/Shanghai")
NOON = datetime(2026, 11, 10, 4, 0, tzinfo=UTC)  # in Shanghai
KEEPER = Principal(
    account_id=AccountId("k"), name="keeper", department=None,
    scopes=frozenset({Scope.SIMS_READ, Scope.SIMS_WRITE}), source="test", is_person=True,
)  # fmt: skip


def caps(most: int, span: Span = Span.DAY, measure: Measure = Measure.SEGMENTS) -> QuotaRules:
    """Wide caps of a card but for one."""
    wide = {"minute": 1_000, "hour": 1_000, "day": 1_000, "gap": 0}
    if (span, measure) == (Span.DAY, Measure.SEGMENTS):
        return QuotaRules(caps=Caps(**{**wide, "day": most}), zone=SITE)
    cap = Cap(measure=measure, span=span, most=most)
    return QuotaRules(caps=Caps(**wide), zone=SITE, more={ScopeKind.SIM: (cap,)})


def at(moment: datetime) -> TestClock:
    return TestClock(moment)


async def open_batch(b, n: int = 60):
    far = timedelta(days=90)
    people = numbers(n, start=b.clock.at.toordinal() % 1_000 * 100)  # others each day
    window = {"not_before": b.clock.at - far, "not_after": b.clock.at + far}
    return await b.batch(recipients=people, **window)


async def move(b, zone: str | None, card=CARD) -> None:
    await b.store.write(lambda tx: card_zones.move(tx, b.rules.quota, card, zone))


async def send(b, card=CARD) -> bool:
    """Whether one more leaves."""
    for _ in range(3):  # a batch of days ago is held, then the next one's turn
        [one] = await b.lease(card)
        if isinstance(one, Nothing):
            return False
        if isinstance(await b.begin(one), Cleared):
            await b.end(one, Took(mr=1))
            return True
    raise AssertionError("nothing is cleared")


async def sent(b, at_most: int = 30, *, card=CARD) -> int:
    """How many leave until there is no room."""
    for n in range(at_most):
        if not await send(b, card):
            return n
    return at_most


async def go_to(b, moment: datetime) -> None:
    """Let time pass; what is approved long ago may not leave any more."""
    seconds = (moment - b.clock.at).total_seconds()
    b.clock.advance(seconds)
    if seconds > 86_400:
        await open_batch(b)


# ---------------------------------------------------------------- whose midnight it is


@pytest.mark.parametrize("measure", list(Measure))
async def test_a_cards_day_ends_at_its_own_midnight(tmp_path, measure):
    clock = at(NOON)
    async with bench(tmp_path, clock=clock, quota=caps(3, measure=measure)) as b:
        await open_batch(b)
        await move(b, "Europe/Berlin")
        await go_to(b, datetime(2026, 11, 12, 12, 0, tzinfo=UTC))  # the change is over
        assert await sent(b) == 3
        [waits] = await b.lease(CARD)
        midnight = datetime(2026, 11, 12, 23, 0, tzinfo=UTC)
        assert waits == Nothing(until=midnight)
        await go_to(b, datetime(2026, 11, 12, 16, 0, tzinfo=UTC))  # it is midnight in Shanghai
        assert await sent(b) == 0
        assert await sent(b, card=CARDS[1]) == 3
        await go_to(b, midnight - timedelta(milliseconds=1))
        assert await sent(b) == 0
        await go_to(b, midnight)
        assert await sent(b) == 3


async def test_a_month_is_the_zones_too(tmp_path):
    async with bench(tmp_path, clock=at(NOON), quota=caps(3, Span.MONTH)) as b:
        await open_batch(b)
        await move(b, "America/New_York")
        assert await sent(b) == 3
        for moment in (
            datetime(2026, 11, 30, 16, 0, tzinfo=UTC),  # December in Shanghai
            datetime(2026, 12, 1, 4, 59, 59, tzinfo=UTC),
        ):
            await go_to(b, moment)
            assert await sent(b) == 0
        await go_to(b, datetime(2026, 12, 1, 5, 0, tzinfo=UTC))
        assert await sent(b) == 3


@pytest.mark.parametrize(
    ("zone", "begins", "hours"),
    [
        ("Europe/Berlin", datetime(2026, 10, 24, 22, 0, tzinfo=UTC), 25),
        ("Europe/Berlin", datetime(2027, 3, 27, 23, 0, tzinfo=UTC), 23),
        ("Africa/Cairo", datetime(2026, 4, 23, 22, 0, tzinfo=UTC), 23),  # it has no midnight
        ("America/Havana", datetime(2026, 11, 1, 4, 0, tzinfo=UTC), 25),  # it has two
        ("Asia/Shanghai", datetime(2026, 10, 24, 16, 0, tzinfo=UTC), 24),
    ],
)
async def test_a_day_lasts_as_long_as_the_zone_says(tmp_path, zone, begins, hours):
    async with bench(tmp_path, clock=at(begins - timedelta(days=3)), quota=caps(2)) as b:
        await open_batch(b)
        await move(b, zone)
        await go_to(b, begins)
        assert await sent(b) == 2
        ends = begins + timedelta(hours=hours)
        assert await b.lease(CARD) == [Nothing(until=ends)]
        await go_to(b, ends - timedelta(milliseconds=1))
        assert await sent(b) == 0
        await go_to(b, ends)
        assert await sent(b) == 2


async def test_other_limits_stay_in_the_sites_days(tmp_path):
    cap = (Cap(measure=Measure.SEGMENTS, span=Span.DAY, most=2),)
    quota = replace(caps(1_000), more={ScopeKind.DEPARTMENT: cap, ScopeKind.BATCH: cap})
    async with bench(tmp_path, clock=at(NOON), quota=quota) as b:
        await open_batch(b)
        await move(b, "Europe/Berlin")
        assert await sent(b) == 2
        await go_to(b, datetime(2026, 11, 10, 16, 0, tzinfo=UTC))
        assert await sent(b) == 2


# ---------------------------------------------------------------- a change opens nothing


@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Berlin", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Tokyo"]
)
@pytest.mark.parametrize("hour", [0, 3, 15, 16, 17, 23])
async def test_what_was_sent_counts_in_the_new_zone(tmp_path, zone, hour):
    """Whichever side of a midnight: no day of either zone holds more than the cap."""
    clock = at(datetime(2026, 11, 10, hour, 30, tzinfo=UTC))
    moments: list[datetime] = []
    async with bench(tmp_path, clock=clock, quota=caps(4)) as b:
        await open_batch(b)
        for n in range(4 * 24):
            if n == 30:
                await move(b, zone)
                moved = b.clock.at
            moments += [b.clock.at] * await sent(b, 1)
            b.clock.advance(1_800)
    assert len(moments) >= 4
    for one in (SITE, ZoneInfo(zone)):
        days = [moment.astimezone(one).date() for moment in moments]
        later = [moment for moment in moments if one is SITE or moment >= moved]
        first, last = later[0], moved if one is SITE else later[-1]
        in_force = [
            day for day in set(days)
            if first.astimezone(one).date() <= day <= last.astimezone(one).date()
        ]  # fmt: skip
        assert max(days.count(day) for day in in_force) <= 4


@pytest.mark.parametrize("measure", list(Measure))
async def test_a_month_that_was_left_binds_until_it_ends_in_both(tmp_path, measure):
    clock = at(datetime(2026, 10, 31, 10, 0, tzinfo=UTC))
    async with bench(tmp_path, clock=clock, quota=caps(5, Span.MONTH, measure)) as b:
        await open_batch(b)
        assert [await send(b) for _ in range(3)] == [True] * 3  # October in both
        b.clock.advance(10 * 3_600)
        assert [await send(b) for _ in range(2)] == [True] * 2  # October in Berlin alone
        await move(b, "Europe/Berlin")
        assert await sent(b) == 0
        await go_to(b, datetime(2026, 10, 31, 23, 0, tzinfo=UTC))  # November in Berlin
        assert await sent(b) == 3  # two of it were sent in Shanghai's November
        await go_to(b, datetime(2026, 11, 30, 16, 0, tzinfo=UTC))
        assert await sent(b) == 2
        await go_to(b, datetime(2026, 11, 30, 23, 0, tzinfo=UTC))
        assert await sent(b) == 5


async def test_to_and_fro_opens_nothing_and_ends_after_some(tmp_path):
    async with bench(tmp_path, clock=at(NOON), quota=caps(3)) as b:
        await open_batch(b)
        assert await sent(b) == 3
        for zone in ("Europe/Berlin", None, "Europe/Berlin", "UTC", "Pacific/Pago_Pago"):
            await move(b, zone)
            assert await sent(b) == 0
        with pytest.raises(Conflict, match="too many zones"):
            await move(b, "Pacific/Kiritimati")
        with pytest.raises(Conflict, match="has this zone"):
            await move(b, "Pacific/Pago_Pago")


async def test_a_wall_clock_that_is_set_does_not_end_a_change(tmp_path):
    async with bench(tmp_path, clock=at(NOON), quota=caps(3)) as b:
        await open_batch(b)
        assert await sent(b) == 3
        await move(b, "Pacific/Kiritimati")
        for days in (1, 3, -9):
            b.clock.step(days * 86_400)
            assert await sent(b) == 0


async def test_what_was_leased_before_counts_once_more_and_never_less(tmp_path):
    """A charge of the time before is given back only where it was counted."""
    async with bench(tmp_path, clock=at(NOON), quota=caps(3)) as b:
        await open_batch(b)
        [one] = await b.lease(CARD)
        assert isinstance(one, Leased)
        assert await sent(b) == 2
        await move(b, "Europe/Berlin")
        item = Release(token=one.token, reason="unplugged", rules=b.rules)
        await b.store.write(lambda tx: segments.release(tx, [item]) and None)
        assert await sent(b) == 0  # in Berlin it stays counted until midnight
        await move(b, None)
        await go_to(b, NOON + timedelta(days=3))
        assert await sent(b) == 3


# ---------------------------------------------------------------- what it costs


async def asked_by_a_lease(b) -> list[str]:
    """What a lease reads, value by value left out."""
    with statements(b.store) as run:
        found = await b.lease(*CARDS[:4])
    assert all(isinstance(one, Leased) for one in found)
    return [re.sub(r"'[^']*'|\d+", "", one)[:80] for one in run if one.startswith("SELECT")]


@pytest.mark.sqlite_only  # statements as SQLite tells them
async def test_zones_add_no_query_to_a_lease(tmp_path):
    async with bench(tmp_path, clock=at(NOON), quota=caps(9)) as b:
        await open_batch(b)
        plain = await asked_by_a_lease(b)
        assert any("quota" in one for one in plain)
        zones = ["Europe/Berlin", "UTC", "Asia/Tokyo", "America/New_York"]
        for card, zone in zip(CARDS[:4], zones, strict=True):
            await move(b, zone, card)
        assert await asked_by_a_lease(b) == plain


# ---------------------------------------------------------------- rows, people


async def test_a_card_whose_zone_is_struck_out_or_unknown_sends_nothing(tmp_path):
    async with bench(tmp_path, clock=at(NOON)) as b:
        await open_batch(b)
        await move(b, "Europe/Berlin")
        assert await send(b)
    tamper(tmp_path, update(sim).where(sim.c.iccid == CARD).values(timezone=None, zones_left=None))
    async with open_store(tmp_path) as store:
        shown = await store.read(lambda conn: sims.read(conn, store.vault, CARD))
        assert not shown.is_intact
    (tmp_path / "other").mkdir()
    async with bench(tmp_path / "other", clock=at(NOON)) as b:
        await open_batch(b)
        await b.store.write(lambda tx: sims.amend(tx, CARD, {"timezone": "Mars/Olympus"}))
        assert await b.lease(CARD) == [Nothing()]


async def test_a_person_gives_a_card_its_zone_and_the_log_tells(tmp_path):
    async with open_store(tmp_path) as store:
        await store.write(lambda tx: add_cards(tx, [CARD], department="sales"))
        told = {"state": "issued", "verified_at": None}
        await store.write(lambda tx: note(tx, KEEPER, "sim.add", CARD, {**told}))
        zones = Zones(store, caps(3))
        seen = await zones.move(KEEPER, CARD, timezone="Europe/Berlin", reason="roams")
        assert seen.timezone == "Europe/Berlin"
        for zone, error in (
            ("Europe/Berlin", Conflict), ("Mars/Olympus", InvalidRequest), ("../x", InvalidRequest)
        ):  # fmt: skip
            with pytest.raises(error):
                await zones.move(KEEPER, CARD, timezone=zone, reason="x")
        for who, error in (
            (replace(KEEPER, scopes=frozenset({Scope.SIMS_READ})), NotPermitted),
            (replace(KEEPER, is_person=False), PolicyRefused),
        ):
            with pytest.raises(error):
                await zones.move(who, CARD, timezone=None, reason="x")
        before = await store.read(lambda conn: conn.execute(sim.select()).mappings().one())
        back = await zones.move(KEEPER, CARD, timezone=None, reason="is home again")
        assert back.timezone is None
    assert faults(tmp_path) == []
    tamper(tmp_path, update(sim).where(sim.c.iccid == CARD).values(**before))
    (one,) = faults(tmp_path)
    assert one.startswith(f"sim {CARD}: the row was put back or changed")


async def test_limits_tell_in_whose_days_they_run(tmp_path):
    async with bench(tmp_path, clock=at(NOON), quota=caps(3)) as b:
        await open_batch(b)
        assert await sent(b) == 3
        await move(b, "Europe/Berlin")
        shown = Limits(b.store, b.rules.quota)
        found = (await shown.list_limits(KEEPER, scope=ScopeKind.SIM)).items
        days = [
            (one.timezone, one.used) for one in found if one.name == CARD and one.span is Span.DAY
        ]
        assert days == [(None, 3), ("Europe/Berlin", 3)]
        await go_to(b, NOON + timedelta(days=2))
        found = (await shown.list_limits(KEEPER, scope=ScopeKind.SIM)).items
        days = [
            (one.timezone, one.used) for one in found if one.name == CARD and one.span is Span.DAY
        ]
        assert days == [("Europe/Berlin", 0)]
