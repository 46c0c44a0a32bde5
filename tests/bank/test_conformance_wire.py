"""The conformance suite on the wire: what it types, what it survives, what flags allow."""

import os
import re
import select
import socket
import subprocess
import sys
import threading
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import serial

from simulator import persona
from simulator.conformance import checks, persona_draft, suite
from simulator.conformance.check import Bench, Check, Finding, Verdict, Wishes
from simulator.conformance.checks.messages import to_pdu_mode
from simulator.conformance.guard import Permit
from simulator.conformance.port import Port, PortError, open_port
from simulator.conformance.suite import NoModem, Outcome, Report
from simulator.faults import Fault, FaultKind
from tests.support.simulated import BankProcess, wait_until

PIN = "1234"


def examine(
    port: str,
    *permits: Permit,
    wishes: Wishes | None = None,
    patience: float = 0.4,
    only: Sequence[Check] = checks.ALL,
) -> Report:
    return suite.run(
        lambda: open_port(port),
        wishes=wishes or Wishes(listen_seconds=0.0),
        permits=frozenset(permits),
        patience=patience,
        chosen=only,
    )


def picked(*names: str) -> list[Check]:
    return [check for check in checks.ALL if check.name in names]


def of_fields(*fields: str) -> list[Check]:
    return [check for check in checks.ALL if check.name.partition(".")[0] in fields]


# What the checks of messages rest on.
READY = ("card.state", "network.registration", "sms.pdu_mode")


def findings(report: Report) -> dict[str, Finding]:
    return {result.check.name: result.finding for result in report.results}


@contextmanager
def serving(folder: Path, *flags: str, modems: int = 1, persona: str = "generic") -> Iterator:
    given = ("--modems", str(modems), "--persona", persona, "--pin", PIN, *flags)
    if "--pin-lock" not in flags:
        given += ("--pin-lock", "off")
    if "--latency" not in flags:
        given += ("--latency", "0", "--report-delay", "0.1")
    with BankProcess(folder, *given) as bank:
        wait_until(
            lambda: (
                "on" in flags or all(modem["registration"] == 1 for modem in bank.control.state())
            ),
            what="registered",
        )
        yield bank


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BankProcess]:
    folder = tmp_path_factory.mktemp("shared") / "bank"
    with serving(folder, modems=2, persona="generic,huawei") as bank:
        yield bank


@pytest.fixture
def bank(shared: BankProcess) -> Iterator[BankProcess]:
    yield shared
    shared.control.clear_faults()


def ask(port: str, *lines: str) -> str:
    with serial.Serial(port, timeout=5, exclusive=True) as line:
        said = b""
        for text in lines:
            line.write(text.encode() + b"\r")
            said = line.read_until(b"OK\r\n")
            assert said.endswith(b"OK\r\n"), said
    return said.decode()


# ---------------------------------------------------------------- what is typed


class Tap:
    """A TCP line to a modem in between which all that the client types is written down."""

    def __init__(self, address: str) -> None:
        host, _, port = address.strip().rpartition(":")
        self._far = socket.create_connection((host, int(port)))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self._listening.getsockname()[1]}"
        self.typed = b""
        self._thread = threading.Thread(target=self._relay)
        self._thread.start()

    def _relay(self) -> None:
        near, _ = self._listening.accept()
        with near, self._far, self._listening:
            while True:
                for end in select.select([near, self._far], [], [], 30)[0]:
                    data = end.recv(65536)
                    if not data:
                        return
                    if end is near:
                        self.typed += data
                        self._far.sendall(data)
                    else:
                        near.sendall(data)

    def close(self) -> None:
        self._thread.join(10)


def test_over_the_wire_goes_exactly_what_the_guard_saw_and_nothing_is_sent(
    tmp_path: Path,
) -> None:
    with serving(tmp_path / "bank", "--transport", "tcp") as bank:
        with closing(Tap((tmp_path / "bank/ports/modem01.tcp").read_text())) as tap:
            report = examine(tap.address, patience=0.2)
        assert report.outcome is Outcome.USABLE
        assert tap.typed == b"".join(report.typed)
        assert tap.typed.count(b"\x1a") == 1
        before, _, _ = tap.typed.partition(b"\x1a")
        assert b"+CMGS=" not in before
        assert not re.search(rb"\+CPIN=|\+CPWD|\+CMSS|\+CMGW|ATD|\+CUSD=1", tap.typed)
        assert not {line["kind"] for line in bank.ledger()} & {"submit", "refused", "call"}


def test_a_unix_socket_is_a_port_too(tmp_path: Path) -> None:
    with serving(tmp_path / "bank", "--transport", "unix") as bank:
        report = examine(f"unix:{bank.port()}", only=picked("line.at", "identity.imei"))
        assert report.outcome is Outcome.USABLE
        assert examine(bank.port(), only=picked("line.at")).outcome is Outcome.USABLE


@pytest.mark.parametrize(("mode", "form"), [(0, 0), (1, 1), (2, 2)])
def test_settings_are_left_as_they_were_found(bank: BankProcess, mode: int, form: int) -> None:
    port = bank.port()
    wanted = [
        "ATE0", "AT+CMEE=2", "AT+CMGF=1", 'AT+CSCS="UCS2"', 'AT+CPMS="ME","SM","MT"',
        "AT+CNMI=2,1,0,1,0", f"AT+CREG={mode}", f"AT+COPS=3,{form}", "AT+CSMS=1",
    ]  # fmt: skip
    ask(port, *wanted)
    questions = ["+CMEE", "+CMGF", "+CSCS", "+CPMS", "+CNMI", "+CREG", "+COPS", "+CSMS"]
    before = [ask(port, f"AT{name}?") for name in questions]
    report = examine(port, only=of_fields("line", "errors", "card", "network", "sms"))
    assert report.not_restored == ()
    assert [ask(port, f"AT{name}?") for name in questions] == before
    ask(port, "AT&F", "ATE1")


@pytest.mark.parametrize("moment", ["sms.routes_taken", "sms.prompt"])
def test_settings_are_put_back_where_a_person_breaks_the_run_off(
    bank: BankProcess, moment: str
) -> None:
    port = bank.port()
    ask(port, "ATE1", "AT+CMEE=2", "AT+CMGF=1", "AT+CNMI=2,1,0,1,0", "AT+CREG=2")
    questions = ["+CMEE", "+CMGF", "+CNMI", "+CREG", "+CSMS"]
    before = [ask(port, f"AT{name}?") for name in questions]

    def interrupt(under_test: Bench) -> Finding:
        # In the midst of things: the values are changed, or a prompt is up.
        under_test.settings.keep("+CNMI")
        under_test.client.ask("AT+CMEE=0")
        under_test.client.ask("AT+CMGS=20" if moment == "sms.prompt" else "AT+CNMI=1,1,0,0,0")
        raise KeyboardInterrupt

    chosen = [
        replace(check, run=interrupt) if check.name == moment else check
        for check in of_fields("line", "card", "network", "sms")
    ]
    with pytest.raises(KeyboardInterrupt):
        examine(port, only=chosen)
    assert [ask(port, f"AT{name}?") for name in questions] == before
    assert bank.ledger(kind="submit") == []
    ask(port, "AT&F")


def test_a_value_that_cannot_be_put_back_is_not_changed(tmp_path: Path) -> None:
    text = 'name="x"\nvendor="x"\nmanufacturer="x"\nmodel="x"\nrevision="x"\ntac="35600001"\n'
    text += 'identification=["x"]\n[answers]\n"+CNMI?" = ["+CNMI: 0,0,0,0,0"]\n'
    text += '"+CSCS?" = ["+CSCS: \\"NONE\\""]\n'
    (tmp_path / "odd.toml").write_text(text)
    with serving(tmp_path / "bank", persona=str(tmp_path / "odd.toml")) as bank:
        found = examine(bank.port(), only=picked("card.state", "sms.charsets"))
        # What it is asked to put back reads as it was: nothing to tell.
        assert found.not_restored == ()
        (tmp_path / "odd.toml").unlink()
    broken = text.replace('"+CSCS?" = ["+CSCS: \\"NONE\\""]', "")
    broken += '[errors]\n"+CSCS?" = "ERROR"\n'
    (tmp_path / "mute.toml").write_text(broken)
    with serving(tmp_path / "bank2", persona=str(tmp_path / "mute.toml")) as bank:
        found = examine(bank.port(), only=picked("card.state", "sms.charsets"))
        assert found.not_restored == ()
        assert not any(b"+CSCS=" in line.replace(b"=?", b"") for line in found.typed)


class Garbled:
    """A port that changes what comes for one command, and notes what goes out."""

    def __init__(self, port: Port, command: bytes, change: Callable[[bytes], bytes]) -> None:
        self._port, self._command, self._change = port, command, change
        self._is_it = False

    def write(self, data: bytes) -> None:
        self._is_it = data == self._command + b"\r"
        self._port.write(data)

    def read(self, limit: float) -> bytes:
        data = self._port.read(limit)
        return self._change(data) if self._is_it and data else data

    def close(self) -> None:
        self._port.close()


@pytest.mark.parametrize(("command", "name", "before", "after"), [
    (b"AT+CSCS?", "+CSCS", b': "', b': ""'), (b"AT+CSCS?", "+CSCS", b'"', b""),
    (b"AT+CSCS=?", "+CSCS", b"UCS2", b"UC\x80S2"), (b"AT+CSMS?", "+CSMS", b"+CSMS", b"+QQQ"),
    (b"AT+CNMI?", "+CNMI", b"\r\n\r\nOK", b"^RSSI:18\r\n\r\nOK"),
    (b"AT+CREG?", "+CREG", b"+CREG", b"+CREG: 9"),
])  # fmt: skip
def test_an_odd_answer_ends_no_run_and_leaves_nothing_changed(
    bank: BankProcess, command: bytes, name: str, before: bytes, after: bytes
) -> None:
    port = bank.port()
    ask(port, "ATE1", "AT&F")
    found = ask(port, f"AT{name}?")
    report = suite.run(
        lambda: Garbled(open_port(port), command, lambda data: data.replace(before, after)),
        wishes=Wishes(listen_seconds=0.0),
        patience=0.4,
        chosen=of_fields("card", "network", "sms"),
    )
    assert report.broke_off == ""
    assert report.not_restored == ()
    assert ask(port, f"AT{name}?") == found


def test_a_check_that_breaks_down_is_one_finding_and_the_rest_goes_on(bank: BankProcess) -> None:
    port = bank.port()
    ask(port, "ATE1", "AT&F", "AT+CMGF=1")

    def stumble(under_test: Bench) -> Finding:
        to_pdu_mode(under_test)
        assert under_test.client.ask("AT+CMGS=20").prompt
        raise ValueError

    chosen = [
        replace(check, run=stumble) if check.name == "sms.pdu_mode" else check
        for check in picked(*READY, "sms.centre")
    ]
    report = examine(port, only=chosen)
    assert findings(report)["sms.pdu_mode"].verdict is Verdict.NOT_TRIED
    assert "ValueError" in findings(report)["sms.pdu_mode"].says
    assert findings(report)["sms.centre"].verdict is Verdict.CAN
    assert report.not_restored == ()
    assert "+CMGF: 1" in ask(port, "AT+CMGF?")
    ask(port, "AT&F")


def test_unread_messages_stay_unread(tmp_path: Path) -> None:
    with serving(tmp_path / "bank", persona="huawei") as bank:
        for text in ("one", "two"):
            bank.control.inject_sms("modem01", text, origin="10086")
        wait_until(lambda: len(bank.ledger(kind="deliver")) == 2, what="delivered")
        report = examine(
            bank.port(), Permit.WRITE, only=of_fields("card", "network", "sms", "acts")
        )
        assert report.outcome is Outcome.USABLE
        assert ask(bank.port(), "ATE0", "AT+CMGF=0", "AT+CMGL=0").count("+CMGL: ") == 2


# ---------------------------------------------------------------- how the line was left


def test_a_forgotten_prompt_is_left_without_sending(bank: BankProcess) -> None:
    with serial.Serial(bank.port(), timeout=5) as line:
        line.write(b"ATE1\r")
        line.read_until(b"OK\r\n")
        line.write(b"AT+CMGF=0\rAT+CMGS=20\r")
        assert line.read_until(b"> ").endswith(b"> ")
    report = examine(bank.port(), only=picked("line.at", "identity.imei"))
    assert report.outcome is Outcome.USABLE
    assert bank.ledger(kind="submit") == []


@pytest.mark.parametrize("left", ["ATV0", "ATQ1"])
def test_a_line_left_numeric_or_quiet_is_understood(bank: BankProcess, left: str) -> None:
    with serial.Serial(bank.port(), timeout=0.5) as line:
        line.write(left.encode() + b"\r")
        line.read(20)
    report = examine(bank.port(), patience=0.1, only=picked("line.at", "identity.model"))
    assert findings(report)["identity.model"].says == "GM100"
    with serial.Serial(bank.port(), timeout=0.5) as line:
        line.write(b"AT\r")
        assert line.read(20).endswith(b"0\r" if left == "ATV0" else b"OK\r\n")
        line.write(b"ATQ0V1\r")
        line.read(20)
    # A modem that says nothing looks dead to the next client: that is not put back, but told.
    assert [name.split()[0] for name in report.not_restored] == ["results"] * (left == "ATQ1")


# ---------------------------------------------------------------- ports without a modem


def test_a_mute_port_is_no_modem_and_says_what_to_do() -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    with pytest.raises(NoModem, match="no answer to AT") as caught:
        examine(os.ttyname(slave), patience=0.05)
    assert "AT port" in caught.value.cure
    os.close(slave)
    os.close(master)


def test_a_port_that_talks_of_satellites_is_known(tmp_path: Path) -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    os.write(master, b"$GPGGA,,,,,,0,,,,,,,,*66\r\n$GPRMC,,V,,,,,,,,,,N*53\r\n")
    with pytest.raises(NoModem) as caught:
        examine(os.ttyname(slave), patience=0.05)
    assert "NMEA" in caught.value.cure
    os.close(slave)
    os.close(master)


def test_a_port_that_another_program_holds_is_left_alone(bank: BankProcess) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys; f = open(sys.argv[1], 'rb+', 0); print(1, flush=True);"
         " sys.stdin.read()", bank.port()],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"1\n"
        with pytest.raises(PortError, match=rf"held by .*pid {holder.pid}"):
            examine(bank.port())
    finally:
        holder.communicate()
    assert examine(bank.port(), only=picked("line.at")).outcome is Outcome.USABLE


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("/dev/no-such-port", "no such port"),
        ("/etc/hostname", "no terminal"),
        ("/dev/null", "no serial line"),
        ("tcp://127.0.0.1:1", "refused"),
        ("tcp://nowhere", "host:port"),
        ("unix:/no/such/socket", "No such file"),
    ],
)
def test_what_is_no_port_is_told(address: str, problem: str) -> None:
    with pytest.raises(PortError, match=problem):
        examine(address)


def test_a_port_without_permission_names_the_group(
    monkeypatch: pytest.MonkeyPatch, bank: BankProcess
) -> None:
    def denied(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(PortError, match="not permitted") as caught:
        open_port(bank.port())
    assert "usermod -aG" in caught.value.cure


# ---------------------------------------------------------------- modems that misbehave


def test_a_late_answer_is_not_taken_for_the_next_one(bank: BankProcess) -> None:
    bank.control.set_fault(
        "modem01", Fault(kind=FaultKind.SLOW_ANSWER, count=1, on="+CGMM", seconds=1.5)
    )
    report = examine(
        bank.port(),
        patience=0.2,
        only=picked("identity.manufacturer", "identity.model", "identity.revision"),
    )
    found = findings(report)
    assert found["identity.manufacturer"].says == "Generic"
    # Without +CGMM's answer the model is what +GMM says, and nothing else.
    assert found["identity.model"].says.startswith(("GM100", "neither"))
    assert found["identity.revision"].says == "GM100 1.04"


def test_a_mute_moment_costs_one_check_and_no_other(bank: BankProcess) -> None:
    bank.control.set_fault("modem01", Fault(kind=FaultKind.SILENCE, count=1, on="+CLAC"))
    report = examine(bank.port(), patience=0.2, only=of_fields("identity", "network"))
    found = findings(report)
    assert found["identity.commands"].says == "+CLAC: nothing"
    assert report.outcome is Outcome.USABLE
    assert not report.broke_off


UNDISTURBED = picked(
    *READY, "errors.levels", "identity.manufacturer", "identity.model", "identity.revision",
    "identity.block", "identity.imei", "card.tries", "card.iccid", "card.imsi", "card.number",
    "network.signal", "network.cell", "network.operator", "sms.charsets", "sms.storages",
    "sms.centre", "sms.length", "sms.prompt", "sms.service", "sms.routes",
)  # fmt: skip


@pytest.fixture(scope="module")
def clean(shared: BankProcess) -> dict[str, Finding]:
    return findings(examine(shared.port(), only=UNDISTURBED))


@pytest.mark.parametrize(
    "kind",
    [
        FaultKind.URC_IN_ANSWER,
        FaultKind.GARBAGE,
        FaultKind.SPLIT_WRITES,
        FaultKind.SLOW_OUTPUT,
        FaultKind.URC_FLOOD,
    ],
)
def test_noise_changes_no_verdict_but_that_on_noise(
    bank: BankProcess, clean: dict[str, Finding], kind: FaultKind
) -> None:
    bank.control.set_fault("modem01", Fault(kind=kind, count=None, seconds=0.01))
    noisy = findings(examine(bank.port(), only=UNDISTURBED, patience=0.6))
    changed = {
        name: (clean[name], noisy[name])
        for name in clean
        if clean[name].verdict is not noisy[name].verdict
    }
    assert changed == {}


def test_noise_is_heard_and_counted(bank: BankProcess) -> None:
    bank.control.set_fault("modem01", Fault(kind=FaultKind.URC_FLOOD, count=None, seconds=0.05))
    report = examine(bank.port(), wishes=Wishes(listen_seconds=0.5), only=picked("noise.lines"))
    assert findings(report)["noise.lines"].verdict is Verdict.ODD
    drafted = persona.parse(persona_draft.text(report))
    assert drafted.noise == report.seen.noise != ()
    assert 0.0 <= drafted.noise_seconds < 1.0


@pytest.mark.parametrize(
    ("kind", "verdict", "says"),
    [
        (FaultKind.NO_PROMPT, Verdict.CANNOT, "neither a prompt nor a refusal"),
        (FaultKind.BARE_PROMPT, Verdict.ODD, "“␍␊>”"),
        (FaultKind.PROMPT_WITHOUT_CRLF, Verdict.ODD, "“> ”"),
        (FaultKind.URC_AT_PROMPT, Verdict.ODD, "a line comes between prompt and text"),
    ],
)
def test_prompts_are_seen_to_the_octet_and_left(
    bank: BankProcess, kind: FaultKind, verdict: Verdict, says: str
) -> None:
    bank.control.set_fault("modem01", Fault(kind=kind, count=1))
    report = examine(
        bank.port(), patience=0.2, only=picked(*READY, "sms.prompt", "sms.acknowledge")
    )
    found = findings(report)
    assert found["sms.prompt"].verdict is verdict
    assert says in found["sms.prompt"].says
    assert found["sms.acknowledge"].verdict is Verdict.CAN
    assert bank.ledger(kind="submit") == []


def test_a_modem_that_dies_at_the_prompt_ends_the_run(tmp_path: Path) -> None:
    with serving(tmp_path / "bank") as bank:
        bank.control.set_fault("modem01", Fault(kind=FaultKind.HANG_AT_PROMPT))
        only = picked(*READY, "sms.prompt", "sms.acknowledge")
        report = examine(bank.port(), patience=0.1, only=only)
        assert report.outcome is Outcome.MUTE
        assert report.broke_off == "it answers nothing any more"
        assert findings(report)["sms.acknowledge"].says == "the modem fell silent"
        assert b"\x1a" not in b"".join(report.typed[-20:])
        assert [name.split()[0] for name in report.not_restored] == ["+CMGF", "+CMEE"]
        assert bank.ledger(kind="submit") == []


def test_a_port_that_vanishes_ends_the_run(tmp_path: Path) -> None:
    with serving(tmp_path / "bank") as bank:
        bank.control.set_fault("modem01", Fault(kind=FaultKind.PORT_GONE, on="+CGMM", seconds=60.0))
        report = examine(bank.port(), patience=0.2, only=of_fields("identity"))
        assert report.outcome is Outcome.MUTE
        assert "vanished" in report.broke_off
        assert findings(report)["identity.manufacturer"].verdict is Verdict.CAN
        assert findings(report)["identity.imei"].verdict is Verdict.NOT_TRIED


# ---------------------------------------------------------------- what flags allow


CARD = of_fields("card", "network")


def entering(pin: str, *, is_forced: bool = False) -> Wishes:
    return Wishes(pin=pin, is_forced=is_forced, listen_seconds=0.0)


def tries(bank: BankProcess, modem: int = 0) -> object:
    card = bank.control.state()[modem]["card"]
    assert isinstance(card, dict)
    return card["pin_tries"]


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[BankProcess]:
    with serving(tmp_path / "bank", "--pin-lock", "on") as bank:
        yield bank


def test_the_right_pin_opens_the_rest(locked: BankProcess) -> None:
    report = examine(locked.port(), Permit.PIN, only=CARD, wishes=entering(PIN))
    assert report.outcome is Outcome.USABLE
    assert report.not_restored == ()
    assert findings(report)["card.pin"].verdict is Verdict.CAN
    assert PIN.encode() not in b"".join(reply.raw for reply in report.replies)
    assert not any(PIN in reply.command for reply in report.replies)


def test_a_wrong_pin_is_tried_once_then_only_with_force_then_never(locked: BankProcess) -> None:
    first = examine(locked.port(), Permit.PIN, only=CARD, wishes=entering("9999"))
    assert tries(locked) == 2
    assert "+CME ERROR: 16" in findings(first)["card.pin"].says
    careful = examine(locked.port(), Permit.PIN, only=CARD, wishes=entering(PIN))
    assert tries(locked) == 2
    assert "not tried: 2 left" in findings(careful)["card.pin"].says
    examine(locked.port(), Permit.PIN, only=CARD, wishes=entering("9999", is_forced=True))
    assert tries(locked) == 1
    never = examine(locked.port(), Permit.PIN, only=CARD, wishes=entering(PIN, is_forced=True))
    assert tries(locked) == 1
    assert "not tried: 1 left" in findings(never)["card.pin"].says
    typed = [data for run in (careful, never) for data in run.typed]
    assert not any(b"+CPIN=" in data for data in typed)


def test_no_pin_is_tried_where_the_tries_are_unknown(tmp_path: Path) -> None:
    text = 'name="x"\nvendor="x"\nmanufacturer="x"\nmodel="x"\nrevision="x"\ntac="35600001"\n'
    text += 'identification=["x"]\n[errors]\n"+CSIM=" = "ERROR"\n'
    (tmp_path / "secretive.toml").write_text(text)
    persona = str(tmp_path / "secretive.toml")
    with serving(tmp_path / "bank", "--pin-lock", "on", persona=persona) as bank:
        report = examine(bank.port(), Permit.PIN, only=CARD, wishes=entering(PIN, is_forced=True))
        assert "nobody knows" in findings(report)["card.pin"].says
        assert tries(bank) == 3
        assert not any(b"+CPIN=" in data for data in report.typed)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ('"+CPINR" = ["+CPINR: SIM PIN,10,10"]', "10 is no PIN's counter"),
        ('"+UPINCNT" = ["+UPINCNT: 1,3,10,10"]', "1 left"),
    ],
)
def test_the_most_cautious_counter_is_believed(tmp_path: Path, answer: str, reason: str) -> None:
    text = 'name="x"\nvendor="generic"\nmanufacturer="x"\nmodel="x"\nrevision="x"\n'
    text += f'tac="35600001"\nidentification=["x"]\n[answers]\n{answer}\n'
    text += '[errors]\n"+CSIM=" = "ERROR"\n'
    (tmp_path / "odd.toml").write_text(text)
    persona = str(tmp_path / "odd.toml")
    with serving(tmp_path / "bank", "--pin-lock", "on", persona=persona) as bank:
        report = examine(bank.port(), Permit.PIN, only=CARD, wishes=entering(PIN, is_forced=True))
        assert reason in findings(report)["card.pin"].says
        assert tries(bank) == 3


def sending(**more: object) -> Wishes:
    return Wishes(number="+8613900000001", text="one only", listen_seconds=0.0, **more)


def test_one_sms_is_sent_and_its_report_comes(tmp_path: Path) -> None:
    with serving(tmp_path / "bank") as bank:
        only = picked(*READY, "sms.routes_taken", "acts.send", "acts.send_han")
        report = examine(bank.port(), Permit.SEND, wishes=sending(), only=only)
        assert findings(report)["acts.send"].verdict is Verdict.CAN
        assert "its report" in findings(report)["acts.send"].says
        sent = bank.ledger(kind="submit")
        assert [(line["destination"], line["text"]) for line in sent] == [
            ("+8613900000001", "one only")
        ]
        assert report.not_restored == ()


def test_a_second_one_is_sent_in_chinese_with_the_flag(tmp_path: Path) -> None:
    with serving(tmp_path / "bank") as bank:
        only = picked(*READY, "sms.routes_taken", "acts.send", "acts.send_han")
        report = examine(bank.port(), Permit.SEND, wishes=sending(is_ucs2=True), only=only)
        assert findings(report)["acts.send_han"].verdict is Verdict.CAN
        assert [line["text"] for line in bank.ledger(kind="submit")] == [
            "one only",
            "测试 one only",
        ]


@pytest.mark.parametrize("kind", [FaultKind.LOST_ANSWER, FaultKind.HANG])
def test_a_lost_answer_is_in_doubt_and_not_sent_again(tmp_path: Path, kind: FaultKind) -> None:
    with serving(tmp_path / "bank") as bank:
        bank.control.set_fault("modem01", Fault(kind=kind))
        only = picked(*READY, "acts.send")
        report = examine(bank.port(), Permit.SEND, wishes=sending(), patience=0.01, only=only)
        told = findings(report)["acts.send"].says
        assert "may have been sent" in told or "broken off" in told
        assert len(bank.ledger(kind="submit")) == (kind is FaultKind.LOST_ANSWER)
        assert report.outcome is not Outcome.USABLE


@pytest.mark.parametrize("persona", ["generic", "huawei"])
def test_a_ussd_code_is_asked_in_the_modems_own_form(tmp_path: Path, persona: str) -> None:
    with serving(tmp_path / "bank", persona=persona) as bank:
        only = picked("identity.manufacturer", *READY, "acts.ussd")
        report = examine(
            bank.port(), Permit.USSD, wishes=Wishes(ussd="*100#", listen_seconds=0.0), only=only
        )
        found = findings(report)["acts.ussd"]
        assert found.verdict is Verdict.CAN, found
        form = "packed" if persona == "huawei" else "plain"
        assert f"asked in {form} form" in found.says


@pytest.mark.parametrize("persona", ["generic", "quectel"])
def test_a_restart_is_waited_for_and_its_lines_are_kept(tmp_path: Path, persona: str) -> None:
    with serving(tmp_path / "bank", persona=persona) as bank:
        report = examine(
            bank.port(), Permit.REBOOT, only=picked("line.at", "acts.restart"), patience=0.25
        )
        assert findings(report)["acts.restart"].verdict is Verdict.CAN
        assert report.seen.boot_seconds is not None
        assert ("+QIND: PB DONE" in report.seen.boot_lines) is (persona == "quectel")
        assert report.seen.is_echoing is True
