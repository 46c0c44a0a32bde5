"""Each family's driver against its simulated persona, over real ptys; the ledger judges."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from drivers import dialogue
from drivers.at.session import Fact, Question, questions_about
from drivers.errors import CommandTimeout, OutOfStep
from drivers.interface import (
    Accepted,
    CallEvent,
    CallEventKind,
    Capabilities,
    Driver,
    DriverEvent,
    InDoubt,
    LateSubmitResult,
    PinOutcome,
    Rebooted,
    Refused,
    SimState,
    SmsDirect,
    SmsStored,
    UnknownUrc,
    Withheld,
)
from simulator.phone import CallOutcome, CallPlan
from tests.support.rigs import Rig, RigBank
from tests.support.simulated import BankProcess

PERSONAS = {
    "generic": "generic",
    "huawei": "huawei",
    "quectel": "quectel",
    "simcom": "simcom-2g",
    "sim7600": "simcom",
}


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RigBank]:
    flags = ("--modems", "90", "--latency", "0.02", "--report-delay", "0.05")
    with BankProcess(tmp_path_factory.mktemp("bank"), *flags) as process:
        yield RigBank(process, PERSONAS)


async def test_card_is_named_before_its_pin_and_tries_are_told(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.driver.initialise()
        assert await rig.driver.read_iccid() == rig.card["iccid"]
        counter = await rig.driver.pin_counter()
        assert counter is not None
        assert (counter.pin, counter.puk) == (3, 10)
        assert await rig.driver.enter_pin("0000" if rig.card["pin"] != "0000" else "1111") in {
            PinOutcome.WRONG,
            PinOutcome.UNKNOWN,
        }
        counter = await rig.driver.pin_counter()
        assert counter is not None
        assert counter.pin == 2
        await rig.unlock()
        assert await rig.driver.read_imsi() == rig.card["imsi"]
        assert await rig.driver.lock_enabled()
        assert await rig.driver.sim_state() is SimState.READY

    await bank.for_each(body)


async def test_pin_is_changed_and_lock_switched(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.unlock()
        old, new = rig.card["pin"], "24681357"
        assert await rig.driver.change_pin(old=old, new=new) is PinOutcome.OK
        assert await rig.driver.set_lock(enabled=False, pin=new) is PinOutcome.OK
        assert not await rig.driver.lock_enabled()
        assert await rig.driver.set_lock(enabled=True, pin=new) is PinOutcome.OK

    await bank.for_each(body)


async def test_segment_is_sent_and_its_report_comes_in(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.unlock()
        outcomes = [await rig.submit() for _ in range(3)]
        assert all(isinstance(outcome, Accepted) for outcome in outcomes)
        assert len({outcome.mr for outcome in outcomes if isinstance(outcome, Accepted)}) == 3
        assert rig.taken() == 3
        assert rig.driver.capabilities.reports
        await rig.until(lambda: rig.count(SmsStored) + rig.count(SmsDirect) == 3)
        stored = await rig.driver.list_messages()
        reports = [message.tpdu for message in stored]
        reports += [event.tpdu for event in rig.events if isinstance(event, SmsDirect)]
        assert [tpdu[0] & 3 for tpdu in reports] == [2, 2, 2]
        for message in stored:
            await rig.driver.delete_message(message.memory, message.index)
        assert await rig.driver.list_messages() == []
        assert rig.count(UnknownUrc) == 0

    await bank.for_each(body)


async def test_withheld_segment_never_leaves(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.unlock()
        assert await rig.submit(None) == Withheld()
        assert rig.taken() == 0
        assert isinstance(await rig.submit(), Accepted)

    await bank.for_each(body)


async def test_refusal_and_vague_answer_are_told_apart(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.unlock()
        rig.fault("cms_error", code=38)
        assert isinstance(await rig.submit(), Refused)
        rig.fault("cms_error_sent", code=500)
        assert isinstance(await rig.submit(), InDoubt)
        assert rig.taken() == 1

    await bank.for_each(body)


async def test_prompt_without_blank_and_noise_do_no_harm(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.unlock()
        for kind in ("bare_prompt", "urc_in_answer", "slow_output", "garbage"):
            rig.fault(kind)
            assert isinstance(await rig.submit(), Accepted), kind
        assert rig.taken() == 4

    await bank.for_each(body)


async def test_message_comes_in_is_read_and_deleted(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.unlock()
        rig.bank.control.inject_sms(rig.name, "long " * 50, origin="+8613911112222")
        sent = 2
        await rig.until(lambda: rig.count(SmsStored) + rig.count(SmsDirect) == sent)
        for event in rig.events:
            if isinstance(event, SmsStored):
                message = await rig.driver.read_message(event.memory, event.index)
                assert message is not None
                assert message.tpdu[0] & 3 == 0
                await rig.driver.delete_message(event.memory, event.index)
                assert await rig.driver.read_message(event.memory, event.index) is None

    await bank.for_each(body)


async def test_incoming_call_is_told_with_its_number_and_its_end(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.unlock()
        rig.bank.control.inject_call(
            rig.name,
            CallPlan(number="+8613911112222", outcome=CallOutcome.MISSED, ring_seconds=0.7),
        )
        await rig.until(lambda: any(is_call(e, CallEventKind.RING) for e in rig.events))
        await rig.until(
            lambda: any(
                isinstance(event, CallEvent) and event.number == "+8613911112222"
                for event in rig.events
            )
        )
        (call,) = await rig.driver.current_calls()
        assert call.is_incoming
        await rig.until(lambda: any(is_call(e, CallEventKind.ENDED) for e in rig.events))
        assert await rig.driver.current_calls() == []

    await bank.for_each(body)


def is_call(event: DriverEvent, kind: CallEventKind) -> bool:
    return isinstance(event, CallEvent) and event.kind is kind


async def test_late_result_is_in_doubt_then_told(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.unlock()
        shorten(rig.driver, 0.2)
        rig.fault("late_answer", seconds=0.4)
        assert isinstance(await rig.submit(), InDoubt)
        with pytest.raises(OutOfStep):
            await rig.driver.signal_dbm()
        await rig.driver.realign()
        assert rig.taken() == 1
        assert rig.count(LateSubmitResult) == 1
        assert (await rig.driver.signal_dbm() or 0) < 0
        assert isinstance(await rig.submit(), Accepted)

    await bank.for_each(body)


async def test_modem_that_hangs_stays_out_of_step(
    bank: RigBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hasty(facts: list[Fact]) -> list[Question]:
        return [replace(question, timeout=0.2) for question in questions_about(facts)]

    monkeypatch.setattr(dialogue, "questions_about", hasty)

    async def body(rig: Rig) -> None:
        await rig.unlock()
        shorten(rig.driver, 0.1)
        rig.fault("hang")
        assert isinstance(await rig.submit(), InDoubt)
        async with asyncio.timeout(30):
            with pytest.raises(OutOfStep):
                await rig.driver.realign()
        assert rig.taken() == 0

    await bank.for_each(body)


async def test_restart_is_told(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.unlock()
        rig.fault("echo_again")
        await rig.driver.signal_dbm()
        await rig.driver.signal_dbm()
        assert rig.count(Rebooted) == 1

    await bank.for_each(body)


async def test_network_and_signal_are_told(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.unlock()
        assert (await rig.driver.registration()).is_registered
        assert (await rig.driver.signal_dbm() or 0) < 0
        assert await rig.driver.operator()
        assert (await rig.driver.command("AT+CSQ"))[-1] == "OK"

    await bank.for_each(body)


def shorten(driver: Driver, seconds: float) -> None:
    """Give up on a result after `seconds` instead of three minutes."""
    capabilities = driver.capabilities
    names = {name: getattr(capabilities, name) for name in Capabilities.__slots__}
    driver._capabilities = Capabilities(**{**names, "submit_timeout": seconds})
    assert CommandTimeout is not None
