"""Random walks of two nodes, one of which is lost again and again: nothing is sent twice by itself.

The ledger is what reached the network. Whatever the lost node still believes and does, a message
that left once leaves again only after a refusal, and what left without a stored result is in doubt.
"""

import os
import random
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from modemctl.errors import StoreError
from modemctl.lifecycle import SegmentState
from modemctl.store import nodes
from modemctl.store.leases import Leased
from modemctl.store.outcomes import NotSent, Took
from modemctl.store.submits import Cleared
from modemctl.store.tables import segment
from tests.support.approved import numbers
from tests.support.benches import CARDS, bench
from tests.support.fleets import begin, node, on
from tests.support.stores import TestClock

SEEDS = range(200 if os.environ.get("MODEMCTL_LONG") else 2)
NO = NotSent(code="cms:38", title="network out of order", action="again", blame="network")
N_STEPS = 40


class Walk:
    """Two nodes, what each believes to hold, and what the network got."""

    def __init__(self, stack, b, folder, dice):
        self.stack, self.b, self.folder, self.dice = stack, b, folder, dice
        self.ledger = Counter()
        self.leased, self.cleared = [], []
        self.n_refused = 0

    async def start(self):
        """The node that is lost now and then, alive again on a new store."""
        store = await self.stack.enter_async_context(node(self.folder, "n2", TestClock()))
        await store.write(lambda tx: nodes.settle(tx, self.b.rules))
        self.other = on(store, self.b)

    async def step(self):
        act = self.dice.choices(
            (self.lease, self.clear, self.answer, self.lose), weights=(4, 4, 4, 1)
        )[0]
        try:
            await act()
        except StoreError:
            self.n_refused += 1

    async def lease(self):
        who = self.dice.choice((self.b, self.other))
        found = await who.lease(*self.dice.sample(CARDS[:6], 2))
        self.leased += [(who, one) for one in found if isinstance(one, Leased)]

    async def clear(self):
        if not self.leased:
            return
        who, one = self.leased.pop(self.dice.randrange(len(self.leased)))
        if isinstance(await who.begin(one), Cleared):
            self.cleared.append((who, one))

    async def answer(self):
        """The payload leaves now, maybe of a node that is long lost, and the modem answers."""
        if not self.cleared:
            return
        who, one = self.cleared.pop(self.dice.randrange(len(self.cleared)))
        segment_id = one.segments[0][0]
        is_refused = self.dice.random() < 0.3
        if not is_refused:
            self.ledger[segment_id] += 1
        await who.end(one, NO if is_refused else Took(mr=segment_id % 256))

    async def lose(self):
        """The other one is declared lost; it may go on believing it lives, then starts anew."""
        [seen] = await self.b.store.read(lambda conn: nodes.find(conn, "n2"))
        assert await self.b.store.write(lambda tx: nodes.take_over(tx, seen, self.b.rules))
        for _ in range(self.dice.randrange(4)):
            act = self.dice.choice((self.clear, self.answer))
            try:
                await act()
            except StoreError:
                self.n_refused += 1
        await self.start()

    async def lose_in_flight(self):
        """At the end: what left at the moment of the loss, and whose result comes after it."""
        await self.b.batch(recipients=numbers(10, start=5_000))  # all else may be in hands
        self.leased = [one for one in await self.fresh() if isinstance(one[1], Leased)][:1]
        self.cleared = []
        await self.clear()
        [(who, one)] = self.cleared
        self.ledger[one.segments[0][0]] += 1
        [seen] = await self.b.store.read(lambda conn: nodes.find(conn, "n2"))
        assert await self.b.store.write(lambda tx: nodes.take_over(tx, seen, self.b.rules))
        with pytest.raises(StoreError):
            await who.end(one, Took(mr=1))
        self.n_refused += 1

    async def send(self):
        """The living node sends, too."""
        self.leased, self.cleared = [(self.b, (await self.b.lease(CARDS[0]))[0])], []
        await self.clear()
        [(who, one)] = self.cleared
        self.ledger[one.segments[0][0]] += 1
        await who.end(one, Took(mr=2))

    async def fresh(self):
        return [(self.other, one) for one in await self.other.lease(*CARDS[:6])]

    async def verdict(self):
        rows = await self.b.store.read(lambda conn: conn.execute(segment.select()).mappings().all())
        s = SegmentState
        for row in rows:
            n_sent = self.ledger[row["segment_id"]]
            assert n_sent <= 1, f"segment {row['segment_id']} was sent {n_sent} times"
            if row["state"] == s.SENT:
                assert n_sent == 1
            if row["state"] in {s.QUEUED, s.LEASED}:
                assert n_sent == 0, "what left is never offered again"
        return Counter(row["state"] for row in rows)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_lost_nodes_late_acts_send_nothing_twice(tmp_path, seed):
    print("seed", seed)
    dice = random.Random(seed)
    async with bench(tmp_path) as b, AsyncExitStack() as stack:
        await begin(b.store)
        await b.batch(30)
        walk = Walk(stack, b, tmp_path, dice)
        await walk.start()
        for _ in range(N_STEPS):
            await walk.step()
            await walk.verdict()
        await walk.lose_in_flight()
        await walk.send()
        states = await walk.verdict()
        assert states[SegmentState.IN_DOUBT] > 0
        assert states[SegmentState.SENT] > 0
        assert walk.n_refused > 0, "the walk has met a fence"
