"""The pump of one bay: what comes is put down to the card that it came for, and never lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from drivers.interface import CallEvent, CallEventKind, Driver, EventSink, SmsDirect, SmsStored
from drivers.registry import probe
from modemctl.fleet.link import Link
from modemctl.fleet.mailbox import Mailbox
from modemctl.fleet.receiving import Receiver
from modemctl.lifecycle import ModemEvent
from modemctl.model import Bay, Iccid
from modemctl.policy.numbers import NumberRules
from modemctl.store import Store
from modemctl.store.tables import call, inbox
from modemctl.telemetry import Telemetry
from simulator.faults import Fault, FaultKind
from tests.support.places import place_of
from tests.support.simulated import BankProcess
from tests.support.stores import TestClock, open_store

BAY = Bay("bay-1")
OLD, NEW = Iccid("89860000000000000001"), Iccid("89860000000000000002")
DIRECT = SmsDirect(
    sca=b"", tpdu=bytes.fromhex("040C916831080000100000621112224365400C"), needs_ack=False
)


class Listing:
    """A real driver that lets us act while the storage is being listed; notes who reads slots."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.on_list = lambda: None
        self.acts: list[str] = []

    def __getattr__(self, name: str):
        return getattr(self._driver, name)

    async def list_messages(self):
        self.on_list()
        await turns()
        found = await self._driver.list_messages()
        self.acts.append("listed")
        return found

    async def read_message(self, memory: str, index: int):
        self.acts.append("read")
        return await self._driver.read_message(memory, index)


@dataclass(kw_only=True)
class Scene:
    """One modem, a store, and the receiver between them, its pump running."""

    bank: BankProcess
    driver: Listing
    mailbox: Mailbox
    receiver: Receiver
    store: Store
    telemetry: Telemetry

    async def stored(self) -> list[str]:
        """The cards of the stored messages, oldest first."""
        query = select(inbox.c.iccid).order_by(inbox.c.inbox_id)
        return list(await self.store.read(lambda conn: conn.scalars(query).all()))

    async def until_stored(self, n: int) -> list[str]:
        async with asyncio.timeout(30):
            while len(cards := await self.stored()) < n:
                await asyncio.sleep(0.02)
        return cards

    async def break_store(self) -> None:
        """From now on the database refuses what comes in."""
        for table in ("inbox", "call"):
            statement = (
                f"CREATE TRIGGER no_{table} BEFORE INSERT ON {table} "
                "BEGIN SELECT RAISE(ABORT, 'away'); END"
            )
            await self.store.write(lambda tx, text=statement: tx.conn.exec_driver_sql(text))

    async def mend_store(self) -> None:
        for table in ("inbox", "call"):
            statement = f"DROP TRIGGER no_{table}"
            await self.store.write(lambda tx, text=statement: tx.conn.exec_driver_sql(text))


async def turns(n: int = 20) -> None:
    """Let everybody who can go on go on."""
    for _ in range(n):
        await asyncio.sleep(0)


@asynccontextmanager
async def scene(tmp_path: Path, *, is_pumping=True) -> AsyncIterator[Scene]:
    opened: list[Listing] = []

    async def open_modem(address: str, sink: EventSink) -> Driver:
        opened.append(Listing(await probe(address, sink)))
        return opened[-1]

    flags = ("--modems", "1", "--pin-lock", "off", "--persona", "generic")
    mailbox = Mailbox(on_unknown=lambda: None, on_wake=lambda: None)
    with BankProcess(tmp_path / "bank", *flags) as bank:
        link = Link(
            place_of(bank.port()), probe=open_modem, budget=asyncio.Semaphore(1), mailbox=mailbox
        )
        async with open_store(tmp_path, TestClock()) as store, asyncio.TaskGroup() as group:
            driver = await link.open()
            telemetry = Telemetry(version="test")
            receiver = Receiver(store, telemetry, bay=BAY, numbers=NumberRules(), link=link)
            try:
                await link.initialise()
                await driver.wait_sim_usable()
                await driver.configure_messaging()
                pump = group.create_task(receiver.run()) if is_pumping else None
                yield Scene(
                    bank=bank,
                    driver=opened[0],
                    mailbox=mailbox,
                    receiver=receiver,
                    store=store,
                    telemetry=telemetry,
                )
                if pump is not None:
                    pump.cancel()
            finally:
                await link.close()


async def test_what_comes_for_the_next_card_is_not_put_down_to_the_former_one(tmp_path: Path):
    """The pump had been waiting for long when the card was changed."""
    async with scene(tmp_path) as here:
        await here.receiver.begin(OLD)
        await turns()
        await here.receiver.end("the card was taken out")
        await here.receiver.begin(NEW)
        here.mailbox.put(DIRECT)
        assert await here.until_stored(1) == [NEW]
        async with asyncio.timeout(30):
            while not here.telemetry.value("modemctl_inbox_messages_total", kind="raw"):
                await asyncio.sleep(0.02)


async def test_what_waited_when_the_card_went_is_stored_for_it(tmp_path: Path):
    async with scene(tmp_path) as here:
        await here.receiver.begin(OLD)
        here.receiver.pause()
        here.mailbox.put(DIRECT)
        await turns()
        await here.receiver.end("the card was taken out")
        await here.receiver.begin(NEW)
        await turns()
        assert await here.stored() == [OLD]


async def test_what_came_while_the_link_was_in_doubt_stays_with_its_card(tmp_path: Path):
    """No end was told: the card was changed while the modem restarted."""
    async with scene(tmp_path) as here:
        await here.receiver.begin(OLD)
        await turns()
        here.receiver.pause()
        here.mailbox.put(DIRECT)
        await turns()
        await here.receiver.begin(NEW)
        assert await here.until_stored(1) == [OLD]


async def test_nobody_reads_a_slot_while_the_storage_is_listed(tmp_path: Path):
    """A message that lands in a slot just freed would be deleted unread."""
    async with scene(tmp_path) as here:
        await here.receiver.begin(OLD)
        await turns()
        here.receiver.pause()
        here.driver.acts.clear()

        def announce() -> None:
            here.driver.on_list = lambda: None
            here.mailbox.put(SmsStored(memory="SM", index=1))

        here.driver.on_list = announce
        await here.receiver.begin(OLD)
        async with asyncio.timeout(30):
            while "read" not in here.driver.acts:
                await asyncio.sleep(0.02)
    assert here.driver.acts[:2] == ["listed", "read"]


async def test_what_the_store_refused_outlives_a_recovery_of_the_link(tmp_path: Path):
    """The modem has acknowledged it by itself: only we still have it."""
    async with scene(tmp_path) as here:
        await here.receiver.begin(OLD)
        await here.break_store()
        here.mailbox.put(DIRECT)
        await turns()
        here.receiver.pause()
        await here.mend_store()
        await here.receiver.begin(OLD)
        assert await here.until_stored(1) == [OLD]


async def test_what_the_store_refused_is_stored_after_its_card_went(tmp_path: Path):
    async with scene(tmp_path) as here:
        await here.receiver.begin(OLD)
        await here.break_store()
        here.mailbox.put(DIRECT)
        await turns()
        await here.receiver.end("the card was taken out")
        assert await here.stored() == []
        await here.mend_store()
        assert await here.until_stored(1) == [OLD]


async def test_an_actor_does_not_end_before_the_store_took_what_waited(tmp_path: Path):
    async with scene(tmp_path, is_pumping=False) as here:
        await here.receiver.begin(OLD)
        await here.break_store()
        here.mailbox.put(DIRECT)
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            group.create_task(here.receiver.end("the link was closed"))
            await turns()
            await here.mend_store()
        assert await here.stored() == [OLD]


async def test_a_call_is_counted_once_though_the_store_refused_it_first(tmp_path: Path):
    async with scene(tmp_path) as here:
        await here.receiver.begin(OLD)
        await here.break_store()
        here.mailbox.put(CallEvent(kind=CallEventKind.RING))
        here.mailbox.put(CallEvent(kind=CallEventKind.ENDED))
        async with asyncio.timeout(30):
            while here.mailbox._items:
                await asyncio.sleep(0.02)
        await here.mend_store()
        query = select(call.c.n_rings, call.c.ended_at)
        async with asyncio.timeout(30):
            while (
                not (rows := await here.store.read(lambda conn: conn.execute(query).all()))
                or rows[0].ended_at is None
            ):
                await asyncio.sleep(0.02)
    assert [row.n_rings for row in rows] == [1]
    counted = {"direction": "incoming", "outcome": "unanswered"}
    assert here.telemetry.value("modemctl_calls_total", **counted) == 1


async def test_a_card_that_is_busy_for_a_moment_takes_no_bay_out_of_ready(tmp_path: Path):
    async with scene(tmp_path) as here:
        await here.receiver.begin(OLD)
        here.bank.control.set_fault("modem01", Fault(kind=FaultKind.SIM_BUSY, count=2))
        (number,) = (str(one["card"]["number"]) for one in here.bank.control.state())
        here.bank.control.inject_sms(number, "hello", origin="+8613700000001")
        assert await here.until_stored(1) == [OLD]
        assert here.bank.control.state()[0]["faults"] == "", "the card was busy twice"
        while (control := here.mailbox.next_control()) is not None:
            assert control.event is not ModemEvent.OUT_OF_STEP
