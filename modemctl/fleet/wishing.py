"""What persons asked of a bay, served between two segments."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

import msgspec

from drivers.errors import CommandError, DriverError, ProtocolError
from drivers.interface import Driver
from modemctl.fleet.checking import read_once
from modemctl.fleet.link import Link
from modemctl.fleet.moves import Interrupted
from modemctl.lifecycle import MODEM, ModemEvent, ModemState
from modemctl.model import Bay, Iccid
from modemctl.policy.console import time_limit
from modemctl.policy.self_tests import Measured
from modemctl.store import Store
from modemctl.store.wishes import Answer, Wish, WishKind, answer, take

_log = logging.getLogger(__name__)

_NO_LINK: Final = "the bay has no link to its modem now"
_ENDED: Final = "the bay was stopped before its modem had answered"
_EVENTS = {
    WishKind.RELEASE: ModemEvent.RELEASED,
    WishKind.RETRY: ModemEvent.RETRY,
    WishKind.RESET: ModemEvent.LINK_ERROR,
}


class Hand:
    """Sends what persons typed to one bay's modem; a scan of minutes holds up no stop.

    `rest` hears until when (loop time) the bay's walker may be at it.
    """

    def __init__(self, link: Link, *, rest: Callable[[float], None]) -> None:
        self._link = link
        self._rest = rest
        self._cut: asyncio.Timeout | None = None
        self._is_stopped = False

    def stop(self) -> None:
        """Wait for no answer any more: the bay ends."""
        self._is_stopped = True
        if self._cut is not None and not self._cut.expired():
            self._cut.reschedule(asyncio.get_running_loop().time())

    async def send(self, command: str) -> Sequence[str] | None:
        """The modem's answer; None where the bay was stopped first, the link is out of step then.

        Raises:
            ValueError: nobody may send it by hand.
            DriverError: there is no answer.
        """
        if self._is_stopped:
            return None
        loop, limit = asyncio.get_running_loop(), time_limit(command)
        self._rest(loop.time() + limit)
        try:
            async with asyncio.timeout(None) as cut:
                self._cut = cut
                return await self._link.driver.command(command, timeout=limit)
        except TimeoutError:
            if not cut.expired():
                raise
            return None
        finally:
            self._cut = None
            self._rest(loop.time())


async def serve_wishes(
    store: Store,
    link: Link,
    hand: Hand,
    *,
    bay: Bay,
    state: ModemState,
    on_reset: Callable[[], None],
    on_balance: Callable[[Wish], bool],
) -> None:
    """Take up the bay's open wishes and answer them; `on_reset` hears of a granted reset.

    `on_balance` takes a question to the network, which is answered later; False: not here, not now.

    Raises:
        Interrupted: a wish moves the bay's state; it was answered before.
        DriverError: the link failed; the wish was answered with it.
        StoreError: nothing was taken, or an answer was not saved.
    """
    for wish in await store.write_in_set(take, bay):
        _log.info("wish.taken", extra={"kind": wish.kind.value, "by": wish.requested_by})
        match wish.kind:
            case WishKind.AT:
                await _run_command(store, link, hand, wish)
            case WishKind.TEST:
                await _test(store, link, wish)
            case WishKind.BALANCE:
                if not on_balance(wish):
                    await _answer(store, wish, error=f"not possible while the bay is {state}")
            case WishKind.RELEASE | WishKind.RETRY | WishKind.RESET:
                await _move(store, wish, state, on_reset)


async def _run_command(store: Store, link: Link, hand: Hand, wish: Wish) -> None:
    if not link.is_open:
        await _answer(store, wish, error=_NO_LINK)
        return
    try:
        lines = await hand.send(wish.body or "AT")
    except ValueError as error:
        await _answer(store, wish, error=str(error))
    except DriverError as error:
        await _answer(store, wish, error=str(error))
        raise
    else:
        if lines is None:
            await _answer(store, wish, error=_ENDED)
        else:
            await _answer(store, wish, result="\n".join(lines))


async def _test(store: Store, link: Link, wish: Wish) -> None:
    """Ask the modem how it is: card, registration, signal, and how long it thinks about each."""
    if not link.is_open:
        await _answer(store, wish, error=_NO_LINK)
        return
    loop = asyncio.get_running_loop()
    times = [loop.time()]
    try:
        iccid = await read_once(link.driver)
        times.append(loop.time())
        registration = await link.driver.registration()
        times.append(loop.time())
        signal_dbm = await link.driver.signal_dbm()
        times.append(loop.time())
        number = await _own_number(link.driver)
    except (CommandError, ProtocolError) as error:  # it talks, but not of this
        await _answer(store, wish, error=str(error))
    except DriverError as error:
        await _answer(store, wish, error=str(error))
        raise
    else:
        measured = Measured(
            iccid=None if iccid is None else Iccid(iccid),
            is_registered=registration.is_registered,
            registration=registration.words,
            signal_dbm=signal_dbm,
            number=number,
            answer_ms=round(1000 * max(end - begin for begin, end in pairwise(times))),
        )
        await _answer(store, wish, result=msgspec.json.encode(measured).decode())


async def _own_number(driver: Driver) -> str | None:
    try:
        return await driver.own_number()
    except (CommandError, ProtocolError):
        return None


async def _move(store: Store, wish: Wish, state: ModemState, on_reset: Callable[[], None]) -> None:
    event = _EVENTS[wish.kind]
    if (state, event) not in MODEM:
        await _answer(store, wish, error=f"not possible while the bay is {state}")
        return
    await _answer(store, wish, result="done")
    if wish.kind is WishKind.RESET:
        on_reset()
    raise Interrupted(event, f"{wish.kind} by a person")


async def _answer(
    store: Store, wish: Wish, *, result: str | None = None, error: str | None = None
) -> None:
    item = Answer(wish_id=wish.wish_id, result=result, error=error)
    await store.write_in_set(answer, item)
