"""Balances of cards, as networks told them, and the questions that wait for an answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import msgspec
from sqlalchemy import ColumnElement, Connection, RowMapping, Select, insert, select

from modemctl.model import AccountId, Bay, EventKind, Iccid
from modemctl.policy.balances import Answered, Outcome, Question, is_low
from modemctl.store import wishes
from modemctl.store.tables import balance, modem, sim, wish
from modemctl.store.transaction import Tx
from modemctl.store.wishes import Answer, Wish, WishKind

SHOWN_FOR: Final = timedelta(days=40)
"""How long a reading says something of the present: a card is asked once a month at least."""

_question: Final = msgspec.json.Decoder(Question)
_answered: Final = msgspec.json.Decoder(Answered)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One attempt to read a card's balance, and the wish that it answers."""

    wish: Wish
    question: Question
    answered: Answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An attempt that was kept; `amount` None where none was read, `asked_by` empty: by itself."""

    iccid: Iccid
    bay: Bay
    at: datetime
    asked_by: AccountId
    outcome: Outcome
    amount: str | None
    currency: str
    is_low: bool
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A card: its carrier, the last attempt and the last amount, as far as there is any."""

    iccid: Iccid
    department: str | None
    carrier: str | None
    last: Kept | None
    read: Kept | None


def ask(tx: Tx, question: Question, bay: Bay, *, by: AccountId) -> str:
    """Leave a question for the bay that holds the card; returns the wish's id.

    Raises:
        NotFound: no such bay was ever seen.
    """
    body = msgspec.json.encode(question).decode()
    return wishes.ask(tx, kind=WishKind.BALANCE, bay=bay, body=body, by=by)


def open_bays(conn: Connection) -> frozenset[Bay]:
    """Bays of which a question is not answered yet."""
    is_open = (wish.c.kind == WishKind.BALANCE.value) & wish.c.done_at.is_(None)
    return frozenset(Bay(bay) for bay in conn.scalars(select(wish.c.bay).where(is_open)))


def is_open(conn: Connection, wish_id: str) -> bool:
    """Whether somebody still waits for this answer."""
    mine = (wish.c.wish_id == wish_id) & wish.c.done_at.is_(None)
    return conn.scalar(select(wish.c.wish_id).where(mine)) is not None


def question_of(asked: Wish) -> Question:
    """What a wish asks."""
    assert asked.body is not None, "a question has words"
    return _question.decode(asked.body)


def answer_of(asked: Wish) -> Answered | None:
    """What came of a wish; None where it was not asked, or is not answered yet."""
    return None if asked.result is None else _answered.decode(asked.result)


def note(tx: Tx, readings: Sequence[Reading]) -> Sequence[None]:
    """Keep readings and answer their wishes; an alarm where a card's amount has become low."""
    known = standings(tx.conn, {one.question.iccid for one in readings})
    for one in readings:
        asked, found = one.question, one.answered
        amount = None if found.amount is None else Decimal(found.amount)
        low = amount is not None and is_low(amount, asked.low)
        before = known[asked.iccid].read if asked.iccid in known else None
        tx.conn.execute(
            insert(balance).values(
                iccid=asked.iccid, bay=one.wish.bay, at=tx.now, outcome=found.outcome.value,
                asked_by=one.wish.requested_by, amount=found.amount, currency=asked.currency,
                is_low=low, error=found.error,
            )
        )  # fmt: skip
        if low and not (before is not None and before.is_low):
            facts = {"bay": one.wish.bay, "amount": found.amount, "currency": asked.currency}
            alarm = "balance_spent" if amount is not None and amount <= 0 else "balance_low"
            tx.event(EventKind.ALARM, asked.iccid, {"alarm": alarm, **facts, "policy": "TEL-10"})
    answers = [
        Answer(wish_id=one.wish.wish_id, result=msgspec.json.encode(one.answered).decode())
        for one in readings
    ]
    return wishes.answer(tx, answers)


def of_card(conn: Connection, iccid: str, *, limit: int) -> Sequence[Kept]:
    """The last attempts on a card, newest first."""
    mine = select(balance).where(balance.c.iccid == iccid)
    rows = conn.execute(mine.order_by(balance.c.balance_id.desc()).limit(limit))
    return [_kept(row) for row in rows.mappings()]


def standings(conn: Connection, iccids: Collection[str]) -> Mapping[Iccid, Standing]:
    """How these cards of the register stand."""
    wanted = sim.c.iccid.in_(sorted(iccids))
    return {one.iccid: one for one in _standings(conn, wanted)}


def all_standings(conn: Connection) -> Sequence[Standing]:
    """The cards of which a balance was ever asked, by ICCID."""
    return _standings(conn, sim.c.iccid.in_(select(balance.c.iccid).distinct()))


def read_between(conn: Connection, *, first: datetime, end: datetime) -> Mapping[Iccid, Kept]:
    """Of each card the last amount that was read in a time."""
    rows = conn.execute(
        select(balance)
        .where(balance.c.at >= first, balance.c.at < end, balance.c.amount.is_not(None))
        .order_by(balance.c.balance_id)
    )
    return {one.iccid: one for one in map(_kept, rows.mappings())}


def by_bay(conn: Connection, *, now: datetime) -> Mapping[Bay, Kept]:
    """The last attempt on the card that is in each bay, where it is not long ago."""
    found: dict[Bay, Kept] = {}
    statement = select(modem.c.bay, modem.c.iccid).where(modem.c.iccid.is_not(None))
    places = conn.execute(statement).all()
    known = standings(conn, {row.iccid for row in places})
    for row in places:
        standing = known.get(row.iccid)
        last = None if standing is None else standing.last
        if last is not None and last.at > now - SHOWN_FOR:
            found[Bay(row.bay)] = last
    return found


def _standings(conn: Connection, wanted: ColumnElement[bool]) -> Sequence[Standing]:
    cards = conn.execute(
        select(
            sim.c.iccid, sim.c.department, sim.c.carrier,
            _last().scalar_subquery().label("last_id"),
            _last().where(balance.c.amount.is_not(None)).scalar_subquery().label("read_id"),
        ).where(wanted).order_by(sim.c.iccid)
    ).all()  # fmt: skip
    ids = {one for row in cards for one in (row.last_id, row.read_id) if one is not None}
    rows = conn.execute(select(balance).where(balance.c.balance_id.in_(sorted(ids))))
    kept = {row["balance_id"]: _kept(row) for row in rows.mappings()}
    return [
        Standing(
            iccid=Iccid(row.iccid),
            department=row.department,
            carrier=row.carrier,
            last=kept.get(row.last_id),
            read=kept.get(row.read_id),
        )
        for row in cards
    ]


def _last() -> Select[tuple[int]]:
    """The newest attempt on a card of the outer query; the index gives it without a sort."""
    return (
        select(balance.c.balance_id)
        .where(balance.c.iccid == sim.c.iccid)
        .order_by(balance.c.balance_id.desc())
        .limit(1)
        .correlate(sim)
    )


def _kept(row: RowMapping) -> Kept:
    values = {name: row[name] for name in _COLUMNS}
    return msgspec.convert(values, Kept)


_COLUMNS: Final = tuple(Kept.__dataclass_fields__)
