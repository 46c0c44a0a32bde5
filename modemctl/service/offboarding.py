"""A holder leaves: all of his cards come back and are cancelled, in one act (SIM-10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modemctl.errors import InvalidRequest, NotFound
from modemctl.lifecycle import CARD, CardState
from modemctl.service.card_acts import required, write_cards
from modemctl.service.card_endings import end_card
from modemctl.service.principal import Principal, Scope
from modemctl.service.sim_views import SimView, view
from modemctl.store import Connection, Store, Tx, sims
from modemctl.store.sims import Card
from modemctl.vault import Vault

__all__ = ["CardState", "Departure", "Offboarding"]

_HOLDER_MAX = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """How far a holder's leaving is: `left` are his cards that are not cancelled yet.

    Each that a bay still holds says so (`bay`): it is taken out, then the act is done again.
    """

    n_cards: int
    n_cancelled: int
    left: Sequence[SimView]
    is_finished: bool


class Offboarding:
    """Takes the cards of a holder back."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def offboard(self, who: Principal, holder: str, reason: str) -> Departure:
        """Take back and cancel every card of a holder, but those that a bay still holds.

        Those are returned, tied to no bay and carry nothing; done again, it goes on where it was.

        Raises:
            NotPermitted, InvalidRequest: scope, reason, name.
            NotFound: nobody of this name has a card, or none that is seen.
            PolicyRefused: SIM-10: a machine; SEC-05: an altered row.
        """
        who.require(Scope.SIMS_WRITE)
        who.require_person("SIM-10")
        why = required(reason)
        name = _named(holder)

        def act(tx: Tx) -> Sequence[Card]:
            for card in _cards_of(tx.conn, tx.vault, who, name):
                _end(tx, who, card, why)
            return _cards_of(tx.conn, tx.vault, who, name)

        return _departure(await write_cards(self._store, act), who)

    async def show(self, who: Principal, holder: str) -> Departure:
        """How far a holder's leaving is; of one who stays, all that he has is left.

        Raises:
            NotPermitted, InvalidRequest: scope, name.
            NotFound: nobody of this name has a card, or none that is seen.
        """
        who.require(Scope.SIMS_READ)
        name, vault = _named(holder), self._store.vault
        cards = await self._store.read(lambda conn: _cards_of(conn, vault, who, name))
        return _departure(cards, who)


def _end(tx: Tx, who: Principal, card: Card, why: str) -> None:
    """Bring a card as near to its end as it comes; what is lost or broken never comes back."""
    state = card.state
    is_back = {CardState.RETURNED, CardState.CANCELLED}
    if state not in is_back and CardState.CANCELLED not in CARD[state]:
        end_card(tx, who, card, CardState.RETURNED, why=why)
        state = CardState.RETURNED
    if state is not CardState.CANCELLED and sims.bay_of(tx.conn, card.iccid) is None:
        end_card(tx, who, card, CardState.CANCELLED, why=why)


def _cards_of(conn: Connection, vault: Vault, who: Principal, holder: str) -> Sequence[Card]:
    found = [one for one in sims.held_by(conn, vault, holder) if who.sees(one.department)]
    if not found:
        cure = "modemctl sims list --holder NAME tells who has cards"
        raise NotFound("nobody of this name has a card", field="holder", cure=cure)
    return found


def _departure(cards: Sequence[Card], who: Principal) -> Departure:
    left = [view(one, who) for one in cards if one.state is not CardState.CANCELLED]
    return Departure(
        n_cards=len(cards),
        n_cancelled=len(cards) - len(left),
        left=left,
        is_finished=not left,
    )


def _named(holder: str) -> str:
    name = holder.strip()
    if not name or len(name) > _HOLDER_MAX:
        raise InvalidRequest(f"must have 1 to {_HOLDER_MAX} characters", field="holder")
    return name
