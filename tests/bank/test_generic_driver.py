"""The 27.005 / 27.007 driver over a real pty or socket, against scripted answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest

from drivers import generic as generic_module
from drivers import registry as registry_module
from drivers.at import channel as channel_module
from drivers.errors import (
    CommandError,
    CommandTimeout,
    OutOfStep,
    PortGone,
    ProtocolError,
)
from drivers.family import STORE_FIRST
from drivers.generic import GenericDriver
from drivers.interface import (
    Accepted,
    Action,
    Blame,
    CallEvent,
    CallEventKind,
    DriverEvent,
    InDoubt,
    LateSubmitResult,
    LinkLost,
    PinCounter,
    PinOutcome,
    Rebooted,
    Refused,
    RegistrationChanged,
    SimState,
    SmsDirect,
    SmsStored,
    UnknownUrc,
    Withheld,
)
from drivers.registry import probe
from tests.support.scripted_modem import OK, OnPty, OnSocket, ScriptedModem, said

PDU = "0791947101670000040C9194712143658700C862111222436540053190BB7C07"
TPDU = bytes.fromhex("0011000B916407281553F80000AA0AE8329BFD4697D9EC37")
INIT = {
    "AT+CMEE=1": OK,
    "AT+CFUN?": said("+CFUN: 1"),
    "AT+CMGF=0": OK,
    "AT+CPMS=?": said('+CPMS: ("SM","ME"),("SM","ME"),("SM","ME")'),
    'AT+CPMS="ME","ME","ME"': said("+CPMS: 0,50,0,50,0,50"),
    'AT+CPMS="ME"': said("+CPMS: 0,50,0,50,0,50"),
    'AT+CPMS="SM"': said("+CPMS: 0,50,0,50,0,50"),
    "AT+CNMI=2,1,0,2,0": OK,
    "AT+CNMI?": said("+CNMI: 2,1,0,2,0"),
}


class Bench:
    """A probed driver, its modem and what the driver told."""

    driver: GenericDriver

    def __init__(self, modem: ScriptedModem, line: OnSocket) -> None:
        self.modem = modem
        self.line = line
        self.events: list[DriverEvent] = []
        self._told = asyncio.Event()

    def sink(self, event: DriverEvent) -> None:
        self.events.append(event)
        self._told.set()

    async def until_told(self, n_events: int) -> list[DriverEvent]:
        async with asyncio.timeout(60):
            while len(self.events) < n_events:
                self._told.clear()
                await self._told.wait()
        return self.events


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(registry_module, "_SETTLE", 0.005)
    modem = ScriptedModem(dict(INIT))
    async with OnSocket(modem, tmp_path) as line:
        made = Bench(modem, line)
        driver = await probe(line.address, made.sink)
        assert isinstance(driver, GenericDriver)
        made.driver = driver
        modem.received.clear()
        yield made
        await driver.close()


def now(value: bytes | None) -> Awaitable[bytes | None]:
    future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future


# ---------------------------------------------------------------- probe


async def test_probe_over_a_pty_identifies_and_turns_echo_off() -> None:
    modem = ScriptedModem()
    async with OnPty(modem) as line:
        driver = await probe(line.path, lambda event: None)
        assert driver.identity.imei == "490154203237518"
        assert driver.capabilities.family == "generic"
        assert modem.received[0] == "<esc>"
        assert "ATE0" in modem.received
        await driver.close()
        await driver.close()


async def test_a_name_that_was_spoilt_on_the_way_chooses_no_family(tmp_path: Path) -> None:
    spoilt = iter([said("Quect"), OK])

    def maker(_text: str) -> bytes:
        return next(spoilt, said("Quectel"))

    modem = ScriptedModem({"AT+CGMI": maker, "AT+CGMM": said("EC25")})
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, lambda event: None)
        assert driver.identity.manufacturer == "Quectel"
        assert driver.capabilities.family == "quectel"
        await driver.close()


async def test_mute_port_is_no_modem(tmp_path: Path) -> None:
    modem = ScriptedModem({"AT": None, "ATQ0V1E0": None, "ATE0Q0V1": None})
    async with OnSocket(modem, tmp_path) as line:
        with pytest.raises(CommandTimeout):
            await probe(line.address, lambda event: None)
        assert modem.received == ["<esc>", "AT", "ATQ0V1E0", "AT", "ATE0Q0V1"]


async def test_old_answers_do_not_become_the_identity(tmp_path: Path) -> None:
    """A modem that still answers a former process: the first answers are one behind."""
    late = iter([OK, OK])

    def imei(_text: str) -> bytes:
        return next(late, said("490154203237518"))

    modem = ScriptedModem({"AT+CGSN": imei})
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, lambda event: None)
        assert driver.identity.imei == "490154203237518"
        await driver.close()


async def test_prompt_that_a_killed_process_left_is_escaped_and_its_payload_never_sent(
    tmp_path: Path,
) -> None:
    modem = ScriptedModem()
    async with OnSocket(modem, tmp_path) as line:
        reader, writer = await asyncio.open_unix_connection(str(line.path))
        writer.write(b"AT+CMGS=24\r")
        assert await reader.readuntil(b"> ") == b"\r\n> "
        writer.write(b"0011000B91")  # killed in the middle of its payload
        writer.close()
        await writer.wait_closed()
        driver = await probe(line.address, lambda event: None)
        assert "<esc>" in modem.received
        assert not any("ctrl-z" in what for what in modem.received)
        await driver.close()


async def test_two_modems_on_one_port_are_none(tmp_path: Path) -> None:
    numbers = iter(["490154203237518", "356938035643809"] * 3)
    modem = ScriptedModem({"AT+CGSN": lambda _text: said(next(numbers))})
    async with OnSocket(modem, tmp_path) as line:
        with pytest.raises(ProtocolError, match="two identities"):
            await probe(line.address, lambda event: None)


async def test_late_result_of_a_former_process_is_told(tmp_path: Path) -> None:
    modem = ScriptedModem({"AT": said("+CMGS: 7", "OK")})
    events: list[DriverEvent] = []
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, events.append)
        assert LateSubmitResult(mr=7) in events
        await driver.close()


async def test_modem_that_hides_its_names_is_generic(tmp_path: Path) -> None:
    modem = ScriptedModem({"AT+CGMI": b"\r\nERROR\r\n", "AT+CGSN": b"\r\nERROR\r\n"})
    modem.script["AT+GSN"] = said("IMEI: 490154203237518")
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, lambda event: None)
        assert (driver.identity.manufacturer, driver.identity.imei) == (
            "unknown",
            "490154203237518",
        )
        await driver.close()


async def test_name_that_an_ok_alone_answers_is_asked_in_another_way(tmp_path: Path) -> None:
    modem = ScriptedModem({"AT+CGMR": OK, "AT+GMR": said("R7"), "AT+CGMM": OK, "AT+GMM": OK})
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, lambda event: None)
        assert (driver.identity.revision, driver.identity.model) == ("R7", "unknown")
        await driver.close()


async def test_modem_without_imei_is_refused(tmp_path: Path) -> None:
    modem = ScriptedModem({"AT+CGSN": said(final="+CME ERROR: 100")})
    async with OnSocket(modem, tmp_path) as line:
        with pytest.raises(ProtocolError, match="no serial number"):
            await probe(line.address, lambda event: None)


async def test_what_comes_during_the_probe_is_told_after_it(tmp_path: Path) -> None:
    events: list[DriverEvent] = []
    news = iter([b'\r\n+CMTI: "SM",1\r\n'])
    modem = ScriptedModem({"AT+CGMM": lambda _text: next(news, b"") + said("Model 1")})
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, events.append)
        assert events == [SmsStored(memory="SM", index=1)]
        await driver.close()


# ---------------------------------------------------------------- start, card, PIN


async def test_radio_is_switched_on_only_where_it_is_off(bench: Bench) -> None:
    await bench.driver.initialise()
    assert "AT+CFUN=1" not in bench.modem.received
    bench.modem.script |= {"AT+CFUN?": said("+CFUN: 4"), "AT+CFUN=1": OK}
    await bench.driver.initialise()
    assert bench.modem.received[-1] == "AT+CFUN=1"


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (said("+CPIN: READY"), SimState.READY),
        (said("+CPIN: SIM PIN"), SimState.PIN),
        (said(final="+CME ERROR: 10"), SimState.ABSENT),
        (said(final="+CME ERROR: 14"), SimState.BUSY),
    ],
)
async def test_card_state_is_told_by_answer_or_error(
    bench: Bench, answer: bytes, state: SimState
) -> None:
    bench.modem.script["AT+CPIN?"] = answer
    assert await bench.driver.sim_state() is state


async def test_error_that_says_nothing_of_the_card_raises(bench: Bench) -> None:
    bench.modem.script["AT+CPIN?"] = said(final="+CME ERROR: 100")
    with pytest.raises(CommandError) as error:
        await bench.driver.sim_state()
    assert error.value.cause is not None
    assert error.value.cause.code == "cme:100"


async def test_iccid_is_read_by_file_then_by_command(bench: Bench) -> None:
    bench.modem.script["AT+CCID"] = said("8949012345678901234f")
    assert await bench.driver.read_iccid() == "8949012345678901234"
    bench.modem.script["AT+CRSM=176,12258,0,0,10"] = said('+CRSM: 144,0,"98941032547698103254"')
    assert await bench.driver.read_iccid() == "89490123456789012345"


async def test_iccid_that_no_way_tells_raises(bench: Bench) -> None:
    with pytest.raises(CommandError):
        await bench.driver.read_iccid()


async def test_question_that_an_ok_alone_answers_is_asked_in_another_way(bench: Bench) -> None:
    """Some firmware says OK to what it does not know: the link is realigned, not given up."""
    bench.modem.script |= {
        "AT+CRSM=176,12258,0,0,10": OK,
        "AT+CCID": said("+CCID: 89490123456789012345"),
        "AT+CPINR": OK,
        'AT+CSIM=10,"0020000100"': said('+CSIM: 4,"63C2"'),
        'AT+CSIM=10,"002C000100"': said('+CSIM: 4,"63CA"'),
    }
    assert await bench.driver.read_iccid() == "89490123456789012345"
    assert await bench.driver.pin_counter() == PinCounter(pin=2, puk=10)
    bench.modem.script |= {"AT+CCID": OK, 'AT+CSIM=10,"0020000100"': OK}
    bench.modem.script["AT+CPIN?"] = said("+CPIN: READY")
    with pytest.raises(ProtocolError, match="no ICCID"):
        await bench.driver.read_iccid()
    assert await bench.driver.pin_counter() is None
    assert await bench.driver.sim_state() is SimState.READY


async def test_imsi_is_read(bench: Bench) -> None:
    bench.modem.script["AT+CIMI"] = said("^RSSI: 3", "262011234567890")
    assert await bench.driver.read_imsi() == "262011234567890"


async def test_counter_falls_back_to_an_empty_verify(bench: Bench) -> None:
    assert await bench.driver.pin_counter() is None
    bench.modem.script |= {
        "AT+CPINR": said("+CPINR: SIM PUK,10"),
        'AT+CSIM=10,"0020000100"': said('+CSIM: 4,"63C2"'),
        'AT+CSIM=10,"002C000100"': said('+CSIM: 4,"63CA"'),
    }
    assert await bench.driver.pin_counter() == PinCounter(pin=2, puk=10)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (OK, PinOutcome.OK),
        (said(final="+CME ERROR: 16"), PinOutcome.WRONG),
        (said(final="+CME ERROR: 12"), PinOutcome.BLOCKED),
        (said(final="+CME ERROR: 3"), PinOutcome.NOT_ALLOWED),
        (said(final="+CME ERROR: 14"), PinOutcome.UNKNOWN),
        (said(final="ERROR"), PinOutcome.UNKNOWN),
    ],
)
async def test_pin_outcome_follows_the_error(
    bench: Bench, answer: bytes, outcome: PinOutcome
) -> None:
    bench.modem.script |= {
        'AT+CPIN="1234"': answer,
        'AT+CLCK="SC",1,"1234"': answer,
        'AT+CPWD="SC","1234","99887766"': answer,
    }
    assert await bench.driver.enter_pin("1234") is outcome
    assert await bench.driver.set_lock(enabled=True, pin="1234") is outcome
    assert await bench.driver.change_pin(old="1234", new="99887766") is outcome


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (OK, PinOutcome.OK),
        (said(final="+CME ERROR: 16"), PinOutcome.WRONG),
        (said(final="+CME ERROR: 12"), PinOutcome.WRONG),  # it asks for its PUK again
        (said(final="+CME ERROR: 3"), PinOutcome.NOT_ALLOWED),
        (said(final="+CME ERROR: 13"), PinOutcome.UNKNOWN),
        (said(final="ERROR"), PinOutcome.UNKNOWN),
    ],
)
async def test_puk_outcome_follows_the_error(
    bench: Bench, answer: bytes, outcome: PinOutcome
) -> None:
    bench.modem.script['AT+CPIN="12345678","99887766"'] = answer
    assert await bench.driver.enter_puk("12345678", "99887766") is outcome


@pytest.mark.parametrize(
    ("puk", "pin"),
    [("1234567", "1234"), ("123456789", "1234"), ("1234567a", "1234"), ("12345678", '1";')],
)
async def test_what_is_no_puk_never_leaves(bench: Bench, puk: str, pin: str) -> None:
    with pytest.raises(ValueError, match="has"):
        await bench.driver.enter_puk(puk, pin)
    assert not [line for line in bench.modem.received if "CPIN" in line]


async def test_unanswered_pin_is_unknown_and_the_link_out_of_step(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.modem.script['AT+CPIN="1234"'] = None
    monkeypatch.setattr(generic_module, "secret", fast(generic_module.secret))
    assert await bench.driver.enter_pin("1234") is PinOutcome.UNKNOWN
    with pytest.raises(OutOfStep):
        await bench.driver.sim_state()


@pytest.mark.parametrize("pin", ["", "123", "123456789", "12a4", '1234";+CPWD'])
async def test_what_is_no_pin_never_leaves(bench: Bench, pin: str) -> None:
    with pytest.raises(ValueError, match="4 to 8 digits") as error:
        await bench.driver.enter_pin(pin)
    assert pin not in str(error.value) or not pin
    assert bench.modem.received == []


async def test_lock_state_is_asked(bench: Bench) -> None:
    bench.modem.script['AT+CLCK="SC",2'] = said("+CLCK: 1")
    assert await bench.driver.lock_enabled()


async def test_card_is_usable_once_storage_is_served(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([said(final="+CME ERROR: 14"), said(final="+CMS ERROR: 302")])
    served = said("+CPMS: 0,1,0,1,0,1")
    bench.modem.script["AT+CPMS?"] = lambda _text: next(answers, served)
    monkeypatch.setattr(generic_module, "SIM_POLL", 0.001)
    await bench.driver.wait_sim_usable()
    assert bench.modem.received.count("AT+CPMS?") == 3


async def test_card_that_is_never_served_times_out(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.modem.script["AT+CPMS?"] = said(final="+CMS ERROR: 314")
    monkeypatch.setattr(generic_module, "SIM_USABLE_TIMEOUT", 0.01)
    monkeypatch.setattr(generic_module, "SIM_POLL", 0.004)
    with pytest.raises(CommandTimeout):
        await bench.driver.wait_sim_usable()


async def test_missing_card_ends_the_wait_at_once(bench: Bench) -> None:
    bench.modem.script["AT+CPMS?"] = said(final="+CMS ERROR: 310")
    with pytest.raises(CommandError):
        await bench.driver.wait_sim_usable()


async def test_modem_that_wants_all_arguments_is_read_where_messages_land(bench: Bench) -> None:
    """ofono-phonesim: `+CPMS` with one argument is `ERROR`."""
    error = b"\r\nERROR\r\n"
    bench.modem.script |= {"AT+CMGL=4": OK, 'AT+CPMS="ME"': error, 'AT+CPMS="SM"': error}
    await bench.driver.configure_messaging()
    assert await bench.driver.list_messages() == []
    assert await bench.driver.list_messages() == []
    assert bench.modem.received.count("AT+CMGL=4") == 2
    assert bench.modem.received.count('AT+CPMS="ME","ME","ME"') == 2
    assert 'AT+CPMS="SM","SM","SM"' not in bench.modem.received


# ---------------------------------------------------------------- messaging


async def test_messaging_is_set_up_and_read_back(bench: Bench) -> None:
    await bench.driver.configure_messaging()
    assert 'AT+CPMS="ME","ME","ME"' in bench.modem.received
    assert "AT+CNMI?" in bench.modem.received
    assert bench.driver.capabilities.reports


async def test_settings_of_messages_hold_until_the_modem_tells_otherwise(bench: Bench) -> None:
    script = bench.modem.script
    await bench.driver.configure_messaging()
    script["AT+CMGF?"] = said("+CMGF: 0")
    assert await bench.driver.messaging_is_set()
    script["AT+CNMI?"] = said("+CNMI: 0,0,0,0,0")
    assert not await bench.driver.messaging_is_set()
    script["AT+CNMI?"] = said("+CNMI: 2,1,0,2,1")  # the last one is the buffer's, and nobody's
    assert await bench.driver.messaging_is_set()
    script["AT+CMGF?"] = said("+CMGF: 1")
    assert not await bench.driver.messaging_is_set()


async def test_settings_of_messages_are_gone_when_the_modem_restarts_meanwhile(
    bench: Bench,
) -> None:
    await bench.driver.initialise()
    await bench.driver.configure_messaging()
    bench.modem.script["AT+CNMI?"] = b"AT+CNMI?\r" + said("+CNMI: 2,1,0,2,0")  # its echo is back
    assert not await bench.driver.messaging_is_set()


async def test_settings_that_a_modem_does_not_tell_count_as_set(bench: Bench) -> None:
    await bench.driver.configure_messaging()
    bench.modem.script |= {"AT+CNMI?": b"\r\nERROR\r\n", "AT+CMGF?": b"\r\nERROR\r\n"}
    assert await bench.driver.messaging_is_set()


async def test_routing_that_is_taken_but_not_kept_is_passed_over(bench: Bench) -> None:
    kept = {"now": "2,1,0,0,0"}

    def take(text: str) -> bytes:
        kept["now"] = text.partition("=")[2].replace(",2,0", ",0,0")  # ds 2 is ignored
        return OK

    bench.modem.script |= {
        "AT+CNMI=2,1,0,2,0": take,
        "AT+CNMI=2,1,0,1,0": take,
        "AT+CNMI?": lambda _text: said(f"+CNMI: {kept['now']}"),
    }
    await bench.driver.configure_messaging()
    assert "AT+CNMI=2,1,0,1,0" in bench.modem.received
    assert "AT+CNMI=1,1,0,2,0" not in bench.modem.received


async def test_modem_that_routes_no_reports_says_so(bench: Bench) -> None:
    bench.modem.script |= {"AT+CNMI=2,1,0,2,0": b"\r\nERROR\r\n", "AT+CNMI=2,1,0,0,0": OK}
    del bench.modem.script["AT+CNMI?"]
    await bench.driver.configure_messaging()
    assert not bench.driver.capabilities.reports


async def test_modem_that_knows_no_routing_is_looked_into(bench: Bench) -> None:
    del bench.modem.script["AT+CNMI=2,1,0,2,0"]
    del bench.modem.script["AT+CNMI?"]
    await bench.driver.configure_messaging()
    assert await bench.driver.messaging_is_set()
    assert not bench.driver.capabilities.reports
    bench.modem.script["AT+CMGL=4"] = said("+CMGL: 3,0,,24", PDU)
    assert len(await bench.driver.list_messages()) == 2


async def test_modem_that_keeps_its_own_routing_is_taken_at_its_word(bench: Bench) -> None:
    del bench.modem.script["AT+CNMI=2,1,0,2,0"]
    bench.modem.script["AT+CNMI?"] = said("+CNMI: 1,2,2,1,1")
    await bench.driver.configure_messaging()
    assert await bench.driver.messaging_is_set()
    assert bench.driver.capabilities.reports


async def test_modem_that_says_why_it_routes_nothing_raises(bench: Bench) -> None:
    for text in STORE_FIRST:
        bench.modem.script[f"AT+CNMI={text}"] = said(final="+CMS ERROR: 302")
    with pytest.raises(CommandError):
        await bench.driver.configure_messaging()


async def test_modem_that_keeps_no_routing_raises(bench: Bench) -> None:
    for text in generic_module.Family(
        capabilities=bench.driver.capabilities, matches=lambda identity: True
    ).cnmi:
        bench.modem.script[f"AT+CNMI={text}"] = OK
    bench.modem.script["AT+CNMI?"] = said("+CNMI: 0,0,0,0,0")
    with pytest.raises(ProtocolError):
        await bench.driver.configure_messaging()


async def test_memory_that_is_refused_gives_way_to_the_next(bench: Bench) -> None:
    del bench.modem.script["AT+CPMS=?"]
    del bench.modem.script['AT+CPMS="ME","ME","ME"']
    bench.modem.script['AT+CPMS="SM","SM","SM"'] = OK
    await bench.driver.configure_messaging()
    bench.modem.script["AT+CMGL=4"] = OK
    assert await bench.driver.list_messages() == []


async def test_modem_that_neither_stores_nor_shows_messages_raises(bench: Bench) -> None:
    bench.modem.script["AT+CPMS=?"] = said("+CPMS: (),(),()")
    del bench.modem.script["AT+CNMI?"]
    with pytest.raises(CommandError):
        await bench.driver.configure_messaging()


async def test_both_memories_are_listed(bench: Bench) -> None:
    await bench.driver.configure_messaging()
    bench.modem.received.clear()
    bench.modem.script["AT+CMGL=4"] = said("+CMGL: 3,0,,24", PDU)
    messages = await bench.driver.list_messages()
    assert [(m.memory, m.index, m.status, len(m.tpdu)) for m in messages] == [
        ("ME", 3, 0, 24),
        ("SM", 3, 0, 24),
    ]
    listing = ["AT+CPMS?", "AT+CMGL=4"]
    assert bench.modem.received == [*listing, 'AT+CPMS="SM"', *listing]


async def test_memory_that_cannot_be_read_is_passed_over_unless_messages_land_there(
    bench: Bench,
) -> None:
    await bench.driver.configure_messaging()
    bench.modem.script |= {"AT+CMGL=4": OK, 'AT+CPMS="SM"': b"\r\nERROR\r\n"}
    assert await bench.driver.list_messages() == []
    with pytest.raises(CommandError):
        await bench.driver.read_message("SM", 1)


async def test_garbled_entry_of_a_list_is_read_alone(bench: Bench) -> None:
    await bench.driver.configure_messaging()
    bench.modem.script |= {
        "AT+CMGL=4": said("+CMGL: 3,0,,24", "079194710Z", "+CMGL: 4,0,,24", "x", "+CMGL: x"),
        "AT+CMGR=3": said("+CMGR: 0,,24", PDU),
        "AT+CMGR=4": said(final="+CMS ERROR: 321"),
        'AT+CPMS="SM"': b"\r\nERROR\r\n",
    }
    (message,) = await bench.driver.list_messages()
    assert message.index == 3


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        said("+CMGR: 0,,0"),
        said(final="+CMS ERROR: 321"),
        said(final="+CME ERROR: 22"),
    ],
)
async def test_empty_slot_is_none_and_deleting_it_no_error(bench: Bench, answer: bytes) -> None:
    bench.modem.script["AT+CMGR=5"] = answer
    bench.modem.script["AT+CMGD=5"] = said(final="+CMS ERROR: 321")
    assert await bench.driver.read_message("SM", 5) is None
    await bench.driver.delete_message("SM", 5)
    assert bench.modem.received[0] == 'AT+CPMS="SM"'
    assert bench.modem.received.count('AT+CPMS="SM"') == 1


async def test_slot_whose_pdu_is_missing_each_time_is_passed_over_and_told(bench: Bench) -> None:
    bench.modem.script["AT+CMGR=5"] = said("+CMGR: 0,,24", "079194Z")
    assert await bench.driver.read_message("SM", 5) is None
    assert UnknownUrc(line="<SM 5 holds no PDU>") in bench.events
    assert bench.modem.received.count("AT+CMGR=5") == 3


async def test_slot_whose_pdu_lost_an_octet_is_read_again(bench: Bench) -> None:
    """It would be stored as it is not, and then deleted."""
    readings = iter([PDU[:-4] + PDU[-2:], PDU])
    bench.modem.script["AT+CMGR=5"] = lambda _: said("+CMGR: 1,,24", next(readings))
    message = await bench.driver.read_message("SM", 5)
    assert message is not None
    assert message.tpdu.hex().upper() == PDU[16:]


async def test_listed_pdu_that_lost_an_octet_is_read_alone(bench: Bench) -> None:
    bench.modem.script |= {
        "AT+CMGL=4": said("+CMGL: 3,0,,24", PDU[:-2]),
        "AT+CMGR=3": said("+CMGR: 0,,24", PDU),
        'AT+CPMS="SM"': said("+CPMS: 1,40"),
    }
    messages = await bench.driver.list_messages()
    assert {one.tpdu.hex().upper() for one in messages} == {PDU[16:]}


async def test_modem_that_counts_otherwise_is_believed_when_it_says_so_each_time(
    bench: Bench,
) -> None:
    bench.modem.script["AT+CMGR=5"] = said("+CMGR: 1,,32", PDU)
    message = await bench.driver.read_message("SM", 5)
    assert message is not None
    assert bench.modem.received.count("AT+CMGR=5") == 3


async def test_slot_that_reads_otherwise_each_time_is_not_taken(bench: Bench) -> None:
    readings = iter([PDU[:-2], PDU[:-4], PDU[:-2]])
    bench.modem.script["AT+CMGR=5"] = lambda _: said("+CMGR: 1,,24", next(readings))
    with pytest.raises(ProtocolError):
        await bench.driver.read_message("SM", 5)


async def test_slot_is_read(bench: Bench) -> None:
    bench.modem.script["AT+CMGR=5"] = said("+CMGR: 1,,24", PDU)
    message = await bench.driver.read_message("SM", 5)
    assert message is not None
    assert (message.status, message.sca.hex()) == (1, "91947101670000")


@pytest.mark.parametrize("text", ["AT+CMGR=5", "AT+CMGD=5"])
async def test_storage_error_raises(bench: Bench, text: str) -> None:
    bench.modem.script[text] = said(final="+CMS ERROR: 320")
    driver = bench.driver
    act = driver.read_message if "CMGR" in text else driver.delete_message
    with pytest.raises(CommandError) as error:
        await act("SM", 5)
    assert error.value.cms == 320


async def test_nothing_is_acknowledged_where_the_modem_does_it(bench: Bench) -> None:
    await bench.driver.acknowledge()
    assert bench.modem.received == []


async def test_nothing_parts_the_choice_of_a_memory_from_the_act_on_its_slot(
    bench: Bench,
) -> None:
    selected = {"now": "ME"}
    acts: list[tuple[str, str]] = []

    def select(text: str) -> bytes:
        selected["now"] = text.split('"')[1]
        return said("+CPMS: 1,20,1,20,1,20")

    def act(text: str) -> bytes:
        acts.append((selected["now"], text))
        return OK

    bench.modem.script |= {'AT+CPMS="SM"': select, 'AT+CPMS="ME"': select}
    bench.modem.script |= {f"AT+CMG{verb}={n}": act for verb in "RD" for n in (1, 2)}
    bench.modem.script["AT+CSQ"] = said("+CSQ: 1,99")
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(bench.driver.delete_message("SM", 1))
            group.create_task(bench.driver.delete_message("ME", 2))
            group.create_task(bench.driver.read_message("SM", 1))
            group.create_task(bench.driver.command("AT+CSQ"))
            group.create_task(bench.driver.read_message("ME", 2))
    assert len(acts) == 20
    assert {(memory, text[-1]) for memory, text in acts} == {("SM", "1"), ("ME", "2")}


async def test_lost_choice_of_a_memory_is_made_again(bench: Bench) -> None:
    bench.modem.script |= {"AT+CMGD=1": OK}
    await bench.driver.delete_message("SM", 1)
    bench.modem.script['AT+CPMS="ME"'] = None
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await bench.driver.delete_message("ME", 1)
    await bench.driver.realign()
    bench.modem.received.clear()
    await bench.driver.delete_message("SM", 1)
    assert bench.modem.received == ['AT+CPMS="SM"', "AT+CMGD=1"]


# ---------------------------------------------------------------- network


async def test_registration_signal_operator_and_calls_are_asked(bench: Bench) -> None:
    bench.modem.script |= {
        "AT+CREG?": said('+CREG: 2,5,"00C3","0000A1B2",7'),
        "AT+CSQ": said("+CSQ: 20,99"),
        "AT+COPS?": said('+COPS: 0,2,"26201",7'),
        "AT+CLCC": said('+CLCC: 1,1,4,0,0,"+491712345678",145'),
    }
    registration = await bench.driver.registration()
    assert (registration.stat, registration.is_registered) == (5, True)
    assert await bench.driver.signal_dbm() == -73
    assert await bench.driver.operator() == "26201"
    (call,) = await bench.driver.current_calls()
    assert call.is_incoming


async def test_registration_in_the_form_of_the_urc_is_taken(bench: Bench) -> None:
    bench.modem.script["AT+CREG?"] = said("+CREG: 1")
    assert (await bench.driver.registration()).stat == 1


async def test_unreadable_registration_answer_is_passed_over(bench: Bench) -> None:
    bench.modem.script["AT+CREG?"] = said("+CREG: 2,-1", "+CREG: 2,1")
    assert (await bench.driver.registration()).stat == 1


async def test_ok_without_the_answer_puts_the_link_out_of_step(bench: Bench) -> None:
    bench.modem.script |= {"AT+CREG?": said("+CREG: 0,1"), "AT+CSQ": OK}
    assert (await bench.driver.registration()).stat == 1
    bench.modem.script["AT+CREG?"] = OK
    with pytest.raises(ProtocolError):
        await bench.driver.registration()
    with pytest.raises(OutOfStep):
        await bench.driver.registration()
    await bench.driver.realign()
    assert await bench.driver.signal_dbm() is None
    assert bench.modem.received[-1] != "AT+CSQ"  # in step again: it was asked who it is


# ---------------------------------------------------------------- submit


async def test_accepted_segment_has_its_reference(bench: Bench) -> None:
    outcome = await bench.driver.submit(len(TPDU), now(TPDU))
    assert outcome == Accepted(mr=41)
    assert bench.modem.received == [
        f"AT+CMGS={len(TPDU)}",
        f"00{TPDU.hex().upper()}<ctrl-z>",
    ]


async def test_command_goes_out_before_the_clearance(bench: Bench) -> None:
    cleared: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        submission = group.create_task(bench.driver.submit(len(TPDU), cleared))
        await bench.modem.until(lambda: bench.modem.received == [f"AT+CMGS={len(TPDU)}"])
        bench.modem.say(b'\r\n+CMTI: "SM",1\r\n')
        await bench.until_told(1)
        assert len(bench.modem.received) == 1
        cleared.set_result(TPDU)
    assert submission.result() == Accepted(mr=41)


@pytest.mark.parametrize("prompt", [b"\r\n>", b"> ", b"\r> "])
async def test_prompt_of_other_firmware_is_understood(bench: Bench, prompt: bytes) -> None:
    bench.modem.prompt = prompt
    assert await bench.driver.submit(len(TPDU), now(TPDU)) == Accepted(mr=41)


async def test_the_doubled_reference_of_the_segment_before_is_not_this_ones(
    bench: Bench,
) -> None:
    bench.modem.payload_answer = b"\r\n+CMGS: 41\r\n" + said("+CMGS: 42")
    assert await bench.driver.submit(len(TPDU), now(TPDU)) == Accepted(mr=42)


async def test_a_reference_heard_before_the_prompt_is_not_this_ones(bench: Bench) -> None:
    bench.modem.prompt = b"\r\n+CMGS: 41\r\n\r\n> "
    bench.modem.payload_answer = said("+CMGS: 42")
    assert await bench.driver.submit(len(TPDU), now(TPDU)) == Accepted(mr=42)


async def test_refused_clearance_is_answered_by_escape(bench: Bench) -> None:
    assert await bench.driver.submit(len(TPDU), now(None)) == Withheld()
    assert bench.modem.received[-1] == "<esc>"
    assert await bench.driver.submit(len(TPDU), now(TPDU)) == Accepted(mr=41)


async def test_unanswered_escape_is_withheld_all_the_same(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.modem.escape_answer = b""
    assert await bench.driver.submit(len(TPDU), now(None)) == Withheld()
    with pytest.raises(OutOfStep):
        await bench.driver.submit(len(TPDU), now(TPDU))
    await bench.driver.realign()


async def test_refusal_before_the_prompt_is_proof_whatever_its_code(bench: Bench) -> None:
    bench.modem.script["AT+CMGS=24"] = said(final="+CMS ERROR: 500")

    async def clearance() -> bytes | None:
        raise AssertionError("never asked")

    outcome = await bench.driver.submit(24, clearance())
    assert isinstance(outcome, Refused)
    assert outcome.cause.proves_no_send
    assert outcome.cause.code == "cms:500"


async def test_refusal_by_the_network_is_refused(bench: Bench) -> None:
    bench.modem.payload_answer = said(final="+CMS ERROR: 38")
    outcome = await bench.driver.submit(len(TPDU), now(TPDU))
    assert isinstance(outcome, Refused)
    assert (outcome.cause.blame, outcome.cause.action) == (Blame.NETWORK, Action.BACK)


@pytest.mark.parametrize(
    "final", ["+CMS ERROR: 500", "+CMS ERROR: 332", "+CMS ERROR: 777", "ERROR", "+CME ERROR: 100"]
)
async def test_answer_that_proves_nothing_is_in_doubt(bench: Bench, final: str) -> None:
    bench.modem.payload_answer = said(final=final)
    outcome = await bench.driver.submit(len(TPDU), now(TPDU))
    assert isinstance(outcome, InDoubt)
    assert outcome.cause is not None


@pytest.mark.parametrize("answer", [OK, said("+CMGS: 999"), said("+CMGS: x")])
async def test_acceptance_without_a_reference_is_in_doubt(bench: Bench, answer: bytes) -> None:
    bench.modem.payload_answer = answer
    assert isinstance(await bench.driver.submit(len(TPDU), now(TPDU)), InDoubt)
    with pytest.raises(OutOfStep):
        await bench.driver.signal_dbm()


async def test_silence_after_the_payload_is_in_doubt_and_the_late_result_is_told(
    bench: Bench,
) -> None:
    bench.driver._capabilities = generic_module.dataclasses.replace(
        bench.driver.capabilities, submit_timeout=0.05
    )
    bench.modem.payload_answer = None
    outcome = await bench.driver.submit(len(TPDU), now(TPDU))
    assert isinstance(outcome, InDoubt)
    with pytest.raises(OutOfStep):
        await bench.driver.submit(len(TPDU), now(TPDU))
    bench.modem.say(said("+CMGS: 255"))
    await bench.driver.realign()
    assert bench.events == [LateSubmitResult(mr=255)]


async def test_link_lost_after_the_payload_is_in_doubt(bench: Bench) -> None:
    def hang_up(_payload: str) -> None:
        bench.line.unplug()

    bench.modem.payload_answer = hang_up
    assert isinstance(await bench.driver.submit(len(TPDU), now(TPDU)), InDoubt)
    assert isinstance(bench.events[-1], LinkLost)


async def test_link_lost_before_the_payload_raises_and_nothing_is_given(bench: Bench) -> None:
    cleared: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

    async def submit() -> None:
        with pytest.raises(PortGone):
            await bench.driver.submit(len(TPDU), cleared)

    async with asyncio.TaskGroup() as group:
        group.create_task(submit())
        await bench.modem.until(lambda: len(bench.modem.received) == 1)
        bench.line.unplug()
        await bench.until_told(1)
        cleared.set_result(TPDU)
    assert len(bench.modem.received) == 1


async def test_link_lost_while_withheld_is_withheld(bench: Bench) -> None:
    cleared: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        submission = group.create_task(bench.driver.submit(len(TPDU), cleared))
        await bench.modem.until(lambda: len(bench.modem.received) == 1)
        bench.line.unplug()
        await bench.until_told(1)
        cleared.set_result(None)
    assert submission.result() == Withheld()


async def test_prompt_that_never_comes_times_out_before_the_payload(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generic_module, "PROMPT_TIMEOUT", 0.05)
    bench.modem.script["AT+CMGS=24"] = None
    with pytest.raises(CommandTimeout) as error:
        await bench.driver.submit(24, now(TPDU))
    assert error.value.phase == "prompting"


async def test_prompt_that_the_modem_withdraws_is_refused(bench: Bench) -> None:
    for final, code in (("+CMS ERROR: 500", "cms:500"), ("OK", "prompt")):
        cleared: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        bench.modem.script["AT+CMGS=24"] = b"\r\n> "
        bench.modem.received.clear()
        async with asyncio.TaskGroup() as group:
            submission = group.create_task(bench.driver.submit(24, cleared))
            await bench.modem.until(lambda: len(bench.modem.received) == 1)
            bench.modem.say(said('+CMTI: "SM",1', final=final) + said(final="RING"))
            await bench.until_told(2)
            bench.events.clear()
            cleared.set_result(TPDU)
        outcome = submission.result()
        assert isinstance(outcome, Refused)
        assert outcome.cause.code == code
        assert outcome.cause.proves_no_send
        assert bench.modem.received == ["AT+CMGS=24"]


async def test_clearance_that_fails_is_answered_by_escape(bench: Bench) -> None:
    async def clearance() -> bytes | None:
        raise LookupError("store away")

    with pytest.raises(LookupError):
        await bench.driver.submit(len(TPDU), clearance())
    await bench.modem.until(lambda: bench.modem.received[-1] == "<esc>")
    with pytest.raises(OutOfStep):
        await bench.driver.signal_dbm()
    await bench.driver.realign()


async def test_clearance_that_fails_after_the_link_is_only_told(bench: Bench) -> None:
    cleared: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

    async def submit() -> None:
        with pytest.raises(LookupError):
            await bench.driver.submit(len(TPDU), cleared)

    async with asyncio.TaskGroup() as group:
        group.create_task(submit())
        await bench.modem.until(lambda: len(bench.modem.received) == 1)
        bench.line.unplug()
        await bench.until_told(1)
        cleared.set_exception(LookupError("store away"))
    assert len(bench.modem.received) == 1


async def test_clearance_that_does_not_come_is_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_module, "PAYLOAD_PATIENCE", 0.05)
    never: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
    with pytest.raises(CommandTimeout) as error:
        await bench.driver.submit(len(TPDU), never)
    assert error.value.phase == "payload"
    await bench.modem.until(lambda: bench.modem.received[-1] == "<esc>")


async def test_payload_of_another_length_never_leaves(bench: Bench) -> None:
    with pytest.raises(ValueError, match="announced"):
        await bench.driver.submit(20, now(TPDU))
    await bench.modem.until(lambda: bench.modem.received[-1] == "<esc>")
    assert len(bench.modem.received) == 2


async def test_cancelled_command_leaves_the_link_out_of_step(bench: Bench) -> None:
    bench.modem.script["AT+CSQ"] = None
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await bench.driver.signal_dbm()
    with pytest.raises(OutOfStep):
        await bench.driver.signal_dbm()
    bench.modem.say(said("+CSQ: 20,99"))  # too late, and nobody's
    await bench.driver.realign()
    bench.modem.script["AT+CSQ"] = said("+CSQ: 10,99")
    assert await bench.driver.signal_dbm() == -93


async def test_two_callers_wait_for_each_other(bench: Bench) -> None:
    bench.modem.script |= {"AT+CSQ": said("+CSQ: 20,99"), "AT+COPS?": said("+COPS: 0")}
    async with asyncio.TaskGroup() as group:
        signal = group.create_task(bench.driver.signal_dbm())
        operator = group.create_task(bench.driver.operator())
    assert (signal.result(), operator.result()) == (-73, None)


async def test_gap_is_kept_between_result_and_next_command(bench: Bench) -> None:
    bench.modem.script["AT+CSQ"] = said("+CSQ: 20,99")
    bench.driver._channel.gap = 0.03
    loop = asyncio.get_running_loop()
    await bench.driver.signal_dbm()
    started = loop.time()
    await bench.driver.signal_dbm()
    assert loop.time() - started >= 0.029


# ---------------------------------------------------------------- upkeep


async def test_command_by_hand_gives_lines_and_result(bench: Bench) -> None:
    bench.modem.script |= {
        "AT+CSQ": said("+CSQ: 20,99"),
        "AT+CMGL=4": said("+CMGL: 1,1,,24", PDU),
        "ATI": said("Manufacturer: ACME", "IMEI: 490154203237518"),
    }
    assert await bench.driver.command("AT+CSQ") == ["+CSQ: 20,99", "OK"]
    assert await bench.driver.command("AT+NONE") == ["ERROR"]
    assert len(await bench.driver.command("AT+CMGL=4")) == 3
    assert (await bench.driver.command("ATI"))[0] == "Manufacturer: ACME"


@pytest.mark.parametrize(
    "text",
    [
        "AT+CMGS=24", "at+cmss=1", "AT+CSQ;+CMSS=1", "AT+CMGW=1", "AT+CNMA=1,2", "ATD110;",
        "AT+CSQ;D110;", "ATA", 'AT+CPIN="1234"', 'AT+CLCK="SC",0,"1"', 'AT+CPWD="SC","1","2"',
        "AT\rAT", "AT\x1a", "AT\x1b", "ATZ\n", "hello", "", "AT D 110", "ATE0D110;", "ATE0A",
        "AT+CSQ;+CSQ", 'AT+CSIM=26,"0020000108"', "AT+CRSM=214,28486,0,0,17", 'AT+EGMR=1,7,"1"',
    ],
)  # fmt: skip
async def test_what_no_person_may_send_never_leaves(bench: Bench, text: str) -> None:
    with pytest.raises(ValueError, match="by hand"):
        await bench.driver.command(text)
    assert bench.modem.received == []


async def test_realignment_that_fails_raises(bench: Bench) -> None:
    bench.modem.script |= {"AT+CGSN": None, "AT+CGMM": None, "AT+CGMR": None, "AT+CGMI": None}
    driver = bench.driver
    questions = channel_module.Session.realign

    def impatient(session: object, *args: object, **kwargs: object) -> None:
        fast_questions = [
            generic_module.dataclasses.replace(question, timeout=0.01) for question in args[0]
        ]
        questions(session, fast_questions, *args[1:], **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(channel_module.Session, "realign", impatient)
        with pytest.raises(OutOfStep):
            await driver.realign()
    with pytest.raises(OutOfStep):
        await driver.signal_dbm()


async def test_reset_bears_that_the_link_ends(bench: Bench) -> None:
    bench.modem.script["AT+CFUN=1,1"] = lambda _text: bench.line.unplug()
    await bench.driver.reset()
    with pytest.raises(PortGone):
        await bench.driver.signal_dbm()


async def test_refused_reset_raises(bench: Bench) -> None:
    with pytest.raises(CommandError):
        await bench.driver.reset()


async def test_closed_driver_takes_no_command_and_tells_nothing(bench: Bench) -> None:
    await bench.driver.close()
    with pytest.raises(PortGone):
        await bench.driver.signal_dbm()
    with pytest.raises(PortGone):
        await bench.driver.realign()
    assert bench.events == []


async def test_close_ends_a_waiting_command(bench: Bench) -> None:
    bench.modem.script["AT+CSQ"] = None

    async def ask() -> None:
        with pytest.raises(PortGone):
            await bench.driver.signal_dbm()

    async with asyncio.TaskGroup() as group:
        group.create_task(ask())
        await bench.modem.until(lambda: bench.modem.received == ["AT+CSQ"])
        await bench.driver.close()


# ---------------------------------------------------------------- what comes by itself


async def test_events_are_told_in_order(bench: Bench) -> None:
    bench.modem.say(
        b'\r\n+CMTI: "SM",3\r\n\r\n+CREG: 5\r\n\r\nRING\r\n\r\n+CLIP: "+4917",145\r\n'
        b"\r\nNO CARRIER\r\n\r\n+CDS: 25\r\n" + PDU.encode() + b"\r\n\r\n*FOO: secret\r\n"
        b"\r\n+CMTI: rubbish\r\n\r\nOK\r\n\r\nplain words\r\n\r\n+CMGS: 9\r\n"
    )
    events = await bench.until_told(11)
    assert events[0] == SmsStored(memory="SM", index=3)
    assert isinstance(events[1], RegistrationChanged)
    assert events[2] == CallEvent(kind=CallEventKind.RING, is_incoming=True)
    assert events[3] == CallEvent(kind=CallEventKind.CALLER, is_incoming=True, number="+4917")
    assert events[4] == CallEvent(kind=CallEventKind.ENDED, cause="no carrier")
    assert isinstance(events[5], SmsDirect)
    assert not events[5].needs_ack
    assert [event.line for event in events[6:10] if isinstance(event, UnknownUrc)] == [
        "'*FOO:'<private>",
        "+CMTI:<unreadable>",
        "<stray, 2 characters>",
        "<11 characters>",
    ]
    assert events[10] == LateSubmitResult(mr=9)


async def test_echo_that_comes_back_is_a_restart_told_once(bench: Bench) -> None:
    await bench.driver.initialise()
    bench.modem.script["AT+CSQ"] = b"AT+CSQ\r" + said("+CSQ: 20,99")
    await bench.driver.signal_dbm()
    await bench.driver.signal_dbm()
    assert bench.events == [Rebooted(evidence="echo is back")]
    await bench.driver.initialise()
    await bench.driver.signal_dbm()
    assert len(bench.events) == 2


async def test_lost_link_may_be_distrusted(bench: Bench) -> None:
    await bench.driver.close()
    bench.driver._channel.distrust()
    assert bench.driver._channel.session.state == "closed"


async def test_facts_are_each_told_by_another_line(tmp_path: Path) -> None:
    """A model equal to its revision could not tell which of two questions was answered."""
    modem = ScriptedModem({"AT+CGMR": said("Model 1"), "AT+CGMI": b"\r\nERROR\r\n"})
    async with OnSocket(modem, tmp_path) as line:
        driver = await probe(line.address, lambda event: None)
        assert [fact.text for fact in driver._facts()] == ["AT+CGSN", "AT+CGMM"]
        await driver.realign()
        await driver.close()


async def test_unplugged_link_is_told_once(bench: Bench) -> None:
    bench.line.unplug()
    (event,) = await bench.until_told(1)
    assert isinstance(event, LinkLost)
    with pytest.raises(PortGone):
        await bench.driver.signal_dbm()
    await bench.driver.close()
    assert len(bench.events) == 1


# ---------------------------------------------------------------- the wire log


async def test_wire_log_shows_no_secret(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.modem.script |= {
        'AT+CPIN="4711"': OK,
        'AT+CPIN="73914682","55667788"': OK,
        'AT+CPWD="SC","4711","90417365"': OK,
        "AT+CIMI": said("262011234567890"),
        "AT+CMGR=1": said("+CMGR: 1,,24", PDU),
        "AT+CSQ": said("+CSQ: 20,99"),
    }
    with caplog.at_level(logging.DEBUG, logger="drivers.wire"):
        await bench.driver.enter_pin("4711")
        await bench.driver.enter_puk("73914682", "55667788")
        await bench.driver.change_pin(old="4711", new="90417365")
        await bench.driver.read_imsi()
        await bench.driver.read_message("SM", 1)
        await bench.driver.signal_dbm()
        await bench.driver.submit(len(TPDU), now(TPDU))
        bench.modem.say(f'\r\n+CLIP: "+491712345678",145\r\n\r\n+CMT: ,24\r\n{PDU}\r\n'.encode())
        bench.modem.say(b"\r\nsome words\r\n\r\nOK\r\n")
        await bench.until_told(4)
        await bench.driver.realign()
        bench.modem.script["AT+CSQ"] = None
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await bench.driver.signal_dbm()
    text = caplog.text
    pins = ("4711", "73914682", "55667788", "90417365")
    others = ("262011234567890", PDU, TPDU.hex().upper(), "4917123", "some words")
    for secret in (*pins, *others):
        assert secret not in text
    for shown in (
        "AT+CPIN=<pin>",
        "AT+CPIN=<puk>,<pin>",
        "+CSQ: 20,99",
        "<tpdu 24 octets>",
        "<tpdu 32 octets>",
    ):
        assert shown in text


async def test_wire_log_is_off_by_default(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.modem.script["AT+CSQ"] = said("+CSQ: 20,99")
    with caplog.at_level(logging.DEBUG):
        await bench.driver.signal_dbm()
    assert "wire." not in caplog.text


def fast(make: object) -> object:
    """The same maker of commands with a short time limit."""

    def made(*args: object, **kwargs: object) -> object:
        return generic_module.dataclasses.replace(make(*args, **kwargs), timeout=0.05)

    return made


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (said('+CPMS: "ME",0,50,"ME",0,50,"ME",0,50'), 30.0),
        (said('+CPMS: "ME",20,50,"ME",20,50,"ME",20,50'), 50.0),
        (said('+CPMS: "ME",255,255,"ME",255,255,"ME",255,255'), 120.0),
        (OK, 120.0),
        (b"\r\nERROR\r\n", 120.0),
    ],
)
async def test_a_list_may_take_as_long_as_what_lies_there(
    bench: Bench, told: bytes, expected: float
) -> None:
    await bench.driver.configure_messaging()
    bench.modem.script["AT+CPMS?"] = told
    assert await bench.driver._time_to_list("ME") == expected


async def test_a_lost_list_of_an_empty_storage_costs_seconds_and_the_line_is_in_step_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.messaging._LIST_BASE", 0.1)
    await bench.driver.configure_messaging()
    bench.modem.script |= {
        "AT+CPMS?": said('+CPMS: "ME",0,50,"ME",0,50,"ME",0,50'),
        "AT+CMGL=4": None,
    }
    with pytest.raises(CommandTimeout):
        await bench.driver.list_messages()
    bench.modem.say(b"\r\n+CMGL: 3,1,,24\r\n" + PDU.encode() + b"\r\n\r\nOK\r\n")  # late
    await bench.driver.realign()
    bench.modem.script["AT+CMGL=4"] = OK
    assert await bench.driver.list_messages() == []
