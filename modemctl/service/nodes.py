"""The servers of a site: how each stands, draining one, taking one off the list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from modemctl.errors import Conflict, InvalidRequest, NotFound
from modemctl.model import NodeState
from modemctl.service.principal import Principal, Scope
from modemctl.store import Store, Tx, bay_names
from modemctl.store import nodes as rows
from modemctl.store.nodes import NodeRow

__all__ = ["NodeState", "NodeView", "Nodes"]

_REASON_MAX: Final = 500
_LISTS: Final = "modemctl node list names all"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """A server of the site.

    `is_this` marks the one that answers. `n_held` are segments that it has leased or is submitting.
    `skew_seconds` is how far its clock was before the database server's at its last heartbeat.
    """

    node: str
    is_this: bool
    state: NodeState
    is_draining: bool
    version: str | None
    boot_id: str | None
    started_at: datetime
    heartbeat_at: datetime
    skew_seconds: float | None
    n_bays: int
    n_held: int


class Nodes:
    """Shows nodes; drains them, brings them back, removes what is gone."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list_nodes(self, who: Principal, *, with_removed: bool = False) -> Sequence[NodeView]:
        """All nodes by name; those that were removed only `with_removed`.

        Raises:
            NotPermitted: scope.
        """
        who.require(Scope.MODEMS_READ)
        found = await self._store.read(rows.find)
        return [
            self._view(one) for one in found if with_removed or one.state is not NodeState.REMOVED
        ]

    async def bay_named(self, who: Principal, text: str) -> str:
        """The bay that is meant: its own name, `node/bay`, or `bay` where one node has it.

        What is none at all is told where it is looked for.

        Raises:
            InvalidRequest: several nodes have it.
        """
        if not self._store.is_shared or Scope.MODEMS_READ not in who.scopes:
            return text
        found = await self._store.read(lambda conn: bay_names.named(conn, text))
        if len(found) > 1:
            both = await self._store.read(lambda conn: bay_names.nodes_of(conn, found))
            cure = "say " + " or ".join(f"{one}/{text}" for one in both)
            raise InvalidRequest(
                "several nodes have such a bay", field="bay", value=text, cure=cure
            )
        return found[0] if found else text

    async def drain(self, who: Principal, node: str, reason: str) -> NodeView:
        """Lease nothing more on a node; what it holds ends there. It stays so over restarts.

        Raises:
            NotPermitted, InvalidRequest, NotFound: scope, department, reason or name.
            Conflict: it was removed.
        """
        self._require(who, reason)

        def act(tx: Tx) -> NodeView:
            found = _known(tx, node)
            if found.state is NodeState.REMOVED:
                raise Conflict(f"node {node} was removed", cure="modemctl node undrain")
            if rows.set_draining(tx, node, is_draining=True):
                _note(tx, who, "node.drain", node, reason)
            return self._view(_known(tx, node))

        return await self._store.write(act)

    async def undrain(self, who: Principal, node: str, reason: str) -> NodeView:
        """Let a node lease again; one that was removed may start again.

        Raises:
            NotPermitted, InvalidRequest, NotFound: as `drain`.
        """
        self._require(who, reason)

        def act(tx: Tx) -> NodeView:
            before = _known(tx, node)
            if rows.set_draining(tx, node, is_draining=False):
                _note(tx, who, "node.undrain", node, reason, before=before.state)
            return self._view(_known(tx, node))

        return await self._store.write(act)

    async def remove(self, who: Principal, node: str, reason: str) -> NodeView:
        """Take a node off the list that is down or lost; it may not start again.

        Raises:
            NotPermitted, InvalidRequest, NotFound: as `drain`.
            Conflict: it lives, or holds segments still.
        """
        self._require(who, reason)

        def act(tx: Tx) -> NodeView:
            found = _known(tx, node)
            if found.state is NodeState.REMOVED:
                return self._view(found)
            if found.state is NodeState.UP:
                cure = "stop its daemon first; one that died is lost after 90 s"
                raise Conflict(f"node {node} is up", cure=cure)
            if found.n_held:
                cure = "they go back by themselves within minutes; then ask again"
                raise Conflict(f"node {node} holds {found.n_held} segments", cure=cure)
            rows.remove(tx, node)
            _note(tx, who, "node.remove", node, reason, before=found.state)
            return self._view(_known(tx, node))

        return await self._store.write(act)

    def _require(self, who: Principal, reason: str) -> None:
        who.require(Scope.MODEMS_OPERATE)
        who.require_all_departments()
        if not 0 < len(reason.strip()) <= _REASON_MAX:
            raise InvalidRequest(f"a reason of at most {_REASON_MAX} characters", field="reason")

    def _view(self, one: NodeRow) -> NodeView:
        skew = None if one.skew_ms is None else timedelta(milliseconds=one.skew_ms)
        return NodeView(
            node=one.node_id,
            is_this=one.node_id == self._store.node_id,
            state=one.state,
            is_draining=one.is_draining,
            version=one.version,
            boot_id=one.boot_id,
            started_at=one.started_at,
            heartbeat_at=one.heartbeat_at,
            skew_seconds=None if skew is None else skew.total_seconds(),
            n_bays=one.n_bays,
            n_held=one.n_held,
        )


def _known(tx: Tx, node: str) -> NodeRow:
    found = rows.find(tx.conn, node)
    if not found:
        raise NotFound("no such node", field="node", value=node[:64], cure=_LISTS)
    return found[0]


def _note(
    tx: Tx, who: Principal, act: str, node: str, reason: str, *, before: NodeState | None = None
) -> None:
    details = {"reason": reason.strip(), "source": who.source}
    if before is not None:
        details["before"] = before.value
    tx.audit(who.name, act, node, {**details})
