"""The settings of evidence: the clock that limits rest on, how often all is verified."""

from enum import StrEnum

from pydantic import Field

from modemctl.config.slices import Slice


class ClockMode(StrEnum):
    """Whether sending waits for a clock that is set by a time server."""

    SYNCHRONISED = "synchronised"
    ANY = "any"


class EvidenceSettings(Slice):
    """What the audit log and the limits rest on."""

    clock: ClockMode = Field(
        default=ClockMode.SYNCHRONISED,
        description="`synchronised`: after a start nothing is sent while the machine says that no "
        "time server has set its clock, or the clock is behind what was seen last; `any`: for "
        "machines without one.",
    )
    verify_hours: int = Field(
        default=24,
        ge=0,
        le=8_760,
        description="Hours between two verifications of the whole audit log; 0: never by itself.",
    )

    @property
    def is_clock_minded(self) -> bool:
        """Whether sending waits for a clock that may be believed."""
        return self.clock is ClockMode.SYNCHRONISED
