"""The settings of approvals: categories, their chains, and what an emergency may pass over."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, Self

from pydantic import Field, field_validator, model_validator

from modemctl.config.slices import Count, Slice, Word

BUILT_IN_CHAINS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = MappingProxyType(
    {
        "notice": ("SMS-02", ("department_manager",)),
        "promotion": ("SMS-03", ("manager_in_charge", "general_manager")),
        "other": ("SMS-04", ("manager",)),
    }
)
"""Category → policy id and the steps that configuration may lengthen, never shorten."""


class ApprovalsSettings(Slice):
    """Who must agree before a batch may run."""

    general_department: Word = Field(
        default="general",
        description="Department (综合部) whose operator sends promotions and others.",
    )
    own_party: Word = Field(default="own", description="Party name that means ourselves.")
    max_age_hours: Count = Field(default=168, description="Hours after which an approval lapses.")
    chains: dict[Word, Annotated[tuple[Word, ...], Field(min_length=1)]] = Field(
        default_factory=lambda: {name: chain for name, (_, chain) in BUILT_IN_CHAINS.items()},
        description="Category → its approval steps in order. The built-in chains may be "
        "lengthened and categories added.",
    )
    emergency_categories: tuple[Word, ...] = Field(
        default=("notice", "other"),
        description="Categories that an emergency approver may let go before their chain has "
        "signed; never `promotion`. Empty: no emergencies.",
    )
    emergency_hours: int = Field(
        default=4,
        ge=1,
        le=24,
        description="Hours that the window of an emergency, and its approval, may last.",
    )
    standing_days: int = Field(
        default=90,
        ge=1,
        le=90,
        description="Days that a standing approval, under which self-tests send loop-back "
        "messages to the department's own cards, may last.",
    )
    emergency_followup_hours: int = Field(
        default=24,
        ge=1,
        le=168,
        description="Hours after an emergency was let go within which its whole chain signs it; "
        "then an alarm says that it did not.",
    )

    @field_validator("chains")
    @classmethod
    def _not_shorter(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name, (policy_id, built_in) in BUILT_IN_CHAINS.items():
            steps = iter(value.setdefault(name, built_in))
            if not all(step in steps for step in built_in):
                raise ValueError(
                    f"the chain of {name} must keep {', '.join(built_in)} in this order "
                    f"(policy: {policy_id})"
                )
        for name, chain in value.items():
            if len(set(chain)) != len(chain):
                raise ValueError(f"the chain of {name} names a step twice")
            if "emergency_approver" in chain:
                raise ValueError(f"emergency_approver is no step of the chain of {name}")
        return value

    @model_validator(mode="after")
    def _no_promotion_is_urgent(self) -> Self:
        if "promotion" in self.emergency_categories:
            raise ValueError("emergency_categories must not hold promotion (policy: SMS-03)")
        unknown = set(self.emergency_categories) - self.chains.keys()
        if unknown - BUILT_IN_CHAINS.keys():
            raise ValueError(
                f"emergency_categories names {', '.join(sorted(unknown))}, no category"
            )
        return self
