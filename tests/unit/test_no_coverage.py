"""No coverage, a denied registration, a radio that is off: nobody's fault, and no step is taken."""

import pytest

from modemctl.lifecycle import ModemState
from modemctl.store.tables import event
from tests.support.scripted_modem import said
from tests.unit.test_actor import OneCard, bay, reach, until

N_LOOKS = 60
BUSY = b"\r\n+CME ERROR: 14\r\n"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("modemctl.fleet.searching._POLL", 0.002)


async def has_climbed(store) -> bool:
    rows = await store.read(lambda conn: conn.execute(event.select()).all())
    return any('"ladder"' in row.data or "recovering" in row.data for row in rows)


@pytest.mark.parametrize(
    ("stat", "back"),
    [(0, 1), (2, 5), (3, 1), (4, 6), (8, 1)],
    ids=["off", "searches, then roams", "denied", "unknown, then sms only", "emergency"],
)
async def test_a_modem_without_network_waits_however_long_and_serves_when_it_is_back(
    tmp_path, stat, back
):
    modem = OneCard()
    modem.stat = 1
    async with bay(tmp_path, modem, health_interval=0.004) as (actor, store):
        await reach(actor, ModemState.READY)
        modem.stat = stat  # the check finds it: the modem says nothing
        await reach(actor, ModemState.SEARCHING)
        n_before, seen = modem.n_asked("AT+CREG?"), set()
        await until(lambda: seen.add(actor.state) or modem.n_asked("AT+CREG?") > n_before + N_LOOKS)
        assert seen == {ModemState.SEARCHING}
        modem.tell_registration(back)
        await reach(actor, ModemState.READY)
        assert not await has_climbed(store)


async def test_a_radio_that_a_person_switched_off_is_left_off(tmp_path):
    modem = OneCard()
    modem.stat = 1
    async with bay(tmp_path, modem, health_interval=0.004) as (actor, store):
        await reach(actor, ModemState.READY)
        modem.script |= {"AT+CFUN?": said("+CFUN: 4"), "AT+CSQ": said("+CSQ: 99,99")}
        modem.tell_registration(0)
        await reach(actor, ModemState.SEARCHING)
        n_before = modem.n_asked("AT+CREG?")
        await until(lambda: modem.n_asked("AT+CREG?") > n_before + N_LOOKS)
        assert actor.state is ModemState.SEARCHING
        assert modem.n_asked("AT+CFUN=1") == 0
        assert not await has_climbed(store)


async def test_a_card_that_is_busy_for_a_while_climbs_nothing(tmp_path):
    modem = OneCard()
    n_left = 30

    def busy(text: str) -> bytes:
        nonlocal n_left
        n_left -= 1
        return BUSY if n_left > 0 else said("+CPIN: READY")

    modem.stat = 1
    async with bay(tmp_path, modem, health_interval=0.004) as (actor, store):
        await reach(actor, ModemState.READY)
        modem.stat = 2
        await reach(actor, ModemState.SEARCHING)
        modem.script["AT+CPIN?"] = busy
        modem.tell_registration(1)
        await reach(actor, ModemState.READY)
        assert n_left <= 0
        assert not await has_climbed(store)
