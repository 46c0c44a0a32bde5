"""A bank for clients until somebody stops it, or without clients and in no time."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from simulator.bank import Bank
from simulator.clock import VirtualClock
from simulator.control import server as control
from simulator.control.controller import Controller
from simulator.reading import ScenarioError
from simulator.story.bays import bays, port_name
from simulator.story.scenario import VIRTUAL_START, Scenario, Transport

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_PATH_LIMIT: Final = 107  # octets of a Unix socket's path; see unix(7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What a virtual run did: events of the clock, lines of the ledger, seconds of its time.

    `refusals`: which entries of the timeline could not be done; empty = none.
    """

    events: int
    lines: int
    seconds: float
    refusals: str = ""


async def serve(
    scenario: Scenario, folder: Path, *, ready: Callable[[], None], is_fresh: bool = False
) -> str:
    """Serve a bank from a folder until SIGTERM, SIGINT or the verb `stop`; its `refusals`.

    `ready` is told when clients may come.

    Cards go on where an earlier run in the folder left them, unless the run `is_fresh`.

    Raises:
        ScenarioError: the folder's path is too long for sockets, or ports for the system.
    """
    _require_short(scenario, folder)
    for name in ("ready", "control.sock"):  # what an earlier run left behind when it was killed
        (folder / name).unlink(missing_ok=True)
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()

    def stop(*_: object) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(stopped.set)

    # Not the loop's own handlers: they end before the process does, a second signal would kill it.
    for number in _SIGNALS:
        signal.signal(number, stop)
    async with Bank(scenario, folder, is_fresh=is_fresh) as bank:
        controller = Controller(bank, on_stop=stopped.set)
        server = await control.serve(controller, folder / "control.sock", book=bank.ledger)
        async with server:
            controller.begin()
            (folder / "ready").touch()
            ready()
            await stopped.wait()
            for number in _SIGNALS:  # to its end, and the interpreter's own, nothing breaks in
                signal.signal(number, signal.SIG_IGN)
            controller.end()
            for name in ("ready", "control.sock"):
                (folder / name).unlink(missing_ok=True)
            return controller.refusals


def play(scenario: Scenario, folder: Path, *, until: float, events: int | None = None) -> Played:
    """Run a scenario on a time that jumps from event to event: no clients, no ports.

    Ends after `until` seconds of its time, or as soon as the ledger has `events` lines, or with
    the verb `stop`. The same scenario gives the same ledger, octet by octet.

    Raises:
        ScenarioError: the folder already holds a ledger.
    """
    book = folder / "ledger.jsonl"
    if book.exists() and book.stat().st_size:
        raise ScenarioError(f"{book}: an earlier run's ledger; take another folder or remove it")
    start = scenario.start or VIRTUAL_START
    clock = VirtualClock(start)
    folder.mkdir(parents=True, exist_ok=True)
    bank = Bank(replace(scenario, start=start), folder, clock=clock)
    stopped: list[bool] = []
    bank.open()
    try:
        controller = Controller(bank, on_stop=lambda: stopped.append(True))
        controller.begin()
        end = start + timedelta(seconds=until)
        count = 0
        while not stopped and (events is None or bank.ledger.count < events):
            if not clock.step(end):
                clock.advance((end - clock.now()).total_seconds())
                break
            count += 1
        controller.end()
    finally:
        bank.close()
    return Played(
        events=count,
        lines=bank.ledger.count,
        seconds=(clock.now() - start).total_seconds(),
        refusals=controller.refusals,
    )


def _require_short(scenario: Scenario, folder: Path) -> None:
    names = ["control.sock"]
    if scenario.transport is Transport.UNIX:
        names += [
            f"ports/{port_name(bay.name, port)}"
            for bay in bays(scenario)
            for port in scenario.served(bay.persona)
        ]
    longest = max(len(str(folder / name).encode()) for name in names)
    if longest > _PATH_LIMIT:
        surplus = longest - _PATH_LIMIT
        raise ScenarioError(f"{folder}: {surplus} octets too long for a socket; take a shorter one")
