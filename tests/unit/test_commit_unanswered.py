"""The sending path where a COMMIT goes through and its answer is lost: nothing is stranded."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import make_url

from modemctl.errors import CommitUnanswered, StoreError
from modemctl.fleet.dispatcher import Job
from modemctl.lifecycle import SegmentState
from modemctl.model import Category
from modemctl.store import Store
from modemctl.vault import AuditKey, Vault
from tests.support import postgres
from tests.support.benches import CARDS, Bench, bay_of, bench
from tests.support.senders import until
from tests.support.stores import AUDIT_SEED, MASTER_KEY, Databases
from tests.unit.test_dispatcher import dispatching

pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@asynccontextmanager
async def cut(folder: Path, n_messages: int) -> AsyncIterator[tuple[Bench, postgres.Cutter]]:
    """A bench behind a line that can lose an answer, and a batch of so many messages."""
    async with bench(folder) as before:
        await before.batch(n_messages)
    cutter = postgres.Cutter(Databases.url(folder))
    async with Store(
        cutter.url, vault=Vault(MASTER_KEY), audit_key=AuditKey(AUDIT_SEED), clock=before.clock,
        node_id="n1",
    ) as store:  # fmt: skip
        yield replace(before, store=store), cutter
    cutter.close()


async def test_who_asked_is_told_that_it_may_have_happened(tmp_path):
    async with cut(tmp_path, 1) as (b, cutter):
        cutter.is_armed = True
        with pytest.raises(CommitUnanswered):
            await b.store.write(lambda tx: tx.audit("a", "test", "unsure", {}))
        allow = f"ALTER DATABASE {make_url(cutter.url).database} ALLOW_CONNECTIONS "
        postgres.cluster().sql(f"{allow} false")
        with pytest.raises(StoreError) as refused:
            await b.store.write(lambda tx: tx.audit("a", "test", "never", {}))
        assert not isinstance(refused.value, CommitUnanswered), "no COMMIT left"
        postgres.cluster().sql(f"{allow} true")


async def test_a_lease_whose_commit_was_not_answered_goes_back_at_once(tmp_path):
    async with cut(tmp_path, 3) as (b, cutter):
        jobs: list[Job] = []
        async with dispatching(b) as dispatcher:
            cutter.is_armed = True
            for card in CARDS[:3]:
                dispatcher.ask(bay_of(card), card, jobs.append)
            await until(lambda: len(jobs) == 3)
            assert not cutter.is_armed
        assert {job.lease.line_no for job in jobs} == {1, 2, 3}


async def test_a_lease_beside_an_odd_batch_is_not_lost_with_the_answer(tmp_path):
    """Each card is served alone there: what one got stays its own, the next one's goes back."""
    async with cut(tmp_path, 3) as (b, cutter):
        odd = await b.batch(1, category=Category.PROMOTION)
        known = {str(Category.OTHER): True}  # of the other one nobody can tell
        b.rules = replace(b.rules, is_open=lambda category, at: known[category])
        jobs: list[Job] = []
        async with dispatching(b) as dispatcher:
            cutter.n_let_through, cutter.is_armed = 3, True  # the set, the odd one held, a card
            for card in CARDS[:3]:
                dispatcher.ask(bay_of(card), card, jobs.append)
            await until(lambda: len(jobs) == 3)
            assert not cutter.is_armed
        assert {job.lease.line_no for job in jobs} == {1, 2, 3}
        assert await b.states(odd) == {SegmentState.QUEUED: 1}
