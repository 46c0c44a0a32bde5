"""Real drivers on simulated modems: cards are unlocked by the guard and never at risk."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import select, update

from drivers.errors import CommandTimeout
from drivers.interface import Driver, PinCounter, PinOutcome
from drivers.registry import probe
from modemctl.config.settings import LockMode, SimsSettings
from modemctl.fleet.checking import Fit, Unfit, Unreadable, check_card
from modemctl.fleet.pin_turns import Seat, Stopped
from modemctl.fleet.renewing import change_pin
from modemctl.fleet.unlocking import Unlocked, unlock
from modemctl.lifecycle import CardState
from modemctl.model import Iccid, Topic
from modemctl.policy.pin_guard import AttemptOutcome, PinCommand, Stop, StopReason
from modemctl.store import Store, card_locks, pin_tries, pins, sims
from modemctl.store.tables import event, pin_attempt, sim
from modemctl.telemetry import Telemetry
from tests.support.simulated import BankProcess
from tests.support.stores import TestClock, open_store

ENFORCE = SimsSettings(lock=LockMode.ENFORCE)
VERIFY = SimsSettings(lock=LockMode.VERIFY)


@asynccontextmanager
async def drivers_of(bank: BankProcess, modems: list[str]) -> AsyncIterator[list[Driver]]:
    """Probed and initialised drivers, one a modem."""
    opened: list[Driver] = []
    try:
        async with asyncio.timeout(60):
            for modem in modems:
                driver = await probe(bank.port(modem), lambda event: None)
                opened.append(driver)
                await driver.initialise()
        yield opened
    finally:
        for driver in opened:
            await driver.close()


def card_in(bank: BankProcess, modem: str) -> dict:
    (state,) = bank.control.state(modem)
    return state["card"]


async def register(store: Store, cards: dict[str, str | None], **fields) -> None:
    """Cards with their vault PINs, issued and verified, as one import."""
    known = {"state": CardState.ISSUED, "verified_at": store.clock.now(), "verified_by": "x"}

    def act(tx):
        sims.add(tx, [sims.NewCard(iccid=Iccid(one), **{**known, **fields}) for one in cards])
        given = {Iccid(iccid): pin for iccid, pin in cards.items() if pin is not None}
        pins.add_import(tx, "import-1", given)

    await store.write(act)


async def attempts(store: Store) -> list[tuple[str, str, str | None]]:
    rows = await store.read(
        lambda conn: conn.execute(
            select(pin_attempt.c.iccid, pin_attempt.c.command, pin_attempt.c.outcome)
        ).all()
    )
    return [tuple(row) for row in rows]


async def lock_of(store: Store, iccid: str) -> tuple[bool | None, str]:
    """What the report will say of a card."""
    (row,) = await store.read(card_locks.find)
    assert row.iccid == iccid
    return row.is_locked, row.reason


async def alarms(store: Store) -> list[str]:
    return list(
        await store.read(
            lambda conn: conn.scalars(select(event.c.data).where(event.c.kind == "alarm")).all()
        )
    )


def modem_names(n: int) -> list[str]:
    return [f"modem{i:02d}" for i in range(1, n + 1)]


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


async def test_sixteen_mixed_modems_are_unlocked_after_their_canary(tmp_path: Path, clock):
    names = modem_names(16)
    with BankProcess(tmp_path / "bank", "--modems", "16", "--seed", "5") as bank:
        cards = {name: card_in(bank, name) for name in names}
        async with drivers_of(bank, names) as found, open_store(tmp_path, clock) as store:
            await register(store, {card["iccid"]: card["pin"] for card in cards.values()})
            async with asyncio.timeout(90), asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(full_start(driver, store, name))
                    for driver, name in zip(found, names, strict=True)
                ]
            assert [task.result() for task in tasks] == [Unlocked(is_locked=True)] * 16
            tried = await attempts(store)
            (row,) = (await store.read(pins.read_imports)) or [None]
        after = [card_in(bank, name) for name in names]
    assert len(tried) == 16
    assert {outcome for _, _, outcome in tried} == {"right"}
    assert (row.n_right, row.n_wrong, row.n_out, row.width) == (16, 0, 0, 16)
    assert all(card["pin_tries"] == 3 and card["is_locked"] for card in after)


async def full_start(driver: Driver, store: Store, bay: str, settings=ENFORCE, telemetry=None):
    checked = await check_card(driver, store, bay)
    assert isinstance(checked, Fit)
    telemetry = telemetry or Telemetry(version="test")
    return await unlock(driver, store, checked.iccid, bay, settings, telemetry=telemetry)


def seat(driver: Driver, store: Store, iccid: Iccid) -> Seat:
    telemetry = Telemetry(version="test")
    return Seat(driver=driver, store=store, iccid=iccid, bay="bay", telemetry=telemetry)


async def test_sixteen_wrong_pins_cost_one_try_in_total(tmp_path: Path, clock):
    names = modem_names(16)
    with BankProcess(
        tmp_path / "bank", "--modems", "16", "--pin", "1234", "--pin-lock", "on"
    ) as bank:
        cards = [card_in(bank, name)["iccid"] for name in names]
        async with drivers_of(bank, names) as found, open_store(tmp_path, clock) as store:
            await register(store, dict.fromkeys(cards, "9999"))
            async with asyncio.timeout(90), asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(full_start(driver, store, name))
                    for driver, name in zip(found, names, strict=True)
                ]
            reasons = sorted(task.result().reason for task in tasks)
            tried = await attempts(store)
        tries = sorted(card_in(bank, name)["pin_tries"] for name in names)
    assert reasons == ["import_stopped"] * 15 + ["pin_wrong"]
    assert len(tried) == 1
    assert tries == [2] + [3] * 15


async def test_one_wrong_pin_among_right_ones_is_set_aside_alone(tmp_path: Path, clock):
    names = modem_names(8)
    with BankProcess(
        tmp_path / "bank", "--modems", "8", "--pin", "1234", "--pin-lock", "on"
    ) as bank:
        cards = {name: card_in(bank, name)["iccid"] for name in names}
        vault_pins = dict.fromkeys(cards.values(), "1234") | {cards["modem05"]: "9999"}
        async with drivers_of(bank, names) as found, open_store(tmp_path, clock) as store:
            await register(store, vault_pins)
            by_name = dict(zip(names, found, strict=True))
            first = await full_start(by_name["modem01"], store, "modem01")
            async with asyncio.timeout(90), asyncio.TaskGroup() as group:
                tasks = {
                    name: group.create_task(full_start(by_name[name], store, name))
                    for name in names[1:]
                }
            results = {name: task.result() for name, task in tasks.items()}
        tries = {name: card_in(bank, name)["pin_tries"] for name in names}
    assert first == Unlocked(is_locked=True)
    assert results.pop("modem05") == Stopped(reason="pin_wrong")
    assert set(results.values()) == {Unlocked(is_locked=True)}
    assert tries.pop("modem05") == 2
    assert set(tries.values()) == {3}


async def test_a_restart_tries_a_failed_pin_never_again(tmp_path: Path, clock):
    with BankProcess(
        tmp_path / "bank", "--modems", "1", "--pin", "1234", "--pin-lock", "on"
    ) as bank:
        iccid = card_in(bank, "modem01")["iccid"]
        async with drivers_of(bank, ["modem01"]) as (driver,):
            async with open_store(tmp_path, clock) as store:
                await register(store, {iccid: "9999"})
                first = await full_start(driver, store, "bay")
            for _ in range(3):
                async with open_store(tmp_path, clock) as store:
                    again = await full_start(driver, store, "bay")
                    assert await full_start(driver, store, "bay") == again
                    tried = await attempts(store)
                    said = await alarms(store)
        tries = card_in(bank, "modem01")["pin_tries"]
    assert (first.reason, again.reason) == ("pin_wrong", "pin_failed")
    assert len(tried) == 1
    assert tries == 2
    told = [json.loads(one)["alarm"] for one in said]
    assert sorted(told) == ["pin_failed", "pin_import_stopped", "pin_wrong"]
    assert not any("9999" in one or "1234" in one for one in said)


async def test_a_card_with_one_try_left_is_not_touched(tmp_path: Path, clock):
    with BankProcess(
        tmp_path / "bank", "--modems", "1", "--pin", "1234", "--pin-lock", "on"
    ) as bank:
        iccid = card_in(bank, "modem01")["iccid"]
        async with drivers_of(bank, ["modem01"]) as (driver,), open_store(tmp_path, clock) as store:
            for wrong in ("1111", "2222"):
                assert await driver.enter_pin(wrong) is PinOutcome.WRONG
            await register(store, {iccid: "1234"})
            telemetry = Telemetry(version="test")
            result = await full_start(driver, store, "bay", telemetry=telemetry)
            tried = await attempts(store)
        tries = card_in(bank, "modem01")["pin_tries"]
    assert result == Stopped(reason="counter_low")
    assert telemetry.value("modemctl_pin_guard_stops_total", reason="counter_low") == 1
    assert tried == []
    assert tries == 1


async def test_an_open_card_gets_its_lock_with_the_vaults_pin(tmp_path: Path, clock):
    with BankProcess(
        tmp_path / "bank", "--modems", "1", "--pin", "1234", "--pin-lock", "off"
    ) as bank:
        iccid = card_in(bank, "modem01")["iccid"]
        async with drivers_of(bank, ["modem01"]) as (driver,), open_store(tmp_path, clock) as store:
            await register(store, {iccid: "1234"})
            assert await full_start(driver, store, "bay", VERIFY) == Unlocked(is_locked=False)
            assert await lock_of(store, iccid) == (False, "")
            assert not card_in(bank, "modem01")["is_locked"]
            assert await full_start(driver, store, "bay", ENFORCE) == Unlocked(is_locked=True)
            tried = await attempts(store)
            said = await alarms(store)
            assert await lock_of(store, iccid) == (True, "")
        card = card_in(bank, "modem01")
    assert tried == [(iccid, "CLCK", "right")]
    assert card["is_locked"]
    assert any("lock_off" in one and "SIM-07" in one for one in said)


@pytest.mark.parametrize(("pin", "reason"), [("9999", "pin_wrong"), (None, "lock_no_pin")])
async def test_a_lock_that_cannot_be_set_stops_the_card(tmp_path: Path, clock, pin, reason):
    with BankProcess(
        tmp_path / "bank", "--modems", "1", "--pin", "1234", "--pin-lock", "off"
    ) as bank:
        iccid = card_in(bank, "modem01")["iccid"]
        async with drivers_of(bank, ["modem01"]) as (driver,), open_store(tmp_path, clock) as store:
            await register(store, {iccid: pin})
            assert await full_start(driver, store, "bay") == Stopped(reason=reason)
            assert await lock_of(store, iccid) == (False, reason)
        card = card_in(bank, "modem01")
    assert not card["is_locked"]
    assert card["pin_tries"] == (2 if pin else 3)


async def test_a_modem_that_stayed_open_needs_no_try(tmp_path: Path, clock):
    with BankProcess(
        tmp_path / "bank", "--modems", "1", "--pin", "1234", "--pin-lock", "on"
    ) as bank:
        iccid = card_in(bank, "modem01")["iccid"]
        async with drivers_of(bank, ["modem01"]) as (driver,), open_store(tmp_path, clock) as store:
            await register(store, {iccid: "1234"})
            first = await full_start(driver, store, "bay")
            second = await full_start(driver, store, "bay")
            tried = await attempts(store)
    assert first == second == Unlocked(is_locked=True)
    assert len(tried) == 1


@pytest.mark.parametrize(
    ("fields", "policy", "reason"),
    [
        ({"state": CardState.RETURNED}, "SIM-12", "returned"),
        ({"state": CardState.LOST}, "SIM-12", "lost"),
        ({"state": CardState.PROVISIONED}, "SIM-02", "not_issued"),
        ({"state": CardState.SUSPENDED_ARREARS}, "TEL-10", "suspended_arrears"),
        ({"verified_at": None}, "SIM-04", "unverified"),
    ],
)
async def test_unfit_cards_get_no_pin(bank_of_one, tmp_path: Path, clock, fields, policy, reason):
    bank, driver = bank_of_one
    iccid = card_in(bank, "modem01")["iccid"]
    async with open_store(tmp_path, clock) as store:
        await register(store, {iccid: "1234"}, **fields)
        found = await check_card(driver, store, "bay")
        asked = pin_tries.TryRequest(
            iccid=Iccid(iccid), bay="bay", command=PinCommand.CPIN, counter=3
        )
        answer = await store.write_in_set(pin_tries.claim, asked)
        said = await alarms(store)
    assert found == Unfit(iccid=iccid, policy=policy, reason=reason)
    assert answer == Stop(reason=StopReason.UNFIT)
    assert len(said) == 1
    assert policy in said[0]


async def test_an_unregistered_card_is_unfit(bank_of_one, tmp_path: Path, clock):
    bank, driver = bank_of_one
    async with open_store(tmp_path, clock) as store:
        found = await check_card(driver, store, "bay")
    iccid = card_in(bank, "modem01")["iccid"]
    assert found == Unfit(iccid=iccid, policy="SIM-01", reason="unregistered")


async def test_a_row_that_was_altered_is_unfit_and_gets_no_pin(bank_of_one, tmp_path: Path, clock):
    bank, driver = bank_of_one
    iccid = card_in(bank, "modem01")["iccid"]
    async with open_store(tmp_path, clock) as store:
        await register(store, {iccid: "1234"}, state=CardState.RETURNED)
        await store.write(lambda tx: tx.conn.execute(update(sim).values(state="issued")))
        found = await check_card(driver, store, "bay")
        result = await unlock(
            driver, store, Iccid(iccid), "bay", ENFORCE, telemetry=Telemetry(version="test")
        )
    assert found == Unfit(iccid=iccid, policy="SEC-05", reason="tampered")
    assert result == Stopped(reason="unfit")


async def test_without_a_card_nobody_is_convicted(bank_of_one, tmp_path: Path, clock):
    bank, driver = bank_of_one
    iccid = bank.control.pull_card("modem01")
    try:
        async with open_store(tmp_path, clock) as store:
            found = await check_card(driver, store, "bay")
            said = await alarms(store)
    finally:
        bank.control.insert_card("modem01", iccid)
    assert isinstance(found, Unreadable)
    assert said == []


@pytest.fixture
async def bank_of_one(tmp_path: Path):
    flags = ("--modems", "1", "--pin", "1234", "--pin-lock", "on", "--persona", "generic")
    with BankProcess(tmp_path / "bank", *flags) as bank:
        async with drivers_of(bank, ["modem01"]) as (driver,):
            yield bank, driver


@pytest.mark.parametrize("reached", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
async def test_a_crash_around_a_try_costs_no_second_one(
    bank_of_one, tmp_path: Path, clock, reached, right
):
    """The attempt is on disk, the PIN left or not, no answer was stored; then a new start."""
    bank, driver = bank_of_one
    iccid = Iccid(card_in(bank, "modem01")["iccid"])
    asked = pin_tries.TryRequest(iccid=iccid, bay="bay", command=PinCommand.CPIN, counter=3)
    async with open_store(tmp_path, clock) as store:
        await register(store, {iccid: "1234" if right else "9999"})
        cleared = await store.write_in_set(pin_tries.claim, asked)
        if reached:
            await driver.enter_pin(cleared.pin)
    power_cycle(bank)
    async with open_store(tmp_path, clock) as store:
        assert await store.write(pins.close_open_tries) == 1
        result = await full_start(driver, store, "bay")
        outcomes = [outcome for _, _, outcome in await attempts(store)]
    tries = card_in(bank, "modem01")["pin_tries"]
    if right:
        assert result == Unlocked(is_locked=True)
        assert outcomes == ["unburnt", "right"]
    elif reached:
        assert result == Stopped(reason="pin_failed")
        assert outcomes == ["wrong"]
    else:
        assert result == Stopped(reason="pin_wrong")
        assert outcomes == ["unburnt", "wrong"]
    assert tries == (3 if right else 2)


async def test_a_right_pin_whose_answer_got_lost_frees_its_import(
    bank_of_one, tmp_path: Path, clock
):
    """Only we fell, the card stayed open: it took the PIN, so the canary has succeeded."""
    bank, driver = bank_of_one
    iccid = Iccid(card_in(bank, "modem01")["iccid"])
    asked = pin_tries.TryRequest(iccid=iccid, bay="bay", command=PinCommand.CPIN, counter=3)
    async with open_store(tmp_path, clock) as store:
        await register(store, {iccid: "1234"})
        cleared = await store.write_in_set(pin_tries.claim, asked)
        await driver.enter_pin(cleared.pin)
        await store.write(pins.close_open_tries)
        assert await full_start(driver, store, "bay") == Unlocked(is_locked=True)
        (row,) = await store.read(pins.read_imports)
    assert (row.n_right, row.n_out) == (1, 0)


@pytest.mark.parametrize("fell", ["nowhere", "before", "after"])
async def test_a_pin_is_changed_whenever_we_fall(bank_of_one, tmp_path: Path, clock, fell):
    bank, driver = bank_of_one
    iccid = Iccid(card_in(bank, "modem01")["iccid"])
    asked = pin_tries.TryRequest(
        iccid=iccid, bay="bay", command=PinCommand.CPWD, counter=3, new_pin="55667788"
    )
    async with open_store(tmp_path, clock) as store:
        await register(store, {iccid: "1234"})
        await full_start(driver, store, "bay")
        if fell == "nowhere":
            assert await change_pin(seat(driver, store, iccid), "55667788") is None
        else:
            cleared = await store.write_in_set(pin_tries.claim, asked)
            if fell == "after":
                await driver.change_pin(old=cleared.pin, new="55667788")
            await store.write(pins.close_open_tries)
        power_cycle(bank)
        assert await full_start(driver, store, "bay") == Unlocked(is_locked=True)
        power_cycle(bank)
        assert await full_start(driver, store, "bay") == Unlocked(is_locked=True)
        row = await store.read(lambda conn: conn.execute(select(sim)).one())
    card = card_in(bank, "modem01")
    assert card["pin"] == ("1234" if fell == "before" else "55667788")
    assert card["pin_tries"] == 3
    assert row.pin_pending_enc is None
    assert row.pin_state == "proved"


async def test_no_second_change_begins_while_one_is_unsure(bank_of_one, tmp_path: Path, clock):
    bank, driver = bank_of_one
    iccid = Iccid(card_in(bank, "modem01")["iccid"])
    asked = pin_tries.TryRequest(
        iccid=iccid, bay="bay", command=PinCommand.CPWD, counter=3, new_pin="5566"
    )
    async with open_store(tmp_path, clock) as store:
        await register(store, {iccid: "1234"})
        await full_start(driver, store, "bay")
        await store.write_in_set(pin_tries.claim, asked)
        await store.write(pins.close_open_tries)
        refused = await change_pin(seat(driver, store, iccid), "7788")
    assert refused == Stopped(reason="pending_unsure")
    assert card_in(bank, "modem01")["pin"] == "1234"


def power_cycle(bank: BankProcess) -> None:
    """Out and in again: the card asks for its PIN as after a power failure."""
    iccid = bank.control.pull_card("modem01")
    bank.control.insert_card("modem01", iccid)


async def test_a_card_that_is_changed_while_it_waits_gets_no_pin(tmp_path: Path, clock):
    """Another card's canary is out; meanwhile the waiting card is swapped for a third."""
    names = modem_names(3)
    flags = ("--modems", "3", "--pin", "1234", "--pin-lock", "on", "--persona", "generic")
    with BankProcess(tmp_path / "bank", *flags) as bank:
        cards = [Iccid(card_in(bank, name)["iccid"]) for name in names]
        async with drivers_of(bank, names[1:2]) as (driver,), open_store(tmp_path, clock) as store:
            await register(store, dict.fromkeys(cards, "1234"))
            canary = pin_tries.TryRequest(
                iccid=cards[0], bay="1", command=PinCommand.CPIN, counter=3
            )
            cleared = await store.write_in_set(pin_tries.claim, canary)
            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                waiting = group.create_task(full_start(driver, store, "bay"))
                while not store.signals._subscribers[Topic.SIMS]:
                    await asyncio.sleep(0.05)
                bank.control.swap_cards("modem02", "modem03")
                right = pin_tries.AttemptResult(
                    attempt_id=cleared.attempt_id, outcome=AttemptOutcome.RIGHT
                )
                await store.write_in_set(pin_tries.record, right)
            tried = await attempts(store)
    assert waiting.result() == Stopped(reason="card_changed")
    assert tried == [(cards[0], "CPIN", "right")]


class Swapping:
    """A real driver; at a moment of our choice the card in its modem becomes another one."""

    def __init__(self, driver: Driver, bank: BankProcess, *, after: str, nth: int = 1) -> None:
        self._driver, self._bank = driver, bank
        self._after, self._left = after, nth

    def __getattr__(self, name: str):
        method = getattr(self._driver, name)
        if name != self._after:
            return method

        async def and_swap(*args, **facts):
            result = await method(*args, **facts)
            self._left -= 1
            if self._left == 0:
                self._bank.control.swap_cards("modem01", "modem02")
            return result

        return and_swap


class Flickering:
    """A real driver whose link garbles every other counter."""

    def __init__(self, driver: Driver, *told: int | None) -> None:
        self._driver = driver
        self._told = itertools.cycle(told)

    def __getattr__(self, name: str):
        return getattr(self._driver, name)

    async def pin_counter(self) -> PinCounter | None:
        left = next(self._told)
        return None if left is None else PinCounter(pin=left, puk=10)


@pytest.mark.parametrize(
    ("told", "result"),
    [
        ((3, 1), Stopped(reason="counter_unknown")),
        ((3, None), Stopped(reason="counter_unknown")),
        ((3, 1, 1), Stopped(reason="counter_low")),
        ((None, 3, 3), Unlocked(is_locked=True)),
    ],
)
async def test_no_pin_leaves_on_a_counter_that_was_read_once(
    bank_of_one, tmp_path: Path, clock, told, result
):
    bank, driver = bank_of_one
    iccid = Iccid(card_in(bank, "modem01")["iccid"])
    async with open_store(tmp_path, clock) as store:
        await register(store, {iccid: "1234"})
        assert await full_start(Flickering(driver, *told), store, "bay") == result
        tried = await attempts(store)
    assert bool(tried) == isinstance(result, Unlocked)


TWO = ("--modems", "2", "--pin", "1234", "--persona", "generic", "--pin-lock")


async def test_a_card_that_is_changed_after_its_check_gets_no_pin(tmp_path: Path, clock):
    """The bay's change of state took long to save; the next card must not pay for it."""
    with BankProcess(tmp_path / "bank", *TWO, "on") as bank:
        cards = [Iccid(card_in(bank, name)["iccid"]) for name in modem_names(2)]
        async with (
            drivers_of(bank, ["modem01"]) as (driver,),
            open_store(tmp_path, clock) as store,
        ):
            await register(store, dict.fromkeys(cards, "1234"))
            assert await check_card(driver, store, "bay") == Fit(iccid=cards[0])
            bank.control.swap_cards("modem01", "modem02")
            result = await unlock(
                driver, store, cards[0], "bay", ENFORCE, telemetry=Telemetry(version="test")
            )
            tried = await attempts(store)
        tries = [card_in(bank, name)["pin_tries"] for name in modem_names(2)]
    assert result == Stopped(reason="card_changed")
    assert tried == []
    assert tries == [3, 3]


async def test_a_card_that_is_changed_while_its_try_is_committed_gets_no_pin(tmp_path: Path, clock):
    with BankProcess(tmp_path / "bank", *TWO, "on") as bank:
        cards = [Iccid(card_in(bank, name)["iccid"]) for name in modem_names(2)]
        async with (
            drivers_of(bank, ["modem01"]) as (driver,),
            open_store(tmp_path, clock) as store,
        ):
            await register(store, dict.fromkeys(cards, "9999"))
            swapping = Swapping(driver, bank, after="pin_counter")
            result = await full_start(swapping, store, "bay")
            tried = await attempts(store)
            (row,) = await store.read(pins.read_imports)
        tries = [card_in(bank, name)["pin_tries"] for name in modem_names(2)]
    assert result == Stopped(reason="card_changed")
    assert tried == [(cards[0], "CPIN", "not_sent")]
    assert (row.n_out, row.n_wrong, row.stopped_at) == (0, 0, None)
    assert tries == [3, 3]


async def test_a_changed_card_that_is_open_does_not_serve_as_the_former_one(tmp_path: Path, clock):
    with BankProcess(tmp_path / "bank", *TWO, "off") as bank:
        cards = [Iccid(card_in(bank, name)["iccid"]) for name in modem_names(2)]
        async with (
            drivers_of(bank, ["modem01"]) as (driver,),
            open_store(tmp_path, clock) as store,
        ):
            await register(store, dict.fromkeys(cards, "1234"))
            assert await check_card(driver, store, "bay") == Fit(iccid=cards[0])
            bank.control.swap_cards("modem01", "modem02")
            result = await unlock(
                driver, store, cards[0], "bay", VERIFY, telemetry=Telemetry(version="test")
            )
            said = await alarms(store)
    assert result == Stopped(reason="card_changed")
    assert said == []


async def test_a_new_pin_goes_to_no_other_card(tmp_path: Path, clock):
    with BankProcess(tmp_path / "bank", *TWO, "on") as bank:
        cards = [Iccid(card_in(bank, name)["iccid"]) for name in modem_names(2)]
        async with (
            drivers_of(bank, ["modem01"]) as (driver,),
            open_store(tmp_path, clock) as store,
        ):
            await register(store, dict.fromkeys(cards, "1234"))
            assert await full_start(driver, store, "bay") == Unlocked(is_locked=True)
            bank.control.swap_cards("modem01", "modem02")
            result = await change_pin(seat(driver, store, cards[0]), "55667788")
            row = await store.read(
                lambda conn: conn.execute(select(sim).where(sim.c.iccid == cards[0])).one()
            )
    assert result == Stopped(reason="card_changed")
    assert row.pin_pending_enc is None


REFUSE = (
    "CREATE TRIGGER no_outcome BEFORE UPDATE ON pin_attempt BEGIN SELECT RAISE(ABORT, 'away'); END"
)


async def test_an_outcome_that_the_store_refused_is_stored_later(
    bank_of_one, tmp_path: Path, clock, caplog
):
    """Lost it would hold up the whole import: nobody knew whether its canary was right."""
    bank, driver = bank_of_one
    iccid = Iccid(card_in(bank, "modem01")["iccid"])
    async with open_store(tmp_path, clock) as store:
        await register(store, {iccid: "1234"})
        await store.write(lambda tx: tx.conn.exec_driver_sql(REFUSE))
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            starting = group.create_task(full_start(driver, store, "bay"))
            while "pin.outcome_not_saved" not in caplog.messages:
                await asyncio.sleep(0.05)
            await store.write(lambda tx: tx.conn.exec_driver_sql("DROP TRIGGER no_outcome"))
        (row,) = await store.read(pins.read_imports)
    assert starting.result() == Unlocked(is_locked=True)
    assert (row.n_right, row.n_out) == (1, 0)


async def test_who_waits_for_a_turn_looks_up_and_can_be_called_away(
    bank_of_one, tmp_path: Path, clock
):
    """Another card's canary never answers: nobody knows for how long this one waits."""
    bank, driver = bank_of_one
    iccid = Iccid(card_in(bank, "modem01")["iccid"])
    looks: list[int] = []

    async def may_wait() -> bool:
        looks.append(len(looks))
        return len(looks) < 3

    async with open_store(tmp_path, clock) as store:
        await register(store, {iccid: "1234", "89860000000000000009": "1234"})
        canary = pin_tries.TryRequest(
            iccid=Iccid("89860000000000000009"), bay="1", command=PinCommand.CPIN, counter=3
        )
        await store.write_in_set(pin_tries.claim, canary)
        async with asyncio.timeout(30):
            result = await unlock(
                driver,
                store,
                iccid,
                "bay",
                ENFORCE,
                may_wait=may_wait,
                telemetry=Telemetry(version="test"),
            )
        tried = await attempts(store)
    assert result == Stopped(reason="waits_canary")
    assert len(looks) == 3
    assert len(tried) == 1


async def test_an_exception_that_calls_the_waiting_card_away_passes(
    bank_of_one, tmp_path: Path, clock
):
    bank, driver = bank_of_one
    iccid = Iccid(card_in(bank, "modem01")["iccid"])

    async def card_out() -> bool:
        raise LookupError("the card was taken out")

    async with open_store(tmp_path, clock) as store:
        await register(store, {iccid: "1234", "89860000000000000009": "1234"})
        canary = pin_tries.TryRequest(
            iccid=Iccid("89860000000000000009"), bay="1", command=PinCommand.CPIN, counter=3
        )
        await store.write_in_set(pin_tries.claim, canary)
        async with asyncio.timeout(30):
            with pytest.raises(LookupError):
                await unlock(
                    driver,
                    store,
                    iccid,
                    "bay",
                    ENFORCE,
                    may_wait=card_out,
                    telemetry=Telemetry(version="test"),
                )


class LostAnswer:
    """A real driver whose answers to PINs get lost on the way: as an exception, or as no answer."""

    def __init__(self, driver: Driver, *, is_raising: bool) -> None:
        self._driver = driver
        self._is_raising = is_raising

    def __getattr__(self, name: str):
        return getattr(self._driver, name)

    async def enter_pin(self, pin: str) -> PinOutcome:
        await self._driver.enter_pin(pin)
        if self._is_raising:
            raise CommandTimeout("AT+CPIN=<pin>", "final result")
        return PinOutcome.UNKNOWN


@pytest.mark.parametrize("is_raising", [True, False], ids=["raised", "unknown"])
@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
async def test_a_lost_answer_counts_as_a_failure_until_the_card_tells(
    bank_of_one, tmp_path: Path, clock, right, is_raising
):
    bank, driver = bank_of_one
    iccid = Iccid(card_in(bank, "modem01")["iccid"])
    losing = LostAnswer(driver, is_raising=is_raising)
    async with open_store(tmp_path, clock) as store:
        await register(store, {iccid: "1234" if right else "9999"})
        if is_raising:
            with pytest.raises(CommandTimeout):
                await full_start(losing, store, "bay")
        else:
            first = await full_start(losing, store, "bay")
            assert first == (Unlocked(is_locked=True) if right else Stopped(reason="pin_unknown"))
        again = await full_start(driver, store, "bay")
        outcomes = [outcome for _, _, outcome in await attempts(store)]
        (row,) = await store.read(pins.read_imports)
    if right:
        assert again == Unlocked(is_locked=True)
        assert (outcomes, row.n_right, row.n_out) == (["right"], 1, 0)
    else:
        assert again == Stopped(reason="pin_failed")
        assert (outcomes, row.n_wrong, row.stopped_reason is None) == (["wrong"], 1, False)
        assert card_in(bank, "modem01")["pin_tries"] == 2
