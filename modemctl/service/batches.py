"""Batches: submitted, confirmed, approved, started, stopped (SMS-01 … SMS-06, SEC-04, SEC-10)."""

from __future__ import annotations

import hmac
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

from modemctl.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    PolicyRefused,
    TamperedError,
)
from modemctl.lifecycle import BatchState
from modemctl.model import AccountId, Decision, Topic
from modemctl.policy.approvals import chain_policy, kid_of, verify_next
from modemctl.service.batch_views import (
    BatchView,
    SignSheet,
    estimate_finish,
    may_see,
    result_of,
    sight_of,
    sign_sheet,
    view,
)
from modemctl.service.intake import Intake, list_digest
from modemctl.service.pages import Page, decode_number, decode_text, encode_cursor
from modemctl.service.principal import Principal, Scope
from modemctl.service.recipients import ListFormat, Recipient, spool
from modemctl.service.sifters import sift, sift_lines
from modemctl.service.submission import (
    BatchRequest,
    SubmissionRules,
)
from modemctl.store import Connection, Store, Tx, evidence, messages, staging
from modemctl.store import batches as rows
from modemctl.store.accounts import AccountState, find_account
from modemctl.store.batches import Batch
from modemctl.store.staging import RemovedLine
from modemctl.store.transaction import Json

__all__ = [
    "Batch",
    "BatchRequest",
    "BatchView",
    "Batches",
    "ListFormat",
    "Recipient",
    "SignSheet",
    "SubmissionRules",
]

ItemT = TypeVar("ItemT")

_PAGE: Final = 500
_REASON_MAX: Final = 500

_UNAPPROVED: Final = (BatchState.DRAFT, BatchState.CHECKED, BatchState.AWAITING_APPROVAL)


class Batches:
    """What people and machines do with batches."""

    def __init__(self, store: Store, rules: SubmissionRules) -> None:
        self._store = store
        self._rules = rules
        self._intake = Intake(store, rules)

    # ------------------------------------------------------------ submission

    async def submit(
        self, who: Principal, request: BatchRequest, recipients: Sequence[Recipient]
    ) -> BatchView:
        """Submit a batch with a short list; a repeat with the same content gives the same batch.

        Raises:
            InvalidRequest, PolicyRefused, NotPermitted, Conflict: nothing was kept.
        """
        numbers = [one.line_no for one in recipients]
        if any(line < 1 for line in numbers) or numbers != sorted(set(numbers)):
            raise InvalidRequest("line numbers must ascend from 1", field="recipients")
        read = partial(sift_lines, recipients)
        await self._intake.take(
            who, request, request.digest(list_digest(recipients)), lambda rules: read(rules=rules)
        )
        return await self.show(who, request.batch_id)

    async def submit_list(
        self,
        who: Principal,
        request: BatchRequest,
        chunks: AsyncIterator[bytes],
        list_format: ListFormat,
        *,
        encoding: str | None = None,
    ) -> BatchView:
        """Submit a batch whose list comes as a file of any size, in chunks.

        Raises:
            InvalidRequest, PolicyRefused, NotPermitted, Conflict: nothing was kept.
        """
        who.require(Scope.BATCHES_SUBMIT)
        self._rules.check(request, now=self._store.clock.now())
        async with spool(chunks, max_octets=self._rules.max_list_octets) as spooled:
            digest = request.digest(spooled.sha256 + f"{list_format}:{encoding}".encode())
            read = partial(sift, spooled, list_format, encoding=encoding)
            await self._intake.take(who, request, digest, lambda rules: read(rules=rules))
        return await self.show(who, request.batch_id)

    async def tidy(self) -> None:
        """Take back drafts whose list broke off, until cancelled."""
        await self._intake.tidy()

    # ------------------------------------------------------------ two persons, then the chain

    async def confirm(self, who: Principal, batch_id: str, digest: bytes) -> BatchView:
        """A second person has checked text and list as the digest (32 octets) stands for them.

        Raises:
            PolicyRefused: SEC-04, drafter, submitter or a machine, or it saw something else.
            NotFound, NotPermitted, Conflict: also.
        """
        who.require(Scope.BATCHES_CONFIRM)
        who.require_person("SEC-04")

        def act(tx: Tx) -> None:
            found = self._visible(tx.conn, who, batch_id)
            if who.account_id in {found.drafter, found.submitter}:
                raise PolicyRefused(
                    "SEC-04",
                    "text and list are confirmed by somebody other than drafter and submitter",
                )
            if found.digest is None or not hmac.compare_digest(found.digest, digest):
                raise PolicyRefused(
                    "SEC-04",
                    "the digest is not this batch's",
                    field="digest",
                    cure="look at the batch again and confirm what it is now",
                )
            _require_move(tx, found, BatchState.AWAITING_APPROVAL)
            evidence.add_confirmation(
                tx, batch_id=found.batch_id, account_id=who.account_id, digest=digest
            )
            details: dict[str, Json] = {
                "digest": digest.hex(),
                "source": who.source,
                "policy": "SEC-04",
            }
            tx.audit(who.name, "batch.confirm", batch_id, details)

        await self._store.write(act)
        return await self.show(who, batch_id)

    async def approve(self, who: Principal, batch_id: str, jws: str) -> BatchView:
        """Take an approver's signed word for the next step; `who` only brings it.

        A signed rejection ends the batch.

        Raises:
            PolicyRefused: SMS-01 … SMS-04, SMS-11, SEC-04, naming what is wrong.
            NotFound, NotPermitted, Conflict: also.
        """
        who.require(Scope.BATCHES_APPROVE)
        rules, kid = self._rules.approvals, kid_of(jws)

        def act(tx: Tx) -> None:
            found = self._visible(tx.conn, who, batch_id)
            if found.state is not BatchState.AWAITING_APPROVAL:
                raise _wrong_state(found, "only a confirmed batch is approved")
            known = evidence.read_for_next(tx.conn, tx.vault, found.batch_id, kid=kid)
            now = tx.now.replace(microsecond=tx.now.microsecond // 1000 * 1000)  # as it is stored
            step = verify_next(known, jws, kid=kid, rules=rules, now=now)
            _require_active(tx, step.approval.account_id)
            evidence.add_approval(
                tx, batch_id=found.batch_id, approval=step.approval, decision=step.decision
            )
            after: BatchState = found.state
            if step.decision is Decision.REJECT:
                after = BatchState.REJECTED
                _require_move(tx, found, after, reason=f"by {step.step_name}")
            elif step.is_last:
                after = BatchState.APPROVED
                _require_move(tx, found, after)
                tx.wake(Topic.WORK)
            details: dict[str, Json] = {
                "step": step.approval.step,
                "as": step.step_name,
                "approver": step.approval.account_id,
                "kid": kid,
                "decision": step.decision,
                "state": after,
                "policy": chain_policy(found.category),
                "source": who.source,
            }
            tx.audit(who.name, f"batch.{step.decision}", batch_id, details)

        await self._store.write(act)
        return await self.show(who, batch_id)

    async def reject(self, who: Principal, batch_id: str, reason: str) -> BatchView:
        """A checker or approver refuses a batch that is not approved yet; needs no signature.

        Raises:
            PolicyRefused: SEC-04, a machine.
            InvalidRequest, NotFound, NotPermitted, Conflict: see their texts.
        """
        if Scope.BATCHES_CONFIRM not in who.scopes:
            who.require(Scope.BATCHES_APPROVE)
        who.require_person("SEC-04")
        return await self._close(who, batch_id, BatchState.REJECTED, "batch.reject", reason)

    # ------------------------------------------------------------ running

    async def start(self, who: Principal, batch_id: str) -> BatchView:
        """The named operator starts an approved batch; it sends within its window.

        Raises:
            PolicyRefused: SMS-06 not the operator or not authorised now; SMS-01 … as `approve`.
            NotFound, NotPermitted, Conflict: also.
        """
        who.require(Scope.BATCHES_OPERATE)
        who.require_person("SMS-06")
        rules = self._rules.approvals

        def act(tx: Tx) -> None:
            found = self._visible(tx.conn, who, batch_id)
            if who.account_id != found.operator:
                raise PolicyRefused("SMS-06", "only the operator whom the batch names starts it")
            if found.state in _UNAPPROVED:
                raise PolicyRefused(
                    "SMS-01",
                    "only an approved batch is started",
                    cure="let the second person confirm and each step of the chain sign",
                    field="state",
                    value=found.state,
                )
            if found.state is not BatchState.APPROVED:
                raise _wrong_state(found, "only an approved batch is started")
            verified = rows.require_start(tx.conn, tx.vault, found, rules=rules, now=tx.now)
            _require_move(tx, found, BatchState.RUNNING)
            details: dict[str, Json] = {
                "digest": verified.digest.hex(),
                "approvals": list(verified.approvers),
                "source": who.source,
                "policy": "SMS-06",
            }
            tx.audit(who.name, "batch.start", batch_id, details)

        await self._store.write(act)
        return await self.show(who, batch_id)

    async def resume(self, who: Principal, batch_id: str) -> BatchView:
        """Let a held batch go on; whoever may operate its department now can do it.

        Raises:
            PolicyRefused: SMS-06 not authorised as operator; SMS-01 … as `approve`.
            NotFound, NotPermitted, Conflict: also.
        """
        who.require(Scope.BATCHES_OPERATE)
        who.require_person("SMS-06")
        rules = self._rules.approvals

        def act(tx: Tx) -> None:
            found = self._visible(tx.conn, who, batch_id)
            if found.state is not BatchState.HELD:
                raise _wrong_state(found, "only a held batch goes on")
            verified = rows.verify_now(tx.conn, tx.vault, found.batch_id, rules=rules, now=tx.now)
            department = rules.operating_department(found.category, found.department)
            if not rows.may_operate(
                tx.conn, tx.vault, who.account_id, department=department, at=tx.now
            ):
                raise PolicyRefused("SMS-06", f"you are no operator of department {department}")
            _require_move(tx, found, BatchState.RUNNING)
            details: dict[str, Json] = {
                "approvals": list(verified.approvers),
                "source": who.source,
                "policy": "SMS-06",
            }
            tx.audit(who.name, "batch.resume", batch_id, details)

        await self._store.write(act)
        return await self.show(who, batch_id)

    async def hold(self, who: Principal, batch_id: str, reason: str) -> BatchView:
        """Stop a batch for now: no segment of it begins later than a second after the answer.

        The view says what was sent, is in flight and unsent (SEC-10).

        Raises:
            InvalidRequest, NotFound, NotPermitted, Conflict: see their texts.
        """
        who.require(Scope.BATCHES_OPERATE)
        return await self._close(who, batch_id, BatchState.HELD, "batch.hold", reason)

    async def cancel(self, who: Principal, batch_id: str, reason: str) -> BatchView:
        """Stop an approved batch for good.

        Raises:
            InvalidRequest, NotFound, NotPermitted, Conflict: see their texts.
        """
        who.require(Scope.BATCHES_OPERATE)
        return await self._close(who, batch_id, BatchState.CANCELLED, "batch.cancel", reason)

    async def withdraw(self, who: Principal, batch_id: str, reason: str) -> BatchView:
        """Take back a batch that does not run yet.

        Raises:
            InvalidRequest, NotFound, NotPermitted, Conflict: see their texts.
        """
        who.require(Scope.BATCHES_SUBMIT)
        return await self._close(who, batch_id, BatchState.WITHDRAWN, "batch.withdraw", reason)

    async def _close(
        self, who: Principal, batch_id: str, to: BatchState, action: str, reason: str
    ) -> BatchView:
        if not reason.strip() or len(reason) > _REASON_MAX:
            raise InvalidRequest(f"must have 1 to {_REASON_MAX} characters", field="reason")

        def act(tx: Tx) -> None:
            found = self._visible(tx.conn, who, batch_id)
            _require_move(tx, found, to, reason=reason)
            tx.audit(who.name, action, batch_id, {"reason": reason, "source": who.source})

        await self._store.write(act)
        return await self.show(who, batch_id)

    # ------------------------------------------------------------ looking

    async def show(self, who: Principal, batch_id: str) -> BatchView:
        """One batch: state, totals, chain, progress.

        Raises:
            NotFound, NotPermitted: no such batch, or not of the account's department.
        """
        _require_reader(who)
        rules, vault, now = self._rules, self._store.vault, self._store.clock.now()

        def read(conn: Connection) -> BatchView:
            found = self._visible(conn, who, batch_id)
            known = evidence.read_evidence(conn, vault, [found.batch_id]).get(found.batch_id)
            progress = rows.progress(conn, batch_id)
            department = rules.approvals.operating_department(found.category, found.department)
            n_cards = rows.usable_cards(conn, department=department, card_group=found.card_group)
            finish = estimate_finish(found, progress, n_cards=n_cards, rules=rules, now=now)
            intake = self._intake.progress(found.batch_id)
            return view(found, known, progress, rules=rules.approvals, finish=finish, intake=intake)

        return await self._store.read(read)

    async def list_batches(
        self,
        who: Principal,
        *,
        states: Collection[BatchState] | None = None,
        category: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[Batch]:
        """Batches that the account may see, newest first.

        Raises:
            NotPermitted, InvalidRequest: scope or cursor.
        """
        _require_reader(who)
        sight = sight_of(who, self._rules.approvals.general_department)
        query = rows.Query(seen_by=sight, states=states, category=category)
        before = _list_key(cursor)
        found = await self._store.read(
            lambda conn: rows.list_batches(conn, query, before=before, limit=limit + 1)
        )
        return _page(found, limit, lambda one: _key_text(one.created_at, one.batch_id))

    async def removed(
        self, who: Principal, batch_id: str, *, cursor: str | None = None, limit: int = 1000
    ) -> Page[RemovedLine]:
        """Lines of the list that are not part of the batch, masked, with the reason.

        Raises:
            NotFound, NotPermitted, InvalidRequest: batch, scope or cursor.
        """
        _require_reader(who)
        after = decode_number(cursor)

        def read(conn: Connection) -> Sequence[RemovedLine]:
            self._visible(conn, who, batch_id)
            return staging.removed_lines(conn, batch_id, after=after, limit=limit + 1)

        return _page(await self._store.read(read), limit, lambda one: one.line_no)

    async def results(
        self, who: Principal, batch_id: str
    ) -> AsyncGenerator[Mapping[str, Json], None]:
        """Every message with its outcome, in order; numbers masked without `pii:read`.

        Raises:
            NotFound, NotPermitted: before the first one.
        """
        _require_reader(who)
        await self._store.read(lambda conn: self._visible(conn, who, batch_id))
        vault, query, after = self._store.vault, messages.Query(batch_id=batch_id), 0
        while True:
            read = partial(
                messages.find_messages, vault=vault, query=query, after=after, limit=_PAGE
            )
            found = await self._store.read(read)
            for one in found:
                yield result_of(one, is_masked=Scope.PII_READ not in who.scopes)
            if len(found) < _PAGE:
                return
            after = found[-1].message_id

    async def sheet(self, who: Principal, batch_id: str) -> SignSheet:
        """What an approver must see and sign next: header, totals, examples, payload to sign.

        Numbers are masked without `pii:read`; the text goes to drafter and submitter too.

        Raises:
            NotFound, NotPermitted, Conflict: no such batch, or its list is not complete.
            PolicyRefused: SMS-01, the header was changed.
        """
        _require_reader(who)
        vault, rules = self._store.vault, self._rules.approvals
        query = messages.Query(batch_id=batch_id)

        def read(conn: Connection) -> SignSheet:
            found = self._visible(conn, who, batch_id)
            if found.header is None:
                raise _wrong_state(found, "its list is not complete")
            known = evidence.read_evidence(conn, vault, [found.batch_id])[found.batch_id]
            examples = messages.find_messages(conn, vault, query, after=0, limit=3)
            return sign_sheet(found, known, examples, rules=rules, who=who)

        return await self._store.read(read)

    def _visible(self, conn: Connection, who: Principal, batch_id: str) -> Batch:
        found = rows.find_batch(conn, batch_id)
        sight = sight_of(who, self._rules.approvals.general_department)
        if found is None or not may_see(sight, found.department, found.category):
            raise NotFound("no such batch", field="batch_id", value=batch_id[:40])
        return found


# ---------------------------------------------------------------- inside


def _require_reader(who: Principal) -> None:
    # Whoever may act on batches sees what came of it.
    acting = {
        Scope.BATCHES_SUBMIT, Scope.BATCHES_CONFIRM, Scope.BATCHES_APPROVE, Scope.BATCHES_OPERATE,
    }  # fmt: skip
    if not acting & who.scopes:
        who.require(Scope.BATCHES_READ)


def _require_move(tx: Tx, found: Batch, to: BatchState, *, reason: str = "") -> None:
    if not rows.move(tx, found.batch_id, to, reason=reason):
        raise _wrong_state(found, f"it cannot become {to} now")


def _wrong_state(found: Batch, rule: str) -> Conflict:
    return Conflict(f"the batch is {found.state}; {rule}", field="state", value=found.state)


def _require_active(tx: Tx, account_id: AccountId) -> None:
    try:
        account = find_account(tx.conn, tx.vault, account_id)
    except TamperedError as error:
        raise PolicyRefused("SMS-01", str(error)) from error
    if account is None or account.state is not AccountState.ACTIVE:
        raise PolicyRefused("SMS-01", "the approver's account is not active")


def _page(found: Sequence[ItemT], limit: int, key: Callable[[ItemT], str | int]) -> Page[ItemT]:
    """One page of what was read with one item more than asked for."""
    items = found[:limit]
    more = len(found) > limit
    return Page(items=items, next=encode_cursor(key(items[-1])) if more else None)


def _key_text(created_at: datetime, batch_id: str) -> str:
    return f"{created_at.isoformat()} {batch_id}"


def _list_key(cursor: str | None) -> tuple[datetime, str] | None:
    text = decode_text(cursor)
    if not text:
        return None
    at, _, batch_id = text.partition(" ")
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        moment = None
    if moment is None or moment.utcoffset() != timedelta(0):
        raise InvalidRequest("must be a cursor that this list gave", field="cursor")
    return moment, batch_id
