"""What persons asked of a bay, served between two segments."""

from __future__ import annotations

import logging

from drivers.errors import DriverError
from modemctl.fleet.link import Link
from modemctl.fleet.moves import Interrupted
from modemctl.lifecycle import MODEM, ModemEvent, ModemState
from modemctl.model import Bay
from modemctl.store import Store
from modemctl.store.wishes import Answer, Wish, WishKind, answer, take

_log = logging.getLogger(__name__)

_COMMAND_TIMEOUT = 30.0
_EVENTS = {
    WishKind.RELEASE: ModemEvent.RELEASED,
    WishKind.RETRY: ModemEvent.RETRY,
    WishKind.RESET: ModemEvent.LINK_ERROR,
}


async def serve_wishes(store: Store, link: Link, *, bay: Bay, state: ModemState) -> None:
    """Take up the bay's open wishes and answer them.

    Raises:
        Interrupted: a wish moves the bay's state; it was answered before.
        DriverError: the link failed; the wish was answered with it.
        StoreError: nothing was taken, or an answer was not saved.
    """
    for wish in await store.write_in_set(take, bay):
        _log.info("wish.taken", extra={"kind": wish.kind.value, "by": wish.requested_by})
        match wish.kind:
            case WishKind.AT:
                await _run_command(store, link, wish)
            case WishKind.RELEASE | WishKind.RETRY | WishKind.RESET:
                await _move(store, wish, state)


async def _run_command(store: Store, link: Link, wish: Wish) -> None:
    if not link.is_open:
        await _answer(store, wish, error="the bay has no link to its modem now")
        return
    try:
        lines = await link.driver.command(wish.body or "AT", timeout=_COMMAND_TIMEOUT)
    except ValueError as error:
        await _answer(store, wish, error=str(error))
    except DriverError as error:
        await _answer(store, wish, error=str(error))
        raise
    else:
        await _answer(store, wish, result="\n".join(lines))


async def _move(store: Store, wish: Wish, state: ModemState) -> None:
    event = _EVENTS[wish.kind]
    if (state, event) not in MODEM:
        await _answer(store, wish, error=f"not possible while the bay is {state}")
        return
    await _answer(store, wish, result="done")
    raise Interrupted(event, f"{wish.kind} by a person")


async def _answer(
    store: Store, wish: Wish, *, result: str | None = None, error: str | None = None
) -> None:
    item = Answer(wish_id=wish.wish_id, result=result, error=error)
    await store.write_in_set(answer, item)
