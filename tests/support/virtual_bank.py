"""A whole bank on a time that stands still, told what to do as by the control socket."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from simulator.bank import Bank
from simulator.clock import VirtualClock
from simulator.control.controller import Controller
from simulator.ledger import Fact
from simulator.story import scenario
from simulator.story.scenario import Scenario

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class VirtualBank:
    """`do` carries one verb out; `wait` lets time pass."""

    bank: Bank
    controller: Controller
    clock: VirtualClock
    stopped: list[bool]

    def do(self, verb: str, **args: object) -> dict[str, object]:
        return self.controller.act(verb, {name.rstrip("_"): one for name, one in args.items()})

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def ledger(self, **wanted: Fact) -> list[dict[str, Fact]]:
        return self.bank.ledger.read(**wanted)

    def times(self, **wanted: Fact) -> list[float]:
        """When such lines were written, in seconds from the start."""
        moments = (datetime.fromisoformat(str(line["time"])) for line in self.ledger(**wanted))
        return [(moment - START).total_seconds() for moment in moments]


@contextmanager
def virtual_bank(folder: Path, **values: object) -> Iterator[VirtualBank]:
    """A bank of a scenario with these keys; generic modems with open cards unless told."""
    plain = {"modems": 3, "persona": "generic", "pin": "1234", "pin_lock": "off"}
    chosen = scenario.override(Scenario(), {**plain, **values})
    clock = VirtualClock(START)
    stopped: list[bool] = []
    bank = Bank(chosen, folder, clock=clock)
    bank.open()
    try:
        controller = Controller(bank, on_stop=lambda: stopped.append(True))
        controller.begin()
        yield VirtualBank(bank, controller, clock, stopped)
        controller.end()
    finally:
        bank.close()
