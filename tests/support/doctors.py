"""Small machines for the doctor: trees of files below a folder."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from modemctl.doctor.facts import Facts
from tests.support.stores import TestClock


def facts_of(root: Path, **facts: object) -> Facts:
    """A machine below a folder; the clock stands still and is synchronised unless told."""
    machine = Facts(
        root=root,
        uid=os.geteuid(),
        gids=frozenset({os.getegid()}),
        clock=TestClock(),
        is_clock_synchronised=True,
    )
    return replace(machine, **facts)


def write(root: Path, name: str, text: str = "") -> Path:
    """A file of the machine, with its folders."""
    path = root / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def plug(root: Path, name: str, where: str, *, ends: Sequence[int], **files: str) -> Path:
    """A USB device as the kernel shows it: `ends` is the number of endpoints per interface."""
    folder = root / "sys/devices" / where / name
    plain = {"idVendor": "2c7c", "speed": "480", "bConfigurationValue": "1", "authorized": "1"}
    for file, text in {**plain, "power/control": "on", **files}.items():
        write(folder, file, f"{text}\n")
    interfaces = [f"{name}:1.{number}" for number in range(len(ends))]
    for interface, n in zip(interfaces, ends, strict=True):
        write(folder / interface, "bNumEndpoints", f"{n:02x}\n")
    bus = root / "sys/bus/usb/devices"
    bus.mkdir(parents=True, exist_ok=True)
    for one, path in [(name, folder), *((one, folder / one) for one in interfaces)]:
        (bus / one).symlink_to(path)
    return folder


def run_program(root: Path, pid: int, name: str, *open_files: str) -> None:
    """A process as /proc shows it."""
    write(root, f"proc/{pid}/comm", f"{name}\n")
    fds = root / f"proc/{pid}/fd"
    fds.mkdir()
    for number, target in enumerate(open_files):
        (fds / str(number)).symlink_to(target)
