"""Which card is in a modem, and may it be used: read twice alike, compared with the register."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from drivers.errors import CommandError
from drivers.interface import Driver
from modemctl.model import EventKind, Iccid
from modemctl.policy.cards import TAMPERED_CARD, UNKNOWN_CARD, Unfitness, unfitness
from modemctl.store import Store, Tx, sims

_MAX_READS: Final = 4
_ICCID: Final = re.compile(r"[0-9A-F]{18,22}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The card is known and may be used."""

    iccid: Iccid


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """The card is known by its ICCID and gets no PIN: `policy` and one word say why."""

    iccid: Iccid
    policy: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """No ICCID could be read twice alike: nobody is convicted."""

    reason: str


CheckOutcome: TypeAlias = Fit | Unfit | Unreadable


async def check_card(driver: Driver, store: Store, bay: str) -> CheckOutcome:
    """Find out which card this is and whether the register lets it be used.

    Raises:
        DriverError: the modem failed; nothing was decided.
        StoreError: the register cannot be read now.
    """
    iccid = await read_iccid(driver)
    if iccid is None:
        return Unreadable(reason="iccid_unreadable")
    card = await store.read(lambda conn: sims.read(conn, store.vault, iccid))
    if card is None:
        found: Unfitness | None = UNKNOWN_CARD
    elif not card.is_intact:
        found = TAMPERED_CARD
    else:
        found = unfitness(card.state, card.verified_at)
    if found is None:
        return Fit(iccid=iccid)
    await store.write(alarm(iccid, bay, f"card_{found.reason}", found.policy))
    return Unfit(iccid=iccid, policy=found.policy, reason=found.reason)


async def read_iccid(driver: Driver) -> Iccid | None:
    """Read until two readings in a row agree; None where they do not, or the card does not tell."""
    last: str | None = None
    for _ in range(_MAX_READS):
        now = await read_once(driver)
        if now is not None and now == last and _ICCID.fullmatch(now):
            return Iccid(now)
        last = now
    return None


async def read_once(driver: Driver) -> str | None:
    """One reading, which convicts nobody; None where the card does not tell."""
    try:
        return (await driver.read_iccid()).strip().upper()
    except CommandError:
        return None


def alarm(iccid: Iccid, bay: str, word: str, policy: str) -> Callable[[Tx], None]:
    """An act that leaves an alarm about a card: one word and the rule that it concerns."""

    def act(tx: Tx) -> None:
        tx.event(EventKind.ALARM, iccid, {"alarm": word, "bay": bay, "policy": policy})

    return act
