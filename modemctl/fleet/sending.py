"""One segment through one modem: clearance and prompt at the same time, then what came of it.

`AT+CMGS` goes out at once; the clearance commits meanwhile, and only then the TPDU follows. A stop
that rings between the two is seen at the prompt: the TPDU stays here. Where the modem takes long
to prompt, a node among others asks the database once more: a ring of theirs may be lost.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias, assert_never

from drivers.errors import CommandError, DriverError
from drivers.interface import (
    Accepted,
    Blame,
    Cause,
    Driver,
    InDoubt,
    Refused,
    SubmitOutcome,
    Withheld,
)
from modemctl.errors import CommitUnanswered, StoreError
from modemctl.fleet.dispatcher import EncodedSegment, Job
from modemctl.store import Store
from modemctl.store.engine import UNREAD, UNREADABLE
from modemctl.store.outcomes import Doubtful, NotSent, Outcome, Took, record_outcome
from modemctl.store.segments import SendingRules
from modemctl.store.submits import (
    Clearance,
    Cleared,
    NotYet,
    Refusal,
    SubmitRequest,
    Withdrawn,
    begin_submit,
    refuse,
    why_withheld,
)

_log = logging.getLogger(__name__)

_WITHHELD: Final = NotSent(
    code="withheld", title="stopped at the prompt", action="again", blame=Blame.HOST
)


_LATE: Final = 15.0
"""Seconds after which a clearance serves no more: the database stood still, and who was cut off
from it may not know by now what others did."""
_FRESH: Final = timedelta(seconds=0.5)
"""How old a clearance may be without a second look: a node's word to the others may be lost."""
_LOOK: Final = 5.0  # seconds that the second look may take; a modem waits at its prompt


class StopBell:
    """Counts how often anything was stopped: who noted the number sees whether it rang since."""

    def __init__(self) -> None:
        self._n = 0

    @property
    def n_rings(self) -> int:
        """How often it rang."""
        return self._n

    def ring(self) -> None:
        """Something was stopped: a batch, a card, a bay."""
        self._n += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The segment was SUBMITTING; `outcome` is to be saved.

    `cleared_at` is the loop's time of the clearance; `cause` where the modem told one; `error`
    where the link failed before the payload.
    """

    outcome: Outcome
    cleared_at: float
    cause: Cause | None = None
    error: DriverError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """Limits or gap: the lease holds, ask again then."""

    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """The clearance was refused, or the store failed; the segment never was SUBMITTING.

    Where nobody knows that, `unsure` is to be saved: it frees the segment if it is.
    """

    reason: str
    error: DriverError | StoreError | None = None
    unsure: Outcome | None = None


SendResult: TypeAlias = Done | Later | Dropped


async def send(
    driver: Driver, store: Store, job: Job, segment: EncodedSegment, *,
    rules: SendingRules, stops: StopBell, timeout: float,
) -> SendResult:  # fmt: skip
    """Submit one segment of a job. Never raises a driver's error: it is part of the result.

    `timeout` counts from the moment at which the TPDU was given to the modem. Who is cancelled
    here, or fails in a way that nobody foresaw, leaves a segment in doubt once it was given.
    """
    request = _request(job, segment, rules)
    loop = asyncio.get_running_loop()
    n_stops, asked_at = stops.n_rings, store.clock.boottime()  # counts a suspended machine's time
    is_given = False
    async with asyncio.TaskGroup() as group:
        clearing = group.create_task(_clear(store, request), name="clearance")

        async def payload() -> bytes | None:
            nonlocal is_given
            clearance, _ = await asyncio.shield(clearing)
            if not isinstance(clearance, Cleared) or stops.n_rings != n_stops:
                return None
            still_stands = await _still_stands(store, request, clearance)
            is_late = store.clock.boottime() - asked_at > _LATE
            if not still_stands or stops.n_rings != n_stops or is_late:
                return None
            limit.reschedule(loop.time() + timeout)  # a network may never answer
            is_given = True
            return clearance.tpdu

        told: SubmitOutcome | DriverError
        try:
            async with asyncio.timeout(None) as limit:
                told = await driver.submit(len(segment.tpdu), payload())
        except DriverError as error:
            told = error
        except TimeoutError:
            told = InDoubt(reason=f"no answer in {timeout:g} s")
        except BaseException:
            await _note_abandoned(store, request, is_given=is_given)
            raise
        clearance, cleared_at = await clearing
    return _result(clearance, told, request, cleared_at)


def _request(job: Job, segment: EncodedSegment, rules: SendingRules) -> SubmitRequest:
    return SubmitRequest(
        segment_id=segment.segment_id,
        token=job.lease.token,
        bay=job.lease.bay,
        iccid=job.lease.iccid,
        batch_id=job.lease.batch_id,
        digest=job.digest,
        recipient_bidx=job.recipient_bidx,
        tpdu=segment.tpdu,
        rules=rules,
    )


async def _note_abandoned(store: Store, request: SubmitRequest, *, is_given: bool) -> None:
    """Nobody waits for this submit any more: note what is known of it, behind its clearance."""
    result = Doubtful(reason="its actor failed while it was submitted") if is_given else _WITHHELD
    try:
        await store.write_in_set(record_outcome, _outcome(request, result))
    except StoreError as error:  # its bay's guard, or a sweep, puts it in doubt
        _log.warning("outcome.not_saved", extra={"error": str(error)})


async def _clear(store: Store, request: SubmitRequest) -> tuple[Clearance | StoreError, float]:
    """The clearance and the loop's time at which it was known."""
    clearance: Clearance | StoreError
    try:
        clearance = await store.write_in_set(begin_submit, request)
    except StoreError as error:
        clearance = error
    except UNREADABLE:
        _log.exception("clearance.failed")
        clearance = await _hold(store, request)
    return clearance, asyncio.get_running_loop().time()


async def _still_stands(store: Store, request: SubmitRequest, clearance: Cleared) -> bool:
    """Whether what was committed meanwhile lets it leave.

    A node that is alone hears of all that is committed; one of several asks where it took long.
    """
    if store.journal.life.standing.is_alone or _is_fresh(store, clearance):
        return True
    try:
        async with asyncio.timeout(_LOOK):
            why = await store.read(lambda conn: why_withheld(store.view(conn), request))
    except (TimeoutError, *UNREADABLE) as error:
        why = str(error) or f"the database did not answer within {_LOOK:g} s"
    if why:
        _log.info("clearance.over", extra={"reason": why})
    return not why


def _is_fresh(store: Store, clearance: Cleared) -> bool:
    return store.journal.steady.now() - clearance.at <= _FRESH


async def _hold(store: Store, request: SubmitRequest) -> Withdrawn | StoreError:
    """Nobody can read what the clearance asks for: the batch waits for a person."""
    refusal = Refusal(
        token=request.token, batch_id=request.batch_id, policy="SEC-05", rule=UNREAD,
        is_whole_batch=True, rules=request.rules,
    )  # fmt: skip
    try:
        await store.write_in_set(refuse, refusal)
    except UNREADABLE as error:
        return StoreError(f"{UNREAD}: {error}")
    return Withdrawn(reason=UNREAD, policy="SEC-05")


def _result(
    clearance: Clearance | StoreError,
    told: SubmitOutcome | DriverError,
    request: SubmitRequest,
    cleared_at: float,
) -> SendResult:
    error = told if isinstance(told, DriverError) else None
    match clearance:
        case Cleared():
            return _done(told, request, cleared_at)
        case NotYet():
            return Later(until=clearance.until) if error is None else Dropped(
                reason=str(error), error=error
            )  # fmt: skip
        case Withdrawn():
            return Dropped(reason=clearance.reason, error=error)
        case StoreError():
            is_unsure = isinstance(clearance, CommitUnanswered)
            return Dropped(
                reason=str(clearance),
                error=error or clearance,
                unsure=_outcome(request, _WITHHELD) if is_unsure else None,
            )
        case _:
            assert_never(clearance)


def _done(told: SubmitOutcome | DriverError, request: SubmitRequest, cleared_at: float) -> Done:
    cause: Cause | None = None
    error: DriverError | None = None
    result: Took | NotSent | Doubtful
    match told:
        case Accepted():
            result = Took(mr=told.mr)
        case Refused():
            cause = told.cause
            result = _not_sent(cause)
        case InDoubt():
            cause = told.cause
            result = Doubtful(reason=told.reason, code=None if cause is None else cause.code)
        case Withheld():
            result = _WITHHELD
        case DriverError():
            # Raised before the payload only: nothing of the TPDU was written.
            error = told
            result = NotSent(code=_code(told), title=str(told), action="now", blame=Blame.MODEM)
        case _:
            assert_never(told)
    outcome = _outcome(request, result)
    return Done(outcome=outcome, cleared_at=cleared_at, cause=cause, error=error)


def _outcome(request: SubmitRequest, result: Took | NotSent | Doubtful) -> Outcome:
    return Outcome(
        segment_id=request.segment_id, token=request.token, result=result, rules=request.rules
    )


def _not_sent(cause: Cause) -> NotSent:
    return NotSent(
        code=cause.code, title=cause.title, action=cause.action.value, blame=cause.blame.value
    )


def _code(error: DriverError) -> str:
    if isinstance(error, CommandError):
        return f"cms:{error.cms}" if error.cms is not None else f"cme:{error.cme}"
    return type(error).__name__
