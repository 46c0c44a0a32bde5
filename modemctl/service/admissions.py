"""The admission list of modems: one person asks, another one approves, each may expel (CC-01)."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from modemctl.errors import InvalidRequest
from modemctl.model import AccountId
from modemctl.policy.admission import Admission, AdmissionState
from modemctl.service.pages import Page, decode_text, encode_cursor
from modemctl.service.principal import Principal, Scope
from modemctl.service.second_persons import require_own_hands
from modemctl.store import Connection, Store, Tx
from modemctl.store import admissions as rows
from modemctl.store.accounts import find_account
from modemctl.vault import Vault

__all__ = ["AdmissionState", "AdmissionView", "Admissions"]

_IMEI: Final = re.compile(r"[0-9]{15}")
_REASON_MAX: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionView:
    """A modem on the list. `requested_by` and `decided_by` are names of accounts.

    `is_intact` is false where the row was altered behind our back: the modem is not driven then.
    """

    imei: str
    state: AdmissionState
    requested_by: str | None
    requested_at: datetime | None
    decided_by: str | None
    decided_at: datetime | None
    reason: str
    bay: str | None
    is_intact: bool


class Admissions:
    """Keeps the list; the fleet obeys it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list_admissions(
        self,
        who: Principal,
        *,
        state: AdmissionState | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[AdmissionView]:
        """Modems by IMEI: those that came, and those that somebody asked for or expelled.

        Raises:
            NotPermitted, InvalidRequest: scope, or an account of one department; cursor.
        """
        who.require(Scope.MODEMS_READ)
        who.require_all_departments()
        after, vault = decode_text(cursor), self._store.vault

        def query(conn: Connection) -> list[AdmissionView]:
            found = rows.find(conn, vault, state=state, after=after, limit=limit + 1)
            return [_view(conn, vault, one) for one in found]

        found = await self._store.read(query)
        more = encode_cursor(found[limit - 1].imei) if len(found) > limit else None
        return Page(items=found[:limit], next=more)

    async def admit(self, who: Principal, imeis: Sequence[str], reason: str) -> Page[AdmissionView]:
        """Ask for modems, and approve those that somebody else asked for; all or none.

        What one asked for oneself stays a request. An approved modem is driven at once.

        Raises:
            NotPermitted, InvalidRequest: scope, or an account of one department; IMEI, reason.
            PolicyRefused: CC-01, the account names no person.
        """
        self._require(who, reason)

        def act(tx: Tx) -> list[AdmissionView]:
            known = rows.read_many(tx.conn, tx.vault, imeis)
            _require_numbers(imeis, known)
            return [
                _view(tx.conn, tx.vault, _admit(tx, who, imei, known.get(imei), reason.strip()))
                for imei in dict.fromkeys(imeis)
            ]

        return Page(items=await self._store.write(act), next=None)

    async def expel(self, who: Principal, imei: str, reason: str) -> AdmissionView:
        """Let no bay drive a modem any more, from now on; one person is enough to say no.

        Raises:
            NotPermitted, InvalidRequest, PolicyRefused: as `admit`.
        """
        self._require(who, reason)

        def act(tx: Tx) -> AdmissionView:
            before = rows.read(tx.conn, tx.vault, imei)
            _require_numbers([imei], () if before is None else (imei,))
            if before is None or not before.is_intact or before.state is not _EXPELLED:
                before = rows.expel(tx, imei, by=who.account_id, reason=reason.strip())
                _audit(tx, who, "admission.expel", imei, reason)
            return _view(tx.conn, tx.vault, before)

        return await self._store.write(act)

    def _require(self, who: Principal, reason: str) -> None:
        who.require(Scope.MODEMS_OPERATE)
        who.require_all_departments()
        who.require_person("CC-01")
        if not reason.strip() or len(reason) > _REASON_MAX:
            raise InvalidRequest(f"must have 1 to {_REASON_MAX} characters", field="reason")


def _require_numbers(imeis: Sequence[str], known: Container[str]) -> None:
    """Refuse what is no IMEI; a modem that tells a serial number in its place has come already."""
    for imei in imeis:
        if not _IMEI.fullmatch(imei) and imei not in known:
            raise InvalidRequest(
                "must be the 15 digits of an IMEI, or a serial number that came",
                field="imei",
                value=imei[:40],
                cure="modemctl modems admitted lists those that came",
                policy="CC-01",
            )


_EXPELLED: Final = AdmissionState.EXPELLED


def _admit(tx: Tx, who: Principal, imei: str, known: Admission | None, reason: str) -> Admission:
    state = None if known is None or not known.is_intact else known.state
    if known is None or state not in {AdmissionState.REQUESTED, AdmissionState.ADMITTED}:
        _audit(tx, who, "admission.request", imei, reason)
        return rows.ask(tx, imei, by=who.account_id, reason=reason)
    if state is AdmissionState.ADMITTED or known.requested_by == who.account_id:
        return known
    if known.requested_by is not None and known.requested_at is not None:
        asker = AccountId(known.requested_by)
        require_own_hands(tx, who.account_id, asker, since=known.requested_at)
    _audit(tx, who, "admission.approve", imei, reason)
    return rows.approve(tx, known, by=who.account_id)


def _audit(tx: Tx, who: Principal, action: str, imei: str, reason: str) -> None:
    details = {"reason": reason.strip(), "source": who.source, "policy": "CC-01"}
    tx.audit(who.name, action, imei, {**details})


def _view(conn: Connection, vault: Vault, one: Admission) -> AdmissionView:
    return AdmissionView(
        imei=one.imei,
        state=one.state,
        requested_by=_name(conn, vault, one.requested_by),
        requested_at=one.requested_at,
        decided_by=_name(conn, vault, one.decided_by),
        decided_at=one.decided_at,
        reason=one.reason,
        bay=one.bay,
        is_intact=one.is_intact,
    )


def _name(conn: Connection, vault: Vault, account_id: str | None) -> str | None:
    account = None if account_id is None else find_account(conn, vault, account_id)
    return account_id if account is None else account.name
