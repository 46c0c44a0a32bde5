"""What the checks are about: one machine, one set of settings, one user that runs the daemon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from modemctl.config import Settings
from modemctl.doctor.facts import Facts
from modemctl.doctor.people import Runner, find_runner
from modemctl.doctor.processes import Daemon, find_daemon
from modemctl.doctor.unit import Unit, read_unit

_USB: Final = ("/dev/ttyUSB*", "/dev/ttyACM*")
_GLOB_SIGNS: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Everything that several checks ask for, read once."""

    facts: Facts
    settings: Settings
    unit: Unit | None
    daemon: Daemon | None
    runner: Runner
    ports: Sequence[str]
    """Addresses that the settings name now; of a glob what is there."""

    @classmethod
    def of(cls, facts: Facts, settings: Settings, *, finds_daemon: bool = True) -> Subject:
        """Look once at unit, daemon and ports; not into the state folder if not `finds_daemon`."""
        unit = read_unit(facts)
        daemon = find_daemon(facts, settings.paths.state_dir) if finds_daemon else None
        return cls(
            facts=facts,
            settings=settings,
            unit=unit,
            daemon=daemon,
            runner=find_runner(
                facts, unit, daemon, settings.paths.state_dir if finds_daemon else None
            ),
            ports=[one for pattern in settings.bank.ports for one in _expand(facts, pattern)],
        )


def _expand(facts: Facts, pattern: str) -> Sequence[str]:
    if pattern == "usb":
        found = (one for glob in _USB for one in _expand(facts, glob))
        return [node for node in found if not _is_anothers(facts, node)]
    prefix = "unix:" if pattern.startswith("unix:") else ""
    path = pattern.removeprefix(prefix)
    if not path.startswith("/") or not _GLOB_SIGNS & set(path):
        return [pattern]
    paths = sorted(facts.root.glob(path.lstrip("/")))
    return [f"{prefix}/{one.relative_to(facts.root)}" for one in paths]


def _is_anothers(facts: Facts, node: str) -> bool:
    """Whether a rule of the site says that a port is none of ours (docs/install.md)."""
    notes = facts.udev(f"/sys/class/tty/{node.rpartition('/')[2]}/dev")
    return notes.get("MODEMCTL_IGNORE", "0") != "0"
