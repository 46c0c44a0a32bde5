"""The supervisor: a stop is told at once, a failed actor leaves nothing SUBMITTING."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from modemctl.config import SimsSettings
from modemctl.config.settings import BankSettings
from modemctl.fleet.breaking import Breakers
from modemctl.fleet.dispatcher import Dispatcher, EncodingRules
from modemctl.fleet.ground import Ground
from modemctl.fleet.sending import StopBell
from modemctl.fleet.starting import StartBudget
from modemctl.fleet.supervisor import Supervisor
from modemctl.model import Topic
from modemctl.policy.numbers import NumberRules
from modemctl.telemetry import Telemetry
from tests.support.benches import CARDS, Bench, bay_of, bench
from tests.support.senders import until


async def no_modem(address, sink):
    """A fault that nobody foresaw, at the place where the fleet takes its drivers."""
    raise RuntimeError("a fault of ours while probing")


@asynccontextmanager
async def supervised(b: Bench, *ports: Path) -> AsyncIterator[Ground]:
    encoding = EncodingRules(validity=timedelta(hours=1), wants_reports=False)
    telemetry = Telemetry(version="test")
    ground = Ground(
        store=b.store,
        breakers=Breakers(b.store, telemetry),
        dispatcher=Dispatcher(b.store, b.rules, encoding, telemetry),
        telemetry=telemetry,
        rules=b.rules,
        bank=BankSettings(ports=tuple(map(str, ports)) or ("/dev/none*",), rescan_interval=0.05),
        sims=SimsSettings(),
        numbers=NumberRules(region="CN"),
        stops=StopBell(),
        start_budget=StartBudget(1, per_hub=1),
        probe=no_modem,
    )
    supervisor = Supervisor(ground)
    async with asyncio.TaskGroup() as group:
        group.create_task(supervisor.run())
        try:
            yield ground
        finally:
            supervisor.stop()


async def test_a_stop_is_told_while_every_reader_is_busy(tmp_path):
    gate = threading.Event()
    async with bench(tmp_path) as b, supervised(b) as ground:

        def wake_until(n_rings: int) -> bool:
            b.store.signals.wake([Topic.STOP])
            return ground.stops.n_rings >= n_rings

        await until(lambda: wake_until(1))
        async with asyncio.TaskGroup() as group:
            try:
                reads = [group.create_task(b.store.read(lambda conn: gate.wait(20))) for _ in "123"]
                n = ground.stops.n_rings
                await until(lambda: wake_until(n + 9))
                assert not any(read.done() for read in reads)
            finally:
                gate.set()


async def test_a_failed_actor_leaves_its_submit_in_doubt(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(2)
        one, other = await b.lease(*CARDS[:2])
        await b.begin(one)
        await b.begin(other)
        port = tmp_path / bay_of(CARDS[0])
        port.touch()
        async with supervised(b, port):
            async with asyncio.timeout(10):
                while (await b.row(one.segments[0][0])).state != "in_doubt":
                    await asyncio.sleep(0.01)
        assert (await b.row(other.segments[0][0])).state == "submitting"
