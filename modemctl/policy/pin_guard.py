"""Whether a PIN may be tried now: pure decisions over what is known of a card and its import.

Two rules stand above all: nothing is tried unless the counter is known and shows two tries or
more, and a PIN that failed for a card is never tried on it again. Who calls commits the attempt
before the PIN leaves and the outcome after; a missing answer is a failure until the counter proves
otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeAlias

MIN_TRIES: Final = 2
"""Tries that must be left: after a wrong one the card still has one."""
FULL_TRIES: Final = 3
"""What a card has after a right PIN; a pending PIN is tried only here."""
MAX_UNANSWERED: Final = 2
"""Tries of an unproved PIN that may end without an answer, even if the counter seems whole: a
counter that always shows the same would else let us burn all."""
MAX_WIDTH: Final = 64
"""Tries of one import that are out at the same time at most."""
ANSWER_LIMIT: Final = timedelta(seconds=180)
"""After this an attempt without outcome waits for no answer any more: its node is gone."""


class PinSource(StrEnum):
    """Which of a card's secrets is meant."""

    CURRENT = "current"
    PENDING = "pending"  # committed before `+CPWD`, not proved yet


class PinCommand(StrEnum):
    """What carries the PIN to the modem."""

    CPIN = "CPIN"
    CLCK = "CLCK"
    CPWD = "CPWD"


class AttemptOutcome(StrEnum):
    """What became of an attempt; a row without one is still out."""

    RIGHT = "right"
    WRONG = "wrong"
    BLOCKED = "blocked"
    NOT_ALLOWED = "not_allowed"  # the card wanted no PIN: nothing was burnt, nothing proved
    UNKNOWN = "unknown"  # no answer; the counter may settle it
    NOT_SENT = "not_sent"  # the PIN provably did not leave
    UNBURNT = "unburnt"  # settled: the counter did not go down
    ABANDONED = "abandoned"  # as UNKNOWN, but a person let the import go on without it


class StopReason(StrEnum):
    """Why no PIN is tried on a card."""

    UNFIT = "unfit"  # the register does not let this card be used, or not here
    NOT_ADMITTED = "not_admitted"  # the list does not let this modem be driven
    TAMPERED = "tampered"  # a PIN of the vault was altered
    NO_PIN = "no_pin"
    COUNTER_UNKNOWN = "counter_unknown"
    COUNTER_LOW = "counter_low"
    PIN_FAILED = "pin_failed"
    ANSWERS_LOST = "answers_lost"
    PENDING_UNSURE = "pending_unsure"
    IMPORT_STOPPED = "import_stopped"
    UNPROVED = "unproved"  # a change begins only from a PIN that the card has taken
    CHANGE_STOPPED = "change_stopped"


class WaitReason(StrEnum):
    """Why a card must wait for its turn."""

    CANARY = "canary"  # the import's first try is out
    WIDTH = "width"  # as many tries are out as the import's successes allow
    IN_FLIGHT = "in_flight"  # an attempt on this very card is out


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try on a card. `tries_before`: what the counter showed when it left."""

    attempt_id: int
    fingerprint: bytes
    command: PinCommand
    tries_before: int
    at: datetime
    outcome: AttemptOutcome | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportState:
    """How far an import of PINs has proved itself. `n_out`: its tries that are not settled."""

    n_right: int
    n_wrong: int
    n_out: int
    is_stopped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """All that is known of a card when its turn comes.

    `counter`: tries left as the modem tells now, None where it does not. `current` and `pending`
    are fingerprints of the vault's PINs. `attempts` on this card, oldest first.
    """

    counter: int | None
    current: bytes | None
    pending: bytes | None
    attempts: Sequence[Attempt]
    pin_import: ImportState | None
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """This PIN may leave, once the attempt is committed."""

    source: PinSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Not now; ask again when an outcome became known."""

    reason: WaitReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Nothing is tried; a person has to look."""

    reason: StopReason


GuardDecision: TypeAlias = Try | Wait | Stop

WITHOUT_ANSWER: Final = frozenset({AttemptOutcome.UNKNOWN, AttemptOutcome.ABANDONED})
"""Outcomes that count as failures until the card itself tells."""

_FAILED: Final = frozenset(
    {
        AttemptOutcome.WRONG,
        AttemptOutcome.BLOCKED,
    }
    | WITHOUT_ANSWER
)


def width(n_right: int) -> int:
    """Tries of an import that may be out together after `n_right` successes: 1, 2, 4, 8 …

    Each step asks for as many further successes as it allows tries.
    """
    return min(1 << (n_right + 1).bit_length() - 1, MAX_WIDTH)


def is_stopped_by(n_right: int, n_wrong: int) -> bool:
    """Whether wrong answers end an import: one before its first success, or a second one."""
    return n_wrong >= 2 or (n_wrong == 1 and n_right == 0)


def settle(
    attempt: Attempt, *, counter: int | None, is_unlocked: bool, now: datetime
) -> AttemptOutcome | None:
    """What the card shows now about an attempt whose answer never came; None where nothing.

    A wrong PIN takes one try, a right one gives all back. `is_unlocked`: the lock is on and the
    card is open all the same, so the PIN was taken. An attempt that may still be answered is left
    alone.
    """
    if attempt.outcome is None:
        if is_out(attempt, now):
            return None
    elif attempt.outcome not in WITHOUT_ANSWER:
        return None
    if is_unlocked and attempt.command is not PinCommand.CPWD:
        return AttemptOutcome.RIGHT
    if counter is None:
        return None
    if counter > attempt.tries_before:
        return AttemptOutcome.RIGHT
    return AttemptOutcome.UNBURNT if counter == attempt.tries_before else AttemptOutcome.WRONG


def decide(case: Case) -> GuardDecision:
    """Whether one of the card's PINs may be tried now; attempts are settled beforehand."""
    if any(is_out(attempt, case.now) for attempt in case.attempts):
        return Wait(reason=WaitReason.IN_FLIGHT)
    if case.current is None and case.pending is None:
        return Stop(reason=StopReason.NO_PIN)
    if case.counter is None:
        return Stop(reason=StopReason.COUNTER_UNKNOWN)
    if case.counter < MIN_TRIES:
        return Stop(reason=StopReason.COUNTER_LOW)
    if case.pending is not None and case.pending not in _failed(case.attempts):
        return _decide_pending(case.pending, case.counter, case.attempts)
    return _decide_current(case)


def is_proved(fingerprint: bytes, attempts: Iterable[Attempt]) -> bool:
    """Whether the card took this PIN before: such a try tells and risks nothing of an import."""
    return any(
        attempt.outcome is AttemptOutcome.RIGHT and attempt.fingerprint == fingerprint
        for attempt in attempts
    )


def is_out(attempt: Attempt, now: datetime) -> bool:
    """Whether an attempt may still be answered."""
    return attempt.outcome is None and now - attempt.at < ANSWER_LIMIT


def _decide_current(case: Case) -> GuardDecision:
    if case.current is None or case.current in _failed(case.attempts):
        return Stop(reason=StopReason.PIN_FAILED)
    if is_proved(case.current, case.attempts):
        return Try(source=PinSource.CURRENT)
    if _n_unanswered(case.current, case.attempts) >= MAX_UNANSWERED:
        return Stop(reason=StopReason.ANSWERS_LOST)
    if case.pin_import is None:
        return Try(source=PinSource.CURRENT)
    return _decide_import(case.pin_import)


def _decide_pending(pending: bytes, counter: int, attempts: Sequence[Attempt]) -> GuardDecision:
    # The new one first: `+CPWD` may have been done when we fell. Only with the full counter, so
    # that the old one still has its two tries afterwards.
    if counter < FULL_TRIES:
        return Stop(reason=StopReason.PENDING_UNSURE)
    if _n_unanswered(pending, attempts) >= MAX_UNANSWERED:
        return Stop(reason=StopReason.ANSWERS_LOST)
    return Try(source=PinSource.PENDING)


def _n_unanswered(fingerprint: bytes, attempts: Iterable[Attempt]) -> int:
    return sum(
        attempt.outcome is AttemptOutcome.UNBURNT
        and attempt.fingerprint == fingerprint
        and attempt.command is not PinCommand.CPWD
        for attempt in attempts
    )


def _decide_import(state: ImportState) -> GuardDecision:
    if state.is_stopped:
        return Stop(reason=StopReason.IMPORT_STOPPED)
    if state.n_out < width(state.n_right):
        return Try(source=PinSource.CURRENT)
    return Wait(reason=WaitReason.CANARY if state.n_right == 0 else WaitReason.WIDTH)


def _failed(attempts: Iterable[Attempt]) -> frozenset[bytes]:
    return frozenset(
        attempt.fingerprint
        for attempt in attempts
        if attempt.outcome is None or attempt.outcome in _FAILED
    )
