"""Break-glass: one named approver lets an urgent batch go, its chain signs afterwards (SMS-01).

Nothing else is passed over: the second person confirms, an operator starts, content rules, limits,
opt-outs and quiet hours hold. The signed header itself says that it is an emergency, and why.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from modemctl.errors import InvalidRequest, PolicyRefused

EMERGENCY_STEP: Final = "emergency_approver"
"""The authorisation that lets somebody take the step, and the step's name."""
_REASON: Final = (10, 500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Emergencies:
    """What the site's configuration says of emergencies; `followup`: until their chain signed."""

    categories: frozenset[str]
    life: timedelta
    followup: timedelta = timedelta(hours=24)


NO_EMERGENCIES: Final = Emergencies(categories=frozenset(), life=timedelta(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The steps of a batch; the first `n_needed` let it run, the others sign afterwards."""

    steps: tuple[str, ...]
    n_needed: int


def whole_chain(steps: tuple[str, ...]) -> Chain:
    """A chain all of which signs first."""
    return Chain(steps=steps, n_needed=len(steps))


def emergency_chain(steps: tuple[str, ...], category: str, rules: Emergencies) -> Chain:
    """The chain of an emergency: its approver first, then the category's own steps.

    Raises:
        PolicyRefused: SMS-01, this category knows no emergency.
    """
    if category not in rules.categories:
        raise PolicyRefused(
            "SMS-01",
            f"no emergency lets a batch of category {category} go before its chain has signed",
            field="emergency",
            cure="get it approved by its chain",
        )
    return Chain(steps=(EMERGENCY_STEP, *steps), n_needed=1)


def check_emergency(
    reason: str, category: str, not_after: datetime, *, rules: Emergencies, now: datetime
) -> None:
    """Check what a client asks for as an emergency.

    Raises:
        InvalidRequest: no reason to speak of, or a window that lasts too long.
        PolicyRefused: SMS-01, as `emergency_chain`.
    """
    emergency_chain((), category, rules)
    least, most = _REASON
    if not least <= len(reason.strip()) <= most or not reason.isprintable():
        raise InvalidRequest(f"must say why, in {least} to {most} characters", field="emergency")
    if not_after > now + rules.life:
        raise InvalidRequest(
            f"an emergency's window ends within {rules.life}",
            field="not_after",
            value=not_after.isoformat(),
        )
