"""The only SQL. Rows do not leave this room; values do.

`Store` opens the database, owns the writer thread (`journal`) and a small pool of readers. One
module a noun holds the statements; each of its functions takes the `Tx` of a write or the
`Connection` of a read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from modemctl.clock import Clock
from modemctl.errors import StoreError
from modemctl.store.engine import (
    create_engines,
    drop_wal,
    readable,
    require_schema,
)
from modemctl.store.journal import CommitReport, Journal, SetAct
from modemctl.store.keys import unlock
from modemctl.store.listening import LOOK_EVERY, Wire
from modemctl.store.poolers import require_own_sessions
from modemctl.store.postgresql import DatabaseUrl, is_gone, said
from modemctl.store.renewal import KeyRenewal
from modemctl.store.seats import Seat
from modemctl.store.signals import Signals
from modemctl.store.transaction import Tx
from modemctl.vault import AuditKey, Vault

__all__ = ["CommitReport", "Connection", "SetAct", "Signals", "Store", "Tx"]

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

_N_READERS: Final = 3


def _ignore(report: CommitReport) -> None:
    del report


class Store:
    """An open database. Use `async with`; belongs to one event loop."""

    def __init__(
        self,
        url: DatabaseUrl,
        *,
        vault: Vault,
        audit_key: AuditKey,
        clock: Clock,
        node_id: str,
        on_commit: Callable[[CommitReport], None] = _ignore,
        seat: Seat | None = None,
        copied_too: bool = False,
    ) -> None:
        """Check the schema; nothing runs yet. A daemon takes its `seat` where it writes first.

        `copied_too`: as `require_schema`.

        Raises:
            ConfigError: cannot be opened, foreign, of another version, or of another key.
            NameTaken: another daemon has the seat.
            StoreError: another program holds the database, or its server cannot be reached.
        """
        self.vault: Final = vault
        self.clock: Final = clock
        self.node_id: Final = node_id
        self.signals: Final = Signals()
        self._writer_engine, self._reader_engine = create_engines(
            url, n_readers=_N_READERS, seat=seat
        )
        try:
            if seat is not None:
                require_own_sessions(self._reader_engine)  # before it takes a lock there
            require_schema(self._writer_engine, key_check=vault.check_value, copied_too=copied_too)
            with readable(url), self._writer_engine.connect() as conn:
                unlock(conn, vault)
        except BaseException:
            self._dispose()
            raise
        if self._writer_engine.dialect.name == "postgresql":
            vault.renew = KeyRenewal(url, vault, clock)
        self._wire = Wire(self._writer_engine, self.signals, node_id=node_id)
        self.journal: Final = Journal(
            self._writer_engine,
            vault=vault,
            audit_key=audit_key,
            clock=clock,
            node_id=node_id,
            signals=self.signals,
            wire=self._wire,
            on_commit=on_commit,
        )
        self._n_lost = 0  # reads that found no server
        self._why_lost = ""
        self._readers = ThreadPoolExecutor(max_workers=_N_READERS, thread_name_prefix="reader")

    async def __aenter__(self) -> Store:
        """Start the writer, if nobody has.

        Raises:
            ConfigError, StoreError: as `start`.
        """
        if not self.journal.is_alive:
            self.start()
        return self

    def start(self) -> None:
        """Start the writer; call on the loop. What fails leaves nothing open.

        Raises:
            ConfigError: the database is damaged.
            NameTaken: another daemon has the seat.
            StoreError: another program holds it, or its server cannot be reached.
        """
        try:
            with readable(self._writer_engine.url):
                self.journal.start()
        except BaseException:
            self._dispose()
            raise

    async def __aexit__(self, *exc: object) -> None:
        """Commit what is queued, end the threads, close the files."""
        await self.journal.stop()
        await asyncio.to_thread(self._readers.shutdown)
        self._dispose()

    async def write(self, act: Callable[[Tx], ResultT], *, is_urgent: bool = False) -> ResultT:
        """Run `act` in the writer's next transaction; returns after COMMIT (see `Journal`)."""
        return await self.journal.write(act, is_urgent=is_urgent)

    async def write_in_set(self, act: SetAct[ItemT, ResultT], item: ItemT) -> ResultT:
        """Run `item` as one of a set; returns after COMMIT (see `Journal`)."""
        return await self.journal.write_in_set(act, item)

    async def read(self, query: Callable[[Connection], ResultT]) -> ResultT:
        """Run `query` on a reader thread, in one snapshot.

        Raises:
            StoreError: the database cannot be read now.
        """
        n_lost = self._n_lost
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._query, query, n_lost)

    async def hear(self, *, look_every: float = LOOK_EVERY) -> None:
        """Ring here what other nodes commit, until cancelled; at once over where none can be.

        Each `look_every` seconds it is asked whether the caretaker's place is free.
        """
        await self._wire.hear(look_every=look_every)

    @property
    def is_caretaker(self) -> bool:
        """Whether this node, of all that run, does now what is done once a site."""
        return self._wire.is_caretaker

    @property
    def is_shared(self) -> bool:
        """Whether other nodes may work on this database, too."""
        return self._wire.is_shared

    def view(self, conn: Connection) -> Tx:
        """The moment of a read, for what else asks a transaction; its traces go nowhere."""
        return Tx(
            conn,
            now=self.clock.now(),
            steady=self.journal.steady.now(),
            vault=self.vault,
            node_id=self.node_id,
            standing=self.journal.life.standing,
        )

    async def scrub(self) -> bool:
        """Take what was deleted out of the write-ahead log, too; False: somebody reads, try again.

        The database file itself is overwritten where rows go (SQLite's `secure_delete`).
        """
        return await asyncio.to_thread(drop_wal, self._writer_engine.url)

    def _dispose(self) -> None:
        self._writer_engine.dispose()
        self._reader_engine.dispose()

    def _query(self, query: Callable[[Connection], ResultT], n_lost: int) -> ResultT:
        if n_lost < self._n_lost:  # while it waited another read found nobody
            raise StoreError(self._why_lost)
        try:
            with self._reader_engine.begin() as conn:
                return query(conn)
        except SQLAlchemyError as error:  # the chain of a log would tell the statement's values
            why = f"the database refused: {said(error)}"
            if is_gone(error):
                self._why_lost, self._n_lost = why, self._n_lost + 1
            raise StoreError(why) from None
