"""Design §7 as a trial on the real session: a late answer never serves the next command.

A toy modem, in virtual time, answers in order, sometimes late, sometimes never. Each command
carries a number that its answer repeats, so that a wrong answer shows. The same modem serves a
client that carries on after a time-out, to show that the trial can fail.
"""

from __future__ import annotations

import os
import random
import secrets
from dataclasses import dataclass, field

import pytest

from drivers.at.command import Command
from drivers.at.framer import Framer, Line
from drivers.at.questions import Fact, Question, questions_about
from drivers.at.session import Aligned, Completed, Expired, GaveUp, Session
from drivers.at.urcs import SHARED

N_COMMANDS = 8
KNOWN = {"AT+CGSN": "490154203237518", "AT+CGMM": "EC25", "AT+CGMR": "EC25EFAR06A01M4G"}


@dataclass
class ToyModem:
    """Serves one line after the other; late ones hold up those behind them."""

    random: random.Random
    free_at: float = 0.0
    outgoing: list[tuple[float, bytes]] = field(default_factory=list)

    def take(self, data: bytes, now: float) -> None:
        for raw in data.replace(b"\x1b", b"").split(b"\r"):
            if raw:
                self._serve(raw.decode(), now)

    def _serve(self, text: str, now: float) -> None:
        is_late, is_lost = self.random.random() < 0.25, self.random.random() < 0.15
        latency = self.random.uniform(3, 40) if is_late else self.random.uniform(0.001, 0.2)
        self.free_at = max(self.free_at, now) + latency
        if is_lost:
            return
        names = ["AT" + name.removeprefix("AT") for name in text.split(";")]
        bodies = [KNOWN.get(name, f"+N: {name.partition('=')[2]}") for name in names]
        answer = "".join(f"\r\n{body}\r\n" for body in [*bodies, "OK"])
        self.outgoing.append((self.free_at, answer.encode()))

    @property
    def next_at(self) -> float | None:
        return self.outgoing[0][0] if self.outgoing else None


def numbered(number: int) -> Command:
    text = f"AT+N={number}"
    return Command(text=text, shown=text, prefixes=("+N:",), timeout=2.0)


def questions() -> list[Question]:
    return questions_about(
        [
            Fact(text=text, is_told_by=lambda line, answer=answer: line == answer)
            for text, answer in KNOWN.items()
        ]
    )


class Rig:
    """The real session and the toy modem, in one virtual time."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.modem = ToyModem(random.Random(seed))
        self.session = Session(SHARED)

    def run(self) -> Completed | Expired | Aligned | GaveUp:
        """Let time pass until the session says how it ended."""
        while True:
            self.modem.take(self.session.data_to_send(), self.now)
            event = self.session.next_event()
            if isinstance(event, Completed | Expired | Aligned | GaveUp):
                return event
            if event is not None:
                continue
            due, comes = self.session.deadline, self.modem.next_at
            assert due is not None
            if comes is not None and comes <= due:
                self.now = max(self.now, comes)
                self.session.receive_data(self.modem.outgoing.pop(0)[1], self.now)
            else:
                self.now = due
                self.session.tick(self.now)

    def idle(self, seconds: float) -> None:
        end = self.now + seconds
        while (comes := self.modem.next_at) is not None and comes <= end:
            self.session.receive_data(self.modem.outgoing.pop(0)[1], comes)
        self.now = end
        while self.session.next_event() is not None:
            pass

    def realign(self) -> bool:
        """As an actor does: a few times, with a pause."""
        for _ in range(6):
            self.session.realign(questions(), self.now)
            if isinstance(self.run(), Aligned):
                return True
            self.idle(5.0)
        return False


def wrong_answers(seed: int) -> tuple[int, int]:
    """(commands answered, commands given another's answer) of one round."""
    rig = Rig(seed)
    n_right = n_wrong = 0
    for number in range(N_COMMANDS):
        rig.session.send(numbered(number), rig.now)
        event = rig.run()
        if isinstance(event, Expired):
            if not rig.realign():
                break  # the ladder would reopen the port
            continue
        assert isinstance(event, Completed)
        told = [line.text for line in event.lines]
        n_right += told == [f"+N: {number}"]
        n_wrong += told != [f"+N: {number}"]
    return n_right, n_wrong


def naive_wrong_answers(seed: int) -> int:
    """The same with a client that sends the next command after a time-out."""
    modem, framer, now, n_wrong = ToyModem(random.Random(seed)), Framer(), 0.0, 0
    for number in range(N_COMMANDS):
        modem.take(f"AT+N={number}\r".encode(), now)
        deadline, told = now + 2.0, None
        while told is None:
            comes = modem.next_at
            if comes is None or comes > deadline:
                now = deadline
                break
            now = max(now, comes)
            framer.push(modem.outgoing.pop(0)[1], now)
            while isinstance(token := framer.next_token(), Line):
                told = token.text if token.text != "OK" else told
        n_wrong += told is not None and told != f"+N: {number}"
    return n_wrong


def trial(n_rounds: int) -> tuple[int, int, int]:
    first = secrets.randbelow(2**32)
    print(f"first seed {first}, rounds {n_rounds}")
    results = [wrong_answers(first + i) for i in range(n_rounds)]
    spoiled = sum(naive_wrong_answers(first + i) > 0 for i in range(n_rounds))
    n_wrong = sum(wrong for _, wrong in results)
    print(
        f"answered {sum(right for right, _ in results)}, wrong {n_wrong}; naive: {spoiled} rounds"
    )
    return sum(right for right, _ in results), n_wrong, spoiled


def test_no_late_answer_serves_the_next_command() -> None:
    n_rounds = 2_000
    n_right, n_wrong, n_spoiled_naive = trial(n_rounds)
    assert n_wrong == 0
    assert n_right > n_rounds  # most commands are answered all the same
    assert n_spoiled_naive > n_rounds // 10  # and the trial tells a bad policy


@pytest.mark.long
@pytest.mark.skipif(not os.environ.get("MODEMCTL_LONG"), reason="MODEMCTL_LONG is not set")
@pytest.mark.timeout(600)
def test_no_late_answer_serves_the_next_command_in_20000_rounds() -> None:
    assert trial(20_000)[1] == 0
