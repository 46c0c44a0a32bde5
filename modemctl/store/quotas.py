"""What each card has sent lately: bucketed counts, reserved inside the leasing transaction.

A charge is taken at the lease and moves to the moment of the submit; only a proven non-send gives
it back. Whoever writes holds the only writer, so reading and adding cannot be torn apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Final

from sqlalchemy import (
    BigInteger,
    Integer,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    type_coerce,
    update,
)

from modemctl.model import Iccid
from modemctl.policy.quotas import Caps, Span, bucket_of, first_bucket, fits_at
from modemctl.store.tables import from_ms, quota, to_ms
from modemctl.store.transaction import Tx

_GAP: Final = "gap"  # one row a card: its bucket is the moment of the last submit, in ms
_KEPT_DAYS: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaRules:
    """The caps of a card and the zone whose days count."""

    caps: Caps
    zone: tzinfo


class Book:
    """The counts of some cards, read once; `save` writes what was charged and given back."""

    def __init__(self, tx: Tx, iccids: Collection[Iccid], rules: QuotaRules) -> None:
        self._tx = tx
        self._rules = rules
        self._used: dict[tuple[str, Span], int] = {}
        self._latest: dict[tuple[str, str], int] = {}
        self._deltas: Counter[tuple[str, Span, int]] = Counter()
        self._last_submits: dict[str, int] = {}
        self._first = {span: first_bucket(span, tx.now, rules.zone) for span in Span}
        self._read(sorted(_scope(iccid) for iccid in set(iccids)))

    def room(self, iccid: Iccid) -> int:
        """How many more segments the card may take now."""
        scope = _scope(iccid)
        caps = self._rules.caps
        return min(caps.of(span) - self._used.get((scope, span), 0) for span in Span)

    def used(self, iccid: Iccid, span: Span) -> int:
        """What counts now against a cap, with the changes not yet saved."""
        return self._used.get((_scope(iccid), span), 0)

    def may_submit_at(self, iccid: Iccid) -> datetime | None:
        """The end of the gap after the card's last submit; None if there was none."""
        last = self._latest.get((_scope(iccid), _GAP))
        return None if last is None else from_ms(last) + timedelta(seconds=self._rules.caps.gap)

    def charge(self, iccid: Iccid, n: int) -> None:
        """Count `n` segments now."""
        for span in Span:
            self._add(_scope(iccid), span, self._bucket_now(_scope(iccid), span), n)

    def refund(self, iccid: Iccid, charged_at: datetime) -> None:
        """Take back one segment that provably did not leave."""
        for span in Span:
            bucket = bucket_of(span, charged_at, self._rules.zone)
            self._add(_scope(iccid), span, bucket, -1)

    def move(self, iccid: Iccid, charged_at: datetime | None) -> bool:
        """Let one segment's charge count from now on; False, and no change, if it has no room."""
        zone, now = self._rules.zone, self._tx.now
        if charged_at is not None and all(
            bucket_of(span, charged_at, zone) == bucket_of(span, now, zone) for span in Span
        ):
            return True
        if charged_at is not None:
            self.refund(iccid, charged_at)
        if self.room(iccid) >= 1:
            self.charge(iccid, 1)
            return True
        if charged_at is not None:
            for span in Span:
                self._add(_scope(iccid), span, bucket_of(span, charged_at, zone), 1)
        return False

    def note_submit(self, iccid: Iccid) -> None:
        """Start the gap now."""
        self._last_submits[_scope(iccid)] = to_ms(self._tx.now)

    def fits_at(self, iccid: Iccid, n: int) -> datetime:
        """When `n` more fit at the earliest; `n` at most the smallest cap."""
        scope = _scope(iccid)
        usage: dict[Span, dict[int, int]] = {span: {} for span in Span}
        rows = self._tx.conn.execute(_BUCKETS, {**self._firsts(), "scopes": [scope]})
        for span, bucket, used in rows:
            if span != _GAP:
                usage[Span(span)][bucket] = used
        for (changed, span, bucket), n_changed in self._deltas.items():
            if changed == scope:
                usage[span][bucket] = usage[span].get(bucket, 0) + n_changed
        return fits_at(usage, self._rules.caps, n, at=self._tx.now, zone=self._rules.zone)

    def save(self) -> None:
        """Write all changes; call once, at the end."""
        changes = [(key, n) for key, n in sorted(self._deltas.items()) if n]
        known = [(key, n) for key, n in changes if key[2] <= self._latest.get(key[:2], -1)]
        fresh = [(key, n) for key, n in changes if key[2] > self._latest.get(key[:2], -1)]
        if known:
            self._tx.conn.execute(
                _ADD, [{"s": s, "p": str(p), "b": b, "n": n} for (s, p, b), n in known]
            )
        rows: list[dict[str, str | int]] = [
            {"scope": s, "span": str(p), "bucket": b, "used": n} for (s, p, b), n in fresh if n > 0
        ]
        self._save_gaps(rows)
        if rows:
            self._tx.conn.execute(insert(quota), rows)

    def _save_gaps(self, rows: list[dict[str, str | int]]) -> None:
        known = []
        for scope, at in sorted(self._last_submits.items()):
            if (scope, _GAP) in self._latest:
                known.append({"s": scope, "b": at})
            else:
                rows.append({"scope": scope, "span": _GAP, "bucket": at, "used": 1})
        if known:
            self._tx.conn.execute(_MOVE_GAP, known)

    def _bucket_now(self, scope: str, span: Span) -> int:
        """The present bucket, or a later one where the clock ran back: counts never thin out."""
        present = bucket_of(span, self._tx.now, self._rules.zone)
        return max(present, self._latest.get((scope, span), present))

    def _add(self, scope: str, span: Span, bucket: int, n: int) -> None:
        self._deltas[scope, span, bucket] += n
        if bucket >= self._first[span]:
            self._used[scope, span] = self._used.get((scope, span), 0) + n

    def _read(self, scopes: list[str]) -> None:
        rows = self._tx.conn.execute(_SUMS, {**self._firsts(), "scopes": scopes})
        for scope, span, used, latest in rows:
            self._latest[scope, span] = latest
            if span != _GAP:
                self._used[scope, Span(span)] = int(used)

    def _firsts(self) -> dict[str, object]:
        return {f"first_{span}": first for span, first in self._first.items()}


def purge(tx: Tx, zone: tzinfo) -> int:
    """Forget buckets that count no more; returns how many rows went."""
    before: dict[Span, int] = {span: first_bucket(span, tx.now, zone) for span in Span}
    before[Span.DAY] -= _KEPT_DAYS
    stale = [and_(quota.c.span == span, quota.c.bucket < before[span]) for span in Span]
    return tx.conn.execute(delete(quota).where(or_(*stale))).rowcount


def _scope(iccid: Iccid) -> str:
    return f"sim:{iccid}"


_COUNTS: Final = or_(
    quota.c.span == _GAP,
    *(and_(quota.c.span == span, quota.c.bucket >= bindparam(f"first_{span}")) for span in Span),
)
_MINE: Final = quota.c.scope.in_(bindparam("scopes", expanding=True))
_SUMS: Final = (
    select(
        quota.c.scope,
        quota.c.span,
        type_coerce(func.sum(quota.c.used), Integer),
        type_coerce(func.max(quota.c.bucket), BigInteger),
    )
    .where(_MINE, _COUNTS)
    .group_by(quota.c.scope, quota.c.span)
)
_BUCKETS: Final = select(quota.c.span, quota.c.bucket, quota.c.used).where(_MINE, _COUNTS)
_ADD: Final = (
    update(quota)
    .where(
        quota.c.scope == bindparam("s"),
        quota.c.span == bindparam("p"),
        quota.c.bucket == bindparam("b"),
    )
    .values(used=quota.c.used + bindparam("n"))
)
_MOVE_GAP: Final = (
    update(quota)
    .where(quota.c.scope == bindparam("s"), quota.c.span == _GAP)
    .values(bucket=bindparam("b"))
)
