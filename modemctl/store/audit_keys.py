"""The public audit keys of all nodes, a row of `meta` each, under a MAC: by them any node verifies
the chains of all.

A row is written in the transaction that starts a node, and never changed: whoever has lost an audit
key goes on under another node name. Who writes the database without keys makes no such row.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, select

from modemctl.audit import Head, verify
from modemctl.errors import Conflict
from modemctl.store.audits import last_entry, read_entries
from modemctl.store.engine import UNREADABLE, readable_cells
from modemctl.store.tables import meta
from modemctl.store.transaction import Tx
from modemctl.vault import Vault, public_key

_KEY: Final = "signer:"
_CURE: Final = "put its key file back, or give this node another name (site.node)"


def enter(tx: Tx, public: bytes) -> None:
    """Note this node's public key (32 octets) where it starts.

    A row that is not ours is written anew: a node believes its own key file.

    Raises:
        Conflict: the node had another key; what it signs now would verify nowhere.
    """
    name = f"{_KEY}{tx.node_id}"
    known = _keys(tx.conn, tx.vault)[0].get(tx.node_id)
    if known is not None and known != public:
        raise Conflict(f"node {tx.node_id} had another audit key", cure=_CURE)
    if known is None:
        tx.conn.execute(meta.delete().where(meta.c.key == name))
        value = _sealed(tx.vault, name, public.hex())
        tx.conn.execute(meta.insert().values(key=name, value=value))


def known_keys(conn: Connection, vault: Vault) -> Mapping[str, bytes]:
    """Node → its public key, of those whose rows are ours."""
    return _keys(conn, vault)[0]


def altered_keys(conn: Connection, vault: Vault) -> list[str]:
    """A line for each row that modemctl did not write as it stands."""
    return _keys(conn, vault)[1]


def signed_heads(conn: Connection, keys: Mapping[str, bytes]) -> Mapping[str, Head]:
    """The ends of these nodes' chains, of those whose last entry the node has signed."""
    heads = {}
    for node_id, key in keys.items():
        try:
            with readable_cells():
                last = last_entry(conn, node_id)
                found = read_entries(conn, node_id=node_id, numbers=[last])
        except UNREADABLE:
            continue  # a verification names it
        for entry in found:
            before = Head(seq=entry.seq - 1, hash=entry.prev)
            if not list(verify([entry], public_key(key), after=before)):
                heads[node_id] = Head(seq=entry.seq, hash=entry.hash)
    return heads


def _sealed(vault: Vault, name: str, words: str) -> str:
    return f"{words} {vault.mac('signer', name, words).hex()}"


def _keys(conn: Connection, vault: Vault) -> tuple[dict[str, bytes], list[str]]:
    found, faults = {}, []
    for name, value in conn.execute(_ROWS):
        words = str(value).partition(" ")[0]
        if not hmac.compare_digest(_sealed(vault, name, words).encode(), str(value).encode()):
            faults.append(f"meta {name}: the row was not written by modemctl")
            continue
        found[str(name).removeprefix(_KEY)] = bytes.fromhex(words)
    return found, faults


_ROWS: Final = select(meta.c.key, meta.c.value).where(meta.c.key.startswith(_KEY))
