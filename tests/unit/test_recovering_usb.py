"""The ladder's USB steps on a mute modem: real files, a real terminal, who is disturbed by it."""

import asyncio
import dataclasses
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from drivers.registry import probe
from modemctl.config.settings import HubPower
from modemctl.fleet import recovering, usb
from modemctl.fleet.hubs import Hubs
from modemctl.fleet.ladder import TABLE, Ladders, Step
from modemctl.fleet.link import Link
from modemctl.fleet.mailbox import Mailbox
from modemctl.fleet.places import Place, UsbDevice
from modemctl.fleet.receiving import Receiver
from modemctl.fleet.recovering import Recovery, Tools
from modemctl.fleet.usb_notes import OffNotes
from modemctl.lifecycle import ModemEvent
from modemctl.model import Bay
from modemctl.policy.numbers import NumberRules
from modemctl.store import Store, ladder_steps
from modemctl.store.tables import event
from modemctl.telemetry import Telemetry
from tests.support.scripted_modem import IDENTITY, OnPty, ScriptedModem
from tests.support.stores import TestClock, open_store

BAY, SIBLING = Bay("1-1.3"), Bay("1-1.4")
ALL = frozenset(Step)
NEVER_WRITABLE = "/proc/sys/kernel/ostype"
"""The kernel lets nobody open it for writing, not even root."""


class Kernel:
    """The file that takes a device off the bus: the modem answers again once it is given back."""

    def __init__(
        self, path: Path, modem: ScriptedModem, *, then: Callable[[], None] | None = None
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)
        self.seen = ""
        self._then = then or (lambda: modem.script.update(IDENTITY))
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        asyncio.get_running_loop().add_reader(self._fd, self._read)

    def _read(self) -> None:
        self.seen += os.read(self._fd, 10).decode()
        if len(self.seen) % 2 == 0:
            self._then()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)


@dataclass(kw_only=True)
class Scene:
    """A mute modem whose gentle steps are behind it."""

    store: Store
    modem: ScriptedModem
    device: UsbDevice
    link: Link
    recovery: Recovery
    tools: Tools
    telemetry: Telemetry

    async def recover(self, may_go_on: Callable[[], bool] = lambda: True) -> tuple[ModemEvent, str]:
        moved = await self.recovery.run("mute", family="generic", may_go_on=may_go_on)
        return moved.event, moved.reason

    def skip_gentle_steps(self) -> None:
        self.recovery.note_health()
        for _ in (Step.REALIGN, Step.REOPEN, Step.RESET):
            self.tools.ladders.of(BAY).climb(0.0, offered=ALL)

    async def told(self) -> list[str]:
        """How steps ended."""
        return [data for data in await self._told() if '"begun"' not in data]

    async def begun(self) -> list[str]:
        return [data for data in await self._told() if '"begun"' in data]

    async def _told(self) -> list[str]:
        rows = await self.store.read(lambda conn: conn.execute(event.select()).all())
        return [row.data for row in rows]

    async def remembered(self) -> list[tuple[str, str | None]]:
        """What a daemon that starts now knows of."""
        now = self.store.clock.now()
        taken = await self.store.read(
            lambda conn: ladder_steps.taken_within(conn, timedelta(hours=1), now)
        )
        return [(one.step, one.hub) for one in taken]


@asynccontextmanager
async def scene(
    tmp_path: Path, monkeypatch, power: HubPower = HubPower.OFF
) -> AsyncIterator[Scene]:
    monkeypatch.setattr(Ladders, "pause", lambda *_: 0.0)
    monkeypatch.setattr("modemctl.fleet.link._BOOT_POLL", 0.05)
    monkeypatch.setattr("modemctl.fleet.link._BOOT_TIME", 0.0)
    monkeypatch.setattr(recovering, "_SIBLING_PATIENCE", 0.05)
    monkeypatch.setitem(usb.rebind.__kwdefaults__, "off_time", 0.0)
    monkeypatch.setitem(usb.cycle_power.__kwdefaults__, "off_time", 0.0)
    device = UsbDevice(
        folder=tmp_path / "1-1.3", hub="1-1", hub_port=3, vendor_id="2c7c", product_id="0125"
    )
    modem = ScriptedModem(dict.fromkeys(IDENTITY))
    async with open_store(tmp_path, TestClock()) as store, OnPty(modem) as port:
        telemetry = Telemetry(version="test")
        mailbox = Mailbox(on_unknown=lambda: None, on_wake=lambda: None)
        link = Link(
            Place(bay=BAY, addresses=(port.path,), usb=device),
            probe=probe,
            budget=asyncio.Semaphore(1),
            mailbox=mailbox,
        )
        tools = Tools(ladders=Ladders(), hubs=Hubs(), hub_power=power, off_notes=OffNotes())
        for bay in (BAY, SIBLING):
            tools.hubs.settle(bay, "1-1")
        for _ in (Step.REALIGN, Step.REOPEN, Step.RESET):
            tools.ladders.of(BAY).climb(0.0, offered=ALL)
        numbers = NumberRules(region="CN")
        recovery = Recovery(
            store,
            telemetry,
            bay=BAY,
            link=link,
            receiver=Receiver(store, telemetry, bay=BAY, numbers=numbers, link=link),
            reopen=link.open,
            tools=tools,
        )
        yield Scene(
            store=store, modem=modem, device=device, link=link, recovery=recovery,
            tools=tools, telemetry=telemetry,
        )  # fmt: skip
        await link.close()


async def test_a_mute_modem_comes_back_when_it_is_taken_off_the_bus_and_given_back(
    tmp_path, monkeypatch
):
    async with scene(tmp_path, monkeypatch) as s:
        kernel = Kernel(s.device.folder / "authorized", s.modem)
        assert await s.recover() == (ModemEvent.RECOVERED, "rebind")
        assert kernel.seen == "01"
        [told] = await s.told()
        assert '"ladder":"rebind"' in told
        assert '"before":"mute"' in told
        assert '"after":"recovered"' in told
        [begun] = await s.begun()
        assert '"hub":"1-1"' in begun
        assert await s.remembered() == [("rebind", "1-1")], "once"
        kernel.close()


async def test_a_usb_step_is_on_disk_before_it_is_taken(tmp_path, monkeypatch):
    """The daemon may fall by it, and start, and take it again."""
    async with scene(tmp_path, monkeypatch) as s:
        seen: list[list[tuple[str, str | None]]] = []

        async def look_then_fall(device, *_: object):
            seen.append(await s.remembered())
            raise asyncio.CancelledError

        monkeypatch.setattr(usb, "rebind", look_then_fall)
        with pytest.raises(asyncio.CancelledError):
            await s.recover()
        assert seen == [[("rebind", "1-1")]]
        assert await s.remembered() == seen[0]
        s.store.clock.advance(3_601.0)
        assert await s.remembered() == []


async def test_power_is_not_taken_from_what_the_daemon_does_not_drive(tmp_path, monkeypatch):
    async with scene(tmp_path, monkeypatch, HubPower.KERNEL) as s:
        for name, usb_class in (("1-1.3", "00"), ("1-1.4", "00"), ("1-1.6", "00"), ("1-1.5", "09")):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "bDeviceClass").write_text(f"{usb_class}\n")
        power = Kernel(usb.port_switch(s.device), s.modem)
        s.tools.hubs.settle(SIBLING, "1-1", "1-1.4")
        assert (await s.recover())[0] is ModemEvent.LADDER_SPENT
        assert power.seen == ""
        assert "carries what this daemon does not drive: 1-1.6" in (await s.told())[-1]
        s.tools.hubs.settle(Bay("1-1.6"), "1-1", "1-1.6")
        s.skip_gentle_steps()
        assert await s.recover() == (ModemEvent.RECOVERED, "power")
        s.tools.hubs.leave(Bay("1-1.6"))  # another program took it
        s.modem.script |= dict.fromkeys(IDENTITY)
        power.seen = ""
        s.skip_gentle_steps()
        assert (await s.recover())[0] is ModemEvent.LADDER_SPENT
        assert power.seen == ""
        power.close()


async def test_a_usb_step_is_skipped_with_its_reason_while_a_sibling_sends(tmp_path, monkeypatch):
    async with scene(tmp_path, monkeypatch) as s:
        kernel = Kernel(s.device.folder / "authorized", s.modem)
        async with s.tools.hubs.flight(SIBLING):
            assert await s.recover() == (ModemEvent.LADDER_SPENT, "mute")
        assert kernel.seen == ""
        [told] = await s.told()
        assert f"bay {SIBLING} has a segment in flight" in told
        assert '"outcome":"skipped"' in told
        skips = {"step": "rebind", "reason": "sibling"}
        assert s.telemetry.value("modemctl_recovery_skips_total", **skips) == 1
        kernel.close()


async def test_without_rights_it_says_so_once_and_goes_on_to_the_next_step(
    tmp_path, monkeypatch, caplog
):
    async with scene(tmp_path, monkeypatch, HubPower.KERNEL) as s:
        s.device.folder.mkdir()
        (s.device.folder / "authorized").symlink_to(NEVER_WRITABLE)
        power = Kernel(usb.port_switch(s.device), s.modem)
        assert await s.recover() == (ModemEvent.RECOVERED, "power")
        assert power.seen == "10"
        refused, helped = await s.told()
        assert '"ladder":"rebind"' in refused
        assert '"outcome":"skipped"' in refused
        assert '"ladder":"power"' in helped
        s.skip_gentle_steps()
        assert await s.recover() == (ModemEvent.RECOVERED, "power")
        said = [record for record in caplog.records if record.message == "modem.ladder_rights"]
        assert len(said) == 1
        skips = {"step": "rebind", "reason": "rights"}
        assert s.telemetry.value("modemctl_recovery_skips_total", **skips) == 2
        assert await s.remembered() == [("power", "1-1")] * 2
        power.close()


async def test_the_hours_budget_ends_the_climb(tmp_path, monkeypatch):
    async with scene(tmp_path, monkeypatch) as s:
        kernel = Kernel(s.device.folder / "authorized", s.modem)
        for _ in range(8):
            s.tools.ladders.note(Step.REBIND, SIBLING, "1-1", 0.0)
        assert await s.recover() == (ModemEvent.LADDER_SPENT, "mute")
        assert kernel.seen == ""
        [told] = await s.told()
        assert "budget of hub 1-1" in told
        kernel.close()


async def test_steps_that_were_not_taken_cost_no_budget(tmp_path, monkeypatch):
    async with scene(tmp_path, monkeypatch) as s:
        async with s.tools.hubs.flight(SIBLING):
            for _ in range(8):
                s.skip_gentle_steps()
                await s.recover()
        told = await s.told()
        assert ["in flight" in one for one in told] == 8 * [True]


async def test_bays_that_wait_before_a_step_have_their_hubs_budget(tmp_path, monkeypatch):
    async with scene(tmp_path, monkeypatch) as s:
        kernel = Kernel(s.device.folder / "authorized", s.modem)
        monkeypatch.setattr(Ladders, "pause", lambda *_: 60.0)
        ladders = s.tools.ladders
        for _ in range(7):
            ladders.note(Step.REBIND, SIBLING, "1-1", 0.0)
        climbing = asyncio.create_task(s.recover())
        async with asyncio.timeout(5):
            while ladders.refusal(Step.REBIND, Bay("1-1.5"), "1-1", 0.0) is None:
                await asyncio.sleep(0)
        assert kernel.seen == ""
        climbing.cancel()
        await asyncio.wait([climbing])
        kernel.close()


async def test_the_end_of_the_daemon_waits_for_no_pause_and_takes_no_step(tmp_path, monkeypatch):
    async with scene(tmp_path, monkeypatch) as s:
        kernel = Kernel(s.device.folder / "authorized", s.modem)
        monkeypatch.setattr(Ladders, "pause", lambda *_: 600.0)
        asked = iter([True, True])
        async with asyncio.timeout(30):
            event_, _ = await s.recover(may_go_on=lambda: next(asked, False))
        assert (event_, kernel.seen) == (ModemEvent.LADDER_SPENT, "")
        kernel.close()


async def test_a_modem_that_a_step_drove_off_the_bus_is_fetched_back_by_its_ports_power(
    tmp_path, monkeypatch
):
    async with scene(tmp_path, monkeypatch, HubPower.KERNEL) as s:
        there = s.link._place
        gone = Place(bay=BAY, addresses=(), note="no port")
        s.device.folder.mkdir()
        off = Kernel(s.device.folder / "authorized", s.modem, then=lambda: s.link.follow(gone))

        def return_() -> None:
            s.modem.script |= IDENTITY
            s.link.follow(there)

        power = Kernel(usb.port_switch(s.device), s.modem, then=return_)
        assert await s.recover() == (ModemEvent.RECOVERED, "power")
        assert (off.seen, power.seen) == ("01", "10")
        off.close()
        power.close()


async def test_a_modem_that_is_off_the_bus_when_no_step_is_left_is_absent(tmp_path, monkeypatch):
    async with scene(tmp_path, monkeypatch, HubPower.KERNEL) as s:
        gone = Place(bay=BAY, addresses=(), note="no port")
        off = Kernel(s.device.folder / "authorized", s.modem, then=lambda: s.link.follow(gone))
        for _ in range(4):
            s.tools.ladders.note(Step.POWER, SIBLING, "1-1", 0.0)
        assert await s.recover() == (ModemEvent.PORT_GONE, "no port")
        off.close()


async def test_power_is_not_switched_unless_that_is_set(tmp_path, monkeypatch):
    async with scene(tmp_path, monkeypatch) as s:
        power = Kernel(usb.port_switch(s.device), s.modem)
        event_, _ = await s.recover()
        assert event_ is ModemEvent.LADDER_SPENT
        assert power.seen == ""
        power.close()


async def test_a_step_that_takes_too_long_is_cut_off_and_the_next_one_taken(tmp_path, monkeypatch):
    async with scene(tmp_path, monkeypatch) as s:
        quick = {step: dataclasses.replace(row, limit=0.05) for step, row in TABLE.items()}
        monkeypatch.setattr(recovering, "TABLE", quick)
        s.tools.ladders.of(BAY).rest()
        event_, reason = await s.recover()
        assert (event_, reason) == (ModemEvent.LADDER_SPENT, "reset took longer than 0.05 s")
        told = await s.told()
        assert ['"outcome":"failed"' in one for one in told] == [True, True, False]
        assert "reopen took longer" in told[0]
