"""One AT link as a state machine; pure: bytes and time in, bytes and events out.

AT answers carry no number, so order is all that ties an answer to its command. Hence the two
rules of this module: one command at a time, and after any time-out nothing but realignment.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from drivers.at.command import Bare, Command, Final, Finals, fits_bare
from drivers.at.finals import final_of
from drivers.at.framer import MAX_LINE, Framer, Line, Prompt
from drivers.at.questions import Fact, Question
from drivers.at.states import TABLE, Input, State
from drivers.errors import OutOfStep

ESC = b"\x1b"
CTRL_Z = b"\x1a"

CANCEL_TIMEOUT = 2.0
"""Seconds for the `OK` to an ESC; some modems answer nothing."""

BARE_END_SILENCE = 0.5
"""Seconds after which an answer without `OK` is complete, where the command may `ends_bare`."""

DRAIN = 0.3
"""Seconds to listen after ESC before the first question of a realignment."""

QUESTIONS_A_ROUND = 4
"""Questions of one realignment; the next one goes on with others."""

REALIGN_GRACE = 10.0
"""Seconds that one realignment may take beyond its questions' own time."""

MAX_DROPPED = 200
"""Lines kept of what came out of step; older ones go first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UrcRule:
    """One unsolicited line: whether a line of hex follows, and whether logs may show it.

    `is_quoted`: it holds a text in quotes, which may have line ends of its own.
    """

    has_payload: bool = False
    is_private: bool = False
    is_quoted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerLine:
    """One line of an answer, with the line of hex that belongs to it."""

    text: str
    payload: str | None = None


# ---------------------------------------------------------------- events


@dataclass(frozen=True, slots=True, kw_only=True)
class Urc:
    """A line that nobody asked for. `payload` is None also where the promised line is missing."""

    head: str
    payload: str | None = None
    is_known: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptUp:
    """The payload may be given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """The command's final result came."""

    command: Command
    lines: tuple[AnswerLine, ...]
    final: Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """No final result before the deadline; `phase` is the state in which it was missed."""

    command: Command
    phase: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Aligned:
    """In step again; `dropped` came meanwhile and answers nobody's question."""

    dropped: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GaveUp:
    """No known answer came: still out of step."""

    dropped: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoSeen:
    """The modem repeats what we send (its setting was lost, if it had been told not to)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """A line that fits nothing, in step: a final result without a command, a cut line."""

    text: str


Event: TypeAlias = Urc | PromptUp | Completed | Expired | Aligned | GaveUp | EchoSeen | Stray


# ---------------------------------------------------------------- the machine


class Session:
    """Call an action or `receive_data`/`tick`; then send `data_to_send()`, handle `next_event()`.

    `deadline` says when `tick` must be called at the latest.
    """

    def __init__(self, urcs: Mapping[str, UrcRule]) -> None:
        self.urcs = urcs
        self.state = State.IDLE
        self._framer = Framer()
        self._events: deque[Event] = deque()
        self._out = bytearray()
        self._command: Command | None = None
        self._last: Command | None = None
        self._lines: list[AnswerLine] = []
        self._sent_payload = ""
        self._deadline: float | None = None
        self._bare_end: float | None = None
        self._urc_head: str | None = None
        self._dropped: deque[str] = deque(maxlen=MAX_DROPPED)
        self._stale: list[Command] = []
        self._round = _Round()
        self._asked: set[str] = set()

    # ---- actions

    def send(self, command: Command, now: float) -> None:
        """Send a command. Raises `OutOfStep` where the link must be realigned first."""
        self._begin(Input.COMMAND, command, now)

    def submit(self, command: Command, now: float) -> None:
        """Send a command that is answered by a prompt; its timeout is the prompt's."""
        self._begin(Input.SUBMISSION, command, now)
        self._framer.expects_prompt = True

    def supply(self, payload: bytes, now: float, *, timeout: float) -> None:
        """Give the payload and Ctrl-Z; `timeout` seconds for the final result."""
        self._move(Input.PAYLOAD)
        self._out += payload + CTRL_Z
        self._sent_payload = payload.decode("ascii")
        self._deadline = now + timeout

    def cancel(self, now: float) -> None:
        """Answer the prompt with ESC: nothing is sent. Source: TS 27.005 §4.3."""
        self._move(Input.CANCEL)
        self._out += ESC
        self._deadline = now + CANCEL_TIMEOUT

    def abandon(self) -> None:
        """Give up what is pending (its waiter is gone, its answer was another's): out of step."""
        self._expire()

    def realign(
        self, questions: Sequence[Question], now: float, *, quiet: float = 0.0, drain: float = DRAIN
    ) -> None:
        """Start to bring the link back into step.

        ESC, never Ctrl-Z: at a prompt that holds the PDU that would send it. Then questions in
        turn, none of which was asked since the link was last in step; only the answer to the
        latest is believed. `quiet`: seconds of silence wanted after it.
        """
        used = self._asked | {command.text for command in self._stale}
        fresh = [question for question in questions if question.text not in used]
        self._move(Input.REALIGN)
        self._out += ESC
        turns = deque(fresh[:QUESTIONS_A_ROUND])
        ends = now + drain + sum(question.timeout for question in turns) + REALIGN_GRACE
        facts = tuple(
            {fact.text: fact for question in questions for fact in question.facts}.values()
        )
        self._round = _Round(questions=turns, facts=facts, quiet=quiet, ends=ends)
        self._deadline = now + drain

    def close(self) -> None:
        """Accept that the channel ended; every later action raises `OutOfStep`."""
        self._move(Input.CLOSE)
        self._deadline = self._bare_end = None

    # ---- input

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes, cut anywhere. Never fails, whatever they are."""
        self._framer.push(data, now)
        while (token := self._framer.next_token()) is not None:
            if isinstance(token, Prompt):
                self._on_prompt()
            else:
                self._on_line(token, now)

    def tick(self, now: float) -> None:
        """Let time pass: deadlines are absolute, no unsolicited line extends them."""
        if self._framer.tick(now) is not None:
            self._on_prompt()
        if self._bare_end is not None and now >= self._bare_end:
            self._complete(Final(text="", is_ok=True))
        if self._deadline is None or now < self._deadline:
            return
        if self.state is not State.REALIGNING or now >= self._round.ends:
            self._expire()
        elif self._round.is_quiet_due:
            self._aligned()
        else:
            self._ask_next(now)

    # ---- output

    @property
    def deadline(self) -> float | None:
        """When `tick` is due at the latest; None while nothing waits."""
        prompt_due = self._framer.prompt_due
        if self._bare_end is None and prompt_due is None:
            return self._deadline
        times = (self._deadline, self._bare_end, prompt_due)
        return min(time for time in times if time is not None)

    @property
    def answer_so_far(self) -> tuple[AnswerLine, ...]:
        """The lines of the latest command's answer, also where it broke off."""
        return tuple(self._lines)

    def data_to_send(self) -> bytes:
        """Take the bytes that must go out now, in one write."""
        if not self._out:
            return b""
        data = bytes(self._out)
        self._out.clear()
        return data

    def next_event(self) -> Event | None:
        """Take the next event; None when there is none."""
        return self._events.popleft() if self._events else None

    # ---- moves

    def _move(self, by: Input) -> None:
        following = TABLE[self.state].get(by)
        if following is None:
            raise OutOfStep(f"{by} while {self.state}")
        self.state = following
        self._framer.expects_prompt = following is State.PROMPTING

    def _begin(self, by: Input, command: Command, now: float) -> None:
        self._move(by)
        self._command = self._last = command
        self._lines = []
        self._sent_payload = ""
        self._out += command.text.encode("latin-1", "replace") + b"\r"
        self._deadline = now + command.timeout

    def _complete(self, final: Final) -> None:
        command = self._take_command()
        assert command is not None
        self._move(Input.FINAL)
        self._events.append(Completed(command=command, lines=tuple(self._lines), final=final))

    def _expire(self) -> None:
        phase = self.state
        command = self._take_command()
        self._move(Input.EXPIRED)
        if command is not None:
            self._stale.append(command)
            self._dropped.extend(line.text for line in self._lines)
            self._events.append(Expired(command=command, phase=phase))
        elif phase is State.IDLE and self._last is not None:
            self._stale.append(self._last)
        elif phase is State.REALIGNING:
            self._events.append(GaveUp(dropped=self._take_dropped()))

    def _take_command(self) -> Command | None:
        command, self._command = self._command, None
        self._deadline = self._bare_end = None
        return command

    def _take_dropped(self) -> tuple[str, ...]:
        dropped = tuple(self._dropped)
        self._dropped.clear()
        return dropped

    # ---- tokens

    def _on_prompt(self) -> None:
        self._move(Input.PROMPT_UP)
        self._deadline = None  # the payload is ours to give, at our own time
        self._events.append(PromptUp())

    def _on_line(self, line: Line, now: float) -> None:
        text = line.text
        if self._urc_head is not None and self._ends_urc(line):
            return
        if line.is_cut:
            self._drop_or_stray(text)
        elif self._is_echo(text):
            self._events.append(EchoSeen())
        elif self.state is State.REALIGNING:
            self._on_line_realigning(text, now)
        elif self._command is not None:
            self._on_line_pending(text, self._command, now)
        elif self.state is State.IDLE and final_of(text, Finals.PLAIN) is not None:
            self._events.append(Stray(text=text))
        else:
            self._unasked(text)

    def _on_line_pending(self, text: str, command: Command, now: float) -> None:
        if command.has_payload and self._lines and is_hex(text) and not self._lines[-1].payload:
            self._lines[-1] = AnswerLine(text=self._lines[-1].text, payload=text)
            return
        final = final_of(text, command.finals)
        if final is not None:
            if final.is_ok and self.state is State.PROMPTING:
                self._events.append(Stray(text=text))  # no success without a payload
            else:
                self._complete(final)
        elif self._is_answer(text, command):
            self._lines.append(AnswerLine(text=text))
            if command.ends_bare:
                self._bare_end = now + BARE_END_SILENCE
        else:
            self._unasked(text)

    def _is_answer(self, text: str, command: Command) -> bool:
        if self.state not in {State.BUSY, State.SUBMITTED}:
            return False
        if text.upper().startswith(command.prefixes or ("\n",)):
            return command.accepts is None or command.accepts(text)
        return urc_key(text) not in self.urcs and fits_bare(command.bare, text)

    def _unasked(self, text: str) -> None:
        """Take a line as a URC, unless it may be the late answer to a command given up."""
        rule = self.urcs.get(urc_key(text))
        if self.state is State.OUT_OF_STEP and (rule is None or self._is_stale(text)):
            self._dropped.append(text)
            return
        if rule is not None and (rule.has_payload or (rule.is_quoted and _is_open(text))):
            self._urc_head = text
        else:
            self._events.append(Urc(head=text, is_known=rule is not None))

    def _is_stale(self, text: str) -> bool:
        """Whether a line may answer a command that was given up."""
        return any(text.upper().startswith(c.prefixes or ("\n",)) for c in self._stale)

    def _ends_urc(self, line: Line) -> bool:
        """Join the payload to its head; a line that is no payload goes its own way."""
        head, self._urc_head = self._urc_head or "", None
        if self.urcs[urc_key(head)].is_quoted:
            return self._goes_on(head, line)
        is_payload = is_hex(line.text) and not line.is_cut
        self._events.append(Urc(head=head, payload=line.text if is_payload else None))
        return is_payload

    def _goes_on(self, head: str, line: Line) -> bool:
        """Add a line to a text in quotes, unless its end was lost: then it goes its own way."""
        prefixes = self._command.prefixes if self._command is not None else ()
        text = f"{head}\n{line.text}"
        is_another = urc_key(line.text) in self.urcs or line.text.upper().startswith(prefixes)
        if line.is_cut or is_another or len(text) > MAX_LINE:
            self._events.append(Urc(head=head))
            return False
        if _is_open(text):
            self._urc_head = text
        else:
            self._events.append(Urc(head=text))
        return True

    def _drop_or_stray(self, text: str) -> None:
        if self.state is State.OUT_OF_STEP or self.state is State.REALIGNING:
            self._dropped.append(text)
        else:
            self._events.append(Stray(text=text))

    def _is_echo(self, text: str) -> bool:
        bare = text.strip("\x1a\x1b> ")
        if self._sent_payload and bare.upper() == self._sent_payload:
            return True
        if bare[:2].upper() != "AT":
            return False
        if self._command is not None and self._command.bare in {Bare.TEXT, Bare.ANY}:
            return bare.upper() == self._command.text.upper()
        return self._command is not None or self.state is State.REALIGNING

    # ---- realignment

    def _ask_next(self, now: float) -> None:
        if not self._round.questions:
            self._expire()
            return
        question = self._round.questions.popleft()
        self._round.latest = question
        self._asked.add(question.text)
        self._out += question.text.encode("ascii") + b"\r"
        self._deadline = now + question.timeout

    def _on_line_realigning(self, text: str, now: float) -> None:
        this = self._round
        if urc_key(text) in self.urcs and not self._is_stale(text):
            self._unasked(text)
            return
        if this.is_quiet_due:  # silence was asked for, and this is none
            self._await_silence(now)
        for fact in this.facts:
            if fact.is_told_by(text):
                this.told.append(fact.text)
                return
        final = final_of(text, Finals.PLAIN)
        if final is None:
            self._dropped.append(text)
            return
        told, wanted = this.told, [fact.text for fact in this.latest.facts] if this.latest else []
        this.told = []
        if this.latest is None or not final.is_ok or told != wanted:
            self._dropped.append(text)
        elif this.quiet > 0:
            this.is_quiet_due = True
            self._await_silence(now)
        else:
            self._aligned()

    def _await_silence(self, now: float) -> None:
        self._deadline = min(now + self._round.quiet, self._round.ends)

    def _aligned(self) -> None:
        self._deadline = None
        self._stale.clear()
        self._asked.clear()
        self._move(Input.ALIGNED)
        self._events.append(Aligned(dropped=self._take_dropped()))


@dataclass(slots=True, kw_only=True)
class _Round:
    """One realignment under way."""

    questions: deque[Question] = field(default_factory=deque)
    facts: tuple[Fact, ...] = ()
    told: list[str] = field(default_factory=list)
    quiet: float = 0.0
    ends: float = 0.0
    latest: Question | None = None
    is_quiet_due: bool = False


_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_SCHEME = re.compile(r'"[^"]*"\s*,\s*[0-9]{1,3}\s*\Z')


def is_hex(text: str) -> bool:
    """Whether a line can be a PDU: whole octets in hex."""
    return _HEX.fullmatch(text) is not None


def _is_open(text: str) -> bool:
    """Whether a quote is not closed: a text may hold one of its own, its scheme ends it."""
    return text.count('"') % 2 == 1 and _SCHEME.search(text) is None


def urc_key(text: str) -> str:
    """The key of a line in a URC table: up to its colon, else the whole line."""
    head, colon, _ = text.partition(":")
    return head.strip().upper() + colon
