"""Stops as rows: placed, lifted, and believed only as long as their seal fits (SEC-10).

Each row carries a MAC, and the seal one over all that stand: a stop that was altered, deleted or
put back as it was before stops everything, instead of nothing.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    and_,
    func,
    insert,
    or_,
    select,
    true,
    update,
)

from modemctl.errors import Conflict, NotFound, TamperedError
from modemctl.lifecycle import BatchState, SegmentState
from modemctl.model import AccountId, Category, EventKind, Topic
from modemctl.policy.stops import Standing, StopKind, StopMemory
from modemctl.store.prepared import Prepared
from modemctl.store.segments import IS_OPEN
from modemctl.store.tables import (
    audit_entry,
    batch,
    segment,
    segment_journal,
    stop,
    stop_batch,
    stop_flight,
    stop_seal,
    to_ms,
)
from modemctl.store.transaction import Json, Tx
from modemctl.vault import Vault

PLACE: Final = "stop.place"
LIFT: Final = "stop.lift"

_SEAL_ID: Final = 1
_ALTERED: Final = "the list of stops was altered outside modemctl"
_LIVE: Final = (BatchState.RUNNING, BatchState.HELD)
_OVER: Final = (
    BatchState.DONE, BatchState.REJECTED, BatchState.WITHDRAWN, BatchState.CANCELLED,
    BatchState.EXPIRED,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """One stop. It stands while `lifted_at` is None; `target` is empty for the fleet.

    `mark` is the last journal row before it was lifted; nothing of it left after it was placed.
    """

    stop_id: str
    kind: StopKind
    target: str
    reason: str
    placed_by: AccountId
    placed_name: str
    placed_at: datetime
    lifted_by: AccountId | None = None
    lifted_name: str | None = None
    lifted_at: datetime | None = None
    lift_reason: str | None = None
    mark: int | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Who does it, and from where."""

    by: AccountId
    name: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewStop:
    """A stop to place. `general_department` operates all but notices."""

    kind: StopKind
    target: str
    reason: str
    act: Act
    general_department: str


# ---------------------------------------------------------------- what stands


def standing(conn: Connection, vault: Vault, memory: StopMemory) -> Standing:
    """The stops that stand; where a row or the seal does not fit, a distrust that stops all."""
    rows = _STANDING.mappings(conn)
    if not rows:
        return Standing(distrust=_ALTERED)  # the seal itself is gone
    stops = [row for row in rows if row["stop_id"] is not None]
    try:
        for row in stops:
            _check(vault, row)
        vault.check_mac(rows[0]["seal_mac"], "stop_seal", *_seal_fields(rows[0]["version"], stops))
    except TamperedError:
        return Standing(distrust=_ALTERED)
    if rows[0]["version"] < memory.version:
        return Standing(distrust=_ALTERED)
    return Standing.of([(StopKind(row["kind"]), row["target"]) for row in stops])


def seal_first(conn: Connection, vault: Vault) -> None:
    """Seal the empty list of a database that had none."""
    mac = vault.mac("stop_seal", *_seal_fields(0, []))
    conn.execute(insert(stop_seal).values(seal_id=_SEAL_ID, version=0, mac=mac))


def known_version(conn: Connection) -> int:
    """The newest version of the list that the audit log tells of, and that the seal has."""
    said = conn.scalars(
        select(audit_entry.c.details)
        .where(audit_entry.c.action.in_([PLACE, LIFT]))
        .order_by(audit_entry.c.at.desc())
        .limit(100)
    )
    sealed = conn.scalar(select(stop_seal.c.version)) or 0
    return max([sealed, *(int(json.loads(one)["version"]) for one in said)])


# ---------------------------------------------------------------- reading


def find(conn: Connection, vault: Vault, stop_id: str) -> Stop | None:
    """One stop.

    Raises:
        TamperedError: its row was altered.
    """
    row = conn.execute(_ROW.where(stop.c.stop_id == stop_id)).mappings().first()
    return None if row is None else _stop(vault, row)


def list_stops(
    conn: Connection, vault: Vault, *, only_standing: bool, limit: int
) -> Sequence[Stop]:
    """Stops, newest first; those of batches that are over hold nothing and stand no more.

    Raises:
        TamperedError: a row was altered.
    """
    query = _ROW.order_by(stop.c.placed_at.desc(), stop.c.stop_id).limit(limit)
    if only_standing:
        query = query.where(stop.c.lifted_at.is_(None), ~_is_moot())
    return [_stop(vault, row) for row in conn.execute(query).mappings()]


def count_standing(conn: Connection) -> Mapping[str, int]:
    """How many stand, by kind; for metrics, no MAC is read."""
    rows = conn.execute(
        select(stop.c.kind, func.count())
        .where(stop.c.lifted_at.is_(None), ~_is_moot())
        .group_by(stop.c.kind)
    )
    return {kind: n for kind, n in rows}  # noqa: C416 - dict() takes no rows


# ---------------------------------------------------------------- acts


def place(tx: Tx, new: NewStop, memory: StopMemory) -> tuple[Stop, int]:
    """Stop a target from this commit on; one that is stopped already keeps its first stop.

    Returns the stop and the list's version. What cards have in hand is noted with it; the rows
    written are as many as cards and running batches, never as many as segments wait.

    Raises:
        TamperedError: the list was altered; then everything is stopped as it is.
    """
    tx.wake(Topic.STOP)
    _require_whole(tx, memory)
    found = tx.conn.execute(_ROW.where(*_is_on(new.kind, new.target))).mappings().first()
    if found is not None:
        return _stop(tx.vault, found), _version(tx)
    stop_id = str(uuid.uuid4())
    values: dict[str, object] = {
        "stop_id": stop_id,
        "kind": new.kind.value,
        "target": new.target,
        "reason": new.reason,
        "placed_by": new.act.by,
        "placed_name": new.act.name,
        "placed_at": _ms(tx.now),
    }
    row = {**dict.fromkeys(_COLUMNS), **values}
    tx.conn.execute(insert(stop).values(**values, mac=_mac(tx.vault, row)))
    reach = _note_reach(tx, stop_id, new)
    version = _seal(tx)
    details: dict[str, Json] = {
        "kind": new.kind.value,
        "target": new.target,
        "reason": new.reason,
        "version": version,
        **reach,
        "source": new.act.source,
        "policy": "SEC-10",
    }
    tx.audit(new.act.name, PLACE, stop_id, details)
    _tell(tx, stop_id, new.kind, new.target, "placed")
    placed = tx.conn.execute(_ROW.where(stop.c.stop_id == stop_id)).mappings().one()
    return _stop(tx.vault, placed), version


def lift(tx: Tx, stop_id: str, *, reason: str, act: Act, memory: StopMemory) -> tuple[Stop, int]:
    """Let a stop stand no more; returns it and the list's version.

    Raises:
        NotFound: no such stop.
        Conflict: it does not stand.
        TamperedError: its row, or the list, was altered.
    """
    found = find(tx.conn, tx.vault, stop_id)
    if found is None:
        raise NotFound("no such stop", field="stop_id", value=stop_id[:40])
    if found.lifted_at is not None:
        raise Conflict("the stop was lifted before", field="stop_id", value=stop_id)
    _require_whole(tx, memory)
    changes: dict[str, object] = {
        "lifted_by": act.by,
        "lifted_name": act.name,
        "lifted_at": _ms(tx.now),
        "lift_reason": reason,
        "journal_mark": tx.conn.scalar(select(func.max(segment_journal.c.entry_id))) or 0,
    }
    before = tx.conn.execute(_ROW.where(stop.c.stop_id == stop_id)).mappings().one()
    mac = _mac(tx.vault, {**before, **changes})
    tx.conn.execute(update(stop).where(stop.c.stop_id == stop_id).values(**changes, mac=mac))
    version = _seal(tx)
    details: dict[str, Json] = {
        "kind": found.kind.value,
        "target": found.target,
        "reason": reason,
        "placed_by": found.placed_name,
        "version": version,
        "source": act.source,
        "policy": "SEC-10",
    }
    tx.audit(act.name, LIFT, stop_id, details)
    _tell(tx, stop_id, found.kind, found.target, "lifted")
    tx.wake(Topic.WORK)
    after = tx.conn.execute(_ROW.where(stop.c.stop_id == stop_id)).mappings().one()
    return _stop(tx.vault, after), version


# ---------------------------------------------------------------- inside


def _require_whole(tx: Tx, memory: StopMemory) -> None:
    if standing(tx.conn, tx.vault, memory).distrust:
        raise TamperedError(_ALTERED)  # a new seal would make the forgery good


def _note_reach(tx: Tx, stop_id: str, new: NewStop) -> dict[str, Json]:
    """Note the batches concerned and what is in hand; the same for the log."""
    in_hand = tx.conn.execute(
        select(segment.c.segment_id, segment.c.batch_id, segment.c.state)
        .join(batch, batch.c.batch_id == segment.c.batch_id)
        .where(
            IS_OPEN,
            segment.c.state.in_([SegmentState.SUBMITTING, SegmentState.LEASED]),
            _concerned(new),
        )
    ).all()
    # A batch that is over tells what it reached: a wrong send is often noticed afterwards.
    is_asked = true() if new.kind is StopKind.BATCH else batch.c.state.in_(_LIVE)
    running = tx.conn.scalars(select(batch.c.batch_id).where(is_asked, _batches(new))).all()
    ids = sorted({*running, *(row.batch_id for row in in_hand)})
    if ids:
        tx.conn.execute(insert(stop_batch), [{"stop_id": stop_id, "batch_id": one} for one in ids])
    if in_hand:
        rows = [
            {"stop_id": stop_id, "segment_id": row.segment_id, "was": row.state} for row in in_hand
        ]
        tx.conn.execute(insert(stop_flight), rows)
    return {
        "in_flight": sum(row.state == SegmentState.SUBMITTING for row in in_hand),
        "batches": list(ids),
        "flights": [[row.segment_id, row.state] for row in in_hand],
    }


def _is_moot() -> ColumnElement[bool]:
    """A batch that is over leaves nothing to stop, whether or not somebody lifts its stop."""
    over = select(batch.c.batch_id).where(batch.c.state.in_(_OVER))
    return and_(stop.c.kind == StopKind.BATCH, stop.c.target.in_(over))


def _concerned(new: NewStop) -> ColumnElement[bool]:
    if new.kind is StopKind.CARD:
        return segment.c.iccid == new.target
    if new.kind is StopKind.NODE:
        return segment.c.node_id == new.target
    return _batches(new)


def _batches(new: NewStop) -> ColumnElement[bool]:
    """Whose batches are looked through; of a card or node all, for its own segments."""
    if new.kind is StopKind.BATCH:
        return batch.c.batch_id == new.target
    if new.kind is StopKind.DEPARTMENT:
        own = batch.c.department == new.target
        is_served = batch.c.category != Category.NOTICE
        return or_(own, is_served) if new.target == new.general_department else own
    return true()


def _tell(tx: Tx, stop_id: str, kind: StopKind, target: str, what: str) -> None:
    facts: dict[str, Json] = {"alarm": "stop", "kind": kind.value, "what": what, "policy": "SEC-10"}
    if kind is StopKind.BATCH:
        facts["batch_id"] = target
    elif kind is not StopKind.FLEET:
        facts[kind.value] = target
    tx.event(EventKind.ALARM, stop_id, facts)


def _seal(tx: Tx) -> int:
    """Seal what stands now, as the next version."""
    version = _version(tx) + 1
    rows = tx.conn.execute(_ROW.where(stop.c.lifted_at.is_(None))).mappings().all()
    mac = tx.vault.mac("stop_seal", *_seal_fields(version, rows))
    done = tx.conn.execute(
        update(stop_seal).where(stop_seal.c.seal_id == _SEAL_ID).values(version=version, mac=mac)
    )
    if not done.rowcount:
        raise TamperedError(_ALTERED)
    return version


def _version(tx: Tx) -> int:
    return tx.conn.scalar(select(stop_seal.c.version)) or 0


def _ms(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)  # as it is stored


def _is_on(kind: StopKind, target: str) -> tuple[ColumnElement[bool], ...]:
    return stop.c.kind == kind, stop.c.target == target, stop.c.lifted_at.is_(None)


def _seal_fields(version: int, rows: Sequence[RowMapping]) -> tuple[object, ...]:
    return version, *sorted(row["mac"].hex() for row in rows)


def _check(vault: Vault, row: RowMapping) -> None:
    vault.check_mac(row["mac"], "stop", *_mac_fields({**row}))


def _mac(vault: Vault, row: Mapping[str, object]) -> bytes:
    return vault.mac("stop", *_mac_fields(row))


def _mac_fields(row: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(
        to_ms(value) if isinstance(value := row[name], datetime) else value for name in _COLUMNS
    )


def _stop(vault: Vault, row: RowMapping) -> Stop:
    _check(vault, row)
    facts = {name: row[name] for name in _COLUMNS if name != "journal_mark"}
    return Stop(**{**facts, "kind": StopKind(row["kind"]), "mark": row["journal_mark"]})


_COLUMNS: Final = tuple(column.name for column in stop.c if column.name != "mac")
_ROW: Final = select(*stop.c)
_STANDING: Final = Prepared(
    select(stop_seal.c.version, stop_seal.c.mac.label("seal_mac"), *stop.c).outerjoin_from(
        stop_seal, stop, stop.c.lifted_at.is_(None)
    )
)
