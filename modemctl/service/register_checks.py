"""Whether the register is true: numbers on cards, leases, the word of departments (SIM-17)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, tzinfo
from typing import Final

from modemctl.errors import Conflict, InvalidRequest, NotFound
from modemctl.model import mask_number
from modemctl.policy.numbers import NumberRules
from modemctl.service.card_acts import change_card, note, required
from modemctl.service.card_requests import read_number, require_free_number
from modemctl.service.principal import Principal, Scope
from modemctl.service.sim_views import SimView
from modemctl.store import Store, Tx, departments, register_faults, sims
from modemctl.store.register_faults import FaultKind, RegisterFault
from modemctl.store.sims import Card, Ownership

__all__ = ["FaultKind", "RegisterChecks", "RegisterFault"]

_NAME_MAX: Final = 128


class RegisterChecks:
    """Shows where the register is not true, and mends numbers."""

    def __init__(self, store: Store, *, numbers: NumberRules, zone: tzinfo) -> None:
        self._store = store
        self._numbers = numbers
        self._zone = zone

    async def list_faults(self, who: Principal) -> Sequence[RegisterFault]:
        """What stands of the cards and departments that the account sees.

        Raises:
            NotPermitted: the scope is missing.
        """
        who.require(Scope.SIMS_READ)
        now = self._store.clock.now()
        found = await self._store.read(
            lambda conn: register_faults.find(conn, now=now, zone=self._zone)
        )
        return [one for one in found if who.sees(one.department)]

    async def correct_number(
        self, who: Principal, iccid: str, *, number: str, reason: str
    ) -> SimView:
        """Give a card the number that it really has.

        Raises:
            NotPermitted, InvalidRequest, NotFound: scope, number, reason or card.
            PolicyRefused: SIM-17, a machine's account; SEC-05, an altered row.
            Conflict: another card has it.
        """
        who.require(Scope.SIMS_WRITE)
        who.require_person("SIM-17")
        why, new = required(reason), read_number(number, self._numbers)

        def act(tx: Tx, card: Card) -> None:
            require_free_number(tx, new, card.iccid)
            sims.set_number(tx, card.iccid, new)
            before = "" if card.number is None else mask_number(card.number)
            told = {"before": before, "after": mask_number(new), "reason": why}
            note(tx, who, "sim.number", card.iccid, {**told, "policy": "SIM-17"})

        return await change_card(self._store, who, iccid, act)

    async def accept_number(self, who: Principal, iccid: str, *, reason: str) -> SimView:
        """Say that the register is right and what stands on the card is not.

        Raises:
            NotPermitted, InvalidRequest, NotFound: scope, reason or card.
            PolicyRefused: SIM-17, a machine's account.
            Conflict: the card tells no other number.
        """
        who.require(Scope.SIMS_WRITE)
        who.require_person("SIM-17")
        why = required(reason)

        def act(tx: Tx, card: Card) -> None:
            if not register_faults.accept_number(tx, card.iccid, by=who.name):
                raise Conflict("the card tells no other number", cure="modemctl register-faults")
            details = {"reason": why, "source": who.source, "policy": "SIM-17"}
            tx.audit(who.name, "sim.number_accepted", card.iccid, details)

        return await change_card(self._store, who, iccid, act)

    async def renew_lease(self, who: Principal, iccid: str, *, until: date, reason: str) -> SimView:
        """Give a leased card a new last day.

        Raises:
            NotPermitted, InvalidRequest, NotFound: scope, day, reason or card.
            PolicyRefused: SIM-17, a machine's account; SEC-05, an altered row.
            Conflict: the card is not leased.
        """
        who.require(Scope.SIMS_WRITE)
        who.require_person("SIM-17")
        why = required(reason)

        def act(tx: Tx, card: Card) -> None:
            if card.ownership is not Ownership.LEASED:
                raise Conflict("the card is not leased", field="iccid", policy="SIM-17")
            if until < tx.now.astimezone(self._zone).date():
                raise InvalidRequest("lies in the past", field="until", policy="SIM-17")
            sims.amend(tx, card.iccid, {"lease_until": until})
            before = "" if card.lease_until is None else card.lease_until.isoformat()
            told = {"before": before, "after": until.isoformat(), "reason": why}
            note(tx, who, "sim.lease", card.iccid, {**told, "policy": "SIM-17"})

        return await change_card(self._store, who, iccid, act)

    async def confirm(self, who: Principal, department: str) -> None:
        """Say that a department's cards, holders and numbers were gone through and are right.

        Raises:
            NotPermitted: scope, or another department.
            PolicyRefused: SIM-17, a machine's account.
            InvalidRequest, NotFound: no department, or one without cards.
        """
        who.require(Scope.SIMS_READ)
        who.require_person("SIM-17")
        name = department.strip()
        if not name or len(name) > _NAME_MAX:
            raise InvalidRequest(f"must have 1 to {_NAME_MAX} characters", field="department")
        if not who.sees(name):
            who.require_all_departments()

        def act(tx: Tx) -> None:
            if not departments.has_cards(tx.conn, name):
                raise NotFound(
                    "no card is of this department",
                    field="department",
                    value=name[:40],
                    cure="modemctl sims list names each card's",
                )
            register_faults.confirm(tx, name, by=who.name)
            details = {"source": who.source, "policy": "SIM-17"}
            tx.audit(who.name, "register.confirmed", name, details)

        await self._store.write(act)
