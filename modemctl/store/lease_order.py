"""Which of the waiting cards comes first, and for which batches it waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from modemctl.model import Bay, Iccid
from modemctl.policy.choosing import Contender
from modemctl.policy.quotas import Scope
from modemctl.store.quotas import Book
from modemctl.store.segments import CardFacts, read_fitness
from modemctl.store.transaction import Tx


def ranked(
    tx: Tx,
    book: Book,
    bays: Sequence[tuple[Bay, Iccid]],
    cards: Mapping[Iccid, CardFacts],
    scopes: Mapping[Iccid, Sequence[Scope]],
) -> dict[Iccid, Contender]:
    """The usable cards that wait in these bays, best first; `book` has read their `scopes`."""
    modems = read_fitness(tx, [bay for bay, _ in bays] if len(bays) > 1 else [])
    found: list[Contender] = []
    for bay, iccid in set(bays):
        card = cards.get(iccid)
        if card is None or not card.is_usable:
            continue
        signal_dbm, troubles = modems.get(bay, (None, 0))
        found.append(
            Contender(
                iccid=iccid,
                has_holder=card.holder is not None,
                room=_room(book, scopes[iccid]),
                troubles=troubles,
                signal_dbm=signal_dbm,
            )
        )
    return {one.iccid: one for one in sorted(found, key=lambda one: one.rank)}


def kinds(card: CardFacts) -> tuple[tuple[str | None, str | None], ...]:
    """For which batches a card waits: those of its department, and those of its group there."""
    own = (card.department, None)
    return (own,) if card.card_group is None else (own, (card.department, card.card_group))


def _room(book: Book, scopes: Sequence[Scope]) -> float:
    """The free share (0 … 1) of the tightest of a card's caps."""
    most = max(
        (book.used(scope, cap) / cap.most for scope in scopes for cap in scope.caps), default=0.0
    )
    return max(0.0, 1 - most)
