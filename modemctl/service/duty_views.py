"""How a regular duty is shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo

from modemctl.policy.duties import Duty, Turn, is_due, is_overdue, opened_at
from modemctl.store.duties import DutyRow


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


def duty_view(duty: Duty, turn: Turn, row: DutyRow | None, now: datetime, zone: tzinfo) -> DutyView:
    """A duty as it stands now; without a row the site's first day is not over."""
    done_at = now if row is None else row.done_at
    is_first = row is None or not row.done_by
    return DutyView(
        duty=duty.value,
        policy=turn.policy,
        done_at=None if is_first else done_at,
        done_by=None if row is None or is_first else row.done_by,
        turn_from=opened_at(turn, now, zone),
        is_due=is_due(turn, done_at, now, zone),
        is_overdue=is_overdue(turn, done_at, now, zone),
    )
