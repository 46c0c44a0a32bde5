"""The custody history of cards: one line a step, only ever added, each with a MAC.

The audit log names each line by the card and its number: one that is changed, put back or taken
out does not fit it (`modemctl audit verify`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from modemctl.errors import TamperedError
from modemctl.lifecycle import CardState
from modemctl.model import AccountId, Iccid
from modemctl.policy.custody import Step
from modemctl.store.sims import NewCard
from modemctl.store.tables import audit_entry, custody, sim, to_ms
from modemctl.store.transaction import Tx
from modemctl.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What somebody did with a card. `reference`: a form, or what the carrier answered.

    `other_iccid`: the card that it replaces, or that replaces it.
    """

    iccid: str
    step: Step
    account_id: AccountId
    by: str
    reason: str
    reference: str | None = None
    other_iccid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a card's history; state, holder and department are those after the step.

    `is_intact` is false where the line was altered behind our back.
    """

    seq: int
    at: datetime
    step: Step
    account_id: AccountId
    by: str
    state: CardState
    holder: str | None
    user_name: str | None
    department: str | None
    reason: str
    reference: str | None
    other_iccid: Iccid | None
    is_intact: bool


def begin(tx: Tx, acts: Sequence[Act], cards: Mapping[str, NewCard]) -> None:
    """The first lines, number 1, of cards that were just registered; many at once."""
    rows = [
        _row(tx, act, 1, {name: getattr(cards[act.iccid], name) for name in _WHOSE}) for act in acts
    ]
    if rows:
        tx.conn.execute(insert(custody), rows)


def append(tx: Tx, act: Act) -> int:
    """Add a line to a registered card's history, behind the change of its row; the line's number.

    State, holder and department are read from the row.
    """
    whose = select(*(sim.c[name] for name in _WHOSE)).where(sim.c.iccid == act.iccid)
    card = tx.conn.execute(whose).mappings().one()
    last = tx.conn.scalar(select(func.max(custody.c.seq)).where(custody.c.iccid == act.iccid))
    seq = (last or 0) + 1
    tx.conn.execute(insert(custody).values(_row(tx, act, seq, {**card})))
    return seq


def rename(tx: Tx, iccid: str, before: str, after: str) -> int:
    """Let an erased person stand under another name in a card's history; how many lines (SEC-08).

    Who did what and when, and the line's number, stay as the log names them. A line that was
    altered stays as it is: nobody vouches for it anew.
    """
    whose = (custody.c.holder == before) | (custody.c.user_name == before)
    lines = select(custody).where(custody.c.iccid == iccid, whose)
    n = 0
    for line in tx.conn.execute(lines).mappings().all():
        if not _line(tx.vault, line).is_intact:
            continue
        names = {name: after for name in ("holder", "user_name") if line[name] == before}
        sealed = {**names, "mac": row_mac(tx.vault, {**line, **names})}
        ours = custody.c.custody_id == line["custody_id"]
        tx.conn.execute(update(custody).where(ours).values(sealed))
        n += 1
    return n


def _row(tx: Tx, act: Act, seq: int, whose: Mapping[str, object]) -> dict[str, object]:
    row: dict[str, object] = {
        "iccid": act.iccid,
        "seq": seq,
        "at": tx.now,
        "step": act.step.value,
        "account_id": act.account_id,
        "by": act.by,
        **whose,
        "state": str(whose["state"]),
        "reason": act.reason,
        "reference": act.reference,
        "other_iccid": act.other_iccid,
    }
    return {**row, "mac": row_mac(tx.vault, row)}


def row_mac(vault: Vault, row: Mapping[str, object]) -> bytes:
    """The MAC of a line, given all its columns."""
    return vault.mac("custody", *_mac_fields(row))


def read(conn: Connection, vault: Vault, iccid: str) -> Sequence[Line]:
    """The whole history of a card, oldest line first."""
    lines = select(custody).where(custody.c.iccid == iccid).order_by(custody.c.seq)
    return [_line(vault, row) for row in conn.execute(lines).mappings()]


def is_open(conn: Connection) -> bool:
    """Whether any card was issued step by step: from then on lists are no initial stock."""
    found = select(custody.c.custody_id).where(custody.c.step == Step.ISSUED.value).limit(1)
    return conn.scalar(found) is not None


def is_intact(conn: Connection, vault: Vault, custody_id: int) -> bool:
    """Whether a line is as modemctl wrote it."""
    line = select(custody).where(custody.c.custody_id == custody_id)
    return _line(vault, conn.execute(line).mappings().one()).is_intact


def last_of(
    conn: Connection, vault: Vault, iccids: Iterable[str], step: Step
) -> Mapping[Iccid, Line]:
    """Each card's last line of this step, where it has one."""
    lines = (
        select(custody)
        .where(custody.c.iccid.in_(sorted(set(iccids))), custody.c.step == step.value)
        .order_by(custody.c.seq)
    )
    return {Iccid(row["iccid"]): _line(vault, row) for row in conn.execute(lines).mappings()}


def replay(conn: Connection) -> Iterator[str]:
    """Yield one line for each line of a history that is not what the log says of it.

    Run it in one snapshot.
    """
    lines = {(row["iccid"], row["seq"]): row for row in conn.execute(select(custody)).mappings()}
    for entry in conn.execute(_TOLD).mappings():
        details = json.loads(entry["details"])
        seq = details.get("custody")
        if seq is None:
            continue
        row = lines.pop((entry["subject"], seq), None)
        name = f"custody {entry['subject']} line {seq}"
        by = f"entry {entry['seq']} ({entry['action']})"
        if row is None:
            yield f"{name}: the row is missing: not as {by} left it"
        elif (row["step"], row["by"], row["at"]) != (details["step"], entry["actor"], entry["at"]):
            yield f"{name}: the row was put back or changed: not as {by} left it"
    for iccid, seq in sorted(lines):
        yield f"custody {iccid} line {seq}: no entry of the log made it"


def _line(vault: Vault, row: RowMapping) -> Line:
    is_intact = True
    try:
        vault.check_mac(row["mac"], "custody", *_mac_fields({**row}))
    except TamperedError:
        is_intact = False
    return Line(
        seq=row["seq"],
        at=row["at"],
        step=Step(row["step"]),
        account_id=AccountId(row["account_id"]),
        by=row["by"],
        state=CardState(row["state"]),
        holder=row["holder"],
        user_name=row["user_name"],
        department=row["department"],
        reason=row["reason"],
        reference=row["reference"],
        other_iccid=None if row["other_iccid"] is None else Iccid(row["other_iccid"]),
        is_intact=is_intact,
    )


def _mac_fields(row: Mapping[str, object]) -> tuple[object, ...]:
    at = row["at"]
    assert isinstance(at, datetime)
    return (to_ms(at), *(row[name] for name in _SEALED))


_WHOSE: Final = ("state", "holder", "user_name", "department")
_SEALED: Final = (
    "iccid", "seq", "step", "account_id", "by", "state", "holder", "user_name", "department",
    "reason", "reference", "other_iccid",
)  # fmt: skip
_TOLD: Final = (
    select(
        audit_entry.c.seq,
        audit_entry.c.at,
        audit_entry.c.actor,
        audit_entry.c.action,
        audit_entry.c.subject,
        audit_entry.c.details,
    )
    .where(audit_entry.c.action.startswith("sim."))
    .order_by(audit_entry.c.at, audit_entry.c.node_id, audit_entry.c.seq)
)
