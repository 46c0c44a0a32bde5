"""A backup made in a process of its own: `python -m modemctl.service.backup_child`.

On stdin comes a `Job` as JSON, on stdout goes one `Made`. The process reads the database beside the
daemon, has public keys only, and goes after everybody who sends.
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Final

import msgspec

from modemctl.errors import ConfigError, InvalidRequest, ModemctlError, RequestError
from modemctl.service.backup_files import (
    DATABASE,
    FORMAT,
    MANIFEST,
    SETTINGS,
    Manifest,
    Noted,
    file_digest,
    place_whole,
    write_archive,
)
from modemctl.store.key_files import read_address
from modemctl.store.snapshots import Contents, inspect, source_of

_NICENESS: Final = 10
_SPARE: Final = 64 << 20  # octets that stay free on a disk
_MARGIN: Final = 1.05  # a database grows while it is copied, an archive has its own octets
_POLICY_FILES_MAX: Final = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One backup to make, or one to copy where `copy_of` is its path.

    `files`: folders of the policy's files, by their name in the archive.
    """

    folder: str
    name: str
    copy_of: str | None = None
    sha256: str = ""
    url: str = field(default="", repr=False)
    password_file: str = ""
    scratch: str = ""
    recipients: tuple[str, ...] = ()
    site: str = ""
    node: str = ""
    version: str = ""
    at: datetime | None = None
    policy: str = ""
    settings: str = field(default="", repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What became of a job: a whole file, or the `rule` that forbade it and its `cure`."""

    sha256: str = ""
    n_octets: int = 0
    n_database: int = 0
    n_rows: int = 0
    schema: str = ""
    heads: Mapping[str, int] = field(default_factory=dict)
    rule: str = ""
    cure: str = ""


def make(job: Job) -> Made:
    """Copy the database, prove the copy, encrypt it, prove the file.

    Raises:
        RequestError, ConfigError, StoreError: with the cure.
        OSError: the disk refused.
    """
    assert job.at is not None
    source = source_of(read_address(job.url, job.password_file))
    scratch, folder = Path(job.scratch), Path(job.folder)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700, parents=True)
    try:
        _require_room({scratch: source.size(), folder: source.size()})
        copy = scratch / DATABASE
        source.copy(copy)
        contents = inspect(copy)
        if contents.faults:
            cure = "run: modemctl doctor; restore the database from an earlier backup"
            raise InvalidRequest(f"the database is damaged: {contents.faults[0]}", cure=cure)
        parts = _parts(job, copy)
        manifest = _manifest(job, source.kind, contents, parts)
        written = write_archive(
            folder / job.name,
            {MANIFEST: msgspec.json.format(msgspec.json.encode(manifest)), **parts},
            job.recipients,
        )
        return Made(
            sha256=written.sha256,
            n_octets=written.n_octets,
            n_database=manifest.n_octets,
            n_rows=sum(contents.rows.values()),
            schema=contents.schema,
            heads={node: head.seq for node, head in contents.heads.items()},
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def copy(job: Job) -> Made:
    """Copy a backup to a medium, and read the copy again.

    Raises:
        RequestError: the backup is not the one that was made.
        OSError: a disk refused.
    """
    assert job.copy_of is not None
    source, folder = Path(job.copy_of), Path(job.folder)
    _require_room({folder: source.stat().st_size})
    found, _ = file_digest(source)
    if found != job.sha256:
        cure = "make a new one: modemctl backup now"
        raise InvalidRequest(f"{source.name} is not as it was written", cure=cure)

    def fill(out: IO[bytes]) -> str:
        with source.open("rb") as file:
            shutil.copyfileobj(file, out, 1 << 20)
        return job.sha256

    written = place_whole(folder / job.name, fill)
    return Made(sha256=written.sha256, n_octets=written.n_octets)


def _require_room(wanted: Mapping[Path, int]) -> None:
    """Refuse before anything is written what would fill a disk.

    Raises:
        InvalidRequest: with the sizes.
    """
    by_disk: dict[int, tuple[Path, int]] = {}
    for folder, size in wanted.items():
        disk = folder.stat().st_dev
        before = by_disk.get(disk, (folder, 0))[1]
        by_disk[disk] = folder, before + int(size * _MARGIN)
    for folder, size in by_disk.values():
        free = shutil.disk_usage(folder).free
        if free < size + _SPARE:
            raise InvalidRequest(
                f"{folder} has {free >> 20} MiB free, the backup needs {(size + _SPARE) >> 20}",
                cure="free some, or name a larger disk (backup.folder)",
            )


def _parts(job: Job, copy: Path) -> dict[str, Path | bytes]:
    parts: dict[str, Path | bytes] = {DATABASE: copy, SETTINGS: job.settings.encode()}
    n = 0
    for name, folder in sorted(job.files.items()):
        for path in sorted(Path(folder).rglob("*")) if Path(folder).is_dir() else []:
            if not path.is_file() or path.is_symlink():
                continue
            octets = path.read_bytes()
            n += len(octets)
            if n > _POLICY_FILES_MAX:
                raise InvalidRequest(f"{folder} holds more than a policy's files", field=name)
            parts[f"{name}/{path.relative_to(folder).as_posix()}"] = octets
    return parts


def _manifest(
    job: Job, kind: str, contents: Contents, parts: Mapping[str, Path | bytes]
) -> Manifest:
    assert job.at is not None
    sizes = {
        name: (hashlib.sha256(part).hexdigest(), len(part))
        if isinstance(part, bytes)
        else file_digest(part)
        for name, part in parts.items()
    }
    return Manifest(
        format=FORMAT,
        site=job.site,
        node=job.node,
        version=job.version,
        at=job.at,
        kind=kind,
        schema=contents.schema,
        n_octets=sizes[DATABASE][1],
        rows=dict(contents.rows),
        heads={
            node: Noted(seq=head.seq, hash=head.hash.hex()) for node, head in contents.heads.items()
        },
        policy=job.policy,
        files={name: digest for name, (digest, _) in sizes.items()},
    )


def main(source: IO[bytes], out: IO[bytes]) -> None:
    """Do what `source` asks for, and tell what became of it."""
    job = msgspec.json.decode(source.read(), type=Job)
    try:
        made = make(job) if job.copy_of is None else copy(job)
    except RequestError as error:
        made = Made(rule=error.rule, cure=error.cure)
    except ConfigError as error:
        made = Made(rule=error.problems[0])
    except ModemctlError as error:
        made = Made(rule=str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        made = Made(rule=f"{where}{error.strerror or error}", cure="free or mend the disk")
    out.write(msgspec.json.encode(made))
    out.flush()


def limit_itself() -> None:
    """Go after everybody else, and leave no memory behind."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(_NICENESS)


if __name__ == "__main__":
    limit_itself()
    main(sys.stdin.buffer, sys.stdout.buffer)
