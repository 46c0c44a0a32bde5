"""The recorder and the replay as processes, between real terminals."""

import json
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.recording import tape
from simulator.recording.tape import Sender, What
from tests.support.one_modem import HELLO, HELLO_LENGTH
from tests.support.recorders import Client, Tool
from tests.support.simulated import BankProcess, wait_until


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[BankProcess]:
    flags = ("--modems", "1", "--persona", "huawei", "--latency", "0.1", "--report-delay", "0.3")
    with BankProcess(tmp_path / "bank", *flags, "--pin", "73918264") as bank:
        yield bank


def test_session_is_recorded_and_replayed(bank: BankProcess, tmp_path: Path) -> None:
    file = tmp_path / "session.jsonl"
    with Tool("record", bank.port(), "--to", file, "--model", "E1750", "--json") as tool:
        client = Client(tmp_path / "session.port")
        first = client.say(b"ATI\r")
        client.say(b'AT+CMEE=1;+CPIN="73918264"\r')
        wait_until(lambda: b"+CREG: 0,1" in client.say(b"AT+CREG?\r"), what="registration")
        client.say(b"AT+CMGF=0\r")
        client.say(b"AT+CMGS=%d\r" % HELLO_LENGTH, b"> ")
        client.say(HELLO.encode() + b"\x1a")
        client.say(b"AT+NOSUCH\r", b"COMMAND NOT SUPPORT\r\n")
        client.close()
    assert tool.status == 0, (tool.output, tool.errors)
    summary = json.loads(tool.output)
    assert summary["end"] == "stopped"
    assert summary["masked"]["pin"] == 1
    assert summary["masked"]["pdu"] == 1
    assert not (tmp_path / "session.port").exists()
    (sent,) = bank.ledger(kind="submit")
    assert sent["text"] == "hello world", "what was passed on is what was typed"

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    raw = file.read_text()
    for secret in ("73918264", HELLO[8:]):
        assert secret not in raw
    found = tape.load(file)
    assert (found.header.model, found.header.transport, found.is_complete) == ("E1750", "tty", True)
    times = [record.ms for record in found.records]
    assert times == sorted(times)

    with Tool("replay", file, "--pty", tmp_path / "again") as tool:
        client = Client(tmp_path / "again")
        again = client.say(b"ATI\r")
        assert again.split(b"IMEI")[0] == first.split(b"IMEI")[0]
        assert b"OK" in client.say(b'AT+CMEE=1;+CPIN="11112222"\r'), "another PIN, the same shape"
        client.say(b"AT+CREG?\r")
        client.say(b"AT+CMGF=0\r")
        client.say(b"AT+CMGS=23\r", b"> ")
        assert b"+CMGS: 0" in client.say(b"0001000C919471214365870000A70BE8329BFD06DDDF723619\x1a")
        assert b"NOT SUPPORT" in client.say(b"AT+NOSUCH\r", b"SUPPORT\r\n")
        client.say(b'AT+NEVER="12345"\r', b"\r\nERROR\r\n")
        client.close()
    assert (tool.status, tool.errors) == (0, "")
    assert 'ERROR: 1 × AT+NEVER="00000"' in tool.output
    assert "12345" not in tool.output


@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_modem_behind_a_socket_is_recorded(transport: str, tmp_path: Path) -> None:
    flags = ("--modems", "1", "--persona", "generic", "--transport", transport)
    with BankProcess(tmp_path / "bank", *flags) as bank:
        port = bank.port()
        if transport == "tcp":
            port = f"tcp:{Path(f'{port}.tcp').read_text().strip()}"
        file = tmp_path / "s.jsonl"
        with Tool("record", port, "--to", file, "--pty", tmp_path / "here") as tool:
            client = Client(tmp_path / "here")
            client.say(b"AT\r")
            client.close()
        assert tool.status == 0, tool.errors
        assert tape.load(file).header.transport == transport


@pytest.mark.parametrize("how", ["--unix", "--tcp"])
def test_recording_is_replayed_at_a_socket(bank: BankProcess, tmp_path: Path, how: str) -> None:
    file = tmp_path / "s.jsonl"
    with Tool("record", bank.port(), "--to", file):
        client = Client(tmp_path / "s.port")
        client.say(b"AT+CGMM\r")
        client.close()
    arguments = [how, tmp_path / "sock"] if how == "--unix" else [how]
    with Tool("replay", file, *arguments, "--fast") as tool:
        address = tool.ready.split(" at ")[1].split(";")[0]
        if how == "--unix":
            client_socket = socket.socket(socket.AF_UNIX)
            client_socket.connect(address)
        else:
            host, _, number = address.rpartition(":")
            client_socket = socket.create_connection((host, int(number)), timeout=60)
        with client_socket:
            client_socket.settimeout(10)
            client_socket.sendall(b"AT+CGMM\r")
            heard = b""
            while b"OK" not in heard:
                heard += client_socket.recv(1000)
        assert b"E1750" in heard


def test_killed_recorder_leaves_all_that_went_by(bank: BankProcess, tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    with Tool("record", bank.port(), "--to", file) as tool:
        client = Client(tmp_path / "s.port")
        client.say(b"AT+CGMM\r")
        wait_until(lambda: '"result"' in file.read_text(), what="the result in the file")
        tool.end(signal.SIGKILL)
        client.close()
    found = tape.load(file)
    assert not found.is_complete
    assert [record.what for record in found.records][-1] is What.RESULT
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(file.read_bytes()[:-7])
    assert len(tape.load(cut).records) == len(found.records) - 1


def test_vanished_modem_ends_the_recording(bank: BankProcess, tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    with Tool("record", bank.port(), "--to", file) as tool:
        client = Client(tmp_path / "s.port")
        client.say(b"AT\r")
        bank.control.unplug("modem01")
        tool.status = tool.process.wait(timeout=60)
        client.close()
        assert tool.process.stdout is not None
        output = tool.process.stdout.read()
        tool.process.communicate()
    assert tool.status == 1
    assert "the modem went away" in output
    assert tape.load(file).end == "the modem went away"


def test_interrupt_ends_the_recording_cleanly(bank: BankProcess, tmp_path: Path) -> None:
    with Tool("record", bank.port(), "--to", tmp_path / "s.jsonl") as tool:
        tool.end(signal.SIGINT)
    assert (tool.status, tool.errors) == (0, "")
    assert "stopped after" in tool.output
    assert tape.load(tmp_path / "s.jsonl").records == ()


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "simulator.recording", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_mistakes_are_told_in_plain_words(bank: BankProcess, tmp_path: Path) -> None:
    there = tmp_path / "there.jsonl"
    there.write_text("my thesis\n")
    taken = run("record", bank.port(), "--to", there, "--pty", tmp_path / "p")
    assert (taken.returncode, there.read_text()) == (1, "my thesis\n")
    assert "exists already; recordings overwrite nothing" in taken.stderr
    link = run("record", bank.port(), "--to", tmp_path / "a.jsonl", "--pty", there)
    assert "is something else already" in link.stderr
    assert there.read_text() == "my thesis\n"
    missing = run("record", tmp_path / "ttyUSB9", "--to", tmp_path / "b.jsonl")
    assert "No such file" in missing.stderr
    assert not (tmp_path / "b.jsonl").exists(), "no modem, no file"
    speed = run("record", bank.port(), "--to", tmp_path / "b.jsonl", "--baud", "12345")
    assert "12345 is no speed" in speed.stderr
    other = run("replay", there)
    assert other.returncode == 1
    assert "no JSON" in other.stderr
    for result in (taken, link, missing, speed, other):
        assert "Traceback" not in result.stderr


def test_octets_pass_at_once_and_unchanged(bank: BankProcess, tmp_path: Path) -> None:
    """Half a line, a lone octet, junk: all of it reaches the modem before the line is complete."""
    with Tool("record", bank.port(), "--to", tmp_path / "s.jsonl") as tool:
        client = Client(tmp_path / "s.port")
        for octet in b"AT+CP":
            client.say(bytes((octet,)), bytes((octet,)))  # the echo of a half-typed line
        client.say(b"IN?\r")
        client.type(b"\x1b\r\n\x00\xff\xfejunk\r")
        client.say(b"AT\r")
        client.close()
    assert tool.status == 0, (tool.output, tool.errors)
    records = tape.load(tmp_path / "s.jsonl").records
    commands = [item.data for item in records if item.sender is Sender.HOST]
    assert commands[0] == "AT+CPIN?\r"


def test_two_sessions_have_different_standins(bank: BankProcess, tmp_path: Path) -> None:
    made: list[str] = []
    for name in ("a", "b"):
        with Tool("record", bank.port(), "--to", tmp_path / f"{name}.jsonl"):
            client = Client(tmp_path / f"{name}.port")
            client.say(b"AT+CGSN\r")
            client.close()
        lines = [r.line for r in tape.load(tmp_path / f"{name}.jsonl").records]
        made += [line for line in lines if line.isdigit() and len(line) == 15]
    real = bank.control.state("modem01")[0]["imei"]
    assert len({*made, real}) == 3
    assert len({imei[:8] for imei in made}) == 1
