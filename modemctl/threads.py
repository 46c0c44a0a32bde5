"""Blocking work that a device, network folder or name server may hold up: daemon threads.

One each, left behind where need be. The default executor will not do: the end of the process waits
for its threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

ResultT = TypeVar("ResultT")


def in_daemon_thread(name: str, work: Callable[[], ResultT]) -> asyncio.Future[ResultT]:
    """Start the work; the future tells its outcome, whoever still waits for it."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[ResultT] = loop.create_future()

    def settle(result: ResultT) -> None:
        if not done.done():
            done.set_result(result)

    def fail(error: BaseException) -> None:
        if not done.done():
            done.set_exception(error)
            done.exception()  # nobody may be waiting any more

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - carried to the waiter, not swallowed
            tell(fail, error)
        else:
            tell(settle, result)

    def tell(how: Callable[..., None], what: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the end did not wait
            loop.call_soon_threadsafe(how, what)

    threading.Thread(target=run, name=name, daemon=True).start()
    return done
