"""The product's driver on every simulated model, over real ptys; the ledger judges.

Every family is met on at least one model by default, on all of them under `MODEMCTL_LONG=1`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from drivers.errors import CommandTimeout, LinkError, OutOfStep
from drivers.interface import (
    Accepted,
    CallEvent,
    CallEventKind,
    Driver,
    InDoubt,
    LateSubmitResult,
    PinOutcome,
    Rebooted,
    SimState,
    SmsDirect,
    SmsStored,
    UnknownUrc,
)
from drivers.registry import FAMILIES, probe
from modemctl.fleet.ussd import words
from modemctl.sms import pack_ussd
from simulator.phone import CallOutcome, CallPlan
from tests.support.models import EVERY, MET
from tests.support.rigs import TPDU, Rig, RigBank
from tests.support.simulated import BankProcess, wait_until

NUMBER = "+8613911112222"
# SUBMIT to +8613912345678, status report asked, UCS-2 "你好".
CHINESE = bytes.fromhex("21000D91683119325476F80008044F60597D")


# +CMTI is silenced with the noise: what came is found when the driver lists it.
SILENT = "e173"
TALKING = tuple(name for name in MET if name != SILENT)
TESTS = 7


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RigBank]:
    flags = ("--persona", ",".join(MET), "--modems", str(TESTS * len(MET)))
    times = ("--latency", "0.02", "--report-delay", "0.05")
    with BankProcess(tmp_path_factory.mktemp("bank"), *flags, *times) as process:
        yield RigBank(process, MET)


def test_every_family_has_a_persona() -> None:
    assert {family.capabilities.family for family in FAMILIES} == set(EVERY.values())


async def test_card_is_named_and_its_tries_are_told_before_the_pin(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.driver.initialise()
        assert await rig.driver.sim_state() is SimState.PIN
        assert await rig.driver.read_iccid() == rig.card["iccid"]
        counter = await rig.driver.pin_counter()
        assert counter is not None
        assert counter.pin == 3
        assert counter.puk in {10, None}
        wrong = "0000" if rig.card["pin"] != "0000" else "1111"
        assert await rig.driver.enter_pin(wrong) is PinOutcome.WRONG
        counter = await rig.driver.pin_counter()
        assert counter is not None
        assert counter.pin == 2
        await rig.unlock()
        assert await rig.driver.read_imsi() == rig.card["imsi"]
        assert await rig.driver.lock_enabled()

    await bank.for_each(body)


async def test_both_alphabets_leave_and_their_reports_are_found(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.unlock()
        assert (await rig.driver.signal_dbm() or 0) < 0
        assert await rig.driver.operator()
        for tpdu in (TPDU, CHINESE):
            assert isinstance(await rig.submit(tpdu), Accepted)
        texts = [line["text"] for line in rig.bank.ledger(kind="submit", modem=rig.name)]
        assert texts == ["hello", "你好"]
        if not rig.driver.capabilities.reports:
            return
        await rig.until(lambda: rig.count(SmsStored) + rig.count(SmsDirect) == 2)
        reports = [message.tpdu for message in await rig.driver.list_messages()]
        reports += [event.tpdu for event in rig.events if isinstance(event, SmsDirect)]
        assert [tpdu[0] & 3 for tpdu in reports] == [2, 2]

    await bank.for_each(body, *TALKING)


async def test_message_comes_in_is_read_and_deleted(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.unlock()
        rig.bank.control.inject_sms(rig.name, "long " * 50, origin=NUMBER)
        await rig.until(lambda: rig.count(SmsStored) + rig.count(SmsDirect) == 2)
        for event in rig.events:
            if isinstance(event, SmsStored):
                message = await rig.driver.read_message(event.memory, event.index)
                assert message is not None
                await rig.driver.delete_message(event.memory, event.index)
                assert await rig.driver.read_message(event.memory, event.index) is None
        assert await rig.driver.list_messages() == []
        assert await rig.driver.messaging_is_set()
        assert rig.count(UnknownUrc) == 0

    await bank.for_each(body, *TALKING)


async def test_incoming_call_is_told_with_its_number_and_its_end(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.unlock()
        plan = CallPlan(number=NUMBER, outcome=CallOutcome.MISSED, ring_seconds=0.7)
        rig.bank.control.inject_call(rig.name, plan)

        def told(kind: CallEventKind) -> bool:
            return any(isinstance(e, CallEvent) and e.kind is kind for e in rig.events)

        await rig.until(lambda: told(CallEventKind.RING))
        (call,) = await rig.driver.current_calls()
        assert call.is_incoming
        await rig.until(
            lambda: any(isinstance(e, CallEvent) and e.number == NUMBER for e in rig.events)
        )
        await rig.until(lambda: told(CallEventKind.ENDED))
        assert not told(CallEventKind.DIALLING)
        assert not told(CallEventKind.ALERTING)
        assert await rig.driver.current_calls() == []

    await bank.for_each(body)


async def test_late_answer_is_in_doubt_and_serves_no_other_command(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.unlock()
        # The model's own time for a submission and the fault's come on top of each other.
        rig.shorten(0.2)
        rig.fault("late_answer", seconds=2.0)
        assert isinstance(await rig.submit(), InDoubt)
        with pytest.raises(OutOfStep):
            await rig.driver.signal_dbm()
        async with asyncio.timeout(30):
            while not await realigned(rig.driver):
                pass
        assert rig.taken() == 1
        assert (await rig.driver.signal_dbm() or 0) < 0
        await rig.until(lambda: rig.count(LateSubmitResult) == 1)
        rig.shorten(30)
        assert isinstance(await rig.submit(), Accepted)

    await bank.for_each(body)


async def realigned(driver: Driver) -> bool:
    try:
        await driver.realign()
    except OutOfStep:
        return False
    return True


async def test_restarted_modem_is_found_again_and_asks_for_its_pin(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.unlock()
        rig.fault("echo_again")
        await rig.driver.signal_dbm()
        await rig.driver.signal_dbm()
        assert rig.count(Rebooted) == 1
        assert not await rig.driver.messaging_is_set()
        rig.bank.control.reboot(rig.name)
        await rig.driver.close()
        async with asyncio.timeout(60):
            rig.driver = await found_again(rig)
        await rig.unlock()
        assert isinstance(await rig.submit(), Accepted)

    await bank.for_each(body)


async def found_again(rig: Rig) -> Driver:
    """Knock until somebody opens: the port is away for a while, then deaf for a while."""
    while True:
        try:
            return await probe(rig.bank.port(rig.name), rig.sink)
        except (LinkError, CommandTimeout):
            await asyncio.sleep(0.1)


async def test_message_that_is_not_announced_is_found_all_the_same(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.unlock()
        rig.bank.control.inject_sms(rig.name, "hello", origin=NUMBER)
        wait_until(lambda: bool(rig.bank.ledger(kind="deliver", modem=rig.name)), what="delivery")
        (message,) = await rig.driver.list_messages()
        assert message.tpdu[0] & 3 == 0
        assert rig.count(SmsStored) == 0

    await bank.run(SILENT, body)


async def test_codes_are_answered_and_every_session_is_ended(bank: RigBank) -> None:
    """By packed septets, by UCS-2 or by text; a menu and silence leave the way free."""

    async def body(rig: Rig) -> None:
        await rig.unlock()

        async def ask(code: str, *, timeout: float = 20.0) -> tuple[int, str] | None:
            reply = await rig.driver.ask_ussd(code, packed=pack_ussd(code), timeout=timeout)
            return None if reply is None else (reply.state, words(reply))

        menu = await ask("*101#")
        assert menu is not None
        assert menu[0] == 1
        assert menu[1].startswith("1 Balance")
        assert await ask("*103#", timeout=0.2) is None
        assert await ask("*104#") == (5, "")
        assert await ask("*105#") == (2, "")
        latin, chinese = await ask("*100#"), await ask("*102#")
        assert latin is not None
        assert latin[1].startswith("Balance ")
        assert chinese is not None
        assert chinese[1].startswith("您的余额为")
        assert rig.count(UnknownUrc) == 0

    await bank.for_each(body)
