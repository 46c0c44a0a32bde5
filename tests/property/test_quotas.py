"""Limits per card are never exceeded, whatever comes when; the judge counts real moments."""

import os
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modemctl.model import Iccid
from modemctl.policy.quotas import (
    Bearer,
    Cap,
    Caps,
    Load,
    Measure,
    QuotaRules,
    Scope,
    Span,
    bucket_of,
    fits_at,
)
from modemctl.store.count_purge import purge
from modemctl.store.engine import create_engines
from modemctl.store.quotas import Book, Charge, Shortage
from modemctl.store.tables import metadata
from modemctl.store.transaction import Tx
from modemctl.vault import Vault
from tests.support.stores import MASTER_KEY

LONG = os.environ.get("MODEMCTL_LONG") == "1"
VAULT = Vault(MASTER_KEY)
ONE = Load(n_segments=1)
CARD = Iccid("8986000000000000001")
OTHER = Iccid("8986000000000000002")
ZONES = ["Asia/Shanghai", "UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe"]

# around local midnights and both changes of summer time
STARTS = [
    datetime(2026, 11, 21, 15, 59, 30, tzinfo=UTC),
    datetime(2026, 10, 24, 21, 59, 0, tzinfo=UTC),
    datetime(2026, 10, 25, 22, 58, 0, tzinfo=UTC),
    datetime(2026, 3, 28, 22, 59, 50, tzinfo=UTC),
    datetime(2026, 4, 4, 12, 59, 59, tzinfo=UTC),
    datetime(2026, 12, 31, 23, 59, 57, 123000, tzinfo=UTC),
]
STEPS = st.one_of(
    st.sampled_from([0, 1, 4.9, 5, 54, 56, 58, 59, 59.9, 60, 299, 3301, 3540, 3599, 3600, 86_399]),
    st.floats(0, 3), st.floats(0, 70), st.floats(0, 3700), st.floats(0, 90_000),
)  # fmt: skip
WAYS = ["lease", "submit", "send", "send", "refund", "purge"]
ACTS = st.lists(
    st.tuples(STEPS, st.sampled_from(WAYS), st.integers(1, 4)),
    min_size=1, max_size=60,
)  # fmt: skip
CAPS = st.builds(
    Caps,
    minute=st.integers(1, 6), hour=st.integers(1, 12), day=st.integers(1, 15),
    gap=st.sampled_from([0.0, 2.5]),
)  # fmt: skip


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    writer, reader = create_engines(
        f"sqlite:///{tmp_path_factory.mktemp('quotas') / 'q.db'}", n_readers=1
    )
    metadata.create_all(writer)
    yield writer
    writer.dispose()
    reader.dispose()


class Card:
    """One card driven as the lease and the submit drive it, beside a list of true moments."""

    def __init__(self, conn, rules: QuotaRules, at: datetime) -> None:
        self.conn, self.rules, self.at = conn, rules, at
        self.leased: list[Charge] = []
        self.sent: list[datetime] = []

    def book(self, at: datetime | None = None) -> Book:
        now = at or self.at
        book = Book(Tx(self.conn, now=now, steady=now, vault=VAULT, node_id="n1"), self.rules)
        book.read([*self.scopes(CARD), *self.scopes(OTHER)])
        return book

    def scopes(self, iccid: Iccid) -> tuple[Scope, ...]:
        return self.rules.scopes(Bearer(iccid=iccid))

    def has_room(self, iccid: Iccid, n: int, at: datetime | None = None) -> bool:
        return self.book(at).lacks(self.scopes(iccid), Load(n_segments=n)) is None

    def lease(self, n: int) -> None:
        n = min(n, self.rules.smallest)
        book = self.book()
        if self.has_room(CARD, n):
            self.leased += [book.charge(self.scopes(CARD), ONE) for _ in range(n)]
            book.save()
            return
        moment = book.fits_at(self.scopes(CARD), Load(n_segments=n))
        assert moment > self.at, "no room now, so it fits later"
        assert self.has_room(CARD, n, moment), "it fits when it was said to"

    def submit(self) -> None:
        if not self.leased:
            return
        book = self.book()
        ready = book.may_submit_at(CARD)
        if ready is not None and ready > self.at:
            return
        if not isinstance(book.move(self.leased[0], self.scopes(CARD), ONE), Shortage):
            self.leased.pop(0)
            self.sent.append(self.at)
            book.note_submit(CARD)
        book.save()

    def send(self) -> None:
        self.lease(1)
        self.submit()

    def refund(self) -> None:
        if self.leased:
            book = self.book()
            book.refund(self.leased.pop())
            book.save()

    def purge(self) -> None:
        tx = Tx(self.conn, now=self.at, steady=self.at, vault=VAULT, node_id="n1")
        purge(tx, self.rules.zone)


@given(
    caps=CAPS, zone=st.sampled_from(ZONES), start=st.sampled_from(STARTS), acts=ACTS
)  # fmt: skip
@settings(max_examples=2000 if LONG else 250)
def test_no_window_of_submits_ever_exceeds_a_cap(engine, caps, zone, start, acts):
    with engine.connect() as conn, conn.begin() as transaction:
        card = Card(conn, QuotaRules(caps=caps, zone=ZoneInfo(zone)), start)
        for seconds, act, n in acts:
            card.at += timedelta(milliseconds=int(seconds * 1000))
            card.lease(n) if act == "lease" else getattr(card, act)()
            assert card.has_room(OTHER, card.rules.smallest), "another card's counts are its own"
        transaction.rollback()
    judge(card.sent, caps, ZoneInfo(zone))


def judge(sent: list[datetime], caps: Caps, zone: ZoneInfo) -> None:
    for i, at in enumerate(sent):
        past = sent[: i + 1]
        assert sum(at - one < timedelta(seconds=60) for one in past) <= caps.minute
        assert sum(at - one < timedelta(hours=1) for one in past) <= caps.hour
        today = at.astimezone(zone).date()
        assert sum(one.astimezone(zone).date() == today for one in past) <= caps.day
        if i:
            assert (at - sent[i - 1]).total_seconds() >= caps.gap


def cap(span: Span, most: int) -> Cap:
    return Cap(measure=Measure.SEGMENTS, span=span, most=most)


def test_a_full_minute_frees_when_its_oldest_bucket_leaves():
    at = datetime(2026, 1, 1, 0, 0, 7, tzinfo=UTC)
    used = {bucket_of(Span.MINUTE, at, UTC): 2}
    found = fits_at(used, cap(Span.MINUTE, 2), 1, steady=at, wall=at, zone=UTC)
    assert found == datetime(2026, 1, 1, 0, 1, 10, tzinfo=UTC)


def test_a_full_day_frees_at_the_zones_midnight():
    zone = ZoneInfo("Asia/Shanghai")
    at = datetime(2026, 11, 21, 15, 0, tzinfo=UTC)  # 23:00 there
    used = {bucket_of(Span.DAY, at, zone): 5}
    found = fits_at(used, cap(Span.DAY, 5), 1, steady=at, wall=at, zone=zone)
    assert found == datetime(2026, 11, 21, 16, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("month", "begins"), [(1, (2026, 2)), (2, (2026, 3)), (11, (2026, 12)), (12, (2027, 1))]
)
def test_a_full_month_frees_when_the_zones_next_one_begins(month, begins):
    zone = ZoneInfo("Asia/Shanghai")
    at = datetime(2026, month, 3, tzinfo=UTC)
    used = {bucket_of(Span.MONTH, at, zone): 5}
    found = fits_at(used, cap(Span.MONTH, 5), 1, steady=at, wall=at, zone=zone)
    assert found.astimezone(zone) == datetime(*begins, 1, tzinfo=zone)


def test_where_the_clocks_differ_a_day_must_have_room_by_both():
    steady = datetime(2026, 5, 5, 10, tzinfo=UTC)
    wall = steady + timedelta(days=1)
    day = bucket_of(Span.DAY, steady, UTC)
    for full in (day, day + 1):
        found = fits_at({full: 5}, cap(Span.DAY, 5), 1, steady=steady, wall=wall, zone=UTC)
        # tomorrow by steady time is the day after by the wall
        ends = steady.replace(hour=0) + timedelta(days=1)
        assert found == (ends if full == day else ends + timedelta(days=1))


def test_what_fits_now_fits_now():
    at = datetime(2026, 1, 1, tzinfo=UTC)
    assert fits_at({}, cap(Span.HOUR, 1), 1, steady=at, wall=at, zone=UTC) == at
