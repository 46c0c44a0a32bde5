"""PINs in the vault and the imports that brought them (`store.pin_tries`: their use)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from modemctl.errors import Conflict, NotFound, TamperedError
from modemctl.model import EventKind, Iccid, Topic
from modemctl.policy.pin_guard import (
    ANSWER_LIMIT,
    AttemptOutcome,
    ImportState,
    PinCommand,
    is_stopped_by,
    width,
)
from modemctl.store import pin_changes
from modemctl.store.tables import pin_attempt, pin_change, pin_import, sim
from modemctl.store.transaction import Tx
from modemctl.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class PinImport:
    """An import of PINs and how far it proved itself.

    `n_changed` of its PINs became random ones of the vault; a card that kept its PIN stopped that.
    """

    import_id: str
    created_at: datetime
    n_cards: int
    width: int
    n_right: int
    n_wrong: int
    n_out: int
    stopped_at: datetime | None
    stopped_reason: str | None
    n_changed: int
    change_stopped_at: datetime | None
    change_stopped_reason: str | None


UNSETTLED: Final = or_(
    pin_attempt.c.outcome.is_(None), pin_attempt.c.outcome == AttemptOutcome.UNKNOWN.value
)
"""Tries that hold their place in an import: still out, or without an answer."""

_IS_TRY: Final = pin_attempt.c.command != PinCommand.CPWD.value  # a change proves no import


def pin_place(iccid: str) -> str:
    """Where a card's PIN stands, for the vault."""
    return f"sim.pin_enc:{iccid}"


def pending_place(iccid: str) -> str:
    """Where a card's pending PIN stands, for the vault."""
    return f"sim.pin_pending_enc:{iccid}"


def has_pending(conn: Connection, iccid: str) -> bool:
    """Whether the vault holds a PIN that the card may have got, or not."""
    query = select(sim.c.iccid).where(sim.c.iccid == iccid, sim.c.pin_pending_enc.is_not(None))
    return conn.scalar(query) is not None


def set_pending(tx: Tx, iccid: str, pin: str) -> None:
    """Keep the PIN that a card is about to get, before the command leaves."""
    sealed = tx.vault.encrypt_text(pin, place=pending_place(iccid))
    tx.conn.execute(update(sim).where(sim.c.iccid == iccid).values(pin_pending_enc=sealed))


def drop_pending(tx: Tx, iccid: str) -> None:
    """Forget a pending PIN that the card provably has not taken."""
    tx.conn.execute(update(sim).where(sim.c.iccid == iccid).values(pin_pending_enc=None))


def promote(tx: Tx, iccid: str) -> None:
    """The pending PIN is proved: it becomes the card's own, and of no import."""
    sealed: bytes | None = tx.conn.scalar(select(sim.c.pin_pending_enc).where(sim.c.iccid == iccid))
    assert sealed is not None, "only a pending PIN is promoted"
    pin = tx.vault.decrypt_text(sealed, place=pending_place(iccid))
    own = tx.vault.encrypt_text(pin, place=pin_place(iccid))
    tx.conn.execute(
        update(sim)
        .where(sim.c.iccid == iccid)
        .values(pin_enc=own, pin_pending_enc=None, pin_import_id=None, pin_state="proved")
    )


def add_import(tx: Tx, import_id: str, pins: Mapping[Iccid, str]) -> None:
    """Put PINs of registered cards into the vault, as one import that its canary has to prove."""
    row = {"import_id": import_id, "created_at": tx.now, "n_cards": len(pins)}
    tx.conn.execute(insert(pin_import).values({**row, "width": 1, "n_right": 0, "n_wrong": 0}))
    if pins:
        statement = (
            update(sim)
            .where(sim.c.iccid == bindparam("b_iccid"))
            .values(
                pin_enc=bindparam("b_pin"),
                pin_pending_enc=None,
                pin_import_id=import_id,
                pin_state="unproved",
                updated_at=tx.now,
            )
        )
        sealed = [
            {"b_iccid": iccid, "b_pin": tx.vault.encrypt_text(pin, place=pin_place(iccid))}
            for iccid, pin in pins.items()
        ]
        tx.conn.execute(statement, sealed)
    tx.wake(Topic.SIMS)


def changed(tx: Tx, pins: Mapping[Iccid, str]) -> Mapping[Iccid, str]:
    """Those of these PINs that the vault does not hold already (an altered one counts as none)."""
    rows = tx.conn.execute(select(sim.c.iccid, sim.c.pin_enc).where(sim.c.iccid.in_(sorted(pins))))
    held = {row.iccid: _held(tx.vault, row.iccid, row.pin_enc) for row in rows}
    return {iccid: pin for iccid, pin in pins.items() if held.get(iccid) != pin}


def _held(vault: Vault, iccid: str, sealed: bytes | None) -> str | None:
    try:
        return None if sealed is None else vault.decrypt_text(sealed, place=pin_place(iccid))
    except TamperedError:
        return None


def read_imports(conn: Connection, *, department: str | None = None) -> Sequence[PinImport]:
    """All imports, newest first; with `department`, those of nobody else's cards."""
    n_out = _n_out(conn, None)
    query = (
        select(
            *pin_import.c,
            func.coalesce(pin_change.c.n_right, 0).label("n_changed"),
            pin_change.c.stopped_at.label("change_stopped_at"),
            pin_change.c.stopped_reason.label("change_stopped_reason"),
        )
        .outerjoin(pin_change, pin_change.c.import_id == pin_import.c.import_id)
        .order_by(pin_import.c.created_at.desc(), pin_import.c.import_id)
    )
    if department is not None:
        query = query.where(_is_own(department))
    rows = conn.execute(query)
    return [
        PinImport(**row, n_out=n_out.get(row["import_id"], 0))  # one field a column
        for row in rows.mappings()
    ]


def is_import_of(conn: Connection, import_id: str, department: str) -> bool:
    """Whether an import brought PINs of this department's cards, and of nobody else's."""
    query = select(pin_import.c.import_id)
    found = conn.scalar(query.where(pin_import.c.import_id == import_id, _is_own(department)))
    return found is not None


def _is_own(department: str) -> ColumnElement[bool]:
    cards = exists().where(sim.c.pin_import_id == pin_import.c.import_id)
    others = or_(sim.c.department.is_(None), sim.c.department != department)
    return and_(cards, ~cards.where(others))


def resume_import(tx: Tx, import_id: str) -> None:
    """Let a stopped or hanging import, or change of its PINs, start again with a canary.

    Its tries without an answer stay failed until their cards tell, but hold nobody up any more:
    those without an outcome too, once none can come any more.

    Raises:
        NotFound: no such import.
        Conflict: it neither stopped nor hangs.
    """
    row = tx.conn.execute(
        select(pin_import.c.stopped_at).where(pin_import.c.import_id == import_id)
    ).first()
    if row is None:
        raise NotFound("no such import of PINs", field="import_id", value=import_id)
    abandoned = tx.conn.execute(
        update(pin_attempt)
        .where(
            pin_attempt.c.import_id == import_id,
            _IS_TRY,
            or_(
                pin_attempt.c.outcome == AttemptOutcome.UNKNOWN.value,
                and_(pin_attempt.c.outcome.is_(None), pin_attempt.c.at <= tx.now - ANSWER_LIMIT),
            ),
        )
        .values(outcome=AttemptOutcome.ABANDONED)
    )
    is_changing = pin_changes.resume(tx, import_id)
    if row.stopped_at is None and not abandoned.rowcount:
        if is_changing:
            tx.wake(Topic.SIMS)
            return
        raise Conflict("the import neither stopped nor waits", field="import_id", value=import_id)
    tx.conn.execute(
        update(pin_import)
        .where(pin_import.c.import_id == import_id)
        .values(width=1, n_right=0, n_wrong=0, stopped_at=None, stopped_reason=None)
    )
    tx.wake(Topic.SIMS)


def close_open_tries(tx: Tx, node_id: str | None = None) -> int:
    """At this node's start: tries of its earlier life will get no answer; how many there were.

    So it is with those of a lost node (`node_id`).
    """
    closed = tx.conn.execute(
        update(pin_attempt)
        .where(pin_attempt.c.node_id == (node_id or tx.node_id), pin_attempt.c.outcome.is_(None))
        .values(outcome=AttemptOutcome.UNKNOWN)
    )
    return closed.rowcount


def count_outcome(tx: Tx, import_id: str, outcome: AttemptOutcome) -> None:
    """Add an outcome to its import; stop the import where the guard says so."""
    row = tx.conn.execute(
        select(pin_import.c.n_right, pin_import.c.n_wrong, pin_import.c.stopped_at).where(
            pin_import.c.import_id == import_id
        )
    ).one()
    n_right = row.n_right + (outcome is AttemptOutcome.RIGHT)
    n_wrong = row.n_wrong + (outcome in {AttemptOutcome.WRONG, AttemptOutcome.BLOCKED})
    values: dict[str, object] = {"n_right": n_right, "n_wrong": n_wrong, "width": width(n_right)}
    if row.stopped_at is None and n_wrong > row.n_wrong and is_stopped_by(n_right, n_wrong):
        reason = "its first PIN was wrong" if n_right == 0 else "a second PIN was wrong"
        values |= {"stopped_at": tx.now, "stopped_reason": reason}
        facts = {"alarm": "pin_import_stopped", "reason": reason, "policy": "SIM-06"}
        tx.event(EventKind.ALARM, import_id, facts)
    tx.conn.execute(update(pin_import).where(pin_import.c.import_id == import_id).values(values))


def read_import(conn: Connection, import_id: str) -> ImportState:
    """How far an import proved itself, for the guard."""
    row = conn.execute(
        select(pin_import.c.n_right, pin_import.c.n_wrong, pin_import.c.stopped_at).where(
            pin_import.c.import_id == import_id
        )
    ).one()
    return ImportState(
        n_right=row.n_right,
        n_wrong=row.n_wrong,
        n_out=_n_out(conn, import_id).get(import_id, 0),
        is_stopped=row.stopped_at is not None,
    )


def _n_out(conn: Connection, import_id: str | None) -> Mapping[str, int]:
    statement = (
        select(pin_attempt.c.import_id, func.count(pin_attempt.c.attempt_id))
        .where(UNSETTLED, _IS_TRY, pin_attempt.c.import_id.is_not(None))
        .group_by(pin_attempt.c.import_id)
    )
    if import_id is not None:
        statement = statement.where(pin_attempt.c.import_id == import_id)
    return {row[0]: row[1] for row in conn.execute(statement)}
