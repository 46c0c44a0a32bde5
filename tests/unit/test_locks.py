"""The report of locks: who is locked, open, unknown, stopped, blocked, and what a script hears."""

import asyncio
import json
import os
from dataclasses import asdict

import pytest
from sqlalchemy import func, select

from modemctl.lifecycle import CardState, ModemState
from modemctl.model import Bay, Iccid
from modemctl.service.locks import LockState
from modemctl.store import Store, card_locks, counts, sims
from modemctl.store.card_locks import LockNote
from modemctl.store.modems import Facts, StateChange, save_changes
from modemctl.store.tables import event
from tests.support.apis import open_api, serving
from tests.support.commands import ask
from tests.support.stores import TestClock, open_store

CARDS = [Iccid(f"8986{i:016d}") for i in range(8)]
STRANGER = Iccid("89860099999999999999")


async def register(store: Store, n: int, state=CardState.ISSUED, department="sales") -> None:
    new = [
        sims.NewCard(iccid=one, state=state, department=department, verified_at=store.clock.now())
        for one in CARDS[:n]
    ]
    await store.write(lambda tx: sims.add(tx, new))


async def see(store: Store, iccid, is_locked, reason="") -> None:
    note = LockNote(iccid=iccid, bay=f"bay-{iccid[-1]}", is_locked=is_locked, reason=reason)
    await store.write_in_set(card_locks.note, note)


async def put_in(store: Store, iccid, state=ModemState.READY, reason="") -> None:
    change = StateChange(
        facts=Facts(bay=Bay(f"bay-{iccid[-1]}"), port="/dev/x", iccid=iccid),
        before=ModemState.CHECKING, after=state, event="fit", reason=reason,
    )  # fmt: skip
    await store.write_in_set(save_changes, change)


@pytest.fixture
async def bench(tmp_path):
    async with open_api(tmp_path, peers={os.getuid(): "root"}) as bench, serving(bench):
        yield bench


async def report(bench) -> dict[str, object]:
    page = await bench.services.locks.report(bench.admin)
    return {item.iccid: item for item in page.items}


async def test_each_card_stands_where_its_last_start_showed(bench):
    store = bench.store
    await register(store, 7)
    await see(store, CARDS[0], True)
    await see(store, CARDS[1], False)
    await see(store, CARDS[2], True, "counter_low")
    await see(store, CARDS[3], True, "sim_puk")
    await see(store, CARDS[4], True, "pin_blocked")
    await see(store, CARDS[5], False, "lock_no_pin")
    found = await report(bench)
    assert [found[one].state for one in CARDS[:7]] == [
        LockState.LOCKED,
        LockState.UNLOCKED,
        LockState.STOPPED,
        LockState.BLOCKED,
        LockState.BLOCKED,
        LockState.UNLOCKED,
        LockState.UNKNOWN,
    ]
    assert found[CARDS[2]].reason == "counter_low"
    assert found[CARDS[6]].reason == "in no bay"


async def test_metrics_count_cards_in_use_of_which_a_start_has_told(bench):
    await register(bench.store, 5)
    for iccid, is_locked, reason in zip(
        CARDS, (True, True, False, True), ("", "", "", "sim_puk"), strict=False
    ):
        await see(bench.store, iccid, is_locked, reason)
    await see(bench.store, STRANGER, True)
    found = await bench.store.read(counts.read)
    assert found.locks == {"locked": 2, "unlocked": 1, "blocked": 1}


async def test_a_card_that_no_register_knows_is_on_the_page_with_its_bays_reason(bench):
    await put_in(bench.store, STRANGER, ModemState.QUARANTINED, "unregistered (policy: SIM-01)")
    found = (await report(bench))[STRANGER]
    assert (found.state, found.card_state, found.bay) == (LockState.UNKNOWN, None, "bay-9")
    assert found.reason == "unregistered (policy: SIM-01)"


async def test_cards_out_of_use_are_left_out_unless_a_bay_holds_them(bench):
    await register(bench.store, 2, CardState.CANCELLED)
    await put_in(bench.store, CARDS[1])
    assert set(await report(bench)) == {CARDS[1]}


async def test_what_was_verified_stays_where_a_later_start_tells_nothing(tmp_path):
    clock = TestClock()
    async with open_store(tmp_path, clock) as store:
        await register(store, 1)
        await see(store, CARDS[0], True)
        verified = clock.now()
        clock.advance(3600)
        await see(store, CARDS[0], None, "sim_other")
        (row,) = await store.read(card_locks.find)
    assert (row.is_locked, row.verified_at, row.reason) == (True, verified, "sim_other")


async def test_pages_follow_one_another_and_departments_see_their_own(bench):
    await register(bench.store, 5)
    first = await bench.services.locks.report(bench.admin, limit=3)
    rest = await bench.services.locks.report(bench.admin, cursor=first.next, limit=3)
    assert [one.iccid for one in (*first.items, *rest.items)] == CARDS[:5]
    assert rest.next is None
    token = await bench.token_of("technician", department="loans")
    async with bench.client(token) as client:
        answer = await client.get("/v1/sims/locks")
    assert answer.json() == {"items": [], "next": None}


async def test_a_script_hears_whether_every_card_is_locked(bench):
    await register(bench.store, 2)
    await asyncio.gather(*(see(bench.store, one, True) for one in CARDS[:2]))
    at = ("--socket", bench.settings.unix_socket, "sims", "locks")
    good = await ask(*at)
    assert (good.status, good.err) == (0, "2 cards: 2 locked\n")
    assert CARDS[1] in good.out
    await see(bench.store, CARDS[1], False)
    bad = await ask(*at, "--open", "--json")
    (line,) = bad.out.splitlines()
    assert bad.status == 1
    assert json.loads(line)["state"] == "unlocked"
    assert not [name for name in asdict((await report(bench))[CARDS[0]]) if "pin" in name]


async def test_an_alarm_is_said_once_until_something_changes(tmp_path):
    """Hundreds of cards that are set aside are not news at each look and each restart."""
    async with open_store(tmp_path, TestClock()) as store:
        await register(store, 2)

        async def say(word: str, *, card: Iccid = CARDS[0], bay: str = "bay-0") -> int:
            """How many alarms there are behind it."""
            await store.write(
                lambda tx: card_locks.alarm_once(
                    tx, card, word=word, bay=bay, facts={"policy": "SIM-06"}
                )
            )
            query = select(func.count()).where(event.c.kind == "alarm")
            return await store.read(lambda conn: conn.scalar(query))

        assert [await say("pin_failed") for _ in range(3)] == [1, 1, 1]
        await see(store, CARDS[0], True, "pin_failed")  # the look that follows
        assert await say("pin_failed") == 1
        assert await say("pin_failed", card=CARDS[1]) == 2
        assert await say("pin_failed", bay="bay-9") == 3
        assert [await say("card_moved", bay="bay-9") for _ in range(2)] == [4, 4]
        await see(store, CARDS[0], True)  # it has served since
        assert await say("card_moved", bay="bay-9") == 5
        await see(store, CARDS[0], False)
        assert [await say("lock_off") for _ in range(2)] == [6, 6]
        await see(store, CARDS[0], False)  # it goes on being open
        assert await say("lock_off") == 6
        assert await say("card_unregistered", card=STRANGER) == 7
        assert await say("card_unregistered", card=STRANGER) == 7
