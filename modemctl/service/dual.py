"""Acts of two persons (SEC-04): one asks, another one confirms, and the permit counts once.

A service that needs two persons calls `take` inside the transaction of its act.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from shlex import quote
from typing import Final, TypeAlias, TypeVar

from modemctl.errors import Conflict, InvalidRequest, NotFound, PolicyRefused, TamperedError
from modemctl.policy.dual import (
    BY_COMMAND,
    OPEN,
    DualKind,
    DualState,
    state_at,
    why_not_confirm,
    why_not_spend,
)
from modemctl.policy.dual_subjects import misfit
from modemctl.service.pages import Page, decode_text, encode_cursor
from modemctl.service.principal import Principal, Scope
from modemctl.service.second_persons import require_entitled, require_own_hands
from modemctl.store import Connection, Store, Tx
from modemctl.store import dual as rows
from modemctl.store.dual import DualRequest
from modemctl.vault import Vault

__all__ = [
    "DUTIES",
    "LIFE",
    "Dual",
    "DualKind",
    "DualState",
    "DualView",
    "Duty",
    "Performer",
    "ask",
    "take",
    "take_from",
    "view",
]

ResultT = TypeVar("ResultT")

LIFE: Final = timedelta(hours=24)
"""How long a request and its permit last, where the settings say nothing else."""

_REASON_MAX: Final = 500
_SUBJECT_MAX: Final = 200
_DETAILS_MAX: Final = 40
_DETAIL_MAX: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """Which scope the asker of a kind holds, and which one who confirms it."""

    ask: Scope
    confirm: Scope


DUTIES: Final[Mapping[DualKind, Duty]] = {
    DualKind.ELEVATION: Duty(ask=Scope.BATCHES_APPROVE, confirm=Scope.ACCOUNTS_WRITE),
    DualKind.GRANT: Duty(ask=Scope.ACCOUNTS_WRITE, confirm=Scope.ACCOUNTS_WRITE),
    DualKind.OPERATOR: Duty(ask=Scope.BATCHES_APPROVE, confirm=Scope.BATCHES_APPROVE),
    DualKind.UNFREEZE: Duty(ask=Scope.ACCOUNTS_WRITE, confirm=Scope.ACCOUNTS_WRITE),
    DualKind.PIN_REVEAL: Duty(ask=Scope.SIMS_WRITE, confirm=Scope.SIMS_WRITE),
    DualKind.KEY_ROTATION: Duty(ask=Scope.ACCOUNTS_WRITE, confirm=Scope.ACCOUNTS_WRITE),
    DualKind.POLICY_CHANGE: Duty(ask=Scope.ACCOUNTS_WRITE, confirm=Scope.ACCOUNTS_WRITE),
    DualKind.EXPORT: Duty(ask=Scope.EXPORTS_MAKE, confirm=Scope.AUDIT_READ),
    DualKind.PURGE: Duty(ask=Scope.RECORDS_WRITE, confirm=Scope.RECORDS_WRITE),
    DualKind.ERASURE: Duty(ask=Scope.RECORDS_WRITE, confirm=Scope.RECORDS_WRITE),
    DualKind.EVIDENCE_PACKAGE: Duty(ask=Scope.AUDIT_READ, confirm=Scope.AUDIT_READ),
    DualKind.HOLD_LIFT: Duty(ask=Scope.RECORDS_WRITE, confirm=Scope.RECORDS_WRITE),
    DualKind.THIRD_PARTY: Duty(ask=Scope.BATCHES_APPROVE, confirm=Scope.BATCHES_APPROVE),
    DualKind.SUSPENSION_RELEASE: Duty(ask=Scope.SIMS_WRITE, confirm=Scope.SIMS_WRITE),
}
"""Who asks and who confirms, by kind."""

_COMMANDS: Final[Mapping[DualKind, str]] = {
    DualKind.OPERATOR: "modemctl operator apply, by the department's manager",
}
"""What asks for a kind, where `request ask` does not."""

Performer: TypeAlias = Callable[[Tx, DualRequest], None]
"""Does what a request asks for, in the transaction that confirms it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DualView:
    """A request. `decided_by` confirmed, refused or withdrew it; the two are names."""

    request_id: str
    kind: DualKind
    subject: str
    details: Mapping[str, str]
    reason: str
    state: DualState
    asked_by: str
    asked_at: datetime
    expires_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    spent_at: datetime | None


class Dual:
    """Keeps requests and decides on them."""

    def __init__(
        self,
        store: Store,
        *,
        life: timedelta = LIFE,
        performers: Mapping[DualKind, Performer] | None = None,
    ) -> None:
        """`performers`: kinds that are done at once when confirmed; others wait for `take`."""
        self._store = store
        self._life = life
        self._performers = dict(performers or {})

    async def ask(
        self,
        who: Principal,
        *,
        kind: DualKind,
        subject: str,
        details: Mapping[str, str],
        reason: str,
    ) -> DualView:
        """Ask for an act of two persons; nothing happens until another one confirms.

        Raises:
            NotPermitted: without the scope of the kind's asker.
            PolicyRefused: SEC-04, a machine's account.
            InvalidRequest: subject, details or reason.
        """
        if kind in BY_COMMAND:
            raise InvalidRequest(
                "is asked for by a command of its own",
                field="kind",
                value=kind,
                cure="modemctl account --help, modemctl operator --help",
            )
        if fault := misfit(kind, subject, details):
            raise InvalidRequest(
                fault.rule, field=fault.field, value=subject[:80], cure=fault.cure, policy="SEC-04"
            )

        def act(tx: Tx) -> DualView:
            life = self._life
            new = ask(
                tx, who, kind=kind, subject=subject, details=details, reason=reason, life=life
            )
            return view(new, tx.now)

        return await self._write(act)

    async def list(
        self,
        who: Principal,
        *,
        state: DualState | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[DualView]:
        """One's own requests and those that one may decide on, newest first; all for an auditor.

        Raises:
            NotPermitted: without `requests:use`.
            InvalidRequest: a cursor that is not ours.
            PolicyRefused: SEC-05, an altered row.
        """
        who.require(Scope.REQUESTS_USE)
        before, now, vault = decode_text(cursor), self._store.clock.now(), self._store.vault
        wanted = None if state is DualState.EXPIRED else state  # no row says that its time is over

        def query(conn: Connection) -> Page[DualView]:
            found = rows.find_many(conn, vault, state=wanted, before=before, limit=limit)
            views = [view(one, now) for one in found if _may_see(who, one)]
            items = [one for one in views if state is None or one.state is state]
            more = len(found) == limit
            return Page(items=items, next=encode_cursor(found[-1].request_id) if more else None)

        return await self._read(query)

    async def get(self, who: Principal, request_id: str) -> DualView:
        """One request.

        Raises:
            NotPermitted: without `requests:use`.
            NotFound: no such request, or not one's own and not one's to decide on.
            PolicyRefused: SEC-05, an altered row.
        """
        who.require(Scope.REQUESTS_USE)
        vault, now = self._store.vault, self._store.clock.now()
        return await self._read(lambda conn: view(_visible(conn, vault, who, request_id), now))

    async def confirm(self, who: Principal, request_id: str) -> DualView:
        """Say yes, as a second person; the asker may then act once, or it is done at once.

        Raises:
            NotPermitted: without `requests:use`, or the scope of the kind's confirmer.
            NotFound: no such request, or of a department that one does not see.
            PolicyRefused: SEC-04, who asked himself, or a machine; SEC-05, an altered row.
            Conflict: it waits for nobody.
        """

        def act(tx: Tx) -> DualView:
            asked = self._to_decide(tx, who, request_id)
            state = state_at(asked.state, asked.expires_at, tx.now)
            _require_open(state)
            if rule := why_not_confirm(state, asker=asked.asked_by, confirmer=who.account_id):
                is_own = asked.asked_by == who.account_id
                cure = "let a colleague confirm" if is_own else "nothing is left to confirm"
                raise PolicyRefused("SEC-04", rule, cure=cure)
            require_entitled(tx, asked.asked_by, DUTIES[asked.kind].ask)
            require_own_hands(tx, who.account_id, asked.asked_by, since=asked.asked_at)
            confirmed = rows.decide(
                tx, asked, DualState.CONFIRMED, by=who.account_id, name=who.name
            )
            _audit(tx, who, "request.confirm", confirmed)
            if (perform := self._performers.get(asked.kind)) is not None:
                perform(tx, confirmed)
                confirmed = rows.spend(tx, confirmed)
                _audit(tx, who, "request.spend", confirmed)
            return view(confirmed, tx.now)

        return await self._write(act)

    async def refuse(self, who: Principal, request_id: str, *, reason: str) -> DualView:
        """Say no, as a second person; a permit that is not spent yet is void.

        Raises:
            NotPermitted, NotFound, PolicyRefused, Conflict: as `confirm`.
            InvalidRequest: no reason.
        """
        _check_reason(reason)

        def act(tx: Tx) -> DualView:
            asked = self._to_decide(tx, who, request_id)
            _require_open(state_at(asked.state, asked.expires_at, tx.now))
            after = rows.decide(tx, asked, DualState.REFUSED, by=who.account_id, name=who.name)
            _audit(tx, who, "request.refuse", after, why=reason.strip())
            return view(after, tx.now)

        return await self._write(act)

    async def withdraw(self, who: Principal, request_id: str) -> DualView:
        """Take one's own request back, or the permit that came of it.

        Raises:
            NotPermitted: without `requests:use`.
            NotFound: no such request, or another's.
            PolicyRefused: SEC-05, an altered row.
            Conflict: it is over.
        """
        who.require(Scope.REQUESTS_USE)

        def act(tx: Tx) -> DualView:
            asked = _visible(tx.conn, tx.vault, who, request_id)
            if asked.asked_by != who.account_id:
                raise _unknown(request_id)
            _require_open(state_at(asked.state, asked.expires_at, tx.now))
            after = rows.decide(tx, asked, DualState.WITHDRAWN, by=who.account_id, name=who.name)
            _audit(tx, who, "request.withdraw", after)
            return view(after, tx.now)

        return await self._write(act)

    def _to_decide(self, tx: Tx, who: Principal, request_id: str) -> DualRequest:
        who.require(Scope.REQUESTS_USE)
        who.require_person("SEC-04")
        asked = _visible(tx.conn, tx.vault, who, request_id)
        who.require(DUTIES[asked.kind].confirm)
        if not who.sees(asked.department):
            raise _unknown(request_id)
        return asked

    async def _write(self, act: Callable[[Tx], ResultT]) -> ResultT:
        try:
            return await self._store.write(act)
        except TamperedError:
            raise _altered() from None

    async def _read(self, query: Callable[[Connection], ResultT]) -> ResultT:
        try:
            return await self._store.read(query)
        except TamperedError:
            raise _altered() from None


def ask(
    tx: Tx,
    who: Principal,
    *,
    kind: DualKind,
    subject: str,
    details: Mapping[str, str],
    reason: str,
    life: timedelta = LIFE,
) -> DualRequest:
    """Ask inside a transaction; nothing personal in `details`, they stand in the audit log.

    Raises:
        NotPermitted: without `requests:use` and the scope of the kind's asker.
        PolicyRefused: SEC-04, a machine's account.
        InvalidRequest: subject, details or reason.
    """
    who.require(Scope.REQUESTS_USE)
    who.require(DUTIES[kind].ask)
    who.require_person("SEC-04")
    _check_reason(reason)
    _check_details(subject, details)
    new = rows.add(
        tx,
        kind=kind,
        subject=subject,
        details=details,
        reason=reason.strip(),
        department=who.department,
        by=who.account_id,
        name=who.name,
        life=life,
    )
    _audit(tx, who, "request.ask", new, why=new.reason)
    return new


def take(
    tx: Tx,
    who: Principal,
    request_id: str | None,
    *,
    kind: DualKind,
    subject: str,
    details: Mapping[str, str] | None = None,
) -> DualRequest:
    """Spend `who`'s permit for this very act, in the act's own transaction; None refuses.

    `details`, unless None, must be what was confirmed; where they are None, act on those of the
    request that this returns.

    Raises:
        PolicyRefused: SEC-04, there is no such permit; SEC-05, its row was altered.
    """
    who.require_person("SEC-04")
    if request_id is None:
        raise _no_permit(kind, subject, "two persons decide this", details)
    permit = _find(tx, request_id, kind)
    if permit is None or permit.subject != subject:
        raise _no_permit(kind, subject, "this is no request for it")
    if details is not None and dict(details) != dict(permit.details):
        raise _no_permit(kind, subject, "something else was confirmed", details)
    return _spend(tx, who, permit, spender=who.account_id)


def take_from(tx: Tx, who: Principal, request_id: str, *, kind: DualKind) -> DualRequest:
    """Spend a permit of two others, as a third person who files what they agreed on.

    Raises:
        PolicyRefused: SEC-04, there is no such permit, or `who` is one of the two; SEC-05, its row
            was altered.
    """
    who.require_person("SEC-04")
    permit = _find(tx, request_id, kind)
    if permit is None:
        raise _no_permit(kind, request_id, "this is no request for it")
    if who.account_id in {permit.asked_by, permit.decided_by}:
        raise PolicyRefused("SEC-04", "a third person files this", cure="ask a colleague")
    require_entitled(tx, permit.asked_by, DUTIES[kind].ask)
    return _spend(tx, who, permit, spender=permit.asked_by)


def _find(tx: Tx, request_id: str, kind: DualKind) -> DualRequest | None:
    try:
        permit = rows.find(tx.conn, tx.vault, request_id)
    except TamperedError:
        raise _altered() from None
    return permit if permit is not None and permit.kind is kind else None


def _spend(tx: Tx, who: Principal, permit: DualRequest, *, spender: str) -> DualRequest:
    state = state_at(permit.state, permit.expires_at, tx.now)
    asker, confirmer = permit.asked_by, permit.decided_by
    rule = why_not_spend(state, asker=asker, confirmer=confirmer, who=spender)
    if rule is not None or confirmer is None:
        raise _no_permit(permit.kind, permit.subject, rule or "nobody has confirmed it")
    require_entitled(tx, confirmer, DUTIES[permit.kind].confirm)
    require_own_hands(tx, confirmer, permit.asked_by, since=permit.asked_at)
    spent = rows.spend(tx, permit)
    _audit(tx, who, "request.spend", spent)
    return spent


def _check_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > _REASON_MAX:
        raise InvalidRequest(f"must have 1 to {_REASON_MAX} characters", field="reason")


def _check_details(subject: str, details: Mapping[str, str]) -> None:
    if not (0 < len(subject) <= _SUBJECT_MAX and subject.isprintable()):
        raise InvalidRequest(f"must be 1 to {_SUBJECT_MAX} printable characters", field="subject")
    is_small = all(len(name) <= _SUBJECT_MAX for name in details)
    is_short = all(len(value) <= _DETAIL_MAX for value in details.values())
    if len(details) > _DETAILS_MAX or not is_small or not is_short:
        raise InvalidRequest(
            f"must be {_DETAILS_MAX} at most, each of {_DETAIL_MAX} characters at most",
            field="details",
        )


def _require_open(state: DualState) -> None:
    if state not in OPEN:
        raise Conflict(f"the request is {state}", field="request_id", cure="ask anew")


def _may_see(who: Principal, one: DualRequest) -> bool:
    if one.asked_by == who.account_id:
        return True
    decides = {DUTIES[one.kind].confirm, Scope.AUDIT_READ}
    if one.kind is DualKind.OPERATOR:
        decides.add(Scope.ACCOUNTS_WRITE)  # who files what both managers have signed
    return who.sees(one.department) and bool(decides & who.scopes)


def _visible(conn: Connection, vault: Vault, who: Principal, request_id: str) -> DualRequest:
    found = rows.find(conn, vault, request_id)
    if found is None or not _may_see(who, found):
        raise _unknown(request_id)
    return found


def _unknown(request_id: str) -> NotFound:
    return NotFound("no such request", field="request_id", value=request_id[:80])


def _altered() -> PolicyRefused:
    rule = "the request's row was altered outside modemctl"
    return PolicyRefused("SEC-05", rule, cure="ask anew; modemctl audit verify names the row")


def _no_permit(
    kind: DualKind, subject: str, rule: str, details: Mapping[str, str] | None = None
) -> PolicyRefused:
    pairs = [f"--detail {quote(f'{name}={value}')} " for name, value in (details or {}).items()]
    default = f"modemctl request ask {kind} {quote(subject[:80])} {''.join(pairs)}--reason WHY"
    return PolicyRefused(
        "SEC-04",
        rule,
        field="request_id",
        cure=f"{_COMMANDS.get(kind, default)}; let a colleague confirm it",
    )


def _audit(tx: Tx, who: Principal, action: str, one: DualRequest, **facts: str) -> None:
    details = {
        "kind": one.kind.value,
        "subject": one.subject,
        "details": dict(one.details),
        "asked_by": one.asked_name,
        "state": one.state.value,
        "source": who.source,
        "policy": "SEC-04",
    }
    tx.audit(who.name, action, one.request_id, {**details, **facts})


def view(one: DualRequest, now: datetime) -> DualView:
    """A request as it is shown at `now`."""
    return DualView(
        request_id=one.request_id,
        kind=one.kind,
        subject=one.subject,
        details=one.details,
        reason=one.reason,
        state=state_at(one.state, one.expires_at, now),
        asked_by=one.asked_name,
        asked_at=one.asked_at,
        expires_at=one.expires_at,
        decided_by=one.decided_name,
        decided_at=one.decided_at,
        spent_at=one.spent_at,
    )
