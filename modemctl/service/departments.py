"""Departments are registered: what names one that is not belongs to nobody (SIM-01, SIM-05)."""

from __future__ import annotations

import difflib
import shlex
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from modemctl.errors import Conflict, InvalidRequest, NotFound, PolicyRefused, TamperedError
from modemctl.service.account_fields import check_department, check_reason
from modemctl.service.authority_fields import require_person
from modemctl.service.principal import Principal, Scope
from modemctl.store import Connection, Store, Tx
from modemctl.store import departments as rows
from modemctl.store.accounts import AccountState, find_account, find_account_named
from modemctl.store.departments import Department, DepartmentState
from modemctl.store.transaction import Json
from modemctl.vault import Vault

__all__ = ["DepartmentState", "DepartmentView", "Departments", "head_of", "require_department"]

_TITLE_MAX: Final = 128
_NEAREST: Final = 3
_LIKENESS: Final = 0.65  # of 1: two letters exchanged among five are 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class DepartmentView:
    """A department as people see it; `head` is an account's name, the numbers what is not over."""

    name: str
    title: str
    head: str | None
    parent: str | None
    state: DepartmentState
    since: datetime
    n_accounts: int
    n_cards: int
    n_batches: int
    n_authorisations: int


class Departments:
    """Keeps the company's departments."""

    def __init__(self, store: Store, *, general_department: str) -> None:
        self._store = store
        self._general = general_department

    async def list(self, who: Principal) -> Sequence[DepartmentView]:
        """All departments by name, closed ones too; those that an account sees."""

        def query(conn: Connection) -> Sequence[DepartmentView]:
            found = rows.read_all(conn, self._store.vault)
            return [self._view(conn, one) for one in found if who.sees(one.name)]

        return await self._store.read(query)

    async def add(
        self, who: Principal, *, name: str, title: str = "", parent: str | None = None
    ) -> DepartmentView:
        """Register a department, or open one again that was closed; a repeat changes nothing.

        Raises:
            NotPermitted: without `accounts:write`, or an account of one department.
            InvalidRequest: a name, title or parent that cannot be.
            Conflict: it is registered with another title or parent, or one whose name differs in
                spelling alone.
        """
        who.require(Scope.ACCOUNTS_WRITE)
        who.require_all_departments()
        _check_name(name)
        if len(title) > _TITLE_MAX or not (title.isprintable()):
            raise InvalidRequest(f"must have at most {_TITLE_MAX} characters", field="title")

        def act(tx: Tx) -> DepartmentView:
            if parent is not None:
                require_department(tx.conn, tx.vault, parent, field="parent", policy="SIM-01")
            before = rows.find(tx.conn, tx.vault, name)
            if before is None:
                _require_distinct(tx.conn, name)
                after = rows.add(
                    tx,
                    Department(
                        name=name, title=title.strip(), head=None, parent=parent,
                        state=DepartmentState.ACTIVE, since=tx.now,
                    ),
                )  # fmt: skip
            elif before.state is DepartmentState.CLOSED:
                after = rows.change(
                    tx, before, state=DepartmentState.ACTIVE, since=tx.now,
                    title=title.strip() or before.title, parent=parent or before.parent,
                )  # fmt: skip
            elif title.strip() not in {"", before.title} or parent not in {None, before.parent}:
                rule = "it is registered with another title or parent"
                raise Conflict(rule, field="name", value=name)
            else:
                return self._view(tx.conn, before)
            _note(tx, who, "department.add", after, {})
            return self._view(tx.conn, after)

        return await self._store.write(act)

    async def set_head(self, who: Principal, name: str, head: str | None) -> DepartmentView:
        """Name the head, by the name of an account; None: there is none just now.

        Cards of its pool that are approved from now on have the head as holder (SIM-05).

        Raises:
            NotPermitted: without `accounts:write`, or an account of one department.
            NotFound: no such department or account.
            Conflict: it is closed; the account is not an active person.
        """
        who.require(Scope.ACCOUNTS_WRITE)
        who.require_all_departments()

        def act(tx: Tx) -> DepartmentView:
            before = _existing(tx, name)
            if before.state is DepartmentState.CLOSED:
                raise Conflict("the department is closed", field="name", value=name)
            account = None if head is None else find_account_named(tx.conn, tx.vault, head)
            if head is not None and account is None:
                raise NotFound("no such account", field="head", value=head[:80])
            account_id = None if account is None else require_person(account).account_id
            after = rows.change(tx, before, head=account_id)
            _note(tx, who, "department.head", after, {"before": before.head})
            return self._view(tx.conn, after)

        return await self._store.write(act)

    async def close(self, who: Principal, name: str, *, reason: str) -> DepartmentView:
        """Close a department: nothing new may name it. What was of it stays on record.

        Raises:
            NotPermitted: without `accounts:write`, or an account of one department.
            NotFound: no such department.
            InvalidRequest: no reason.
            Conflict: accounts, cards, batches or authorisations are of it; the general department.
        """
        who.require(Scope.ACCOUNTS_WRITE)
        who.require_all_departments()
        check_reason(reason)

        def act(tx: Tx) -> DepartmentView:
            before = _existing(tx, name)
            if before.state is DepartmentState.CLOSED:
                return self._view(tx.conn, before)
            if name == self._general:
                rule = "it sends what is no notice (approvals.general_department)"
                raise Conflict(rule, field="name", value=name, policy="SMS-03")
            _require_unused(tx, name)
            after = rows.change(tx, before, state=DepartmentState.CLOSED, since=tx.now, head=None)
            _note(tx, who, "department.close", after, {"reason": reason})
            return self._view(tx.conn, after)

        return await self._store.write(act)

    def _view(self, conn: Connection, one: Department) -> DepartmentView:
        used = rows.usage(conn, one.name, now=self._store.clock.now())
        head = None if one.head is None else find_account(conn, self._store.vault, one.head)
        return DepartmentView(
            name=one.name,
            title=one.title,
            head=one.head if head is None else head.name,
            parent=one.parent,
            state=one.state,
            since=one.since,
            n_accounts=used.n_accounts,
            n_cards=used.n_cards,
            n_batches=used.n_batches,
            n_authorisations=used.n_authorisations,
        )


def require_department(
    conn: Connection, vault: Vault, name: str, *, policy: str, field: str = "department"
) -> None:
    """Refuse a department that is not registered, or closed.

    Raises:
        InvalidRequest: it is not; names those that are spelt nearly so.
        PolicyRefused: SEC-05, its row was altered.
    """
    try:
        found = rows.find(conn, vault, name)
    except TamperedError as error:
        raise PolicyRefused("SEC-05", str(error), field=field, value=name) from error
    if found is not None and found.state is DepartmentState.ACTIVE:
        return
    what = "is not registered" if found is None else "is closed"
    raise InvalidRequest(
        f"the department {what}",
        field=field,
        value=name,
        cure=cure_of(conn, name),
        policy=policy,
    )


def cure_of(conn: Connection, name: str, *, missing: Sequence[str] = ()) -> str:
    """What to do about a department that is not registered: the nearest ones, and the command.

    The command registers all of `missing`, where more than this one are.
    """
    known = {_plain(one): one for one in rows.active_names(conn)}
    near = difflib.get_close_matches(_plain(name), known, n=_NEAREST, cutoff=_LIKENESS)
    names = " ".join(shlex.quote(one) for one in missing or (name,))
    command = f"an administrator registers it: modemctl department add {names}"
    if not near:
        return command
    return f"did you mean {' or '.join(known[one] for one in near)}? Else {command}"


def head_of(conn: Connection, vault: Vault, name: str) -> str | None:
    """The name of a department's head; None where it has none who is active (SIM-05).

    Raises:
        PolicyRefused: SEC-05, a row was altered.
    """
    try:
        found = rows.find(conn, vault, name)
        if found is None or found.head is None:
            return None
        head = find_account(conn, vault, found.head)
    except TamperedError as error:
        raise PolicyRefused("SEC-05", str(error), field="department", value=name) from error
    if head is None or head.state is not AccountState.ACTIVE:
        return None
    return head.name


def _check_name(name: str) -> None:
    check_department(name, field="name")
    if name != name.strip() or name.startswith("-"):
        raise InvalidRequest(
            "must neither begin nor end with a space, nor begin with a dash",
            field="name",
            value=name,
        )


def _require_distinct(conn: Connection, name: str) -> None:
    """No two names that people take for the same: other case, width or spaces."""
    twin = next((one for one in rows.names(conn) if _plain(one) == _plain(name)), None)
    if twin is not None:
        rule = f"it differs from {twin} in spelling alone"
        raise Conflict(rule, field="name", value=name, cure=f"use {twin}")


def _require_unused(tx: Tx, name: str) -> None:
    used = rows.usage(tx.conn, name, now=tx.now)
    parts = {
        "accounts": used.n_accounts,
        "cards": used.n_cards,
        "batches": used.n_batches,
        "authorisations": used.n_authorisations,
    }
    live = ", ".join(f"{n} {what}" for what, n in parts.items() if n)
    if live:
        cure = "move or end them first: account change, sims offboard, account withdraw"
        raise Conflict(f"it still has {live}", field="name", value=name, cure=cure)


def _existing(tx: Tx, name: str) -> Department:
    found = rows.find(tx.conn, tx.vault, name)
    if found is None:
        raise NotFound("no such department", field="name", value=name[:128])
    return found


def _note(tx: Tx, who: Principal, action: str, one: Department, more: dict[str, Json]) -> None:
    details = {**more, **one.facts, "policy": "SIM-05", "source": who.source}
    tx.audit(who.name, action, one.name, details)


def _plain(name: str) -> str:
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())
