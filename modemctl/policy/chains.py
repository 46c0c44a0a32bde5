"""The steps that a batch needs, who may take them, and how long a signature lets it run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from modemctl.config.approvals import BUILT_IN_CHAINS, ApprovalsSettings
from modemctl.errors import PolicyRefused
from modemctl.model import Category
from modemctl.policy.digest import BatchHeader
from modemctl.policy.emergencies import (
    NO_EMERGENCIES,
    Chain,
    Emergencies,
    emergency_chain,
    whole_chain,
)
from modemctl.policy.evidence import Authority
from modemctl.policy.signatures import Claims
from modemctl.policy.standing import LONGEST

ALL_DEPARTMENTS: Final = "*"
"""An authority for the whole company."""
DEPARTMENT_STEP: Final = "department_manager"
"""The step that only the batch's own department may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRules:
    """What the site's configuration says about approvals."""

    site_id: str
    chains: Mapping[str, tuple[str, ...]]
    general_department: str
    max_age: timedelta
    emergencies: Emergencies = NO_EMERGENCIES
    own_party: str = "own"
    standing_life: timedelta = LONGEST

    @classmethod
    def of(cls, site_id: str, settings: ApprovalsSettings) -> ApprovalRules:
        """The rules behind the settings."""
        return cls(
            site_id=site_id,
            chains=MappingProxyType(dict(settings.chains)),
            general_department=settings.general_department,
            max_age=timedelta(hours=settings.max_age_hours),
            emergencies=Emergencies(
                categories=frozenset(settings.emergency_categories),
                life=timedelta(hours=settings.emergency_hours),
                followup=timedelta(hours=settings.emergency_followup_hours),
            ),
            own_party=settings.own_party,
            standing_life=timedelta(days=settings.standing_days),
        )

    def chain(self, category: str) -> tuple[str, ...]:
        """The steps of a category, in order.

        Raises:
            PolicyRefused: SMS-04, no such category.
        """
        steps = self.chains.get(category)
        if not steps:
            known = ", ".join(self.chains)
            raise PolicyRefused(
                "SMS-04", f"the category must be one of {known}", field="category", value=category
            )
        return steps

    def chain_of(self, header: BatchHeader) -> Chain:
        """The steps that this batch needs, and which of them may sign afterwards.

        Raises:
            PolicyRefused: SMS-04, no such category; SMS-01, no emergency in this one.
        """
        steps = self.chain(header.category)
        if header.emergency is None:
            return whole_chain(steps)
        return emergency_chain(steps, header.category, self.emergencies)

    def operating_department(self, category: str, department: str) -> str:
        """Whose operator and whose cards send this category (SMS-02 … SMS-04)."""
        return department if category == Category.NOTICE else self.general_department

    def serving_department(self, category: str, department: str, *, is_loop: bool) -> str:
        """Whose cards send: of what goes to our own cards, their own department's (SMS-09)."""
        return department if is_loop else self.operating_department(category, department)


def chain_policy(category: str) -> str:
    """Id of the rule that sets a category's chain; added categories count as others (SMS-04)."""
    return BUILT_IN_CHAINS[category if category in BUILT_IN_CHAINS else Category.OTHER][0]


def may_take(step: str, authority: Authority, *, department: str, general_department: str) -> bool:
    """Whether an authority covers a step of a department's batch (its dates aside)."""
    if authority.kind != step:
        return False
    if step == DEPARTMENT_STEP:
        return authority.department == department
    return authority.department in {department, general_department, ALL_DEPARTMENTS}


def force_ends(claims: Claims, rules: ApprovalRules, header: BatchHeader) -> datetime:
    """Until when a signature lets its batch run, whatever longer time it says itself."""
    if header.standing is not None:
        return min(claims.expires_at, header.not_after)
    is_urgent = header.emergency is not None and claims.step == 1
    longest = rules.emergencies.life if is_urgent else rules.max_age
    return min(claims.expires_at, claims.issued_at + longest)
