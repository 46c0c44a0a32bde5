"""Messages that came to rest: each is told once, when the last of its segments did."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Final

from sqlalchemy import bindparam, select

from modemctl.lifecycle import MessageState, SegmentState, message_state
from modemctl.model import EventKind
from modemctl.store.prepared import Prepared
from modemctl.store.tables import segment
from modemctl.store.transaction import Tx

_MOST: Final = 512
"""Messages asked for at once: of some hundred thousand a database takes no list."""


def announce(tx: Tx, message_ids: Collection[int]) -> None:
    """An event for each of these messages that has come to rest."""
    ids = sorted(message_ids)
    for at in range(0, len(ids), _MOST):
        _announce(tx, ids[at : at + _MOST])


def _announce(tx: Tx, message_ids: Sequence[int]) -> None:
    rows = _SEGMENTS.rows(tx.conn, {"ids": message_ids})
    for message_id, same in groupby(rows, key=lambda row: row.message_id):
        own = list(same)
        state = message_state(SegmentState(row.state) for row in own)
        if state not in {MessageState.QUEUED, MessageState.SENDING}:
            facts = {"batch_id": own[0].batch_id, "state": state.value}
            tx.event(EventKind.MESSAGE, str(message_id), facts)


_SEGMENTS: Final = Prepared(
    select(segment.c.message_id, segment.c.batch_id, segment.c.state)
    .where(segment.c.message_id.in_(bindparam("ids", expanding=True)))
    .order_by(segment.c.message_id)
)
