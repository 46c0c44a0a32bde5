"""One signed request to a receiver: nothing it does reaches further than one short answer.

`httpcore2` is the lower half of `httpx2`, which pins it: alone it lets us choose the address that
a connection goes to. No redirect is followed, no proxy asked, no cookie kept. The address of a
host is checked after it was looked up, and the connection goes to that very address: a name that
changes its address between check and use gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias
from urllib.parse import urlsplit

from modemctl.errors import ConfigError
from modemctl.policy.webhooks import Destinations
from modemctl.threads import in_daemon_thread

if TYPE_CHECKING:  # 100 ms that a command without a daemon need not wait for
    import httpcore2

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]

_N_OCTETS_READ: Final = 4_096  # of an answer's body
_N_CHARS_SHOWN: Final = 120
_IDLE: Final = 30.0  # seconds that a connection is kept without use
_MOST_SECONDS: Final = 10**7
_MOST_ADDRESSES: Final = 8  # of one host


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: no `status` where nothing did; `reason` is fit to be stored and shown."""

    status: int | None
    reason: str
    asked: timedelta | None = None


class Poster(Protocol):
    """One receiver's connections."""

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, *, now: datetime
    ) -> Answer:
        """Send one request and wait for its answer; failures are answers without a status."""
        ...


class NotAllowedError(OSError):
    """The host has no address that may be connected to."""


class Resolver:
    """Looks hosts up, each in a thread of its own: a name that hangs delays no other, and no stop.

    Who asks for a name that is being looked up waits for that answer.
    """

    def __init__(self) -> None:
        self._asked: dict[tuple[str, int], asyncio.Future[Sequence[str]]] = {}

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a host.

        Raises:
            OSError: it has none.
            UnicodeError: it is no name.
        """
        answer = self._asked.get((host, port))
        if answer is None:
            answer = in_daemon_thread("webhook name", partial(_look_up, host, port))
            self._asked[host, port] = answer
            answer.add_done_callback(lambda _: self._asked.pop((host, port)))
        return await asyncio.shield(answer)


def _look_up(host: str, port: int) -> Sequence[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """TLS as the system trusts, and as a private authority does; reads files.

    Raises:
        ConfigError: the file of the private authority cannot be used.
    """
    import truststore

    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError([f"webhooks.ca_file {ca_file} cannot be used: {error}"]) from None
    return context


class PostOffice:
    """What all requests share: where they may go, whom they trust, how long they may take."""

    def __init__(
        self,
        destinations: Destinations,
        *,
        timeout: float,
        ca_file: Path | None = None,
        resolve: Resolve | None = None,
    ) -> None:
        """`timeout` (s) is of one request, from name to answer; reads no file yet."""
        self.destinations: Final = destinations
        self._timeout = timeout
        self._ca_file = ca_file
        self._resolve = resolve or Resolver()
        self._context: ssl.SSLContext | None = None

    async def prepare(self) -> ssl.SSLContext:
        """Read the certificates, once.

        Raises:
            ConfigError: the file of the private authority cannot be used.
        """
        if self._context is None:
            self._context = await asyncio.to_thread(trust, self._ca_file)
        return self._context

    @asynccontextmanager
    async def open(self, n_connections: int = 1) -> AsyncIterator[Poster]:
        """Connections to one receiver.

        Raises:
            ConfigError: as `prepare`.
        """
        context = await self.prepare()
        import httpcore2

        backend = pinned(httpcore2.AnyIOBackend(), self.destinations, self._resolve)
        async with httpcore2.AsyncConnectionPool(
            ssl_context=context,
            max_connections=n_connections,
            keepalive_expiry=_IDLE,
            network_backend=backend,
        ) as pool:
            yield _Pool(pool, self._timeout, self.destinations)


class _Pool:
    def __init__(
        self, pool: httpcore2.AsyncConnectionPool, timeout: float, destinations: Destinations
    ) -> None:
        self._pool = pool
        self._timeout = timeout
        self._destinations = destinations

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, *, now: datetime
    ) -> Answer:
        import httpcore2

        parts = urlsplit(url)
        if not self._destinations.may_name(parts.scheme, parts.hostname or "", parts.port):
            told = f"the settings let no event go to {parts.scheme}://{parts.netloc}"
            return Answer(status=None, reason=told)
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(url, headers, body, now)
        except (TimeoutError, httpcore2.TimeoutException):
            return Answer(status=None, reason=f"no answer within {self._timeout:g} s")
        except NotAllowedError as error:
            return Answer(status=None, reason=str(error))
        except (OSError, httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            return Answer(status=None, reason=_shown(f"{type(error).__name__}: {error}"))

    async def _post(
        self, url: str, headers: Mapping[str, str], body: bytes, now: datetime
    ) -> Answer:
        fields = [(name.encode(), value.encode()) for name, value in headers.items()]
        async with self._pool.stream("POST", url, headers=fields, content=body) as answer:
            said = bytearray()
            async for block in answer.aiter_stream():
                said += block
                if len(said) >= _N_OCTETS_READ:
                    break  # leaving the block closes the connection
            told = {name.lower(): value for name, value in answer.headers}
        status = answer.status
        reason = f"{status} {_shown(said.decode(errors='replace'))}".strip()
        if 300 <= status < 400:
            reason = f"{status}: redirects are not followed"
        return Answer(
            status=status, reason=reason, asked=_asked(told.get(b"retry-after", b""), now)
        )


def pinned(
    inner: httpcore2.AsyncNetworkBackend, destinations: Destinations, resolve: Resolve
) -> httpcore2.AsyncNetworkBackend:
    """A backend that connects only where `destinations` lets it, to the address that it checked."""
    import httpcore2

    class Pinned(httpcore2.AsyncNetworkBackend):
        async def connect_tcp(
            self,
            host: str,
            port: int,
            timeout: float | None = None,
            local_address: str | None = None,
            socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
        ) -> httpcore2.AsyncNetworkStream:
            failure: Exception = NotAllowedError(f"webhooks.allow has no address of {host}")
            for address in await _addresses(host, port, resolve):
                if not destinations.may_reach(host, ipaddress.ip_address(address), port):
                    continue
                try:
                    return await inner.connect_tcp(
                        address, port, timeout, local_address, socket_options
                    )
                except httpcore2.ConnectError as error:
                    failure = error
            raise failure

        async def connect_unix_socket(
            self,
            path: str,
            timeout: float | None = None,
            socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
        ) -> httpcore2.AsyncNetworkStream:
            del path, timeout, socket_options
            raise NotAllowedError("no webhook is a Unix socket")

        async def sleep(self, seconds: float) -> None:
            await inner.sleep(seconds)

    return Pinned()


async def _addresses(host: str, port: int, resolve: Resolve) -> Sequence[str]:
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        pass
    try:
        found = await resolve(host, port)
    except UnicodeError:  # what the resolver's IDNA says to an empty or too long label
        raise NotAllowedError("the name of the host is none") from None
    return [one for one in found if "%" not in one][:_MOST_ADDRESSES]


def _asked(value: bytes, now: datetime) -> timedelta | None:
    """What `Retry-After` says: seconds, or a date. Source: RFC 9110 §10.2.3."""
    text = value.decode("ascii", errors="replace").strip()
    if re.fullmatch(r"[0-9]{1,12}", text):
        return timedelta(seconds=min(int(text), _MOST_SECONDS))
    try:
        at = parsedate_to_datetime(text)
        return None if at.tzinfo is None else max(at - now, timedelta(0))
    except (ValueError, OverflowError):
        return None


def _shown(text: str) -> str:
    """Words of a stranger, cut and without what a terminal would act on."""
    return "".join(char if char.isprintable() else " " for char in text[:_N_CHARS_SHOWN]).strip()
