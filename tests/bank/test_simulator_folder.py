"""A bank's folder over kill -9, changes of the bank, and two banks at once; ghosts at a port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from simulator.faults import Fault, FaultKind
from tests.support.one_modem import HELLO
from tests.support.simulated import BankProcess, wait_until
from tests.support.wire import Wire

FAST = ("--persona", "generic", "--pin-lock", "off", "--latency", "0")


def test_a_killed_bank_leaves_no_port_behind_for_the_next_one(tmp_path: Path) -> None:
    folder = tmp_path / "bank"
    command = [sys.executable, "-m", "simulator", "--dir", str(folder), "--modems", "3", *FAST]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline().startswith("ready")
        killed.send_signal(signal.SIGKILL)
    assert len(list((folder / "ports").iterdir())) == 3
    with BankProcess(folder, "--modems", "1", *FAST) as bank:
        assert [link.name for link in (folder / "ports").iterdir()] == ["modem01"]
        assert [link.name for link in (folder / "tty").iterdir()] == ["ttyUSB0"]
        with Wire(bank.port()) as wire:
            assert wire.ask("AT").endswith(b"OK\r\n")


def test_a_folder_is_served_by_one_bank_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "bank"
    with BankProcess(folder, "--modems", "1", *FAST) as bank:
        command = [sys.executable, "-m", "simulator", "--dir", str(folder), "--modems", "1"]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 2
        assert "another bank serves this folder" in second.stderr
        with Wire(bank.port()) as wire:
            assert wire.ask("AT").endswith(b"OK\r\n")
        assert bank.control.state("modem01")


def test_a_client_that_opened_twice_and_died_leaves_no_stale_octets(tmp_path: Path) -> None:
    with BankProcess(tmp_path / "bank", "--modems", "1", *FAST) as bank:
        wait_until(lambda: bank.control.state()[0]["registration"] == 1, what="registered")
        twice = "import os, sys; a = [os.open(sys.argv[1], os.O_RDWR) for _ in range(2)]; "
        speak = "os.write(a[0], b'AT+CNMI=2,1,0,0,0\\r'); os.read(a[0], 999)"
        subprocess.run([sys.executable, "-c", twice + speak, bank.port()], check=True, timeout=30)
        bank.control.inject_sms("modem01", "nobody listens", origin="10086")
        with Wire(bank.port()) as wire:
            assert wire.ask("AT") == b"AT\r\r\nOK\r\n"


def test_a_port_that_vanishes_comes_back_once_and_under_another_number(tmp_path: Path) -> None:
    with BankProcess(tmp_path / "bank", "--modems", "1", *FAST) as bank:
        wait_until(lambda: bank.control.state()[0]["registration"] == 1, what="registered")
        numbers = bank.folder / "tty"
        for expected in ("ttyUSB1", "ttyUSB2"):
            fault = Fault(kind=FaultKind.PORT_RENUMBERED, seconds=0.1)
            bank.control.set_fault("modem01", fault)
            with Wire(bank.port()) as wire:
                wire.type(b"AT\r")
                wait_until(
                    lambda name=expected: [link.name for link in numbers.iterdir()] == [name],
                    what=expected,
                )
        assert os.path.realpath(numbers / "ttyUSB2") == os.path.realpath(bank.port())
        with Wire(bank.port()) as wire:
            wire.ask("ATE0")
            wire.ask("AT+CMGF=0")
            wire.ask("AT+CMGS=24", b"\r\n> ")
            wire.type(HELLO.encode() + b"\x1a")
            assert wire.until(b"OK\r\n").startswith(b"\r\n+CMGS: ")
