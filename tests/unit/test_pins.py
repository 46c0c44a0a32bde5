"""The guard's rows under many actors at once, on a real store."""

import asyncio
import random
from dataclasses import replace

import pytest
from sqlalchemy import func, select, update

from modemctl.errors import Conflict
from modemctl.lifecycle import CardState
from modemctl.model import Iccid, Topic
from modemctl.policy.pin_guard import (
    ANSWER_LIMIT,
    AttemptOutcome,
    PinCommand,
    Stop,
    StopReason,
    Wait,
    WaitReason,
)
from modemctl.store import Store, pin_tries, pins, sims
from modemctl.store.tables import pin_attempt, sim
from tests.support.stores import TestClock, open_store

N = 64
ICCIDS = [Iccid(f"8986{i:016d}") for i in range(N)]


async def register(store: Store, n: int = N) -> None:
    now = store.clock.now()

    def act(tx) -> None:
        known = {"state": CardState.ISSUED, "verified_at": now, "verified_by": "x"}
        sims.add(tx, [sims.NewCard(iccid=one, **known) for one in ICCIDS[:n]])
        pins.add_import(tx, "import", dict.fromkeys(ICCIDS[:n], "1234"))

    await store.write(act)


def ask(iccid, counter=3, bay="1"):
    return pin_tries.TryRequest(iccid=iccid, bay=bay, command=PinCommand.CPIN, counter=counter)


class Cards:
    """What the plastic does: counters, and who has which PIN."""

    def __init__(self, wrong=()) -> None:
        self.counters = dict.fromkeys(ICCIDS, 3)
        self.wrong = frozenset(wrong)
        self.n_out = self.most_out = self.n_tries = 0

    async def enter(self, iccid: Iccid, rng: random.Random) -> AttemptOutcome:
        self.n_tries += 1
        self.n_out += 1
        self.most_out = max(self.most_out, self.n_out)
        for _ in range(rng.randrange(1, 20)):
            await asyncio.sleep(0)
        self.n_out -= 1
        if iccid in self.wrong:
            self.counters[iccid] -= 1
            return AttemptOutcome.WRONG
        self.counters[iccid] = 3
        return AttemptOutcome.RIGHT


async def actor(store: Store, cards: Cards, iccid: Iccid, rng: random.Random):
    """As `fleet.unlocking` asks: until cleared or stopped, woken by outcomes; then it peeks."""
    with store.signals.subscribe(Topic.SIMS) as bell:
        while True:
            peek = replace(ask(iccid, cards.counters[iccid]), is_peek=True)
            while isinstance(await store.write_in_set(pin_tries.claim, peek), Wait):
                await bell.wait(5)
            answer = await store.write_in_set(pin_tries.claim, ask(iccid, cards.counters[iccid]))
            if isinstance(answer, Stop):
                return answer.reason
            if isinstance(answer, pin_tries.ClearedTry):
                outcome = await cards.enter(iccid, rng)
                result = pin_tries.AttemptResult(attempt_id=answer.attempt_id, outcome=outcome)
                await store.write_in_set(pin_tries.record, result)
                return outcome


async def run_all(store: Store, cards: Cards, seed: int) -> list:
    rng = random.Random(seed)
    order = list(ICCIDS)
    rng.shuffle(order)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        tasks = [group.create_task(actor(store, cards, iccid, rng)) for iccid in order]
    return [task.result() for task in tasks]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_64_cards_with_wrong_pins_cost_one_try_in_total(tmp_path, seed):
    cards = Cards(wrong=ICCIDS)
    async with open_store(tmp_path) as store:
        await register(store)
        results = await run_all(store, cards, seed)
    assert cards.n_tries == 1
    assert min(cards.counters.values()) == 2
    assert sorted(results) == [StopReason.IMPORT_STOPPED] * 63 + [AttemptOutcome.WRONG]


async def test_64_right_pins_are_all_tried_and_the_width_grows(tmp_path):
    cards = Cards()
    async with open_store(tmp_path) as store:
        await register(store)
        results = await run_all(store, cards, 4)
        (row,) = await store.read(pins.read_imports)
    assert set(results) == {AttemptOutcome.RIGHT}
    assert cards.most_out >= 4
    assert (row.n_right, row.n_wrong, row.n_out) == (64, 0, 0)


@pytest.mark.both_databases
async def test_two_wrong_ones_behind_the_canary_stop_the_rest(tmp_path):
    cards = Cards(wrong=ICCIDS[1:])
    async with open_store(tmp_path) as store:
        await register(store)
        rng = random.Random(1)
        assert await actor(store, cards, ICCIDS[0], rng) is AttemptOutcome.RIGHT
        await run_all(store, cards, 5)
    assert cards.n_tries <= 1 + 1 + 2  # canary, itself again, then two at once
    assert min(cards.counters.values()) == 2


async def test_one_card_in_two_bays_is_tried_in_one(tmp_path):
    """A stick with two AT ports shows its card twice."""
    async with open_store(tmp_path) as store:
        await register(store, 1)
        first, second = await asyncio.gather(
            store.write_in_set(pin_tries.claim, ask(ICCIDS[0], bay="1")),
            store.write_in_set(pin_tries.claim, ask(ICCIDS[0], bay="2")),
        )
    assert isinstance(first, pin_tries.ClearedTry)
    assert second == Wait(reason=WaitReason.IN_FLIGHT)


async def test_the_attempt_is_on_disk_when_the_claim_returns(tmp_path):
    async with open_store(tmp_path) as store:
        await register(store, 1)
        cleared = await store.write_in_set(pin_tries.claim, ask(ICCIDS[0]))
        row = await store.read(lambda conn: conn.execute(select(pin_attempt)).one())
    assert (row.attempt_id, row.outcome, row.tries_before) == (cleared.attempt_id, None, 3)
    assert row.fingerprint == store.vault.pin_fingerprint(ICCIDS[0], "1234")
    assert "1234" not in repr(cleared)


async def test_an_outcome_is_not_written_twice(tmp_path):
    async with open_store(tmp_path) as store:
        await register(store, 1)
        cleared = await store.write_in_set(pin_tries.claim, ask(ICCIDS[0]))
        for outcome in (AttemptOutcome.RIGHT, AttemptOutcome.WRONG):
            result = pin_tries.AttemptResult(attempt_id=cleared.attempt_id, outcome=outcome)
            await store.write_in_set(pin_tries.record, result)
        (row,) = await store.read(pins.read_imports)
    assert (row.n_right, row.n_wrong) == (1, 0)


async def test_a_canary_without_answer_holds_the_import_until_a_person_decides(tmp_path):
    clock = TestClock()
    async with open_store(tmp_path, clock) as store:
        await register(store, 2)
        cleared = await store.write_in_set(pin_tries.claim, ask(ICCIDS[0]))
        unknown = pin_tries.AttemptResult(
            attempt_id=cleared.attempt_id, outcome=AttemptOutcome.UNKNOWN
        )
        await store.write_in_set(pin_tries.record, unknown)
        clock.advance(3600)
        waits = await store.write_in_set(pin_tries.claim, ask(ICCIDS[1]))
        await store.write(lambda tx: pins.resume_import(tx, "import"))
        other = await store.write_in_set(pin_tries.claim, ask(ICCIDS[1]))
    assert waits == Wait(reason=WaitReason.CANARY)
    assert isinstance(other, pin_tries.ClearedTry)


@pytest.mark.parametrize(
    ("counter", "is_open", "after"),
    [(3, True, AttemptOutcome.RIGHT), (3, False, AttemptOutcome.UNBURNT),
     (2, False, AttemptOutcome.WRONG), (None, False, AttemptOutcome.ABANDONED)],
)  # fmt: skip
async def test_a_card_that_an_import_went_on_without_may_still_tell(
    tmp_path, counter, is_open, after
):
    """Else a right PIN whose answer got lost would be of no use for ever."""
    async with open_store(tmp_path) as store:
        await register(store, 1)
        cleared = await store.write_in_set(pin_tries.claim, ask(ICCIDS[0]))
        unknown = pin_tries.AttemptResult(
            attempt_id=cleared.attempt_id, outcome=AttemptOutcome.UNKNOWN
        )
        await store.write_in_set(pin_tries.record, unknown)
        await store.write(lambda tx: pins.resume_import(tx, "import"))
        assert await store.read(lambda conn: pin_tries.has_unsettled(conn, ICCIDS[0]))
        seen = replace(ask(ICCIDS[0], counter), is_unlocked=is_open, wants_try=False)
        await store.write_in_set(pin_tries.claim, seen)
        told = await store.read(lambda conn: conn.scalar(select(pin_attempt.c.outcome)))
        again = await store.write_in_set(pin_tries.claim, ask(ICCIDS[0]))
    assert told == after
    assert isinstance(again, pin_tries.ClearedTry) == (after is not AttemptOutcome.WRONG)


async def test_a_pin_moved_from_another_card_is_not_tried(tmp_path):
    async with open_store(tmp_path) as store:
        await register(store, 2)

        def move(tx) -> None:
            theirs = tx.conn.scalar(select(sim.c.pin_enc).where(sim.c.iccid == ICCIDS[1]))
            tx.conn.execute(update(sim).where(sim.c.iccid == ICCIDS[0]).values(pin_enc=theirs))

        await store.write(move)
        answer = await store.write_in_set(pin_tries.claim, ask(ICCIDS[0]))
        n_rows = await store.read(
            lambda conn: conn.scalar(select(func.count()).select_from(pin_attempt))
        )
    assert answer == Stop(reason=StopReason.TAMPERED)
    assert n_rows == 0


async def test_peeks_of_one_set_do_not_all_hear_that_it_is_their_turn(tmp_path):
    async with open_store(tmp_path) as store:
        await register(store)
        peeks = [replace(ask(iccid), is_peek=True) for iccid in ICCIDS]
        first = await store.write(lambda tx: pin_tries.claim(tx, peeks))
        again = await store.write(lambda tx: pin_tries.claim(tx, peeks))
        n_rows = await store.read(
            lambda conn: conn.scalar(select(func.count()).select_from(pin_attempt))
        )
    assert sum(isinstance(one, pin_tries.Turn) for one in first) == 1
    assert first == again
    assert n_rows == 0


async def test_an_import_goes_on_though_an_outcome_was_never_stored(tmp_path):
    """The canary's node died for good, or its store refused the outcome."""
    clock = TestClock()
    async with open_store(tmp_path, clock) as store:
        await register(store, 2)
        await store.write_in_set(pin_tries.claim, ask(ICCIDS[0]))
        waits = await store.write_in_set(pin_tries.claim, ask(ICCIDS[1]))
        with pytest.raises(Conflict):  # its answer may still come
            await store.write(lambda tx: pins.resume_import(tx, "import"))
        clock.advance(ANSWER_LIMIT.total_seconds())
        await store.write(lambda tx: pins.resume_import(tx, "import"))
        goes = await store.write_in_set(pin_tries.claim, ask(ICCIDS[1]))
        again = await store.write_in_set(pin_tries.claim, ask(ICCIDS[0]))
    assert waits == Wait(reason=WaitReason.CANARY)
    assert isinstance(goes, pin_tries.ClearedTry)
    assert again == Wait(reason=WaitReason.CANARY)  # as the others: its try took nothing
