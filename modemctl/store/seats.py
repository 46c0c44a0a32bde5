"""Who is at work on a PostgreSQL database: locks that the session of a daemon's writer holds.

The name of a node belongs to the session that writes for it, so nothing is ever written under a
name without holding it: where the connection goes, the name goes with it, and comes back with the
next one before anything else does. All daemons share a second lock, which who changes the schema
must have alone.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, text

from modemctl.errors import NameTaken

_CLASS: Final = 0x6D6F_6465  # the octets of "mode": our locks beside other programs'
_SEATED: Final = "modemctl seat"


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
            NameTaken: another daemon holds it, or the schema is being changed.
            SQLAlchemyError: the server refused; a session of ours does not end yet.
        """
        if _SEATED in conn.info:
            return
        self._hold(conn)
        if not conn.execute(_SHARE, {"class": _CLASS, "key": _AT_WORK}).scalar_one():
            raise NameTaken("the schema of the database is being changed: modemctl db upgrade runs")
        conn.info[_SEATED] = True

    def _hold(self, conn: Connection) -> None:
        key = _key(f"node {self.node_id}")
        if conn.execute(_TRY, {"class": _CLASS, "key": key}).scalar_one():
            return
        found = next(iter(_holders(conn, key)), None)
        if found is not None and found.title != self.title:
            raise NameTaken(self._told(found))
        if found is not None:
            conn.execute(_END, {"pid": found.pid})
        conn.execute(_WAIT, {"class": _CLASS, "key": key})  # lock_timeout ends it

    def _told(self, found: Holder) -> str:
        since = found.since.isoformat(timespec="seconds")
        where = f"session {found.pid} of {found.place} since {since}"
        cure = "end that daemon, or give this one a name of its own (site.node)"
        return f"another daemon runs as node {self.node_id}: {where}; {cure}"


def living(conn: Connection) -> Sequence[Holder]:
    """The daemons that work on the database now, by what they call themselves."""
    return _holders(conn, _AT_WORK)


def keep_out(conn: Connection) -> bool:
    """Let no daemon start until the transaction ends; False: one works on the database."""
    return bool(conn.execute(_KEEP_OUT, {"class": _CLASS, "key": _AT_WORK}).scalar_one())


def _holders(conn: Connection, key: int) -> Sequence[Holder]:
    rows = conn.execute(_HOLDERS, {"class": _CLASS, "key": key % (1 << 32)})
    return [Holder(**row) for row in rows.mappings()]


def _key(lock: str) -> int:
    return int.from_bytes(hashlib.sha256(lock.encode()).digest()[:4], "big", signed=True)


_AT_WORK: Final = _key("daemons at work")
_TRY: Final = text("SELECT pg_try_advisory_lock(:class, :key)")
_SHARE: Final = text("SELECT pg_try_advisory_lock_shared(:class, :key)")
_KEEP_OUT: Final = text("SELECT pg_try_advisory_xact_lock(:class, :key)")
_WAIT: Final = text("SELECT pg_advisory_lock(:class, :key)")
_END: Final = text("SELECT pg_terminate_backend(:pid)")
_HOLDERS: Final = text(
    "SELECT a.pid, COALESCE(a.application_name, '') AS title,"
    " COALESCE(host(a.client_addr), 'this machine') AS place, a.backend_start AS since"
    " FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
    " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2"
    " AND l.classid = :class AND l.objid::bigint = :key"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " ORDER BY title"
)
