"""Whether backups are set up (SEC-07), and where they go to is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from modemctl.doctor.findings import Finding, ok, warn
from modemctl.doctor.subject import Subject

_HOW: Final = "docs/backup.md: age public keys and a folder on another disk, below [backup]"


def check_backups(subject: Subject) -> Iterator[Finding]:
    """A daily backup has a folder, and keys that it is encrypted to."""
    settings = subject.settings.backup
    if not settings.folder:
        seen = "none is made: backup.folder is empty; a lost disk loses everything (SEC-07)"
        yield warn("backup", seen, _HOW)
    elif not subject.facts.path(settings.folder).is_dir():
        seen = f"{settings.folder} is no folder now"
        yield warn("backup", seen, "mount its disk, or make it for the daemon's user")
    else:
        keys = f"{len(settings.recipients)} keys"
        yield ok("backup", f"each day at {settings.at:%H:%M} to {settings.folder}, for {keys}")
