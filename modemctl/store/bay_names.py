"""What a bay is called: its machine's name of it, or `node/bay` where another node had that."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, insert, or_, select, update

from modemctl.lifecycle import ModemState
from modemctl.model import Bay, NodeState
from modemctl.store.modems import JUST_STARTED
from modemctl.store.tables import modem, node
from modemctl.store.transaction import Tx

SEPARATOR: Final = "/"


def qualified(node_id: str, bay: str) -> Bay:
    """The name of a node's bay where the plain one is another's."""
    return Bay(f"{node_id}{SEPARATOR}{bay}")


def claim(tx: Tx, bays: Collection[Bay]) -> Mapping[Bay, Bay]:
    """Names for bays of this node, kept from now on: plain unless another node has it.

    What was a removed node's is anybody's.
    """
    owners = _owners(tx.conn, [*bays, *(qualified(tx.node_id, bay) for bay in bays)])
    gone = {
        row.node_id
        for row in tx.conn.execute(
            select(node.c.node_id).where(node.c.state == NodeState.REMOVED.value)
        )
    }
    names: dict[Bay, Bay] = {}
    for bay in sorted(bays):
        own = qualified(tx.node_id, bay)
        is_free = owners.get(bay, tx.node_id) in {tx.node_id, *gone}
        name = bay if is_free and own not in owners else own
        names[bay] = name
        if name not in owners:
            _enter(tx, name)
        elif owners[name] != tx.node_id:
            tx.conn.execute(update(modem).where(modem.c.bay == name).values(node_id=tx.node_id))
    return names


def named(conn: Connection, text: str) -> Sequence[Bay]:
    """The bays that a person may mean: `bay` is that of any node, `node/bay` of this one."""
    node_id, _, plain = text.partition(SEPARATOR)
    rows = conn.execute(
        select(modem.c.bay, modem.c.node_id).where(
            or_(
                modem.c.bay == text,
                modem.c.bay.endswith(f"{SEPARATOR}{text}", autoescape=True),
                (modem.c.bay == plain) & (modem.c.node_id == node_id),
            )
        )
    ).all()
    exact = [row for row in rows if row.bay == text]
    if exact and text == qualified(exact[0].node_id, plain):
        return [Bay(text)]
    meant = (text, qualified(node_id, plain))
    return sorted(
        Bay(row.bay)
        for row in rows
        if row.bay in meant
        or row.bay == qualified(row.node_id, text)
        or (row.bay == plain and row.node_id == node_id)
    )


def nodes_of(conn: Connection, bays: Collection[Bay]) -> Sequence[str]:
    """The nodes of these bays, by name."""
    return sorted(set(_owners(conn, bays).values()))


def _owners(conn: Connection, bays: Collection[str]) -> Mapping[str, str]:
    rows = conn.execute(select(modem.c.bay, modem.c.node_id).where(modem.c.bay.in_(sorted(bays))))
    return {row.bay: row.node_id for row in rows}


def _enter(tx: Tx, bay: Bay) -> None:
    values = {
        "bay": bay,
        "node_id": tx.node_id,
        "state": ModemState.ABSENT.value,
        "reason": JUST_STARTED,
        "state_at": tx.now,
        "updated_at": tx.now,
    }
    tx.conn.execute(insert(modem).values(values))
