"""The opt-out list: who is not written to any more (SIM-08)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from modemctl.errors import InvalidRequest, NotFound
from modemctl.model import mask_number
from modemctl.policy.numbers import NumberRules, Rejection, normalise
from modemctl.service.pages import Page, decode_text, encode_cursor
from modemctl.service.principal import Principal, Scope
from modemctl.store import Connection, Store, Tx
from modemctl.store import optouts as rows
from modemctl.store.optouts import OptOut

_REASON_MAX = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOutView:
    """One number, masked without `pii:read`; `source` is `sms` or `api`."""

    number: str | None
    at: datetime
    source: str
    keyword: str | None
    by: str


class OptOuts:
    """Keeps the list of numbers that are not written to."""

    def __init__(self, store: Store, numbers: NumberRules) -> None:
        self._store = store
        self._numbers = numbers

    async def list_opt_outs(
        self,
        who: Principal,
        *,
        number: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[OptOutView]:
        """The list in a fixed order that tells nothing; with `number`, that one or nothing.

        Raises:
            NotPermitted, InvalidRequest: scope, number or cursor.
        """
        who.require(Scope.BATCHES_READ)
        vault = self._store.vault
        wanted = None if number is None else self._read(number)
        after = _after(cursor)

        def read(conn: Connection) -> Sequence[OptOut]:
            if wanted is None:
                return rows.list_opt_outs(conn, vault, after=after, limit=limit + 1)
            found = rows.find(conn, vault, wanted)
            return [] if found is None else [found]

        found = await self._store.read(read)
        more = encode_cursor(found[limit - 1].bidx.hex()) if len(found) > limit else None
        return Page(items=[_view(one, who) for one in found[:limit]], next=more)

    async def add(self, who: Principal, number: str) -> OptOutView:
        """Put a number on the list; one that is on it stays as it was.

        Raises:
            NotPermitted, InvalidRequest: scope or number.
        """
        who.require(Scope.OPT_OUTS_WRITE)
        wanted = self._read(number)

        def act(tx: Tx) -> OptOut | None:
            rows.add(tx, wanted, source=rows.BY_PERSON, by=who.name)
            return rows.find(tx.conn, tx.vault, wanted)

        added = await self._store.write(act)
        assert added is not None, "it was added just now"
        return _view(added, who)

    async def remove(self, who: Principal, number: str, reason: str) -> None:
        """Take a number off the list, for instance at the customer's own wish.

        Raises:
            NotPermitted, InvalidRequest: scope, number or reason.
            NotFound: it is not on the list.
        """
        who.require(Scope.OPT_OUTS_WRITE)
        if not reason.strip() or len(reason) > _REASON_MAX:
            raise InvalidRequest(f"must have 1 to {_REASON_MAX} characters", field="reason")
        wanted = self._read(number)
        if not await self._store.write(
            lambda tx: rows.remove(tx, wanted, by=who.name, reason=reason)
        ):
            raise NotFound("is not on the opt-out list", field="number", value=mask_number(wanted))

    def _read(self, number: str) -> str:
        found = normalise(number, self._numbers)
        if isinstance(found, Rejection):
            raise InvalidRequest(f"is no number of a mobile: {found}", field="number")
        return found


def _after(cursor: str | None) -> bytes:
    try:
        return bytes.fromhex(decode_text(cursor))
    except ValueError:
        raise InvalidRequest("must be a cursor that this list gave", field="cursor") from None


def _view(one: OptOut, who: Principal) -> OptOutView:
    number = one.number
    if number is not None and Scope.PII_READ not in who.scopes:
        number = mask_number(number)
    return OptOutView(number=number, at=one.at, source=one.source, keyword=one.keyword, by=one.by)
