"""From a checked card in a modem to a card that serves: its PIN, its lock.

Secrets belong to an ICCID, which is read twice alike before any PIN, and once more when its try is
on disk: while that was written the card may have become another one. Each PIN passes the guard in
the store first: the attempt is committed before the PIN leaves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias, assert_never

from drivers.interface import Driver, PinOutcome, SimState
from modemctl.config.settings import LockMode, SimsSettings
from modemctl.errors import StoreError
from modemctl.fleet.checking import alarm, read_iccid, read_once
from modemctl.model import Iccid, Topic
from modemctl.policy.pin_guard import (
    ANSWER_LIMIT,
    AttemptOutcome,
    PinCommand,
    PinSource,
    Stop,
    Wait,
)
from modemctl.store import Store, pin_tries
from modemctl.store.signals import Subscription
from modemctl.telemetry import Telemetry

_log = logging.getLogger(__name__)

_BUSY_LIMIT: Final = 30.0  # a card may answer "busy" for so long after power-up
_BUSY_STEP: Final = 1.0
_TURN_POLL: Final = 15.0  # covers a lost wake-up, and a modem that went meanwhile
_TURN_LOOK: Final = 1.0  # who is called away from waiting for a turn goes within this
_TURN_PAUSE: Final = 0.2  # hundreds of cards wait for one import: they ask as one set
_STORE_PAUSE: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlocked:
    """SMS commands are served. `is_locked`: the card asks for its PIN at power-up."""

    is_locked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The card cannot be used now; one word says why."""

    reason: str


UnlockOutcome: TypeAlias = Unlocked | Stopped
MayWait: TypeAlias = Callable[[], Awaitable[bool]]
"""Asked again and again while a card waits for its turn: may it wait on? It may also raise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seat:
    """One card in one modem, for as long as it is being unlocked."""

    driver: Driver
    store: Store
    iccid: Iccid
    bay: str
    telemetry: Telemetry
    may_wait: MayWait


async def _always() -> bool:
    return True


async def unlock(
    driver: Driver,
    store: Store,
    iccid: Iccid,
    bay: str,
    settings: SimsSettings,
    *,
    telemetry: Telemetry,
    may_wait: MayWait = _always,
) -> UnlockOutcome:
    """Bring a fit card to where SMS commands are served, and see to its lock.

    Waits for its turn while other cards of the same import prove it, as long as it may.

    Raises:
        DriverError: the modem failed; a PIN that was out counts as failed until the counter tells.
        StoreError: the store failed; no PIN left without its attempt on disk.
        Exception: what `may_wait` raised; no PIN was out then.
    """
    seat = _Seat(
        driver=driver, store=store, iccid=iccid, bay=bay, telemetry=telemetry, may_wait=may_wait
    )
    state = await _settled_state(driver)
    if state is SimState.PIN:
        stopped = await _try_pin(seat)
        if stopped is not None:
            await _alarm_pin(seat, stopped.reason)
            return stopped
    elif state is not SimState.READY:
        return Stopped(reason=f"sim_{state}")
    await driver.wait_sim_usable()
    other = await _other_card(driver, iccid)
    if other is not None:
        return other
    return await _see_to_lock(seat, settings)


async def change_pin(
    driver: Driver, store: Store, iccid: Iccid, bay: str, new_pin: str, *, telemetry: Telemetry
) -> Stopped | None:
    """Give an unlocked, locked-at-power-up card a new PIN; None when it is done.

    The new one is on disk as pending before the command leaves; after a lost answer the guard
    finds out at the next power-up which of the two holds.

    Raises:
        DriverError, StoreError: as `unlock`.
    """
    seat = _Seat(
        driver=driver, store=store, iccid=iccid, bay=bay, telemetry=telemetry, may_wait=_always
    )
    request = await _request(seat, PinCommand.CPWD)
    if isinstance(request, Stopped):
        return request
    request = replace(request, new_pin=new_pin)
    answer = await store.write_in_set(pin_tries.claim, request)
    if not isinstance(answer, pin_tries.ClearedTry):
        return _stopped(seat, answer)
    outcome = await _send(seat, answer, lambda pin: driver.change_pin(old=pin, new=new_pin))
    return outcome if isinstance(outcome, Stopped) else _verdict(outcome)


async def _other_card(driver: Driver, iccid: Iccid) -> Stopped | None:
    """None while the modem still holds the card that was checked, read twice alike."""
    found = await read_iccid(driver)
    if found is None:
        return Stopped(reason="iccid_unreadable")
    return None if found == iccid else Stopped(reason="card_changed")


async def _request(seat: _Seat, command: PinCommand) -> pin_tries.TryRequest | Stopped:
    """A card's request for a try: card and counter are read together, just before the claim."""
    other = await _other_card(seat.driver, seat.iccid)
    if other is not None:
        return other
    counter = await seat.driver.pin_counter()
    return pin_tries.TryRequest(
        iccid=seat.iccid,
        bay=seat.bay,
        command=command,
        counter=None if counter is None else counter.pin,
    )


async def _settled_state(driver: Driver) -> SimState:
    """The card's state; waits a while for a card that is still busy."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _BUSY_LIMIT  # no timeout(): it would cut a command in the middle
    state = await driver.sim_state()
    while state is SimState.BUSY and loop.time() < deadline:
        await asyncio.sleep(_BUSY_STEP)
        state = await driver.sim_state()
    return state


async def _try_pin(seat: _Seat) -> Stopped | None:
    """Open the card with what the guard clears; None when it is open."""
    while True:
        cleared = await _await_turn(seat, PinCommand.CPIN)
        if isinstance(cleared, Stopped):
            return cleared
        outcome = await _send(seat, cleared, seat.driver.enter_pin)
        if isinstance(outcome, Stopped):
            return outcome
        if outcome is PinOutcome.WRONG and cleared.source is PinSource.PENDING:
            continue  # the old one may still be right: the guard decides
        if outcome in {PinOutcome.OK, PinOutcome.WRONG, PinOutcome.BLOCKED}:
            return _verdict(outcome)
        # No answer, or no PIN wanted: the card itself tells whether it is open.
        if await _settled_state(seat.driver) is SimState.READY:
            return None
        return _verdict(outcome)


async def _see_to_lock(seat: _Seat, settings: SimsSettings) -> UnlockOutcome:
    """Check the lock of an open card; switch it on where the settings ask for it (SIM-07)."""
    driver, store = seat.driver, seat.store
    if await driver.lock_enabled():
        await _settle(seat)
        return Unlocked(is_locked=True)
    if settings.lock is LockMode.VERIFY:
        await store.write(alarm(seat.iccid, seat.bay, "lock_off", "SIM-07"))
        return Unlocked(is_locked=False)
    cleared = await _await_turn(seat, PinCommand.CLCK)
    if isinstance(cleared, Stopped):
        await store.write(alarm(seat.iccid, seat.bay, f"lock_{cleared.reason}", "SIM-07"))
        return Stopped(reason=f"lock_{cleared.reason}")
    outcome = await _send(seat, cleared, lambda pin: driver.set_lock(enabled=True, pin=pin))
    if isinstance(outcome, Stopped):
        return outcome
    if await driver.lock_enabled():
        return Unlocked(is_locked=True)
    await store.write(alarm(seat.iccid, seat.bay, "lock_refused", "SIM-07"))
    return _verdict(outcome) or Stopped(reason="lock_refused")


async def _await_turn(seat: _Seat, command: PinCommand) -> pin_tries.ClearedTry | Stopped:
    """Ask the guard until it clears a try or stops."""
    store = seat.store
    with store.signals.subscribe(Topic.SIMS) as bell:
        while True:
            request = await _request(seat, command)
            if isinstance(request, Stopped):
                return request
            answer = await store.write_in_set(pin_tries.claim, request)
            if isinstance(answer, pin_tries.ClearedTry):
                return answer
            if not isinstance(answer, Wait):
                return _stopped(seat, answer)
            stopped = await _wait_for_turn(seat, bell, replace(request, is_peek=True), answer)
            if stopped is not None:
                return stopped


async def _wait_for_turn(
    seat: _Seat, bell: Subscription, peek: pin_tries.TryRequest, wait: Wait
) -> Stopped | None:
    """Until the guard would clear or stop; None then. Outcomes of other cards ring the bell."""
    loop = asyncio.get_running_loop()
    poll_at = loop.time() + _TURN_POLL
    while True:
        has_rung = await bell.wait(_TURN_LOOK)
        if not await seat.may_wait():
            return _stopped(seat, wait)
        if has_rung:
            await asyncio.sleep(_TURN_PAUSE)
        elif loop.time() < poll_at:
            continue
        else:
            poll_at = loop.time() + _TURN_POLL
            state = await seat.driver.sim_state()
            if state in {SimState.ABSENT, SimState.PUK}:
                return Stopped(reason=f"sim_{state}")
        if not isinstance(await seat.store.write_in_set(pin_tries.claim, peek), Wait):
            return None


async def _settle(seat: _Seat) -> None:
    """Lock on and card open: a try whose answer got lost was right; tell its import."""
    is_open = await seat.store.read(lambda conn: pin_tries.has_unsettled(conn, seat.iccid))
    if not is_open:
        return
    counter = await seat.driver.pin_counter()
    request = pin_tries.TryRequest(
        iccid=seat.iccid,
        bay=seat.bay,
        command=PinCommand.CPIN,
        counter=None if counter is None else counter.pin,
        is_unlocked=True,
        wants_try=False,
    )
    await seat.store.write_in_set(pin_tries.claim, request)


async def _send(
    seat: _Seat, cleared: pin_tries.ClearedTry, command: Callable[[str], Awaitable[PinOutcome]]
) -> PinOutcome | Stopped:
    """Let a cleared PIN leave and save what came of it, whatever happens meanwhile."""
    stored = AttemptOutcome.NOT_SENT
    try:
        if await read_once(seat.driver) != seat.iccid:  # the commit took its time: still this one?
            return Stopped(reason="card_changed")
        stored = AttemptOutcome.UNKNOWN
        outcome = await command(cleared.pin)
        stored = _STORED[outcome]
    finally:
        result = pin_tries.AttemptResult(attempt_id=cleared.attempt_id, outcome=stored)
        await _record(seat.store, result)
    return outcome


async def _record(store: Store, result: pin_tries.AttemptResult) -> None:
    """Save an outcome: it holds up its import. Tried for as long as an answer would be awaited.

    Raises:
        StoreError: it was tried long enough; the try counts as one without an answer.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + ANSWER_LIMIT.total_seconds()
    while True:
        try:
            await store.write_in_set(pin_tries.record, result)
        except StoreError as error:
            if loop.time() >= deadline:
                raise
            _log.warning("pin.outcome_not_saved", extra={"error": str(error)})
            await asyncio.sleep(_STORE_PAUSE)
        else:
            return


_STORED: Final = {
    PinOutcome.OK: AttemptOutcome.RIGHT,
    PinOutcome.WRONG: AttemptOutcome.WRONG,
    PinOutcome.BLOCKED: AttemptOutcome.BLOCKED,
    PinOutcome.NOT_ALLOWED: AttemptOutcome.NOT_ALLOWED,
    PinOutcome.UNKNOWN: AttemptOutcome.UNKNOWN,
}


def _verdict(outcome: PinOutcome) -> Stopped | None:
    match outcome:
        case PinOutcome.OK:
            return None
        case PinOutcome.WRONG | PinOutcome.UNKNOWN | PinOutcome.NOT_ALLOWED | PinOutcome.BLOCKED:
            return Stopped(reason=f"pin_{outcome}")
        case _:
            assert_never(outcome)


def _stopped(seat: _Seat, answer: Stop | Wait | pin_tries.Settled | pin_tries.Turn) -> Stopped:
    match answer:
        case Stop():
            seat.telemetry.count("modemctl_pin_guard_stops_total", reason=answer.reason)
            return Stopped(reason=answer.reason)
        case Wait():
            return Stopped(reason=f"waits_{answer.reason}")
        case pin_tries.Settled() | pin_tries.Turn():
            return Stopped(reason="nothing_asked")
        case _:
            assert_never(answer)


async def _alarm_pin(seat: _Seat, reason: str) -> None:
    if not reason.startswith("waits_"):  # it was called away: nothing is wrong with the card
        word = reason if reason.startswith("pin_") else f"pin_{reason}"
        await seat.store.write(alarm(seat.iccid, seat.bay, word, "SIM-06"))
