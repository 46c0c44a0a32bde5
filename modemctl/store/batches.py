"""Batches: their rows and their way through the states."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    func,
    insert,
    or_,
    select,
)

from modemctl.errors import PolicyRefused, TamperedError
from modemctl.lifecycle import BATCH, BatchState, SegmentState, sources
from modemctl.model import AccountId, BatchId, Category, EventKind, Topic
from modemctl.policy.approvals import (
    ApprovalRules,
    BatchEvidence,
    VerifiedBatch,
    verify_batch,
)
from modemctl.policy.digest import decode_header
from modemctl.policy.standing import require_sends
from modemctl.store import parties
from modemctl.store.authorities import OPERATOR, is_authorised
from modemctl.store.evidence import put_state, read_evidence, read_lines, state_values
from modemctl.store.prepared import Prepared
from modemctl.store.tables import batch, segment
from modemctl.store.transaction import Json, Tx
from modemctl.vault import Vault

__all__ = [
    "Batch",
    "NewBatch",
    "Query",
    "Sight",
    "add_draft",
    "find_batch",
    "list_batches",
    "may_operate",
    "move",
    "old_drafts",
    "progress",
    "read_batch",
    "read_evidence",
    "read_lines",
    "require_operator",
    "require_start",
    "seen_by",
    "verify_now",
    "verify_signed",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBatch:
    """A batch as it is asked for; its list is still to come."""

    batch_id: BatchId
    category: str
    priority: int
    department: str
    party: str
    drafter: AccountId
    operator: AccountId
    submitter: AccountId
    template: str = field(repr=False)
    card_group: str | None
    starts_itself: bool
    not_before: datetime
    not_after: datetime
    salt_nonce: bytes = field(repr=False)
    request_digest: bytes
    is_loop: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch's row. `header` and `digest` are None until its list is complete."""

    batch_id: BatchId
    category: str
    state: BatchState
    reason: str
    priority: int
    department: str
    party: str
    drafter: AccountId
    operator: AccountId
    submitter: AccountId
    template: str = field(repr=False)
    card_group: str | None
    starts_itself: bool
    not_before: datetime
    not_after: datetime
    header: bytes | None = field(repr=False)
    digest: bytes | None
    request_digest: bytes
    n_messages: int
    n_removed: int
    n_segments: int
    created_at: datetime
    state_at: datetime
    under: BatchId | None

    @property
    def is_loop(self) -> bool:
        """Whether it goes to our own cards alone, each sending to itself; a draft never does."""
        if self.header is None:
            return False
        try:
            return decode_header(self.header).is_loop
        except PolicyRefused:
            return False  # it was altered: nothing of it leaves


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a department sees: its own batches; the general one also all that it operates."""

    department: str
    is_general: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which batches; None matches all."""

    seen_by: Sight | None = None
    states: Collection[BatchState] | None = None
    category: str | None = None


# ---------------------------------------------------------------- reading


def find_batch(conn: Connection, batch_id: str) -> Batch | None:
    """The batch of this id."""
    row = _BATCH.first(conn, {"id": batch_id})
    return None if row is None else read_batch(row)


def seen_by(sight: Sight) -> ColumnElement[bool]:
    """The condition on a batch's row for a department's eyes (SEC-01)."""
    own = batch.c.department == sight.department
    return or_(own, batch.c.category != Category.NOTICE) if sight.is_general else own


def list_batches(
    conn: Connection, query: Query, *, before: tuple[datetime, str] | None, limit: int
) -> Sequence[Batch]:
    """Batches, newest first; `before` is the last one's (creation, id)."""
    statement = select(batch).order_by(batch.c.created_at.desc(), batch.c.batch_id.desc())
    if before is not None:
        at = before[0]
        statement = statement.where(
            or_(
                batch.c.created_at < at,
                and_(batch.c.created_at == at, batch.c.batch_id < before[1]),
            )
        )
    if query.seen_by is not None:
        statement = statement.where(seen_by(query.seen_by))
    if query.states is not None:
        statement = statement.where(batch.c.state.in_(query.states))
    if query.category is not None:
        statement = statement.where(batch.c.category == query.category)
    return [read_batch(row) for row in conn.execute(statement.limit(limit))]


def progress(conn: Connection, batch_id: str) -> Mapping[SegmentState, int]:
    """How many segments stand in each state; from the index alone."""
    rows = conn.execute(
        select(segment.c.state, func.count())
        .where(segment.c.batch_id == batch_id)
        .group_by(segment.c.state)
    )
    return {SegmentState(state): count for state, count in rows}


def old_drafts(conn: Connection, *, before: datetime) -> Sequence[BatchId]:
    """Some drafts that were begun before then."""
    rows = conn.scalars(
        select(batch.c.batch_id)
        .where(batch.c.state == BatchState.DRAFT, batch.c.created_at < before)
        .limit(50)
    )
    return [BatchId(batch_id) for batch_id in rows]


def verify_now(
    conn: Connection, vault: Vault, batch_id: BatchId, *, rules: ApprovalRules, now: datetime
) -> VerifiedBatch:
    """The batch's approvals, checked at this moment.

    Raises:
        PolicyRefused: SMS-01 … SMS-04, SMS-09, SMS-11, SEC-04; SMS-01 also where a row was
            tampered with, SMS-09 for a standing approval, which sends nothing itself.
    """
    verified = verify_signed(conn, vault, batch_id, rules=rules, now=now)
    require_sends(verified.header)
    return verified


def verify_signed(
    conn: Connection, vault: Vault, batch_id: BatchId, *, rules: ApprovalRules, now: datetime
) -> VerifiedBatch:
    """The same, of a standing approval too.

    Raises:
        PolicyRefused: as `verify_now`.
    """
    found = read_evidence(conn, vault, [batch_id]).get(batch_id)
    verified = verify_batch(_intact(found), rules=rules, now=now)
    if verified.header.party != rules.own_party:
        parties.require(conn, vault, verified.header.party, at=now)
    return verified


def require_start(
    conn: Connection, vault: Vault, batch: Batch, *, rules: ApprovalRules, now: datetime
) -> VerifiedBatch:
    """Check approvals and the named operator's authorisation at this moment; not the window.

    Raises:
        PolicyRefused: as `verify_now`; SMS-06 where the operator may not send.
    """
    verified = verify_now(conn, vault, batch.batch_id, rules=rules, now=now)
    require_operator(conn, vault, verified, rules=rules, now=now)
    return verified


def require_operator(
    conn: Connection, vault: Vault, verified: VerifiedBatch, *, rules: ApprovalRules, now: datetime
) -> None:
    """Check the named operator's authorisation at this moment.

    Raises:
        PolicyRefused: SMS-06, the operator may not send.
    """
    department = rules.operating_department(verified.header.category, verified.header.department)
    if not may_operate(conn, vault, verified.header.operator, department=department, at=now):
        raise PolicyRefused(
            "SMS-06",
            f"the operator is not authorised for department {department} at this moment",
            cure=f"authorise the operator for {department}, which sends batches of "
            f"category {verified.header.category} of {verified.header.department}, or submit anew "
            "with another one",
        )


def may_operate(
    conn: Connection, vault: Vault, account_id: str, *, department: str, at: datetime
) -> bool:
    """Whether an account may send for a department at `at` (SMS-06)."""
    return is_authorised(
        conn, vault, account_id=account_id, kind=OPERATOR, department=department, at=at
    )


# ---------------------------------------------------------------- acts


def add_draft(tx: Tx, new: NewBatch) -> None:
    """Add a batch whose list is being staged; its id must be free."""
    tx.conn.execute(
        insert(batch).values(
            batch_id=new.batch_id,
            category=new.category,
            priority=new.priority,
            department=new.department,
            party=new.party,
            drafter=new.drafter,
            operator=new.operator,
            submitter=new.submitter,
            template=new.template,
            card_group=new.card_group,
            starts_itself=new.starts_itself,
            not_before=new.not_before,
            not_after=new.not_after,
            salt_nonce=new.salt_nonce,
            request_digest=new.request_digest,
            n_lines=0,
            n_removed=0,
            n_segments=0,
            created_at=tx.now,
            **state_values(tx, new.batch_id, BatchState.DRAFT),
        )
    )


def move(
    tx: Tx,
    batch_id: BatchId,
    to: BatchState,
    *,
    reason: str = "",
    only_from: Collection[BatchState] | None = None,
) -> bool:
    """Change a batch's state if the table allows it from where it is; False if it does not.

    Writes the event and rings those who must know.
    """
    allowed = sources(BATCH, to) if only_from is None else sources(BATCH, to) & set(only_from)
    if not put_state(tx, batch_id, to, allowed=allowed, reason=reason):
        return False
    data: dict[str, Json] = {"state": to, "reason": reason}
    tx.event(EventKind.BATCH, batch_id, data)
    if to is BatchState.RUNNING:
        tx.wake(Topic.WORK)
    elif to in {BatchState.HELD, BatchState.CANCELLED, BatchState.EXPIRED}:
        tx.wake(Topic.STOP)
    return True


# ---------------------------------------------------------------- inside


def _intact(found: BatchEvidence | TamperedError | None) -> BatchEvidence:
    if found is None:
        raise PolicyRefused("SMS-01", "the batch's list is not complete")
    if isinstance(found, TamperedError):
        raise PolicyRefused("SMS-01", str(found)) from found
    return found


def read_batch(row: Row[tuple[object, ...]]) -> Batch:
    """What a row of `batch` says."""
    return Batch(
        batch_id=BatchId(row.batch_id),
        category=row.category,
        state=BatchState(row.state),
        reason=row.reason,
        priority=row.priority,
        department=row.department,
        party=row.party,
        drafter=AccountId(row.drafter),
        operator=AccountId(row.operator),
        submitter=AccountId(row.submitter),
        template=row.template,
        card_group=row.card_group,
        starts_itself=row.starts_itself,
        not_before=row.not_before,
        not_after=row.not_after,
        header=row.header,
        digest=row.digest,
        request_digest=row.request_digest,
        n_messages=row.n_lines,
        n_removed=row.n_removed,
        n_segments=row.n_segments,
        created_at=row.created_at,
        state_at=row.state_at,
        under=None if row.under is None else BatchId(row.under),
    )


_BATCH: Final = Prepared(select(batch).where(batch.c.batch_id == bindparam("id")))
