"""What reports count: batches of a period, use of cards, what the bank sees, entries of the log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    RowMapping,
    func,
    select,
    type_coerce,
    union_all,
)

from modemctl.lifecycle import CardState, ModemState
from modemctl.store.sims import Card, Query, find
from modemctl.store.tables import (
    account,
    approval,
    audit_entry,
    batch,
    bay_tie,
    call,
    inbox,
    modem,
    segment,
    sim,
    to_ms,
)
from modemctl.vault import Vault

_PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLine:
    """A batch as a report lists it; `progress` is state → segments, names are accounts'."""

    batch_id: str
    created_at: datetime
    category: str
    department: str
    party: str
    drafter: str
    operator: str
    approvers: tuple[str, ...]
    state: str
    n_messages: int
    n_removed: int
    n_segments: int
    progress: Mapping[str, int]
    digest: str
    template: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A card's traffic in a period; `n_minutes` are begun minutes of answered outgoing calls."""

    n_segments: int = 0
    n_in_doubt: int = 0
    n_minutes: int = 0


def batches_between(
    conn: Connection,
    first: datetime,
    end: datetime,
    *,
    department: str | None,
    after: tuple[datetime, str] | None,
) -> Sequence[BatchLine]:
    """The next page of batches that were submitted in a period, in order; empty: no more."""
    statement = (
        select(batch)
        .where(_within(batch.c.created_at, first, end))
        .order_by(batch.c.created_at, batch.c.batch_id)
        .limit(_PAGE)
    )
    if department is not None:
        statement = statement.where(batch.c.department == department)
    if after is not None:
        at, batch_id = after
        is_later = (batch.c.created_at > at) | (
            (batch.c.created_at == at) & (batch.c.batch_id > batch_id)
        )
        statement = statement.where(is_later)
    return _lines(conn, conn.execute(statement).mappings().all())


def batch_line(conn: Connection, batch_id: str) -> BatchLine | None:
    """One batch; None where there is none."""
    rows = conn.execute(select(batch).where(batch.c.batch_id == batch_id)).mappings().all()
    return next(iter(_lines(conn, rows)), None)


def count_batches(
    conn: Connection, first: datetime, end: datetime, *, department: str | None
) -> int:
    """How many batches were submitted in a period."""
    statement = select(func.count()).select_from(batch)
    statement = statement.where(_within(batch.c.created_at, first, end))
    if department is not None:
        statement = statement.where(batch.c.department == department)
    return conn.scalar(statement) or 0


def first_batch_at(conn: Connection) -> datetime | None:
    """When the first batch ever was submitted."""
    return conn.scalar(select(batch.c.created_at).order_by(batch.c.created_at).limit(1))


def names_of(conn: Connection) -> Mapping[str, str]:
    """The names of all accounts, by id."""
    rows = conn.execute(select(account.c.account_id, account.c.name))
    return {row.account_id: row.name for row in rows}


def use_between(conn: Connection, first: datetime, end: datetime) -> Mapping[str, Use]:
    """What each card was used for in a period, by ICCID."""
    doubtful = _within(segment.c.submitting_at, first, end) & (segment.c.state == "in_doubt")
    sent = _count_by_card(conn, _within(segment.c.sent_at, first, end))
    doubts = _count_by_card(conn, doubtful)
    ended, answered = (
        type_coerce(one, BigInteger) for one in (call.c.ended_at, call.c.answered_at)
    )
    begun = (ended - answered + 59_999) // 60_000
    minutes = {
        row.iccid: int(row.n)
        for row in conn.execute(
            select(call.c.iccid, func.sum(begun).label("n"))
            .where(
                _within(call.c.started_at, first, end),
                call.c.is_incoming.is_(False),
                call.c.answered_at.is_not(None),
                call.c.ended_at.is_not(None),
            )
            .group_by(call.c.iccid)
        )
        if row.iccid is not None
    }
    return {
        iccid: Use(
            n_segments=sent.get(iccid, 0),
            n_in_doubt=doubts.get(iccid, 0),
            n_minutes=minutes.get(iccid, 0),
        )
        for iccid in sent.keys() | doubts.keys() | minutes.keys()
    }


def cards_after(
    conn: Connection, vault: Vault, *, department: str | None, after: str | None
) -> Sequence[Card]:
    """The next page of the register in order of ICCID; empty: no more."""
    return find(conn, vault, Query(department=department), after=after, limit=_PAGE)


def seen_cards(conn: Connection) -> Mapping[str, str]:
    """The bay of each card that a modem reports now, by ICCID."""
    rows = conn.execute(
        select(modem.c.iccid, modem.c.bay).where(
            modem.c.iccid.is_not(None), modem.c.state != ModemState.ABSENT
        )
    )
    return {row.iccid: row.bay for row in rows}


def tied_bays(conn: Connection) -> Mapping[str, str]:
    """The bay that each card is tied to, by ICCID."""
    return {row.iccid: row.bay for row in conn.execute(select(bay_tie.c.iccid, bay_tie.c.bay))}


def last_uses(conn: Connection) -> Mapping[str, datetime]:
    """When each card carried traffic last: sent, received, rang."""
    traffic = union_all(
        select(segment.c.iccid, func.max(segment.c.sent_at).label("at")).group_by(segment.c.iccid),
        select(inbox.c.iccid, func.max(inbox.c.received_at)).group_by(inbox.c.iccid),
        select(call.c.iccid, func.max(call.c.started_at)).group_by(call.c.iccid),
    ).subquery()
    rows = conn.execute(select(traffic.c.iccid, func.max(traffic.c.at)).group_by(traffic.c.iccid))
    return {iccid: at for iccid, at in rows if iccid is not None and at is not None}


def cards_by_state(conn: Connection) -> Mapping[CardState, int]:
    """How many cards of the register are in each state."""
    rows = conn.execute(select(sim.c.state, func.count()).group_by(sim.c.state))
    return {CardState(state): n for state, n in rows}


def bays_in(
    conn: Connection, states: Sequence[ModemState]
) -> Sequence[tuple[str, str | None, str, str]]:
    """Bay, card, state and reason of the bays in these states."""
    rows = conn.execute(
        select(modem.c.bay, modem.c.iccid, modem.c.state, modem.c.reason)
        .where(modem.c.state.in_(states))
        .order_by(modem.c.bay)
    )
    return [(row.bay, row.iccid, row.state, row.reason) for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """An entry of the audit log as a report lists it."""

    seq: int
    at: datetime
    actor: str
    action: str
    subject: str
    details: str


def log_between(
    conn: Connection, node_id: str, first: datetime, end: datetime, *, after: int
) -> Sequence[LogLine]:
    """The next page of a node's log in a period, without the segments' journal; empty: no more."""
    rows = conn.execute(
        select(audit_entry)
        .where(
            audit_entry.c.node_id == node_id,
            audit_entry.c.seq > after,
            _within(audit_entry.c.at, first, end),
            audit_entry.c.action != "segments.moved",
        )
        .order_by(audit_entry.c.seq)
        .limit(_PAGE)
    )
    return [_log_line(row) for row in rows]


def log_lines(conn: Connection, node_id: str, numbers: Sequence[int]) -> Sequence[LogLine]:
    """Entries of a node's log by their numbers, in order."""
    columns = audit_entry.c
    query = select(audit_entry).where(columns.node_id == node_id, columns.seq.in_(numbers))
    return [_log_line(row) for row in conn.execute(query.order_by(columns.seq))]


def person_names(conn: Connection) -> Collection[str]:
    """The names of the accounts that stand for persons."""
    return set(conn.scalars(select(account.c.name).where(account.c.kind == "person")))


def _log_line(row: Row[tuple[object, ...]]) -> LogLine:
    return LogLine(
        seq=row.seq, at=row.at, actor=row.actor, action=row.action, subject=row.subject,
        details=row.details,
    )  # fmt: skip


def log_totals(
    conn: Connection, node_id: str, first: datetime, end: datetime
) -> Sequence[tuple[str, str, int]]:
    """Actor, action and how often, of a node's log in a period."""
    rows = conn.execute(
        select(audit_entry.c.actor, audit_entry.c.action, func.count())
        .where(
            audit_entry.c.node_id == node_id,
            _within(audit_entry.c.at, first, end),
            audit_entry.c.action != "segments.moved",
        )
        .group_by(audit_entry.c.actor, audit_entry.c.action)
        .order_by(audit_entry.c.actor, audit_entry.c.action)
    )
    return [(actor, action, n) for actor, action, n in rows]


def first_entry_at(conn: Connection, node_id: str) -> datetime | None:
    """When a node's log begins."""
    statement = select(audit_entry.c.at).where(audit_entry.c.node_id == node_id)
    return conn.scalar(statement.order_by(audit_entry.c.seq).limit(1))


def _lines(conn: Connection, rows: Sequence[RowMapping]) -> Sequence[BatchLine]:
    ids = [row["batch_id"] for row in rows]
    names, signed, progress = names_of(conn), _approvers(conn, ids), _progress(conn, ids)
    return [
        BatchLine(
            batch_id=row["batch_id"],
            created_at=row["created_at"],
            category=row["category"],
            department=row["department"],
            party=row["party"],
            drafter=names.get(row["drafter"], row["drafter"]),
            operator=names.get(row["operator"], row["operator"]),
            approvers=tuple(names.get(one, one) for one in signed.get(row["batch_id"], ())),
            state=row["state"],
            n_messages=row["n_lines"],
            n_removed=row["n_removed"],
            n_segments=row["n_segments"],
            progress=progress.get(row["batch_id"], {}),
            digest="" if row["digest"] is None else row["digest"].hex(),
            template=row["template"],
        )
        for row in rows
    ]


def _within(column: ColumnElement[datetime], first: datetime, end: datetime) -> ColumnElement[bool]:
    assert to_ms(first) < to_ms(end)
    return (column >= first) & (column < end)


def _count_by_card(conn: Connection, which: ColumnElement[bool]) -> Mapping[str, int]:
    rows = conn.execute(
        select(segment.c.iccid, func.count()).where(which).group_by(segment.c.iccid)
    )
    return {iccid: n for iccid, n in rows if iccid is not None}


def _approvers(conn: Connection, ids: Collection[str]) -> Mapping[str, Sequence[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    statement = select(approval.c.batch_id, approval.c.account_id)
    statement = statement.where(approval.c.batch_id.in_(ids), approval.c.decision == "approve")
    for row in conn.execute(statement.order_by(approval.c.batch_id, approval.c.step)):
        found[row.batch_id].append(row.account_id)
    return found


def _progress(conn: Connection, ids: Collection[str]) -> Mapping[str, Mapping[str, int]]:
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    statement = select(segment.c.batch_id, segment.c.state, func.count().label("n"))
    statement = statement.where(segment.c.batch_id.in_(ids))
    for row in conn.execute(statement.group_by(segment.c.batch_id, segment.c.state)):
        found[row.batch_id][row.state] = row.n
    return found
