"""A node's life, from a start to its end: its writer proves in each transaction that it still is.

A living node that declares another one lost gives away what that one held, in one transaction. From
then on the lost one's writes fail, whatever it still believes: its row says so, and each of its
transactions reads the row before it does anything.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from sqlalchemy import Connection, bindparam, exists, select, update

from modemctl.clock import Clock
from modemctl.errors import NameTaken
from modemctl.model import NodeState
from modemctl.store.prepared import Prepared
from modemctl.store.site_time import SiteTime
from modemctl.store.steady import SteadyTime
from modemctl.store.tables import node
from modemctl.store.transaction import Standing
from modemctl.vault import Vault

BEAT_EVERY: Final = 10.0
"""Seconds between two heartbeats; each is part of a commit that is made anyway."""
SKEW_MAX: Final = timedelta(seconds=30)
"""How far a node's clock may be from the database server's: windows and limits go by it."""

_LIVES: Final = frozenset({NodeState.UP.value, NodeState.DOWN.value})


class Life:
    """One life of this node. Until `begin` nothing is proved: tools open a store without one."""

    def __init__(self, clock: Clock, steady: SteadyTime, vault: Vault, node_id: str) -> None:
        self._clock = clock
        self._steady = steady
        self._site = SiteTime(clock, steady, vault)
        self._node_id = node_id
        self._epoch: int | None = None
        self._every = BEAT_EVERY
        self._next = 0.0
        self._beats_at: float | None = None  # of a transaction that has not ended yet
        self._skew_ms: int | None = None
        self.standing = Standing()
        """What the row says of the node, as of the latest transaction."""

    def begin(self, epoch: int, *, every: float = BEAT_EVERY) -> None:
        """Live on as the start of this number, with a heartbeat each `every` seconds."""
        self._every, self._next = every, 0.0
        self._epoch = epoch

    def prove(self, conn: Connection) -> None:
        """Learn how the node stands; call it before anything else of a transaction.

        Raises:
            NameTaken: it was declared lost or removed, or started elsewhere: nothing may be
                written for this life any more.
        """
        if self._epoch is None:
            return
        is_shared = conn.dialect.name == "postgresql"
        row = (_OWN_AMONG if is_shared else _OWN).first(conn, {"node": self._node_id})
        if row is None or row.epoch != self._epoch or row.state not in _LIVES:
            why = "started anew elsewhere" if row and row.state in _LIVES else "declared lost"
            raise NameTaken(f"node {self._node_id} was {why}: this life of it is over")
        now = self._clock.boottime()  # a machine that slept beats as it wakes
        self._beats_at = now if now >= self._next else None
        if is_shared and self._beats_at is not None:
            self._skew_ms = self._site.follow(conn)
        self.standing = Standing(
            is_draining=bool(row.is_draining),
            fault=_skew_fault(self._skew_ms if is_shared else row.skew_ms),
            is_alone=not (is_shared and row.has_company),
        )

    def beat(self, conn: Connection) -> None:
        """Note in this transaction that the node lives, if it was time to as it began."""
        if self._beats_at is None:
            return
        values = {
            "heartbeat_at": self._clock.now(),
            "n_beats": node.c.n_beats + 1,
            "steady_at": self._steady.now(),
            "skew_ms": self._skew_ms,
        }
        conn.execute(update(node).where(node.c.node_id == self._node_id).values(values))
        self._steady.note(conn, self._node_id)
        if conn.dialect.name == "postgresql":
            self._site.note(conn)

    def committed(self) -> None:
        """The transaction went through, and with it its heartbeat."""
        if self._beats_at is not None:
            self._next, self._beats_at = self._beats_at + self._every, None
            if self._skew_ms is not None:
                self._site.committed()


def _skew_fault(skew_ms: int | None) -> str:
    if skew_ms is None or abs(skew_ms) <= SKEW_MAX / timedelta(milliseconds=1):
        return ""
    side = "before" if skew_ms > 0 else "behind"
    return f"this node's clock is {abs(skew_ms) / 1_000:.0f} s {side} the database server's"


_ROW: Final = select(node.c.epoch, node.c.state, node.c.is_draining, node.c.skew_ms).where(
    node.c.node_id == bindparam("node")
)
_others: Final = node.alias()
_OWN: Final = Prepared(_ROW)
_OWN_AMONG: Final = Prepared(
    _ROW.add_columns(
        exists()
        .where(_others.c.node_id != node.c.node_id, _others.c.state == NodeState.UP.value)
        .label("has_company")
    )
)
