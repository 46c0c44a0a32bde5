"""What an evidence package holds: all that is stored of a batch, a card, a number or a period."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, RowMapping, Select, Table, and_, false, func, or_, select

from modemctl.errors import TamperedError
from modemctl.policy.digest import leaf
from modemctl.store import calls, inbox
from modemctl.store import tables as of
from modemctl.store.evidence import open_line
from modemctl.store.holds import NewHold
from modemctl.store.transaction import Json, Tx


def subject_of(tx: Tx, wanted: NewHold) -> str:
    """What two persons name: the kind, and its ICCID, keyed hash, batch or period."""
    if wanted.number is not None:
        return f"number:{tx.vault.blind_index(wanted.number).hex()}"
    if wanted.since is not None and wanted.until is not None:
        return f"period:{wanted.since.isoformat()}/{wanted.until.isoformat()}"
    return f"{wanted.kind.value}:{wanted.iccid or wanted.batch_id}"


def count_lines(tx: Tx, wanted: NewHold) -> int:
    """Lines that the package would hold."""
    batch_ids = _batch_ids(tx, wanted)
    statement = select(func.count()).select_from(of.message).where(_lines(tx, wanted, batch_ids))
    n = tx.conn.scalar(statement)
    assert n is not None, "a count is a number"
    return n


def read_files(tx: Tx, wanted: NewHold) -> Mapping[str, Sequence[Mapping[str, Json]]]:
    """Name of a file → its objects, in order."""
    batch_ids = _batch_ids(tx, wanted)
    of_batches = {"batch": of.batch, "approval": of.approval, "confirmation": of.confirmation,
                  "chunk": of.batch_chunk}  # fmt: skip
    files: dict[str, Sequence[Mapping[str, Json]]] = {
        name: [_plain(row) for row in _rows(tx, table, table.c.batch_id.in_(batch_ids))]
        for name, table in of_batches.items()
    }
    files["approver_key"] = _approver_keys(tx, batch_ids)
    is_line = _lines(tx, wanted, batch_ids)
    files["line"] = [_line(tx, row) for row in _rows(tx, of.message, is_line)]
    is_segment = of.segment.c.message_id.in_(select(of.message.c.message_id).where(is_line))
    ids = select(of.segment.c.segment_id).where(is_segment)
    of_segments = {
        "segment": (of.segment, is_segment),
        "journal": (of.segment_journal, of.segment_journal.c.segment_id.in_(ids)),
        "report": (of.report, of.report.c.segment_id.in_(ids)),
    }
    files |= {
        name: [_plain(row) for row in _rows(tx, table, which)]
        for name, (table, which) in of_segments.items()
    }
    files |= _traffic(tx, wanted)
    subjects = [*batch_ids, *(one for one in (wanted.iccid,) if one is not None)]
    if wanted.number is not None:
        subjects.append(tx.vault.blind_index(wanted.number).hex())
    files["audit"] = [
        _plain(row) for row in _rows(tx, of.audit_entry, of.audit_entry.c.subject.in_(subjects))
    ]
    return files


def _batch_ids(tx: Tx, wanted: NewHold) -> Sequence[str]:
    statement: Select[str]
    if wanted.batch_id is not None:
        return [wanted.batch_id]
    if wanted.iccid is not None:
        statement = select(of.segment.c.batch_id).where(of.segment.c.iccid == wanted.iccid)
    elif wanted.number is not None:
        bidx = tx.vault.blind_index(wanted.number)
        statement = select(of.recipient.c.batch_id).where(of.recipient.c.recipient_bidx == bidx)
    else:
        statement = select(of.batch.c.batch_id).where(
            of.batch.c.created_at <= wanted.until, of.batch.c.state_at >= wanted.since
        )
    return sorted(set(tx.conn.scalars(statement)))


def _lines(tx: Tx, wanted: NewHold, batch_ids: Sequence[str]) -> ColumnElement[bool]:
    is_its = of.message.c.batch_id.in_(batch_ids)
    if wanted.number is not None:
        bidx = tx.vault.blind_index(wanted.number)
        return and_(is_its, of.message.c.recipient_bidx == bidx)
    if wanted.iccid is not None:
        by_card = select(of.segment.c.message_id).where(of.segment.c.iccid == wanted.iccid)
        return and_(is_its, of.message.c.message_id.in_(by_card))
    return is_its


def _traffic(tx: Tx, wanted: NewHold) -> Mapping[str, Sequence[Mapping[str, Json]]]:
    """What came in; nothing for a batch."""
    which: dict[str, ColumnElement[bool]] = {"inbox": false(), "call": false()}
    if wanted.iccid is not None:
        which = {"inbox": of.inbox.c.iccid == wanted.iccid, "call": of.call.c.iccid == wanted.iccid}
    elif wanted.number is not None:
        bidx = tx.vault.blind_index(wanted.number)
        which = {"inbox": of.inbox.c.sender_bidx == bidx, "call": of.call.c.number_bidx == bidx}
    elif wanted.since is not None and wanted.until is not None:
        span = (wanted.since, wanted.until)
        which = {
            "inbox": of.inbox.c.received_at.between(*span),
            "call": or_(of.call.c.started_at.between(*span)),
        }
    return {
        "inbox": [_message(tx, row) for row in _rows(tx, of.inbox, which["inbox"])],
        "call": [_call(tx, row) for row in _rows(tx, of.call, which["call"])],
    }


def _line(tx: Tx, row: RowMapping) -> Mapping[str, Json]:
    """The line as it was approved, with what proves it: its own salt and leaf."""
    facts = dict(_plain(row))
    batch_id, line_no = row["batch_id"], row["line_no"]
    columns = (of.batch.c.salt_nonce, of.batch.c.under)
    nonce, under = tx.conn.execute(select(*columns).where(of.batch.c.batch_id == batch_id)).one()
    try:
        octets = open_line(tx.vault, batch_id, line_no, row["line_enc"])
    except TamperedError:
        return {**facts, "line": None, "fault": "it does not open: the row was altered"}
    facts["line"] = octets.decode()
    if nonce is not None:
        salt = tx.vault.batch_salt(under or batch_id, nonce)
        facts["salt"] = hmac.digest(salt, str(line_no).encode(), "sha256").hex()
        facts["leaf"] = leaf(octets, salt=salt, line_no=line_no).hex()
    return facts


def _message(tx: Tx, row: RowMapping) -> Mapping[str, Json]:
    facts = dict(_plain(row))
    for column in ("sender_enc", "body_enc"):
        place = inbox.place(column, row["fingerprint"])
        facts[column.removesuffix("_enc")] = _opened(tx, row[column], place)
    return facts


def _call(tx: Tx, row: RowMapping) -> Mapping[str, Json]:
    place = calls.number_place(row["bay"], row["started_at"])
    return {**_plain(row), "number": _opened(tx, row["number_enc"], place)}


def _opened(tx: Tx, sealed: bytes | None, place: str) -> str | None:
    try:
        return (
            None
            if sealed is None
            else tx.vault.decrypt(sealed, place=place).decode(errors="replace")
        )
    except TamperedError:
        return None


def _approver_keys(tx: Tx, batch_ids: Sequence[str]) -> Sequence[Mapping[str, Json]]:
    used = select(of.approval.c.kid).where(of.approval.c.batch_id.in_(batch_ids))
    return [_plain(row) for row in _rows(tx, of.approver_key, of.approver_key.c.kid.in_(used))]


def _rows(tx: Tx, table: Table, which: ColumnElement[bool]) -> Sequence[RowMapping]:
    order = tuple(table.primary_key.columns)
    return tx.conn.execute(select(table).where(which).order_by(*order)).mappings().all()


def _plain(row: RowMapping) -> Mapping[str, Json]:
    """A row without its ciphertexts and MACs, octets in hexadecimal, instants in UTC."""
    hidden = ("_enc", "mac")
    return {
        name: _json(value)
        for name, value in row.items()
        if not str(name).endswith(hidden) and name != "salt_nonce"
    }


def _json(value: object) -> Json:
    match value:
        case None | bool() | int() | str():
            return value
        case bytes():
            return value.hex()
        case datetime():
            return value.isoformat()
    return str(value)
