"""Each persona speaks as its model does: at-dialects §3, §6.8 rows 12, 16, 19, 21."""

from pathlib import Path

import pytest

from simulator import persona
from simulator.persona import PersonaError
from simulator.story.scenario import Scenario, bays
from tests.support.one_modem import OneModem


@pytest.mark.parametrize("name", persona.names())
def test_identity_is_the_persona_s(tmp_path: Path, name: str) -> None:
    bench = OneModem(tmp_path, name, is_locked=True)
    described = persona.load(name)
    assert bench.lines("AT+CGMI") == [described.manufacturer, "OK"]
    # Some put a prefix or quotes around it.
    model, final = bench.lines("AT+CGMM")
    assert (described.model in model, final) == (True, "OK")
    assert bench.lines("AT+CGMR") == [described.revision, "OK"]
    imei, final = bench.lines("AT+CGSN")
    assert (bench.modem.imei[:14] in imei, final) == (True, "OK")
    assert bench.lines("AT+GCAP") == ["+GCAP: +CGSM,+DS,+ES", "OK"]
    assert bench.lines("ATI")[-1] == "OK"
    # kannel takes any line with these for something else.
    assert not any(word in line for line in bench.lines("ATI")[:-1] for word in ("OK", "RING"))


@pytest.mark.parametrize(
    ("name", "command", "answer"),
    [
        ("generic", "AT+CPINR", ["+CPINR: SIM PIN,2,3", "+CPINR: SIM PUK,10,10"]),
        ("huawei", "AT^CPIN?", ["^CPIN: SIM PIN,2,10,2,10,3"]),
        ("quectel", "AT+QPINC?", ['+QPINC: "SC",2,10', '+QPINC: "P2",3,10']),
        ("quectel", 'AT+QPINC="SC"', ['+QPINC: "SC",2,10', "OK"]),
        ("simcom", "AT+SPIC", ["+SPIC: 2,3,10,10", "OK"]),
        ("sim7600", "AT+SPIC", ["+SPIC: 2,10,3,10", "OK"]),
    ],
)
def test_counters_in_each_model_s_order(
    tmp_path: Path, name: str, command: str, answer: list[str]
) -> None:
    bench = OneModem(tmp_path, name, is_locked=True)
    assert bench.say('AT+CPIN="0000"') == "+CME ERROR: 16"
    assert bench.lines(command)[: len(answer)] == answer


def test_huawei_counter_of_an_open_card_has_an_empty_field(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "huawei")
    assert bench.lines("AT^CPIN?") == ["^CPIN: READY,,10,3,10,3", "OK"]


@pytest.mark.parametrize(
    ("name", "command", "shape"),
    [
        ("huawei", "AT^ICCID?", "^ICCID: {padded}"),
        ("quectel", "AT+QCCID", "+QCCID: {padded}"),
        ("simcom", "AT+CCID", "{lower}"),
        ("sim7600", "AT+CICCID", "+ICCID: {bare}"),
    ],
)
def test_iccid_in_each_model_s_form(tmp_path: Path, name: str, command: str, shape: str) -> None:
    bench = OneModem(tmp_path, name, is_locked=True)
    iccid = bench.card.iccid
    expected = shape.format(padded=iccid.ljust(20, "F"), lower=iccid.ljust(20, "f"), bare=iccid)
    assert bench.lines(command) == [expected, "OK"]
    bench.modem.insert(None)
    bench.terminal.take()
    assert bench.say(command) == "+CME ERROR: 10"


def test_unknown_commands_are_refused_in_the_vendor_s_words(tmp_path: Path) -> None:
    (tmp_path / "g").mkdir()
    assert OneModem(tmp_path / "g").say("AT^CURC=0") == "ERROR"
    assert OneModem(tmp_path, "huawei").say("AT+QPINC?") == "COMMAND NOT SUPPORT"


def test_huawei_chatters_until_told_not_to(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "huawei")
    assert bench.wait(60) == ""
    bench.modem.client_came()
    assert "\r\n^RSSI:18\r\n" in bench.wait(21)
    assert bench.say("AT^CURC=0") == "OK"
    assert bench.wait(600) == ""
    assert bench.say("AT^CURC=1") == "OK"
    assert "^RSSI" in bench.wait(21)
    bench.modem.client_went()
    assert bench.wait(600) == ""


def test_what_gammu_demands_of_a_huawei_is_ok(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "huawei")
    for command in ("AT^CURC=0", "AT+CFUN=1", "AT^PORTSEL=1"):
        assert bench.say(command) == "OK"


def test_unlocking_is_told_in_the_model_s_lines(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "quectel", is_locked=True)
    bench.say('AT+CPIN="1234"')
    said = [line for line in bench.wait(2).split("\r\n") if line]
    assert said == ["+CPIN: READY", "+QUSIM: 1", "+QIND: SMS DONE", "+QIND: PB DONE"]
    assert bench.lines("AT+QINISTAT") == ["+QINISTAT: 7", "OK"]


def test_simcom_says_busy_while_it_reads_the_card(tmp_path: Path) -> None:
    bench = OneModem(tmp_path, "simcom", is_locked=True)
    bench.say('AT+CPIN="1234"')
    assert bench.say("AT+CPIN?") == "+CME ERROR: 14"
    bench.wait(2)
    assert bench.lines("AT+CPIN?") == ["+CPIN: READY", "OK"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "not TOML"),
        ("nmae = 'x'", "unknown key 'nmae'"),
        ("name = 'x'", "vendor"),
        ("name = 'x'\nfirst_slot = 'one'", "first_slot|vendor"),
    ],
)
def test_wrong_persona_file_is_refused_with_the_key(text: str, said: str) -> None:
    with pytest.raises(PersonaError, match=said):
        persona.parse(text)


def test_unknown_persona_names_those_that_exist() -> None:
    with pytest.raises(PersonaError, match=", ".join(persona.names())):
        persona.load("nokia")


def test_all_personas_of_a_mixed_bank_are_dealt_out_in_turn() -> None:
    dealt = [bay.persona.name for bay in bays(Scenario(modems=6))]
    assert dealt == ["generic", "huawei", "quectel", "simcom", "sim7600", "generic"]
