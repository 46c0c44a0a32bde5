"""Random walks through a closed world: nothing is lost, nothing is doubled, no call hangs."""

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from simulator.cards.card import Card
from simulator.ledger import Fact
from simulator.modem import Modem
from simulator.network.carriers import Carrier
from simulator.network.latency import Latency, Shape
from simulator.network.network import ReportFate, Rule
from tests.support.closed_world import OUTSIDE, ClosedWorld, submit_tpdu

N_WALKS = 300 if os.environ.get("MODEMCTL_LONG") else 20
SEATS = 3

STEPS = 250
WEIGHTS = {
    "send": 16,
    "dial": 8,
    "answer": 10,
    "hang_up": 4,
    "wait": 20,
    "clear": 4,
    "off": 1,
    "on": 5,
    "dark": 1,
    "light": 5,
    "reboot": 1,
    "pull": 1,
    "insert": 8,
    "swap": 1,
}
RULES = (
    Rule(cms=42, rate=0.1),
    Rule(unreachable=True, rate=0.1),
    Rule(unreachable_for=600.0, rate=0.1),
    Rule(report=ReportFate.DOUBLED, rate=0.1),
)
SPREAD = Latency(shape=Shape.EXPONENTIAL, seconds=3.0)
CARRIER = Carrier(name="A", numeric="46000", report_delay=SPREAD, delivery=SPREAD)


class Walk:
    """One world and what is done to it."""

    def __init__(self, folder: Path, seed: int) -> None:
        print(f"seed {seed}")
        self.draw = random.Random(seed)
        self.world = ClosedWorld(
            folder, personas=["generic"] * SEATS, carriers=[CARRIER], seed=seed
        )
        self.world.network.set_rules(RULES)
        self.numbers = [*(seat.number for seat in self.world.seats), OUTSIDE]
        self.count = 0

    def step(self) -> None:
        """Do something to one of the modems, or let time pass."""
        what = self.draw.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        seat, other = self.draw.choices(self.world.seats, k=2)
        match what:
            case "wait":
                self.world.wait(self.draw.choice([0.3, 1, 5, 5, 5, 5, 30, 30, 400, 5000]))
            case "send":
                self.count += 1
                number = self.draw.choice(self.numbers)
                seat.send(submit_tpdu(number, f"n{self.count}", validity=b"\x0b"))
            case "dial":
                seat.say(f"ATD{self.draw.choice(self.numbers)};")
            case "pull":
                seat.modem.insert(None)
            case "insert":
                if seat.modem.card is None:
                    self.put(seat.card, seat.modem)
            case "swap":
                card = seat.modem.card
                if card is not None:
                    self.put(card, other.modem)
            case "dark":
                self.world.network.lose_coverage(modem=seat.modem.name)
            case "light":
                self.world.network.restore_coverage(modem=seat.modem.name)
            case "reboot":
                seat.modem.reboot()
            case _:
                said = {"off": "+CFUN=4", "on": "+CFUN=1", "answer": "A", "hang_up": "H"}
                seat.say(f"AT{said.get(what, '+CMGD=1,4')}")

    def put(self, card: Card, modem: Modem) -> None:
        """Move a card; one that was there before lies beside the bank."""
        for seat in self.world.seats:
            if seat.modem.card is card:
                seat.modem.insert(None)
        modem.insert(card)

    def finish(self) -> None:
        """Bring everybody back and let everything come to its end."""
        self.world.network.restore_coverage()
        for seat in self.world.seats:
            seat.modem.insert(None)
        for seat in self.world.seats:
            seat.modem.insert(seat.card)
            seat.modem.set_radio(is_on=True)
        for _ in range(60):
            for seat in self.world.seats:
                seat.say("AT+CMGD=1,4")
            self.world.wait(300)
        for seat in self.world.seats:
            seat.say("ATH")
        self.world.wait(600)

    def texts(self, kind: str) -> Counter[Fact]:
        return Counter(line["text"] for line in self.world.lines(kind))


@pytest.mark.parametrize("seed", range(N_WALKS))
def test_nothing_is_lost_doubled_or_left_hanging(tmp_path: Path, seed: int) -> None:
    walk = Walk(tmp_path, seed)
    for _ in range(STEPS):
        walk.step()
        check_pairs(walk.world)
    walk.finish()
    check_messages(walk)
    check_calls(walk.world)


def check_messages(walk: Walk) -> None:
    """Each segment that was taken came to one end, and its report followed."""
    world = walk.world
    taken, delivered = walk.texts("submit"), walk.texts("deliver")
    assert len(taken) > 3
    assert max(taken.values()) == max(delivered.values(), default=1) == 1
    inside = {line["text"] for line in world.lines("submit") if line["destination"] != OUTSIDE}
    assert set(delivered) <= inside
    over = Counter(line["st"] for line in world.lines("expired"))
    assert set(over) <= {0x46}
    unreachable = over[0x46] - (len(inside) - len(delivered))
    assert 0 <= unreachable <= len(taken) - len(inside)
    found = Counter(line["st"] for line in world.lines("report"))
    assert found[0x46] >= over[0x46]
    assert found[0] >= len(taken) - over[0x46]
    assert [world.network.waiting(seat.card) for seat in world.seats] == [0] * SEATS


def check_calls(world: ClosedWorld) -> None:
    """No call is left; who talked inside the bank talked as long as the other side."""
    assert [seat.modem.phone.call for seat in world.seats] == [None] * SEATS
    talked: dict[Fact, list[Fact]] = {"in": [], "out": []}
    for line in world.lines("call"):
        if line["number"] != OUTSIDE and line["seconds"]:
            talked[line["direction"]].append(line["seconds"])
    assert Counter(talked["in"]) == Counter(talked["out"])


def check_pairs(world: ClosedWorld) -> None:
    """Who is called by a card of the bank has a caller, in the state that fits."""
    for seat in world.seats:
        call = seat.modem.phone.call
        if call is None or call.far is None:
            continue
        others = [
            other.modem.phone.call
            for other in world.seats
            if other is not seat
            and other.modem.phone.call is not None
            and other.modem.phone.call.far is call.far
        ]
        if call.is_incoming or call.answered is not None:
            (other,) = others
            assert (other.answered is None) == (call.answered is None)
