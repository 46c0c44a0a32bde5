"""Real drivers, real store: what a simulated network sends is stored before it is deleted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select

from drivers.errors import CommandError
from drivers.generic import GenericDriver
from drivers.interface import (
    Accepted,
    CallEvent,
    Driver,
    DriverEvent,
    Rebooted,
    SmsDirect,
    SmsStored,
    StorageFull,
)
from drivers.registry import probe
from modemctl.errors import StoreError
from modemctl.fleet.inbound import Inbound
from modemctl.model import Iccid
from modemctl.policy.incoming import InboxKind
from modemctl.policy.numbers import NumberRules
from modemctl.store import Store, calls, inbox, optouts
from modemctl.store.tables import inbox as inbox_table
from modemctl.store.tables import report as report_table
from modemctl.telemetry import Telemetry
from simulator.phone import CallOutcome, CallPlan
from tests.support.simulated import BankProcess
from tests.support.stores import TestClock, open_store

MOTHER = "+8613800000001"
# To +8613912345678, status report asked, GSM-7 "hello".
SUBMIT = bytes.fromhex("21000D91683119325476F8000005E8329BFD06")
LONG = "很长的一条消息，" * 30


class Ordered:
    """A real driver that notes, at each delete and acknowledge, how many rows were committed."""

    def __init__(self, driver: Driver, store: Store) -> None:
        self.driver = driver
        self._store = store
        self.seen: list[tuple[str, int]] = []
        self.n_lists = 0

    def __getattr__(self, name: str):
        return getattr(self.driver, name)

    async def list_messages(self):
        self.n_lists += 1
        return await self.driver.list_messages()

    async def delete_message(self, memory: str, index: int) -> None:
        self.seen.append(("delete", await n_rows(self._store)))
        await self.driver.delete_message(memory, index)

    async def acknowledge(self) -> None:
        self.seen.append(("acknowledge", await n_rows(self._store)))
        await self.driver.acknowledge()


async def n_rows(store: Store) -> int:
    def query(conn) -> int:
        counts = [
            conn.scalar(select(func.count()).select_from(table))
            for table in (inbox_table, report_table)
        ]
        return sum(counts)

    return await store.read(query)


class Scene:
    """One modem, its driver and events, a store, and the inbound part between them."""

    def __init__(self, bank: BankProcess, driver: Driver, events, store: Store, clock) -> None:
        (state,) = bank.control.state("modem01")
        self.bank, self.store, self.clock, self.events = bank, store, clock, events
        self.card = Iccid(state["card"]["iccid"])
        self.driver = Ordered(driver, store)
        self.inbound = Inbound(
            store, Telemetry(version="test"), bay="bay-1", iccid=self.card, numbers=NumberRules()
        )

    async def until(self, kind: type, n: int = 1) -> None:
        """Handle events until `n` of this kind were taken."""
        taken = 0
        async with asyncio.timeout(30):
            while taken < n:
                event = await self.events.get()
                await self.inbound.handle(self.driver, event)
                taken += isinstance(event, kind)

    async def rows(self, **query):
        wanted = inbox.Query(**query)
        return await self.store.read(
            lambda conn: inbox.find(conn, self.store.vault, wanted, before=None, limit=500)
        )

    async def calls(self):
        return await self.store.read(
            lambda conn: calls.find(conn, self.store.vault, calls.Query(), before=None, limit=9)
        )


@asynccontextmanager
async def scene(tmp_path: Path, persona: str = "generic", *, ready=True) -> AsyncIterator[Scene]:
    flags = ("--modems", "1", "--pin-lock", "off", "--persona", persona, "--report-delay", "0")
    events: asyncio.Queue[DriverEvent] = asyncio.Queue()
    clock = TestClock()
    with BankProcess(tmp_path / "bank", *flags) as bank:
        driver = await probe(bank.port(), events.put_nowait)
        try:
            await driver.initialise()
            await driver.wait_sim_usable()
            if ready:
                await driver.configure_messaging()
                await registered(driver)
            async with open_store(tmp_path, clock) as store:
                yield Scene(bank, driver, events, store, clock)
        finally:
            await driver.close()


async def registered(driver: Driver) -> None:
    async with asyncio.timeout(30):
        while not (await driver.registration()).is_registered:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("persona", ["generic", "huawei", "quectel", "simcom", "sim7600"])
async def test_a_message_is_committed_before_it_is_deleted(tmp_path: Path, persona):
    async with scene(tmp_path, persona) as here:
        here.bank.control.inject_sms("modem01", "你好 👍", origin=MOTHER)
        await here.until(SmsStored)
        (row,) = await here.rows()
        left = await here.driver.list_messages()
    assert (row.text, row.sender, row.iccid) == ("你好 👍", MOTHER, here.card)
    assert here.driver.seen == [("delete", 1)]
    assert left == []


async def test_what_came_while_we_were_away_is_taken_at_the_start(tmp_path: Path):
    async with scene(tmp_path) as here:
        for i in range(12):
            here.bank.control.inject_sms("modem01", f"number {i}", origin=MOTHER)
        here.bank.control.inject_sms("modem01", "TD", origin="+8613800000002")
        async with asyncio.timeout(30):
            while len(await here.driver.list_messages()) < 13:
                await asyncio.sleep(0.05)
        assert await here.inbound.drain_storage(here.driver) == 13
        rows = await here.rows()
        out = await here.store.read(
            lambda conn: optouts.find(conn, here.store.vault, "+8613800000002")
        )
        left = await here.driver.list_messages()
        await here.until(SmsStored, 13)  # their lines find the slots empty
        n_after = await n_rows(here.store)
    assert {row.text for row in rows} == {f"number {i}" for i in range(12)} | {"TD"}
    assert here.driver.seen[0] == ("delete", 13)
    assert out is not None
    assert left == []
    assert n_after == 13


async def test_a_long_text_is_joined(tmp_path: Path):
    async with scene(tmp_path) as here:
        here.bank.control.inject_sms("modem01", LONG, origin=MOTHER)
        await here.until(SmsStored, 4)
        whole = await here.rows(kind=InboxKind.TEXT)
    assert [row.text for row in whole] == [LONG]


async def test_nothing_is_deleted_while_the_store_is_away(tmp_path: Path):
    async with scene(tmp_path) as here:
        here.bank.control.inject_sms("modem01", "keep me", origin=MOTHER)
        event = await here.events.get()
        while not isinstance(event, SmsStored):
            event = await here.events.get()
        await here.store.journal.stop()
        with pytest.raises(StoreError):
            await here.inbound.handle(here.driver, event)
        with pytest.raises(StoreError):
            await here.inbound.drain_storage(here.driver)
        kept = await here.driver.list_messages()
    assert len(kept) == 1
    assert here.driver.seen == []


async def test_a_direct_delivery_is_acknowledged_after_its_commit(tmp_path: Path):
    async with scene(tmp_path) as here:
        driver = here.driver.driver
        assert isinstance(driver, GenericDriver)
        for command in ("AT+CSMS=1", "AT+CNMI=2,2,0,1,0"):
            assert (await driver.command(command))[-1] == "OK"
        here.bank.control.inject_sms("modem01", "direct", origin=MOTHER)
        async with asyncio.timeout(30):
            event = await here.events.get()
            while not isinstance(event, SmsDirect):
                event = await here.events.get()
        waits = SmsDirect(sca=event.sca, tpdu=event.tpdu, needs_ack=True)
        await here.inbound.handle(here.driver, waits)
        (row,) = await here.rows()
    assert row.text == "direct"
    assert here.driver.seen == [("acknowledge", 1)]


async def test_a_direct_delivery_outlives_a_store_that_is_away(tmp_path: Path):
    async with scene(tmp_path) as here:
        tpdu = bytes.fromhex("040C916831080000100000621112224365400C")
        event = SmsDirect(sca=b"", tpdu=tpdu, needs_ack=False)
        await here.store.journal.stop()
        with pytest.raises(StoreError):
            await here.inbound.handle(here.driver, event)
        assert here.inbound.due_in() == 1.0
        async with open_store(tmp_path, here.clock) as again:
            here.inbound._store = again
            await here.inbound.tick(here.driver)
            assert await n_rows(again) == 1
        assert here.inbound.due_in() is None


async def test_a_slot_that_cannot_be_deleted_is_stored_all_the_same(tmp_path: Path):
    async with scene(tmp_path) as here:

        async def refuse(memory: str, index: int) -> None:
            raise CommandError("AT+CMGD", cms=320)

        here.driver.delete_message = refuse
        here.bank.control.inject_sms("modem01", "stuck", origin=MOTHER)
        await here.until(SmsStored)
        await here.inbound.drain_storage(here.driver)
        rows = await here.rows()
    assert [(row.text, row.is_repeat) for row in rows] == [("stuck", True), ("stuck", False)]


@pytest.mark.parametrize(
    ("persona", "outcome"),
    [
        ("generic", CallOutcome.MISSED),
        ("huawei", CallOutcome.ANSWERED),
        ("quectel", CallOutcome.ANSWERED),
        ("simcom", CallOutcome.MISSED),
        ("sim7600", CallOutcome.ANSWERED),
    ],
)
async def test_one_call_is_one_record(tmp_path: Path, persona, outcome):
    plan = CallPlan(number=MOTHER, outcome=outcome, rings=3, ring_seconds=0.3, seconds=0.5)
    async with scene(tmp_path, persona) as here:
        here.bank.control.inject_call("modem01", plan)
        await follow_call(here)
        found = await here.calls()
    (call,) = found
    assert call.is_incoming
    assert call.number == MOTHER
    assert call.ended_at is not None
    assert call.n_rings == 3
    assert (call.answered_at is not None) == (outcome is CallOutcome.ANSWERED)


async def follow_call(here: Scene) -> None:
    """Take call events until the record has an end; the clock goes with the events."""
    async with asyncio.timeout(30):
        while not any(call.ended_at for call in await here.calls()):
            try:
                async with asyncio.timeout(0.5):
                    event = await here.events.get()
            except TimeoutError:
                here.clock.advance(16)
                await here.inbound.tick(here.driver)
                continue
            if isinstance(event, CallEvent):
                here.clock.advance(0.3)
            await here.inbound.handle(here.driver, event)


async def test_a_report_in_the_storage_is_told_by_its_type(tmp_path: Path):
    """Huawei lists reports among messages; whatever announces it, the TPDU says what it is."""
    report = bytes.fromhex("062A0D91683108000000F1621112224365406211122253604000")
    async with scene(tmp_path) as here:
        here.bank.control.inject_tpdu("modem01", report)
        here.bank.control.inject_sms("modem01", "beside it", origin=MOTHER)
        async with asyncio.timeout(30):
            while len(await here.driver.list_messages()) < 2:
                await asyncio.sleep(0.05)
        await here.inbound.handle(here.driver, StorageFull(memory="ME"))
        rows = await here.rows()
        stored = await here.store.read(lambda conn: conn.execute(select(report_table)).one())
        left = await here.driver.list_messages()
        bidx = here.store.vault.blind_index(MOTHER)
    assert [row.text for row in rows] == ["beside it"]
    assert (stored.mr, stored.st, stored.recipient_bidx) == (42, 0, bidx)
    assert stored.matching == "unmatched"
    assert left == []


async def test_events_of_others_are_left_to_them(tmp_path: Path):
    async with scene(tmp_path, ready=False) as here:
        assert not await here.inbound.handle(here.driver, Rebooted(evidence="x"))
        assert here.inbound.due_in() is None


async def test_a_report_announced_where_it_is_not_is_found_and_deleted(tmp_path):
    """EC25: the report lies in SR, the line says slot 0 of SM, where nothing is."""
    async with scene(tmp_path, "quectel") as bench:

        async def payload() -> bytes:
            return SUBMIT

        outcome = await bench.driver.submit(len(SUBMIT), payload())
        assert isinstance(outcome, Accepted)
        async with asyncio.timeout(30):
            while not isinstance(event := await bench.events.get(), SmsStored):
                pass
        assert (event.memory, event.index) == ("SM", 0)
        await bench.inbound.handle(bench.driver, event)
        assert await n_rows(bench.store) == 1
        assert bench.driver.seen == [("delete", 1)]
        assert await bench.driver.list_messages() == []


async def test_lines_that_come_after_their_messages_were_drained_list_nothing_again(tmp_path):
    async with scene(tmp_path) as bench:
        bench.bank.control.inject_sms("modem01", "hello", origin=MOTHER)
        async with asyncio.timeout(30):
            while not isinstance(event := await bench.events.get(), SmsStored):
                pass
        assert await bench.inbound.drain_storage(bench.driver) == 1
        assert bench.driver.n_lists == 1
        await bench.inbound.handle(bench.driver, event)
        assert bench.driver.n_lists == 1
        # Nobody drained it this time: where is it?
        await bench.inbound.handle(bench.driver, event)
        assert bench.driver.n_lists == 2
        assert await n_rows(bench.store) == 1
