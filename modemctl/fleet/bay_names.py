"""Names of bays that no other node's bears: sockets are called alike on every machine.

Whoever had a bay first calls it as its machine does; another node's of that name is `node/bay`.
Which is which stands in the database, so a bay keeps its name over restarts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from modemctl.errors import StoreError
from modemctl.fleet.discovery import Places
from modemctl.model import Bay
from modemctl.store import Store, bay_names

_log = logging.getLogger(__name__)

_PAUSE: Final = 1.0  # seconds between two tries while the database is away


class BayNames:
    """Stands between discovery and who takes its places; `run` is its task."""

    def __init__(self, store: Store, take: Callable[[Places], None]) -> None:
        """`take` is called with all places, under their names on this database."""
        self._store = store
        self._take = take
        self._names: dict[Bay, Bay] = {}
        self._places: Places = {}
        self._bell = asyncio.Event()

    def hear(self, places: Places) -> None:
        """Take what discovery found; what is on SQLite has no other node to be told from."""
        if not self._store.is_shared:
            self._take(places)
            return
        self._places = places
        self._bell.set()

    async def run(self) -> None:
        """Pass on what was heard, until cancelled; a new bay waits for the database."""
        while True:
            await self._bell.wait()
            self._bell.clear()
            is_named = await self._learn()
            known = [(self._names[bay], one) for bay, one in self._places.items()
                     if bay in self._names]  # fmt: skip
            self._take({name: replace(place, bay=name) for name, place in known})
            if not is_named:
                await asyncio.sleep(_PAUSE)
                self._bell.set()

    async def _learn(self) -> bool:
        new = self._places.keys() - self._names.keys()
        if not new:
            return True
        try:
            self._names |= await self._store.write(lambda tx: bay_names.claim(tx, new))
        except StoreError as error:
            _log.warning("bays.not_named", extra={"n": len(new), "error": str(error)})
            return False
        return True
