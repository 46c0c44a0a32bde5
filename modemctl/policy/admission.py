"""Which modems the bank may drive at all (CC-01): one asks, another person approves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from modemctl.config.settings import ListMode
from modemctl.model import Bay
from modemctl.policy.cards import TAMPERED_CARD, Unfitness


class AdmissionState(StrEnum):
    """Where a modem stands on the list."""

    SEEN = "seen"  # it came; nobody asked for it
    REQUESTED = "requested"  # one person asked; a second one is missing
    ADMITTED = "admitted"
    EXPELLED = "expelled"  # a person said no


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A modem on the list. Persons stand by their account ids; `reason` is the request's.

    One that was expelled and is asked for again keeps who expelled it as `decided_by`, until a
    second person admits it.

    `bay` is where it was seen last. Build nothing on a row that is not intact: it was altered.
    """

    imei: str
    state: AdmissionState
    requested_by: str | None
    requested_at: datetime | None
    decided_by: str | None
    decided_at: datetime | None
    reason: str
    bay: Bay | None
    is_intact: bool


NOT_ADMITTED: Final = Unfitness(policy="CC-01", reason="not_admitted")
EXPELLED: Final = Unfitness(policy="CC-01", reason="expelled")
NO_IMEI: Final = Unfitness(policy="CC-01", reason="no_imei")


def refusal(mode: ListMode, imei: str | None, admission: Admission | None) -> Unfitness | None:
    """Why a modem may not be driven; None where it may."""
    if mode is ListMode.OFF:
        return None
    if admission is not None and not admission.is_intact:
        return TAMPERED_CARD
    if admission is not None and is_expelled(admission):
        return EXPELLED
    if mode is ListMode.LEARN:
        return None
    if not imei:
        return NO_IMEI
    return None if admission is not None and _is_by_two(admission) else NOT_ADMITTED


def is_expelled(admission: Admission) -> bool:
    """Whether a person said no, and no two have said yes since."""
    if admission.state is AdmissionState.REQUESTED:
        return admission.decided_by is not None
    return admission.state is AdmissionState.EXPELLED


def _is_by_two(admission: Admission) -> bool:
    asked, approved = admission.requested_by, admission.decided_by
    is_both = asked is not None and approved is not None
    return admission.state is AdmissionState.ADMITTED and is_both and asked != approved
