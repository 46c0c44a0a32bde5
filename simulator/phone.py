"""A modem's voice side: calls in and out, told in the model's own words.

Source: TS 27.007 §6.11 (+CRC), §7.11 (+CLIP), §7.18 (+CLCC); at-dialects §3.7.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Annotated, Protocol

from pydantic import Field

from simulator.clock import Clock, Timer
from simulator.ledger import Fact, Ledger
from simulator.reading import Seconds


class CallState(IntEnum):
    """`+CLCC` <stat>. Source: TS 27.007 §7.18."""

    ACTIVE = 0
    DIALLING = 2
    ALERTING = 3
    INCOMING = 4


class CallOutcome(StrEnum):
    """How a call goes if the client does nothing."""

    ANSWERED = "answered"
    MISSED = "missed"
    REJECTED = "rejected"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    FAILED = "failed"  # the network does not even let it ring


@dataclass(frozen=True, slots=True, kw_only=True)
class CallPlan:
    """A call's script. `rings` before the outcome, `seconds` the talk lasts.

    An empty `number` is one that is withheld; `cause` replaces the outcome's own Q.850 cause.
    """

    number: str
    outcome: CallOutcome
    rings: Annotated[int, Field(ge=0, le=1000)] = 2
    seconds: Seconds = 5.0
    ring_seconds: Annotated[Seconds, Field(ge=0.001)] = 5.0
    cause: int | None = None

    @property
    def end_cause(self) -> int:
        """The Q.850 cause that the call ends with."""
        return _CAUSES[self.outcome] if self.cause is None else self.cause


class FarEnd(Protocol):
    """The network between two cards of the bank that call each other; it has no script."""

    def reach(self) -> None:
        """The caller's request was heard: look for the other side."""
        ...

    def answered(self) -> None:
        """The side that rang was answered."""
        ...

    def left(self, phone: Phone, cause: int) -> None:
        """One side ended the call."""
        ...


@dataclass(slots=True, kw_only=True)
class Call:
    """A call that goes on."""

    plan: CallPlan
    is_incoming: bool
    state: CallState
    started: datetime
    call_id: int = 1
    is_client: bool = False
    rings: int = 0
    answered: datetime | None = None
    far: FarEnd | None = field(default=None, repr=False)
    timer: Timer | None = field(default=None, repr=False)

    @property
    def number_type(self) -> int:
        """Type-of-address octet of the number; 128 where it is withheld."""
        if not self.plan.number:
            return 128
        return 145 if self.plan.number.startswith("+") else 129


class Dialect(Protocol):
    """How a model tells a call's story; each gives the unsolicited lines of one step."""

    def dialling(self, call: Call) -> list[str]:
        """The call leaves."""
        ...

    def alerting(self, call: Call) -> list[str]:
        """The other side rings."""
        ...

    def ringing(self, call: Call) -> list[str]:
        """A call has come in: lines beside RING."""
        ...

    def connected(self, call: Call) -> list[str]:
        """Somebody answered."""
        ...

    def ended(self, call: Call, *, seconds: int, cause: int, is_local: bool) -> list[str]:
        """The call is over; `cause` is a Q.850 value."""
        ...


_LEAVES_AFTER = 0.1
_CAUSES = {
    CallOutcome.ANSWERED: 16,
    CallOutcome.MISSED: 16,
    CallOutcome.REJECTED: 21,
    CallOutcome.BUSY: 17,
    CallOutcome.NO_ANSWER: 19,
    CallOutcome.FAILED: 41,
}


class Phone:
    """One modem's calls; at most one at a time, as on the sticks of a bank."""

    def __init__(
        self,
        *,
        clock: Clock,
        ledger: Ledger,
        urc: Callable[..., None],
        owner: Callable[[], dict[str, Fact]],
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._urc = urc
        self._owner = owner
        self.dialect: Dialect | None = None
        self.ring_type = False
        self.shows_caller = False
        self.call: Call | None = None
        self.last_cause = 0

    def ring(self, plan: CallPlan, *, far: FarEnd | None = None) -> bool:
        """A call comes in; False where the line is taken."""
        if self.call is not None:
            return False
        call = self._open(plan, CallState.INCOMING, is_incoming=True)
        call.far = far
        self._tell("ringing", call)
        self._ring_once()
        return True

    def dial(self, plan: CallPlan, *, is_client: bool, far: FarEnd | None = None) -> bool:
        """A call goes out, by the client or by a person at the stick; False where busy."""
        if self.call is not None:
            return False
        call = self._open(plan, CallState.DIALLING, is_incoming=False)
        call.is_client = is_client
        call.far = far
        if is_client:
            # The answer to `ATD` is read by itself; the call's lines follow when it has left.
            self._later(_LEAVES_AFTER, self._leave)
        else:
            self._leave()
        return True

    def answer(self) -> bool:
        """`ATA`; False where nothing rings."""
        if self.call is None or self.call.state is not CallState.INCOMING:
            return False
        far = self.call.far
        self._connect()
        if far is not None:
            far.answered()
        return True

    def hang_up(self) -> bool:
        """`ATH`, `+CHUP`; False where there is no call."""
        if self.call is None:
            return False
        self._end(cause=16, is_local=True, outcome=None)
        return True

    def drop(self, *, has_power: bool = False) -> None:
        """The modem lost power, card or radio in mid-call; with power it says so."""
        if self.call is not None:
            self._end(cause=27, is_local=not has_power, outcome="dropped", is_silent=not has_power)

    def cut(self, cause: int) -> None:
        """The network ends the call, and the model says so."""
        if self.call is not None:
            self._end(cause=cause, is_local=False, outcome=None)

    # ------------------------------------------------------------ from the far end

    def far_rings(self) -> None:
        """The other side was found and rings."""
        assert self.call is not None
        self._alerting(self.call)

    def far_answered(self) -> None:
        """The other side answered."""
        self._connect()

    def far_left(self, cause: int) -> None:
        """The other side ended the call, or was never reached."""
        assert self.call is not None
        self.call.far = None
        self._end(cause=cause, is_local=False, outcome=None)

    # ------------------------------------------------------------ the script

    def _open(self, plan: CallPlan, state: CallState, *, is_incoming: bool) -> Call:
        now = self._clock.now()
        self.call = Call(plan=plan, is_incoming=is_incoming, state=state, started=now)
        return self.call

    def _ring_once(self) -> None:
        call = self.call
        assert call is not None
        if call.rings >= call.plan.rings and call.far is None:
            self._after_rings(call)
            return
        call.rings += 1
        lines = ["+CRING: VOICE" if self.ring_type else "RING"]
        if self.shows_caller:
            is_withheld = int(not call.plan.number)
            lines.append(f'+CLIP: "{call.plan.number}",{call.number_type},,,,{is_withheld}')
        self._urc(*lines)
        self._later(call.plan.ring_seconds, self._ring_once)

    def _after_rings(self, call: Call) -> None:
        if call.plan.outcome is CallOutcome.ANSWERED:
            self._connect()
            return
        # A person at the stick rejects what comes in; what goes out is rejected over there.
        is_local = call.is_incoming and call.plan.outcome is CallOutcome.REJECTED
        self._end(cause=call.plan.end_cause, is_local=is_local, outcome=None)

    def _leave(self) -> None:
        call = self.call
        assert call is not None
        self._tell("dialling", call)
        self._later(min(0.5, call.plan.ring_seconds), self._alert)

    def _alert(self) -> None:
        call = self.call
        assert call is not None
        if call.far is not None:
            call.far.reach()
            return
        if call.plan.outcome in {CallOutcome.BUSY, CallOutcome.FAILED}:
            self._end(cause=call.plan.end_cause, is_local=False, outcome=None)
            return
        self._alerting(call)
        call.rings = call.plan.rings
        self._later(call.plan.rings * call.plan.ring_seconds, self._after_alert)

    def _alerting(self, call: Call) -> None:
        call.state = CallState.ALERTING
        self._tell("alerting", call)

    def _after_alert(self) -> None:
        assert self.call is not None
        self._after_rings(self.call)

    def _connect(self) -> None:
        call = self.call
        assert call is not None
        call.state = CallState.ACTIVE
        call.answered = self._clock.now()
        self._tell("connected", call)
        if call.far is None:
            self._later(call.plan.seconds, self._talk_over)
        elif call.timer is not None:
            call.timer.cancel()

    def _talk_over(self) -> None:
        self._end(cause=16, is_local=False, outcome=None)

    def _end(
        self, *, cause: int, is_local: bool, outcome: str | None, is_silent: bool = False
    ) -> None:
        call = self.call
        assert call is not None
        self.call = None
        self.last_cause = cause
        if call.timer is not None:
            call.timer.cancel()
        now = self._clock.now()
        talked = int((now - call.answered).total_seconds()) if call.answered else 0
        self._ledger.add(
            "call",
            time=now.isoformat(timespec="milliseconds"),
            **self._owner(),
            direction="in" if call.is_incoming else "out",
            number=call.plan.number,
            rings=call.rings,
            outcome=outcome or _outcome(call, cause, is_local=is_local),
            started=call.started.isoformat(timespec="milliseconds"),
            seconds=talked,
            cause=cause,
        )
        if self.dialect is not None and not is_silent:
            lines = self.dialect.ended(call, seconds=talked, cause=cause, is_local=is_local)
            if lines:
                self._urc(*lines)
        if call.far is not None:
            call.far.left(self, cause)

    def _tell(self, step: str, call: Call) -> None:
        dialect = self.dialect
        if dialect is None:
            return
        lines = {
            "ringing": dialect.ringing,
            "dialling": dialect.dialling,
            "alerting": dialect.alerting,
            "connected": dialect.connected,
        }[step](call)
        if lines:
            self._urc(*lines)

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        assert self.call is not None
        if self.call.timer is not None:
            self.call.timer.cancel()
        self.call.timer = self._clock.call_later(seconds, action)


def _outcome(call: Call, cause: int, *, is_local: bool) -> str:
    if call.answered is not None:
        return CallOutcome.ANSWERED.value
    if call.is_incoming:
        return (CallOutcome.REJECTED if is_local else CallOutcome.MISSED).value
    if is_local:
        return "cancelled"
    found = {
        16: CallOutcome.NO_ANSWER,
        17: CallOutcome.BUSY,
        18: CallOutcome.NO_ANSWER,
        19: CallOutcome.NO_ANSWER,
        21: CallOutcome.REJECTED,
    }.get(cause, CallOutcome.FAILED)
    return found.value
