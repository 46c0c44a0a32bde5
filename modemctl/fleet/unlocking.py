"""From a checked card in a modem to a card that serves: its PIN, its lock.

Secrets belong to an ICCID. Each PIN passes the guard in the store first: the attempt is committed
before the PIN leaves (`fleet.pin_turns`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from drivers.interface import Driver, PinOutcome, SimState
from modemctl.config.settings import LockMode, PinMode, SimsSettings
from modemctl.fleet.checking import alarm
from modemctl.fleet.pin_turns import (
    MayWait,
    Quiet,
    Seat,
    Stopped,
    always,
    await_turn,
    nobody,
    other_card,
    send,
    settle_open,
    settled_state,
    tries_left,
    verdict,
)
from modemctl.fleet.renewing import renew_pin
from modemctl.fleet.unblocking import unblock
from modemctl.model import Iccid
from modemctl.policy.pin_guard import FULL_TRIES, PinCommand, PinSource, StopReason
from modemctl.store import Store, card_locks, pins
from modemctl.store.card_locks import LockNote
from modemctl.store.permits import NO_LISTS, Lists
from modemctl.telemetry import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlocked:
    """SMS commands are served. `is_locked`: the card wants its PIN at power-up; None = unknown."""

    is_locked: bool | None
    is_pin_unsure: bool = field(default=False, compare=False)
    """Which of two PINs the card has only its next start tells, and it has all tries for that."""


UnlockOutcome: TypeAlias = Unlocked | Stopped

_LOCK_UNKNOWN: Final = "lock_unknown"  # the modem does not tell

_ABOUT_NOBODY: Final = frozenset({"card_changed", "iccid_unreadable", "sim_absent"})
"""Reasons to stop that tell nothing of the card that was checked."""

_NO_FAULT_OF_ITS_PIN: Final = frozenset({StopReason.UNFIT, StopReason.NOT_ADMITTED})
"""Reasons that the next look at card and modem tells in its own words."""


async def unlock(
    driver: Driver,
    store: Store,
    iccid: Iccid,
    bay: str,
    settings: SimsSettings,
    *,
    telemetry: Telemetry,
    may_wait: MayWait = always,
    lists: Lists = NO_LISTS,
    on_lost: Callable[[], None] = nobody,
    quiet: Quiet = nullcontext,
) -> UnlockOutcome:
    """Bring a fit card to where SMS commands are served, and see to its lock.

    Waits for its turn while other cards of the same import prove it, as long as it may. `lists`:
    what ties and admissions are asked once more before each PIN. `on_lost` hears of a PIN that
    was not answered; each PIN leaves inside a `quiet`.

    Raises:
        DriverError: the modem failed; a PIN that was out counts as failed until the counter tells.
        StoreError: the store failed; no PIN left without its attempt on disk.
        Exception: what `may_wait` raised; no PIN was out then.
    """
    seat = Seat(
        driver=driver,
        store=store,
        iccid=iccid,
        bay=bay,
        telemetry=telemetry,
        may_wait=may_wait,
        lists=lists,
        on_lost=on_lost,
        quiet=quiet,
    )
    state = await settled_state(driver)
    outcome = await _open(seat, settings, state)
    if not isinstance(outcome, Stopped) or outcome.reason not in _ABOUT_NOBODY:
        await _note_lock(seat, state, outcome)
    return outcome


async def _open(seat: Seat, settings: SimsSettings, state: SimState) -> UnlockOutcome:
    if state is SimState.PIN:
        stopped = await _try_pin(seat)
        if stopped is not None:
            await _alarm_pin(seat, stopped.reason)
            return stopped
    elif state is SimState.PUK:
        blocked = await unblock(seat)
        if blocked is not None:
            return blocked
    elif state is not SimState.READY:
        return Stopped(reason=f"sim_{state}")
    await seat.driver.wait_sim_usable()
    other = await other_card(seat.driver, seat.iccid)
    if other is not None:
        return other
    locked = await _see_to_lock(seat, settings, has_asked=state is not SimState.READY)
    if settings.pin is PinMode.RANDOM and locked == Unlocked(is_locked=True):
        locked = Unlocked(is_locked=await renew_pin(seat))
    if isinstance(locked, Unlocked) and locked.is_locked:
        return replace(locked, is_pin_unsure=await _is_pin_unsure(seat))
    return locked


async def _is_pin_unsure(seat: Seat) -> bool:
    """Whether a change or an unblocking ended without answer, and a restart would do no harm."""
    if not await seat.store.read(lambda conn: pins.has_pending(conn, seat.iccid)):
        return False
    counter = await tries_left(seat.driver)
    return counter is not None and counter.pin >= FULL_TRIES


async def _note_lock(seat: Seat, state: SimState, outcome: UnlockOutcome) -> None:
    """Keep what this start has shown: who asks for PIN or PUK is locked, whatever came after."""
    is_locked: bool | None = None
    if isinstance(outcome, Unlocked):
        is_locked = outcome.is_locked
    elif state in {SimState.PIN, SimState.PUK}:
        is_locked = True
    elif state is SimState.READY and outcome.reason != _LOCK_UNKNOWN:
        is_locked = False  # read as off, and could not be set
    reason = outcome.reason if isinstance(outcome, Stopped) else ""
    note = LockNote(iccid=seat.iccid, bay=seat.bay, is_locked=is_locked, reason=reason[:64])
    await seat.store.write_in_set(card_locks.note, note)


async def _try_pin(seat: Seat) -> Stopped | None:
    """Open the card with what the guard clears; None when it is open."""
    while True:
        cleared = await await_turn(seat, PinCommand.CPIN)
        if isinstance(cleared, Stopped):
            return cleared
        outcome = await send(seat, cleared, seat.driver.enter_pin)
        if isinstance(outcome, Stopped):
            return outcome
        if outcome is PinOutcome.WRONG and cleared.source is PinSource.PENDING:
            continue  # the old one may still be right: the guard decides
        if outcome in {PinOutcome.OK, PinOutcome.WRONG, PinOutcome.BLOCKED}:
            return verdict(outcome)
        # No answer, or no PIN wanted: the card itself tells whether it is open.
        if await settled_state(seat.driver) is SimState.READY:
            return None
        return verdict(outcome)


async def _see_to_lock(seat: Seat, settings: SimsSettings, *, has_asked: bool) -> UnlockOutcome:
    """Check the lock of an open card; switch it on where the settings ask for it (SIM-07).

    Of a modem that does not tell, a card that has just asked for its PIN is a locked one.
    """
    driver, store = seat.driver, seat.store
    is_on = await driver.lock_enabled()
    if is_on or (is_on is None and has_asked):
        await settle_open(seat)
        return Unlocked(is_locked=True)
    if is_on is None or settings.lock is LockMode.VERIFY:
        word = _LOCK_UNKNOWN if is_on is None else "lock_off"
        await store.write(alarm(seat.iccid, seat.bay, word, "SIM-07"))
        is_enough = settings.lock is LockMode.VERIFY
        return Unlocked(is_locked=is_on) if is_enough else Stopped(reason=word)
    while True:
        cleared = await await_turn(seat, PinCommand.CLCK)
        if isinstance(cleared, Stopped):
            await store.write(alarm(seat.iccid, seat.bay, f"lock_{cleared.reason}", "SIM-07"))
            return Stopped(reason=f"lock_{cleared.reason}")
        outcome = await send(seat, cleared, lambda pin: driver.set_lock(enabled=True, pin=pin))
        if isinstance(outcome, Stopped):
            return outcome
        if outcome is not PinOutcome.WRONG or cleared.source is not PinSource.PENDING:
            break  # else the old one may still be right: the guard decides
    if await driver.lock_enabled():
        return Unlocked(is_locked=True)
    await store.write(alarm(seat.iccid, seat.bay, "lock_refused", "SIM-07"))
    return verdict(outcome) or Stopped(reason="lock_refused")


async def _alarm_pin(seat: Seat, reason: str) -> None:
    if not reason.startswith("waits_") and reason not in _NO_FAULT_OF_ITS_PIN:
        word = reason if reason.startswith("pin_") else f"pin_{reason}"
        await seat.store.write(alarm(seat.iccid, seat.bay, word, "SIM-06"))
