"""The settings of people and of what they do together."""

from pydantic import Field

from modemctl.config.behaviour import BehaviourSettings
from modemctl.config.slices import Slice


class PeopleSettings(Slice):
    """What is asked of people."""

    request_hours: int = Field(
        default=24,
        ge=1,
        le=720,
        description="Hours until what one person asked for and nobody did is void (SEC-04).",
    )
    elevation_hours: int = Field(
        default=72, ge=1, le=8_784, description="Hours that roles for a time last at most (SEC-01)."
    )
    require_training: bool = Field(
        default=False,
        description="A person's account waits until training and confidentiality agreement are on "
        "record (SEC-14); the shipped configuration says `true`.",
    )
    behaviour: BehaviourSettings = Field(default_factory=BehaviourSettings)
