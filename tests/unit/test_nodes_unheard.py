"""What another node commits holds here at the prompt, also where its word to us was lost."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from modemctl.lifecycle import BatchState
from modemctl.model import AccountId
from modemctl.policy.stops import StopKind
from modemctl.store import Tx, batches, nodes, stop_book
from modemctl.store.stop_book import Act, NewStop
from modemctl.store.tables import batch
from tests.support import postgres
from tests.support.approved import GENERAL
from tests.support.benches import Bench, bench, rules
from tests.support.fleets import begin, node
from tests.support.scripted_modem import OK, ScriptedModem, said
from tests.support.senders import at_work
from tests.support.stores import Databases, TestClock


@pytest.fixture
def cluster() -> Iterator[postgres.Cluster]:
    Databases.is_postgresql = True
    yield postgres.cluster()
    Databases.clear()


def stop_all(tx: Tx) -> None:
    act = Act(by=AccountId("anna"), name="anna", source="test")
    stop = NewStop(
        kind=StopKind.FLEET, target="", reason="wrong text", act=act, general_department=GENERAL
    )
    stop_book.place(tx, stop, rules().stops)


def cancel(tx: Tx) -> None:
    assert batches.move(tx, tx.conn.scalar(select(batch.c.batch_id)), BatchState.CANCELLED)


def beat(tx: Tx) -> None:
    """What concerns no message."""


@asynccontextmanager
async def prompted_late(
    b: Bench, modem: ScriptedModem, after: float, *, is_lost: bool = False
) -> AsyncIterator[None]:
    """A segment that is cleared inside; the modem prompts `after` seconds, behind the block."""
    batch_id = await b.batch(1)
    modem.prompt, modem.payload_answer = b"", said("+CMGS: 7")
    async with at_work(b, modem) as work, asyncio.TaskGroup() as group:
        await work.take_work()
        sending = group.create_task(work.sender.send_next())
        async with asyncio.timeout(60):
            while "submitting" not in await b.states(batch_id):
                await asyncio.sleep(0.005)
        await modem.until(lambda: work.n_announced == 1)
        yield
        b.clock.advance(after)
        modem.say(b"\r\n> ")
        await modem.until(lambda: modem.received[-1] == "<esc>" or n_given(modem) > 0)
        if is_lost:  # its daemon ends: what became of it can be stored nowhere
            sending.cancel()
            return
        await sending
        await work.sender.close()


@asynccontextmanager
async def deaf(folder: Path) -> AsyncIterator[Bench]:
    """A node that lives and hears nothing of what others commit."""
    async with bench(folder, clock=TestClock(datetime.now(UTC))) as b:
        await begin(b.store)
        yield b


def n_given(modem: ScriptedModem) -> int:
    return sum("ctrl-z" in line for line in modem.received)


@pytest.mark.parametrize(
    ("act", "after", "given"),
    [(stop_all, 1.0, 0), (cancel, 1.0, 0), (beat, 1.0, 1), (stop_all, 0.4, 1)],
    ids=["stopped", "cancelled", "nothing happened", "at once"],
)
async def test_what_another_node_stopped_does_not_leave_at_a_late_prompt(
    cluster, tmp_path, act, after, given
):
    modem = ScriptedModem({"AT+CLCC": OK})
    async with deaf(tmp_path) as b, node(tmp_path, "n2", TestClock(b.clock.now())) as other:
        async with prompted_late(b, modem, after):
            await other.write(act)
        assert n_given(modem) == given
        if given == 0:
            assert modem.received[-1] == "<esc>"


async def test_a_node_that_was_declared_lost_gives_nothing_at_its_prompt(cluster, tmp_path):
    modem = ScriptedModem({"AT+CLCC": OK})
    async with deaf(tmp_path) as b, node(tmp_path, "n2", TestClock(b.clock.now())) as other:
        async with prompted_late(b, modem, 1.0, is_lost=True):
            [seen] = await other.read(lambda conn: nodes.find(conn, "n1"))
            assert await other.write(lambda tx: nodes.take_over(tx, seen, b.rules))
        assert n_given(modem) == 0


@pytest.mark.parametrize("others", ["none", "ended"])
async def test_who_is_alone_does_not_ask_again(cluster, tmp_path, others):
    modem = ScriptedModem({"AT+CLCC": OK})
    async with deaf(tmp_path) as b:
        if others == "ended":
            async with node(tmp_path, "n2", TestClock(b.clock.now())) as other:
                await other.write(nodes.stop)
        async with prompted_late(b, modem, 1.0):
            await b.store.write(stop_all)  # whose bell nobody hears in this test
        assert n_given(modem) == 1
