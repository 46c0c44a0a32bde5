"""`kill -9` of one of two nodes on PostgreSQL, before and after each thing that it does.

Lives without a kill tell the points that there are: all of a node's life, and all of a takeover
from a lost node. Then each gets a life of its own; the other node takes over and sends the rest, or
the same one starts again. Judged by the simulated networks' own ledgers (design §13): 16 points by
default, every one under `MODEMCTL_LONG=1`; `MODEMCTL_SEED` draws others.
"""

import asyncio
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest

from tests.support import postgres
from tests.support.kill_pairs import PER_PAIR, Pair
from tests.support.kill_points import Point
from tests.support.nursery import nursery
from tests.support.simulated import BankProcess, within

LONG = os.environ.get("MODEMCTL_LONG") == "1"
SEED = int(os.environ.get("MODEMCTL_SEED", "20261122"))
N_POINTS, N_IN_TAKEOVER = 12, 4
N_PAIRS = 4 if LONG else 2
WORLD = """
seed = {seed}
persona = "generic"
latency = {latency}
report_delay = 0.05
modems = {n}
"""


@pytest.fixture
def cluster() -> Iterator[postgres.Cluster]:
    yield postgres.cluster()
    postgres.cluster().drop_all()


async def kill_at_each(
    pair: Pair, points: Sequence[Point], in_takeover: Sequence[Point], dice: random.Random
) -> list[Point]:
    """Lives until no point is left, then what ends the work; the points that did not come.

    Who sends what is chance: some that did not come are tried again, in a life as the first was.
    """
    missed = [
        point
        for point in points
        if not await pair.kill_at(point, is_taken_over=dice.random() < 0.5)
    ]
    for point in missed[: n_again(points)]:
        await pair.kill_in_flight()
        if await pair.kill_at(point, is_taken_over=dice.random() < 0.5):
            missed.remove(point)
    missed += [
        point
        for point in in_takeover
        if not await pair.kill_in_takeover(point, comes_back=dice.random() < 0.5)
    ]
    await pair.finish()
    return missed


def n_again(points: Sequence[Point]) -> int:
    """How many that did not come may be tried again."""
    return max(2, len(points) // 5)


def draw(points: Sequence[Point], n: int, dice: random.Random) -> list[Point]:
    """Points to try: all, or one of each of many kinds."""
    if LONG:
        return dice.sample(points, len(points))
    kinds: dict[str, list[Point]] = defaultdict(list)
    for point in points:
        kinds[point.what].append(point)
    return [dice.choice(kinds[what]) for what in dice.sample(sorted(kinds), n)]


@pytest.mark.timeout(3_600)
async def test_a_kill_at_each_point_of_two_nodes_loses_nothing_and_doubles_nothing(
    tmp_path, cluster
):
    dice = random.Random(SEED)
    async with nursery() as nurse:
        with ExitStack() as stack:
            banks = [
                stack.enter_context(bank)
                for bank in (
                    make_bank(tmp_path, "quick", PER_PAIR * (N_PAIRS + 1), 0, seed=3),
                    make_bank(tmp_path, "slow", N_PAIRS + 1, 0.15, seed=4),
                )
            ]

            async def make_pair(place: int, n_rounds: int) -> Pair:
                facts = (banks, tmp_path / f"pair{place}", place, nurse, cluster, n_rounds)
                pair = await asyncio.to_thread(Pair, *facts)
                stack.callback(pair.close)
                return pair

            scout = await make_pair(N_PAIRS, 3)
            found, found_in_takeover = await scout.list_points()
            points = draw(found, N_POINTS, dice)
            in_takeover = draw(found_in_takeover, N_IN_TAKEOVER, dice)
            print(
                f"seed {SEED}: {len(points)} of {len(found)} points of a life,"
                f" {len(in_takeover)} of {len(found_in_takeover)} of a takeover"
            )
            await scout.finish()
            pairs = [scout]
            async with asyncio.TaskGroup() as group:
                tasks = []
                for i in range(N_PAIRS):
                    mine, taking = points[i::N_PAIRS], in_takeover[i::N_PAIRS]
                    n_rounds = len(mine) + 2 * n_again(mine) + len(taking)
                    pair = await make_pair(i, n_rounds)
                    pairs.append(pair)
                    chance = random.Random(f"{SEED}.{i}")
                    tasks.append(group.create_task(kill_at_each(pair, mine, taking, chance)))
            missed = [point for task in tasks for point in task.result()]
            took = Counter(
                (str(line["destination"]), seq_of(line))
                for bank in banks
                for line in bank.ledger(kind="submit")
            )
            wrong = [line for pair in pairs for line in await asyncio.to_thread(pair.judge, took)]
            states = sum((pair.states() for pair in pairs), Counter())
    n_tried = len(points) + len(in_takeover)
    n_in_flight = sum(pair.n_in_flight for pair in pairs)
    n_taken_over = sum(pair.n_taken_over for pair in pairs)
    print(f"{n_tried - len(missed)} met, {n_in_flight} with submits in flight; {dict(states)}")
    print(f"{n_taken_over} takeovers; not met: {[str(point) for point in missed]}")
    assert wrong == []
    assert len(missed) < n_tried / 2, "the points were hardly ever met"
    assert n_in_flight, "no kill hit a segment in flight: the test would prove nothing"


def make_bank(folder, name: str, n: int, latency: float, *, seed: int) -> BankProcess:
    """A simulated bank in which a submit takes so long (seconds)."""
    world = folder / f"{name}.toml"
    world.write_text(WORLD.format(seed=seed, latency=latency, n=n))
    return BankProcess(folder / name, "--scenario", str(world))


def seq_of(line: dict) -> int:
    """Which segment of its message a line of the ledger is about."""
    concat = line["concat"]
    return 1 if concat is None else int(within(concat, "seq"))
