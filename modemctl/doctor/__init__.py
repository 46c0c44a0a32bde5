"""`modemctl doctor`: looks at everything that the daemon stands on, and changes nothing.

Each check is a generator of findings over a `Subject`. A check opens no port, makes no file, asks
no other program and tells no secret; so it may run at any time, beside the daemon or without it.
Each has a time limit of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from modemctl.config import Settings, load
from modemctl.doctor.backups import check_backups
from modemctl.doctor.database import check_database
from modemctl.doctor.exposure import check_exposure, check_unit
from modemctl.doctor.facts import Facts
from modemctl.doctor.findings import Finding, exit_status, fail, ok, warn
from modemctl.doctor.limits import NoAnswer, within
from modemctl.doctor.machine import check_clock, check_disk, check_files, check_program
from modemctl.doctor.ports import check_ports, check_rivals
from modemctl.doctor.rights import check_folders, check_keys, check_user
from modemctl.doctor.subject import Subject
from modemctl.doctor.usb import check_recovery, check_usb
from modemctl.errors import ConfigError
from modemctl.fleet.families import site_families

__all__ = ["CHECKS", "Facts", "Finding", "examine", "exit_status"]

Check: TypeAlias = Callable[[Subject], Iterator[Finding]]

CHECKS: Final[tuple[Check, ...]] = (
    check_user,
    check_folders,
    check_keys,
    check_database,
    check_ports,
    check_rivals,
    check_usb,
    check_recovery,
    check_files,
    check_disk,
    check_backups,
    check_clock,
    check_exposure,
)
"""All that need good settings, in the order in which they are told."""


_LIMIT: Final = 15.0  # seconds for each check; the database's pages are read for up to 10
_HANGS: Final = "a disk, a mount or a USB device hangs: findmnt -t nfs,nfs4,cifs; dmesg | tail -20"


def examine(
    facts: Facts, config_path: Path, *, checks: Sequence[Check] = CHECKS, limit: float = _LIMIT
) -> Iterator[Finding]:
    """Everything that can be seen, one finding after the other; no check is waited for for ever."""
    yield from check_program()
    try:
        (settings,) = within(limit, facts.clock, lambda: [load(config_path)])
        families = facts.path(settings.bank.families)
        (own,) = within(limit, facts.clock, lambda: [site_families(families)])
        subject = _subject(facts, settings, limit)
    except ConfigError as error:
        for problem in error.problems:
            yield fail("settings", problem, "correct it, then: modemctl check-config")
    except NoAnswer as silence:
        yield fail("settings", f"{config_path} or what it names {silence}", _HANGS)
    else:
        told = f", {len(own)} families of this site" if own else ""
        yield ok("settings", f"{config_path}: well-formed{told}")
        yield from _all(subject, config_path, checks, limit)
        return
    yield warn("the rest", "not looked at without good settings", "modemctl doctor again")


def _subject(facts: Facts, settings: Settings, limit: float) -> Subject:
    """Where the state folder does not answer, the daemon is not looked for."""
    try:
        (subject,) = within(limit, facts.clock, lambda: [Subject.of(facts, settings)])
    except NoAnswer:
        blind = partial(Subject.of, finds_daemon=False)
        (subject,) = within(limit, facts.clock, lambda: [blind(facts, settings)])
    return subject


def _all(
    subject: Subject, config_path: Path, checks: Sequence[Check], limit: float
) -> Iterator[Finding]:
    """All checks, begun at once, so that several that hang take no longer than one."""
    clock = subject.facts.clock
    begun = [("unit", within(limit, clock, lambda: check_unit(subject, config_path)))]
    for check in checks:
        name = check.__name__.removeprefix("check_")
        begun.append((name, within(limit, clock, partial(check, subject))))
    for name, findings in begun:
        try:
            yield from findings
        except NoAnswer as silence:
            yield fail(name, str(silence), _HANGS)
