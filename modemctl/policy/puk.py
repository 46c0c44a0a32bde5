"""Whether a PUK may be tried now: pure decisions. Ten wrong ones end a card for good."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from modemctl.policy.pin_guard import ANSWER_LIMIT, AttemptOutcome

MIN_PUK_TRIES: Final = 2
"""Tries of the PUK that must be left: after a wrong one the card still lives."""
CONFIRMED_FOR: Final = timedelta(hours=24)
"""So long two persons' word holds; also how long a request waits for the second one."""
MAX_MISMATCHES: Final = 3
"""So often the second person may give another PUK than the first; then the request ends."""


class PukState(StrEnum):
    """Where a request to unblock a card stands."""

    ASKED = "asked"  # waits for the second person
    CONFIRMED = "confirmed"  # waits for the card
    TRYING = "trying"  # on disk; the PUK may have left
    UNSURE = "unsure"  # no answer: the card's next start tells
    DONE = "done"
    REFUSED = "refused"  # by the card, or by the guard
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


OPEN: Final = frozenset({PukState.ASKED, PukState.CONFIRMED, PukState.TRYING, PukState.UNSURE})
"""States in which a card has no room for another request."""


class PukStop(StrEnum):
    """Why the PUK is not tried; the request ends with it."""

    COUNTER_UNKNOWN = "puk_counter_unknown"
    COUNTER_LOW = "puk_counter_low"
    TRIED_BEFORE = "puk_tried_before"
    EXPIRED = "puk_expired"
    TAMPERED = "puk_tampered"


@dataclass(frozen=True, slots=True, kw_only=True)
class PukCase:
    """All that is known when a confirmed PUK has its turn; `counter` of the PUK, as just read."""

    counter: int | None
    was_tried: bool
    confirmed_at: datetime
    now: datetime


def decide_puk(case: PukCase) -> PukStop | None:
    """Why this PUK may not leave; None where it may, once."""
    if case.now - case.confirmed_at >= CONFIRMED_FOR:
        return PukStop.EXPIRED
    if case.was_tried:
        return PukStop.TRIED_BEFORE
    if case.counter is None:
        return PukStop.COUNTER_UNKNOWN
    return PukStop.COUNTER_LOW if case.counter < MIN_PUK_TRIES else None


def settle_puk(
    *, counter: int | None, tries_before: int, tried_at: datetime, is_out: bool, now: datetime
) -> AttemptOutcome | None:
    """What a card that still asks for its PUK shows of a try without answer; None: nothing yet.

    `is_out`: its answer may still come, on another bay of the same card.
    """
    if is_out and now - tried_at < ANSWER_LIMIT:
        return None
    if counter is None:
        return None
    return AttemptOutcome.WRONG if counter < tries_before else AttemptOutcome.UNBURNT


def counts_as_tried(outcome: AttemptOutcome | None, state: PukState) -> bool:
    """Whether a request has used its PUK up: a refusal, or a try that nobody can tell about."""
    if state in {PukState.TRYING, PukState.UNSURE}:
        return True
    return outcome in {AttemptOutcome.WRONG, AttemptOutcome.BLOCKED, AttemptOutcome.UNKNOWN}
