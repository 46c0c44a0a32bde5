"""Entries of the audit log drawn for a spot check (SEC-05)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from modemctl.errors import InvalidRequest, PolicyRefused
from modemctl.policy.paper_periods import Period, read_span
from modemctl.policy.sampling import LEAST, draw, seed_of
from modemctl.service.audits import AuditRecord, record_of
from modemctl.service.principal import Principal, Scope
from modemctl.store import Store, Tx
from modemctl.store import audits as rows
from modemctl.store.audits import Span
from modemctl.store.transaction import Json

__all__ = ["LEAST", "AuditSample", "AuditSamples", "SampleAsk"]

_SUBJECT: Final = "audit"
_MOST: Final = 5_000  # entries of one sample


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleAsk:
    """Of which time: a `week` (2026-W47) that is over, or since … until; or an earlier draw's seed.

    With a seed, all else is as that draw had it.
    """

    since: datetime | None = None
    until: datetime | None = None
    week: str | None = None
    percent: int = LEAST
    seed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSample:
    """Entries drawn; whoever repeats the draw by its `seed` gets the same ones."""

    seed: str
    percent: int
    first: int
    last: int
    n_entries: int
    items: Sequence[AuditRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draw:
    span: Span
    percent: int
    seed: str


class AuditSamples:
    """Draws from this node's log, on record; nobody chooses what is drawn."""

    def __init__(self, store: Store, *, zone: tzinfo) -> None:
        """`zone`: where a week begins at midnight."""
        self._store = store
        self._zone = zone

    async def sample(self, who: Principal, ask: SampleAsk) -> AuditSample:
        """Draw entries for a spot check; group commits' own entries are none of them.

        Raises:
            NotPermitted: without `audit:read`, or of one department only.
            InvalidRequest: no entry in that time, too many, a share that is too small, or a week
                that is not over.
            PolicyRefused: SEC-05, a seed of no earlier draw.
        """
        who.require(Scope.AUDIT_READ)
        who.require_all_departments()
        if not LEAST <= ask.percent <= 100:
            raise InvalidRequest(f"must be {LEAST} to 100 (SEC-05)", field="percent")
        week = None if ask.week is None else self._week(ask.week)

        def act(tx: Tx) -> AuditSample:
            drawn = _new_draw(tx, ask, week) if ask.seed is None else _recorded(tx, ask.seed)
            return _sample(tx, who, drawn)

        return await self._store.write(act)

    def _week(self, text: str) -> Period:
        week = read_span(text, self._zone)
        if "W" not in week.name:
            raise InvalidRequest("must be a week", field="week", value=text[:20], cure="2026-W47")
        if week.end > self._store.clock.now():
            raise InvalidRequest("is not over yet", field="week", value=week.name)
        return week


def _new_draw(tx: Tx, ask: SampleAsk, week: Period | None) -> _Draw:
    since, until = (ask.since, ask.until) if week is None else (week.first, week.end)
    span = rows.span_of(tx.conn, node_id=tx.node_id, since=since, until=until)
    if span is None:
        raise InvalidRequest("no entry of the log is of that time", field="since")
    (last,) = rows.read_entries(tx.conn, node_id=tx.node_id, numbers=[span.last])
    label = "span" if week is None else "week"
    return _Draw(span=span, percent=ask.percent, seed=seed_of(last.signature, label))


def _recorded(tx: Tx, seed: str) -> _Draw:
    """The draw that had this seed; one that somebody made up could choose what is looked at."""
    for entry in rows.read_acts(tx.conn, node_id=tx.node_id, action="audit.sample"):
        told: Mapping[str, object] = json.loads(entry.draft.details)
        if told.get("seed") != seed:
            continue
        first, last, percent = told.get("first"), told.get("last"), told.get("percent")
        assert isinstance(first, int)
        assert isinstance(last, int)
        assert isinstance(percent, int)
        span = Span(first=first, last=last, prev=b"")
        return _Draw(span=span, percent=percent, seed=seed)
    raise PolicyRefused(
        "SEC-05",
        "nobody chooses a seed: it is that of an earlier draw",
        field="seed",
        cure="leave it out; it comes from the chain itself",
    )


def _sample(tx: Tx, who: Principal, drawn: _Draw) -> AuditSample:
    span = drawn.span
    numbers = rows.acts_of(tx.conn, node_id=tx.node_id, span=span)
    chosen = draw(numbers, drawn.percent, drawn.seed)
    if len(chosen) > _MOST:
        raise InvalidRequest(
            f"more than {_MOST} entries; name a shorter time",
            cure="modemctl report make spot_check has them all",
        )
    found = rows.read_entries(tx.conn, node_id=tx.node_id, numbers=chosen)
    told: dict[str, Json] = {
        "seed": drawn.seed,
        "percent": drawn.percent,
        "first": span.first,
        "last": span.last,
        "n": len(chosen),
        "source": who.source,
    }
    tx.audit(who.name, "audit.sample", _SUBJECT, told)
    return AuditSample(
        seed=drawn.seed,
        percent=drawn.percent,
        first=span.first,
        last=span.last,
        n_entries=len(numbers),
        items=[record_of(entry) for entry in found],
    )
