"""The audit log: reading it, and proving that nobody edited it (SEC-05)."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from modemctl.audit import Entry, Head
from modemctl.errors import ConfigError
from modemctl.model import EventKind
from modemctl.service.chain_check import ChainCheck, ChainReport, CheckProgress
from modemctl.service.pages import Page, decode_number, encode_cursor
from modemctl.service.principal import Principal, Scope
from modemctl.store import Connection, Store, audit_keys
from modemctl.store import audits as rows
from modemctl.store.engine import create_engines, readable
from modemctl.store.keys import unlock
from modemctl.store.postgresql import DatabaseUrl
from modemctl.vault import Vault

__all__ = [
    "AuditRecord",
    "Audits",
    "ChainReport",
    "CheckProgress",
    "read_heads",
    "verify_offline",
    "verify_on",
    "write_head_file",
]

_HEAD_CURE: Final = "run: modemctl audit verify; move the file away once the cut is explained"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One entry of the log, for reading; `hash` is hexadecimal."""

    node_id: str
    seq: int
    at: datetime
    actor: str
    action: str
    subject: str
    details: Mapping[str, object]
    hash: str


class Audits:
    """Reads and verifies the chains; notes their heads outside the database."""

    def __init__(self, store: Store, *, audit_public_key: bytes, head_file: Path) -> None:
        """`audit_public_key` (32 octets) checks the signatures of this node's entries."""
        self._store = store
        self._key = audit_public_key
        self._head_file = head_file
        self._writing = threading.Lock()

    async def list(
        self,
        who: Principal,
        *,
        actor: str | None = None,
        action: str | None = None,
        subject: str | None = None,
        cursor: str | None = None,
        limit: int,
    ) -> Page[AuditRecord]:
        """Entries of this node, newest first.

        Raises:
            NotPermitted: without `audit:read`, or of one department only.
            InvalidRequest: a cursor that is not ours.
        """
        who.require(Scope.AUDIT_READ)
        who.require_all_departments()  # entries of all departments stand in one chain
        before = decode_number(cursor)
        found = await self._store.read(
            lambda conn: rows.list_entries(
                conn,
                node_id=self._store.node_id,
                before=before,
                actor=actor,
                action=action,
                subject=subject,
                limit=limit,
            )
        )
        more = len(found) == limit
        return Page(
            items=[record_of(entry) for entry in found],
            next=encode_cursor(found[-1].seq) if more else None,
        )

    async def verify(self, who: Principal) -> Sequence[ChainReport]:
        """Check every chain, its signatures, its noted head and the segment journal under it.

        What authorises has to be as the log left it last: accounts, keys, batches, opt-outs, cards.

        Raises:
            NotPermitted: without `audit:read`, or of one department only.
        """
        reports: Sequence[ChainReport] = ()
        async for told in self.follow(who):
            if not isinstance(told, CheckProgress):
                reports = told
        return reports

    async def follow(
        self, who: Principal
    ) -> AsyncGenerator[CheckProgress | Sequence[ChainReport], None]:
        """`verify`, told page by page; the reports come last.

        Raises:
            NotPermitted: without `audit:read`, or of one department only.
        """
        who.require(Scope.AUDIT_READ)
        who.require_all_departments()  # entries of all departments stand in one chain
        async for told in self._check(0.0):
            if isinstance(told, CheckProgress):
                yield told
                continue
            faults = sum(len(report.faults) for report in told)
            await self._note_verified(who, faults)
            yield told

    async def _note_verified(self, who: Principal, faults: int) -> None:
        await self._store.write(
            lambda tx: tx.audit(
                who.name, "audit.verify", "audit", {"faults": faults, "source": who.source}
            )
        )

    async def check(self, breath: float = 0.0) -> Sequence[ChainReport]:
        """`verify` by the daemon itself, `breath` seconds between two pages, without an entry.

        Raises:
            StoreError: the database cannot be read.
            ConfigError: the head file is damaged.
        """
        reports: Sequence[ChainReport] = ()
        async for told in self._check(breath):
            if not isinstance(told, CheckProgress):
                reports = told
        return reports

    async def _check(
        self, breath: float
    ) -> AsyncGenerator[CheckProgress | Sequence[ChainReport], None]:
        heads = await asyncio.to_thread(read_heads, self._head_file)
        node_id = self._store.node_id
        check = ChainCheck(
            node_id,
            key=self._key,
            expected=heads.get(node_id),
            vault=self._store.vault,
            heads=heads,
        )
        has_more = True
        while has_more:
            has_more = await self._store.read(check.step)
            yield check.progress()
            await asyncio.sleep(breath)
        yield check.reports()

    async def note_head(self) -> bool:
        """Write the nodes' heads to the log and to the state file; at start, each minute, at stop.

        Where a chain lacks the head noted before, all stay, an alarm is raised, and the answer is
        False: a cut is not covered up by what is written after it.

        Raises:
            OSError: the state file cannot be read or written.
            StoreError: the database cannot be read, or takes no alarm.
        """
        head = self._store.journal.head
        if not await self._holds_noted_heads():
            _log.error("audit.head_missing", extra={"seq": head.seq, "cure": _HEAD_CURE})
            await self._store.write(
                lambda tx: tx.event(EventKind.ALARM, "audit", {"alarm": "audit_head"})
            )
            return False
        others = await self._store.read(self._heads_of_others)
        if head.seq > 0:
            _log.info("audit.head", extra={"seq": head.seq, "hash": head.hash.hex()})
            await asyncio.to_thread(self._write_head, head, others)
        return True

    async def _holds_noted_heads(self) -> bool:
        try:
            noted = await asyncio.to_thread(read_heads, self._head_file)
        except ConfigError:  # a damaged note is no leave to write another one
            return False
        return await self._store.read(
            lambda conn: all(
                rows.has_entry(conn, node_id=node_id, seq=head.seq, entry_hash=head.hash)
                for node_id, head in noted.items()
                if head.seq > 0
            )
        )

    def _heads_of_others(self, conn: Connection) -> Mapping[str, Head]:
        """As they stand now: a chain that is cut later shows here, too."""
        keys = audit_keys.known_keys(conn, self._store.vault)
        others = {node: key for node, key in keys.items() if node != self._store.node_id}
        return audit_keys.signed_heads(conn, others)

    def _write_head(self, head: Head, others: Mapping[str, Head] | None = None) -> None:
        with self._writing:  # a thread that nobody awaits any more may still be at it
            _write_heads(self._head_file, {**(others or {}), self._store.node_id: head})


def verify_offline(
    url: DatabaseUrl,
    *,
    node_id: str,
    audit_public_key: bytes,
    head_file: Path,
    vault: Vault,
    tell: Callable[[CheckProgress], None] | None = None,
) -> Sequence[ChainReport]:
    """`Audits.verify` without a daemon, for the command line; `tell` is told after each page.

    Raises:
        ConfigError: the head file or the database is damaged.
    """
    heads = read_heads(head_file)
    writer, reader = create_engines(url, n_readers=1)
    writer.dispose()
    try:
        with readable(url), reader.begin() as conn:
            return verify_on(
                conn,
                node_id=node_id,
                audit_public_key=audit_public_key,
                heads=heads,
                vault=vault,
                tell=tell,
            )
    finally:
        reader.dispose()


def verify_on(
    conn: Connection,
    *,
    node_id: str,
    audit_public_key: bytes,
    heads: Mapping[str, Head],
    vault: Vault,
    tell: Callable[[CheckProgress], None] | None = None,
) -> Sequence[ChainReport]:
    """`verify_offline` on a connection in the middle of a transaction.

    Raises:
        ConfigError: the data keys in the database do not open.
    """
    unlock(conn, vault)
    check = ChainCheck(
        node_id, key=audit_public_key, expected=heads.get(node_id), vault=vault, heads=heads
    )
    while check.step(conn):
        if tell is not None:
            tell(check.progress())
    return check.reports()


def read_heads(head_file: Path) -> Mapping[str, Head]:
    """The heads noted in the state file, by node; empty where there is no file yet.

    Raises:
        ConfigError: the file is damaged.
    """
    try:
        text = head_file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    try:
        noted = json.loads(text)
        return {
            node: Head(seq=int(one["seq"]), hash=bytes.fromhex(one["hash"]))
            for node, one in noted.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        cure = "compare the system journal's audit.head lines"
        raise ConfigError([f"audit head file {head_file} is damaged; {cure}"]) from error


def _write_heads(head_file: Path, heads: Mapping[str, Head]) -> None:
    """Replace the file whole, but where it names a later head of a node."""
    noted = dict(read_heads(head_file))
    later = {node: head for node, head in heads.items() if head.seq > noted.get(node, Head()).seq}
    if later:
        write_head_file(head_file, noted | later)


def write_head_file(head_file: Path, heads: Mapping[str, Head]) -> None:
    """Let the state file hold these heads, by node, and no others.

    Raises:
        OSError: it cannot be written.
    """
    text = json.dumps(
        {node: {"seq": head.seq, "hash": head.hash.hex()} for node, head in heads.items()}
    )
    draft = head_file.with_name(f"{head_file.name}.new")
    with draft.open("w", encoding="utf-8") as out:
        out.write(text + "\n")
        out.flush()
        os.fsync(out.fileno())
    draft.replace(head_file)


def record_of(entry: Entry) -> AuditRecord:
    """An entry, for reading."""
    return AuditRecord(
        node_id=entry.node_id,
        seq=entry.seq,
        at=entry.draft.at,
        actor=entry.draft.actor,
        action=entry.draft.action,
        subject=entry.draft.subject,
        details=json.loads(entry.draft.details),
        hash=entry.hash.hex(),
    )
