"""Who may approve and operate: approvers' public keys, authorisations (SMS-02 … SMS-06)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from modemctl.errors import InvalidRequest, NotFound
from modemctl.model import EventKind, Topic
from modemctl.service.pages import Page, decode_number, encode_cursor
from modemctl.service.principal import Principal, Scope
from modemctl.store import Connection, Store, Tx, stops
from modemctl.store import authorities as rows
from modemctl.store.accounts import Account, find_account
from modemctl.store.authorities import (
    ALL_DEPARTMENTS,
    OPERATOR,
    Authorisation,
    RegisteredKey,
)
from modemctl.store.transaction import Json

__all__ = [
    "ALL_DEPARTMENTS",
    "OPERATOR",
    "Authorisation",
    "Authorities",
    "RegisteredKey",
    "RevokeReason",
]


class RevokeReason(StrEnum):
    """Why an approver's key ends; a compromised one is an alarm."""

    COMPROMISED = "compromised"
    LOST = "lost"
    SUPERSEDED = "superseded"
    LEFT = "left"


class Authorities:
    """Keeps what lets people approve and send."""

    def __init__(self, store: Store, *, general_department: str) -> None:
        self._store = store
        self._general = general_department

    # ------------------------------------------------------------ approvers' keys

    async def keys(self, who: Principal, account_id: str) -> Sequence[RegisteredKey]:
        """All approver's keys of an account; one's own without any scope.

        Raises:
            NotPermitted: another's, without `accounts:read`.
            NotFound: no such account, or of a department that one does not see.
        """
        if account_id != who.account_id:
            who.require(Scope.ACCOUNTS_READ)

        def query(conn: Connection) -> Sequence[RegisteredKey]:
            self._visible(conn, who, account_id)
            return rows.list_approver_keys(conn, self._store.vault, account_id)

        return await self._store.read(query)

    async def revoke_key(self, who: Principal, kid: str, *, reason: RevokeReason) -> RegisteredKey:
        """End a public key now; one ends one's own without any scope.

        What was approved with a lost or compromised one, and is not over, is held with it: it goes
        on when its steps are signed anew.

        Raises:
            NotPermitted: another's, without `accounts:write`.
            NotFound: no such key, or of a department that one does not see.
        """

        def act(tx: Tx) -> RegisteredKey:
            key = rows.find_approver_key(tx.conn, tx.vault, kid)
            if key is None or key.account_id != who.account_id:
                who.require(Scope.ACCOUNTS_WRITE)
            if key is None:
                raise NotFound("no such key", field="kid", value=kid[:80])
            account = self._visible(tx.conn, who, key.account_id)
            if key.revoked_at is not None:
                return key
            details = {"account": account.name, "reason": str(reason), "source": who.source}
            tx.audit(who.name, "approver_key.revoke", kid, {**details})
            if reason is not RevokeReason.SUPERSEDED:
                _hold_signed(tx, kid, account, reason, by=who.name)
            tx.wake(Topic.STOP)  # batches that rest on it are looked at before the next submit
            return rows.revoke_approver_key(tx, key, reason=reason)

        return await self._store.write(act)

    # ------------------------------------------------------------ authorisations

    async def list(
        self,
        who: Principal,
        *,
        account_id: str | None = None,
        kind: str | None = None,
        department: str | None = None,
        cursor: str | None = None,
        limit: int,
    ) -> Page[Authorisation]:
        """Authorisations, past and present; those of one's own department or all.

        Raises:
            NotPermitted: without `accounts:read`, unless only one's own are asked for.
            InvalidRequest: a cursor that is not ours.
        """
        if account_id != who.account_id:
            who.require(Scope.ACCOUNTS_READ)
            department = department if who.department is None else who.department
        after, vault = decode_number(cursor), self._store.vault
        found = await self._store.read(
            lambda conn: rows.list_authorisations(
                conn,
                vault,
                account_id=account_id,
                kind=kind,
                department=department,
                after=after,
                limit=limit,
            )
        )
        more = len(found) == limit
        return Page(items=found, next=encode_cursor(found[-1].authorisation_id) if more else None)

    async def withdraw(
        self, who: Principal, authorisation_id: int, *, reason: str
    ) -> Authorisation:
        """End an authorisation now; what runs on it is held and stops within a second.

        Raises:
            NotPermitted: without `accounts:write`.
            NotFound: no such authorisation, or of a department that one does not see.
            InvalidRequest: no reason.
        """
        who.require(Scope.ACCOUNTS_WRITE)
        if not reason.strip():
            raise InvalidRequest("must say why", field="reason", policy="SEC-05")

        def act(tx: Tx) -> Authorisation:
            one = rows.find_authorisation(tx.conn, tx.vault, authorisation_id)
            if one is None or not who.sees(one.department):
                raise NotFound(
                    "no such authorisation",
                    field="authorisation_id",
                    value=str(authorisation_id),
                )
            if one.revoked_at is not None:
                return one
            details = {"kind": one.kind, "department": one.department, "reason": reason[:200]}
            details["source"] = who.source
            tx.audit(who.name, "authorisation.withdraw", str(authorisation_id), {**details})
            tx.wake(Topic.STOP)
            after = rows.revoke_authorisation(tx, one)
            if one.is_in_force(tx.now):
                self._stop(tx, one, by=who.name)
            return after

        return await self._store.write(act)

    def _stop(self, tx: Tx, ended: Authorisation, *, by: str) -> None:
        """Hold what rested on an authorisation, unless another one carries it."""
        reason = f"authorisation {ended.authorisation_id} was withdrawn"
        account_id, kind, department = ended.account_id, ended.kind, ended.department
        if rows.is_authorised(
            tx.conn,
            tx.vault,
            account_id=account_id,
            kind=kind,
            department=department,
            at=tx.now,
        ):
            return
        if kind == OPERATOR:
            general = self._general
            stops.hold_operated(tx, department, general_department=general, by=by, reason=reason)
        else:
            stops.hold_approved(tx, account_id, by=by, reason=reason)

    def _visible(self, conn: Connection, who: Principal, account_id: str) -> Account:
        account = find_account(conn, self._store.vault, account_id)
        is_own = account_id == who.account_id
        if account is None or not (is_own or who.sees(account.department)):
            raise NotFound("no such account", field="account_id", value=account_id[:80])
        return account


def _hold_signed(tx: Tx, kid: str, account: Account, reason: RevokeReason, *, by: str) -> None:
    """Hold what was approved with a key that may be in foreign hands, and tell of it."""
    why = f"an approver's key of {account.name} was revoked: {reason}"
    held = stops.hold_signed(tx, kid, by=by, reason=why)
    if held or reason is RevokeReason.COMPROMISED:
        data: dict[str, Json] = {
            "alarm": "approver_key",
            "approver_key": reason,
            "kid": kid,
            "held": list(held),
        }
        tx.event(EventKind.ALARM, f"account:{account.name}", data)
