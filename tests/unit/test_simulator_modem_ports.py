"""A modem with several ports: two command channels, a diagnostic one, one that chatters."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from simulator import persona
from simulator.bank import Bank
from simulator.clock import VirtualClock
from simulator.commands import speech
from simulator.modem import Modem
from simulator.persona import PersonaError, PersonaPort, PortRole
from simulator.story import scenario
from simulator.story.scenario import Scenario
from tests.support.one_modem import HELLO, HELLO_LENGTH, OneModem, Terminal

PORTS = (
    PersonaPort(role=PortRole.DIAG, interface=0),
    PersonaPort(role=PortRole.NMEA, interface=1, chatter=("$GPRMC,,V,,,,,,,,,,N*53",)),
    PersonaPort(role=PortRole.AT, interface=2),
    PersonaPort(role=PortRole.MODEM, interface=3),
)


class FourPorts(OneModem):
    """`OneModem` whose modem has four ports, each with a terminal."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        model = replace(persona.load("generic"), ports=PORTS)
        card = self.card
        self.modem.insert(None)
        self.modem = Modem(
            name="four",
            persona=model,
            imei="356000010000007",
            world=self.world,
            speech=speech,
        )
        self.modem.insert(card)
        self.terminals = {port.role: Terminal() for port in PORTS}
        self.modem.ports.update(self.terminals)
        self.terminal = self.terminals[PortRole.AT]
        self.modem.switch_on()
        self.clock.advance(5)
        self.say("ATE0")

    def ask(self, role: PortRole, line: str) -> str:
        self.modem.receive(line.encode() + b"\r", role)
        return self.terminals[role].take()


def test_two_command_channels_answer_each_on_its_own(tmp_path: Path) -> None:
    bench = FourPorts(tmp_path)
    assert bench.ask(PortRole.MODEM, "AT+CGMM") == "AT+CGMM\r\r\nGM100\r\n\r\nOK\r\n"
    # Echo is a channel's own: off on the first, still on here.
    assert bench.say("AT+CGMM") == "GM100\r\n\r\nOK"
    assert bench.terminals[PortRole.MODEM].take() == ""


def test_unsolicited_lines_come_on_the_first_channel_only(tmp_path: Path) -> None:
    bench = FourPorts(tmp_path)
    bench.prepare()
    bench.network.send_text(to=bench.card, origin="+8613900000000", text="hi")
    assert bench.terminal.take() == '\r\n+CMTI: "SM",1\r\n'
    assert bench.terminals[PortRole.MODEM].take() == ""


def test_a_segment_may_leave_by_the_second_channel_while_the_first_one_is_used(
    tmp_path: Path,
) -> None:
    bench = FourPorts(tmp_path)
    bench.prepare()
    bench.ask(PortRole.MODEM, "ATE0")
    prompt = bench.ask(PortRole.MODEM, f"AT+CMGS={HELLO_LENGTH}")
    assert prompt == "\r\n> "
    bench.modem.receive(HELLO.encode() + b"\x1a", PortRole.MODEM)
    assert bench.say("AT+CSQ") == "+CSQ: 20,99\r\n\r\nOK"
    bench.clock.advance(1.5)
    assert bench.terminals[PortRole.MODEM].take() == "\r\n+CMGS: 0\r\n\r\nOK\r\n"
    assert bench.terminal.take() == ""


def test_a_diagnostic_port_swallows_and_a_satellite_port_chatters_while_it_is_open(
    tmp_path: Path,
) -> None:
    bench = FourPorts(tmp_path)
    assert bench.ask(PortRole.DIAG, "AT") == ""
    bench.clock.advance(3)
    assert bench.terminals[PortRole.NMEA].take() == ""
    bench.modem.client_came(PortRole.NMEA)
    bench.clock.advance(3)
    assert bench.terminals[PortRole.NMEA].take() == "$GPRMC,,V,,,,,,,,,,N*53\r\n" * 3
    bench.modem.client_went(PortRole.NMEA)
    bench.clock.advance(3)
    assert bench.terminals[PortRole.NMEA].take() == ""


def test_power_failure_silences_every_port_and_boot_brings_each_back(tmp_path: Path) -> None:
    bench = FourPorts(tmp_path)
    bench.modem.client_came(PortRole.NMEA)
    bench.modem.switch_off()
    bench.clock.advance(5)
    assert bench.terminals[PortRole.NMEA].take() == ""
    assert bench.ask(PortRole.MODEM, "AT") == ""
    bench.modem.boot()
    bench.clock.advance(2)
    assert bench.terminals[PortRole.NMEA].take() != ""
    assert bench.ask(PortRole.MODEM, "AT").endswith("OK\r\n")


@pytest.mark.parametrize(
    "roles", ["", '[[ports]]\nrole = "at"\n[[ports]]\nrole = "at"', '[[ports]]\nrole = "diag"']
)
def test_a_persona_has_exactly_one_first_command_port(roles: str) -> None:
    text = """
    name = "x"
    vendor = "x"
    manufacturer = "X"
    model = "X1"
    revision = "1"
    tac = "35600001"
    identification = ["X1"]
    """
    if not roles:
        assert [port.role for port in persona.parse(text).ports] == [PortRole.AT]
        return
    with pytest.raises(PersonaError, match="ports: one with role `at`"):
        persona.parse(text + roles)


def test_an_answer_of_a_persona_file_says_what_is_true_now(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, is_locked=True)
    described = replace(
        bench.modem.persona,
        answers={
            "+XCCID?": ("+XCCID: {iccid_padded}",),
            "+XPIN": ("+XPIN: {pin_tries},{asked_tries} {unknown}",),
        },
        errors={"+CMMS=2": "+CMS ERROR: 500"},
        keeps={"+XKEEP": "0"},
    )
    bench.modem.persona = described
    bench.modem.defaults()
    bench.say("ATE0")
    bench.say("AT+CMEE=1")
    assert bench.lines("AT+XCCID?")[0] == f"+XCCID: {bench.card.iccid.upper().ljust(20, 'F')}"
    bench.say('AT+CPIN="9999"')
    assert bench.lines("AT+XPIN")[0] == "+XPIN: 2,2 {unknown}"
    assert bench.say("AT+CMMS=2") == "+CMS ERROR: 500"
    assert bench.say("AT+CMMS=1") == "OK"
    assert bench.say("AT+XKEEP=1") == "OK"
    assert bench.lines("AT+XKEEP?") == ["+XKEEP: 1", "OK"]
    bench.modem.insert(None)
    assert bench.say("AT+XCCID?") == "+CME ERROR: 10"


def test_a_bank_on_a_virtual_clock_needs_no_loop_and_has_no_ports(tmp_path: Path) -> None:
    clock = VirtualClock(datetime(2026, 1, 1, tzinfo=UTC))
    bank = Bank(
        scenario.override(Scenario(), {"modems": 2, "pin_lock": "off"}), tmp_path, clock=clock
    )
    bank.open()
    try:
        clock.advance(10)
        assert [modem.registration for modem in bank.modems] == [1, 1]
        assert not (tmp_path / "ports").exists()
    finally:
        bank.close()
