"""The steady time that all nodes of one PostgreSQL share: the server's clock and an offset.

No node's own clock has a say in it. The offset is a row of `meta` under a MAC; with each heartbeat
a node holds it against the seconds that passed on its machine: where the server's clock was set,
it changes the row, so that steady time goes on as if nobody had. The others follow the row.
"""

from __future__ import annotations

import hmac
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import BigInteger, Connection, cast, extract, func, select

from modemctl.clock import Clock
from modemctl.store.steady import GAP, SteadyTime
from modemctl.store.tables import from_ms, meta, quota, to_ms
from modemctl.vault import Vault

_log = logging.getLogger(__name__)

_KEY: Final = "steady_site"  # of `meta`
_MS: Final = timedelta(milliseconds=1)
_TOLERANCE: Final = timedelta(seconds=2)
"""What an oscillator may differ by between two heartbeats, and an answer may take."""
_KEPT: Final = timedelta(seconds=60)
"""How long ago a node noted it that lives: six heartbeats."""
_ALTERED: Final = f"meta {_KEY}: the row was not written by modemctl"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """Steady time is the server's clock and `offset`; `latest` is how far it has come.

    `turn` grows with each change of the offset. `boot_id` is the machine's start of who wrote the
    row last, `started_at` the steady time of that start.
    """

    offset: timedelta
    latest: datetime
    turn: int
    boot_id: str
    started_at: datetime

    def words(self) -> str:
        """As it is stored."""
        numbers = (self.offset // _MS, to_ms(self.latest), self.turn, to_ms(self.started_at))
        return " ".join([*map(str, numbers), self.boot_id])


class SiteTime:
    """What holds a node's steady time to that of the others."""

    def __init__(self, clock: Clock, steady: SteadyTime, vault: Vault) -> None:
        self._clock = clock
        self._steady = steady
        self._vault = vault
        self._turn: int | None = None  # as committed or followed last
        self._row: tuple[timedelta, int] | None = None  # offset and turn of a transaction to be

    def follow(self, conn: Connection) -> int:
        """Hold steady time to the row, or the row to it; call it before what counts.

        Returns how far (milliseconds) the machine's clock is before the server's.
        """
        asked_at = self._clock.boottime()
        server_at, value = conn.execute(_LOOK).one()
        took = timedelta(seconds=self._clock.boottime() - asked_at)
        skew_ms = to_ms(self._clock.now()) - int(server_at)
        found = _read(self._vault, value)
        if value is not None and found is None:
            _log.error("steady.altered", extra={"fault": _ALTERED})
        server = from_ms(int(server_at))
        if self._turn is None:
            self._row = self._begin(conn, server, found)
        else:
            self._row = self._go_on(server, found, self._turn, is_slow=took > _TOLERANCE / 2)
        return skew_ms

    def note(self, conn: Connection) -> None:
        """Write how far it has come, and the offset."""
        assert self._row is not None, "followed before, in the same transaction"
        offset, turn = self._row
        now = self._steady.now()
        row = _Row(
            offset=offset,
            latest=now,
            turn=turn,
            boot_id=self._clock.boot_id,
            started_at=now - timedelta(seconds=self._clock.boottime()),
        )
        value = _sealed(self._vault, row.words())
        if not conn.execute(meta.update().where(meta.c.key == _KEY).values(value=value)).rowcount:
            conn.execute(meta.insert().values(key=_KEY, value=value))

    def committed(self) -> None:
        """What was noted counts."""
        assert self._row is not None, "noted before"
        self._turn = self._row[1]

    def _begin(
        self, conn: Connection, server: datetime, found: _Row | None
    ) -> tuple[timedelta, int]:
        """Join the nodes that live; where none does, go on from what was noted last."""
        last_submit = conn.scalar(select(func.max(quota.c.bucket)).where(quota.c.span == GAP))
        known = [] if last_submit is None else [from_ms(last_submit)]
        if found is None:
            return self._set(server, max([server, *known]), turn=1)
        there = server + found.offset
        if -_TOLERANCE <= there - found.latest <= _KEPT:
            self._steady.hold(there)
            return found.offset, found.turn
        if found.boot_id == self._clock.boot_id:
            began = found.started_at + timedelta(seconds=self._clock.boottime())
        else:
            began = server
        return self._set(server, max([began, found.latest, *known]), turn=found.turn + 1)

    def _go_on(
        self, server: datetime, found: _Row | None, turn: int, *, is_slow: bool
    ) -> tuple[timedelta, int]:
        here = self._steady.now()
        if found is None or found.turn < turn:  # it is gone, altered, or one of before
            return self._set(server, here, turn=turn + 1)
        there = server + found.offset
        if found.turn == turn and is_slow:  # nobody knows when the server read its clock
            return found.offset, turn
        if found.turn != turn or abs(there - here) <= _TOLERANCE:
            self._steady.hold(there)
            return found.offset, found.turn
        facts = {"seconds": round((there - here).total_seconds(), 1)}
        _log.warning("server_clock.set", extra=facts)
        return self._set(server, here, turn=turn + 1)

    def _set(self, server: datetime, at: datetime, *, turn: int) -> tuple[timedelta, int]:
        self._steady.hold(at)
        return at - server, turn


def altered_site_time(conn: Connection, vault: Vault) -> list[str]:
    """A line where the row is not as modemctl wrote it."""
    value = conn.scalar(select(meta.c.value).where(meta.c.key == _KEY))
    return [] if value is None or _read(vault, value) is not None else [_ALTERED]


def _read(vault: Vault, value: str | None) -> _Row | None:
    words = str(value).rpartition(" ")[0]
    if value is None or not hmac.compare_digest(_sealed(vault, words).encode(), value.encode()):
        return None
    offset, latest, turn, started_at, boot_id = words.split(" ", maxsplit=4)
    return _Row(
        offset=int(offset) * _MS,
        latest=from_ms(int(latest)),
        turn=int(turn),
        boot_id=boot_id,
        started_at=from_ms(int(started_at)),
    )


def _sealed(vault: Vault, words: str) -> str:
    return f"{words} {vault.mac('steady', _KEY, words).hex()}"


_LOOK: Final = select(
    cast(extract("epoch", func.clock_timestamp()) * 1000, BigInteger),
    select(meta.c.value).where(meta.c.key == _KEY).scalar_subquery(),
)
