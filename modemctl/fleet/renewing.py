"""A random PIN of the vault in place of the one that a card came with (SIM-07).

A card serves with its old PIN as well, so nothing here keeps one from serving; and no card is ever
left with a PIN that nobody knows: the new one is on disk as pending before the command leaves, and
after a lost answer the guard finds out at the next power-up which of the two holds.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import replace
from typing import Final

from modemctl.fleet.checking import alarm
from modemctl.fleet.pin_turns import Seat, Stopped, await_turn, send, verdict
from modemctl.policy.pin_change import is_trivial
from modemctl.policy.pin_guard import PinCommand, StopReason
from modemctl.store import pin_changes

_log = logging.getLogger(__name__)

_N_DIGITS: Final = 8  # the most that a card takes; nobody types it in
_PATIENCE: Final = 30.0  # a card waits so long for its turn, then serves with its old PIN


async def renew_pin(seat: Seat) -> bool:
    """Give an open, locked card whose imported PIN is proved a random one, once.

    Returns whether its lock is on afterwards.

    Raises:
        DriverError, StoreError, Exception: as `unlock`.
    """
    if not await seat.store.read(lambda conn: pin_changes.is_due(conn, seat.iccid)):
        return True
    stopped = await change_pin(_impatient(seat), random_pin())
    if stopped is not None:
        _log.info("pin.not_changed", extra={"reason": stopped.reason})
        if stopped.reason.startswith("pin_") and stopped.reason != StopReason.PIN_FAILED:
            # The card itself refused, now: of an earlier time it was told then.
            await seat.store.write(alarm(seat.iccid, seat.bay, stopped.reason, "SIM-07"))
    else:
        _log.info("pin.changed")
    is_locked = await seat.driver.lock_enabled() is not False  # it was on
    if not is_locked:
        await seat.store.write(alarm(seat.iccid, seat.bay, "lock_off", "SIM-07"))
    return is_locked


async def change_pin(seat: Seat, new_pin: str) -> Stopped | None:
    """Give an unlocked, locked-at-power-up card a new PIN; None when it is done.

    Raises:
        DriverError, StoreError, Exception: as `unlock`.
    """
    cleared = await await_turn(seat, PinCommand.CPWD, new_pin=new_pin)
    if isinstance(cleared, Stopped):
        return cleared
    outcome = await send(seat, cleared, lambda pin: seat.driver.change_pin(old=pin, new=new_pin))
    return outcome if isinstance(outcome, Stopped) else verdict(outcome)


def random_pin() -> str:
    """Eight digits that nobody tries first."""
    while True:
        pin = "".join(secrets.choice("0123456789") for _ in range(_N_DIGITS))
        if not is_trivial(pin):
            return pin


def _impatient(seat: Seat) -> Seat:
    """The same seat; it waits for a turn as long as it may, and no longer than our patience."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PATIENCE

    async def may_wait() -> bool:
        return loop.time() < deadline and await seat.may_wait()

    return replace(seat, may_wait=may_wait)
