"""Restoring a backup: into an empty state folder, or into a scratch one to try it (SEC-07)."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from modemctl.audit import Head
from modemctl.clock import Clock
from modemctl.config import Settings
from modemctl.errors import Conflict, InvalidRequest
from modemctl.service.audits import verify_offline, write_head_file
from modemctl.service.backup_files import (
    DATABASE,
    SETTINGS,
    Manifest,
    file_digest,
    read_identities,
    unpack,
)
from modemctl.service.chain_walk import UNKNOWN_KEY
from modemctl.service.receipts import Receipt
from modemctl.store import Store, restored
from modemctl.store.engine import (
    SCHEMA_REVISION,
    create_engines,
    readable,
    require_schema,
    sqlite_path,
)
from modemctl.store.key_files import load_database
from modemctl.store.keys import unlock
from modemctl.store.lock import state_lock
from modemctl.store.migrate import upgrade
from modemctl.store.restored import Standstill
from modemctl.store.site_streams import end_of, filling, reading
from modemctl.store.snapshots import inspect
from modemctl.store.streams import Streamed, stream
from modemctl.vault import AuditKey, Vault

__all__ = ["Restored", "Tried", "restore", "try_restore"]

HEAD_FILE: Final = "audit.head"
_ROOM: Final = "restoring"
_LOCK: Final = "lock"
_FAULTS_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Opener:
    """What opens a backup: a recipient's secret key file, and the site's two keys."""

    identity: Path
    vault: Vault = field(repr=False)
    audit_key: AuditKey = field(repr=False)
    clock: Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A backup that was restored into a scratch database; whole where `faults` is empty.

    `unchecked` are nodes whose keys the database does not know: only their own servers can verify
    their chains. `receipt` is the line that records the test; None where it failed.
    """

    sha256: str
    manifest: Manifest
    n_rows: int
    n_entries: int
    faults: tuple[str, ...]
    unchecked: tuple[str, ...]
    receipt: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was restored, and what it holds back until persons have looked."""

    sha256: str
    manifest: Manifest
    standstill: Standstill
    settings: Path


def try_restore(
    source: Path,
    *,
    opener: Opener,
    scratch: Path | None = None,
) -> Tried:
    """Restore into a scratch folder, verify all of it, and throw it away.

    Raises:
        InvalidRequest: no backup, another's, damaged, newer than this modemctl.
        ConfigError: the identity, or the master key, is not the one of this backup.
    """
    started = opener.clock.monotonic()
    with TemporaryDirectory(prefix="modemctl-restore-", dir=scratch) as room:
        folder = Path(room)
        sha256, manifest = _open(source, opener.identity, folder)
        faults = _compared(folder / DATABASE, manifest)
        url = _url(folder / DATABASE)
        _bring_up(url, manifest, opener)
        head_file = folder / HEAD_FILE
        write_head_file(head_file, _heads(manifest))
        reports = verify_offline(
            url,
            node_id=manifest.node,
            audit_public_key=opener.audit_key.public_octets(),
            head_file=head_file,
            vault=opener.vault,
        )
        strange = {one.node_id for one in reports if one.faults == (UNKNOWN_KEY,)}
        faults += [
            f"{report.node_id}: {fault}"
            for report in reports
            for fault in report.faults
            if report.node_id not in strange
        ]
        n_rows = sum(manifest.rows.values())
        receipt = Receipt.write(
            opener.vault,
            sha256=sha256,
            n_rows=n_rows,
            seconds=int(opener.clock.monotonic() - started),
            at=opener.clock.now(),
        )
        return Tried(
            sha256=sha256,
            manifest=manifest,
            n_rows=n_rows,
            n_entries=sum(report.n_entries for report in reports),
            faults=tuple(faults),
            unchecked=tuple(sorted(strange)),
            receipt=None if faults else receipt.text(),
        )


def restore(
    source: Path,
    settings: Settings,
    *,
    opener: Opener,
) -> Restored:
    """Put a backup in the place of a lost database; it sends nothing by itself.

    Raises:
        InvalidRequest: as `try_restore`.
        Conflict: there is a database, or anything else, in the state folder.
        ConfigError: a daemon runs, or a key is not the one of this backup.
    """
    paths = settings.paths
    with state_lock(paths.state_dir):
        _require_empty(paths.state_dir, sqlite_path(paths.database_url))
        room = paths.state_dir / _ROOM
        room.mkdir(mode=0o700)
        kept = paths.state_dir / f"restored-{SETTINGS}"
        heads = paths.state_dir / HEAD_FILE
        try:
            sha256, manifest = _open_whole(source, opener.identity, room)
            url = _url(room / DATABASE)
            _bring_up(url, manifest, opener)
            standstill, head = asyncio.run(_settle(url, settings, manifest, sha256, opener))
            with _placed(room / DATABASE, settings):  # last: until its end there is no database
                (room / SETTINGS).replace(kept)
                write_head_file(heads, {settings.site.node: head})
        except BaseException:
            for one in (kept, heads):  # else the next try would find the folder in use
                one.unlink(missing_ok=True)
            raise
        finally:
            shutil.rmtree(room, ignore_errors=True)
    return Restored(sha256=sha256, manifest=manifest, standstill=standstill, settings=kept)


def _open_whole(source: Path, identity: Path, room: Path) -> tuple[str, Manifest]:
    sha256, manifest = _open(source, identity, room)
    faults = _compared(room / DATABASE, manifest)
    if faults:
        raise InvalidRequest(f"the backup is damaged: {faults[0]}")
    return sha256, manifest


@contextmanager
def _placed(database: Path, settings: Settings) -> Iterator[None]:
    """The restored database has its place where the block ends without error.

    Raises:
        ConfigError: that of PostgreSQL is not empty, or not rightly made.
        StoreError: its server cannot be reached.
    """
    target = sqlite_path(settings.paths.database_url)
    if target is None:
        address = load_database(settings.paths)
        with reading(_url(database)) as source, filling(address) as sink:
            stream(end_of(source), end_of(sink), _told_nobody)
            yield
        return
    yield
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    database.replace(target)
    _sync(target.parent)


def _told_nobody(told: Streamed) -> None:
    del told


async def _settle(
    url: str, settings: Settings, manifest: Manifest, sha256: str, opener: Opener
) -> tuple[Standstill, Head]:
    """Let the restored database stand still, before it has its name."""
    general = settings.approvals.general_department
    async with Store(
        url,
        vault=opener.vault,
        audit_key=opener.audit_key,
        clock=opener.clock,
        node_id=settings.site.node,
    ) as store:
        standstill = await store.write(
            lambda tx: restored.stand_still(tx, made_at=manifest.at, sha256=sha256, general=general)
        )
        head = store.journal.head
        if not await store.scrub():  # all of it stands in the one file that is moved
            raise Conflict("somebody reads the restored database", cure="try again")
    return standstill, head


def _open(source: Path, identity: Path, folder: Path) -> tuple[str, Manifest]:
    identities = read_identities(identity)
    try:
        sha256, _ = file_digest(source)
        manifest = unpack(source, identities, folder)
    except OSError as error:
        raise InvalidRequest(f"{error.filename or source}: {error.strerror}") from None
    if manifest.kind != "sqlite":
        raise InvalidRequest(f"it is a copy of a database of kind {manifest.kind}")
    if manifest.schema > SCHEMA_REVISION:
        raise InvalidRequest(
            f"the backup has schema {manifest.schema}, this modemctl knows {SCHEMA_REVISION}",
            cure=f"restore it with modemctl {manifest.version} or newer",
        )
    return sha256, manifest


def _compared(database: Path, manifest: Manifest) -> list[str]:
    """What differs between the restored database and what the manifest tells of it."""
    found = inspect(database)
    faults = list(found.faults[:_FAULTS_SHOWN])
    for table in sorted(manifest.rows.keys() | found.rows.keys()):
        told, held = manifest.rows.get(table), found.rows.get(table)
        if told != held:
            faults.append(f"table {table} holds {held} rows, the manifest tells of {told}")
    if _heads(manifest) != dict(found.heads):
        faults.append("the audit log ends elsewhere than the manifest tells")
    return faults


def _heads(manifest: Manifest) -> Mapping[str, Head]:
    return {
        node: Head(seq=noted.seq, hash=bytes.fromhex(noted.hash))
        for node, noted in manifest.heads.items()
    }


def _require_empty(state_dir: Path, database: Path | None) -> None:
    found = sorted(one.name for one in state_dir.iterdir() if one.name != _LOCK)
    if database is not None and database.exists() and database.parent != state_dir:
        found.append(str(database))
    if found:
        raise Conflict(
            f"state folder {state_dir} is not empty: {_some(found)}",
            cure="move what is there away, and keep it: it may know what was sent since the backup",
        )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_FAULTS_SHOWN])
    return shown if len(names) <= _FAULTS_SHOWN else f"{shown}, …"


def _bring_up(url: str, manifest: Manifest, opener: Opener) -> None:
    """Bring the database to this version's schema.

    Raises:
        ConfigError: the master key is not the one that it was made with.
    """
    if manifest.schema != SCHEMA_REVISION:
        upgrade(url, vault=opener.vault, site_id=manifest.site, now=opener.clock.now())
    writer, reader = create_engines(url, n_readers=1)
    reader.dispose()
    try:
        require_schema(writer, key_check=opener.vault.check_value)
        with readable(url), writer.connect() as conn:
            unlock(conn, opener.vault)
    finally:
        writer.dispose()


def _url(database: Path) -> str:
    return f"sqlite+pysqlite:///{database}"


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
