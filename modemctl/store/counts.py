"""How many of each there are: for metrics, not for decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, Select, func, select

from modemctl.lifecycle import BATCH, BatchState
from modemctl.store import card_locks, incidents, reseal, stop_book, violations
from modemctl.store.tables import batch, segment, sim

_OPEN: Final = tuple(
    state for state, to in BATCH.items() if to and state is not BatchState.DRAFT
)  # not a list that comes in just now: counting a million lines takes its time


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """State → number; segments are those of batches whose list is complete and not over."""

    sims: Mapping[str, int] = field(default_factory=dict)
    batches: Mapping[str, int] = field(default_factory=dict)
    segments: Mapping[str, int] = field(default_factory=dict)
    locks: Mapping[str, int] = field(default_factory=dict)
    stops: Mapping[str, int] = field(default_factory=dict)
    incidents: Mapping[str, int] = field(default_factory=dict)
    vault_rows_old: int = 0
    cases: Mapping[str, int] = field(default_factory=dict)


def read(conn: Connection) -> Counts:
    """Count cards, batches and open segments; each from an index."""
    still_open = select(batch.c.batch_id).where(batch.c.state.in_(_OPEN))
    return Counts(
        sims=_by_state(conn, select(sim.c.state, func.count()).group_by(sim.c.state)),
        batches=_by_state(conn, select(batch.c.state, func.count()).group_by(batch.c.state)),
        segments=_by_state(
            conn,
            select(segment.c.state, func.count())
            .where(segment.c.batch_id.in_(still_open))
            .group_by(segment.c.state),
        ),
        locks=card_locks.count(conn),
        stops=stop_book.count_standing(conn),
        incidents=incidents.counts(conn),
        vault_rows_old=0 if (rotation := reseal.read(conn)) is None else rotation.n_left,
        cases=violations.counts(conn),
    )


def _by_state(conn: Connection, query: Select[str, int]) -> Mapping[str, int]:
    return {state: n for state, n in conn.execute(query)}  # noqa: C416 - dict() takes no rows
