"""What can be exported, and what somebody wants of it (SEC-09)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class ExportContent(StrEnum):
    """What can be exported."""

    CARDS = "cards"  # the register (SIM-03)
    OPT_OUTS = "opt_outs"
    RESULTS = "results"  # of one batch


COLUMNS: Final[Mapping[ExportContent, tuple[str, ...]]] = {
    ExportContent.CARDS: (
        "iccid", "number", "holder", "identity_kind", "identity_number", "department", "carrier",
        "group", "ownership", "lessor", "state", "verified_at",
    ),
    ExportContent.OPT_OUTS: ("number", "at", "source", "keyword"),
    ExportContent.RESULTS: ("line_no", "number", "state", "iccid", "sent_at"),
}  # fmt: skip
"""The columns of each content, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPlan:
    """What is exported for whom; `passphrase` opens the file and is kept nowhere."""

    content: ExportContent
    batch_id: str | None
    columns: tuple[str, ...]
    recipient: str
    purpose: str
    passphrase: str = field(repr=False)
