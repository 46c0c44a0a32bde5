"""Limits and how much of each is used (SIM-08, SIM-14)."""

from __future__ import annotations

from dataclasses import dataclass

from modemctl.policy.quotas import Measure, QuotaRules, ScopeKind, Span, setting_of
from modemctl.service.pages import Page, decode_number, encode_cursor
from modemctl.service.principal import Principal, Scope
from modemctl.store import Connection, Store, headroom
from modemctl.store.headroom import Use

__all__ = ["LimitView", "Limits", "Measure", "ScopeKind", "Span"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitView:
    """One cap on one card, holder, department, carrier or batch, and its use at this moment.

    `setting` is the configuration key; a holder is masked without `pii:read`. `timezone`: a card's
    day or month that is not the site's.
    """

    scope: ScopeKind
    name: str
    measure: Measure
    span: Span
    used: int
    most: int
    setting: str
    timezone: str | None


class Limits:
    """Shows limits; changes none."""

    def __init__(self, store: Store, quota: QuotaRules) -> None:
        self._store = store
        self._quota = quota

    async def list_limits(
        self,
        who: Principal,
        *,
        scope: ScopeKind | None = None,
        only_full: bool = False,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[LimitView]:
        """Caps on issued cards, their holders and carriers, on departments and running batches.

        What recipients got is nobody's to list. Who works for a department sees its own.

        Raises:
            NotPermitted, InvalidRequest: scope or cursor.
        """
        who.require(Scope.SIMS_READ)
        first = decode_number(cursor)
        found = await self._store.read(lambda conn: self._uses(conn, who, scope))
        if only_full:
            found = [one for one in found if one.used >= one.cap.most]
        more = encode_cursor(first + limit) if len(found) > first + limit else None
        return Page(items=[_view(one, who) for one in found[first : first + limit]], next=more)

    def _uses(self, conn: Connection, who: Principal, scope: ScopeKind | None) -> list[Use]:
        tx = self._store.view(conn)
        mine = {  # a holder may have cards of two departments
            (one.kind, one.name): one
            for one in headroom.subjects(tx, self._quota)
            if scope in {None, one.kind} and who.sees(one.department)
        }
        return list(headroom.uses(tx, self._quota, mine.values()))


def _view(one: Use, who: Principal) -> LimitView:
    kind, name = one.subject.kind, one.subject.name
    if kind is ScopeKind.HOLDER and Scope.PII_READ not in who.scopes:
        name = f"{name[:1]}**"
    return LimitView(
        scope=kind,
        name=name,
        measure=one.cap.measure,
        span=one.cap.span,
        used=one.used,
        most=one.cap.most,
        setting=setting_of(kind, one.cap),
        timezone=one.timezone,
    )
