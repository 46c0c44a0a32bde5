"""ModemManager, unmodified, on a message bus of its own; driven by mmcli as a user drives it."""

import json
import os
import subprocess
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Self, TypeAlias

from tests.support.programs import run, run_bus
from tests.support.simulated import wait_until
from tests.support.tools import require_tool

Facts: TypeAlias = dict[str, "Facts | list[str] | str"]

_SHOWN = 60  # lines of its log
_pause = threading.Event()
_NAME = "org.freedesktop.ModemManager1"
_READY = frozenset({"disabled", "enabling", "enabled", "searching", "registered", "connected"})


class Refused(Exception):
    """mmcli says no; the message is its own."""


class ModemManager:
    """The daemon while the context is open. A modem is named as `add` named it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._programs = ExitStack()

    def __enter__(self) -> Self:
        self._mmcli, self._send = require_tool("mmcli"), require_tool("dbus-send")
        daemon = require_tool("ModemManager")
        self._folder.mkdir(parents=True)
        with ExitStack() as starting:
            self._address = run_bus(starting, self._folder)
            self._environment = os.environ | {
                "DBUS_SESSION_BUS_ADDRESS": self._address,
                "LC_ALL": "C.UTF-8",
            }
            flags = ("--test-session", "--test-enable", "--test-no-udev", "--no-auto-scan")
            log = self._folder / "log"
            run(starting, daemon, *flags, "--debug", log=log, environment=self._environment)
            self.wait(self._is_there, what="ModemManager on the bus")
            self._programs = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._programs.close()

    def wait(self, holds: Callable[[], bool], *, what: str, seconds: float = 60) -> None:
        """Wait until something holds that mmcli is asked: without so many processes at once."""

        def look() -> bool:
            return holds() or _pause.wait(0.25)

        try:
            wait_until(look, what=what, seconds=seconds)
        except AssertionError as error:
            said = (self._folder / "log").read_text(errors="replace").splitlines()[-_SHOWN:]
            raise AssertionError("\n".join([str(error), *said])) from None

    def _is_there(self) -> bool:
        try:
            self.command("-L")
        except Refused:
            return False
        return True

    def command(self, *arguments: str, seconds: float = 60) -> str:
        """What mmcli says.

        Raises:
            Refused: it fails.
        """
        done = subprocess.run(
            [self._mmcli, "--test-session", f"--timeout={seconds:.0f}", *arguments],
            env=self._environment,
            capture_output=True,
            encoding="utf-8",
            timeout=seconds + 10,
            check=False,
        )
        if done.returncode:
            raise Refused(done.stderr.strip())
        return done.stdout

    def facts(self, *arguments: str) -> Facts:
        """The object that mmcli shows."""
        shown = json.loads(self.command(*arguments, "-J"))
        (facts,) = shown.values()
        assert isinstance(facts, dict)
        return facts

    def add(self, name: str, *, plugin: str, port: str) -> None:
        """Give the daemon a modem behind one virtual port (`abstract:…`)."""
        command = [self._send, f"--bus={self._address}", "--print-reply", f"--dest={_NAME}"]
        profile = [f"string:{name}", f"string:{plugin}", f"array:string:{port}"]
        subprocess.run(
            [*command, f"/{_NAME.replace('.', '/')}", f"{_NAME}.Test.SetProfile", *profile],
            capture_output=True,
            timeout=30,
            check=True,
        )

    def modem(self, name: str) -> tuple[str, Facts]:
        """The modem's path now (it changes when the daemon finds the card changed) and its facts.

        Raises:
            Refused: there is none just now.
        """
        paths = json.loads(self.command("-L", "-J"))["modem-list"]
        for path in paths:
            try:
                facts = self.facts("-m", path)
            except Refused:
                continue  # it went meanwhile
            if value(facts, "generic", "device") == f"/virtual/{name}":
                return path, facts
        raise Refused(f"no modem {name}")

    def state(self, name: str) -> str:
        """The modem's state; `absent` where it is not there."""
        try:
            _, facts = self.modem(name)
        except Refused:
            return "absent"
        return value(facts, "generic", "state")

    def bring_up(self, name: str, *, pin: str, seconds: float = 90) -> None:
        """Unlock the card, enable the modem, wait until it is registered."""
        self.wait(lambda: self.state(name) == "locked", what=f"{name} locked", seconds=seconds)
        _, facts = self.modem(name)
        sim = value(facts, "generic", "sim")
        assert value(facts, "generic", "unlock-required") == "sim-pin"
        self.command("-i", sim, f"--pin={pin}")
        self.wait(lambda: self.state(name) in _READY, what=f"{name} open", seconds=seconds)
        self.wait(lambda: self._is_up(name), what=f"{name} registered", seconds=seconds)

    def _is_up(self, name: str) -> bool:
        state = self.state(name)
        if state == "disabled":
            try:
                self.command("-m", self.modem(name)[0], "--enable")
            except Refused:
                return False  # told of a change of card, it looks at the modem anew
        return state == "registered"

    def send(self, name: str, *, number: str, text: str) -> None:
        """Send an SMS with a report asked for.

        Raises:
            Refused: the daemon does not.
        """
        path, _ = self.modem(name)
        fields = f'text="{text}",number="{number}",delivery-report-request="yes"'
        said = self.command("-m", path, f"--messaging-create-sms={fields}")
        self.command("-s", said.rpartition(" ")[2].strip(), "--send")

    def messages(self, name: str, kind: str) -> list[Facts]:
        """The messages of a kind: deliver, submit, status-report."""
        path, _ = self.modem(name)
        paths = json.loads(self.command("-m", path, "--messaging-list-sms", "-J"))
        found = [self.facts("-s", message) for message in paths["modem.messaging.sms"]]
        return [message for message in found if value(message, "properties", "pdu-type") == kind]


def value(facts: Facts, *keys: str) -> str:
    """A text of what mmcli shows."""
    found: Facts | list[str] | str = facts
    for key in keys:
        assert isinstance(found, dict)
        found = found[key]
    assert isinstance(found, str)
    return found
