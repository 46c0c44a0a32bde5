"""The application: routes over services, one mapping of errors, nothing that calls out."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from api.edge import Edge
from api.problems import Problem, install
from api.routes import (
    accounts,
    admissions,
    audit,
    authorities,
    backups,
    balances,
    batches,
    calls,
    custody,
    customers,
    departments,
    duties,
    elevations,
    events,
    exports,
    handovers,
    health,
    inbox,
    incidents,
    limits,
    messages,
    modems,
    nodes,
    operators,
    opt_outs,
    pin_reveals,
    policy,
    puks,
    qualifications,
    records,
    reports,
    requests,
    sims,
    stops,
    vault,
    violations,
    webhooks,
)
from api.services import Api, Services
from modemctl.config import ApiSettings
from modemctl.telemetry import Telemetry

__all__ = ["Services", "create_app", "describe", "end_streams"]

_ROUTERS = (
    batches.router,
    stops.router,
    incidents.router,
    violations.router,
    handovers.router,
    messages.router,
    modems.router,
    nodes.router,
    admissions.router,
    sims.router,
    custody.router,
    puks.router,
    pin_reveals.router,
    inbox.router,
    limits.router,
    backups.router,
    balances.router,
    duties.router,
    calls.router,
    opt_outs.router,
    customers.router,
    accounts.router,
    authorities.router,
    operators.router,
    qualifications.router,
    departments.router,
    elevations.router,
    requests.router,
    webhooks.router,
    policy.router,
    records.router,
    vault.router,
    events.router,
    audit.router,
    reports.router,
    exports.router,
    health.router,
)
_ABOUT = """\
Controls a bank of GSM modems. Refusals are `application/problem+json` (RFC 9457) with `field`,
`rule`, `policy` and `cure`. Lists are pages: `next` of one is `cursor` of the following."""


def create_app(services: Services, *, settings: ApiSettings, telemetry: Telemetry) -> FastAPI:
    """The application over these services; `api.server.serve` runs it."""
    app = _routes()
    app.state.api = Api(services=services, settings=settings, telemetry=telemetry)

    def forbidden(rule: str) -> None:
        telemetry.count("modemctl_policy_refusals_total", policy=rule)
        services.access.refused(rule)

    install(app, on_policy=forbidden)
    app.add_middleware(
        Edge,
        telemetry=telemetry,
        max_json_bytes=settings.max_json_bytes,
        max_list_bytes=settings.max_list_bytes,
    )
    return app


def end_streams(app: FastAPI) -> None:
    """End every event stream at once, so that a shutdown need not wait for its readers."""
    api = getattr(app.state, "api", None)  # a start that waits has none yet
    if isinstance(api, Api):
        api.services.events.close()


def describe() -> dict[str, Any]:
    """The OpenAPI document, for the reference page."""
    return _routes().openapi()


def _routes() -> FastAPI:
    # As they are: a router that is included makes all its routes a second time, at the first
    # request, and stops the loop for most of a second.
    routes = [route for router in _ROUTERS for route in router.routes]
    app = FastAPI(
        title="modemctl",
        version=version("modemctl"),
        description=_ABOUT,
        docs_url=None,  # its pages load scripts from elsewhere (CC-05)
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
        routes=routes,
    )
    app.openapi = lambda: _schema(app)  # type: ignore[method-assign]  # FastAPI's documented way
    return app


def _schema(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with the problem that every refusal is."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        models = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        parts = schema.setdefault("components", {}).setdefault("schemas", {})
        parts.update(models.pop("$defs", {}))
        parts["Problem"] = models
        app.openapi_schema = schema
    return app.openapi_schema
