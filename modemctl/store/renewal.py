"""A data key that another node has added, looked for where a value is met that it seals.

Its row was committed before any value of it, so a look that begins behind the value finds it.
"""

from __future__ import annotations

import threading
from typing import Final

from modemctl.clock import Clock
from modemctl.store.engine import create_engines
from modemctl.store.keys import unlock
from modemctl.store.postgresql import DatabaseUrl
from modemctl.vault import Vault

_PAUSE: Final = 1.0  # seconds: an altered row names a key that nobody has, as often as it is read


class KeyRenewal:
    """Adopts the database's data keys anew; called on whichever thread meets an unknown one."""

    def __init__(self, url: DatabaseUrl, vault: Vault, clock: Clock) -> None:
        self._url = url
        self._vault = vault
        self._clock = clock
        self._lock = threading.Lock()
        self._missed: dict[int, float] = {}  # by generation: when it was looked for in vain

    def __call__(self, generation: int) -> None:
        """Look for it; whoever meets one meanwhile waits for the same look.

        Raises:
            SQLAlchemyError: the database cannot be asked now. It stays that, whoever takes what
                cannot be read for altered: it fails the whole read or transaction.
            ConfigError: the data keys do not open.
        """
        with self._lock:
            if self._vault.knows(generation):
                return
            now = self._clock.monotonic()
            if generation in self._missed and now - self._missed[generation] < _PAUSE:
                return
            self._look()
            if not self._vault.knows(generation):
                self._missed[generation] = now

    def _look(self) -> None:
        """In a moment of its own: the transaction that met the value may see an older one."""
        writer, reader = create_engines(self._url, n_readers=1)
        writer.dispose()
        try:
            with reader.begin() as conn:
                unlock(conn, self._vault)
        finally:
            reader.dispose()
