"""The plug is pulled in each phase of a submit: what the store then says, and what was sent.

Source: design §3 (what proves that a segment did not leave) and §13 (what is in doubt).
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass

from drivers.at.states import State
from drivers.errors import LinkError
from modemctl.fleet.moves import Interrupted
from modemctl.model import BatchId
from tests.support.benches import Bench, bench
from tests.support.scripted_modem import ScriptedModem, said
from tests.support.senders import AtWork, at_work, until

Row = tuple[str, int | None, int]


@dataclass(kw_only=True)
class Scene:
    """A card at work with one batch; `send` sends the message at hand while something is done."""

    bench: Bench
    work: AtWork
    batch_id: BatchId
    database: str

    @property
    def state(self) -> State:
        """Where the AT link stands."""
        return self.work.driver._channel.session.state

    async def send(self, meanwhile: Callable[[], Awaitable[None]]) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(meanwhile())
            with suppress(Interrupted, LinkError):
                await self.work.sender.send_next()
        await self.work.sender.close()

    async def segments(self) -> list[Row]:
        """State, reference, tries of each."""
        return await self.bench.store.read(
            lambda conn: [
                tuple(row)
                for row in conn.exec_driver_sql(
                    "SELECT state, mr, tries FROM segment WHERE batch_id = ? ORDER BY segment_id",
                    (self.batch_id,),
                )
            ]
        )

    @property
    def payloads(self) -> list[str]:
        """TPDUs that reached the modem whole."""
        return [line for line in self.work.modem.received if line.endswith("<ctrl-z>")]


class CutShort(ScriptedModem):
    """Loses its plug when it has read some of a payload."""

    at_half: Callable[[], None]
    taken = 0

    def _feed_prompt(self) -> bool:
        self.taken = len(self._buffer)
        if self.taken >= 10:
            self.at_half()
        return False


async def nothing() -> None:
    """The modem does it by itself."""


@asynccontextmanager
async def scene(
    tmp_path, *, template: str = "Hello", modem: ScriptedModem | None = None
) -> AsyncIterator[Scene]:
    async with bench(tmp_path) as b:
        batch_id = await b.batch(1, template=template)
        async with at_work(b, modem or ScriptedModem(), timeout=5.0) as work:
            await work.take_work()
            yield Scene(
                bench=b, work=work, batch_id=batch_id, database=str(tmp_path / "modemctl.db")
            )


async def test_unplugged_before_the_prompt_it_is_queued_again(tmp_path):
    async with scene(tmp_path) as here:
        here.work.modem.prompt = b""

        async def unplug() -> None:
            await here.work.modem.until(lambda: here.work.n_announced > 0)
            here.work.port.unplug()

        await here.send(unplug)
        assert await here.segments() == [("queued", None, 1)]


async def test_unplugged_between_prompt_and_payload_it_is_queued_again(tmp_path):
    """The clearance is still being written: nothing of the TPDU may have gone."""
    async with scene(tmp_path) as here:
        with closing(sqlite3.connect(here.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")

            async def unplug() -> None:
                await until(lambda: here.state is State.PROMPT)
                here.work.port.unplug()
                await until(lambda: here.state is State.CLOSED)
                other.execute("ROLLBACK")

            await here.send(unplug)
        assert await here.segments() == [("queued", None, 1)]
        assert here.payloads == []


async def test_unplugged_in_the_middle_of_the_payload_it_is_in_doubt(tmp_path):
    """Nobody but the modem knows how much of it came."""
    modem = CutShort()
    async with scene(tmp_path, modem=modem) as here:
        here.work.port.n_octets = 5
        modem.at_half = here.work.port.unplug
        await here.send(nothing)
        assert await here.segments() == [("in_doubt", None, 1)]
        assert modem.taken == 10


async def test_unplugged_before_the_answer_it_is_in_doubt(tmp_path):
    async with scene(tmp_path) as here:
        here.work.modem.payload_answer = None

        async def unplug() -> None:
            await here.work.modem.until(lambda: bool(here.payloads))
            here.work.port.unplug()

        await here.send(unplug)
        assert await here.segments() == [("in_doubt", None, 1)]


async def test_unplugged_between_reference_and_ok_it_is_sent(tmp_path):
    """The reference is the network's word that it took the segment. Source: TS 27.005 §3.5.1."""
    async with scene(tmp_path) as here:
        here.work.modem.payload_answer = b"\r\n+CMGS: 41\r\n"

        async def unplug() -> None:
            await until(lambda: bool(here.work.driver._channel.session.answer_so_far))
            here.work.port.unplug()

        await here.send(unplug)
        assert await here.segments() == [("sent", 41, 1)]


async def test_unplugged_after_a_doubled_reference_it_is_in_doubt(tmp_path):
    """The line may be the one of the segment before, come twice."""
    async with scene(tmp_path, template="x" * 300) as here:
        here.work.modem.payload_answer = said("+CMGS: 41")

        async def unplug() -> None:
            await here.work.modem.until(lambda: len(here.payloads) == 1)
            here.work.modem.payload_answer = b"\r\n+CMGS: 41\r\n"
            await here.work.modem.until(lambda: len(here.payloads) == 2)
            await until(lambda: bool(here.work.driver._channel.session.answer_so_far))
            here.work.port.unplug()

        await here.send(unplug)
        assert await here.segments() == [("sent", 41, 1), ("in_doubt", None, 1)]


async def test_unplugged_after_the_ok_it_is_sent_and_the_next_one_waits(tmp_path):
    async with scene(tmp_path, template="x" * 300) as here:
        here.work.modem.payload_answer = said("+CMGS: 41")

        async def unplug() -> None:
            await here.work.modem.until(lambda: len(here.payloads) == 1)
            here.work.modem.prompt = b""
            await until(lambda: here.state is State.PROMPTING)
            await until(lambda: here.work.n_announced == 2)
            here.work.port.unplug()

        await here.send(unplug)
        assert await here.segments() == [("sent", 41, 1), ("queued", None, 1)]
