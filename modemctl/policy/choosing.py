"""Which of the waiting cards gets a message, and in what words that is told (SIM-05, SMS-06).

Whether a card fits at all (department, group, register, limits) is decided before; here the fitting
ones are put in order, the same order each time for the same facts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from modemctl.lifecycle import ModemState
from modemctl.model import Iccid

_WEAK: Final = -95  # dBm: below it submits fail often
_FAIR: Final = -80
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A fitting card that waits. `room`: free share (0 … 1) of its tightest limit.

    `troubles`: breakers of its modem that are not closed; `signal_dbm` None: not told.
    """

    iccid: Iccid
    has_holder: bool
    room: float
    troubles: int
    signal_dbm: int | None

    @property
    def rank(self) -> tuple[int, bool, int, int, str]:
        """Smallest first: sound modems, cards of the pool, much room (in tenths), signal, ICCID."""
        return (
            self.troubles,
            self.has_holder,
            -int(self.room * 10),
            _steps_below_strong(self.signal_dbm),
            self.iccid,
        )


def _steps_below_strong(signal_dbm: int | None) -> int:
    if signal_dbm is None:
        return 1
    return (signal_dbm < _FAIR) + (signal_dbm < _WEAK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Why a card got a message; `place` of `n` waiting cards that fitted, None where it had to be.

    `avoids`: another card refused the message for reasons of its own. `is_loop`: it goes to the
    card's own number.
    """

    iccid: Iccid
    department: str
    card_group: str | None
    place: int | None
    n: int
    contender: Contender | None
    avoids: bool = False
    is_loop: bool = False

    def encode(self) -> str:
        """As it is stored."""
        one = self.contender
        facts: list[object] = [] if one is None else [
            one.has_holder, int(one.room * 100), one.troubles, one.signal_dbm,
        ]  # fmt: skip
        own = [self.iccid, self.department, self.card_group, self.place, self.n, self.avoids]
        stored = [*own, *(["loop"] if self.is_loop else facts)]
        return _encode(stored)


def choice_in_words(stored: str, *, is_chinese: bool = False) -> str:
    """What a stored choice says; what an earlier version stored stands as it is."""
    try:
        iccid, department, group, place, n, avoids, *facts = json.loads(stored)
    except (ValueError, TypeError):
        return stored
    words = _CHINESE if is_chinese else _ENGLISH
    card = words["card"].format(iccid=iccid)
    if facts == ["loop"]:
        return card + words["loop"]
    if place is None:
        return card + words["bound"]
    told = [words["place"].format(place=place, n=n, department=department)]
    if n == 1:
        told = [words["only"].format(department=department)]
    if group is not None:
        told.append(words["group"].format(group=group))
    if facts:
        has_holder, room, troubles, signal = facts
        told += [
            words["holder"] if has_holder else words["pool"],
            words["room"].format(room=room),
        ]
        if signal is not None:
            told.append(words["signal"].format(signal=signal))
        if troubles:
            told.append(words["troubles"].format(troubles=troubles))
    if avoids:
        told.append(words["avoids"])
    return card + words["join"].join(told)


_ENGLISH: Final = {
    "card": "card {iccid}: ",
    "bound": "a part of the message left by this card, or may have",
    "loop": "the message goes to its own number (policy: SIM-18)",
    "place": "place {place} of {n} waiting cards of department {department}",
    "only": "the only waiting card of department {department}",
    "group": "group {group}",
    "pool": "of the pool",
    "holder": "has a holder",
    "room": "{room} % of its tightest limit free",
    "signal": "{signal} dBm",
    "troubles": "breakers open: {troubles}",
    "avoids": "another than the one that refused it",
    "join": ", ",
}
_CHINESE: Final = {
    "card": "卡 {iccid}:",
    "bound": "同一条短信的一部分已由或可能已由此卡发出",
    "loop": "自检短信,发往本卡号码(policy: SIM-18)",
    "place": "{department} 部门 {n} 张待命卡中排第 {place}",
    "only": "{department} 部门唯一的待命卡",
    "group": "组 {group}",
    "pool": "公共卡",
    "holder": "个人持有卡",
    "room": "最紧限额尚余 {room} %",
    "signal": "{signal} dBm",
    "troubles": "熔断中: {troubles}",
    "avoids": "避开拒发过的卡",
    "join": ",",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CardStanding:
    """A card of a batch's department as it is now. `modem_state` None: it is in no bay."""

    iccid: Iccid
    card_group: str | None
    unfit: str | None
    is_intact: bool
    is_reserved: bool
    is_paused: bool
    modem_state: str | None
    is_bay_paused: bool
    lacks: str | None


def why_not(card: CardStanding, *, card_group: str | None, avoids: str | None) -> str | None:
    """Why a card of the right department does not take a waiting message; None: it may."""
    is_of_group = card_group in {None, card.card_group}
    reasons = (
        (not card.is_intact, "its row was altered (policy: SEC-05)"),
        (card.unfit is not None, card.unfit),
        (not is_of_group, f"is not in group {card_group}"),
        (card.is_reserved, "is kept in reserve"),
        (card.is_paused, "is paused"),
        (card.modem_state is None, "is in no bay"),
        (card.is_bay_paused, "its bay is paused"),
        (card.modem_state != ModemState.READY, f"its modem is {card.modem_state}"),
        (avoids == card.iccid, "refused this message for reasons of its own"),
    )
    return next((why for holds, why in reasons if holds), card.lacks)
