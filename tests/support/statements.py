"""What the writer asks of SQLite: each statement that runs, as SQLite itself tells it."""

from collections.abc import Iterator
from contextlib import contextmanager

from modemctl.store import Store


@contextmanager
def statements(store: Store) -> Iterator[list[str]]:
    """Every statement of the store's writer from now on, with its values; triggers apart."""
    seen: list[str] = []
    pooled = store._writer_engine.raw_connection()
    connection = pooled.dbapi_connection
    pooled.close()  # back to the pool of one: the writer gets this very connection
    connection.set_trace_callback(seen.append)
    try:
        yield seen
    finally:
        connection.set_trace_callback(None)
