"""Each family's own steps, over a real socket with answers as its manuals print them."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import pytest

from drivers import registry as registry_module
from drivers.at.session import BARE_END_SILENCE
from drivers.errors import CommandError
from drivers.interface import DriverEvent, PinCounter, PinOutcome, Rebooted, SimState, SmsDirect
from drivers.registry import FAMILIES, probe
from drivers.site_families import read_folder
from drivers.ussd_reply import UssdForm
from modemctl.sms import pack_ussd
from tests.support.scripted_modem import OK, OnSocket, ScriptedModem, said

ERROR = b"\r\nERROR\r\n"
COMMON = {
    "AT+CMEE=1": OK,
    "AT+CFUN?": said("+CFUN: 1"),
    "AT+CMGF=0": OK,
    "AT+CSMS=0": said("+CSMS: 1,1,1"),
    "AT+CPMS=?": said('+CPMS: ("SM","ME"),("SM","ME"),("SM","ME")'),
    'AT+CPMS="SM","SM","SM"': said("+CPMS: 0,20,0,20,0,20"),
    'AT+CPMS="ME","ME","ME"': said("+CPMS: 0,20,0,20,0,20"),
    "AT+CREG=2": ERROR,
    "AT+CREG=1": OK,
}


@pytest.fixture(autouse=True)
def _no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "_SETTLE", 0.005)


def modem_of(manufacturer: str, model: str, script: dict[str, bytes]) -> ScriptedModem:
    names = {"AT+CGMI": said(manufacturer), "AT+CGMM": said(model)}
    return ScriptedModem({**COMMON, **names, **script})


async def test_huawei_is_silenced_asked_its_own_way_and_bears_mode_1_alone(tmp_path: Path) -> None:
    modem = modem_of(
        "huawei",
        "E1750",
        {
            "AT^CURC=0": OK,
            "AT^ICCID?": said("^ICCID: 98941032547698103254"),
            "AT^CPIN?": said("^CPIN: SIM PIN,3,10,3,10,3"),
            "AT+CNMI=1,1,0,2,0": OK,
            "AT+CNMI?": said("+CNMI: 1,1,0,2,0"),
        },
    )
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, lambda event: None)
        await driver.initialise()
        assert await driver.read_iccid() == "89490123456789012345"
        assert await driver.pin_counter() == PinCounter(pin=3, puk=10)
        await driver.configure_messaging()
        assert 'AT+CPMS="SM","SM","SM"' in modem.received
        assert modem.received.index("AT+CNMI=2,1,0,2,0") < modem.received.index("AT+CNMI=1,1,0,2,0")
        assert "AT+CREG=1" in modem.received
        assert driver.capabilities.reports
        await driver.close()


async def test_quectel_takes_one_kind_of_call_lines_and_keeps_the_link_for_more(
    tmp_path: Path,
) -> None:
    modem = modem_of(
        "Quectel",
        "EC25",
        {
            "AT+QCCID": said("+QCCID: 8949012345678901234F"),
            "AT+QPINC?": said('+QPINC: "SC",2,10', '+QPINC: "P2",3,10'),
            "AT+CNMI=2,1,0,2,0": OK,
            'AT+QINDCFG="ccinfo",1': OK,
            "AT^DSCI=1": OK,
            "AT+CMMS=2": OK,
            "AT+CREG=2": OK,
        },
    )
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, lambda event: None)
        assert await driver.read_iccid() == "8949012345678901234"
        assert await driver.pin_counter() == PinCounter(pin=2, puk=10)
        await driver.configure_messaging()
        assert 'AT+QINDCFG="ccinfo",1' not in modem.received
        assert driver.capabilities.more_messages
        del modem.script["AT+CMMS=2"], modem.script["AT^DSCI=1"]
        modem.script['AT+QINDCFG="ccinfo",1'] = ERROR
        await driver.configure_messaging()
        assert 'AT+QINDCFG="ccinfo",1' in modem.received
        assert not driver.capabilities.more_messages
        await driver.close()


async def test_quectel_of_the_m_series_tells_its_tries_by_a_command_of_its_own(
    tmp_path: Path,
) -> None:
    modem = modem_of("Quectel_Ltd", "Quectel_M35", {"AT+QTRPIN": said("+QTRPIN: 2,3,10,10")})
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, lambda event: None)
        assert await driver.pin_counter() == PinCounter(pin=2, puk=10)
        modem.script["AT+QTRPIN"] = said("+QTRPIN: ?")
        assert await driver.pin_counter() is None
        await driver.close()


async def test_zte_tells_its_tries_and_keeps_to_mode_1(tmp_path: Path) -> None:
    modem = modem_of(
        "ZTE INCORPORATED",
        "MF190",
        {
            "AT+ZICCID?": said("+ZICCID: 89490123456789012345"),
            "AT+ZPINPUK=?": said("+ZPINPUK: 3,10"),
            "AT+CNMI=1,1,0,2,0": OK,
        },
    )
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, lambda event: None)
        assert await driver.read_iccid() == "89490123456789012345"
        assert await driver.pin_counter() == PinCounter(pin=3, puk=10)
        await driver.configure_messaging()
        assert "AT+CNMI=2,1,0,2,0" not in modem.received
        modem.script["AT+ZPINPUK=?"] = said("+ZPINPUK: 3")
        assert await driver.pin_counter() is None
        await driver.close()


async def test_huawei_is_left_alone_after_its_pin_until_it_says_ready(tmp_path: Path) -> None:
    """Old firmware restarts when it is asked of its card before it has read it."""
    modem = modem_of(
        "huawei", "E173", {'AT+CPIN="1234"': OK, "AT+CPMS?": said("+CPMS: 0,1,0,1,0,1")}
    )
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, lambda event: None)
        assert await driver.enter_pin("1234") is PinOutcome.OK
        asked = len(modem.received)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(driver.wait_sim_usable())
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await asyncio.shield(waiting)
            assert modem.received[asked:] == []
            modem.say(b"\r\n^SIMST:1\r\n")
        assert modem.received[asked:] == ["AT+CPMS?"]
        await driver.wait_sim_usable()
        assert modem.received[asked:] == ["AT+CPMS?"] * 2
        await driver.close()


async def test_quectel_that_boots_again_tells_it_once(tmp_path: Path) -> None:
    events: list[DriverEvent] = []
    modem = modem_of("Quectel", "EC25", {"AT+CPMS?": said("+CPMS: 0,1,0,1,0,1")})
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, events.append)
        await driver.initialise()
        modem.say(b"\r\nRDY\r\n\r\n+CFUN: 1\r\n\r\n+CPIN: SIM PIN\r\n\r\n+QIND: SMS DONE\r\n")
        await driver.wait_sim_usable()
        assert [event for event in events if isinstance(event, Rebooted)] == [
            Rebooted(evidence="RDY")
        ]
        await driver.close()


async def test_ready_sign_shortens_the_wait_for_the_card(tmp_path: Path) -> None:
    modem = modem_of("SIMCOM_Ltd", "SIMCOM_SIM800L", {})
    answers = iter([said(final="+CMS ERROR: 517") + b"\r\nSMS Ready\r\n"])
    modem.script["AT+CPMS?"] = lambda _text: next(answers, said("+CPMS: 0,1,0,1,0,1"))
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, lambda event: None)
        await driver.wait_sim_usable()
        assert modem.received.count("AT+CPMS?") == 2
        await driver.close()


async def test_simcom_2g_tells_its_card_bare_and_its_tries_in_its_order(tmp_path: Path) -> None:
    modem = modem_of(
        "SIMCOM_Ltd",
        "SIMCOM_SIM800L",
        {
            "AT+CCID": said("8949012345678901234f"),
            "AT+SPIC": said("+SPIC: 3,3,10,10"),
            "AT+CNMI=2,1,0,2,0": OK,
            "AT+CLCC=1": OK,
        },
    )
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, lambda event: None)
        assert await driver.read_iccid() == "8949012345678901234"
        assert await driver.pin_counter() == PinCounter(pin=3, puk=10)
        await driver.configure_messaging()
        assert {"AT+CLCC=1", "AT+MORING=1"} <= set(modem.received)
        assert driver.capabilities.command_gap > 0
        await driver.close()


async def test_simcom_lte_tells_its_card_by_its_own_command(tmp_path: Path) -> None:
    modem = modem_of(
        "SIMCOM INCORPORATED",
        "SIMCOM_SIM7600E",
        {"AT+CICCID": said("+ICCID: 89490123456789012345"), "AT+SPIC": said("+SPIC: 3,10,3,10")},
    )
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, lambda event: None)
        assert await driver.read_iccid() == "89490123456789012345"
        assert await driver.pin_counter() == PinCounter(pin=3, puk=10)
        await driver.close()


async def test_wavecom_answers_its_card_state_without_ok(tmp_path: Path) -> None:
    modem = modem_of(
        "WAVECOM MODEM",
        "MULTIBAND  900E  1800",
        {
            "AT+CPIN?": b"\r\n+CPIN: SIM PIN\r\n",
            "AT+CPMS=?": said('+CPMS: (("SM","BM","SR"),("SM"))'),
            'AT+CPMS="SM","SM"': said("+CPMS: 0,20,0,20"),
            'AT+CPMS="SR"': said("+CPMS: 0,20,0,20"),
            "AT+CMGL=4": OK,
            "AT+CNMI=2,1,0,2,0": OK,
        },
    )
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, lambda event: None)
        assert BARE_END_SILENCE < 1
        assert await driver.sim_state() is SimState.PIN
        await driver.configure_messaging()
        assert await driver.list_messages() == []
        assert 'AT+CPMS="SR"' in modem.received
        await driver.close()


async def test_family_that_acknowledges_each_delivery_does(
    tmp_path: Path,
) -> None:
    """Service level 1 (TS 27.005 §3.2.1): a delivery waits for its acknowledgement."""
    family = dataclasses.replace(registry_module.GENERIC, csms=1)
    events: list[DriverEvent] = []
    modem = modem_of("ACME", "1", {"AT+CNMA": OK, "AT+CSQ": said("+CSQ: 1,99")})
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, events.append, known=(family,))
        modem.say(b"\r\n+CMT: ,9\r\n00040281F2000000000000\r\n")
        await driver.signal_dbm()
        (event,) = events
        assert isinstance(event, SmsDirect)
        assert event.needs_ack
        await driver.acknowledge()
        assert modem.received[-1] == "AT+CNMA"
        modem.script["AT+CNMA"] = said(final="+CMS ERROR: 340")
        await driver.acknowledge()  # "none expected" is no error
        modem.script["AT+CNMA"] = said(final="+CMS ERROR: 500")
        with pytest.raises(Exception, match="500"):
            await driver.acknowledge()
        await driver.close()


async def test_telit_hands_its_card_over_while_it_is_asked_for_tries(tmp_path: Path) -> None:
    modem = modem_of(
        "Telit",
        "LE910",
        {
            "AT#QSS=2": ERROR,
            "AT#QSS=1": OK,
            "AT+CPIN?": said("+CPIN: READY"),
            "AT#PCT": said("#PCT: 3"),  # PIN2's: not to be believed
            "AT+CSIM=1": OK,
            "AT+CSIM=0": OK,
            'AT+CSIM=10,"0020000100"': said('+CSIM: 4,"63C2"'),
            'AT+CSIM=10,"002C000100"': said('+CSIM: 4,"63CA"'),
        },
    )
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, lambda event: None)
        await driver.initialise()
        assert "AT#QSS=1" in modem.received
        assert await driver.pin_counter() == PinCounter(pin=2, puk=10)
        assert modem.received[-1] == "AT+CSIM=0"
        modem.script["AT+CPIN?"] = said("+CPIN: SIM PIN")
        asked = len(modem.received)
        assert await driver.pin_counter() == PinCounter(pin=3, puk=None)
        assert "AT+CSIM=1" not in modem.received[asked:]
        await driver.close()


async def test_cinterion_never_counts_pin2_for_pin1(tmp_path: Path) -> None:
    """`AT^SPIC` alone stays at 3 while wrong PIN1s are burnt; then it tells the PUK's 10."""
    modem = modem_of(
        "Cinterion",
        "BGS2-W",
        {
            "AT^SPIC": said("^SPIC: 3"),
            'AT^SPIC="SC"': said("^SPIC: 1"),
            'AT^SPIC="SC",1': said("^SPIC: 10"),
        },
    )
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, lambda event: None)
        assert await driver.pin_counter() == PinCounter(pin=1, puk=10)
        modem.script['AT^SPIC="SC"'] = said("^SPIC: 10")
        assert await driver.pin_counter() == PinCounter(pin=0, puk=10)
        assert "AT^SPIC" not in modem.received
        await driver.close()


async def test_lost_mode_or_routing_is_noticed(tmp_path: Path) -> None:
    modem = modem_of(
        "ACME",
        "1",
        {
            "AT+CNMI=2,1,0,2,0": OK,
            "AT+CNMI?": said("+CNMI: 2,1,0,2,0"),
            "AT+CMGF?": said("+CMGF: 0"),
        },
    )
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, lambda event: None)
        assert not await driver.messaging_is_set()
        await driver.configure_messaging()
        assert await driver.messaging_is_set()
        modem.script["AT+CNMI?"] = said("+CNMI: 0,0,0,0,0")
        assert not await driver.messaging_is_set()
        modem.script["AT+CNMI?"] = ERROR  # cannot be asked: the mode decides
        assert await driver.messaging_is_set()
        modem.script["AT+CMGF?"] = said("+CMGF: 1")
        assert not await driver.messaging_is_set()
        await driver.close()


async def test_modem_without_storage_is_ready_once_it_tells_its_imsi(tmp_path: Path) -> None:
    modem = modem_of(
        "Nokia",
        "6680",
        {
            "AT+CPMS?": said(final="+CMS ERROR: 302"),
            "AT+CPMS=?": said("+CPMS: (),(),()"),
            "AT+CIMI": said("460001234567890"),
            "AT+CNMI=2,2,0,0,0": OK,
            "AT+CNMI?": said("+CNMI: 2,2,0,0,0"),
        },
    )
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, lambda event: None)
        await driver.wait_sim_usable()
        await driver.configure_messaging()
        assert not any(text.startswith('AT+CPMS="') for text in modem.received)
        assert not driver.capabilities.reports
        assert await driver.list_messages() == []
        await driver.close()


@pytest.mark.parametrize("how", ['inherits = "wavecom"', "cpin_ends_bare = true"])
async def test_tries_of_the_code_that_is_asked_for_are_told_where_no_ok_follows(
    tmp_path: Path, how: str
) -> None:
    folder = tmp_path / "families.d"
    folder.mkdir()
    counter = 'pin_counter = [{ command = "AT#PCT", form = "asked-for" }]'
    (folder / "acme.toml").write_text(f'{how}\nmanufacturer = "^acme"\n{counter}\n', "utf-8")
    script = {"AT+CPIN?": b"\r\n+CPIN: SIM PIN\r\n", "AT#PCT": said("#PCT: 2")}
    modem = modem_of("ACME Corp.", "Q2403", script)
    async with OnSocket(modem, tmp_path) as line:
        known = (*read_folder(folder, FAMILIES), *FAMILIES)
        driver = await probe(line.address, lambda event: None, known=known)
        assert driver.capabilities.family == "acme"
        assert await driver.sim_state() is SimState.PIN
        assert await driver.pin_counter() == PinCounter(pin=2, puk=None)
        assert await driver.sim_state() is SimState.PIN, "the link is in step"
        await driver.close()


async def test_family_of_a_site_drives_its_modem(tmp_path: Path) -> None:
    """Option's counter, told in a file as a site would."""
    folder = tmp_path / "families.d"
    folder.mkdir()
    (folder / "acme.toml").write_text(
        """
manufacturer = "^acme"
noise_off = ["AT_OSIGQ=0"]
pin_counter = [{ command = "AT_OERCN?", form = "pin1,puk1" }]
cnmi = ["1,1,0,1,0"]
reboot = ["_OBOOT"]
reset = "AT_ORESET"
""",
        "utf-8",
    )
    known = (*read_folder(folder, FAMILIES), *FAMILIES)
    script = {
        "AT_OSIGQ=0": OK,
        "AT_OERCN?": said("_OERCN: 2,10"),
        "AT+CNMI=1,1,0,1,0": OK,
        "AT_ORESET": OK,
        "AT+CSQ": said("+CSQ: 20,99"),
    }
    modem = modem_of("ACME Corp.", "GTM378", script)
    events: list[DriverEvent] = []
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, events.append, known=known)
        assert driver.capabilities.family == "acme"
        await driver.initialise()
        assert "AT_OSIGQ=0" in modem.received
        assert await driver.pin_counter() == PinCounter(pin=2, puk=10)
        await driver.configure_messaging()
        assert "AT+CNMI=1,1,0,1,0" in modem.received
        modem.say(b"\r\n_OBOOT\r\n")
        await driver.signal_dbm()
        assert events == [Rebooted(evidence="_OBOOT")]
        await driver.reset()
        assert modem.received[-1] == "AT_ORESET"
        await driver.close()


async def test_huawei_takes_a_code_packed_and_one_that_refuses_it_as_text(tmp_path: Path) -> None:
    packed, text = 'AT+CUSD=1,"AA180C3602",15', 'AT+CUSD=1,"*100#",15'
    modem = modem_of("huawei", "E1752", {packed: OK + said('+CUSD: 0,"C2303B4C2EBB00",15')})
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, lambda event: None)
        reply = await driver.ask_ussd("*100#", packed=pack_ussd("*100#"), timeout=20)
        assert reply is not None
        assert reply.form is UssdForm.PACKED
        modem.script |= {packed: ERROR, text: said('+CUSD: 0,"Bal 5",15')}  # before its OK
        reply = await driver.ask_ussd("*100#", packed=pack_ussd("*100#"), timeout=20)
        assert reply is not None
        assert reply.octets == b"Bal 5"
        assert "AT+CUSD=2" not in modem.received
        await driver.close()


async def test_question_that_is_given_up_is_called_off_and_its_late_answer_is_nobodys(
    tmp_path: Path,
) -> None:
    asked, answered = 'AT+CUSD=1,"*100#",15', said('+CUSD: 0,"Bal 5",15')
    modem = modem_of("ACME", "X1", {asked: OK, "AT+CUSD=2": OK, "AT+CSCS?": said('+CSCS: "UCS2"')})
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, lambda event: None)
        modem.script['AT+CSCS="GSM"'] = OK
        async with asyncio.TaskGroup() as group:
            task = group.create_task(driver.ask_ussd("*100#", packed=b"", timeout=60))
            await modem.until(lambda: asked in modem.received)
            driver.give_up_ussd()
            assert await task is None
        assert modem.received[-1] == "AT+CUSD=2"
        modem.say(answered[: answered.index(b"OK")])
        assert await driver.signal_dbm() is None
        modem.script |= {asked: ERROR}
        with pytest.raises(CommandError):
            await driver.ask_ussd("*100#", packed=b"", timeout=60)
        with pytest.raises(ValueError, match="digits"):
            await driver.ask_ussd('1",15;D', packed=b"", timeout=60)
        driver.give_up_ussd()  # nobody waits
        await driver.close()


async def test_what_is_pushed_before_the_question_or_for_others_is_no_answer(
    tmp_path: Path,
) -> None:
    asked, pushed = 'AT+CUSD=1,"*100#",15', '+CUSD: 0,"Win a car",15'
    modem = modem_of("ACME", "X1", {"AT+CSCS?": said(pushed, '+CSCS: "GSM"')})
    modem.script[asked] = said() + said("+CUSD: 3", final='+CUSD: 0,"Bal 5",15')
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, lambda event: None)
        reply = await driver.ask_ussd("*100#", packed=b"", timeout=60)
        assert reply is not None
        assert (reply.state, reply.octets) == (0, b"Bal 5")
        await driver.close()


async def test_modem_that_knows_only_ucs2_gets_the_code_in_it(tmp_path: Path) -> None:
    asked = 'AT+CUSD=1,"002A0031003000300023",15'
    modem = modem_of("ACME", "X1", {"AT+CSCS?": said('+CSCS: "UCS2"')})
    modem.script[asked] = OK + said('+CUSD: 0,"00420061006C002000354F59",15', final="")
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, lambda event: None)
        reply = await driver.ask_ussd("*100#", packed=b"", timeout=20)
        assert reply is not None
        assert (reply.form, reply.octets.decode("utf-16-be")) == (UssdForm.UCS2, "Bal 5余")
        await driver.close()
