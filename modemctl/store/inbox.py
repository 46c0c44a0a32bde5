"""Incoming messages: stored before anything is deleted or acknowledged, repeats too.

`add` is a set act. A row's texts are sealed for its fingerprint, which repeats share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from sqlalchemy import Connection, RowMapping, and_, insert, select, update

from modemctl.errors import TamperedError
from modemctl.model import EventKind
from modemctl.policy.incoming import InboxKind, Reading, read_text
from modemctl.sms import Deliver, Part, decode, join, may_belong, part_of
from modemctl.store import loop_results, optouts
from modemctl.store.tables import inbox, sim
from modemctl.store.transaction import Tx
from modemctl.vault import Vault

ERASED_TPDU: Final = b""
"""What stands sealed where octets were erased, and where there were none: in a joined text."""

_TOGETHER: Final = timedelta(hours=1)
"""Segments of one message reach their service centre within this; a later one with the same
reference is of another message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Concat:
    """Place of a segment in a longer text."""

    reference: int
    total: int
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """What came in. `sender` in E.164 form where it is a number; `text` None for octets."""

    iccid: str | None
    bay: str
    sender: str | None = field(repr=False)
    is_sender_number: bool
    scts: datetime | None
    text: str | None = field(repr=False)
    concat: Concat | None
    tpdu: bytes = field(repr=False)
    kind: InboxKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A row that is on disk once the act returned. `joined_id`: the text that it completed."""

    inbox_id: int
    is_repeat: bool
    joined_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A stored message. `is_intact` is false where a sealed value does not open."""

    inbox_id: int
    iccid: str | None
    department: str | None
    bay: str
    received_at: datetime
    sender: str | None = field(repr=False)
    scts: str | None
    text: str | None = field(repr=False)
    kind: InboxKind
    is_repeat: bool
    concat: Concat | None
    joined_id: int | None
    is_intact: bool
    is_erased: bool
    whole_kind: InboxKind | None = None
    """What the whole text is that a part belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which messages; None matches all. `number` in E.164 form. Parts show if `with_parts`."""

    department: str | None = None
    iccid: str | None = None
    number: str | None = field(default=None, repr=False)
    kind: InboxKind | None = None
    since: datetime | None = None
    with_parts: bool = False


def add(tx: Tx, items: Sequence[NewMessage]) -> Sequence[Stored]:
    """Store messages, flag repeats, join what is complete, note opt-outs (a set act)."""
    prints = [fingerprint(tx.vault, item) for item in items]
    known = set(
        tx.conn.scalars(
            select(inbox.c.fingerprint).distinct().where(inbox.c.fingerprint.in_(set(prints)))
        )
    )
    departments = _departments(tx, items)
    results: list[Stored] = []
    for item, print_ in zip(items, prints, strict=True):
        department = departments.get(item.iccid or "")
        if print_ in known:
            inbox_id = _insert(tx, item, print_, item.kind, is_repeat=True)
            results.append(Stored(inbox_id=inbox_id, is_repeat=True))
        else:
            results.append(_add_new(tx, item, print_, department))
        known.add(print_)
    return results


def fingerprint(vault: Vault, item: NewMessage) -> bytes:
    """By what a message is known again: card, service centre's time, sender, octets."""
    scts = None if item.scts is None else item.scts.isoformat()
    digest = sha256(item.tpdu).hexdigest()
    return vault.mac("inbox", item.iccid, scts, item.sender, digest)


def read(conn: Connection, vault: Vault, inbox_id: int) -> Message | None:
    """One message; None where there is none."""
    row = conn.execute(_QUERY.where(inbox.c.inbox_id == inbox_id)).mappings().first()
    return None if row is None else _message(vault, row)


def find(
    conn: Connection, vault: Vault, query: Query, *, before: int | None, limit: int
) -> Sequence[Message]:
    """Up to `limit` messages, newest first, with ids below `before`."""
    statement = _QUERY.order_by(inbox.c.inbox_id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(inbox.c.inbox_id < before)
    if query.department is not None:
        statement = statement.where(sim.c.department == query.department)
    if query.iccid is not None:
        statement = statement.where(inbox.c.iccid == query.iccid)
    if query.number is not None:
        statement = statement.where(inbox.c.sender_bidx == vault.blind_index(query.number))
    if query.kind is not None:
        statement = statement.where(inbox.c.kind == query.kind.value)
    if query.since is not None:
        statement = statement.where(inbox.c.received_at >= query.since)
    if not query.with_parts:
        is_part_of_text = and_(inbox.c.kind == InboxKind.PART.value, inbox.c.joined_id.is_not(None))
        statement = statement.where(~is_part_of_text)
    return [_message(vault, row) for row in conn.execute(statement).mappings()]


_WHOLE: Final = inbox.alias("whole")
_QUERY: Final = select(*inbox.c, sim.c.department, _WHOLE.c.kind.label("whole_kind")).select_from(
    inbox.outerjoin(sim, sim.c.iccid == inbox.c.iccid).outerjoin(
        _WHOLE, _WHOLE.c.inbox_id == inbox.c.joined_id
    )
)


def _add_new(tx: Tx, item: NewMessage, print_: bytes, department: str | None) -> Stored:
    reading = Reading(kind=item.kind)
    if item.kind is InboxKind.TEXT and item.text is not None:
        reading = read_text(item.text)
    inbox_id = _insert(tx, item, print_, reading.kind, is_repeat=False)
    if item.kind is InboxKind.PART:
        joined_id = _join(tx, item, department)
        return Stored(inbox_id=inbox_id, is_repeat=False, joined_id=joined_id)
    _announce(tx, inbox_id, item, reading, department)
    return Stored(inbox_id=inbox_id, is_repeat=False)


def _insert(tx: Tx, item: NewMessage, print_: bytes, kind: InboxKind, *, is_repeat: bool) -> int:
    key = print_.hex()
    sender, text, concat = item.sender, item.text, item.concat
    values: dict[str, object] = {
        "iccid": item.iccid,
        "bay": item.bay,
        "received_at": tx.now,
        "sender_bidx": None if sender is None else tx.vault.blind_index(sender),
        "sender_enc": None if sender is None else _seal(tx, sender.encode(), "sender_enc", key),
        "scts": None if item.scts is None else item.scts.isoformat(),
        "body_enc": None if text is None else _seal(tx, _utf8(text), "body_enc", key),
        "tpdu_enc": _seal(tx, item.tpdu, "tpdu_enc", key),
        "fingerprint": print_,
        "is_repeat": is_repeat,
        "is_decoded": kind is not InboxKind.RAW,
        "kind": kind.value,
    }
    if concat is not None:
        values |= {
            "concat_ref": concat.reference,
            "concat_total": concat.total,
            "concat_seq": concat.sequence,
        }
    inbox_id: int = tx.conn.execute(
        insert(inbox).values(values).returning(inbox.c.inbox_id)
    ).scalar_one()
    return inbox_id


def _join(tx: Tx, item: NewMessage, department: str | None) -> int | None:
    """Put a longer text together once all its segments are here; the joined row's id."""
    own = _part(item.tpdu)
    if own is None or item.concat is None or item.sender is None:
        return None
    rows = _open_parts(tx, item)
    parts: dict[int, Part] = {}
    used: list[int] = []
    for row in sorted(rows, key=lambda row: _apart(row["scts"], item.scts)):
        part = _stored_part(tx.vault, row)
        if part is None or part.key != own.key or part.sequence in parts:
            continue
        if may_belong(_scts(row["scts"]), item.scts, within=_TOGETHER):
            parts[part.sequence] = part
            used.append(row["inbox_id"])
    text = join(parts.values())
    if text is None:
        return None
    reading = read_text(text)
    print_ = tx.vault.mac("inbox-joined", *used)
    whole = NewMessage(
        iccid=item.iccid,
        bay=item.bay,
        sender=item.sender,
        is_sender_number=item.is_sender_number,
        scts=item.scts,
        text=text,
        concat=None,
        tpdu=b"",
        kind=reading.kind,
    )
    joined_id = _insert(tx, whole, print_, reading.kind, is_repeat=False)
    tx.conn.execute(update(inbox).where(inbox.c.inbox_id.in_(used)).values(joined_id=joined_id))
    _announce(tx, joined_id, whole, reading, department)
    return joined_id


def _stored_part(vault: Vault, row: RowMapping) -> Part | None:
    try:
        octets = vault.decrypt(row["tpdu_enc"], place=tpdu_place(row["fingerprint"]))
    except TamperedError:
        return None  # an altered row must not keep a new message from being stored
    return None if octets == ERASED_TPDU else _part(octets)


def _open_parts(tx: Tx, item: NewMessage) -> Sequence[RowMapping]:
    assert item.concat is not None
    assert item.sender is not None
    of_card = inbox.c.iccid.is_(None) if item.iccid is None else inbox.c.iccid == item.iccid
    statement = select(inbox.c.inbox_id, inbox.c.tpdu_enc, inbox.c.fingerprint, inbox.c.scts).where(
        of_card,
        inbox.c.sender_bidx == tx.vault.blind_index(item.sender),
        inbox.c.kind == InboxKind.PART.value,
        inbox.c.concat_ref == item.concat.reference,
        inbox.c.concat_total == item.concat.total,
        inbox.c.is_repeat.is_(False),
        inbox.c.joined_id.is_(None),
    )
    return tx.conn.execute(statement).mappings().all()


def _announce(
    tx: Tx, inbox_id: int, item: NewMessage, reading: Reading, department: str | None
) -> None:
    facts = {
        "kind": reading.kind.value,
        "iccid": item.iccid,
        "bay": item.bay,
        "department": department,
    }
    tx.event(EventKind.INBOX, str(inbox_id), facts)
    sender = item.sender if item.is_sender_number else None
    is_own = sender is not None and _is_own_card(tx, sender)
    if is_own and loop_results.is_ours(tx, iccid=item.iccid, sender=sender or "", text=item.text):
        return  # a self-test's: it is asked for, and nothing follows from what it says
    if reading.kind is InboxKind.CODE:
        alarm = {"alarm": "verification_code_received", "policy": "SMS-12"}
        tx.event(EventKind.ALARM, str(inbox_id), {**facts, **alarm})
    if is_own:
        # A card of ours that writes to one of ours: nothing follows from what it says.
        alarm = {"alarm": "own_card_wrote", "policy": "SIM-08"}
        tx.event(EventKind.ALARM, str(inbox_id), {**facts, **alarm})
    elif sender is not None and reading.keyword is not None:
        optouts.add_from_sms(tx, sender, reading.keyword)


def _is_own_card(tx: Tx, sender: str) -> bool:
    index = tx.vault.blind_index(sender)
    return tx.conn.scalar(select(sim.c.iccid).where(sim.c.number_bidx == index)) is not None


def _departments(tx: Tx, items: Sequence[NewMessage]) -> Mapping[str, str | None]:
    iccids = {item.iccid for item in items if item.iccid is not None}
    rows = tx.conn.execute(select(sim.c.iccid, sim.c.department).where(sim.c.iccid.in_(iccids)))
    return {row.iccid: row.department for row in rows}


def _message(vault: Vault, row: RowMapping) -> Message:
    sender, text, is_intact = None, None, True
    try:
        sender = _open(vault, row, "sender_enc")
        text = _open(vault, row, "body_enc")
    except TamperedError:
        is_intact = False
    concat = None
    if row["concat_seq"] is not None:
        concat = Concat(
            reference=row["concat_ref"], total=row["concat_total"], sequence=row["concat_seq"]
        )
    return Message(
        inbox_id=row["inbox_id"],
        iccid=row["iccid"],
        department=row["department"],
        bay=row["bay"],
        received_at=row["received_at"],
        sender=sender,
        scts=row["scts"],
        text=text,
        kind=InboxKind(row["kind"]),
        is_repeat=row["is_repeat"],
        concat=concat,
        joined_id=row["joined_id"],
        is_intact=is_intact,
        is_erased=row["sender_bidx"] is not None and row["sender_enc"] is None,
        whole_kind=None if row["whole_kind"] is None else InboxKind(row["whole_kind"]),
    )


def _open(vault: Vault, row: RowMapping, column: str) -> str | None:
    sealed: bytes | None = row[column]
    if sealed is None:
        return None
    octets = vault.decrypt(sealed, place=place(column, row["fingerprint"]))
    return octets.decode("utf-8", errors="surrogatepass")


def _seal(tx: Tx, octets: bytes, column: str, key: str) -> bytes:
    return tx.vault.encrypt(octets, place=f"inbox.{column}:{key}")


def tpdu_place(print_: bytes) -> str:
    """Where a row's octets stand, for the vault."""
    return place("tpdu_enc", print_)


def place(column: str, print_: bytes) -> str:
    """Where one of a row's sealed values stands, for the vault."""
    return f"inbox.{column}:{print_.hex()}"


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogatepass")  # a half pair must not stop the storing


def _part(tpdu: bytes) -> Part | None:
    message = decode(tpdu, from_network=True)
    assert isinstance(message, Deliver), "only a DELIVER is stored as a part"
    return part_of(message)


def _scts(stored: str | None) -> datetime | None:
    return None if stored is None else datetime.fromisoformat(stored)


def _apart(stored: str | None, scts: datetime | None) -> timedelta:
    other = _scts(stored)
    return timedelta.max if other is None or scts is None else abs(other - scts)
