"""Progress of running batches: what is kept by what moved is what counting anew finds."""

import random

from sqlalchemy import delete, update

from modemctl.lifecycle import BatchState, SegmentState
from modemctl.store import batches
from modemctl.store.leases import Leased
from modemctl.store.outcomes import Doubtful, NotSent, Took
from modemctl.store.segments import Release, release
from modemctl.store.submits import Cleared
from modemctl.store.tables import segment, segment_journal
from modemctl.store.tallies import Tally
from tests.support.benches import CARDS, bench

RESULTS = [
    Took(mr=7),
    Doubtful(reason="no answer"),
    NotSent(code="cms:38", title="network out of order", action="retry", blame="network"),
]


async def test_what_moved_is_what_is_counted(tmp_path):
    print("seed 11")
    dice = random.Random(11)
    kept, anew = Tally(few=0), Tally()
    async with bench(tmp_path) as b:
        ids = [await b.batch(12), await b.batch(9)]
        for turn in range(12):
            await one_turn(b, dice)
            if turn == 4:
                ids.append(await b.batch(5))
            if turn == 8:
                await b.store.write(
                    lambda tx: batches.move(tx, ids[0], BatchState.HELD, reason="a person")
                )
            told = await b.store.read(kept.look)
            assert told == await b.store.read(anew.look)
            assert (ids[0] in told) == (turn < 8)
        assert all([told[one] == await b.states(one) for one in ids[1:]])


async def one_turn(b, dice: random.Random) -> None:
    for one in await b.lease(*dice.sample(CARDS[:6], 3)):
        if not isinstance(one, Leased):
            continue
        match dice.randrange(4):
            case 0:
                item = Release(token=one.token, reason="a test", rules=b.rules)
                await b.store.write_in_set(release, item)
            case 1:
                continue
            case _:
                if isinstance(await b.begin(one), Cleared):
                    await b.end(one, dice.choice(RESULTS))


async def test_a_large_batch_is_not_counted_again(tmp_path):
    """Else each second of a batch of a million costs a tenth of one."""
    tally = Tally(few=0)
    async with bench(tmp_path) as b:
        batch_id = await b.batch(4)
        assert (await b.store.read(tally.look))[batch_id] == {SegmentState.QUEUED: 4}
        await b.store.write(  # behind the journal's back: only a count would see it
            lambda tx: tx.conn.execute(update(segment).values(state=SegmentState.REFUSED))
        )
        assert (await b.store.read(tally.look))[batch_id] == {SegmentState.QUEUED: 4}
        assert (await b.store.read(Tally().look))[batch_id] == {SegmentState.REFUSED: 4}


async def test_a_journal_that_lost_its_end_is_no_ground_to_go_on_from(tmp_path):
    tally = Tally(few=0)
    async with bench(tmp_path) as b:
        batch_id = await b.batch(4)
        await b.lease(*CARDS[:2])
        assert (await b.store.read(tally.look))[batch_id] == await b.states(batch_id)
        await b.store.write(lambda tx: tx.conn.execute(delete(segment_journal)))
        await b.lease(CARDS[2])
        assert (await b.store.read(tally.look))[batch_id] == await b.states(batch_id)
