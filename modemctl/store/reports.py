"""Delivery reports: stored first, then put down to the segment that they are about.

A report names card, recipient and a reference of one octet that wraps; only together with the time
do they point to a segment (`report_choice`). Where several remain, nobody guesses. `add` is a set
act; `rematch` is called when a segment got its reference, and `settle` when one got it that had
been in doubt: what was ambiguous by it may be so no more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeAlias

from sqlalchemy import RowMapping, bindparam, func, literal_column, or_, select, update

from modemctl.lifecycle import SegmentState
from modemctl.model import SegmentId
from modemctl.sms import ReportVerdict, report_title, report_verdict
from modemctl.store.finals import announce
from modemctl.store.prepared import Change, Prepared
from modemctl.store.report_choice import OPEN, WINDOW, Arrived, Candidate, Matching, choose
from modemctl.store.segments import note_change
from modemctl.store.tables import ITS_MESSAGE, UtcMs, message, recipient, report, segment
from modemctl.store.transaction import Tx


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


_Verdict: TypeAlias = tuple[Matching, SegmentId | None]
_Line: TypeAlias = tuple[str, bytes]
"""A card's ICCID and a recipient's blind index."""

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


def settle(tx: Tx, segment_ids: Iterable[SegmentId]) -> int:
    """Look again at ambiguous reports, of which these segments may have been candidates.

    Call it in the transaction that gave segments in doubt their reference. A report stays ambiguous
    while more than one segment may be meant. How many reports found theirs.
    """
    ids = sorted(set(segment_ids))
    owners = _OWNERS.rows(tx.conn, {"ids": ids}) if ids else []
    verdicts = _settle(tx, {(row.iccid, row.recipient_bidx) for row in owners})
    return sum(matching is Matching.MATCHED for matching, _ in verdicts.values())


def fingerprint(tx: Tx, item: NewReport) -> bytes:
    """By what a report that came twice is known again: card and octets."""
    return tx.vault.mac("report", item.iccid, item.tpdu.hex())


def _known(tx: Tx, prints: Sequence[bytes]) -> Mapping[bytes, _Verdict]:
    rows = _KNOWN.rows(tx.conn, {"prints": list(prints)})
    return {
        row.fingerprint: (
            Matching(row.matching),
            None if row.segment_id is None else SegmentId(row.segment_id),
        )
        for row in rows
    }


def _insert(tx: Tx, items: Mapping[bytes, NewReport]) -> Mapping[bytes, Arrived]:
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


def _read(row: RowMapping) -> Arrived:
    return Arrived(
        report_id=row["report_id"],
        iccid=row["iccid"],
        recipient_bidx=row["recipient_bidx"],
        mr=row["mr"],
        st=row["st"],
        scts=None if row["scts"] is None else datetime.fromisoformat(row["scts"]),
        received_at=row["received_at"],
    )


# ------------------------------------------------------------ which segment


def _match(tx: Tx, reports: Iterable[Arrived]) -> dict[int, _Verdict]:
    """Find each report's segment, note it, move the segment; by report id.

    A segment in doubt that gets its reference thereby may leave only one for an older report.
    """
    verdicts, settled = _put_down(tx, list(reports))
    return verdicts | _settle(tx, settled)


def _settle(tx: Tx, settled: Collection[_Line]) -> dict[int, _Verdict]:
    """Look at the ambiguous reports of these again, until they tell nothing more."""
    verdicts: dict[int, _Verdict] = {}
    while settled:
        people = sorted({recipient_bidx for _, recipient_bidx in settled})
        found = [_read(row) for row in _AMBIGUOUS.mappings(tx.conn, {"recipients": people})]
        own = [one for one in found if (one.iccid, one.recipient_bidx) in settled]
        told, settled = _put_down(tx, own)  # each round has a doubt less
        verdicts |= told
    return verdicts


def _put_down(tx: Tx, ordered: Sequence[Arrived]) -> tuple[dict[int, _Verdict], Collection[_Line]]:
    """`_match` once; and where a segment in doubt got its reference: what it may settle."""
    candidates = _candidates(tx, ordered)
    verdicts: dict[int, _Verdict] = {}
    settled: set[_Line] = set()
    moved: set[int] = set()
    moves: list[dict[str, object]] = []
    for one in ordered:
        own = candidates.get((one.iccid, one.recipient_bidx), [])
        found = choose(tx, one, own)
        if isinstance(found, Matching):
            verdicts[one.report_id] = (found, None)
            continue
        verdicts[one.report_id] = (Matching.MATCHED, found.segment_id)
        after = _after(one, found)
        if found.state in OPEN:
            moves.append(_move(tx, one, found, after))
        if found.state is SegmentState.IN_DOUBT:
            settled.add((one.iccid, one.recipient_bidx))
        if after is not found.state:
            moved.add(found.message_id)
        own[own.index(found)] = _moved(found, after, one.mr)
    n = _MOVE.run(tx.conn, moves)
    assert n == len(moves), "a segment was taken under our hands"
    _note_matching(tx, verdicts)
    if moved:
        announce(tx, moved)
    return verdicts, settled


def _candidates(tx: Tx, reports: Sequence[Arrived]) -> dict[tuple[str, bytes], list[Candidate]]:
    """What left by these cards to these recipients lately; SUBMITTING ones too."""
    if not reports:
        return {}
    oldest = min(one.received_at for one in reports) - WINDOW
    recipients = sorted({one.recipient_bidx for one in reports})
    rows = _LATELY.rows(tx.conn, {"recipients": recipients, "oldest": oldest})
    found: dict[tuple[str, bytes], list[Candidate]] = {}
    for row in sorted(rows, key=lambda one: one.segment_id):
        candidate = Candidate(
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


# ------------------------------------------------------------ what it means


_AFTER: Final = {
    ReportVerdict.DELIVERED: SegmentState.DELIVERED,
    ReportVerdict.UNDELIVERED: SegmentState.UNDELIVERED,
    ReportVerdict.EXPIRED: SegmentState.EXPIRED,
    ReportVerdict.FORWARDED: SegmentState.SENT,
    ReportVerdict.PENDING: SegmentState.SENT,
}


def _after(one: Arrived, found: Candidate) -> SegmentState:
    """The state after a segment's report. What is final stays as it is."""
    return _AFTER[report_verdict(one.st)] if found.state in OPEN else found.state


def _move(tx: Tx, one: Arrived, found: Candidate, after: SegmentState) -> dict[str, object]:
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


def _moved(found: Candidate, after: SegmentState, mr: int) -> Candidate:
    return Candidate(
        segment_id=found.segment_id,
        message_id=found.message_id,
        state=after,
        iccid=found.iccid,
        recipient_bidx=found.recipient_bidx,
        mr=mr if found.mr is None else found.mr,
        left_at=found.left_at,
    )


def _note_matching(tx: Tx, verdicts: Mapping[int, _Verdict]) -> None:
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
_AMBIGUOUS: Final = Prepared(
    select(*report.c)
    .where(
        report.c.recipient_bidx.in_(bindparam("recipients", expanding=True)),
        report.c.matching == literal_column("'ambiguous'"),
    )
    .order_by(report.c.report_id)
)
_OWNERS: Final = Prepared(
    select(segment.c.iccid, message.c.recipient_bidx)
    .select_from(segment.join(message, message.c.message_id == segment.c.message_id))
    .where(segment.c.segment_id.in_(bindparam("ids", expanding=True)), segment.c.iccid.is_not(None))
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
