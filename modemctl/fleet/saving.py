"""Writes that must come through: tried until the store takes them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from modemctl.errors import StoreError

_log = logging.getLogger(__name__)

STORE_PAUSE: Final = 1.0
"""Seconds between two tries while the store fails."""


async def save(write: Callable[[], Awaitable[None]]) -> None:
    """Write; while the store fails, try again."""
    while True:
        try:
            await write()
        except StoreError as error:
            _log.warning("actor.store_failed", extra={"error": str(error)})
            await asyncio.sleep(STORE_PAUSE)
        else:
            return
