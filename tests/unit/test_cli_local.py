"""Commands without a daemon: each mistake is one line that says what to do, and status 78."""

import fcntl
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.commands import Done, call, environment, spawn


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with keys and a good configuration; returns the latter."""
    for name in ("master.key", "audit.key"):
        assert call("key", "create", tmp_path / name).status == 0
    config = tmp_path / "modemctl.toml"
    config.write_text(
        f"""
[paths]
state_dir = "{tmp_path}/state"
master_key_file = "{tmp_path}/master.key"
audit_key_file = "{tmp_path}/audit.key"
[api]
unix_socket = "{tmp_path}/api.sock"
tcp_port = 0
[bank]
ports = ["{tmp_path}/ports/*"]
""",
        encoding="utf-8",
    )
    return config


def commands(site: Path) -> list[list[str | Path]]:
    """Every local command that opens the database, but the daemon."""
    return [
        ["-c", site, "db", "status"],
        ["-c", site, "key", "bootstrap", "--out", site.parent / "admin.key"],
        ["-c", site, "audit", "verify", "--offline"],
    ]


def refused(*arguments: str | Path, run: Callable[..., Done] = call) -> str:
    """The one line with which a command ends with status 78."""
    done = run(*arguments)
    assert done.status == 78, done
    assert done.out == ""
    lines = done.err.splitlines()
    assert len(lines) == 1, done.err
    assert lines[0].startswith("modemctl: ")
    return lines[0]


def test_bad_toml_is_one_line_with_its_place(site: Path) -> None:
    site.write_text("[paths\n", encoding="utf-8")
    for command in [["-c", site, "check-config"], ["-c", site, "db", "upgrade"], *commands(site)]:
        assert f"{site}:1" in refused(*command)


def test_missing_configuration_names_the_option(tmp_path: Path) -> None:
    line = refused("-c", tmp_path / "none.toml", "run", run=spawn)
    assert "none.toml: no such file; name another with --config" in line


def _spoil_toml(site: Path) -> str:
    site.write_text("[paths\n", encoding="utf-8")
    return f"{site}:1"


def _name_unknown_key(site: Path) -> str:
    site.write_text(site.read_text(encoding="utf-8") + "buad = 9600\n", encoding="utf-8")
    return "bank.buad"


def _remove_database(site: Path) -> str:
    (site.parent / "state" / "modemctl.db").unlink()
    return "run: modemctl db upgrade"


def _put_foreign_database(site: Path) -> str:
    database = site.parent / "state" / "modemctl.db"
    database.unlink()
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE mine (a)")
    connection.close()
    return "holds tables that are not modemctl's"


def _put_another_key(site: Path) -> str:
    (site.parent / "master.key").unlink()
    call("key", "create", site.parent / "master.key")
    return "not the one this database was made with"


def _open_the_key(site: Path) -> str:
    (site.parent / "audit.key").chmod(0o644)
    return "audit.key"


def _damage_the_audit_log(site: Path) -> str:
    call("-c", site, "key", "bootstrap", "--out", site.parent / "first.key")
    connection = sqlite3.connect(site.parent / "state" / "modemctl.db")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    statement = "SELECT rootpage FROM sqlite_master WHERE name = 'audit_entry'"
    (page,) = connection.execute(statement).fetchone()
    connection.close()
    with (site.parent / "state" / "modemctl.db").open("r+b") as database:
        database.seek((page - 1) * size)
        database.write(b"\xff" * size)
    return "cannot be read: database disk image is malformed; restore a copy"


def test_damaged_database_is_told_with_its_cure(site: Path) -> None:
    _make_database(site)
    said = _damage_the_audit_log(site)
    for command in commands(site)[1:]:
        assert said in refused(*command)
    assert not (site.parent / "admin.key").exists()


@pytest.mark.parametrize(
    "spoil",
    [
        _damage_the_audit_log,
        _spoil_toml,
        _name_unknown_key,
        _remove_database,
        _put_foreign_database,
        _put_another_key,
        _open_the_key,
    ],
)
def test_daemon_that_cannot_start_says_so_in_one_line(
    site: Path, spoil: Callable[[Path], str]
) -> None:
    _make_database(site)
    said = spoil(site)
    assert said in refused("-c", site, "run", run=spawn)


def test_all_mistakes_are_reported_together(site: Path) -> None:
    site.write_text('[bank]\nbuad = 3\n[site]\ntimezone = "Mars"\n', encoding="utf-8")
    done = spawn("-c", site, "check-config")
    assert done.status == 78
    lines = done.err.splitlines()
    assert len(lines) == 2
    assert f"{site}:2" in done.err
    assert "bank.buad" in done.err
    assert "site.timezone" in done.err


def test_good_configuration_passes_and_prints_as_json(site: Path) -> None:
    assert call("-c", site, "check-config").status == 0
    assert call("check-config", "-c", site).out.startswith(f"{site}: well-formed")
    done = call("-c", site, "check-config", "--json")
    assert json.loads(done.out)["api"]["tcp_port"] == 0
    assert done.out.count("\n") == 1


@pytest.fixture
def families(site: Path) -> Path:
    """The folder of the site's own families, named in its configuration."""
    folder = site.parent / "families.d"
    folder.mkdir()
    with site.open("a", encoding="utf-8") as file:
        file.write(f'families = "{folder}"\n')
    return folder


def test_families_of_the_site_are_checked_and_named(site: Path, families: Path) -> None:
    (families / "acme.toml").write_text('model = "X100"\n', encoding="utf-8")
    done = call("-c", site, "check-config")
    assert done.status == 0
    assert "families of this site: acme" in done.out


def test_lists_of_words_are_checked_and_named(site: Path) -> None:
    folder = site.parent / "content.d"
    folder.mkdir()
    with site.open("a", encoding="utf-8") as file:
        file.write(f'[content]\nlists = "{folder}"\n')
    (folder / "spam.toml").write_text('words = ["spam"]\n', encoding="utf-8")
    assert "lists of words: spam" in call("-c", site, "check-config").out
    (folder / "spam.toml").write_text('words = ["x"]\n', encoding="utf-8")
    done = call("-c", site, "check-config")
    assert done.status == 78
    assert "has too few letters" in done.err


def test_mistakes_in_families_are_told_together_and_keep_the_daemon_from_starting(
    site: Path, families: Path
) -> None:
    (families / "acme.toml").write_text('model = "X"\nreset = "AT+CPIN=1"\n', encoding="utf-8")
    (families / "huawei.toml").write_text('model = "X"\n', encoding="utf-8")
    done = call("-c", site, "check-config")
    assert done.status == 78
    assert [line.split(": ")[1] for line in done.err.splitlines()] == [
        f"{families}/acme.toml:2",
        f"{families}/huawei.toml",
    ]
    as_json = call("-c", site, "check-config", "--json")
    assert as_json.status == 78
    told = json.loads(as_json.out)["problems"]
    assert [f"modemctl: {problem}" for problem in told] == done.err.splitlines()
    assert spawn("-c", site, "run").err.splitlines() == done.err.splitlines()


def test_missing_database_names_the_command_that_makes_it(site: Path) -> None:
    for command in commands(site):
        assert refused(*command).endswith("run: modemctl db upgrade")
        assert not (site.parent / "state" / "modemctl.db").exists()
    assert not (site.parent / "admin.key").exists()


def test_foreign_database_is_left_alone(site: Path) -> None:
    database = _make_database(site)
    database.unlink()
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE mine (a)")
    connection.close()
    before = database.read_bytes()
    for command in [*commands(site), ["-c", site, "db", "upgrade"]]:
        assert "holds tables that are not modemctl's" in refused(*command)
    with sqlite3.connect(database) as connection:
        assert [row[0] for row in connection.execute("SELECT name FROM sqlite_master")] == ["mine"]
    connection.close()
    assert len(before) > 0


def test_file_that_is_no_database_is_refused(site: Path) -> None:
    database = _make_database(site)
    database.write_bytes(b"not a database at all" * 100)
    for command in commands(site):
        assert "cannot be opened" in refused(*command)


def test_wrong_master_key_is_refused(site: Path) -> None:
    _make_database(site)
    (site.parent / "master.key").unlink()
    call("key", "create", site.parent / "master.key")
    for command in commands(site):
        assert "not the one this database was made with" in refused(*command)


@pytest.mark.parametrize("mode", [0o604, 0o660])
def test_too_open_key_file_is_refused(site: Path, mode: int) -> None:
    _make_database(site)
    (site.parent / "master.key").chmod(mode)
    for command in commands(site):
        assert "master.key" in refused(*command)


def test_damaged_and_missing_key_files_are_refused(site: Path) -> None:
    _make_database(site)
    key = site.parent / "master.key"
    key.write_text("AAAA\n", encoding="ascii")
    for command in commands(site):
        assert "master.key" in refused(*command)
    key.unlink()
    for command in commands(site):
        said = refused(*command)
        assert "master.key does not exist; restore it from its copy" in said
        assert "key create" not in said


def test_folder_in_use_is_refused(site: Path) -> None:
    _make_database(site)
    lock = site.parent / "state" / "lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for command in [["-c", site, "db", "upgrade"], *commands(site)]:
            if "status" not in command:  # looks only
                assert "in use by a running modemctl" in refused(*command)


def test_bootstrap_makes_two_administrators_and_only_two(site: Path) -> None:
    _make_database(site)
    key = site.parent / "admin.key"
    done = call("-c", site, "key", "bootstrap", "--name", "chen", "--out", key)
    assert done.status == 0, done
    assert key.read_text(encoding="ascii").startswith("mk_")
    assert key.stat().st_mode & 0o777 == 0o600
    again = call("-c", site, "key", "bootstrap", "--out", site.parent / "second.key")
    assert again.status == 0, again
    third = call("-c", site, "key", "bootstrap", "--name", "li", "--out", site.parent / "li.key")
    assert third.status == 1
    assert "there are accounts already" in third.err
    assert not (site.parent / "li.key").exists(), "an empty key file was left behind"


def test_bootstrap_never_overwrites_and_makes_no_account_then(site: Path) -> None:
    _make_database(site)
    key = site.parent / "admin.key"
    key.write_text("precious", encoding="ascii")
    done = call("-c", site, "key", "bootstrap", "--out", key)
    assert done.status == 1
    assert "exists; name a new file" in done.err
    assert key.read_text(encoding="ascii") == "precious"
    assert call("-c", site, "key", "bootstrap", "--out", site.parent / "b.key").status == 0


def test_offline_verification_sees_an_edited_entry(site: Path) -> None:
    database = _make_database(site)
    call("-c", site, "key", "bootstrap", "--name", "chen", "--out", site.parent / "admin.key")
    done = call("-c", site, "audit", "verify", "--offline", "--json")
    assert done.status == 0, done
    report = json.loads(done.out)
    assert report["n_entries"] >= 2
    assert report["faults"] == []
    with sqlite3.connect(database) as connection:
        changed = connection.execute("UPDATE audit_entry SET actor = 'mallory' WHERE seq = 1")
        assert changed.rowcount == 1
    connection.close()
    done = call("-c", site, "audit", "verify", "--offline")
    assert done.status == 1
    assert "FAULTS" in done.out


def test_a_wrong_key_and_a_cut_file_of_an_export_are_told_apart(tmp_path: Path) -> None:
    part = tmp_path / "q4"
    part.write_bytes(b'{"kind": "mod')
    for key in ([], ["--public-key", "zz"], ["--public-key", "aa"]):
        done = call("audit", "verify", "--bundle", part, *key)
        assert (done.status, "--public-key: must be 64" in done.err) == (1, True)
    said = call("audit", "verify", "--bundle", part, "--public-key", "aa" * 32).err
    assert "q4: this is no whole export" in said
    assert "--public-key" not in said


def test_signing_key_pair_is_private_and_never_overwritten(tmp_path: Path) -> None:
    pem = tmp_path / "wang.pem"
    assert call("key", "signing", pem).status == 0
    assert pem.stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in (tmp_path / "wang.pem.pub").read_text(encoding="ascii")
    again = call("key", "signing", pem)
    assert again.status == 1
    assert "exists" in again.err


def test_unwritable_places_are_one_line(tmp_path: Path) -> None:
    for command in (("key", "create"), ("key", "signing")):
        done = call(*command, tmp_path / "none" / "key")
        assert done.status == 1
        assert done.err.count("\n") == 1
        assert "No such file or directory" in done.err


def test_full_disk_and_broken_pipe_end_without_a_traceback(site: Path) -> None:
    command = [sys.executable, "-m", "modemctl", "-c", str(site), "check-config", "--json"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, env=environment(), check=False, timeout=60
        )
    assert done.returncode == 1
    assert done.stderr.decode() == "modemctl: No space left on device\n"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command, stdout=writer, stderr=subprocess.PIPE, env=environment(), check=False, timeout=60
    )
    os.close(writer)
    assert done.returncode == 1
    assert done.stderr == b""


def test_help_is_quick(tmp_path: Path) -> None:
    """`modemctl --help` costs less than 150 ms of CPU beyond the interpreter's own start."""
    bare = min(_cpu_seconds("-c", "pass") for _ in range(3))
    full = min(_cpu_seconds("-m", "modemctl", "--help") for _ in range(3))
    assert full - bare < 0.15


def _cpu_seconds(*arguments: str) -> float:
    before = os.times()
    subprocess.run(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True, env=environment()
    )
    after = os.times()
    return (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )


def _make_database(site: Path) -> Path:
    done = call("-c", site, "db", "upgrade")
    assert done.status == 0, done
    return site.parent / "state" / "modemctl.db"
