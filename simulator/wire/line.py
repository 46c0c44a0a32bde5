"""The modem's end of a serial line: echo, command lines, prompts, results, unsolicited lines.

It knows V.250 and nothing of GSM; what a command does, the table of `simulator.commands` says.
Source: ITU-T V.250 §5.2, §5.7; TS 27.005 §4.3 (prompt); at-dialects §1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Final, Protocol, TypeAlias

from simulator.clock import Clock, Timer
from simulator.faults import FaultKind, Faults
from simulator.wire.output import Output, damaged, truncated
from simulator.wire.syntax import NOTHING, Command, SyntaxFault, body, parse

_ESC: Final = 0x1B
_CTRL_Z: Final = 0x1A
# Source: V.250 §5.7.1, table 1.
_NUMERIC: Final = {
    "OK": "0",
    "CONNECT": "1",
    "RING": "2",
    "NO CARRIER": "3",
    "ERROR": "4",
    "NO DIALTONE": "6",
    "BUSY": "7",
    "NO ANSWER": "8",
}
_ABORT_AFTER: Final = timedelta(milliseconds=125)
_MAX_INPUT: Final = 65536
_MAX_HELD: Final = 1000
_STATUS: Final = "\r\n+CIEV: 2,3\r\n"


class Refused(Exception):
    """The command fails with `final`, for example `+CMS ERROR: 304`."""

    def __init__(self, final: str) -> None:
        super().__init__(final)
        self.final = final


def cme(code: int) -> Refused:
    """A refusal by equipment or card. Source: TS 27.007 §9.2."""
    return Refused(f"+CME ERROR: {code}")


def cms(code: int) -> Refused:
    """A refusal of an SMS command. Source: TS 27.005 §3.2.5."""
    return Refused(f"+CMS ERROR: {code}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Information lines and the final result. `seconds` until it comes."""

    lines: tuple[str, ...] = ()
    final: str = "OK"
    seconds: float = 0.0
    is_abortable: bool = False


OK: Final = Answer()


class Later(Enum):
    """The handler will call `Line.finish` itself."""

    LATER = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """Ask for input up to Ctrl-Z and hand it to `take`."""

    take: Callable[[bytes], Answer | Later]
    is_text: bool = False


Outcome: TypeAlias = Answer | Later | Prompt


class Executor(Protocol):
    """What carries the commands out."""

    def execute(self, command: Command) -> Outcome:
        """Carry one command out.

        Raises:
            Refused: the command fails.
        """
        ...

    def final(self, text: str) -> str:
        """A final result as `+CMEE` wants it."""
        ...

    def speaks(self, line: Line) -> None:
        """What follows is asked on this line."""
        ...

    def hang(self) -> None:
        """Be dead from now on."""
        ...


class _State(Enum):
    COMMAND = auto()
    PROMPT = auto()
    BUSY = auto()


class Line:
    """One AT port. `write` takes what goes out; bytes come in by `receive`."""

    def __init__(
        self,
        executor: Executor,
        *,
        clock: Clock,
        faults: Faults,
        write: Callable[[bytes], None],
        max_line: int,
        prompt: str = "\r\n> ",
        echo: bool = True,
    ) -> None:
        self._executor = executor
        self._clock = clock
        self._faults = faults
        self._output = Output(clock=clock, faults=faults, write=write)
        self._max_line = max_line
        self._prompt_text = prompt.encode("ascii")
        self._echoes = echo
        self._out = bytearray()
        self._depth = 0
        self._serial = 0
        self._abortable_from = clock.now()
        self._timer: Timer | None = None
        self.prompt_seconds = 60.0
        self.reset()

    def reset(self) -> None:
        """Power-up: settings to default, half-typed and half-answered things forgotten."""
        self.defaults()
        self._state = _State.COMMAND
        self._input = bytearray()
        self._typed = bytearray()
        self._last = ""
        self._todo: list[Command] | None = []
        self._lines: tuple[str, ...] = ()
        self._held: list[str] = []
        self._asked = ""
        self._is_leaky = False
        self._is_holding = False
        self._output.reset()
        self._prompt: Prompt | None = None
        self._is_abortable = False
        self._serial += 1
        self._cancel_timer()

    def freeze(self) -> None:
        """Whatever goes on here will never end."""
        self._serial += 1
        self._cancel_timer()

    def defaults(self) -> None:
        """`ATZ`: echo as the model has it, verbose, results on."""
        self.echo = self._echoes
        self.verbose = True
        self.quiet = False

    @property
    def is_idle(self) -> bool:
        """True while no command runs and no prompt is up."""
        return self._state is _State.COMMAND

    def receive(self, data: bytes) -> None:
        """Take octets that the client wrote."""
        self._executor.speaks(self)
        self._depth += 1
        if self._is_abortable and self._clock.now() >= self._abortable_from:
            # The octet that aborts is swallowed. Source: V.250 §5.6.1.
            data = data[1:]
            self._cancel_timer()
            self._finish(Answer())
        # A client that types for ever at a busy modem must not fill our memory.
        self._input += data[: max(0, _MAX_INPUT - len(self._input))]
        self._turn()

    def finish(self, answer: Answer) -> None:
        """End the command that runs."""
        self._executor.speaks(self)
        self._depth += 1
        self._finish(answer)
        self._turn()

    def ticket(self) -> Callable[[Answer], None]:
        """A `finish` that is good for the running command only, not after a reset."""
        serial = self._serial

        def finish(answer: Answer) -> None:
            if serial == self._serial and self._state is _State.BUSY:
                self.finish(answer)

        return finish

    def urc(self, *lines: str) -> None:
        """Send unsolicited lines; while a prompt's command runs they wait for its end."""
        text = "".join(f"\r\n{line}\r\n" for line in lines)
        if self._is_holding and not self._is_leaky:
            if len(self._held) < _MAX_HELD:
                self._held.append(text)
            return
        self._depth += 1
        self._out += text.encode("utf-8", "replace")
        self._leave()

    # ------------------------------------------------------------ input

    def _turn(self) -> None:
        """Take what was typed and send what was said; inside a turn the outer one does both."""
        try:
            if self._depth == 1:
                self._pump()
        except BaseException:
            self._state = _State.COMMAND
            raise
        finally:
            self._leave()

    def _pump(self) -> None:
        while self._input and self._state is not _State.BUSY:
            if self._state is _State.PROMPT:
                self._take_payload()
            else:
                self._take_command()

    def _take_command(self) -> None:
        end = self._input.find(b"\r")
        chunk = self._input if end < 0 else self._input[: end + 1]
        self._input = bytearray() if end < 0 else self._input[end + 1 :]
        if self.echo and not self._faults.has(FaultKind.SILENCE):
            self._out += chunk
        self._typed += chunk
        typed = self._typed
        repeats = bytes(typed).strip(b"\r\n ").upper() == b"A/"
        if end < 0 and not repeats:
            # A client that types for ever without CR must not fill our memory.
            if len(typed) > 4 * self._max_line:
                del typed[: -self._max_line]
            return
        self._typed = bytearray()
        if repeats:
            self._run(self._last)
            return
        # V.250 §5.1: IRA characters; what is none must not pass for a digit ("²").
        text = edited(bytes(typed[:-1]).decode("ascii", "replace"))
        found = body(text)
        if found is not None:
            self._last = found
            self._run(found)

    def _run(self, text: str) -> None:
        self._lines = ()
        try:
            self._todo = list(parse(text)) if len(text) <= self._max_line else None
        except SyntaxFault:
            self._todo = None
        self._asked = self._todo[0].name if self._todo else ""
        if self._faults.take(FaultKind.SILENCE, self._asked):
            self._todo = None
        elif self._todo is None:
            self._end("ERROR")
        else:
            # A bare AT is a command too, to a fault that waits for one.
            self._todo = self._todo or [NOTHING]
            self._next()

    def _next(self) -> None:
        while self._todo:
            command = self._todo.pop(0)
            self._asked = command.name
            # Busy while the handler runs: it may finish before it returns LATER.
            self._state = _State.BUSY
            try:
                outcome = self._executor.execute(command)
            except Refused as refusal:
                self._end(refusal.final)
                return
            if not self._accept(outcome):
                return
        self._end("OK")

    def _accept(self, outcome: Outcome) -> bool:
        """Take a handler's outcome; True where the next command of the line may run now."""
        if isinstance(outcome, Prompt):
            self._ask(outcome)
            return False
        if isinstance(outcome, Later):
            return False
        if outcome.seconds > 0:
            self._is_abortable = outcome.is_abortable
            # What the client typed together with the command does not abort it.
            self._abortable_from = self._clock.now() + _ABORT_AFTER
            ready = Answer(lines=outcome.lines, final=outcome.final)
            finish = self.ticket()
            self._timer = self._clock.call_later(outcome.seconds, lambda: finish(ready))
            return False
        self._lines += outcome.lines
        if outcome.final != "OK":
            self._end(outcome.final)
            return False
        return True

    # ------------------------------------------------------------ prompt

    def _ask(self, prompt: Prompt) -> None:
        self._prompt = prompt
        self._typed = bytearray()
        self._state = _State.PROMPT
        self._timer = self._clock.call_later(self.prompt_seconds, self._prompt_expired)
        faults = self._faults
        self._is_leaky = False
        self._is_holding = True
        text = self._prompt_text
        if not faults.is_any:
            self._out += text
            return
        if faults.take(FaultKind.NO_PROMPT, self._asked):
            return
        if faults.take(FaultKind.BARE_PROMPT, self._asked):
            text = text.rstrip(b" ")
        if faults.take(FaultKind.PROMPT_WITHOUT_CRLF, self._asked):
            text = text.lstrip(b"\r\n")
        self._out += text
        if faults.take(FaultKind.URC_AT_PROMPT, self._asked):
            self._is_leaky = True
            self._out += _STATUS.encode()
        if faults.take(FaultKind.HANG_AT_PROMPT, self._asked):
            self._executor.hang()

    def _take_payload(self) -> None:
        assert self._prompt is not None
        end = _first(self._input, is_text=self._prompt.is_text)
        if end < 0:
            self._typed += self._input
            self._echo(self._input)
            self._input = bytearray()
            return
        ending = self._input[end]
        self._typed += self._input[:end]
        self._echo(self._input[: end + 1])
        del self._input[: end + 1]
        if ending == 0x0D:
            self._typed += b"\r"
            self._out += self._prompt_text
            return
        payload, self._typed = bytes(self._typed), bytearray()
        self._cancel_timer()
        if ending == _ESC:
            self._finish(Answer())
            return
        self._state = _State.BUSY
        try:
            outcome = self._prompt.take(payload)
        except Refused as refusal:
            outcome = Answer(final=refusal.final)
        if not isinstance(outcome, Later):
            self._finish(outcome)

    def _echo(self, data: bytes | bytearray) -> None:
        if self.echo and not self._faults.has(FaultKind.SILENCE):
            self._out += data

    def _prompt_expired(self) -> None:
        self._typed = bytearray()
        self.finish(Answer(final="+CMS ERROR: 304"))

    # ------------------------------------------------------------ output

    def _finish(self, answer: Answer) -> None:
        self._is_abortable = False
        self._prompt = None
        self._timer = None
        self._lines += answer.lines
        if answer.final != "OK":
            self._end(answer.final)
        else:
            self._next()

    def _end(self, final: str) -> None:
        self._todo = []
        slow = self._faults.take(FaultKind.SLOW_ANSWER, self._asked)
        if slow is None:
            self._answer(final)
            return
        self._state = _State.BUSY
        serial = self._serial

        def come() -> None:
            if serial == self._serial:
                self._executor.speaks(self)
                self._depth += 1
                self._answer(final)
                self._turn()

        self._timer = self._clock.call_later(slow.seconds, come)

    def _answer(self, final: str) -> None:
        self._state = _State.COMMAND
        self._is_holding = False
        lines, self._lines = self._lines, ()
        faults = self._faults
        if faults.is_any:
            self._out += self._spoiled(lines, final)
        else:
            self._out += self._text(lines, final)
        if faults.take(FaultKind.ECHO_AGAIN, self._asked):
            self.echo = True
        if self._held:
            held, self._held = self._held, []
            self._out += "".join(held).encode()

    def _text(self, lines: tuple[str, ...], final: str, *, status: str = "") -> bytes:
        if self.verbose:
            text = "".join(f"\r\n{line}\r\n" for line in lines) + status
        else:
            text = "".join(f"{line}\r\n" for line in lines) + status
        if final and not self.quiet:
            shown = self._executor.final(final)
            text += f"\r\n{shown}\r\n" if self.verbose else f"{_NUMERIC.get(shown, shown)}\r"
        return text.encode()

    def _spoiled(self, lines: tuple[str, ...], final: str) -> bytes:
        faults, asked = self._faults, self._asked
        if faults.take(FaultKind.NO_ANSWER, asked):
            return b""
        status = _STATUS if faults.take(FaultKind.URC_IN_ANSWER, asked) else ""
        whole = truncated(lines, faults, asked)
        text = self._text(whole, final, status=status)
        if whole != lines:
            # What a broken line loses is its end too.
            last = whole[-1].encode()
            text = text.replace(last + b"\r\n", last, 1)
        if faults.take(FaultKind.MERGED_LINES, asked):
            text = text.replace(b"\r\n\r\n", b"\r\n")
        return damaged(text, faults, asked)

    def _leave(self) -> None:
        self._depth -= 1
        if self._depth or not self._out:
            return
        data = bytes(self._out)
        self._out.clear()
        self._output.send(data)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def edited(text: str) -> str:
    """What was typed, after its backspaces."""
    while "\b" in text:
        at = text.index("\b")
        text = text[: max(0, at - 1)] + text[at + 1 :]
    return text


def _first(data: bytearray, *, is_text: bool) -> int:
    endings = (_CTRL_Z, _ESC, 0x0D) if is_text else (_CTRL_Z, _ESC)
    found = [at for at in (data.find(ending) for ending in endings) if at >= 0]
    return min(found, default=-1)
