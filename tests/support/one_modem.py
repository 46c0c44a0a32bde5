"""One simulated modem on a time that stands still: no loop, no terminal, no waiting."""

from datetime import UTC, datetime
from pathlib import Path

from simulator import persona
from simulator.cards.card import Card, Subscription
from simulator.clock import VirtualClock
from simulator.commands import speech
from simulator.ledger import Ledger
from simulator.modem import Modem
from simulator.network.network import Network, Times
from simulator.persona import PortRole
from simulator.story import scenario
from simulator.story.scenario import Scenario
from simulator.world import World

# E1 of at-dialects §5.5: "hello world", report wanted, valid for 24 h.
HELLO = "0031000C919471214365870000A70BE8329BFD06DDDF723619"
HELLO_LENGTH = 24


class Terminal:
    """Keeps what a modem sends."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def take(self) -> str:
        text = b"".join(self.writes).decode("latin-1")
        self.writes.clear()
        return text


class OneModem:
    """A modem with card, network and ledger; `say` types a command line and returns the answer."""

    def __init__(
        self,
        folder: Path,
        name: str = "generic",
        *,
        is_locked: bool = False,
        latency: float = 1.0,
        report_delay: float = 2.0,
        others: int = 0,
        echo: bool = False,
        card_slots: int = 5,
    ) -> None:
        self.clock = VirtualClock(datetime(2026, 11, 22, 12, 0, tzinfo=UTC))
        self.ledger = Ledger(folder / "ledger.jsonl")
        times = Times(latency=latency, report_delay=report_delay)
        self.network = Network(clock=self.clock, ledger=self.ledger, times=times)
        self.world = World(clock=self.clock, network=self.network, ledger=self.ledger)
        described = scenario.bays(Scenario(modems=1 + others, persona=name, pin="1234"))
        self.terminal = Terminal()
        self.modems: list[Modem] = []
        for bay in described:
            self.modems.append(self._modem(bay.name, bay.subscription, name, is_locked, card_slots))
        self.modem = self.modems[0]
        assert self.modem.card is not None
        self.card = self.modem.card
        self.modem.ports[PortRole.AT] = self.terminal
        for modem in self.modems:
            modem.switch_on()
        if not is_locked:
            self.clock.advance(5)
        if not echo:
            self.say("ATE0")
        self.say("AT+CMEE=1")

    def _modem(
        self, label: str, subscription: Subscription, name: str, is_locked: bool, slots: int
    ) -> Modem:
        imei = "356000010000007"
        modem = Modem(
            name=label,
            persona=persona.load(name),
            imei=imei,
            world=self.world,
            speech=speech,
        )
        card = Card(subscription, is_locked=is_locked, slots=slots)
        self.network.subscribe(card)
        modem.insert(card)
        return modem

    def type(self, octets: bytes) -> str:
        """Send octets as they are; what comes back at once."""
        self.modem.receive(octets)
        return self.terminal.take()

    def say(self, line: str) -> str:
        """Type a command line; the answer without its outer line ends."""
        return self.type(line.encode() + b"\r").strip("\r\n")

    def lines(self, line: str) -> list[str]:
        """Type a command line; the answer's lines."""
        return [part for part in self.say(line).split("\r\n") if part]

    def wait(self, seconds: float) -> str:
        """Let time pass; what comes meanwhile."""
        self.clock.advance(seconds)
        return self.terminal.take()

    def submit(self, pdu: str = HELLO, length: int = HELLO_LENGTH) -> str:
        """Send a PDU and let the latency pass; everything from the prompt on."""
        prompt = self.type(f"AT+CMGS={length}\r".encode())
        return prompt + self.type(pdu.encode() + b"\x1a") + self.wait(1.5)

    def prepare(self, cnmi: str = "2,1,0,2,0") -> None:
        """PDU mode and routing."""
        assert self.say("AT+CMGF=0") == "OK"
        assert self.say(f"AT+CNMI={cnmi}") == "OK"
