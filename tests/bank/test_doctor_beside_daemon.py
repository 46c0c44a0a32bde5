"""`modemctl doctor` as people start it: before, beside and after the daemon, on a terminal."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

from tests.support.banks import DaemonProcess, Site
from tests.support.commands import Done, environment, spawn
from tests.support.simulated import BankProcess


def doctor(site: Site) -> tuple[int, dict[str, dict[str, str]]]:
    """Exit status, and the last finding of each check."""
    done = spawn("-c", site.config, "doctor", "--json")
    assert done.err == "", done
    found = [json.loads(line) for line in done.out.splitlines()]
    assert all(one["cure"] for one in found if one["verdict"] != "ok"), found
    for key in (site.folder / "keys").iterdir():
        assert key.read_text().strip()[:16] not in done.out
    return done.status, {one["check"]: one for one in found}


def on_terminal(*arguments: str | Path, width: int) -> Done:
    """The command with a terminal of this width as its standard output."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "modemctl", *map(str, arguments)], stdin=subprocess.DEVNULL,
        stdout=slave, stderr=slave, env=environment(COLUMNS=str(width), TERM="xterm"),
    ) as process:  # fmt: skip
        os.close(slave)
        out = bytearray()
        while True:
            try:
                part = os.read(master, 65_536)
            except OSError:  # EIO: the last writer is gone
                break
            out += part
    os.close(master)
    return Done(process.returncode, out.decode(), "")


def test_doctor_knows_the_daemon_from_a_stranger(tmp_path: Path) -> None:
    flags = ("--modems", "2", "--persona", "generic", "--pin-lock", "off")
    with BankProcess(tmp_path / "bank", *flags):
        site = Site(tmp_path / "site", str(tmp_path / "bank" / "ports" / "*"))
        site.add_cards(tmp_path / "bank")
        status, before = doctor(site)
        assert status in {0, 1}, before
        assert before["ports"]["seen"] == "2 fit for use; 2 pseudo terminals: a simulator's"
        with DaemonProcess(site) as daemon:
            daemon.wait_until(lambda: site.n_ready() == 2, what="ready")
            status, beside = doctor(site)
            assert status in {0, 1}, beside
            assert f"process {daemon.pid}" in beside["user"]["seen"]
            assert "2 held by the daemon" in beside["ports"]["seen"]
            assert beside["journal"]["seen"].startswith("WAL")
            assert str(site.socket) in beside["socket"]["seen"]
            assert beside["PINs"]["seen"].startswith("2 cards: ")
            stranger = Site(tmp_path / "other", str(tmp_path / "bank" / "ports" / "*"))
            status, foreign = doctor(stranger)
            assert status == 2
            assert f"held by process {daemon.pid} " in foreign["port"]["seen"]
        status, after = doctor(site)
        assert status in {0, 1}, after
        assert after["database"]["verdict"] == "ok"


def test_findings_fit_a_terminal_of_80_columns(tmp_path: Path) -> None:
    site = Site(tmp_path / "site", f"{tmp_path}/{'none' * 30}/*")
    done = on_terminal("-c", site.config, "doctor", width=80)
    assert done.status == 1
    assert "\x1b[33mWARN" in done.out
    assert " warnings, 0 faults" in done.out
    assert "→" in done.out
    assert max(len(_bare(line)) for line in done.out.splitlines()) <= 80


def _bare(line: str) -> str:
    """Without what colours it."""
    parts = line.split("\x1b[")
    return parts[0] + "".join(part.partition("m")[2] for part in parts[1:])


def test_bad_settings_are_the_first_fault(tmp_path: Path) -> None:
    done = spawn("doctor", "-c", tmp_path / "none.toml")
    assert done.status == 2
    assert "no such file" in done.out
    assert "not looked at without good settings" in done.out


def test_wrong_file_of_a_family_is_told(tmp_path: Path) -> None:
    site = Site(
        tmp_path / "site", "/dev/null*", **{"bank.families": json.dumps(f"{tmp_path}/families")}
    )
    (tmp_path / "families").mkdir()
    (tmp_path / "families/own.toml").write_text("nonsense = 1\n")
    status, found = doctor(site)
    assert status == 2
    assert "own.toml" in found["settings"]["seen"]


def test_doctor_leaves_a_new_site_as_it_was(tmp_path: Path) -> None:
    site = Site(tmp_path / "site", "/dev/null*")
    site.database.unlink()
    (site.folder / "state").rmdir()
    before = sorted(site.folder.rglob("*"))
    status, found = doctor(site)
    assert (status, found["state folder"]["verdict"]) == (2, "fail")
    assert sorted(site.folder.rglob("*")) == before
