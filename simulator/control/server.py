"""The control channel: JSON lines over a Unix socket, for tests, benches and people.

A request is `{"id": …, "do": verb, …}`; its answer `{"id": …, "ok": true, …}` or
`{"id": …, "ok": false, "error": …}`, in the order of the requests. After `follow` the ledger's
lines come as `{"id": …, "line": {…}}` as they are written, until the connection ends.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from simulator import ledger
from simulator.control import verbs
from simulator.control.client import BankControl, ControlError
from simulator.control.controller import Controller
from simulator.control.verbs import Result
from simulator.dice import Draws
from simulator.ledger import Ledger
from simulator.reading import ScenarioError

__all__ = ["BankControl", "ControlError", "Controller", "serve"]

MAX_REQUEST: Final = 8 * 1024 * 1024
"""Octets of a request; whoever sends more without a line end is cut off."""
_BURST: Final = 500  # lines that a follower is sent at once: the modems want their turn too


def answer(controller: Controller, line: bytes, draws: Draws | None = None) -> Result:
    """What one request line is answered; a `follow` is only checked. `draws` is for `any`."""
    given: Result = {"id": None}
    try:
        request = _request(line)
        given["id"] = request.pop("id", None)
        do = request.pop("do", "")
        if do == "follow":
            verbs.verb(do).read(request)
            return given | {"ok": True}
        return given | {"ok": True, **controller.act(str(do), request, draws)}
    except RecursionError:
        return given | {"ok": False, "error": "nested too deeply"}
    except (ValueError, LookupError, ArithmeticError, OSError) as error:
        return given | {"ok": False, "error": str(error)}


def _request(line: bytes) -> dict[str, object]:
    request = json.loads(line)
    if not isinstance(request, dict):
        raise ScenarioError("a request is a JSON object")
    return request


async def serve(controller: Controller, path: Path, *, book: Ledger) -> asyncio.Server:
    """Listen for requests on a Unix socket that does not exist yet; `book` can be followed."""
    loop = asyncio.get_running_loop()
    number = itertools.count(1)

    def connection() -> _Connection:
        draws = controller.draws(f"control/{next(number)}")
        return _Connection(controller, book, draws)

    return await loop.create_unix_server(connection, str(path))


class _Connection(asyncio.Protocol):
    """One client. What it does not read makes nobody else wait, and does not pile up."""

    def __init__(self, controller: Controller, book: Ledger, draws: Draws) -> None:
        self._controller = controller
        self._draws = draws
        self._book = book
        self._buffer = bytearray()
        self._searched = 0
        self._transport: asyncio.Transport | None = None
        self._followers: list[_Follower] = []
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._answer()

    def pause_writing(self) -> None:
        # It does not read its answers: no further request is taken until it does.
        self._is_paused = True
        assert self._transport is not None
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._is_paused = False
        assert self._transport is not None
        self._transport.resume_reading()
        self._answer()
        for follower in self._followers:
            follower.wake()

    def connection_lost(self, error: Exception | None) -> None:
        del error
        for follower in self._followers:
            follower.end()
        self._followers.clear()
        self._buffer.clear()

    @property
    def is_ready(self) -> bool:
        """True while the client takes what it is sent."""
        transport = self._transport
        return not self._is_paused and transport is not None and not transport.is_closing()

    def send(self, message: Mapping[str, object]) -> None:
        """Write one line."""
        assert self._transport is not None
        text = json.dumps(message, separators=(",", ":"))
        self._transport.write(text.encode("ascii") + b"\n")

    def _answer(self) -> None:
        while self.is_ready:
            end = self._buffer.find(b"\n", self._searched)
            if end < 0:
                self._searched = len(self._buffer)
                if self._searched > MAX_REQUEST:
                    self._refuse_size()
                return
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._searched = 0
            reply = answer(self._controller, line, self._draws)
            self.send(reply)
            if reply["ok"] and b'"follow"' in line:
                self._follow(line, reply["id"])

    def _refuse_size(self) -> None:
        assert self._transport is not None
        self.send({"id": None, "ok": False, "error": f"a request has at most {MAX_REQUEST} octets"})
        self._buffer.clear()
        self._transport.close()

    def _follow(self, line: bytes, number: object) -> None:
        request = _request(line)
        if request.pop("do") != "follow":
            return
        request.pop("id", None)
        _, wanted = verbs.verb("follow").read(request)
        assert isinstance(wanted, verbs.Following)
        self._followers.append(_Follower(self, self._book, wanted, number))


class _Follower:
    """Sends the ledger's lines from the file, as fast as the client takes them; loses none."""

    def __init__(
        self, connection: _Connection, book: Ledger, wanted: verbs.Following, number: object
    ) -> None:
        self._connection = connection
        self._book = book
        self._wanted = wanted.where
        self._number = number
        self._offset = book.path.stat().st_size if wanted.is_new else 0
        self._loop = asyncio.get_running_loop()
        self._turn: asyncio.Handle | None = None
        book.listeners.add(self.wake)
        self.wake()

    def wake(self) -> None:
        """There may be more to send; at the loop's next turn, not within whoever wrote it."""
        if self._turn is None:
            self._turn = self._loop.call_soon(self._send)

    def end(self) -> None:
        """Send no more."""
        self._book.listeners.discard(self.wake)
        if self._turn is not None:
            self._turn.cancel()

    def _send(self) -> None:
        self._turn = None
        if not self._connection.is_ready:
            return
        before = self._offset
        lines, self._offset = ledger.page(
            self._book.path, self._wanted, offset=before, limit=_BURST
        )
        for line in lines:
            self._connection.send({"id": self._number, "line": line})
        if self._offset != before:
            self.wake()
