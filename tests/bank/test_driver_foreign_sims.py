"""The driver against modems that know little, answer oddly or agree to everything.

So behave the public simulators that were tried: the Android emulator's modem, an AT emulator in
Java, toys that keep a table of answers, the fakes of a client library's tests. Each is described
here by what it does; nothing of theirs is used.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from drivers import generic as generic_module
from drivers.errors import CommandError, DriverError, ProtocolError
from drivers.interface import Accepted, Driver, DriverEvent, PinCounter, Rebooted, SimState
from drivers.registry import probe
from tests.support.scripted_modem import ERROR, OK, Answer, OnSocket, ScriptedModem, said

LOCKED = said(final="+CME ERROR: SIM PIN required")
TPDU = bytes.fromhex("01000A8144334455660000" + "05E8329BFD06")

Opened = Callable[[ScriptedModem], AbstractAsyncContextManager[Driver]]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    monkeypatch.setattr(generic_module, "SIM_POLL", 0.01)

    @asynccontextmanager
    async def open_it(modem: ScriptedModem) -> AsyncIterator[Driver]:
        events: list[DriverEvent] = []
        async with OnSocket(modem, tmp_path) as line:
            driver = await probe(line.address, events.append)
            yield driver
            await driver.close()
        assert not any(isinstance(event, Rebooted) for event in events)

    return open_it


async def payload() -> bytes:
    return TPDU


async def started(driver: Driver) -> None:
    """What a bay does before it serves."""
    await driver.initialise()
    assert await driver.sim_state() is SimState.READY
    await driver.wait_sim_usable()
    await driver.configure_messaging()
    assert await driver.messaging_is_set()
    assert list(await driver.list_messages()) == []


# ---------------------------------------------------------------- knows little, in its own words

PHONE_OF_AN_EMULATOR: dict[str, Answer] = {
    "AT": None,
    "\x1bAT": None,
    "ATE0Q0V1": b"OK\r",
    "AT+CGSN": b"000000000000000\rOK\r",
    "AT+CFUN?": b"+CFUN: 1\rOK\r",
    "AT+CPIN?": b"+CPIN: READY\rOK\r",
    "AT+CRSM=176,12258,0,0,10": b"+CRSM: 144,0,98942202475421246024\rOK\r",
    "AT+CIMI": b"310260000000000\rOK\r",
    "AT+CMGF=0": b"OK\r%CTZV: 26/11/22:10:00:00+0\r",
    "AT+CNMI?": b"+CNMI: 1,2,2,1,1\rOK\r",
    "AT+CREG?": b'+CREG: 2,1, "ffff", "fffffff"\rOK\r',
    "AT+CSQ": b"+CSQ: 7,99,85,130,90,6,4,99,2147483647,2147483647\r\n\rOK\r",
}


async def test_lines_end_in_cr_errors_have_words_and_at_alone_is_unknown(opened: Opened) -> None:
    modem = ScriptedModem()
    modem.script = dict(PHONE_OF_AN_EMULATOR)
    modem.takes_escape, modem.unknown = False, b"ERROR: UNSUPPORTED\r"
    modem.prompt, modem.payload_answer = b"> \r", b"+CMGS: 0\rOK\r"
    async with opened(modem) as driver:
        assert driver.identity.imei == "000000000000000"
        await started(driver)
        assert await driver.read_iccid() == "89492220744512420642"
        assert await driver.pin_counter() is None
        assert await driver.lock_enabled() is None
        assert driver.capabilities.reports
        assert (await driver.registration()).is_registered
        assert await driver.operator() is None
        assert await driver.signal_dbm() == -99
        assert await driver.submit(len(TPDU), payload()) == Accepted(mr=0)


HALF_A_MODEM: dict[str, Answer] = {
    "AT+CPIN?": b'+CPIN: "READY"\rOK\r\n',
    "AT+CREG?": b"+CREG: 0,1\nOK\n",
    "AT+CIMI": said("999999012345678"),
    "AT+CMGF=0": OK,
    "AT+CNMI=2,2,0,1,0": OK,
}


async def test_half_of_the_commands_are_errors(opened: Opened) -> None:
    modem = ScriptedModem(HALF_A_MODEM)
    modem.prompt = b">"
    async with opened(modem) as driver:
        await started(driver)
        assert (await driver.registration()).is_registered
        assert await driver.operator() is None
        assert await driver.signal_dbm() is None
        assert await driver.temperature_c() is None
        assert await driver.lock_enabled() is None
        assert await driver.submit(len(TPDU), payload()) == Accepted(mr=41)


async def test_modem_without_cpms_is_looked_into(opened: Opened) -> None:
    modem = ScriptedModem({**HALF_A_MODEM, "AT+CMGL=4": OK, "AT+CNMI=2,1,0,1,0": OK})
    modem.script["AT+CMGD=3"] = OK
    async with opened(modem) as driver:
        await started(driver)
        assert driver.capabilities.reports
        modem.script["AT+CMGL=4"] = said(
            "+CMGL: 3,0,,24", "0791947101670000040C9194712143658700C862111222436540053190BB7C07"
        )
        (message,) = await driver.list_messages()
        await driver.delete_message(message.memory, message.index)
        assert modem.received[-2:] == ["AT+CMGL=4", "AT+CMGD=3"]


async def test_lte_module_without_creg_is_asked_for_its_own_registration(opened: Opened) -> None:
    modem = ScriptedModem({**HALF_A_MODEM, "AT+CEREG?": said('+CEREG: 0,5,"1A2B","01C3D4E5",9')})
    del modem.script["AT+CREG?"]
    async with opened(modem) as driver:
        assert (await driver.registration()).stat == 5
        modem.script["AT+CEREG?"] = said("+CEREG: 0,2")
        assert (await driver.registration()).stat == 2


async def test_who_tells_its_registration_is_never_asked_for_another(opened: Opened) -> None:
    modem = ScriptedModem({**HALF_A_MODEM, "AT+CEREG?": said("+CEREG: 0,2")})
    async with opened(modem) as driver:
        assert (await driver.registration()).stat == 1
        del modem.script["AT+CREG?"]  # spoilt on the way
        with pytest.raises(CommandError):
            await driver.registration()


# ---------------------------------------------------------------- a card of which little is told


@pytest.mark.parametrize(
    ("imsi", "state"),
    [
        (said("001010123456789"), SimState.READY),
        (said(final="+CME ERROR: SIM PIN required"), SimState.PIN),
        (said(final="+CME ERROR: 10"), SimState.ABSENT),
    ],
)
@pytest.mark.parametrize("cpin", [b"\r\nERROR\r\n", OK])
async def test_who_does_not_know_cpin_tells_by_its_imsi(
    opened: Opened, cpin: bytes, imsi: bytes, state: SimState
) -> None:
    modem = ScriptedModem({"AT+CPIN?": cpin, "AT+CIMI": imsi})
    async with opened(modem) as driver:
        assert await driver.sim_state() is state


# ---------------------------------------------------------------- agrees to everything


async def test_who_agrees_to_everything_and_tells_nothing_is_set_up(opened: Opened) -> None:
    modem = ScriptedModem({"AT+CPIN?": said("+CPIN: READY"), "AT+CIMI": said("001010123456789")})
    modem.unknown = OK
    async with opened(modem) as driver:
        await started(driver)
        assert await driver.lock_enabled() is None
        assert await driver.operator() is None
        assert await driver.signal_dbm() is None
        assert await driver.submit(len(TPDU), payload()) == Accepted(mr=41)


async def test_who_repeats_everything_in_spite_of_ate0_has_not_restarted(opened: Opened) -> None:
    modem = ScriptedModem(HALF_A_MODEM)
    modem.echoes = True
    async with opened(modem) as driver:  # which sees to it that no restart was told
        await started(driver)
        assert (await driver.registration()).is_registered
        assert await driver.submit(len(TPDU), payload()) == Accepted(mr=41)


# ---------------------------------------------------------------- cannot be driven


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ({"AT+CGSN": ERROR}, "no GSM modem, or one that tells no serial number"),
        ({"AT+CGSN": OK}, "no GSM modem, or one that tells no serial number"),
        ({"AT+CGSN": said(final="+CME ERROR: 11")}, r"AT\+GSN: \+CME ERROR: 11"),
        ({"AT": LOCKED, "ATQ0V1E0": LOCKED}, "answers AT with nothing but errors: .*SIM PIN"),
    ],
)
async def test_who_cannot_be_known_is_told_by_what_it_lacks(
    opened: Opened, script: dict[str, Answer], reason: str
) -> None:
    modem = ScriptedModem({**script, "AT+GSN": script.get("AT+CGSN")})
    with pytest.raises(DriverError, match=reason):
        async with opened(modem):
            pass


# ---------------------------------------------------------------- storage that holds no PDUs

LISTED_AS_TEXT: dict[str, Answer] = {
    "AT+CFUN?": said("+CFUN: 1"),
    "AT+CMGF=0": OK,
    "AT+CPMS=?": said('+CPMS: ("SM"),("SM"),("SM")'),
    'AT+CPMS="SM","SM","SM"': OK,
    "AT+CNMI=2,1,0,1,0": OK,
    "AT+CMGL=4": said('+CMGL: 1,"REC READ","10086",,"26/11/22,12:00:00+32"', "Hello you"),
    "AT+CMGR=1": said('+CMGR: "REC READ","10086",,"26/11/22,12:00:00+32"', "Hello you"),
}


async def test_who_lists_text_is_told_by_it(opened: Opened) -> None:
    async with opened(ScriptedModem(LISTED_AS_TEXT)) as driver:
        await driver.configure_messaging()
        with pytest.raises(ProtocolError, match="as text, not as PDUs"):
            await driver.list_messages()


async def test_who_stays_in_text_mode_gets_no_length_for_a_number(opened: Opened) -> None:
    modem = ScriptedModem({**LISTED_AS_TEXT, "AT+CMGF?": said("+CMGF: 1")})
    async with opened(modem) as driver:
        with pytest.raises(ProtocolError, match="stays in text mode"):
            await driver.configure_messaging()


async def test_a_slot_that_never_tells_a_pdu_hinders_nobody(opened: Opened) -> None:
    good = "0791947101670000040C9194712143658700C862111222436540053190BB7C07"
    modem = ScriptedModem({
        **LISTED_AS_TEXT,
        "AT+CMGL=4": said("+CMGL: 1,1,,159", "0BD04259303784=96p", "+CMGL: 2,0,,24", good),
        "AT+CMGR=1": said("+CMGR: 1,,159", "0BD04259303784=96p"),
    })  # fmt: skip
    async with opened(modem) as driver:
        await driver.configure_messaging()
        assert [message.index for message in await driver.list_messages()] == [2]
        assert await driver.read_message("SM", 1) is None


async def test_the_counter_is_asked_for_by_name_where_it_must_be(opened: Opened) -> None:
    modem = ScriptedModem({'AT+CPINR="SIM PIN"': said("+CPINR: SIM PIN,2,3")})
    async with opened(modem) as driver:
        assert await driver.pin_counter() == PinCounter(pin=2, puk=None)
