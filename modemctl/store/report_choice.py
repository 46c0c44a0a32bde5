"""Whose report it is: by reference, recipient and time, and never by a guess.

Nothing here is written. `choose` asks the database two things only: whether a card's references
came round, or began again, between two segments; and whether another doubt was sent again since.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Final

from sqlalchemy import and_, bindparam, or_, select

from modemctl.lifecycle import SegmentState
from modemctl.model import SegmentId
from modemctl.store.prepared import Prepared
from modemctl.store.tables import ITS_MESSAGE, message, recipient, segment, segment_journal
from modemctl.store.transaction import Tx


class Matching(StrEnum):
    """Whether a report found its segment."""

    MATCHED = "matched"
    UNMATCHED = "unmatched"
    AMBIGUOUS = "ambiguous"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A stored report, as far as it tells whose it is; `st` in TP-Status codes."""

    report_id: int
    iccid: str
    recipient_bidx: bytes
    mr: int
    st: int
    scts: datetime | None
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A segment that left, or may have; `mr` where its reference is known."""

    segment_id: SegmentId
    message_id: int
    state: SegmentState
    iccid: str
    recipient_bidx: bytes
    mr: int | None
    left_at: datetime


WINDOW: Final = timedelta(days=8)
"""A report comes at most this long after its segment left; networks keep trying for some days."""
_CLOCK_SKEW: Final = timedelta(minutes=10)
"""How far the service centre's clock may be off ours, submit time included."""
_BEFORE: Final = timedelta(minutes=5)
"""A segment may be noted as sent after its report came."""

OPEN: Final = frozenset({SegmentState.SENT, SegmentState.IN_DOUBT})
"""What a report still moves."""
_WITHOUT_ANSWER: Final = frozenset(
    {SegmentState.SUBMITTING, SegmentState.IN_DOUBT, SegmentState.ABANDONED}
)
"""What may have left under any reference; closing a doubt tells nothing of it."""

_PAGE: Final = 256  # segments of one recipient
_FORWARD: Final = 128  # references: more between two segments in a row is a step back
_ROUND: Final = 240  # references; some are lost to refused submits, and to those in doubt


def choose(tx: Tx, one: Arrived, candidates: Sequence[Candidate]) -> Candidate | Matching:
    """The report's segment, or why there is none; `candidates` of its card and recipient."""
    lately = [
        candidate
        for candidate in candidates
        if -_BEFORE <= one.received_at - candidate.left_at <= WINDOW
    ]
    by_reference = [candidate for candidate in lately if candidate.mr == one.mr]
    near = [candidate for candidate in by_reference if _is_near(one, candidate)]
    rivals = _rivals(one, lately)
    if len(near) == 1:
        return _choose_known(tx, near[0], rivals)
    if near:
        return Matching.AMBIGUOUS
    if not by_reference or rivals:
        return _choose_doubt(tx, one, lately)
    return _choose_far(one, by_reference)


def _rivals(one: Arrived, lately: Sequence[Candidate]) -> Sequence[Candidate]:
    """Segments whose reference is not known, and that left when the report says.

    References are used again after 256 segments: what the time fits goes before what it does not.
    """
    return [
        candidate
        for candidate in lately
        if candidate.state in _WITHOUT_ANSWER and candidate.mr is None and _is_near(one, candidate)
    ]


def _choose_known(tx: Tx, known: Candidate, rivals: Sequence[Candidate]) -> Candidate | Matching:
    """The segment with this reference, unless another one may have had the same.

    Segments of one message follow each other: their references differ.
    """
    others = [rival for rival in rivals if rival.message_id != known.message_id]
    if any(rival.state is SegmentState.SUBMITTING for rival in others):
        return Matching.UNMATCHED  # its answer is about to tell
    if not others:
        return known
    is_told = known.state not in OPEN  # its own report was here before
    if is_told or any(_has_begun_again(tx, known, rival) for rival in others):
        return Matching.AMBIGUOUS
    return known


def _has_begun_again(tx: Tx, known: Candidate, rival: Candidate) -> bool:
    """Whether the card's references went round, or back, between these two segments.

    A fast card comes to the same reference within minutes; a modem that was silent may have
    restarted, and many count from 0 then.
    """
    since, until = sorted([known.left_at, rival.left_at])
    facts = {"card": known.iccid, "since": since - _CLOCK_SKEW, "until": until}
    found = _REFERENCES.rows(tx.conn, {**facts, "all": list(range(256))})
    before = [row.mr for row in found if row.sent_at < since][-1:]
    passed = [*before, *(row.mr for row in found if row.sent_at >= since)]
    steps = [(later - earlier) % 256 for earlier, later in pairwise(passed)]
    return any(step == 0 or step > _FORWARD for step in steps) or sum(steps) >= _ROUND


def _choose_far(one: Arrived, by_reference: Sequence[Candidate]) -> Candidate | Matching:
    """A centre whose clock is wrong tells nothing by its time: a single open one must do."""
    if len(by_reference) > 1:
        return Matching.AMBIGUOUS
    (found,) = by_reference
    is_open = found.state is SegmentState.SENT or one.scts is None
    return found if is_open else Matching.UNMATCHED


def _choose_doubt(tx: Tx, one: Arrived, lately: Sequence[Candidate]) -> Candidate | Matching:
    """A segment whose answer never came has no reference: recipient and time must do."""
    if any(candidate.state is SegmentState.SUBMITTING for candidate in lately):
        return Matching.UNMATCHED  # it may be that one's: its answer is about to come
    silent = _rivals(one, lately)
    doubts = [candidate for candidate in silent if candidate.state is SegmentState.IN_DOUBT]
    if len(silent) == 1 and doubts and not _has_former_rival(tx, one, doubts[0]):
        return doubts[0]
    return Matching.AMBIGUOUS if doubts else Matching.UNMATCHED


def _has_former_rival(tx: Tx, one: Arrived, doubt: Candidate) -> bool:
    """Whether another segment to this recipient was in doubt then, and a person sent it again.

    Its row tells only of the later try; this may be the report of the earlier one.
    """
    assert one.scts is not None, "near in time"
    found = _ITS_SEGMENTS.column(tx.conn, {"recipient": one.recipient_bidx})
    others = [each for each in found if each != doubt.segment_id]
    near: set[object] = set()
    for start in range(0, len(others), _PAGE):
        for row in _TRIES.rows(tx.conn, {"ids": others[start : start + _PAGE]}):
            if row.after == SegmentState.SUBMITTING and abs(row.at - one.scts) <= _CLOCK_SKEW:
                near.add(row.segment_id)
            elif row.after == SegmentState.QUEUED and row.segment_id in near:
                return True
    return False


def _is_near(one: Arrived, candidate: Candidate) -> bool:
    return one.scts is not None and abs(one.scts - candidate.left_at) <= _CLOCK_SKEW


_REFERENCES: Final = Prepared(
    select(segment.c.mr, segment.c.sent_at)
    .where(
        segment.c.iccid == bindparam("card"),
        segment.c.mr.in_(bindparam("all", expanding=True)),  # by the index of all three
        segment.c.sent_at.between(bindparam("since"), bindparam("until")),
    )
    .order_by(segment.c.sent_at)
)
_ITS_SEGMENTS: Final = Prepared(
    select(segment.c.segment_id)
    .select_from(
        recipient.join(message, ITS_MESSAGE).join(
            segment, segment.c.message_id == message.c.message_id
        )
    )
    .where(recipient.c.recipient_bidx == bindparam("recipient"))
)
_TRIES: Final = Prepared(
    select(segment_journal.c.segment_id, segment_journal.c.at, segment_journal.c.after)
    .where(
        segment_journal.c.segment_id.in_(bindparam("ids", expanding=True)),
        or_(
            segment_journal.c.after == SegmentState.SUBMITTING,
            and_(
                segment_journal.c.before == SegmentState.IN_DOUBT,
                segment_journal.c.after == SegmentState.QUEUED,
            ),
        ),
    )
    .order_by(segment_journal.c.segment_id, segment_journal.c.entry_id)
)
