"""What becomes of a card whose lock its modem does not tell (SIM-07); some simulators do not."""

from pathlib import Path

import pytest

from drivers import generic as generic_module
from drivers.registry import probe
from modemctl.fleet.pin_turns import Stopped
from modemctl.fleet.unlocking import Unlocked, unlock
from modemctl.model import Iccid
from modemctl.telemetry import Telemetry
from tests.bank.test_unlocking import ENFORCE, VERIFY, alarms, attempts, lock_of, register
from tests.support.scripted_modem import OK, OnSocket, ScriptedModem, said
from tests.support.stores import TestClock, open_store

ICCID = "89492220744512420642"


def modem_with(*, is_locked: bool) -> ScriptedModem:
    """A modem that knows no `+CLCK`; a locked card opens by its PIN."""
    state = {"now": "SIM PIN" if is_locked else "READY"}

    def take(_text: str) -> bytes:
        state["now"] = "READY"
        return OK

    return ScriptedModem({
        "AT+CFUN?": said("+CFUN: 1"),
        "AT+CPIN?": lambda _text: said(f"+CPIN: {state['now']}"),
        "AT+CPINR": said("+CPINR: SIM PIN,3,3"),
        'AT+CPIN="4321"': take,
        "AT+CCID": said(ICCID),
        "AT+CPMS?": said('+CPMS: "SM",0,9,"SM",0,9,"SM",0,9'),
    })  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "is_locked", "outcome", "noted"),
    [
        (ENFORCE, False, Stopped(reason="lock_unknown"), (None, "lock_unknown")),
        (VERIFY, False, Unlocked(is_locked=None), (None, "")),
        (ENFORCE, True, Unlocked(is_locked=True), (True, "")),
    ],
)
async def test_only_a_card_that_asked_for_its_pin_counts_as_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings, is_locked, outcome, noted
) -> None:
    monkeypatch.setattr(generic_module, "SIM_POLL", 0.01)
    modem = modem_with(is_locked=is_locked)
    async with OnSocket(modem, tmp_path) as line, open_store(tmp_path, TestClock()) as store:
        driver = await probe(line.address, lambda event: None)
        await driver.initialise()
        await register(store, {ICCID: "4321"})
        found = await unlock(
            driver, store, Iccid(ICCID), "bay", settings, telemetry=Telemetry(version="0")
        )
        await driver.close()
        assert found == outcome
        assert await lock_of(store, ICCID) == noted
        n_alarms = sum("lock_unknown" in one for one in await alarms(store))
        assert n_alarms == (0 if is_locked else 1)
        assert len(await attempts(store)) == int(is_locked)
    assert modem.received.count('AT+CPIN="4321"') == int(is_locked)
