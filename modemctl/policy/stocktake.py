"""The stock-take of cards (SIM-11): what the register says against what the bank sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from modemctl.lifecycle import CardState


class Verdict(StrEnum):
    """What the comparison says of one card; several may hold."""

    PRESENT = "present"
    MISSING = "missing"  # in use by the register, in no bay
    UNKNOWN = "unknown"  # in a bay, not in the register
    MOVED = "moved"  # in another bay than the one that it is tied to
    GIVEN_UP = "given_up"  # lost, returned, cancelled … and yet in a bay (SIM-12)
    IDLE = "idle"
    TO_CANCEL = "to_cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """What the register says of a card. `tied_bay` is where it belongs, None for nowhere.

    `last_use` is its last traffic, or when it was registered.
    """

    iccid: str
    state: CardState
    tied_bay: str | None
    last_use: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A card in the stock-take. `bay` is where it is; `n_idle_days` None for an unknown one."""

    iccid: str
    verdicts: tuple[Verdict, ...]
    bay: str | None
    n_idle_days: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleRules:
    """From when on a card without traffic is idle, and is to be cancelled."""

    idle: timedelta = timedelta(days=30)
    cancel: timedelta = timedelta(days=90)


_GIVEN_UP: Final = frozenset(
    {CardState.LOST, CardState.DAMAGED, CardState.RETURNED, CardState.CANCELLED}
)
_IN_USE: Final = frozenset(
    {CardState.PROVISIONED, CardState.ISSUED, CardState.SUSPENDED_LOSS,
     CardState.SUSPENDED_ARREARS, CardState.SUSPENDED_PENALTY}
)  # fmt: skip


def compare(
    register: Sequence[Registered], seen: Mapping[str, str], *, now: datetime, rules: IdleRules
) -> Sequence[Found]:
    """Each card of the register and of the bank, in order of ICCID.

    Args:
        register: all cards that are registered.
        seen: bay of each card that a modem reports now, by ICCID.
        now: the moment of the stock-take.
        rules: when a card is idle.
    """
    known = {card.iccid for card in register}
    found = [_judge(card, seen.get(card.iccid), now, rules) for card in register]
    found += [
        Found(iccid=iccid, verdicts=(Verdict.UNKNOWN,), bay=bay, n_idle_days=None)
        for iccid, bay in seen.items()
        if iccid not in known
    ]
    return sorted(found, key=lambda one: one.iccid)


def _judge(card: Registered, bay: str | None, now: datetime, rules: IdleRules) -> Found:
    verdicts = []
    idle_for = max(now - card.last_use, timedelta())
    if bay is not None:
        verdicts.append(Verdict.GIVEN_UP if card.state in _GIVEN_UP else Verdict.PRESENT)
        if card.tied_bay not in {None, bay}:
            verdicts.append(Verdict.MOVED)
    elif card.state in _IN_USE:
        verdicts.append(Verdict.MISSING)
    if card.state in _IN_USE and idle_for > rules.cancel:
        verdicts.append(Verdict.TO_CANCEL)
    elif card.state in _IN_USE and idle_for > rules.idle:
        verdicts.append(Verdict.IDLE)
    return Found(iccid=card.iccid, verdicts=tuple(verdicts), bay=bay, n_idle_days=idle_for.days)
