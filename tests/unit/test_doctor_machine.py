"""Program, clock, limits, disk, rights, unit and network: each fault with its cure."""

import os
from pathlib import Path

import pytest

from modemctl.config import ApiSettings, BankSettings, PathsSettings, Settings, SiteSettings
from modemctl.doctor.backups import check_backups
from modemctl.doctor.database import check_database
from modemctl.doctor.exposure import check_exposure, check_unit
from modemctl.doctor.facts import Facts
from modemctl.doctor.findings import Finding, Verdict, exit_status, some
from modemctl.doctor.machine import (
    check_clock,
    check_disk,
    check_files,
    check_packages,
    check_program,
    check_python,
    judge_room,
)
from modemctl.doctor.rights import check_folders, check_keys, check_user
from modemctl.doctor.subject import Subject
from modemctl.doctor.unit import read_unit
from modemctl.vault import create_key
from tests.support.doctors import facts_of, write

ROOT = Path(__file__).resolve().parents[2]
UNIT = (ROOT / "systemd/modemctl.service").read_text(encoding="utf-8")
UNIT_FILE = "etc/systemd/system/modemctl.service"
CONFIG = Path("/etc/modemctl/modemctl.toml")
MIB = 1_048_576


def install(root: Path) -> Subject:
    """A machine as docs/install.md makes it, below a folder."""
    root.chmod(0o755)  # pytest's own is closed to others
    write(root, "etc/passwd", "root:x:0:0::/:/bin/sh\nmodemctl:x:990:990::/:/sbin/nologin\n")
    write(root, "etc/group", "root:x:0:\ndialout:x:20:modemctl\nmodemctl:x:990:\n")
    write(root, UNIT_FILE, UNIT)
    write(root, "opt/modemctl/bin/modemctl", "#!/bin/sh\n").chmod(0o755)
    (root / "var/lib/modemctl").mkdir(parents=True)
    (root / "etc/modemctl").mkdir()
    for name in ("master.key", "audit.key"):
        create_key(root / "etc/modemctl" / name)
    return Subject.of(facts_of(root), Settings())


def wrong(*findings: Finding) -> list[Finding]:
    return [one for one in findings if one.verdict is not Verdict.OK]


def test_verdicts_make_the_exit_status() -> None:
    good = judge_room("/x", 9_000 * MIB, 99_999)
    low = judge_room("/x", 500 * MIB, 99_999)
    full = judge_room("/x", 50 * MIB, 99_999)
    assert exit_status([]) == exit_status([good]) == 0
    assert exit_status([good, low, good]) == 1
    assert exit_status([low, full, good]) == 2


def test_inodes_fill_a_disk_too() -> None:
    assert judge_room("/x", 9_000 * MIB, 50).verdict is Verdict.FAIL
    assert judge_room("/x", 9_000 * MIB, 5_000).verdict is Verdict.WARN
    assert judge_room("/x", 9_000 * MIB, None).verdict is Verdict.OK


def test_long_lists_are_cut() -> None:
    assert some(f"p{n}" for n in range(512)) == "p0, p1, p2, p3, p4, p5 and 506 more"
    assert some(["a", "b"]) == "a, b"


def test_this_very_program_is_well_installed() -> None:
    assert wrong(*check_program()) == []


def test_old_python_and_missing_packages_are_told() -> None:
    assert check_python((3, 10)).verdict is Verdict.FAIL
    found = check_packages(["click>=8.5", "click>=99", "no-such-package>=1", "rich"])
    assert found.verdict is Verdict.FAIL
    assert "is older than 99, no-such-package is missing" in found.seen


@pytest.mark.parametrize(
    ("is_synchronised", "verdict"),
    [(True, Verdict.OK), (False, Verdict.WARN), (None, Verdict.WARN)],
)
def test_clock_that_nobody_sets_is_a_warning(
    tmp_path: Path, is_synchronised: bool | None, verdict: Verdict
) -> None:
    facts = facts_of(tmp_path, is_clock_synchronised=is_synchronised)
    settings = Settings(site=SiteSettings(timezone="America/Lima"))
    zone, clock = check_clock(Subject.of(facts, settings))
    assert zone.seen == "America/Lima, where it is 2026-11-20 23:00"
    assert clock.verdict is verdict


def test_this_machine_tells_of_its_clock() -> None:
    assert Facts.of_this_machine().is_clock_synchronised in {True, False, None}


def test_unit_with_few_files_cannot_hold_the_bank(tmp_path: Path) -> None:
    install(tmp_path)
    write(tmp_path, f"{UNIT_FILE}.d/limits.conf", "[Service]\nLimitNOFILE=1024\n")
    ports = tuple(f"tcp://127.0.0.1:{4000 + n}" for n in range(512))
    settings = Settings(bank=BankSettings(ports=ports))
    (found,) = check_files(Subject.of(facts_of(tmp_path), settings))
    assert found.verdict is Verdict.FAIL
    assert "the unit may open 1024; 512 ports need about 1280" in found.seen
    (tmp_path / f"{UNIT_FILE}.d/limits.conf").unlink()
    (found,) = check_files(Subject.of(facts_of(tmp_path), settings))
    assert found.verdict is Verdict.OK


def test_backups_that_nobody_set_up_are_told(tmp_path: Path) -> None:
    def look(**backup: object) -> Finding:
        settings = Settings.model_validate({"backup": backup})
        (found,) = check_backups(Subject.of(facts_of(tmp_path), settings))
        return found

    key = "age1" + "q" * 58
    assert "backup.folder is empty" in look().seen
    assert "docs/backup.md" in look().cure
    away = {"folder": "/mnt/backup", "allowed": (Path("/mnt/backup"),), "recipients": (key,)}
    assert (look(**away).verdict, look(**away).seen) == (
        Verdict.WARN, "/mnt/backup is no folder now",
    )  # fmt: skip
    write(tmp_path, "mnt/backup/.keep")
    assert look(**away).verdict is Verdict.OK


def test_state_folder_on_a_network_or_in_memory_is_told(tmp_path: Path) -> None:
    subject = install(tmp_path)
    write(tmp_path, "proc/self/mounts", "/dev/sda1 / ext4 rw 0 0\nnas:/x /var/lib nfs4 rw 0 0\n")
    found = {one.check: one for one in check_disk(subject)}
    assert found["file system"].verdict is Verdict.FAIL
    write(tmp_path, "proc/self/mounts", "/dev/sda1 / ext4 rw 0 0\nt /var tmpfs rw 0 0\n")
    assert wrong(*check_disk(subject))[0].check == "file system"
    write(tmp_path, "proc/self/mounts", "/dev/sda1 / ext4 rw 0 0\nt /var/li tmpfs rw 0 0\n")
    assert wrong(*check_disk(subject)) == []


# ---------------------------------------------------------------- rights


def test_installed_user_belongs_to_dialout(tmp_path: Path) -> None:
    subject = install(tmp_path)
    (found,) = check_user(subject)
    assert found.seen == "modemctl (the unit's user), groups dialout, modemctl"
    write(tmp_path, "etc/group", "dialout:x:20:\nmodemctl:x:990:\n")
    write(tmp_path, UNIT_FILE, UNIT.replace("SupplementaryGroups=dialout", ""))
    (found,) = check_user(Subject.of(subject.facts, subject.settings))
    assert (found.verdict, found.cure) == (Verdict.FAIL, "adduser modemctl dialout")
    write(tmp_path, "etc/passwd", "root:x:0:0::/:/bin/sh\n")
    (found,) = check_user(Subject.of(subject.facts, subject.settings))
    assert (found.verdict, found.cure) == (Verdict.FAIL, "systemd-sysusers")


def test_a_simulated_bank_asks_for_no_group(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, uid=1000, gids=frozenset({1000}))
    (found,) = check_user(Subject.of(facts, Settings()))
    assert (found.verdict, "not dialout" in found.seen) == (Verdict.OK, True)
    write(tmp_path, "sys/class/tty/ttyUSB0/dev", "188:0")
    (found,) = check_user(Subject.of(facts, Settings()))
    assert (found.verdict, found.cure) == (Verdict.FAIL, "adduser user 1000 dialout")


def test_state_folder_of_another_owner_is_told_with_the_cure(tmp_path: Path) -> None:
    subject = install(tmp_path)  # the folder belongs to the tests' user, not to modemctl
    (tmp_path / "var/lib/modemctl").chmod(0o700)
    folder, socket = check_folders(subject)
    assert folder.verdict is Verdict.FAIL
    assert "modemctl may not write there" in folder.seen
    assert folder.cure == "chown -R modemctl: /var/lib/modemctl"
    assert socket.seen == "systemd makes /run/modemctl at the start"


def test_database_that_root_made_is_told(tmp_path: Path) -> None:
    subject = install(tmp_path)
    (tmp_path / "var/lib/modemctl").chmod(0o777)
    write(tmp_path, "var/lib/modemctl/modemctl.db").chmod(0o600)
    folder, _ = check_folders(subject)
    assert folder.verdict is Verdict.FAIL
    assert folder.seen == "modemctl may not write modemctl.db in it"
    write(tmp_path, "var/lib/modemctl/modemctl.db").chmod(0o666)
    folder, _ = check_folders(subject)
    assert (folder.verdict, folder.cure) == (Verdict.WARN, "chmod 700 /var/lib/modemctl")


def test_folder_of_the_socket_must_be_there(tmp_path: Path) -> None:
    api = ApiSettings(unix_socket=tmp_path / "run/api.sock")
    paths = PathsSettings(state_dir=tmp_path / "state")
    subject = Subject.of(facts_of(Path("/")), Settings(api=api, paths=paths))
    state, socket = check_folders(subject)
    assert (state.verdict, socket.verdict) == (Verdict.FAIL, Verdict.FAIL)
    assert "db upgrade makes it" in state.cure
    (tmp_path / "run").mkdir()
    (tmp_path / "state").mkdir(mode=0o700)
    assert wrong(*check_folders(subject)) == []


def test_keys_that_systemd_hands_over_are_well(tmp_path: Path) -> None:
    master, audit = check_keys(install(tmp_path))
    assert (master.verdict, audit.verdict) == (Verdict.OK, Verdict.OK)
    assert master.seen == "/etc/modemctl/master.key: 32 octets; systemd hands it to the daemon"


def test_keys_that_nobody_hands_over_must_be_the_daemons(tmp_path: Path) -> None:
    install(tmp_path)
    write(tmp_path, UNIT_FILE, UNIT.replace("LoadCredential=", "#"))
    master, _ = check_keys(Subject.of(facts_of(tmp_path), Settings()))
    assert master.verdict is Verdict.FAIL
    assert "modemctl may not read it" in master.seen


def test_stranger_is_sent_to_who_may_look_and_never_told_to_take_anything_over(
    tmp_path: Path,
) -> None:
    """No unit, no daemon that shows: whose the state folder is, runs it."""
    root = tmp_path
    root.chmod(0o755)
    (root / "var/lib/modemctl").mkdir(parents=True, mode=0o700)
    for name in ("master.key", "audit.key"):
        write(root, f"etc/modemctl/{name}")
        create_key(root / "etc/modemctl" / f"new-{name}")
        (root / "etc/modemctl" / f"new-{name}").rename(root / "etc/modemctl" / name)
    facts = facts_of(root, uid=os.geteuid() + 1, gids=frozenset({os.getegid() + 1}))
    subject = Subject.of(facts, Settings())
    assert subject.runner.uid == os.geteuid()
    found = [*check_folders(subject), *check_keys(subject), *check_database(subject)]
    cures = {one.check: one.cure for one in wrong(*found)}
    assert "socket" in cures  # its folder is not there, whoever asks
    del cures["socket"]
    assert cures == dict.fromkeys(("master key", "audit key", "database"), "sudo modemctl doctor")


def test_wrong_keys_are_told_and_never_shown(tmp_path: Path) -> None:
    subject = install(tmp_path)
    folder = tmp_path / "etc/modemctl"
    secret = (folder / "master.key").read_text(encoding="utf-8").strip()
    (folder / "audit.key").write_text(secret, encoding="utf-8")
    found = list(check_keys(subject))
    assert [one.seen for one in wrong(*found)] == ["master key and audit key are the same"]
    (folder / "audit.key").chmod(0o644)
    (folder / "master.key").write_text(secret[:20], encoding="utf-8")
    found += check_keys(subject)
    assert "chmod 600 /etc/modemctl/audit.key" in [one.cure for one in found]
    assert "restore it" in [one.cure for one in found]
    (folder / "master.key").unlink()
    found += check_keys(subject)
    assert "modemctl key create /etc/modemctl/master.key" in [one.cure for one in found]
    write(tmp_path, "var/lib/modemctl/modemctl.db", "data")
    (told,) = [one.cure for one in check_keys(subject) if one.check == "master key"]
    assert told.startswith("restore it from its copy"), "a new key opens nothing"
    assert secret[:12] not in repr(found)
    assert str(tmp_path) not in repr(found)


# ---------------------------------------------------------------- unit and network


def test_installed_unit_is_well(tmp_path: Path) -> None:
    subject = install(tmp_path)
    assert wrong(*check_unit(subject, CONFIG), *check_exposure(subject)) == []


def test_drop_ins_count_in_the_order_of_their_names(tmp_path: Path) -> None:
    install(tmp_path)
    write(tmp_path, f"{UNIT_FILE}.d/20-b.conf", "[Service]\nLimitNOFILE=2\nUser=b\n")
    write(tmp_path, f"{UNIT_FILE}.d/10-a.conf", "[Service]\nLimitNOFILE=1\nIPAddressAllow=\n")
    write(tmp_path, "usr/lib/systemd/system/modemctl.service.d/20-b.conf", "User=vendor\n")
    unit = read_unit(facts_of(tmp_path))
    assert unit is not None
    assert (unit.value("LimitNOFILE"), unit.value("User")) == ("2", "b")
    assert unit.values("IPAddressAllow") == []
    assert unit.values("DeviceAllow") == ["char-ttyUSB", "rw", "char-ttyACM", "rw"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("IPAddressDeny=any", "", "lets packets out"),
        ("IPAddressAllow=localhost", "IPAddressAllow=localhost 10.0.0.0/8", "allows 10.0.0.0/8"),
        ("/opt/modemctl/bin/modemctl run", "/opt/none run", "/opt/none, which is not there"),
        ("etc/modemctl/modemctl.toml", "srv/other.toml", "starts with /srv/other.toml"),
        ("TimeoutStopSec=220", "TimeoutStopSec=10", "kills submits"),
    ],
)
def test_changed_unit_is_told(tmp_path: Path, old: str, new: str, said: str) -> None:
    install(tmp_path)
    assert old in UNIT
    write(tmp_path, UNIT_FILE, UNIT.replace(old, new))
    subject = Subject.of(facts_of(tmp_path), Settings())
    (found,) = wrong(*check_unit(subject, CONFIG), *check_exposure(subject))
    assert said in found.seen
    assert found.cure


def test_missing_unit_is_a_warning(tmp_path: Path) -> None:
    (found,) = check_unit(Subject.of(facts_of(tmp_path), Settings()), CONFIG)
    assert found.verdict is Verdict.WARN


# local address and port, remote, state 0A = LISTEN: 0.0.0.0:8480, [::1]:8480, 10.1.2.3:22
TCP4 = "  sl  local_address rem_address   st\n   0: {}:2120 00000000:0000 0A 0 0 0 1000 0 1\n"
TCP6 = "  sl  local_address\n   0: {}:2120 {}:0000 0A 0 0 0 1000 0 1\n"
LOOPBACK6 = "00000000000000000000000001000000"
MAPPED6 = "0000000000000000FFFF00000302010A"


@pytest.mark.parametrize(
    ("tcp", "tcp6", "seen"),
    [
        ("0100007F", LOOPBACK6, "127.0.0.1, port 8480: this machine only"),
        ("00000000", LOOPBACK6, "port 8480 is open on 0.0.0.0"),
        ("0100007F", "0" * 32, "port 8480 is open on ::"),
        ("0100007F", MAPPED6, "port 8480 is open on 10.1.2.3"),
    ],
)
def test_port_that_the_network_sees_fails(tmp_path: Path, tcp: str, tcp6: str, seen: str) -> None:
    write(tmp_path, "proc/net/tcp", TCP4.format(tcp))
    write(tmp_path, "proc/net/tcp6", TCP6.format(tcp6, "0" * 32))
    (found,) = check_exposure(Subject.of(facts_of(tmp_path), Settings()))
    assert found.seen == seen
    assert (found.verdict is Verdict.OK) == ("only" in seen)


def test_running_daemons_rights_count_not_the_units(tmp_path: Path) -> None:
    """Started before `adduser`: the process has not the group that /etc/group gives it."""
    subject = install(tmp_path)
    lock = write(tmp_path, "var/lib/modemctl/lock").stat()
    device = f"{os.major(lock.st_dev):02x}:{os.minor(lock.st_dev):02x}:{lock.st_ino}"
    write(tmp_path, "proc/locks", f"1: FLOCK  ADVISORY  WRITE 77 {device} 0 EOF\n")
    status = "Name:\tmodemctl\nUid:\t990\t990\t990\t990\nGid:\t990\t990\t990\t990\nGroups:\t990\n"
    write(tmp_path, "proc/77/status", status)
    write(tmp_path, "proc/77/limits", "Max open files            8192   8192   files\n")
    now = Subject.of(subject.facts, subject.settings)
    (found,) = check_user(now)
    assert (found.verdict, found.cure) == (Verdict.FAIL, "systemctl restart modemctl")
    assert "process 77" in found.seen
    (files,) = check_files(now)
    assert "the running daemon may open 8192" in files.seen
    write(tmp_path, "proc/77/status", status.replace("Groups:\t990", "Groups:\t20 990"))
    assert wrong(*check_user(Subject.of(subject.facts, subject.settings))) == []
