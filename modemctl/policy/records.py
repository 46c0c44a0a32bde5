"""What is kept, for how long, and what keeps it longer: retention and legal holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class HoldKind(StrEnum):
    """What a legal hold keeps (SEC-12)."""

    CARD = "card"
    NUMBER = "number"
    BATCH = "batch"
    PERIOD = "period"


class RecordClass(StrEnum):
    """Rows that are kept for one time and purged together (SEC-08)."""

    BATCH = "batch"
    INBOX = "inbox"
    CALL = "call"
    REPORT = "report"
    CONSOLE = "console"
    BALANCE = "balance"
    SELF_TEST = "self_test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Days that each class is kept after it ended."""

    days: Mapping[RecordClass, int]

    def cutoffs(self, now: datetime) -> Mapping[RecordClass, datetime]:
        """What ended before these instants may be purged at `now`."""
        return {one: now - timedelta(days=days) for one, days in self.days.items()}
