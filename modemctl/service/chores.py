"""What a daemon does beside its work: an odd row ends no chore for good, and no daemon."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from modemctl.store.engine import UNREADABLE

_PAUSE: Final = 60.0

_log = logging.getLogger(__name__)


async def kept(name: str, run: Callable[[], Awaitable[None]], *, pause: float = _PAUSE) -> None:
    """Run a chore until it ends or is cancelled; begin anew after `pause` (s) where a row is odd.

    So where a task of the chore's own group met the odd row. Only the kind of the error is told:
    its words may hold what stood in the row.
    """
    while True:
        try:
            await run()
        except* UNREADABLE as errors:
            kinds = ", ".join(sorted(set(_kinds(errors))))
            _log.error("chore.broke_off", extra={"chore": name, "error": kinds})
        else:
            return
        await asyncio.sleep(pause)


def _kinds(errors: BaseExceptionGroup[BaseException]) -> Iterator[str]:
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _kinds(error)
        else:
            yield type(error).__name__
