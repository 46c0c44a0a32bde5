"""What has been sent lately: bucketed counts, reserved inside the leasing transaction.

A charge is taken at the lease and moves to the moment of the submit; only a proven non-send gives
it back. Whoever writes holds the only writer, so reading and adding cannot be torn apart. Counts go
by steady time, and calendars by the wall clock's day as well (`policy.quotas`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import (
    BigInteger,
    Integer,
    Table,
    and_,
    bindparam,
    case,
    delete,
    func,
    or_,
    select,
    text,
    type_coerce,
    update,
)

from modemctl.model import Iccid
from modemctl.policy.quotas import (
    CALENDAR,
    SLIDING,
    Bearer,
    Cap,
    Caps,
    Load,
    Measure,
    QuotaRules,
    Scope,
    ScopeKind,
    Span,
    buckets_of,
    column_of,
    first_bucket,
    fits_at,
    scope_key,
)
from modemctl.store import count_seal
from modemctl.store.charges import Charge
from modemctl.store.prepared import Change, Prepared
from modemctl.store.steady import GAP
from modemctl.store.tables import from_ms, quota, quota_contact, to_ms
from modemctl.store.transaction import Tx

__all__ = ["Bearer", "Book", "Caps", "Charge", "Load", "QuotaRules", "Shortage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """A cap without room, and on whom it falls."""

    scope: Scope
    cap: Cap


@dataclass(slots=True, kw_only=True)
class _Contact:
    """A recipient among a scope's: last counted in `bucket`, `n` charges since bucket `since`."""

    since: int
    bucket: int
    n: int


class Book:
    """The counts of some, each read once; `save` writes what was charged and given back."""

    def __init__(self, tx: Tx, rules: QuotaRules) -> None:
        self._tx = tx
        self._rules = rules
        zone = rules.zone
        self._first = {span: first_bucket(span, tx.steady, zone) for span in SLIDING}
        self._now = {
            span: buckets_of(span, steady=tx.steady, wall=tx.now, zone=zone) for span in Span
        }
        self._known: set[str] = set()
        self._sums: dict[tuple[str, str], int] = {}  # of sliding windows
        self._days: dict[tuple[str, str, int], int] = {}  # of days and months
        self._latest: dict[tuple[str, str], int] = {}
        self._deltas: Counter[tuple[str, str, int]] = Counter()
        self._contacts: dict[tuple[str, str, str], _Contact] = {}
        self._asked: set[tuple[str, str]] = set()
        self._changed: set[tuple[str, str, str]] = set()
        self._last_submits: dict[str, int] = {}

    def read(self, scopes: Iterable[Scope], recipients: Iterable[bytes] = ()) -> None:
        """Read the counts of these, and how they know these recipients; what is known is not."""
        wanted = list(scopes)
        numbers = [one.hex() for one in recipients]
        self._read_keys(scope.key for scope in wanted)
        self._read_contacts((scope.key for scope in wanted if scope.counts_recipients), numbers)

    def read_charges(self, charges: Iterable[Charge]) -> None:
        """Read what is needed to give these back."""
        met: dict[str, set[str | None]] = {}
        for key, recipient in ((key, one.recipient) for one in charges for key in one.keys):
            met.setdefault(key, set()).add(recipient)
        self._read_keys(met)
        for key, some in met.items():
            if any(cap.measure is Measure.RECIPIENTS for cap in self._rules.caps_of_key(key)):
                self._read_contacts([key], sorted(filter(None, some)))

    def lacks(
        self, scopes: Iterable[Scope], load: Load, *, without: Charge | None = None
    ) -> Shortage | None:
        """The first cap that has no room now; `without` a charge that would be given back."""
        for scope in scopes:
            for cap in scope.caps:
                n = self._amount(scope.key, cap, load)
                if n and self._total(scope.key, cap, without) + n > cap.most:
                    return Shortage(scope=scope, cap=cap)
        return None

    def used(self, scope: Scope, cap: Cap) -> int:
        """What counts now against a cap, with the changes not yet saved."""
        return self._total(scope.key, cap, None)

    def may_submit_at(self, iccid: Iccid) -> datetime | None:
        """The end of the gap after the card's last submit, by the wall; None if there was none."""
        last = self._latest.get((scope_key(ScopeKind.SIM, iccid), GAP))
        if last is None:
            return None
        return self._by_wall(from_ms(last) + timedelta(seconds=self._rules.caps.gap))

    def charge(self, scopes: Sequence[Scope], load: Load) -> Charge:
        """Count one segment now, with message and recipient as `load` says."""
        charge = Charge(
            at=self._tx.steady,
            wall=self._tx.now,
            mark=self._rules.mark,
            n_messages=load.n_messages,
            recipient=None if load.recipient is None else load.recipient.hex(),
            keys=tuple(scope.key for scope in scopes),
        )
        for scope in scopes:
            for cap in scope.caps:
                if cap.measure is Measure.RECIPIENTS:
                    self._meet(scope.key, cap, charge)
                else:
                    for bucket in self._present(scope.key, cap):
                        self._add(scope.key, cap, bucket, charge.amount(cap.measure))
        return charge

    def refund(self, charge: Charge) -> None:
        """Take back a segment that provably did not leave.

        One that was counted by other rules than now stays: nobody knows where.
        """
        if charge.mark != self._rules.mark:
            return
        for key in charge.keys:
            for cap in self._rules.caps_of_key(key):
                buckets = self._buckets(cap, charge)
                if cap.measure is Measure.RECIPIENTS:
                    self._forget(key, cap, charge, buckets)
                else:
                    for bucket in buckets:
                        self._add(key, cap, bucket, -charge.amount(cap.measure))

    def move(self, charge: Charge | None, scopes: Sequence[Scope], load: Load) -> Charge | Shortage:
        """Let one segment's charge count from now on; no change, and what lacks, without room."""
        shortage = self.lacks(scopes, load, without=charge)
        if shortage is not None:
            return shortage
        if charge is not None:
            self.refund(charge)
        return self.charge(scopes, load)

    def note_submit(self, iccid: Iccid) -> None:
        """Start the gap now."""
        self._last_submits[scope_key(ScopeKind.SIM, iccid)] = to_ms(self._tx.steady)

    def fits_at(self, scopes: Iterable[Scope], load: Load) -> datetime:
        """When `load` fits at the earliest, by the wall clock; at most the smallest cap."""
        found = [
            (self._read_buckets(scope.key, cap), cap, n)
            for scope in scopes
            for cap in scope.caps
            if (n := self._amount(scope.key, cap, load))
        ]
        lead, moment = self._tx.now - self._tx.steady, self._tx.steady
        for _ in range(2 * len(found) + 1):  # a later moment may be another day
            later = max(
                fits_at(
                    used, cap, n, steady=moment, wall=moment + lead, zone=self._rules.zone
                )
                for used, cap, n in found
            )  # fmt: skip
            if later == moment:
                break
            moment = later
        return self._by_wall(moment)

    def save(self) -> None:
        """Write all changes; call once, at the end."""
        if changes := [(key, n) for key, n in sorted(self._deltas.items()) if n]:
            self._save_counts(changes)
        if self._changed:
            self._save_contacts()
        if self._last_submits:
            self._save_gaps()

    # ------------------------------------------------------------ counts

    def _amount(self, key: str, cap: Cap, load: Load) -> int:
        match cap.measure:
            case Measure.SEGMENTS:
                return load.n_segments
            case Measure.MESSAGES:
                return load.n_messages
            case Measure.RECIPIENTS:
                if load.recipient is None:
                    return 0
                return int(not self._is_met(key, cap, load.recipient.hex()))

    def _total(self, key: str, cap: Cap, without: Charge | None) -> int:
        own = 0
        back: tuple[int, ...] = ()
        if without is not None and without.mark == self._rules.mark and key in without.keys:
            back, own = self._buckets(cap, without), without.amount(cap.measure)
            if cap.measure is Measure.RECIPIENTS and not self._frees(key, cap, without):
                own = 0
        if not cap.span.is_calendar:
            still = sum(own for bucket in back if bucket >= self._first[cap.span])
            return self._sums.get((key, cap.column), 0) - still
        return max(
            self._days.get((key, cap.column, bucket), 0) - (own if bucket in back else 0)
            for bucket in self._now[cap.span]
        )

    def _buckets(self, cap: Cap, charge: Charge) -> tuple[int, ...]:
        return buckets_of(cap.span, steady=charge.at, wall=charge.wall, zone=self._rules.zone)

    def _present(self, key: str, cap: Cap) -> tuple[int, ...]:
        """The present buckets, or a later one where a machine's time was lost: none thins out."""
        present = self._now[cap.span]
        if cap.span.is_calendar:
            return present
        return (max(present[0], self._latest.get((key, cap.column), 0)),)

    def _add(self, key: str, cap: Cap, bucket: int, n: int) -> None:
        self._deltas[key, cap.column, bucket] += n
        if cap.span.is_calendar:
            place = (key, cap.column, bucket)
            self._days[place] = self._days.get(place, 0) + n
        elif bucket >= self._first[cap.span]:
            self._sums[key, cap.column] = self._sums.get((key, cap.column), 0) + n

    def _by_wall(self, moment: datetime) -> datetime:
        return self._tx.now + (moment - self._tx.steady)

    # ------------------------------------------------------------ recipients

    def _is_met(self, key: str, cap: Cap, recipient: str) -> bool:
        """Whether a recipient counts already; where the clocks differ, it counts anew each time."""
        contact = self._contacts.get((key, cap.column, recipient))
        if contact is None:
            return False
        if cap.span.is_calendar:
            return self._now[cap.span] == (contact.bucket,)
        return contact.bucket >= self._first[cap.span]

    def _meet(self, key: str, cap: Cap, charge: Charge) -> None:
        if charge.recipient is None:
            return
        place, present = (key, cap.column, charge.recipient), self._present(key, cap)
        self._changed.add(place)
        if not self._is_met(key, cap, charge.recipient):
            for bucket in present:
                self._add(key, cap, bucket, 1)
            self._contacts[place] = _Contact(since=present[0], bucket=present[0], n=1)
            return
        contact = self._contacts[place]
        if contact.bucket != present[0]:
            self._add(key, cap, contact.bucket, -1)
            self._add(key, cap, present[0], 1)
        contact.bucket, contact.n = present[0], contact.n + 1

    def _frees(self, key: str, cap: Cap, charge: Charge) -> bool:
        """Whether its recipient counts no more where this charge is given back."""
        contact = self._contacts.get((key, cap.column, charge.recipient or ""))
        since = self._buckets(cap, charge)[0]
        return contact is not None and contact.n == 1 and since >= contact.since

    def _forget(self, key: str, cap: Cap, charge: Charge, buckets: tuple[int, ...]) -> None:
        if charge.recipient is None:
            return
        place = (key, cap.column, charge.recipient)
        contact = self._contacts.get(place)
        if contact is None or not contact.n or buckets[0] < contact.since:
            return
        self._changed.add(place)
        contact.n -= 1
        if contact.n:
            return
        del self._contacts[place]
        for bucket in buckets if cap.span.is_calendar else (contact.bucket,):
            self._add(key, cap, bucket, -1)

    # ------------------------------------------------------------ rows

    def _read_keys(self, keys: Iterable[str]) -> None:
        wanted = sorted(set(keys) - self._known)
        if not wanted:
            return
        self._known.update(wanted)
        for row in _SUMS.rows(self._tx.conn, {**self._bounds(), "scopes": wanted}):
            key, column = row.scope, row.span
            if row.day is not None:
                self._days[key, column, row.day] = row.used
                continue
            self._latest[key, column] = row.latest
            if column != GAP:
                self._sums[key, column] = int(row.used)

    def _read_contacts(self, keys: Iterable[str], recipients: Sequence[str]) -> None:
        pairs = {(key, one) for key in keys for one in recipients} - self._asked
        if not pairs:
            return
        self._asked |= pairs
        facts = {"scopes": sorted({key for key, _ in pairs}),
                 "recipients": sorted({one for _, one in pairs})}  # fmt: skip
        for row in _CONTACTS.rows(self._tx.conn, facts):
            place = (row.scope, row.span, row.recipient)
            if (row.scope, row.recipient) in pairs:
                self._contacts[place] = _Contact(since=row.since, bucket=row.bucket, n=row.n)

    def _read_buckets(self, key: str, cap: Cap) -> dict[int, int]:
        """A cap's buckets one by one, with the changes not yet saved."""
        rows = _BUCKETS.rows(self._tx.conn, {"scope": key, "span": cap.column})
        found: dict[int, int] = {row.bucket: row.used for row in rows}
        for (changed, column, bucket), n in self._deltas.items():
            if (changed, column) == (key, cap.column):
                found[bucket] = found.get(bucket, 0) + n
        return found

    def _bounds(self) -> dict[str, object]:
        bounds: dict[str, object] = {f"first_{span}": self._first[span] for span in SLIDING}
        return bounds | {f"now_{span}": list(self._now[span]) for span in CALENDAR}

    def _save_counts(self, changes: Sequence[tuple[tuple[str, str, int], int]]) -> None:
        conn = self._tx.conn
        before = count_seal.read_counts(conn, (key for key, _ in changes))
        used = {key: row[3] for key, row in before.items()}
        after = [(*key, int(used.get(key, 0)) + n) for key, n in changes if n > 0 or key in used]
        more = [{"s": s, "p": p, "b": b, "n": n} for (s, p, b), n in changes if n > 0]
        less = [{"s": s, "p": p, "b": b, "n": n} for (s, p, b), n in changes if n < 0]
        _ADD.run(conn, more)
        _TAKE.run(conn, less)
        _reseal(self._tx, quota, before.values(), after)

    def _save_contacts(self) -> None:
        before = count_seal.read_contacts(self._tx.conn, self._changed)
        kept, gone = [], []
        for place in sorted(self._changed):
            scope, column, recipient = place
            contact = self._contacts.get(place)
            row: dict[str, str | int] = {"s": scope, "p": column, "r": recipient}
            if contact is None:
                gone.append(row)
            else:
                kept.append(row | {"f": contact.since, "b": contact.bucket, "n": contact.n})
        _PART.run(self._tx.conn, gone)
        _KNOW.run(self._tx.conn, kept)
        after = [tuple(row[name] for name in "sprfbn") for row in kept]
        _reseal(self._tx, quota_contact, before.values(), after)

    def _save_gaps(self) -> None:
        known, fresh, before = [], [], []
        for scope, at in sorted(self._last_submits.items()):
            if (scope, GAP) in self._latest:
                known.append({"s": scope, "b": at})
                before.append((scope, GAP, self._latest[scope, GAP], 1))
            else:
                fresh.append({"scope": scope, "span": GAP, "bucket": at, "used": 1})
        _MOVE_GAP.run(self._tx.conn, known)
        _FIRST_GAP.run(self._tx.conn, fresh)
        after = [(scope, GAP, at, 1) for scope, at in self._last_submits.items()]
        _reseal(self._tx, quota, before, after)


def _reseal(
    tx: Tx,
    table: Table,
    before: Iterable[Sequence[object]],
    after: Iterable[Sequence[object]],
) -> None:
    """Let the seal of the counts follow a change of rows."""
    lost = count_seal.weight(tx.vault, table, before)
    tx.count(count_seal.weight(tx.vault, table, after) - lost)


def _columns(*spans: Span) -> list[str]:
    return [column_of(measure, span) for measure in Measure for span in spans]


_COUNTS: Final = or_(
    quota.c.span == GAP,
    *(
        and_(quota.c.span.in_(_columns(span)), quota.c.bucket >= bindparam(f"first_{span}"))
        for span in SLIDING
    ),
    *(
        and_(
            quota.c.span.in_(_columns(span)),
            quota.c.bucket.in_(bindparam(f"now_{span}", expanding=True)),
        )
        for span in CALENDAR
    ),
)
_DAY: Final = case((quota.c.span.in_(_columns(*CALENDAR)), quota.c.bucket))
_SUMS: Final = Prepared(
    select(
        quota.c.scope,
        quota.c.span,
        _DAY.label("day"),
        type_coerce(func.sum(quota.c.used), Integer).label("used"),
        type_coerce(func.max(quota.c.bucket), BigInteger).label("latest"),
    )
    .where(quota.c.scope.in_(bindparam("scopes", expanding=True)), _COUNTS)
    .group_by(quota.c.scope, quota.c.span, _DAY)
)
_BUCKETS: Final = Prepared(
    select(quota.c.bucket, quota.c.used).where(
        quota.c.scope == bindparam("scope"), quota.c.span == bindparam("span")
    )
)
_CONTACTS: Final = Prepared(
    select(quota_contact).where(
        quota_contact.c.scope.in_(bindparam("scopes", expanding=True)),
        # named, so that the key serves to its end: a department may know a million recipients
        quota_contact.c.span.in_([column_of(Measure.RECIPIENTS, span) for span in Span]),
        quota_contact.c.recipient.in_(bindparam("recipients", expanding=True)),
    )
)
# Written out: SQLAlchemy has no form of it that SQLite and PostgreSQL share.
_ADD: Final = Change(
    text(
        "INSERT INTO quota (scope, span, bucket, used) VALUES (:s, :p, :b, :n)"
        " ON CONFLICT (scope, span, bucket) DO UPDATE SET used = quota.used + excluded.used"
    )
)
_TAKE: Final = Change(
    update(quota)
    .where(
        quota.c.scope == bindparam("s"),
        quota.c.span == bindparam("p"),
        quota.c.bucket == bindparam("b"),
    )
    .values(used=quota.c.used + bindparam("n"))
)
_KNOW: Final = Change(
    text(
        "INSERT INTO quota_contact (scope, span, recipient, since, bucket, n)"
        " VALUES (:s, :p, :r, :f, :b, :n) ON CONFLICT (scope, span, recipient)"
        " DO UPDATE SET since = excluded.since, bucket = excluded.bucket, n = excluded.n"
    )
)
_PART: Final = Change(
    delete(quota_contact).where(
        quota_contact.c.scope == bindparam("s"),
        quota_contact.c.span == bindparam("p"),
        quota_contact.c.recipient == bindparam("r"),
    )
)
_FIRST_GAP: Final = Change.adding(quota, "scope", "span", "bucket", "used")
_MOVE_GAP: Final = Change(
    update(quota)
    .where(quota.c.scope == bindparam("s"), quota.c.span == GAP)
    .values(bucket=bindparam("b"))
)
