"""Nodes: the servers that share the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query

from api.auth import Who
from api.parameters import Reason, needs
from api.problems import problems
from api.services import Of
from modemctl.service.nodes import NodeView
from modemctl.service.principal import Scope

router = APIRouter(prefix="/v1", tags=["nodes"])


@router.get("/nodes", responses=problems(), openapi_extra=needs(Scope.MODEMS_READ))
async def list_nodes(
    who: Who,
    of: Of,
    *,
    all_: Annotated[bool, Query(alias="all", description="Also those that were removed.")] = False,
) -> Sequence[NodeView]:
    """Servers of the site by name, with their last sign of life."""
    return await of.nodes.list_nodes(who, with_removed=all_)


@router.post(
    "/nodes/{node}/drain",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.MODEMS_OPERATE),
)
async def drain_node(who: Who, of: Of, node: str, body: Reason) -> NodeView:
    """Lease nothing more on a node; what it holds ends there. It stays so over restarts."""
    return await of.nodes.drain(who, node, body.reason)


@router.post(
    "/nodes/{node}/undrain",
    responses=problems(404),
    openapi_extra=needs(Scope.MODEMS_OPERATE),
)
async def undrain_node(who: Who, of: Of, node: str, body: Reason) -> NodeView:
    """Let a node lease again; one that was removed may start again."""
    return await of.nodes.undrain(who, node, body.reason)


@router.post(
    "/nodes/{node}/remove",
    responses=problems(404, 409),
    openapi_extra=needs(Scope.MODEMS_OPERATE),
)
async def remove_node(who: Who, of: Of, node: str, body: Reason) -> NodeView:
    """Take a node off the list that is down or lost; it may not start again."""
    return await of.nodes.remove(who, node, body.reason)
