"""Blocked cards on simulated modems: two persons' PUK, once, judged by the cards' counters."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from sqlalchemy import select

from drivers.interface import Driver, PinOutcome, SimState
from drivers.registry import probe
from modemctl.fleet.pin_turns import Stopped
from modemctl.fleet.unlocking import Unlocked
from modemctl.model import AccountId, Iccid
from modemctl.policy.pin_guard import PinCommand
from modemctl.store import Store, pin_tries, pins, puks
from modemctl.store.tables import pin_attempt, sim
from simulator import persona as personas
from tests.support.approved import add_cards
from tests.support.frozen_fleet import start
from tests.support.simulated import BankProcess
from tests.support.stores import open_store

PIN = "4711"
LOCKED = Unlocked(is_locked=True)


@asynccontextmanager
async def blocked(
    tmp_path: Path, modems: Sequence[str] = ("modem01",), *, persona: str = "generic"
) -> AsyncIterator[tuple[BankProcess, dict[str, Driver], Store]]:
    """Registered cards that ask for their PUK."""
    flags = ("--modems", str(len(modems)), "--persona", persona, "--latency", "0", "--pin", PIN)
    with BankProcess(tmp_path / "bank", *flags, "--pin-lock", "on") as bank:
        async with AsyncExitStack() as stack, open_store(tmp_path) as store:
            drivers: dict[str, Driver] = {}

            async def open_one(name: str) -> None:
                drivers[name] = await probe(bank.port(name), lambda event: None)
                stack.push_async_callback(drivers[name].close)
                await drivers[name].initialise()
                for wrong in ("1111", "2222", "3333"):
                    await drivers[name].enter_pin(wrong)
                assert await drivers[name].sim_state() is SimState.PUK

            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                for name in modems:
                    group.create_task(open_one(name))
            iccids = [card_of(bank, name)["iccid"] for name in modems]
            await store.write(lambda tx: add_cards(tx, iccids, pin=PIN))
            yield bank, drivers, store


def card_of(bank: BankProcess, modem: str = "modem01") -> dict:
    (state,) = bank.control.state(modem)
    return state["card"]


async def start_all(drivers: dict[str, Driver], store: Store) -> dict[str, object]:
    """What `unlock` says of each card."""
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        tasks = {
            name: group.create_task(start(driver, store, name)) for name, driver in drivers.items()
        }
    return {name: task.result() for name, task in tasks.items()}


async def bring(
    bank: BankProcess, store: Store, modem: str = "modem01", puk: str | None = None
) -> None:
    """One person brings the PUK, another one confirms it."""
    card = card_of(bank, modem)
    iccid, code = Iccid(card["iccid"]), puk or card["puk"]

    def act(tx) -> None:
        asked = puks.ask(tx, iccid, puk=code, reason="x", by=AccountId("a"), name="anna")
        assert puks.confirm(tx, asked, puk=code, by=AccountId("b"), name="bert")

    await store.write(act)


async def vault_pin(store: Store, iccid: str) -> str:
    query = select(sim).where(sim.c.iccid == iccid)
    row = await store.read(lambda conn: conn.execute(query).one())
    assert row.pin_pending_enc is None
    return store.vault.decrypt_text(row.pin_enc, place=pins.pin_place(row.iccid))


async def test_two_persons_puk_opens_cards_in_modems_of_every_kind(tmp_path):
    names = [f"modem{i:02d}" for i in range(1, len(personas.names()) + 1)]
    async with blocked(tmp_path, names, persona="all") as (bank, drivers, store):
        assert set((await start_all(drivers, store)).values()) == {Stopped(reason="sim_puk")}
        for name in names:
            assert card_of(bank, name)["puk_tries"] == 10
            await bring(bank, store, name)
        assert await start_all(drivers, store) == dict.fromkeys(names, LOCKED)
        for name in names:
            card = card_of(bank, name)
            tries = (card["pin_tries"], card["puk_tries"], card["is_locked"])
            assert tries == (3, 10, True)
            assert card["pin"] == await vault_pin(store, card["iccid"]) != PIN


async def test_a_wrong_puk_costs_one_try_however_often_the_card_starts(tmp_path):
    async with blocked(tmp_path) as (bank, drivers, store):
        driver = drivers["modem01"]
        await bring(bank, store, puk="00000000")
        assert await start(driver, store, "bay") == Stopped(reason="puk_wrong")
        for _ in range(3):
            assert await start(driver, store, "bay") == Stopped(reason="sim_puk")
        assert card_of(bank)["puk_tries"] == 9
        await bring(bank, store)  # the right one, by two persons again
        assert await start(driver, store, "bay") == LOCKED
        card = card_of(bank)
    assert (card["pin_tries"], card["puk_tries"]) == (3, 10)


async def test_the_last_try_of_a_puk_is_left_alone(tmp_path):
    async with blocked(tmp_path) as (bank, drivers, store):
        driver = drivers["modem01"]
        for i in range(9):
            assert await driver.enter_puk(f"0000000{i}", "1234") is PinOutcome.WRONG
        await bring(bank, store)
        assert await start(driver, store, "bay") == Stopped(reason="puk_counter_low")
        assert await start(driver, store, "bay") == Stopped(reason="sim_puk")
        assert card_of(bank)["puk_tries"] == 1


class Yesterday:
    """A real driver whose modem goes on saying that its card asks for its PUK."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def __getattr__(self, name: str):
        return getattr(self._driver, name)

    async def sim_state(self) -> SimState:
        return SimState.PUK


async def test_a_modem_that_tells_yesterdays_state_costs_no_card_its_pin(tmp_path):
    """The PUK was taken, its answer lost; nothing but the new PIN opens the card from now on."""
    async with blocked(tmp_path) as (bank, drivers, store):
        driver = drivers["modem01"]
        await bring(bank, store)
        losing = LostPuk(driver)
        assert await start(losing, store, "bay") == Stopped(reason="puk_unknown")
        assert await start(Yesterday(driver), store, "bay") == Stopped(reason="puk_not_wanted")
        bank.control.insert_card("modem01", bank.control.pull_card("modem01"))
        assert await start(driver, store, "bay") == LOCKED
        card = card_of(bank)
        assert card["pin"] == await vault_pin(store, card["iccid"]) != PIN


class LostPuk:
    """A real driver on whose way back the answer to a PUK gets lost."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def __getattr__(self, name: str):
        return getattr(self._driver, name)

    async def enter_puk(self, puk: str, new_pin: str) -> PinOutcome:
        await self._driver.enter_puk(puk, new_pin)
        return PinOutcome.UNKNOWN


async def test_tries_of_before_the_block_are_wrong_ones_whatever_the_puk_gives_back(tmp_path):
    async with blocked(tmp_path) as (bank, drivers, store):
        iccid = Iccid(card_of(bank)["iccid"])
        request = pin_tries.TryRequest(iccid=iccid, bay="bay", command=PinCommand.CPIN, counter=2)
        assert isinstance(await store.write_in_set(pin_tries.claim, request), pin_tries.ClearedTry)
        await store.write(pins.close_open_tries)
        await bring(bank, store)
        assert await start(drivers["modem01"], store, "bay") == LOCKED
        outcomes = await store.read(lambda conn: list(conn.scalars(select(pin_attempt.c.outcome))))
        (row,) = await store.read(pins.read_imports)
    assert outcomes == ["wrong"]
    assert (row.n_right, row.n_wrong) == (0, 1)
