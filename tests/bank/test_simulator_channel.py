"""The control socket: large and endless requests, clients that are slow or die, followers."""

import contextlib
import inspect
import json
import resource
import socket
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from simulator.control.client import BankControl, ControlError
from simulator.control.server import MAX_REQUEST
from simulator.control.verbs import VERBS, Source
from simulator.faults import Fault, FaultKind
from tests.support.simulated import BankProcess, wait_until

FLAGS = ("--modems", "3", "--persona", "generic", "--pin-lock", "off", "--latency", "0")


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[BankProcess]:
    with BankProcess(tmp_path / "bank", *FLAGS) as bank:
        wait_until(
            lambda: all(one["registration"] == 1 for one in bank.control.state()),
            what="registered",
        )
        yield bank


@contextlib.contextmanager
def link(bank: BankProcess) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(bank.folder / "control.sock"))
        yield client


def is_well(bank: BankProcess) -> bool:
    return len(bank.control.state()) == 3


def fill(bank: BankProcess, count: int) -> None:
    """Write so many lines into the ledger; nobody reads the cards, so they are deleted."""
    for n in range(count):
        bank.control.inject_sms("modem01", f"message {n}", origin="10086")
        if n % 20 == 19:
            bank.control.type("modem01", "AT+CMGD=1,4")


def test_requests_may_come_in_any_pieces_and_many_at_once(bank: BankProcess) -> None:
    lines = b"".join(b'{"id":%d,"do":"state","modem":1}\n' % n for n in range(50))
    with link(bank) as client, client.makefile("rb") as answers:
        for at in range(0, len(lines), 7):
            client.sendall(lines[at : at + 7])
        assert [json.loads(answers.readline())["id"] for _ in range(50)] == list(range(50))


def test_large_request_is_carried_out(bank: BankProcess) -> None:
    text = "x" * 30_000  # 197 segments
    bank.control.type("modem01", "AT+CMGD=1,4")
    answer = bank.control.request("inject_sms", {"to": "modem01", "text": text})
    assert answer["segments"] == 197
    with pytest.raises(ControlError, match="255 segments"):
        bank.control.request("inject_sms", {"to": "modem01", "text": "x" * 1_000_000})
    padded = {"to": "modem01", "text": "y", "from": "1" * 5_000_000}
    with pytest.raises(ControlError):
        bank.control.request("inject_sms", padded)
    assert is_well(bank)


def test_request_without_end_is_cut_off(bank: BankProcess) -> None:
    with link(bank) as client, client.makefile("rb") as answers:
        block = b"x" * 65536
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(MAX_REQUEST // len(block) + 2):
                client.sendall(block)
        try:
            said = answers.readline()
        except ConnectionResetError:
            said = b""
        assert said == b"" or b"a request has at most" in said
    assert is_well(bank)


def test_large_answers_come_whole(bank: BankProcess) -> None:
    fill(bank, 400)
    lines = bank.control.ledger(kind="deliver")
    assert [line["text"] for line in lines] == [f"message {n}" for n in range(400)]
    raw = bank.control.request("ledger", {"where": {"kind": "deliver"}})
    assert raw["lines"] == lines


def test_client_that_reads_nothing_does_not_fill_the_bank(bank: BankProcess) -> None:
    fill(bank, 100)
    request = b'{"id":1,"do":"ledger"}\n' * 200
    before = memory(bank.pid)
    with link(bank) as client:
        client.settimeout(2)
        sent = 0
        with contextlib.suppress(TimeoutError):
            for _ in range(100):
                client.sendall(request)
                sent += 200
        # Each answer has some 30 kB: all of them would be hundreds of megabytes.
        assert sent >= 200
        assert is_well(bank)
        assert memory(bank.pid) - before < 60_000_000
    assert is_well(bank)


def memory(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def test_client_that_dies_with_answers_under_way_is_forgotten(bank: BankProcess) -> None:
    fill(bank, 60)
    for _ in range(20):
        with link(bank) as client:
            client.sendall(b'{"id":1,"do":"ledger"}\n' * 20 + b'{"id":2,"do":"follow"}\n')
            client.recv(10)
    with link(bank) as client:
        client.sendall(b'{"id":1,"do":"sta')
    assert is_well(bank)
    bank.control.inject_sms("modem02", "after", origin="10086")
    assert bank.control.ledger(kind="deliver", text="after")


def test_follower_gets_old_and_new_lines_once_and_in_order(bank: BankProcess) -> None:
    fill(bank, 30)
    heard: list[str] = []
    with BankControl(bank.folder / "control.sock") as other:

        def follow() -> None:
            for line in other.follow({"kind": "deliver"}):
                heard.append(str(line["text"]))
                if line["text"] == "message 29" and len(heard) > 30:
                    return

        thread = threading.Thread(target=follow)
        thread.start()
        fill(bank, 30)
        thread.join(20)
        assert not thread.is_alive()
    assert heard == [f"message {n}" for n in range(30)] * 2


def test_follower_of_new_lines_sees_no_old_ones(bank: BankProcess) -> None:
    fill(bank, 5)
    with BankControl(bank.folder / "control.sock") as other:
        lines = other.follow({"kind": "deliver"}, new=True)
        first: list[object] = []
        thread = threading.Thread(target=lambda: first.append(next(lines)["text"]))
        thread.start()
        # It may not have asked yet: what came before it did is old.
        wait_until(lambda: _sent(bank, first), what="a new line is heard")
        thread.join(20)
    assert first == ["new"]


def _sent(bank: BankProcess, heard: list[object]) -> bool:
    bank.control.inject_sms("modem02", "new", origin="10086")
    bank.control.type("modem02", "AT+CMGD=1,4")
    return bool(heard)


def test_slow_follower_loses_nothing_and_costs_nobody(bank: BankProcess) -> None:
    with link(bank) as client, client.makefile("rb") as answers:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.sendall(b'{"id":"f","do":"follow","where":{"kind":"deliver"}}\n')
        fill(bank, 600)  # it reads nothing meanwhile
        assert json.loads(answers.readline()) == {"id": "f", "ok": True}
        texts = [json.loads(answers.readline())["line"]["text"] for _ in range(600)]
    assert texts == [f"message {n}" for n in range(600)]


def test_followers_may_ask_other_things_on_the_same_connection(bank: BankProcess) -> None:
    with link(bank) as client, client.makefile("rb") as answers:
        client.sendall(b'{"id":1,"do":"follow","where":{"kind":"call"}}\n')
        client.sendall(b'{"id":2,"do":"inject_call","modem":1,"rings":1,"ring_seconds":0.1}\n')
        got = [json.loads(answers.readline()) for _ in range(3)]
    assert {"id": 1, "ok": True} in got
    assert {"id": 2, "ok": True, "modem": "modem01"} in got
    (line,) = [one["line"] for one in got if "line" in one]
    assert line["outcome"] == "missed"


def test_client_waits_for_a_line(bank: BankProcess) -> None:
    control = bank.control
    control.send_sms("modem01", "+8613800000002", "hello", report=True)
    line = control.wait_for(lambda one: one["text"] == "hello", where={"kind": "deliver"})
    assert line["modem"] == "modem02"
    control.timeout = 0.5
    with pytest.raises(TimeoutError):
        control.wait_for(lambda one: False)
    with pytest.raises(ControlError, match="unknown key 'wher'; did you mean where"):
        control.request("follow", {"wher": {}})


def test_typed_client_does_every_verb(bank: BankProcess) -> None:
    control = bank.control
    control.set_fault("1-2", Fault(kind=FaultKind.SILENCE, count=None, rate=0.5))
    assert [one["faults"] for one in control.state()] == ["silence", "silence", ""]
    control.clear_faults("modem01", kind=FaultKind.SILENCE)
    assert [one["faults"] for one in control.state()] == ["", "silence", ""]
    control.clear_faults()
    name = control.traffic(Source.STRANGERS, per_minute=6000, modem="3", chinese=0.0)
    control.wait_for(lambda one: one["modem"] == "modem03", where={"kind": "deliver"})
    control.stop_traffic(name)
    assert "OK" in control.type("modem01", "AT")
    control.unplug_hub(1)
    assert not any(one["is_plugged"] for one in control.state())
    control.plug_hub(1)
    wait_until(lambda: all(one["is_on"] for one in control.state()), what="all are on")
    control.unplug("modem01", keeps_power=True)
    control.plug("modem01", renumbered=True)
    assert control.state("modem01")[0]["is_on"] is True


def test_typed_client_moves_the_network(bank: BankProcess) -> None:
    control = bank.control
    control.lose_coverage(modem="modem01")
    wait_until(lambda: control.state("modem01")[0]["registration"] == 2, what="it is lost")
    control.restore_coverage(modem="modem01")
    wait_until(lambda: control.state("modem01")[0]["registration"] == 1, what="it is back")
    control.set_signal(9, modem="modem02")
    assert "+CSQ: 9," in control.type("modem02", "AT+CSQ")
    control.set_signal(None, modem="modem02")
    control.cut_off("modem02", cms=28)
    control.send_sms("modem02", "+491712345678", "x")
    refused = control.wait_for(lambda _: True, where={"kind": "refused", "modem": "modem02"})
    assert refused["outcome"] == "cms:28"
    control.lift("modem02")
    control.set_balance("all", "3.50")
    control.push_ussd("modem03", "您的余额不足")
    told = control.wait_for(lambda _: True, where={"kind": "ussd", "modem": "modem03"})
    assert told["text"] == "您的余额不足"
    control.add_rule(destination="+49", cms=1)
    assert control.remove_rule(destination="+49", cms=1) is True
    assert control.remove_rule(destination="+49", cms=1) is False
    control.add_call_rule(outcome="busy")
    control.type("modem01", "ATD13911111111;")
    call = control.wait_for(lambda _: True, where={"kind": "call", "modem": "modem01"})
    assert call["outcome"] == "busy"
    control.clear_call_rules()
    control.set_carrier_latency("CHINA MOBILE", seconds=0.01)
    control.set_carrier_latency("CHINA MOBILE")
    with pytest.raises(ControlError, match="no carrier"):
        control.lose_coverage(carrier="O2")


def test_typed_client_knows_every_verb() -> None:
    source = inspect.getsource(BankControl)
    assert [verb for verb in VERBS if f'"{verb}"' not in source] == []


def test_client_of_a_bank_that_ended_says_so(tmp_path: Path) -> None:
    with (
        BankProcess(tmp_path / "bank", *FLAGS) as bank,
        BankControl(bank.folder / "control.sock") as control,
    ):
        control.stop()
        wait_until(lambda: _refusal(control) == "the bank is gone", what="it ended")


def _refusal(control: BankControl) -> str:
    try:
        control.state()
    except ControlError as error:
        return str(error).partition(":")[0]
    return ""


def test_bank_lives_faster_where_asked_and_clients_get_their_answers_sooner(
    tmp_path: Path,
) -> None:
    flags = ("--modems", "1", "--persona", "generic", "--pin-lock", "off", "--latency", "60",
             "--report-delay", "600", "--time-factor", "300")  # fmt: skip
    with BankProcess(tmp_path / "bank", *flags) as bank:
        control = bank.control
        wait_until(lambda: control.state()[0]["registration"] == 1, what="registered")
        control.send_sms("modem01", "+491712345678", "hello", report=True)
        taken = control.wait_for(lambda _: True, where={"kind": "submit"})
        report = control.wait_for(lambda _: True, where={"kind": "report"})
        moments = [datetime.fromisoformat(str(line["time"])) for line in (taken, report)]
        assert 600 <= (moments[1] - moments[0]).total_seconds() < 3000
