"""What the metrics tell of the store."""

from modemctl.store import counts
from tests.support.approved import add_batch, add_cards, add_staff, numbers
from tests.support.stores import open_store


async def test_cards_batches_and_open_segments_are_counted_by_state(tmp_path):
    async with open_store(tmp_path) as store:
        assert await store.read(counts.read) == counts.Counts()

        def fill(tx):
            add_cards(tx, ["89860000000000000001", "89860000000000000002"])
            add_batch(tx, add_staff(tx), numbers(3))

        await store.write(fill)
        found = await store.read(counts.read)
    assert found.sims == {"issued": 2}
    assert sum(found.batches.values()) == 1
    assert found.segments == {"queued": 3}


async def test_the_writer_is_healthy_until_a_commit_fails(tmp_path):
    async with open_store(tmp_path) as store:
        assert store.journal.is_healthy
    assert not store.journal.is_healthy
