"""How a report is asked for and shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from modemctl.policy.papers import Lang, PaperFormat
from modemctl.store.papers import Paper, PaperKind, PaperState


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperAsk:
    """What is wanted: `subject` is a quarter, a month or a batch, by kind."""

    kind: PaperKind
    subject: str | None = None
    paper_format: PaperFormat = PaperFormat.PDF
    lang: Lang = Lang.ZH
    is_unmasked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperView:
    """A report. `share` is how much of it is done, 0 to 1; `digest` that of its content."""

    report_id: str
    kind: PaperKind
    subject: str
    department: str | None
    format: PaperFormat
    lang: Lang
    is_masked: bool
    state: PaperState
    share: float
    asked_by: str
    asked_at: datetime
    done_at: datetime | None
    reason: str
    digest: str | None
    sha256: str | None
    n_rows: int | None
    n_octets: int | None
    has_file: bool
    filed_by: str | None
    filed_at: datetime | None
    filed_reference: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperFile:
    """A report's file."""

    name: str
    media_type: str
    octets: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperProof:
    """Whether a file is one of ours: octet by octet, or by its content only; None: neither."""

    report: PaperView | None
    is_same_file: bool


def view(one: Paper, *, share: float, is_kept: bool) -> PaperView:
    """A report as people see it; `share` counts while it is being made."""
    is_done = one.state is PaperState.DONE
    return PaperView(
        report_id=one.paper_id,
        kind=one.kind,
        subject=one.subject,
        department=one.department,
        format=one.paper_format,
        lang=one.lang,
        is_masked=one.is_masked,
        state=one.state,
        share=1.0 if is_done else share,
        asked_by=one.asked_name,
        asked_at=one.asked_at,
        done_at=one.done_at,
        reason=one.reason,
        digest=one.digest,
        sha256=one.sha256,
        n_rows=one.n_rows,
        n_octets=one.n_octets,
        has_file=is_done and is_kept,
        filed_by=one.filed_by,
        filed_at=one.filed_at,
        filed_reference=one.filed_reference,
    )
