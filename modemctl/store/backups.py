"""Backups as rows: what was made, copied, tried and removed (SEC-07).

Each row carries a MAC: a planted one would let a file be removed, or a test be believed.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, RowMapping, Table, insert, select, update

from modemctl.store.engine import UNREADABLE, readable_cells
from modemctl.store.tables import backup, backup_act, to_ms
from modemctl.store.transaction import Tx
from modemctl.vault import Vault

_MANY: Final = 10_000


class BackupState(StrEnum):
    """How far a backup is."""

    WORKING = "working"
    DONE = "done"
    FAILED = "failed"
    REMOVED = "removed"


class ActKind(StrEnum):
    """What was done with a backup."""

    COPY = "copy"
    TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """One backup. `n_octets` are its file's, `n_database` the database's.

    `log_seq` is the node's last audit entry in it.
    """

    backup_id: str
    at: datetime
    by: str
    state: BackupState
    reason: str
    folder: str
    name: str
    finished_at: datetime | None = None
    sha256: str | None = None
    n_octets: int | None = None
    n_database: int | None = None
    n_rows: int | None = None
    schema_revision: str | None = None
    log_seq: int | None = None
    removed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupAct:
    """A copy on a medium with its keeper, or a restore that tried the file."""

    act_id: str
    backup_id: str
    kind: ActKind
    at: datetime
    by: str
    medium: str | None = None
    keeper: str | None = None
    n_rows: int | None = None
    seconds: int | None = None


def begin(tx: Tx, *, by: str, folder: str, name: str) -> Backup:
    """A backup that is going to be made."""
    new = Backup(
        backup_id=str(uuid.uuid4()),
        at=_ms(tx.now),
        by=by,
        state=BackupState.WORKING,
        reason="",
        folder=folder,
        name=name,
    )
    tx.conn.execute(insert(backup).values({**_values(new), "mac": _mac(tx.vault, new)}))
    return new


def keep(tx: Tx, after: Backup) -> None:
    """Write what became of a backup."""
    values = {**_values(after), "mac": _mac(tx.vault, after)}
    tx.conn.execute(update(backup).where(backup.c.backup_id == after.backup_id).values(values))


def add_act(tx: Tx, new: BackupAct) -> None:
    """Write that a backup was copied or tried."""
    values = {**_act_values(new), "mac": _act_mac(tx.vault, new)}
    tx.conn.execute(insert(backup_act).values(values))


def find(conn: Connection, vault: Vault, backup_id: str) -> Backup | None:
    """One backup.

    Raises:
        TamperedError: its row was altered.
    """
    place = backup.c.backup_id == backup_id
    row = conn.execute(select(backup).where(place)).mappings().first()
    return None if row is None else _backup(vault, row)


def find_by_digest(conn: Connection, vault: Vault, sha256: str) -> Backup | None:
    """The backup whose file this is.

    Raises:
        TamperedError: its row was altered.
    """
    row = conn.execute(select(backup).where(backup.c.sha256 == sha256)).mappings().first()
    return None if row is None else _backup(vault, row)


def find_act(conn: Connection, vault: Vault, act_id: str) -> BackupAct | None:
    """One copy or test.

    Raises:
        TamperedError: its row was altered.
    """
    place = backup_act.c.act_id == act_id
    row = conn.execute(select(backup_act).where(place)).mappings().first()
    return None if row is None else _act(vault, row)


def list_backups(
    conn: Connection,
    vault: Vault,
    *,
    states: Sequence[BackupState] = tuple(BackupState),
    limit: int,
) -> Sequence[Backup]:
    """Backups, newest first.

    Raises:
        TamperedError: a row was altered.
    """
    query = (
        select(backup)
        .where(backup.c.state.in_([one.value for one in states]))
        .order_by(backup.c.at.desc(), backup.c.backup_id)
        .limit(limit)
    )
    return [_backup(vault, row) for row in conn.execute(query).mappings()]


def list_intact(
    conn: Connection, vault: Vault, *, states: Sequence[BackupState], limit: int
) -> tuple[Sequence[Backup], int]:
    """`list_backups` without rows that are not as modemctl wrote them, and how many those are.

    What is done each day goes on beside such a row; `audit verify` names it.
    """
    query = (
        select(backup.c.backup_id)
        .where(backup.c.state.in_([one.value for one in states]))
        .order_by(backup.c.at.desc(), backup.c.backup_id)
        .limit(limit)
    )
    found: list[Backup] = []
    n_altered = 0
    for backup_id in conn.scalars(query).all():
        try:
            with readable_cells():
                one = find(conn, vault, backup_id)
        except UNREADABLE:
            one = None
        if one is None:
            n_altered += 1
        else:
            found.append(one)
    return found, n_altered


def acts_of(
    conn: Connection, vault: Vault, backup_ids: Sequence[str]
) -> Mapping[str, Sequence[BackupAct]]:
    """The copies and tests of these backups, oldest first.

    Raises:
        TamperedError: a row was altered.
    """
    query = (
        select(backup_act)
        .where(backup_act.c.backup_id.in_(backup_ids))
        .order_by(backup_act.c.at, backup_act.c.act_id)
    )
    found: dict[str, list[BackupAct]] = {one: [] for one in backup_ids}
    for row in conn.execute(query).mappings():
        found[row["backup_id"]].append(_act(vault, row))
    return found


def close_open(
    tx: Tx, reason: str, *, is_over: Callable[[Backup], bool] = lambda _: True
) -> Sequence[Backup]:
    """What was being made when the daemon ended never will be; those it was, of such as are over.

    A row that was altered stays as it is.
    """
    found, _ = list_intact(tx.conn, tx.vault, states=[BackupState.WORKING], limit=_MANY)
    found = [one for one in found if is_over(one)]
    closed = [
        replace(one, state=BackupState.FAILED, reason=reason, finished_at=_ms(tx.now))
        for one in found
    ]
    for one in closed:
        keep(tx, one)
        tx.audit(tx.node_id, "backup.fail", one.backup_id, {"reason": reason, "policy": "SEC-07"})
    return closed


def replay(conn: Connection, said: Mapping[str, str]) -> Iterator[str]:
    """Yield one line for each backup that is not in the state that the log left it in.

    `said`: backup → state, of those that the log tells of.
    """
    held = {row.backup_id: row.state for row in conn.execute(select(backup))}
    for backup_id in sorted(said.keys() | held.keys()):
        if backup_id not in held:
            yield f"backup {backup_id}: the row is missing, the log tells of it"
        elif said.get(backup_id, BackupState.WORKING) != held[backup_id]:
            yield f"backup {backup_id}: the row was put back or changed: not as the log tells it"


def _values(one: Backup) -> dict[str, object]:
    return {name: getattr(one, name) for name in _names(backup)}


def _act_values(one: BackupAct) -> dict[str, object]:
    return {name: getattr(one, name) for name in _names(backup_act)}


def _names(table: Table) -> Sequence[str]:
    return [column.name for column in table.columns if column.name != "mac"]


def _mac(vault: Vault, one: Backup) -> bytes:
    return vault.mac("backup", *_mac_fields(_values(one)))


def _act_mac(vault: Vault, one: BackupAct) -> bytes:
    return vault.mac("backup_act", *_mac_fields(_act_values(one)))


def _mac_fields(row: Mapping[str, object]) -> list[object]:
    """All columns in their order."""
    values = [value for name, value in row.items() if name != "mac"]
    return [to_ms(one) if isinstance(one, datetime) else one for one in values]


def _backup(vault: Vault, row: RowMapping) -> Backup:
    facts = {name: value for name, value in row.items() if name != "mac"}
    vault.check_mac(row["mac"], "backup", *_mac_fields(facts))
    return Backup(**{**facts, "state": BackupState(row["state"])})


def _act(vault: Vault, row: RowMapping) -> BackupAct:
    facts = {name: value for name, value in row.items() if name != "mac"}
    vault.check_mac(row["mac"], "backup_act", *_mac_fields(facts))
    return BackupAct(**{**facts, "kind": ActKind(row["kind"])})


def _ms(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)  # as it is stored
