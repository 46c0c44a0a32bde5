"""What the suite changes at the modem, and how it puts it back.

A value is read the first time a check is about to change it, so that a card that was unlocked in
the meantime is no trouble; what cannot be read cannot be put back, and is told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from simulator.conformance.client import Client


def _first(value: str) -> str:
    return value.partition(",")[0].strip()


def _names(value: str) -> str:
    return ",".join(f'"{name}"' for name in re.findall(r'"([A-Z]+)"', value))


def _form(value: str) -> str:
    fields = value.split(",")
    return f"3,{fields[1].strip()}" if len(fields) > 1 else ""


def _whole(value: str) -> str:
    return value.replace(" ", "")


# What of the answer to `?` goes behind `=`.
_KEPT: Final[Mapping[str, Callable[[str], str]]] = {
    "+CSCS": _whole,
    "+CMGF": _first,
    "+CPMS": _names,
    "+CSMS": _first,
    "+CNMI": _whole,
    "+CREG": _first,
    "+COPS": _form,
    "^CURC": _first,
    "+CMEE": _first,
}


class Settings:
    """Remembers and restores."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._values: dict[str, str] = {}
        self._is_echoing: bool | None = None
        self._was_numeric = False
        self._was_quiet = False

    def begin(self, *, is_echoing: bool, is_numeric: bool, was_quiet: bool) -> None:
        """Remember how the line itself was found."""
        self._is_echoing = is_echoing
        self._was_quiet = was_quiet
        self._was_numeric = is_numeric

    def keep(self, name: str) -> str:
        """Remember a value before it is changed; empty where it cannot be read."""
        if name not in self._values:
            self._values[name] = self._read(name)
        return self._values[name]

    def put_back(self, name: str) -> bool:
        """Set a value to what it was; whether it is so again."""
        value = self._values.get(name, "")
        if not value:
            return False
        # Set without a look first: some modems read back what they were not told.
        self._client.ask(f"AT{name}={value}")
        return self._read(name) == value

    def restore(self) -> list[str]:
        """Put everything back; what could not be, in words."""
        failed: list[str] = []
        for name in [name for name in _KEPT if name in self._values]:
            if not self._values[name] and not self._was_set(name):
                continue
            if not self._values[name]:
                failed.append(f"{name} (its value could not be read before)")
            elif not self.put_back(name):
                failed.append(f"{name} (it was {self._values[name]})")
        if self._is_echoing is not None:
            self._client.ask(f"ATE{int(self._is_echoing)}")
            if self._client.ask("AT").is_echoed is not self._is_echoing:
                failed.append(f"echo (it was {'on' if self._is_echoing else 'off'})")
        if self._was_quiet:
            # Left by accident: the next client would take the modem for dead.
            failed.append("results (they were switched off by ATQ1, and are on now)")
        if self._was_numeric:
            self._client.is_numeric = True
            self._client.ask("ATV0")
        return failed

    @property
    def changed(self) -> list[str]:
        """What may have been changed and is not put back yet."""
        values = {name: value for name, value in self._values.items() if self._was_set(name)}
        return [f"{name} (it was {value or 'not known'})" for name, value in values.items()]

    def forget(self) -> None:
        """The modem restarted: what was changed is gone with all other settings."""
        self._values.clear()
        self._is_echoing = None

    def _was_set(self, name: str) -> bool:
        head = f"AT{name}=".encode()
        typed = self._client.guard.typed
        return any(data.startswith(head) and b"=?" not in data for data in typed)

    def _read(self, name: str) -> str:
        value = self._client.ask(f"AT{name}?").value(name)
        return _KEPT[name](value) if value is not None else ""
