"""The policy of the settings that counts: the last one that two persons confirmed (SEC-04)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, RowMapping, insert, select

from modemctl.config.policy import DEFAULT_TIMEZONE
from modemctl.errors import TamperedError
from modemctl.store.prepared import Prepared
from modemctl.store.tables import audit_entry, policy_version, to_ms
from modemctl.store.transaction import Tx
from modemctl.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyVersion:
    """A policy that was confirmed; `settings` are those that differ from the defaults."""

    version: int
    at: datetime
    digest: str
    settings: Mapping[str, str]
    asked_by: str
    confirmed_by: str


def accepted(conn: Connection, vault: Vault) -> PolicyVersion | None:
    """The policy that counts; None where none was ever noted.

    Raises:
        TamperedError: its row was altered.
    """
    row = newest(conn)
    return None if row is None else _version(vault, row)


def newest(conn: Connection) -> RowMapping | None:
    """The row of the policy that counts, as it lies in its table."""
    rows = _NEWEST.mappings(conn)
    return rows[0] if rows else None


def versions(conn: Connection, vault: Vault) -> Sequence[PolicyVersion]:
    """All policies that ever counted, in their order.

    Raises:
        TamperedError: a row was altered.
    """
    rows = conn.execute(select(policy_version).order_by(policy_version.c.version)).mappings()
    return [_version(vault, row) for row in rows]


def zone_of(settings: Mapping[str, str]) -> str:
    """The site's time zone in such settings."""
    named = settings.get("site.timezone")
    return DEFAULT_TIMEZONE if named is None else str(json.loads(named))


def counts(conn: Connection, vault: Vault, digest: str) -> bool:
    """Whether this is the policy that counts."""
    row = newest(conn)
    return row is not None and row["digest"] == digest and is_intact(vault, row)


def note_first(tx: Tx, digest: str, settings: Mapping[str, str]) -> bool:
    """Note the policy of a site's first start; False where there was one before."""
    if tx.conn.execute(_LATEST).first() is not None or tx.conn.scalar(_TOLD) is not None:
        return False
    add(tx, digest, settings, asked_by=tx.node_id, confirmed_by=tx.node_id)
    tx.audit(tx.node_id, "policy.first", "1", {"digest": digest, "policy": "SEC-04"})
    return True


def add(
    tx: Tx, digest: str, settings: Mapping[str, str], *, asked_by: str, confirmed_by: str
) -> int:
    """Let a policy count from now on; returns its version."""
    row = tx.conn.execute(_LATEST).mappings().first()
    values: dict[str, object] = {
        "version": 1 if row is None else row["version"] + 1,
        "at": tx.now,
        "digest": digest,
        "settings": json.dumps(dict(settings), ensure_ascii=False, sort_keys=True),
        "asked_by": asked_by,
        "confirmed_by": confirmed_by,
    }
    mac = tx.vault.mac("policy_version", *_mac_fields(values))
    tx.conn.execute(insert(policy_version).values({**values, "mac": mac}))
    return 1 if row is None else int(row["version"]) + 1


def is_intact(vault: Vault, row: RowMapping) -> bool:
    """Whether a row of `policy_version` is as modemctl wrote it."""
    try:
        _version(vault, row)
    except TamperedError:
        return False
    return True


def _version(vault: Vault, row: RowMapping) -> PolicyVersion:
    vault.check_mac(row["mac"], "policy_version", *_mac_fields({**row}))
    return PolicyVersion(
        version=row["version"],
        at=row["at"],
        digest=row["digest"],
        settings=json.loads(row["settings"]),
        asked_by=row["asked_by"],
        confirmed_by=row["confirmed_by"],
    )


def _mac_fields(row: Mapping[str, object]) -> list[object]:
    fields = (value for name, value in sorted(row.items()) if name != "mac")
    return [to_ms(value) if isinstance(value, datetime) else value for value in fields]


_LATEST: Final = select(policy_version).order_by(policy_version.c.version.desc()).limit(1)
_NEWEST: Final = Prepared(_LATEST)
_TOLD: Final = (
    select(audit_entry.c.seq)
    .where(audit_entry.c.action.in_(("policy.first", "policy.accept")))
    .limit(1)
)
