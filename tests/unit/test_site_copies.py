"""A site that moves to PostgreSQL, and back: every row as it was, and never two that would send."""

import asyncio
import dataclasses
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import func, insert, make_url, select

from modemctl.config import Settings
from modemctl.daemon import sending_rules
from modemctl.errors import ConfigError, InvalidRequest, StoreError
from modemctl.model import EventKind
from modemctl.service.audits import verify_offline
from modemctl.service.backup_rules import BackupRules, run_job
from modemctl.service.restoring import restore, try_restore
from modemctl.service.site_copies import CheckProgress, SiteKeys, copy_site, reopen_site
from modemctl.store import Store
from modemctl.store.backups import Backup, BackupState
from modemctl.store.key_files import load_database, read_address
from modemctl.store.lock import state_lock
from modemctl.store.site_streams import end_of, filling, reading
from modemctl.store.streams import stream
from modemctl.store.tables import inbox, stop
from modemctl.vault import AuditKey, Vault
from tests.support import postgres
from tests.support.approved import amend_cards
from tests.support.attacks import CARDS, Crew, place_cards
from tests.support.backups import furnish, new_identity, opener
from tests.support.commands import call
from tests.support.stores import AUDIT_SEED, MASTER_KEY, TestClock
from tests.unit.test_stops import office_in

LARGEST = 2**63 - 1
ODD = "短信 \u202e😀 \\N \\. \t\r\n'\""


@dataclass(frozen=True)
class Site:
    """A stopped site on SQLite, in the middle of its work."""

    settings: Settings
    database: Path

    @property
    def keys(self) -> SiteKeys:
        return keys()


def keys() -> SiteKeys:
    return SiteKeys(vault=Vault(MASTER_KEY), audit_key=AuditKey(AUDIT_SEED), clock=TestClock())


@pytest.fixture
def cluster() -> Iterator[postgres.Cluster]:
    yield postgres.cluster()
    postgres.cluster().drop_all()


@pytest.fixture
def guarded(cluster) -> Iterator[None]:
    """A role that needs its password."""
    cluster.sql("CREATE ROLE guarded SUPERUSER LOGIN PASSWORD 'geheim'")
    yield
    cluster.drop_all()
    cluster.sql("DROP ROLE guarded")


@pytest.fixture(scope="module")
def worked(tmp_path_factory) -> tuple[bytes, Settings]:
    """The database of a site that worked, as its file, made once."""
    folder = tmp_path_factory.mktemp("worked")

    async def work() -> Settings:
        async with office_in(folder) as office:
            safe = await furnish(office.store, folder, folder / "target")
            await office.store.write(place_cards)
            lease = {"lease_from": date(2026, 1, 31), "lease_until": date(2027, 1, 30)}
            await office.store.write(lambda tx: amend_cards(tx, CARDS[:1], **lease))
            await office.start(await office.approve(await office.submit(6)))
            crew = Crew(office.store, sending_rules(safe.settings))
            assert len(await office.store.write(lambda tx: crew.send(tx, n=2))) == 2
            await office.store.write(add_odd_rows)
            assert await office.store.scrub()
            return safe.settings

    settings = asyncio.run(work())
    return (folder / "modemctl.db").read_bytes(), settings


def add_odd_rows(tx) -> None:
    """Cells at the edges of what a column holds."""
    tx.event(EventKind.INBOX, ODD, {"kind": ODD})
    tx.audit("anna", "noise", ODD, {"text": ODD})
    row = {"bay": ODD, "received_at": tx.now, "sender_enc": b"", "tpdu_enc": bytes(range(256)) * 9}
    flags = {"is_repeat": True, "is_decoded": False, "fingerprint": b"\0", "kind": "raw"}
    for n in (LARGEST, -LARGEST - 1, 0):
        tx.conn.execute(insert(inbox).values(**row, **flags, joined_id=n))


@pytest.fixture
def site(worked, tmp_path) -> Site:
    octets, settings = worked
    state = tmp_path / "state"
    state.mkdir()
    (state / "modemctl.db").write_bytes(octets)
    paths = settings.paths.model_copy(update={"state_dir": state})
    return Site(settings.model_copy(update={"paths": paths}), state / "modemctl.db")


def contents(database: Path) -> dict[str, list[tuple[object, ...]]]:
    """All cells of an SQLite file with their kinds, but the mark."""
    with closing(sqlite3.connect(database)) as db:
        tables = [
            name
            for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if not name.startswith("sqlite_")
        ]
        found = {name: sorted(map(repr, db.execute(f'SELECT * FROM "{name}"'))) for name in tables}
    found["meta"] = [one for one in found["meta"] if "copied_to" not in one]
    return found


def ignore(told: object) -> None:
    del told


def opened(url: str) -> Store:
    one = keys()
    return Store(url, vault=one.vault, audit_key=one.audit_key, clock=one.clock, node_id="n1")


async def test_a_site_moves_to_postgresql_with_every_row_as_it_was_and_works_there(
    site, cluster, tmp_path
):
    url = cluster.url(cluster.create())
    stages = []
    done = await asyncio.to_thread(
        copy_site, site.settings, make_url(url), site.keys, lambda told: stages.append(told.stage)
    )
    assert done.faults == ()
    assert list(dict.fromkeys(map(str, stages)))[:3] == ["copying", "indexing", "comparing"]
    assert {"segments", "seals"} <= set(map(str, stages))
    assert done.n_rows == sum(map(len, contents(site.database).values())) - 1  # the schema's
    with reading(url) as old, filling(f"sqlite:///{tmp_path}/back.db") as new:  # as a backup does
        stream(end_of(old), end_of(new), ignore)
    assert contents(tmp_path / "back.db") == contents(site.database)
    assert any(repr(ODD) in one for one in contents(tmp_path / "back.db")["audit_entry"])
    async with opened(url) as store:  # numbers go on behind the last
        await store.write(lambda tx: tx.event(EventKind.ALARM, "x", {"alarm": "x"}))
        await store.write(lambda tx: tx.audit("anna", "noise", "x", {}))
    reports = verify_offline(
        make_url(url),
        node_id="n1",
        audit_public_key=site.keys.audit_key.public_octets(),
        head_file=tmp_path / "none",
        vault=site.keys.vault,
    )
    assert [one.faults for one in reports] == [()]


async def test_the_old_database_runs_no_more_and_stands_still_when_it_is_taken_back(site, cluster):
    url = cluster.url(cluster.create())
    with pytest.raises(ConfigError, match="is not empty"):
        await asyncio.to_thread(
            copy_site, site.settings, make_url(filled(cluster)), site.keys, ignore
        )
    async with opened(site.settings.paths.database_url):
        pass  # as it was: a copy that failed marks nothing
    await asyncio.to_thread(copy_site, site.settings, make_url(url), site.keys, ignore)
    with pytest.raises(ConfigError, match=r"it would send twice.*modemctl db reopen"):
        opened(site.settings.paths.database_url)
    with pytest.raises(ConfigError, match="it would send twice"):
        await asyncio.to_thread(copy_site, site.settings, make_url(url), site.keys, ignore)
    still = await asyncio.to_thread(reopen_site, site.settings, site.keys)
    assert (still.n_held, still.n_queued) == (1, 4)
    async with opened(site.settings.paths.database_url) as store:
        stops = await store.read(lambda conn: conn.execute(select(stop.c.reason)).scalars().all())
    [reason] = stops
    assert reason.startswith("taken into use again after it was copied elsewhere at 2026-11-21T04:")


def filled(cluster: postgres.Cluster) -> str:
    """A database that holds a table."""
    name = cluster.create()
    cluster.sql("CREATE TABLE theirs (n int)", name)
    return cluster.url(name)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("UPDATE inbox SET bay = 'gehei' || char(0) || 'm' WHERE inbox_id = 2",
         "inbox 2: column bay holds a NUL"),
        ("UPDATE inbox SET concat_ref = 9876543210", "table inbox, row 1, column concat_ref"),
        ("UPDATE inbox SET received_at = 'geheim'",
         "inbox 1: column received_at holds a value of another kind"),
        ("UPDATE inbox SET bay = CAST(x'ff' AS TEXT)", "a row of inbox holds a text that is none"),
        ("UPDATE account SET roles = '[]' WHERE name = 'root'", "audit verify names 1 faults"),
        ("CREATE TABLE theirs (n int)", "its tables are not those of this version: theirs"),
    ],
)  # fmt: skip
def test_what_cannot_be_copied_is_named_and_nothing_is_left(site, cluster, change, told):
    url = cluster.url(name := cluster.create())
    with closing(sqlite3.connect(site.database)) as db:
        db.execute(change)
        db.commit()
    with pytest.raises(InvalidRequest, match=re.escape(told)) as refused:
        copy_site(site.settings, make_url(url), site.keys, ignore)
    assert "geheim" not in str(refused.value)
    assert "9876543210" not in str(refused.value)
    assert cluster.sql("SELECT count(*) FROM pg_class WHERE relname = 'inbox'", name) == [(0,)]
    with closing(sqlite3.connect(site.database)) as db:
        marks = db.execute("SELECT count(*) FROM meta WHERE key = 'copied_to'").fetchone()
    assert marks == (0,)


def test_a_commit_without_an_answer_leaves_the_old_one_marked_and_says_how_to_tell(site, cluster):
    cutter = postgres.Cutter(cluster.url(name := cluster.create()))

    def arm(told: object) -> None:
        cutter.is_armed = isinstance(told, CheckProgress)  # nothing commits from here but the end

    try:
        with pytest.raises(StoreError, match="whether the copy was committed is not known"):
            copy_site(site.settings, make_url(cutter.url), site.keys, arm)
    finally:
        cutter.close()
    assert cluster.sql("SELECT count(*) > 0 FROM segment", name) == [(True,)]
    with pytest.raises(ConfigError, match="it would send twice"):
        opened(site.settings.paths.database_url)


def test_who_cannot_be_copied_from_or_to_is_told_before_anything_is_read(site, tmp_path):
    to = make_url(f"postgresql+psycopg://u:geheim@/d?host={tmp_path}")
    with pytest.raises(InvalidRequest, match="both databases are SQLite"):
        copy_site(site.settings, make_url(f"sqlite:///{tmp_path}/x.db"), site.keys, ignore)
    with pytest.raises(StoreError, match="cannot be reached now") as refused:
        copy_site(site.settings, to, site.keys, ignore)
    assert "geheim" not in str(refused.value)
    with (
        state_lock(site.settings.paths.state_dir),
        pytest.raises(ConfigError, match="in use by a running modemctl"),
    ):
        copy_site(site.settings, to, site.keys, ignore)
    site.database.unlink()
    with pytest.raises(ConfigError, match="does not exist"):
        copy_site(site.settings, to, site.keys, ignore)


@pytest.mark.usefixtures("guarded")
def test_a_site_moves_by_the_command_line_and_back(cluster, tmp_path):
    config, file = tmp_path / "modemctl.toml", tmp_path / "password"
    for name in ("master", "audit"):
        assert call("key", "create", tmp_path / f"{name}.key").status == 0
    settings = (
        f"state_dir = '{tmp_path}/state'\nmaster_key_file = '{tmp_path}/master.key'\n"
        f"audit_key_file = '{tmp_path}/audit.key'\n"
        f"[api]\nunix_socket = '{tmp_path}/api.sock'\ntcp_port = 0\n"
    )
    config.write_text(f"[paths]\n{settings}")
    assert call("-c", config, "db", "upgrade").status == 0
    assert call("-c", config, "key", "bootstrap", "--out", tmp_path / "admin.key").status == 0
    file.write_text("geheim\n")
    file.chmod(0o600)
    url = cluster.url(cluster.create(), user="guarded")
    refused = call("-c", config, "db", "copy", "--to", url.replace("guarded@", "guarded:geheim@"))
    assert refused.status == 1
    assert "holds a password" in refused.err
    assert "geheim" not in refused.err
    moved = call("-c", config, "db", "copy", "--to", url, "--password-file", file, "--rename")
    assert moved.status == 0, moved
    assert f'  database = "{url}"' in moved.out
    assert "geheim" not in moved.out + moved.err
    old = next(tmp_path.glob("state/modemctl.db.*.copied"))
    old.rename(tmp_path / "state" / "modemctl.db")
    done = call("-c", config, "run")
    assert done.status == 78
    assert "beside its copy it would send twice" in done.err
    (tmp_path / "state" / "modemctl.db").unlink()
    config.write_text(f"[paths]\ndatabase = '{url}'\ndatabase_password_file = '{file}'\n{settings}")
    assert call("-c", config, "db", "status").status == 0
    back = f"sqlite:///{tmp_path}/state/back.db"
    moved = call("-c", config, "db", "copy", "--to", back, "--json")
    assert moved.status == 0, moved
    lines = [json.loads(line) for line in moved.out.splitlines()]
    assert all("progress" in one for one in lines[:-1])
    assert (lines[-1]["faults"], lines[-1]["old"]) == ([], None)
    assert "send twice" in call("-c", config, "db", "status").err
    assert call("-c", config, "db", "reopen").status == 1
    assert call("-c", config, "db", "reopen", "--yes").status == 0
    assert call("-c", config, "db", "status").status == 0
    config.write_text(f"[paths]\ndatabase = '{back}'\n{settings}")
    assert call("-c", config, "audit", "verify", "--offline").status == 0


@pytest.mark.usefixtures("guarded")
async def test_a_site_on_postgresql_is_backed_up_tried_and_restored_to_either_database(
    site, cluster, tmp_path
):
    password = tmp_path / "password"
    password.write_text("geheim\n")
    password.chmod(0o600)
    url = cluster.url(cluster.create(), user="guarded")
    await asyncio.to_thread(copy_site, site.settings, address(url, password), site.keys, ignore)
    settings = with_paths(site, database=url, database_password_file=str(password))
    identity, public = new_identity(tmp_path)
    target = tmp_path / "target"
    target.mkdir()
    job = dataclasses.replace(BackupRules.of(settings).job(a_backup(target)), recipients=(public,))
    made = await run_job(job)
    assert made.rule == ""
    file = target / "a.tar.age"
    tried = await asyncio.to_thread(try_restore, file, opener=opener(identity))
    assert (tried.faults, tried.n_rows) == ((), made.n_rows)
    elsewhere = cluster.url(cluster.create(), user="guarded")
    for state, database in (("r1", elsewhere), ("r2", "")):
        new = with_paths(site, state_dir=tmp_path / state, database=database,
                         database_password_file=str(password))  # fmt: skip
        done = await asyncio.to_thread(restore, file, new, opener=opener(identity))
        assert done.standstill.n_queued == 4
        async with opened(load_database(new.paths)) as store:
            assert (
                await store.read(lambda conn: conn.scalar(select(func.count(stop.c.stop_id)))) == 1
            )
    again = with_paths(site, state_dir=tmp_path / "r3", database=elsewhere,
                       database_password_file=str(password))  # fmt: skip
    with pytest.raises(ConfigError, match="is not empty"):
        await asyncio.to_thread(restore, file, again, opener=opener(identity))
    assert [one.name for one in (tmp_path / "r3").iterdir()] == ["lock"]


def address(url: str, password: Path):
    return read_address(url, str(password))


def with_paths(site: Site, **changes: object) -> Settings:
    paths = site.settings.paths.model_copy(update=changes)
    return site.settings.model_copy(update={"paths": paths})


def a_backup(target: Path) -> Backup:
    return Backup(
        backup_id="b", at=TestClock().now(), by="anna", state=BackupState.WORKING, reason="",
        folder=str(target), name="a.tar.age",
    )  # fmt: skip
