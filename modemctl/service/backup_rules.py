"""What backups are held to: the settings that two persons confirmed, and where a target may be."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final, Self
from zoneinfo import ZoneInfo

import msgspec

from modemctl.config import Settings
from modemctl.config.backup import BackupSettings
from modemctl.errors import InvalidRequest, PolicyRefused, TamperedError
from modemctl.policy.backups import Keeping, is_of
from modemctl.service import backup_child
from modemctl.service.backup_child import Job, Made
from modemctl.service.backup_files import SCRATCH
from modemctl.service.children import child
from modemctl.store import Connection, policies
from modemctl.store.backups import ActKind, Backup, BackupAct, BackupState
from modemctl.store.engine import sqlite_path
from modemctl.threads import in_daemon_thread
from modemctl.vault import Vault

_LOOK_LIMIT: Final = 30.0  # seconds: a network folder may hang
_JOB_LIMIT: Final = 4 * 3_600.0
_ANSWER_MAX: Final = 1 << 20
_LEFT: Final = timedelta(days=1)
_SHORT: Final = "journalctl -u modemctl; is memory short?"
_ACCEPT: Final = "modemctl policy accept --reason WHY; a colleague confirms it"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRules:
    """The site's settings of backups; `dump` are all its settings, `policy` those of policy."""

    settings: BackupSettings
    state_dir: Path
    url: str = field(repr=False)
    password_file: str
    site: str
    node: str
    zone: tzinfo
    policy: Mapping[str, str] = field(repr=False)
    digest: str
    dump: str = field(repr=False)
    files: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Those of the settings."""
        files = {"families": str(settings.bank.families), "lists": str(settings.content.lists)}
        return cls(
            settings=settings.backup,
            state_dir=settings.paths.state_dir,
            url=settings.paths.database_url,
            password_file=settings.paths.database_password_file,
            site=settings.site.id,
            node=settings.site.node,
            zone=ZoneInfo(settings.site.timezone),
            policy=settings.policy(),
            digest=settings.policy_digest(),
            dump=settings.model_dump_json(),
            files=files,
        )

    def is_own(self, one: Backup) -> bool:
        """Whether this server makes it, or did: the folders of another are not its own."""
        return sqlite_path(self.url) is not None or is_of(one.name, self.site, self.node)

    def is_left(self, one: Backup, now: datetime) -> bool:
        """Whether another server began it, so long ago that it will not end it."""
        return not self.is_own(one) and one.at + _LEFT < now

    @property
    def keeping(self) -> Keeping:
        """How many are kept."""
        own = self.settings
        return Keeping(
            days=own.keep_days, weeks=own.keep_weeks, months=own.keep_months, zone=self.zone
        )

    def job(self, one: Backup) -> Job:
        """What the process that makes this backup is told."""
        return Job(
            folder=one.folder,
            name=one.name,
            url=self.url,
            password_file=self.password_file,
            scratch=str(self.state_dir / SCRATCH),
            recipients=self.settings.recipients,
            site=self.site,
            node=self.node,
            version=version("modemctl"),
            at=one.at,
            policy=self.digest,
            settings=self.dump,
            files=self.files,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupFigures:
    """The last good backup, and whether the last try failed; None where it is not known."""

    made_at: float | None = None
    n_octets: int | None = None
    seconds: float | None = None
    has_failed: bool = False

    @classmethod
    def of(cls, one: Backup, *, seconds: float | None = None) -> Self:
        """Of a backup that was made; `made_at` in seconds since 1970."""
        at = one.finished_at or one.at
        if seconds is None:
            seconds = (at - one.at).total_seconds()
        return cls(made_at=at.timestamp(), n_octets=one.n_octets, seconds=seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActView:
    """A copy on a medium, or a restore that tried the file."""

    kind: ActKind
    at: datetime
    by: str
    medium: str | None
    keeper: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupView:
    """One backup. `sha256` is its file's; `n_database` are the octets of the database in it."""

    backup_id: str
    at: datetime
    by: str
    state: BackupState
    reason: str
    folder: str
    name: str
    finished_at: datetime | None
    sha256: str | None
    n_octets: int | None
    n_database: int | None
    n_rows: int | None
    schema_revision: str | None
    removed_at: datetime | None
    acts: tuple[ActView, ...]


def view_of(one: Backup, acts: Sequence[BackupAct]) -> BackupView:
    """A backup, for reading."""
    return BackupView(
        backup_id=one.backup_id,
        at=one.at,
        by=one.by,
        state=one.state,
        reason=one.reason,
        folder=one.folder,
        name=one.name,
        finished_at=one.finished_at,
        sha256=one.sha256,
        n_octets=one.n_octets,
        n_database=one.n_database,
        n_rows=one.n_rows,
        schema_revision=one.schema_revision,
        removed_at=one.removed_at,
        acts=tuple(
            ActView(kind=act.kind, at=act.at, by=act.by, medium=act.medium, keeper=act.keeper)
            for act in acts
        ),
    )


def require_confirmed(conn: Connection, vault: Vault, rules: BackupRules) -> None:
    """Refuse targets, recipients and media that two persons have not confirmed (SEC-04).

    Raises:
        PolicyRefused: SEC-04, with the setting that differs; SEC-05, the confirmed row was altered.
    """
    try:
        found = policies.accepted(conn, vault)
    except TamperedError as error:
        raise PolicyRefused("SEC-05", str(error), cure="run: modemctl audit verify") from None
    told = {} if found is None else _own(found.settings)
    own = _own(rules.policy)
    differing = sorted(name for name in told.keys() | own.keys() if told.get(name) != own.get(name))
    if differing:
        rule = f"{differing[0]} is not what two persons confirmed"
        raise PolicyRefused("SEC-04", rule, cure=_ACCEPT)


def _own(settings: Mapping[str, str]) -> Mapping[str, str]:
    return {name: value for name, value in settings.items() if name.startswith("backup.")}


async def require_place(
    rules: BackupRules, folder: Path, *, apart_from: Path | None = None
) -> None:
    """Refuse a folder that is not on the allow-list, or on the disk of what it shall outlive.

    Raises:
        PolicyRefused: SEC-07.
        InvalidRequest: it is not there, or does not answer.
    """
    try:
        async with asyncio.timeout(_LOOK_LIMIT):
            await in_daemon_thread(
                "backup place", partial(_require_place, rules, folder, apart_from)
            )
    except TimeoutError:
        raise InvalidRequest(f"{folder} does not answer", cure="mount it anew") from None
    except OSError as error:
        cure = "mount it, or make it, and let modemctl's user write it"
        raise InvalidRequest(f"{folder}: {error.strerror}", cure=cure) from None


def _require_place(rules: BackupRules, folder: Path, apart_from: Path | None) -> None:
    real = folder.resolve(strict=True)
    allowed = [one.resolve() for one in rules.settings.allowed]
    if not any(real == one or one in real.parents for one in allowed):
        cure = "name its real place in backup.allowed; two persons confirm it"
        raise PolicyRefused("SEC-07", f"{real} is not on the allow-list", cure=cure)
    disk = real.stat().st_dev
    if rules.settings.allow_same_disk:
        return
    database = sqlite_path(rules.url)
    others = [rules.state_dir, *(() if database is None else (database,))]
    if apart_from is not None:
        others.append(apart_from)
    for other in others:
        if other.exists() and other.stat().st_dev == disk:
            cure = "mount another disk there; backup.allow_same_disk takes it all the same"
            raise PolicyRefused("SEC-07", f"{folder} is on the disk of {other}", cure=cure)


async def run_job(job: Job) -> Made:
    """Let a process of its own do it.

    Raises:
        Conflict: other processes are at work for too long.
        InvalidRequest: it took hours, died, or could not be started.
    """
    given = msgspec.json.encode(job)
    try:
        async with child(backup_child.__name__, given=given, limit=_ANSWER_MAX) as process:
            octets = await _answer(process)
    except OSError as error:  # neither memory nor process numbers for one more
        why = error.strerror or str(error)
        raise InvalidRequest(f"no process could be started: {why}", cure=_SHORT) from None
    if not octets:
        raise InvalidRequest("the process that makes backups died", cure=_SHORT)
    return msgspec.json.decode(octets, type=Made)


async def _answer(process: Process) -> bytes:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_JOB_LIMIT):
            octets = await process.stdout.read()
            await process.wait()
    except TimeoutError:
        raise InvalidRequest("the backup took too long", cure="is its disk well?") from None
    return octets
