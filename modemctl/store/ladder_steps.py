"""Steps of the recovery ladder as events: what operators see, and what a restart remembers.

A step that touches more than its bay is on disk before it is taken: a daemon that dies of it shall
not take it again and again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, select

from modemctl.model import Bay, EventKind
from modemctl.store.tables import event
from modemctl.store.transaction import Tx

BEGUN: Final = "begun"
"""The outcome of a step that is about to be taken; its end is another event."""

SKIPPED: Final = "skipped"
"""The outcome of a step that was not taken; with its hub, of one that had begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderStep:
    """One step of the recovery ladder: what was wrong before, what is true after.

    `hub`: the hub that it touches, None where only its own bay.
    """

    bay: Bay
    step: str
    outcome: str
    before: str
    after: str
    hub: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenStep:
    """A step that was taken, or at least begun."""

    bay: Bay
    step: str
    hub: str | None
    at: datetime


def note(tx: Tx, steps: Sequence[LadderStep]) -> Sequence[None]:
    """An event for each step of the recovery ladder (a set act)."""
    for one in steps:
        facts = {"ladder": one.step, "outcome": one.outcome}
        if one.hub is not None:
            facts["hub"] = one.hub
        tx.event(EventKind.MODEM, one.bay, {**facts, "before": one.before, "after": one.after})
    return [None] * len(steps)


def taken_within(conn: Connection, span: timedelta, now: datetime) -> Sequence[TakenStep]:
    """Steps of the latest time, oldest first: those that cost something of an hour's budget."""
    query = (
        select(event.c.at, event.c.subject, event.c.data)
        .where(
            event.c.at > now - span,
            event.c.kind == EventKind.MODEM.value,
            event.c.data.contains('"ladder"'),
        )
        .order_by(event.c.at, event.c.event_id)
    )
    found: list[TakenStep] = []
    for row in conn.execute(query):
        facts = json.loads(row.data)
        step = TakenStep(
            bay=Bay(row.subject), step=facts["ladder"], hub=facts.get("hub"), at=row.at
        )
        has_begun, outcome = step.hub is not None, facts["outcome"]
        if outcome == BEGUN or (outcome != SKIPPED and not has_begun):
            found.append(step)
        elif outcome == SKIPPED and has_begun:
            _take_back(found, step)
    return found


def _take_back(found: list[TakenStep], step: TakenStep) -> None:
    for place in reversed(range(len(found))):
        if (found[place].bay, found[place].step) == (step.bay, step.step):
            del found[place]
            return
