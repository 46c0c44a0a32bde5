"""A card at work without the walker around it: the real dispatcher, driver and store."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

from drivers.interface import Driver
from drivers.registry import probe
from modemctl.fleet.breaking import Breakers, Seat
from modemctl.fleet.dispatcher import Dispatcher, EncodingRules
from modemctl.fleet.hubs import Hubs
from modemctl.fleet.mailbox import Mailbox
from modemctl.fleet.sending import StopBell
from modemctl.fleet.serving import Desk, Sender
from modemctl.store import Tx
from modemctl.telemetry import Telemetry
from tests.support.benches import CARDS, Bench, bay_of
from tests.support.scripted_modem import OnPty, ScriptedModem

SEAT = Seat(bay=bay_of(CARDS[0]), modem="490154203237518", iccid=CARDS[0], carrier="46000")


@dataclass(kw_only=True)
class AtWork:
    """A sender behind its desk; `pauses` are the moments that it waited for."""

    sender: Sender
    driver: Driver
    mailbox: Mailbox
    breakers: Breakers
    modem: ScriptedModem
    port: OnPty
    woken: asyncio.Event
    stops: StopBell
    pauses: list[float] = field(default_factory=list)

    async def take_work(self) -> None:
        """Wait until a message is at hand."""
        self.sender.ask()
        async with asyncio.timeout(60):
            while not self.sender.has_work:
                await self.woken.wait()
                self.woken.clear()

    @property
    def n_announced(self) -> int:
        """How many TPDUs were announced to the modem."""
        return sum(line.startswith("AT+CMGS=") for line in self.modem.received)


@asynccontextmanager
async def at_work(b: Bench, modem: ScriptedModem, *, timeout: float = 5.0) -> AsyncIterator[AtWork]:
    """A card of the bench in a scripted modem, ready to send."""
    encoding = EncodingRules(validity=timedelta(hours=1), wants_reports=False)
    telemetry = Telemetry(version="test")
    woken, stops = asyncio.Event(), StopBell()
    mailbox = Mailbox(on_unknown=lambda: None, on_wake=woken.set)
    dispatcher = Dispatcher(b.store, b.rules, encoding, telemetry)
    breakers = Breakers(b.store, telemetry)
    pauses: list[float] = []

    async def pause(until: float) -> None:
        pauses.append(until)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await woken.wait()
        woken.clear()

    async def confirm(max_age: float) -> None:
        """Nobody changes the card of a test that looks at other things."""

    desk = Desk(
        store=b.store, dispatcher=dispatcher, telemetry=telemetry, rules=b.rules, stops=stops,
        mailbox=mailbox, gate=breakers.gate(lambda: SEAT), hubs=Hubs(), bay=bay_of(CARDS[0]),
        iccid=CARDS[0], wake=woken.set, pause=pause,
        confirm=confirm,
        submit_timeout=timeout, may_go_on=lambda: True,
    )  # fmt: skip
    async with OnPty(modem) as port, asyncio.TaskGroup() as group:
        driver = await probe(port.path, mailbox.put)
        serving = group.create_task(dispatcher.run())
        try:
            yield AtWork(
                sender=Sender(desk, driver, group), driver=driver, mailbox=mailbox,
                breakers=breakers, modem=modem, port=port,
                woken=woken, stops=stops, pauses=pauses,
            )  # fmt: skip
        finally:
            serving.cancel()
            await driver.close()


def failing(state: str) -> str:
    """SQL of a trigger that refuses to store this state of a segment."""
    return (
        f"CREATE TRIGGER broken BEFORE UPDATE ON segment WHEN NEW.state = '{state}' "
        "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
    )


def _failing_on_postgresql(state: str) -> str:
    return (
        "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION 'the disk is full' USING ERRCODE = '23514'; END $$; "
        "CREATE TRIGGER broken BEFORE UPDATE ON segment FOR EACH ROW "
        f"WHEN (NEW.state = '{state}') EXECUTE FUNCTION broken()"
    )


async def break_store(b: Bench, state: str) -> None:
    """From now on no segment can be stored in this state."""

    def damage(tx: Tx) -> None:
        is_sqlite = tx.conn.dialect.name == "sqlite"
        tx.conn.exec_driver_sql((failing if is_sqlite else _failing_on_postgresql)(state))

    await b.store.write(damage)


async def mend_store(b: Bench) -> None:
    """The store works again."""

    def mend(tx: Tx) -> None:
        is_sqlite = tx.conn.dialect.name == "sqlite"
        what = "TRIGGER broken" if is_sqlite else "FUNCTION broken CASCADE"
        tx.conn.exec_driver_sql(f"DROP {what}")

    await b.store.write(mend)


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until a condition holds."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)
