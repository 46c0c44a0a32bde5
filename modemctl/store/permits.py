"""May a secret leave for this card, in this bay, by this modem: asked where its try is committed.

A bay that waits for its turn was checked long ago: ties and admissions may be others by now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from modemctl.config.settings import ListMode
from modemctl.model import Bay, Iccid
from modemctl.policy.admission import refusal
from modemctl.store import admissions, ties
from modemctl.store.transaction import Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """What is asked of the lists: who the modem says it is, how strict the bank is with both."""

    imei: str | None
    cards: ListMode
    modems: ListMode


NO_LISTS = Lists(imei=None, cards=ListMode.OFF, modems=ListMode.OFF)
"""A bank that keeps none, as `bank.cards = off` and `bank.modems = off` say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A card, the bay that holds it, and what the lists are asked."""

    iccid: Iccid
    bay: str
    lists: Lists


class Permits:
    """What ties and admissions say now of some places."""

    def __init__(self, tx: Tx, places: Iterable[Place]) -> None:
        asked = [place for place in places if place.lists != NO_LISTS]
        self._ties = ties.read_many(
            tx.conn,
            tx.vault,
            bays=[place.bay for place in asked],
            iccids=[place.iccid for place in asked],
        )
        imeis = {place.lists.imei for place in asked if place.lists.imei is not None}
        self._admitted = admissions.read_many(tx.conn, tx.vault, imeis)

    def is_in_place(self, place: Place) -> bool:
        """Whether the card may be used in its bay (SIM-07)."""
        return self._ties.fault(place.lists.cards, Bay(place.bay), place.iccid) is None

    def is_admitted(self, place: Place) -> bool:
        """Whether the modem may be driven (CC-01)."""
        known = self._admitted.get(place.lists.imei or "")
        return refusal(place.lists.modems, place.lists.imei, known) is None
