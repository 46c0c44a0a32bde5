"""Rights of the user that runs the daemon: user and groups, folders, keys."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from modemctl.config import Settings
from modemctl.doctor.facts import Facts
from modemctl.doctor.findings import Finding, fail, ok, some, warn
from modemctl.doctor.people import (
    PASS,
    READ,
    WRITE,
    asker,
    group_name,
    groups_of,
    has_user,
    may,
    user_name,
)
from modemctl.doctor.ports import usb_terminals
from modemctl.doctor.subject import Subject
from modemctl.errors import ConfigError
from modemctl.store.engine import sqlite_path
from modemctl.vault import read_key

_GROUP: Final = "dialout"
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_KEYS: Final = (("master key", "master.key"), ("audit key", "audit.key"))


def check_user(subject: Subject) -> Iterator[Finding]:
    """The user that runs the daemon is there and belongs to the ports' group."""
    facts, runner = subject.facts, subject.runner
    user = None if subject.unit is None else subject.unit.value("User")
    if user is not None and not has_user(facts, user):
        yield fail("user", f"the unit's user {user} is not known here", "systemd-sysusers")
        return
    names = sorted(group_name(facts, gid) for gid in runner.gids)
    seen = f"{runner.name} ({runner.origin}), groups {some(names)}"
    if runner.uid == 0 or _GROUP in names:
        yield ok("user", seen)
        return
    if subject.unit is None and not usb_terminals(facts):
        yield ok("user", f"{seen}; not {_GROUP}, which only USB modems ask for")
        return
    registered = groups_of(facts, runner.name, -1)
    if _GROUP in {group_name(facts, gid) for gid in registered - {-1}}:
        cure = "log in anew" if subject.daemon is None else "systemctl restart modemctl"
        yield fail("user", f"{seen}; {_GROUP} came after the start", cure)
    else:
        yield fail("user", f"{seen}; not {_GROUP}", f"adduser {runner.name} {_GROUP}")


def check_folders(subject: Subject) -> Iterator[Finding]:
    """The state folder and what lies in it, and the folder of the socket."""
    yield from _check_state(subject)
    yield _check_run(subject)


def _check_state(subject: Subject) -> Iterator[Finding]:
    facts, runner = subject.facts, subject.runner
    folder = subject.settings.paths.state_dir
    found = facts.stat(folder)
    if found is None:
        if not runner.is_self and facts.uid != 0:
            yield warn(
                "state folder", f"{folder} cannot be seen as this user", "sudo modemctl doctor"
            )
        else:
            cure = "modemctl db upgrade makes it; then chown it to the daemon's user"
            yield fail("state folder", f"{folder} does not exist", cure)
        return
    owner = user_name(facts, found.st_uid)
    seen = f"{folder}, mode {stat.S_IMODE(found.st_mode):04o}, owner {owner}"
    if not may(facts, runner, folder, READ | WRITE | PASS):
        cure = f"chown -R {runner.name}: {folder}"
        yield fail("state folder", f"{seen}: {runner.name} may not write there", cure)
        return
    foreign = [
        name
        for name in facts.names(folder)
        if not name.endswith(".bak") and not may(facts, runner, folder / name, READ | WRITE)
    ]
    if foreign:  # `db upgrade` was run as root
        cure = f"chown -R {runner.name}: {folder}"
        yield fail("state folder", f"{runner.name} may not write {some(foreign)} in it", cure)
    elif found.st_mode & _OTHERS:
        yield warn("state folder", f"{seen}: open to others", f"chmod 700 {folder}")
    else:
        yield ok("state folder", seen)


def _check_run(subject: Subject) -> Finding:
    """The API's socket where the daemon runs, else whether it could be made."""
    facts, runner = subject.facts, subject.runner
    socket = subject.settings.api.unix_socket
    folder = socket.parent
    if subject.daemon is not None:
        found = facts.stat(socket)
        if found is None or not stat.S_ISSOCK(found.st_mode):
            cure = "modemctl status; journalctl -u modemctl"
            return warn("socket", f"the daemon runs, but {socket} is not to be seen", cure)
        mode, group = stat.S_IMODE(found.st_mode), group_name(facts, found.st_gid)
        return ok("socket", f"{socket}, mode {mode:04o}, group {group}")
    made = None if subject.unit is None else subject.unit.value("RuntimeDirectory")
    if made is not None and str(folder) == f"/run/{made}":
        return ok("socket", f"systemd makes {folder} at the start")
    if facts.stat(folder) is None:
        return fail("socket", f"{folder} does not exist", f"mkdir {folder}, or api.unix_socket")
    if not may(facts, runner, folder, WRITE | PASS):
        cure = f"give {runner.name} the folder, or name another (api.unix_socket)"
        return fail("socket", f"{runner.name} may not write {folder}", cure)
    return ok("socket", f"{runner.name} may make {socket}")


def check_keys(subject: Subject) -> Iterator[Finding]:
    """Both key files: there, closed to others, whole, and two different ones."""
    facts, paths = subject.facts, subject.settings.paths
    keys: list[bytes] = []
    for (what, credential), file in zip(
        _KEYS, (paths.master_key_file, paths.audit_key_file), strict=True
    ):
        handed = None if subject.unit is None else subject.unit.credential(credential)
        path = facts.path(file)
        if handed == str(file) and not may(facts, asker(facts), file, READ):
            yield _handed_over(subject, what, file)
            continue
        if _is_closed(subject, file):
            seen = f"{file} is closed to this user, as it should be"
            yield warn(what, seen, "sudo modemctl doctor")
            continue
        try:
            keys.append(read_key(path, what, has_data=_has_data(subject)))
        except ConfigError as error:
            seen, _, cure = error.problems[0].partition("; ")
            yield fail(what, _shorter(seen, what, path, file), _told(cure, path, file))
            continue
        yield _judge_key(subject, what, file, handed)
    if len(keys) == 2 and keys[0] == keys[1]:
        cure = "before the first start: modemctl key create for one of them"
        yield fail("keys", "master key and audit key are the same", cure)


def _has_data(subject: Subject) -> bool:
    path = sqlite_path(subject.settings.paths.database_url)
    found = None if path is None else subject.facts.stat(path)
    return found is not None and found.st_size > 0


def _is_closed(subject: Subject, file: Path) -> bool:
    """Whether only the daemon's user may look into a key, and somebody else asks."""
    facts, runner = subject.facts, subject.runner
    return not (facts.uid in {0, runner.uid} or may(facts, asker(facts), file, READ))


def _handed_over(subject: Subject, what: str, file: Path) -> Finding:
    """A key that this user may not read, and need not: systemd does."""
    if subject.facts.stat(file) is None and may(
        subject.facts, asker(subject.facts), file.parent, PASS
    ):
        cure = f"modemctl key create {file}"
        if _has_data(subject):
            cure = f"restore it from its copy: the database stands on the {what} of its time"
        return fail(what, f"{file} does not exist", cure)
    return ok(what, f"{file}: closed to this user; systemd hands it to the daemon")


def _judge_key(subject: Subject, what: str, file: Path, handed: str | None) -> Finding:
    if handed == str(file):
        return ok(what, f"{file}: 32 octets; systemd hands it to the daemon")
    if may(subject.facts, subject.runner, file, READ):
        return ok(what, f"{file}: 32 octets, {subject.runner.name} may read it")
    cure = f"LoadCredential= in the unit, or chown {subject.runner.name}: {file}"
    return fail(what, f"{file}: {subject.runner.name} may not read it", cure)


def _shorter(seen: str, what: str, path: Path, file: Path) -> str:
    return seen.removeprefix(f"{what} file ").replace(str(path), str(file))


def _told(cure: str, path: Path, file: Path) -> str:
    return cure.removeprefix("run: ").replace(str(path), str(file)) or "sudo modemctl doctor"


def key_of(facts: Facts, settings: Settings) -> bytes | None:
    """The master key, if whoever asks may read it and it is one."""
    try:
        return read_key(facts.path(settings.paths.master_key_file), "master key")
    except ConfigError:
        return None
