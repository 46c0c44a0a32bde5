"""What persons ask of a bay: rows that its actor takes up and answers."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    bindparam,
    exists,
    func,
    insert,
    select,
    update,
)

from modemctl.errors import NotFound, TamperedError
from modemctl.model import AccountId, Bay, EventKind, Topic
from modemctl.store.engine import UNREADABLE
from modemctl.store.tables import account, modem, to_ms, wish
from modemctl.store.transaction import Json, Tx
from modemctl.vault import Vault

_OUTCOME_MAX: Final = 200
_TICK: Final = timedelta(milliseconds=1)  # wishes of one bay are served in the order of asking
_BUSY_MAX: Final = timedelta(minutes=10)  # who is longer at one wish is dead
_LIFE: Final = timedelta(hours=1)  # nobody waits for longer: see `give_up`
_NO_BODY, _BODY = "-", "="  # what its octets begin with; there are some for each kind
_UNSERVED: Final = "nobody served it: is the bay absent?"
_ALTERED: Final = "its row was altered outside modemctl (policy: SEC-05)"
_FINAL: Final = re.compile(r"OK|ERROR|\+CM[ES] ERROR: ?[0-9]{1,4}|COMMAND NOT SUPPORT")


class WishKind(StrEnum):
    """What may be asked of a bay."""

    AT = "at"  # one raw AT command
    RESET = "reset"  # restart the modem
    RELEASE = "release"  # look at a quarantined or waiting card again
    RETRY = "retry"  # try a failed bay again
    TEST = "test"  # ask the modem how it is (SIM-18)
    BALANCE = "balance"  # ask the card's carrier what is left on it (SIM-15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One wish. `body` is the AT command, `result` its answer (both may hold secrets)."""

    wish_id: str
    kind: WishKind
    bay: Bay
    body: str | None = field(repr=False)
    requested_by: AccountId
    at: datetime
    done_at: datetime | None
    result: str | None = field(repr=False)
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a wish: `result`, or `error` in one line."""

    wish_id: str
    result: str | None = field(default=None, repr=False)
    error: str | None = None


def ask(tx: Tx, *, kind: WishKind, bay: Bay, body: str | None, by: AccountId) -> str:
    """Leave a wish for a bay, behind those that wait; returns its id.

    Raises:
        NotFound: no such bay was ever seen.
    """
    if tx.conn.scalar(select(modem.c.bay).where(modem.c.bay == bay)) is None:
        raise NotFound("no such bay", field="bay", value=bay, cure="modemctl modems lists them")
    is_open = (wish.c.bay == bay) & wish.c.done_at.is_(None)
    last = tx.conn.scalar(select(func.max(wish.c.at)).where(is_open))
    at = tx.now if last is None else max(tx.now, last + _TICK)
    values: dict[str, object] = {
        "wish_id": str(uuid.uuid4()), "kind": kind.value, "bay": bay, "requested_by": by, "at": at,
    }  # fmt: skip
    words = _NO_BODY if body is None else f"{_BODY}{body}"
    sealed = tx.vault.encrypt_text(words, place=body_place(values))
    tx.conn.execute(insert(wish).values(**values, body_enc=sealed))
    tx.wake(Topic.WISHES)
    return str(values["wish_id"])


def take(tx: Tx, bays: Sequence[Bay]) -> Sequence[Sequence[Wish]]:
    """The open wishes of each bay, oldest first, marked as taken.

    One that nobody asked for as it stands, or that was asked long ago and put back, is not done.
    """
    statement = (
        select(wish)
        .where(
            wish.c.bay.in_(sorted(set(bays))), wish.c.taken_at.is_(None), wish.c.done_at.is_(None)
        )
        .order_by(wish.c.at, wish.c.wish_id)
    )
    rows = tx.conn.execute(statement).mappings().all()
    if rows:
        tx.conn.execute(
            update(wish)
            .where(wish.c.wish_id.in_([row["wish_id"] for row in rows]))
            .values(taken_at=tx.now)
        )
    wishes = [one for row in rows if (one := _asked(tx, row)) is not None]
    return [[one for one in wishes if one.bay == bay] for bay in bays]


def _asked(tx: Tx, row: RowMapping) -> Wish | None:
    ours = wish.c.wish_id == row["wish_id"]
    error = _ALTERED
    with suppress(*UNREADABLE):
        if row["body_enc"] is not None:
            asked = _wish(tx.vault, row)
            if asked.at >= tx.now - _LIFE:
                return asked
            error = _UNSERVED  # asked before the daemon was stopped for long, or put back
    if error == _UNSERVED:
        _audit_outcomes(tx, ours, {}, otherwise=error)
    else:
        facts: dict[str, Json] = {"alarm": "tampered", "faults": [f"wish: {_ALTERED}"]}
        tx.event(EventKind.ALARM, "wish", facts)
    tx.conn.execute(update(wish).where(ours).values(done_at=tx.now, error=error))
    return None


def answer(tx: Tx, answers: Sequence[Answer]) -> Sequence[None]:
    """Note what became of wishes; of AT commands in the audit log too, whoever waits for it."""
    outcomes = {one.wish_id: _outcome(one) for one in answers}
    _audit_outcomes(tx, wish.c.wish_id.in_(sorted(outcomes)), outcomes)
    for one in answers:
        place = result_place(one.wish_id)
        sealed = None if one.result is None else tx.vault.encrypt_text(one.result, place=place)
        tx.conn.execute(
            update(wish)
            .where(wish.c.wish_id == one.wish_id, wish.c.done_at.is_(None))
            .values(done_at=tx.now, result_enc=sealed, error=one.error)
        )
    tx.wake(Topic.WISHES)
    return [None] * len(answers)


def read(conn: Connection, vault: Vault, wish_id: str) -> Wish | None:
    """One wish with its answer; None if there is none of this id."""
    row = conn.execute(select(wish).where(wish.c.wish_id == wish_id)).mappings().first()
    return None if row is None else _wish(vault, row)


def waiting_bays(conn: Connection) -> frozenset[Bay]:
    """Bays of which somebody wants something."""
    rows = conn.scalars(select(wish.c.bay).distinct().where(wish.c.taken_at.is_(None)))
    return frozenset(Bay(bay) for bay in rows)


def has_open(conn: Connection) -> bool:
    """Whether any wish is not answered yet."""
    return bool(conn.scalar(select(exists().where(wish.c.done_at.is_(None)))))


def unanswered(conn: Connection, wish_ids: Collection[str]) -> int:
    """How many of these are not answered yet."""
    waiting = wish.c.done_at.is_(None) & wish.c.wish_id.in_(sorted(wish_ids))
    return conn.scalar(select(func.count()).select_from(wish).where(waiting)) or 0


def give_up(tx: Tx, *, older_than: float, bays: Collection[Bay] | None = None) -> int:
    """Answer wishes that no actor took up in time (seconds), or finished in ours, with an error.

    A bay at work on one lets those behind it wait: a scan takes minutes.
    """
    begun = tx.now - _BUSY_MAX
    at_work = select(wish.c.bay).where(wish.c.done_at.is_(None), wish.c.taken_at > begun)
    stale = (wish.c.at <= tx.now - timedelta(seconds=older_than)) & wish.c.bay.not_in(at_work)
    if bays is not None:
        stale &= wish.c.bay.in_(sorted(bays))
    _audit_outcomes(tx, stale, {}, otherwise=_UNSERVED)
    statement = (
        update(wish)
        .where(wish.c.done_at.is_(None), stale)
        .values(done_at=tx.now, taken_at=tx.now, error=_UNSERVED)
    )
    n = tx.conn.execute(statement).rowcount
    if n:
        tx.wake(Topic.WISHES)
    return n


def close_all(tx: Tx, error: str) -> None:
    """Answer every open wish with this error: whether it was done is not known."""
    is_open = wish.c.done_at.is_(None)
    _audit_outcomes(tx, is_open, {}, otherwise=error)
    tx.conn.execute(
        update(wish).where(is_open).values(done_at=tx.now, taken_at=tx.now, error=error)
    )
    tx.wake(Topic.WISHES)


def bind_bodies(conn: Connection, vault: Vault, *, now: datetime) -> None:
    """Seal each body with the whole of its wish, once: those of before were with its id alone.

    What is open then is not done any more. A body that does not open was altered, and stays so.
    """
    seals: list[dict[str, object]] = []
    for row in conn.execute(select(wish)).mappings().all():
        words = _NO_BODY
        try:
            if row["body_enc"] is not None:
                body = vault.decrypt_text(row["body_enc"], place=f"wish.body_enc:{row['wish_id']}")
                words = f"{_BODY}{body}"
        except TamperedError:
            continue
        seals.append({"b_id": row["wish_id"], "b_sealed": vault.encrypt_text(
            words, place=body_place(row)
        )})  # fmt: skip
    if seals:
        ours = update(wish).where(wish.c.wish_id == bindparam("b_id"))
        conn.execute(ours.values(body_enc=bindparam("b_sealed")), seals)
    is_open = update(wish).where(wish.c.done_at.is_(None))
    conn.execute(is_open.values(done_at=now, taken_at=now, error=_UNSERVED))


def _audit_outcomes(
    tx: Tx, which: ColumnElement[bool], outcomes: Mapping[str, str], *, otherwise: str = ""
) -> None:
    """What came of open AT commands, without the modem's answer."""
    rows = tx.conn.execute(
        select(wish.c.wish_id, wish.c.bay, account.c.name)
        .outerjoin(account, account.c.account_id == wish.c.requested_by)
        .where(which, wish.c.kind == WishKind.AT.value, wish.c.done_at.is_(None))
        .order_by(wish.c.at, wish.c.wish_id)
    ).all()
    for row in rows:
        details = {"wish_id": row.wish_id, "outcome": outcomes.get(row.wish_id, otherwise)}
        tx.audit(row.name or "unknown", "modem.at.answered", row.bay, details)


def _outcome(one: Answer) -> str:
    """The final result code, or why there is none."""
    if one.error is not None:
        return one.error[:_OUTCOME_MAX]
    final = (one.result or "").rpartition("\n")[2]
    return final if _FINAL.fullmatch(final) else "answered"


def _wish(vault: Vault, row: RowMapping) -> Wish:
    def opened(sealed: bytes | None, place: str) -> str | None:
        return None if sealed is None else vault.decrypt_text(sealed, place=place)

    words = opened(row["body_enc"], body_place(row))
    return Wish(
        wish_id=row["wish_id"],
        kind=WishKind(row["kind"]),
        bay=Bay(row["bay"]),
        body=None if words is None or words == _NO_BODY else words.removeprefix(_BODY),
        requested_by=AccountId(row["requested_by"]),
        at=row["at"],
        done_at=row["done_at"],
        result=opened(row["result_enc"], result_place(row["wish_id"])),
        error=row["error"],
    )


def body_place(row: Mapping[str, object] | RowMapping) -> str:
    """Where a wish's text stands, for the vault: it opens for the very same wish alone."""
    at = row["at"]
    assert isinstance(at, datetime)
    facts = (row["wish_id"], row["kind"], row["bay"], row["requested_by"], to_ms(at))
    return "wish.body_enc:" + ":".join(map(str, facts))


def result_place(wish_id: str) -> str:
    """Where a wish's answer stands, for the vault."""
    return f"wish.result_enc:{wish_id}"
