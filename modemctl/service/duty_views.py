"""How a regular duty is shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DutyView:
    """A regular duty. `done_by` null: never yet.

    `turn_from` is when the present turn began; null for one that counts from when it was done.
    """

    duty: str
    policy: str
    done_at: datetime | None
    done_by: str | None
    turn_from: datetime | None
    is_due: bool
    is_overdue: bool
