"""Serves the application in the daemon's own loop, on a Unix socket and on loopback TCP."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.app import end_streams
from api.auth import PEER_UID
from modemctl.config import ApiSettings
from modemctl.errors import ConfigError

__all__ = ["listen", "serve"]

_BACKLOG: Final = 256
_GRACE: Final = 2  # seconds that requests in flight have at shutdown
_KEEP_ALIVE: Final = 30  # seconds that an idle connection stays open
_PROBE: Final = 1.0  # seconds to find out whether somebody listens on a socket that is in the way
_UCRED: Final = struct.Struct("3i")  # pid, uid, gid: SO_PEERCRED, unix(7)


def _nothing() -> None:
    """Nobody wants to know."""


async def serve(
    app: FastAPI,
    settings: ApiSettings,
    *,
    stop: asyncio.Event,
    on_listening: Callable[[], None] = _nothing,
) -> None:
    """Serve until `stop` is set; event streams end at once, other requests within 2 s.

    `on_listening` is called when connections are accepted.

    Raises:
        ConfigError: an address cannot be had.
    """
    config = uvicorn.Config(
        app,
        http=_PeerProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nobody may tell us that he is somebody else
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_GRACE,
    )
    server = _Server(config, on_listening)
    with ExitStack() as stack:
        sockets = [stack.enter_context(one) for one in listen(settings)]
        if not sockets:
            raise ConfigError(["the API has nowhere to listen; set api.unix_socket"])
        if settings.unix_socket.is_socket():
            stack.callback(settings.unix_socket.unlink, missing_ok=True)
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(_watch(app, server, stop), name="api stop")
            await server.serve(sockets=sockets)
            watch.cancel()


def listen(settings: ApiSettings) -> Sequence[socket.socket]:
    """The listening sockets; a stale Unix socket is removed first.

    Raises:
        ConfigError: an address cannot be had.
    """
    sockets = [_unix_socket(settings.unix_socket)]
    if settings.tcp_port:
        try:
            sockets.append(_tcp_socket(settings.tcp_host, settings.tcp_port))
        except OSError as error:
            sockets[0].close()
            settings.unix_socket.unlink(missing_ok=True)
            where = f"{settings.tcp_host}:{settings.tcp_port}"
            cure = "choose another api.tcp_port, or 0 for none"
            raise ConfigError(
                [f"the API cannot listen on {where}: {error.strerror}; {cure}"]
            ) from None
    return sockets


class _PeerProtocol(HttpToolsProtocol):
    """HTTP that knows which user is at the other end of a Unix socket."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Note the peer's uid as the kernel tells it, once a connection."""
        super().connection_made(transport)
        peer = transport.get_extra_info("socket")
        if peer is not None and peer.family == socket.AF_UNIX:
            octets = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
            uid = _UCRED.unpack(octets)[1]
            self.app_state = {**self.app_state, PEER_UID: uid}


class _Server(uvicorn.Server):
    """uvicorn without signals: those are the daemon's."""

    def __init__(self, config: uvicorn.Config, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_listening = on_listening

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the process's signal handlers alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections, then say so."""
        await super().startup(sockets)
        self._on_listening()


async def _watch(app: FastAPI, server: uvicorn.Server, stop: asyncio.Event) -> None:
    await stop.wait()
    end_streams(app)
    server.should_exit = True


def _tcp_socket(host: str, port: int) -> socket.socket:
    """A socket with its protocol named: else asyncio leaves Nagle on, 40 ms a request."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
    except OSError:
        sock.close()
        raise
    return sock


def _unix_socket(path: Path) -> socket.socket:
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o117)  # 0660 from the first instant
    try:
        sock.bind(str(path))
        sock.setblocking(False)  # noqa: FBT003 - the standard library's signature
    except OSError as error:
        sock.close()
        cure = "its folder must exist and be writable (api.unix_socket)"
        reason = error.strerror or str(error)
        raise ConfigError([f"the API cannot listen on {path}: {reason}; {cure}"]) from None
    finally:
        os.umask(mask)
    return sock


def _remove_stale(path: Path) -> None:
    """Remove what a killed daemon left; never the socket of one that lives."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError([f"{path} is in the way: {error}; remove it"]) from None
        else:
            raise ConfigError([f"another program serves {path}; stop it first"])
