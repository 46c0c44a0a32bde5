"""Encrypted backups (SEC-07): each day by itself, copied to a medium on Fridays, tried monthly.

The work is done by a process of its own (`backup_child`): neither the loop nor the writer waits.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import Final

from modemctl.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    PolicyRefused,
    RequestError,
    StoreError,
    TamperedError,
)
from modemctl.model import EventKind, Topic
from modemctl.policy.backups import is_name, name_of, outdated
from modemctl.policy.duties import TURNS, Duty, is_due
from modemctl.service.accounts import AccountKind
from modemctl.service.backup_child import Job, Made
from modemctl.service.backup_files import SCRATCH, half_of
from modemctl.service.backup_rules import (
    BackupFigures,
    BackupRules,
    BackupView,
    require_confirmed,
    require_place,
    run_job,
    view_of,
)
from modemctl.service.duty_views import DutyView, duty_view
from modemctl.service.principal import Principal, Scope
from modemctl.service.receipts import Receipt
from modemctl.store import Connection, Store, Tx, accounts, duties
from modemctl.store import backups as rows
from modemctl.store.accounts import AccountState
from modemctl.store.backups import ActKind, Backup, BackupAct, BackupState
from modemctl.store.transaction import Json
from modemctl.telemetry import BankSnapshot
from modemctl.threads import in_daemon_thread

__all__ = ["BackupView", "Backups"]

_log = logging.getLogger(__name__)

_LOOK_EVERY: Final = 30.0  # seconds
_AGAIN: Final = timedelta(minutes=15)  # after a backup that failed
_REMOVE_LIMIT: Final = 60.0  # seconds: a network folder may hang
_SHOWN: Final = 100
_MANY: Final = 10_000
_ENDED: Final = "the daemon ended while it was made"
_NONE: Final = "there is no backup to copy"
_NOW: Final = "make one: modemctl backup now"
_DUTIES: Final = (Duty.BACKUP, Duty.BACKUP_COPY, Duty.RESTORE_TEST)
_TEST_MAX_AGE: Final = timedelta(days=31)


class Backups:
    """Makes backups, notes what becomes of them, removes what is outdated."""

    def __init__(self, store: Store, rules: BackupRules) -> None:
        self._store = store
        self._rules = rules
        self._turns = {
            duty: replace(TURNS[duty], opens=rules.settings.at)
            if duty is Duty.BACKUP
            else TURNS[duty]
            for duty in _DUTIES
        }
        self._asked = asyncio.Event()
        self._busy = asyncio.Lock()
        self._not_before: datetime | None = None
        self._figures = BackupFigures()
        self._n_altered = 0

    async def run(self) -> None:
        """Make what is asked for, and each day's backup, until cancelled."""
        await self.recall()
        while True:
            try:
                await self.look()
            except (StoreError, RequestError) as error:
                _log.warning("backup.not_looked", extra={"error": str(error)})
            self._asked.clear()
            try:
                async with asyncio.timeout(_LOOK_EVERY):
                    await self._asked.wait()
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Make the backup that somebody asked for, or the day's if it is due.

        Raises:
            StoreError: the database cannot be used; it stays due.
            PolicyRefused: SEC-07, the target is not allowed, or not confirmed.
        """
        vault = self._store.vault
        waiting, n_altered = await self._store.read(
            lambda conn: rows.list_intact(conn, vault, states=[BackupState.WORKING], limit=_SHOWN)
        )
        self._tell_altered(n_altered)
        for one in filter(self._rules.is_own, waiting):
            await self._make(one)
        is_left = partial(self._rules.is_left, now=self._store.clock.now())
        if any(map(is_left, waiting)):
            await self._store.write(partial(rows.close_open, reason=_ENDED, is_over=is_left))
        if not waiting and self._store.is_caretaker and await self._is_due():
            try:
                await self._make(await self._begin(self._store.node_id))
            except RequestError as error:
                await self._give_up(str(error))

    async def ask(self, who: Principal) -> BackupView:
        """Ask for a backup now; it is made behind the answer.

        Raises:
            NotPermitted: without `backups:keep`, or of one department only.
            PolicyRefused: SEC-07, no target, not on the allow-list, on the same disk; SEC-04, the
                settings wait for two persons.
            Conflict: one is being made.
        """
        _require_keeper(who)
        asked = await self._begin(who.name)
        self._asked.set()
        return view_of(asked, ())

    async def list(self, who: Principal, *, limit: int = _SHOWN) -> Sequence[BackupView]:
        """Backups, newest first, with their copies and tests.

        Raises:
            NotPermitted: without `backups:keep` or `audit:read`, or of one department only.
            PolicyRefused: SEC-05, a row was altered.
        """
        _require_reader(who)
        vault = self._store.vault

        def read(conn: Connection) -> Sequence[BackupView]:
            found = rows.list_backups(conn, vault, limit=limit)
            acts = rows.acts_of(conn, vault, [one.backup_id for one in found])
            return [view_of(one, acts[one.backup_id]) for one in found]

        try:
            return await self._store.read(read)
        except TamperedError as error:
            raise _altered(error) from None

    async def show(self, who: Principal, backup_id: str) -> BackupView:
        """One backup.

        Raises:
            NotPermitted, NotFound: scope, or no such backup.
            PolicyRefused: SEC-05, its row was altered.
        """
        _require_reader(who)
        vault = self._store.vault

        def read(conn: Connection) -> BackupView:
            found = rows.find(conn, vault, backup_id)
            if found is None:
                raise NotFound("no such backup", field="backup_id", value=backup_id[:80])
            return view_of(found, rows.acts_of(conn, vault, [backup_id])[backup_id])

        try:
            return await self._store.read(read)
        except TamperedError as error:
            raise _altered(error) from None

    async def copy(self, who: Principal, *, medium: str, keeper: str) -> BackupView:
        """Copy the newest backup to a medium of the allow-list, and note who keeps it.

        Raises:
            NotPermitted: as `ask`.
            PolicyRefused: SEC-07, a machine, a medium that is not on the allow-list, a folder on
                the disk of the backups: no medium is mounted there.
            InvalidRequest: the keeper is no person of this site, or the medium refused.
            Conflict: there is no backup yet, or one is being copied or made.
        """
        _require_keeper(who)
        who.require_person("SEC-07")
        folder = self._rules.settings.media.get(medium)
        if folder is None:
            known = ", ".join(sorted(self._rules.settings.media)) or "none"
            cure = f"media of this site (backup.media): {known}"
            raise PolicyRefused(
                "SEC-07", "this medium is not on the allow-list", cure=cure, field="medium",
                value=medium[:64],
            )  # fmt: skip
        if self._busy.locked():
            raise Conflict("a backup is being made or copied", cure="try again later")
        async with self._busy:
            newest = await self._store.read(lambda conn: self._newest(conn, keeper))
            await require_place(self._rules, folder, apart_from=Path(newest.folder))
            made = await run_job(
                Job(
                    folder=str(folder),
                    name=newest.name,
                    copy_of=str(Path(newest.folder) / newest.name),
                    sha256=newest.sha256 or "",
                )
            )
            if made.rule:
                raise InvalidRequest(made.rule, cure=made.cure)
            await self._store.write(
                lambda tx: self._note_copy(tx, newest, by=who.name, medium=medium, keeper=keeper)
            )
        return await self.show(who, newest.backup_id)

    async def note_test(self, who: Principal, receipt: str) -> BackupView:
        """Record that a backup was restored into a scratch database, by the receipt of that.

        Raises:
            NotPermitted: as `ask`.
            PolicyRefused: SEC-07, a machine; nobody who opened this backup wrote the receipt.
            InvalidRequest: no receipt, an old one.
            NotFound: no backup of this server.
            Conflict: it is recorded.
        """
        _require_keeper(who)
        who.require_person("SEC-07")
        told = Receipt.parse(receipt)
        vault = self._store.vault
        if not hmac.compare_digest(told.mac, vault.mac(*told.fields)):
            cure = "take the line that modemctl restore --verify printed"
            raise PolicyRefused("SEC-07", "no restore of this backup wrote it", cure=cure)

        def act(tx: Tx) -> str:
            found = rows.find_by_digest(tx.conn, vault, told.sha256)
            if found is None:
                raise NotFound("no backup of this server", field="receipt")
            if not timedelta(0) <= tx.now - told.at <= _TEST_MAX_AGE:
                cure = "test it now: modemctl restore --verify"
                raise InvalidRequest("the test is of another month", cure=cure, field="receipt")
            acts = rows.acts_of(tx.conn, vault, [found.backup_id])[found.backup_id]
            if any(one.kind is ActKind.TEST and one.at == told.at for one in acts):
                raise Conflict("this test is recorded", cure="modemctl backup list shows it")
            _note_test(tx, found, told, by=who.name)
            return found.backup_id

        return await self.show(who, await self._store.write(act))

    def snapshot(self) -> BankSnapshot:
        """The last backup for metrics; from any thread."""
        known = self._figures
        return BankSnapshot(
            backup_made_at=known.made_at,
            backup_octets=known.n_octets,
            backup_seconds=known.seconds,
            backup_failed=known.has_failed,
        )

    async def list_duties(self, who: Principal) -> Sequence[DutyView]:
        """The daily backup, the Friday copy, the month's restore test.

        Raises:
            NotPermitted: without `modems:read`, as other duties.
        """
        who.require(Scope.MODEMS_READ)
        known = await self._store.read(duties.read_all)
        now, zone = self._store.clock.now(), self._rules.zone
        return [
            duty_view(duty, turn, known.get(duty), now, zone) for duty, turn in self._turns.items()
        ]

    # ------------------------------------------------------------ the work

    async def recall(self) -> None:
        """At start: what was being made never will be; what is known for metrics."""
        vault = self._store.vault
        is_own = self._rules.is_own
        closed = await self._store.write(lambda tx: rows.close_open(tx, _ENDED, is_over=is_own))
        await self._sweep(closed)
        try:
            found = await self._store.read(
                lambda conn: rows.list_backups(
                    conn, vault, states=[BackupState.DONE, BackupState.REMOVED], limit=1
                )
            )
        except TamperedError:  # no reason to make none any more
            _log.error("backup.altered", extra={"cure": "modemctl audit verify"})
            return
        for one in found:
            self._figures = BackupFigures.of(one)

    async def _sweep(self, closed: Sequence[Backup]) -> None:
        """What a kill left: the copy in clear, and halves of files."""
        scratch = self._rules.state_dir / SCRATCH
        await in_daemon_thread("backup sweep", partial(rmtree, scratch, ignore_errors=True))
        for one in closed:
            try:
                await require_place(self._rules, Path(one.folder))
                await _unlink(half_of(Path(one.folder) / one.name))
            except (OSError, TimeoutError, RequestError) as error:
                _log.warning("backup.not_removed", extra={"file": one.name, "error": str(error)})

    async def _is_due(self) -> bool:
        """Whether the day's backup waits; without a target it never is: the duty is late then."""
        now = self._store.clock.now()
        if not self._rules.settings.folder:
            return False
        if self._not_before is not None and now < self._not_before:
            return False
        await self._store.write(duties.begin)
        known = await self._store.read(duties.read_all)
        return is_due(self._turns[Duty.BACKUP], known[Duty.BACKUP].done_at, now, self._rules.zone)

    async def _begin(self, by: str) -> Backup:
        settings, now = self._rules.settings, self._store.clock.now()
        await self._store.read(lambda conn: require_confirmed(conn, self._store.vault, self._rules))
        if not settings.folder:
            cure = "name backup.folder, backup.allowed and backup.recipients; docs/backup.md"
            raise PolicyRefused("SEC-07", "no target for backups is set", cure=cure)
        await require_place(self._rules, Path(settings.folder))
        name = name_of(self._rules.site, self._rules.node, now)

        def act(tx: Tx) -> Backup:
            states = [BackupState.WORKING]
            working, _ = rows.list_intact(tx.conn, tx.vault, states=states, limit=_SHOWN)
            if self._busy.locked() or working:
                raise Conflict("a backup is being made or copied", cure="modemctl backup list")
            return rows.begin(tx, by=by, folder=settings.folder, name=name)

        return await self._store.write(act)

    async def _make(self, one: Backup) -> None:
        async with self._busy:
            started = self._store.clock.monotonic()
            try:
                made = await run_job(self._rules.job(one))
            except RequestError as error:
                made = Made(rule=error.rule, cure=error.cure)
            seconds = self._store.clock.monotonic() - started
            if made.rule:
                await self._store.write(lambda tx: self._note_failure(tx, one, made))
                await self._give_up(f"{made.rule}; {made.cure}")
                return
            done = await self._store.write(lambda tx: self._note_made(tx, one, made))
            self._not_before = None
            self._figures = BackupFigures.of(done, seconds=seconds)
            _log.info(
                "backup.made", extra={"file": one.name, "octets": made.n_octets, "seconds": seconds}
            )
            await self._prune()

    def _tell_altered(self, n: int) -> None:
        """Once, not at each look."""
        if n and n != self._n_altered:
            _log.error("backup.altered", extra={"rows": n, "cure": "modemctl audit verify"})
        self._n_altered = n

    async def _give_up(self, why: str) -> None:
        _log.error("backup.failed", extra={"error": why})
        self._not_before = self._store.clock.now() + _AGAIN
        self._figures = replace(self._figures, has_failed=True)

    def _note_made(self, tx: Tx, one: Backup, made: Made) -> Backup:
        done = replace(
            one,
            state=BackupState.DONE,
            finished_at=_ms(tx.now),
            sha256=made.sha256,
            n_octets=made.n_octets,
            n_database=made.n_database,
            n_rows=made.n_rows,
            schema_revision=made.schema,
            log_seq=made.heads.get(tx.node_id, 0),
        )
        rows.keep(tx, done)
        facts: dict[str, Json] = {"name": one.name, "sha256": made.sha256}
        tx.audit(one.by, "backup.make", one.backup_id, {**facts, "policy": "SEC-07"})
        duties.note_done(tx, Duty.BACKUP, by=one.by, details={"backup": one.backup_id})
        tx.wake(Topic.EVENTS)
        return done

    def _note_failure(self, tx: Tx, one: Backup, made: Made) -> None:
        failed = replace(one, state=BackupState.FAILED, reason=made.rule, finished_at=_ms(tx.now))
        rows.keep(tx, failed)
        facts = {"reason": made.rule, "policy": "SEC-07"}
        tx.audit(one.by, "backup.fail", one.backup_id, {**facts})
        tx.event(EventKind.ALARM, one.backup_id, {"alarm": "backup_failed", **facts})

    def _newest(self, conn: Connection, keeper: str) -> Backup:
        vault = self._store.vault
        try:
            found = rows.list_backups(conn, vault, states=[BackupState.DONE], limit=1)
            person = accounts.find_account_named(conn, vault, keeper)
        except TamperedError as error:
            raise _altered(error) from None
        require_confirmed(conn, vault, self._rules)
        if (
            person is None
            or person.kind != AccountKind.PERSON
            or person.state is not AccountState.ACTIVE
        ):
            raise InvalidRequest(
                "the keeper is a person of this site",
                cure="modemctl account list shows them",
                field="keeper",
                value=keeper[:80],
            )
        if not found:
            raise Conflict(_NONE, cure=_NOW)
        return found[0]

    def _note_copy(self, tx: Tx, one: Backup, *, by: str, medium: str, keeper: str) -> None:
        new = BackupAct(
            act_id=str(uuid.uuid4()),
            backup_id=one.backup_id,
            kind=ActKind.COPY,
            at=_ms(tx.now),
            by=by,
            medium=medium,
            keeper=keeper,
        )
        rows.add_act(tx, new)
        facts: dict[str, Json] = {"act": new.act_id, "medium": medium, "keeper": keeper}
        tx.audit(by, "backup.copy", one.backup_id, {**facts, "policy": "SEC-07"})
        duties.note_done(tx, Duty.BACKUP_COPY, by=by, details={"backup": one.backup_id})

    async def _prune(self) -> None:
        """Remove the files that no rule keeps: our own alone, those that the table lists."""
        vault, keeping = self._store.vault, self._rules.keeping
        known, _ = await self._store.read(
            lambda conn: rows.list_intact(conn, vault, states=[BackupState.DONE], limit=_MANY)
        )
        old = outdated((one.at for one in known), keeping)
        for one in known:
            if one.at not in old or not is_name(one.name) or not self._rules.is_own(one):
                continue
            try:
                await require_place(self._rules, Path(one.folder))
                await _unlink(Path(one.folder) / one.name)
            except (OSError, TimeoutError, RequestError) as error:
                _log.warning("backup.not_removed", extra={"file": one.name, "error": str(error)})
                continue
            await self._store.write(partial(_note_removed, one=one))


async def _unlink(path: Path) -> None:
    """Remove a file.

    Raises:
        OSError: it cannot be removed; TimeoutError: its disk does not answer.
    """
    async with asyncio.timeout(_REMOVE_LIMIT):
        await in_daemon_thread("backup removal", partial(path.unlink, missing_ok=True))


def _note_removed(tx: Tx, *, one: Backup) -> None:
    rows.keep(tx, replace(one, state=BackupState.REMOVED, removed_at=_ms(tx.now)))
    tx.audit(tx.node_id, "backup.remove", one.backup_id, {"name": one.name, "policy": "SEC-07"})


def _note_test(tx: Tx, one: Backup, told: Receipt, *, by: str) -> None:
    new = BackupAct(
        act_id=str(uuid.uuid4()),
        backup_id=one.backup_id,
        kind=ActKind.TEST,
        at=told.at,
        by=by,
        n_rows=told.n_rows,
        seconds=told.seconds,
    )
    rows.add_act(tx, new)
    facts: dict[str, Json] = {"act": new.act_id, "rows": told.n_rows, "sha256": told.sha256}
    tx.audit(by, "backup.test", one.backup_id, {**facts, "policy": "SEC-07"})
    duties.note_done(tx, Duty.RESTORE_TEST, by=by, details={"backup": one.backup_id})


def _require_keeper(who: Principal) -> None:
    who.require(Scope.BACKUPS_KEEP)
    who.require_all_departments()  # a backup holds what all of them have


def _require_reader(who: Principal) -> None:
    if Scope.AUDIT_READ not in who.scopes:
        who.require(Scope.BACKUPS_KEEP)
    who.require_all_departments()


def _altered(error: TamperedError) -> PolicyRefused:
    return PolicyRefused("SEC-05", str(error), cure="run: modemctl audit verify")


def _ms(at: datetime) -> datetime:
    at = at.astimezone(UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)  # as it is stored
