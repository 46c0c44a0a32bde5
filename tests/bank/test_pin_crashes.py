"""`kill -9` at each point around every PIN and PUK command: no card locked, no PIN unknown.

Forty real drivers on simulated cards, frozen at every point of every command by a fleet of its
own process, which is then killed. What the vault holds is compared with what the plastic holds.
"""

import asyncio
import dataclasses
import itertools
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import select

from drivers.interface import Driver, PinOutcome
from drivers.registry import probe
from modemctl.config.settings import PinMode
from modemctl.fleet.pin_turns import Stopped
from modemctl.fleet.unlocking import Unlocked
from modemctl.lifecycle import CardState
from modemctl.model import AccountId, Iccid
from modemctl.store import Store, pins, puks, sims
from modemctl.store.tables import sim
from simulator.faults import Fault, FaultKind
from tests.support.frozen_fleet import Freeze, Point, Secret, start
from tests.support.simulated import BankProcess, wait_until
from tests.support.stores import open_store

PIN = "4711"
LOCKED = Unlocked(is_locked=True)
BLOCKED = Stopped(reason="sim_puk")


def planned(bank: BankProcess) -> dict[str, tuple[Freeze, bool]]:
    """Modem → where it freezes, and whether the power fails together with us."""
    cases = itertools.product(Secret, Point, (False, True))
    return {
        name: (Freeze(name, bank.port(name), command, point), is_dark)
        for name, (command, point, is_dark) in zip(
            (f"modem{i:02d}" for i in itertools.count(1)), cases, strict=False
        )
    }


def card_of(bank: BankProcess, modem: str) -> dict:
    (state,) = bank.control.state(modem)
    return state["card"]


def power_cycle(bank: BankProcess, modem: str) -> None:
    bank.control.insert_card(modem, bank.control.pull_card(modem))


@asynccontextmanager
async def drivers_of(bank: BankProcess, modems: Sequence[str]) -> AsyncIterator[dict[str, Driver]]:
    async with asyncio.timeout(90):
        async with asyncio.TaskGroup() as group:
            tasks = {
                name: group.create_task(probe(bank.port(name), lambda event: None))
                for name in modems
            }
        drivers = {name: task.result() for name, task in tasks.items()}
        for driver in drivers.values():
            await driver.initialise()
    try:
        yield drivers
    finally:
        for driver in drivers.values():
            await driver.close()


async def take_locks_off(bank: BankProcess, modems: Sequence[str]) -> None:
    async def act(driver: Driver) -> None:
        assert await driver.enter_pin(PIN) is PinOutcome.OK
        await driver.wait_sim_usable()
        assert await driver.set_lock(enabled=False, pin=PIN) is PinOutcome.OK

    async with drivers_of(bank, modems) as drivers, asyncio.TaskGroup() as group:
        for driver in drivers.values():
            group.create_task(act(driver))


async def block(bank: BankProcess, modems: Sequence[str]) -> None:
    """Somebody typed three wrong PINs."""

    async def act(driver: Driver) -> None:
        for pin in ("1111", "2222", "3333"):
            assert await driver.enter_pin(pin) in {PinOutcome.WRONG, PinOutcome.BLOCKED}

    async with drivers_of(bank, modems) as drivers, asyncio.TaskGroup() as group:
        for driver in drivers.values():
            group.create_task(act(driver))


async def bring_puks(bank: BankProcess, store: Store, modems: Sequence[str]) -> None:
    """Two persons want these cards unblocked."""

    def act(tx):
        for name in modems:
            card = card_of(bank, name)
            iccid, puk = Iccid(card["iccid"]), card["puk"]
            asked = puks.ask(tx, iccid, puk=puk, reason="x", by=AccountId("a"), name="anna")
            assert puks.confirm(tx, asked, puk=puk, by=AccountId("b"), name="bert")

    await store.write(act)


async def register(store: Store, cards: Sequence[str]) -> None:
    """An import for each card: nobody waits for another one's canary here."""

    def act(tx):
        known = {"state": CardState.ISSUED, "verified_at": tx.now, "verified_by": "x"}
        sims.add(tx, [sims.NewCard(iccid=Iccid(one), **known) for one in cards])
        for iccid in cards:
            pins.add_import(tx, f"import-{iccid}", {Iccid(iccid): PIN})

    await store.write(act)


def has_done(bank: BankProcess, freeze: Freeze) -> bool:
    """Whether the card has carried out the command that is to be frozen."""
    card = card_of(bank, freeze.modem)
    return {
        Secret.CPIN: card["state"] == "READY",
        Secret.CLCK: card["is_locked"],
        Secret.CPWD: card["pin"] != PIN,
        Secret.PUK: card["state"] == "READY",
    }[freeze.command]


def freeze_and_kill(bank: BankProcess, folder: Path, plan: Sequence[Freeze]) -> None:
    for one in plan:
        if one.point is Point.ANSWER_OUT:
            n_before = 0 if one.command is Secret.CPWD else 1  # it asks before it commands
            name = "+CPIN" if one.command is Secret.PUK else f"+{one.command}"
            fault = Fault(kind=FaultKind.NO_ANSWER, on=name, skip=n_before)
            bank.control.set_fault(one.modem, fault)
    (folder / "plan.json").write_text(json.dumps([dataclasses.asdict(one) for one in plan]))
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.frozen_fleet", str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    ) as fleet:
        try:
            assert fleet.stdout is not None
            assert fleet.stdout.readline() == "frozen\n"
            answers_out = [one for one in plan if one.point is Point.ANSWER_OUT]
            wait_until(
                lambda: all(has_done(bank, one) for one in answers_out), what="commands done"
            )
        finally:
            fleet.kill()


async def start_all(drivers, store, modems, **settings):
    """What `unlock` says of each card."""
    async with asyncio.timeout(90), asyncio.TaskGroup() as group:
        tasks = {
            name: group.create_task(start(drivers[name], store, name, **settings))
            for name in modems
        }
    return {name: task.result() for name, task in tasks.items()}


async def judge(bank: BankProcess, store: Store, modems: Sequence[str]) -> None:
    """The plastic has the vault's PIN, all its tries, and its lock on."""
    rows = await store.read(lambda conn: conn.execute(select(sim)).all())
    held = {row.iccid: row for row in rows}
    for name in modems:
        card = card_of(bank, name)
        row = held[card["iccid"]]
        place = pins.pin_place(row.iccid)
        assert store.vault.decrypt_text(row.pin_enc, place=place) == card["pin"], name
        tries = (card["pin_tries"], card["puk_tries"], card["is_locked"])
        assert tries == (3, 10, True), name
        assert (row.pin_pending_enc, row.pin_state) == (None, "proved"), name


async def test_a_kill_around_each_pin_command_locks_no_card_and_loses_no_pin(tmp_path):
    n = len(Secret) * len(Point) * 2
    flags = ("--modems", str(n), "--persona", "generic", "--latency", "0", "--pin", PIN)
    with BankProcess(tmp_path / "bank", *flags, "--pin-lock", "on") as bank:
        plan = planned(bank)
        assert len(plan) == n
        folder = tmp_path / "state"
        folder.mkdir()
        of = {
            command: [name for name, (one, _) in plan.items() if one.command is command]
            for command in Secret
        }
        await block(bank, of[Secret.PUK])
        async with open_store(folder) as store:
            await register(store, [card_of(bank, name)["iccid"] for name in plan])
            await bring_puks(bank, store, of[Secret.PUK])
        await take_locks_off(bank, of[Secret.CLCK])
        await asyncio.to_thread(freeze_and_kill, bank, folder, [one for one, _ in plan.values()])
        bank.control.clear_faults()
        changed = {name for name in plan if card_of(bank, name)["pin"] != PIN}
        for name, (_, is_dark) in plan.items():
            if is_dark:
                power_cycle(bank, name)
        async with drivers_of(bank, list(plan)) as drivers, open_store(folder) as store:
            await store.write(pins.close_open_tries)
            await store.write(puks.close_open)
            found = await start_all(drivers, store, plan)
            lost = [name for name, outcome in found.items() if outcome == BLOCKED]
            assert found == dict.fromkeys(plan, LOCKED) | dict.fromkeys(lost, BLOCKED)
            # The PUK did not leave, and nobody could know: two persons decide once more.
            assert [plan[name][0] for name in lost] == [
                one
                for one, _ in plan.values()
                if (one.command, one.point) == (Secret.PUK, Point.AFTER_COMMIT)
            ]
            await bring_puks(bank, store, lost)
            assert await start_all(drivers, store, lost) == dict.fromkeys(lost, LOCKED)
            for name in plan:
                power_cycle(bank, name)
            assert await start_all(drivers, store, plan) == dict.fromkeys(plan, LOCKED)
            await judge(bank, store, plan)
            # What was asked for goes on: cards with their old PIN get a random one, none twice.
            found = await start_all(drivers, store, plan, pin=PinMode.RANDOM)
            assert found == dict.fromkeys(plan, LOCKED)
            await judge(bank, store, plan)
    reached = {Point.ANSWER_OUT, Point.BEFORE_RECORD, Point.AFTER_RECORD}
    assert changed == {
        name
        for name, (one, _) in plan.items()
        if one.command in {Secret.CPWD, Secret.PUK} and one.point in reached
    }
