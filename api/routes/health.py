"""Is the daemon alive, is it ready, what does it count."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from api.auth import authenticate_header
from api.parameters import needs
from api.problems import problems
from api.services import Of, api_of
from modemctl.service.health import Check
from modemctl.service.principal import Scope

router = APIRouter(tags=["health"])

_METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"


class Alive(BaseModel):
    """The daemon turns."""

    status: str = "alive"


class Ready(BaseModel):
    """Whether the daemon can do its work; each check by name."""

    is_ready: bool
    checks: Sequence[Check]


@router.get("/healthz", openapi_extra=needs("open"))
async def healthz() -> Alive:
    """Whether the daemon's loop turns. Open to all."""
    return Alive()


@router.get(
    "/readyz",
    responses={503: {"description": "Not ready; the checks say why.", "model": Ready}},
    openapi_extra=needs("open"),
)
async def readyz(of: Of, response: Response) -> Ready:
    """Whether the daemon can do its work. Open to all."""
    readiness = await of.health.readiness()
    if not readiness.is_ready:
        response.status_code = 503
    return Ready(is_ready=readiness.is_ready, checks=readiness.checks)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"description": "Prometheus text format.", "content": {_METRICS: {}}},
               **problems()},
    openapi_extra=needs(Scope.METRICS_READ),
)  # fmt: skip
async def metrics(request: Request) -> Response:
    """All metrics. Needs no key where `api.metrics_open` is set (loopback, nothing personal)."""
    api = api_of(request)
    if not api.settings.metrics_open:
        (await authenticate_header(request)).require(Scope.METRICS_READ)
    text = await asyncio.to_thread(api.telemetry.render)  # tens of milliseconds in a large bank
    return Response(text, media_type=_METRICS)
