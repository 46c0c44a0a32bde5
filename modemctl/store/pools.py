"""Which cards could send a batch, what of their limits is used, how quick they are; for previews.

No MAC is read here: nothing is allowed by what is found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import or_, select

from modemctl.lifecycle import BatchState, CardState, ModemState, SegmentState
from modemctl.model import DesiredState
from modemctl.policy.forecast import Ceiling, Front
from modemctl.policy.quotas import Cap, QuotaRules, ScopeKind, Zones, setting_of
from modemctl.store import card_zones
from modemctl.store.headroom import Subject, uses
from modemctl.store.tables import batch, modem, segment, sim, to_ms
from modemctl.store.transaction import Tx

_LATEST_BATCHES: Final = 5
_MEASURED: Final = 200
_LEAST: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Cards that could send: how many of each carrier, what caps fall on them together.

    `seconds` is what a segment took lately, None: too few were sent. `fronts` use them too.
    `n_at_work` are those that sit in modems which send now.
    """

    n_cards: int
    n_at_work: int
    carriers: tuple[str | None, ...]
    ceilings: tuple[Ceiling, ...]
    seconds: float | None
    fronts: tuple[Front, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolQuery:
    """Whose cards: `serving` sends for `department`."""

    batch_id: str
    department: str
    serving: str
    card_group: str | None


def read_pool(tx: Tx, rules: QuotaRules, query: PoolQuery) -> Pool:
    """What could send a batch now."""
    today = tx.now.astimezone(rules.zone).date()
    chosen = select(
        sim.c.iccid, sim.c.holder, sim.c.carrier, sim.c.timezone, sim.c.zones_left
    ).where(
        sim.c.department == query.serving,
        sim.c.state == CardState.ISSUED,
        sim.c.verified_at.is_not(None),
        sim.c.is_reserved.is_(False),
        sim.c.is_paused.is_(False),
        or_(sim.c.lease_until.is_(None), sim.c.lease_until >= today),
    )
    if query.card_group is not None:
        chosen = chosen.where(sim.c.card_group == query.card_group)
    cards = tx.conn.execute(chosen).mappings().all()
    zones = {row["iccid"]: card_zones.binding(tx, row) for row in cards}
    groups: dict[ScopeKind, list[str | None]] = {
        ScopeKind.SIM: [*zones],
        ScopeKind.HOLDER: sorted({row["holder"] for row in cards}, key=str),
        ScopeKind.CARRIER: sorted({row["carrier"] for row in cards}, key=str),
        ScopeKind.DEPARTMENT: [query.department],
        ScopeKind.BATCH: [query.batch_id],
    }
    return Pool(
        n_cards=len(cards),
        n_at_work=len(_at_work(tx) & zones.keys()),
        carriers=tuple(groups[ScopeKind.CARRIER]),
        ceilings=tuple(_ceilings(tx, rules, groups, zones)),
        seconds=_measured(tx),
    )


def _ceilings(
    tx: Tx,
    rules: QuotaRules,
    groups: Mapping[ScopeKind, Sequence[str | None]],
    zones: Mapping[str, Zones | None],
) -> Iterator[Ceiling]:
    for kind, names in groups.items():
        caps = rules.by_kind.get(kind, ())
        if not caps or not names or None in names:  # a card that a cap does not bind has no end
            continue
        used = _used(
            tx,
            rules,
            [
                Subject(kind=kind, name=name, department=None, zones=zones.get(name))
                for name in names
                if name is not None
            ],
        )
        for cap in caps:
            most = cap.most * len(names)
            together = Cap(measure=cap.measure, span=cap.span, most=most)
            n_used = min(used[cap.column], most)
            setting = setting_of(kind, cap)
            yield Ceiling(cap=together, used=n_used, setting=setting, kind=kind)


def _used(tx: Tx, rules: QuotaRules, subjects: Iterable[Subject]) -> Counter[str]:
    each: dict[tuple[str, str], int] = {}
    for use in uses(tx, rules, subjects):
        place = (use.subject.name, use.cap.column)
        each[place] = max(each.get(place, 0), min(use.used, use.cap.most))
    found: Counter[str] = Counter()
    for (_, column), n in each.items():
        found[column] += n
    return found


def _at_work(tx: Tx) -> set[str]:
    chosen = select(modem.c.iccid).where(
        modem.c.state == ModemState.READY, modem.c.desired_state == DesiredState.RUN
    )
    return {iccid for iccid in tx.conn.scalars(chosen) if iccid is not None}


def _measured(tx: Tx) -> float | None:
    """Mean seconds from a segment's submit to its answer, of the latest that were sent."""
    latest: Sequence[str] = tx.conn.scalars(
        select(batch.c.batch_id)
        .where(batch.c.state.in_((BatchState.DONE, BatchState.RUNNING)))
        .order_by(batch.c.state_at.desc())
        .limit(_LATEST_BATCHES)
    ).all()
    times = tx.conn.execute(
        select(segment.c.submitting_at, segment.c.sent_at)
        .where(
            segment.c.batch_id.in_(latest),
            segment.c.state.in_((SegmentState.SENT, SegmentState.DELIVERED)),
            segment.c.sent_at.is_not(None),
            segment.c.submitting_at.is_not(None),
        )
        .limit(_MEASURED)
    ).all()
    if len(times) < _LEAST:
        return None
    total = sum(to_ms(row.sent_at) - to_ms(row.submitting_at) for row in times)
    return max(0.05, total / len(times) / 1_000)
