"""`modemctl doctor`: looks at everything that the daemon stands on, and changes nothing.

Each check is a generator of findings over a `Subject`. A check opens no port, makes no file, asks
no other program and tells no secret; so it may run at any time, beside the daemon or without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from modemctl.config import load
from modemctl.doctor.database import check_database
from modemctl.doctor.exposure import check_exposure, check_unit
from modemctl.doctor.facts import Facts
from modemctl.doctor.findings import Finding, exit_status, fail, ok, warn
from modemctl.doctor.machine import check_clock, check_disk, check_files, check_program
from modemctl.doctor.ports import check_ports, check_rivals
from modemctl.doctor.rights import check_folders, check_keys, check_user
from modemctl.doctor.subject import Subject
from modemctl.doctor.usb import check_recovery, check_usb
from modemctl.errors import ConfigError
from modemctl.fleet.families import site_families

__all__ = ["CHECKS", "Facts", "Finding", "examine", "exit_status"]

CHECKS: Final[tuple[Callable[[Subject], Iterator[Finding]], ...]] = (
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
    check_clock,
    check_exposure,
)
"""All that need good settings, in the order in which they are told."""


def examine(facts: Facts, config_path: Path) -> Iterator[Finding]:
    """Everything that can be seen, one finding after the other."""
    yield from check_program()
    try:
        settings = load(config_path)
        own = site_families(facts.path(settings.bank.families))
    except ConfigError as error:
        for problem in error.problems:
            yield fail("settings", problem, "correct it, then: modemctl check-config")
        yield warn("the rest", "not looked at without good settings", "modemctl doctor again")
        return
    subject = Subject.of(facts, settings)
    families = f", {len(own)} families of this site" if own else ""
    yield ok("settings", f"{config_path}: well-formed{families}")
    yield from check_unit(subject, config_path)
    for check in CHECKS:
        yield from check(subject)
