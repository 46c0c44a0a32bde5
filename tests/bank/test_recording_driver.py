"""The product's drivers at work through the recorder, and against the replay of that recording."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drivers.interface import Accepted, DriverEvent, PinOutcome, SimState, SmsStored
from drivers.registry import probe
from tests.support.recorders import Tool
from tests.support.rigs import TPDU
from tests.support.simulated import BankProcess

PIN = "73918264"


@dataclass
class Day:
    """What a driver found out in a short day's work."""

    facts: dict[str, object] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)


async def work(port: Path, pin: str) -> Day:
    """Open, identify, unlock, send one message, hear of its report, read and delete it."""
    day = Day()
    events: asyncio.Queue[DriverEvent] = asyncio.Queue()
    async with asyncio.timeout(40):
        driver = await probe(str(port), events.put_nowait)
        identity = driver.identity
        day.facts["model"] = (identity.manufacturer, identity.model, identity.revision)
        day.facts["family"] = driver.capabilities.family
        await driver.initialise()
        iccid = await driver.read_iccid()
        day.facts["card"] = (iccid[:6], len(iccid), await driver.sim_state())
        day.facts["tries"] = await driver.pin_counter()
        day.facts["pin"] = await driver.enter_pin(pin)
        await driver.wait_sim_usable()
        imsi = await driver.read_imsi()
        day.facts["network"] = imsi[:5]
        await driver.configure_messaging()
        while not (await driver.registration()).is_registered:
            await asyncio.sleep(0.1)
        day.facts["outcome"] = await driver.submit(len(TPDU), clearance())
        while not isinstance(event := await events.get(), SmsStored):
            pass
        day.facts["report"] = (event.memory, event.index)
        stored = await driver.read_message(event.memory, event.index)
        assert stored is not None
        day.facts["stored"] = (stored.tpdu[0] & 3, len(stored.tpdu), stored.tpdu[-1])
        await driver.delete_message(event.memory, event.index)
        day.secrets = [identity.imei, iccid, imsi, pin]
        await driver.close()
    return day


async def clearance() -> bytes:
    return TPDU


@pytest.mark.parametrize(
    "persona",
    [
        "generic",
        "huawei",
        *(pytest.param(p, marks=pytest.mark.long) for p in ("simcom", "sim7600")),
    ],
)
async def test_driver_works_with_the_recording_of_its_work(persona: str, tmp_path: Path) -> None:
    file = tmp_path / "day.jsonl"
    flags = ("--modems", "1", "--persona", persona, "--latency", "0.1", "--report-delay", "0.3")
    with BankProcess(tmp_path / "bank", *flags, "--pin", PIN) as bank:
        with Tool("record", bank.port(), "--to", file):
            day = await work(tmp_path / "day.port", PIN)
        assert len(bank.ledger(kind="submit")) == 1
    assert day.facts["outcome"] == Accepted(mr=0)
    assert (day.facts["pin"], day.facts["stored"]) == (PinOutcome.OK, (2, 26, 0))
    card = day.facts["card"]
    assert isinstance(card, tuple)
    assert card[2] is SimState.PIN
    raw = file.read_text()
    for secret in (*day.secrets, TPDU.hex().upper(), "13912345678", "3119325476F8"):
        assert secret not in raw

    with Tool("replay", file, "--pty", tmp_path / "again") as tool:
        again = await work(tmp_path / "again", "11112222")
    assert again.facts == day.facts
    assert again.secrets != day.secrets
    assert "not in the recording" not in tool.output
