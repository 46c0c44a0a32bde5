"""USSD: menus as data, and the sessions that cards have with them.

Source: TS 27.007 §7.15 (the values of m), TS 24.090 §4 (who starts and ends); at-dialects §3.6.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Final

from simulator.clock import Clock, Timer
from simulator.ledger import Fact, Ledger
from simulator.reading import Seconds


class Ending(StrEnum):
    """How the network ends what it was asked."""

    ANSWER = "answer"
    SILENCE = "silence"  # nothing comes, until the client cancels
    TIMEOUT = "timeout"  # +CUSD: 5
    TERMINATED = "terminated"  # +CUSD: 2
    UNSUPPORTED = "unsupported"  # +CUSD: 4


class Progress(IntEnum):
    """The first value of `+CUSD:`. Source: TS 27.007 §7.15 <m>."""

    DONE = 0
    REPLY_WANTED = 1
    TERMINATED = 2
    UNSUPPORTED = 4
    TIMEOUT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Menu:
    """What a code brings. With `choices` the network waits for one of their codes.

    An empty `code` fits whatever nothing else fits. `text` may hold `{balance}`, `{currency}` and
    `{number}`. `delay` in seconds; None = the network's pace.
    """

    code: str = ""
    text: str = ""
    choices: tuple[Menu, ...] = ()
    ending: Ending = Ending.ANSWER
    delay: Seconds | None = None

    def __post_init__(self) -> None:
        if (self.delay or 0) < 0:
            raise ValueError("delay: not below 0")


_BALANCE: Final = "Balance {balance} {currency}"
_UNKNOWN: Final = Menu(text="Unknown request")

MENUS: Final = (
    Menu(code="*100#", text=_BALANCE),
    Menu(
        code="*101#",
        text="1 Balance\n2 My number\n3 Service",
        choices=(
            Menu(code="1", text=_BALANCE),
            Menu(code="2", text="{number}"),
            Menu(
                code="3",
                text="Write to us",
                choices=(Menu(text="Thank you"),),
            ),
        ),
    ),
    Menu(code="*102#", text="您的余额为{balance}元"),
    Menu(code="*103#", ending=Ending.SILENCE),
    Menu(code="*104#", ending=Ending.TIMEOUT),
    Menu(code="*105#", ending=Ending.TERMINATED),
    _UNKNOWN,
)
"""The default: balance, a menu, balance in Chinese, silence, time-out, termination."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the network says to a card."""

    progress: Progress
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A card on the air, with what its carrier offers it. Times in seconds."""

    modem: str
    iccid: str
    menus: Sequence[Menu]
    idle: float
    delay: float
    values: Mapping[str, str]
    show: Callable[[Reply], None]


@dataclass(slots=True, kw_only=True)
class _Session:
    menu: Menu | None = None
    timer: Timer | None = field(default=None, repr=False)
    is_pending: bool = False


class UssdDesk:
    """Answers codes, at most one session a card."""

    def __init__(self, *, clock: Clock, ledger: Ledger) -> None:
        self._clock = clock
        self._ledger = ledger
        self._sessions: dict[str, _Session] = {}

    def request(self, party: Party, text: str) -> bool:
        """A code, or the answer to the menu that is open; False while one is on its way."""
        session = self._sessions.setdefault(party.iccid, _Session())
        if session.is_pending:
            return False
        self._stop(session)
        menu = _chosen(session.menu, party.menus, text)
        session.is_pending = True
        self._write(party, "out", text, None)
        if menu.ending is not Ending.SILENCE:
            delay = party.delay if menu.delay is None else menu.delay
            session.timer = self._clock.call_later(delay, lambda: self._answer(party, menu))
        return True

    def push(self, party: Party, menu: Menu) -> bool:
        """The network begins: a notice, or a question where the menu has choices."""
        if party.iccid in self._sessions:
            return False
        self._sessions[party.iccid] = _Session()
        self._answer(party, menu)
        return True

    def is_open(self, iccid: str) -> bool:
        """True while the card has a session."""
        return iccid in self._sessions

    def cancel(self, iccid: str) -> bool:
        """The client or the network gave up; False where there was no session."""
        session = self._sessions.pop(iccid, None)
        if session is None:
            return False
        self._stop(session)
        return True

    def _answer(self, party: Party, menu: Menu) -> None:
        session = self._sessions[party.iccid]
        session.is_pending = False
        session.menu = menu
        text = _filled(menu.text, party.values) or None
        match menu.ending:
            case Ending.TIMEOUT:
                self._close(party, Reply(progress=Progress.TIMEOUT))
            case Ending.TERMINATED:
                self._close(party, Reply(progress=Progress.TERMINATED, text=text))
            case Ending.UNSUPPORTED:
                self._close(party, Reply(progress=Progress.UNSUPPORTED))
            case _ if menu.choices:
                session.timer = self._clock.call_later(party.idle, lambda: self._idle(party))
                self._show(party, Reply(progress=Progress.REPLY_WANTED, text=text))
            case _:
                self._close(party, Reply(progress=Progress.DONE, text=text or ""))

    def _idle(self, party: Party) -> None:
        self._close(party, Reply(progress=Progress.TERMINATED))

    def _close(self, party: Party, reply: Reply) -> None:
        self.cancel(party.iccid)
        self._show(party, reply)

    def _show(self, party: Party, reply: Reply) -> None:
        self._write(party, "in", reply.text, reply.progress)
        party.show(reply)

    def _write(self, party: Party, direction: str, text: str | None, m: Progress | None) -> None:
        facts: dict[str, Fact] = {"direction": direction, "text": text}
        self._ledger.add(
            "ussd",
            time=self._clock.now().isoformat(timespec="milliseconds"),
            modem=party.modem,
            iccid=party.iccid,
            **facts,
            m=None if m is None else m.value,
        )

    @staticmethod
    def _stop(session: _Session) -> None:
        if session.timer is not None:
            session.timer.cancel()
            session.timer = None


def _chosen(menu: Menu | None, menus: Sequence[Menu], text: str) -> Menu:
    offered = menu.choices if menu is not None else menus
    for wanted in (text, ""):
        for choice in offered:
            if choice.code == wanted:
                return choice
    # A choice that is none is asked for again; a code that is none has no menu.
    return menu or _UNKNOWN


def _filled(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text
