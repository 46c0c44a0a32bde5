"""Delivery reports: stored first, then put down to the segment that they are about.

A report names card, recipient and a reference of one octet that wraps; only together with the time
do they point to a segment. Where several remain, nobody guesses. `add` is a set act; `rematch` is
called when a segment got its reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Final

from sqlalchemy import RowMapping, bindparam, func, literal_column, or_, select, update

from modemctl.lifecycle import SegmentState
from modemctl.model import SegmentId
from modemctl.sms import ReportVerdict, report_title, report_verdict
from modemctl.store.finals import announce
from modemctl.store.prepared import Change, Prepared
from modemctl.store.segments import note_change
from modemctl.store.tables import ITS_MESSAGE, UtcMs, message, recipient, report, segment
from modemctl.store.transaction import Tx


class Matching(StrEnum):
    """Whether a report found its segment."""

    MATCHED = "matched"
    UNMATCHED = "unmatched"
    AMBIGUOUS = "ambiguous"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewReport:
    """A report that came in; `recipient` in E.164 form, `scts` when the centre took the message."""

    iccid: str
    bay: str
    recipient: str = field(repr=False)
    mr: int
    st: int
    scts: datetime | None
    discharged_at: datetime | None
    tpdu: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReport:
    """A report that is on disk once the act returned; a repeat changed nothing."""

    is_repeat: bool
    matching: Matching
    segment_id: SegmentId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Report:
    report_id: int
    iccid: str
    recipient_bidx: bytes
    mr: int
    st: int
    scts: datetime | None
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    segment_id: SegmentId
    message_id: int
    state: SegmentState
    iccid: str
    recipient_bidx: bytes
    mr: int | None
    left_at: datetime


_WINDOW: Final = timedelta(days=8)
"""A report comes at most this long after its segment left; networks keep trying for some days."""
_CLOCK_SKEW: Final = timedelta(minutes=10)
"""How far the service centre's clock may be off ours, submit time included."""
_BEFORE: Final = timedelta(minutes=5)
"""A segment may be noted as sent after its report came."""

_FORWARD: Final = 128  # references: more between two segments in a row is a step back
_ROUND: Final = 240  # references; some are lost to refused submits, and to those in doubt

_IS_UNMATCHED: Final = report.c.matching == literal_column("'unmatched'")


def add(tx: Tx, items: Sequence[NewReport]) -> Sequence[StoredReport]:
    """Store reports and move their segments on (a set act)."""
    prints = [fingerprint(tx, item) for item in items]
    known = _known(tx, prints)
    fresh: dict[bytes, NewReport] = {}
    for item, print_ in zip(items, prints, strict=True):
        if print_ not in known:
            fresh.setdefault(print_, item)
    stored = _insert(tx, fresh)
    verdicts = _match(tx, stored.values())
    results: list[StoredReport] = []
    seen: set[bytes] = set()
    for print_ in prints:
        if print_ in stored and print_ not in seen:
            seen.add(print_)
            matching, segment_id = verdicts[stored[print_].report_id]
            results.append(StoredReport(is_repeat=False, matching=matching, segment_id=segment_id))
        else:
            matching, segment_id = known.get(print_, (Matching.UNMATCHED, None))
            results.append(StoredReport(is_repeat=True, matching=matching, segment_id=segment_id))
    return results


def rematch(tx: Tx, segment_ids: Iterable[SegmentId], *, left: Iterable[str] = ()) -> int:
    """Look for reports that came before these segments got their reference or came in doubt.

    A report of another reference may have waited for them too: whose it is was open until now,
    also where they turned out not to have left. Call it in the transaction that ended their
    SUBMITTING; `left` are cards that they may have lost by it. How many reports found theirs.
    """
    ids = sorted(set(segment_ids))
    if not ids:
        return 0
    rows = tx.conn.execute(
        select(*report.c)
        .distinct()
        .select_from(
            segment.join(message, message.c.message_id == segment.c.message_id).join(
                report, report.c.recipient_bidx == message.c.recipient_bidx
            )
        )
        .where(
            segment.c.segment_id.in_(ids),
            or_(report.c.iccid == segment.c.iccid, report.c.iccid.in_(sorted(set(left)))),
            _IS_UNMATCHED,
        )
        .order_by(report.c.report_id)
    ).mappings()
    verdicts = _match(tx, [_read(row) for row in rows])
    return sum(matching is Matching.MATCHED for matching, _ in verdicts.values())


def fingerprint(tx: Tx, item: NewReport) -> bytes:
    """By what a report that came twice is known again: card and octets."""
    return tx.vault.mac("report", item.iccid, item.tpdu.hex())


def _known(tx: Tx, prints: Sequence[bytes]) -> Mapping[bytes, tuple[Matching, SegmentId | None]]:
    rows = _KNOWN.rows(tx.conn, {"prints": list(prints)})
    return {
        row.fingerprint: (
            Matching(row.matching),
            None if row.segment_id is None else SegmentId(row.segment_id),
        )
        for row in rows
    }


def _insert(tx: Tx, items: Mapping[bytes, NewReport]) -> Mapping[bytes, _Report]:
    """Store them; by fingerprint, in the order in which they came."""
    if not items:
        return {}
    _ADD.run(
        tx.conn,
        [
            {
                "iccid": item.iccid,
                "bay": item.bay,
                "received_at": tx.now,
                "recipient_bidx": tx.vault.blind_index(item.recipient),
                "mr": item.mr,
                "st": item.st,
                "scts": None if item.scts is None else item.scts.isoformat(),
                "discharged": None if (at := item.discharged_at) is None else at.isoformat(),
                "fingerprint": print_,
                "matching": Matching.UNMATCHED.value,
            }
            for print_, item in items.items()
        ],
    )
    rows = _ADDED.mappings(tx.conn, {"prints": list(items)})
    return {row["fingerprint"]: _read(row) for row in rows}


def _read(row: RowMapping) -> _Report:
    return _Report(
        report_id=row["report_id"],
        iccid=row["iccid"],
        recipient_bidx=row["recipient_bidx"],
        mr=row["mr"],
        st=row["st"],
        scts=None if row["scts"] is None else datetime.fromisoformat(row["scts"]),
        received_at=row["received_at"],
    )


# ------------------------------------------------------------ which segment


def _match(tx: Tx, reports: Iterable[_Report]) -> Mapping[int, tuple[Matching, SegmentId | None]]:
    """Find each report's segment, note it, move the segment; by report id."""
    ordered = list(reports)
    candidates = _candidates(tx, ordered)
    verdicts: dict[int, tuple[Matching, SegmentId | None]] = {}
    moved: set[int] = set()
    moves: list[dict[str, object]] = []
    for one in ordered:
        own = candidates.get((one.iccid, one.recipient_bidx), [])
        found = _choose(tx, one, own)
        if isinstance(found, Matching):
            verdicts[one.report_id] = (found, None)
            continue
        verdicts[one.report_id] = (Matching.MATCHED, found.segment_id)
        after = _after(one, found)
        if found.state in _OPEN:
            moves.append(_move(tx, one, found, after))
        if after is not found.state:
            moved.add(found.message_id)
        own[own.index(found)] = _moved(found, after, one.mr)
    n = _MOVE.run(tx.conn, moves)
    assert n == len(moves), "a segment was taken under our hands"
    _note_matching(tx, verdicts)
    if moved:
        announce(tx, moved)
    return verdicts


def _candidates(tx: Tx, reports: Sequence[_Report]) -> dict[tuple[str, bytes], list[_Candidate]]:
    """What left by these cards to these recipients lately; SUBMITTING ones too."""
    if not reports:
        return {}
    oldest = min(one.received_at for one in reports) - _WINDOW
    recipients = sorted({one.recipient_bidx for one in reports})
    rows = _LATELY.rows(tx.conn, {"recipients": recipients, "oldest": oldest})
    found: dict[tuple[str, bytes], list[_Candidate]] = {}
    for row in sorted(rows, key=lambda one: one.segment_id):
        candidate = _Candidate(
            segment_id=SegmentId(row.segment_id),
            message_id=row.message_id,
            state=SegmentState(row.state),
            iccid=row.iccid,
            recipient_bidx=row.recipient_bidx,
            mr=row.mr,
            left_at=row.sent_at or row.submitting_at,
        )
        found.setdefault((row.iccid, row.recipient_bidx), []).append(candidate)
    return found


def _choose(tx: Tx, one: _Report, candidates: Sequence[_Candidate]) -> _Candidate | Matching:
    """The report's segment, or why there is none."""
    lately = [
        candidate
        for candidate in candidates
        if -_BEFORE <= one.received_at - candidate.left_at <= _WINDOW
    ]
    by_reference = [candidate for candidate in lately if candidate.mr == one.mr]
    near = [candidate for candidate in by_reference if _is_near(one, candidate)]
    rivals = _rivals(one, lately)
    if len(near) == 1:
        return _choose_known(tx, near[0], rivals)
    if near:
        return Matching.AMBIGUOUS
    if not by_reference or rivals:
        return _choose_doubt(one, lately)
    return _choose_far(one, by_reference)


def _rivals(one: _Report, lately: Sequence[_Candidate]) -> Sequence[_Candidate]:
    """Segments whose reference is not known, and that left when the report says.

    References are used again after 256 segments: what the time fits goes before what it does not.
    """
    return [
        candidate
        for candidate in lately
        if candidate.state in {SegmentState.SUBMITTING, SegmentState.IN_DOUBT}
        and candidate.mr is None
        and _is_near(one, candidate)
    ]


def _choose_known(tx: Tx, known: _Candidate, rivals: Sequence[_Candidate]) -> _Candidate | Matching:
    """The segment with this reference, unless another one may have had the same.

    Segments of one message follow each other: their references differ.
    """
    others = [rival for rival in rivals if rival.message_id != known.message_id]
    if any(rival.state is SegmentState.SUBMITTING for rival in others):
        return Matching.UNMATCHED  # its answer is about to tell
    if not others:
        return known
    is_told = known.state not in _OPEN  # its own report was here before
    if is_told or any(_has_begun_again(tx, known, rival) for rival in others):
        return Matching.AMBIGUOUS
    return known


def _has_begun_again(tx: Tx, known: _Candidate, rival: _Candidate) -> bool:
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


def _choose_far(one: _Report, by_reference: Sequence[_Candidate]) -> _Candidate | Matching:
    """A centre whose clock is wrong tells nothing by its time: a single open one must do."""
    if len(by_reference) > 1:
        return Matching.AMBIGUOUS
    (found,) = by_reference
    is_open = found.state is SegmentState.SENT or one.scts is None
    return found if is_open else Matching.UNMATCHED


def _choose_doubt(one: _Report, lately: Sequence[_Candidate]) -> _Candidate | Matching:
    """A segment whose answer never came has no reference: recipient and time must do."""
    if any(candidate.state is SegmentState.SUBMITTING for candidate in lately):
        return Matching.UNMATCHED  # it may be that one's: its answer is about to come
    doubts = [
        candidate
        for candidate in lately
        if candidate.state is SegmentState.IN_DOUBT
        and candidate.mr is None
        and one.scts is not None
        and _is_near(one, candidate)
    ]
    if len(doubts) == 1:
        return doubts[0]
    return Matching.AMBIGUOUS if doubts else Matching.UNMATCHED


def _is_near(one: _Report, candidate: _Candidate) -> bool:
    return one.scts is not None and abs(one.scts - candidate.left_at) <= _CLOCK_SKEW


# ------------------------------------------------------------ what it means


_AFTER: Final = {
    ReportVerdict.DELIVERED: SegmentState.DELIVERED,
    ReportVerdict.UNDELIVERED: SegmentState.UNDELIVERED,
    ReportVerdict.EXPIRED: SegmentState.EXPIRED,
    ReportVerdict.FORWARDED: SegmentState.SENT,
    ReportVerdict.PENDING: SegmentState.SENT,
}
_OPEN: Final = frozenset({SegmentState.SENT, SegmentState.IN_DOUBT})


def _after(one: _Report, found: _Candidate) -> SegmentState:
    """The state after a segment's report. What is final stays as it is."""
    return _AFTER[report_verdict(one.st)] if found.state in _OPEN else found.state


def _move(tx: Tx, one: _Report, found: _Candidate, after: SegmentState) -> dict[str, object]:
    """Note a segment's move by its report; returns what is to be written."""
    is_final = after is not SegmentState.SENT
    failed = after in {SegmentState.UNDELIVERED, SegmentState.EXPIRED}
    if after is not found.state:
        note_change(tx, found.segment_id, found.state, after, f"report st:{one.st:02x}")
    return {
        "id": found.segment_id,
        "before": found.state.value,
        "to": after.value,
        "ref": one.mr,
        "what": report_title(one.st) if is_final else report_verdict(one.st).value,
        "why": f"st:{one.st:02x}" if failed else None,
        "ended": tx.now if is_final else None,
        "left": found.left_at if found.state is SegmentState.IN_DOUBT else None,
    }


def _moved(found: _Candidate, after: SegmentState, mr: int) -> _Candidate:
    return _Candidate(
        segment_id=found.segment_id,
        message_id=found.message_id,
        state=after,
        iccid=found.iccid,
        recipient_bidx=found.recipient_bidx,
        mr=mr if found.mr is None else found.mr,
        left_at=found.left_at,
    )


def _note_matching(tx: Tx, verdicts: Mapping[int, tuple[Matching, SegmentId | None]]) -> None:
    _FOUND.run(
        tx.conn,
        [
            {"id": report_id, "how": matching.value, "whose": segment_id}
            for report_id, (matching, segment_id) in verdicts.items()
        ],
    )


_KNOWN: Final = Prepared(
    select(report.c.fingerprint, report.c.matching, report.c.segment_id).where(
        report.c.fingerprint.in_(bindparam("prints", expanding=True))
    )
)
_ADD: Final = Change.adding(
    report,
    "iccid",
    "bay",
    "received_at",
    "recipient_bidx",
    "mr",
    "st",
    "scts",
    "discharged",
    "fingerprint",
    "matching",
)
_ADDED: Final = Prepared(
    select(*report.c)
    .where(report.c.fingerprint.in_(bindparam("prints", expanding=True)))
    .order_by(report.c.report_id)
)
_LATELY: Final = Prepared(
    select(
        segment.c.segment_id,
        segment.c.message_id,
        segment.c.state,
        segment.c.iccid,
        segment.c.mr,
        segment.c.sent_at,
        segment.c.submitting_at,
        message.c.recipient_bidx,
    )
    .select_from(
        recipient.join(message, ITS_MESSAGE).join(
            segment, segment.c.message_id == message.c.message_id
        )
    )
    .where(
        recipient.c.recipient_bidx.in_(bindparam("recipients", expanding=True)),
        # Not by card: SQLite would then go through all that these cards ever sent.
        segment.c.submitting_at >= bindparam("oldest"),
    )  # in no order: with statistics SQLite would then go through all segments in theirs
)
_REFERENCES: Final = Prepared(
    select(segment.c.mr, segment.c.sent_at)
    .where(
        segment.c.iccid == bindparam("card"),
        segment.c.mr.in_(bindparam("all", expanding=True)),  # by the index of all three
        segment.c.sent_at.between(bindparam("since"), bindparam("until")),
    )
    .order_by(segment.c.sent_at)
)
_MOVE: Final = Change(
    update(segment)
    .where(segment.c.segment_id == bindparam("id"), segment.c.state == bindparam("before"))
    .values(
        state=bindparam("to"),
        mr=bindparam("ref"),
        note=bindparam("what"),
        cause=bindparam("why"),
        final_at=func.coalesce(bindparam("ended", type_=UtcMs), segment.c.final_at),
        sent_at=func.coalesce(bindparam("left", type_=UtcMs), segment.c.sent_at),
    )
)
_FOUND: Final = Change(
    update(report)
    .where(report.c.report_id == bindparam("id"))
    .values(matching=bindparam("how"), segment_id=bindparam("whose"))
)
