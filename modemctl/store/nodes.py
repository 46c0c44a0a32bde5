"""Nodes: daemons that share this database, and their heartbeats."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select, update

from modemctl.store.tables import node
from modemctl.store.transaction import Tx


def is_known(conn: Connection, node_id: str) -> bool:
    """Whether a daemon of this name ever ran on this database."""
    found = select(node.c.node_id).where(node.c.node_id == node_id)
    return conn.scalar(found) is not None


def start(tx: Tx) -> None:
    """Enter this node, or note that it started again."""
    known = tx.conn.scalar(select(node.c.node_id).where(node.c.node_id == tx.node_id))
    times = {"started_at": tx.now, "heartbeat_at": tx.now}
    if known is None:
        tx.conn.execute(insert(node).values(node_id=tx.node_id, **times))
    else:
        tx.conn.execute(update(node).where(node.c.node_id == tx.node_id).values(times))
    tx.audit(tx.node_id, "node.start", tx.node_id, {})


def beat(tx: Tx) -> None:
    """Note that this node lives."""
    tx.conn.execute(update(node).where(node.c.node_id == tx.node_id).values(heartbeat_at=tx.now))


def stop(tx: Tx) -> None:
    """Note that this node ended in order: nothing of it is in flight."""
    tx.audit(tx.node_id, "node.stop", tx.node_id, {})
