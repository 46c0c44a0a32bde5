"""The conversation with one modem: commands that may fail, lines that come by themselves.

What a command *means* is `generic`'s; here is how one is asked, how an answer is doubted, how
the link gets back into step and how unsolicited lines become events.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import deque
from collections.abc import Sequence

from drivers.announcements import Announcements
from drivers.at import values
from drivers.at.channel import Answer, Channel, Notice
from drivers.at.codes import cause_of
from drivers.at.command import Command, asking
from drivers.at.questions import Fact, questions_about
from drivers.at.session import EchoSeen, Stray, Urc, urc_key
from drivers.at.urcs import SHARED, late_result
from drivers.at.wire import shown_urc
from drivers.errors import CommandError, OutOfStep, ProtocolError
from drivers.family import Family
from drivers.interface import (
    Cause,
    DriverEvent,
    EventSink,
    Identity,
    LinkLost,
    Rebooted,
    Registration,
    RegistrationChanged,
    SmsDirect,
    SmsStored,
    UnknownUrc,
)
from drivers.ussd_reply import UssdHeard


class Dialogue:
    """One modem's side of a channel; the part of a driver that knows no operation."""

    def __init__(
        self, channel: Channel, identity: Identity, family: Family, sink: EventSink
    ) -> None:
        self._channel = channel
        self._identity = identity
        self._family = family
        self._sink = sink
        self._memory: str | None = None
        self._routing: list[str] | None = None
        self._announcements = Announcements()
        self._heard_registrations: deque[Registration] = deque(maxlen=1)
        self._ussd: asyncio.Queue[UssdHeard | None] | None = None
        self._sim_served = asyncio.Event()
        self._is_initialised = False
        self._echo_is_off = False
        channel.gap = family.capabilities.command_gap
        channel.attach(self._on_notice)

    @property
    def identity(self) -> Identity:
        """Who the modem is."""
        return self._identity

    @property
    def n_answers(self) -> int:
        """Commands answered so far."""
        return self._channel.n_answers

    # ---- upkeep

    async def realign(self) -> None:
        """Ask what is known of this modem until an answer fits its question."""
        dropped, is_aligned = await self._channel.realign(questions_about(self._facts()))
        for result in filter(None, map(late_result, dropped)):
            self._sink(result)
        if not is_aligned:
            raise OutOfStep("no known answer came")

    def _facts(self) -> list[Fact]:
        """What is known of this modem, each thing told by another line."""
        known: dict[str, str] = {}
        for text, answer in (
            ("AT+CGSN", self._identity.imei),
            ("AT+CGMM", self._identity.model),
            ("AT+CGMR", self._identity.revision),
            ("AT+CGMI", self._identity.manufacturer),
        ):
            if answer not in known.values() and answer != "unknown":
                known[text] = answer
        return [_fact(text, answer) for text, answer in known.items()]

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    # ---- what comes by itself

    def _on_notice(self, notice: Notice) -> None:
        if isinstance(notice, Urc):
            self._on_urc(notice)
        elif isinstance(notice, EchoSeen):
            if self._echo_is_off:
                self._echo_is_off = False
                self._rebooted(Rebooted(evidence="echo is back"))
        elif isinstance(notice, Stray):
            self._sink(UnknownUrc(line=f"<stray, {len(notice.text)} characters>"))
        else:
            self._sink(LinkLost(reason=notice.reason))

    def _on_urc(self, urc: Urc) -> None:
        key = urc_key(urc.head)
        row = self._family.urcs.get(key) or SHARED.get(key)
        if key in self._family.ready_signs:
            self._sim_served.set()
        if row is None:
            self._sink(UnknownUrc(line=shown_urc(urc, {})))
            return
        try:
            event = row.read(urc.head, urc.payload)
        except (ProtocolError, IndexError):
            self._sink(UnknownUrc(line=f"{key}<unreadable>"))
            return
        if event is not None:
            self._tell(event)

    def _tell(self, event: DriverEvent) -> None:
        match event:
            case Rebooted():
                self._rebooted(event)
            case SmsStored():
                self._announcements.announced()
                self._sink(event)
            case SmsDirect():
                self._announcements.announced()
                self._sink(dataclasses.replace(event, needs_ack=self._family.csms == 1))
            case RegistrationChanged():
                self._heard_registrations.append(event.registration)
                self._sink(event)
            case UssdHeard():
                if self._ussd is not None:  # what nobody asked for is noise
                    self._ussd.put_nowait(event)
            case _:
                self._sink(event)

    def _rebooted(self, event: Rebooted) -> None:
        """Tell a restart once, however many lines show it."""
        self._memory = self._routing = None
        if self._is_initialised:
            self._is_initialised = False
            self._sink(event)

    # ---- commands

    async def _run(self, command: Command) -> Answer:
        """Run a command; an error result raises."""
        answer = await self._channel.run(command)
        if not answer.final.is_ok:
            raise CommandError(
                command.shown,
                cme=answer.final.cme,
                cms=answer.final.cms,
                cause=self._cause(answer),
            )
        return answer

    async def _ask(self, command: Command) -> list[str]:
        """Run a command that must be answered; an `OK` without one was to something else."""
        answer = await self._run(command)
        if not answer.lines:
            self._channel.distrust()
            raise ProtocolError("OK without an answer", command.shown)
        return [line.text for line in answer.lines]

    async def _ask_if_told(self, command: Command) -> list[str]:
        """As `_ask`; none where an `OK` came alone: the link is in step again for another way."""
        try:
            return await self._ask(command)
        except ProtocolError:
            await self.realign()
            return []

    async def _ask_if_known(self, command: Command) -> list[str]:
        """As `_ask_if_told`; none also where the modem does not know the question."""
        try:
            return await self._ask_if_told(command)
        except CommandError as error:
            if not error.may_be_unknown:
                raise
            return []

    async def _told(self, text: str) -> list[str]:
        """The answer to a question that a modem need not know; none where it tells none."""
        try:
            return await self._ask_if_told(asking(text, timeout=10.0))
        except CommandError:
            return []

    async def _try(self, text: str, *, timeout: float = 10.0) -> bool:
        """Run an optional setting; whether it was accepted."""
        try:
            await self._run(setting(text, timeout=timeout))
        except CommandError:
            return False
        return True

    async def _try_first(self, alternatives: Sequence[str]) -> None:
        """Run optional settings until one is accepted."""
        for text in alternatives:
            if await self._try(text):
                break

    def _cause(self, answer: Answer) -> Cause:
        return cause_of(cme=answer.final.cme, cms=answer.final.cms, vendor=self._family.vendor)


def setting(text: str, *, timeout: float) -> Command:
    """A command whose answer, if any, has its own name and is of no interest."""
    return asking(text, timeout=timeout)


def _fact(text: str, answer: str) -> Fact:
    def is_told_by(line: str) -> bool:
        try:
            told = values.serial_number([line]) if text == "AT+CGSN" else values.text_answer([line])
        except ProtocolError:
            return False
        return told == answer

    return Fact(text=text, is_told_by=is_told_by)
