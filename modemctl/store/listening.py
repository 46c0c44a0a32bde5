"""Wake-ups from one node to the others, and which node does what a site does once: PostgreSQL's.

A commit that rings says so to all nodes in its own transaction, by NOTIFY: topics, nothing else.
Each node listens on one connection of its own. What is lost while that is away is looked for when
it is back, and the slow polls cover the rest. The same session holds the lock of the caretaker:
the server gives it to another node's session once this one is gone.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from modemctl.model import Topic
from modemctl.store import postgresql
from modemctl.store.engine import command
from modemctl.store.signals import Signals

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.rows import TupleRow

_CHANNEL: Final = "modemctl"
_CARETAKER: Final = 0x6D6F_6465_6D63_7463  # the octets of "modemctc": a lock beside the writers'
_LISTEN: Final = f"LISTEN {_CHANNEL}"
_SEEK: Final = f"SELECT pg_try_advisory_lock({_CARETAKER})"
_PROBE: Final = "SELECT true"
LOOK_EVERY: Final = 10.0
"""Seconds between two looks whether the session lives and the caretaker's place is free."""
_PATIENCE: Final = 10.0  # seconds for an answer
_FIRST_PAUSE: Final = 0.5  # seconds between two tries to connect, doubled each time
_LONGEST_PAUSE: Final = 10.0

_log = logging.getLogger(__name__)


class Wire:
    """What one node tells the others and hears from them; SQLite has no others."""

    def __init__(self, engine: Engine, signals: Signals, *, node_id: str) -> None:
        self._engine = engine
        self._signals = signals
        self._origin = secrets.token_hex(6)  # a process: its own words are no news to it
        self._title = f"modemctl {node_id} wake-ups"
        self.is_shared: Final = engine.dialect.name == "postgresql"
        """Whether there can be others."""
        self._is_caretaker = True

    @property
    def is_caretaker(self) -> bool:
        """Whether this node does what is done once a site; so does who listens to nobody."""
        return self._is_caretaker

    def tell(self, conn: Connection, topics: Iterable[Topic]) -> None:
        """Ring these topics on the other nodes once the transaction is committed.

        Raises:
            SQLAlchemyError: the database refused.
        """
        said = " ".join(sorted(topic.value for topic in topics))
        if self.is_shared and said:
            command(conn, f"NOTIFY {_CHANNEL}, '{self._origin} {said}'")

    async def hear(self, *, look_every: float = LOOK_EVERY) -> None:
        """Ring what other nodes commit, until cancelled; returns at once where none can be.

        Each `look_every` seconds it is asked whether the caretaker's place is free.
        """
        if not self.is_shared:
            return
        self._is_caretaker = False
        pause = _FIRST_PAUSE
        try:
            while True:
                began = asyncio.get_running_loop().time()
                why = await self._listen(look_every)
                self._is_caretaker = False
                if asyncio.get_running_loop().time() - began > look_every:
                    pause = _FIRST_PAUSE
                _log.warning("wake_ups.lost", extra={"reason": why, "again_in": pause})
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            self._is_caretaker = False

    async def _listen(self, look_every: float) -> str:
        """Listen for as long as the connection lasts; why it did not."""
        from psycopg import AsyncConnection, Error  # the driver is no part of every installation
        from psycopg.conninfo import make_conninfo

        words, options = postgresql.address(self._engine.url, title=self._title)
        where = make_conninfo(words, **options)
        try:
            async with (
                asyncio.timeout(None) as limit,
                await AsyncConnection.connect(where, autocommit=True) as conn,
            ):
                loop = asyncio.get_running_loop()
                limit.reschedule(loop.time() + _PATIENCE)
                await conn.execute(_LISTEN)
                _log.info("wake_ups.heard")
                self._signals.wake(Topic)  # who knows what rang meanwhile
                while True:
                    limit.reschedule(loop.time() + _PATIENCE)
                    await self._seek(conn)
                    limit.reschedule(None)
                    async for note in conn.notifies(timeout=look_every):
                        self._ring(note.payload)
        except TimeoutError:
            return f"no answer within {_PATIENCE:.0f} s"
        except (Error, SQLAlchemyError) as error:
            return postgresql.said(error)

    async def _seek(self, conn: AsyncConnection[TupleRow]) -> None:
        cursor = await conn.execute(_PROBE if self._is_caretaker else _SEEK)
        found = await cursor.fetchone()
        is_ours = found is not None and bool(found[0])
        if is_ours and not self._is_caretaker:
            _log.info("caretaker.taken")
        self._is_caretaker = is_ours

    def _ring(self, payload: str) -> None:
        origin, *said = payload.split(" ")
        if origin != self._origin:
            self._signals.wake(topic for topic in Topic if topic.value in said)
