"""A blocking AT client for one modem: one command at a time, each wait with a limit.

After a time-out the answer may still come and would be taken for the next one's. So the client
realigns: ESC (never Ctrl-Z: at a forgotten prompt it would send), then questions that differ from
each other and from what timed out, until one gets its own answer and silence after it.
"""

from __future__ import annotations

import contextlib
import re
import select
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from simulator.conformance.guard import ESC, Guard
from simulator.conformance.port import Port, PortError, PortGone
from simulator.conformance.reply import Buffer, Reply, announces_body, is_unasked

# Seconds. Source: at-dialects §1.5, from manuals and from what other programs wait.
_LIMIT: Final = 5.0
_LIMITS: Final[Mapping[str, float]] = {
    "+CPIN": 20.0,
    "+CLCK": 20.0,
    "+CIMI": 20.0,
    "+CNUM": 20.0,
    "+CRSM": 20.0,
    "+CSIM": 20.0,
    "+CPMS": 10.0,
    "+CNMI": 10.0,
    "+CSCA": 10.0,
    "+CMGS": 10.0,
    "+CMGW": 10.0,
    "+CMGL": 60.0,
    "+CMGR": 10.0,
    "+CMGD": 10.0,
    "+CFUN": 20.0,
    "+COPS": 10.0,
}
_MARKERS: Final = ("+CMEE", "+CSQ", "+CREG", "+CSCS", "+CMGF")
_ROUNDS: Final = 4
# A client that asked +CPIN? of an old Wavecom waits for an OK that never comes.
_UNENDED: Final = 1.5
# A modem that has been silent for so long after its first answer has said all about its start.
_SETTLED: Final = 3.0
_REOPEN_SECONDS: Final = 0.1


class LineLost(Exception):
    """The modem answers no question any more, whatever was done to wake it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A line that nobody asked for, and when, in seconds since the client began.

    `is_body`: the text or PDU of a message or report, which the line before it announced.
    """

    at: float
    text: str
    is_body: bool = False


class Client:
    """Asks, listens, realigns. `patience` stretches or shrinks every limit."""

    def __init__(
        self,
        opener: Callable[[], Port],
        guard: Guard,
        *,
        patience: float = 1.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._opener = opener
        self._port = opener()
        self.guard = guard
        self._patience = patience
        self._now = now
        self._began = now()
        self.is_numeric = False
        self.replies: list[Reply] = []
        self.heard: list[Heard] = []

    def ask(
        self,
        command: str,
        *,
        limit: float | None = None,
        ends_on_call: bool = False,
        secret: str = "",
    ) -> Reply:
        """Type a command line, wait for its final result or its prompt.

        `secret` is what must not be kept of the line. A silent reply has been realigned after.

        Raises:
            LineLost: it timed out and the line could not be realigned.
            PortGone: the port vanished.
        """
        self._drop_pending()
        # What is no ASCII (a modem's own odd names) is the guard's to refuse.
        self._type(command.encode() + b"\r")
        buffer = Buffer(command, is_numeric=self.is_numeric, ends_on_call=ends_on_call)
        reply = self._answer(buffer, self._limit_of(command) if limit is None else limit)
        if secret:
            reply = _without(reply, secret)
        self.replies.append(reply)
        if not reply.prompt:
            self.guard.prompt_is_over()
        if reply.is_silent and not (buffer.has_own_line and "PIN" in command):
            self.realign(avoid=command)
        return reply

    def probe(self, limit: float) -> Reply:
        """Type `AT` and wait, without any attempt to wake a mute line."""
        self._type(b"AT\r")
        reply = self._answer(Buffer("AT", is_numeric=True, ends_on_call=False), limit)
        self.replies.append(reply)
        return reply

    def say(self, data: bytes, *, listen: float = 0.3) -> bytes:
        """Type octets that want no answer; what is heard in the time after."""
        self._drop_pending()
        self._type(data)
        raw = self._read_for(listen * self._patience)
        self.replies.append(Reply(command=data.decode("latin-1"), raw=raw, seconds=-1.0))
        return raw

    def enter(self, payload: bytes, *, limit: float) -> Reply:
        """Type at a prompt; the answer. The guard must have been told of the payload.

        Raises:
            LineLost, PortGone: as `ask`.
        """
        self._type(payload)
        command = f"<text of {self.guard.prompt}>" if payload != ESC else "\x1b"
        buffer = Buffer(command, is_numeric=False, ends_on_call=False)
        reply = self._answer(buffer, limit, wants_prompt=False)
        if payload != ESC:
            reply = replace(reply, raw=reply.raw.replace(payload, b"<text>"))
        self.replies.append(reply)
        if reply.final:
            self.guard.prompt_is_over()
        elif payload == ESC:
            self.realign(avoid="")
        return reply

    def listen(self, seconds: float) -> list[Heard]:
        """Be still, and tell what is said unasked. Real seconds: patience does not change them."""
        before = len(self.heard)
        self._unasked(self._read_for(seconds))
        return self.heard[before:]

    def realign(self, *, avoid: str) -> None:
        """Find the beginning of an answer again; what comes in the meantime is nobody's answer.

        Raises:
            LineLost: no question gets its own answer.
            PortGone: the port vanished.
        """
        markers = [name for name in _MARKERS if name not in avoid.upper()]
        for turn in range(_ROUNDS):
            self._type(ESC)
            said = self._read_for(0.3 * self._patience)
            # Its result may be anything: it only clears what an earlier command left behind.
            self._type(b"ATQ0V1\r")
            said += self._read_for(0.5 * self._patience)
            self._overheard(said)
            is_last = turn == _ROUNDS - 1
            if self._is_aligned(f"AT{markers[turn % len(markers)]}?", is_refusal_enough=is_last):
                self.is_numeric = False
                self.guard.prompt_is_over()
                return
        raise LineLost("it answers nothing any more")

    def wait_back(self, limit: float) -> float | None:
        """Wait until a restarted modem answers and is still; the seconds it took, None = did not.

        What it says meanwhile is heard. Its port may vanish and come again.
        """
        begun = self._now()
        answered: float | None = None
        is_gone = False
        while self._now() - begun < limit * self._patience:
            if is_gone and not self._is_open_again():
                continue
            try:
                is_gone = False
                before = len(self.heard)
                self._unasked(self._read_for(_SETTLED * self._patience))
                if answered is not None and len(self.heard) == before:
                    return answered - begun
                self._type(b"AT\r")
                said = self._read_for(0.5 * self._patience)
                self._unasked(said.replace(b"OK", b""))
                if b"OK" in said and answered is None:
                    answered = self._now()
            except PortGone:
                self._port.close()
                is_gone = True
        return None

    def close(self) -> None:
        """Let go of the port."""
        self._port.close()

    def _is_open_again(self) -> bool:
        # Nothing to listen to: only time can pass.
        select.select([], [], [], _REOPEN_SECONDS)
        with contextlib.suppress(PortError):
            self._port = self._opener()
            return True
        return False

    @property
    def unasked(self) -> list[Heard]:
        """All lines so far that no command asked for."""
        return list(self.heard)

    @contextlib.contextmanager
    def recorded(self) -> Iterator[list[Reply]]:
        """The replies that come while the context is open; filled at its end."""
        before = len(self.replies)
        found: list[Reply] = []
        try:
            yield found
        finally:
            found += self.replies[before:]

    # ------------------------------------------------------------ inside

    def _is_aligned(self, marker: str, *, is_refusal_enough: bool) -> bool:
        self._type(marker.encode() + b"\r")
        buffer = Buffer(marker, is_numeric=False, ends_on_call=False)
        reply = self._answer(buffer, 3.0)
        # Its own name in the answer: no other command's late result looks like that.
        is_own = reply.value(marker[2:-1]) is not None or is_refusal_enough
        return bool(reply.final) and is_own and not self._read_for(0.2 * self._patience)

    def _answer(self, buffer: Buffer, limit: float, *, wants_prompt: bool = True) -> Reply:
        begun = self._now()
        end = begun + limit * self._patience
        last = begun
        while (left := end - self._now()) > 0:
            data = self._port.read(min(left, 0.2))
            if data:
                last = self._now()
                if buffer.feed(data):
                    break
            elif buffer.has_own_line and self._now() - last > _UNENDED * self._patience:
                break
            if wants_prompt and buffer.prompt and not self._more(buffer):
                break
        reply = buffer.reply(last - begun)
        for line in reply.noise:
            self._hear(line)
        return reply

    def _more(self, buffer: Buffer) -> bool:
        # The blank after > may come in a packet of its own; a `>` inside a text is no prompt.
        data = self._port.read(0.05)
        if data:
            buffer.feed(data)
        return not buffer.prompt

    def _type(self, data: bytes) -> None:
        self.guard.check(data)
        self._port.write(data)

    def _read_for(self, seconds: float) -> bytes:
        end = self._now() + seconds
        found = b""
        while (left := end - self._now()) > 0:
            found += self._port.read(left)
        return found

    def _drop_pending(self) -> None:
        found = b""
        while data := self._port.read(0.0):
            found += data
        self._unasked(found)

    def _unasked(self, data: bytes) -> None:
        for piece in data.replace(b"\0", b"").decode("latin-1").splitlines():
            if piece.strip():
                self._hear(piece.strip())

    def _overheard(self, said: bytes) -> None:
        """Of what came too late for its question: the lines that answer none, as a `+CUSD`."""
        lines = said.decode("latin-1").splitlines()
        self._unasked("\n".join(filter(is_unasked, map(str.strip, lines))).encode("latin-1"))

    def _hear(self, text: str) -> None:
        before = self.heard[-1] if self.heard else None
        is_body = before is not None and not before.is_body and announces_body(before.text)
        self.heard.append(Heard(at=self._now() - self._began, text=text, is_body=is_body))

    def _limit_of(self, command: str) -> float:
        name = re.match(r"AT([+^*#$%!_][A-Z0-9]+)", command.upper())
        return _LIMITS.get(name.group(1), _LIMIT) if name else _LIMIT


def _without(reply: Reply, secret: str) -> Reply:
    hidden = secret.encode()
    return replace(
        reply,
        command=reply.command.replace(secret, "****"),
        raw=reply.raw.replace(hidden, b"****"),
        lines=tuple(line.replace(secret, "****") for line in reply.lines),
    )
