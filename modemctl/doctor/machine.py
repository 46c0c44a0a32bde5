"""The machine and the program on it: versions, clock, limits, disk."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import PurePosixPath
from typing import Final
from zoneinfo import ZoneInfo

from modemctl.doctor.findings import Finding, fail, ok, some, warn
from modemctl.doctor.processes import n_files_max
from modemctl.doctor.subject import Subject

_PYTHON_MIN: Final = (3, 11)
_FILES_APART: Final = 256  # database, sockets, logs, the API's clients
_FILES_A_PORT: Final = 2  # the port; while it is opened anew the old one may still be closing
_MIB: Final = 1_048_576
_DISK_FULL: Final = 100 * _MIB
_DISK_LOW: Final = 1_024 * _MIB
_INODES_FULL: Final = 100
_INODES_LOW: Final = 10_000
_REMOTE: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "ceph"})
_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9._-]+)(?:.*?>=\s*([0-9.]+))?")


def check_program() -> Iterator[Finding]:
    """Python and the packages that the program was installed for."""
    yield check_python(sys.version_info[:2])
    yield check_packages(metadata.requires("modemctl") or [])


def check_python(version: tuple[int, ...]) -> Finding:
    """The interpreter's version."""
    seen = f"Python {platform.python_version()}, modemctl {metadata.version('modemctl')}"
    if version < _PYTHON_MIN:
        return fail("python", seen, "install Python 3.11 or newer and make the environment anew")
    return ok("python", seen)


def check_packages(requirements: list[str]) -> Finding:
    """Each required package is there and new enough."""
    wrong: list[str] = []
    for requirement in requirements:
        found = _REQUIREMENT.match(requirement)
        assert found is not None, requirement
        name, least = found.groups()
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        if least is not None and _numbers(version) < _numbers(least):
            wrong.append(f"{name} {version} is older than {least}")
    if wrong:
        cure = "pip install --require-hashes -r requirements/runtime.lock"
        return fail("packages", some(wrong), cure)
    return ok("packages", f"{len(requirements)} packages are there and new enough")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:4])


def check_clock(subject: Subject) -> Iterator[Finding]:
    """The clock is synchronised; the site's time zone is known."""
    zone = subject.settings.site.timezone
    local = subject.facts.now.astimezone(ZoneInfo(zone))
    yield ok("time zone", f"{zone}, where it is {local:%Y-%m-%d %H:%M}")
    cure = "systemctl enable --now systemd-timesyncd (or chrony), with a time server it may reach"
    match subject.facts.is_clock_synchronised:
        case True:
            yield ok("clock", "synchronised")
        case False:
            seen = "not synchronised: quiet hours, limits and approvals follow a clock that drifts"
            yield warn("clock", seen, cure)
        case None:
            yield warn("clock", "the kernel does not tell whether it is synchronised", cure)


def check_files(subject: Subject) -> Iterator[Finding]:
    """Enough file descriptors for all ports."""
    facts, daemon, unit = subject.facts, subject.daemon, subject.unit
    wanted = _FILES_APART + _FILES_A_PORT * len(subject.ports)
    by_unit = None if unit is None else unit.value("LimitNOFILE")
    if daemon is not None:
        limit, whose = daemon.n_files_max, "the running daemon"
    elif by_unit is not None:
        soft = by_unit.partition(":")[0]
        limit, whose = int(soft) if soft.isdecimal() else None, "the unit"
    else:
        limit, whose = n_files_max(facts), "this shell"
    if limit is None:
        yield ok("open files", f"{whose} has no limit that shows")
        return
    seen = f"{whose} may open {limit}; {len(subject.ports)} ports need about {wanted}"
    if limit < wanted:
        yield fail("open files", seen, f"LimitNOFILE={max(8192, wanted)} in {_unit_of(subject)}")
    else:
        yield ok("open files", seen)


def _unit_of(subject: Subject) -> str:
    return "the unit" if subject.unit is None else subject.unit.path


def check_disk(subject: Subject) -> Iterator[Finding]:
    """Room below the state folder, and a file system that keeps what was committed."""
    facts = subject.facts
    folder = PurePosixPath(subject.settings.paths.state_dir)
    while facts.stat(str(folder)) is None and folder != folder.parent:
        folder = folder.parent  # it is made at the first start
    try:
        room = os.statvfs(facts.path(str(folder)))
    except OSError as error:
        yield warn("disk", f"{folder}: {error.strerror}", "sudo modemctl doctor")
        return
    n_inodes = room.f_favail if room.f_files else None  # btrfs and others count none
    yield judge_room(str(folder), room.f_bavail * room.f_frsize, n_inodes)
    yield from _judge_kind(subject, folder)


def judge_room(folder: str, n_octets: int, n_inodes: int | None) -> Finding:
    """Whether free octets and inodes suffice; None where the file system counts no inodes."""
    inodes = "" if n_inodes is None else f", {n_inodes} inodes"
    seen = f"{n_octets // _MIB} MiB free{inodes} at {folder}"
    cure = "make room: the daemon stops sending when it cannot commit"
    if n_octets < _DISK_FULL or (n_inodes is not None and n_inodes < _INODES_FULL):
        return fail("disk", seen, cure)
    if n_octets < _DISK_LOW or (n_inodes is not None and n_inodes < _INODES_LOW):
        return warn("disk", seen, cure)
    return ok("disk", seen)


def _judge_kind(subject: Subject, folder: PurePosixPath) -> Iterator[Finding]:
    """The file system of the longest mount point above the folder."""
    best, kind = "", ""
    for line in subject.facts.lines("/proc/self/mounts"):
        words = line.split()
        if len(words) > 2 and folder.is_relative_to(words[1]) and len(words[1]) >= len(best):
            best, kind = words[1], words[2]
    cure = "name a folder on a local disk (paths.state_dir)"
    if kind in _REMOTE:
        seen = f"{folder} lies on {kind}: SQLite's locks and log do not work over a network"
        yield fail("file system", seen, cure)
    elif kind in {"tmpfs", "ramfs"}:
        yield warn("file system", f"{folder} lies in memory ({kind}): gone at the next boot", cure)
    elif kind:
        yield ok("file system", f"{kind} at {best}")
