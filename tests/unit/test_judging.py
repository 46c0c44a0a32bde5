"""What a modem's error means for its bay: a card that is gone or locked is not its fault."""

import pytest

from drivers.at.codes import cause_of
from drivers.errors import CommandError, CommandTimeout, ProtocolError
from drivers.interface import SimState
from modemctl.fleet.judging import judge
from modemctl.fleet.moves import Interrupted
from modemctl.lifecycle import ModemEvent, ModemState
from tests.support.benches import bench
from tests.support.scripted_modem import OK, ScriptedModem, said
from tests.support.senders import at_work
from tests.unit.test_actor import OneCard, bay, reach, until

_M, _E = ModemState, ModemEvent
CARD_CODES = [{"cme": code} for code in (10, 11, 12, 13, 15)]
CARD_CODES += [{"cms": code} for code in (310, 311, 313, 315, 316)]
OTHER_CODES = [{"cme": code} for code in (0, 3, 14, 30, 100, 515)]
OTHER_CODES += [{"cms": code} for code in (38, 300, 302, 314, 332, 500)] + [{}]


def refusal(code: dict[str, int]) -> CommandError:
    return CommandError("AT+CREG?", **code, cause=cause_of(**code))


@pytest.mark.parametrize("code", CARD_CODES, ids=str)
@pytest.mark.parametrize("state", [_M.CHECKING, _M.QUARANTINED, _M.SEARCHING, _M.READY])
def test_an_error_that_tells_of_the_card_goes_to_the_card_check_not_up_the_ladder(state, code):
    moved = judge(refusal(code), state, has_port=True)
    assert moved is not None
    assert moved.event is _E.SIM_REMOVED


@pytest.mark.parametrize("code", CARD_CODES, ids=str)
def test_a_modem_that_starts_and_tells_of_its_card_waits_for_the_card(code):
    moved = judge(refusal(code), _M.STARTING, has_port=True)
    assert moved is not None
    assert moved.event is _E.SIM_MISSING


@pytest.mark.parametrize("code", OTHER_CODES, ids=str)
def test_other_errors_are_the_modems(code):
    moved = judge(refusal(code), _M.READY, has_port=True)
    assert moved is not None
    assert moved.event is _E.OUT_OF_STEP


@pytest.mark.parametrize(
    "error", [CommandTimeout("AT", "busy"), ProtocolError("no line", "x")], ids=str
)
def test_silence_and_nonsense_are_the_modems(error):
    moved = judge(error, _M.SEARCHING, has_port=True)
    assert moved is not None
    assert moved.event is _E.OUT_OF_STEP


def test_a_busy_card_is_there():
    assert cause_of(cme=14).card is SimState.BUSY
    assert not cause_of(cme=14).needs_card_check
    assert not cause_of(cms=314).needs_card_check


# ---------------------------------------------------------------- at the bay


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("modemctl.fleet.waiting._POLL", 0.05)


@pytest.mark.parametrize("answer", [b"\r\n+CME ERROR: 11\r\n", b"\r\n+CMS ERROR: 311\r\n"])
async def test_a_card_that_asks_for_its_pin_while_it_serves_is_unlocked_again(
    tmp_path, quick, answer
):
    """Changed, or without power for a moment: its modem said nothing."""
    modem = OneCard()
    modem.stat = 1
    async with bay(tmp_path, modem, health_interval=0.02) as (actor, _):
        await reach(actor, ModemState.READY)
        modem.pin_state = "SIM PIN"
        creg = modem.script["AT+CREG?"]

        def opened(text: str) -> bytes:
            modem.pin_state = "READY"
            modem.script["AT+CREG?"] = creg
            return OK

        modem.script['AT+CPIN="1234"'] = opened
        modem.script["AT+CREG?"] = answer
        seen = []
        await until(lambda: seen.append(actor.state) or modem.pin_state == "READY")
        await reach(actor, ModemState.READY)
        assert ModemState.SIM_WAIT in seen
        assert ModemState.RECOVERING not in seen


async def test_a_card_that_is_busy_while_the_bay_searches_is_asked_again(tmp_path):
    modem = OneCard()
    n_busy = 0

    def busy_twice(text: str) -> bytes:
        nonlocal n_busy
        n_busy += 1
        return b"\r\n+CME ERROR: 14\r\n" if n_busy <= 2 else said("+CREG: 2,1")

    modem.script["AT+CREG?"] = busy_twice
    async with bay(tmp_path, modem) as (actor, _):
        seen = []
        await until(lambda: seen.append(actor.state) or actor.state is ModemState.READY)
        assert n_busy > 2
        assert ModemState.RECOVERING not in seen


@pytest.mark.parametrize("code", [310, 311, 313, 316])
async def test_a_submit_refused_for_a_locked_card_ends_the_stay_and_sends_no_second_one(
    tmp_path, code
):
    async with bench(tmp_path) as b:
        batch_id = await b.batch(3)
        modem = ScriptedModem({"AT+CLCC": OK})
        modem.payload_answer = f"\r\n+CMS ERROR: {code}\r\n".encode()
        async with at_work(b, modem) as work:
            await work.take_work()
            with pytest.raises(Interrupted) as caught:
                await work.sender.send_next()
            assert caught.value.event is ModemEvent.SIM_REMOVED
            await work.sender.close()
            assert work.n_announced == 1
            assert "in_doubt" not in await b.states(batch_id)
