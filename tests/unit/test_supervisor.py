"""The supervisor: a stop is told at once, a failed actor leaves nothing SUBMITTING."""

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select

from drivers import port as port_module
from drivers import registry
from drivers.errors import OutOfStep
from drivers.port import stuck_operations
from modemctl.config import SimsSettings
from modemctl.config.settings import BankSettings
from modemctl.fleet import admission, progress
from modemctl.fleet.breaking import Breakers
from modemctl.fleet.dispatcher import Dispatcher, EncodingRules
from modemctl.fleet.ground import Ground
from modemctl.fleet.ladder import HOUR, Step
from modemctl.fleet.sending import StopBell
from modemctl.fleet.starting import StartBudget
from modemctl.fleet.supervisor import Supervisor
from modemctl.fleet.usb_notes import OffNotes, Switched
from modemctl.lifecycle import ModemState
from modemctl.model import AccountId, Bay, Topic
from modemctl.policy.numbers import NumberRules
from modemctl.store import Tx, admissions, ladder_steps, modems
from modemctl.store.tables import admission as admission_table
from modemctl.telemetry import Telemetry
from tests.support.benches import CARDS, Bench, bay_of, bench
from tests.support.scripted_modem import OK, OnPty, ScriptedModem, said
from tests.support.senders import until


async def no_modem(address, sink):
    """A fault that nobody foresaw, at the place where the fleet takes its drivers."""
    raise RuntimeError("a fault of ours while probing")


@asynccontextmanager
async def supervised(
    b: Bench, *ports: str, probe=no_modem, off_notes: OffNotes | None = None
) -> AsyncIterator[Ground]:
    encoding = EncodingRules(validity=timedelta(hours=1), wants_reports=False)
    telemetry = Telemetry(version="test")
    ground = Ground(
        store=b.store,
        breakers=Breakers(b.store, telemetry),
        dispatcher=Dispatcher(b.store, b.rules, encoding, telemetry),
        telemetry=telemetry,
        rules=b.rules,
        bank=BankSettings(ports=ports or ("/dev/none*",), rescan_interval=0.05),
        sims=SimsSettings(),
        numbers=NumberRules(region="CN"),
        stops=StopBell(),
        start_budget=StartBudget(4, per_hub=1),
        probe=probe,
        off_notes=off_notes or OffNotes(),
    )
    supervisor = Supervisor(ground)
    telemetry.register(supervisor.snapshot)
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
                reads = [group.create_task(b.store.read(lambda conn: gate.wait(60))) for _ in "123"]
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
        async with supervised(b, str(port)):
            async with asyncio.timeout(60):
                while (await b.row(one.segments[0][0])).state != "in_doubt":
                    await asyncio.sleep(0.01)
        assert (await b.row(other.segments[0][0])).state == "submitting"


async def test_an_actor_that_nothing_ends_is_left_behind_for_a_new_one(
    tmp_path, monkeypatch, caplog
):
    """Its bay comes up again with the modem, and its segment in flight is in doubt."""
    limits = {**progress.LIMITS, ModemState.PROBING: 0.1}
    monkeypatch.setattr(progress, "LIMITS", limits)
    monkeypatch.setattr(progress, "_CLEAN_UP", 0.02)
    is_over, n_probes = asyncio.Event(), 0

    async def never(address, sink):
        nonlocal n_probes
        n_probes += 1
        limits[ModemState.PROBING] = 60.0  # for the next one
        while n_probes == 1 and not is_over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await is_over.wait()
        return await registry.probe(address, sink)

    async with bench(tmp_path) as b, OnPty(cardless()) as port:
        await b.batch(1)
        [one] = await b.lease(CARDS[0])
        await b.begin(one)
        link = tmp_path / bay_of(CARDS[0])
        link.symlink_to(port.path)
        async with supervised(b, str(link), probe=never) as ground:
            row = None
            async with asyncio.timeout(60):
                while row is None or row.state != "sim_wait":
                    await asyncio.sleep(0.01)
                    row = await b.store.read(lambda conn: modems.read(conn, bay_of(CARDS[0])))
            assert ground.telemetry.value("modemctl_actor_restarts_total", reason="Stuck") == 1
            assert (await b.row(one.segments[0][0])).state == "in_doubt"
            is_over.set()
    assert "actor.left_behind" in [record.message for record in caplog.records]


async def test_who_was_left_behind_harms_nobody_when_it_ends_after_all(tmp_path, monkeypatch):
    """A segment of the bay's new actor is in flight by then."""
    limits = {**progress.LIMITS, ModemState.PROBING: 0.1}
    monkeypatch.setattr(progress, "LIMITS", limits)
    monkeypatch.setattr(progress, "_CLEAN_UP", 0.02)
    is_over, n_probes = asyncio.Event(), 0

    async def never(address, sink):
        nonlocal n_probes
        n_probes += 1
        limits[ModemState.PROBING] = 60.0  # for the next one
        if n_probes == 1:
            while not is_over.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await is_over.wait()
            raise RuntimeError("a fault of ours, late")
        return await registry.probe(address, sink)

    async with bench(tmp_path) as b, OnPty(cardless()) as port:
        await b.batch(1)
        bay = bay_of(CARDS[0])
        link = tmp_path / bay
        link.symlink_to(port.path)
        async with supervised(b, str(link), probe=never):
            await until_state(b, bay, "sim_wait")
            [one] = await b.lease(CARDS[0])
            await b.begin(one)
            n_tasks = len(asyncio.all_tasks())
            is_over.set()
            await until(lambda: len(asyncio.all_tasks()) < n_tasks)
            assert (await b.row(one.segments[0][0])).state == "submitting"
            assert (await b.store.read(lambda conn: modems.read(conn, bay))).state == "sim_wait"


async def test_a_bay_may_be_forgotten_while_the_list_is_asked_about_its_modem(
    tmp_path, monkeypatch
):
    """Both are rung at once; the supervisor, and with it the daemon, would end."""
    is_asked, let_go, verdicts = threading.Event(), threading.Event(), admission.verdicts

    def slow(conn, vault, imeis, mode):
        is_asked.set()
        let_go.wait(60)
        return verdicts(conn, vault, imeis, mode)

    async with bench(tmp_path) as b, OnPty(cardless()) as port:
        bay = Bay("bay-a")
        (tmp_path / bay).symlink_to(port.path)
        async with supervised(b, f"{tmp_path}/bay-*", probe=registry.probe) as ground:
            await until_state(b, bay, "sim_wait")
            (tmp_path / bay).unlink()
            await until_state(b, bay, "absent")
            monkeypatch.setattr(admission, "verdicts", slow)
            try:
                b.store.signals.wake([Topic.MODEMS])
                await until(is_asked.is_set)
                await b.store.write(lambda tx: modems.forget(tx, bay))
                await until(lambda: bay not in ground.telemetry.render().decode())
            finally:
                let_go.set()
            (tmp_path / bay).symlink_to(port.path)
            await until_state(b, bay, "sim_wait")


async def test_an_end_in_order_does_not_wait_for_who_was_left_behind(tmp_path, monkeypatch):
    limits = {**progress.LIMITS, ModemState.PROBING: 0.1}
    monkeypatch.setattr(progress, "LIMITS", limits)
    monkeypatch.setattr(progress, "_CLEAN_UP", 0.02)
    monkeypatch.setattr("modemctl.fleet.supervisor._LAST_LIMIT", 0.1)
    is_over, loop = asyncio.Event(), asyncio.get_running_loop()

    async def never(address, sink):
        while not is_over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await is_over.wait()
        raise OutOfStep("at last")

    async with bench(tmp_path) as b:
        (tmp_path / "bay-a").touch()
        async with supervised(b, str(tmp_path / "bay-a"), probe=never) as ground:
            while not ground.telemetry.value("modemctl_actor_restarts_total", reason="Stuck"):
                await asyncio.sleep(0.01)
            stopped_at = loop.time()
            loop.call_later(10, is_over.set)  # the test, too, has to end
        took = loop.time() - stopped_at
        is_over.set()
        assert took < 5
        await until(lambda: not [one for one in asyncio.all_tasks() if "actor" in one.get_name()])


async def test_a_failed_actor_whose_port_does_not_close_is_left_behind_too(tmp_path, monkeypatch):
    monkeypatch.setattr("modemctl.fleet.actor._END_LIMIT", 0.1)
    is_over, n_probes = asyncio.Event(), 0

    class Frozen:
        """A driver that fails in a way that nobody foresaw, and does not close."""

        async def close(self) -> None:
            await is_over.wait()

    async def frozen(address, sink):
        nonlocal n_probes
        n_probes += 1
        return Frozen() if n_probes == 1 else await registry.probe(address, sink)

    async with bench(tmp_path) as b, OnPty(cardless()) as port:
        (tmp_path / "bay-a").symlink_to(port.path)
        async with supervised(b, str(tmp_path / "bay-a"), probe=frozen):
            try:
                await until_state(b, "bay-a", "sim_wait")
            finally:
                is_over.set()


async def until_state(b: Bench, bay: str, state: str) -> None:
    async with asyncio.timeout(60):
        row = None
        while row is None or row.state != state:
            await asyncio.sleep(0.01)
            row = await b.store.read(lambda conn: modems.read(conn, bay))


async def test_what_an_earlier_life_left_switched_off_is_on_again_soon_after_the_start(tmp_path):
    switch, notes = tmp_path / "authorized", OffNotes(tmp_path / "notes")
    switch.write_text("0")
    notes.put(Switched(file=switch, hub="1-1", hub_port=3))
    async with bench(tmp_path) as b, supervised(b, off_notes=notes):
        await until(lambda: switch.read_text() == "1" and not notes.left())


async def test_the_ladders_budgets_outlive_a_restart(tmp_path):
    """A daemon that falls again and again switches no hub again and again."""
    async with bench(tmp_path) as b:
        one = bay_of(CARDS[0])
        taken = ladder_steps.LadderStep(
            bay=one, step="power", outcome=ladder_steps.BEGUN, before="mute", after="", hub="1-1"
        )
        reset = ladder_steps.LadderStep(
            bay=one, step="reset", outcome="failed", before="mute", after="mute"
        )
        await b.store.write(lambda tx: ladder_steps.note(tx, [taken, taken, reset]) and None)
        async with supervised(b) as ground:
            ladders, now = ground.ladders, b.clock.monotonic()
            await until(lambda: ladders.refusal(Step.POWER, one, "1-1", now) is not None)
            assert ladders.refusal(Step.REBIND, one, "1-1", now) is None
            b.clock.advance(HOUR)
            assert ladders.refusal(Step.POWER, one, "1-1", b.clock.monotonic()) is None


def cardless() -> ScriptedModem:
    """A modem that is well and has no card."""
    fixed = dict.fromkeys(("AT+CMEE=1", "AT+CMGF=0", "AT+CREG=2"), OK)
    said_of_card = {"AT+CFUN?": said("+CFUN: 1"), "AT+CPIN?": b"\r\n+CME ERROR: 10\r\n"}
    return ScriptedModem({**fixed, **said_of_card})


async def test_a_modem_is_let_go_of_though_the_list_could_not_be_read_when_it_rang(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("modemctl.fleet.supervisor._SLOW_POLL", 0.1)

    def expel(tx: Tx) -> None:
        imei = tx.conn.scalar(select(admission_table.c.imei))
        admissions.expel(tx, imei, by=AccountId("anna"), reason="not ours")
        tx.conn.exec_driver_sql("ALTER TABLE admission RENAME TO away")

    def mend(tx: Tx) -> None:
        tx.conn.exec_driver_sql("ALTER TABLE away RENAME TO admission")

    async with bench(tmp_path) as b, OnPty(cardless()) as port:

        async def reach(state: str) -> None:
            async with asyncio.timeout(60):
                while await states(b, port) != [state]:
                    await asyncio.sleep(0.01)

        async with supervised(b, port.path, probe=registry.probe):
            await reach("sim_wait")
            await b.store.write(expel)
            await until(lambda: "supervisor.store_failed" in caplog.messages)
            await b.store.write(mend)
            await reach("refused")


async def states(b: Bench, *ports: OnPty) -> list[str]:
    rows = await b.store.read(lambda conn: modems.find(conn, node_id=b.store.node_id))
    state = {row.bay: row.state.value for row in rows}
    return [state.get(Path(port.path).name, "") for port in ports]


async def test_a_frozen_open_delays_neither_another_bay_nor_the_end(tmp_path, monkeypatch):
    let_go, os_open = threading.Event(), os.open
    async with bench(tmp_path) as b, OnPty(cardless()) as frozen, OnPty(cardless()) as well:

        def slow_open(path, flags, *more, **kinds):
            if path == frozen.path:
                let_go.wait(60)
            return os_open(path, flags, *more, **kinds)

        monkeypatch.setattr(os, "open", slow_open)
        loop = asyncio.get_running_loop()
        try:
            async with supervised(b, frozen.path, well.path, probe=registry.probe):
                async with asyncio.timeout(60):
                    while await states(b, frozen, well) != ["probing", "sim_wait"]:
                        await asyncio.sleep(0.01)
                assert stuck_operations() == 1
                stopped_at = loop.time()
            assert loop.time() - stopped_at < 3  # the open alone would take 20
        finally:
            let_go.set()
            await until(lambda: stuck_operations() == 0)


async def test_a_frozen_close_delays_neither_another_bay_nor_the_end(tmp_path, monkeypatch):
    let_go, release = threading.Event(), port_module._release
    async with bench(tmp_path) as b, OnPty(cardless()) as one, OnPty(cardless()) as other:

        def slow_release(fd: int) -> None:
            if os.ttyname(fd) == one.path:
                let_go.wait(60)
            release(fd)

        monkeypatch.setattr(port_module, "_release", slow_release)
        loop = asyncio.get_running_loop()
        try:
            async with supervised(b, one.path, other.path, probe=registry.probe):
                async with asyncio.timeout(60):
                    while await states(b, one, other) != ["sim_wait"] * 2:
                        await asyncio.sleep(0.01)
                stopped_at = loop.time()
            assert loop.time() - stopped_at < port_module.CLOSE_TIMEOUT + 3  # not the kernel's 46
            assert stuck_operations() == 1
        finally:
            let_go.set()
            await until(lambda: stuck_operations() == 0)
