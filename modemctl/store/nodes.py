"""Nodes: daemons that share this database, how they stand, and who takes over from a lost one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, func, insert, select, update

from modemctl.errors import Conflict
from modemctl.lifecycle import SegmentState
from modemctl.model import EventKind, NodeState, Topic
from modemctl.store import audit_keys, modems, pins, puks, sweeps
from modemctl.store.segments import SendingRules
from modemctl.store.tables import modem, node, segment
from modemctl.store.transaction import Tx

_ENDED: Final = "the daemon ended"
_LOST: Final = "its node was lost"
_HELD: Final = (SegmentState.LEASED.value, SegmentState.SUBMITTING.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """A node as its row says.

    `epoch` counts its starts, `n_beats` its heartbeats. `skew_ms` is how far its clock was before
    the database server's; None where there is none.
    """

    node_id: str
    state: NodeState
    is_draining: bool
    version: str | None
    boot_id: str | None
    started_at: datetime
    heartbeat_at: datetime
    steady_at: datetime | None
    skew_ms: int | None
    epoch: int
    n_beats: int
    n_bays: int
    n_held: int
    """Segments that it has leased or is submitting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What a life of a node left open: submits that are in doubt now, leases given back."""

    n_in_doubt: int
    n_leases: int


def is_known(conn: Connection, node_id: str) -> bool:
    """Whether a daemon of this name ever ran on this database."""
    found = select(node.c.node_id).where(node.c.node_id == node_id)
    return conn.scalar(found) is not None


def find(conn: Connection, node_id: str | None = None) -> Sequence[NodeRow]:
    """All nodes by name, removed ones too; or this one."""
    statement = _ALL.order_by(node.c.node_id)
    if node_id is not None:
        statement = statement.where(node.c.node_id == node_id)
    return [
        NodeRow(**{**row, "state": NodeState(row["state"])})
        for row in conn.execute(statement).mappings()
    ]


def start(tx: Tx, *, version: str, boot_id: str, public_key: bytes) -> int:
    """Begin a life of this node, before it writes anything else; returns its number.

    By `public_key` (32 octets) all nodes verify what this one signs from now on.

    From here on a life of before, wherever it goes on, writes nothing any more.

    Raises:
        Conflict: a person removed the node, or it had another audit key.
    """
    own = node.c.node_id == tx.node_id
    known = tx.conn.execute(select(node.c.epoch, node.c.state).where(own)).first()
    if known is not None and known.state == NodeState.REMOVED:
        cure = "on another node: modemctl node undrain; or give this one another name (site.node)"
        raise Conflict(f"node {tx.node_id} was removed", cure=cure)
    audit_keys.enter(tx, public_key)
    epoch = 1 if known is None else known.epoch + 1
    values = {
        "started_at": tx.now,
        "heartbeat_at": tx.now,
        "steady_at": tx.steady,
        "state": NodeState.UP.value,
        "epoch": epoch,
        "version": version[:32],
        "boot_id": boot_id[:64],
    }
    if known is None:
        tx.conn.execute(insert(node).values(node_id=tx.node_id, **values))
    else:
        tx.conn.execute(update(node).where(own).values(values))
    before = None if known is None else str(known.state)
    facts = {"epoch": epoch, "before": before, "audit_key": public_key.hex()}
    tx.audit(tx.node_id, "node.start", tx.node_id, facts)
    return epoch


def beat(tx: Tx) -> None:
    """Note that this node lives, out of turn."""
    tx.conn.execute(update(node).where(node.c.node_id == tx.node_id).values(heartbeat_at=tx.now))


def stop(tx: Tx) -> None:
    """Note that this node ended in order: nothing of it is in flight, nobody serves its bays."""
    own = node.c.node_id == tx.node_id
    tx.conn.execute(update(node).where(own).values(state=NodeState.DOWN.value, heartbeat_at=tx.now))
    if tx.conn.dialect.name == "postgresql":  # other nodes go on showing its bays
        modems.note_restart(tx, reason=_ENDED)
        tx.wake(Topic.MODEMS)
    tx.audit(tx.node_id, "node.stop", tx.node_id, {})


def settle(
    tx: Tx, rules: SendingRules, *, node_id: str | None = None, reason: str = _ENDED
) -> Settled:
    """What the life before of a node left open, of this one at its start: nobody will answer it.

    SUBMITTING is IN_DOUBT, LEASED is QUEUED again; tries of PINs and PUKs have no outcome.
    """
    node_id = node_id or tx.node_id
    n_in_doubt, n_leases = sweeps.recover(tx, rules, node_id=node_id, reason=reason)
    pins.close_open_tries(tx, node_id)
    puks.close_open(tx, node_id)
    return Settled(n_in_doubt=n_in_doubt, n_leases=n_leases)


def take_over(tx: Tx, lost: NodeRow, rules: SendingRules) -> Settled | None:
    """Declare a node lost that has not beaten since it was seen, and settle what it held.

    None where it has, or where somebody else was first: nothing happened then.
    """
    is_as_seen = (
        (node.c.node_id == lost.node_id)
        & (node.c.epoch == lost.epoch)
        & (node.c.n_beats == lost.n_beats)
        & (node.c.state == NodeState.UP.value)
    )
    if not tx.conn.execute(
        update(node).where(is_as_seen).values(state=NodeState.LOST.value)
    ).rowcount:
        return None
    settled = settle(tx, rules, node_id=lost.node_id, reason=_LOST)
    modems.note_restart(tx, node_id=lost.node_id, reason=_LOST)
    facts = {"n_in_doubt": settled.n_in_doubt, "n_leases": settled.n_leases}
    tx.audit(tx.node_id, "node.lost", lost.node_id, {"epoch": lost.epoch, **facts})
    tx.event(EventKind.ALARM, lost.node_id, {"alarm": "node_lost", **facts})
    tx.wake(Topic.WORK, Topic.MODEMS)
    return settled


def set_draining(tx: Tx, node_id: str, *, is_draining: bool) -> bool:
    """Lease nothing more on a node, or again; False where it was so. Brings a removed one back."""
    changes: dict[str, object] = {"is_draining": is_draining}
    is_other: ColumnElement[bool] = node.c.is_draining != is_draining
    if not is_draining:
        tx.conn.execute(
            update(node)
            .where(node.c.node_id == node_id, node.c.state == NodeState.REMOVED.value)
            .values(state=NodeState.DOWN.value, is_draining=True)
        )
    changed = tx.conn.execute(
        update(node).where(node.c.node_id == node_id, is_other).values(changes)
    )
    # With STOP nothing follows in this transaction, which is that of a node that drains.
    tx.wake(Topic.WORK, Topic.STOP)
    return bool(changed.rowcount)


def remove(tx: Tx, node_id: str) -> None:
    """Take a node that is down off the list: it may not start again, its bays are forgotten."""
    tx.conn.execute(
        update(node).where(node.c.node_id == node_id).values(state=NodeState.REMOVED.value)
    )
    modems.forget_node(tx, node_id)


_N_BAYS: Final = (
    select(func.count()).where(modem.c.node_id == node.c.node_id).correlate(node).scalar_subquery()
)
_N_HELD: Final = (
    select(func.count())
    .where(segment.c.node_id == node.c.node_id, segment.c.state.in_(_HELD))
    .correlate(node)
    .scalar_subquery()
)
_ALL: Final = select(node, _N_BAYS.label("n_bays"), _N_HELD.label("n_held"))
