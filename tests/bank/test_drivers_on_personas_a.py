"""The product's drivers on every simulated Huawei, ZTE, Quectel and SIMCom; the ledger judges."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from drivers.errors import CommandTimeout, LinkError
from drivers.interface import (
    Accepted,
    CallEvent,
    CallEventKind,
    Driver,
    PinOutcome,
    SimState,
    SmsDirect,
    SmsStored,
)
from drivers.registry import probe
from simulator.phone import CallOutcome, CallPlan
from tests.support.rigs import Rig, RigBank
from tests.support.simulated import BankProcess, wait_until

FAMILIES = {
    "huawei": "huawei",
    "e1550": "huawei",
    "e173": "huawei",
    "e1752": "huawei",
    "e3372": "huawei",
    "mu609": "huawei",
    "zte": "zte",
    "quectel": "quectel",
    "ec20": "quectel",
    "eg06": "quectel",
    "m35": "quectel",
    "simcom": "simcom-2g",
    "sim7600": "simcom",
}
# +CMTI is silenced with the noise: what came is found when the driver lists it.
SILENT = "e173"
TALKING = tuple(persona for persona in FAMILIES if persona != SILENT)
TESTS = 5


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RigBank]:
    flags = ("--persona", ",".join(FAMILIES), "--modems", str(TESTS * len(FAMILIES)))
    times = ("--latency", "0.02", "--report-delay", "0.05")
    with BankProcess(tmp_path_factory.mktemp("bank"), *flags, *times) as process:
        yield RigBank(process, FAMILIES)


async def test_card_is_named_and_its_tries_are_told_before_the_pin(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.driver.initialise()
        assert await rig.driver.sim_state() is SimState.PIN
        assert await rig.driver.read_iccid() == rig.card["iccid"]
        counter = await rig.driver.pin_counter()
        assert counter is not None
        assert (counter.pin, counter.puk) == (3, 10)
        wrong = "0000" if rig.card["pin"] != "0000" else "1111"
        assert await rig.driver.enter_pin(wrong) is PinOutcome.WRONG
        counter = await rig.driver.pin_counter()
        assert counter is not None
        assert counter.pin == 2
        await rig.unlock()
        assert await rig.driver.read_imsi() == rig.card["imsi"]

    await bank.for_each(body)


async def test_segment_leaves_and_its_report_is_found(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.unlock()
        assert (await rig.driver.signal_dbm() or 0) < 0
        assert await rig.driver.operator()
        assert isinstance(await rig.submit(), Accepted)
        assert rig.taken() == 1
        await rig.until(lambda: rig.count(SmsStored) + rig.count(SmsDirect) == 1)
        stored = await rig.driver.list_messages()
        reports = [message.tpdu for message in stored]
        reports += [event.tpdu for event in rig.events if isinstance(event, SmsDirect)]
        assert [tpdu[0] & 3 for tpdu in reports] == [2]

    await bank.for_each(body, *TALKING)


async def test_message_comes_in_is_read_and_deleted(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.unlock()
        rig.bank.control.inject_sms(rig.name, "long " * 50, origin="+8613911112222")
        await rig.until(lambda: rig.count(SmsStored) + rig.count(SmsDirect) == 2)
        for event in rig.events:
            if isinstance(event, SmsStored):
                message = await rig.driver.read_message(event.memory, event.index)
                assert message is not None
                await rig.driver.delete_message(event.memory, event.index)
                assert await rig.driver.read_message(event.memory, event.index) is None
        assert await rig.driver.list_messages() == []

    await bank.for_each(body, *TALKING)


async def test_message_that_is_not_announced_is_found_all_the_same(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.unlock()
        rig.bank.control.inject_sms(rig.name, "hello", origin="+8613911112222")
        wait_until(lambda: bool(rig.bank.ledger(kind="deliver", modem=rig.name)), what="delivery")
        (message,) = await rig.driver.list_messages()
        assert message.tpdu[0] & 3 == 0
        assert rig.count(SmsStored) == 0

    await bank.run(SILENT, body)


async def test_incoming_call_is_told_with_its_number_and_its_end(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.unlock()
        number = "+8613911112222"
        plan = CallPlan(number=number, outcome=CallOutcome.MISSED, ring_seconds=0.7)
        rig.bank.control.inject_call(rig.name, plan)

        def told(kind: CallEventKind) -> bool:
            return any(isinstance(e, CallEvent) and e.kind is kind for e in rig.events)

        await rig.until(lambda: told(CallEventKind.RING))
        (call,) = await rig.driver.current_calls()
        assert call.is_incoming
        await rig.until(
            lambda: any(isinstance(e, CallEvent) and e.number == number for e in rig.events)
        )
        await rig.until(lambda: told(CallEventKind.ENDED))
        assert await rig.driver.current_calls() == []

    await bank.for_each(body)


async def test_restarted_modem_is_found_again_and_asks_for_its_pin(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.unlock()
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
