"""A bay's regular checks: what the modem does not tell by itself is asked, at a polite rate."""

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import func, select

from modemctl.fleet.health import EVERY
from modemctl.fleet.working import seat_of
from modemctl.lifecycle import ModemState
from modemctl.policy.breakers import RULES, Target
from modemctl.store import Store, modems
from modemctl.store.modems import ModemRow
from modemctl.store.tables import inbox
from tests.support.scripted_modem import ERROR, OK, said
from tests.unit.test_actor import BAY, OneCard, bay, reach, until

TPDU = "040C916831080000100000621112224365400C"
LISTED = said(f"+CMGL: 3,1,,{len(TPDU) // 2}\r\n00{TPDU}")


async def n_texts(store: Store) -> int:
    query = select(func.count()).select_from(inbox)
    return await store.read(lambda conn: conn.scalar(query)) or 0


async def stored(store: Store, holds: Callable[[ModemRow], bool]) -> None:
    """Wait until the bay's row, which is written behind the bay's back, holds."""
    async with asyncio.timeout(30):
        while (row := await store.read(lambda conn: modems.read(conn, BAY))) is None or not holds(
            row
        ):
            await asyncio.sleep(0.005)


async def test_a_message_whose_indication_was_lost_is_found_and_then_deleted(tmp_path):
    modem = OneCard()
    modem.stat = 1
    async with bay(tmp_path, modem, health_interval=0.01) as (actor, store):
        await reach(actor, ModemState.READY)

        def delete(text: str) -> bytes:
            modem.script["AT+CMGL=4"] = OK
            return OK

        modem.script |= {"AT+CMGL=4": LISTED, "AT+CMGD=3": delete}
        await until(lambda: modem.n_asked("AT+CMGD=3") == 1)
        assert await n_texts(store) == 1
        assert actor.state is ModemState.READY


async def test_the_storage_is_not_listed_at_each_check(tmp_path):
    modem = OneCard()
    modem.stat = 1
    async with bay(tmp_path, modem, health_interval=0.01) as (actor, _):
        await reach(actor, ModemState.READY)
        asked, listed = modem.n_asked("AT+CREG?"), modem.n_asked("AT+CMGL=4")
        await until(lambda: modem.n_asked("AT+CMGL=4") >= listed + 3)
        n_checks = modem.n_asked("AT+CREG?") - asked
        assert n_checks >= 2 * max(EVERY.values()), f"{n_checks} checks, 3 lists"


async def test_a_modem_whose_settings_changed_is_begun_again(tmp_path):
    modem = OneCard()
    modem.stat = 1
    async with bay(tmp_path, modem, health_interval=0.01) as (actor, _):
        await reach(actor, ModemState.READY)
        modem.script["AT+CNMI?"] = said("+CNMI: 0,0,0,0,0")

        def route(text: str) -> bytes:
            modem.script["AT+CNMI?"] = said("+CNMI: 2,1,0,2,0")
            return OK

        modem.script["AT+CNMI=2,1,0,2,0"] = route
        n_before = modem.n_asked("AT+CNMI=2,1,0,2,0")
        await until(lambda: modem.n_asked("AT+CNMI=2,1,0,2,0") == n_before + 1)
        await reach(actor, ModemState.READY)


async def test_a_signal_that_is_told_by_itself_is_not_asked_for(tmp_path):
    modem = OneCard()
    modem.stat = 1

    def tell(text: str) -> bytes:
        return b"\r\n+CSQ: 9,99\r\n" + said("+CREG: 2,1")

    async with bay(tmp_path, modem, health_interval=0.01) as (actor, _):
        await reach(actor, ModemState.READY)
        modem.script["AT+CREG?"] = tell
        await until(lambda: actor.facts.signal_dbm == -95)
        asked, checks = modem.n_asked("AT+CSQ"), modem.n_asked("AT+CREG?")
        await until(lambda: modem.n_asked("AT+CREG?") >= checks + 10)
        assert modem.n_asked("AT+CSQ") <= asked + 1, "one may have been on its way"


async def test_a_chore_that_the_modem_refuses_holds_up_no_other(tmp_path):
    modem = OneCard()
    modem.stat = 1
    async with bay(tmp_path, modem, health_interval=0.01) as (actor, _):
        await reach(actor, ModemState.READY)
        modem.script["AT+CMGL=4"] = b"\r\nERROR\r\n"
        lists, nets = modem.n_asked("AT+CMGL=4"), modem.n_asked("AT+COPS?")
        await until(lambda: modem.n_asked("AT+CMGL=4") >= lists + 4)
        assert modem.n_asked("AT+COPS?") >= nets + 4
        assert actor.state is ModemState.READY


class Warm(OneCard):
    """A modem of a family that tells its temperature, until it does not any more."""

    def __init__(self) -> None:
        super().__init__()
        self.stat = 1
        self.script |= {
            "AT+CGMI": said("Quectel"),
            "AT+QCCID": said(f"+QCCID: {self.iccid}"),
            "AT+QTEMP": said("+QTEMP: 31,27,28"),
            "AT+QPINC?": said('+QPINC: "SC",3,10', '+QPINC: "P2",3,10'),
        }


async def test_a_temperature_is_told_where_the_modem_has_a_sensor(tmp_path):
    modem = Warm()
    async with bay(tmp_path, modem, health_interval=0.01) as (actor, store):
        await reach(actor, ModemState.READY)
        await until(lambda: actor.facts.temperature_c == 31)
        assert actor.sample.temperature_c == 31
        modem.script["AT+QTEMP"] = said("+QTEMP: 81,27,28")
        await until(lambda: actor.facts.temperature_c == 81)
        await stored(store, lambda row: row.temperature_c == 81)


@pytest.mark.parametrize("answer", [ERROR, OK], ids=["refused", "not answered"])
async def test_a_modem_that_does_not_tell_its_temperature_is_asked_once(tmp_path, answer):
    """An OK without the answer is doubted, as silence is: that costs a realignment, once."""
    modem = Warm()
    modem.script["AT+QTEMP"] = answer
    async with bay(tmp_path, modem, health_interval=0.01) as (actor, _):
        await until(lambda: modem.n_asked("AT+QTEMP") == 1)
        n_checks = modem.n_asked("AT+CREG?")
        await until(lambda: modem.n_asked("AT+CREG?") >= n_checks + 20)
        await reach(actor, ModemState.READY)
        assert modem.n_asked("AT+QTEMP") == 1


async def test_an_open_breaker_is_shown_with_the_bay(tmp_path):
    modem = OneCard()
    modem.stat = 1
    async with bay(tmp_path, modem, health_interval=0.01) as (actor, store):
        await reach(actor, ModemState.READY)
        gate = actor._ground.breakers.gate(lambda: seat_of(actor.facts))
        for _ in range(RULES[Target.MODEM].n_faults):
            await gate.note("modem")
        await until(lambda: actor.facts.breakers == ("modem",))
        await stored(store, lambda row: row.breakers == ("modem",))
        assert actor.sample.breakers["modem"] == "open"
        await gate.note(None)
        await until(lambda: actor.facts.breakers == ())
