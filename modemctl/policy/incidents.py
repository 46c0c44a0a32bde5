"""Incidents: three levels, who must hear of each, and by when.

Source: policy SEC-10.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final


class IncidentState(StrEnum):
    """How far an incident is. Its countdown ends when whoever must hear of it has."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    CLOSED = "closed"


class Isolation(StrEnum):
    """What one action cuts off."""

    NODE = "node"  # nothing leaves from it
    MODEM = "modem"  # a bay: paused, its modem expelled from the admission list
    KEY = "key"  # of the API: revoked
    APPROVER_KEY = "approver_key"  # revoked as compromised; holds what it approved


LEVELS: Final = {
    1: "leak or intrusion (泄露或入侵)",
    2: "internal slip such as a wrong send (内部操作失误)",
    3: "minor (轻微)",
}
"""What a level stands for."""

REPORT_WITHIN: Final = {1: timedelta(hours=2), 2: timedelta(minutes=30)}
"""How soon somebody of the route must have heard; an incident of level 3 has no countdown."""

ROUTES: Final = {1: "management (公司管理层)", 2: "manager in charge (主管经理)", 3: "shift (当班)"}
"""Who must hear of it."""

STOPS_FLEET: Final = 2
"""The level at which the fleet is stopped with the record."""


def due_at(level: int, detected_at: datetime) -> datetime | None:
    """When somebody of the route must have heard; None where nobody must."""
    within = REPORT_WITHIN.get(level)
    return None if within is None else detected_at + within


def is_overdue(state: IncidentState, due: datetime | None, now: datetime) -> bool:
    """Whether the countdown ran out with nobody told."""
    return state is IncidentState.OPEN and due is not None and now >= due
