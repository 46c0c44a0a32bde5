"""A modem that a killed daemon left switched off is switched on by the next one."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from modemctl.config.settings import HubPower
from modemctl.fleet.places import UsbDevice
from modemctl.fleet.usb import give_back, port_switch
from modemctl.fleet.usb_notes import OffNotes, Switched
from tests.support.simulated import wait_until

ROOT = Path(__file__).parents[2]
LIFE = """
import asyncio, sys
from pathlib import Path
from modemctl.config.settings import HubPower
from modemctl.fleet import usb
from modemctl.fleet.usb_notes import OffNotes
from tests.unit.test_usb_notes import device
folder, step = Path(sys.argv[1]), sys.argv[2]
modem, notes = device(folder), OffNotes(folder / "notes")
if step == "rebind":
    asyncio.run(usb.rebind(modem, notes, off_time=600.0))
else:
    asyncio.run(usb.cycle_power(modem, HubPower(step), notes, off_time=600.0))
"""


def device(tmp_path: Path) -> UsbDevice:
    return UsbDevice(
        folder=tmp_path / "devices" / "1-1.3",
        hub="1-1",
        hub_port=3,
        vendor_id="2c7c",
        product_id="0125",
    )


def switch(tmp_path: Path, step: str, monkeypatch) -> tuple[Path, str, str]:
    """What a step switches, and what off and on look like there."""
    modem = device(tmp_path)
    if step == HubPower.UHUBCTL:
        folder, port = tmp_path / "bin", tmp_path / "port"
        folder.mkdir()
        program = folder / "uhubctl"
        program.write_text(f'#!/bin/sh\nprintf "%s" "$2-$4 $6" > {port}\n')
        program.chmod(0o700)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        return port, "1-1-3 off", "1-1-3 on"
    path, off, on = modem.folder / "authorized", "0", "1"
    if step == HubPower.KERNEL:
        path, off, on = port_switch(modem), "1", "0"
    path.parent.mkdir(parents=True)
    path.write_text(on)
    return path, off, on


@pytest.mark.parametrize("step", ["rebind", "kernel", "uhubctl"])
async def test_what_a_killed_daemon_left_off_is_switched_on(tmp_path, monkeypatch, step):
    path, off, on = switch(tmp_path, step, monkeypatch)
    life = subprocess.Popen(
        [sys.executable, "-c", LIFE, str(tmp_path), step],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
    )
    try:
        wait_until(lambda: path.exists() and path.read_text() == off, what="off")
    finally:
        life.send_signal(signal.SIGKILL)
        life.wait(10)
    assert path.read_text() == off
    notes = OffNotes(tmp_path / "notes")
    await give_back(notes)
    assert path.read_text() == on
    assert notes.left() == []


async def test_what_cannot_be_switched_on_stays_noted_and_what_is_gone_does_not(tmp_path, caplog):
    notes = OffNotes(tmp_path / "notes")
    refused, gone = tmp_path / "1" / "authorized", tmp_path / "2" / "authorized"
    refused.mkdir(parents=True)  # nobody can write it
    for path in (refused, gone):
        notes.put(Switched(file=path, hub="1-1", hub_port=3))
    await give_back(notes)
    assert [note.what.file for note in notes.left()] == [refused]
    assert "usb.left_off" in caplog.messages


async def test_a_note_that_is_not_whole_or_names_another_file_is_dropped(tmp_path):
    folder, other = tmp_path / "notes", tmp_path / "other"
    folder.mkdir()
    other.write_text("as it was")
    notes = OffNotes(folder)
    notes.put(Switched(file=other, hub="1-1", hub_port=3))
    for n, text in enumerate(("", "{", "[]", '{"file": 7, "hub": "", "hub_port": "x"}', "\\xff")):
        (folder / f"{n}.json").write_text(text)
    await give_back(notes)
    assert list(folder.iterdir()) == []
    assert other.read_text() == "as it was"
