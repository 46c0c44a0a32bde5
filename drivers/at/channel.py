"""The asyncio shell around a session: one reader, one command at a time, absolute deadlines."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from drivers.at.command import Command, Final
from drivers.at.questions import Question
from drivers.at.session import (
    DRAIN,
    Aligned,
    AnswerLine,
    Completed,
    EchoSeen,
    Event,
    Expired,
    GaveUp,
    PromptUp,
    Session,
    Stray,
    Urc,
)
from drivers.at.states import State
from drivers.at.wire import Wire, shown_tpdu
from drivers.errors import CommandTimeout, LinkError, PortGone
from drivers.port import Port, open_port

PAYLOAD_PATIENCE = 60.0
"""Seconds that a prompt is held open for the clearance; then ESC."""

RESULT_TIMEOUT = 180.0
"""Seconds after Ctrl-Z: networks were seen to answer after 135."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command brought."""

    command: Command
    lines: tuple[AnswerLine, ...]
    final: Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """How a submission ended. `was_given`: the payload went out; then silence is `answer` None.

    `heard`: the lines of an answer that broke off before its final result.
    """

    was_given: bool
    is_withheld: bool = False
    answer: Answer | None = None
    failure: str | None = None
    heard: tuple[AnswerLine, ...] = ()


Notice: TypeAlias = Urc | EchoSeen | Stray | LinkError
"""What comes by itself: URCs, signs of trouble, and last the loss of the link."""


class Channel:
    """One AT link over one port; lives once, from `open` to `close` or the loss of the link."""

    def __init__(self, session: Session, *, address: str) -> None:
        self.address = address
        self.gap = 0.0
        self._session = session
        self._wire = Wire(address)
        self._port: Port | None = None
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[Event] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._lock = asyncio.Lock()
        self._early: list[Notice] = []
        self._on_notice: Callable[[Notice], None] = self._early.append
        self._unwaited: Event | None = None
        self._lost: LinkError | None = None
        self._last_final = self._loop.time()
        self.n_answers = 0
        """Commands answered so far."""

    @classmethod
    async def open(
        cls, address: str, session: Session, *, baudrate: int, timeout: float
    ) -> Channel:
        """Open the port. Raises as `open_port` does."""
        channel = cls(session, address=address)
        channel._port = await open_port(address, channel, baudrate=baudrate, timeout=timeout)
        return channel

    @property
    def session(self) -> Session:
        """The state machine, to look at and to give its URC table."""
        return self._session

    def attach(self, on_notice: Callable[[Notice], None]) -> None:
        """Name who takes what comes by itself; what came before is handed over now."""
        self._on_notice = on_notice
        early, self._early = self._early, []
        for notice in early:
            on_notice(notice)

    async def run(self, command: Command) -> Answer:
        """Send a command and wait for its final result.

        Raises:
            CommandTimeout: none came in the command's time; the link is out of step.
            OutOfStep: the link must be realigned first.
            PortGone: the link is lost.
        """
        async with self._lock:
            await self._pause()
            self._check()
            self._session.send(command, self._loop.time())
            return self._answered(await self._wait(command.shown))

    async def submit(
        self,
        command: Command,
        payload: Awaitable[bytes | None],
        *,
        n_octets: int,
        result_timeout: float = RESULT_TIMEOUT,
    ) -> Submission:
        """Announce, wait for the prompt, give the payload once it is known, wait for the result.

        Raises before the payload went out as `run` does; afterwards a failure is a value.
        """
        async with self._lock:
            try:
                await self._pause()
                self._check()
                self._session.submit(command, self._loop.time())
                event = await self._wait(command.shown)
            except BaseException:
                _discard(payload)
                raise
            if not isinstance(event, PromptUp):
                _discard(payload)
                return Submission(was_given=False, answer=self._answered(event))
            octets = await self._cleared(command, payload, n_octets)
            if octets is None:
                return await self._withhold(command)
            return await self._give(octets, result_timeout)

    async def realign(
        self, questions: Sequence[Question], *, quiet: float = 0.0, drain: float = DRAIN
    ) -> tuple[tuple[str, ...], bool]:
        """Bring the link back into step; return the dropped lines and whether it worked.

        Raises: PortGone.
        """
        async with self._lock:
            self._check()
            self._session.realign(questions, self._loop.time(), quiet=quiet, drain=drain)
            event = await self._wait("realignment")
            assert isinstance(event, Aligned | GaveUp)
            return event.dropped, isinstance(event, Aligned)

    def distrust(self) -> None:
        """Declare the link out of step: an answer came that was not to the question."""
        if self._lost is None:
            self._session.abandon()

    async def close(self) -> bool:
        """Close the port; idempotent. False if the kernel has not let go in time."""
        assert self._port is not None
        self._end(PortGone(self.address, "closed"))
        return await self._port.close()

    # ---- from the port

    def data_received(self, data: bytes) -> None:
        """Take bytes from the port."""
        self._session.receive_data(data, self._loop.time())
        self._pump()

    def connection_lost(self, error: LinkError | None) -> None:
        """Learn that the port ended."""
        if self._lost is None and error is not None:
            self._end(error)
            self._on_notice(error)

    # ---- the shell

    def _pump(self) -> None:
        """Write what must go out, hand on what came, set the timer."""
        data = self._session.data_to_send()
        if data:
            assert self._port is not None
            self._port.write(data)
        while (event := self._session.next_event()) is not None:
            if self._wire.is_on:
                self._wire.received(event, self._session.urcs)
            if isinstance(event, Urc | EchoSeen | Stray):
                self._on_notice(event)
            elif self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(event)
            else:
                self._unwaited = event
        self._set_timer()

    def _set_timer(self) -> None:
        """Have one timer that fires no later than what is due.

        A timer that stands and fires too early is left alone: nearly every command is answered
        long before its deadline, and the next one's lies behind it.
        """
        due = self._session.deadline
        if due is None:
            return
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        assert self._timer is not None, "it fires once"
        fired_for, self._timer = self._timer.when(), None
        # A timer may fire a clock tick early; the deadline it was set for has come all the same.
        self._session.tick(max(self._loop.time(), fired_for))
        self._pump()

    async def _wait(self, shown: str) -> Event:
        if self._wire.is_on:
            self._wire.sent(shown)
        waiter: asyncio.Future[Event] = self._loop.create_future()
        self._waiter = waiter
        self._unwaited = None
        self._pump()
        try:
            return await waiter
        except asyncio.CancelledError:
            # Its answer will come, and is nobody's.
            self.distrust()
            self._pump()
            raise
        finally:
            self._waiter = None
            self._last_final = self._loop.time()

    def _answered(self, event: Event) -> Answer:
        if isinstance(event, Expired):
            raise CommandTimeout(event.command.shown, event.phase)
        assert isinstance(event, Completed)
        self.n_answers += 1
        return Answer(command=event.command, lines=event.lines, final=event.final)

    async def _cleared(
        self, command: Command, payload: Awaitable[bytes | None], n_octets: int
    ) -> bytes | None:
        """Wait for the clearance; on any failure the prompt is answered with ESC first."""
        try:
            async with asyncio.timeout(PAYLOAD_PATIENCE) as limit:
                return _checked(await payload, n_octets)
        except BaseException as error:
            if self._lost is None and self._session.state is State.PROMPT:
                self._session.cancel(self._loop.time())
                self._session.abandon()  # nobody waits for the answer to ESC
                self._pump()
            if isinstance(error, TimeoutError) and limit.expired():
                raise CommandTimeout(command.shown, "payload") from error
            raise

    async def _withhold(self, command: Command) -> Submission:
        answer = None
        if self._lost is None and self._session.state is State.PROMPT:
            self._session.cancel(self._loop.time())
            try:
                answer = self._answered(await self._wait(f"ESC ({command.shown})"))
            except (CommandTimeout, LinkError):
                answer = None  # withheld all the same; the state of the link tells the rest
        return Submission(was_given=False, is_withheld=True, answer=answer)

    async def _give(self, octets: bytes, timeout: float) -> Submission:
        self._check()
        if self._session.state is not State.PROMPT:  # the modem withdrew it meanwhile
            assert self._unwaited is not None
            return Submission(was_given=False, answer=self._answered(self._unwaited))
        self._session.supply(
            b"00" + octets.hex().upper().encode(), self._loop.time(), timeout=timeout
        )
        try:
            event = await self._wait(shown_tpdu(octets.hex()))
            return Submission(was_given=True, answer=self._answered(event))
        except (CommandTimeout, LinkError) as error:
            heard = self._session.answer_so_far
            return Submission(was_given=True, failure=str(error), heard=heard)

    async def _pause(self) -> None:
        """Keep the gap that this family wants between a result and the next command."""
        left = self._last_final + self.gap - self._loop.time()
        if self.gap and left > 0:
            await asyncio.sleep(left)

    def _check(self) -> None:
        if self._lost is not None:
            raise PortGone(self.address, self._lost.reason)

    def _end(self, error: LinkError) -> None:
        if self._lost is not None:
            return
        self._lost = error
        self._session.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)


def _checked(octets: bytes | None, n_octets: int) -> bytes | None:
    if octets is not None and len(octets) != n_octets:
        raise ValueError(f"{len(octets)} octets announced as {n_octets}")
    return octets


def _discard(payload: Awaitable[bytes | None]) -> None:
    """Close a coroutine that will not be awaited (Python warns of it otherwise)."""
    if inspect.iscoroutine(payload):
        payload.close()
