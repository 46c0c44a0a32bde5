"""ofonod, unmodified, with its phonesim driver, which speaks plain AT over TCP to any address."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.support.programs import run, run_bus
from tests.support.simulated import wait_until
from tests.support.tools import require_tool


class Refused(Exception):
    """The daemon refuses a call; the message is its own."""


class Ofono:
    """The daemon while the context is open. `ports`: modems' names and `host:port`."""

    def __init__(self, ports: Mapping[str, str]) -> None:
        self._ports = ports
        self._programs = ExitStack()

    def __enter__(self) -> Self:
        self._send, monitor = require_tool("dbus-send"), require_tool("dbus-monitor")
        daemon = require_tool("ofonod")
        with ExitStack() as starting:
            # As nobody: what it keeps of each card would else stay in /var/lib/ofono.
            folder = Path(tempfile.mkdtemp(prefix="ofono-"))
            starting.callback(shutil.rmtree, folder)
            folder.chmod(0o755)
            settings = folder / "phonesim.conf"
            modems = (f"[{name}]\nAddress={{}}\nPort={{}}\n" for name in self._ports)
            places = (port.split(":") for port in self._ports.values())
            settings.write_text("".join(m.format(*p) for m, p in zip(modems, places, strict=True)))
            self._address = run_bus(starting, folder)
            (folder / "bus").chmod(0o777)
            environment = {
                "PATH": os.environ["PATH"],
                "LC_ALL": "C.UTF-8",
                "DBUS_SYSTEM_BUS_ADDRESS": self._address,
                "OFONO_PHONESIM_CONFIG": str(settings),
            }
            self._signals = folder / "signals"
            chosen = "type='signal',interface='org.ofono.MessageManager',member='IncomingMessage'"
            watch = (monitor, "--address", self._address, chosen)
            run(starting, *watch, log=self._signals, environment=environment)
            wait_until(lambda: b"NameLost" in self._signals.read_bytes(), what="signals seen")
            user = "nobody" if os.geteuid() == 0 else None
            log = folder / "log"
            run(starting, daemon, "--nodetach", log=log, environment=environment, user=user)
            wait_until(self._is_there, what="ofono on the bus")
            self._programs = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._programs.close()

    def _is_there(self) -> bool:
        try:
            return all(f"/{name} " in self.call("", "Manager.GetModems") for name in self._ports)
        except Refused:
            return False

    def call(self, modem: str, method: str, *arguments: str) -> str:
        """Call a method of org.ofono on a modem; the answer in words.

        Raises:
            Refused: the daemon does not.
        """
        command = [self._send, f"--bus={self._address}", "--print-reply=literal"]
        command += ["--dest=org.ofono", f"/{modem}", f"org.ofono.{method}", *arguments]
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", timeout=60, check=False
        )
        if done.returncode:
            raise Refused(done.stderr.strip())
        return " ".join(done.stdout.split())

    def holds(self, modem: str, what: str, wanted: str) -> bool:
        """Whether the properties of an interface (without org.ofono) have this in them."""
        try:
            return wanted in self.call(modem, f"{what}.GetProperties")
        except Refused:  # not there yet
            return False

    def bring_up(self, modem: str, *, pin: str) -> None:
        """Unlock, register, be ready to send.

        A restart in between: this driver knows no line that tells of the end of unlocking.
        """
        self._set(modem, "Modem", "Powered", "boolean:true")
        wait_until(lambda: self.holds(modem, "SimManager", "PinRequired variant pin"), what="PIN")
        self.call(modem, "SimManager.EnterPin", "string:pin", f"string:{pin}")
        self._set(modem, "Modem", "Powered", "boolean:false")
        self._set(modem, "Modem", "Powered", "boolean:true")
        wait_until(lambda: self.holds(modem, "SimManager", "PinRequired variant none"), what="open")
        self._set(modem, "Modem", "Online", "boolean:true")
        wait_until(
            lambda: self.holds(modem, "NetworkRegistration", "Status variant registered"),
            what=f"{modem} registered",
        )
        wait_until(lambda: self.holds(modem, "MessageManager", "Bearer"), what="messages")
        self._set(modem, "MessageManager", "UseDeliveryReports", "boolean:true")

    def _set(self, modem: str, what: str, name: str, value: str) -> None:
        self.call(modem, f"{what}.SetProperty", f"string:{name}", f"variant:{value}")

    def received(self, modem: str) -> list[tuple[str, str]]:
        """Sender and text of the messages that it told of."""
        told = self._signals.read_text("utf-8", "replace").split("signal time=")[1:]
        found: list[tuple[str, str]] = []
        for signal in told:
            if f"path=/{modem};" in signal and signal.rstrip().endswith("]"):
                texts = [part for at, part in enumerate(signal.split('"')) if at % 2]
                found.append((texts[texts.index("Sender") + 1], texts[0]))
        return found
