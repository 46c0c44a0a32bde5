"""The driver against the answers of ofono-phonesim 1.19, a simulator that is not ours.

Typed by hand into a build of it: `AT` alone is an error, an ESC spoils the command behind it, the
serial number and the IMSI are short, `+CPMS?` and `+CNMI?` are unknown, an empty list is an error,
and errors have no number.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from drivers import generic as generic_module
from drivers.interface import Accepted, Driver, PinCounter, SimState
from drivers.registry import probe
from tests.support.scripted_modem import ERROR, OK, Answer, OnSocket, ScriptedModem, said

PHONE: dict[str, Answer] = {
    "AT": ERROR,
    "\x1bAT": None,
    "AT+CGSN": said("1234567890"),
    "AT+CGMI": said("MeeGo"),
    "AT+CGMM": said("Synthetic Device"),
    "AT+CGMR": said("REV1"),
    "AT+CFUN?": said("+CFUN: 1"),
    "AT+CFUN=1": OK,
    "AT+CPIN?": said("+CPIN: READY"),
    "AT+CPINR": b"\r\n+CPINR: SIM PIN,3,3\r\nOK\r\n",
    "AT+CRSM=176,12258,0,0,10": said("+CRSM: 159,10,989422024754212460F6"),
    "AT+CIMI": said("246813579"),
    'AT+CLCK="SC",2': said("+CLCK: 0"),
    "AT+CPMS=?": said('+CPMS: ("SM","ME"),("SM","ME"),("SM")'),
    'AT+CPMS="SM","SM","SM"': said("+CPMS: 0,99,0,99,0,99"),
    'AT+CPMS="SM"': said("+CPMS: 0,99,0,99,0,99"),
    "AT+CMGL=4": said(final="+CMS ERROR: 321"),
    "AT+CMGF=0": OK,
    "AT+CSMS=0": said("+CSMS: 1,1,1"),
    "AT+CNMI=2,1,0,1,0": OK,
    "AT+CREG=2": OK,
    "AT+CREG?": said("+CREG: 2,1"),
    "AT+COPS=3,2": OK,
    "AT+COPS?": said('+COPS: 0,2,"23401"'),
    "AT+CSQ": said("+CSQ: 31,99"),
    "AT+CLIP=1": OK,
    "AT+CRC=1": OK,
    "AT+CLCC": OK,
}
TPDU = bytes.fromhex("01000A8144334455660000" + "05E8329BFD06")


@pytest.fixture
async def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Driver]:
    monkeypatch.setattr(generic_module, "SIM_POLL", 0.01)
    modem = ScriptedModem(PHONE)
    modem.takes_escape = False
    modem.payload_answer = said("+CMGS: 0")
    async with OnSocket(modem, tmp_path) as line:
        found = await probe(line.address, lambda event: None)
        yield found
        await found.close()


async def test_it_is_known_by_its_serial_number(driver: Driver) -> None:
    assert driver.identity.imei == "1234567890"
    assert (driver.identity.manufacturer, driver.identity.model) == ("MeeGo", "Synthetic Device")
    assert driver.capabilities.family == "generic"
    await driver.realign()


async def test_its_card_is_read_and_served(driver: Driver) -> None:
    await driver.initialise()
    assert await driver.sim_state() is SimState.READY
    assert await driver.read_iccid() == "8949222074451242066"
    assert await driver.read_imsi() == "246813579"
    assert await driver.pin_counter() == PinCounter(pin=3, puk=None)
    assert not await driver.lock_enabled()
    await driver.wait_sim_usable()


async def test_it_sends_and_has_nothing_stored(driver: Driver) -> None:
    async def payload() -> bytes:
        return TPDU

    await driver.initialise()
    await driver.configure_messaging()
    assert await driver.messaging_is_set()
    assert list(await driver.list_messages()) == []
    assert (await driver.registration()).is_registered
    assert await driver.operator() == "23401"
    assert list(await driver.current_calls()) == []
    assert await driver.submit(len(TPDU), payload()) == Accepted(mr=0)
