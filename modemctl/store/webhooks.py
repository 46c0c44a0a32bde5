"""Registered webhooks: where events are sent to, sealed (SEC-01, CC-05).

Whoever can write the database must not divert events: a row that carries no valid MAC over its
URL and secrets gets nothing, and `audit verify` names one that is not as the log left it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from modemctl.model import Topic
from modemctl.store.tables import event, to_ms, webhook, webhook_delivery, webhook_place
from modemctl.store.transaction import Json, Tx
from modemctl.vault import Vault

REPLAYED: Final = ("department", "events", "parallel", "revision", "state", "url_sha256")
"""What each entry of the log tells of an endpoint's row."""


class EndpointState(StrEnum):
    """Whether an endpoint is sent to; `disabled`: its receiver answered that it is gone."""

    ACTIVE = "active"
    PAUSED = "paused"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A receiver of events. `department` None: of all; `reason` is its state's.

    `parallel`: requests at once; 1 keeps the order of events. `old_secret` signs beside the
    secret until `old_until`.
    """

    name: str
    url: str
    events: tuple[str, ...]
    department: str | None
    parallel: int
    state: EndpointState
    reason: str
    created_at: datetime
    created_by: str
    secret: bytes = field(repr=False)
    old_secret: bytes | None = field(default=None, repr=False)
    old_until: datetime | None = None
    revision: int = 0

    def secrets(self, now: datetime) -> Sequence[bytes]:
        """The secrets that sign now; the new one first."""
        if self.old_secret is None or self.old_until is None or now >= self.old_until:
            return [self.secret]
        return [self.secret, self.old_secret]

    @property
    def facts(self) -> dict[str, Json]:
        """What an entry of the log tells: the URL as a digest, for a path may hold a token."""
        return {
            "department": self.department,
            "events": list(self.events),
            "parallel": self.parallel,
            "revision": self.revision,
            "state": self.state.value,
            "url_sha256": url_digest(self.url),
        }


def url_digest(url: str) -> str:
    """SHA-256 (hex) of a URL."""
    return hashlib.sha256(url.encode()).hexdigest()


def secret_place(name: str) -> str:
    """Where the secret's ciphertext stands."""
    return f"webhook.secret_enc:{name}"


def old_secret_place(name: str) -> str:
    """Where the ciphertext of the secret before stands."""
    return f"webhook.old_secret_enc:{name}"


def find(conn: Connection, vault: Vault, name: str) -> Endpoint | None:
    """The endpoint of this name.

    Raises:
        TamperedError: its row carries no valid MAC.
    """
    row = conn.execute(select(*webhook.c).where(webhook.c.name == name)).mappings().first()
    return None if row is None else _endpoint(vault, row)


def read_all(conn: Connection, vault: Vault) -> Sequence[Endpoint]:
    """All endpoints by name.

    Raises:
        TamperedError: a row carries no valid MAC.
    """
    rows = conn.execute(select(*webhook.c).order_by(webhook.c.name)).mappings()
    return [_endpoint(vault, row) for row in rows]


def names(conn: Connection) -> Sequence[str]:
    """The names of all: no MAC is read."""
    return conn.scalars(select(webhook.c.name).order_by(webhook.c.name)).all()


def add(tx: Tx, new: Endpoint) -> None:
    """Keep a new endpoint; it gets the events from now on."""
    newest = tx.conn.scalar(select(func.max(event.c.event_id))) or 0
    tx.conn.execute(insert(webhook).values(**_sealed(tx.vault, new)))
    tx.conn.execute(
        insert(webhook_place).values(
            name=new.name, position=newest, n_delivered=0, n_failures=0, is_told=False
        )
    )
    tx.wake(Topic.WEBHOOKS)


def change(tx: Tx, before: Endpoint, **facts: object) -> Endpoint:
    """Change facts of an endpoint; its revision goes up."""
    after = replace(before, revision=before.revision + 1, **facts)  # type: ignore[arg-type]  # facts are fields
    ours = update(webhook).where(webhook.c.name == after.name)
    tx.conn.execute(ours.values(**_sealed(tx.vault, after)))
    tx.wake(Topic.WEBHOOKS)
    return after


def remove(tx: Tx, name: str) -> None:
    """Forget an endpoint with all that waits for it."""
    for table in (webhook_delivery, webhook_place, webhook):
        tx.conn.execute(delete(table).where(table.c.name == name))
    tx.wake(Topic.WEBHOOKS)


def replayed(row: RowMapping) -> tuple[object, ...]:
    """What of a row the log tells, in the order of `REPLAYED`."""
    told: Mapping[str, object] = {
        **row,
        "events": json.loads(row["events"]),
        "url_sha256": url_digest(row["url"]),
    }
    return tuple(told[name] for name in REPLAYED)


def _fields(one: Endpoint) -> tuple[object, ...]:
    old = None if one.old_secret is None else one.old_secret.hex()
    until = None if one.old_until is None else to_ms(one.old_until)
    return (
        one.name, one.url, json.dumps(one.events), one.department, one.parallel, one.state.value,
        one.reason, one.secret.hex(), old, until, to_ms(one.created_at), one.created_by,
        one.revision,
    )  # fmt: skip


def _sealed(vault: Vault, one: Endpoint) -> dict[str, object]:
    old = one.old_secret
    return {
        "name": one.name,
        "url": one.url,
        "events": json.dumps(one.events),
        "department": one.department,
        "parallel": one.parallel,
        "state": one.state.value,
        "reason": one.reason,
        "secret_enc": vault.encrypt(one.secret, place=secret_place(one.name)),
        "old_secret_enc": None
        if old is None
        else vault.encrypt(old, place=old_secret_place(one.name)),
        "old_until": one.old_until,
        "created_at": one.created_at,
        "created_by": one.created_by,
        "revision": one.revision,
        "mac": vault.mac("webhook", *_fields(one)),
    }


def _endpoint(vault: Vault, row: RowMapping) -> Endpoint:
    name, old = row["name"], row["old_secret_enc"]
    one = Endpoint(
        name=name,
        url=row["url"],
        events=tuple(json.loads(row["events"])),
        department=row["department"],
        parallel=row["parallel"],
        state=EndpointState(row["state"]),
        reason=row["reason"],
        created_at=row["created_at"],
        created_by=row["created_by"],
        secret=vault.decrypt(row["secret_enc"], place=secret_place(name)),
        old_secret=None if old is None else vault.decrypt(old, place=old_secret_place(name)),
        old_until=row["old_until"],
        revision=row["revision"],
    )
    vault.check_mac(row["mac"], "webhook", *_fields(one))
    return one
