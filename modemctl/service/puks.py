"""Unblocking a card: one person brings the PUK, another one gives it again (SEC-04, SIM-06)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from modemctl.errors import Conflict, InvalidRequest, NotFound, PolicyRefused, TamperedError
from modemctl.model import Bay, Iccid
from modemctl.policy.puk import PukState
from modemctl.service.principal import Principal, Scope
from modemctl.service.second_persons import require_own_hands
from modemctl.store import Connection, Store, Tx, puks, sims, wishes
from modemctl.store.puks import PukRequest
from modemctl.store.sims import Card
from modemctl.store.wishes import WishKind

__all__ = ["PukState", "PukView", "Puks"]

ResultT = TypeVar("ResultT")

_PUK: Final = re.compile(r"[0-9]{8}")
_REASON_MAX: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class PukView:
    """A request to unblock a card. The PUK is never shown; `outcome` is what the card said."""

    request_id: str
    iccid: str
    state: PukState
    reason: str
    asked_by: str
    asked_at: datetime
    confirmed_by: str | None
    confirmed_at: datetime | None
    tried_at: datetime | None
    outcome: str | None


class Puks:
    """Keeps requests; the card's own bay tries a confirmed one, once."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def ask(self, who: Principal, iccid: str, *, puk: str, reason: str) -> PukView:
        """Bring the PUK of a blocked card; another person has to give it again.

        Raises:
            NotPermitted, InvalidRequest: scope, PUK or reason.
            PolicyRefused: SEC-04, a machine's account.
            NotFound: not registered, or of another department.
            Conflict: the card has a request already, or this PUK was tried on it before.
        """
        who.require(Scope.SIMS_WRITE)
        who.require_person("SEC-04")
        _check_puk(puk)
        if not reason.strip() or len(reason) > _REASON_MAX:
            raise InvalidRequest(f"must have 1 to {_REASON_MAX} characters", field="reason")

        def act(tx: Tx) -> PukView:
            card = _visible(tx, who, iccid)
            request_id = puks.ask(
                tx, card.iccid, puk=puk, reason=reason.strip(), by=who.account_id, name=who.name
            )
            _audit(tx, who, "puk.ask", card.iccid, request_id, reason=reason.strip())
            return _shown(tx.conn, request_id)

        return await self._store.write(act)

    async def confirm(self, who: Principal, request_id: str, *, puk: str) -> PukView:
        """Give the PUK a second time; then the card's bay tries it.

        Raises:
            NotPermitted, InvalidRequest: scope or PUK.
            PolicyRefused: SEC-04, who asked himself, or a machine; SEC-05, an altered row.
            NotFound: no such request, or a card of another department.
            Conflict: it waits for nobody, or this is not the PUK that was brought.
        """
        who.require(Scope.SIMS_WRITE)
        who.require_person("SEC-04")
        _check_puk(puk)

        def act(tx: Tx) -> bool:
            request = _own(tx, who, request_id)
            if request.asked_by == who.account_id:
                raise PolicyRefused(
                    "SEC-04", "who brought the PUK does not confirm it", cure="ask a colleague"
                )
            require_own_hands(tx, who.account_id, request.asked_by, since=request.asked_at)
            is_same = puks.confirm(tx, request_id, puk=puk, by=who.account_id, name=who.name)
            action = "puk.confirm" if is_same else "puk.mismatch"
            _audit(tx, who, action, request.iccid, request_id, asked_by=request.asked_name)
            card = sims.read(tx.conn, tx.vault, request.iccid)
            if is_same and card is not None and card.bay is not None:  # look at it at once
                bay = Bay(card.bay)
                wishes.ask(tx, kind=WishKind.RELEASE, bay=bay, body=None, by=who.account_id)
            return is_same

        if not await self._write(act):
            raise Conflict(
                "this is not the PUK that was brought",
                field="puk",
                cure="read the card's letter again; who brought it may have mistyped",
                policy="SEC-04",
            )
        return await self._store.read(lambda conn: _shown(conn, request_id))

    async def withdraw(self, who: Principal, request_id: str) -> PukView:
        """Take a request back, one's own or another's.

        Raises:
            NotPermitted: the scope is missing.
            PolicyRefused: SEC-04, a machine's account; SEC-05, an altered row.
            NotFound: no such request, or a card of another department.
            Conflict: it is over, or the PUK is on its way.
        """
        who.require(Scope.SIMS_WRITE)
        who.require_person("SEC-04")

        def act(tx: Tx) -> PukView:
            request = _own(tx, who, request_id)
            puks.withdraw(tx, request_id)
            _audit(tx, who, "puk.withdraw", request.iccid, request_id)
            return _shown(tx.conn, request_id)

        return await self._write(act)

    async def list_requests(self, who: Principal) -> Sequence[PukView]:
        """The latest requests, newest first; of a department's cards where the account has one.

        Raises:
            NotPermitted: the scope is missing.
        """
        who.require(Scope.SIMS_READ)
        vault = self._store.vault

        def read(conn: Connection) -> Sequence[PukView]:
            found = puks.find(conn)
            cards = sims.read_many(conn, vault, {one.iccid for one in found})
            return [
                _view(one)
                for one in found
                if one.iccid in cards and who.sees(cards[one.iccid].department)
            ]

        return await self._store.read(read)

    async def _write(self, act: Callable[[Tx], ResultT]) -> ResultT:
        try:
            return await self._store.write(act)
        except TamperedError:
            raise PolicyRefused(
                "SEC-05", "the request's row was altered outside modemctl", cure="ask anew"
            ) from None


def _visible(tx: Tx, who: Principal, iccid: str) -> Card:
    card = sims.read(tx.conn, tx.vault, iccid)
    if card is None or not who.sees(card.department):
        raise NotFound("no such card in the register", field="iccid", value=iccid[:22])
    return card


def _own(tx: Tx, who: Principal, request_id: str) -> PukRequest:
    found = puks.read(tx.conn, request_id)
    if found is not None:
        card = sims.read(tx.conn, tx.vault, found.iccid)
        if card is not None and who.sees(card.department):
            return found
    raise NotFound("no such request", field="request_id", value=request_id[:80])


def _check_puk(puk: str) -> None:
    if not _PUK.fullmatch(puk):
        raise InvalidRequest("a PUK has 8 digits", field="puk")


def _audit(
    tx: Tx, who: Principal, action: str, iccid: Iccid, request_id: str, **facts: str
) -> None:
    details = {"request": request_id, "source": who.source, "policy": "SEC-04", **facts}
    tx.audit(who.name, action, iccid, details)


def _shown(conn: Connection, request_id: str) -> PukView:
    found = puks.read(conn, request_id)
    assert found is not None, "requests are not deleted"
    return _view(found)


def _view(one: PukRequest) -> PukView:
    return PukView(
        request_id=one.request_id,
        iccid=one.iccid,
        state=one.state,
        reason=one.reason,
        asked_by=one.asked_name,
        asked_at=one.asked_at,
        confirmed_by=one.confirmed_name,
        confirmed_at=one.confirmed_at,
        tried_at=one.tried_at,
        outcome=one.outcome,
    )
