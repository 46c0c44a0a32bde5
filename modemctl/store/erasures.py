"""Erasing a person: number, name and what was written go, their keyed hashes stay.

What was signed, counted and chained stands on leaves and hashes, so nothing breaks: a line's leaf
still tells that there was a line, an opt-out still keeps messages from the number, and the log
still says what happened. What nobody has any more is the number itself, and the text.
"""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Table,
    func,
    insert,
    null,
    select,
    update,
)

from modemctl.policy.records import RecordClass
from modemctl.store import custody, customers, holds, identities, sims
from modemctl.store.evidence import ERASED_LINE, seal_line
from modemctl.store.inbox import ERASED_TPDU, tpdu_place
from modemctl.store.optouts import ERASED_NUMBER, number_place
from modemctl.store.purges import OVER
from modemctl.store.tables import (
    ITS_MESSAGE,
    batch,
    call,
    erasure,
    inbox,
    legal_hold,
    message,
    opt_out,
    recipient,
    report,
    sim,
    to_ms,
)
from modemctl.store.transaction import Json, Tx
from modemctl.vault import Vault

_NAME_DIGITS: Final = 16  # of the keyed hash that stands for a name
_MAX_NAMED: Final = 5  # batches that a refusal names


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What is stored of a number, and what forbids to erase it.

    `documents`: the cards whose holder's identity number it is, and their states.
    """

    n_messages: int
    n_inbox: int
    n_calls: int
    n_reports: int
    is_opted_out: bool
    n_customer: int
    n_held: int
    open_batches: Sequence[str]
    cards: Sequence[str]
    documents: Mapping[str, str]  # card → state

    @property
    def n_rows(self) -> int:
        """Rows that carry the number or a text of it."""
        n_found = self.n_messages + self.n_inbox + self.n_calls + self.is_opted_out
        return n_found + len(self.documents) + self.n_customer


def look(tx: Tx, bidx: bytes) -> Findings:
    """What is stored of the number behind a blind index."""
    conn = tx.conn
    kept = holds.kept(conn, tx.vault)
    documents = identities.cards_of(tx, bidx)
    of_number = select(recipient.c.batch_id).where(recipient.c.recipient_bidx == bidx)
    is_its = batch.c.batch_id.in_(of_number)
    n_held = (
        _count(conn, batch, is_its, kept.rows(RecordClass.BATCH))
        + _count(conn, inbox, inbox.c.sender_bidx == bidx, kept.rows(RecordClass.INBOX))
        + _count(conn, call, call.c.number_bidx == bidx, kept.rows(RecordClass.CALL))
        + (kept.everything or bidx in kept.numbers)
        + len(documents.keys() & kept.cards)
    )
    open_batches = select(batch.c.batch_id).where(is_its, batch.c.state.not_in(OVER))
    return Findings(
        n_messages=_count(conn, recipient, recipient.c.recipient_bidx == bidx),
        n_inbox=_count(conn, inbox, inbox.c.sender_bidx == bidx),
        n_calls=_count(conn, call, call.c.number_bidx == bidx),
        n_reports=_count(conn, report, report.c.recipient_bidx == bidx),
        is_opted_out=_count(conn, opt_out, opt_out.c.number_bidx == bidx) > 0,
        n_customer=customers.n_registers(conn, tx.vault, bidx),
        n_held=n_held,
        open_batches=conn.scalars(open_batches.limit(_MAX_NAMED)).all(),
        documents=documents,
        cards=conn.scalars(select(sim.c.iccid).where(sim.c.number_bidx == bidx)).all(),
    )


def erase(tx: Tx, bidx: bytes, *, by: str, request_id: str, reason: str) -> int:
    """Take the number and its texts out of every row; returns how many rows changed."""
    n_rows = sum(act(tx, bidx) for act in _ACTS)
    values: dict[str, object] = {
        "erasure_id": str(uuid.uuid4()),
        "number_bidx": bidx,
        "at": tx.now,
        "by": by,
        "request_id": request_id,
        "reason": reason,
        "n_rows": n_rows,
    }
    tx.conn.execute(insert(erasure).values(**values, mac=_mac(tx.vault, values)))
    facts: dict[str, Json] = {"n_rows": n_rows, "request": request_id, "policy": "SEC-08"}
    tx.audit(by, "erasure.run", bidx.hex(), {**facts, "reason": reason})
    return n_rows


def _count(conn: Connection, table: Table, *which: ColumnElement[bool]) -> int:
    n = conn.scalar(select(func.count()).select_from(table).where(*which))
    assert n is not None, "a count is a number"
    return n


def is_intact(vault: Vault, row: RowMapping) -> bool:
    """Whether an erasure is as it was written."""
    return hmac.compare_digest(row["mac"], _mac(vault, {**row}))


def _mac(vault: Vault, row: Mapping[str, object]) -> bytes:
    bidx, at = row["number_bidx"], row["at"]
    assert isinstance(bidx, bytes)
    assert isinstance(at, datetime)
    facts = (row["by"], row["request_id"], row["n_rows"])
    return vault.mac("erasure", row["erasure_id"], bidx.hex(), to_ms(at), *facts)


# ---------------------------------------------------------------- the rows


def _messages(tx: Tx, bidx: bytes) -> int:
    rows = tx.conn.execute(
        select(message.c.message_id, message.c.batch_id, message.c.line_no)
        .select_from(recipient.join(message, ITS_MESSAGE))
        .where(recipient.c.recipient_bidx == bidx)
    ).all()
    for row in rows:
        sealed = seal_line(tx.vault, row.batch_id, row.line_no, ERASED_LINE)
        ours = message.c.message_id == row.message_id
        tx.conn.execute(update(message).where(ours).values(line_enc=sealed))
    return len(rows)


def _inbox(tx: Tx, bidx: bytes) -> int:
    rows = tx.conn.execute(
        select(inbox.c.inbox_id, inbox.c.fingerprint).where(inbox.c.sender_bidx == bidx)
    ).all()
    for row in rows:
        sealed = tx.vault.encrypt(ERASED_TPDU, place=tpdu_place(row.fingerprint))
        tx.conn.execute(
            update(inbox)
            .where(inbox.c.inbox_id == row.inbox_id)
            .values(sender_enc=null(), body_enc=null(), tpdu_enc=sealed)
        )
    return len(rows)


def _calls(tx: Tx, bidx: bytes) -> int:
    ours = update(call).where(call.c.number_bidx == bidx, call.c.number_enc.is_not(None))
    return tx.conn.execute(ours.values(number_enc=null())).rowcount


def _opt_outs(tx: Tx, bidx: bytes) -> int:
    sealed = tx.vault.encrypt(ERASED_NUMBER, place=number_place(bidx))
    ours = update(opt_out).where(opt_out.c.number_bidx == bidx)
    return tx.conn.execute(ours.values(number_enc=sealed)).rowcount


def _holds(tx: Tx, bidx: bytes) -> int:
    """Lifted ones; one in force forbids all this."""
    ours = update(legal_hold).where(
        legal_hold.c.subject == bidx.hex(), legal_hold.c.number_enc.is_not(None)
    )
    return tx.conn.execute(ours.values(number_enc=null())).rowcount


def _names(tx: Tx, bidx: bytes) -> int:
    """The name of a document's holder: out of his cards' rows; in their history a keyed hash."""
    n = 0
    for iccid in identities.cards_of(tx, bidx):
        name = tx.conn.scalar(select(sim.c.holder).where(sim.c.iccid == iccid))
        if name is None:
            continue
        word = f"erased-{tx.vault.mac('erased_name', name).hex()[:_NAME_DIGITS]}"
        sims.amend(tx, iccid, {"holder": None})
        n += custody.rename(tx, iccid, name, word)
        ours = update(call).where(call.c.iccid == iccid, call.c.holder == name)
        n += tx.conn.execute(ours.values(holder=word)).rowcount
    return n


_ACTS: Final[Sequence[Callable[[Tx, bytes], int]]] = (
    _messages, _inbox, _calls, _opt_outs, _holds, _names, identities.erase, customers.erase,
)  # fmt: skip
