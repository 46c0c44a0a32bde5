"""Moving a site's database: from SQLite to PostgreSQL, or back; the daemon is stopped meanwhile.

The copy is made in one transaction and appears when all of it was compared and proved. Before that
the old database is marked: beside its copy it would send twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from modemctl.clock import Clock
from modemctl.config import Settings
from modemctl.errors import ConfigError, Conflict, InvalidRequest
from modemctl.service.audits import CheckProgress, read_heads, verify_on
from modemctl.store import Connection, Store, Tx, copied, restored
from modemctl.store.engine import (
    create_engines,
    drop_wal,
    readable,
    require_schema,
    sqlite_path,
)
from modemctl.store.key_files import Address, load_database
from modemctl.store.lock import state_lock
from modemctl.store.restored import Standstill
from modemctl.store.site_streams import end_of, filling, reading
from modemctl.store.streams import Streamed, stream
from modemctl.vault import AuditKey, Vault

__all__ = ["CheckProgress", "SiteCopy", "SiteKeys", "Streamed", "copy_site", "reopen_site"]

Tell: TypeAlias = Callable[[Streamed | CheckProgress], None]
"""Takes how far it is, after each block of rows and each page that was verified."""

_HEAD_FILE: Final = "audit.head"
_REOPENED: Final = "taken into use again after it was copied elsewhere at"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteKeys:
    """The site's two keys, and its clock."""

    vault: Vault = field(repr=False)
    audit_key: AuditKey = field(repr=False)
    clock: Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteCopy:
    """A copy that is whole. `faults` are what `audit verify` names in both; `old`: a kept file."""

    to: str
    n_tables: int
    n_rows: int
    n_entries: int
    seconds: float
    faults: tuple[str, ...]
    old: Path | None


def copy_site(
    settings: Settings, to: Address, keys: SiteKeys, tell: Tell, *, with_faults: bool = False
) -> SiteCopy:
    """Copy all rows to an empty database of the other kind, and prove the copy.

    Raises:
        ConfigError: a daemon runs, the database does not fit, the target is not empty or not
            rightly made.
        InvalidRequest: a row that the target cannot hold; the log and the rows differ.
        Conflict: somebody else is connected to the old database.
        StoreError: a server cannot be reached, a disk refused.
    """
    source, shown = load_database(settings.paths), to.render_as_string(hide_password=True)
    _require_other_kind(source, to)
    started = keys.clock.monotonic()
    with state_lock(settings.paths.state_dir):
        _require_usable(source, keys.vault)
        with reading(source, alone=True):
            pass
        asyncio.run(_note(source, settings, keys, to))
        with reading(source) as old, filling(to) as new:
            counts = stream(end_of(old), end_of(new), tell)
            n_entries, faults = _proved(new, settings, keys, tell)
            if faults and not with_faults:
                raise InvalidRequest(
                    f"audit verify names {len(faults)} faults: {faults[0]}",
                    cure="look into them (modemctl audit verify --offline); --with-faults copies"
                    " what is there as it is",
                )
            _mark(source, shown, keys)  # before COMMIT: never are there two that would send
        path = sqlite_path(source)
        if path is not None:
            drop_wal(source)
    return SiteCopy(
        to=shown,
        n_tables=len(counts),
        n_rows=sum(counts.values()),
        n_entries=n_entries,
        seconds=keys.clock.monotonic() - started,
        faults=faults,
        old=path,
    )


def reopen_site(settings: Settings, keys: SiteKeys) -> Standstill:
    """Take a database into use again that was copied elsewhere; it sends nothing by itself.

    Raises:
        ConfigError: a daemon runs, the database does not fit.
        Conflict: it was not copied.
        StoreError: its server cannot be reached.
    """
    source = load_database(settings.paths)
    with state_lock(settings.paths.state_dir):
        _require_there(source)
        return asyncio.run(_reopen(source, settings, keys))


def _require_other_kind(source: Address, to: Address) -> None:
    kinds = source.get_backend_name(), to.get_backend_name()
    if kinds == ("sqlite", "sqlite"):
        cure = "copy its file while no daemon runs, with a backup: docs/backup.md"
        raise InvalidRequest("both databases are SQLite", cure=cure, field="to")
    if kinds == ("postgresql", "postgresql"):
        cure = "use pg_dump and pg_restore"
        raise InvalidRequest("both databases are PostgreSQL", cure=cure, field="to")


def _require_there(url: Address) -> None:
    path = sqlite_path(url)
    if path is not None and not path.exists():  # opening would make an empty one
        raise ConfigError([f"database {path} does not exist"])


def _require_usable(url: Address, vault: Vault) -> None:
    _require_there(url)
    writer, reader = create_engines(url, n_readers=1)
    reader.dispose()
    try:
        require_schema(writer, key_check=vault.check_value)
    finally:
        writer.dispose()


async def _note(source: Address, settings: Settings, keys: SiteKeys, to: Address) -> None:
    """The log tells of the move, in the old database and so in the copy."""
    details = {"kind": to.get_backend_name(), "to": to.render_as_string(hide_password=True)}
    async with _opened(source, settings, keys) as store:
        await store.write(lambda tx: tx.audit(tx.node_id, "store.copy", "store", details))


async def _reopen(source: Address, settings: Settings, keys: SiteKeys) -> Standstill:
    general = settings.approvals.general_department

    def act(tx: Tx) -> Standstill:
        found = copied.find(tx.conn)
        if found is None:
            raise Conflict("this database was not copied elsewhere", cure="modemctl run")
        copied.unmark(tx.conn)
        made_at = found.at or tx.now
        return restored.stand_still(tx, made_at=made_at, sha256="", general=general, what=_REOPENED)

    async with _opened(source, settings, keys, copied_too=True) as store:
        return await store.write(act)


def _mark(source: Address, to: str, keys: SiteKeys) -> None:
    writer, reader = create_engines(source, n_readers=1)
    reader.dispose()
    try:
        with readable(source), writer.begin() as conn:
            copied.mark(conn, to=to, at=keys.clock.now())
    finally:
        writer.dispose()


def _opened(url: Address, settings: Settings, keys: SiteKeys, *, copied_too: bool = False) -> Store:
    return Store(
        url,
        vault=keys.vault,
        audit_key=keys.audit_key,
        clock=keys.clock,
        node_id=settings.site.node,
        copied_too=copied_too,
    )


def _proved(
    conn: Connection, settings: Settings, keys: SiteKeys, tell: Tell
) -> tuple[int, tuple[str, ...]]:
    """Entries that were read, and what `audit verify` names in the copy."""
    reports = verify_on(
        conn,
        node_id=settings.site.node,
        audit_public_key=keys.audit_key.public_octets(),
        heads=read_heads(settings.paths.state_dir / _HEAD_FILE),
        vault=keys.vault,
        tell=tell,
    )
    faults = [f"{report.node_id}: {fault}" for report in reports for fault in report.faults]
    return sum(report.n_entries for report in reports), tuple(faults)
