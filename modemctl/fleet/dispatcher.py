"""Work for READY actors: what waits is leased as one set, proved, encoded and handed over.

Actors pull: they ask once, while their last segment is still in flight, and get a callback. What
cannot be proved (a changed line, a broken approval) goes no further than here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, TypeAlias

from modemctl.errors import CommitUnanswered, PolicyRefused, StoreError, TamperedError
from modemctl.fleet.breaking import Gate
from modemctl.model import Bay, Iccid, MessageId, SegmentId, Topic
from modemctl.policy.approvals import LineEvidence, VerifiedBatch, verify_line
from modemctl.sms import MIN_VALIDITY, Unencodable, encode_submit, submits
from modemctl.store import Store
from modemctl.store.engine import UNREAD, UNREADABLE
from modemctl.store.evidence import read_lines
from modemctl.store.leases import Leased, LeaseRequest, Nothing, lease
from modemctl.store.segments import Release, SendingRules, release
from modemctl.store.signals import Subscription
from modemctl.store.submits import Refusal, refuse
from modemctl.store.transaction import Tx
from modemctl.store.unreadable import hold_unreadable
from modemctl.telemetry import Telemetry

_log = logging.getLogger(__name__)

_SLOW_POLL: Final = 5.0  # covers a lost wake-up, quiet hours, back-offs of segments
_LONGEST_WAIT: Final = 60.0  # until a limit or a gate is looked at again
_CURE: Final = "modemctl audit verify names the row"
_HEAD_START: Final = 0.003  # of who got a message, before an answer about it is read
_STORE_PAUSE: Final = 1.0  # between tries while the store fails


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedSegment:
    """One TPDU, made from the verified line and nothing else."""

    segment_id: SegmentId
    tpdu: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A leased, proved and encoded message: what an actor sends, in order."""

    lease: Leased
    digest: bytes
    recipient_bidx: bytes
    segments: tuple[EncodedSegment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodingRules:
    """How messages are put into TPDUs."""

    validity: timedelta
    wants_reports: bool


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiting:
    bay: Bay
    iccid: Iccid
    take: Callable[[Job], None]
    gate: Gate | None
    not_before: float = 0.0
    was_served: bool = False  # found nothing: joins no set before its time
    is_limited: bool = False  # waits for its own limits: new work does not help it

    def may_enter(self) -> bool:
        """Whether its gate is as good as open: nobody's trial, no wait."""
        return self.gate is None or self.gate.opens_in() == 0

    def may_join(self, now: float) -> bool:
        """Whether one that only polls may do so with others: a bank at rest polls as one."""
        return not self.is_limited and self.not_before <= now + _SLOW_POLL / 2


class Dispatcher:
    """One for the bank; `run` is its task."""

    def __init__(
        self, store: Store, rules: SendingRules, encoding: EncodingRules, telemetry: Telemetry
    ) -> None:
        self._store = store
        self._rules = rules
        self._encoding = encoding
        self._telemetry = telemetry
        self._waiting: dict[Bay, _Waiting] = {}
        self._owed: list[Release] = []  # leases that the store did not take back yet
        self._bell = asyncio.Event()
        self._n_rings = self._n_rings_asked = 0  # of new work: in all, and when it was last asked
        self._is_stopped = False

    def ask(
        self,
        bay: Bay,
        iccid: Iccid,
        take: Callable[[Job], None],
        *,
        patience: float = 0.0,
        gate: Gate | None = None,
    ) -> None:
        """Ask for one message for this card; `take` is called on the loop once there is one.

        With `patience` (seconds) others may join: a set of many costs little more than one of one.
        Nothing is leased while the `gate` is shut; who takes a job has entered it.
        """
        if self._is_stopped:
            return
        not_before = asyncio.get_running_loop().time() + patience
        self._waiting[bay] = _Waiting(
            bay=bay, iccid=iccid, take=take, gate=gate, not_before=not_before
        )
        self._bell.set()

    def withdraw(self, bay: Bay, take: Callable[[Job], None] | None = None) -> None:
        """Ask no more, or only with this `take`; what is leased meanwhile goes back."""
        waiting = self._waiting.get(bay)
        if waiting is not None and (take is None or waiting.take == take):
            del self._waiting[bay]
            self._bell.set()  # nothing new is leased for it

    async def give_back(self, leased: Leased, reason: str) -> None:
        """Release what of a lease was not sent; while the store fails, it is tried again."""
        item = Release(token=leased.token, reason=reason, rules=self._rules)
        try:
            await self._store.write_in_set(release, item)
        except StoreError as error:
            _log.warning("lease.not_released", extra={"error": str(error)})
            self._owed.append(item)
            self._bell.set()

    async def _settle_up(self) -> None:
        """Give back what the store did not take before: it would lapse only after minutes."""
        owed, self._owed = self._owed, []
        async with asyncio.TaskGroup() as group:  # as one set
            for item in owed:
                group.create_task(self._settle(item), name="lease owed")

    async def _settle(self, item: Release) -> None:
        try:
            await self._store.write_in_set(release, item)
        except StoreError:
            self._owed.append(item)
        except UNREADABLE as error:
            _log.error("lease.not_released", extra={"error": str(error), "cure": _CURE})

    def stop(self) -> None:
        """Lease nothing more."""
        self._is_stopped = True
        self._waiting.clear()
        self._bell.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        loop = asyncio.get_running_loop()
        with self._store.signals.subscribe(Topic.WORK, goes_first=True) as work:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(work), name="dispatcher ears")
                while True:
                    self._bell.clear()
                    await self._settle_up()
                    due = self._due(loop.time())
                    if due:
                        await self._serve_patiently(due)
                        loop.call_later(_HEAD_START, work.serve)
                    elif await self._stand_by(work, self._time_left(loop.time())):
                        await asyncio.sleep(_HEAD_START)

    def _due(self, now: float) -> list[_Waiting]:
        """Whoever waits, once the patience of one of them is over."""
        if not any(one.not_before <= now for one in self._waiting.values()):
            return []
        return [
            one
            for one in self._waiting.values()
            if one.not_before <= now or not one.was_served or one.may_join(now)
        ]

    async def _listen(self, work: Subscription) -> None:
        """New work wakes those who found none; a slow poll covers a lost wake-up."""
        while True:
            if await work.wait(_SLOW_POLL):
                self._n_rings += 1
                self._wake_unlimited()

    async def _stand_by(self, work: Subscription, limit: float) -> bool:
        """Wait for the bell; new work is leased in the transaction that brings it: True then."""
        work.serve()
        waiting = list(self._waiting.values())
        due = [one for one in waiting if not one.is_limited and one.may_enter()]
        if not due or not all(one.was_served for one in waiting):  # no bank at rest
            await self._wait(limit)
            return False
        requests = self._requests(due)
        follower = self._store.journal.follow(
            Topic.WORK, lambda tx: _lease_with_proofs(tx, requests), told=work
        )
        follower.future.add_done_callback(lambda _: self._bell.set())
        try:
            await self._wait(limit)
        finally:
            has_run = not follower.withdraw()
        if has_run:
            await self._serve_followed(due, requests, follower.future)
            self._wake_unlimited(but=frozenset(due))
        return has_run

    async def _serve_followed(
        self, due: Sequence[_Waiting], requests: Sequence[LeaseRequest],
        leased: Awaitable[Sequence[_Result]],
    ) -> None:  # fmt: skip
        """Hand over what was leased along with new work; where that failed, the work rings."""
        try:
            results = await self._known(leased, requests)
        except UNREADABLE as error:
            _log.warning("dispatcher.store_failed", extra={"error": str(error)})
            return
        pairs = list(zip(due, results, strict=True))
        is_here = self._waiting.get  # who left may have no card: it is asked nothing
        entered = {one for one in due if is_here(one.bay) is one and self._enters(one)}
        with self._inside(entered) as taken:
            for one, result in pairs:
                if one not in entered and isinstance(result, _Found):
                    await self.give_back(result.leased, "its bay left, or a breaker opened")
            try:
                await self._deal_out([pair for pair in pairs if pair[0] in entered], taken)
            except StoreError as error:
                _log.warning("dispatcher.store_failed", extra={"error": str(error)})

    async def _wait(self, limit: float) -> None:
        try:
            async with asyncio.timeout(limit):
                await self._bell.wait()
        except TimeoutError:
            return

    def _wake_unlimited(self, *, but: Set[_Waiting] = frozenset()) -> None:
        for one in self._waiting.values():
            if not one.is_limited and one not in but:
                one.not_before = 0.0
        self._bell.set()

    def _time_left(self, now: float) -> float:
        longest = _STORE_PAUSE if self._owed else _SLOW_POLL
        return max(0.0, min([longest, *(one.not_before - now for one in self._waiting.values())]))

    async def _serve_patiently(self, due: Sequence[_Waiting]) -> None:
        try:
            await self._serve(due)
        except StoreError as error:
            _log.warning("dispatcher.store_failed", extra={"error": str(error)})
            await asyncio.sleep(_STORE_PAUSE)

    async def _serve(self, due: Sequence[_Waiting]) -> None:
        entered = [one for one in due if self._enters(one)]
        if not entered:
            return
        with self._inside(entered) as taken:
            results = await self._lease_set(self._requests(entered))
            await self._deal_out(list(zip(entered, results, strict=True)), taken)

    @contextmanager
    def _inside(self, entered: Collection[_Waiting]) -> Iterator[set[Bay]]:
        """A block behind these gates; who gets nothing in it, so is not noted, leaves again."""
        taken: set[Bay] = set()
        try:
            yield taken
        finally:
            for one in entered:
                if one.gate is not None and one.bay not in taken:
                    one.gate.leave()

    def _enters(self, one: _Waiting) -> bool:
        if one.gate is None or one.gate.enter():
            return True
        one.was_served = one.is_limited = True
        wait = min(max(one.gate.opens_in(), 0.05), _LONGEST_WAIT)
        one.not_before = asyncio.get_running_loop().time() + wait
        return False

    def _requests(self, due: Sequence[_Waiting]) -> Sequence[LeaseRequest]:
        self._n_rings_asked = self._n_rings
        return [LeaseRequest(bay=one.bay, iccid=one.iccid, rules=self._rules) for one in due]

    async def _deal_out(self, results: Sequence[tuple[_Waiting, _Result]], taken: set[Bay]) -> None:
        found: list[tuple[_Waiting, _Found]] = []
        for one, result in results:
            if isinstance(result, _Found):
                found.append((one, result))
            else:
                self._put_off(one, result)
        if found:
            await self._hand_over(found, taken)

    async def _lease_set(self, requests: Sequence[LeaseRequest]) -> Sequence[_Result]:
        """What each card gets; rows that nobody can read stop their batch, at worst their card."""
        try:
            return await self._ask_store(requests)
        except StoreError:
            raise
        except UNREADABLE:
            _log.exception("lease.failed")
        try:
            n_held = await self._store.write(lambda tx: hold_unreadable(tx, requests))
        except StoreError:
            raise
        except UNREADABLE as error:
            _log.error("lease.batch_not_found", extra={"error": str(error), "cure": _CURE})
        else:
            _log.error("lease.held", extra={"n_batches": n_held, "cure": _CURE})
        results: list[_Result] = []
        for one in requests:
            result = await self._lease_alone(one)
            if result is None:  # what there is goes its way, the others ask again
                break
            results.append(result)
        return [*results, *[Nothing()] * (len(requests) - len(results))]

    async def _ask_store(self, requests: Sequence[LeaseRequest]) -> Sequence[_Result]:
        """Lease as one set, and read in the same transaction what proves it.

        Raises:
            StoreError: nothing was leased that is ours to send.
            Exception: what a row that nobody can read brings about (`UNREADABLE`).
        """
        leasing = self._store.write(lambda tx: _lease_with_proofs(tx, requests))
        return await self._known(leasing, requests)

    async def _known(
        self, leased: Awaitable[Sequence[_Result]], requests: Sequence[LeaseRequest]
    ) -> Sequence[_Result]:
        """What was leased; what may be without our knowing goes back once the store works."""
        try:
            return await leased
        except CommitUnanswered:
            reason = "nobody knew of its lease"
            self._owed += [
                Release(token=one.token, reason=reason, rules=self._rules) for one in requests
            ]
            raise

    async def _lease_alone(self, request: LeaseRequest) -> _Result | None:
        """What this card gets; None where the store fails."""
        try:
            [result] = await self._ask_store([request])
        except StoreError as error:
            _log.warning("dispatcher.store_failed", extra={"error": str(error)})
            return None
        except UNREADABLE as error:
            facts = {"bay": request.bay, "error": str(error), "cure": _CURE}
            _log.error("lease.refused", extra=facts)
            return Nothing(until=self._store.clock.now() + timedelta(seconds=_LONGEST_WAIT))
        return result

    def _put_off(self, one: _Waiting, nothing: Nothing) -> None:
        is_late = self._n_rings != self._n_rings_asked  # new work rang before this was known
        wait, one.is_limited = 0.0 if is_late else _SLOW_POLL, nothing.until is not None
        one.was_served = True
        if nothing.until is not None:
            left = (nothing.until - self._store.clock.now()).total_seconds()
            wait = min(max(left, 0.05), _LONGEST_WAIT)
        one.not_before = asyncio.get_running_loop().time() + wait

    async def _hand_over(self, found: Sequence[tuple[_Waiting, _Found]], taken: set[Bay]) -> None:
        """Prove each message and hand it over; what stays here, whatever happens, goes back."""
        mine = {one.leased.token: one.leased for _, one in found}
        failure: StoreError | None = None
        try:
            for waiting, one in found:
                try:
                    job = await self._prove(one)
                except StoreError as error:  # its refusal was not stored; others may be proved
                    failure = error
                    continue
                if job is None:
                    del mine[one.leased.token]
                    waiting.not_before = 0.0  # the next message, please
                elif self._waiting.get(waiting.bay) is waiting:
                    del mine[one.leased.token], self._waiting[waiting.bay]
                    taken.add(waiting.bay)
                    waiting.take(job)
        finally:
            for leased in mine.values():
                await self.give_back(leased, "it was not handed over")
        if failure is not None:
            raise failure

    async def _prove(self, found: _Found) -> Job | None:
        """Prove batch and line, encode; what fails is refused in the store (None)."""
        leased, batch = found.leased, found.batch
        if isinstance(batch, PolicyRefused):
            await self._refuse(leased, batch, is_whole_batch=True)
            return None
        try:
            return self._encode(leased, batch, found.line)
        except PolicyRefused as error:
            refusal = error
        except UNREADABLE:
            refusal = PolicyRefused("SMS-01", UNREAD)
        await self._refuse(leased, refusal, is_whole_batch=False)
        return None

    def _encode(
        self, leased: Leased, batch: VerifiedBatch, found: LineEvidence | TamperedError | None
    ) -> Job:
        if not isinstance(found, LineEvidence):
            raise PolicyRefused("SMS-01", str(found or "the line is missing"))
        if (found.batch_id, found.line_no) != (leased.batch_id, leased.line_no):
            raise PolicyRefused("SMS-01", "the line is another one's")
        line = verify_line(
            batch,
            line_no=found.line_no,
            line=found.line,
            chunk_leaves=found.chunk_leaves,
            salt=found.salt,
        )
        left = batch.header.not_after - self._store.clock.now()
        tpdus = self._tpdus(line.text, line.to, leased.message_id, left)
        if len(tpdus) != leased.n_segments:
            raise PolicyRefused("SMS-01", "the message has not the segments that were counted")
        return Job(
            lease=leased,
            digest=batch.digest,
            recipient_bidx=self._store.vault.blind_index(line.to),
            segments=tuple(
                EncodedSegment(segment_id=segment_id, tpdu=tpdus[seq - 1])
                for segment_id, seq in leased.segments
            ),
        )

    def _tpdus(self, text: str, to: str, message_id: MessageId, left: timedelta) -> list[bytes]:
        """Encode it; the network shall not deliver what is `left` behind its batch's window."""
        try:
            pieces = submits(
                text,
                to,
                reference=message_id % 256,
                validity=min(self._encoding.validity, max(left, MIN_VALIDITY)),
                report=self._encoding.wants_reports,
            )
            return [encode_submit(piece) for piece in pieces]
        except Unencodable as error:
            raise PolicyRefused("SMS-07", f"the message cannot be encoded: {error}") from error

    async def _refuse(self, leased: Leased, error: PolicyRefused, *, is_whole_batch: bool) -> None:
        assert error.policy is not None
        self._telemetry.count("modemctl_policy_refusals_total", policy=error.policy)
        _log.warning(
            "segment.refused",
            extra={"policy": error.policy, "rule": error.rule, "message_id": leased.message_id},
        )
        refusal = Refusal(
            token=leased.token,
            batch_id=leased.batch_id,
            policy=error.policy,
            rule=error.rule,
            is_whole_batch=is_whole_batch,
            rules=self._rules,
        )
        await self._store.write_in_set(refuse, refusal)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A lease, and what proves its message as it stood in the same transaction."""

    leased: Leased
    batch: VerifiedBatch | PolicyRefused
    line: LineEvidence | TamperedError | None = field(repr=False)


_Result: TypeAlias = _Found | Nothing


def _lease_with_proofs(tx: Tx, requests: Sequence[LeaseRequest]) -> Sequence[_Result]:
    """What each card gets, with its proofs; nothing is leased where those cannot be read."""
    results = lease(tx, requests)
    leased = [one for one in results if isinstance(one, Leased)]
    if not leased:
        return [one for one in results if isinstance(one, Nothing)]
    batch_ids = sorted({one.batch_id for one in leased})
    batches = requests[0].rules.proofs.verified(tx.conn, tx.vault, batch_ids, now=tx.now)
    lines = read_lines(tx.conn, tx.vault, [one.message_id for one in leased])
    return [
        one
        if isinstance(one, Nothing)
        else _Found(leased=one, batch=batches[one.batch_id], line=lines.get(one.message_id))
        for one in results
    ]
