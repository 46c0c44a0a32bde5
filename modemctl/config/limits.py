"""The settings of limits: on whom they fall, what they count, over which time (SIM-08)."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from modemctl.config.slices import Count, Slice

Most = Annotated[int, Field(ge=0, le=1_000_000_000)]


class CapSettings(Slice):
    """Caps on one of its kind; 0 means none. Days and months are the site's calendar's."""

    segments_per_minute: Most = Field(default=0, description="Segments in any 60 s.")
    segments_per_hour: Most = Field(default=0, description="Segments in any 60 minutes.")
    segments_per_day: Most = Field(default=0, description="Segments in a day.")
    segments_per_month: Most = Field(default=0, description="Segments in a month.")
    messages_per_minute: Most = Field(default=0, description="Messages in any 60 s.")
    messages_per_hour: Most = Field(default=0, description="Messages in any 60 minutes.")
    messages_per_day: Most = Field(default=0, description="Messages in a day.")
    messages_per_month: Most = Field(default=0, description="Messages in a month.")
    recipients_per_minute: Most = Field(default=0, description="Different numbers in any 60 s.")
    recipients_per_hour: Most = Field(default=0, description="Different numbers in any hour.")
    recipients_per_day: Most = Field(default=0, description="Different numbers in a day.")
    recipients_per_month: Most = Field(default=0, description="Different numbers in a month.")


class SimCaps(CapSettings):
    """More caps on a SIM; those on its segments a minute, hour and day stand in `[limits]`."""

    @model_validator(mode="after")
    def _only_once(self) -> Self:
        for key in ("segments_per_minute", "segments_per_hour", "segments_per_day"):
            if getattr(self, key):
                raise ValueError(f"{key} of a SIM is set in [limits]: limits.{key}")
        return self


class HolderCaps(CapSettings):
    """Caps on all cards of one holder together; 0 means none."""


class DepartmentCaps(CapSettings):
    """Caps on all batches of one department together; 0 means none."""


class CarrierCaps(CapSettings):
    """Caps on all cards of one carrier, as the register names it, together; 0 means none."""


class BatchCaps(CapSettings):
    """Caps on one batch; 0 means none."""


class RecipientCaps(CapSettings):
    """Caps on what one number gets, from all batches and cards together; 0 means none."""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        keys = [key for key in type(self).model_fields if key.startswith("recipients_")]
        for key in keys:
            if getattr(self, key):
                cure = key.replace("recipients", "messages")
                raise ValueError(f"{key} is senseless for one recipient; use {cure}")
        return self


class LimitsSettings(Slice):
    """How much one SIM may send; minute and hour slide. The tables below cap others as well."""

    segments_per_minute: Count = Field(
        default=10, description="Segments that a SIM sends in a minute."
    )
    segments_per_hour: Count = Field(
        default=200, description="Segments that a SIM sends in an hour."
    )
    segments_per_day: Count = Field(default=500, description="Segments that a SIM sends in a day.")
    minimum_gap: float = Field(
        default=3.0,
        ge=0,
        le=3_600,
        allow_inf_nan=False,
        description="Seconds between two segments.",
    )
    sim: SimCaps = Field(default_factory=SimCaps)
    holder: HolderCaps = Field(default_factory=HolderCaps)
    department: DepartmentCaps = Field(default_factory=DepartmentCaps)
    carrier: CarrierCaps = Field(default_factory=CarrierCaps)
    batch: BatchCaps = Field(default_factory=BatchCaps)
    recipient: RecipientCaps = Field(default_factory=RecipientCaps)
