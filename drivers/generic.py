"""The 27.005 / 27.007 driver, PDU mode only; families differ by their row."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import re
from collections import deque
from collections.abc import Awaitable, Mapping, Sequence

from drivers.at import values
from drivers.at.channel import Channel, Submission
from drivers.at.codes import before_payload
from drivers.at.command import (
    PIN_TIMEOUT,
    Bare,
    Command,
    asking,
    by_hand,
    secret,
)
from drivers.at.session import AnswerLine
from drivers.dialogue import setting
from drivers.errors import CommandError, CommandTimeout, LinkError, ProtocolError
from drivers.family import CounterQuery, Family
from drivers.interface import (
    Accepted,
    Action,
    Blame,
    Cause,
    CurrentCall,
    EventSink,
    Identity,
    InDoubt,
    PinCounter,
    PinOutcome,
    Refused,
    Registration,
    SimState,
    SubmitOutcome,
    Withheld,
)
from drivers.messaging import Messaging
from drivers.ussd import UssdDialogue

SIM_USABLE_TIMEOUT = 40.0
"""Seconds from the PIN until SMS commands are served; 20 were seen."""

SIM_POLL = 1.0
"""Seconds between two tries, unless the modem says earlier that it is ready."""

_MOST_BARE = 3  # errors without a number, before a question counts as unknown

PROMPT_TIMEOUT = 10.0
"""Seconds for the prompt; usual are 0.1, the worst manual says 1."""

_CPIN = "AT+CPIN?"
_CNUM = asking("AT+CNUM", timeout=20.0, is_private=True)
_IMSI = dataclasses.replace(asking("AT+CIMI", timeout=20.0, is_private=True), bare=Bare.DIGITS)

_REGISTRATION = ("AT+CREG?", "AT+CEREG?", "AT+CGREG?")
"""The latter two only of a modem that has never told the first (LTE, NB-IoT)."""

_WITHDRAWN = Cause(
    code="prompt",
    title="the modem withdrew its prompt",
    blame=Blame.MODEM,
    proves_no_send=True,
    action=Action.NOW,
)


class GenericDriver(Messaging, UssdDialogue):
    """One modem over one channel; see `drivers.interface.Driver` for what each method promises."""

    def __init__(
        self, channel: Channel, identity: Identity, family: Family, sink: EventSink
    ) -> None:
        super().__init__(channel, identity, family, sink)
        self._must_pause = False
        self._temperatures = deque(family.temperatures)
        self._tells_creg = False
        self._last_mr: int | None = None

    # ---- start

    async def initialise(self) -> None:
        """Run the init sequence that needs no card."""
        self._echo_is_off = await self._try("ATE0")
        for text in self._family.noise_off:
            await self._try(text)
        await self._try("AT+CMEE=1")
        echo_is_off = self._echo_is_off  # unless these were repeated: some agree and go on
        state = await self._ask_if_known(asking("AT+CFUN?"))
        if not state:  # it cannot be asked
            await self._try("AT+CFUN=1", timeout=30.0)
        elif values.answer_fields(state[0])[0] != "1":
            await self._run(setting("AT+CFUN=1", timeout=30.0))
        for alternatives in self._family.card_urcs:
            await self._try_first(alternatives)
        self._is_initialised, self._echo_is_off = True, echo_is_off

    # ---- card and PIN

    async def sim_state(self) -> SimState:
        """Ask `+CPIN?`; where that is unknown, a card that tells its IMSI asks for no PIN."""
        command = self._fit(asking(_CPIN, timeout=10.0))
        try:
            lines = await self._ask_if_told(command)
        except CommandError as error:
            state = values.sim_state_of_error(cme=error.cme, cms=error.cms)
            if state is None and error.may_be_unknown:
                state = await self._state_by_imsi()
            if state is None:
                raise
            return state
        if lines:
            return values.sim_state(lines[-1])
        state = await self._state_by_imsi()
        if state is None:
            raise ProtocolError("OK without an answer", command.shown)
        return state

    async def _state_by_imsi(self) -> SimState | None:
        try:
            await self.read_imsi()
        except CommandError as error:
            return values.sim_state_of_error(cme=error.cme, cms=error.cms)
        except ProtocolError:
            await self.realign()
            return None
        return SimState.READY

    async def read_iccid(self) -> str:
        """Read the card's ICCID once, by the first of the family's ways that works."""
        failure: CommandError | ProtocolError | None = None
        for query in self._family.iccid:
            try:
                return query.read(await self._ask_if_told(query.command) or [""])
            except (CommandError, ProtocolError) as error:
                failure = error
        assert failure is not None
        raise failure

    async def read_imsi(self) -> str:
        """Read the IMSI."""
        return values.imsi(await self._ask(_IMSI))

    async def own_number(self) -> str | None:
        """Ask `+CNUM`: the first number that stands on the card."""
        lines = await self._ask_if_known(_CNUM)
        return next((number for line in lines if (number := values.own_number(line))), None)

    async def pin_counter(self) -> PinCounter | None:
        """Tries left, by the first of the family's ways that tells them."""
        for query in self._family.counters:
            for text in query.before:
                await self._try(text)
            counter = await self._tries_told(query)
            for text in query.after:
                await self._try(text)
            if counter is not None:
                return counter
        return None

    async def _tries_told(self, query: CounterQuery) -> PinCounter | None:
        try:
            answers = [await self._ask_if_told(self._fit(one)) for one in query.commands]
        except CommandError:
            return None
        return query.read(answers) if all(answers) else None

    def _fit(self, command: Command) -> Command:
        """The command as this family answers it: some send no `OK` after `+CPIN:`."""
        if command.text == _CPIN and self._family.cpin_ends_bare:
            return dataclasses.replace(command, ends_bare=True)
        return command

    async def enter_pin(self, pin: str) -> PinOutcome:
        """Send `+CPIN`."""
        self._sim_served.clear()
        outcome = await self._with_pin(f'AT+CPIN="{_pin(pin)}"', "AT+CPIN=<pin>")
        self._must_pause = outcome is PinOutcome.OK
        return outcome

    async def enter_puk(self, puk: str, new_pin: str) -> PinOutcome:
        """Send `+CPIN` with PUK and new PIN."""
        self._sim_served.clear()
        text = f'AT+CPIN="{_puk(puk)}","{_pin(new_pin)}"'
        outcome = await self._with_pin(text, "AT+CPIN=<puk>,<pin>", _PUK_REFUSALS)
        self._must_pause = outcome is PinOutcome.OK
        return outcome

    async def lock_enabled(self) -> bool | None:
        """Ask `+CLCK="SC",2`."""
        question = asking('AT+CLCK="SC",2', timeout=PIN_TIMEOUT)
        for _ in range(2):  # one answer may have been spoilt on the way
            lines = await self._ask_if_known(question)
            if lines:
                return values.lock_state(lines[0])
        return None

    async def set_lock(self, *, enabled: bool, pin: str) -> PinOutcome:
        """Switch the PIN lock."""
        head = f'AT+CLCK="SC",{int(enabled)}'
        return await self._with_pin(f'{head},"{_pin(pin)}"', f"{head},<pin>")

    async def change_pin(self, *, old: str, new: str) -> PinOutcome:
        """Change PIN1."""
        text = f'AT+CPWD="SC","{_pin(old)}","{_pin(new)}"'
        return await self._with_pin(text, 'AT+CPWD="SC",<pin>,<pin>')

    async def wait_sim_usable(self) -> None:
        """Ask `+CPMS?` until it is served; a ready sign of the modem shortens the wait.

        A modem without storage never serves it, nor does one that does not know the question and
        gives no reason: there the IMSI says that the card was read.
        """
        n_bare = 0
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SIM_USABLE_TIMEOUT
        question = asking("AT+CPMS?", timeout=10.0)
        if self._must_pause and self._family.unlock_pause > 0:
            self._must_pause = False
            await self._wait_ready_sign(self._family.unlock_pause)
        while True:
            state = None
            try:
                if await self._ask_if_told(question):
                    return
                n_bare += 1
            except CommandError as error:
                state = values.sim_state_of_error(cme=error.cme, cms=error.cms)
                if state not in {None, SimState.BUSY}:
                    raise
                n_bare += error.may_be_unknown
            if state is None and (n_bare > _MOST_BARE or await self._has_no_storage()):
                question = _IMSI
            if loop.time() + SIM_POLL > deadline:
                raise CommandTimeout("AT+CPMS?", "card not served")
            await self._wait_ready_sign(SIM_POLL)

    async def _wait_ready_sign(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._sim_served.wait()
            self._sim_served.clear()

    async def _with_pin(
        self, text: str, shown: str, refusals: Mapping[int, PinOutcome] | None = None
    ) -> PinOutcome:
        try:
            answer = await self._channel.run(secret(text, shown))
        except CommandTimeout:
            return PinOutcome.UNKNOWN
        if answer.final.is_ok:
            return PinOutcome.OK
        return (refusals or _PIN_REFUSALS).get(answer.final.cme or -1, PinOutcome.UNKNOWN)

    # ---- network

    async def registration(self) -> Registration:
        """Ask `+CREG?`, or `+CEREG?`, `+CGREG?` of who does not know it (LTE, NB-IoT)."""
        failure: CommandError | ProtocolError | None = None
        for text in _REGISTRATION[:1] if self._tells_creg else _REGISTRATION:
            try:
                value = await self._registration_by(text)
            except CommandError as error:
                if not error.may_be_unknown:
                    raise
                failure = failure or error
            except ProtocolError as error:
                failure = failure or error
            else:
                self._tells_creg = self._tells_creg or text == _REGISTRATION[0]
                return value
        assert failure is not None
        raise failure

    async def _registration_by(self, text: str) -> Registration:
        """Ask one of them; a few firmwares answer in the form of the URC."""
        self._heard_registrations.clear()
        command = dataclasses.replace(
            asking(text, timeout=10.0), accepts=values.is_registration_answer
        )
        for line in (await self._run(command)).lines:
            value = values.registration(line.text)
            if value is not None:
                return value
        if self._heard_registrations:
            return self._heard_registrations[-1]
        self._channel.distrust()
        if not self._tells_creg:
            await self.realign()
        raise ProtocolError("no registration in the answer", f"{text[2:-1]}:")

    async def signal_dbm(self) -> int | None:
        """Ask `+CSQ`."""
        lines = await self._ask_if_known(asking("AT+CSQ", timeout=10.0))
        return values.signal_dbm(lines[0]) if lines else None

    async def temperature_c(self) -> int | None:
        """Ask by the family's ways; one that is refused or brings silence is not asked again."""
        while self._temperatures:
            query = self._temperatures.popleft()
            try:
                lines = await self._ask_if_told(query.command)
            except CommandError:
                continue
            if not lines:
                continue
            self._temperatures.appendleft(query)
            return query.read(lines)
        return None

    async def operator(self) -> str | None:
        """Ask `+COPS?`."""
        lines = await self._ask_if_known(asking("AT+COPS?", timeout=10.0))
        return values.operator(lines[0]) if lines else None

    async def current_calls(self) -> Sequence[CurrentCall]:
        """Ask `+CLCC`; no line = no call."""
        answer = await self._run(asking("AT+CLCC", timeout=10.0, is_private=True))
        calls = (values.current_call(line.text) for line in answer.lines)
        return [call for call in calls if call is not None]

    # ---- sending

    async def submit(self, n_octets: int, payload: Awaitable[bytes | None]) -> SubmitOutcome:
        """Announce a TPDU, give it once `payload` yields it, tell what became of it."""
        text = f"AT+CMGS={int(n_octets)}"
        command = asking(text, "+CMGS:", timeout=PROMPT_TIMEOUT)
        submission = await self._channel.submit(
            command,
            payload,
            n_octets=n_octets,
            result_timeout=self._capabilities.submit_timeout,
        )
        return self._outcome(submission)

    def _outcome(self, submission: Submission) -> SubmitOutcome:
        if submission.is_withheld:
            return Withheld()
        answer = submission.answer
        if answer is None:
            return self._broken_off(submission)
        if not submission.was_given:
            cause = _WITHDRAWN if answer.final.is_ok else before_payload(self._cause(answer))
            return Refused(cause=cause)
        if not answer.final.is_ok:
            cause = self._cause(answer)
            return (
                Refused(cause=cause)
                if cause.proves_no_send
                else InDoubt(reason=cause.title, cause=cause)
            )
        mr = _reference(answer.lines)
        if mr is not None:
            return self._accepted(mr)
        self._channel.distrust()  # an `OK` of somebody else's, perhaps
        return InDoubt(reason="accepted without a reference")

    def _broken_off(self, submission: Submission) -> Accepted | InDoubt:
        """No `OK` came; where the reference did, the network has taken it."""
        mr = _reference(submission.heard)
        if mr is None or mr == self._last_mr:  # the former one's may come twice
            return InDoubt(reason=submission.failure or "no answer")
        return self._accepted(mr)

    def _accepted(self, mr: int) -> Accepted:
        self._last_mr = mr
        return Accepted(mr=mr)

    async def command(self, text: str, *, timeout: float = 10.0) -> Sequence[str]:
        """Send one raw command; an error result is the last line, not an exception.

        Raises ValueError for what a person may not send by hand.
        """
        command = by_hand(text, timeout=timeout)
        async with self._storage:  # it may be `+CPMS`
            self._memory = None
            answer = await self._channel.run(command)
        lines = [part for line in answer.lines for part in (line.text, line.payload) if part]
        return [*lines, answer.final.text]

    async def reset(self) -> None:
        """Restart the modem; the channel may end before the answer."""
        self._is_initialised = False
        try:
            await self._run(setting(self._family.reset, timeout=10.0))
        except (CommandTimeout, LinkError):
            return


_PIN_REFUSALS = {
    16: PinOutcome.WRONG,
    12: PinOutcome.BLOCKED,
    3: PinOutcome.NOT_ALLOWED,
}


# A card that goes on asking for its PUK has not taken this one; 13 is a card that died of it.
_PUK_REFUSALS = {16: PinOutcome.WRONG, 12: PinOutcome.WRONG, 3: PinOutcome.NOT_ALLOWED}


def _puk(puk: str) -> str:
    if not re.fullmatch(r"[0-9]{8}", puk):
        raise ValueError("a PUK has 8 digits")
    return puk


def _pin(pin: str) -> str:
    if not re.fullmatch(r"[0-9]{4,8}", pin):
        raise ValueError("a PIN has 4 to 8 digits")
    return pin


def _reference(lines: Sequence[AnswerLine]) -> int | None:
    """The last reference: the one of the segment before may come doubled or late."""
    for line in reversed(lines):
        mr = values.integer(values.answer_fields(line.text)[0])
        if mr is not None and 0 <= mr <= 255:
            return mr
    return None
