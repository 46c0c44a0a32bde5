"""A check that hangs holds up no other: a dead mount or a frozen USB device blocks for ever.

Nothing can end such a call from within, so each check runs in a thread of its own, which is left
behind where it does not come back; the program's end takes it along.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from modemctl.clock import Clock

ItemT = TypeVar("ItemT")


class NoAnswer(Exception):
    """What was asked has not come to an end in its time."""

    def __init__(self, limit: float) -> None:
        super().__init__(f"did not answer within {limit:g} s")
        self.limit = limit


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found(Generic[ItemT]):
    item: ItemT


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    error: BaseException | None


def within(limit: float, clock: Clock, work: Callable[[], Iterable[ItemT]]) -> Iterator[ItemT]:
    """Start `work`; what it yields, as it comes, all of it within `limit` seconds from now.

    The iterator raises:
        NoAnswer: it has not come to its end; what came before was yielded.
        Exception: what `work` raised.
    """
    told: queue.SimpleQueue[_Found[ItemT] | _Ended] = queue.SimpleQueue()
    threading.Thread(target=_run, args=(work, told), name="check", daemon=True).start()
    return _told(told, limit, clock.monotonic() + limit, clock)


def _told(
    told: queue.SimpleQueue[_Found[ItemT] | _Ended], limit: float, until: float, clock: Clock
) -> Iterator[ItemT]:
    while True:
        try:
            news = told.get(timeout=max(0.0, until - clock.monotonic()))
        except queue.Empty:
            raise NoAnswer(limit) from None
        if isinstance(news, _Found):
            yield news.item
        elif news.error is not None:
            raise news.error
        else:
            return


def _run(
    work: Callable[[], Iterable[ItemT]], told: queue.SimpleQueue[_Found[ItemT] | _Ended]
) -> None:
    error: BaseException | None = None
    try:
        for item in work():
            told.put(_Found(item=item))
    except BaseException as failure:  # noqa: BLE001 - raised where it is waited for
        error = failure
    told.put(_Ended(error=error))
