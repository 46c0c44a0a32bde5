"""The site gets another time zone: no limit of a day or a month is opened by it (SIM-08)."""

import os
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from modemctl.config import Settings
from modemctl.model import Iccid
from modemctl.policy.quotas import (
    Bearer,
    Cap,
    Caps,
    FormerZone,
    Measure,
    QuotaRules,
    ScopeKind,
    Span,
    bucket_of,
    message_load,
)
from modemctl.service.dual import Dual, DualKind
from modemctl.service.policies import Policies
from modemctl.store import Store, Tx, policies, site_zones
from modemctl.store.quotas import Book
from modemctl.store.tables import policy_version
from tests.support.benches import bench
from tests.support.stores import TestClock, open_store
from tests.unit.test_audit_replay import faults
from tests.unit.test_policies import administrators

IS_LONG = bool(os.environ.get("MODEMCTL_LONG"))
SEED = int(os.environ.get("MODEMCTL_SEED", "20261122"))
N_WALKS = 300 if IS_LONG else 1
ZONES = ("Asia/Shanghai", "America/New_York", "Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC")
CAP, MONTHS_CAP = 4, 30
BEARER = Bearer(iccid=Iccid("898600"), department="retail", recipient=bytes(16))
_MORE = {
    kind: (
        Cap(measure=Measure.MESSAGES, span=Span.DAY, most=CAP),
        Cap(measure=Measure.MESSAGES, span=Span.MONTH, most=MONTHS_CAP),
    )
    for kind in (ScopeKind.DEPARTMENT, ScopeKind.RECIPIENT)
}


def settings(zone: str) -> Settings:
    return Settings.model_validate({"site": {"id": "test", "timezone": zone}})


def rules(zone: str, former: tuple[FormerZone, ...] = ()) -> QuotaRules:
    caps = Caps(minute=10_000, hour=10_000, day=CAP, gap=0)
    return QuotaRules(caps=caps, zone=ZoneInfo(zone), former=former, more=_MORE)


def take(tx: Tx, held: QuotaRules) -> bool:
    """Whether one more leaves; where none does, it waits for a later moment."""
    book, scopes = Book(tx, held), held.scopes(BEARER)
    book.read(scopes, [BEARER.recipient])
    load = message_load(1, is_first=True, recipient=BEARER.recipient)
    if book.lacks(scopes, load) is not None:
        assert book.fits_at(scopes, load) > tx.now
        return False
    book.charge(scopes, load)
    book.save()
    return True


async def accept(store: Store, zone: str) -> None:
    """Two persons have confirmed the zone (or it is the first one)."""
    book = Policies(store, settings(zone).policy())

    def act(tx: Tx) -> None:
        book._follow_zone(tx)
        policies.add(tx, book.digest, settings(zone).policy(), asked_by="a", confirmed_by="b")

    await store.write(act)


async def former(store: Store, zone: str) -> tuple[FormerZone, ...]:
    now = {"steady": store.journal.steady.now(), "wall": store.clock.now()}
    return await store.read(lambda conn: site_zones.former(conn, store.vault, zone, **now))


def by_bucket(span: Span, zone: str, sent: list[datetime]) -> dict[int, list[datetime]]:
    """The moments of each day or month of a zone."""
    found = defaultdict(list)
    for at in sent:
        found[bucket_of(span, at, ZoneInfo(zone))].append(at)
    return found


@pytest.mark.parametrize("number", range(N_WALKS))
async def test_a_change_of_the_sites_zone_lets_no_more_through_than_either(tmp_path, number):
    """Days and months of both zones, in the midst of which it changed."""
    dice = random.Random(f"{SEED} {number}")
    print(f"MODEMCTL_SEED={SEED}, walk {number}")
    begins = datetime(2026, 10, 29, tzinfo=UTC) + timedelta(hours=dice.randrange(24))
    clock = TestClock(begins)
    before, after = dice.sample(ZONES, 2)
    sent: list[datetime] = []

    async def go_on(store: Store, held: QuotaRules, hours: int) -> None:
        nonlocal sent
        for _ in range(hours):
            clock.advance(dice.choice((1_800, 3_600, 5_400)))
            asked = range(dice.choice((0, 1, 6)))
            sent += [clock.now() for _ in asked if await store.write(lambda tx: take(tx, held))]

    async with open_store(tmp_path, clock) as store:
        await accept(store, before)
        await go_on(store, rules(before), dice.randrange(10, 60))
        changed_at, n_before = clock.now(), len(sent)
        left = await former(store, after)  # the daemon starts with other settings
        await accept(store, after)
        await go_on(store, rules(after, left), 60)
    assert [str(one.zone) for one in left] == [before]
    assert 0 < n_before < len(sent)
    for span, cap in ((Span.DAY, CAP), (Span.MONTH, MONTHS_CAP)):
        there, here = (by_bucket(span, zone, sent) for zone in (after, before))
        for moments in there.values():  # where more had left already, nothing follows
            assert moments[-1] <= changed_at or len(moments) <= cap
        left_in = bucket_of(span, changed_at, ZoneInfo(before))
        assert all(len(some) <= cap for bucket, some in here.items() if bucket <= left_in)


async def test_what_was_sent_today_counts_in_the_new_zones_day(tmp_path):
    """Full in Shanghai at 8 in the morning; in New York it is the evening before."""
    clock = TestClock(datetime(2026, 11, 10, 0, 0, tzinfo=UTC))
    async with open_store(tmp_path, clock) as store:
        await accept(store, "Asia/Shanghai")
        for _ in range(CAP):
            assert await store.write(lambda tx: take(tx, rules("Asia/Shanghai")))
        held = rules("America/New_York", await former(store, "America/New_York"))
        await accept(store, "America/New_York")
        assert not await store.write(lambda tx: take(tx, held))
        clock.advance(5 * 3_600)  # midnight in New York, 13:00 in Shanghai
        assert not await store.write(lambda tx: take(tx, held))
        clock.advance(11 * 3_600)  # midnight in Shanghai
        assert await store.write(lambda tx: take(tx, held)) is False  # that of New York is full


async def test_a_zone_that_was_left_long_ago_binds_no_more(tmp_path):
    clock = TestClock(datetime(2026, 11, 10, 0, 0, tzinfo=UTC))
    async with open_store(tmp_path, clock) as store:
        assert await former(store, "UTC") == ()  # a site's first start
        await accept(store, "Asia/Shanghai")
        [left] = await former(store, "UTC")  # nobody has confirmed it so far
        assert left.month_until == datetime(2026, 12, 1, tzinfo=UTC)
        await accept(store, "UTC")
        clock.advance(20 * 86_400)
        [left] = await former(store, "UTC")
        assert (str(left.zone), left.binds(Span.DAY, clock.now())) == ("Asia/Shanghai", False)
        assert left.binds(Span.MONTH, clock.now())
        clock.advance(86_400)
        assert await former(store, "UTC") == ()


async def test_an_altered_policy_says_of_no_zone(tmp_path):
    async with open_store(tmp_path, TestClock()) as store:
        await accept(store, "Asia/Shanghai")
        await store.write(lambda tx: tx.conn.execute(policy_version.update().values(settings="{}")))
        assert await former(store, "UTC") == ()


async def test_two_persons_who_confirm_a_zone_move_the_counts_and_the_log_says_so(tmp_path):
    clock = TestClock(datetime(2026, 11, 10, 0, 0, tzinfo=UTC))
    async with bench(tmp_path, clock=clock) as b:
        await Policies(b.store, settings("Asia/Shanghai").policy()).open()
        for _ in range(CAP):
            assert await b.store.write(lambda tx: take(tx, rules("Asia/Shanghai")))
        changed = Policies(b.store, settings("America/New_York").policy())
        assert not await changed.open()
        root, ruth = await administrators(b)
        dual = Dual(b.store, performers={DualKind.POLICY_CHANGE: changed.perform})
        asked = await dual.ask(
            root, kind=DualKind.POLICY_CHANGE, subject=changed.digest, details={}, reason="moved"
        )
        assert await b.store.write(lambda tx: used_today(tx, rules("America/New_York"))) == 0
        await dual.confirm(ruth, asked.request_id)
        assert await b.store.write(lambda tx: used_today(tx, rules("America/New_York"))) == CAP
    assert [one for one in faults(tmp_path) if "polic" in one or "quota" in one] == []


def used_today(tx: Tx, held: QuotaRules) -> int:
    """What counts of the department's messages of a day."""
    scope = held.scope(ScopeKind.DEPARTMENT, "retail")
    book = Book(tx, held)
    book.read([scope])
    return book.used(scope, scope.caps[0])
