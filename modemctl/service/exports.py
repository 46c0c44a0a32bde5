"""Exports (SEC-09): minimal, encrypted, the passphrase told once, on a ledger that is re-checked.

No role of the working day exports; who does needs `exports:make` beside the right to read what it
is. What is bulk needs a second person's word (SEC-04).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from modemctl.errors import InvalidRequest, NotFound, PolicyRefused, TamperedError
from modemctl.policy.papers import Lang, PaperFormat
from modemctl.service.batch_views import may_see, sight_of
from modemctl.service.dual import DualKind, take
from modemctl.service.export_plans import COLUMNS, ExportContent, ExportPlan
from modemctl.service.pages import Page
from modemctl.service.paper_views import PaperView
from modemctl.service.papers import Papers
from modemctl.service.principal import Principal, Scope
from modemctl.store import Connection, Store, Tx, figures
from modemctl.store import exports as rows
from modemctl.store import papers as paper_rows
from modemctl.store.exports import ExportNote
from modemctl.store.papers import Paper, PaperKind

__all__ = ["ExportAsk", "ExportContent", "ExportMade", "ExportView", "Exports"]

_SCOPES: Final = {
    ExportContent.CARDS: Scope.SIMS_READ,
    ExportContent.OPT_OUTS: Scope.BATCHES_READ,
    ExportContent.RESULTS: Scope.BATCHES_READ,
}
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # none that is taken for another
_GROUPS, _GROUP = 5, 4  # 99 bits
_TEXT_MAX: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportAsk:
    """What is wanted for whom. `request_id`: two persons agreed, where it is bulk."""

    content: ExportContent
    columns: tuple[str, ...]
    recipient: str
    purpose: str
    batch_id: str | None = None
    lang: Lang = Lang.ZH
    is_unmasked: bool = False
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportView:
    """A line of the ledger with the file behind it."""

    report: PaperView
    columns: tuple[str, ...]
    recipient: str
    purpose: str
    request_id: str | None
    review_at: datetime
    reviewed_by: str | None
    reviewed_at: datetime | None
    review_note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportMade:
    """An export that is being made; its passphrase is told here and never again."""

    export: ExportView
    passphrase: str = field(repr=False)


class Exports:
    """Makes exports by way of `Papers`, and keeps the ledger."""

    def __init__(
        self, store: Store, papers: Papers, *, bulk_rows: int, review_every: timedelta
    ) -> None:
        """`bulk_rows`: from so many rows on two persons agree."""
        self._store = store
        self._papers = papers
        self._bulk_rows = bulk_rows
        self._review_every = review_every

    async def make(self, who: Principal, ask: ExportAsk) -> ExportMade:
        """Ask for an export; it is made behind the answer, encrypted with the passphrase.

        Raises:
            NotPermitted: without `exports:make`, the scope of what it is of, or `pii:read`.
            InvalidRequest: columns, recipient or purpose.
            NotFound: no such batch.
            PolicyRefused: SEC-09, a machine; SEC-04, it is bulk and nobody else agreed.
            Conflict: too many wait.
        """
        _check(who, ask)
        plan = _plan(ask)

        def act(tx: Tx) -> tuple[Paper, ExportNote]:
            n_rows = _count(tx.conn, who, ask, self._papers.general_department)
            if n_rows >= self._bulk_rows:
                take(
                    tx, who, ask.request_id, kind=DualKind.EXPORT, subject=_subject(ask),
                    details=_details(ask),
                )  # fmt: skip
            paper = paper_rows.add(
                tx,
                kind=PaperKind.EXPORT,
                subject=_subject(ask),
                department=who.department,
                paper_format=PaperFormat.XLSX,
                lang=ask.lang,
                is_masked=not ask.is_unmasked,
                by=who.account_id,
                name=who.name,
            )
            note = ExportNote(
                paper_id=paper.paper_id,
                columns=ask.columns,
                recipient=plan.recipient,
                purpose=plan.purpose,
                request_id=ask.request_id if n_rows >= self._bulk_rows else None,
                review_at=tx.now + self._review_every,
            )
            rows.add(tx, note)
            _audit(tx, who, "export.ask", paper, note)
            return paper, note

        paper, note = await self._papers.begin(who, act, plan=plan)
        return ExportMade(export=self._view(paper, note), passphrase=plan.passphrase)

    async def ledger(
        self, who: Principal, *, cursor: str | None = None, limit: int = 100
    ) -> Page[ExportView]:
        """All exports, newest first: one's own; for an auditor everybody's.

        Raises:
            NotPermitted, InvalidRequest: neither `exports:make` nor `audit:read`; the cursor.
            PolicyRefused: SEC-05, a line was altered.
        """
        if Scope.AUDIT_READ not in who.scopes:
            who.require(Scope.EXPORTS_MAKE)
        page = await self._papers.exports_of(who, cursor=cursor, limit=limit)
        ids = [one.paper_id for one in page.items]
        notes = await self._read_notes(ids)
        items = [self._view(one, notes[one.paper_id]) for one in page.items]
        return Page(items=items, next=page.next)

    async def review(
        self, who: Principal, paper_id: str, *, note: str, days: int | None
    ) -> ExportView:
        """Note that an export was looked at again: what became of it, and when next.

        Raises:
            NotPermitted: without `audit:read`.
            NotFound, InvalidRequest: no such export; no words.
            PolicyRefused: SEC-09, a machine, or who made it; SEC-05, a line was altered.
        """
        who.require(Scope.AUDIT_READ)
        who.require_person("SEC-09")
        text = note.strip()
        if not text or len(text) > _TEXT_MAX:
            raise InvalidRequest(f"must have 1 to {_TEXT_MAX} characters", field="note")
        later = self._review_every if days is None else timedelta(days=days)

        def act(tx: Tx) -> tuple[Paper, ExportNote]:
            paper = paper_rows.find(tx.conn, tx.vault, paper_id)
            found = rows.find_many(tx.conn, tx.vault, [paper_id]).get(paper_id)
            if paper is None or found is None or not who.sees(paper.department):
                raise NotFound("no such export", field="export_id", value=paper_id[:36])
            if paper.asked_by == who.account_id:
                raise PolicyRefused("SEC-09", "somebody else looks at it again")
            after = replace(
                found,
                review_at=tx.now + later,
                reviewed_by=who.name,
                reviewed_at=tx.now,
                review_note=text,
            )
            rows.keep(tx, after)
            _audit(tx, who, "export.review", paper, after)
            return paper, after

        try:
            paper, after = await self._store.write(act)
        except TamperedError as error:
            raise PolicyRefused("SEC-05", str(error)) from None
        return self._view(paper, after)

    async def _read_notes(self, ids: Sequence[str]) -> Mapping[str, ExportNote]:
        try:
            return await self._store.read(lambda conn: rows.find_many(conn, self._store.vault, ids))
        except TamperedError as error:
            raise PolicyRefused("SEC-05", str(error)) from None

    def _view(self, paper: Paper, note: ExportNote) -> ExportView:
        return ExportView(
            report=self._papers.view_of(paper),
            columns=note.columns,
            recipient=note.recipient,
            purpose=note.purpose,
            request_id=note.request_id,
            review_at=note.review_at,
            reviewed_by=note.reviewed_by,
            reviewed_at=note.reviewed_at,
            review_note=note.review_note,
        )


def new_passphrase() -> str:
    """Five groups of four letters and digits, to be read out over the telephone."""
    groups = ("".join(secrets.choice(_LETTERS) for _ in range(_GROUP)) for _ in range(_GROUPS))
    return "-".join(groups)


def _check(who: Principal, ask: ExportAsk) -> None:
    who.require(Scope.EXPORTS_MAKE)
    who.require(_SCOPES[ask.content])
    who.require_person("SEC-09")
    if ask.is_unmasked:
        who.require(Scope.PII_READ)
    if ask.content is ExportContent.OPT_OUTS:
        who.require_all_departments()
    known = COLUMNS[ask.content]
    if not ask.columns or len(set(ask.columns)) != len(ask.columns):
        raise InvalidRequest("name the columns that are needed, each once", field="columns",
                             cure=f"of {', '.join(known)}", policy="SEC-09")  # fmt: skip
    if odd := [name for name in ask.columns if name not in known]:
        raise InvalidRequest("no such column", field="columns", value=odd[0][:40],
                             cure=f"known are {', '.join(known)}", policy="SEC-09")  # fmt: skip
    for name, text in (("recipient", ask.recipient), ("purpose", ask.purpose)):
        if not text.strip() or len(text) > _TEXT_MAX or "\n" in text:
            rule = f"must have 1 to {_TEXT_MAX} characters, on one line"
            raise InvalidRequest(rule, field=name, policy="SEC-09")
    if (ask.batch_id is not None) != (ask.content is ExportContent.RESULTS):
        raise InvalidRequest("a batch is named for results, and for them only", field="batch_id")


def _count(conn: Connection, who: Principal, ask: ExportAsk, general: str) -> int:
    match ask.content:
        case ExportContent.CARDS:
            return rows.count_cards(conn, who.department)
        case ExportContent.OPT_OUTS:
            return rows.count_opt_outs(conn)
        case ExportContent.RESULTS:
            line = figures.batch_line(conn, ask.batch_id or "")
            sight = sight_of(who, general)
            if line is None or not may_see(sight, line.department, line.category):
                raise NotFound("no such batch", field="batch_id")
            return line.n_messages


def _plan(ask: ExportAsk) -> ExportPlan:
    """What is to be made, under a passphrase of its own."""
    return ExportPlan(
        content=ask.content,
        batch_id=ask.batch_id,
        columns=ask.columns,
        recipient=ask.recipient.strip(),
        purpose=ask.purpose.strip(),
        passphrase=new_passphrase(),
    )


def _subject(ask: ExportAsk) -> str:
    return ask.content.value if ask.batch_id is None else f"{ask.content}:{ask.batch_id}"


def _details(ask: ExportAsk) -> Mapping[str, str]:
    """What the second person agrees to."""
    return {
        "columns": ",".join(ask.columns),
        "recipient": ask.recipient.strip(),
        "purpose": ask.purpose.strip(),
        "unmasked": "yes" if ask.is_unmasked else "no",
    }


def _audit(tx: Tx, who: Principal, action: str, paper: Paper, note: ExportNote) -> None:
    tx.audit(
        who.name,
        action,
        paper.paper_id,
        {
            "subject": paper.subject,
            "columns": ",".join(note.columns),
            "recipient": note.recipient,
            "purpose": note.purpose,
            "is_masked": paper.is_masked,
            "request_id": note.request_id,
            "review_at": note.review_at.isoformat(),
            "review_note": note.review_note,
            "policy": "SEC-09",
            "source": who.source,
        },
    )
