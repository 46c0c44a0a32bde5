"""Who runs the daemon, and what that user may do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from modemctl.doctor.facts import Facts
from modemctl.doctor.processes import Daemon
from modemctl.doctor.unit import Unit

READ: Final = 4
WRITE: Final = 2
PASS: Final = 1
"""Bits of a mode; the same that `os.access` takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """The user that the daemon runs as, or would. `origin` says how that is known."""

    name: str
    uid: int
    gids: frozenset[int]
    origin: str
    is_self: bool


def find_runner(
    facts: Facts, unit: Unit | None, daemon: Daemon | None, state_dir: Path | None = None
) -> Runner:
    """The running daemon's user, else the unit's, else the state folder's owner, else who asks."""
    if daemon is not None:
        return Runner(
            name=user_name(facts, daemon.uid),
            uid=daemon.uid,
            gids=daemon.gids,
            origin=f"the running daemon, process {daemon.pid}",
            is_self=daemon.uid == facts.uid and daemon.gids <= facts.gids,
        )
    user = None if unit is None else unit.value("User")
    known = None if user is None else _user(facts, user)
    if user is not None and known is not None:
        uid, gid = known
        extra = [] if unit is None else unit.values("SupplementaryGroups")
        by_name = {name: number for name, number, _ in _groups(facts)}
        gids = groups_of(facts, user, gid) | {by_name[one] for one in extra if one in by_name}
        return Runner(
            name=user, uid=uid, gids=gids, origin="the unit's user", is_self=uid == facts.uid
        )
    found = None if state_dir is None else facts.stat(state_dir)
    if found is not None and found.st_uid != facts.uid:
        name = user_name(facts, found.st_uid)
        _, gid = _user(facts, name) or (0, found.st_gid)
        return Runner(
            name=name, uid=found.st_uid, gids=groups_of(facts, name, gid),
            origin="the state folder's owner", is_self=False,
        )  # fmt: skip
    return asker(facts)


def asker(facts: Facts) -> Runner:
    """Who runs the doctor."""
    return Runner(
        name=user_name(facts, facts.uid),
        uid=facts.uid,
        gids=facts.gids,
        origin="the user that asks",
        is_self=facts.uid == os.geteuid(),
    )


def has_user(facts: Facts, name: str) -> bool:
    """Whether /etc/passwd knows the user."""
    return _user(facts, name) is not None


def user_name(facts: Facts, uid: int) -> str:
    """The name of a user id, or the number."""
    for line in facts.lines("/etc/passwd"):
        fields = line.split(":")
        if len(fields) > 3 and fields[2] == str(uid):
            return fields[0]
    return f"user {uid}"


def group_name(facts: Facts, gid: int) -> str:
    """The name of a group id, or the number."""
    return next((name for name, number, _ in _groups(facts) if number == gid), f"group {gid}")


def groups_of(facts: Facts, user: str, gid: int) -> frozenset[int]:
    """The groups that a log-in of the user would have."""
    return frozenset({gid, *(number for _, number, people in _groups(facts) if user in people)})


def may(facts: Facts, runner: Runner, name: str | Path, wanted: int) -> bool:
    """Whether the runner may do so (`READ | WRITE | PASS`), folders above included.

    Access lists (ACL) count only where the runner asks himself.
    """
    if runner.is_self:
        return os.access(facts.path(name), wanted)
    above = PurePosixPath(name).parents
    return all(_mode_allows(facts, runner, str(folder), PASS) for folder in above) and _mode_allows(
        facts, runner, name, wanted
    )


def _mode_allows(facts: Facts, runner: Runner, name: str | Path, wanted: int) -> bool:
    found = facts.stat(name)
    if found is None:
        return False
    if runner.uid == 0:
        return True
    shift = 6 if found.st_uid == runner.uid else 3 if found.st_gid in runner.gids else 0
    return (found.st_mode >> shift) & wanted == wanted


def _user(facts: Facts, name: str) -> tuple[int, int] | None:
    for line in facts.lines("/etc/passwd"):
        fields = line.split(":")
        if len(fields) > 3 and fields[0] == name and fields[2].isdecimal():
            return int(fields[2]), int(fields[3]) if fields[3].isdecimal() else 0
    return None


def _groups(facts: Facts) -> Sequence[tuple[str, int, frozenset[str]]]:
    rows = [line.split(":") for line in facts.lines("/etc/group")]
    return [
        (row[0], int(row[2]), frozenset(row[3].split(",")))
        for row in rows
        if len(row) > 3 and row[2].isdecimal()
    ]
