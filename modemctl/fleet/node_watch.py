"""Whether the other nodes live: one that gives no sign for long is declared lost, by whoever sees.

Nobody's clock is believed for that: a node is silent while its count of heartbeats stands still by
the watcher's own time. Time in which the watcher itself could not beat or look counts for nothing:
then it was the database that was away, and all were silent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from modemctl.errors import StoreError
from modemctl.model import NodeState
from modemctl.store import Store, Tx, nodes
from modemctl.store.engine import UNREADABLE
from modemctl.store.lives import BEAT_EVERY
from modemctl.store.nodes import NodeRow
from modemctl.store.segments import SendingRules
from modemctl.telemetry import BankSnapshot

_log = logging.getLogger(__name__)

LOST_AFTER: Final = 90.0
"""Seconds of silence after which a node is lost: long after its last submit became too late."""


class NodeWatch:
    """One a node; `run` is its task."""

    def __init__(
        self,
        store: Store,
        rules: SendingRules,
        *,
        every: float = BEAT_EVERY,
        lost_after: float = LOST_AFTER,
    ) -> None:
        """`every` is how often (seconds) it looks, as often as nodes beat."""
        self._store = store
        self._rules = rules
        self._every = every
        self._lost_after = lost_after
        self._seen: dict[str, tuple[int, int, float]] = {}
        self._looked_at: float | None = None
        self._n_lost: int | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.turn()
            except StoreError as error:
                self._forget()
                _log.warning("nodes.not_seen", extra={"error": str(error)})
            except UNREADABLE as error:  # a row that was altered must not end who still lives
                facts = {"error": str(error), "cure": "modemctl audit verify names the row"}
                _log.error("nodes.not_read", extra=facts)
            await asyncio.sleep(self._every)

    async def turn(self) -> Sequence[str]:
        """Look once, and give a sign of life where nothing that was written has given one.

        Who is silent itself believes nobody else's silence: an idle node writes seldom. Returns
        those that were declared lost.

        Raises:
            StoreError: the database is away.
        """
        lost = await self.look()
        if self._silence_of(self._store.node_id, self._store.clock.boottime()) >= self._every:
            await self._store.write(_nothing)
        return lost

    async def look(self) -> Sequence[str]:
        """Look once at all nodes; those that were declared lost by it.

        Raises:
            StoreError: the database is away.
        """
        found = await self._store.read(nodes.find)
        self._n_lost = sum(one.state is NodeState.LOST for one in found)
        now = self._store.clock.boottime()
        if self._looked_at is not None and now - self._looked_at > 3 * self._every:
            self._forget()
        self._looked_at = now
        silent = [one for one in found if self._silence(one, now) >= self._lost_after]
        if self._silence_of(self._store.node_id, now) > 3 * self._every:
            self._forget()
            return ()
        lost = [one for one in silent if one.node_id != self._store.node_id]
        return [one.node_id for one in lost if await self._take_over(one)]

    def snapshot(self) -> BankSnapshot:
        """How many nodes were lost, as of the last look."""
        return BankSnapshot(nodes_lost=self._n_lost)

    async def fault(self) -> str:
        """Why nothing may leave this node by what its row says; empty where something may."""
        return self._store.journal.life.standing.fault

    async def _take_over(self, lost: NodeRow) -> bool:
        settled = await self._store.write(lambda tx: nodes.take_over(tx, lost, self._rules))
        self._seen.pop(lost.node_id, None)
        if settled is None:
            return False
        facts = {"n_in_doubt": settled.n_in_doubt, "n_leases": settled.n_leases}
        _log.error("node.lost", extra={"lost_node": lost.node_id, **facts})
        return True

    def _silence(self, one: NodeRow, now: float) -> float:
        """For how long (seconds) a node that should beat has not."""
        if one.state is not NodeState.UP:
            self._seen.pop(one.node_id, None)
            return 0.0
        known = self._seen.get(one.node_id)
        if known is None or known[:2] != (one.epoch, one.n_beats):
            self._seen[one.node_id] = (one.epoch, one.n_beats, now)
        return self._silence_of(one.node_id, now)

    def _silence_of(self, node_id: str, now: float) -> float:
        known = self._seen.get(node_id)
        return 0.0 if known is None else now - known[2]

    def _forget(self) -> None:
        self._seen.clear()


def _nothing(tx: Tx) -> None:
    """For the heartbeat that goes with each commit."""
    del tx
