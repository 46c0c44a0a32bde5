"""A pooler between a daemon and PostgreSQL: it has to leave each session its server."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from modemctl.errors import ConfigError

_PID: Final = "SELECT pg_backend_pid()"


def require_own_sessions(reader: Engine) -> None:
    """Refuse a pooler that changes servers between two transactions of a session.

    The locks that hold a node's name, the caretaker's place and LISTEN last as long as a session;
    behind such a pooler they are another one's, or nobody's. What a session shows: one that rests
    has lost its server process to another that works, or comes back to a different one. Nothing is
    told where the server cannot be asked now: whoever opens it next says why.

    Raises:
        ConfigError: with the cure.
    """
    if reader.dialect.name != "postgresql":
        return
    try:
        with reader.connect() as resting, reader.connect() as working:
            own = _served_by(resting)
            resting.rollback()
            is_taken = _served_by(working) == own  # its transaction goes on meanwhile
            is_taken = is_taken or _served_by(resting) != own
    except DBAPIError:
        return
    if is_taken:
        shown = reader.url.render_as_string(hide_password=True)
        cure = "connect to the server itself, or let the pooler keep sessions (pool_mode = session)"
        raise ConfigError(
            [f"database {shown} is behind a pooler that changes servers in a session; {cure}"]
        )


def _served_by(conn: Connection) -> int:
    """The server's process behind a session, as of this transaction."""
    return int(conn.exec_driver_sql(_PID).scalar_one())
