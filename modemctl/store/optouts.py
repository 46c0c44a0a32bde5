"""Numbers that may not be written to, found by blind index (SIM-08)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from modemctl.errors import TamperedError
from modemctl.lifecycle import SegmentState
from modemctl.model import BatchId, SegmentId, mask_number
from modemctl.store.finals import announce
from modemctl.store.tables import ITS_MESSAGE, message, opt_out, recipient, segment
from modemctl.store.transaction import Transition, Tx
from modemctl.vault import Vault

BY_SMS = "sms"
BY_PERSON = "api"
ERASED_NUMBER: Final = b""
"""What stands sealed where the number was erased; the opt-out itself counts on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOut:
    """One number; None where it was erased, or its row tampered with (it still counts)."""

    bidx: bytes
    number: str | None = field(repr=False)
    at: datetime
    source: str
    keyword: str | None
    by: str


def add(tx: Tx, number: str, *, source: str, by: str, keyword: str | None = None) -> bool:
    """Note that a number (E.164) opted out; False if it had before."""
    bidx = tx.vault.blind_index(number)
    if tx.conn.scalar(select(opt_out.c.at).where(opt_out.c.number_bidx == bidx)) is not None:
        return False
    tx.conn.execute(
        insert(opt_out).values(
            number_bidx=bidx,
            number_enc=tx.vault.encrypt_text(number, place=number_place(bidx)),
            at=tx.now,
            source=source,
            keyword=keyword,
            by=by,
        )
    )
    details = {"number": mask_number(number), "source": source, "policy": "SIM-08"}
    tx.audit(by, "opt_out.add", bidx.hex(), details)
    return True


def add_from_sms(tx: Tx, number: str, keyword: str) -> bool:
    """Note an opt-out that came by SMS (`keyword` as `content.opt_out_keyword` gave it)."""
    return add(tx, number, source=BY_SMS, by="sms", keyword=keyword[:32])


def remove(tx: Tx, number: str, *, by: str, reason: str) -> bool:
    """Take a number off the list; False if it was not on it."""
    bidx = tx.vault.blind_index(number)
    gone = tx.conn.execute(delete(opt_out).where(opt_out.c.number_bidx == bidx))
    if not gone.rowcount:
        return False
    details = {"number": mask_number(number), "reason": reason, "policy": "SIM-08"}
    tx.audit(by, "opt_out.remove", bidx.hex(), details)
    return True


def refuse_waiting(tx: Tx, batch_id: BatchId) -> int:
    """Refuse what waits in a batch for numbers that opted out meanwhile; returns how many segments.

    The gate before the modem asks again (`store.submits`): numbers opt out at any time.
    """
    waiting = tx.conn.execute(_WAITING, {"batch": batch_id}).all()
    if not waiting:
        return 0
    note = "the recipient opted out"
    rows = [{"id": row.segment_id, "when": tx.now, "what": note} for row in waiting]
    tx.conn.execute(_REFUSE, rows)
    for row in waiting:
        change = Transition(
            segment_id=SegmentId(row.segment_id),
            before=SegmentState.QUEUED,
            after=SegmentState.REFUSED,
            actor=tx.node_id,
            note=note,
        )
        tx.transition(change)
    announce(tx, {row.message_id for row in waiting})
    return len(waiting)


_WAITING: Final = (
    select(segment.c.segment_id, segment.c.message_id)
    .select_from(opt_out)
    .join(recipient, recipient.c.recipient_bidx == opt_out.c.number_bidx)
    .join(message, ITS_MESSAGE)
    .join(segment, segment.c.message_id == message.c.message_id)
    .where(recipient.c.batch_id == bindparam("batch"), segment.c.state == SegmentState.QUEUED)
    .order_by(segment.c.segment_id)
)
_REFUSE: Final = (
    update(segment)
    .where(segment.c.segment_id == bindparam("id"), segment.c.state == SegmentState.QUEUED)
    .values(
        state=SegmentState.REFUSED.value,
        final_at=bindparam("when"),
        cause="policy:SIM-08",
        note=bindparam("what"),
    )
)


def find(conn: Connection, vault: Vault, number: str) -> OptOut | None:
    """The opt-out of a number (E.164)."""
    row = conn.execute(
        select(opt_out).where(opt_out.c.number_bidx == vault.blind_index(number))
    ).first()
    return None if row is None else _opt_out(vault, row)


def list_opt_outs(conn: Connection, vault: Vault, *, after: bytes, limit: int) -> Sequence[OptOut]:
    """Opt-outs in the order of their index, behind `after`."""
    rows = conn.execute(
        select(opt_out)
        .where(opt_out.c.number_bidx > after)
        .order_by(opt_out.c.number_bidx)
        .limit(limit)
    )
    return [_opt_out(vault, row) for row in rows]


def _opt_out(vault: Vault, row: Row[tuple[object, ...]]) -> OptOut:
    try:
        place = number_place(row.number_bidx)
        number = vault.decrypt_text(row.number_enc, place=place) or None
    except TamperedError:
        number = None
    return OptOut(
        bidx=row.number_bidx,
        number=number,
        at=row.at,
        source=row.source,
        keyword=row.keyword,
        by=row.by,
    )


def number_place(bidx: bytes) -> str:
    """Where a number on the list stands, for the vault."""
    return f"opt_out.number_enc:{bidx.hex()}"
