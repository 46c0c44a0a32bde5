"""Calls that the modems saw, as far as an account may see them (TEL-01, TEL-02)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from modemctl.errors import InvalidRequest
from modemctl.model import mask_number
from modemctl.policy.numbers import NumberRules
from modemctl.service.inbox import sender_of
from modemctl.service.pages import Page, decode_number, encode_cursor
from modemctl.service.principal import Principal, Scope
from modemctl.store import Store
from modemctl.store import calls as rows
from modemctl.store.calls import Call

__all__ = ["CallView", "Calls"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallView:
    """One call with holder and department of that moment; both parties masked without `pii:read`.

    `seconds` is the length of the talk, None while it lasts or where there was none.
    """

    call_id: int
    iccid: str | None
    bay: str
    is_incoming: bool
    number: str | None
    holder: str | None
    department: str | None
    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    seconds: float | None
    n_rings: int
    cause: str | None
    is_intact: bool


class Calls:
    """Looks up call records."""

    def __init__(self, store: Store, *, numbers: NumberRules) -> None:
        self._store = store
        self._numbers = numbers

    async def list_calls(
        self,
        who: Principal,
        *,
        department: str | None = None,
        iccid: str | None = None,
        number: str | None = None,
        is_incoming: bool | None = None,
        is_answered: bool | None = None,
        since: datetime | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[CallView]:
        """Calls, newest first.

        Raises:
            NotPermitted, InvalidRequest: scope, number, time or cursor.
        """
        who.require(Scope.CALLS_READ)
        if department is not None and not who.sees(department):
            return Page(items=[], next=None)
        if since is not None and since.tzinfo is None:
            raise InvalidRequest("must have an offset, such as 2026-11-21T08:00:00Z", field="since")
        query = rows.Query(
            department=who.department or department,
            iccid=iccid,
            number=None if number is None else sender_of(number, self._numbers),
            is_incoming=is_incoming,
            is_answered=is_answered,
            since=since,
        )
        before = None if cursor is None else decode_number(cursor)
        vault = self._store.vault
        found = await self._store.read(
            lambda conn: rows.find(conn, vault, query, before=before, limit=limit + 1)
        )
        more = encode_cursor(found[limit - 1].call_id) if len(found) > limit else None
        return Page(items=[_view(one, who) for one in found[:limit]], next=more)


def _view(one: Call, who: Principal) -> CallView:
    number, holder = one.number, one.holder
    if Scope.PII_READ not in who.scopes:
        number = None if number is None else mask_number(number)
        holder = None if holder is None else f"{holder[:1]}**"
    seconds = None
    if one.answered_at is not None and one.ended_at is not None:
        seconds = (one.ended_at - one.answered_at).total_seconds()
    return CallView(
        call_id=one.call_id,
        iccid=one.iccid,
        bay=one.bay,
        is_incoming=one.is_incoming,
        number=number,
        holder=holder,
        department=one.department,
        started_at=one.started_at,
        answered_at=one.answered_at,
        ended_at=one.ended_at,
        seconds=seconds,
        n_rings=one.n_rings,
        cause=one.cause,
        is_intact=one.is_intact,
    )
