"""Batches on their way to approval: confirmed, signed step by step, refused (SMS-01 … SMS-04)."""

from __future__ import annotations

import hmac
from typing import Final

from modemctl.errors import Conflict, InvalidRequest, PolicyRefused, TamperedError
from modemctl.lifecycle import BATCH, BatchState
from modemctl.model import AccountId, Decision, EventKind, Topic
from modemctl.policy.approvals import NextStep, chain_policy, kid_of, verify_next
from modemctl.policy.digest import decode_header
from modemctl.service.batch_reading import BatchReading, require_move, wrong_state
from modemctl.service.batch_views import BatchView
from modemctl.service.principal import Principal, Scope
from modemctl.service.readiness import REVIEWED_IN
from modemctl.store import Tx, batch_turns, evidence, optouts
from modemctl.store.accounts import AccountState, find_account
from modemctl.store.batches import Batch
from modemctl.store.transaction import Json

_REASON_MAX: Final = 500
_SIGNED_IN: Final = (BatchState.AWAITING_APPROVAL, BatchState.HELD)
_UNCONFIRMED: Final = (BatchState.DRAFT, BatchState.CHECKED)


class Approvals(BatchReading):
    """What two persons and the chain of a category decide about batches."""

    async def confirm(self, who: Principal, batch_id: str, digest: bytes) -> BatchView:
        """A second person has checked text and list as the digest (32 octets) stands for them.

        Raises:
            PolicyRefused: SEC-04, drafter, submitter, operator or a machine, or it saw something
                else.
            NotFound, NotPermitted, Conflict: also.
        """
        who.require(Scope.BATCHES_CONFIRM)
        who.require_person("SEC-04")

        def act(tx: Tx) -> None:
            found = self._visible(tx.conn, who, batch_id)
            if who.account_id in {found.drafter, found.submitter, found.operator}:
                raise PolicyRefused(
                    "SEC-04",
                    "text and list are confirmed by another than drafter, submitter and operator",
                    cure="let a colleague with no other part in it confirm",
                )
            if found.digest is None or not hmac.compare_digest(found.digest, digest):
                raise PolicyRefused(
                    "SEC-04",
                    "the digest is not this batch's",
                    field="digest",
                    cure="look at the batch again and confirm what it is now",
                )
            require_move(tx, found, BatchState.AWAITING_APPROVAL)
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

        A signed rejection ends the batch. A held batch of which a key was compromised takes a new
        word for that step, and stays held until a person resumes it.

        Raises:
            PolicyRefused: SMS-01 … SMS-04, SMS-11, SEC-04, naming what is wrong.
            NotFound, NotPermitted, Conflict: also.
        """
        who.require(Scope.BATCHES_APPROVE)
        rules, kid = self._rules.approvals, kid_of(jws)

        def act(tx: Tx) -> None:
            found = self._visible(tx.conn, who, batch_id)
            if found.state not in _SIGNED_IN and not _is_reviewed(found):
                raise _not_signed_now(found)
            known = evidence.read_for_next(tx.conn, tx.vault, found.batch_id, kid=kid)
            now = tx.now.replace(microsecond=tx.now.microsecond // 1000 * 1000)  # as it is stored
            step = verify_next(known, jws, kid=kid, rules=rules, now=now)
            _require_active(tx, step.approval.account_id)
            _record(tx, who, found, step)
            if step.is_last and found.starts_itself:
                batch_turns.due_starts(
                    tx, rules
                )  # its window may be open: nothing waits for a sweep

        await self._store.write(act)
        await self._store.signals.yield_to_first()
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

    async def _close(
        self, who: Principal, batch_id: str, to: BatchState, action: str, reason: str
    ) -> BatchView:
        if not reason.strip() or len(reason) > _REASON_MAX:
            raise InvalidRequest(f"must have 1 to {_REASON_MAX} characters", field="reason")

        def act(tx: Tx) -> None:
            found = self._visible(tx.conn, who, batch_id)
            require_move(tx, found, to, reason=reason)
            tx.audit(who.name, action, batch_id, {"reason": reason, "source": who.source})

        await self._store.write(act)
        return await self.show(who, batch_id)


def _not_signed_now(found: Batch) -> Conflict:
    """What to raise where a signature comes too early, or too late: a repeat, or it is over."""
    if found.state in _UNCONFIRMED:
        cure = "let a second person confirm text and list first"
        return wrong_state(found, "only a confirmed batch is approved", cure=cure)
    return wrong_state(
        found, "it takes no signature now", cure="read the batch: its steps name who signed"
    )


def _record(tx: Tx, who: Principal, found: Batch, step: NextStep) -> None:
    """Keep a signature that was found good, and move the batch if it decides."""
    batch_id, approval = found.batch_id, step.approval
    replaced = None
    if step.is_renewal:
        replaced = evidence.drop_approval(tx, batch_id=batch_id, step=approval.step)
    evidence.add_approval(tx, batch_id=batch_id, approval=approval, decision=step.decision)
    after = _after(found, step)
    if after is not found.state:
        reason = f"by {step.step_name}" if step.decision is Decision.REJECT else ""
        require_move(tx, found, after, reason=reason)
        if after is BatchState.APPROVED:
            optouts.refuse_waiting(tx, found.batch_id)
        tx.wake(Topic.WORK)
    details: dict[str, Json] = {
        "step": approval.step,
        "as": step.step_name,
        "approver": approval.account_id,
        "kid": approval.kid,
        "decision": step.decision,
        "state": after,
        "policy": chain_policy(found.category),
        "source": who.source,
    }
    if replaced is not None:
        details["instead_of"] = replaced
    tx.audit(who.name, _action(found, step, after), batch_id, details)
    if step.emergency is not None:
        _tell_emergency(tx, who, found, step, reason=step.emergency)


def _action(found: Batch, step: NextStep, after: BatchState) -> str:
    """What the audit log calls it; replayed, it gives the batch's state."""
    if step.decision is Decision.APPROVE:
        return "batch.approve"
    if after is BatchState.CANCELLED and after is not found.state:
        return "batch.cancel"
    return "batch.reject" if after is BatchState.REJECTED else "batch.disapprove"


def _tell_emergency(tx: Tx, who: Principal, found: Batch, step: NextStep, *, reason: str) -> None:
    """The log and an alarm say that an emergency was let go, refused, or has its whole chain."""
    is_no = step.decision is Decision.REJECT
    if not (is_no or step.is_whole or not step.is_review):
        return
    word = "emergency_refused" if is_no else "emergency_reviewed" if step.is_review else "emergency"
    details: dict[str, Json] = {"approver": step.approval.account_id, "policy": "SMS-01"}
    tx.audit(who.name, f"batch.{word}", found.batch_id, {**details, "reason": reason})
    if word != "emergency_reviewed":
        tx.event(EventKind.ALARM, found.batch_id, {"alarm": word, **details})


def _is_reviewed(found: Batch) -> bool:
    """Whether the chain of an emergency may sign although the batch was let go before."""
    if found.state not in REVIEWED_IN or found.header is None:
        return False
    return decode_header(found.header).emergency is not None


def _after(found: Batch, step: NextStep) -> BatchState:
    """Where a signature leads; a held batch never goes on by one."""
    is_waiting = found.state is BatchState.AWAITING_APPROVAL
    if step.decision is Decision.REJECT:
        if is_waiting:
            return BatchState.REJECTED
        return BatchState.CANCELLED if BATCH[found.state] else found.state
    return BatchState.APPROVED if step.is_last and is_waiting else found.state


def _require_active(tx: Tx, account_id: AccountId) -> None:
    try:
        account = find_account(tx.conn, tx.vault, account_id)
    except TamperedError as error:
        raise PolicyRefused("SMS-01", str(error)) from error
    if account is None or account.state is not AccountState.ACTIVE:
        raise PolicyRefused("SMS-01", "the approver's account is not active")
