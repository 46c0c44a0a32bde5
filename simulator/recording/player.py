"""A recording served as a modem: each command is answered with what was recorded after it.

Source: ITU-T V.250 §5.2 (command lines); TS 27.005 §4.3 (prompts).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final

from simulator.clock import Clock
from simulator.recording.exchanges import Exchange, Reaction, Story, shape, skeleton
from simulator.recording.tape import What

_CTRL_Z: Final = 0x1A
_ESC: Final = 0x1B
_ENDS: Final = frozenset({0x0D, _CTRL_Z, _ESC})
_FAST_URC_SECONDS: Final = 0.1
_PROMPT: Final = b"\r\n> "
_MAX_LINE: Final = 4096


class Player:
    """One modem. Octets come in by `receive` and go out by `write`.

    The same command several times is answered in the recorded order, then with the last answer
    again; a command that differs from a recorded one only in its secrets is that one.
    """

    def __init__(
        self,
        story: Story,
        *,
        clock: Clock,
        write: Callable[[bytes], None],
        is_fast: bool = False,
    ) -> None:
        self._story = story
        self._clock = clock
        self._write = write
        self._is_fast = is_fast
        self._exact = _Deck(story.exchanges, shape)
        self._loose = _Deck(story.exchanges, skeleton)
        self._input: deque[int] = deque()
        self._typed = bytearray()
        self._is_busy = False
        self._typing: Exchange | None = None
        self._held: list[Reaction] = []
        self._has_echo = bool(story.exchanges and story.exchanges[0].has_echo)
        self._has_begun = False
        self.unknown: Counter[str] = Counter()
        self.answered = 0

    def came(self) -> None:
        """A client opened the port: the first one hears what the modem said of itself."""
        if not self._has_begun:
            self._has_begun = True
            self._tell_later(self._story.opening)

    def went(self) -> None:
        """It closed it: what it had half typed is gone."""
        self._input.clear()
        self._typed.clear()

    def receive(self, data: bytes) -> None:
        """Take octets of the client."""
        self._input.extend(data)
        self._pump()

    # ------------------------------------------------------------ input

    def _pump(self) -> None:
        while self._input and not self._is_busy:
            octet = self._input.popleft()
            if self._typing is not None:
                self._take_typed(self._typing, octet)
                continue
            self._typed.append(octet)
            if octet in _ENDS or len(self._typed) > _MAX_LINE:
                line = bytes(self._typed)
                self._typed.clear()
                if octet == 0x0D:
                    self._command(line)

    def _command(self, line: bytes) -> None:
        text = line.decode("latin-1").strip("\r\n")
        form = shape(text)
        if not form.startswith("AT"):
            if self._has_echo:
                self._write(line)
            return
        loose = skeleton(text)
        exchange = self._exact.take(form) or self._loose.take(loose)
        if exchange is None:
            self.unknown[form] += 1
            self._write((line if self._has_echo else b"") + b"\r\nERROR\r\n")
            return
        self._exact.spend(exchange)
        self._loose.spend(exchange)
        self.answered += 1
        self._has_echo = exchange.has_echo
        if exchange.has_echo:
            self._write(line)
        self._react(exchange)

    def _take_typed(self, command: Exchange, octet: int) -> None:
        if command.payload is not None and command.payload.has_echo:
            self._write(bytes((octet,)))
        if octet == 0x0D:
            self._write(command.prompt or _PROMPT)
        if octet not in {_CTRL_Z, _ESC}:
            return
        self._typing = None
        payload = command.payload
        is_given_up = octet == _ESC and (payload is None or not payload.said.endswith("\x1b"))
        if is_given_up:
            self._write(b"\r\nOK\r\n")
        elif payload is None:
            self.unknown["what is typed behind " + shape(command.said)] += 1
            self._write(b"\r\nERROR\r\n")
        else:
            self._react(payload)
        self._release()

    # ------------------------------------------------------------ reactions

    def _react(self, exchange: Exchange) -> None:
        """Answer, then let the client speak again; what came of itself later comes of itself."""
        reactions = exchange.reactions
        ends = {What.RESULT, What.PROMPT}
        end = next((n + 1 for n, item in enumerate(reactions) if item.what in ends), 0)
        is_asked = end and reactions[end - 1].what is What.PROMPT

        def over() -> None:
            self._is_busy = False
            if is_asked or (not end and exchange.payload is not None):
                self._typing = exchange
            self._tell_later(reactions[end:])
            self._release()
            self._pump()

        self._is_busy = True
        self._tell(list(reactions[:end]), over)

    def _tell(self, reactions: list[Reaction], over: Callable[[], None]) -> None:
        if not reactions:
            over()
            return
        first, rest = reactions[0], reactions[1:]

        def tell() -> None:
            self._write(first.octets)
            self._tell(rest, over)

        if self._is_fast or first.seconds <= 0:
            tell()
        else:
            self._clock.call_later(first.seconds, tell)

    def _tell_later(self, reactions: Sequence[Reaction]) -> None:
        if not reactions:
            return
        first, rest = reactions[0], reactions[1:]

        def tell() -> None:
            # Nothing may stand between a prompt and what is typed behind it.
            if self._typing is not None or self._held:
                self._held.append(first)
            else:
                self._write(first.octets)
            self._tell_later(rest)

        seconds = min(first.seconds, _FAST_URC_SECONDS) if self._is_fast else first.seconds
        self._clock.call_later(max(0.0, seconds), tell)

    def _release(self) -> None:
        if self._typing is None and not self._is_busy:
            held, self._held = self._held, []
            for reaction in held:
                self._write(reaction.octets)


class _Deck:
    """The exchanges by one form of their commands; each is dealt out once, the last for ever."""

    def __init__(self, exchanges: Sequence[Exchange], form: Callable[[str], str]) -> None:
        self._form = form
        self._waiting: dict[str, deque[Exchange]] = {}
        self._last: dict[str, Exchange] = {}
        for exchange in exchanges:
            self._waiting.setdefault(form(exchange.said), deque()).append(exchange)

    def take(self, form: str) -> Exchange | None:
        """The next of that form, without spending it; None where there is none at all."""
        waiting = self._waiting.get(form)
        if waiting:
            return waiting[0]
        return self._last.get(form)

    def spend(self, exchange: Exchange) -> None:
        """This one was dealt out."""
        form = self._form(exchange.said)
        self._last[form] = exchange.again
        waiting = self._waiting.get(form)
        if waiting is not None and any(item is exchange for item in waiting):
            self._waiting[form] = deque(item for item in waiting if item is not exchange)
