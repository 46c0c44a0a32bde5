"""Each port of the bank: there, ours to use, and held by nobody else."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from typing import Final

from modemctl.doctor.facts import Facts
from modemctl.doctor.findings import Finding, fail, ok, some, warn
from modemctl.doctor.people import READ, WRITE, group_name, may
from modemctl.doctor.processes import Process, holders, list_processes, locker_of
from modemctl.doctor.subject import Subject

_PTS: Final = "/dev/pts/"


def check_ports(subject: Subject) -> Iterator[Finding]:
    """One finding a port that cannot be used, one for all the others."""
    if not subject.ports:
        patterns = some(subject.settings.bank.ports)
        cure = "plug the modems in, or name their ports (bank.ports); in a container: pass them in"
        yield warn("ports", f"{patterns}: there is nothing", cure)
        return
    open_files = holders(subject.facts)
    good: list[str] = []
    n_pty = n_held = 0
    for address in subject.ports:
        wrong = _check_port(subject, address, open_files)
        if wrong is not None:
            yield wrong
            continue
        good.append(address)
        node = device_of(subject.facts, address)
        n_pty += node.startswith(_PTS)
        n_held += _holder(subject.facts, node, open_files) is not None
    if good:
        about = [f"{len(good)} fit for use"]
        if n_held:
            about.append(f"{n_held} held by the daemon")
        if n_pty:
            about.append(f"{n_pty} pseudo terminals: a simulator's")
        yield ok("ports", "; ".join(about))


def device_of(facts: Facts, address: str) -> str:
    """The device node behind a port's address, links followed."""
    path = facts.path(address.removeprefix("unix:")).resolve()
    root = facts.root.resolve()
    return f"/{path.relative_to(root)}" if path.is_relative_to(root) else str(path)


def is_ours(subject: Subject, holder: Process) -> bool:
    """Whether it is the daemon; who may not see whose lock lies on its folder goes by its name."""
    if subject.daemon is not None:
        return holder.pid == subject.daemon.pid
    facts = subject.facts
    if facts.uid in {0, subject.runner.uid}:
        return False
    return "modemctl" in (facts.text(f"/proc/{holder.pid}/cmdline") or "")


def _check_port(
    subject: Subject, address: str, open_files: Mapping[str, Process]
) -> Finding | None:
    facts, runner = subject.facts, subject.runner
    if address.startswith("tcp://"):
        return None  # only an attempt can tell, and that is the daemon's
    path = address.removeprefix("unix:")
    found = facts.stat(path)
    if found is None:
        cure = "plug it in; ls -l /dev/serial/by-path/; or correct bank.ports"
        return fail("port", f"{address} is not there", cure)
    is_fit = stat.S_ISSOCK if address.startswith("unix:") else stat.S_ISCHR
    if not is_fit(found.st_mode):
        return fail("port", f"{address} is no device", "correct bank.ports")
    if not may(facts, runner, path, READ | WRITE):
        group = group_name(facts, found.st_gid)
        seen = f"{address}: mode {stat.S_IMODE(found.st_mode):04o}, group {group}"
        cure = f"adduser {runner.name} {group}, then restart modemctl"
        if found.st_gid == 0:  # nobody should join root for it
            cure = "install systemd/70-modemctl.rules, which gives ports to dialout"
        return fail("port", f"{seen}: {runner.name} may not use it", cure)
    holder = _holder(facts, device_of(facts, address), open_files)
    if holder is None or is_ours(subject, holder):
        return None
    cure = f"end {holder.name} (process {holder.pid}), and see that it does not come back"
    return fail("port", f"{address} is held by process {holder}", cure)


def _holder(facts: Facts, node: str, open_files: Mapping[str, Process]) -> Process | None:
    """Who has it: the lock counts before an open file, and all users see it.

    Of a pseudo terminal only the lock: who serves it has it open as well.
    """
    pid = locker_of(facts, node)
    if pid is not None:
        return Process(pid=pid, name=facts.text(f"/proc/{pid}/comm") or "?")
    return None if node.startswith(_PTS) else open_files.get(node)


def check_rivals(subject: Subject) -> Iterator[Finding]:
    """ModemManager and brltty open serial ports of their own accord."""
    facts = subject.facts
    running = {process.name: process for process in list_processes(facts)}
    rule = _find_rule(facts)
    yield _judge_rule(facts, rule)
    open_to_it = [name for name in usb_terminals(facts) if not _is_ignored(facts, name)]
    manager = running.get("ModemManager")
    is_installed = any(
        facts.stat(f"{folder}/ModemManager") is not None for folder in ("/usr/sbin", "/usr/bin")
    )
    if manager is not None and open_to_it:
        cure = "systemctl disable --now ModemManager"
        if rule is not None:
            cure = "udevadm control --reload && udevadm trigger, then restart ModemManager"
        seen = f"process {manager} may open {some(open_to_it)}"
        yield fail("ModemManager", seen, cure)
    elif manager is not None:
        yield ok("ModemManager", f"runs (process {manager.pid}); udev keeps it off the modems")
    elif is_installed:
        yield ok("ModemManager", "installed, does not run")
    else:
        yield ok("ModemManager", "not installed")
    if (brltty := running.get("brltty")) is not None:
        seen = f"process {brltty} takes USB serial converters for Braille displays"
        yield warn("brltty", seen, "apt remove brltty")


def usb_terminals(facts: Facts) -> list[str]:
    """Names of the terminals that hang on USB, such as `ttyUSB0`."""
    return [name for name in facts.names("/sys/class/tty") if name.startswith(("ttyUSB", "ttyACM"))]


_RULE_FOLDERS: Final = (
    "/etc/udev/rules.d", "/run/udev/rules.d", "/usr/local/lib/udev/rules.d",
    "/usr/lib/udev/rules.d", "/lib/udev/rules.d",
)  # fmt: skip


def _find_rule(facts: Facts) -> str | None:
    """The first rule file that tells ModemManager to stay away; comments do not count."""
    for folder in _RULE_FOLDERS:
        for name in facts.names(folder):
            lines = facts.lines(f"{folder}/{name}") if "modemctl" in name else ()
            if any("ID_MM_" in line and not line.startswith("#") for line in lines):
                return f"{folder}/{name}"
    return None


def _judge_rule(facts: Facts, rule: str | None) -> Finding:
    install = "install -m 644 systemd/70-modemctl.rules /etc/udev/rules.d/"
    load = "udevadm control --reload && udevadm trigger"
    terminals = usb_terminals(facts)
    if rule is None:
        if not terminals:
            return ok("udev rule", "not installed; no USB modem is plugged in")
        return warn("udev rule", "70-modemctl.rules is not installed", f"{install} && {load}")
    number = rule.rpartition("/")[2].partition("-")[0]
    if not number.isdecimal() or not 60 < int(number) < 77:  # 60-serial.rules, 77-mm-*.rules
        cure = "its name must sort after 60-serial.rules and before 77-mm-*.rules"
        return warn("udev rule", f"{rule} comes too early or too late", cure)
    if not facts.names("/run/udev/data"):
        return ok("udev rule", f"{rule}; udev does not run here")
    missed = [name for name in terminals if not _is_ignored(facts, name)]
    if missed:
        return warn("udev rule", f"{rule} is not in effect for {some(missed)}", load)
    return ok("udev rule", f"{rule}, in effect for {len(terminals)} terminals")


def _is_ignored(facts: Facts, name: str) -> bool:
    """Whether udev's database keeps ModemManager off a terminal, or off the device it hangs on."""
    notes = dict(facts.udev(f"/sys/class/tty/{name}/dev"))
    folder = facts.path(f"/sys/class/tty/{name}").resolve()
    for above in folder.parents:
        if (above / "idVendor").exists():
            where = f"/{(above / 'dev').relative_to(facts.root.resolve())}"
            notes |= facts.udev(where)
            break
    return "1" in {notes.get("ID_MM_PORT_IGNORE"), notes.get("ID_MM_DEVICE_IGNORE")}
