"""USB steps on a tree of real files that is shaped like sysfs."""

import asyncio
import contextlib
import os
import stat
from pathlib import Path

import pytest

from modemctl.config.settings import HubPower
from modemctl.fleet import usb
from modemctl.fleet.places import UsbDevice
from modemctl.fleet.usb import UsbRefused, cycle_power, port_switch, rebind
from modemctl.fleet.usb_notes import OffNotes
from tests.support.simulated import wait_until


def device(tmp_path: Path, *, hub: str = "1-1", port: int = 3) -> UsbDevice:
    """A device on a port of a hub; its files are pipes, so that each write is seen."""
    devices = tmp_path / "devices"
    name = f"{hub}.{port}" if "-" in hub else f"{hub.removeprefix('usb')}-{port}"
    found = UsbDevice(
        folder=devices / name, hub=hub, hub_port=port, vendor_id="2c7c", product_id="0125"
    )
    for file in (found.folder / "authorized", port_switch(found)):
        file.parent.mkdir(parents=True)
        os.mkfifo(file)
    return found


class Written:
    """What was written to a pipe."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def take(self) -> str:
        try:
            return os.read(self._fd, 100).decode()
        except BlockingIOError:
            return ""
        finally:
            os.close(self._fd)


async def test_a_device_is_taken_from_its_drivers_and_given_back(tmp_path):
    modem = device(tmp_path)
    written, untouched = Written(modem.folder / "authorized"), Written(port_switch(modem))
    await rebind(modem, OffNotes(), off_time=0.0)
    assert (written.take(), untouched.take()) == ("01", "")


async def test_a_port_is_switched_off_and_on_by_the_kernel(tmp_path):
    modem = device(tmp_path)
    written = Written(port_switch(modem))
    await cycle_power(modem, HubPower.KERNEL, OffNotes(), off_time=0.0)
    assert written.take() == "10"


@pytest.mark.parametrize(
    ("hub", "path"),
    [("1-1.4", "1-1.4:1.0/1-1.4-port3/disable"), ("usb2", "2-0:1.0/usb2-port3/disable")],
)
def test_the_kernels_file_of_a_port_is_found_on_hubs_and_root_hubs(tmp_path, hub, path):
    modem = device(tmp_path, hub=hub)
    assert port_switch(modem) == tmp_path / "devices" / path


async def test_a_device_is_given_back_though_the_step_is_cut_off(tmp_path):
    modem = device(tmp_path)
    written = Written(modem.folder / "authorized")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await rebind(modem, OffNotes(), off_time=60.0)
    assert written.take() == "01"


async def test_a_device_that_a_frozen_kernel_let_go_of_late_is_given_back_all_the_same(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(usb, "_WRITE_LIMIT", 0.05)
    modem = device(tmp_path)
    pipe = modem.folder / "authorized"
    full = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)  # its next writer waits, as one of sysfs does
    n_filled = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            n_filled += os.write(full, bytes(4096))
    with pytest.raises(UsbRefused, match="no end in time"):
        await rebind(modem, OffNotes(), off_time=0.0)
    said = bytearray()

    def has_both() -> bool:
        with contextlib.suppress(BlockingIOError):
            said.extend(os.read(full, 1 << 20))
        return len(said) >= n_filled + 2

    wait_until(has_both, what="off and on were written")
    os.close(full)
    assert said[n_filled:] == b"01"


async def test_missing_rights_are_told_from_other_failures(tmp_path):
    modem = device(tmp_path)
    (modem.folder / "authorized").chmod(0)
    uid = os.geteuid()
    if uid == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(UsbRefused) as caught:
            await rebind(modem, OffNotes(), off_time=0.0)
    finally:
        os.seteuid(uid)
    assert caught.value.has_no_rights
    assert caught.value.reason == "authorized: Permission denied"


async def test_a_device_that_is_gone_is_no_lack_of_rights_and_makes_no_file(tmp_path):
    modem = device(tmp_path)
    (modem.folder / "authorized").unlink()
    with pytest.raises(UsbRefused) as caught:
        await rebind(modem, OffNotes(), off_time=0.0)
    assert not caught.value.has_no_rights
    assert not (modem.folder / "authorized").exists()


async def test_power_is_never_touched_unless_that_is_set(tmp_path):
    modem = device(tmp_path)
    written = Written(port_switch(modem))
    with pytest.raises(UsbRefused):
        await cycle_power(modem, HubPower.OFF, OffNotes(), off_time=0.0)
    assert written.take() == ""


def program(tmp_path: Path, monkeypatch, script: str) -> Path:
    """A program of this name, first in the path; what it was asked is in the returned file."""
    folder = tmp_path / "bin"
    folder.mkdir()
    asked = tmp_path / "asked"
    file = folder / "uhubctl"
    file.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n{script}\n')
    file.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return asked


async def test_uhubctl_is_asked_for_the_one_port(tmp_path, monkeypatch):
    asked = program(tmp_path, monkeypatch, "exit 0")
    await cycle_power(device(tmp_path), HubPower.UHUBCTL, OffNotes(), off_time=0.0)
    assert asked.read_text() == "-l 1-1 -p 3 -a off\n-l 1-1 -p 3 -a on\n"


async def test_a_uhubctl_that_fails_is_a_step_not_taken(tmp_path, monkeypatch):
    program(tmp_path, monkeypatch, "echo No compatible devices; exit 1")
    with pytest.raises(UsbRefused, match="No compatible devices"):
        await cycle_power(device(tmp_path), HubPower.UHUBCTL, OffNotes())


async def test_a_missing_uhubctl_is_told_as_such(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsbRefused, match="not installed") as caught:
        await cycle_power(device(tmp_path), HubPower.UHUBCTL, OffNotes())
    assert caught.value.has_no_rights


async def test_what_could_not_be_switched_on_at_once_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(usb, "_FIRST_PAUSE", 0.01)
    asked = program(
        tmp_path, monkeypatch, f'[ "$6" = off ] || [ $(wc -l < {tmp_path}/asked) -ge 4 ]'
    )
    notes = OffNotes(tmp_path / "notes")
    await cycle_power(device(tmp_path), HubPower.UHUBCTL, notes, off_time=0.0)
    assert [line.split()[-1] for line in asked.read_text().splitlines()] == ["off", *["on"] * 3]
    assert not notes.left()


async def test_what_never_comes_on_again_stays_noted_for_the_next_start(tmp_path, monkeypatch):
    monkeypatch.setattr(usb, "_FIRST_PAUSE", 0.0)
    program(tmp_path, monkeypatch, '[ "$6" = off ]')
    notes = OffNotes(tmp_path / "notes")
    with pytest.raises(UsbRefused):
        await cycle_power(device(tmp_path), HubPower.UHUBCTL, notes, off_time=0.0)
    assert len(notes.left()) == 1


async def test_a_uhubctl_that_was_cut_off_while_it_switched_off_is_followed_by_on(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(usb, "_WRITE_LIMIT", 0.5)
    asked = program(tmp_path, monkeypatch, '[ "$6" = on ] || exec sleep 60')
    with pytest.raises(UsbRefused, match="no end in time"):
        await cycle_power(device(tmp_path), HubPower.UHUBCTL, OffNotes(), off_time=0.5)
    assert asked.read_text().splitlines()[-1].endswith("on")
