"""Who people are and what they may do: services made together, since they lean on each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from modemctl.config import Settings
from modemctl.policy.behaviour import Oddity
from modemctl.policy.emergencies import EMERGENCY_STEP
from modemctl.service.access_counts import AccessCounts
from modemctl.service.behaviour import Behaviour, rules_of
from modemctl.service.dual import Dual, DualKind, Performer
from modemctl.service.elevations import Elevations
from modemctl.service.freezing import Freezing
from modemctl.service.gate import Gate
from modemctl.service.grants import Grants
from modemctl.service.operators import Operators
from modemctl.service.qualifications import Qualifications
from modemctl.store import Store
from modemctl.store.authorities import DRAFTER

__all__ = ["People", "open_people"]


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """The door and those who watch it, and all that takes two persons."""

    access: AccessCounts
    gate: Gate
    behaviour: Behaviour
    freezing: Freezing
    elevations: Elevations
    grants: Grants
    operators: Operators
    qualifications: Qualifications
    dual: Dual


def open_people(
    store: Store,
    settings: Settings,
    *,
    performers: Mapping[DualKind, Performer],
    on_odd: Callable[[Oddity], None],
) -> People:
    """One of each; `on_odd` is told of each account that its behaviour froze.

    `performers` are those of other services: what is done at once when a second person confirms.
    """
    general = settings.approvals.general_department
    life = timedelta(hours=settings.people.request_hours)
    longest = timedelta(hours=settings.people.elevation_hours)
    steps = {step for chain in settings.approvals.chains.values() for step in chain}
    steps |= {EMERGENCY_STEP, DRAFTER}
    grants = Grants(store, steps=steps, life=life)
    freezing = Freezing(store, general_department=general, life=life)
    elevations = Elevations(store, general_department=general, life=life, longest=longest)
    rules = rules_of(settings.people.behaviour, settings.site.timezone)
    behaviour = Behaviour(store, rules, general_department=general, on_odd=on_odd)
    own = {
        DualKind.GRANT: grants.perform,
        DualKind.UNFREEZE: freezing.perform,
        DualKind.ELEVATION: elevations.perform,
    }
    access = AccessCounts(store)
    return People(
        access=access,
        gate=Gate(store, peers=settings.api.peers, behaviour=behaviour, counts=access),
        behaviour=behaviour,
        freezing=freezing,
        elevations=elevations,
        grants=grants,
        qualifications=Qualifications(
            store, general_department=general, zone=ZoneInfo(settings.site.timezone)
        ),
        operators=Operators(store, general_department=general, life=life),
        dual=Dual(store, life=life, performers={**performers, **own}),
    )
