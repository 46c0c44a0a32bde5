"""The link into a bay with several ports: which one it takes."""

import asyncio
import contextlib
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from drivers.errors import CommandTimeout, PortBusy, PortGone
from drivers.generic import GenericDriver
from drivers.registry import probe
from modemctl.fleet.link import Link
from modemctl.fleet.mailbox import Mailbox
from modemctl.fleet.places import Place
from modemctl.model import Bay
from tests.support.scripted_modem import OnPty, ScriptedModem, said


class Diagnosis(ScriptedModem):
    """A port that swallows what is written."""

    def feed(self, data: bytes) -> None:
        pass


def place_with(*addresses: str, is_sure: bool = True) -> Place:
    return Place(bay=Bay("bay-01"), addresses=addresses, is_sure=is_sure, note="unplugged")


class Prober:
    """Opens real ports; knows which of them are mute or held, so that nobody waits for them."""

    def __init__(self) -> None:
        self.mute: set[str] = set()
        self.held: set[str] = set()
        self.tried: list[str] = []

    async def open(self, address, sink):
        self.tried.append(address)
        if address in self.held:
            raise PortBusy(address, "held by another program")
        if address in self.mute:
            raise CommandTimeout("AT", "probe")
        return await probe(address, sink)


@asynccontextmanager
async def linked(place: Place, budget: asyncio.Semaphore | None = None):
    prober = Prober()
    mailbox = Mailbox(on_unknown=lambda: None, on_wake=lambda: None)
    turns = budget or asyncio.Semaphore(1)
    link = Link(place, probe=prober.open, budget=turns, mailbox=mailbox)
    try:
        yield link, prober
    finally:
        await link.close()


async def test_a_mute_port_is_left_for_the_one_that_answers():
    async with (
        OnPty(Diagnosis()) as mute,
        OnPty(ScriptedModem()) as answering,
        linked(place_with(mute.path, answering.path)) as (link, prober),
    ):
        driver = await link.open()
        assert driver.identity.imei == "490154203237518"
        assert link.address == answering.path
        assert prober.tried == [mute.path, answering.path]


@pytest.mark.parametrize("is_sure", [True, False])
async def test_only_a_guessed_order_yields_to_what_answered_last(is_sure):
    async with (
        OnPty(ScriptedModem()) as one,
        OnPty(ScriptedModem()) as other,
        linked(place_with(one.path, other.path, is_sure=is_sure)) as (link, prober),
    ):
        prober.mute = {one.path}
        await link.open()
        prober.mute.clear()
        await link.open()
        assert link.address == (one.path if is_sure else other.path)


async def test_a_held_port_is_no_reason_to_try_the_next_one():
    async with (
        OnPty(ScriptedModem()) as held,
        OnPty(ScriptedModem()) as free,
        linked(place_with(held.path, free.path)) as (link, prober),
    ):
        prober.held = {held.path}
        with pytest.raises(PortBusy):
            await link.open()
        assert prober.tried == [held.path]


async def test_where_no_port_answers_the_best_one_is_named():
    async with (
        OnPty(ScriptedModem()) as one,
        OnPty(ScriptedModem()) as other,
        linked(place_with(one.path, other.path)) as (link, prober),
    ):
        prober.mute = {one.path, other.path}
        with pytest.raises(CommandTimeout):
            await link.open()
        assert not link.is_open
        assert link.address == one.path


async def test_renumbered_ports_are_followed():
    async with (
        OnPty(ScriptedModem()) as old,
        OnPty(ScriptedModem()) as new,
        linked(place_with(old.path)) as (link, prober),
    ):
        await link.open()
        old.unplug()
        link.follow(place_with(new.path))
        assert link.has_port()
        await link.open()
        assert (link.address, prober.tried) == (new.path, [old.path, new.path])


async def test_an_unplugged_bay_has_no_port_though_the_number_went_to_another():
    async with OnPty(ScriptedModem()) as port, linked(place_with(port.path)) as (link, prober):
        await link.open()
        link.follow(place_with())
        assert Path(port.path).exists()
        assert not link.has_port()
        with pytest.raises(PortGone, match="unplugged"):
            await link.open()
        assert prober.tried == [port.path]


@pytest.mark.parametrize("is_open", [False, True], ids=["to be opened", "to be initialised"])
async def test_a_modem_that_is_pulled_while_it_waits_for_its_turn_waits_no_longer(is_open):
    budget = asyncio.Semaphore(1)
    async with OnPty(ScriptedModem()) as port, linked(place_with(port.path), budget) as (link, _):
        if is_open:
            await link.open()
        async with budget, asyncio.timeout(10), asyncio.TaskGroup() as group:

            async def wait() -> None:
                with pytest.raises(PortGone, match="unplugged"):
                    await (link.initialise() if is_open else link.open())

            group.create_task(wait())
            while not link.waits_for_turn:
                await asyncio.sleep(0)
            link.follow(place_with())
        assert not budget.locked()
        assert not link.waits_for_turn


async def test_a_link_out_of_step_is_opened_anew_for_the_reset(monkeypatch):
    """The reset is a command too: it was never sent, and the ladder was spent without it."""
    monkeypatch.setattr("modemctl.fleet.link._BOOT_POLL", 0.01)
    modem = ScriptedModem({"AT+CFUN=1,1": said()})
    async with OnPty(modem) as port, linked(place_with(port.path)) as (link, prober):
        driver = await link.open()
        assert isinstance(driver, GenericDriver)
        driver._channel.distrust()

        async def reopen() -> None:
            await link.open()

        await link.restart(reopen)
        assert modem.received.count("AT+CFUN=1,1") == 1
        assert link.is_open
        assert len(prober.tried) == 3


async def test_an_opening_that_hangs_though_it_was_given_up_may_be_given_up_again(tmp_path):
    """An actor that is left behind is told so, and told of the daemon's stop after that."""
    is_over = asyncio.Event()

    async def stubborn(address, sink):
        while not is_over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await is_over.wait()
        raise CommandTimeout("AT", "probe")

    (tmp_path / "bay").touch()
    mailbox = Mailbox(on_unknown=lambda: None, on_wake=lambda: None)
    place = place_with(str(tmp_path / "bay"))
    link = Link(place, probe=stubborn, budget=asyncio.Semaphore(1), mailbox=mailbox)

    async def open_it() -> None:
        with pytest.raises(CommandTimeout):
            await link.open()

    async with asyncio.TaskGroup() as group:
        group.create_task(open_it())
        await asyncio.sleep(0)
        try:
            for _ in range(3):
                link.abandon()
                await asyncio.sleep(0)
        finally:
            is_over.set()
