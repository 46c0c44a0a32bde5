"""What has been sent lately: bucketed counts, reserved inside the leasing transaction.

A charge is taken at the lease and moves to the moment of the submit; only a proven non-send gives
it back. Whoever writes holds the only writer, so reading and adding cannot be torn apart. Counts go
by steady time, and calendars by the wall clock's day as well (`policy.quotas`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

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
    first_bucket,
    fits_at,
    scope_key,
    zone_of_key,
)
from modemctl.policy.zones import zone_named
from modemctl.store import quota_rows
from modemctl.store.charges import Charge
from modemctl.store.quota_rows import Contact
from modemctl.store.steady import GAP
from modemctl.store.tables import from_ms, to_ms
from modemctl.store.transaction import Tx

__all__ = ["Bearer", "Book", "Caps", "Charge", "Load", "QuotaRules", "Shortage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """A cap without room, and on whom it falls."""

    scope: Scope
    cap: Cap


class Book:
    """The counts of some, each read once; `save` writes what was charged and given back."""

    def __init__(self, tx: Tx, rules: QuotaRules) -> None:
        self._tx = tx
        self._rules = rules
        zone = rules.zone
        self._first = {span: first_bucket(span, tx.steady, zone) for span in SLIDING}
        self._now = {span: rules.site_buckets(span, steady=tx.steady, wall=tx.now) for span in Span}
        self._elsewhere: dict[str, Mapping[Span, tuple[int, ...]]] = {}  # of cards' own zones
        self._known: set[str] = set()
        self._sums: dict[tuple[str, str], int] = {}  # of sliding windows
        self._days: dict[tuple[str, str, int], int] = {}  # of days and months
        self._latest: dict[tuple[str, str], int] = {}
        self._deltas: Counter[tuple[str, str, int]] = Counter()
        self._contacts: dict[tuple[str, str, str], Contact] = {}
        self._asked: set[tuple[str, str]] = set()
        self._changed: set[tuple[str, str, str]] = set()
        self._last_submits: dict[str, int] = {}
        self._buckets_at: dict[tuple[str | None, Span, datetime, datetime], tuple[int, ...]] = {}
        self._days_by_key: dict[str, Mapping[Span, tuple[int, ...]]] = {}

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
            for cap in scope.counts:
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
                buckets = self._buckets(key, cap, charge)
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
            (self._read_buckets(scope.key, cap), cap, n, zone)
            for scope in scopes
            for cap in scope.caps
            if (n := self._amount(scope.key, cap, load))
            for zone in self._zones(scope.key, cap.span)
        ]
        lead, moment = self._tx.now - self._tx.steady, self._tx.steady
        for _ in range(2 * len(found) + 1):  # a later moment may be another day
            later = max(
                fits_at(used, cap, n, steady=moment, wall=moment + lead, zone=zone)
                for used, cap, n, zone in found
            )
            if later == moment:
                break
            moment = later
        return self._by_wall(moment)

    def save(self) -> None:
        """Write all changes; call once, at the end."""
        if changes := [(key, n) for key, n in sorted(self._deltas.items()) if n]:
            quota_rows.save_counts(self._tx, changes)
        if self._changed:
            contacts = {place: self._contacts.get(place) for place in self._changed}
            quota_rows.save_contacts(self._tx, contacts)
        if self._last_submits:
            latest = {key: at for (key, column), at in self._latest.items() if column == GAP}
            quota_rows.save_gaps(self._tx, self._last_submits, latest)

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
            back, own = self._buckets(key, cap, without), without.amount(cap.measure)
            if cap.measure is Measure.RECIPIENTS and not self._frees(key, cap, without):
                own = 0
        if not cap.span.is_calendar:
            still = sum(own for bucket in back if bucket >= self._first[cap.span])
            return self._sums.get((key, cap.column), 0) - still
        return max(
            self._days.get((key, cap.column, bucket), 0) - (own if bucket in back else 0)
            for bucket in self._days_of(key)[cap.span]
        )

    def _buckets(self, key: str, cap: Cap, charge: Charge) -> tuple[int, ...]:
        """Where a charge was counted; those of one lease share its moment."""
        name, at, wall = zone_of_key(key), charge.at, charge.wall
        place = (name, cap.span, at, wall)
        found = self._buckets_at.get(place)
        if found is None:
            if name is None:
                found = self._rules.site_buckets(cap.span, steady=at, wall=wall)
            else:
                found = buckets_of(cap.span, steady=at, wall=wall, zone=zone_named(name))
            self._buckets_at[place] = found
        return found

    def _present(self, key: str, cap: Cap) -> tuple[int, ...]:
        """The present buckets, or a later one where a machine's time was lost: none thins out."""
        present = self._days_of(key)[cap.span]
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
            return self._days_of(key)[cap.span] == (contact.bucket,)
        return contact.bucket >= self._first[cap.span]

    def _meet(self, key: str, cap: Cap, charge: Charge) -> None:
        if charge.recipient is None:
            return
        place, present = (key, cap.column, charge.recipient), self._present(key, cap)
        self._changed.add(place)
        if not self._is_met(key, cap, charge.recipient):
            for bucket in present:
                self._add(key, cap, bucket, 1)
            self._contacts[place] = Contact(since=present[0], bucket=present[0], n=1)
            return
        contact = self._contacts[place]
        if contact.bucket != present[0]:
            self._add(key, cap, contact.bucket, -1)
            self._add(key, cap, present[0], 1)
        contact.bucket, contact.n = present[0], contact.n + 1

    def _frees(self, key: str, cap: Cap, charge: Charge) -> bool:
        """Whether its recipient counts no more where this charge is given back."""
        contact = self._contacts.get((key, cap.column, charge.recipient or ""))
        since = self._buckets(key, cap, charge)[0]
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
        days = self._all_days(wanted)
        for row in quota_rows.read_sums(self._tx.conn, wanted, self._first, days):
            key, column = row.scope, row.span
            if row.day is not None:
                self._days[key, column, row.day] = row.used
                continue
            self._latest[key, column] = row.latest
            if column != GAP:
                self._sums[key, column] = int(row.used)

    def _all_days(self, keys: Iterable[str]) -> Mapping[Span, Sequence[int]]:
        """The present days and months of all the zones of these."""
        zones = {id(now): now for now in map(self._days_of, keys)}.values()
        return {span: sorted({one for now in zones for one in now[span]}) for span in CALENDAR}

    def _days_of(self, key: str) -> Mapping[Span, tuple[int, ...]]:
        """The present buckets, of whom stands for this key: a card may have a zone of its own."""
        found = self._days_by_key.get(key)
        if found is None:
            name = zone_of_key(key)
            if name is None:
                found = self._now
            else:
                if name not in self._elsewhere:
                    self._elsewhere[name] = self._buckets_now(zone_named(name))
                found = self._elsewhere[name]
            self._days_by_key[key] = found
        return found

    def _buckets_now(self, zone: tzinfo) -> Mapping[Span, tuple[int, ...]]:
        tx = self._tx
        return {span: buckets_of(span, steady=tx.steady, wall=tx.now, zone=zone) for span in Span}

    def _zones(self, key: str, span: Span) -> tuple[tzinfo, ...]:
        name = zone_of_key(key)
        if name is not None:
            return (zone_named(name),)
        return self._rules.site_zones(span, steady=self._tx.steady, wall=self._tx.now)

    def _read_contacts(self, keys: Iterable[str], recipients: Sequence[str]) -> None:
        pairs = {(key, one) for key in keys for one in recipients} - self._asked
        if not pairs:
            return
        self._asked |= pairs
        scopes = sorted({key for key, _ in pairs})
        numbers = sorted({one for _, one in pairs})
        for place, contact in quota_rows.read_contacts(self._tx.conn, scopes, numbers):
            if (place[0], place[2]) in pairs:
                self._contacts[place] = contact

    def _read_buckets(self, key: str, cap: Cap) -> dict[int, int]:
        """A cap's buckets one by one, with the changes not yet saved."""
        found = quota_rows.read_buckets(self._tx.conn, key, cap.column)
        for (changed, column, bucket), n in self._deltas.items():
            if (changed, column) == (key, cap.column):
                found[bucket] = found.get(bucket, 0) + n
        return found
