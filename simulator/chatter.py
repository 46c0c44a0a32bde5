"""What a modem's ports say while somebody has them open: status lines, satellites, a flood."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from simulator.clock import Timer
from simulator.faults import FaultKind, Faults
from simulator.persona import Persona, PortRole
from simulator.speech import Lines
from simulator.wire.line import Line
from simulator.world import Port, World


class Talker(Protocol):
    """What is asked of a modem that chatters."""

    persona: Persona
    world: World
    faults: Faults
    settings: dict[str, str]
    urc_role: PortRole
    is_on: bool
    is_hung: bool
    ports: dict[PortRole, Port]
    lines: dict[PortRole, Line]

    def urc(self, *lines: str) -> None:
        """Send unsolicited lines."""
        ...


class Chatter:
    """One modem's noise, each port's on a timer of its own that runs only while it has a use.

    `noise` gives the lines that have switches of their own.
    """

    def __init__(self, modem: Talker, *, noise: Callable[[], Lines]) -> None:
        self._modem = modem
        self._noise = noise
        self._timers: dict[PortRole, Timer] = {}
        self._flood_timer: Timer | None = None
        self._listened: set[PortRole] = set()

    @property
    def is_noisy(self) -> bool:
        """True while the model's main switch lets its status lines out."""
        return self._modem.settings[self._modem.persona.noise_switch] != "0"

    def came(self, role: PortRole) -> None:
        """Somebody opened a port."""
        self._listened.add(role)
        if self._modem.is_on:
            self._talk(role)

    def went(self, role: PortRole) -> None:
        """Nobody has the port open any more."""
        self._listened.discard(role)
        self.hush(role)

    def start(self) -> None:
        """Begin on every port that is listened to."""
        for role in self._listened:
            self._talk(role)

    def hush(self, role: PortRole) -> None:
        """End it on one port."""
        timer = self._timers.pop(role, None)
        if timer is not None:
            timer.cancel()

    def stop(self) -> None:
        """End it everywhere."""
        for role in list(self._timers):
            self.hush(role)

    def flood(self) -> None:
        """Send status lines without end while the fault is set."""
        fault = self._modem.faults.get(FaultKind.URC_FLOOD)
        if fault is not None and self._flood_timer is None:
            clock = self._modem.world.clock
            self._flood_timer = clock.call_later(fault.seconds, self._flood_once)

    def _flood_once(self) -> None:
        self._flood_timer = None
        if self._modem.faults.take(FaultKind.URC_FLOOD):
            self._modem.urc("^RSSI:18", "^BOOT:27710117,0,0,0,75")
        self.flood()

    def _lines_of(self, role: PortRole) -> tuple[tuple[str, ...], float]:
        persona = self._modem.persona
        if role is self._modem.urc_role:
            plain = persona.noise if self.is_noisy else ()
            return (*plain, *self._noise()), persona.noise_seconds
        port = persona.port(role)
        return (port.chatter, port.chatter_seconds) if port is not None else ((), 0.0)

    def _talk(self, role: PortRole) -> None:
        lines, seconds = self._lines_of(role)
        if lines and role not in self._timers:
            clock = self._modem.world.clock
            self._timers[role] = clock.call_later(seconds, lambda: self._say(role))

    def _say(self, role: PortRole) -> None:
        del self._timers[role]
        modem = self._modem
        lines, _ = self._lines_of(role)
        line, port = modem.lines.get(role), modem.ports.get(role)
        if line is not None:
            if lines and not modem.is_hung and not modem.faults.has(FaultKind.SILENCE):
                line.urc(*lines)
        elif port is not None:
            port.write("".join(f"{text}\r\n" for text in lines).encode("ascii"))
        self._talk(role)
