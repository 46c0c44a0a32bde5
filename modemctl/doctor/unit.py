"""The systemd unit as its files say it; nobody is asked, so it works in a container too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from modemctl.doctor.facts import Facts

UNIT_NAME: Final = "modemctl.service"
_FOLDERS: Final = (
    "/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system", "/lib/systemd/system",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Settings of the unit, drop-ins included. `path` is the main file."""

    path: str
    settings: Mapping[str, Sequence[str]]

    def value(self, name: str) -> str | None:
        """The last value of a setting."""
        found = self.settings.get(name, ())
        return found[-1] if found else None

    def values(self, name: str) -> Sequence[str]:
        """All values of a setting that is a list."""
        return [word for line in self.settings.get(name, ()) for word in line.split()]

    def credential(self, name: str) -> str | None:
        """The file that systemd hands to the daemon under this name."""
        for line in (
            *self.settings.get("LoadCredential", ()),
            *self.settings.get("LoadCredentialEncrypted", ()),
        ):
            found, _, path = line.partition(":")
            if found == name:
                return path
        return None


def read_unit(facts: Facts) -> Unit | None:
    """The installed unit; None if there is none."""
    path = next(
        (f"{one}/{UNIT_NAME}" for one in _FOLDERS if facts.text(f"{one}/{UNIT_NAME}")), None
    )
    if path is None:
        return None
    settings: dict[str, list[str]] = {}
    drop_ins = {
        name: f"{folder}/{UNIT_NAME}.d/{name}"
        for folder in reversed(_FOLDERS)  # of two with one name the first folder's counts
        for name in facts.names(f"{folder}/{UNIT_NAME}.d")
        if name.endswith(".conf")
    }
    for file in (path, *(drop_ins[name] for name in sorted(drop_ins))):
        for line in _whole_lines(facts.lines(file)):
            name, sign, value = line.partition("=")
            if not sign or name.strip().startswith(("#", ";")):
                continue
            if value.strip():
                settings.setdefault(name.strip(), []).append(value.strip())
            else:
                settings.pop(name.strip(), None)  # an empty value takes all earlier ones back
    return Unit(path=path, settings=settings)


def _whole_lines(lines: Sequence[str]) -> Sequence[str]:
    """Lines with their continuations."""
    return "\n".join(lines).replace("\\\n", " ").splitlines()
