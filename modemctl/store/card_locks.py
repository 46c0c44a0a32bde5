"""What was last seen of each card's PIN lock, by the modem that held it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, exists, insert, select, union, update

from modemctl.lifecycle import CardState
from modemctl.model import EventKind, Iccid
from modemctl.policy.locks import LockState, lock_state
from modemctl.policy.puk import OPEN
from modemctl.store.tables import card_lock, modem, puk_request, sim
from modemctl.store.transaction import Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class LockNote:
    """What a start of a card has shown.

    `is_locked`: whether it asks for its PIN at power-up, None where this start did not tell.
    `reason`: one word why it cannot be used, empty where it can.
    """

    iccid: Iccid
    bay: str
    is_locked: bool | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LockRow:
    """One card of the register or of a bay, and what is known of its lock.

    `state` None: the register does not know it. `bay_state` and `bay_reason` are those of the bay
    that it is in, None where it is in none.
    """

    iccid: Iccid
    department: str | None
    state: CardState | None
    bay: str | None
    bay_state: str | None
    bay_reason: str | None
    is_locked: bool | None
    verified_at: datetime | None
    reason: str
    has_puk_request: bool = False

    @property
    def lock(self) -> LockState:
        """What is known of the card's lock, in one word."""
        return lock_state(
            is_locked=self.is_locked, reason=self.reason, has_puk_request=self.has_puk_request
        )


_IN_USE = (
    CardState.ISSUED,
    CardState.SUSPENDED_LOSS,
    CardState.SUSPENDED_ARREARS,
    CardState.SUSPENDED_PENALTY,
)


def note(tx: Tx, items: Sequence[LockNote]) -> Sequence[None]:
    """Save what was seen of cards (a set act)."""
    iccids = sorted({item.iccid for item in items})
    known = set(tx.conn.scalars(select(card_lock.c.iccid).where(card_lock.c.iccid.in_(iccids))))
    for item in items:
        values: dict[str, object] = {"bay": item.bay, "reason": item.reason, "at": tx.now}
        if item.is_locked is not None:
            values |= {"is_locked": item.is_locked, "verified_at": tx.now}
        if item.is_locked and not item.reason:
            values["alarm"] = ""  # all is well: what comes next is news
        _put(tx, item.iccid, values, is_known=item.iccid in known)
        known.add(item.iccid)
    return [None] * len(items)


def alarm_once(tx: Tx, iccid: Iccid, *, word: str, bay: str, facts: Mapping[str, str]) -> None:
    """An alarm about a card in a bay, unless it was the last one and the card has not served since.

    No look at a card that is set aside, and no restart, says again what holds still.
    """
    told = f"{word} {bay}"
    row = tx.conn.execute(select(card_lock.c.alarm).where(card_lock.c.iccid == iccid)).first()
    if row is not None and row.alarm == told:
        return
    tx.event(EventKind.ALARM, iccid, {"alarm": word, "bay": bay, **facts})
    values: dict[str, object] = {"alarm": told}
    if row is None:
        values |= {"bay": bay, "reason": "", "at": tx.now}
    _put(tx, iccid, values, is_known=row is not None)


def _put(tx: Tx, iccid: Iccid, values: Mapping[str, object], *, is_known: bool) -> None:
    if is_known:
        tx.conn.execute(update(card_lock).where(card_lock.c.iccid == iccid).values({**values}))
    else:
        tx.conn.execute(insert(card_lock).values({**values, "iccid": iccid}))


def count(conn: Connection) -> Mapping[str, int]:
    """Cards in use of which a start has told, by the state of their lock."""
    n_open = (
        exists()
        .where(puk_request.c.iccid == card_lock.c.iccid, puk_request.c.state.in_(OPEN))
        .label("has_puk_request")
    )
    query = (
        select(card_lock.c.is_locked, card_lock.c.reason, n_open)
        .join(sim, sim.c.iccid == card_lock.c.iccid)
        .where(sim.c.state.in_(_IN_USE))
    )
    return Counter(
        lock_state(is_locked=is_locked, reason=reason, has_puk_request=bool(has_puk_request)).value
        for is_locked, reason, has_puk_request in conn.execute(query)
    )


def find(
    conn: Connection, *, department: str | None = None, after: str = "", limit: int = 1_000
) -> Sequence[LockRow]:
    """Up to `limit` cards in use or in a bay, in order of ICCID, behind `after`."""
    seen = select(modem.c.iccid).where(modem.c.iccid.is_not(None))
    cards = union(seen, select(sim.c.iccid).where(sim.c.state.in_(_IN_USE))).subquery()
    statement = (
        select(
            cards.c.iccid,
            sim.c.department,
            sim.c.state,
            modem.c.bay,
            modem.c.state.label("bay_state"),
            modem.c.reason.label("bay_reason"),
            card_lock.c.is_locked,
            card_lock.c.verified_at,
            card_lock.c.reason,
            exists()
            .where(puk_request.c.iccid == cards.c.iccid, puk_request.c.state.in_(OPEN))
            .label("has_puk_request"),
        )
        .select_from(cards)
        .outerjoin(sim, sim.c.iccid == cards.c.iccid)
        .outerjoin(modem, modem.c.iccid == cards.c.iccid)
        .outerjoin(card_lock, card_lock.c.iccid == cards.c.iccid)
        .where(cards.c.iccid > after)
        .order_by(cards.c.iccid)
        .limit(limit)
    )
    if department is not None:
        statement = statement.where(sim.c.department == department)
    return [_lock_row(row) for row in conn.execute(statement).mappings()]


def _lock_row(row: RowMapping) -> LockRow:
    return LockRow(
        iccid=Iccid(row["iccid"]),
        department=row["department"],
        state=None if row["state"] is None else CardState(row["state"]),
        bay=row["bay"],
        bay_state=row["bay_state"],
        bay_reason=row["bay_reason"],
        is_locked=row["is_locked"],
        verified_at=row["verified_at"],
        reason=row["reason"] or "",
        has_puk_request=bool(row["has_puk_request"]),
    )
