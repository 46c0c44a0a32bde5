"""Webhooks: who is sent which events (SEC-01, CC-05)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from api.auth import Who
from api.parameters import Body, Cursor, Limit, Moment, Reason, needs
from api.problems import problems
from api.services import Of
from modemctl.service.pages import Page
from modemctl.service.principal import Scope
from modemctl.service.webhooks import (
    DeliveryState,
    DeliveryView,
    Replayed,
    WebhookSecret,
    WebhookTest,
    WebhookView,
)

router = APIRouter(prefix="/v1/webhooks", tags=["events"])

_READ = needs(Scope.WEBHOOKS_READ)
_WRITE = needs(Scope.WEBHOOKS_WRITE)


class NewWebhook(Body):
    """A receiver, and what it is sent."""

    name: str = Field(max_length=32, description="What it is known by, also in metrics.")
    url: str = Field(max_length=500, description="Scheme, host, path; the settings allow the host.")
    events: list[Annotated[str, Field(max_length=64)]] = Field(
        max_length=64, description="Types of events: `message.final`, `batch.*`, `*` for all."
    )
    department: str | None = Field(
        default=None, max_length=128, description="Only what this one may see; null: all."
    )
    parallel: int = Field(
        default=1, ge=1, le=16, description="Requests at once; 1 keeps the order of events."
    )


class Rotation(Body):
    """How long the secret before stays valid."""

    overlap_hours: int = Field(default=24, ge=0, le=720)


class Replay(Body):
    """What is sent once more: these, those of a time, or (without both) all dead ones."""

    webhook_ids: list[Annotated[str, Field(max_length=64)]] = Field(
        default_factory=list, max_length=1_000
    )
    since: Moment | None = None
    until: Moment | None = None


@router.get("", responses=problems(), openapi_extra=_READ)
async def list_webhooks(who: Who, of: Of) -> Sequence[WebhookView]:
    """All webhooks in sight, and how far each is."""
    return await of.webhooks.list(who)


@router.post("", status_code=201, responses=problems(409), openapi_extra=_WRITE)
async def add_webhook(who: Who, of: Of, body: NewWebhook) -> WebhookSecret:
    """Register a webhook, which gets the events from now on; the secret is shown this once."""
    return await of.webhooks.add(
        who,
        name=body.name,
        url=body.url,
        events=body.events,
        department=body.department,
        parallel=body.parallel,
    )


@router.post("/{name}/test", responses=problems(404), openapi_extra=_WRITE)
async def test_webhook(who: Who, of: Of, name: str) -> WebhookTest:
    """Send a test event once, now; says what the receiver answered."""
    return await of.webhooks.test(who, name)


@router.post("/{name}/pause", responses=problems(404), openapi_extra=_WRITE)
async def pause_webhook(who: Who, of: Of, name: str, body: Reason) -> WebhookView:
    """Send it nothing; its events wait, as long as events are kept."""
    return await of.webhooks.pause(who, name, reason=body.reason)


@router.post("/{name}/resume", responses=problems(404), openapi_extra=_WRITE)
async def resume_webhook(who: Who, of: Of, name: str) -> WebhookView:
    """Send it events again, at once; also one that was gone or fails."""
    return await of.webhooks.resume(who, name)


@router.post("/{name}/rotate-secret", responses=problems(404), openapi_extra=_WRITE)
async def rotate_webhook_secret(
    who: Who, of: Of, name: str, body: Rotation | None = None
) -> WebhookSecret:
    """A new secret, shown this once; the one before signs beside it for a while."""
    overlap = timedelta(hours=(body or Rotation()).overlap_hours)
    return await of.webhooks.rotate_secret(who, name, overlap=overlap)


@router.delete(
    "/{name}",
    status_code=204,
    response_class=Response,
    responses=problems(404),
    openapi_extra=_WRITE,
)
async def remove_webhook(who: Who, of: Of, name: str) -> None:
    """Forget a webhook with all that waits for it."""
    await of.webhooks.remove(who, name)


@router.get("/{name}/deliveries", responses=problems(404), openapi_extra=_READ)
async def list_webhook_deliveries(
    who: Who,
    of: Of,
    name: str,
    *,
    state: Annotated[DeliveryState | None, Query(description="Only `waiting` or `dead`.")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[DeliveryView]:
    """Events that it did not take, oldest first; those that it took leave no row."""
    return await of.webhooks.deliveries(who, name, state=state, cursor=cursor, limit=limit)


@router.post("/{name}/replay", responses=problems(404), openapi_extra=_WRITE)
async def replay_webhook(who: Who, of: Of, name: str, body: Replay | None = None) -> Replayed:
    """Send events once more, under their own ids."""
    asked = body or Replay()
    return await of.webhooks.replay(
        who, name, webhook_ids=asked.webhook_ids, since=asked.since, until=asked.until
    )
