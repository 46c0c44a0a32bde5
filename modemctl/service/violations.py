"""Violation cases: opened on audit entries, investigated, appealed, reviewed (SEC-13).

The controller keeps the file and counts working days; it decides nothing and collects nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

from modemctl.audit import Entry
from modemctl.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    NotPermitted,
    PolicyRefused,
    StoreError,
    TamperedError,
)
from modemctl.policy.custody import WorkingDays
from modemctl.policy.rules import RULES
from modemctl.policy.violations import (
    APPEAL_DAYS,
    GRADES,
    INVESTIGATION_DAYS,
    REVIEW_DAYS,
    CaseState,
    due,
    why_not_decide,
    why_not_review,
)
from modemctl.service.principal import Principal, Scope
from modemctl.store import Connection, Store, Tx, audits
from modemctl.store import violations as rows
from modemctl.store.accounts import Account, AccountKind, find_account, find_account_named
from modemctl.store.violations import Case, Evidence

__all__ = ["Case", "CaseState", "CaseView", "Cases", "Quarter", "QuarterLine"]

ResultT = TypeVar("ResultT")

_TEXT_MAX: Final = 2_000
_LISTED: Final = 500
_EVIDENCE_MAX: Final = 50
_AMOUNT_MAX: Final = 10**12
_WATCH: Final = 60.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseView:
    """A case. `due_at` is when the office must take its next step.

    `is_proved` is false where the evidence is no more what the case was opened on.
    """

    case: Case
    meaning: str
    due_at: datetime | None
    is_overdue: bool
    evidence: Sequence[Evidence]
    is_proved: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarterLine:
    """Cases of one rule and grade."""

    policy: str
    grade: int
    n: int
    n_by_state: Mapping[CaseState, int]
    amount_fen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarter:
    """The cases that were opened in a quarter of the site's calendar."""

    year: int
    quarter: int
    n: int
    n_late: int
    lines: Sequence[QuarterLine]


class Cases:
    """Keeps cases."""

    def __init__(self, store: Store, days: WorkingDays) -> None:
        self._store = store
        self._days = days

    async def watch(self) -> None:
        """Tell of steps that are late, until cancelled."""
        while True:
            try:
                await self._store.write(rows.note_overdue)
            except (StoreError, TamperedError) as error:
                _log.warning("cases.not_watched", extra={"error": str(error)})
            await asyncio.sleep(_WATCH)

    async def open(
        self,
        who: Principal,
        *,
        policy: str,
        person: str,
        grade: int,
        summary: str,
        evidence: Sequence[tuple[str, int]],
        amount_fen: int | None = None,
    ) -> CaseView:
        """Open a case on entries of the audit log (node and number), of which one names the person.

        Raises:
            NotPermitted, InvalidRequest, NotFound: scope, rule, grade, text, person or entry.
            PolicyRefused: SEC-13, a machine opens it, or no entry names the person.
        """
        who.require(Scope.CASES_WRITE)
        who.require_person("SEC-13")
        if policy not in RULES:
            raise InvalidRequest("is no rule of the company", field="policy", value=policy[:20])
        _check_grade(grade, amount_fen)
        summary = _checked(summary, "summary")
        if not 0 < len(set(evidence)) <= _EVIDENCE_MAX:
            raise InvalidRequest(f"needs 1 to {_EVIDENCE_MAX} audit entries", field="evidence")

        def act(tx: Tx) -> Case:
            account = _person(tx, who, person)
            entries = [_entry(tx.conn, node, seq) for node, seq in sorted(set(evidence))]
            if not any(_names(entry, account) for entry in entries):
                raise PolicyRefused(
                    "SEC-13",
                    f"none of these entries names {account.name}",
                    field="evidence",
                    cure="modemctl audit list --actor NAME shows what does",
                )
            new = rows.NewCase(
                policy=policy,
                grade=grade,
                amount_fen=amount_fen,
                person_id=account.account_id,
                person_name=account.name,
                department=account.department,
                summary=summary,
                evidence=[
                    Evidence(node_id=one.node_id, seq=one.seq, hash=one.hash) for one in entries
                ],
                opened_by=who.account_id,
                opened_name=who.name,
                investigate_by=self._days.after(tx.now, INVESTIGATION_DAYS),
            )
            return rows.add(tx, new, source=who.source)

        made = await self._write(act)
        return await self.show(who, made.case_id)

    async def decide(
        self,
        who: Principal,
        case_id: str,
        *,
        is_violation: bool,
        finding: str,
        grade: int,
        amount_fen: int | None = None,
    ) -> CaseView:
        """End the investigation: a violation, against which the person may appeal, or none.

        Raises:
            NotPermitted, InvalidRequest, NotFound, Conflict: scope, text, grade, state.
            PolicyRefused: SEC-13, one's own case, or a machine; SEC-05, evidence was altered.
        """
        who.require(Scope.CASES_WRITE)
        who.require_person("SEC-13")
        finding = _checked(finding, "finding")
        _check_grade(grade, amount_fen)

        def act(tx: Tx, one: Case) -> None:
            _require_state(one, CaseState.INVESTIGATING)
            _refuse(why_not_decide(investigator=who.account_id, person=one.person_id))
            if not rows.is_proved(tx.conn, one):
                raise TamperedError("the case's evidence was altered")
            state = CaseState.FOUND if is_violation else CaseState.DISMISSED
            rows.put(
                tx,
                one,
                "decide",
                by=who.name,
                source=who.source,
                state=state,
                grade=grade,
                amount_fen=amount_fen,
                decided_by=who.account_id,
                decided_name=who.name,
                decided_at=_ms(tx.now),
                finding=finding,
                appeal_by=self._days.after(tx.now, APPEAL_DAYS) if is_violation else None,
                overdue_at=None,
            )

        return await self._change(who, case_id, act)

    async def appeal(self, who: Principal, case_id: str, text: str) -> CaseView:
        """The person appeals, in the time that he has for it.

        Raises:
            NotPermitted, NotFound, InvalidRequest: another's case, or the text.
            Conflict: nothing was found, or the time is over.
        """
        text = _checked(text, "text")

        def act(tx: Tx, one: Case) -> None:
            if one.person_id != who.account_id:
                raise NotPermitted("only the person himself appeals", policy="SEC-13")
            _require_state(one, CaseState.FOUND)
            assert one.appeal_by is not None, "what was found can be appealed against"
            if tx.now >= one.appeal_by:
                raise Conflict("the time to appeal is over", field="state", policy="SEC-13")
            rows.put(
                tx,
                one,
                "appeal",
                by=who.name,
                source=who.source,
                state=CaseState.APPEALED,
                appealed_at=_ms(tx.now),
                appeal=text,
                review_by=self._days.after(tx.now, REVIEW_DAYS),
            )

        return await self._change(who, case_id, act)

    async def review(self, who: Principal, case_id: str, *, is_upheld: bool, text: str) -> CaseView:
        """Somebody else than who decided reviews the appeal; that is the end.

        Raises:
            NotPermitted, InvalidRequest, NotFound, Conflict: scope, text, state.
            PolicyRefused: SEC-13, who decided, the person himself, or a machine.
        """
        who.require(Scope.CASES_WRITE)
        who.require_person("SEC-13")
        text = _checked(text, "text")

        def act(tx: Tx, one: Case) -> None:
            _require_state(one, CaseState.APPEALED)
            _refuse(
                why_not_review(
                    reviewer=who.account_id, person=one.person_id, decider=one.decided_by
                )
            )
            rows.put(
                tx,
                one,
                "review",
                by=who.name,
                source=who.source,
                state=CaseState.UPHELD if is_upheld else CaseState.OVERTURNED,
                reviewed_by=who.account_id,
                reviewed_name=who.name,
                reviewed_at=_ms(tx.now),
                review=text,
                overdue_at=None,
            )

        return await self._change(who, case_id, act)

    async def close(self, who: Principal, case_id: str) -> CaseView:
        """Close what was found once nobody has appealed in time.

        Raises:
            NotPermitted, NotFound: scope, or no such case in sight.
            Conflict: it is in another state, or the person may still appeal.
        """
        who.require(Scope.CASES_WRITE)

        def act(tx: Tx, one: Case) -> None:
            _require_state(one, CaseState.FOUND)
            assert one.appeal_by is not None, "what was found can be appealed against"
            if tx.now < one.appeal_by:
                raise Conflict("the person may still appeal", field="state", policy="SEC-13")
            rows.put(tx, one, "close", by=who.name, source=who.source, state=CaseState.CLOSED)

        return await self._change(who, case_id, act)

    async def show(self, who: Principal, case_id: str) -> CaseView:
        """A case with its evidence; the person sees his own.

        Raises:
            NotPermitted, NotFound: scope, or no such case in sight.
            PolicyRefused: SEC-05, its row was altered.
        """
        now = self._store.clock.now()

        def read(conn: Connection) -> CaseView:
            one = self._visible(conn, who, case_id)
            evidence = rows.evidence_of(conn, case_id)
            return _view(one, evidence, now, is_proved=rows.is_proved(conn, one))

        return await self._read(read)

    async def list_cases(self, who: Principal, *, is_open: bool = True) -> Sequence[Case]:
        """Cases, newest first: the open ones, or the latest; one's own alone without the scope.

        Raises:
            PolicyRefused: SEC-05, a row was altered.
        """
        is_reader = bool(_READERS & who.scopes)
        vault = self._store.vault
        return await self._read(
            lambda conn: rows.find_many(
                conn,
                vault,
                is_open=is_open,
                person_id=None if is_reader else who.account_id,
                department=who.department if is_reader else None,
                limit=_LISTED,
            )
        )

    async def quarter(self, who: Principal, year: int, quarter: int) -> Quarter:
        """The cases opened in a quarter, by rule and grade, with what was recorded as amounts.

        Raises:
            NotPermitted, InvalidRequest: scope, or no such quarter.
            PolicyRefused: SEC-05, a row was altered.
        """
        if Scope.CASES_WRITE not in who.scopes:
            who.require(Scope.CASES_READ)
        if quarter not in {1, 2, 3, 4} or not 2000 <= year < 9999:
            raise InvalidRequest("must be a quarter, 1 to 4, of a year", field="quarter")
        vault, zone = self._store.vault, self._days.zone
        start = datetime(year, 3 * quarter - 2, 1, tzinfo=zone)
        end = datetime(year + quarter // 4, 3 * quarter % 12 + 1, 1, tzinfo=zone)
        found = await self._read(
            lambda conn: rows.opened_between(
                conn, vault, start.astimezone(UTC), end.astimezone(UTC), department=who.department
            )
        )
        now = self._store.clock.now()
        return Quarter(
            year=year,
            quarter=quarter,
            n=len(found),
            n_late=sum(_is_late(one, now) for one in found),
            lines=_lines(found),
        )

    def _visible(self, conn: Connection, who: Principal, case_id: str) -> Case:
        one = rows.find(conn, self._store.vault, case_id)
        if one is None or one.person_id != who.account_id:
            if Scope.CASES_WRITE not in who.scopes:
                who.require(Scope.CASES_READ)
            if one is None or not who.sees(one.department):
                raise NotFound("no such case", field="case_id", value=case_id[:40])
        return one

    async def _change(
        self, who: Principal, case_id: str, act: Callable[[Tx, Case], None]
    ) -> CaseView:
        await self._write(lambda tx: act(tx, self._visible(tx.conn, who, case_id)))
        return await self.show(who, case_id)

    async def _write(self, act: Callable[[Tx], ResultT]) -> ResultT:
        try:
            return await self._store.write(act)
        except TamperedError as error:
            raise _altered(error) from None

    async def _read(self, query: Callable[[Connection], ResultT]) -> ResultT:
        try:
            return await self._store.read(query)
        except TamperedError as error:
            raise _altered(error) from None


# ---------------------------------------------------------------- inside

_READERS: Final = frozenset({Scope.CASES_READ, Scope.CASES_WRITE})


def _person(tx: Tx, who: Principal, name: str) -> Account:
    account = find_account_named(tx.conn, tx.vault, name) or find_account(tx.conn, tx.vault, name)
    is_person = account is not None and account.kind is AccountKind.PERSON
    if account is None or not is_person or not who.sees(account.department):
        raise NotFound("no such person", field="person", value=name[:40])
    return account


def _entry(conn: Connection, node: str, seq: int) -> Entry:
    found = audits.read_chain(conn, node_id=node, after=seq - 1, limit=1)
    if not found or found[0].seq != seq:
        raise NotFound("no such audit entry", field="evidence", value=f"{node}:{seq}"[:80])
    return found[0]


def _names(entry: Entry, account: Account) -> bool:
    """Whether an entry names a person: as who acted, as what it is about, or in its details."""
    names = {account.name, account.account_id}
    if entry.draft.actor in names or entry.draft.subject in names:
        return True
    return any(value in names for value in _words(json.loads(entry.draft.details)))


def _words(value: object) -> list[object]:
    if isinstance(value, dict):
        return [word for one in value.values() for word in _words(one)]
    if isinstance(value, list):
        return [word for one in value for word in _words(one)]
    return [value] if isinstance(value, str) else []


def _refuse(why: str | None) -> None:
    if why is not None:
        raise PolicyRefused("SEC-13", why, cure="let a colleague do it")


def _require_state(one: Case, state: CaseState) -> None:
    if one.state is not state:
        rule = f"the case is {one.state}, this is for one that is {state}"
        raise Conflict(rule, field="state", cure=f"modemctl case show {one.case_id}")


def _check_grade(grade: int, amount_fen: int | None) -> None:
    if grade not in GRADES:
        raise InvalidRequest("must be 1, 2 or 3", field="grade", value=str(grade))
    if amount_fen is not None and not 0 <= amount_fen <= _AMOUNT_MAX:
        raise InvalidRequest("must be an amount in fen", field="amount_fen")


def _checked(text: str, field: str) -> str:
    if not text.strip() or len(text) > _TEXT_MAX:
        raise InvalidRequest(f"must have 1 to {_TEXT_MAX} characters", field=field)
    return text.strip()


def _altered(error: TamperedError) -> PolicyRefused:
    return PolicyRefused("SEC-05", str(error), cure="run: modemctl audit verify")


def _ms(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def _due(one: Case) -> datetime | None:
    return due(one.state, investigate_by=one.investigate_by, review_by=one.review_by)


def _is_late(one: Case, now: datetime) -> bool:
    at = _due(one)
    return at is not None and now >= at


def _view(one: Case, evidence: Sequence[Evidence], now: datetime, *, is_proved: bool) -> CaseView:
    return CaseView(
        case=one,
        meaning=GRADES[one.grade],
        due_at=_due(one),
        is_overdue=_is_late(one, now),
        evidence=evidence,
        is_proved=is_proved,
    )


def _lines(found: Sequence[Case]) -> Sequence[QuarterLine]:
    kinds = sorted({(one.policy, one.grade) for one in found})
    return [_line(policy, grade, found) for policy, grade in kinds]


def _line(policy: str, grade: int, found: Sequence[Case]) -> QuarterLine:
    mine = [one for one in found if (one.policy, one.grade) == (policy, grade)]
    return QuarterLine(
        policy=policy,
        grade=grade,
        n=len(mine),
        n_by_state=Counter(one.state for one in mine),
        amount_fen=sum(one.amount_fen or 0 for one in mine),
    )
