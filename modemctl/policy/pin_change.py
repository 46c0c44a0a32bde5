"""Whether a card may get a random PIN of the vault now, and which PINs are none: pure decisions.

The change of an import's PINs begins with one card, like the import itself: as many are out
together as have succeeded allow, and one that the card refuses stops the rest. It is never worth
a card: only at full tries, only where the present PIN is proved and no earlier change is unsure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from modemctl.policy.pin_guard import (
    FULL_TRIES,
    MAX_UNANSWERED,
    Attempt,
    AttemptOutcome,
    GuardDecision,
    PinCommand,
    PinSource,
    Stop,
    StopReason,
    Try,
    Wait,
    WaitReason,
    is_out,
    is_proved,
    is_stopped_by,
    width,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeState:
    """How far the change of an import's PINs has proved itself.

    `n_refused`: cards that kept their old PIN though asked. `n_out`: changes that are out.
    `n_unsure`: cards of which only their next power-up tells which PIN holds.
    """

    n_right: int
    n_refused: int
    n_out: int
    n_unsure: int
    is_stopped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeCase:
    """All that is known of a card when its PIN is to be changed.

    `current` is the fingerprint of the vault's PIN; `attempts` on this card, oldest first;
    `state` None where the PIN did not come by an import.
    """

    counter: int | None
    current: bytes | None
    has_pending: bool
    attempts: Sequence[Attempt]
    state: ChangeState | None
    now: datetime


def decide_change(case: ChangeCase) -> GuardDecision:
    """Whether `+CPWD` may leave now; attempts are settled beforehand."""
    if any(is_out(attempt, case.now) for attempt in case.attempts):
        return Wait(reason=WaitReason.IN_FLIGHT)
    reason = _objection(case)
    if reason is not None:
        return Stop(reason=reason)
    return Try(source=PinSource.CURRENT) if case.state is None else _decide_turn(case.state)


def is_change_stopped_by(outcome: AttemptOutcome, n_right: int, n_refused: int) -> bool:
    """Whether the change of an import's PINs ends here: at once where a card refused it.

    `n_refused` counts this one. `UNBURNT` is a change that never happened, as after a crash.
    """
    if outcome is AttemptOutcome.UNBURNT:
        return is_stopped_by(n_right, n_refused)
    return is_refusal(outcome)


def is_refusal(outcome: AttemptOutcome) -> bool:
    """Whether the card said no to a change."""
    return outcome in {AttemptOutcome.WRONG, AttemptOutcome.BLOCKED, AttemptOutcome.NOT_ALLOWED}


def is_trivial(pin: str) -> bool:
    """Whether a PIN is one that people try first: one digit, a run, something repeated."""
    steps = {(int(after) - int(before)) % 10 for before, after in pairwise(pin)}
    if len(steps) == 1 and steps <= {0, 1, 9}:
        return True  # 0000, 1234, 7890, 4321
    return any(pin == pin[:n] * (len(pin) // n) for n in range(1, len(pin) // 2 + 1))


def _objection(case: ChangeCase) -> StopReason | None:
    if case.current is None:
        return StopReason.NO_PIN
    if case.has_pending:
        return StopReason.PENDING_UNSURE
    if case.counter is None:
        return StopReason.COUNTER_UNKNOWN
    if case.counter < FULL_TRIES:  # a pending PIN is tried at full tries only
        return StopReason.COUNTER_LOW
    return _objection_of_the_past(case.current, case.attempts)


def _objection_of_the_past(current: bytes, attempts: Sequence[Attempt]) -> StopReason | None:
    if not is_proved(current, attempts):
        return StopReason.UNPROVED
    changes = [
        attempt.outcome
        for attempt in attempts
        if attempt.command is PinCommand.CPWD and attempt.fingerprint == current
    ]
    if any(outcome is not None and is_refusal(outcome) for outcome in changes):
        return StopReason.PIN_FAILED
    n_lost = sum(outcome is not AttemptOutcome.NOT_SENT for outcome in changes)
    return StopReason.ANSWERS_LOST if n_lost >= MAX_UNANSWERED else None


def _decide_turn(state: ChangeState) -> GuardDecision:
    if state.is_stopped or is_stopped_by(state.n_right, state.n_refused + state.n_unsure):
        return Stop(reason=StopReason.CHANGE_STOPPED)
    if state.n_out < width(state.n_right):
        return Try(source=PinSource.CURRENT)
    return Wait(reason=WaitReason.CANARY if state.n_right == 0 else WaitReason.WIDTH)
