"""What the suite changes at the modem, and how it puts it back.

A value is read the first time a check is about to change it, so that a card that was unlocked in
the meantime is no trouble. What cannot be read, or reads as nothing that may be typed, cannot be
put back: `keep` is empty then, and a check leaves it alone. What was changed all the same is told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from simulator.conformance.client import Client, LineLost
from simulator.conformance.guard import is_settable


def _first(value: str) -> str:
    return value.partition(",")[0].strip()


def _names(value: str) -> str:
    return ",".join(f'"{name}"' for name in re.findall(r'"([A-Z]+)"', value))


def _form(value: str) -> str:
    fields = value.split(",")
    return f"3,{fields[1].strip()}" if len(fields) > 1 else ""


def _whole(value: str) -> str:
    return value.replace(" ", "")


def _mode(value: str) -> str:
    # Some modems tell the state without the mode before it.
    match = re.match(r"\s*(\d)\s*,\s*\d{1,2}\s*(?:,|$)", value)
    return match.group(1) if match else ""


# What of the answer to `?` goes behind `=`.
_KEPT: Final[Mapping[str, Callable[[str], str]]] = {
    "+CSCS": _whole,
    "+CMGF": _first,
    "+CPMS": _names,
    "+CSMS": _first,
    "+CNMI": _whole,
    "+CREG": _mode,
    "+COPS": _form,
    "^CURC": _first,
    "+CMEE": _first,
}


class Settings:
    """Remembers and restores."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._values: dict[str, str] = {}
        self._n_forgotten = 0
        self._is_echoing: bool | None = None
        self._was_numeric = False
        self._was_quiet = False

    def begin(self, *, is_echoing: bool, is_numeric: bool, was_quiet: bool) -> None:
        """Remember how the line itself was found."""
        self._is_echoing = is_echoing
        self._was_quiet = was_quiet
        self._was_numeric = is_numeric

    def keep(self, name: str) -> str:
        """Remember a value before it is changed; empty where it cannot be: then leave it alone."""
        if not self._values.get(name) and not self._was_set(name):
            self._values[name] = self._read(name)
        return self._values.get(name, "")

    def put_back(self, name: str) -> bool:
        """Set a value to what it was; whether it is so again."""
        value = self._values.get(name, "")
        if not value:
            return False
        # Set without a look first: some modems read back what they were not told.
        self._client.ask(f"AT{name}={value}")
        return self._read(name) == value

    def restore(self) -> list[str]:
        """Put everything back; what could not be, in words.

        Raises:
            LineLost: the modem answers nothing any more.
            PortGone: the port vanished.
        """
        failed = self._restore_values()
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
        names = [name for name in _KEPT if self._was_set(name)]
        return [f"{name} (it was {self._values.get(name) or 'not known'})" for name in names]

    def forget(self) -> None:
        """The modem restarted: what was changed is gone with all other settings."""
        self._values.clear()
        self._is_echoing = None
        self._n_forgotten = len(self._client.guard.typed)

    def _was_set(self, name: str) -> bool:
        # Also further on in a line of several commands.
        setting = re.compile(re.escape(name.encode()) + rb"=(?!\?)", re.IGNORECASE)
        typed = self._client.guard.typed[self._n_forgotten :]
        return any(setting.search(data) for data in typed)

    def _restore_values(self) -> list[str]:
        failed: list[str] = []
        is_lost = False
        for name in _KEPT:
            value = self._values.get(name)
            try:
                if value and not self.put_back(name):
                    failed.append(f"{name} (it was {value})")
                elif not value and self._was_set(name):
                    failed.append(f"{name} (its value could not be read before)")
            except LineLost:
                # One answer that never came must not keep the others changed; two are a dead modem.
                if is_lost:
                    raise
                is_lost = True
                failed.append(f"{name} (it was {value})")
        return failed

    def _read(self, name: str) -> str:
        told = self._client.ask(f"AT{name}?").value(name)
        value = _KEPT[name](told) if told is not None else ""
        # Noise within the line, a lost quote: no value to go back to.
        return value if is_settable(name, value) else ""
