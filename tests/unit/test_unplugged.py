"""A modem that is pulled, in each state of the table, and comes back."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from drivers import registry
from drivers.errors import CommandTimeout, DriverError, PortBusy
from modemctl.config import SimsSettings
from modemctl.config.settings import BankSettings, ListMode, LockMode
from modemctl.fleet.breaking import Breakers
from modemctl.fleet.dispatcher import Dispatcher, EncodingRules
from modemctl.fleet.ground import Ground
from modemctl.fleet.sending import StopBell
from modemctl.fleet.starting import StartBudget
from modemctl.fleet.supervisor import Supervisor
from modemctl.lifecycle import ModemState
from modemctl.model import Bay
from modemctl.policy.numbers import NumberRules
from modemctl.store import Store, modems
from modemctl.store.modems import ModemRow
from modemctl.telemetry import ModemSample, Telemetry
from tests.support.approved import add_cards
from tests.support.benches import CARDS, MANY, rules
from tests.support.scripted_modem import OK, Answer, OnPty, ScriptedModem, said
from tests.support.stores import TestClock, open_store

_M = ModemState
MUTE = CommandTimeout("AT", "probe")
_SEEDS = range(40) if os.environ.get("MODEMCTL_LONG") else (0, 35)  # 35: in a ladder's rests
_N_ACTS = 12
STRANGE_CARD = "89860000000000000019"


def well(**changed: Answer) -> ScriptedModem:
    """A modem on which a bay becomes READY; `cpin=…` changes the answer to a command."""
    fixed = ("AT+CMEE=1", "AT+CMGF=0", "AT+CREG=2", "AT+CNMI=2,1,0,2,0", "AT+CMGL=4")
    script: dict[str, Answer] = {
        **dict.fromkeys(fixed, OK),
        "AT+CFUN?": said("+CFUN: 1"),
        "AT+CPIN?": said("+CPIN: READY"),
        "AT+CCID": said(f"+CCID: {CARDS[0]}"),
        "AT+CPINR": said("+CPINR: SIM PIN,3,3"),
        'AT+CLCK="SC",2': said("+CLCK: 1"),
        "AT+CPMS?": said('+CPMS: "SM",0,50,"SM",0,50,"SM",0,50'),
        "AT+CPMS=?": said('+CPMS: ("SM"),("SM"),("SM")'),
        'AT+CPMS="SM","SM","SM"': said("+CPMS: 0,50,0,50,0,50"),
        'AT+CPMS="SM"': said("+CPMS: 0,50,0,50,0,50"),
        "AT+CNMI?": said("+CNMI: 2,1,0,2,0"),
        "AT+CREG?": said("+CREG: 2,1"),
        "AT+CSQ": said("+CSQ: 20,99"),
    }
    return ScriptedModem({**script, **{f"AT{key}": answer for key, answer in changed.items()}})


HELD_IN: dict[ModemState, Callable[[], ScriptedModem]] = {
    _M.PROBING: lambda: well(**{"": None}),
    _M.REFUSED: well,
    _M.STARTING: lambda: well(**{"+CFUN?": None}),
    _M.CHECKING: lambda: well(**{"+CCID": None}),
    _M.QUARANTINED: lambda: well(**{"+CCID": said(f"+CCID: {STRANGE_CARD}")}),
    _M.UNLOCKING: lambda: well(**{"+CPMS=?": None}),
    _M.SIM_WAIT: lambda: well(**{"+CPIN?": b"\r\n+CME ERROR: 10\r\n"}),
    _M.SEARCHING: lambda: well(**{"+CREG?": said("+CREG: 2,2")}),
    _M.READY: well,
    _M.RECOVERING: well,
    _M.FAILED: well,
}
"""State → a modem with which a bay stays there."""


class Fleet:
    """The supervisor on one named port; where it leads is up to the test."""

    def __init__(self, store: Store, link: Path) -> None:
        self.store = store
        self.link = link
        self.fault: DriverError | None = None
        self.samples: Callable[[], Sequence[ModemSample]] = list

    async def open(self, address, sink):
        if self.fault is not None:
            raise self.fault
        return await registry.probe(address, sink)

    def plug(self, port: OnPty) -> None:
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(port.path)

    async def row(self) -> ModemRow | None:
        rows = await self.store.read(lambda conn: modems.find(conn, node_id=self.store.node_id))
        return next(iter(rows), None)

    async def state(self) -> ModemState | None:
        row = await self.row()
        return None if row is None else row.state

    async def reach(self, state: ModemState) -> None:
        try:
            async with asyncio.timeout(30):
                while await self.state() is not state:
                    await asyncio.sleep(0.005)
        except TimeoutError:
            pytest.fail(f"{await self.state()}, not {state}")


@asynccontextmanager
async def fleet(tmp_path: Path, mode: ListMode, *, is_named: bool = True) -> AsyncIterator[Fleet]:
    async with open_store(tmp_path, TestClock()) as store:
        await store.write(lambda tx: add_cards(tx, CARDS[:2], pin="1234"))
        one = Fleet(store, tmp_path / "bay-01")
        pattern = str(one.link) if is_named else f"{one.link}*"
        telemetry, limits = Telemetry(version="test"), rules(MANY)
        encoding = EncodingRules(validity=timedelta(hours=1), wants_reports=False)
        supervisor = Supervisor(
            Ground(
                store=store,
                breakers=Breakers(store, telemetry),
                dispatcher=Dispatcher(store, limits, encoding, telemetry),
                telemetry=telemetry,
                rules=limits,
                bank=BankSettings(ports=(pattern,), rescan_interval=0.05, modems=mode),
                sims=SimsSettings(lock=LockMode.VERIFY),
                numbers=NumberRules(region="CN"),
                stops=StopBell(),
                start_budget=StartBudget(1, per_hub=1),
                probe=one.open,
            )
        )
        one.samples = lambda: supervisor.snapshot().modems
        async with asyncio.TaskGroup() as group:
            group.create_task(supervisor.run())
            try:
                yield one
            finally:
                supervisor.stop()


@pytest.mark.parametrize("state", list(HELD_IN))
async def test_a_modem_pulled_in_any_state_is_absent_at_once_and_comes_back(tmp_path, state):
    mode = ListMode.ENFORCE if state is _M.REFUSED else ListMode.LEARN
    async with OnPty(HELD_IN[state]()) as port, fleet(tmp_path, mode) as one:
        await one.reach(_M.ABSENT)  # named, and not there yet
        one.fault = MUTE if state in {_M.RECOVERING, _M.FAILED} else None
        one.plug(port)
        await one.reach(state)
        began_at = asyncio.get_running_loop().time()
        one.link.unlink()
        port.unplug()
        await one.reach(_M.ABSENT)
        limit = 7.0 if state is _M.RECOVERING else 1.5  # its steps rest between
        assert asyncio.get_running_loop().time() - began_at < limit
        one.fault = None
        async with OnPty(well()) as again:
            one.plug(again)
            await one.reach(_M.REFUSED if mode is ListMode.ENFORCE else _M.READY)


@pytest.mark.parametrize("state", [_M.REFUSED, _M.CHECKING, _M.READY, _M.RECOVERING, _M.FAILED])
async def test_a_modem_changed_for_another_between_two_looks_is_taken(tmp_path, state):
    mode = ListMode.ENFORCE if state is _M.REFUSED else ListMode.LEARN
    async with (
        OnPty(HELD_IN[state]()) as port,
        OnPty(well()) as other,
        fleet(tmp_path, mode) as one,
    ):
        one.fault = MUTE if state in {_M.RECOVERING, _M.FAILED} else None
        one.plug(port)
        await one.reach(state)
        one.fault = None
        one.plug(other)  # nothing of ours runs between
        port.unplug()
        await other.modem.until(lambda: "AT+CGSN" in other.modem.received)
        await one.reach(_M.REFUSED if mode is ListMode.ENFORCE else _M.READY)


@pytest.mark.parametrize("seed", _SEEDS)
async def test_whatever_is_plugged_and_pulled_when_the_last_one_counts(tmp_path, monkeypatch, seed):
    dice = random.Random(seed)
    monkeypatch.setattr("modemctl.fleet.seats._FIRST_PAUSE", 0.05)
    monkeypatch.setattr("modemctl.fleet.seats._LONGEST_PAUSE", 0.2)
    async with AsyncExitStack() as stack, fleet(tmp_path, ListMode.LEARN) as one:
        port: OnPty | None = None
        for _ in range(_N_ACTS):
            before, port = port, None
            if dice.random() < 0.7:
                port = await stack.enter_async_context(OnPty(well()))
                one.plug(port)
            else:
                one.link.unlink(missing_ok=True)
            if before is not None:
                before.unplug()
            await asyncio.sleep(dice.choice((0.0, 0.001, 0.01, 0.05, 0.2, 0.5)))
        if port is not None:
            await port.modem.until(lambda: "AT+CREG?" in port.modem.received, limit=60)
        await one.reach(_M.ABSENT if port is None else _M.READY)


async def test_a_modem_whose_port_is_held_is_absent_for_the_right_reason_once_it_is_pulled(
    tmp_path,
):
    async def tells(holds: Callable[[str], bool]) -> None:
        async with asyncio.timeout(20):
            while (row := await one.row()) is None or not holds(row.reason):
                await asyncio.sleep(0.005)

    async with OnPty(well()) as port, fleet(tmp_path, ListMode.LEARN) as one:
        one.fault = PortBusy(str(one.link), "busy", holder="17 minicom")
        one.plug(port)
        await tells(lambda reason: "17 minicom" in reason)
        one.link.unlink()
        await tells(lambda reason: reason == "no port" or "bay-01 is missing" in reason)
        one.fault = None
        one.plug(port)
        await one.reach(_M.READY)


async def test_a_bay_that_has_been_away_since_the_start_is_told_to_a_scrape(tmp_path):
    async with OnPty(well()) as port, fleet(tmp_path, ListMode.LEARN) as one:
        async with asyncio.timeout(10):
            while [(sample.bay, sample.state) for sample in one.samples()] != [
                ("bay-01", "absent")
            ]:
                await asyncio.sleep(0.005)
        one.plug(port)
        await one.reach(_M.READY)
        assert [sample.state for sample in one.samples()] == ["ready"]


async def test_a_forgotten_bay_stays_away_until_a_modem_is_plugged_in(tmp_path):
    async with (
        OnPty(well()) as port,
        OnPty(well()) as again,
        fleet(tmp_path, ListMode.LEARN, is_named=False) as one,
    ):
        one.plug(port)
        await one.reach(_M.READY)
        assert not await one.store.write(lambda tx: modems.forget(tx, Bay("bay-01")))
        one.link.unlink()
        port.unplug()
        await one.reach(_M.ABSENT)
        async with asyncio.timeout(10):
            while not await one.store.write(lambda tx: modems.forget(tx, Bay("bay-01"))):
                await asyncio.sleep(0.005)
            while one.samples():
                await asyncio.sleep(0.005)
        assert await one.row() is None
        one.plug(again)
        await one.reach(_M.READY)
        assert [sample.state for sample in one.samples()] == ["ready"]


def test_each_state_that_a_modem_can_be_pulled_in_is_tried():
    assert set(HELD_IN) == set(ModemState) - {_M.ABSENT}
