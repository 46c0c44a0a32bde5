"""What a daemon does beside its work: an odd row ends no chore for good, and no daemon."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from modemctl.store.engine import UNREADABLE

_PAUSE: Final = 60.0

_log = logging.getLogger(__name__)


async def kept(name: str, run: Callable[[], Awaitable[None]], *, pause: float = _PAUSE) -> None:
    """Run a chore until it ends or is cancelled; begin anew after `pause` (s) where a row is odd.

    Only the kind of the error is told: its words may hold what stood in the row.
    """
    while True:
        try:
            await run()
        except UNREADABLE as error:
            _log.error("chore.broke_off", extra={"chore": name, "error": type(error).__name__})
        else:
            return
        await asyncio.sleep(pause)
