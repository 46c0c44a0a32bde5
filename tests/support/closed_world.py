"""Several simulated modems, each with its own client, in one network; time stands still."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from simulator import pdu, persona
from simulator.cards.card import Card
from simulator.clock import VirtualClock
from simulator.commands import speech
from simulator.dice import Dice
from simulator.ledger import Fact, Ledger
from simulator.modem import Modem
from simulator.network.carriers import CMCC, Carrier
from simulator.network.network import Network, Times
from simulator.persona import PortRole
from simulator.story import scenario
from simulator.story.scenario import Scenario
from simulator.world import World
from tests.support.one_modem import Terminal

DAY = b"\xa7"
FIVE_MINUTES = b"\x00"
OUTSIDE = "+8613900000001"
_ROUTINGS = ("2,1,0,1,0", "2,1,0,2,0", "1,1,0,1,0", "1,1,0,2,0")


def submit_tpdu(
    to: str,
    text: str = "hello",
    *,
    wants_report: bool = True,
    validity: bytes = DAY,
    vpf: int = 2,
    data: pdu.UserData | None = None,
) -> bytes:
    """A SUBMIT; `vpf` 0 none, 1 enhanced, 2 relative, 3 absolute."""
    submit = pdu.Submit(
        first_octet=0x01 | vpf << 3 | 0x20 * wants_report | 0x40 * (data is not None),
        mr=0,
        destination=pdu.address(to),
        pid=0,
        validity=validity if vpf else b"",
        data=data or pdu.segments(text, reference=1)[0],
    )
    return pdu.encode_submit(submit)


class Seat:
    """One modem with its card and its client."""

    def __init__(self, modem: Modem, card: Card, clock: VirtualClock) -> None:
        self.modem = modem
        self.card = card
        self.clock = clock
        self.terminal = Terminal()
        modem.ports[PortRole.AT] = self.terminal

    @property
    def number(self) -> str:
        return self.card.subscription.number

    def heard(self) -> list[str]:
        """The lines that came since the last look."""
        return [line for line in self.terminal.take().split("\r\n") if line]

    def say(self, line: str) -> list[str]:
        """Type a command line; the lines that come at once."""
        self.modem.receive(line.encode() + b"\r")
        return self.heard()

    def send(self, tpdu: bytes) -> list[str]:
        """Submit; the lines that come at once."""
        self.modem.receive(f"AT+CMGS={len(tpdu)}\r".encode())
        self.modem.receive(b"00" + tpdu.hex().encode() + b"\x1a")
        return [line for line in self.heard() if not line.startswith("> ")]

    def send_to(self, number: str, text: str = "hello") -> list[str]:
        return self.send(submit_tpdu(number, text))


class ClosedWorld:
    """A network and its seats; everything is registered and has text modes set aside."""

    def __init__(
        self,
        folder: Path,
        *,
        personas: Sequence[str] = ("generic", "generic"),
        carriers: Sequence[Carrier] = (CMCC,),
        seed: int = 1,
        latency: float = 0.0,
        report_delay: float = 0.0,
    ) -> None:
        self.clock = VirtualClock(datetime(2026, 11, 22, 12, 0, tzinfo=UTC))
        self.ledger = Ledger(folder / "ledger.jsonl")
        self.network = Network(
            clock=self.clock,
            ledger=self.ledger,
            times=Times(latency=latency, report_delay=report_delay),
            dice=Dice(seed),
            carriers=carriers,
        )
        world = World(clock=self.clock, network=self.network, ledger=self.ledger)
        described = scenario.bays(Scenario(modems=len(personas), carriers=tuple(carriers)))
        self.seats = [
            self._seat(bay, name, world) for bay, name in zip(described, personas, strict=True)
        ]
        for seat in self.seats:
            seat.modem.switch_on()
        self.clock.advance(5)
        for seat in self.seats:
            for line in ("ATE0", "AT+CMEE=1", "AT+CMGF=0"):
                assert seat.say(line)[-1] == "OK"
            # Not every model takes every routing.
            assert any(seat.say(f"AT+CNMI={way}") == ["OK"] for way in _ROUTINGS)

    def _seat(self, bay: scenario.Bay, name: str, world: World) -> Seat:
        modem = Modem(
            name=bay.name,
            persona=persona.load(name),
            imei=bay.imei,
            world=world,
            speech=speech,
        )
        card = Card(bay.subscription, is_locked=False, slots=5)
        self.network.subscribe(card)
        modem.insert(card)
        return Seat(modem, card, self.clock)

    def __getitem__(self, index: int) -> Seat:
        return self.seats[index]

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def lines(self, kind: str) -> list[dict[str, Fact]]:
        return self.ledger.read(kind=kind)

    def sts(self) -> list[Fact]:
        """The TP-ST of the reports that arrived, in order."""
        return [line["st"] for line in self.lines("report")]
