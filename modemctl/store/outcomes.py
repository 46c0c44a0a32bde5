"""What became of cleared segments: sent, back to the queue, refused, in doubt."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, assert_never

from sqlalchemy import Connection, RowMapping, and_, bindparam, literal_column, or_, select, update

from modemctl.lifecycle import SegmentState
from modemctl.model import BatchId, SegmentId, Topic
from modemctl.policy.retries import NextTry, Verdict, next_try
from modemctl.store import reports
from modemctl.store.finals import announce
from modemctl.store.prepared import Change, Prepared
from modemctl.store.segments import (
    HELD_COLUMNS,
    IS_OPEN,
    Note,
    SendingRules,
    bound_messages,
    finish,
    hold_batch,
    note_change,
    requeue,
)
from modemctl.store.tables import report, segment
from modemctl.store.transaction import Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """The network took the segment under this reference."""

    mr: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    """It provably did not leave. `action` and `blame` are the code table's words."""

    code: str
    title: str
    action: str
    blame: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubtful:
    """Nobody knows whether it left."""

    reason: str
    code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one cleared segment."""

    segment_id: SegmentId
    token: str
    result: Took | NotSent | Doubtful
    rules: SendingRules = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LateResult:
    """A `+CMGS: mr` that came after its deadline, for the try under this lease."""

    segment_id: SegmentId
    token: str
    mr: int


def record_outcome(tx: Tx, outcomes: Sequence[Outcome]) -> Sequence[SegmentState | None]:
    """Move SUBMITTING segments on; returns each one's new state, None where this try is over.

    A refusal frees or fails the rest of the message too; its charge is given back. What is in
    doubt stays charged. What was put in doubt for want of this outcome is SENT by it.
    """
    rows = _awaiting(tx, [one.segment_id for one in outcomes])
    mine = [
        one
        for one in outcomes
        if one.segment_id in rows and _is_answered(one, rows[one.segment_id])
    ]
    rules = outcomes[0].rules
    states: dict[SegmentId, SegmentState] = {}
    states.update(_note_taken(tx, mine, rows))
    states.update(_note_doubts(tx, mine, rows, rules))
    states.update(_note_refusals(tx, mine, rows, rules))
    _rematch(tx, states, {rows[one.segment_id]["iccid"] for one in mine})
    reports.settle(tx, _doubts_ended(states, rows))
    finals = [one for one in mine if states[one.segment_id] is SegmentState.IN_DOUBT]
    if not rules.wants_reports:
        finals = mine
    if finals:
        announce(tx, {rows[one.segment_id]["message_id"] for one in finals})
    return [states.get(one.segment_id) for one in outcomes]


def recorded(conn: Connection, outcome: Outcome) -> SegmentState | None:
    """What an outcome made of its segment that was stored without an answer.

    None where the segment does not stand as the outcome says: it was not stored.
    """
    query = select(segment.c.state, segment.c.mr, segment.c.lease_token)
    row = conn.execute(query.where(segment.c.segment_id == outcome.segment_id)).first()
    if row is None:
        return None
    is_own = row.lease_token == outcome.token
    match outcome.result:
        case Took(mr=mr):
            return SegmentState.SENT if is_own and row.mr == mr else None
        case Doubtful():
            return SegmentState.IN_DOUBT if is_own else None
        case NotSent() if row.state == SegmentState.REFUSED:
            return SegmentState.REFUSED
        case NotSent():  # what is free again has no token of ours
            return None if is_own else SegmentState.QUEUED
        case _:
            assert_never(outcome.result)


def _rematch(tx: Tx, states: Mapping[SegmentId, SegmentState], cards: Collection[str]) -> None:
    """Reports may have overtaken the reference that they carry, or waited for another's answer."""
    if states and _UNMATCHED.first(tx.conn, {"cards": sorted(cards)}) is not None:
        reports.rematch(tx, states, left=cards)


def _doubts_ended(
    states: Mapping[SegmentId, SegmentState], rows: Mapping[SegmentId, RowMapping]
) -> Sequence[SegmentId]:
    """Those that had been put in doubt before their answer was saved."""
    return [one for one in states if rows[one]["state"] == SegmentState.IN_DOUBT]


def settle_late(tx: Tx, results: Sequence[LateResult]) -> Sequence[SegmentId | None]:
    """IN_DOUBT → SENT by a late answer of the modem; None where that try is in no doubt."""
    return [_settle(tx, one) for one in results]


def _settle(tx: Tx, late: LateResult) -> SegmentId | None:
    message_id = tx.conn.scalar(
        update(segment)
        .where(
            segment.c.segment_id == late.segment_id,
            segment.c.lease_token == late.token,
            segment.c.state == SegmentState.IN_DOUBT,
        )
        .values(
            state=SegmentState.SENT.value,
            mr=late.mr,
            sent_at=segment.c.submitting_at,
            cause=None,
            note="the modem's answer came late",
        )
        .returning(segment.c.message_id)
    )
    if message_id is None:
        return None
    note_change(tx, late.segment_id, SegmentState.IN_DOUBT, SegmentState.SENT, "late answer")
    reports.rematch(tx, [late.segment_id])
    reports.settle(tx, [late.segment_id])
    announce(tx, {message_id})
    return late.segment_id


def _awaiting(tx: Tx, segment_ids: Sequence[SegmentId]) -> Mapping[SegmentId, RowMapping]:
    rows = _AWAITING.mappings(tx.conn, {"ids": list(segment_ids)})
    return {SegmentId(row["segment_id"]): row for row in rows}


def _is_answered(outcome: Outcome, row: RowMapping) -> bool:
    """Whether the outcome is of the try that the row stands for, and can still move it."""
    if row["lease_token"] != outcome.token:
        return False
    return row["state"] == SegmentState.SUBMITTING or isinstance(outcome.result, Took)


def _note_taken(
    tx: Tx, outcomes: Sequence[Outcome], rows: Mapping[SegmentId, RowMapping]
) -> Mapping[SegmentId, SegmentState]:
    taken = [
        {"id": one.segment_id, "ref": one.result.mr, "at": tx.now}
        for one in outcomes
        if isinstance(one.result, Took)
    ]
    if not taken:
        return {}
    n = _TO_SENT.run(tx.conn, taken)
    assert n == len(taken), "a submitting segment was taken under our hands"
    states = {SegmentId(int(str(row["id"]))): SegmentState.SENT for row in taken}
    for segment_id in states:
        before = SegmentState(rows[segment_id]["state"])
        note_change(tx, segment_id, before, SegmentState.SENT)
    return states


def _note_doubts(
    tx: Tx,
    outcomes: Sequence[Outcome],
    rows: Mapping[SegmentId, RowMapping],
    rules: SendingRules,
) -> Mapping[SegmentId, SegmentState]:
    states: dict[SegmentId, SegmentState] = {}
    for one in outcomes:
        if not isinstance(one.result, Doubtful):
            continue
        values = {"id": one.segment_id, "why": one.result.code, "what": one.result.reason}
        _TO_DOUBT.run(tx.conn, [values])
        note_change(
            tx, one.segment_id, SegmentState.SUBMITTING, SegmentState.IN_DOUBT, one.result.reason
        )
        states[one.segment_id] = SegmentState.IN_DOUBT
        if rules.on_doubt_hold:
            hold_batch(tx, BatchId(rows[one.segment_id]["batch_id"]), "a segment is in doubt")
    return states


def _note_refusals(
    tx: Tx,
    outcomes: Sequence[Outcome],
    rows: Mapping[SegmentId, RowMapping],
    rules: SendingRules,
) -> Mapping[SegmentId, SegmentState]:
    refused = {one.token: one for one in outcomes if isinstance(one.result, NotSent)}
    if not refused:
        return {}
    ids = [one.segment_id for one in refused.values()]
    messages = {rows[one.segment_id]["message_id"] for one in refused.values()}
    bound = bound_messages(tx, messages, without=ids)
    again: dict[str, Note] = {}
    never: dict[str, Note] = {}
    for token, one in refused.items():
        row = rows[one.segment_id]
        verdict = _next(one, row, is_bound=row["message_id"] in bound)
        target = never if verdict.verdict is Verdict.NEVER else again
        target[token] = _note(tx, one, row, verdict)
    held = _still_held(tx, refused)
    back = [row for row in held if row["lease_token"] in again]
    requeue(tx, back, rules.quota, notes=again)
    ended = [row for row in held if row["lease_token"] in never]
    finish(tx, ended, SegmentState.REFUSED, rules, notes=never)
    if again:
        tx.wake(Topic.WORK)
    return {
        one.segment_id: SegmentState.QUEUED if token in again else SegmentState.REFUSED
        for token, one in refused.items()
    }


def _next(outcome: Outcome, row: RowMapping, *, is_bound: bool) -> NextTry:
    assert isinstance(outcome.result, NotSent)
    spread = (row["segment_id"] * 2_654_435_761 % 2_001) / 1_000 - 1
    return next_try(
        outcome.result.action,
        outcome.result.blame,
        n_tries=row["tries"],
        is_bound=is_bound,
        spread=spread,
    )


def _note(tx: Tx, outcome: Outcome, row: RowMapping, verdict: NextTry) -> Note:
    assert isinstance(outcome.result, NotSent)
    avoids = verdict.verdict is Verdict.OTHER_CARD
    return Note(
        text=outcome.result.title,
        cause=outcome.result.code,
        not_before=tx.now + timedelta(seconds=verdict.after),
        avoid_iccid=row["iccid"] if avoids else None,
    )


def _still_held(tx: Tx, tokens: Mapping[str, Outcome]) -> Sequence[RowMapping]:
    """The refused segments and what of their messages is still leased with them.

    An earlier segment may have left without its outcome being saved yet: it is not theirs.
    """
    refused = [one.segment_id for one in tokens.values()]
    is_refused = and_(segment.c.state == SegmentState.SUBMITTING, segment.c.segment_id.in_(refused))
    return (
        tx.conn.execute(
            select(*HELD_COLUMNS).where(
                IS_OPEN,
                segment.c.lease_token.in_(sorted(tokens)),
                or_(is_refused, segment.c.state == SegmentState.LEASED),
            )
        )
        .mappings()
        .all()
    )


_AWAITS: Final = segment.c.state.in_([literal_column("'submitting'"), literal_column("'in_doubt'")])
_AWAITING: Final = Prepared(
    select(*HELD_COLUMNS).where(segment.c.segment_id.in_(bindparam("ids", expanding=True)), _AWAITS)
)
_UNMATCHED: Final = Prepared(
    select(report.c.report_id)
    .where(
        report.c.matching == literal_column("'unmatched'"),
        report.c.iccid.in_(bindparam("cards", expanding=True)),
    )
    .limit(1)
)
_TO_SENT: Final = Change(
    update(segment)
    .where(segment.c.segment_id == bindparam("id"), _AWAITS)
    .values(
        state=SegmentState.SENT.value,
        mr=bindparam("ref"),
        sent_at=bindparam("at"),
        cause=None,
        note=None,
    )
)
_TO_DOUBT: Final = Change(
    update(segment)
    .where(segment.c.segment_id == bindparam("id"), segment.c.state == SegmentState.SUBMITTING)
    .values(state=SegmentState.IN_DOUBT.value, cause=bindparam("why"), note=bindparam("what"))
)
