"""What a bay's regular test finds wrong (SIM-18)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from modemctl.lifecycle import ModemState
from modemctl.model import Iccid

WEAK_DBM: Final = -105
"""Below this a signal is weak, as for the alert."""
SLOW_MS: Final = 2_000
"""A modem that is well answers a question about itself within milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a modem told when it was asked; `answer_ms` is the slowest answer.

    `number` is the one that stands on the card, as it is written there; most cards tell none.
    """

    iccid: Iccid | None
    is_registered: bool
    registration: str
    signal_dbm: int | None
    answer_ms: int
    number: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A bay as the store knows it. `measured` None: nobody answered, `error` says why."""

    state: ModemState
    reason: str
    iccid: Iccid | None
    measured: Measured | None
    error: str | None


def faults(subject: Subject) -> Sequence[str]:
    """What is wrong with a bay, worst first, in one line each; nothing where all is well."""
    found: list[str] = []
    if subject.state is not ModemState.READY:
        found.append(f"{subject.state}: {subject.reason}" if subject.reason else subject.state)
    measured = subject.measured
    if measured is None:
        return found if subject.error is None else [*found, subject.error]
    if not measured.is_registered:
        found.append(measured.registration)
    if measured.iccid != subject.iccid:
        found.append("holds another card than it started with, or does not tell which")
    if measured.signal_dbm is not None and measured.signal_dbm < WEAK_DBM:
        found.append(f"weak signal: {measured.signal_dbm} dBm")
    if measured.answer_ms > SLOW_MS:
        found.append(f"slow: an answer took {measured.answer_ms / 1000:.1f} s")
    return found
