"""A peer that answers AT commands from a script, on a real pty or a Unix socket.

It knows no telephony (the simulator does): a test says which bytes answer which command.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import tty
from collections.abc import Callable
from pathlib import Path

Answer = bytes | Callable[[str], bytes | None] | None
"""Bytes to write; a function of the command; None = say nothing."""

ERROR = b"\r\nERROR\r\n"
OK = b"\r\nOK\r\n"


def said(*lines: str, final: str = "OK") -> bytes:
    """Lines and a final result as a modem frames them."""
    return b"".join(f"\r\n{line}\r\n".encode("latin-1") for line in (*lines, final))


IDENTITY: dict[str, Answer] = {
    "AT": OK,
    "ATE0": OK,
    "ATQ0V1E0": OK,
    "AT+CGSN": said("490154203237518"),
    "AT+CGMI": said("ACME"),
    "AT+CGMM": said("Model 1"),
    "AT+CGMR": said("R1.0"),
}


class ScriptedModem:
    """Answers commands; notes what it received, in order, with ESC and payloads."""

    def __init__(self, script: dict[str, Answer] | None = None) -> None:
        self.script: dict[str, Answer] = {**IDENTITY, **(script or {})}
        self.received: list[str] = []
        self.payload_answer: Answer = said("+CMGS: 41")
        self.escape_answer: bytes = OK
        self.prompt = b"\r\n> "
        self.unknown: Answer = ERROR
        """What it says to a command that is not in its script."""
        self.takes_escape = True
        """Whether an ESC between commands is gone; else it spoils the next one."""
        self.echoes = False
        """Whether it repeats what it receives, whatever `ATE0` says."""
        self._buffer = b""
        self._at_prompt = False
        self._write: Callable[[bytes], object] = lambda data: None
        self._changed = asyncio.Event()

    # ---- the world's side

    def say(self, data: bytes) -> None:
        self._write(data)

    async def until(self, condition: Callable[[], bool], *, limit: float = 60) -> None:
        """Wait until what was received fulfils a condition."""
        async with asyncio.timeout(limit):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    # ---- the wire's side

    def feed(self, data: bytes) -> None:
        self._buffer += data
        while self._buffer:
            if self._at_prompt:
                if not self._feed_prompt():
                    break
            elif self.takes_escape and self._buffer[:1] == b"\x1b":
                self._buffer = self._buffer[1:]
                self._note("<esc>")
            else:
                line, cr, rest = self._buffer.partition(b"\r")
                if not cr:
                    break
                self._buffer = rest
                self._command(line.decode("latin-1").strip())

    def _feed_prompt(self) -> bool:
        ends = [at for at in (self._buffer.find(b"\x1a"), self._buffer.find(b"\x1b")) if at >= 0]
        if not ends:
            return False
        end = min(ends)
        payload, last = self._buffer[:end].decode(), self._buffer[end : end + 1]
        self._buffer, self._at_prompt = self._buffer[end + 1 :], False
        if last == b"\x1b":
            self._note("<esc>")
            self._write(self.escape_answer)
        else:
            self._note(f"{payload}<ctrl-z>")
            if self.echoes:
                self._write(f"{payload}\x1a\r\n".encode("latin-1"))
            self._answer(self.payload_answer, payload)
        return True

    def _command(self, text: str) -> None:
        self._note(text)
        if self.echoes:
            self._write(f"{text}\r".encode("latin-1"))
        if text.startswith("AT+CMGS=") and text not in self.script:
            self._at_prompt = True
            self._write(self.prompt)
        else:
            self._answer(self.script.get(text, self.unknown), text)

    def _answer(self, answer: Answer, text: str) -> None:
        data = answer(text) if callable(answer) else answer
        if data:
            self._write(data)

    def _note(self, text: str) -> None:
        self.received.append(text)
        self._changed.set()


class OnPty:
    """Serves a modem on a pty; `path` is what a program opens."""

    def __init__(self, modem: ScriptedModem) -> None:
        self.modem = modem
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self.n_octets = 4096
        """Read at once."""

    async def __aenter__(self) -> OnPty:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._master, self._read)
        self.modem._write = lambda data: os.write(self._master, data)
        return self

    def _read(self) -> None:
        try:
            data = os.read(self._master, self.n_octets)
        except OSError:
            return
        self.modem.feed(data)

    def unplug(self) -> None:
        """Close both ends, as pulling the plug does."""
        if self._master >= 0:
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._master)
            os.close(self._slave)
            self._master = -1
            self.modem._write = lambda data: None

    async def __aexit__(self, *_: object) -> None:
        self.unplug()


class OnSocket:
    """Serves a modem on a Unix socket; `address` is what `open_port` takes."""

    def __init__(self, modem: ScriptedModem, folder: Path) -> None:
        self.modem = modem
        self.path = folder / "modem.sock"
        self.address = f"unix:{self.path}"
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> OnSocket:
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self.modem._write = writer.write
        try:
            while data := await reader.read(4096):
                self.modem.feed(data)
        except ConnectionError:
            pass
        finally:
            writer.close()

    def unplug(self) -> None:
        for writer in self._writers:
            writer.close()

    async def __aexit__(self, *_: object) -> None:
        self.unplug()
        for writer in self._writers:
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()
