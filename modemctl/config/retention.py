"""The settings of retention: how long rows are kept, and who purges them (SEC-08)."""

from enum import StrEnum
from typing import Final

from pydantic import Field

from modemctl.config.slices import Slice

EVIDENCE_DAYS: Final = 1_827
"""Five years with two leap days: the least that evidence is kept."""


class PurgeMode(StrEnum):
    """Who removes what has been kept long enough."""

    AUTOMATIC = "automatic"
    BY_HAND = "by_hand"


class RetentionSettings(Slice):
    """How long rows are kept. The audit log is never purged; nothing under a legal hold is."""

    events_days: int = Field(default=7, ge=1, le=3_650, description="Days that events are kept.")
    batches_days: int = Field(
        default=EVIDENCE_DAYS,
        ge=EVIDENCE_DAYS,
        le=36_500,
        description="Days that batches are kept behind their end, at least five years (SEC-08).",
    )
    inbox_days: int = Field(
        default=EVIDENCE_DAYS, ge=1, le=36_500, description="Days that received texts are kept."
    )
    calls_days: int = Field(
        default=EVIDENCE_DAYS, ge=1, le=36_500, description="Days that calls are kept."
    )
    reports_days: int = Field(
        default=EVIDENCE_DAYS,
        ge=1,
        le=36_500,
        description="Days that delivery reports are kept; a batch takes its own along.",
    )
    console_days: int = Field(
        default=90, ge=1, le=36_500, description="Days that AT commands and answers are kept."
    )
    balances_days: int = Field(
        default=EVIDENCE_DAYS,
        ge=62,
        le=36_500,
        description="Days that cards' balances are kept; reports of costs tell them.",
    )
    self_tests_days: int = Field(
        default=EVIDENCE_DAYS,
        ge=31,
        le=36_500,
        description="Days that results of bays' tests are kept.",
    )
    purge: PurgeMode = Field(
        default=PurgeMode.AUTOMATIC,
        description="`automatic`: the daemon removes what is due, within the hour; `by_hand`: two "
        "persons do (`modemctl purge run`).",
    )
