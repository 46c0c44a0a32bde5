"""Who is at work on a PostgreSQL database: locks that the session of a daemon's writer holds.

The name of a node belongs to the session that writes for it, so nothing is ever written under a
name without holding it: where the connection goes, the name goes with it, and comes back with the
next one before anything else does. What several daemons at once would need is not all there
(ADR 0014), so the first one keeps others out under any name.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, text

from modemctl.errors import NameTaken

_CLASS: Final = 0x6D6F_6465  # the octets of "mode": our locks beside other programs'
_SEATED: Final = "modemctl seat"
_ALONE: Final = "one daemon a database"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A session that holds a lock; `since` is when it began."""

    pid: int
    title: str
    place: str
    since: datetime

    @property
    def node_id(self) -> str:
        """The node that it writes for, as it calls itself."""
        return self.title.partition(" ")[2].partition(" ")[0] or "?"


class Seat:
    """The place of one daemon at a database, for as long as its process lives."""

    def __init__(self, node_id: str) -> None:
        self.node_id: Final = node_id
        self.title: Final = f"modemctl {node_id} {secrets.token_hex(4)}"
        """What the server calls our session (`application_name`): ours alone."""

    def take(self, conn: Connection) -> None:
        """Hold the name and the place for as long as the session of `conn` lasts.

        A session of our own that the server has not missed yet is ended.

        Raises:
            NameTaken: another daemon holds it.
            SQLAlchemyError: the server refused; a session of ours does not end yet.
        """
        if _SEATED in conn.info:
            return
        for lock in (f"node {self.node_id}", _ALONE):
            self._hold(conn, _key(lock))
        conn.info[_SEATED] = True

    def _hold(self, conn: Connection, key: int) -> None:
        if conn.execute(_TRY, {"class": _CLASS, "key": key}).scalar_one():
            return
        found = holder(conn, key)
        if found is not None and found.title != self.title:
            raise NameTaken(self._told(found))
        if found is not None:
            conn.execute(_END, {"pid": found.pid})
        conn.execute(_WAIT, {"class": _CLASS, "key": key})  # lock_timeout ends it

    def _told(self, found: Holder) -> str:
        since = found.since.isoformat(timespec="seconds")
        where = f"session {found.pid} of {found.place} since {since}"
        if found.node_id == self.node_id:
            cure = "end that daemon, or give this one a name of its own (site.node)"
            return f"another daemon runs as node {self.node_id}: {where}; {cure}"
        cure = "end that daemon, or give this one a database of its own (paths.database)"
        return f"node {found.node_id} runs on this database already: {where}; {cure}"


def living(conn: Connection) -> Holder | None:
    """The daemon that works on the database now; None where none does."""
    return holder(conn, _key(_ALONE))


def holder(conn: Connection, key: int) -> Holder | None:
    """Who holds a lock of ours; None where nobody does by now."""
    row = conn.execute(_HOLDER, {"class": _CLASS, "key": key % (1 << 32)}).first()
    if row is None:
        return None
    return Holder(pid=row.pid, title=row.title, place=row.place, since=row.since)


def _key(lock: str) -> int:
    return int.from_bytes(hashlib.sha256(lock.encode()).digest()[:4], "big", signed=True)


_TRY: Final = text("SELECT pg_try_advisory_lock(:class, :key)")
_WAIT: Final = text("SELECT pg_advisory_lock(:class, :key)")
_END: Final = text("SELECT pg_terminate_backend(:pid)")
_HOLDER: Final = text(
    "SELECT a.pid, COALESCE(a.application_name, '') AS title,"
    " COALESCE(host(a.client_addr), 'this machine') AS place, a.backend_start AS since"
    " FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
    " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2"
    " AND l.classid = :class AND l.objid::bigint = :key"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " LIMIT 1"
)
