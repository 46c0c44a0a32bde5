"""A READY card at work: asks for messages, sends them segment by segment, saves what became of it.

The next message is asked for while the last segment of the present one is in flight, and an outcome
is saved while the next segment is announced: between two segments only the rules' own gap counts.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from drivers.errors import DriverError, LinkError
from drivers.interface import Action, Blame, Cause, Driver
from modemctl.errors import CommitUnanswered, StoreError
from modemctl.fleet.breaking import Gate
from modemctl.fleet.dispatcher import Dispatcher, EncodedSegment, Job
from modemctl.fleet.hubs import Hubs
from modemctl.fleet.mailbox import Asked, Mailbox
from modemctl.fleet.moves import Interrupted
from modemctl.fleet.sending import Done, Dropped, Later, SendResult, StopBell, send
from modemctl.lifecycle import ModemEvent, SegmentState
from modemctl.model import Bay, Iccid
from modemctl.store import Store
from modemctl.store.outcomes import (
    Doubtful,
    NotSent,
    Outcome,
    Took,
    record_outcome,
    recorded,
)
from modemctl.store.segments import SendingRules
from modemctl.telemetry import Telemetry

_log = logging.getLogger(__name__)

_STORE_PAUSE: Final = 1.0
_N_MODEM_FAULTS: Final = 3  # in a row, of the modem or between it and us: then the ladder
_LONGEST_REST: Final = 300.0
_PATIENT_SHARE: Final = 0.25  # of a submit's usual time: the next message is there long before
_CROWD: Final = 16  # events waiting; a full box would take the bay out of READY
_YIELD: Final = 0.1
_LONGEST_LATER: Final = 120.0  # the store keeps no message for a card any longer
_LONGEST_YIELD: Final = 10.0  # for one segment, lest receiving starve sending
_LONGEST_PATIENCE: Final = 0.25
_CARD_FRESH: Final = 3.0  # quicker no other card is put in, read by its modem and registered


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What a card at work needs of its surroundings."""

    store: Store
    dispatcher: Dispatcher
    telemetry: Telemetry
    rules: SendingRules
    stops: StopBell
    mailbox: Mailbox
    gate: Gate
    hubs: Hubs
    bay: Bay
    iccid: Iccid
    wake: Callable[[], None]
    """Called when a message was handed over."""
    pause: Callable[[float], Awaitable[None]]
    """Waits until a point of the loop's time; raises `Interrupted` where the state is left."""
    confirm: Callable[[float], Awaitable[None]]
    """Asks whether it is still the card that the message was leased for, unless that was known
    within these seconds; raises `Interrupted` where it is not."""
    submit_timeout: float
    may_go_on: Callable[[], bool]
    """False where the bay is paused or the daemon stops."""


class Sender:
    """One stay in READY; `close` gives back what was not sent."""

    def __init__(self, desk: Desk, driver: Driver, group: asyncio.TaskGroup) -> None:
        self._desk = desk
        self._driver = driver
        self._group = group
        self._loop = asyncio.get_running_loop()
        self._jobs: deque[Job] = deque()
        self._unsaved: set[asyncio.Task[None]] = set()
        self._n_failing = 0  # outcomes that the store refused to take so far
        self._is_asking = False
        self._next_submit = 0.0
        self._rest_until = 0.0
        self._usual_seconds = 0.0  # that a submit takes lately
        self._n_modem_faults = 0
        self._n_setbacks = 0
        self.n_taken = 0

    @property
    def has_work(self) -> bool:
        """Whether a message is at hand and the card need not rest."""
        return bool(self._jobs) and self._loop.time() >= self._rest_until

    @property
    def rest_until(self) -> float:
        """Until when (loop time) the card rests after setbacks of its own or the network's."""
        return self._rest_until

    def ask(self) -> None:
        """Ask for the next message, unless one is at hand or asked for already."""
        if not self._is_asking and not self._jobs and self._loop.time() >= self._rest_until:
            self._is_asking = True
            desk = self._desk
            desk.dispatcher.ask(desk.bay, desk.iccid, self._take, gate=desk.gate)

    async def send_next(self) -> None:
        """Send the message at hand, as far as it may go.

        Raises:
            Interrupted: the bay leaves its state.
            DriverError: the link failed; nothing is left unsaved.
        """
        job = self._jobs[0]
        is_whole = False
        try:
            if self._desk.gate.is_open:  # it opened while this one was on its way to us
                return
            for place, segment in enumerate(job.segments):
                if not await self._send_patiently(job, segment, place):
                    break
            else:
                is_whole = True
        finally:
            self._jobs.popleft()
            self._desk.gate.leave()
            if not is_whole:
                await self._release(job)

    async def close(self) -> None:
        """Give back what was not sent, wait until every outcome is saved."""
        self._desk.dispatcher.withdraw(self._desk.bay, self._take)
        self._is_asking = False
        self._desk.gate.leave()
        while self._jobs:
            await self._release(self._jobs.popleft())
        while self._unsaved:
            await asyncio.wait(self._unsaved)

    def _take(self, job: Job) -> None:
        self._is_asking = False
        self._jobs.append(job)
        self._desk.wake()

    async def _send_patiently(self, job: Job, segment: EncodedSegment, place: int) -> bool:
        """Send one segment, waiting as often as limits say; False where the message ends here."""
        if place == 0 and job.lease.not_before is not None:
            left = (job.lease.not_before - self._desk.store.clock.now()).total_seconds()
            left = min(left, self._desk.rules.quota.caps.gap)  # the clock may have been set since
            self._next_submit = max(self._next_submit, self._loop.time() + left)
        yields_until = self._loop.time() + _LONGEST_YIELD
        while self._desk.may_go_on():
            if self._must_yield(yields_until):
                await self._desk.pause(self._loop.time() + _YIELD)
                continue
            if self._n_failing:
                await self._desk.pause(self._loop.time() + _STORE_PAUSE)
                continue
            if self._next_submit > self._loop.time():
                await self._desk.pause(self._next_submit)
                continue
            if place == len(job.segments) - 1 and len(self._jobs) == 1:
                self._prefetch()
            async with self._desk.hubs.flight(self._desk.bay):  # may wait, so the card comes after
                await self._desk.confirm(_CARD_FRESH if place == 0 else 0.0)
                started = self._loop.time()
                result = await self._submit(job, segment)
            match result:
                case Later():
                    left = (result.until - self._desk.store.clock.now()).total_seconds()
                    self._next_submit = self._loop.time() + min(max(left, 0.01), _LONGEST_LATER)
                case Dropped():
                    await self._drop(result)
                    return False
                case Done():
                    return await self._finish(result, self._loop.time() - started)
        return False

    def _must_yield(self, until: float) -> bool:
        """Whether what came in goes first: it needs several commands for each of our submits."""
        return self._desk.mailbox.n_waiting >= _CROWD and self._loop.time() < until

    async def _submit(self, job: Job, segment: EncodedSegment) -> SendResult:
        """Send one segment; a late answer is listened for only while its outcome is in doubt."""
        desk = self._desk
        desk.mailbox.expect(Asked(segment_id=segment.segment_id, token=job.lease.token))
        result = await send(
            self._driver,
            desk.store,
            job,
            segment,
            rules=desk.rules,
            stops=desk.stops,
            timeout=desk.submit_timeout,
        )
        told = result.outcome.result if isinstance(result, Done) else None
        if not isinstance(told, Doubtful):
            desk.mailbox.settle(told.mr if isinstance(told, Took) else None)
        return result

    def _prefetch(self) -> None:
        if not self._is_asking:
            self._is_asking = True
            patience = min(_PATIENT_SHARE * self._usual_seconds, _LONGEST_PATIENCE)
            desk = self._desk
            desk.dispatcher.ask(desk.bay, desk.iccid, self._take, patience=patience, gate=desk.gate)

    async def _drop(self, dropped: Dropped) -> None:
        _log.info("segment.withdrawn", extra={"reason": dropped.reason})
        if dropped.unsure is not None:
            await self._save(dropped.unsure, may_be_over=True)
        if isinstance(dropped.error, DriverError):
            raise dropped.error
        if dropped.error is not None:
            self._rest_until = self._loop.time() + _STORE_PAUSE

    async def _finish(self, done: Done, seconds: float) -> bool:
        """Save an outcome; True where the message goes on."""
        desk = self._desk
        self._next_submit = done.cleared_at + desk.rules.quota.caps.gap
        self._usual_seconds += (seconds - self._usual_seconds) / 4
        desk.telemetry.observe(
            "modemctl_submit_seconds", seconds, family=self._driver.capabilities.family
        )
        result = done.outcome.result
        if isinstance(result, Took):
            self.n_taken += 1
            self._n_modem_faults = self._n_setbacks = 0
            family = self._driver.capabilities.family
            desk.telemetry.count("modemctl_modem_sent_total", bay=desk.bay, family=family)
            await desk.gate.note(None)
            await self._save_meanwhile(done.outcome)
            return True
        await self._save(done.outcome)
        blamed = _blamed(done, result)
        await desk.gate.note(blamed)
        if done.error is not None:
            raise done.error
        if isinstance(result, Doubtful):
            self._note_doubt(result, blamed)
        else:
            self._note_refusal(result, done.cause)
        return False

    async def _save_meanwhile(self, outcome: Outcome) -> None:
        """Save beside the next announcement; while the store fails, nothing more is sent."""
        while self._unsaved and any(not task.done() for task in self._unsaved):
            await asyncio.wait(self._unsaved, return_when=asyncio.FIRST_COMPLETED)
        task = self._group.create_task(self._save(outcome), name=f"outcome {self._desk.bay}")
        self._unsaved.add(task)
        task.add_done_callback(self._unsaved.discard)

    async def _save(self, outcome: Outcome, *, may_be_over: bool = False) -> None:
        """Save an outcome; it is tried until the store takes it, and meanwhile nothing is sent.

        `may_be_over`: nobody knows whether the try that it ends ever began.
        """
        store, is_failing, is_unsure = self._desk.store, False, False
        state: SegmentState | None
        try:
            while True:
                try:
                    state = await store.write_in_set(record_outcome, outcome)
                    if state is None and is_unsure:
                        state = await store.read(lambda conn: recorded(conn, outcome))
                except StoreError as error:
                    is_unsure = is_unsure or isinstance(error, CommitUnanswered)
                    _log.warning("outcome.not_saved", extra={"error": str(error)})
                    self._n_failing += not is_failing
                    is_failing = True
                    await asyncio.sleep(_STORE_PAUSE)
                else:
                    break
        finally:
            self._n_failing -= is_failing
        if is_failing:  # it waits for the store
            self._desk.wake()
        if state is not None:
            self._desk.telemetry.count("modemctl_segment_transitions_total", state=state.value)
        elif not may_be_over:  # somebody else moved it: what is known here is known nowhere else
            facts = {"segment_id": outcome.segment_id, "outcome": type(outcome.result).__name__}
            _log.error("outcome.not_taken", extra=facts)

    def _note_doubt(self, doubt: Doubtful, blame: str) -> None:
        self._desk.telemetry.count("modemctl_modem_failures_total", bay=self._desk.bay, blame=blame)
        _log.warning("segment.in_doubt", extra={"reason": doubt.reason, "cause": doubt.code or ""})
        if doubt.code is None:
            raise Interrupted(ModemEvent.OUT_OF_STEP, f"no answer to a submit: {doubt.reason}")
        self._rest()

    def _note_refusal(self, refused: NotSent, cause: Cause | None) -> None:
        telemetry, bay = self._desk.telemetry, self._desk.bay
        telemetry.count("modemctl_modem_failures_total", bay=bay, blame=refused.blame)
        telemetry.count("modemctl_segments_refused_total", cause=refused.code, blame=refused.blame)
        _log.info("segment.refused", extra={"cause": refused.code, "blame": refused.blame})
        if cause is None:
            return
        if cause.needs_card_check:
            raise Interrupted(ModemEvent.SIM_REMOVED, f"a submit was refused: {cause.title}")
        is_mistaken = cause.blame is Blame.HOST and cause.action is Action.STOP
        if cause.blame is Blame.MODEM or cause.action is Action.FIX or is_mistaken:
            self._n_modem_faults += 1
            if self._n_modem_faults >= _N_MODEM_FAULTS:
                raise Interrupted(ModemEvent.WATCHDOG, f"refuses again and again: {cause.title}")
        if cause.blame is not Blame.MESSAGE:
            self._rest()

    def _rest(self) -> None:
        """After setbacks the card asks for work ever more rarely, until something goes through."""
        self._n_setbacks += 1
        seconds = min(2.0 ** (self._n_setbacks - 1), _LONGEST_REST)
        self._rest_until = self._loop.time() + seconds

    async def _release(self, job: Job) -> None:
        """Give back what of a message is still leased."""
        await self._desk.dispatcher.give_back(job.lease, "not sent by this card")


def _blamed(done: Done, result: NotSent | Doubtful) -> str:
    """Whom a breaker shall count a failure for; a port that went is nobody's sickness."""
    if isinstance(done.error, LinkError):
        return Blame.HOST
    if isinstance(result, NotSent):
        return result.blame
    return Blame.MODEM if done.cause is None else done.cause.blame
