"""What services of one node leave to those of another: drafts, backups, what a site does once."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from modemctl.config import Settings
from modemctl.errors import Conflict
from modemctl.lifecycle import BatchState
from modemctl.model import AccountId
from modemctl.policy.backups import is_of, name_of
from modemctl.policy.papers import Lang, PaperFormat
from modemctl.service.backup_rules import BackupRules
from modemctl.service.backups import Backups
from modemctl.service.intake import Intake, list_digest
from modemctl.service.recipients import Recipient
from modemctl.service.sifters import sift_lines
from modemctl.service.submission import SubmissionRules
from modemctl.store import Store, backups, duties, papers
from modemctl.store.backups import BackupState
from modemctl.store.papers import PaperKind, PaperState
from modemctl.store.tables import message
from tests.support import postgres
from tests.support.backups import furnish
from tests.support.nodes import hearing, node, until
from tests.support.people import open_office
from tests.support.stores import Databases, TestClock, open_store


@pytest.fixture
def cluster() -> Iterator[postgres.Cluster]:
    Databases.is_postgresql = True
    yield postgres.cluster()
    Databases.clear()


# ---------------------------------------------------------------- a list comes in twice


async def ended(work) -> Conflict | None:
    try:
        await work
    except Conflict as error:
        return error
    return None


@pytest.mark.parametrize("then", ["goes on", "breaks off", "is left"])
async def test_a_list_handed_in_again_on_another_node_is_that_nodes_alone(tmp_path, then):
    lines = [Recipient(line_no=i, to=f"138{i:08d}", variables={}) for i in range(1, 1_501)]
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def haltingly(rules):
        async for part in sift_lines(lines, rules=rules):
            yield part
            begun.set()
            await go_on.wait()
            if then == "breaks off":
                raise Conflict("its child was ended")

    async with open_store(tmp_path) as store:
        office = await open_office(store)
        who, request = office.who["system"], office.request()
        rules = SubmissionRules.of(Settings())
        one, other = Intake(store, rules), Intake(store, rules)  # all that two nodes have of it
        digest = request.digest(list_digest(lines))
        async with asyncio.TaskGroup() as group:
            first = group.create_task(ended(one.take(who, request, digest, haltingly)))
            await begun.wait()
            if then == "is left":
                first.cancel()
                await asyncio.wait([first])
            await other.take(who, request, digest, lambda rules: sift_lines(lines, rules=rules))
            go_on.set()
        if then == "is left":
            await one._tidy()
        else:
            assert first.result() is not None
        shown = await office.batches.show(who, request.batch_id)
        n = await store.read(lambda c: c.scalar(select(func.count()).select_from(message)))
        assert shown.batch.state is BatchState.CHECKED
        assert n == shown.batch.n_messages == len(lines)


# ---------------------------------------------------------------- backups and reports


def test_a_backups_name_says_whose_it_is():
    clock = TestClock()
    name = name_of("site", "a", clock.now())
    assert is_of(name, "site", "a")
    assert not is_of(name, "site", "b")
    assert not is_of(name_of("site", "a-b", clock.now()), "site", "a")


async def state_of(store: Store, backup_id: str) -> BackupState:
    found = await store.read(lambda conn: backups.find(conn, store.vault, backup_id))
    assert found is not None
    return found.state


async def test_a_backup_is_made_by_the_node_that_was_asked_and_the_days_by_the_caretaker(
    cluster, tmp_path
):
    clock = TestClock()
    state = tmp_path / "state"
    state.mkdir()
    url = Databases.url(state)

    async with node(state, "n1", clock) as one, node(state, "n2", clock) as two:
        safe = await furnish(one, state, tmp_path / "target")
        rules = replace(BackupRules.of(safe.settings), url=url)
        first = Backups(one, replace(rules, node="n1"))
        second = Backups(two, replace(rules, node="n2"))
        await one.write(duties.begin)
        asked = await first.ask(safe.keeper)
        await second.recall()  # it starts: what the other makes is not broken off
        async with hearing(one), hearing(two):
            await until(lambda: one.is_caretaker)
            clock.advance(3_600)
            await second.look()
            assert await state_of(two, asked.backup_id) is BackupState.WORKING
            clock.advance(2 * 86_400)
            await second.look()  # of a server that never came back
            assert await state_of(two, asked.backup_id) is BackupState.FAILED
            made = len(await first.list(safe.keeper))
            assert await second._is_due()
            await second.look()
            assert len(await first.list(safe.keeper)) == made, "the day's is the caretaker's"


async def test_a_start_breaks_off_no_report_that_another_node_makes(cluster, tmp_path):
    clock = TestClock()

    def ask(tx):
        new = papers.add(
            tx, kind=PaperKind.STOCKTAKE, subject="s", department=None, lang=Lang.EN,
            paper_format=PaperFormat.XLSX, is_masked=True, by=AccountId("a"), name="anna",
        )  # fmt: skip
        tx.audit("anna", "report.ask", new.paper_id, {})
        return new.paper_id

    async def states(store: Store, *ids: str) -> list[PaperState]:
        return await store.read(
            lambda conn: [papers.find(conn, store.vault, one).state for one in ids]
        )

    async with node(tmp_path, "n1", clock) as one, node(tmp_path, "n2", clock) as two:
        ids = [await one.write(ask), await two.write(ask)]
        await two.write(lambda tx: papers.close_open(tx, "restarted"))
        assert await states(two, *ids) == [PaperState.WORKING, PaperState.FAILED]
        clock.at += timedelta(days=2)
        await two.write(lambda tx: papers.close_open(tx, "restarted"))
        assert await states(two, *ids) == [PaperState.FAILED, PaperState.FAILED]
