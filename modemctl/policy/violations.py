"""Violations: three grades, and how long each step may take. The controller never fines.

Source: policy SEC-13.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final


class CaseState(StrEnum):
    """How far a case is."""

    INVESTIGATING = "investigating"
    FOUND = "found"  # it was a violation; the person may appeal
    DISMISSED = "dismissed"
    APPEALED = "appealed"
    UPHELD = "upheld"  # the review confirmed it
    OVERTURNED = "overturned"
    CLOSED = "closed"  # nobody appealed in time


GRADES: Final = {1: "minor (一般)", 2: "serious (较重)", 3: "grave (严重)"}
"""What a grade stands for."""

INVESTIGATION_DAYS: Final = 3
APPEAL_DAYS: Final = 2
REVIEW_DAYS: Final = 5
"""Working days."""

OPEN: Final = frozenset({CaseState.INVESTIGATING, CaseState.FOUND, CaseState.APPEALED})
"""States that something is still to come of."""


def why_not_decide(*, investigator: str, person: str) -> str | None:
    """Why this account cannot investigate a case; None where it can."""
    return "nobody investigates his own case" if investigator == person else None


def why_not_review(*, reviewer: str, person: str, decider: str | None) -> str | None:
    """Why this account cannot review an appeal; None where it can."""
    if reviewer == person:
        return "nobody reviews his own case"
    return "who decided the case does not review it" if reviewer == decider else None


def due(
    state: CaseState, *, investigate_by: datetime, review_by: datetime | None
) -> datetime | None:
    """When the office must have taken its next step; None where the step is not the office's."""
    if state is CaseState.INVESTIGATING:
        return investigate_by
    return review_by if state is CaseState.APPEALED else None
