"""What answers while a start waits for its database: alive, not ready, and why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from fastapi import FastAPI, Response

from api.problems import install
from api.routes.health import Alive, Ready, healthz
from api.server import serve
from modemctl.config import ApiSettings
from modemctl.errors import ConfigError, StoreError
from modemctl.service.health import Check

_METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE"]


@asynccontextmanager
async def waiting_room(settings: ApiSettings) -> AsyncIterator[Callable[[str], None]]:
    """Gives what is told the reason of the wait; the first opens the API's addresses.

    They are free again at the end.

    Raises:
        ConfigError: an address cannot be had.
    """
    reasons: list[str] = []
    stop = asyncio.Event()
    app = _create_app(lambda: reasons[-1])
    try:
        async with asyncio.TaskGroup() as group:

            def tell(reason: str) -> None:
                if not reasons:
                    group.create_task(serve(app, settings, stop=stop), name="waiting room")
                reasons.append(reason)
                del reasons[:-1]

            try:
                yield tell
            finally:
                stop.set()
    except* (ConfigError, StoreError) as errors:
        raise _first(errors) from None


def _first(errors: BaseExceptionGroup[ConfigError | StoreError]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _create_app(why: Callable[[], str]) -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    install(app, on_policy=_note_nothing)
    app.add_api_route("/healthz", healthz, response_model=Alive)

    @app.get("/readyz")
    async def readyz(response: Response) -> Ready:
        response.status_code = 503
        checks = [Check(name=name, is_good=False, detail=why()) for name in _CHECKS]
        return Ready(is_ready=False, checks=checks)

    @app.api_route("/{path:path}", methods=_METHODS)
    async def refuse(path: str) -> None:
        raise StoreError(f"{path}: {why()}")

    return app


def _note_nothing(rule: str) -> None:
    """No rule of the company is asked here."""
    del rule


_CHECKS: Final = ("store_read", "store_write")
