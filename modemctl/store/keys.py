"""The data keys in the database: opened at start, wrapped for another master key, rotated.

Whatever is interrupted leaves a site that opens: two master keys may open the same data keys, and
ciphertexts of every generation stay readable while others are encrypted anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from modemctl.errors import ConfigError, TamperedError
from modemctl.store.tables import data_key, meta
from modemctl.store.transaction import Tx
from modemctl.vault import KeyUse, Vault, WrappedKey

_CHECK: Final = "key_check"
_NEXT: Final = "key_next"


def opens(conn: Connection, key_check: str) -> bool:
    """Whether the master key of this check value opens the database's data keys."""
    is_known = conn.scalar(select(meta.c.value).where(meta.c.key == _CHECK)) == key_check
    return is_known or bool(_read(conn, key_check))


def unlock(conn: Connection, vault: Vault) -> None:
    """Let the vault use this database's data keys.

    Raises:
        ConfigError: they do not open: the file is damaged.
    """
    try:
        vault.adopt(_read(conn, vault.check_value))
    except TamperedError as error:
        cure = "restore a copy of the database, and the master key of its time"
        raise ConfigError(
            [f"the database's data keys cannot be opened ({error}); {cure}"]
        ) from None


def seed(conn: Connection, vault: Vault, *, is_new: bool, now: datetime) -> None:
    """Give a database its data keys: random ones where it is new, else those it was made with."""
    keys = vault.new_keys() if is_new else vault.first_keys
    _add(conn, keys, master=vault.check_value, now=now)


# ---------------------------------------------------------------- another generation


def add_generation(tx: Tx) -> WrappedKey:
    """A key that encrypts, of the next generation; adopt the keys after the commit."""
    key = tx.vault.next_key()
    _add(tx.conn, [key], master=tx.vault.check_value, now=tx.now)
    return key


# ---------------------------------------------------------------- another master key


def is_changing(conn: Connection) -> bool:
    """Whether two master keys open the database."""
    return conn.scalar(select(meta.c.value).where(meta.c.key == _NEXT)) is not None


def wrap_for(tx: Tx, new: Vault) -> int:
    """Let another master key open the data keys, too; returns how many there are.

    Raises:
        TamperedError: one of them does not open.
    """
    tx.conn.execute(delete(data_key).where(data_key.c.master != tx.vault.check_value))
    tx.conn.execute(delete(meta).where(meta.c.key == _NEXT))
    keys = tx.vault.rewrap(_read(tx.conn, tx.vault.check_value), new)
    _add(tx.conn, keys, master=new.check_value, now=tx.now)
    tx.conn.execute(insert(meta).values(key=_NEXT, value=new.check_value))
    return len(keys)


def finish_master(tx: Tx) -> bool:
    """The new master key opened the database: the one before opens it no longer."""
    own = tx.vault.check_value
    if tx.conn.scalar(select(meta.c.value).where(meta.c.key == _NEXT)) != own:
        return False
    tx.conn.execute(update(meta).where(meta.c.key == _CHECK).values(value=own))
    tx.conn.execute(delete(data_key).where(data_key.c.master != own))
    tx.conn.execute(delete(meta).where(meta.c.key == _NEXT))
    tx.audit(tx.node_id, "vault.master_changed", "master key", {"policy": "SEC-03"})
    return True


def _read(conn: Connection, master: str) -> Sequence[WrappedKey]:
    rows = conn.execute(select(data_key).where(data_key.c.master == master))
    known = set(KeyUse)
    return [
        WrappedKey(use=KeyUse(row.use), generation=row.generation, wrapped=row.wrapped)
        for row in rows
        if row.use in known
    ]


def _add(conn: Connection, keys: Iterable[WrappedKey], *, master: str, now: datetime) -> None:
    conn.execute(
        insert(data_key),
        [
            {
                "use": key.use.value,
                "generation": key.generation,
                "master": master,
                "wrapped": key.wrapped,
                "created_at": now,
            }
            for key in keys
        ],
    )
