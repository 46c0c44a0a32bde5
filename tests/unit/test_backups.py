"""Backups: whole and of one moment while everybody writes, made daily, pruned, copied, recorded."""

import asyncio
import dataclasses
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import threading
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
from sqlalchemy import text

from modemctl.config import Settings
from modemctl.errors import (
    ConfigError,
    Conflict,
    InvalidRequest,
    NotFound,
    NotPermitted,
    PolicyRefused,
    StoreError,
)
from modemctl.policy.backups import Keeping, is_name, name_of, outdated
from modemctl.policy.duties import Duty
from modemctl.service import backup_child, backup_rules
from modemctl.service.audits import Audits
from modemctl.service.backup_child import Job
from modemctl.service.backup_files import read_identities, unpack, write_archive
from modemctl.service.backup_rules import BackupRules, require_place
from modemctl.service.backups import Backups, BackupView
from modemctl.service.restoring import try_restore
from modemctl.store import Store, duties
from modemctl.store import backups as rows
from modemctl.store.audits import read_chain
from modemctl.store.backups import BackupState
from modemctl.vault import AuditKey
from tests.support.backups import (
    OTHER_DISK,
    Safe,
    furnish,
    is_on,
    new_identity,
    opener,
    settings_of,
)
from tests.support.stores import AUDIT_SEED, TestClock, open_store
from tests.support.tools import require_tool

MASTER = "c2VjcmV0LW1hc3Rlci1rZXk="
PUBLIC = f"age1{'q' * 58}"
ZONE = ZoneInfo("Asia/Shanghai")


@asynccontextmanager
async def safe_in(tmp_path: Path, clock: TestClock | None = None, **backup: object):
    state = tmp_path / "state"
    state.mkdir()
    async with open_store(state, clock) as store:
        yield await furnish(store, state, tmp_path / "target", **backup)


# ---------------------------------------------------------------- which are kept


def days(n: int) -> list[datetime]:
    return [datetime(2026, 11, 20, 9, tzinfo=UTC) - timedelta(days=one) for one in range(n)]


def test_the_last_backup_of_each_day_week_and_month_is_kept_and_no_other():
    made = days(400) + [one - timedelta(hours=1) for one in days(400)]
    kept = set(made) - outdated(made, Keeping(days=7, weeks=5, months=12, zone=ZONE))
    assert {one for one in made if one >= days(7)[-1]} & kept == set(days(7))
    weeks = {one.astimezone(ZONE).isocalendar()[:2] for one in kept}
    months = {(one.year, one.month) for one in kept}
    assert len(months) == 12
    assert len(kept) <= 7 + 5 + 12
    assert len(weeks) >= 5
    assert all(one.hour == 9 for one in kept)


def test_the_newest_backup_is_kept_whatever_the_rules_say():
    rules = Keeping(days=1, weeks=0, months=0, zone=ZONE)
    assert outdated(days(3), rules) == frozenset(days(3)[1:])
    assert outdated([], rules) == frozenset()


def test_only_names_of_backups_are_names_of_backups():
    assert is_name(name_of("site", "node-1", days(1)[0]))
    for name in ("modemctl.db", "../modemctl-a-b-20261120T090000Z.tar.age", "x.tar.age", ""):
        assert not is_name(name)


# ---------------------------------------------------------------- a backup and what is in it


@dataclass(frozen=True)
class Kept:
    """A backup that was made once for all tests that only read it."""

    file: Path
    identity: Path
    made: BackupView
    left: tuple[str, ...]


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Kept:
    folder = tmp_path_factory.mktemp("site")

    async def make() -> Kept:
        async with safe_in(folder) as safe:
            (folder / "state" / "master.key").write_text(MASTER)
            made = await safe.make()
            left = tuple(path.name for path in safe.folder.iterdir())
            return Kept(file=safe.file(made), identity=safe.identity, made=made, left=left)

    return asyncio.run(make())


def test_a_backup_holds_the_database_and_opens_with_the_secret_key_alone(kept, tmp_path):
    assert kept.made.state is BackupState.DONE, kept.made.reason
    assert kept.file.stat().st_mode & 0o077 == 0
    assert kept.file.read_bytes().startswith(b"age-encryption.org/v1")
    assert kept.left == (kept.made.name,)  # nothing half written beside it
    assert not (kept.file.parents[1] / "state" / "backup-work").exists()
    tried = try_restore(kept.file, opener=opener(kept.identity), scratch=tmp_path)
    assert tried.faults == ()
    assert tried.sha256 == kept.made.sha256
    assert tried.n_rows == kept.made.n_rows
    assert list(tmp_path.iterdir()) == []


def test_no_key_of_the_vault_is_in_it(kept, tmp_path):
    manifest = unpack(kept.file, read_identities(kept.identity), tmp_path)
    assert set(manifest.files) == {"modemctl.db", "settings.json"}
    settings = Settings.model_validate_json((tmp_path / "settings.json").read_bytes())
    assert settings.policy_digest() == manifest.policy
    for path in tmp_path.iterdir():
        assert MASTER.encode() not in path.read_bytes()


def test_the_plain_age_program_opens_it(kept, tmp_path):
    age = require_tool("age")
    archive = tmp_path / "plain.tar"
    subprocess.run(
        [age, "-d", "-i", str(kept.identity), "-o", str(archive), str(kept.file)],
        check=True,
        timeout=60,
    )
    with tarfile.open(archive) as plain:
        assert plain.getnames() == ["manifest.json", "modemctl.db", "settings.json"]
        plain.extract("modemctl.db", tmp_path, filter="data")
    with closing(sqlite3.connect(tmp_path / "modemctl.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_another_identity_opens_nothing(kept, tmp_path):
    other, _ = new_identity(tmp_path, "other.txt")
    with pytest.raises(InvalidRequest, match="this identity does not open the backup"):
        try_restore(kept.file, opener=opener(other))
    (tmp_path / "none.txt").write_text("AGE-SECRET-KEY-1 nonsense")
    with pytest.raises(ConfigError, match="holds no age secret key") as refused:
        try_restore(kept.file, opener=opener(tmp_path / "none.txt"))
    assert "nonsense" not in str(refused.value)


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.01, 0.5, 0.9, 0.99999])
def test_a_bit_that_flipped_anywhere_is_told(kept, tmp_path, share):
    octets = bytearray(kept.file.read_bytes())
    octets[int(len(octets) * share)] ^= 1
    (tmp_path / "flipped").write_bytes(octets)
    with pytest.raises(InvalidRequest):
        try_restore(tmp_path / "flipped", opener=opener(kept.identity))


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.3, 0.7, 0.99999])
def test_a_backup_that_is_cut_off_is_told(kept, tmp_path, share):
    octets = kept.file.read_bytes()
    (tmp_path / "cut").write_bytes(octets[: int(len(octets) * share)])
    with pytest.raises(InvalidRequest):
        try_restore(tmp_path / "cut", opener=opener(kept.identity))


def packed(target: Path, parts: dict[str, bytes], identity: Path) -> Path:
    """A file that somebody else encrypted to the same recipient: he knows the public key."""
    public = str(read_identities(identity)[0].to_public())
    write_archive(target, parts, [public])
    return target


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("../../etc/cron.d/x", "damaged"),
        ("/etc/cron.d/x", "damaged"),
        ("modemctl.db", "no database"),
        ("notes.txt", "damaged"),
    ],
)
def test_a_forged_archive_leads_nowhere(kept, tmp_path, name, what):
    room = tmp_path / "unpacked"
    room.mkdir()
    manifest = unpack(kept.file, read_identities(kept.identity), room)
    files = {name: hashlib.sha256(b"x").hexdigest()} if name != "notes.txt" else {}
    forged = msgspec.json.encode(dataclasses.replace(manifest, files=files))
    file = packed(tmp_path / "forged", {"manifest.json": forged, name: b"x"}, kept.identity)
    with pytest.raises((InvalidRequest, StoreError), match=what):
        try_restore(file, opener=opener(kept.identity))
    assert not Path("/etc/cron.d/x").exists()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"schema": "9999"}, "this modemctl knows"),
        ({"format": 2}, "is of format 2"),
        ({"kind": "postgresql"}, "of kind postgresql"),
    ],
)
def test_what_a_newer_modemctl_wrote_is_refused(kept, tmp_path, changes, what):
    room = tmp_path / "unpacked"
    room.mkdir()
    manifest = unpack(kept.file, read_identities(kept.identity), room)
    parts = {name: (room / name).read_bytes() for name in manifest.files}
    told = msgspec.json.encode(dataclasses.replace(manifest, **changes))
    file = packed(tmp_path / "newer", {"manifest.json": told, **parts}, kept.identity)
    with pytest.raises(InvalidRequest, match=what):
        try_restore(file, opener=opener(kept.identity))


def test_a_database_that_was_altered_before_the_backup_is_told_by_the_test(kept, tmp_path):
    """The file is whole; what stands in it is not what modemctl wrote."""
    room = tmp_path / "unpacked"
    room.mkdir()
    manifest = unpack(kept.file, read_identities(kept.identity), room)
    with closing(sqlite3.connect(room / "modemctl.db")) as db:
        db.execute("UPDATE account SET roles = '[]' WHERE name = 'anna'")
        db.commit()
    parts = {name: (room / name).read_bytes() for name in manifest.files}
    files = {name: hashlib.sha256(part).hexdigest() for name, part in parts.items()}
    told = msgspec.json.encode(dataclasses.replace(manifest, files=files))
    file = packed(tmp_path / "altered", {"manifest.json": told, **parts}, kept.identity)
    tried = try_restore(file, opener=opener(kept.identity))
    assert any("account" in fault for fault in tried.faults)
    assert tried.receipt is None


async def test_a_backup_beside_constant_writing_is_of_one_moment(tmp_path):
    """Each write adds an entry and an event: the copy is a prefix of the log, to the last row."""
    async with safe_in(tmp_path) as safe:
        n = 0
        is_over = asyncio.Event()

        async def write() -> None:
            nonlocal n
            while not is_over.is_set():
                await safe.store.write(lambda tx: tx.audit("anna", "noise", "noise", {}))
                n += 1

        async with asyncio.TaskGroup() as group:
            writers = [group.create_task(write()) for _ in range(3)]
            before = n
            made = await safe.make()
            during = n - before
            is_over.set()
            assert len(writers) == 3
        assert made.state is BackupState.DONE, made.reason
        assert during > 0
        tried = try_restore(safe.file(made), opener=opener(safe.identity))
        chain = await safe.store.read(
            lambda conn: read_chain(conn, node_id="n1", after=0, limit=1_000_000)
        )
    assert tried.faults == ()
    head = tried.manifest.heads["n1"]
    assert 0 < head.seq < len(chain)
    assert chain[head.seq - 1].hash.hex() == head.hash
    assert tried.manifest.rows["audit_entry"] == head.seq


# ---------------------------------------------------------------- where it may go


async def test_without_a_target_or_recipients_it_refuses_with_the_cure(tmp_path):
    async with open_store(tmp_path) as store:
        safe = await furnish(store, tmp_path, tmp_path / "t", folder="", allowed=())
        with pytest.raises(PolicyRefused, match=r"backup\.recipients") as refused:
            await safe.backups.ask(safe.keeper)
        assert refused.value.policy == "SEC-07"
    with pytest.raises(ValueError, match="never written in clear"):
        settings_of(tmp_path, tmp_path, recipients=())


async def test_a_target_on_the_same_disk_is_refused_unless_it_is_allowed(tmp_path):
    assert not is_on(tmp_path, OTHER_DISK)
    async with safe_in(tmp_path, allow_same_disk=False) as safe:
        with pytest.raises(PolicyRefused, match="on the disk of") as refused:
            await safe.backups.ask(safe.keeper)
        assert refused.value.policy == "SEC-07"
        assert list(safe.folder.iterdir()) == []


async def test_a_target_on_another_disk_is_taken_and_a_medium_on_that_disk_is_not(tmp_path):
    """A medium's folder lies on the disk of the backups where nothing is mounted there."""
    other = OTHER_DISK / f"modemctl-test-{os.getpid()}"
    medium = other / "medium"
    medium.mkdir(parents=True)
    try:
        state = tmp_path / "state"
        state.mkdir()
        async with open_store(state) as store:
            chosen = {"allow_same_disk": False, "media": {"friday-a": medium}}
            safe = await furnish(store, state, other, **chosen)
            made = await safe.make()
            assert made.state is BackupState.DONE, made.reason
            with pytest.raises(PolicyRefused, match="on the disk of"):
                await safe.backups.copy(safe.keeper, medium="friday-a", keeper="anna")
            assert list(medium.iterdir()) == []
    finally:
        shutil.rmtree(other)


async def test_a_target_off_the_allow_list_is_refused_also_behind_a_link(tmp_path):
    with pytest.raises(ValueError, match=r"backup\.allowed does not hold"):
        settings_of(tmp_path / "a", tmp_path, allowed=(tmp_path / "b",))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = tmp_path / "target" / "below"
    async with safe_in(tmp_path, folder=str(link)) as safe:
        link.symlink_to(elsewhere)
        with pytest.raises(PolicyRefused, match="not on the allow-list") as refused:
            await safe.backups.ask(safe.keeper)
        assert refused.value.policy == "SEC-07"
        assert list(elsewhere.iterdir()) == []


async def test_a_target_that_two_persons_have_not_confirmed_gets_nothing(tmp_path):
    async with safe_in(tmp_path) as safe:
        other = tmp_path / "mine"
        other.mkdir()
        changed = settings_of(other, tmp_path / "state", recipients=safe.settings.backup.recipients)
        with pytest.raises(PolicyRefused, match="two persons confirmed") as refused:
            await Backups(safe.store, BackupRules.of(changed)).ask(safe.keeper)
        assert refused.value.policy == "SEC-04"
        assert list(other.iterdir()) == []


async def test_who_may_not_keep_backups_makes_none(tmp_path):
    async with safe_in(tmp_path) as safe:
        clerk = dataclasses.replace(safe.keeper, scopes=frozenset())
        head = dataclasses.replace(safe.keeper, department="loans")
        for who in (clerk, head):
            with pytest.raises(NotPermitted):
                await safe.backups.ask(who)
            with pytest.raises(NotPermitted):
                await safe.backups.list(who)


# ---------------------------------------------------------------- by itself, each day


async def test_the_days_backup_is_made_by_itself_and_outdated_files_go_ours_alone(tmp_path, caplog):
    caplog.set_level("INFO")  # as the daemon logs
    clock = TestClock(datetime(2026, 11, 21, 8, 0, tzinfo=UTC))  # 16:00 in Shanghai
    async with safe_in(tmp_path, clock, keep_days=2, keep_weeks=0, keep_months=0) as safe:
        foreign = safe.folder / "modemctl-site-n1-20200101T000000Z.tar.age"
        foreign.write_bytes(b"of somebody else")

        async def files() -> int:
            await safe.backups.look()
            return len(list(safe.folder.iterdir())) - 1

        await safe.store.write(duties.begin)
        assert await files() == 0
        clock.advance(3_600)
        assert await files() == 1
        clock.advance(22 * 3_600)
        assert await files() == 1  # once a day
        known = await safe.store.read(duties.read_all)
        assert known[Duty.BACKUP].done_by == "n1"
        clock.advance(3 * 3_600)
        assert await late(safe) == {"backup": True, "backup_copy": False, "restore_test": False}
        assert await files() == 2
        assert not any((await late(safe)).values())
        clock.advance(86_400)
        assert await files() == 2
        states = [one.state for one in await safe.backups.list(safe.keeper)]
        assert states == [BackupState.DONE, BackupState.DONE, BackupState.REMOVED]
        assert foreign.exists()
        assert [one.message for one in caplog.records].count("backup.made") == 3
        clock.advance(8 * 86_400)
        assert await late(safe) == {"backup": True, "backup_copy": True, "restore_test": False}
        clock.advance(24 * 86_400)
        assert (await late(safe))["restore_test"]


async def late(safe: Safe) -> dict[str, bool]:
    return {one.duty: one.is_overdue for one in await safe.backups.list_duties(safe.keeper)}


async def test_a_target_that_went_away_fails_clearly_and_the_next_try_makes_good(tmp_path):
    async with safe_in(tmp_path) as safe:
        asked = await safe.backups.ask(safe.keeper)
        safe.folder.rmdir()
        await safe.backups.look()
        found = await safe.backups.show(safe.keeper, asked.backup_id)
        assert found.state is BackupState.FAILED
        assert "No such file" in found.reason
        assert not (tmp_path / "state" / "backup-work").exists()
        assert safe.backups.snapshot().backup_failed
        events = await safe.store.read(
            lambda conn: conn.execute(text("SELECT data FROM event WHERE kind = 'alarm'")).all()
        )
        assert any("backup_failed" in row.data for row in events)
        safe.folder.mkdir()
        made = await safe.make()
        assert made.state is BackupState.DONE, made.reason
        snapshot = safe.backups.snapshot()
        assert not snapshot.backup_failed
        assert snapshot.backup_octets == made.n_octets


FULL = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
from modemctl.service.backup_files import write_archive
try:
    write_archive(Path(sys.argv[1]), {"modemctl.db": bytes(2_000_000)}, [sys.argv[2]])
except OSError as error:
    print(error.strerror)
"""


def test_a_disk_that_takes_no_more_leaves_no_half_file(kept, tmp_path):
    """A limit on the size of files stands for the full disk."""
    public = str(read_identities(kept.identity)[0].to_public())
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "x.tar.age"), public],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "File too large\n"
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path):
    huge = tmp_path / "huge.db"
    with huge.open("wb") as file:
        file.truncate(2 * shutil.disk_usage(tmp_path).free)  # takes no room itself
    target = tmp_path / "target"
    target.mkdir()
    job = Job(
        folder=str(target),
        name="x.tar.age",
        url=f"sqlite:///{huge}",
        scratch=str(tmp_path / "scratch"),
        at=datetime(2026, 11, 22, tzinfo=UTC),
    )
    with pytest.raises(InvalidRequest, match="MiB free"):
        backup_child.make(job)
    assert list(target.iterdir()) == []
    assert not (tmp_path / "scratch").exists()


async def test_a_backup_that_the_daemon_did_not_finish_is_told_as_failed(tmp_path):
    async with safe_in(tmp_path) as safe:
        asked = await safe.backups.ask(safe.keeper)
        with pytest.raises(Conflict):
            await safe.backups.ask(safe.keeper)
        later = Backups(safe.store, BackupRules.of(safe.settings))
        await later.recall()
        found = await later.show(safe.keeper, asked.backup_id)
        assert found.state is BackupState.FAILED
        assert "ended" in found.reason


async def test_what_a_kill_left_is_gone_after_the_next_start(tmp_path):
    """The copy of the database in clear, and the half of a file that nobody would ever list."""
    async with safe_in(tmp_path) as safe:
        asked = await safe.backups.ask(safe.keeper)
        scratch = tmp_path / "state" / "backup-work"
        scratch.mkdir()
        (scratch / "modemctl.db").write_bytes(b"in clear")
        half = safe.folder / f".{asked.name}.part"
        foreign = safe.folder / ".modemctl-b-n2-20261120T090000Z.tar.age.part"
        for path in (half, foreign):
            path.write_bytes(b"x")
        await Backups(safe.store, BackupRules.of(safe.settings)).recall()
        assert not scratch.exists()
        assert not half.exists()
        assert foreign.exists(), "of another server that writes there now"


async def test_a_machine_that_starts_no_process_fails_the_backup_and_not_the_daemon(
    tmp_path, monkeypatch
):
    async with safe_in(tmp_path) as safe:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", str(tmp_path / "nowhere"))
            made = await safe.make()
        assert made.state is BackupState.FAILED
        assert made.reason.startswith("no process could be started: ")
        assert (await safe.make()).state is BackupState.DONE


async def test_an_altered_row_of_a_backup_keeps_nobody_from_the_next_one(tmp_path):
    async with safe_in(tmp_path) as safe:
        await safe.make()
        change = text("UPDATE backup SET n_octets = 1")
        await safe.store.write(lambda tx: tx.conn.execute(change) and None)
        later = Backups(safe.store, BackupRules.of(safe.settings))
        await later.recall()
        assert later.snapshot().backup_made_at is None


async def test_another_nodes_chain_is_no_fault_of_a_backup_and_is_named(tmp_path):
    async with safe_in(tmp_path) as safe:
        url = f"sqlite:///{tmp_path}/state/modemctl.db"
        keys = {"vault": safe.store.vault, "audit_key": AuditKey(bytes(range(64, 96)))}
        async with Store(url, **keys, clock=safe.store.clock, node_id="n2") as other:
            await other.write(lambda tx: tx.audit("anna", "noise", "noise", {}))
        made = await safe.make()
        tried = try_restore(safe.file(made), opener=opener(safe.identity))
        assert (tried.faults, tried.unchecked) == ((), ("n2",))
        assert tried.receipt is not None


async def test_an_altered_row_in_the_making_stops_no_daily_backup_and_is_named(tmp_path, caplog):
    async with safe_in(tmp_path) as safe:
        await safe.backups.ask(safe.keeper)
        change = text("UPDATE backup SET name = 'elsewhere'")
        await safe.store.write(lambda tx: tx.conn.execute(change) and None)
        later = Backups(safe.store, BackupRules.of(safe.settings))
        await later.recall()
        await safe.store.write(duties.begin)
        safe.store.clock.advance(2 * 86_400)
        await later.look()
        await later.look()
        assert [one.getMessage() for one in caplog.records].count("backup.altered") == 1
        assert len(list(safe.folder.iterdir())) == 1  # the day's
        done, n_altered = await safe.store.read(
            lambda conn: rows.list_intact(
                conn, safe.store.vault, states=tuple(BackupState), limit=9
            )
        )
        assert ([one.state for one in done], n_altered) == ([BackupState.DONE], 1)
        [report] = await Audits(
            safe.store,
            audit_public_key=AuditKey(AUDIT_SEED).public_octets(),
            head_file=tmp_path / "head",
        ).check()
        assert len(report.faults) == 1
        assert report.faults[0].startswith("backup ")
        assert report.faults[0].endswith("the row was not written by modemctl")


def test_a_target_that_hangs_holds_up_neither_the_daemon_nor_its_end(tmp_path, monkeypatch):
    """As a network folder whose server is gone: the default executor's threads are waited for."""
    rules = BackupRules.of(settings_of(tmp_path, tmp_path, recipients=(PUBLIC,)))
    back, ended = threading.Event(), threading.Event()

    def hang(*_: object, **__: object) -> Path:
        back.wait(30)
        ended.set()
        raise OSError("gone")

    async def look() -> None:
        with pytest.raises(InvalidRequest, match="does not answer"):
            await require_place(rules, tmp_path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "resolve", hang)
        patched.setattr(backup_rules, "_LOOK_LIMIT", 0.05)
        asyncio.run(look())
    assert not ended.is_set()
    back.set()
    assert ended.wait(10)


# ---------------------------------------------------------------- copies, and tests


async def test_a_copy_goes_to_a_known_medium_and_its_keeper_is_on_record(tmp_path):
    medium = tmp_path / "target" / "medium"
    async with safe_in(tmp_path, media={"friday-a": medium}) as safe:
        medium.mkdir()
        with pytest.raises(Conflict, match="no backup"):
            await safe.backups.copy(safe.keeper, medium="friday-a", keeper="anna")
        made = await safe.make()
        with pytest.raises(PolicyRefused, match="allow-list") as refused:
            await safe.backups.copy(safe.keeper, medium="stick", keeper="anna")
        assert refused.value.policy == "SEC-07"
        with pytest.raises(InvalidRequest, match="keeper"):
            await safe.backups.copy(safe.keeper, medium="friday-a", keeper="nobody")
        shown = await safe.backups.copy(safe.keeper, medium="friday-a", keeper="anna")
        assert [(act.medium, act.keeper, act.by) for act in shown.acts] == [
            ("friday-a", "anna", "anna")
        ]
        assert (medium / made.name).read_bytes() == safe.file(made).read_bytes()
        known = await safe.store.read(duties.read_all)
        assert known[Duty.BACKUP_COPY].done_by == "anna"
        (medium / made.name).unlink()
        octets = bytearray(safe.file(made).read_bytes())
        octets[len(octets) // 2] ^= 1
        safe.file(made).write_bytes(octets)
        with pytest.raises(InvalidRequest, match="not as it was written"):
            await safe.backups.copy(safe.keeper, medium="friday-a", keeper="anna")
        assert list(medium.iterdir()) == []
        # somebody writes a row so that a file is removed, or a digest believed
        await safe.store.write(
            lambda tx: tx.conn.execute(text("UPDATE backup SET folder = '/etc'"))
        )
        with pytest.raises(PolicyRefused) as refused:
            await safe.backups.list(safe.keeper)
        assert refused.value.policy == "SEC-05"


async def test_a_restore_test_is_recorded_by_its_receipt_and_by_nothing_else(tmp_path):
    clock = TestClock()
    async with safe_in(tmp_path, clock) as safe:
        made = await safe.make()
        tried = try_restore(safe.file(made), opener=opener(safe.identity, clock))
        assert tried.receipt is not None
        kind, digest, n_rows, *rest = tried.receipt.split(":")
        forged = ":".join((kind, digest, str(int(n_rows) + 1), *rest))
        with pytest.raises(PolicyRefused, match="no restore of this backup wrote it"):
            await safe.backups.note_test(safe.keeper, forged)
        with pytest.raises(InvalidRequest, match="no receipt"):
            await safe.backups.note_test(safe.keeper, "it worked")
        shown = await safe.backups.note_test(safe.keeper, tried.receipt)
        assert [act.kind.value for act in shown.acts] == ["test"]
        with pytest.raises(Conflict):
            await safe.backups.note_test(safe.keeper, tried.receipt)
        known = await safe.store.read(duties.read_all)
        assert known[Duty.RESTORE_TEST].done_by == "anna"
        clock.advance(32 * 86_400)
        with pytest.raises(InvalidRequest, match="another month"):
            await safe.backups.note_test(safe.keeper, tried.receipt)


async def test_a_receipt_of_another_servers_backup_is_told(kept, tmp_path):
    clock = TestClock()
    tried = try_restore(kept.file, opener=opener(kept.identity, clock))
    assert tried.receipt is not None
    async with safe_in(tmp_path, clock) as safe:
        with pytest.raises(NotFound):
            await safe.backups.note_test(safe.keeper, tried.receipt)
