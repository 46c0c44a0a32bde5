"""What may be asked for as a report, by whom, and of what."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from modemctl.errors import InvalidRequest
from modemctl.policy.paper_periods import Period, read_period
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
    PaperKind.INSPECTION: Scope.AUDIT_READ,
    PaperKind.EXPORT: Scope.AUDIT_READ,  # who made it sees it, too
}
_OF_A_PERIOD: Final = frozenset({PaperKind.QUARTER, PaperKind.COSTS, PaperKind.ACCESS})


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
