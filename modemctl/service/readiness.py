"""Whether a batch can be signed and sent as things stand: judged at hand-in, told to people.

At hand-in the operator alone is a reason to refuse. Of the rest people are warned: it may still
change before its turn comes, and the proof is made anew at each signature, start and lease.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Final

from modemctl.errors import PolicyRefused
from modemctl.lifecycle import BatchState
from modemctl.model import Decision
from modemctl.policy.approvals import chain_policy
from modemctl.service.batch_views import BatchView
from modemctl.service.previews import pool_query
from modemctl.service.submission import BatchRequest, SubmissionRules
from modemctl.store import Connection, Tx
from modemctl.store.accounts import Account
from modemctl.store.batches import Batch, may_operate
from modemctl.store.fitness import count_unfit
from modemctl.store.pools import Pool
from modemctl.store.signers import Turn, operators_at, signers
from modemctl.vault import Vault

__all__ = ["REVIEWED_IN", "require_operator", "warnings"]

_UNCHECKED: Final = (BatchState.CHECKED, BatchState.AWAITING_APPROVAL)
_UNSIGNED: Final = (*_UNCHECKED, BatchState.HELD)  # held: by a key that was revoked, among others
REVIEWED_IN: Final = (
    BatchState.APPROVED,
    BatchState.RUNNING,
    BatchState.DONE,
    BatchState.CANCELLED,
    BatchState.EXPIRED,
)
"""States in which the chain of an emergency may sign that was let go before."""
_UNSTARTED: Final = (*_UNCHECKED, BatchState.APPROVED)


def require_operator(
    conn: Connection,
    vault: Vault,
    operator: Account,
    request: BatchRequest,
    *,
    rules: SubmissionRules,
    at: datetime,
) -> None:
    """Check that the named operator may send for the department that sends, when the window begins.

    Raises:
        PolicyRefused: SMS-06, nobody made him an operator for then; SMS-02, SMS-03, SMS-04, he is
            one of another department than the one that sends this category.
    """
    sending = rules.approvals.operating_department(request.category, request.department)
    if may_operate(conn, vault, operator.account_id, department=sending, at=at):
        return
    known = operators_at(conn, vault, at=at)
    elsewhere = sorted({one.department for one in known if one.account_id == operator.account_id})
    able = sorted({one.name for one in known if one.department == sending})
    rule = f"operator {operator.name} is not authorised for department {sending}"
    raise PolicyRefused(
        chain_policy(request.category) if elsewhere else "SMS-06",
        f"{rule} but for {', '.join(elsewhere)}" if elsewhere else f"{rule} when it begins",
        field="operator",
        value=operator.name,
        cure=f"{sending} sends batches of category {request.category} of {request.department}: "
        + (
            f"name {' or '.join(able)}"
            if able
            else f"it has no operator then: modemctl operator apply {operator.name} "
            f"--department {sending}"
        ),
    )


def warnings(
    tx: Tx, shown: BatchView, pool: Pool | None, *, rules: SubmissionRules
) -> Sequence[str]:
    """What stands in a batch's way as things are now; nothing of one that is over.

    `pool` is None where nothing of it waits to leave.
    """
    if shown.fault is not None:
        return ()
    return (
        *_unsigned(tx, shown, rules=rules),
        *_unstarted(tx, shown.batch, rules=rules),
        *_unsent(tx, shown.batch, pool, rules=rules),
    )


def _unsigned(tx: Tx, shown: BatchView, *, rules: SubmissionRules) -> Iterator[str]:
    """Steps that nobody may sign, and a chain for which there are too few persons."""
    found = shown.batch
    if not (found.state in _UNSIGNED or _is_let_go(shown)):
        return
    missing = [one.name for one in shown.steps if one.approver is None]
    taken = {found.drafter, found.submitter, found.operator, *shown.confirmed_by}
    taken |= {one.approver for one in shown.steps if one.approver is not None}
    able = [_able(tx, step, found, taken, rules=rules) for step in missing]
    for step, people in zip(missing, able, strict=True):
        if not people:
            yield (
                f"nobody may sign as {step} for {found.department} now (policy: "
                f"{chain_policy(found.category)}): modemctl account authorise NAME {step} "
                f"--department {found.department}"
            )
    if all(able) and not _is_enough(able):
        yield (
            f"too few persons may sign {', '.join(missing)}: nobody signs twice (policy: SMS-11)"
        )


def _is_let_go(shown: BatchView) -> bool:
    """Whether it is an emergency that one approver let go: its chain signs while it runs, or after.

    Where a step has said no, none is waited for.
    """
    decisions = {one.decision for one in shown.steps}
    is_waiting = shown.emergency is not None and decisions == {Decision.APPROVE, None}
    return is_waiting and shown.batch.state in REVIEWED_IN


def _able(
    tx: Tx, step: str, found: Batch, taken: Collection[str], *, rules: SubmissionRules
) -> frozenset[str]:
    turn = Turn(
        step=step,
        department=found.department,
        general_department=rules.approvals.general_department,
        taken=taken,
    )
    return frozenset(one.account_id for one in signers(tx.conn, tx.vault, turn, now=tx.now))


def _is_enough(able: Sequence[Collection[str]]) -> bool:
    """Whether each step finds a person of its own (a matching, found by augmenting paths)."""
    step_of: dict[str, int] = {}

    def seat(step: int, tried: set[str]) -> bool:
        for person in able[step]:
            if person in tried:
                continue
            tried.add(person)
            if person not in step_of or seat(step_of[person], tried):
                step_of[person] = step
                return True
        return False

    return all(seat(step, set()) for step in range(len(able)))


def _unstarted(tx: Tx, found: Batch, *, rules: SubmissionRules) -> Iterator[str]:
    """That its operator's right ended since, or ends before the window begins."""
    if found.state not in _UNSTARTED:
        return
    sending = rules.approvals.operating_department(found.category, found.department)
    at = max(tx.now, found.not_before)
    if not may_operate(tx.conn, tx.vault, found.operator, department=sending, at=at):
        yield f"its operator is not authorised for {sending} any more (policy: SMS-06)"


def _unsent(tx: Tx, found: Batch, pool: Pool | None, *, rules: SubmissionRules) -> Iterator[str]:
    """Why no card may send it: how many of the department are unfit for which reason."""
    if pool is None or pool.n_cards:
        return
    query = pool_query(found, rules)
    counted = count_unfit(tx, query, zone=rules.quota.zone)
    why = ", ".join(f"{n} {reason}" for reason, n in counted.items())
    yield f"no card of department {query.serving} may send it: {why or 'it has none'}"
