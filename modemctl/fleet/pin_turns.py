"""One PIN's way to its card: its turn by the guard, the attempt on disk, then the command.

The ICCID is read twice alike before a PIN is asked for, and once more when its try is on disk:
while that was written the card may have become another one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Final, TypeAlias, assert_never

from drivers.interface import Driver, PinCounter, PinOutcome, SimState
from modemctl.errors import StoreError
from modemctl.fleet.checking import read_iccid, read_once
from modemctl.model import Iccid, Topic
from modemctl.policy.pin_guard import (
    ANSWER_LIMIT,
    AttemptOutcome,
    PinCommand,
    Stop,
    Wait,
)
from modemctl.store import Store, pin_tries
from modemctl.store.permits import NO_LISTS, Lists
from modemctl.store.signals import Subscription
from modemctl.telemetry import Telemetry

_log = logging.getLogger(__name__)

_BUSY_LIMIT: Final = 30.0  # a card may answer "busy" for so long after power-up
_BUSY_STEP: Final = 1.0
_TURN_POLL: Final = 15.0  # covers a lost wake-up, and a modem that went meanwhile
_TURN_LOOK: Final = 1.0  # who is called away from waiting for a turn goes within this
_TURN_PAUSE: Final = 0.2  # hundreds of cards wait for one import: they ask as one set
_STORE_PAUSE: Final = 1.0
_READINGS_MORE: Final = 2  # of a counter: most often the first of them is like the former


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The card cannot be used now; one word says why."""

    reason: str


MayWait: TypeAlias = Callable[[], Awaitable[bool]]
"""Asked again and again while a card waits for its turn: may it wait on? It may also raise."""


async def always() -> bool:
    """Nobody calls the card away."""
    return True


Quiet: TypeAlias = Callable[[], AbstractAsyncContextManager[None]]
"""Inside it nobody pulls the modem's hub: a PIN that is cut off is a try that tells nothing."""


def nobody() -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One card in one modem, for as long as it is being unlocked."""

    driver: Driver
    store: Store
    iccid: Iccid
    bay: str
    telemetry: Telemetry
    may_wait: MayWait = always
    lists: Lists = NO_LISTS
    on_lost: Callable[[], None] = nobody
    """Hears of a PIN whose answer did not come: what hangs now is better restarted."""
    quiet: Quiet = nullcontext


async def settled_state(driver: Driver) -> SimState:
    """The card's state; waits a while for a card that is still busy."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _BUSY_LIMIT  # no timeout(): it would cut a command in the middle
    state = await driver.sim_state()
    while state is SimState.BUSY and loop.time() < deadline:
        await asyncio.sleep(_BUSY_STEP)
        state = await driver.sim_state()
    return state


async def other_card(driver: Driver, iccid: Iccid) -> Stopped | None:
    """None while the modem still holds the card that was checked, read twice alike."""
    found = await read_iccid(driver)
    if found is None:
        return Stopped(reason="iccid_unreadable")
    return None if found == iccid else Stopped(reason="card_changed")


async def await_turn(
    seat: Seat, command: PinCommand, *, new_pin: str | None = None
) -> pin_tries.ClearedTry | Stopped:
    """Ask the guard until it clears a try or stops; with `CPWD`, a change to `new_pin`.

    Raises:
        DriverError: the modem failed; nothing was cleared.
        StoreError: the store failed; nothing was cleared.
        Exception: what `may_wait` raised.
    """
    store = seat.store
    with store.signals.subscribe(Topic.SIMS) as bell:
        while True:
            request = await _request(seat, command)
            if isinstance(request, Stopped):
                return request
            request = replace(request, new_pin=new_pin)
            answer = await store.write_in_set(pin_tries.claim, request)
            if isinstance(answer, pin_tries.ClearedTry):
                return answer
            if not isinstance(answer, Wait):
                return _stopped(seat, answer, command)
            stopped = await _wait_for_turn(seat, bell, replace(request, is_peek=True), answer)
            if stopped is not None:
                return stopped


async def _wait_for_turn(
    seat: Seat, bell: Subscription, peek: pin_tries.TryRequest, wait: Wait
) -> Stopped | None:
    """Until the guard would clear or stop; None then. Outcomes of other cards ring the bell."""
    loop = asyncio.get_running_loop()
    poll_at = loop.time() + _TURN_POLL
    while True:
        has_rung = await bell.wait(_TURN_LOOK)
        if not await seat.may_wait():
            return _stopped(seat, wait, peek.command)
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


async def _request(seat: Seat, command: PinCommand) -> pin_tries.TryRequest | Stopped:
    """A card's request for a try: card and counter are read together, just before the claim."""
    other = await other_card(seat.driver, seat.iccid)
    if other is not None:
        return other
    counter = await tries_left(seat.driver)
    return pin_tries.TryRequest(
        iccid=seat.iccid,
        bay=seat.bay,
        command=command,
        counter=None if counter is None else counter.pin,
        lists=seat.lists,
    )


async def tries_left(driver: Driver) -> PinCounter | None:
    """The counter, read until two readings are alike; None where it is not told, or never alike.

    One lost octet makes PIN2's line PIN1's: a single reading must not let a PIN leave.
    """
    former = await driver.pin_counter()
    for _ in range(_READINGS_MORE):
        now = await driver.pin_counter()
        if now == former:
            return now
        former = now
    return None


async def settle_open(seat: Seat) -> None:
    """Lock on and card open: a try whose answer got lost was right; tell its import.

    Raises:
        DriverError, StoreError: nothing was settled.
    """
    if await _has_unsettled(seat):
        counter = await tries_left(seat.driver)
        await _settle(seat, None if counter is None else counter.pin, is_unlocked=True)


async def settle_blocked(seat: Seat, counter: int) -> None:
    """A card asks for its PUK: its PIN tries without answer are over.

    Raises:
        StoreError: nothing was settled.
    """
    if await _has_unsettled(seat):
        await _settle(seat, counter, is_unlocked=False)


async def _has_unsettled(seat: Seat) -> bool:
    return await seat.store.read(lambda conn: pin_tries.has_unsettled(conn, seat.iccid))


async def _settle(seat: Seat, counter: int | None, *, is_unlocked: bool) -> None:
    request = pin_tries.TryRequest(
        iccid=seat.iccid,
        bay=seat.bay,
        command=PinCommand.CPIN,
        counter=counter,
        is_unlocked=is_unlocked,
        wants_try=False,
    )
    await seat.store.write_in_set(pin_tries.claim, request)


async def send(
    seat: Seat, cleared: pin_tries.ClearedTry, command: Callable[[str], Awaitable[PinOutcome]]
) -> PinOutcome | Stopped:
    """Let a cleared PIN leave and save what came of it, whatever happens meanwhile.

    Raises:
        DriverError: the modem failed; the try counts as failed until the counter tells.
        StoreError: its outcome could not be saved; the same.
    """

    async def record(outcome: AttemptOutcome) -> None:
        result = pin_tries.AttemptResult(attempt_id=cleared.attempt_id, outcome=outcome)
        await seat.store.write_in_set(pin_tries.record, result)

    return await deliver(seat, lambda: command(cleared.pin), record)


async def deliver(
    seat: Seat,
    command: Callable[[], Awaitable[PinOutcome]],
    record: Callable[[AttemptOutcome], Awaitable[None]],
) -> PinOutcome | Stopped:
    """Send a command whose try is on disk, if the card is still this one; record what came of it.

    Raises:
        DriverError, StoreError: as `send`.
    """
    stored = AttemptOutcome.NOT_SENT
    try:
        async with seat.quiet():
            if await read_once(seat.driver) != seat.iccid:  # the commit took its time: still it?
                return Stopped(reason="card_changed")
            stored = AttemptOutcome.UNKNOWN
            outcome = await command()
        stored = _STORED[outcome]
        if outcome is PinOutcome.UNKNOWN:
            seat.on_lost()
    finally:
        await _record(record, stored)
    return outcome


async def _record(
    record: Callable[[AttemptOutcome], Awaitable[None]], outcome: AttemptOutcome
) -> None:
    """Save an outcome: it holds up its import. Tried for as long as an answer would be awaited.

    Raises:
        StoreError: it was tried long enough; the try counts as one without an answer.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + ANSWER_LIMIT.total_seconds()
    while True:
        try:
            await record(outcome)
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


def verdict(outcome: PinOutcome) -> Stopped | None:
    """What an outcome means for the card; None where it took the PIN."""
    match outcome:
        case PinOutcome.OK:
            return None
        case PinOutcome.WRONG | PinOutcome.UNKNOWN | PinOutcome.NOT_ALLOWED | PinOutcome.BLOCKED:
            return Stopped(reason=f"pin_{outcome}")
        case _:
            assert_never(outcome)


def _stopped(
    seat: Seat, answer: Stop | Wait | pin_tries.Settled | pin_tries.Turn, command: PinCommand
) -> Stopped:
    match answer:
        case Stop():
            if command is not PinCommand.CPWD:  # without a change a card serves as before
                seat.telemetry.count("modemctl_pin_guard_stops_total", reason=answer.reason)
            return Stopped(reason=answer.reason)
        case Wait():
            return Stopped(reason=f"waits_{answer.reason}")
        case pin_tries.Settled() | pin_tries.Turn():
            return Stopped(reason="nothing_asked")
        case _:
            assert_never(answer)
