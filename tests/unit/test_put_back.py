"""Rows of yesterday put back, and what the daemon then makes of them: the log names it still."""

from datetime import timedelta

import pytest
from sqlalchemy import delete, update

from modemctl.config.settings import ListMode
from modemctl.errors import TamperedError
from modemctl.lifecycle import BatchState
from modemctl.model import Bay, Iccid
from modemctl.policy.dual import DualKind
from modemctl.store import batch_turns, batches, ties
from modemctl.store.replay import replay
from modemctl.store.tables import batch, bay_tie, purge_run
from tests.support.people import open_office
from tests.support.stores import open_store
from tests.unit.test_audit_replay import rows_of
from tests.unit.test_records import open_archive

ONE, OTHER = Iccid("89860000000000000001"), Iccid("89860000000000000002")
BAY = Bay("bay-1")


async def told(store) -> list[str]:
    return await store.read(lambda conn: list(replay(conn)))


async def test_a_withdrawn_batch_that_was_put_back_and_started_is_named(tmp_path):
    async with open_store(tmp_path) as store:
        office = await open_office(store)
        opens = store.clock.now() + timedelta(hours=2)
        shown = await office.approve(await office.submit(not_before=opens, starts_itself=True))
        batch_id = shown.batch.batch_id
        (yesterday,) = await rows_of(store, batch)
        await office.batches.withdraw(office.who["system"], batch_id, "a mistake")
        assert await told(store) == []
        await store.write(
            lambda tx: tx.conn.execute(
                update(batch).values({name: yesterday[name] for name in ("state", "state_at",
                                                                         "state_mac")})
            )
        )  # fmt: skip
        assert len(await told(store)) == 1
        store.clock.advance(7_200)
        rules = office.batches._rules.approvals
        await store.write(lambda tx: batch_turns.due_starts(tx, rules))
        found = await store.read(lambda conn: batches.find_batch(conn, batch_id))
        assert found.state is BatchState.RUNNING
        (line,) = await told(store)
        assert line.startswith(f"batch {batch_id}: the row was put back")


@pytest.mark.parametrize("card", [ONE, OTHER])
async def test_a_tie_that_was_taken_out_is_named_after_the_bay_has_learned_anew(tmp_path, card):
    async with open_store(tmp_path) as store:
        await store.write(lambda tx: ties.learn(tx, BAY, ONE, ListMode.LEARN) and None)
        await store.write(lambda tx: tx.conn.execute(delete(bay_tie)) and None)
        await store.write(lambda tx: ties.learn(tx, BAY, card, ListMode.LEARN) and None)
        (line,) = await told(store)
        assert line.startswith(f"bay_tie {BAY}: the row was put back or changed")


async def test_a_bay_that_learned_another_card_with_an_alarm_is_as_the_log_says(tmp_path):
    async with open_store(tmp_path) as store:
        for card in (ONE, OTHER, ONE):
            await store.write(
                lambda tx, card=card: ties.learn(tx, BAY, card, ListMode.LEARN) and None
            )
        assert await told(store) == []


async def test_a_purge_that_is_over_does_not_go_on(tmp_path):
    async with open_archive(tmp_path, is_automatic=False) as archive:
        subject = (await archive.purges.preview(archive.anna)).subject
        permit = await archive.permit(DualKind.PURGE, subject)
        await archive.purges.start(archive.anna, request_id=permit)
        (begun,) = await rows_of(archive.store, purge_run)
        await archive.purges.purge_due()
        assert await told(archive.store) == []
        opened = update(purge_run).values(finished_at=None, mac=begun["mac"])
        await archive.store.write(lambda tx: tx.conn.execute(opened) and None)
        archive.clock.advance(timedelta(days=1).total_seconds())
        with pytest.raises(TamperedError, match="open again"):
            await archive.purges.purge_due()
        (line,) = await told(archive.store)
        assert line.startswith("purge_run")
