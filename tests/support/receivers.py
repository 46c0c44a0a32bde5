"""A real HTTP server on loopback that plays a webhook's receiver, good or bad."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Behave = Callable[["Got", asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Got:
    """One request as it came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict:
        return json.loads(self.body)


def answering(status: int, *, headers: str = "", body: bytes = b"") -> Behave:
    """Answers so each time."""

    async def behave(got: Got, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 {status} Word\r\n{headers}content-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)

    return behave


async def hanging_up(got: Got, writer: asyncio.StreamWriter) -> None:
    """Takes the request and dies."""
    writer.close()


async def silent(got: Got, writer: asyncio.StreamWriter) -> None:
    """Takes the request and never says a word."""


async def babbling(got: Got, writer: asyncio.StreamWriter) -> None:
    """Refuses, with a body that has no end."""
    writer.write(b"HTTP/1.1 500 No\r\ncontent-length: 1000000000000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"\x1b[31m<script>" * 1_000)
        await writer.drain()


async def dripping(got: Got, writer: asyncio.StreamWriter) -> None:
    """Answers one octet at a time, so that no single wait is long."""
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"
    while not writer.is_closing():
        writer.write(head[:1] or b"x")
        head = head[1:]
        await writer.drain()
        await asyncio.sleep(0.02)


@dataclass
class Receiver:
    """What came in; `behave` answers from now on."""

    port: int = 0
    scheme: str = "http"
    behave: Behave = field(default_factory=lambda: answering(204))
    got: list[Got] = field(default_factory=list)
    n_connections: int = 0
    _more: asyncio.Condition = field(default_factory=asyncio.Condition)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/hooks"

    @property
    def ids(self) -> list[str]:
        return [one.id for one in self.got]

    @property
    def subjects(self) -> list[str]:
        return [one.event["subject"] for one in self.got]

    async def wait(self, n: int) -> list[Got]:
        """The requests, once there are `n`."""
        async with asyncio.timeout(60), self._more:
            await self._more.wait_for(lambda: len(self.got) >= n)
        return self.got

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.n_connections += 1
        self._writers.add(writer)
        try:
            while not writer.is_closing():
                got = await _read(reader)
                async with self._more:
                    self.got.append(got)
                    self._more.notify_all()
                await self.behave(got, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self._writers.discard(writer)

    def hang_up(self) -> None:
        """Close all connections, as a program does that ends."""
        for writer in list(self._writers):
            writer.transport.abort()


async def _read(reader: asyncio.StreamReader) -> Got:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)
    }
    body = await reader.readexactly(int(headers["content-length"]))
    return Got(path=first.split()[1], headers=headers, body=body)


@asynccontextmanager
async def receiver(
    behave: Behave | None = None, *, tls: ssl.SSLContext | None = None, port: int = 0
) -> AsyncIterator[Receiver]:
    """A receiver that listens on a port of loopback."""
    one = Receiver(scheme="http" if tls is None else "https")
    if behave is not None:
        one.behave = behave
    server = await asyncio.start_server(one.serve, "127.0.0.1", port, ssl=tls)
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.close()
        one.hang_up()
