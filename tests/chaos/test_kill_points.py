"""`kill -9` before and after each thing that the daemon does to the world, one by one.

A life without a kill tells the points that there are; then each gets a life of its own, which
begins with what the one before it left. Judged by the simulated network's own ledger (design §13):
24 points by default, every one under `MODEMCTL_LONG=1`; `MODEMCTL_SEED` draws others.
"""

import asyncio
import json
import os
import random
import re
import signal
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from modemctl.service.audits import verify_offline
from modemctl.store import Tx, inbox
from modemctl.vault import AuditKey
from tests.support.approved import add_batch, numbers
from tests.support.banks import Site
from tests.support.kill_points import Point
from tests.support.nursery import Nursery, nursery
from tests.support.simulated import BankProcess, wait_until

LONG = os.environ.get("MODEMCTL_LONG") == "1"
SEED = int(os.environ.get("MODEMCTL_SEED", "20261122"))
N_POINTS = 24
N_LANES = 4 if LONG else 2
PER_LANE = 2  # modems
WORLD = """
seed = 3
persona = "generic"
latency = 0
report_delay = 0.05
modems = {n}
"""
_WRONG = re.compile(
    r"store\.altered|Traceback|actor\.failed|inbox\.lost|inbound\.lost|journal\.fault"
)
LONG_TEXT = "Ihre Bestellung ist unterwegs; " * 8  # two segments


class Lane:
    """Two modems and a site on them, whose daemon dies again and again."""

    def __init__(self, bank: BankProcess, folder: Path, place: int, nurse: Nursery) -> None:
        self._control = bank.connect()
        self._nurse = nurse
        self._place = place
        first = place * PER_LANE + 1
        names = [f"modem{i:02d}" for i in range(first, first + PER_LANE)]
        ports = [str(bank.folder / "ports" / name) for name in names]
        self.site = Site(folder, ports[0], bank__ports=json.dumps(ports))
        self.site.add_cards(bank.folder)
        self._number = str(self._control.state(names[0])[0]["card"]["number"])
        self._notes = folder / "points.jsonl"
        self._recipients: dict[bytes, str] = {}
        self._batches: list[str] = []
        self._doubted: set[int] = set()
        self._texts: list[str] = []
        self._n_met = 0
        self.n_in_flight = 0

    async def list_points(self) -> Sequence[Point]:
        """What a life comes by that begins with a doubt and ends with all done."""
        assert await self.die_at(Point("after TPDU and Ctrl-Z", 2))
        self._notes.unlink()
        assert not await self.die_at(None)
        lines = self._notes.read_text().splitlines()
        self._notes.unlink()
        return [Point(*json.loads(line)) for line in lines]

    async def die_at(self, point: Point | None, *, is_last: bool = False) -> bool:
        """One life with work for it; whether it came to its point. The last leaves nothing."""
        await asyncio.to_thread(self._give_work)
        before = self._submitting()
        name = self._nurse.begin(self.site.config, notes=self._notes, point=point)
        is_over = partial(self._has_nothing_left if is_last else self._is_over, name)
        await asyncio.to_thread(wait_until, is_over, what=f"work or {point}", seconds=120)
        self._nurse.kill(name)
        assert await self._nurse.end_of(name) == -signal.SIGKILL, self._tail()
        self._judge_doubts(before, point)
        noted = self._notes.read_text().splitlines() if self._notes.exists() else []
        is_met = point is not None and len(noted) > self._n_met
        self._n_met = len(noted) if point is not None else self._n_met
        return is_met

    def _give_work(self) -> None:
        n = len(self._recipients)
        people = numbers(4, start=(self._place + 1) * 1_000_000 + n)
        for to in people:
            self._recipients[self.site.vault.blind_index(to)] = to
        staff = self.site.staff
        assert staff is not None

        def act(tx: Tx) -> list[str]:
            return [
                add_batch(tx, staff, people[:2], template=LONG_TEXT),
                add_batch(tx, staff, people[2:], template="No {n}"),
            ]

        self._batches = self.site.write(act)
        text = f"incoming {self._place}.{n}"
        self._control.inject_sms(self._number, text, origin="+8613912345678")
        self._texts.append(text)

    def _is_over(self, name: str) -> bool:
        if self._nurse.has_ended(name):
            return True
        [(n_running, n_sent, n_stored)] = self.site.query(
            "SELECT (SELECT count(*) FROM batch WHERE state != 'done' AND batch_id IN (?, ?)),"
            " (SELECT count(*) FROM segment WHERE state = 'sent' AND batch_id IN (?, ?)),"
            " (SELECT count(*) FROM inbox WHERE is_repeat = 0)",
            *self._batches,
            *self._batches,
        )
        return n_running == n_sent == 0 and n_stored >= len(self._texts)

    def _has_nothing_left(self, name: str) -> bool:
        waiting = {"queued", "leased", "submitting"}
        return self._is_over(name) and not self.site.segments().keys() & waiting

    def _judge_doubts(self, before: set[int], point: Point | None) -> None:
        """What was SUBMITTING at the kill before is in doubt now, and nothing else became so."""
        now, doubted = self._submitting(), self._ever_doubted()
        assert doubted - self._doubted <= before, f"in doubt without a cause: {point}"
        assert before <= doubted | now, f"forgotten: {point}"
        assert not before & now or before == before & now, f"half recovered: {point}"
        self.n_in_flight += bool(now)
        self._doubted = doubted

    def _submitting(self) -> set[int]:
        rows = self.site.query("SELECT segment_id FROM segment WHERE state = 'submitting'")
        return {row[0] for row in rows}

    def _ever_doubted(self) -> set[int]:
        rows = self.site.query("SELECT segment_id FROM segment_journal WHERE after = 'in_doubt'")
        return {row[0] for row in rows}

    def judge(self, took: Counter[tuple[str, int]]) -> list[str]:
        """The ledger's verdict over all lives; what is wrong, a line each."""
        return [
            *self._judge_segments(took),
            *self._judge_incoming(),
            *self._judge_log(),
            *self._judge_audit(),
        ]

    def _judge_segments(self, took: Counter[tuple[str, int]]) -> list[str]:
        rows = self.site.query(
            "SELECT segment_id, recipient_bidx, seq, state FROM segment"
            " JOIN message USING (message_id)"
        )
        wrong: list[str] = []
        for segment_id, recipient, seq, state in rows:
            n = took[self._recipients[recipient], seq]
            is_doubt = segment_id in self._doubted
            well = {"delivered": {1}, "sent": {1}, "in_doubt": {0, 1} if is_doubt else set()}
            if n not in well.get(state, set()):
                wrong.append(f"segment {segment_id} is {state}, sent {n} times, {is_doubt=}")
        assert len(rows) == len(self._recipients) // 4 * 6, "every segment is there"
        return wrong

    def _judge_incoming(self) -> list[str]:
        rows = self.site.write(
            lambda tx: inbox.find(tx.conn, tx.vault, inbox.Query(), before=None, limit=1_000_000)
        )
        stored = Counter(str(row.text) for row in rows if not row.is_repeat)
        wanted = Counter(self._texts)
        return [f"incoming: {one}" for one in ((stored - wanted) + (wanted - stored))]

    def _judge_log(self) -> list[str]:
        return [line for line in self._log().splitlines() if _WRONG.search(line)]

    def _judge_audit(self) -> list[str]:
        key = AuditKey.load(self.site.folder / "keys" / "audit.key")
        reports = verify_offline(
            self.site.url,
            node_id="n1",
            audit_public_key=key.public_octets(),
            head_file=self.site.folder / "state" / "audit.head",
            vault=self.site.vault,
        )
        return [f"audit: {fault}" for report in reports for fault in report.faults]

    def _log(self) -> str:
        return (self.site.folder / "daemon.log").read_text()

    def _tail(self) -> str:
        return "\n".join(self._log().splitlines()[-40:])

    def close(self) -> None:
        """No more work."""
        self._control.close()

    def states(self) -> Counter[str]:
        """Segments by state."""
        return self.site.segments()


async def kill_at_each(lane: Lane, points: deque[Point], missed: list[Point]) -> None:
    """Lives until no point is left; then one that ends the work."""
    while points:
        point = points.popleft()
        if not await lane.die_at(point):
            missed.append(point)
    await lane.die_at(None, is_last=True)
    lane.close()


def draw(points: Sequence[Point], dice: random.Random) -> list[Point]:
    """Points to try: all, or one of each of many kinds."""
    if LONG:
        return dice.sample(points, len(points))
    kinds: dict[str, list[Point]] = defaultdict(list)
    for point in points:
        kinds[point.what].append(point)
    return [dice.choice(kinds[what]) for what in dice.sample(sorted(kinds), N_POINTS)]


@pytest.mark.timeout(3_600)
async def test_a_kill_at_each_point_of_a_life_loses_nothing_and_doubles_nothing(tmp_path):
    (tmp_path / "world.toml").write_text(WORLD.format(n=N_LANES * PER_LANE))
    flags = ("--scenario", str(tmp_path / "world.toml"))
    missed: list[Point] = []
    with BankProcess(tmp_path / "bank", *flags) as bank:
        async with nursery() as nurse:
            lanes = [
                await asyncio.to_thread(Lane, bank, tmp_path / f"site{i}", i, nurse)
                for i in range(N_LANES)
            ]
            found = await lanes[0].list_points()
            points = deque(draw(found, random.Random(SEED)))
            n_tried = len(points)
            print(f"seed {SEED}: {n_tried} of {len(found)} points")
            async with asyncio.TaskGroup() as group:
                for lane in lanes:
                    group.create_task(kill_at_each(lane, points, missed))
        took = Counter(
            (str(line["destination"]), within(line)) for line in bank.ledger(kind="submit")
        )
    wrong = [line for lane in lanes for line in await asyncio.to_thread(lane.judge, took)]
    n_in_flight = sum(lane.n_in_flight for lane in lanes)
    states = sum((lane.states() for lane in lanes), Counter())
    print(f"{n_tried - len(missed)} met, {n_in_flight} with submits in flight; {dict(states)}")
    print(f"not met: {[str(point) for point in missed]}")
    assert wrong == []
    assert len(missed) < n_tried / 2, "the points were hardly ever met"
    assert n_in_flight, "no kill hit a segment in flight: the test would prove nothing"


def within(line: dict) -> int:
    """Which segment of its message a line of the ledger is about."""
    concat = line["concat"]
    return 1 if concat is None else int(concat["seq"])
