"""Messages that came to rest: each is told once, when the last of its segments did."""

from __future__ import annotations

from collections.abc import Collection
from itertools import groupby

from sqlalchemy import select

from modemctl.lifecycle import MessageState, SegmentState, message_state
from modemctl.model import EventKind
from modemctl.store.tables import segment
from modemctl.store.transaction import Tx


def announce(tx: Tx, message_ids: Collection[int]) -> None:
    """An event for each of these messages that has come to rest."""
    rows = tx.conn.execute(
        select(segment.c.message_id, segment.c.batch_id, segment.c.state)
        .where(segment.c.message_id.in_(sorted(message_ids)))
        .order_by(segment.c.message_id)
    ).all()
    for message_id, same in groupby(rows, key=lambda row: row.message_id):
        own = list(same)
        state = message_state(SegmentState(row.state) for row in own)
        if state not in {MessageState.QUEUED, MessageState.SENDING}:
            facts = {"batch_id": own[0].batch_id, "state": state.value}
            tx.event(EventKind.MESSAGE, str(message_id), facts)
