"""The database looked at without a trace: whole, damaged, in use, left by a kill."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, update

from modemctl.clock import SystemClock
from modemctl.config import PathsSettings, PurgeMode, Settings, SiteSettings
from modemctl.config.retention import RetentionSettings
from modemctl.config.webhooks import WebhooksSettings
from modemctl.doctor.database import check_database, judge_locks, judge_pins
from modemctl.doctor.findings import Finding, Verdict
from modemctl.doctor.subject import Subject
from modemctl.errors import StoreError
from modemctl.lifecycle import CardState
from modemctl.model import AccountId, Iccid
from modemctl.policy.records import HoldKind
from modemctl.store import card_locks, holds, inbox, pins, sims
from modemctl.store.peek import PinCensus, peek
from modemctl.store.tables import inbox as inbox_table
from modemctl.store.tables import webhook
from modemctl.store.transaction import Tx
from modemctl.vault import create_key
from tests.support.banks import Site
from tests.support.doctors import facts_of
from tests.support.stores import open_store
from tests.unit.test_records import incoming

pytestmark = pytest.mark.sqlite_only  # doctor looks into SQLite alone
CARDS = [Iccid(f"8986001234567890{n:04}") for n in range(5)]
KILLED = """
import sqlite3, sys, time
c = sqlite3.connect(sys.argv[1]); c.execute("PRAGMA journal_mode=WAL")
c.execute("UPDATE meta SET value = 'elsewhere' WHERE key = 'site_id'"); c.commit()
print("ready", flush=True); time.sleep(60)
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site", "/dev/null*")


def look(site: Site, **changes: object) -> dict[str, Finding]:
    folder = site.folder
    paths = PathsSettings(
        state_dir=folder / "state",
        master_key_file=folder / "keys/master.key",
        audit_key_file=folder / "keys/audit.key",
    )
    settings = Settings(paths=paths, site=SiteSettings(id="test-1")).model_copy(update=changes)
    found = check_database(Subject.of(facts_of(Path("/"), clock=SystemClock()), settings))
    return {one.check: one for one in found}


def traces(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file with its times and content."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            facts = path.stat()
            found[path.name] = (facts.st_mtime_ns, facts.st_ino, path.read_bytes())
    return found


def wrong(found: dict[str, Finding]) -> set[str]:
    return {name for name, one in found.items() if one.verdict is not Verdict.OK}


def register(tx: Tx) -> None:
    known = {"state": CardState.ISSUED, "verified_at": tx.now, "verified_by": "x"}
    sims.add(tx, [sims.NewCard(iccid=one, **known) for one in CARDS])
    pins.add_import(tx, "import", dict.fromkeys(CARDS[:3], "4711"))


def old_message(tx: Tx) -> None:
    inbox.add(tx, [incoming("+8613900000001", "hello")])
    before = tx.now - timedelta(days=3)
    tx.conn.execute(update(inbox_table).values(received_at=before))


def leave_by_kill(database: Path) -> None:
    """A process writes, commits and is killed: its log stays behind."""
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(database)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)


def test_stopped_database_is_read_without_a_trace(site: Site) -> None:
    site.write(register)
    before = traces(site.folder)
    found = look(site)
    assert traces(site.folder) == before
    assert wrong(found) == {"site"}
    assert "the database is of site " in found["site"].seen
    assert found["PINs"].seen == "5 cards: 2 without a PIN, 3 not tried yet"
    assert found["PIN locks"].seen == "5 cards in use or in a bay: 5 unknown"
    assert found["key and data"].verdict is Verdict.OK
    assert "4711" not in repr(found)


def test_log_of_a_killed_daemon_is_read_without_a_trace(site: Site) -> None:
    leave_by_kill(site.database)
    before = traces(site.folder)
    assert "modemctl.db-wal" in before
    assert "of site elsewhere" in look(site)["site"].seen  # it stands in the log only
    assert traces(site.folder) == before


def test_log_without_its_index_is_left_to_the_daemon(site: Site) -> None:
    leave_by_kill(site.database)
    (site.folder / "state/modemctl.db-shm").unlink()
    before = traces(site.folder)
    found = look(site)["database"]
    assert traces(site.folder) == before
    assert (found.verdict, found.cure) == (Verdict.FAIL, "systemctl start modemctl")


async def test_database_in_use_is_read_beside_its_writer(tmp_path: Path) -> None:
    async with open_store(tmp_path) as store:
        await store.write(register)
        seen = peek(tmp_path / "modemctl.db", is_in_use=True, clock=SystemClock(), patience=10.0)
        await store.write(lambda tx: sims.add(tx, [sims.NewCard(iccid=Iccid("8986009"))]))
    assert seen.is_wal
    assert seen.is_read_whole
    assert seen.faults == ()
    assert seen.pins == PinCensus(cards={"unproved": 3, "none": 2}, n_waiting=0, stopped=[])


def test_emergencies_whose_chain_has_not_signed_are_told(site: Site) -> None:
    assert "emergencies" not in look(site)
    site.write(
        lambda tx: tx.audit("zhang", "batch.emergency", "b-1", {}),
        lambda tx: tx.audit("zhang", "batch.emergency", "b-2", {}),
        lambda tx: tx.audit("wang", "batch.emergency_reviewed", "b-2", {}),
    )
    found = look(site)["emergencies"]
    assert found.verdict is Verdict.WARN
    assert found.seen == "let go, and not signed by their chain yet: 1"


def test_webhooks_that_may_go_nowhere_are_told(site: Site) -> None:
    assert "webhooks" not in look(site)
    row = {
        "name": "crm", "url": "https://crm.example.com/", "events": "[]", "parallel": 1,
        "state": "active", "reason": "", "secret_enc": b"x", "created_by": "root", "revision": 1,
        "mac": b"x",
    }  # fmt: skip
    site.write(lambda tx: tx.conn.execute(insert(webhook).values(**row, created_at=tx.now)))
    found = look(site)["webhooks"]
    assert found.verdict is Verdict.WARN
    assert found.seen == "1 set up, and webhooks.allow names no host: they get nothing"
    assert "webhooks" not in look(site, webhooks=WebhooksSettings(allow=["crm.example.com"]))


def test_retention_and_holds_are_told(site: Site) -> None:
    seen = look(site)["retention"]
    assert (seen.verdict, seen.seen) == (
        Verdict.OK, "purged by itself, none yet; legal holds in force: 0",
    )  # fmt: skip
    new = holds.NewHold(kind=HoldKind.NUMBER, number="+8613800000001")
    keeper = {"by": AccountId("guo"), "name": "guo"}
    site.write(lambda tx: holds.add(tx, new, reason="case 12", **keeper))
    by_hand = RetentionSettings(purge=PurgeMode.BY_HAND, inbox_days=1)
    assert look(site, retention=by_hand)["retention"].verdict is Verdict.OK
    site.write(old_message)
    seen = look(site, retention=by_hand)["retention"]
    assert seen.verdict is Verdict.WARN
    told = "purged by two persons, none yet; legal holds in force: 1; some rows are due"
    assert seen.seen == told
    assert seen.cure.startswith("modemctl purge preview")


def test_large_database_is_not_read_for_ever(site: Site) -> None:
    with sqlite3.connect(site.database) as db:
        db.execute("CREATE TABLE filler (a TEXT)")
        rows = [(os.urandom(40).hex(),) for _ in range(20_000)]
        db.executemany("INSERT INTO filler VALUES (?)", rows)
    db.close()
    seen = peek(site.database, is_in_use=False, clock=SystemClock(), patience=0.0)
    assert (seen.is_read_whole, seen.faults) == (False, ())
    assert seen.revision is not None


def _damage(path: Path) -> None:
    with sqlite3.connect(path) as db:
        (size,) = db.execute("PRAGMA page_size").fetchone()
        statement = "SELECT rootpage FROM sqlite_master WHERE name = 'segment'"
        (page,) = db.execute(statement).fetchone()
    db.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def _miscount(path: Path) -> None:
    """The header claims free pages that are not there."""
    with path.open("r+b") as file:
        file.seek(36)
        file.write((7).to_bytes(4, "big"))


def _cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _overwrite(path: Path) -> None:
    path.write_bytes(b"no database, but long enough for a header" * 100)


def _age(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("UPDATE alembic_version SET version_num = '0000'")
    db.close()


def _mark(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO meta VALUES ('copied_to', '{}')")
    db.close()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("spoil", "check", "seen", "cure"),
    [
        (_damage, "database", "malformed", "restore a copy"),
        (_miscount, "database", "is damaged: ", "restore a copy"),
        (_cut, "database", "malformed", "restore a copy"),
        (_overwrite, "database", "not a database", "restore a copy"),
        (_age, "schema", "0000; this version needs", "db upgrade"),
        (_mark, "copied", "no daemon starts on it", "name the copy"),
        (_empty, "database", "is not modemctl's, or empty", "db upgrade"),
        (_remove, "database", "does not exist", "db upgrade"),
    ],
)
def test_spoilt_database_is_told_with_its_cure(
    site: Site, spoil: Callable[[Path], None], check: str, seen: str, cure: str
) -> None:
    spoil(site.database)
    found = look(site)[check]
    assert found.verdict is Verdict.FAIL
    assert seen in found.seen
    assert cure in found.cure


def test_database_of_another_key_is_told(site: Site) -> None:
    (site.folder / "keys/master.key").unlink()
    create_key(site.folder / "keys/master.key")
    assert look(site)["key and data"].verdict is Verdict.FAIL


def test_foreign_database_is_not_judged(site: Site) -> None:
    address = f"postgresql+psycopg://x@/z?host={site.folder}"
    paths = PathsSettings(database=address, state_dir=site.folder / "state")
    found = look(site, paths=paths)["database"]
    assert found.verdict is Verdict.FAIL
    assert found.seen.startswith(f"{address}: connection is bad:")


def test_folder_instead_of_a_database_is_a_fault_not_a_crash(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        peek(tmp_path, is_in_use=False, clock=SystemClock(), patience=1.0)


def test_copies_of_a_database_are_whole_too(site: Site, tmp_path: Path) -> None:
    shutil.copy(site.database, tmp_path / "copy.db")
    seen = peek(tmp_path / "copy.db", is_in_use=False, clock=SystemClock(), patience=10.0)
    assert (seen.faults, seen.is_read_whole) == ((), True)


def test_locked_cards_and_stopped_imports_are_told() -> None:
    census = PinCensus(
        cards={"proved": 500, "failed": 1, "blocked": 1, "unproved": 10},
        n_waiting=10,
        stopped=["a PIN was wrong before the first was right"],
    )
    cards, guard = judge_pins(census)
    assert cards.verdict is guard.verdict is Verdict.WARN
    assert cards.seen == "512 cards: 1 PUK needed, 1 wrong, 500 proved, 10 not tried yet"
    assert "1 imports stopped" in guard.seen
    assert "10 cards wait" in guard.seen


def test_cards_that_anybody_may_use_are_told(site: Site) -> None:
    def lock(tx: Tx) -> None:
        told = [(True, ""), (False, ""), (True, "guard"), (None, "sim_puk")]
        notes = [
            card_locks.LockNote(iccid=iccid, bay="b", is_locked=is_locked, reason=reason)
            for iccid, (is_locked, reason) in zip(CARDS, told, strict=False)
        ]
        card_locks.note(tx, notes)

    site.write(register, lock)
    found = look(site)["PIN locks"]
    assert found.verdict is Verdict.WARN
    counted = "1 locked, 1 unlocked, 1 unknown, 1 stopped, 1 blocked"
    assert found.seen == f"5 cards in use or in a bay: {counted}"
    locked = card_locks.LockRow(
        iccid=CARDS[0], department=None, state=None, bay=None, bay_state=None, bay_reason=None,
        is_locked=True, verified_at=None, reason="",
    )  # fmt: skip
    assert judge_locks([locked]).verdict is Verdict.OK
