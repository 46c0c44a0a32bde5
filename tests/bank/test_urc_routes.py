"""Unsolicited lines that come out at another port of the modem are found and brought here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources

import pytest

from drivers import announcements
from drivers.families.quectel import QUECTEL
from drivers.interface import CallEvent, SmsStored
from drivers.registry import probe
from simulator.phone import CallOutcome, CallPlan
from tests.support.rigs import Rig, RigBank
from tests.support.simulated import BankProcess, wait_until

NUMBER = "+8613911112222"
SILENT = "e173"


@pytest.fixture(scope="module")
def ec20(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An EC20 whose unsolicited lines come out at its modem port, as some are delivered."""
    text = (resources.files("simulator") / "personas" / "ec20.toml").read_text("utf-8")
    file = tmp_path_factory.mktemp("persona") / "ec20.toml"
    file.write_text(f'urc_role = "modem"\n{text}', "utf-8")
    return str(file)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory, ec20: str) -> Iterator[RigBank]:
    flags = ("--persona", f"{ec20},{SILENT}", "--modems", "6", "--latency", "0.02")
    with BankProcess(tmp_path_factory.mktemp("bank"), *flags) as process:
        yield RigBank(process, {"ec20": "quectel", SILENT: "huawei"})


async def test_quectel_that_talks_at_another_port_is_heard_here(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.unlock()
        rig.bank.control.inject_sms(rig.name, "hello", origin=NUMBER)
        await rig.until(lambda: rig.count(SmsStored) == 1)
        plan = CallPlan(number=NUMBER, outcome=CallOutcome.MISSED, ring_seconds=0.7)
        rig.bank.control.inject_call(rig.name, plan)
        await rig.until(
            lambda: any(isinstance(e, CallEvent) and e.number == NUMBER for e in rig.events)
        )

    await bank.run("ec20", body)


async def test_without_its_family_knowledge_it_would_not_be_heard(bank: RigBank) -> None:
    """What the test above rests on: this persona does talk elsewhere."""

    async def body(rig: Rig) -> None:
        await rig.driver.close()
        deaf = replace(QUECTEL, urc_routes=())
        rig.driver = await probe(rig.bank.port(rig.name), rig.sink, known=(deaf,))
        await unlock_unheard(rig)
        rig.bank.control.inject_sms(rig.name, "hello", origin=NUMBER)
        wait_until(lambda: bool(rig.bank.ledger(kind="deliver", modem=rig.name)), what="delivery")
        assert len(await rig.driver.list_messages()) == 1
        assert rig.count(SmsStored) == 0

    await bank.run("ec20", body)


async def unlock_unheard(rig: Rig) -> None:
    await rig.driver.initialise()
    await rig.driver.enter_pin(rig.card["pin"])
    await rig.driver.wait_sim_usable()
    await rig.driver.configure_messaging()
    async with asyncio.timeout(60):
        while not (await rig.driver.registration()).is_registered:
            pass  # each question takes its time


async def test_announcements_that_go_with_the_noise_are_heard_from_the_second_message_on(
    bank: RigBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcements, "PATIENCE", 0.0)

    async def body(rig: Rig) -> None:
        await rig.unlock()
        assert await rig.driver.list_messages() == []
        rig.bank.control.inject_sms(rig.name, "unheard", origin=NUMBER)
        wait_until(lambda: bool(rig.bank.ledger(kind="deliver", modem=rig.name)), what="delivery")
        (message,) = await rig.driver.list_messages()
        await rig.driver.delete_message(message.memory, message.index)
        assert rig.count(SmsStored) == 0
        assert await rig.driver.messaging_is_set()
        rig.bank.control.inject_sms(rig.name, "heard", origin=NUMBER)
        await rig.until(lambda: rig.count(SmsStored) == 1)

    await bank.run(SILENT, body)


async def test_after_the_last_way_all_are_tried_again(
    bank: RigBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcements, "PATIENCE", 0.0)

    async def body(rig: Rig) -> None:
        await rig.unlock()
        assert await rig.driver.list_messages() == []
        await rig.driver.command('AT+QURCCFG="urcport","usbmodem"')  # as somebody else may have
        for n in range(6):
            rig.bank.control.inject_sms(rig.name, f"message {n}", origin=NUMBER)
            wait_until(
                lambda n=n: len(rig.bank.ledger(kind="deliver", modem=rig.name)) == n + 1,
                what="delivery",
            )
            for message in await rig.driver.list_messages():
                await rig.driver.delete_message(message.memory, message.index)
            if rig.count(SmsStored):
                break
            await rig.driver.messaging_is_set()
        assert rig.count(SmsStored)

    await bank.run("ec20", body)
