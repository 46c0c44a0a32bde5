"""The time that limits are counted in: it passes as the machine runs and is never set.

It starts as the wall clock showed at the node's first start after the machine's, and goes on with
the seconds since then (CLOCK_BOOTTIME). After a reboot it is never earlier than it was. The daemons
of a PostgreSQL hold it to one that they share (`store.site_time`).
"""

from __future__ import annotations

import hmac
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, func, select

from modemctl.clock import Clock
from modemctl.store.tables import from_ms, meta, quota, to_ms
from modemctl.store.transaction import Tx
from modemctl.vault import Vault

GAP: Final = "gap"
"""The quota rows whose bucket is the moment of a card's last submit, in steady milliseconds."""

_KEY: Final = "steady:"
_N_WORDS: Final = 3


class SteadyTime:
    """Steady time of one node. Anchor it before it is asked."""

    def __init__(self, clock: Clock, vault: Vault) -> None:
        self._clock = clock
        self._vault = vault
        self._started_at: datetime | None = None  # what it showed as the machine started
        self.absence: timedelta | None = None
        """How long nobody beat here before the store was opened; None where nobody ever did."""

    def now(self) -> datetime:
        """Steady time at this moment, aware."""
        assert self._started_at is not None, "anchored when the store was opened"
        return self._started_at + timedelta(seconds=self._clock.boottime())

    def anchor(self, conn: Connection, node_id: str, *, is_new: bool = True) -> list[str]:
        """Go on where any daemon on this machine since its start has begun, else begin.

        Returns what was found altered, a line each: such a row counts for nothing. One of a node
        that is not new has to be there.
        """
        anchors, faults = _anchors(conn, self._vault)
        if not is_new and not faults and f"{_KEY}{node_id}" not in anchors:
            faults.append(f"meta {_KEY}{node_id}: the row is missing")
        same = [start for boot_id, start, _ in anchors.values() if boot_id == self._clock.boot_id]
        if same:
            started_at = same[0]
        else:
            known = [latest for _, _, latest in anchors.values()]
            last_submit = conn.scalar(select(func.max(quota.c.bucket)).where(quota.c.span == GAP))
            if last_submit is not None:
                known.append(from_ms(last_submit))
            begins = max([self._clock.now(), *known])
            started_at = begins - timedelta(seconds=self._clock.boottime())
        self._started_at = from_ms(to_ms(started_at))
        latest = self.now()
        if (own := anchors.get(f"{_KEY}{node_id}")) is not None:
            latest = own[2]  # who opens the store and fails, or only looks, was not there
            self.absence = self.now() - latest
        self._save(conn, node_id, latest)
        return faults

    def hold(self, at: datetime) -> None:
        """Let it be `at` now, and go on from there (`store.site_time`)."""
        self._started_at = from_ms(to_ms(at - timedelta(seconds=self._clock.boottime())))

    def beat(self, tx: Tx) -> None:
        """Note how far it has come, for a start after the machine's next."""
        self.note(tx.conn, tx.node_id)

    def note(self, conn: Connection, node_id: str) -> None:
        """The same, where no request asks for it."""
        self._save(conn, node_id, self.now())

    def _save(self, conn: Connection, node_id: str, latest: datetime) -> None:
        assert self._started_at is not None, "anchored when the store was opened"
        words = (self._clock.boot_id, to_ms(self._started_at), to_ms(latest))
        key = f"{_KEY}{node_id}"
        row = {"key": key, "value": _sealed(self._vault, key, " ".join(map(str, words)))}
        changed = conn.execute(
            meta.update().where(meta.c.key == row["key"]).values(value=row["value"])
        )
        if not changed.rowcount:
            conn.execute(meta.insert().values(row))


def seal_anchors(conn: Connection, vault: Vault) -> None:
    """Seal the rows of a database that had no seals on them yet."""
    for key, value in conn.execute(_ROWS).all():
        if value.count(" ") == _N_WORDS - 1:
            sealed = _sealed(vault, key, value)
            conn.execute(meta.update().where(meta.c.key == key).values(value=sealed))


def altered_anchors(conn: Connection, vault: Vault) -> list[str]:
    """A line for each row that modemctl did not write as it stands."""
    return _anchors(conn, vault)[1]


def _sealed(vault: Vault, key: str, words: str) -> str:
    return f"{words} {vault.mac('steady', key, words).hex()}"


def _anchors(
    conn: Connection, vault: Vault
) -> tuple[dict[str, tuple[str, datetime, datetime]], list[str]]:
    """Node → the machine's start it knows, steady time at that start, and as last noted.

    Beside them the rows that are not ours, a line each.
    """
    found, faults = {}, []
    for key, value in conn.execute(_ROWS):
        words = str(value).rpartition(" ")[0]
        if not hmac.compare_digest(_sealed(vault, key, words).encode(), str(value).encode()):
            faults.append(f"meta {key}: the row was not written by modemctl")
            continue
        boot_id, start, latest = words.split(" ")
        found[key] = (boot_id, from_ms(int(start)), from_ms(int(latest)))
    return found, faults


_ROWS: Final = select(meta.c.key, meta.c.value).where(meta.c.key.startswith(_KEY))
