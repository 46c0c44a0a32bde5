"""The mark on a database that was copied elsewhere: beside its copy it would send twice."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, insert, select

from modemctl.errors import ConfigError
from modemctl.store.tables import meta

KEY: Final = "copied_to"
"""Its row in `meta`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Where a database was copied to, without a password, and when; None where that is garbled."""

    to: str
    at: datetime | None


def mark(conn: Connection, *, to: str, at: datetime) -> None:
    """Let no daemon run on this database any more."""
    unmark(conn)
    text = json.dumps({"to": to, "at": at.isoformat(timespec="seconds")})
    conn.execute(insert(meta).values(key=KEY, value=text))


def unmark(conn: Connection) -> None:
    """Let daemons run on it again."""
    conn.execute(delete(meta).where(meta.c.key == KEY))


def find(conn: Connection) -> Mark | None:
    """The mark, if it has one; one that cannot be read is a mark all the same."""
    text = conn.scalar(select(meta.c.value).where(meta.c.key == KEY))
    if text is None:
        return None
    try:
        told = json.loads(text)
        return Mark(to=str(told["to"]), at=datetime.fromisoformat(told["at"]))
    except (ValueError, TypeError, KeyError):
        return Mark(to="another database", at=None)


def require_unmarked(conn: Connection, shown: str) -> None:
    """Refuse a database that was copied elsewhere.

    Raises:
        ConfigError: with the cure.
    """
    found = find(conn)
    if found is not None:
        at = "a time unknown" if found.at is None else found.at.isoformat()
        raise ConfigError(
            [
                f"database {shown} was copied to {found.to} at {at}; beside its copy it would"
                " send twice. Name the copy (paths.database); or, once the copy is dropped for"
                " good, run: modemctl db reopen"
            ]
        )
