"""Faults, refusals and PINs: each family's driver on a simulated model; the ledger judges."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from drivers import dialogue
from drivers.at.questions import Fact, Question, questions_about
from drivers.errors import OutOfStep
from drivers.interface import (
    Accepted,
    InDoubt,
    PinOutcome,
    Refused,
    Withheld,
)
from tests.support.models import ONE_EACH
from tests.support.rigs import Rig, RigBank
from tests.support.simulated import BankProcess

TESTS = 6


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RigBank]:
    flags = ("--persona", ",".join(ONE_EACH), "--modems", str(TESTS * len(ONE_EACH)))
    times = ("--latency", "0.02", "--report-delay", "0.05")
    with BankProcess(tmp_path_factory.mktemp("bank"), *flags, *times) as process:
        yield RigBank(process, ONE_EACH)


async def test_pin_is_changed_and_lock_switched(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.unlock()
        old, new = rig.card["pin"], "24681357"
        assert await rig.driver.change_pin(old=old, new=new) is PinOutcome.OK
        assert await rig.driver.set_lock(enabled=False, pin=new) is PinOutcome.OK
        assert not await rig.driver.lock_enabled()
        assert await rig.driver.set_lock(enabled=True, pin=new) is PinOutcome.OK

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


async def test_modem_that_hangs_stays_out_of_step(
    bank: RigBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hasty(facts: list[Fact]) -> list[Question]:
        return [replace(question, timeout=0.2) for question in questions_about(facts)]

    monkeypatch.setattr(dialogue, "questions_about", hasty)

    async def body(rig: Rig) -> None:
        await rig.unlock()
        rig.shorten(0.1)
        rig.fault("hang")
        assert isinstance(await rig.submit(), InDoubt)
        async with asyncio.timeout(30):
            with pytest.raises(OutOfStep):
                await rig.driver.realign()
        assert rig.taken() == 0

    await bank.for_each(body)


async def test_network_and_signal_are_told(bank: RigBank) -> None:
    async def body(rig: Rig) -> None:
        await rig.unlock()
        assert (await rig.driver.registration()).is_registered
        assert (await rig.driver.signal_dbm() or 0) < 0
        assert await rig.driver.operator()
        assert (await rig.driver.command("AT+CSQ"))[-1] == "OK"

    await bank.for_each(body)
