"""Programs that run, as /proc tells: the daemon, who holds a port, who looks at modems."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modemctl.doctor.facts import Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A running program."""

    pid: int
    name: str

    def __str__(self) -> str:
        """As messages name it: `4711 ModemManager`."""
        return f"{self.pid} {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """A running modemctl: who holds the lock of the state folder."""

    pid: int
    uid: int
    gids: frozenset[int]
    n_files_max: int | None


def list_processes(facts: Facts) -> Sequence[Process]:
    """All programs that are visible, by id."""
    pids = sorted(int(name) for name in facts.names("/proc") if name.isdecimal())
    return [Process(pid=pid, name=facts.text(f"/proc/{pid}/comm") or "?") for pid in pids]


def find_daemon(facts: Facts, state_dir: Path) -> Daemon | None:
    """The process that holds the state folder; None if nobody does."""
    pid = locker_of(facts, state_dir / "lock")
    if pid is None:
        return None
    status = {
        line.partition(":")[0]: line.partition(":")[2].split()
        for line in facts.lines(f"/proc/{pid}/status")
    }
    uids, gids = _numbers(status.get("Uid")), _numbers(status.get("Gid"))
    if len(uids) < 2 or len(gids) < 2:  # real and effective; it ended meanwhile
        return None
    return Daemon(
        pid=pid,
        uid=uids[1],
        gids=frozenset({gids[1], *_numbers(status.get("Groups"))}),
        n_files_max=n_files_max(facts, str(pid)),
    )


def _numbers(words: Sequence[str] | None) -> list[int]:
    return [int(word) for word in words or () if word.isdecimal()]


def locker_of(facts: Facts, name: str | Path) -> int | None:
    """The process whose lock lies on a file: `1: FLOCK ADVISORY WRITE 4711 00:19:4 0 EOF`."""
    wanted = facts.stat(name)
    if wanted is None:
        return None
    device = f"{os.major(wanted.st_dev):02x}:{os.minor(wanted.st_dev):02x}:{wanted.st_ino}"
    for line in facts.lines("/proc/locks"):
        words = line.split()
        if len(words) > 5 and words[5] == device and words[1] == "FLOCK" and words[4].isdecimal():
            return int(words[4])
    return None


def holders(facts: Facts) -> Mapping[str, Process]:
    """Open file → a process that has it open; of other users' processes only root sees it."""
    found: dict[str, Process] = {}
    for process in list_processes(facts):
        folder = f"/proc/{process.pid}/fd"
        for fd in facts.names(folder):
            target = facts.target(f"{folder}/{fd}")
            if target is not None and target.startswith("/dev/"):
                found.setdefault(target, process)
    return found


def n_files_max(facts: Facts, process: str = "self") -> int | None:
    """The soft limit of open files of a process; None if it is hidden or unlimited."""
    for line in facts.lines(f"/proc/{process}/limits"):
        if line.startswith("Max open files"):
            soft = line.split()[3:4]
            return int(soft[0]) if soft and soft[0].isdecimal() else None
    return None
