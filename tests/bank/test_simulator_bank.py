"""A whole bank as a process: ports, control channel, ledger, its start and end."""

import contextlib
import csv
import fcntl
import json
import os
import select
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from simulator.control.server import BankControl, ControlError
from simulator.faults import Fault, FaultKind
from simulator.phone import CallOutcome, CallPlan
from tests.support.one_modem import HELLO
from tests.support.simulated import BankProcess, wait_until, within

FAST = ("--latency", "0", "--report-delay", "0", "--pin-lock", "off")


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[BankProcess]:
    flags = ("--modems", "3", "--persona", "generic,quectel,huawei", "--pin", "1234")
    with BankProcess(tmp_path / "bank", *flags, *FAST) as bank:
        yield bank


@pytest.fixture
def online(bank: BankProcess) -> BankProcess:
    wait_until(
        lambda: all(modem["registration"] == 1 for modem in bank.control.state()),
        what="registered",
    )
    return bank


@contextlib.contextmanager
def opened(bank: BankProcess, modem: str = "modem01") -> Iterator[serial.Serial]:
    with serial.Serial(bank.port(modem), 115200, timeout=5, exclusive=True) as port:
        yield port


def ask(port: serial.Serial, line: str, end: bytes = b"OK\r\n") -> bytes:
    port.write(line.encode() + b"\r")
    said = bytes(port.read_until(end))
    assert said.endswith(end), said
    return said


def send(port: serial.Serial) -> bytes:
    ask(port, "AT+CMGF=0")
    ask(port, "AT+CMGS=24", b"\r\n> ")
    port.write(HELLO.encode() + b"\x1a")
    return bytes(port.read_until(b"OK\r\n"))


# ---------------------------------------------------------------- ports


def test_port_is_raw_before_any_client_sets_it(bank: BankProcess) -> None:
    fd = os.open(bank.port(), os.O_RDWR | os.O_NOCTTY)
    try:
        flags = termios.tcgetattr(fd)
        assert not flags[0] & (termios.ICRNL | termios.IXON)
        assert not flags[1] & termios.OPOST
        assert not flags[3] & (termios.ECHO | termios.ICANON | termios.ISIG)
        os.write(fd, b"AT\r")
        assert select.select([fd], [], [], 5)[0]
        assert os.read(fd, 100) == b"AT\r\r\nOK\r\n"
    finally:
        os.close(fd)


def test_clients_in_turn_find_the_modem_as_it_was_left(bank: BankProcess) -> None:
    with opened(bank) as port:
        ask(port, "ATE0")
    for _ in range(3):
        with opened(bank) as port:
            assert ask(port, "AT") == b"\r\nOK\r\n"


def test_last_close_ends_exclusive_use_and_odd_settings(bank: BankProcess) -> None:
    fd = os.open(bank.port(), os.O_RDWR | os.O_NOCTTY)
    fcntl.ioctl(fd, termios.TIOCEXCL)
    settings = termios.tcgetattr(fd)
    settings[3] |= termios.ECHO | termios.ICANON
    termios.tcsetattr(fd, termios.TCSANOW, settings)
    os.close(fd)

    def is_clean() -> bool:
        again = os.open(bank.port(), os.O_RDWR | os.O_NOCTTY)
        try:
            exclusive = int.from_bytes(fcntl.ioctl(again, 0x80045440, b"\0" * 4), "little")
            return not exclusive and not termios.tcgetattr(again)[3] & termios.ECHO
        finally:
            os.close(again)

    wait_until(is_clean, what="exclusive use and settings are gone")


def test_what_nobody_listens_to_is_lost(online: BankProcess) -> None:
    with opened(online) as port:
        ask(port, "AT+CNMI=2,1,0,0,0")
    online.control.inject_sms("modem01", "unheard", origin="10086")
    with opened(online) as port:
        # The news of it (+CMTI) went nowhere; the message itself is in its slot.
        assert ask(port, "ATE0") == b"ATE0\r\r\nOK\r\n"
        assert b"+CMGL: 1,0," in ask(port, "AT+CMGL=4")


def test_unplugged_port_vanishes_and_comes_back_with_a_fresh_modem(bank: BankProcess) -> None:
    with opened(bank) as port:
        ask(port, "ATE0")
        bank.control.unplug("modem01")
        assert not Path(bank.port()).exists()
        with pytest.raises(serial.SerialException):
            port.read(1)
    bank.control.plug("modem01")
    wait_until(Path(bank.port()).exists, what="the port is back")
    with opened(bank) as port:
        assert ask(port, "AT") == b"AT\r\r\nOK\r\n"


def test_port_that_keeps_power_comes_back_with_the_modem_as_it_was(bank: BankProcess) -> None:
    with opened(bank) as port:
        ask(port, "ATE0")
    bank.control.unplug("modem01", keeps_power=True)
    bank.control.plug("modem01")
    with opened(bank) as port:
        assert ask(port, "AT") == b"\r\nOK\r\n"


def test_reset_of_a_usb_stick_takes_its_port_away_for_a_while(bank: BankProcess) -> None:
    with opened(bank, "modem02") as port:
        ask(port, "AT+CFUN=1,1")
        wait_until(lambda: not Path(bank.port("modem02")).exists(), what="the port is gone")
    wait_until(Path(bank.port("modem02")).exists, what="the port is back")


@pytest.mark.parametrize("transport", ["tcp", "unix", "abstract"])
def test_sockets_serve_the_newest_client(tmp_path: Path, transport: str) -> None:
    flags = ("--modems", "1", "--persona", "generic", "--transport", transport)
    with BankProcess(tmp_path / "bank", *flags, *FAST) as bank:

        def connect() -> socket.socket:
            if transport == "unix":
                client = socket.socket(socket.AF_UNIX)
                client.connect(bank.port())
            elif transport == "abstract":
                client = socket.socket(socket.AF_UNIX)
                name = Path(f"{bank.port()}.abstract").read_text().strip()
                assert name.startswith("abstract:")
                client.connect(f"\0{name}")
            else:
                host, _, port = Path(f"{bank.port()}.tcp").read_text().strip().partition(":")
                client = socket.create_connection((host, int(port)))
            client.settimeout(5)
            return client

        with connect() as first:
            first.sendall(b"ATE0\r")
            assert first.recv(100) == b"ATE0\r\r\nOK\r\n"
            with connect() as second:
                second.sendall(b"AT\r")
                assert second.recv(100) == b"\r\nOK\r\n"
                assert first.recv(100) == b""
                bank.control.unplug("modem01")
                assert second.recv(100) == b""
        bank.control.plug("modem01")
        path = Path(bank.port() + ("" if transport == "unix" else f".{transport}"))
        wait_until(path.exists, what="the socket is back")
        with connect() as third:
            third.sendall(b"AT\r")
            assert third.recv(100) == b"AT\r\r\nOK\r\n"


# ---------------------------------------------------------------- control


def test_cards_file_holds_what_it_would_import(bank: BankProcess) -> None:
    with (bank.folder / "cards.csv").open(encoding="ascii") as file:
        rows = list(csv.DictReader(file))
    assert [row["modem"] for row in rows] == ["modem01", "modem02", "modem03"]
    for row, modem in zip(rows, bank.control.state(), strict=True):
        card = modem["card"]
        assert isinstance(card, dict)
        assert row == {
            "iccid": card["iccid"],
            "number": card["number"],
            "pin": "1234",
            "imsi": card["imsi"],
            "modem": modem["modem"],
        }


def test_injected_messages_arrive_by_modem_card_or_number(online: BankProcess) -> None:
    card = online.control.state("modem01")[0]["card"]
    assert isinstance(card, dict)
    for to in ("modem01", str(card["iccid"]), str(card["number"])):
        online.control.inject_sms(to, "退订", origin="+8613912345678")
    arrived = online.control.ledger(kind="deliver")
    assert [line["text"] for line in arrived] == ["退订"] * 3
    assert {line["modem"] for line in arrived} == {"modem01"}


def test_calls_are_injected_both_ways(online: BankProcess) -> None:
    plan = CallPlan(
        number="95588", outcome=CallOutcome.ANSWERED, rings=1, seconds=0.1, ring_seconds=0.1
    )
    with opened(online, "modem03") as port:
        online.control.dial("modem03", plan)
        said = port.read_until(b"^CEND:1,0,104,16\r\n")
        assert b"^ORIG:1,0" in said
        assert b"^CONN:1,0" in said
    online.control.inject_call("modem01", plan)
    wait_until(lambda: len(online.ledger(kind="call")) == 2, what="both calls ended")
    assert {line["direction"] for line in online.ledger(kind="call")} == {"in", "out"}


def test_cards_are_pulled_put_in_and_swapped(bank: BankProcess) -> None:
    control = bank.control
    before = [str(within(modem, "card", "iccid")) for modem in control.state()]
    assert control.pull_card("modem01") == before[0]
    assert control.state("modem01")[0]["card"] is None
    control.insert_card("modem01", before[0])
    control.swap_cards("modem01", "modem02")
    after = [str(within(modem, "card", "iccid")) for modem in control.state()]
    assert after == [before[1], before[0], before[2]]


def test_faults_rules_pace_and_registration_are_set(online: BankProcess) -> None:
    control = online.control
    with opened(online) as port:
        ask(port, "ATE0")
        control.set_fault("modem01", Fault(kind=FaultKind.CMS_ERROR, code=42))
        ask(port, "AT+CMGF=0")
        ask(port, "AT+CMGS=24", b"\r\n> ")
        port.write(HELLO.encode() + b"\x1a")
        assert port.read_until(b"42\r\n") == b"\r\n+CMS ERROR: 42\r\n"
        control.set_fault("modem01", Fault(kind=FaultKind.SILENCE, count=None))
        assert control.state("modem01")[0]["faults"] == "silence"
        control.clear_faults()
        control.add_rule(destination="+49", st=0x46)
        control.set_latency(0.0, report_delay=0.05)
        assert b"+CMGS: 0" in send(port)
        wait_until(lambda: bool(online.ledger(kind="report")), what="the report")
        assert [line["st"] for line in online.ledger(kind="report")] == [0x46]
        control.clear_rules()
        control.set_registration("modem01", 3)
        wait_until(lambda: control.state("modem01")[0]["registration"] == 3, what="denied")
        control.set_registration("modem01", None)
        wait_until(lambda: control.state("modem01")[0]["registration"] == 1, what="registered")
        control.reboot("modem01")
        wait_until(lambda: control.state("modem01")[0]["is_on"] is True, what="booted")


WRONG = {
    b"nonsense": "Expecting value",
    b"[]": "a JSON object",
    b'{"id":7}': "do: is missing: one of state",
    b'{"id":7,"do":"reboot"}': "modem: is missing",
    b'{"id":7,"do":"reboot","modem":"modem99"}': "no modem 'modem99'",
    b'{"id":7,"do":"inject_sms","to":"nobody","text":""}': "no card 'nobody'",
    b'{"id":7,"do":"set_fault","modem":"modem01","fault":"rust"}': "rust",
    b'{"id":7,"do":"set_latency","seconds":true}': "seconds: true: seconds are needed",
    b'{"id":7,"do":"set_network_error","rule":{"cmss":1}}': "unknown key 'cmss'",
    b'{"id":7,"do":"ledger","where":1}': "where: 1: a table is needed",
}


def test_wrong_requests_are_answered_with_what_is_wrong(bank: BankProcess) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(bank.folder / "control.sock"))
        client.sendall(b"".join(line + b"\n" for line in WRONG))
        with client.makefile("rb") as answers:
            for line, said in WRONG.items():
                answer = json.loads(answers.readline())
                assert answer["ok"] is False
                assert said in answer["error"]
                assert answer["id"] == (7 if b'"id"' in line else None)


def test_client_raises_what_the_bank_refused(bank: BankProcess) -> None:
    with pytest.raises(ControlError, match="no modem 'modem99'"):
        bank.control.reboot("modem99")


# ---------------------------------------------------------------- start and end


def test_ledger_is_shown_as_json_and_as_text(online: BankProcess) -> None:
    with opened(online) as port:
        send(port)
    command = [sys.executable, "-m", "simulator", "ledger", str(online.folder)]
    shown = subprocess.run(
        [*command, "--json", "--kind", "submit"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert [json.loads(line) for line in shown.stdout.splitlines()] == online.ledger(kind="submit")
    plain = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert "+491712345678  taken  hello world" in plain.stdout


def test_stop_request_ends_the_process_and_cleans_up(tmp_path: Path) -> None:
    folder = tmp_path / "bank"
    with BankProcess(folder, "--modems", "1") as bank:
        assert bank.ready_line == f"ready 1 modems in {folder}\n"
        assert (folder / "ready").exists()
        with BankControl(folder / "control.sock") as control:
            control.stop()
        wait_until(lambda: not (folder / "ready").exists(), what="not ready any more")
    assert list((folder / "ports").iterdir()) == []
    assert not (folder / "control.sock").exists()


def test_folder_of_a_killed_bank_is_served_again(tmp_path: Path) -> None:
    folder = tmp_path / "bank"
    command = [sys.executable, "-m", "simulator", "--modems", "1", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline().startswith("ready")
        killed.kill()
    flags = ("--modems", "1", "--persona", "generic", *FAST)
    with BankProcess(folder, *flags) as bank, opened(bank) as port:
        assert ask(port, "AT").endswith(b"OK\r\n")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--persona", "nokia"), "no persona 'nokia'"),
        (("--modems", "0"), "modems: 0: not below 1"),
        (("--scenario", "missing.toml"), "missing.toml"),
    ],
)
def test_wrong_flags_end_with_one_line(tmp_path: Path, flags: tuple[str, str], said: str) -> None:
    command = [sys.executable, "-m", "simulator", "--dir", str(tmp_path), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


# ---------------------------------------------------------------- speed


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def submit_all(bank: BankProcess, modems: int, each: int) -> None:
    """A raw epoll client: as little as possible of its own in the figure."""
    ports = sorted((bank.folder / "ports").iterdir())[:modems]
    with contextlib.ExitStack() as stack, select.epoll() as poll:
        heard: dict[int, bytes] = {}
        left: dict[int, int] = {}
        for port in ports:
            fd = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            stack.callback(os.close, fd)
            poll.register(fd, select.EPOLLIN)
            heard[fd], left[fd] = b"", each
            os.write(fd, b"ATE0;+CMGF=0\r")
        while any(left.values()):
            ready = poll.poll(10)
            assert ready, "the bank stands still"
            for fd, _ in ready:
                heard[fd] += os.read(fd, 65536)
                if heard[fd].endswith(b"\r\n> "):
                    heard[fd] = b""
                    os.write(fd, HELLO.encode() + b"\x1a")
                elif heard[fd].endswith(b"OK\r\n"):
                    left[fd] -= b"+CMGS:" in heard[fd]
                    heard[fd] = b""
                    if left[fd]:
                        os.write(fd, b"AT+CMGS=24\r")


def test_the_bank_is_cheap_and_still_when_idle(tmp_path: Path) -> None:
    flags = ("--modems", "64", "--persona", "generic", *FAST)
    with BankProcess(tmp_path / "bank", *flags) as bank:
        wait_until(
            lambda: all(modem["registration"] == 1 for modem in bank.control.state()),
            what="registered",
        )
        before = cpu_seconds(bank.pid)
        submit_all(bank, 64, 10)
        assert len(bank.ledger(kind="submit")) == 640
        # CPU, not wall time: other tests share the machine. 600 a second = 1.67 ms each.
        assert (cpu_seconds(bank.pid) - before) / 640 < 1 / 600
        idle_from = cpu_seconds(bank.pid)
        with pytest.raises(AssertionError, match="not within"):
            wait_until(lambda: False, what="nothing", seconds=2.0)
        assert cpu_seconds(bank.pid) - idle_from <= 0.02


@pytest.mark.long
def test_512_modems_start_within_five_seconds(tmp_path: Path) -> None:
    started = time.monotonic()
    with BankProcess(tmp_path / "bank", "--modems", "512") as bank:
        assert time.monotonic() - started < 5
        assert len(list((bank.folder / "ports").iterdir())) == 512
