"""How far each webhook is, and the rows of what its receiver did not take.

An event is a row from its own transaction on; a webhook only remembers up to which one all are
delivered or have a row here. So an event that is delivered costs no statement of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    RowMapping,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from modemctl.model import EventKind, Topic
from modemctl.policy.webhooks import HOLD_TRIES, Verdict, wait_after
from modemctl.store.events import EventRow
from modemctl.store.tables import event, webhook_delivery, webhook_place
from modemctl.store.transaction import Tx

N_CHARS_REASON: Final = 200
_WORTH_SAVING: Final = 1_000  # events passed over: more than these are not looked at anew
_MOST_COUNTED: Final = 100_000


class DeliveryState(StrEnum):
    """Whether an event that was not taken is tried again."""

    WAITING = "waiting"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far an endpoint is; `n_failures` in a row, `is_told`: an alarm of its losses was raised.

    `node_id` delivers until `held_until`.
    """

    position: int
    n_delivered: int
    delivered_at: datetime | None
    n_failures: int
    failing_since: datetime | None
    next_attempt_at: datetime | None
    is_told: bool
    node_id: str | None
    held_until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """An event on its way to an endpoint; `first_at` None: it has no row yet."""

    row: EventRow
    n_attempts: int = 0
    first_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """An event that an endpoint did not take."""

    row: EventRow
    state: DeliveryState
    is_holding: bool
    n_attempts: int
    first_at: datetime
    next_attempt_at: datetime
    status: int | None
    reason: str

    @property
    def parcel(self) -> Parcel:
        """It as something to be tried."""
        return Parcel(row=self.row, n_attempts=self.n_attempts, first_at=self.first_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What became of one try; `asked` is how long the receiver wants to be left alone."""

    parcel: Parcel
    verdict: Verdict
    status: int | None
    reason: str
    asked: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one turn did: tries, and that all events up to `through` are seen to.

    `is_line`: among the tries is one of the line, whose failure lets those behind it wait;
    `jitter`: 0 … 1; `give_up`: how long an event is tried; `hold`: how long the place is ours.
    """

    tried: Sequence[Tried]
    through: int
    is_line: bool
    jitter: float
    give_up: timedelta
    hold: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """What a turn left: `is_ours` False where another node delivers, and nothing was written."""

    is_ours: bool
    n_dead: int = 0
    is_first_loss: bool = False


def read_place(conn: Connection, name: str) -> Place | None:
    """How far an endpoint is."""
    query = select(*webhook_place.c).where(webhook_place.c.name == name)
    row = conn.execute(query).mappings().first()
    if row is None:
        return None
    return Place(**{key: value for key, value in row.items() if key != "name"})


def claim(tx: Tx, name: str, hold: timedelta) -> bool:
    """Deliver from this node alone for `hold`; False while another one does."""
    is_free = or_(
        webhook_place.c.node_id.is_(None),
        webhook_place.c.node_id == tx.node_id,
        webhook_place.c.held_until < tx.now,
    )
    taken = tx.conn.execute(
        update(webhook_place)
        .where(webhook_place.c.name == name, is_free)
        .values(node_id=tx.node_id, held_until=tx.now + hold)
    )
    return taken.rowcount == 1


def holding(conn: Connection, name: str, *, limit: int) -> Sequence[Delivery]:
    """What the line of an endpoint waits for, oldest first."""
    return _deliveries(
        conn, _waiting(name, is_holding=True), order=webhook_delivery.c.event_id, limit=limit
    )


def due(conn: Connection, name: str, *, now: datetime, limit: int) -> Sequence[Delivery]:
    """What was put aside and is to be tried now, oldest first; the clock may have been set back."""
    at = webhook_delivery.c.next_attempt_at
    is_due = or_(at <= now, at > now + _FAR)
    return _deliveries(
        conn,
        and_(_waiting(name, is_holding=False), is_due),
        order=webhook_delivery.c.event_id,
        limit=limit,
    )


_FAR: Final = timedelta(hours=2)  # no wait of ours is as long


def next_due(conn: Connection, name: str) -> datetime | None:
    """When the next of those put aside is to be tried."""
    query = select(func.min(webhook_delivery.c.next_attempt_at))
    found: datetime | None = conn.scalar(query.where(_waiting(name, is_holding=False)))
    return found


def listed(
    conn: Connection, name: str, *, state: DeliveryState | None, after: int, limit: int
) -> Sequence[Delivery]:
    """What was not taken, behind event `after`."""
    wanted = and_(webhook_delivery.c.name == name, webhook_delivery.c.event_id > after)
    if state is not None:
        wanted = and_(wanted, webhook_delivery.c.state == state)
    return _deliveries(conn, wanted, order=webhook_delivery.c.event_id, limit=limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What an endpoint has not: rows that wait, rows that are dead, the oldest of what waits."""

    n_waiting: int
    n_dead: int
    oldest_at: datetime | None


def backlog(conn: Connection, name: str, *, kinds: Collection[EventKind]) -> Backlog:
    """What waits for an endpoint, rows and events behind its position; of these up to 100,000.

    Events of its kinds count, whatever their types and departments are.
    """
    query = select(
        webhook_delivery.c.state, func.count(), func.min(webhook_delivery.c.event_at)
    ).where(webhook_delivery.c.name == name)
    found = {row[0]: row for row in conn.execute(query.group_by(webhook_delivery.c.state))}
    waiting, dead = found.get(DeliveryState.WAITING), found.get(DeliveryState.DEAD)
    position = (
        select(webhook_place.c.position).where(webhook_place.c.name == name).scalar_subquery()
    )
    behind = (
        select(event.c.at)
        .where(
            event.c.event_id > position,
            event.c.kind.in_(sorted(kinds)),
        )
        .limit(_MOST_COUNTED)
        .subquery()
    )
    n_behind, first_at = conn.execute(select(func.count(), func.min(behind.c.at))).one()
    ages = [at for at in (None if waiting is None else waiting[2], first_at) if at is not None]
    return Backlog(
        n_waiting=(0 if waiting is None else waiting[1]) + n_behind,
        n_dead=0 if dead is None else dead[1],
        oldest_at=min(ages, default=None),
    )


def note(tx: Tx, name: str, turn: Turn) -> Noted:
    """Keep what a turn did, unless another node has taken the endpoint over meanwhile."""
    place = read_place(tx.conn, name)
    if place is None or not claim(tx, name, turn.hold):
        return Noted(is_ours=False)
    taken = [one for one in turn.tried if one.verdict is Verdict.DELIVERED]
    failed = [one for one in turn.tried if one.verdict is not Verdict.DELIVERED]
    has_failed_line = bool(failed) and turn.is_line
    before = 0 if taken else place.n_failures
    n_failures = before + 1 if has_failed_line else before
    next_at = None
    if has_failed_line:
        asked = max((one.asked for one in failed if one.asked is not None), default=None)
        next_at = tx.now + wait_after(n_failures, jitter=turn.jitter, asked=asked)
    _drop(tx, name, [one.parcel.row.event_id for one in taken if one.parcel.first_at is not None])
    n_dead = sum(_keep(tx, name, one, turn, next_at) for one in failed)
    is_told = (place.is_told and not taken) or n_dead > 0
    values: dict[str, object] = {
        "position": max(place.position, turn.through),
        "n_delivered": place.n_delivered + len(taken),
        "delivered_at": tx.now if taken else place.delivered_at,
        "n_failures": n_failures,
        "failing_since": ((before and place.failing_since) or tx.now) if n_failures else None,
        "is_told": is_told,
    }
    if turn.is_line:
        values["next_attempt_at"] = next_at
    tx.conn.execute(update(webhook_place).where(webhook_place.c.name == name).values(values))
    is_first_loss = n_dead > 0 and not (place.is_told and not taken)
    return Noted(is_ours=True, n_dead=n_dead, is_first_loss=is_first_loss)


def bury(tx: Tx, name: str, parcels: Iterable[Parcel], turn: Turn, reason: str) -> Noted:
    """Keep as dead what was never tried, for the receiver fails since long."""
    place = read_place(tx.conn, name)
    if place is None or not claim(tx, name, turn.hold):
        return Noted(is_ours=False)
    rows = [
        _values(name, one.row)
        | {
            "state": DeliveryState.DEAD,
            "is_holding": False,
            "n_attempts": 0,
            "first_at": tx.now,
            "next_attempt_at": tx.now,
            "status": None,
            "reason": reason[:N_CHARS_REASON],
        }
        for one in parcels
    ]
    if rows:
        tx.conn.execute(insert(webhook_delivery), rows)
    values = {"position": max(place.position, turn.through), "is_told": place.is_told or bool(rows)}
    tx.conn.execute(update(webhook_place).where(webhook_place.c.name == name).values(values))
    return Noted(is_ours=True, n_dead=len(rows), is_first_loss=bool(rows) and not place.is_told)


def move(tx: Tx, name: str, through: int) -> None:
    """Events up to `through` are not for this endpoint, or are lost to it."""
    ours = update(webhook_place).where(
        webhook_place.c.name == name, webhook_place.c.position < through
    )
    tx.conn.execute(ours.values(position=through))


def is_worth_saving(before: int, through: int) -> bool:
    """Whether so many events were passed over that a restart should not look at them anew."""
    return through - before >= _WORTH_SAVING


def unhold(tx: Tx, name: str) -> None:
    """Try at once, whatever failed before: the endpoint was resumed."""
    tx.conn.execute(
        update(webhook_place)
        .where(webhook_place.c.name == name)
        .values(next_attempt_at=None, n_failures=0, failing_since=None)
    )
    tx.conn.execute(
        update(webhook_delivery)
        .where(webhook_delivery.c.name == name, webhook_delivery.c.state == DeliveryState.WAITING)
        .values(next_attempt_at=tx.now)
    )
    tx.wake(Topic.WEBHOOKS)


def revive(tx: Tx, name: str, event_ids: Collection[int] | None, *, limit: int) -> Sequence[int]:
    """Let dead events be tried again, all of them or these; returns which."""
    wanted = and_(webhook_delivery.c.name == name, webhook_delivery.c.state == DeliveryState.DEAD)
    if event_ids is not None:
        wanted = and_(wanted, webhook_delivery.c.event_id.in_(sorted(event_ids)))
    query = select(webhook_delivery.c.event_id).where(wanted)
    ids = tx.conn.scalars(query.order_by(webhook_delivery.c.event_id).limit(limit)).all()
    tx.conn.execute(
        update(webhook_delivery)
        .where(webhook_delivery.c.name == name, webhook_delivery.c.event_id.in_(ids))
        .values(
            state=DeliveryState.WAITING,
            is_holding=False,
            n_attempts=0,
            first_at=tx.now,
            next_attempt_at=tx.now,
        )
    )
    tx.wake(Topic.WEBHOOKS)
    return ids


def again(tx: Tx, name: str, rows: Iterable[EventRow]) -> int:
    """Let events be delivered once more; returns how many, without those that wait anyway."""
    found = list(rows)
    ids = [row.event_id for row in found]
    known = set(
        tx.conn.scalars(
            select(webhook_delivery.c.event_id).where(
                webhook_delivery.c.name == name, webhook_delivery.c.event_id.in_(ids)
            )
        )
    )
    values = [
        _values(name, row)
        | {
            "state": DeliveryState.WAITING,
            "is_holding": False,
            "n_attempts": 0,
            "first_at": tx.now,
            "next_attempt_at": tx.now,
            "status": None,
            "reason": "replayed",
        }
        for row in found
        if row.event_id not in known
    ]
    if values:
        tx.conn.execute(insert(webhook_delivery), values)
    tx.wake(Topic.WEBHOOKS)
    return len(values)


def last_before(conn: Connection, at: datetime) -> int:
    """The last event before this moment; 0 for none that is kept."""
    return conn.scalar(select(func.max(event.c.event_id)).where(event.c.at < at)) or 0


def delete_dead(tx: Tx, *, before: datetime, limit: int) -> int:
    """Forget at most `limit` dead events that were given up before; returns how many."""
    old = (
        select(webhook_delivery.c.name, webhook_delivery.c.event_id)
        .where(
            webhook_delivery.c.state == DeliveryState.DEAD,
            webhook_delivery.c.next_attempt_at < before,
        )
        .limit(limit)
    )
    n = 0
    for row in tx.conn.execute(old).all():
        _drop(tx, row.name, [row.event_id])
        n += 1
    return n


def _drop(tx: Tx, name: str, event_ids: Sequence[int]) -> None:
    if event_ids:
        tx.conn.execute(
            delete(webhook_delivery).where(
                webhook_delivery.c.name == name, webhook_delivery.c.event_id.in_(event_ids)
            )
        )


def _keep(tx: Tx, name: str, one: Tried, turn: Turn, next_at: datetime | None) -> bool:
    """Keep a failure; whether the event is dead now. `next_at`: when its line goes on."""
    parcel = one.parcel
    n_attempts = parcel.n_attempts + 1
    first_at = parcel.first_at or tx.now
    is_dead = tx.now - first_at >= turn.give_up
    own = tx.now + wait_after(n_attempts, jitter=turn.jitter, asked=one.asked)
    values: dict[str, object] = {
        "state": DeliveryState.DEAD if is_dead else DeliveryState.WAITING,
        "is_holding": turn.is_line and n_attempts < HOLD_TRIES and not is_dead,
        "n_attempts": n_attempts,
        "first_at": first_at,
        "next_attempt_at": tx.now if is_dead else next_at or own,
        "status": one.status,
        "reason": one.reason[:N_CHARS_REASON],
    }
    if parcel.first_at is None:
        tx.conn.execute(insert(webhook_delivery).values(_values(name, parcel.row) | values))
    else:
        tx.conn.execute(
            update(webhook_delivery)
            .where(
                webhook_delivery.c.name == name,
                webhook_delivery.c.event_id == parcel.row.event_id,
            )
            .values(values)
        )
    return is_dead


def _values(name: str, row: EventRow) -> dict[str, object]:
    return {
        "name": name,
        "event_id": row.event_id,
        "event_at": row.at,
        "kind": row.kind,
        "subject": row.subject,
        "data": row.data,
    }


def _waiting(name: str, *, is_holding: bool) -> ColumnElement[bool]:
    return and_(
        webhook_delivery.c.name == name,
        webhook_delivery.c.state == DeliveryState.WAITING,
        webhook_delivery.c.is_holding.is_(is_holding),
    )


def _deliveries(
    conn: Connection, wanted: ColumnElement[bool], *, order: Column[int], limit: int
) -> Sequence[Delivery]:
    query = select(*webhook_delivery.c).where(wanted).order_by(order).limit(limit)
    return [_delivery(row) for row in conn.execute(query).mappings()]


def _delivery(row: RowMapping) -> Delivery:
    return Delivery(
        row=EventRow(
            event_id=row["event_id"],
            at=row["event_at"],
            kind=EventKind(row["kind"]),
            subject=row["subject"],
            data=row["data"],
        ),
        state=DeliveryState(row["state"]),
        is_holding=row["is_holding"],
        n_attempts=row["n_attempts"],
        first_at=row["first_at"],
        next_attempt_at=row["next_attempt_at"],
        status=row["status"],
        reason=row["reason"],
    )
