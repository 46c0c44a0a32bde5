"""Other batches that use the same cards: what of them leaves before, or in turn; for previews."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, select

from modemctl.errors import PolicyRefused
from modemctl.lifecycle import BatchState, SegmentState
from modemctl.policy.approvals import ApprovalRules
from modemctl.policy.digest import BatchHeader, decode_header
from modemctl.policy.forecast import Front
from modemctl.store.tables import batch, segment

_GOING: Final = (BatchState.APPROVED, BatchState.RUNNING)
_UNSENT: Final = (SegmentState.QUEUED, SegmentState.LEASED, SegmentState.SUBMITTING)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontQuery:
    """Whose cards (`serving`, `card_group`) until when; not the batch itself."""

    batch_id: str
    serving: str
    card_group: str | None
    not_after: datetime
    now: datetime


def in_front(conn: Connection, rules: ApprovalRules, query: FrontQuery) -> Sequence[Front]:
    """Approved and running batches with something to send by these cards in that time.

    One that shares some of the cards alone counts whole.
    """
    chosen = select(
        batch.c.batch_id,
        batch.c.category,
        batch.c.department,
        batch.c.card_group,
        batch.c.priority,
        batch.c.state,
        batch.c.n_segments,
        batch.c.not_before,
        batch.c.header,
    ).where(
        batch.c.state.in_(_GOING),
        batch.c.batch_id != query.batch_id,
        batch.c.not_before < query.not_after,
        batch.c.not_after > query.now,
    )
    found: list[Front] = []
    for row in conn.execute(chosen):
        header = _header(row.header)
        is_loop = header is not None and header.is_loop
        serving = rules.serving_department(row.category, row.department, is_loop=is_loop)
        sends = header is None or header.standing is None
        is_ours = sends and serving == query.serving
        if not is_ours or not (
            query.card_group is None or row.card_group in {None, query.card_group}
        ):
            continue
        n = row.n_segments if row.state == BatchState.APPROVED else _unsent(conn, row.batch_id)
        if n:
            found.append(
                Front(
                    priority=row.priority,
                    department=row.department,
                    n_segments=n,
                    not_before=row.not_before,
                )
            )
    return found


def _header(octets: bytes) -> BatchHeader | None:
    """None where it was altered: nothing of it leaves, but that is not for a preview to say."""
    try:
        return decode_header(octets)
    except PolicyRefused:
        return None


def _unsent(conn: Connection, batch_id: str) -> int:
    """From the index of states alone: a million lines take some 50 ms."""
    counted = select(func.count()).where(
        segment.c.batch_id == batch_id, segment.c.state.in_(_UNSENT)
    )
    return conn.scalar(counted) or 0
