"""What came of the messages that cards sent to themselves: outcomes, and the cards' inboxes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, Row, RowMapping, func, select

from modemctl.errors import TamperedError
from modemctl.lifecycle import BatchState, SegmentState
from modemctl.model import Iccid
from modemctl.policy.loops import LoopFacts
from modemctl.store.tables import batch, inbox, message, segment, sim
from modemctl.store.transaction import Tx
from modemctl.vault import Vault

_STALE: Final = timedelta(days=2)
"""A text that comes later than that after its run is not taken for ours any more."""
_SHOWN: Final = timedelta(days=14)
"""What a run of longer ago came to says nothing of a card any more."""
_STOPPED: Final = frozenset({BatchState.HELD, BatchState.CANCELLED})


def is_ours(tx: Tx, *, iccid: str | None, sender: str, text: str | None) -> bool:
    """Whether a text that came in is what this very card was given to send to itself."""
    if iccid is None or text is None:
        return False
    index = tx.vault.blind_index(sender)
    runs = (
        select(batch.c.batch_id)
        .join(message, message.c.batch_id == batch.c.batch_id)
        .join(sim, sim.c.number_bidx == message.c.recipient_bidx)
        .where(
            batch.c.under.is_not(None),
            batch.c.created_at > tx.now - _STALE,
            batch.c.template == text,
            sim.c.iccid == iccid,
            sim.c.number_bidx == index,
        )
    )
    return tx.conn.scalar(runs.limit(1)) is not None


def latest(conn: Connection, vault: Vault, *, now: datetime) -> Mapping[Iccid, LoopFacts]:
    """The latest message of each card to itself, of its department's run of the last two weeks."""
    newest = (
        select(func.max(batch.c.created_at))
        .where(batch.c.under.is_not(None), batch.c.created_at > now - _SHOWN)
        .group_by(batch.c.department)
    )
    runs = select(batch).where(batch.c.under.is_not(None), batch.c.created_at.in_(newest))
    found: dict[Iccid, LoopFacts] = {}
    for run in conn.execute(runs.order_by(batch.c.created_at)).all():
        arrived = _arrived(conn, vault, run)
        for iccid, rows in _segments(conn, run.batch_id).items():
            found[iccid] = _facts(run, rows, arrived.get(iccid))
    return found


def _segments(conn: Connection, batch_id: str) -> Mapping[Iccid, Sequence[RowMapping]]:
    rows = conn.execute(
        select(sim.c.iccid, segment.c.state, segment.c.note, segment.c.cause, segment.c.sent_at)
        .join(message, message.c.recipient_bidx == sim.c.number_bidx)
        .join(segment, segment.c.message_id == message.c.message_id)
        .where(message.c.batch_id == batch_id)
        .order_by(segment.c.segment_id)
    )
    found: dict[Iccid, list[RowMapping]] = defaultdict(list)
    for row in rows.mappings():
        found[Iccid(row["iccid"])].append(row)
    return found


def _facts(
    run: Row[tuple[object, ...]],
    rows: Sequence[RowMapping],
    arrived_at: datetime | None,
) -> LoopFacts:
    notes = [" ".join(one for one in (row["note"], row["cause"]) if one) for row in rows]
    sent = [row["sent_at"] for row in rows if row["sent_at"] is not None]
    state = BatchState(run.state)
    return LoopFacts(
        states=[SegmentState(row["state"]) for row in rows],
        note=next((one for one in notes if one), "its card was not ready"),
        held=f"its batch is {state}, {run.reason}" if state in _STOPPED else None,
        sent_at=max(sent) if len(sent) == len(rows) else None,
        arrived_at=arrived_at,
        is_ruled=any((row["cause"] or "").startswith("policy:") for row in rows),
    )


def _arrived(
    conn: Connection, vault: Vault, run: Row[tuple[object, ...]]
) -> Mapping[Iccid, datetime]:
    """When its text first came in on the card that sent it, from the card's own number."""
    rows = conn.execute(
        select(inbox.c.iccid, inbox.c.received_at, inbox.c.body_enc, inbox.c.fingerprint)
        .join(sim, sim.c.iccid == inbox.c.iccid)
        .where(
            inbox.c.sender_bidx == sim.c.number_bidx,
            inbox.c.received_at >= run.created_at,
            inbox.c.received_at < run.created_at + _STALE,
            inbox.c.is_repeat.is_(False),
            inbox.c.body_enc.is_not(None),
        )
        .order_by(inbox.c.inbox_id.desc())
    )
    found: dict[Iccid, datetime] = {}
    for row in rows:
        try:
            place = f"inbox.body_enc:{row.fingerprint.hex()}"
            body = vault.decrypt(row.body_enc, place=place)
        except TamperedError:
            continue
        if body == run.template.encode():
            found[Iccid(row.iccid)] = row.received_at
    return found
