"""Who came from where, whose key was wrong, what was refused: counted into the log (SEC-05).

One entry an hour, so that whoever asks all day long cannot fill the log; the week's screening adds
them up.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Final

from modemctl.errors import StoreError
from modemctl.policy.behaviour import place_of
from modemctl.policy.screening import COUNTED
from modemctl.store import Store, Tx
from modemctl.store.transaction import Json

_EVERY: Final = 3_600.0  # seconds
_MOST: Final = 500  # pairs of account and place; more are counted together
_OTHERS: Final = "…"

_log = logging.getLogger(__name__)


class AccessCounts:
    """Counts in memory, and writes down what was counted each hour and at the end."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._since = store.clock.now()
        self._uses: Counter[tuple[str, str]] = Counter()
        self._wrong_keys: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()

    def used(self, name: str, source: str) -> None:
        """An account asks from somewhere."""
        pair = name, place_of(source)
        known = pair in self._uses or len(self._uses) < _MOST
        self._uses[pair if known else (_OTHERS, _OTHERS)] += 1

    def wrong_key(self, name: str) -> None:
        """Somebody gave a wrong secret for a key of the account."""
        self._wrong_keys[name] += 1

    def refused(self, policy: str) -> None:
        """A company rule forbade what was asked."""
        self._refused[policy] += 1

    async def run(self) -> None:
        """Write down each hour what was counted, until cancelled."""
        while True:
            await asyncio.sleep(_EVERY)
            try:
                await self.note()
            except StoreError as error:
                _log.warning("access.not_noted", extra={"error": str(error)})

    async def note(self) -> None:
        """Write down what was counted since the last time; nothing where nothing was.

        Raises:
            StoreError: the database cannot be written; it stays counted.
        """
        uses, wrong_keys, refused = self._uses, self._wrong_keys, self._refused
        since = self._since
        if not (uses or wrong_keys or refused):
            return
        self._uses, self._wrong_keys, self._refused = Counter(), Counter(), Counter()
        facts: dict[str, Json] = {
            "since": since.isoformat(timespec="seconds"),
            "uses": _by_account(uses),
            "wrong_keys": {**wrong_keys},
            "refused": {**refused},
        }

        def act(tx: Tx) -> None:
            tx.audit(tx.node_id, COUNTED, tx.node_id, facts)

        try:
            await self._store.write(act)
        except StoreError:
            self._uses.update(uses)
            self._wrong_keys.update(wrong_keys)
            self._refused.update(refused)
            raise
        self._since = self._store.clock.now()


def _by_account(uses: Counter[tuple[str, str]]) -> dict[str, Json]:
    found: dict[str, dict[str, Json]] = {}
    for (name, place), n in sorted(uses.items()):
        found.setdefault(name, {})[place] = n
    return {**found}
