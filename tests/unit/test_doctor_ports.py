"""Ports and who is after them: real pseudo terminals and real locks, and /proc trees in files."""

import fcntl
import os
import socket
import tty
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from modemctl.config import BankSettings, PathsSettings, Settings
from modemctl.doctor.facts import Facts
from modemctl.doctor.findings import Finding, Verdict
from modemctl.doctor.people import Runner
from modemctl.doctor.ports import check_ports, check_rivals, is_ours
from modemctl.doctor.processes import Process
from modemctl.doctor.subject import Subject
from tests.support.doctors import facts_of, plug, run_program, write

ROOT = Path(__file__).resolve().parents[2]
RULE = (ROOT / "systemd/70-modemctl.rules").read_text(encoding="utf-8")


@contextmanager
def terminal(link: Path) -> Iterator[int]:
    """A pseudo terminal behind a link; gives the slave's descriptor."""
    master, slave = os.openpty()
    tty.setraw(slave)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.ttyname(slave))
    try:
        yield slave
    finally:
        os.close(master)
        os.close(slave)


def settings_of(folder: Path, *ports: str) -> Settings:
    paths = PathsSettings(state_dir=folder / "state")
    return Settings(paths=paths, bank=BankSettings(ports=ports))


def seen(folder: Path, *ports: str) -> list[Finding]:
    subject = Subject.of(Facts.of_this_machine(), settings_of(folder, *ports))
    return list(check_ports(subject))


def test_no_port_at_all_is_a_warning(tmp_path: Path) -> None:
    (finding,) = seen(tmp_path, f"{tmp_path}/none/*")
    assert finding.verdict is Verdict.WARN
    assert f"{tmp_path}/none/*" in finding.seen


def test_named_port_that_is_missing_or_no_device_fails(tmp_path: Path) -> None:
    write(tmp_path, "file")
    missing, no_device = seen(tmp_path, f"{tmp_path}/none", f"{tmp_path}/file")
    assert (missing.verdict, no_device.verdict) == (Verdict.FAIL, Verdict.FAIL)
    assert "is not there" in missing.seen
    assert "is no device" in no_device.seen


def test_program_that_has_the_port_open_is_named(tmp_path: Path) -> None:
    (tmp_path / "modem01").symlink_to("/dev/full")  # a device that everybody may open
    with Path("/dev/full").open("rb", buffering=0):
        (finding,) = seen(tmp_path, f"{tmp_path}/modem*")
    name = Path(f"/proc/{os.getpid()}/comm").read_text(encoding="utf-8").strip()
    assert finding.verdict is Verdict.FAIL
    assert f"held by process {os.getpid()} {name}" in finding.seen


def test_who_serves_a_pseudo_terminal_does_not_hold_it(tmp_path: Path) -> None:
    with terminal(tmp_path / "ports/modem01"):  # this process has the slave open
        (finding,) = seen(tmp_path, f"{tmp_path}/ports/*")
    assert finding.verdict is Verdict.OK


def test_lock_names_its_owner_also_to_users_who_may_not_see_his_files(tmp_path: Path) -> None:
    with terminal(tmp_path / "ports/modem01") as slave:
        fcntl.flock(slave, fcntl.LOCK_EX)
        machine = facts_of(Path("/"))
        subject = Subject.of(machine, settings_of(tmp_path, f"{tmp_path}/ports/*"))
        (finding,) = check_ports(subject)
    assert f"held by process {os.getpid()}" in finding.seen


def test_daemon_may_hold_its_ports(tmp_path: Path) -> None:
    """The daemon is who holds the state folder: here this very process."""
    (tmp_path / "state").mkdir()
    lock = os.open(tmp_path / "state/lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        with (
            terminal(tmp_path / "ports/modem01") as one,
            terminal(tmp_path / "ports/modem02") as other,
        ):
            fcntl.flock(one, fcntl.LOCK_EX)
            fcntl.flock(other, fcntl.LOCK_EX)
            (finding,) = seen(tmp_path, f"{tmp_path}/ports/*")
    finally:
        os.close(lock)
    assert finding.verdict is Verdict.OK
    assert "2 fit for use; 2 held by the daemon; 2 pseudo terminals" in finding.seen


def test_sockets_are_ports_too(tmp_path: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as served:
        served.bind(str(tmp_path / "modem.sock"))
        (finding,) = seen(tmp_path, f"unix:{tmp_path}/modem.sock", "tcp://127.0.0.1:4001")
    assert (finding.verdict, finding.seen) == (Verdict.OK, "2 fit for use")


def test_port_of_another_group_names_the_group(tmp_path: Path) -> None:
    """The daemon's user would be one that owns nothing and is in no group."""
    with terminal(tmp_path / "ports/modem01") as slave:
        os.fchmod(slave, 0o620)
        subject = Subject.of(Facts.of_this_machine(), settings_of(tmp_path, f"{tmp_path}/ports/*"))
        nobody = Runner(
            name="gsm", uid=54321, gids=frozenset({54321}), origin="test", is_self=False
        )
        changed = Subject(
            facts=subject.facts, settings=subject.settings, unit=None, daemon=None,
            runner=nobody, ports=subject.ports,
        )  # fmt: skip
        (finding,) = check_ports(changed)
    assert finding.verdict is Verdict.FAIL
    assert "gsm may not use it" in finding.seen
    is_root = "group root" in finding.seen  # as in a container without a group tty
    assert ("adduser gsm" in finding.cure) != is_root
    assert ("70-modemctl.rules" in finding.cure) == is_root, "nobody joins root for a port"


def test_who_may_not_see_the_daemon_is_not_told_to_end_it(tmp_path: Path) -> None:
    """Another user's processes are known by their names only."""
    write(tmp_path, "var/lib/modemctl/lock")
    write(tmp_path, "dev/ttyUSB0")
    run_program(tmp_path, 4711, "python3", "/dev/ttyUSB0")
    facts = facts_of(tmp_path, uid=os.geteuid() + 1, gids=frozenset({os.getegid() + 1}))
    settings = Settings(paths=PathsSettings(state_dir=Path("/var/lib/modemctl")))
    subject = Subject.of(facts, settings)
    assert subject.runner.origin == "the state folder's owner"
    stranger = Process(pid=4711, name="python3")
    assert not is_ours(subject, stranger)
    write(tmp_path, "proc/4711/cmdline", "/opt/modemctl/bin/python\0-m\0modemctl\0run\0")
    assert is_ours(subject, stranger)
    assert not is_ours(replace(subject, facts=facts_of(tmp_path)), stranger), "its owner knows"


# ---------------------------------------------------------------- ModemManager, udev


def rivals(root: Path) -> dict[str, Finding]:
    return {one.check: one for one in check_rivals(Subject.of(facts_of(root), Settings()))}


def plug_modem(root: Path) -> None:
    """A modem with one terminal, as the kernel links it."""
    folder = plug(root, "1-1", "pci0000:00/usb1", ends=(3,), dev="189:4")
    terminal = folder / "1-1:1.0/ttyUSB0/tty/ttyUSB0"
    write(terminal, "dev", "188:0\n")
    write(root, "sys/class/tty/tty0/dev", "4:0\n")
    (root / "sys/class/tty/ttyUSB0").symlink_to(terminal)
    write(root, "run/udev/data/c188:0", "S:serial/by-path/x\nE:ID_MM_CANDIDATE=1\n")


def test_machine_without_modems_needs_no_rule(tmp_path: Path) -> None:
    found = rivals(tmp_path)
    assert {one.verdict for one in found.values()} == {Verdict.OK}
    assert "no USB modem" in found["udev rule"].seen
    assert found["ModemManager"].seen == "not installed"


def test_modemmanager_beside_unguarded_modems_fails(tmp_path: Path) -> None:
    plug_modem(tmp_path)
    run_program(tmp_path, 4711, "ModemManager")
    found = rivals(tmp_path)
    assert found["ModemManager"].verdict is Verdict.FAIL
    assert found["ModemManager"].seen == "process 4711 ModemManager may open ttyUSB0"
    assert found["udev rule"].verdict is Verdict.WARN
    assert "70-modemctl.rules" in found["udev rule"].cure


def test_rule_that_came_after_the_modem_is_not_in_effect(tmp_path: Path) -> None:
    plug_modem(tmp_path)
    write(tmp_path, "etc/udev/rules.d/70-modemctl.rules", RULE)
    run_program(tmp_path, 4711, "ModemManager")
    found = rivals(tmp_path)
    assert "not in effect for ttyUSB0" in found["udev rule"].seen
    assert found["udev rule"].cure == "udevadm control --reload && udevadm trigger"
    assert found["ModemManager"].verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("file", "line"),
    [("c188:0", "E:ID_MM_PORT_IGNORE=1"), ("c189:4", "E:ID_MM_DEVICE_IGNORE=1")],
)
def test_rule_in_effect_on_the_port_or_its_device_suffices(
    tmp_path: Path, file: str, line: str
) -> None:
    plug_modem(tmp_path)
    write(tmp_path, "etc/udev/rules.d/70-modemctl.rules", RULE)
    write(tmp_path, f"run/udev/data/{file}", f"{line}\n")
    run_program(tmp_path, 4711, "ModemManager")
    found = rivals(tmp_path)
    assert {one.verdict for one in found.values()} == {Verdict.OK}
    assert "in effect for 1 terminals" in found["udev rule"].seen


@pytest.mark.parametrize("name", ["50-modemctl.rules", "99-modemctl.rules"])
def test_rule_in_the_wrong_place_is_told(tmp_path: Path, name: str) -> None:
    write(tmp_path, f"etc/udev/rules.d/{name}", RULE)
    assert "too early or too late" in rivals(tmp_path)["udev rule"].seen


def test_usb_stands_for_all_terminals_but_those_that_a_rule_takes_out(tmp_path: Path) -> None:
    plug_modem(tmp_path)
    for name in ("ttyUSB0", "ttyUSB1", "ttyACM0", "ttyS0"):
        write(tmp_path, f"dev/{name}")
    write(tmp_path, "sys/class/tty/ttyUSB1/dev", "188:1\n")
    write(tmp_path, "run/udev/data/c188:1", "E:MODEMCTL_IGNORE=1\n")
    settings = settings_of(tmp_path, "usb")
    ports = Subject.of(facts_of(tmp_path), settings).ports
    assert ports == ["/dev/ttyUSB0", "/dev/ttyACM0"]


def test_rule_that_was_emptied_is_none(tmp_path: Path) -> None:
    plug_modem(tmp_path)
    write(tmp_path, "etc/udev/rules.d/70-modemctl.rules", "# ID_MM_DEVICE_IGNORE no more\n")
    assert "is not installed" in rivals(tmp_path)["udev rule"].seen


def test_braille_driver_is_told(tmp_path: Path) -> None:
    run_program(tmp_path, 99, "brltty")
    assert rivals(tmp_path)["brltty"].cure == "apt remove brltty"
