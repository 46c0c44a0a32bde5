"""Two nodes on one PostgreSQL database, one of which dies again and again, and what must hold."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from modemctl.service.audits import verify_offline
from modemctl.store import Tx, inbox
from modemctl.vault import AuditKey
from tests.support.approved import add_batch, numbers
from tests.support.kill_points import Point
from tests.support.nursery import Nursery
from tests.support.postgres import Cluster
from tests.support.server_sites import OtherNode, ServerSite
from tests.support.simulated import BankProcess, wait_until

PER_PAIR = 2  # modems of the first node, the quick ones; the other has one that is slow
PER_ROUND = 6  # messages
N_SEGMENTS = 8  # of those
_N_TOO_MANY = 3  # that the limit keeps back at the end
_LONG_TEXT = "Ihre Bestellung ist unterwegs; " * 8  # two segments
_IN_FLIGHT = Point("after TPDU and Ctrl-Z", 1)
_WRONG = re.compile(
    r"store\.altered|Traceback|actor\.failed|inbox\.lost|inbound\.lost|journal\.fault"
)
_MAY_LEAVE = (  # what has begun to leave by a card ends by that card
    "SELECT 1 FROM segment GROUP BY message_id HAVING bool_and(state = 'queued')"
    " OR bool_or(state IN ('leased', 'submitting')) LIMIT 1"
)


class Node:
    """One of the two: its site, its present life, and what it had in flight when the last ended."""

    def __init__(self, site: ServerSite, name: str) -> None:
        self.site, self.name = site, name
        self.notes = site.folder / "points.jsonl"
        self.hurry = site.folder / "hurry"
        self.life: str | None = None
        self.before: set[int] = set()
        self.n_met = 0

    def tail(self) -> str:
        """The end of its log."""
        return "\n".join(self.log().splitlines()[-40:])

    def log(self) -> str:
        """What it told so far."""
        path = self.site.folder / "daemon.log"
        return path.read_text() if path.exists() else ""

    def n_starts(self) -> int:
        """How often it came so far that it may send."""
        return self.log().count("daemon.recovered")


class Pair:
    """Two nodes, their modems, and their database; `n_rounds` is how often work will be given."""

    def __init__(
        self, banks: Sequence[BankProcess], folder: Path, place: int, nurse: Nursery,
        cluster: Cluster, n_rounds: int,
    ) -> None:  # fmt: skip
        quick, slow = banks
        self._controls = [one.connect() for one in banks]
        self._nurse, self._place = nurse, place
        first = place * PER_PAIR + 1
        mine = [f"modem{i:02d}" for i in range(first, first + PER_PAIR)]
        other = f"modem{place + 1:02d}"
        ports = [str(quick.folder / "ports" / name) for name in mine]
        name = cluster.create()
        self.n_allowed = n_rounds * N_SEGMENTS + 1
        site = ServerSite(
            folder / "one", ports[0], cluster=cluster, through=None, name=name,
            bank__ports=json.dumps(ports), site__heartbeat="1.0",
            site__timezone=json.dumps(_far_from_midnight()),
            limits__department__segments_per_day=str(self.n_allowed),
        )  # fmt: skip
        site.add_cards(_all_cards(folder / "cards", banks))
        two = OtherNode(site, folder / "two", str(slow.folder / "ports" / other), through=None)
        self.one, self.two = Node(site, "n1"), Node(two, "n2")
        self._numbers = [
            str(control.state(modem)[0]["card"]["number"])
            for control, modem in zip(self._controls, (mine[0], other), strict=True)
        ]
        self._db: psycopg.Connection = cluster.connect(name)
        self._recipients: dict[bytes, str] = {}
        self._n_given = 0  # segments
        self._batches: list[str] = []
        self._doubted: set[int] = set()
        self._texts: list[str] = []
        self.n_in_flight = self.n_taken_over = 0

    # ------------------------------------------------------------ what happens

    async def list_points(self) -> tuple[Sequence[Point], Sequence[Point]]:
        """What a node comes by in a life that begins with a doubt, and while it takes over."""
        await self.kill_in_flight()
        _noted(self.one)
        assert not await self.kill_at(None, is_taken_over=False, is_noted=True)
        life = _noted(self.one)
        await self._end(self.two)
        self._begin(self.two, None, is_noted=True)
        assert await self.kill_at(_IN_FLIGHT, is_taken_over=True)
        return life, [one for one in _noted(self.two) if "_take_over" in one.what]

    async def kill_in_flight(self) -> None:
        """The next life begins with a doubt."""
        await self.kill_at(_IN_FLIGHT, is_taken_over=False)

    async def kill_at(
        self, point: Point | None, *, is_taken_over: bool, is_noted: bool = False
    ) -> bool:
        """A life of the first node, which ends there; whether it came to its point.

        Then the other takes over and sends the rest, or the next life goes on.
        """
        await asyncio.to_thread(self._give_work)
        if self.two.life is None:
            self._begin(self.two, None)
        self._drain(self.two)
        n_starts = self.one.n_starts()
        self._begin(self.one, point, is_noted=is_noted)
        await self._wait(lambda: self._is_begun(self.one, n_starts), what="a start")
        self._undrain(self.two)
        await self._wait(lambda: self._has_ended(self.one) or self._is_over(), what=str(point))
        await self._end(self.one)
        if is_taken_over:
            await self._take_over(self.two, lost=self.one)
            await self._wait(self._is_over, what=f"the rest after {point}")
        return _is_met(self.one, point)

    async def kill_in_takeover(self, point: Point, *, comes_back: bool) -> bool:
        """The first node dies with a submit in flight, the other while it takes over from it.

        Then the other one comes back and takes over, or the first does, from the other.
        """
        await asyncio.to_thread(self._give_work)
        await self._end(self.two)
        self._drain(self.two)
        self._begin(self.two, point)
        self._begin(self.one, _IN_FLIGHT)
        await self._wait(lambda: self._has_ended(self.one) or self._is_over(), what="a submit")
        await self._end(self.one)
        self.two.hurry.touch()
        await self._wait(
            lambda: self._has_ended(self.two) or not self._is_up(self.one), what=str(point)
        )
        await self._end(self.two)
        self._undrain(self.two)
        back, lost = (self.two, self.one) if comes_back else (self.one, self.two)
        self._begin(back, None)
        await self._take_over(back, lost=lost)
        await self._wait(self._is_over, what=f"the rest after {point}")
        await self._end(back)
        return _is_met(self.two, point)

    async def finish(self) -> None:
        """Both live until nothing is left that the limit allows."""
        await asyncio.to_thread(self._give_last_work)
        for node in (self.one, self.two):
            if node.life is None:
                self._begin(node, None)
        await self._wait(self._has_nothing_left, what="the end of the work", seconds=600)
        for node in (self.one, self.two):
            await self._end(node)
        for control in self._controls:
            control.close()

    def _drain(self, node: Node) -> None:
        """Let a node lease nothing: what is there is for the other one."""
        self._tell("UPDATE node SET is_draining = true WHERE node_id = %s", node.name)

    def _undrain(self, node: Node) -> None:
        self._tell("UPDATE node SET is_draining = false WHERE node_id = %s", node.name)
        self._tell("NOTIFY modemctl, 'test work'")

    def _begin(self, node: Node, point: Point | None, *, is_noted: bool = False) -> None:
        assert node.life is None
        node.hurry.unlink(missing_ok=True)
        nowhere = Point("nowhere", 1)
        node.life = self._nurse.begin(
            node.site.config,
            notes=node.notes,
            point=point if point is not None or is_noted else nowhere,
            hurry=node.hurry,
        )

    async def _end(self, node: Node) -> None:
        """`kill -9`, if no point did it; returns when the server has missed it."""
        if node.life is None:
            return
        self._nurse.kill(node.life)
        assert await self._nurse.end_of(node.life) == -signal.SIGKILL, node.tail()
        node.life = None
        await self._wait(lambda: not self._n_sessions(node), what="the end of its sessions")
        self._judge_doubts()
        node.before = self._submitting(node)
        self.n_in_flight += bool(node.before)

    async def _take_over(self, who: Node, *, lost: Node) -> None:
        """Let one take over from another that is dead, and look what became of its work."""
        held = self._held(lost)
        who.hurry.touch()
        await self._wait(lambda: not self._is_up(lost), what=f"{lost.name} lost, {who.tail()}")
        who.hurry.unlink()
        assert not self._held(lost), f"{lost.name} holds still, {held=}"
        self._judge_doubts()
        assert lost.before <= self._doubted, f"not in doubt: {lost.before - self._doubted}"
        self.n_taken_over += 1

    # ------------------------------------------------------------ the work

    def _give_work(self) -> None:
        n = len(self._recipients)
        people = self._add_people(PER_ROUND)
        self._n_given += N_SEGMENTS
        staff = self.one.site.staff
        assert staff is not None

        def act(tx: Tx) -> list[str]:
            return [
                add_batch(tx, staff, people[:2], template=_LONG_TEXT),
                add_batch(tx, staff, people[2:], template="No {n}"),
            ]

        self._batches = self.one.site.write(act)
        for i, (control, number) in enumerate(zip(self._controls, self._numbers, strict=True)):
            text = f"incoming {self._place}.{n}.{i}"
            control.inject_sms(number, text, origin="+8613912345678")
            self._texts.append(text)

    def _give_last_work(self) -> None:
        n = self.n_allowed - self._n_given + _N_TOO_MANY
        people = self._add_people(n)
        self._n_given += n
        staff = self.one.site.staff
        assert staff is not None
        self.one.site.write(lambda tx: add_batch(tx, staff, people, template="No {n}"))

    def _add_people(self, n: int) -> Sequence[str]:
        people = numbers(n, start=(self._place + 1) * 1_000_000 + len(self._recipients))
        self._recipients |= {self.one.site.vault.blind_index(to): to for to in people}
        return people

    def _has_ended(self, node: Node) -> bool:
        return node.life is None or self._nurse.has_ended(node.life)

    def _is_over(self) -> bool:
        self._require_alive()
        if None in (self.one.life, self.two.life):  # reports and messages wait for the dead one
            return not self._query(_MAY_LEAVE)
        [(n_running, n_sent, n_stored)] = self._query(
            "SELECT (SELECT count(*) FROM batch WHERE state != 'done' AND batch_id = ANY(%s)),"
            " (SELECT count(*) FROM segment WHERE state = 'sent' AND batch_id = ANY(%s)),"
            " (SELECT count(*) FROM inbox WHERE NOT is_repeat)",
            self._batches,
            self._batches,
        )
        return n_running == n_sent == 0 and n_stored >= len(self._texts)

    def _has_nothing_left(self) -> bool:
        self._require_alive()
        states = self.states()
        n_begun = sum(states.values()) - states["queued"]
        return n_begun == self.n_allowed and not states.keys() & {"leased", "submitting"}

    def _require_alive(self) -> None:
        """Only who is to die may die."""
        for node in (self.one, self.two):
            if node.life is not None and self._nurse.has_ended(node.life):
                assert _n_notes(node) > node.n_met, node.tail()

    # ------------------------------------------------------------ what must hold

    def _judge_doubts(self) -> None:
        """What a dead node was submitting is in doubt once it is settled; nothing else is."""
        both = (self.one, self.two)
        in_hand = [self._submitting(node) for node in both]
        doubted = self._ever_doubted()  # looked for last: one lives, and settles meanwhile
        causes = self.one.before | self.two.before
        assert doubted - self._doubted <= causes, f"no cause: {doubted - self._doubted - causes}"
        for node, now in zip(both, in_hand, strict=True):
            assert node.before <= doubted | now, f"forgotten: {node.before - doubted - now}"
            assert not node.before & now or node.before <= now, "half recovered"
        self._doubted = doubted

    def judge(self, took: Counter[tuple[str, int]]) -> list[str]:
        """The ledger's verdict over all lives; what is wrong, a line each."""
        rows = self._query(
            "SELECT segment_id, recipient_bidx, seq, state FROM segment"
            " JOIN message USING (message_id)"
        )
        wrong: list[str] = []
        n_all = 0
        for segment_id, recipient, seq, state in rows:
            n = took[self._recipients[bytes(recipient)], seq]
            n_all += n
            is_doubt = segment_id in self._doubted
            well = {"delivered": {1}, "sent": {1}, "queued": {0}}
            well["in_doubt"] = {0, 1} if is_doubt else set()
            if n not in well.get(state, set()):
                wrong.append(f"segment {segment_id} is {state}, sent {n} times, {is_doubt=}")
        assert len(rows) == self._n_given, "every segment is there"
        if n_all > self.n_allowed:
            wrong.append(f"{n_all} sent, {self.n_allowed} allowed")
        return [*wrong, *self._judge_incoming(), *self._judge_nodes()]

    def _judge_incoming(self) -> list[str]:
        rows = self.one.site.write(
            lambda tx: inbox.find(tx.conn, tx.vault, inbox.Query(), before=None, limit=1_000_000)
        )
        stored = Counter(str(row.text) for row in rows if not row.is_repeat)
        wanted = Counter(self._texts)
        return [f"incoming: {one}" for one in ((stored - wanted) + (wanted - stored))]

    def _judge_nodes(self) -> list[str]:
        found: list[str] = []
        for node in (self.one, self.two):
            found += [line for line in node.log().splitlines() if _WRONG.search(line)]
            folder = node.site.folder
            reports = verify_offline(
                node.site.url,
                node_id=node.name,
                audit_public_key=AuditKey.load(folder / "keys" / "audit.key").public_octets(),
                head_file=folder / "state" / "audit.head",
                vault=node.site.vault,
            )
            found += [f"audit of {node.name}: {one}" for each in reports for one in each.faults]
        return found

    # ------------------------------------------------------------ what the database says

    def states(self) -> Counter[str]:
        """Segments by state."""
        return Counter(dict(self._query("SELECT state, count(*) FROM segment GROUP BY state")))

    def _submitting(self, node: Node) -> set[int]:
        return self._ids("state = 'submitting' AND node_id = %s", node.name)

    def _held(self, node: Node) -> set[int]:
        return self._ids("state IN ('leased', 'submitting') AND node_id = %s", node.name)

    def _ids(self, condition: str, *values: object) -> set[int]:
        return {
            row[0]
            for row in self._query(f"SELECT segment_id FROM segment WHERE {condition}", *values)
        }

    def _ever_doubted(self) -> set[int]:
        rows = self._query("SELECT segment_id FROM segment_journal WHERE after = 'in_doubt'")
        return {row[0] for row in rows}

    def _is_up(self, node: Node) -> bool:
        return bool(
            self._query("SELECT 1 FROM node WHERE node_id = %s AND state = 'up'", node.name)
        )

    def _n_sessions(self, node: Node) -> int:
        [(n,)] = self._query(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name LIKE %s",
            f"modemctl {node.name} %",
        )
        return n

    def _is_begun(self, node: Node, n_starts: int) -> bool:
        """Whether it has begun to send, or will not."""
        if self._has_ended(node):
            return True
        statement = "SELECT 1 FROM modem WHERE node_id = %s AND state = 'ready'"
        return node.n_starts() > n_starts and bool(self._query(statement, node.name))

    def _tell(self, statement: str, *values: object) -> None:
        self._db.execute(statement, values)

    def _query(self, statement: str, *values: object) -> list[tuple]:
        return self._db.execute(statement, values).fetchall()

    async def _wait(self, holds, *, what: str, seconds: float = 120) -> None:
        await asyncio.to_thread(wait_until, holds, what=what, seconds=seconds)

    def close(self) -> None:
        """No more questions."""
        self._db.close()


def _far_from_midnight() -> str:
    """A zone where this day does not end while a test runs: the limits are of a day."""
    return f"Etc/GMT{min(datetime.now(UTC).hour - 3, 12):+d}"


def _all_cards(folder: Path, banks: Sequence[BankProcess]) -> Path:
    """A folder with the cards of several banks."""
    folder.mkdir(parents=True)
    tables = [(bank.folder / "cards.csv").read_text().splitlines() for bank in banks]
    lines = [tables[0][0], *(line for table in tables for line in table[1:])]
    (folder / "cards.csv").write_text("\n".join(lines) + "\n")
    return folder


def _noted(node: Node) -> Sequence[Point]:
    lines = node.notes.read_text().splitlines()
    node.notes.unlink()
    node.n_met = 0
    return [Point(*json.loads(line)) for line in lines]


def _n_notes(node: Node) -> int:
    return len(node.notes.read_text().splitlines()) if node.notes.exists() else 0


def _is_met(node: Node, point: Point | None) -> bool:
    n = _n_notes(node)
    is_met = point is not None and n > node.n_met
    node.n_met = n if point is not None else node.n_met
    return is_met
