"""Batches of self-tests: made under a standing approval, counted, and held against the log."""

from __future__ import annotations

import json
import os
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, func, insert, select, text
from sqlalchemy.exc import IntegrityError

from modemctl.errors import PolicyRefused, TamperedError
from modemctl.lifecycle import BatchState
from modemctl.model import BatchId, EventKind, Topic
from modemctl.policy.approvals import ApprovalRules
from modemctl.policy.digest import BatchHeader, Under, decode_header, encode_header, header_digest
from modemctl.policy.standing import RUN_LASTS, WEEK
from modemctl.store import batches, staging
from modemctl.store.batches import Batch
from modemctl.store.engine import UNREAD, UNREADABLE, readable_cells
from modemctl.store.evidence import state_values, under_mac
from modemctl.store.tables import audit_entry, batch, from_ms, to_ms
from modemctl.store.transaction import Json, Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class _Log:
    """What the log tells of runs; of those in `unread` only that an entry stands under their id."""

    runs: Mapping[str, Sequence[tuple[str, datetime]]]
    """Standing approval → its runs, and when in steady time."""
    unread: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standings:
    """Standing approvals, and by id the departments of batches that nobody can read."""

    known: Sequence[Batch]
    unread: Mapping[str, str]


def allowed(tx: Tx, *, department: str | None) -> Standings:
    """The standing approvals of a department, or of all, as rows tell; `run` proves them."""
    return _listed(tx, BatchState.APPROVED, department)


def held(tx: Tx, *, department: str | None) -> Standings:
    """Those that somebody held: nothing runs under them until they are resumed."""
    return _listed(tx, BatchState.HELD, department)


def _listed(tx: Tx, state: BatchState, department: str | None) -> Standings:
    chosen = select(batch.c.batch_id).where(
        batch.c.state == state,
        batch.c.header.is_not(None),
        batch.c.not_before <= tx.now,
        batch.c.not_after > tx.now,
    )
    if department is not None:
        chosen = chosen.where(batch.c.department == department)
    known: list[Batch] = []
    unread: dict[str, str] = {}
    for batch_id in tx.conn.scalars(chosen.order_by(batch.c.department, batch.c.created_at)).all():
        try:
            with readable_cells():
                one = batches.find_batch(tx.conn, batch_id)
        except UNREADABLE:
            whose = select(batch.c.department, batch.c.header).where(batch.c.batch_id == batch_id)
            row = tx.conn.execute(whose).one()
            header = _readable(row.header)
            if header is None or header.standing is not None:
                unread[batch_id] = str(row.department)
            continue
        header = None if one is None or one.header is None else _readable(one.header)
        if one is not None and header is not None and header.standing is not None:
            known.append(one)
    return Standings(known=known, unread=unread)


def run(tx: Tx, standing: Batch, *, by: str, rules: ApprovalRules) -> BatchId:
    """Make and start a self-test's batch under a standing approval, proved as a whole.

    Each message goes to the number of the card that sends it; what has not left within an hour
    expires.

    Raises:
        PolicyRefused: SMS-09, no more runs this week, or the standing approval does not hold at
            this moment; SMS-06, its operator may not send now.
        TamperedError: the log of earlier runs, or a line, was altered.
    """
    header = _run_header(tx, standing)
    octets, batch_id = encode_header(header), header.batch_id
    _require_room(tx, standing)
    _insert(tx, standing, header, octets)
    try:
        staging.copy_list(tx, standing.batch_id, batch_id)
    except IntegrityError:
        raise TamperedError(f"batch {standing.batch_id}: {UNREAD}") from None
    made = batches.find_batch(tx.conn, batch_id)
    assert made is not None, "just made"
    verified = batches.require_start(tx.conn, tx.vault, made, rules=rules, now=tx.now)
    tx.event(EventKind.BATCH, batch_id, {"state": BatchState.RUNNING, "reason": ""})
    tx.wake(Topic.WORK)
    details: dict[str, Json] = {
        "standing": standing.batch_id,
        "digest": verified.digest.hex(),
        "approvals": list(verified.approvers),
        "steady": to_ms(tx.steady),
        "policy": "SMS-09",
    }
    tx.audit(by, "batch.run", batch_id, details)
    return batch_id


def replay(conn: Connection) -> Iterator[str]:
    """One line for each standing approval under which more ran in a week than was signed.

    That each run's row is there and as it was is seen with all batches.
    """
    rows = conn.execute(select(batch).where(batch.c.header.is_not(None))).all()
    most, log = {}, _told(conn)
    told = defaultdict(list, log.runs)
    yield from (f"batch {run}: its entry of the log cannot be read" for run in log.unread)
    for row in rows:
        header = _readable(row.header)
        if header is not None and header.standing is not None:
            most[row.batch_id] = header.standing.runs_per_week
        if row.under is not None and row.batch_id not in {
            *log.unread,
            *(one for one, _ in told[row.under]),
        }:
            yield f"batch {row.batch_id}: no entry of the log made it"
    for standing, n in sorted(most.items()):
        moments = sorted(at for _, at in told[standing])
        if any(end - start < WEEK for start, end in zip(moments, moments[n:], strict=False)):
            yield f"batch {standing}: more self-tests ran under it in a week than were signed"


def _run_header(tx: Tx, standing: Batch) -> BatchHeader:
    assert standing.header is not None, "a standing approval is frozen"
    above = decode_header(standing.header)
    begins = from_ms(to_ms(tx.now))
    return replace(
        above,
        batch_id=BatchId(str(uuid.UUID(bytes=os.urandom(16), version=4))),
        not_before=begins,
        not_after=min(begins + RUN_LASTS, above.not_after),
        standing=None,
        under=Under(batch_id=above.batch_id, digest=header_digest(standing.header)),
    )


def _require_room(tx: Tx, standing: Batch) -> None:
    assert standing.header is not None, "a standing approval is frozen"
    above = decode_header(standing.header).standing
    n_runs = _n_runs(tx, standing.batch_id)
    if above is None or n_runs >= above.runs_per_week:
        most = 0 if above is None else above.runs_per_week
        raise PolicyRefused(
            "SMS-09",
            f"{n_runs} self-tests ran under this approval in seven days, {most} were signed",
            cure="wait, or have a standing approval signed that allows more",
        )


def _insert(tx: Tx, standing: Batch, header: BatchHeader, octets: bytes) -> None:
    """The row: all that the standing approval's says, but what a run has of its own."""
    own: dict[str, object] = {
        "batch_id": header.batch_id,
        "not_before": header.not_before,
        "not_after": header.not_after,
        "header": octets,
        "digest": header_digest(octets),
        "request_digest": header_digest(octets),
        "reason": "",
        "created_at": tx.now,
        "served_at": 0,
        "under": standing.batch_id,
        "under_mac": under_mac(tx.vault, header.batch_id, standing.batch_id, octets),
        **state_values(tx, header.batch_id, BatchState.RUNNING),
    }
    row = tx.conn.execute(select(batch).where(batch.c.batch_id == standing.batch_id)).mappings()
    tx.conn.execute(insert(batch).values({**row.one(), **own}))


def _n_runs(tx: Tx, standing: str) -> int:
    """Runs of the last seven days, as the log tells and as the rows do: whichever are more.

    Who deletes a row leaves its entry, and who deletes an entry breaks the chain.

    Raises:
        TamperedError: an entry cannot be read that is, or may be, of a run under this approval.
    """
    log = _told(tx.conn)
    if any(_under(tx, run) in (standing, None) for run in log.unread):
        raise TamperedError("an entry of the log does not say what it has to")
    since = tx.steady - WEEK
    logged = sum(at > since for _, at in log.runs.get(standing, ()))
    counted = select(func.count()).where(
        batch.c.under == standing, batch.c.created_at > tx.now - WEEK
    )
    return max(logged, tx.conn.scalar(counted) or 0)


def _under(tx: Tx, run: str) -> str | None:
    """The standing approval that a run went under, by its sealed row; None where none tells."""
    row = tx.conn.execute(
        select(batch.c.under, batch.c.under_mac, batch.c.header).where(batch.c.batch_id == run)
    ).first()
    if row is None or not isinstance(row.under, str) or not isinstance(row.header, bytes):
        return None
    return row.under if row.under_mac == under_mac(tx.vault, run, row.under, row.header) else None


def _told(conn: Connection) -> _Log:
    runs: defaultdict[str, list[tuple[str, datetime]]] = defaultdict(list)
    unread: list[str] = []
    for row in conn.execute(_RUNS):
        try:
            details = json.loads(row.details)
            at = from_ms(int(details["steady"]))
            runs[str(details["standing"])].append((row.subject, at))
        except UNREADABLE:
            unread.append(row.subject)
    return _Log(runs=runs, unread=unread)


def _readable(octets: bytes) -> BatchHeader | None:
    try:
        return decode_header(octets)
    except (PolicyRefused, *UNREADABLE):
        return None  # other parts of the verification name it


_RUNS: Final = select(audit_entry.c.subject, audit_entry.c.details).where(
    text("action = 'batch.run'")  # the index is for these alone, and known by its very words
)
