"""The way of a card to who uses it: asked for, reviewed, approved, provisioned, issued (SIM-02).

Each step is a person's, with a permission of its own; nobody decides about what he asked for.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from typing import Final

from modemctl.errors import Conflict, InvalidRequest, PolicyRefused
from modemctl.lifecycle import CardState
from modemctl.model import Iccid
from modemctl.policy.custody import (
    Step,
    why_not_decide,
)
from modemctl.policy.numbers import NumberRules
from modemctl.service.card_acts import (
    approval_of,
    change_card,
    following_command,
    move_card,
    note,
    required,
    write_cards,
)
from modemctl.service.card_requests import CardForm, file_request, new_card, replacement
from modemctl.service.departments import head_of
from modemctl.service.identities import traces
from modemctl.service.principal import Principal, Scope
from modemctl.service.sim_views import SimView, view
from modemctl.store import Store, Tx, custody, identities, pin_changes, pins, sims
from modemctl.store.sims import Card
from modemctl.store.transaction import Json

__all__ = ["CardForm", "Custody"]

_PIN: Final = re.compile(r"[0-9]{4,8}")
_STATE: Final = "state"


class Custody:
    """Takes a card through its life; decides nothing that a modem does."""

    def __init__(self, store: Store, *, numbers: NumberRules) -> None:
        """`numbers` says how phone numbers are read."""
        self._store = store
        self._numbers = numbers

    async def request(self, who: Principal, iccid: str, form: CardForm, reason: str) -> SimView:
        """Ask for a card: a new one, or one that lies in the drawer; also in place of a lost one.

        Raises:
            NotPermitted, InvalidRequest: scope, department, a field.
            Conflict: somebody has it, or its number; what it replaces is there.
            PolicyRefused: SIM-02: a machine; SIM-01, SIM-05: what the form leaves out.
        """
        who.require(Scope.SIMS_REQUEST)
        who.require_person("SIM-02")
        why = required(reason)
        asked = new_card(iccid, form, who, self._numbers)

        def act(tx: Tx) -> Card:
            card = asked if asked.replaces is None else replacement(tx, who, asked)
            file_request(tx, who, card)
            details: dict[str, Json] = {"state": card.state.value, "department": card.department}
            details |= {"reason": why, "policy": "SIM-02", **traces(None, card.identity)}
            if card.replaces is not None:
                details |= {"replaces": card.replaces, "policy": "SIM-09"}
                _link(tx, who, card.replaces, card.iccid)
            step, other = Step.REQUESTED, card.replaces
            note(tx, who, "sim.request", card.iccid, details, step=step, reason=why,
                 other_iccid=other)  # fmt: skip
            return _registered(tx, card.iccid)

        return view(await write_cards(self._store, act), who)

    async def review(self, who: Principal, iccid: str, reason: str) -> SimView:
        """Note that need, reason and qualification were checked; `reason` says what was found.

        Raises:
            NotPermitted, InvalidRequest, NotFound: scope, reason, card.
            Conflict: the request is not at this step.
            PolicyRefused: SIM-02: a machine, or who asked.
        """
        who.require(Scope.SIMS_REVIEW)
        why = required(reason)

        def act(tx: Tx, card: Card) -> None:
            _require_other(who, card, reviewer=None)
            move_card(
                tx, who, card, Step.REVIEWED, why=why, changes={"reviewed_by": who.account_id}
            )

        return await self._decide(who, iccid, act)

    async def approve(self, who: Principal, iccid: str, reason: str) -> SimView:
        """The word of the department's head; of a pool's card he becomes the holder (SIM-05).

        Raises:
            NotPermitted, InvalidRequest, NotFound: scope, reason, card.
            Conflict: the request is not at this step.
            PolicyRefused: SIM-02: a machine, who asked or reviewed, or of another department.
        """
        who.require(Scope.SIMS_APPROVE)
        why = required(reason)

        def act(tx: Tx, card: Card) -> None:
            _require_other(who, card, reviewer=card.reviewed_by)
            if who.department is None or who.department != card.department:
                rule = f"the head of department {card.department} approves"
                cure = "his account names the department: modemctl account create --department"
                raise PolicyRefused("SIM-02", rule, field="department", cure=cure)
            changes: dict[str, object] = {"approved_by": who.account_id}
            if card.is_pool:
                changes["holder"] = head_of(tx.conn, tx.vault, who.department) or who.name
            move_card(tx, who, card, Step.APPROVED, why=why, changes=changes)

        return await self._decide(who, iccid, act)

    async def refuse(self, who: Principal, iccid: str, reason: str) -> SimView:
        """Say no to a request: to a new one who reviews, to a reviewed one who approves.

        Raises:
            NotPermitted, InvalidRequest, NotFound: scope, reason, card.
            Conflict: no request is at this step.
            PolicyRefused: SIM-02: a machine.
        """
        if Scope.SIMS_APPROVE not in who.scopes:
            who.require(Scope.SIMS_REVIEW)
        why = required(reason)

        def act(tx: Tx, card: Card) -> None:
            scopes = {
                CardState.REQUESTED: Scope.SIMS_REVIEW, CardState.REVIEWED: Scope.SIMS_APPROVE,
            }  # fmt: skip
            if card.state not in scopes:
                rule = f"a card that is {card.state} waits for no word"
                raise Conflict(rule, field=_STATE, policy="SIM-02")
            who.require(scopes[card.state])
            move_card(tx, who, card, Step.REFUSED, why=why)

        return await self._decide(who, iccid, act)

    async def provision(
        self, who: Principal, iccid: str, reason: str, *, pin: str | None = None
    ) -> SimView:
        """IT's step: the card's PIN is in the vault, so that its lock is set before it serves.

        A card that somebody had needs another PIN than he had, or one that only the vault knows.
        One that was returned without a request goes into stock, without a holder.

        Raises:
            NotPermitted, InvalidRequest, NotFound: scope, reason, PIN, card.
            Conflict: it is neither approved nor returned.
            PolicyRefused: SIM-02: a machine, or no PIN; SIM-10: the PIN of the former holder.
        """
        who.require(Scope.SIMS_PROVISION)
        why = required(reason)
        if pin is not None and not _PIN.fullmatch(pin):
            raise InvalidRequest("must have 4 to 8 digits", field="pin", policy="SIM-06")

        def act(tx: Tx, card: Card) -> None:
            _see_to_pin(tx, who, card, pin)
            is_stock = card.state is CardState.RETURNED
            changes = {**_IN_STOCK, "requested_by": who.account_id} if is_stock else {}
            facts = {} if is_stock else approval_of(tx, card)
            move_card(tx, who, card, Step.PROVISIONED, why=why, changes=changes, facts=facts)

        return await self._decide(who, iccid, act)

    async def issue(self, who: Principal, iccid: str, reason: str) -> SimView:
        """Hand a provisioned card out; from now on it may carry traffic.

        Raises:
            NotPermitted, InvalidRequest, NotFound: scope, reason, card.
            Conflict: it is not provisioned.
            PolicyRefused: SIM-02: a machine, or nobody approved; SIM-04: not verified; SIM-01: no
                holder.
        """
        who.require(Scope.SIMS_ISSUE)
        why = required(reason)

        def act(tx: Tx, card: Card) -> None:
            if card.state is not CardState.PROVISIONED:
                rule = f"a card that is {card.state} is not handed out"
                raise Conflict(
                    rule, field=_STATE, policy="SIM-02", cure=following_command(card.state)
                )
            _require_complete(card)
            move_card(tx, who, card, Step.ISSUED, why=why, facts=approval_of(tx, card))

        return await self._decide(who, iccid, act)

    async def _decide(self, who: Principal, iccid: str, act: Callable[[Tx, Card], None]) -> SimView:
        who.require_person("SIM-02")
        return await change_card(self._store, who, iccid, act)


def _link(tx: Tx, who: Principal, old: Iccid, new: Iccid) -> None:
    """Tell a lost card which one stands in its place (SIM-09)."""
    sims.amend(tx, old, {"replaced_by": new})
    details: dict[str, Json] = {"replaced_by": new, "policy": "SIM-09"}
    note(tx, who, "sim.replace", old, details, step=Step.REPLACED, reason="replacement asked for",
         other_iccid=new)  # fmt: skip


def _require_other(who: Principal, card: Card, *, reviewer: str | None) -> None:
    rule = why_not_decide(who.account_id, requester=card.requested_by, reviewer=reviewer)
    if rule is not None:
        raise PolicyRefused("SIM-02", rule, cure="ask a colleague")


def _require_complete(card: Card) -> None:
    if card.approved_by is None:
        cure = "ask for it: modemctl sims request ICCID; then review, approve, provision"
        raise PolicyRefused("SIM-02", "nobody approved it for its holder", cure=cure)
    if card.verified_at is None:
        rule, cure = "the holder's identity is not verified", "modemctl sims verify ICCID --by WHO"
        raise PolicyRefused("SIM-04", rule, field="verified_at", cure=cure)
    if card.holder is None or card.department is None:
        rule, cure = "an issued card needs holder and department", "return it and ask anew"
        raise PolicyRefused("SIM-01", rule, field="holder", cure=cure)


def _see_to_pin(tx: Tx, who: Principal, card: Card, pin: str | None) -> None:
    """Put a card's PIN into the vault; refuse a card whose PIN is not there, or is known."""
    iccid = card.iccid
    is_vaults = pin_changes.kept_by_vault(tx.conn, [iccid]).get(iccid)
    if is_vaults and pin is not None:
        rule, cure = "the vault's own PIN of it is in doubt", "modemctl sims puk ask ICCID"
        raise PolicyRefused("SIM-06", rule, field="pin", cure=cure)
    if is_vaults is not None and pin is None:
        return  # nobody knows it
    fresh = pins.changed(tx, {} if pin is None else {iccid: pin})
    if fresh:
        import_id = str(uuid.uuid4())
        pins.add_import(tx, import_id, fresh)
        facts: dict[str, Json] = {"n_cards": 1, "iccid": iccid, "source": who.source}
        tx.audit(who.name, "pin_import.add", import_id, {**facts, "policy": "SIM-06"})
    elif not card.has_pin:
        cure = "give it along: modemctl sims provision ICCID --pin"
        rule = "a card is provisioned with its PIN in the vault"
        raise PolicyRefused("SIM-02", rule, field="pin", cure=cure)
    elif custody.last_of(tx.conn, tx.vault, [iccid], Step.RETURNED):
        cure = "change it in a telephone and give the new one along"
        raise PolicyRefused("SIM-10", "its PIN is the former holder's", field="pin", cure=cure)


def _registered(tx: Tx, iccid: Iccid) -> Card:
    card = sims.read(tx.conn, tx.vault, iccid)
    assert card is not None, "it was just put there"
    return card


_IN_STOCK: Final[Mapping[str, object]] = dict.fromkeys(
    ("holder", "department", "user_name", "purpose", "reviewed_by", "approved_by", "verified_at",
     "verified_by", *identities.NONE),
)  # fmt: skip
