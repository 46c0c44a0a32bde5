"""Purging what is kept long enough (SEC-08): in small steps, on record, never what a hold keeps.

A batch loses its salt first: from then on no leaf tells its line. Then its lines, segments,
recipients and reports go. Header, approvals, leaves and the audit log stay: that it was sent, by
whose leave, and how much of it, can still be proved. The segment journal stays too: the audit log
vouches for each of its rows, and nothing personal stands in them.
"""

from __future__ import annotations

import hmac
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    RowMapping,
    Table,
    and_,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)

from modemctl.errors import TamperedError
from modemctl.lifecycle import BatchState
from modemctl.policy.records import RecordClass
from modemctl.store import holds
from modemctl.store.holds import Kept
from modemctl.store.tables import (
    audit_entry,
    balance,
    batch,
    batch_removed,
    call,
    from_ms,
    inbox,
    message,
    purge_run,
    recipient,
    report,
    segment,
    self_test,
    to_ms,
    wish,
)
from modemctl.store.transaction import Json, Tx
from modemctl.vault import Vault

SCHEDULE: Final = "rule:SEC-08"
"""Who purges where no person asked for it."""

_CHUNK: Final = 500  # rows a step removes at most: some milliseconds of the one writer
OVER: Final = (
    BatchState.DONE,
    BatchState.REJECTED,
    BatchState.WITHDRAWN,
    BatchState.CANCELLED,
    BatchState.EXPIRED,
)
"""States in which a batch has come to its end."""

_PLAIN: Final[Mapping[RecordClass, tuple[Table, str, Column[datetime]]]] = {
    RecordClass.INBOX: (inbox, "inbox_id", inbox.c.received_at),
    RecordClass.CALL: (call, "call_record_id", call.c.started_at),
    RecordClass.REPORT: (report, "report_id", report.c.received_at),
    RecordClass.CONSOLE: (wish, "wish_id", wish.c.done_at),
    RecordClass.BALANCE: (balance, "balance_id", balance.c.at),
    RecordClass.SELF_TEST: (self_test, "test_id", self_test.c.at),
}
"""Classes whose rows go one by one: table, key, and from when on they age."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """Of one class: what may go, what a hold keeps though its time is over."""

    of: RecordClass
    before: datetime
    n_due: int
    n_held: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one step removed; `is_over` once nothing is left that may go."""

    n_batches: int = 0
    n_rows: int = 0
    is_over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A purge from its start on; `request_id` None: by the schedule."""

    run_id: str
    by: str
    request_id: str | None
    cutoffs: Mapping[RecordClass, datetime]
    started_at: datetime
    finished_at: datetime | None
    n_batches: int
    n_rows: int


def preview(
    conn: Connection, vault: Vault, cutoffs: Mapping[RecordClass, datetime]
) -> Sequence[Due]:
    """What a purge would take, and what holds would keep from it."""
    kept = holds.kept(conn, vault)
    found = []
    for of, before in cutoffs.items():
        table, at = _source(of)
        is_old = _is_old(of, before)
        n_all, oldest = conn.execute(
            select(func.count(), func.min(at)).select_from(table).where(is_old)
        ).one()
        n_held = conn.scalar(select(func.count()).select_from(table).where(is_old, kept.rows(of)))
        assert n_held is not None, "a count is a number"
        found.append(Due(of=of, before=before, n_due=n_all - n_held, n_held=n_held, oldest=oldest))
    return found


def has_old(conn: Connection, cutoffs: Mapping[RecordClass, datetime]) -> bool:
    """Whether anything was kept for longer than that; a hold may keep it."""
    return any(
        conn.execute(select(_source(of)[1]).where(_is_old(of, before)).limit(1)).first() is not None
        for of, before in cutoffs.items()
    )


def begin(
    tx: Tx, *, by: str, request_id: str | None, cutoffs: Mapping[RecordClass, datetime]
) -> Run:
    """Note a purge that is to be done; `step` does it, whatever comes between."""
    values: dict[str, object] = {
        "run_id": str(uuid.uuid4()),
        "by": by,
        "request_id": request_id,
        "cutoffs": json.dumps({of.value: to_ms(at) for of, at in cutoffs.items()}, sort_keys=True),
        "started_at": tx.now,
    }
    tx.conn.execute(insert(purge_run).values(**values, mac=_mac(tx.vault, values)))
    days = {of.value: at.date().isoformat() for of, at in cutoffs.items()}
    tx.audit(
        by,
        "purge.begin",
        str(values["run_id"]),
        {"before": days, "request": request_id, "policy": "SEC-08"},
    )
    statement = select(purge_run).where(purge_run.c.run_id == values["run_id"])
    return _run(tx.vault, tx.conn.execute(statement).mappings().one())


def unfinished(conn: Connection, vault: Vault) -> Run | None:
    """The purge that is under way.

    Raises:
        TamperedError: its row was altered.
    """
    statement = select(purge_run).where(purge_run.c.finished_at.is_(None))
    row = conn.execute(statement.order_by(purge_run.c.started_at).limit(1)).mappings().first()
    if row is None:
        return None
    told = (audit_entry.c.action == "purge.end", audit_entry.c.subject == row["run_id"])
    if conn.scalar(select(exists().where(*told))):
        raise TamperedError("purge_run: it was over, and is open again")
    return _run(vault, row)


def find(conn: Connection, vault: Vault, *, limit: int = 100) -> Sequence[Run]:
    """The latest purges, newest first; altered rows are left out."""
    rows = conn.execute(
        select(purge_run).order_by(purge_run.c.started_at.desc()).limit(limit)
    ).mappings()
    found = []
    for row in rows:
        try:
            found.append(_run(vault, row))
        except TamperedError:
            continue
    return found


def step(tx: Tx, run: Run) -> Step:
    """Remove up to some hundred rows; the last step ends the run."""
    kept = holds.kept(tx.conn, tx.vault)
    done = _step_of_batches(tx, run, kept) or _step_of_rows(tx, run, kept) or Step(is_over=True)
    counts = {
        "n_batches": purge_run.c.n_batches + done.n_batches,
        "n_rows": purge_run.c.n_rows + done.n_rows,
    }
    ours = update(purge_run).where(purge_run.c.run_id == run.run_id)
    if not done.is_over:
        tx.conn.execute(ours.values(**counts))
        return done
    ours = ours.where(purge_run.c.finished_at.is_(None))
    after = tx.conn.execute(
        ours.values(finished_at=tx.now).returning(purge_run.c.n_batches, purge_run.c.n_rows)
    ).first()
    if after is None:
        return done  # another node was at it as well, and ended it
    facts = {"n_batches": after.n_batches, "n_rows": after.n_rows, "policy": "SEC-08"}
    tx.audit(run.by, "purge.end", run.run_id, facts)
    return done


# ---------------------------------------------------------------- batches


def _step_of_batches(tx: Tx, run: Run, kept: Kept) -> Step | None:
    before = run.cutoffs.get(RecordClass.BATCH)
    if before is None:
        return None
    batch_id = _begun(tx, run, kept, before)
    if batch_id is None:
        batch_id = _next(tx, run, kept, before)
    if batch_id is None:
        return None
    n = _remove_segments(tx, batch_id, run)
    if n:
        return Step(n_rows=n)
    for remove in (_remove_messages, _remove_recipients, _remove_removed):
        n = remove(tx, batch_id)
        if n:
            return Step(n_rows=n)
    tx.conn.execute(update(batch).where(batch.c.batch_id == batch_id).values(purged_at=tx.now))
    return Step(n_batches=1)


def _begun(tx: Tx, run: Run, kept: Kept, before: datetime) -> str | None:
    """The batch whose salt is gone and whose rows are not."""
    which = and_(_is_old(RecordClass.BATCH, before), batch.c.salt_nonce.is_(None))
    if kept.latest is not None and kept.latest >= run.started_at:
        which = and_(which, ~kept.rows(RecordClass.BATCH))  # else it was looked at: it is costly
    found: str | None = tx.conn.scalar(
        select(batch.c.batch_id).where(which).order_by(batch.c.state_at).limit(1)
    )
    return found


def _next(tx: Tx, run: Run, kept: Kept, before: datetime) -> str | None:
    """The next batch whose time is over, its salt destroyed."""
    found = tx.conn.execute(
        select(batch.c.batch_id, batch.c.n_lines, batch.c.digest)
        .where(_is_old(RecordClass.BATCH, before), ~kept.rows(RecordClass.BATCH))
        .order_by(batch.c.state_at, batch.c.batch_id)
        .limit(1)
    ).first()
    if found is None:
        return None
    batch_id = str(found.batch_id)
    tx.conn.execute(update(batch).where(batch.c.batch_id == batch_id).values(salt_nonce=None))
    digest = None if found.digest is None else found.digest.hex()
    facts = {"n_lines": found.n_lines, "digest": digest, "policy": "SEC-08"}
    tx.audit(run.by, "purge.batch", batch_id, {**facts, "run": run.run_id})
    return batch_id


def _remove_segments(tx: Tx, batch_id: str, run: Run) -> int:
    """Whole messages, in the order of the list; the log says which segments are gone."""
    of_batch = segment.c.batch_id == batch_id
    first = select(segment.c.message_id).where(of_batch).order_by(segment.c.segment_id)
    messages = tx.conn.scalars(first.limit(_CHUNK)).all()
    if not messages:
        return 0
    whole = select(segment.c.segment_id).where(segment.c.message_id.in_(set(messages)))
    ids = tx.conn.scalars(whole.order_by(segment.c.segment_id)).all()
    spans: Json = [[first, last] for first, last in spans_of(ids)]
    facts: dict[str, Json] = {"n": len(ids), "segments": spans, "policy": "SEC-08"}
    tx.audit(run.by, "purge.segments", batch_id, {**facts, "run": run.run_id})
    tx.conn.execute(delete(report).where(report.c.segment_id.in_(ids)))
    tx.conn.execute(delete(segment).where(segment.c.segment_id.in_(ids)))
    return len(ids)


def _remove_messages(tx: Tx, batch_id: str) -> int:
    rows = tx.conn.execute(
        select(message.c.message_id, message.c.recipient_bidx)
        .where(message.c.batch_id == batch_id)
        .limit(_CHUNK)
    ).all()
    indexes = [row.recipient_bidx for row in rows]
    tx.conn.execute(
        delete(recipient).where(
            recipient.c.recipient_bidx.in_(indexes), recipient.c.batch_id == batch_id
        )
    )
    ids = [row.message_id for row in rows]
    tx.conn.execute(delete(message).where(message.c.message_id.in_(ids)))
    return len(ids)


def _remove_recipients(tx: Tx, batch_id: str) -> int:
    """Those that no message led to; there should be none."""
    return tx.conn.execute(delete(recipient).where(recipient.c.batch_id == batch_id)).rowcount


def _remove_removed(tx: Tx, batch_id: str) -> int:
    lines = _ids(tx, batch_removed.c.line_no, batch_removed.c.batch_id == batch_id)
    tx.conn.execute(
        delete(batch_removed).where(
            batch_removed.c.batch_id == batch_id, batch_removed.c.line_no.in_(lines)
        )
    )
    return len(lines)


def spans_of(ids: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Ascending numbers as spans: first and last of those that follow one another."""
    first = last = None
    for one in ids:
        if first is None or last is None or one != last + 1:
            if first is not None and last is not None:
                yield first, last
            first = one
        last = one
    if first is not None and last is not None:
        yield first, last


# ---------------------------------------------------------------- other rows


def _step_of_rows(tx: Tx, run: Run, kept: Kept) -> Step | None:
    for of, (table, key, at) in _PLAIN.items():
        before = run.cutoffs.get(of)
        if before is None:
            continue
        is_due = and_(_is_old(of, before), ~kept.rows(of))
        rows = tx.conn.execute(
            select(table.c[key], at).where(is_due).order_by(at, table.c[key]).limit(_CHUNK)
        ).all()
        if not rows:
            continue
        tx.conn.execute(delete(table).where(table.c[key].in_([row[0] for row in rows])))
        span = {"from": rows[0][1].isoformat(), "to": rows[-1][1].isoformat()}
        facts = {"n": len(rows), **span, "run": run.run_id, "policy": "SEC-08"}
        tx.audit(run.by, "purge.rows", of.value, facts)
        return Step(n_rows=len(rows))
    return None


def _source(of: RecordClass) -> tuple[Table, Column[datetime]]:
    if of is RecordClass.BATCH:
        return batch, batch.c.state_at
    table, _, at = _PLAIN[of]
    return table, at


def _is_old(of: RecordClass, before: datetime) -> ColumnElement[bool]:
    if of is RecordClass.BATCH:
        return and_(batch.c.state.in_(OVER), batch.c.state_at < before, batch.c.purged_at.is_(None))
    _, _, at = _PLAIN[of]
    return and_(at.is_not(None), at < before)


def _ids(tx: Tx, key: Column[int], which: ColumnElement[bool]) -> Sequence[int]:
    return tx.conn.scalars(select(key).where(which).limit(_CHUNK)).all()


# ---------------------------------------------------------------- rows and MACs


def _mac(vault: Vault, row: Mapping[str, object]) -> bytes:
    started_at = row["started_at"]
    assert isinstance(started_at, datetime)
    fields = (row["run_id"], row["by"], row["request_id"], row["cutoffs"], to_ms(started_at))
    return vault.mac("purge_run", *fields)


def is_intact(vault: Vault, row: RowMapping) -> bool:
    """Whether a purge is as it was begun."""
    return hmac.compare_digest(row["mac"], _mac(vault, {**row}))


def _run(vault: Vault, row: RowMapping) -> Run:
    if not is_intact(vault, row):
        raise TamperedError("purge_run: a row that authorises carries no valid MAC")
    return Run(
        run_id=row["run_id"],
        by=row["by"],
        request_id=row["request_id"],
        cutoffs={RecordClass(of): from_ms(at) for of, at in json.loads(row["cutoffs"]).items()},
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        n_batches=row["n_batches"],
        n_rows=row["n_rows"],
    )
