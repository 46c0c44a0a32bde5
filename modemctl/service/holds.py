"""Legal holds (SEC-12): one person sets one, two persons lift it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from modemctl.errors import Conflict, InvalidRequest, NotFound, PolicyRefused, TamperedError
from modemctl.model import EventKind, mask_number
from modemctl.policy.dual import DualKind
from modemctl.policy.numbers import NumberRules, Rejection, normalise
from modemctl.policy.records import HoldKind
from modemctl.service import dual
from modemctl.service.principal import Principal, Scope
from modemctl.store import Store, Tx, sims
from modemctl.store import holds as rows
from modemctl.store.batches import find_batch
from modemctl.store.holds import Hold, NewHold

__all__ = ["HoldKind", "HoldView", "Holds", "wanted_of"]

ResultT = TypeVar("ResultT")

_REASON_MAX: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldView:
    """A hold. A number is masked without `pii:read`; `since` and `until` are a period's.

    `is_intact` is false where the row was altered behind our back: it keeps everything then.
    """

    hold_id: str
    kind: HoldKind
    iccid: str | None
    number: str | None
    batch_id: str | None
    since: datetime | None
    until: datetime | None
    reason: str
    set_by: str
    set_at: datetime
    lifted_by: str | None
    lifted_at: datetime | None
    lift_reason: str | None
    is_in_force: bool
    is_intact: bool


class Holds:
    """Keeps the holds; purge and erasure obey them."""

    def __init__(self, store: Store, *, numbers: NumberRules) -> None:
        self._store = store
        self._numbers = numbers

    async def list_holds(self, who: Principal) -> Sequence[HoldView]:
        """The latest 500 holds, newest first, lifted ones too.

        Raises:
            NotPermitted: without `audit:read` or `records:write`, or of one department only.
        """
        if Scope.RECORDS_WRITE not in who.scopes:
            who.require(Scope.AUDIT_READ)
        who.require_all_departments()
        vault = self._store.vault
        found = await self._store.read(lambda conn: rows.find(conn, vault))
        return [_view(one, who) for one in found]

    async def set_hold(
        self,
        who: Principal,
        *,
        reason: str,
        iccid: str | None = None,
        number: str | None = None,
        batch_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> HoldView:
        """Keep a card's, a number's, a batch's rows, or those of a period, from now on.

        Raises:
            NotPermitted, PolicyRefused: scope, an account of one department, a machine's.
            InvalidRequest: not exactly one of them, or no reason.
            NotFound: no such card, no such batch.
        """
        _require(who)
        _check_reason(reason)
        wanted = wanted_of(
            self._numbers,
            iccid=iccid,
            number=number,
            batch_id=batch_id,
            since=since,
            until=until,
        )

        def act(tx: Tx) -> Hold:
            if wanted.iccid is not None and sims.read(tx.conn, tx.vault, wanted.iccid) is None:
                raise NotFound("no such card in the register", field="iccid", value=wanted.iccid)
            if wanted.batch_id is not None and find_batch(tx.conn, wanted.batch_id) is None:
                raise NotFound("no such batch", field="batch_id", value=wanted.batch_id)
            hold = rows.add(tx, wanted, reason=reason.strip(), by=who.account_id, name=who.name)
            _audit(tx, who, "hold.set", hold, reason)
            return hold

        return _view(await self._store.write(act), who)

    async def lift(
        self, who: Principal, hold_id: str, *, reason: str, request_id: str | None
    ) -> HoldView:
        """End a hold, by the permit of a second person (kind `hold_lift`, subject the hold's id).

        Raises:
            NotPermitted, InvalidRequest: scope, an account of one department, reason.
            PolicyRefused: SEC-04, no permit; SEC-05, an altered row.
            NotFound: no such hold.
            Conflict: it was lifted before.
        """
        _require(who)
        _check_reason(reason)

        def act(tx: Tx) -> Hold:
            hold = rows.read(tx.conn, tx.vault, hold_id)
            if hold is None:
                raise NotFound("no such hold", field="hold_id", value=hold_id[:80])
            if not hold.is_in_force:
                raise Conflict("the hold was lifted before", field="hold_id", policy="SEC-12")
            dual.take(tx, who, request_id, kind=DualKind.HOLD_LIFT, subject=hold_id)
            after = rows.lift(tx, hold, reason=reason.strip(), by=who.account_id, name=who.name)
            _audit(tx, who, "hold.lift", after, reason, request=request_id or "")
            return after

        return _view(await self._write(act), who)

    async def _write(self, act: Callable[[Tx], ResultT]) -> ResultT:
        try:
            return await self._store.write(act)
        except TamperedError:
            raise PolicyRefused(
                "SEC-05",
                "the hold's row was altered outside modemctl; it keeps everything",
                cure="modemctl audit verify; restore the row from a copy",
            ) from None


def wanted_of(
    numbers: NumberRules,
    *,
    iccid: str | None = None,
    number: str | None = None,
    batch_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> NewHold:
    """What of the records is meant: a card, a number, a batch or a period.

    Raises:
        InvalidRequest: not exactly one of them, or no number.
    """
    kinds = {
        HoldKind.CARD: iccid,
        HoldKind.NUMBER: number,
        HoldKind.BATCH: batch_id,
        HoldKind.PERIOD: since or until,
    }
    named = [kind for kind, value in kinds.items() if value is not None]
    if len(named) != 1:
        rule = "names exactly one: card, number, batch or period"
        cure = "--card ICCID, --number NUMBER, --batch ID, or --since with --until"
        raise InvalidRequest(rule, field="kind", cure=cure)
    if named[0] is HoldKind.PERIOD and (since is None or until is None or until < since):
        raise InvalidRequest("a period has a beginning and a later end", field="until")
    if number is not None:
        found = normalise(number, numbers)
        if isinstance(found, Rejection):
            raise InvalidRequest(f"is no number of a mobile: {found}", field="number")
        number = found
    return NewHold(
        kind=named[0],
        iccid=iccid,
        number=number,
        batch_id=None if batch_id is None else batch_id.lower(),
        since=since,
        until=until,
    )


def _require(who: Principal) -> None:
    who.require(Scope.RECORDS_WRITE)
    who.require_all_departments()
    who.require_person("SEC-12")


def _check_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > _REASON_MAX:
        raise InvalidRequest(f"must have 1 to {_REASON_MAX} characters", field="reason")


def _audit(tx: Tx, who: Principal, action: str, hold: Hold, reason: str, **facts: str) -> None:
    details = {"kind": hold.kind.value, "subject": hold.subject, "reason": reason.strip()}
    if hold.since is not None and hold.until is not None:
        details |= {"since": hold.since.isoformat(), "until": hold.until.isoformat()}
    more = {"source": who.source, "policy": "SEC-12"}
    tx.audit(who.name, action, hold.hold_id, {**details, **more, **facts})
    tx.event(EventKind.ALARM, hold.hold_id, {"alarm": action.replace(".", "_"), **more})


def _view(one: Hold, who: Principal) -> HoldView:
    number = one.number
    if number is not None and Scope.PII_READ not in who.scopes:
        number = mask_number(number)
    return HoldView(
        hold_id=one.hold_id,
        kind=one.kind,
        iccid=one.subject if one.kind is HoldKind.CARD else None,
        number=number,
        batch_id=one.subject if one.kind is HoldKind.BATCH else None,
        since=one.since,
        until=one.until,
        reason=one.reason,
        set_by=one.set_name,
        set_at=one.set_at,
        lifted_by=one.lifted_name,
        lifted_at=one.lifted_at,
        lift_reason=one.lift_reason,
        is_in_force=one.is_in_force,
        is_intact=one.is_intact,
    )
