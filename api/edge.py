"""The outermost layer: caps bodies, counts requests, lets no exception through."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import unforeseen
from modemctl.telemetry import Telemetry

__all__ = ["Edge"]

_LISTS: Final = re.compile(r"/v1/(batches/upload|sims/import)")
"""Addresses that take a list as a stream; no other body is larger than the JSON cap."""
_UNMATCHED: Final = "unmatched"
_MAX_CAUSES: Final = 10
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_log = logging.getLogger(__name__)


class Edge:
    """ASGI middleware around the whole application."""

    def __init__(
        self, app: ASGIApp, *, telemetry: Telemetry, max_json_bytes: int, max_list_bytes: int
    ) -> None:
        self._app = app
        self._telemetry = telemetry
        self._max_json_bytes = max_json_bytes
        self._max_list_bytes = max_list_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; `except Exception` of the HTTP edge stands here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        answer = _Answer(send)
        cap = self._max_list_bytes if _LISTS.fullmatch(scope["path"]) else self._max_json_bytes
        try:
            await self._app(scope, _Capped(receive, cap), answer)
        except ClientDisconnect:
            pass  # nobody is there to be answered: counted as 499
        except Exception as error:  # noqa: BLE001 - the HTTP edge: nothing escapes to the server
            _log.error(
                "api.failed",
                extra={"route": _route(scope), "kind": type(error).__name__},
                exc_info=_wordless(error),
            )
            if answer.status is None:
                await unforeseen()(scope, receive, answer)
        finally:
            self._count(scope, answer.status, loop.time() - began)

    def _count(self, scope: Scope, status: int | None, seconds: float) -> None:
        route = _route(scope)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._telemetry.count(
            "modemctl_api_requests_total", method=method, route=route, status=str(status or 499)
        )
        if not route.endswith("/stream"):  # lasts as long as its reader likes
            self._telemetry.observe("modemctl_api_request_seconds", seconds, route=route)


class _Answer:
    """Passes an answer on and remembers its status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


class _Capped:
    """Passes a body on until it is larger than allowed."""

    def __init__(self, receive: Receive, cap: int) -> None:
        self._receive = receive
        self._cap = cap
        self._n_octets = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._n_octets += len(message.get("body", b""))
        if self._n_octets > self._cap:
            raise HTTPException(413, f"the body must not exceed {self._cap} bytes")
        return message


class _Wordless(Exception):
    """Stands in the log for an error whose words may repeat what was asked."""


def _wordless(error: BaseException, depth: int = 0) -> _Wordless:
    """Kinds and frames of an error and of what led to it."""
    more = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    kinds = ", ".join(type(one).__name__ for one in (error, *more))
    stand_in = _Wordless(kinds).with_traceback(error.__traceback__)
    cause = error.__cause__ or error.__context__ or (more[0] if more else None)
    if cause is not None and depth < _MAX_CAUSES:
        stand_in.__cause__ = _wordless(cause, depth + 1)
    return stand_in


def _route(scope: Scope) -> str:
    """The address's template: a label from a closed set, never an id."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else _UNMATCHED
