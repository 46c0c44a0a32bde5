"""Who has been trained enough to have an account, and when drills take it away (SEC-14)."""

from __future__ import annotations

from datetime import date
from typing import Final

MIN_HOURS: Final = 8
"""Hours of training before access."""
MIN_SCORE: Final = 80
"""Points of its examination, of 100."""
MAX_FAILED_DRILLS: Final = 2
"""Failed drills in a row that suspend."""


def training_fault(
    *, hours: int, score: int, trained_on: date, agreement_on: date, today: date
) -> tuple[str, str] | None:
    """Which field keeps a person from access and why; None for who may have it."""
    if hours < MIN_HOURS:
        return "hours", f"must be {MIN_HOURS} at least"
    if not MIN_SCORE <= score <= 100:
        return "score", f"must be {MIN_SCORE} to 100 points"
    if trained_on > today:
        return "trained_on", "must not lie in the future"
    if agreement_on > today:
        return "agreement_on", "must not lie in the future"
    return None


def is_suspended(failed_drills: int) -> bool:
    """Whether so many failed drills in a row take access away until the next training."""
    return failed_drills >= MAX_FAILED_DRILLS
