"""What every change of a card has in common: who may, an intact row, and its traces (SEC-11)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, TypeVar

from modemctl.errors import InvalidRequest, PolicyRefused, TamperedError
from modemctl.lifecycle import CardState
from modemctl.policy.custody import Step
from modemctl.service.identities import traces
from modemctl.service.principal import Principal
from modemctl.service.sim_views import SimView, unknown, view
from modemctl.store import Store, Tx, custody, sims
from modemctl.store.sims import Card, NewCard
from modemctl.store.transaction import Json

ResultT = TypeVar("ResultT")

_REASON_MAX: Final = 500
_log = logging.getLogger(__name__)


async def change_card(
    store: Store, who: Principal, iccid: str, act: Callable[[Tx, Card], None]
) -> SimView:
    """Run `act` on a card that the account sees; the card afterwards.

    Raises:
        NotFound: not registered, or of another department.
        PolicyRefused: SEC-05: altered row; and what `act` raises.
    """

    def change(tx: Tx) -> Card:
        card = sims.read(tx.conn, tx.vault, iccid)
        if card is None or not who.sees(card.department):
            raise unknown(iccid)
        act(tx, card)
        after = sims.read(tx.conn, tx.vault, iccid)
        assert after is not None, "cards are not deleted"
        return after

    return view(await write_cards(store, change), who)


async def write_cards(store: Store, act: Callable[[Tx], ResultT]) -> ResultT:
    """Run `act` in a transaction; on a row that was altered nothing is built.

    Raises:
        PolicyRefused: SEC-05: altered row; and what `act` raises.
    """
    try:
        return await store.write(act)
    except TamperedError:
        _log.error("sim.tampered")
        raise PolicyRefused(
            "SEC-05",
            "the card's row was altered outside modemctl",
            cure="compare it with the audit log and register the card anew",
            field="iccid",
        ) from None


def note(
    tx: Tx,
    who: Principal,
    action: str,
    iccid: str,
    details: Mapping[str, Json],
    *,
    step: Step | None = None,
    reason: str = "",
    reference: str | None = None,
    other_iccid: str | None = None,
) -> None:
    """Leave a change of a card's row in the audit log and, with `step`, in its history.

    Call it behind the change: the log tells the revision that it left, and the history whose
    card it is now.
    """
    told: dict[str, Json] = {**details, "source": who.source}
    told["revision"] = sims.revision(tx, iccid)
    if step is not None:
        told["step"] = step.value
        told["custody"] = custody.append(
            tx,
            custody.Act(
                iccid=iccid,
                step=step,
                account_id=who.account_id,
                by=who.name,
                reason=reason,
                reference=reference,
                other_iccid=other_iccid,
            ),
        )
    tx.audit(who.name, action, iccid, told)


def register_cards(tx: Tx, who: Principal, cards: Sequence[NewCard]) -> None:
    """Leave in log and history that these cards were just registered by a list; many at once."""
    for card in cards:
        at = card.verified_at
        details: dict[str, Json] = {"state": card.state.value, "department": card.department}
        details |= {"verified_at": None if at is None else at.isoformat()}
        details |= {"verified_by": card.verified_by, "policy": "SIM-01", "source": who.source}
        details |= traces(None, card.identity)
        details |= {"revision": 0, "step": Step.REGISTERED.value, "custody": 1}
        tx.audit(who.name, "sim.add", card.iccid, details)
    acts = [
        custody.Act(
            iccid=card.iccid,
            step=Step.REGISTERED,
            account_id=who.account_id,
            by=who.name,
            reason="by a list",
        )
        for card in cards
    ]
    custody.begin(tx, acts, {card.iccid: card for card in cards})


def required(reason: str) -> str:
    """A reason, without the blanks around it.

    Raises:
        InvalidRequest: empty, or too long.
    """
    if not reason.strip() or len(reason) > _REASON_MAX:
        raise InvalidRequest(f"must have 1 to {_REASON_MAX} characters", field="reason")
    return reason.strip()


def move_card(
    tx: Tx,
    who: Principal,
    card: Card,
    step: Step,
    *,
    why: str,
    changes: Mapping[str, object] = MappingProxyType({}),
    facts: Mapping[str, Json] = MappingProxyType({}),
    to: CardState | None = None,
    reference: str | None = None,
) -> None:
    """Take a card a step along its life, in the log and in its history; `to` where it has several.

    Raises:
        Conflict: the card's life has no such step.
    """
    after = to or _AFTER[step]
    before = sims.change_state(tx, card.iccid, after, changes)
    details: dict[str, Json] = {"before": before.value, "after": after.value, "reason": why}
    details |= {"policy": "SIM-02", **facts}
    note(tx, who, "sim.state", card.iccid, details, step=step, reason=why, reference=reference)


def approval_of(tx: Tx, card: Card) -> dict[str, Json]:
    """Which approval lets this happen, for the log (SEC-11); cards of a list have none.

    Raises:
        PolicyRefused: SEC-05: the history does not say what the card's row does.
    """
    if card.approved_by is None:
        return {}
    line = custody.last_of(tx.conn, tx.vault, [card.iccid], Step.APPROVED).get(card.iccid)
    if line is None or not line.is_intact or line.account_id != card.approved_by:
        rule, cure = "its history was altered", "modemctl audit verify; it is an incident"
        raise PolicyRefused("SEC-05", rule, cure=cure)
    return {"approval": f"{card.iccid} line {line.seq}", "approved_by": line.by}


def next_command(state: CardState) -> str:
    """What to type to bring a card into a state."""
    return _COMMANDS.get(state, "modemctl sims history ICCID tells what it went through")


def following_command(state: CardState) -> str:
    """What to type next about a card that is in a state."""
    return _FOLLOWING.get(state, "modemctl sims history ICCID tells what it went through")


_FOLLOWING: Final[Mapping[CardState, str]] = {
    CardState.REQUESTED: "first: modemctl sims review ICCID",
    CardState.REVIEWED: "first: modemctl sims approve ICCID",
    CardState.APPROVED: "first: modemctl sims provision ICCID",
    CardState.PROVISIONED: "modemctl sims issue ICCID",
    CardState.SUSPENDED_LOSS: "modemctl sims release ICCID",
    CardState.SUSPENDED_ARREARS: "modemctl sims release ICCID",
    CardState.SUSPENDED_PENALTY: "modemctl sims release ICCID",
    CardState.RETURNED: "modemctl sims request ICCID",
    CardState.LOST: "a new card in its place: modemctl sims request NEW --replaces ICCID",
    CardState.DAMAGED: "a new card in its place: modemctl sims request NEW --replaces ICCID",
}
_AFTER: Final[Mapping[Step, CardState]] = {
    Step.REVIEWED: CardState.REVIEWED,
    Step.APPROVED: CardState.APPROVED,
    Step.REFUSED: CardState.RETURNED,
    Step.PROVISIONED: CardState.PROVISIONED,
    Step.ISSUED: CardState.ISSUED,
    Step.RELEASED: CardState.ISSUED,
}
_COMMANDS: Final[Mapping[CardState, str]] = {
    CardState.REQUESTED: "modemctl sims request ICCID",
    CardState.REVIEWED: "modemctl sims review ICCID",
    CardState.APPROVED: "modemctl sims approve ICCID",
    CardState.PROVISIONED: "modemctl sims provision ICCID",
    CardState.ISSUED: "modemctl sims issue ICCID; a suspended one: modemctl sims release ICCID",
}
