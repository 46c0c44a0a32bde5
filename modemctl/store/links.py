"""A connection to PostgreSQL that waits for no answer for ever.

A server that stands still (a frozen machine, a stopped process) keeps its connections alive: the
kernel behind it answers each probe. Only who waits can tell that nothing comes.
"""

from __future__ import annotations

from typing import TypeVar

from psycopg import Connection, OperationalError
from psycopg.abc import ConnParam, PQGen
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

ResultT = TypeVar("ResultT")


class Link(Connection[TupleRow]):
    """One that gives up, and is closed, where a statement has no answer within `patience` (s)."""

    patience: float = 15.0

    def wait(
        self, gen: PQGen[ResultT], interval: float = 0.1, timeout: float | None = None
    ) -> ResultT:
        """As the driver does, for so long at most.

        Raises:
            OperationalError: no answer; whether the statement took effect is not known.
        """
        limit = self.patience if timeout is None else timeout
        try:
            return super().wait(gen, interval, limit)
        except OperationalError:
            if self.pgconn.transaction_status != TransactionStatus.ACTIVE:
                raise
            self.pgconn.finish()  # half an answer may still come: never to the next statement
            raise OperationalError(f"the server gave no answer within {limit:g} s") from None


def link(patience: float, address: str, options: dict[str, ConnParam]) -> Link:
    """A new connection.

    Raises:
        OperationalError: the server lets nobody in, or cannot be reached.
    """
    opened = Link.connect(address, **options)  # type: ignore[arg-type]  # the driver's own mix
    opened.patience = patience
    return opened
