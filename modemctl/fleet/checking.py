"""Which card is in a modem, and may it be used: read twice alike, compared with register and bay.

What one reading says convicts nobody: it may be cut short, or of a card that is just being changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from drivers.errors import CommandError, ProtocolError
from drivers.interface import Driver
from modemctl.config.settings import ListMode
from modemctl.model import Bay, Iccid
from modemctl.policy.cards import MOVED_CARD, TAMPERED_CARD, UNKNOWN_CARD, Unfitness, unfitness
from modemctl.store import Connection, Store, Tx, card_locks, sims, ties
from modemctl.vault import Vault

_MAX_READS: Final = 4
_ICCID: Final = re.compile(r"[0-9A-F]{18,22}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The card is known and may be used; `has_moved`: its bay, or it, was tied to another one."""

    iccid: Iccid
    has_moved: bool = False


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Untied:
    """The card may be used here, and its bay is to learn that it holds it."""

    has_moved: bool


async def check_card(
    driver: Driver, store: Store, bay: Bay, mode: ListMode = ListMode.LEARN
) -> CheckOutcome:
    """Find out which card this is, whether the register lets it be used, and here (SIM-07).

    `mode` is what is done about a card that belongs elsewhere; a bay without one learns its card.

    Raises:
        DriverError: the modem failed; nothing was decided.
        StoreError: the register cannot be read now.
    """
    iccid = await read_iccid(driver)
    if iccid is None:
        return Unreadable(reason="iccid_unreadable")
    found = (await store.read(lambda conn: _judge(conn, store.vault, {bay: iccid}, mode)))[bay]
    has_moved = isinstance(found, _Untied) and found.has_moved
    if isinstance(found, _Untied):
        found = await store.write(lambda tx: ties.learn(tx, bay, iccid, mode))
    if found is None:
        return Fit(iccid=iccid, has_moved=has_moved)
    await store.write(_card_alarm(iccid, bay, found))
    return Unfit(iccid=iccid, policy=found.policy, reason=found.reason)


def verdicts(
    conn: Connection, vault: Vault, places: Mapping[Bay, Iccid], mode: ListMode
) -> Mapping[Bay, str | None]:
    """Why the card in each of these bays may not be used now, None where it may."""
    return {
        bay: None if found is None or isinstance(found, _Untied) else told(found)
        for bay, found in _judge(conn, vault, places, mode).items()
    }


def told(found: Unfitness | Unfit) -> str:
    """Why a card or modem may not be used, as a bay's reason says it."""
    return f"{found.reason} (policy: {found.policy})"


def policy_of(reason: str) -> str:
    """The rule that a bay's reason names; empty where it names none."""
    return reason.partition("(policy: ")[2].removesuffix(")")


def _judge(
    conn: Connection, vault: Vault, places: Mapping[Bay, Iccid], mode: ListMode
) -> Mapping[Bay, Unfitness | _Untied | None]:
    cards = sims.read_many(conn, vault, places.values())
    known = ties.read_many(conn, vault, bays=places, iccids=places.values())
    found: dict[Bay, Unfitness | _Untied | None] = {}
    for bay, iccid in places.items():
        fault = _by_register(cards.get(iccid)) or known.fault(mode, bay, iccid)
        is_new = mode is ListMode.LEARN and not known.is_tied(bay, iccid)
        has_moved = bay in known.by_bay or iccid in known.by_card
        found[bay] = fault or (_Untied(has_moved=has_moved) if is_new else None)
    return found


def _by_register(card: sims.Card | None) -> Unfitness | None:
    if card is None:
        return UNKNOWN_CARD
    return unfitness(card.state, card.verified_at) if card.is_intact else TAMPERED_CARD


async def read_iccid(driver: Driver) -> Iccid | None:
    """Read until two readings in a row agree; None where they do not, or the card does not tell."""
    last: str | None = None
    for _ in range(_MAX_READS):
        now = await read_once(driver)
        if now is not None and now == last and _ICCID.fullmatch(now):
            return Iccid(now)
        last = now
    return None


async def is_same_card(driver: Driver, iccid: Iccid) -> bool | None:
    """Whether the modem holds this card; None where it cannot be read twice alike.

    One reading of the right one is enough: another card cannot look like it by accident.

    Raises:
        DriverError: the modem failed.
    """
    if await read_once(driver) == iccid:
        return True
    found = await read_iccid(driver)
    return None if found is None else found == iccid


async def read_once(driver: Driver) -> str | None:
    """One reading, which convicts nobody; None where the card does not tell, or tells rubbish."""
    try:
        return (await driver.read_iccid()).strip().upper()
    except (CommandError, ProtocolError):
        return None


def _card_alarm(iccid: Iccid, bay: Bay, found: Unfitness) -> Callable[[Tx], None]:
    """An act that leaves an alarm; of a card that moved it names the places, as learning does."""

    def act(tx: Tx) -> None:
        places: Mapping[str, str] = {}
        if found == MOVED_CARD:
            places = ties.read_many(tx.conn, tx.vault, bays=[bay], iccids=[iccid]).before(
                bay, iccid
            )
        facts = {"policy": found.policy, **places}
        card_locks.alarm_once(tx, iccid, word=f"card_{found.reason}", bay=bay, facts=facts)

    return act


def alarm(iccid: Iccid, bay: str, word: str, policy: str) -> Callable[[Tx], None]:
    """An act that leaves an alarm about a card, once: one word and the rule that it concerns."""

    def act(tx: Tx) -> None:
        card_locks.alarm_once(tx, iccid, word=word, bay=bay, facts={"policy": policy})

    return act
