"""Reports: asked for, made in a child process, kept sealed, handed out, filed (SMS-05, SIM-15).

Whoever may read what a report is of may make it; personal data is masked unless he may read that,
too, and it is on record then (TEL-11).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

from modemctl.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    PolicyRefused,
    RequestError,
    StoreError,
    TamperedError,
)
from modemctl.model import AccountId
from modemctl.policy.paper_periods import Period
from modemctl.policy.papers import Block, Lang, PaperFormat
from modemctl.service import export_rows, paper_audits, paper_batches, paper_cards, paper_screenings
from modemctl.service.audits import Audits
from modemctl.service.export_plans import ExportPlan
from modemctl.service.pages import Page, decode_text, encode_cursor
from modemctl.service.paper_asks import AUDIT_KINDS, may_see, require_asker, subject_of
from modemctl.service.paper_duties import DUTY_WORDS, DutyWatch, overdue
from modemctl.service.paper_files import PaperFiles
from modemctl.service.paper_orders import Order, PaperRules
from modemctl.service.paper_shown import require_outsider
from modemctl.service.paper_views import PaperAsk, PaperFile, PaperProof, PaperView, view
from modemctl.service.paper_words import Words
from modemctl.service.paper_writing import Written, write_paper
from modemctl.service.principal import Principal, Scope
from modemctl.service.stocktakes import StockTakes
from modemctl.store import Connection, Store, Tx
from modemctl.store import papers as rows
from modemctl.store.papers import Paper, PaperKind, PaperState

__all__ = ["Lang", "PaperAsk", "PaperFile", "PaperFormat", "PaperKind", "PaperProof", "PaperState",
           "PaperView", "Papers"]  # fmt: skip

NoteT = TypeVar("NoteT")
ResultT = TypeVar("ResultT")

_MEDIA: Final = {
    PaperFormat.PDF: "application/pdf",
    PaperFormat.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_MOST_WAITING: Final = 8
_PATIENCE: Final = 10.0  # seconds for a child process to end
_REFERENCE_MAX: Final = 200
_RESTARTED: Final = "the daemon was stopped before it was done"


class Papers:
    """Makes reports one after the other; `run` does the work."""

    def __init__(self, store: Store, rules: PaperRules, *, folder: Path, audits: Audits) -> None:
        """`folder` is made at need; files lie in it sealed."""
        self._store = store
        self._rules = rules
        self._files = PaperFiles(folder, store.vault)
        self._audits = audits
        self.watch: Final = DutyWatch(store, rules)
        self.stock: Final = StockTakes(store, rules.idle)
        self._queue: asyncio.Queue[Order] = asyncio.Queue(_MOST_WAITING)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._shares: dict[str, float] = {}

    async def run(self) -> None:
        """Make what is asked for until cancelled.

        Raises:
            StoreError: the database cannot be written at the start.
        """
        await self._store.write(lambda tx: rows.close_open(tx, _RESTARTED))
        await self._files.sweep(self._rules.keep, self._store.clock.now())
        async with asyncio.TaskGroup() as group:
            group.create_task(self._files.forget_daily(self._rules.keep, self._store.clock))
            while True:
                order = await self._queue.get()
                paper_id = order.paper.paper_id
                if paper_id in self._shares:  # else it was cancelled while it waited
                    task = group.create_task(self._make(order), name=f"report {paper_id}")
                    self._tasks[paper_id] = task

    async def make(self, who: Principal, ask: PaperAsk) -> PaperView:
        """Ask for a report; it is made behind the answer.

        Raises:
            NotPermitted: without `reports:make`, the scope of what it is of, or `pii:read`.
            InvalidRequest: the period or batch.
            Conflict: too many wait.
        """
        require_asker(who, ask.kind)
        if ask.is_unmasked:
            who.require(Scope.PII_READ)
        period, subject = subject_of(ask, self._rules, self._store.clock.now())

        def act(tx: Tx) -> tuple[Paper, None]:
            new = rows.add(
                tx,
                kind=ask.kind,
                subject=subject,
                department=who.department,
                paper_format=ask.paper_format,
                lang=ask.lang,
                is_masked=not ask.is_unmasked,
                by=who.account_id,
                name=who.name,
            )
            _audit(tx, who, "report.ask", new)
            return new, None

        new, _ = await self.begin(who, act, period=period)
        return self.view_of(new)

    async def begin(
        self,
        who: Principal,
        act: Callable[[Tx], tuple[Paper, NoteT]],
        *,
        period: Period | None = None,
        plan: ExportPlan | None = None,
    ) -> tuple[Paper, NoteT]:
        """Make the report whose row `act` adds.

        Raises:
            Conflict: too many wait.
            RequestError, StoreError: the act's.
        """
        if self._queue.full():
            raise Conflict("other reports are being made", cure="try again later")
        new, note = await self._store.write(act)
        words = Words(new.lang)
        order = Order(paper=new, who=who, period=period, rules=self._rules, words=words, plan=plan)
        self._shares[new.paper_id] = 0.0
        await self._queue.put(order)
        return new, note

    async def exports_of(self, who: Principal, *, cursor: str | None, limit: int) -> Page[Paper]:
        """Exports, newest first: one's own; for an auditor those of what he sees.

        Raises:
            InvalidRequest: a cursor that is not ours.
        """
        asked_by = None if Scope.AUDIT_READ in who.scopes else who.account_id
        found, more = await self._page(
            kind=PaperKind.EXPORT, asked_by=asked_by, cursor=cursor, limit=limit
        )
        return Page(items=[one for one in found if may_see(who, one)], next=more)

    async def list_papers(
        self,
        who: Principal,
        *,
        kind: PaperKind | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[PaperView]:
        """Reports that one may see, newest first.

        Raises:
            NotPermitted, InvalidRequest: without `reports:make`; a cursor that is not ours.
        """
        who.require(Scope.REPORTS_MAKE)
        found, more = await self._page(kind=kind, asked_by=None, cursor=cursor, limit=limit)
        return Page(items=[self.view_of(one) for one in found if may_see(who, one)], next=more)

    async def _page(
        self,
        *,
        kind: PaperKind | None,
        asked_by: AccountId | None,
        cursor: str | None,
        limit: int,
    ) -> tuple[Sequence[Paper], str | None]:
        before = _before(cursor)
        found = await self._read(
            lambda conn: rows.find_many(
                conn, self._store.vault, asked_by=asked_by, kind=kind, before=before, limit=limit
            )
        )
        if len(found) < limit:
            return found, None
        return found, encode_cursor(f"{found[-1].asked_at.isoformat()} {found[-1].paper_id}")

    async def show(self, who: Principal, paper_id: str) -> PaperView:
        """One report.

        Raises:
            NotPermitted, NotFound: without `reports:make`; no such report, or none of one's own.
        """
        return self.view_of(await self._find(who, paper_id))

    async def file(self, who: Principal, paper_id: str) -> PaperFile:
        """A report's file; who took it is on record.

        Raises:
            NotPermitted: without `reports:make`, or `pii:read` where it is not masked.
            NotFound: no such report; or its file was forgotten.
            Conflict: it is not done.
            PolicyRefused: SEC-05, the file was altered.
        """
        found = await self._find(who, paper_id)
        if not found.is_masked:
            who.require(Scope.PII_READ)
        if found.kind is PaperKind.EXPORT and found.asked_by != who.account_id:
            raise NotFound("an export is fetched by who made it", policy="SEC-09")
        _require_done(found)
        try:
            octets = await self._files.read(paper_id, sha256=found.sha256)
        except TamperedError as error:
            raise PolicyRefused("SEC-05", str(error)) from None
        if octets is None:
            other = ", or ask the server that made it" if self._store.is_shared else ""
            raise NotFound("the report's file was forgotten", cure=f"make it again{other}")
        await self._store.write(lambda tx: _audit(tx, who, "report.fetch", found))
        name = f"{found.kind}-{found.subject}-{found.lang}.{found.paper_format}"
        return PaperFile(name=name, media_type=_MEDIA[found.paper_format], octets=octets)

    async def cancel(self, who: Principal, paper_id: str) -> PaperView:
        """Stop making a report.

        Raises:
            NotPermitted, NotFound, Conflict: as `show`; it is not being made.
        """
        await self._find(who, paper_id)
        self._shares.pop(paper_id, None)
        if (task := self._tasks.pop(paper_id, None)) is not None:
            task.cancel()
            await asyncio.wait([task], timeout=_PATIENCE)
            await self._files.tidy(paper_id)

        def act(tx: Tx) -> Paper:
            found = rows.find(tx.conn, tx.vault, paper_id)
            if found is None or found.state is not PaperState.WORKING:
                raise Conflict("it is not being made", field="report_id")
            after = replace(found, state=PaperState.CANCELLED, done_at=tx.now)
            _audit(tx, who, "report.cancel", after)
            return rows.keep(tx, after)

        return self.view_of(await self._store.write(act))

    async def acknowledge(self, who: Principal, paper_id: str, reference: str) -> PaperView:
        """Note that a report was handed in and filed under `reference` (SMS-05).

        A quarter's summary is received by somebody of the general department who did not make it;
        a paper of the audit by an auditor none of whose acts it shows.

        Raises:
            NotPermitted, NotFound, InvalidRequest, Conflict: as `show`; no reference; not done.
            PolicyRefused: SMS-05 or SEC-05, a machine, or who may not receive it.
        """
        found = await self._find(who, paper_id)
        who.require_person("SMS-05")
        text = reference.strip()
        if not text or len(text) > _REFERENCE_MAX:
            rule = f"must have 1 to {_REFERENCE_MAX} characters"
            raise InvalidRequest(rule, field="reference", policy="SMS-05")
        _require_done(found)
        if found.kind is PaperKind.QUARTER:
            self._require_receiver(who, found)
        if found.kind in AUDIT_KINDS:
            require_asker(who, found.kind)

        def act(tx: Tx) -> Paper:
            if found.kind in AUDIT_KINDS:
                require_outsider(tx, who.name, paper_id)
            known = rows.find(tx.conn, tx.vault, paper_id)
            if known is None or known.filed_at is not None:
                raise Conflict("it is filed already", field="report_id", policy="SMS-05")
            after = replace(known, filed_by=who.name, filed_at=tx.now, filed_reference=text)
            _audit(tx, who, "report.file", after)
            return rows.keep(tx, after)

        return self.view_of(await self._store.write(act))

    async def prove(self, who: Principal, *, sha256: str, digest: str | None) -> PaperProof:
        """Which report a file is, by the digest of its octets or of its content.

        Raises:
            NotPermitted: without `reports:make`.
        """
        who.require(Scope.REPORTS_MAKE)
        vault = self._store.vault
        found = await self._read(
            lambda conn: rows.find_by_digest(conn, vault, sha256=sha256, digest=digest)
        )
        if found is None or not may_see(who, found):
            return PaperProof(report=None, is_same_file=False)
        return PaperProof(report=self.view_of(found), is_same_file=found.sha256 == sha256)

    async def _make(self, order: Order) -> None:
        paper_id = order.paper.paper_id
        try:
            path = await self._files.place(paper_id)
            async with aclosing(self._blocks(order)) as blocks:
                written = await write_paper(
                    path,
                    order.paper.paper_format,
                    blocks,
                    tell=lambda share: self._tell(paper_id, share),
                    passphrase=None if order.plan is None else order.plan.passphrase,
                )
            await self._files.seal(paper_id)
            await self._files.tidy(paper_id)  # nothing lies in clear beside what is done
            await self._end(order, written)
        except RequestError as refusal:
            await self._fail(order, str(refusal))
        except (StoreError, TamperedError, OSError) as error:
            await self._fail(order, f"{type(error).__name__}: it could not be read or written")
        finally:
            self._shares.pop(paper_id, None)
            self._tasks.pop(paper_id, None)
        await self._files.tidy(paper_id)

    async def _blocks(self, order: Order) -> AsyncGenerator[Block, None]:
        match order.paper.kind:
            case PaperKind.QUARTER:
                source = paper_batches.quarter(self._store, order)
            case PaperKind.BATCH:
                source = paper_batches.form(self._store, order)
            case PaperKind.COSTS:
                source = paper_cards.costs(self._store, order)
            case PaperKind.STOCKTAKE:
                source = paper_cards.stocktake(self._store, order)
            case PaperKind.ACCESS:
                source = paper_audits.access(self._store, order)
            case PaperKind.INSPECTION:
                duties = await self.duties()
                source = paper_audits.inspection(
                    self._store, order, audits=self._audits, duties=duties
                )
            case PaperKind.EXPORT:
                assert order.plan is not None
                source = export_rows.export(self._store, order, order.plan)
            case _:
                source = paper_screenings.blocks(self._store, order, own=self._audits)
        async for block in source:
            yield block

    async def duties(self) -> Mapping[str, str]:
        """Each duty by the word for it: `overdue` or `on_time`.

        Raises:
            StoreError: the database cannot be read.
        """
        late = await self.overdue()
        return {word: "overdue" if late[kind] else "on_time" for kind, word in DUTY_WORDS.items()}

    async def overdue(self) -> Mapping[PaperKind, int]:
        """How many reports of a kind are overdue.

        Raises:
            StoreError: the database cannot be read.
        """
        now = self._store.clock.now()
        return await self._store.read(lambda conn: overdue(conn, self._store, self._rules, now))

    async def _end(self, order: Order, written: Written) -> None:
        def act(tx: Tx) -> None:
            found = rows.find(tx.conn, tx.vault, order.paper.paper_id)
            if found is None or found.state is not PaperState.WORKING:
                return  # cancelled meanwhile
            after = replace(
                found,
                state=PaperState.DONE,
                done_at=tx.now,
                digest=written.digest,
                sha256=written.sha256,
                n_rows=written.n_rows,
                n_octets=written.n_octets,
            )
            _audit(tx, order.who, "report.make", after, actors=order.actors)
            rows.keep(tx, after)

        await self._store.write(act)

    async def _fail(self, order: Order, reason: str) -> None:
        def act(tx: Tx) -> None:
            found = rows.find(tx.conn, tx.vault, order.paper.paper_id)
            if found is not None and found.state is PaperState.WORKING:
                after = replace(found, state=PaperState.FAILED, reason=reason, done_at=tx.now)
                rows.keep(tx, after)

        await self._store.write(act)

    def _tell(self, paper_id: str, share: float) -> None:
        if paper_id in self._shares:
            self._shares[paper_id] = share

    def _require_receiver(self, who: Principal, found: Paper) -> None:
        general = self._rules.general_department
        if who.account_id == found.asked_by or who.department not in {None, general}:
            raise PolicyRefused(
                "SMS-05",
                f"somebody of {general} who did not make the summary receives it",
                cure="hand it to the general department",
            )

    async def _find(self, who: Principal, paper_id: str) -> Paper:
        who.require(Scope.REPORTS_MAKE)
        found = await self._read(lambda conn: rows.find(conn, self._store.vault, paper_id))
        if found is None or not may_see(who, found):
            raise NotFound("no such report", field="report_id", value=paper_id[:36])
        return found

    async def _read(self, query: Callable[[Connection], ResultT]) -> ResultT:
        try:
            return await self._store.read(query)
        except TamperedError as error:
            raise PolicyRefused(
                "SEC-05", str(error), cure="it is an incident; run: modemctl audit verify"
            ) from None

    @property
    def general_department(self) -> str:
        """The department (综合部) that sees promotions of others."""
        return self._rules.general_department

    def view_of(self, one: Paper) -> PaperView:
        """A report as people see it."""
        is_kept = self._store.clock.now() - one.asked_at < self._rules.keep
        return view(one, share=self._shares.get(one.paper_id, 0.0), is_kept=is_kept)


def _require_done(found: Paper) -> None:
    if found.state is not PaperState.DONE:
        raise Conflict(f"the report is {found.state}", field="report_id", cure="wait, or ask anew")


def _before(cursor: str | None) -> tuple[datetime, str] | None:
    text = decode_text(cursor)
    if not text:
        return None
    at, _, paper_id = text.partition(" ")
    try:
        return datetime.fromisoformat(at), paper_id
    except ValueError:
        raise InvalidRequest("no cursor of ours", field="cursor") from None


def _audit(
    tx: Tx, who: Principal, action: str, paper: Paper, *, actors: Collection[str] = ()
) -> None:
    tx.audit(
        who.name,
        action,
        paper.paper_id,
        {
            "kind": paper.kind.value,
            "subject": paper.subject,
            "format": paper.paper_format.value,
            "is_masked": paper.is_masked,
            "state": paper.state.value,
            "digest": paper.digest,
            "sha256": paper.sha256,
            "filed_reference": paper.filed_reference,
            "source": who.source,
            **({"actors": [*sorted(actors)]} if actors else {}),
        },
    )
