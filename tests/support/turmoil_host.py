"""The machine under a bank in turmoil: its daemon ends and starts, its database stalls."""

from __future__ import annotations

import signal
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.support.banks import DaemonProcess, Site


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """From when to when no daemon ran, and whether it was killed."""

    since: datetime
    until: datetime
    is_kill: bool

    @property
    def kind(self) -> str:
        """In a word."""
        return "killed" if self.is_kill else "stopped"


class TurmoilHost:
    """What befalls a daemon that runs, and when it did."""

    def __init__(self, site: Site, daemon: DaemonProcess) -> None:
        self._site = site
        self._daemon = daemon
        self._lock: sqlite3.Connection | None = None
        self._since: datetime | None = None
        self._is_kill = False
        self.absences: list[Absence] = []
        self.n_stalls = 0

    @property
    def is_stalled(self) -> bool:
        """Whether a commit would have to wait now."""
        return self._lock is not None

    def stop_daemon(self) -> None:
        """Ask the daemon to end in order; it has until its start to do so."""
        self._since, self._is_kill = datetime.now(UTC), False
        self._daemon.send(signal.SIGTERM)

    def kill_daemon(self) -> None:
        """Kill the daemon where it stands."""
        self._since, self._is_kill = datetime.now(UTC), True
        self._daemon.kill()

    def start_daemon(self) -> None:
        """Wait for the daemon's end and start it again."""
        assert self._since is not None
        self.free_store()  # an orderly end waits for the store
        status = self._daemon.wait(60)
        assert status == (-signal.SIGKILL if self._is_kill else 0), self._daemon.tail()
        self._daemon.start()
        self.absences.append(
            Absence(since=self._since, until=datetime.now(UTC), is_kill=self._is_kill)
        )

    def stall_store(self) -> None:
        """From now on no commit is possible: another program holds the database's lock."""
        self.free_store()
        self._lock = sqlite3.connect(self._site.database, timeout=30, isolation_level=None)
        self._lock.execute("BEGIN IMMEDIATE")
        self.n_stalls += 1

    def free_store(self) -> None:
        """Commits are possible again."""
        if self._lock is not None:
            self._lock.execute("ROLLBACK")
            self._lock.close()
            self._lock = None
