"""The one writer: a thread that commits for everybody together.

Requests queue up while a commit is under way; the next transactions take them in their order, of
many a share each. Like requests run as one set; each independent request has a savepoint of its
own, so one that fails takes nobody with it. Futures resolve after COMMIT: who awaited one may tell
the world.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from modemctl.audit import Head
from modemctl.clock import Clock
from modemctl.errors import CommitUnanswered, NameTaken, StoreError
from modemctl.model import Topic
from modemctl.store import count_seal, postgresql
from modemctl.store.count_seal import CountSeal
from modemctl.store.engine import n_changes, savepoint
from modemctl.store.listening import Wire
from modemctl.store.lives import Life
from modemctl.store.signals import Signals, Subscription
from modemctl.store.steady import SteadyTime
from modemctl.store.traces import Scribe, read_head
from modemctl.store.transaction import Tx
from modemctl.vault import AuditKey, Vault

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
_ItemT_contra = TypeVar("_ItemT_contra", contravariant=True)
_ResultT_co = TypeVar("_ResultT_co", covariant=True)

_log = logging.getLogger(__name__)

_SMALL_GROUP: Final = 16  # requests: so many always share a transaction
_SHARE: Final = 4  # of more, it takes a quarter: modems that wait in lockstep come apart again
_MAX_GROUP: Final = 512  # requests a transaction takes at most: keeps commits short
_LATE: Final = 0.03  # seconds that the first has waited: then all go together, which costs less
_N_TRIES: Final = 3  # of a transaction that a deadlock or a server's restart undid
_KNOWN: Final = "modemctl chain"  # a session that found our log as we left it
_STOP: Final = None


class SetAct(Protocol[_ItemT_contra, _ResultT_co]):
    """A kind of request of which many run as one set of statements."""

    def __call__(self, tx: Tx, items: Sequence[_ItemT_contra], /) -> Sequence[_ResultT_co]:
        """Do all items; one result an item, in order. Raising undoes all of them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitReport:
    """What one group commit was: for metrics. `seconds` include the statements."""

    seconds: float
    n_requests: int
    is_failure: bool


@dataclass(slots=True, kw_only=True)
class _Request(Generic[ResultT]):
    act: Callable[[Tx, Sequence[object]], Sequence[ResultT]]
    kind: object  # requests of one kind (identity) run as a set
    item: object
    future: asyncio.Future[ResultT]
    asked_at: float  # monotonic
    is_urgent: bool = False
    told: Subscription | None = None  # hears of it by the result, so no ring
    result: ResultT | BaseException | None = field(default=None)


class _FollowerRefused(Exception):
    """The database refused a follower: what it follows shall not fail for it."""


class Follower(Generic[ResultT]):
    """An act that waits for others' news: see `Journal.follow`."""

    def __init__(
        self, request: _Request[ResultT], waiting: dict[Topic, _Request[object]], topic: Topic
    ) -> None:
        self._request = request
        self._waiting = waiting
        self._topic = topic

    @property
    def future(self) -> asyncio.Future[ResultT]:
        """What `write` would give, once it was run."""
        return self._request.future

    def withdraw(self) -> bool:
        """Do not run it any more; False where it runs already, or has: its future tells."""
        return self._waiting.pop(self._topic, None) is self._request


class Journal:
    """The writer thread and its queue; belongs to one event loop."""

    def __init__(
        self,
        engine: Engine,
        *,
        vault: Vault,
        audit_key: AuditKey,
        clock: Clock,
        node_id: str,
        signals: Signals,
        wire: Wire,
        on_commit: Callable[[CommitReport], None],
    ) -> None:
        self._engine = engine
        self._vault = vault
        self._audit_key = audit_key
        self._scribe = Scribe(node_id, audit_key, clock)
        self._clock = clock
        self.steady: Final = SteadyTime(clock, vault)
        self.life: Final = Life(clock, self.steady, vault, node_id)
        self._node_id = node_id
        self._signals = signals
        self._wire = wire
        self._on_commit = on_commit
        self._queue: queue.SimpleQueue[_Request[object] | None] = queue.SimpleQueue()
        self._waiting: deque[_Request[object]] = deque()  # taken from the queue by the thread
        self._followers: dict[Topic, _Request[object]] = {}
        self._following: list[_Request[object]] = []  # in the transaction under way
        self._is_unfollowed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._head = Head()
        self._counts = CountSeal()  # of limits, as this node left them last
        self.start_faults: tuple[str, ...] = ()
        """What was found altered when the store was opened, a line each."""
        self._sent: tuple[Head, CountSeal] | None = None  # what a COMMIT without an end leaves
        self._turns = 0
        self._has_failed = False
        self._is_unsure = False
        self.lost: Final = asyncio.Event()
        """Set once another program writes under this node's name: nothing is written any more."""

    @property
    def head(self) -> Head:
        """The end of this node's audit chain, as last committed."""
        return self._head

    @property
    def signer(self) -> AuditKey:
        """What signs this node's entries, for other words of the node about its log."""
        return self._audit_key

    @property
    def turns(self) -> int:
        """Grows with every transaction tried; the watchdog looks whether it still turns."""
        return self._turns

    @property
    def is_alive(self) -> bool:
        """Whether the writer's thread runs."""
        return self._thread.is_alive()

    @property
    def is_healthy(self) -> bool:
        """Whether the writer runs and its last commit of a change went through."""
        return self._thread.is_alive() and not self._has_failed

    @property
    def backlog(self) -> int:
        """Requests that wait for the writer."""
        return self._queue.qsize() + len(self._waiting)

    def start(self) -> None:
        """Read the chain's head and start the thread; call on the loop."""
        self._loop = asyncio.get_running_loop()
        with self._engine.begin() as conn:
            self._head = read_head(conn, self._node_id)
            self._scribe.look(conn)
            self._counts, faults = count_seal.take_up(conn, self._vault, self._node_id)
            faults += self.steady.anchor(conn, self._node_id, is_new=self._head.seq == 0)
            self.start_faults = tuple(faults)
        self._thread.start()

    async def stop(self) -> None:
        """Commit what is queued, then end the thread."""
        self._queue.put(_STOP)
        await asyncio.to_thread(self._thread.join)

    async def write(self, act: Callable[[Tx], ResultT], *, is_urgent: bool = False) -> ResultT:
        """Run `act` in the writer's transaction; returns after COMMIT.

        `is_urgent`: before all that waits, in a transaction of its own.

        Raises:
            CommitUnanswered: the server's connection broke over the COMMIT: whoever goes on looks
                at the rows.
            StoreError: the database refused; nothing happened.
            Exception: what `act` raised; nothing of it happened.
        """
        one = _alone(act)
        return await self._submit(one, kind=one, item=None, is_urgent=is_urgent)

    def follow(
        self, topic: Topic, act: Callable[[Tx], ResultT], *, told: Subscription
    ) -> Follower[ResultT]:
        """Run `act` at the end of the next transaction here that rings a topic, and within it.

        One act a topic. Where it was done, `told` is not rung. It does not follow what stops
        something, nor what another node commits: those ring.
        """
        assert self._loop is not None
        assert topic not in self._followers
        one = _alone(act)
        request = _Request(
            act=one, kind=one, item=None, told=told,
            future=self._loop.create_future(), asked_at=self._clock.monotonic(),
        )  # fmt: skip
        self._followers[topic] = request
        return Follower(request, self._followers, topic)

    async def write_in_set(self, act: SetAct[ItemT, ResultT], item: ItemT) -> ResultT:
        """Run `item` together with all queued items of the same `act`; returns after COMMIT.

        Raises:
            CommitUnanswered, StoreError: as `write`.
            Exception: what `act` raised for this item alone.
        """
        return await self._submit(act, kind=act, item=item)  # type: ignore[arg-type]  # kind = type

    async def _submit(
        self,
        act: Callable[[Tx, Sequence[object]], Sequence[ResultT]],
        kind: object,
        item: object,
        *,
        is_urgent: bool = False,
    ) -> ResultT:
        if self._loop is None or not self._thread.is_alive():
            raise StoreError("the store is not open")
        future: asyncio.Future[ResultT] = self._loop.create_future()
        request = _Request(
            act=act,
            kind=kind,
            item=item,
            future=future,
            asked_at=self._clock.monotonic(),
            is_urgent=is_urgent,
        )
        self._queue.put(request)  # type: ignore[arg-type]  # the queue is of mixed kinds
        try:
            return await asyncio.shield(future)  # what is committed is committed, whoever waits
        except asyncio.CancelledError:
            future.add_done_callback(asyncio.Future.exception)  # seen, though nobody waits
            raise

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        waiting, is_last = self._waiting, False
        while waiting or not is_last:
            is_last = self._take_in() or is_last
            if waiting:
                self._commit([waiting.popleft() for _ in range(self._size())])

    def _size(self) -> int:
        """How many of those that wait share the next transaction."""
        waiting = self._waiting
        if waiting[0].is_urgent:
            return 1
        n = max(len(waiting) // _SHARE, _SMALL_GROUP)
        if self._clock.monotonic() - waiting[0].asked_at > _LATE:
            n = len(waiting)
        return min(n, _MAX_GROUP, len(waiting))

    def _take_in(self) -> bool:
        """Take what has been asked, waiting where nothing is at hand; True at the end."""
        while True:
            try:
                request = self._queue.get(block=not self._waiting)
            except queue.Empty:
                return False
            if request is _STOP:
                return True
            if request.is_urgent:
                self._waiting.appendleft(request)
            else:
                self._waiting.append(request)

    def _commit(self, group: Sequence[_Request[object]]) -> None:
        started = self._clock.monotonic()
        topics: set[Topic] = set()
        self._following = []
        failure: StoreError | None = None
        sent = self._sent
        try:
            topics = self._write(group)
        except SQLAlchemyError as error:
            failure = StoreError(f"the database refused: {postgresql.said(error)}")
            if self._sent is not sent:
                _fail([*self._following, *group], CommitUnanswered(str(failure)))
            if postgresql.is_gone(error):  # who waits behind would wait for the same
                group = [*group, *self._waiting]
                self._waiting.clear()
        except NameTaken as error:
            failure = error
        except Exception:  # noqa: BLE001 - the writer is everybody's: a fault of ours fails this group
            _log.exception("journal.fault")
            failure = StoreError("a fault of ours while committing; see the log")
        group = [*self._following, *group]
        self._turns += 1
        self._has_failed = self._has_failed or failure is not None
        seconds = self._clock.monotonic() - started
        report = CommitReport(
            seconds=seconds, n_requests=len(group), is_failure=failure is not None
        )
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._resolve, group, failure, topics, report)

    def _write(self, group: Sequence[_Request[object]]) -> set[Topic]:
        """One transaction, and once more without those who followed, where these were refused."""
        self._is_unfollowed = False
        try:
            return self._write_patiently(group)
        except _FollowerRefused as refusal:
            self._is_unfollowed = True
            for one in self._following:
                one.result = StoreError(str(refusal))
        return self._write_patiently(group)

    def _write_patiently(self, group: Sequence[_Request[object]]) -> set[Topic]:
        """One transaction, tried again where the database says that this may help."""
        for n_left in reversed(range(_N_TRIES)):
            try:
                return self._write_once(group)
            except DBAPIError as error:
                self._is_unsure = True
                is_gone = error.connection_invalidated and self._sent is None
                if not n_left or not (is_gone or postgresql.is_passing(error)):
                    raise
        raise AssertionError("the last try raises")

    def _write_once(self, group: Sequence[_Request[object]]) -> set[Topic]:
        with self._engine.begin() as conn:
            n_before = n_changes(conn)
            if self._sent is not None:
                self._learn_the_end(conn, *self._sent)
            elif self._is_unsure or _KNOWN not in conn.info:
                self._require_head(conn)
            conn.info[_KNOWN], self._is_unsure = True, False
            self.life.prove(conn)
            traces = [tx for some in _by_kind(group) for tx in self._run_set(conn, some)]
            traces += self._run_followers(conn, {topic for tx in traces for topic in tx.topics})
            counts = self._count(conn, traces)
            head = self._scribe.leave(conn, traces, counts, after=self._head)
            topics = {topic for tx in traces for topic in tx.topics}
            self.life.beat(conn)
            self._wire.tell(conn, topics)
            self._sent = head, counts or self._counts
            has_written = n_before is None or n_changes(conn) != n_before
        self.life.committed()
        if has_written:  # a full disk takes a commit of nothing
            self._has_failed = False
        (self._head, self._counts), self._sent = self._sent, None
        return topics

    def _run_followers(self, conn: Connection, topics: Collection[Topic]) -> list[Tx]:
        """Run who follows these topics; where the database refuses it, all is done without."""
        if self._is_unfollowed:
            return []
        if Topic.STOP not in topics:
            found = [self._followers.pop(topic, None) for topic in topics]
            self._following += [one for one in found if one is not None]
        try:
            return [tx for one in self._following for tx in self._run_set(conn, [one])]
        except SQLAlchemyError as error:
            raise _FollowerRefused(f"the database refused: {postgresql.said(error)}") from None

    def _learn_the_end(self, conn: Connection, head: Head, counts: CountSeal) -> None:
        """Whether the COMMIT that failed went through, as where the connection broke over it."""
        found = read_head(conn, self._node_id)
        if found == head:
            self._head, self._counts = head, counts
        else:
            self._require_head(conn)
        self._sent = None

    def _require_head(self, conn: Connection) -> None:
        """Refuse to go on with a log that is not as we left it, as after a time without database.

        Raises:
            NameTaken: another program has written it.
        """
        if read_head(conn, self._node_id) != self._head:
            raise NameTaken(f"another program writes the log of node {self._node_id}")

    def _run_set(self, conn: Connection, requests: Sequence[_Request[object]]) -> list[Tx]:
        """Run like requests as one set; one by one if the set fails."""
        tx = self._tx(conn)
        try:
            with savepoint(conn):
                results = requests[0].act(tx, [request.item for request in requests])
        except IntegrityError as error:
            failure: Exception = StoreError(f"a constraint forbids it: {postgresql.said(error)}")
        except SQLAlchemyError:
            raise  # the database itself: the whole group fails together
        except Exception as error:  # noqa: BLE001 - handed to whoever asked
            failure = error
        else:
            return self._accept(requests, results, tx)
        if len(requests) == 1:
            requests[0].result = failure
            return []
        return [tx for request in requests for tx in self._run_set(conn, [request])]

    @staticmethod
    def _accept(
        requests: Sequence[_Request[object]], results: Sequence[object], tx: Tx
    ) -> list[Tx]:
        assert len(results) == len(requests), "a set gives one result an item"
        for request, result in zip(requests, results, strict=True):
            request.result = result
        return [tx]

    def _tx(self, conn: Connection) -> Tx:
        return Tx(
            conn,
            now=self._clock.now(),
            steady=self.steady.now(),
            vault=self._vault,
            node_id=self._node_id,
            standing=self.life.standing,
        )

    def _count(self, conn: Connection, traces: Sequence[Tx]) -> CountSeal | None:
        """The seal of the counts after these; None where none of them counted."""
        if all(tx.counted is None for tx in traces):
            return None
        change = sum(tx.counted or 0 for tx in traces)
        return count_seal.advance(conn, self._vault, self._counts, change)

    def _resolve(
        self,
        group: Sequence[_Request[object]],
        failure: StoreError | None,
        topics: Iterable[Topic],
        report: CommitReport,
    ) -> None:
        if isinstance(failure, NameTaken):
            self.lost.set()
        for request in group:
            if request.future.done():
                continue
            if failure is not None and not isinstance(request.result, CommitUnanswered):
                request.future.set_exception(StoreError(str(failure)))
            elif isinstance(request.result, BaseException):
                request.future.set_exception(request.result)
            else:
                request.future.set_result(request.result)
        told = [one.told for one in group if not isinstance(one.result, BaseException)]
        self._signals.wake(topics, told=frozenset(told))
        self._on_commit(report)


def _alone(
    act: Callable[[Tx], ResultT],
) -> Callable[[Tx, Sequence[object]], Sequence[ResultT]]:
    """An act as a set of one, like no other."""

    def one(tx: Tx, items: Sequence[object]) -> Sequence[ResultT]:
        del items
        return [act(tx)]

    return one


def _fail(group: Sequence[_Request[object]], failure: CommitUnanswered) -> None:
    for request in group:
        request.result = CommitUnanswered(str(failure))  # each its own: who meets it adds to it


def _by_kind(group: Sequence[_Request[object]]) -> list[list[_Request[object]]]:
    kinds: dict[int, list[_Request[object]]] = {}
    for request in group:
        kinds.setdefault(id(request.kind), []).append(request)
    return list(kinds.values())
