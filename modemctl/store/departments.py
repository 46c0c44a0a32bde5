"""Registered departments: what cards, accounts, authorities and batches may name (SIM-01, SIM-05).

Each row carries a MAC, and each act of the log names the revision that it left: a row that is
changed, put back or taken out does not fit it (`modemctl audit verify`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, Row, func, insert, select, update

from modemctl.lifecycle import BATCH, CARD
from modemctl.store.tables import (
    account,
    audit_entry,
    authorisation,
    batch,
    department,
    sim,
    to_ms,
)
from modemctl.store.transaction import Json, Tx
from modemctl.vault import Vault

_TELLING: Final = (account.c.department, authorisation.c.department, sim.c.department,
                   batch.c.department)  # fmt: skip
_ALL: Final = "*"
_ACTS: Final = ("department.add", "department.head", "department.close")


class DepartmentState(StrEnum):
    """Whether anything new may name it."""

    ACTIVE = "active"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Department:
    """A department. `head` is an account, `title` what people read, `since` when the state began.

    `revision` counts the acts on it.
    """

    name: str
    title: str
    head: str | None
    parent: str | None
    state: DepartmentState
    since: datetime
    revision: int = 0

    @property
    def facts(self) -> dict[str, Json]:
        """What an entry of the log tells of it."""
        return {
            "title": self.title,
            "head": self.head,
            "parent": self.parent,
            "state": self.state.value,
            "revision": self.revision,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What names a department and is not over."""

    n_accounts: int
    n_cards: int
    n_batches: int
    n_authorisations: int


def find(conn: Connection, vault: Vault, name: str) -> Department | None:
    """The department of this name.

    Raises:
        TamperedError: its row carries no valid MAC.
    """
    row = conn.execute(select(department).where(department.c.name == name)).first()
    return None if row is None else _department(row, vault)


def read_all(conn: Connection, vault: Vault) -> Sequence[Department]:
    """All departments by name.

    Raises:
        TamperedError: a row carries no valid MAC.
    """
    rows = conn.execute(select(department).order_by(department.c.name))
    return [_department(row, vault) for row in rows]


def active_names(conn: Connection) -> Sequence[str]:
    """The names of those that are not closed, for people: no MAC is read."""
    is_active = department.c.state == DepartmentState.ACTIVE
    return conn.scalars(select(department.c.name).where(is_active).order_by("name")).all()


def names(conn: Connection) -> Sequence[str]:
    """All names, also of closed ones: no MAC is read."""
    return conn.scalars(select(department.c.name).order_by("name")).all()


def add(tx: Tx, new: Department) -> Department:
    """Keep a new department."""
    tx.conn.execute(insert(department).values(**_sealed(tx.vault, new)))
    return new


def change(tx: Tx, before: Department, **facts: object) -> Department:
    """Change facts of a department; its revision goes up."""
    after = replace(before, revision=before.revision + 1, **facts)  # type: ignore[arg-type]  # facts are fields
    ours = update(department).where(department.c.name == after.name)
    tx.conn.execute(ours.values(**_sealed(tx.vault, after)))
    return after


def usage(conn: Connection, name: str, *, now: datetime) -> Usage:
    """What names this department and is not over."""
    live_cards = [state for state, following in CARD.items() if following]
    live_batches = [state for state, following in BATCH.items() if following]
    granted = authorisation.c
    counts = (
        select(func.count()).select_from(account)
        .where(account.c.department == name, account.c.state != "revoked"),
        select(func.count()).select_from(sim)
        .where(sim.c.department == name, sim.c.state.in_(live_cards)),
        select(func.count()).select_from(batch)
        .where(batch.c.department == name, batch.c.state.in_(live_batches)),
        select(func.count()).select_from(authorisation)
        .where(granted.department == name, granted.revoked_at.is_(None), granted.valid_until > now),
    )  # fmt: skip
    accounts, cards, batches, authorisations = (conn.scalar(one) or 0 for one in counts)
    return Usage(
        n_accounts=accounts,
        n_cards=cards,
        n_batches=batches,
        n_authorisations=authorisations,
    )


def adopt(conn: Connection, vault: Vault, *, now: datetime) -> Sequence[str]:
    """Register every name that is in use, once: when departments came to be registered."""
    found: set[str] = set()
    for column in _TELLING:
        used = conn.scalars(select(column).where(column.is_not(None)).distinct())
        found.update(name for name in used if name and name != _ALL)
    register(conn, vault, sorted(found), now=now)
    return sorted(found)


def register(conn: Connection, vault: Vault, new: Sequence[str], *, now: datetime) -> None:
    """Keep new departments of which nothing but their names is known."""
    rows = [
        Department(
            name=name, title="", head=None, parent=None, state=DepartmentState.ACTIVE, since=now
        )
        for name in new
    ]
    if rows:
        conn.execute(insert(department), [_sealed(vault, one) for one in rows])


def is_known(conn: Connection, name: str) -> bool:
    """Whether it is registered, or any account, authorisation, card or batch is of it."""
    return any(
        conn.execute(select(column).where(column == name).limit(1)).first() is not None
        for column in (department.c.name, *_TELLING)
    )


def has_cards(conn: Connection, name: str) -> bool:
    """Whether a card is of this department."""
    return (
        conn.execute(select(sim.c.iccid).where(sim.c.department == name).limit(1)).first()
        is not None
    )


def replay(conn: Connection) -> Iterator[str]:
    """Yield one line for each row that is not what the log's latest word on it says.

    Those that were adopted have none until the first act on them. Run it in one snapshot.
    """
    said: dict[str, tuple[int, Mapping[str, object], str]] = {}
    for entry in conn.execute(_TOLD).mappings():
        details = json.loads(entry["details"])
        revision = int(details["revision"])
        if revision >= said.get(entry["subject"], (0, {}, ""))[0]:
            by = f"entry {entry['seq']} ({entry['action']})"
            said[entry["subject"]] = (revision, details, by)
    held = {row["name"]: row for row in conn.execute(select(department)).mappings()}
    for name, (_, told, by) in sorted(said.items()):
        row = held.get(name)
        if row is None:
            yield f"department {name}: the row is missing: not as {by} left it"
        elif any(row[key] != told[key] for key in _REPLAYED):
            yield f"department {name}: the row was put back or changed: not as {by} left it"


_REPLAYED: Final = ("title", "head", "parent", "state", "revision")
_TOLD: Final = (
    select(audit_entry.c.seq, audit_entry.c.action, audit_entry.c.subject, audit_entry.c.details)
    .where(audit_entry.c.action.in_(_ACTS))
    .order_by(audit_entry.c.node_id, audit_entry.c.seq)
)


def _fields(one: Department) -> tuple[str | int | None, ...]:
    return (
        one.name, one.title, one.head, one.parent, one.state.value, to_ms(one.since), one.revision,
    )  # fmt: skip


def _sealed(vault: Vault, one: Department) -> dict[str, object]:
    return {
        "name": one.name,
        "title": one.title,
        "head": one.head,
        "parent": one.parent,
        "state": one.state.value,
        "since": one.since,
        "revision": one.revision,
        "mac": vault.mac("department", *_fields(one)),
    }


def _department(row: Row[tuple[object, ...]], vault: Vault) -> Department:
    one = Department(
        name=row.name,
        title=row.title,
        head=row.head,
        parent=row.parent,
        state=DepartmentState(row.state),
        since=row.since,
        revision=row.revision,
    )
    vault.check_mac(row.mac, "department", *_fields(one))
    return one
