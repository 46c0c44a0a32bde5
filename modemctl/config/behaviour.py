"""The settings of abnormal behaviour: what freezes an account at once (SEC-06)."""

from datetime import time
from typing import Annotated, Self

from pydantic import Field, model_validator

from modemctl.config.slices import Count, Slice

Weekday = Annotated[int, Field(ge=1, le=7)]
Minutes = Annotated[int, Field(ge=1, le=1_440)]


class BehaviourSettings(Slice):
    """What freezes an account at once, with an alarm; two persons unfreeze it."""

    max_places: Count = Field(
        default=3, description="Places (addresses, users of the socket) that one account may be at."
    )
    places_minutes: Minutes = Field(default=10, description="Minutes in which they are counted.")
    max_failed_tries: Count = Field(
        default=10, description="Wrong secrets for the keys of one account."
    )
    failed_minutes: Minutes = Field(default=10, description="Minutes in which they are counted.")
    max_night_exports: int = Field(
        default=10, ge=0, le=1_000_000, description="A person's exports outside working hours."
    )
    exports_minutes: Minutes = Field(default=60, description="Minutes in which they are counted.")
    work_from: time = Field(default=time(8), description="When people begin to work, local time.")
    work_until: time = Field(default=time(20), description="When they have gone, local time.")
    rest_weekdays: tuple[Weekday, ...] = Field(
        default=(), description="Days on which nobody works; 1 is Monday."
    )

    @model_validator(mode="after")
    def _is_a_day(self) -> Self:
        if not self.work_from < self.work_until:
            raise ValueError("work_from must lie before work_until")
        return self
