"""What may be asked for as a report, by whom, and of what."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from modemctl.errors import InvalidRequest
from modemctl.policy.paper_periods import Period, read_period, read_span
from modemctl.service.paper_orders import PaperRules
from modemctl.service.paper_views import PaperAsk
from modemctl.service.principal import Principal, Scope
from modemctl.store.papers import Paper, PaperKind

_SCOPES: Final[Mapping[PaperKind, Scope]] = {
    PaperKind.QUARTER: Scope.BATCHES_READ,
    PaperKind.BATCH: Scope.BATCHES_READ,
    PaperKind.COSTS: Scope.SIMS_READ,
    PaperKind.STOCKTAKE: Scope.SIMS_READ,
    PaperKind.ACCESS: Scope.AUDIT_READ,
    PaperKind.SCREENING: Scope.AUDIT_READ,
    PaperKind.SPOT_CHECK: Scope.AUDIT_READ,
    PaperKind.MONTH_AUDIT: Scope.AUDIT_READ,
    PaperKind.YEAR_AUDIT: Scope.AUDIT_READ,
    PaperKind.INSPECTION: Scope.AUDIT_READ,
    PaperKind.EXPORT: Scope.AUDIT_READ,  # who made it sees it, too
}
_OF_A_PERIOD: Final = frozenset({PaperKind.QUARTER, PaperKind.COSTS, PaperKind.ACCESS})
_WEEK: Final = (re.compile(r".*W.*"), "a week", "2026-W47")
_AUDITED: Final[Mapping[PaperKind, tuple[re.Pattern[str], str, str]]] = {
    PaperKind.SCREENING: _WEEK,
    PaperKind.SPOT_CHECK: _WEEK,
    PaperKind.MONTH_AUDIT: (re.compile(r"\d{4}-\d\d"), "a month", "2026-11"),
    PaperKind.YEAR_AUDIT: (re.compile(r"\d{4}"), "a year", "2026"),
}
AUDIT_KINDS: Final = frozenset(_AUDITED)
"""Papers of the audit (SEC-05); nobody whose acts one shows acknowledges it."""


def require_asker(who: Principal, kind: PaperKind) -> None:
    """Refuse who may not make a report of this kind.

    Raises:
        NotPermitted: without `reports:make`, or the scope of what it is of.
        InvalidRequest: an export, which is asked for as such.
    """
    who.require(Scope.REPORTS_MAKE)
    if kind is PaperKind.EXPORT:
        cure = "modemctl export make"
        raise InvalidRequest("an export is asked for as such", field="kind", cure=cure)
    who.require(_SCOPES[kind])
    if _SCOPES[kind] is Scope.AUDIT_READ:
        who.require_all_departments()


def may_see(who: Principal, found: Paper) -> bool:
    """Whether a report is one's own, or of what one may read anyway."""
    if found.asked_by == who.account_id:
        return True
    return _SCOPES[found.kind] in who.scopes and who.sees(found.department)


def subject_of(ask: PaperAsk, rules: PaperRules, now: datetime) -> tuple[Period | None, str]:
    """The period, where a report has one, and what it is called by.

    Raises:
        InvalidRequest: no period or batch that this kind of report can be of.
    """
    if ask.kind in _AUDITED:
        period = _audited(ask, rules, now)
        return period, period.name
    if ask.kind in _OF_A_PERIOD:
        period = read_period(ask.subject or "", rules.zone)
        if period.first > now:
            raise InvalidRequest("lies in the future", field="period", value=period.name)
        if ask.kind is PaperKind.QUARTER and "Q" not in period.name:
            raise InvalidRequest("must be a quarter", field="period", cure="2026Q3")
        return period, period.name
    if ask.kind is PaperKind.BATCH:
        try:
            return None, str(uuid.UUID(ask.subject or ""))
        except ValueError:
            raise InvalidRequest("must be a batch's id", field="batch_id") from None
    if ask.subject is not None:
        raise InvalidRequest("this report is about now", field="period")
    return None, f"{now.astimezone(rules.zone):%Y-%m-%d}"


def _audited(ask: PaperAsk, rules: PaperRules, now: datetime) -> Period:
    form, wanted, example = _AUDITED[ask.kind]
    period = read_span(ask.subject or "", rules.zone)
    if form.fullmatch(period.name) is None:
        raise InvalidRequest(f"must be {wanted}", field="period", cure=example)
    if period.end > now:  # what is still being written could be drawn until it suits
        raise InvalidRequest("is not over yet", field="period", value=period.name)
    return period
