"""How far the change of imported PINs to random ones of the vault has come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from sqlalchemy import Connection, func, insert, or_, select, update

from modemctl.model import EventKind
from modemctl.policy.pin_change import ChangeState, is_change_stopped_by, is_refusal
from modemctl.policy.pin_guard import ANSWER_LIMIT, AttemptOutcome, PinCommand
from modemctl.store.tables import pin_attempt, pin_change, sim
from modemctl.store.transaction import Tx

_UNSURE: Final = frozenset({None, AttemptOutcome.UNKNOWN.value, AttemptOutcome.UNBURNT.value})


def is_due(conn: Connection, iccid: str) -> bool:
    """Whether a card's PIN came by an import, is proved, and no change of it is unsure."""
    found = conn.scalar(
        select(sim.c.iccid).where(
            sim.c.iccid == iccid,
            sim.c.pin_import_id.is_not(None),
            sim.c.pin_state == "proved",
            sim.c.pin_pending_enc.is_(None),
        )
    )
    return found is not None


def kept_by_vault(conn: Connection, iccids: Iterable[str]) -> Mapping[str, bool]:
    """Which of these cards have a PIN that the vault made; True where it is in doubt.

    Nobody else knows it, so nothing replaces it but a PUK: a card that is blocked has no PIN.
    """
    rows = conn.execute(
        select(sim.c.iccid, sim.c.pin_pending_enc, sim.c.pin_import_id, sim.c.pin_state).where(
            sim.c.iccid.in_(sorted(iccids)),
            or_(sim.c.pin_enc.is_not(None), sim.c.pin_pending_enc.is_not(None)),
        )
    )
    return {
        row.iccid: row.pin_pending_enc is not None or row.pin_state == "failed"
        for row in rows
        if row.pin_pending_enc is not None
        or (row.pin_import_id is None and row.pin_state != "blocked")
    }


def read(tx: Tx, import_id: str) -> ChangeState:
    """How far the change of an import's PINs has proved itself, for the guard."""
    row = tx.conn.execute(select(*pin_change.c).where(pin_change.c.import_id == import_id)).first()
    is_out = (
        pin_attempt.c.import_id == import_id,
        pin_attempt.c.command == PinCommand.CPWD,
        pin_attempt.c.outcome.is_(None),
        pin_attempt.c.at > tx.now - ANSWER_LIMIT,
    )
    is_pending = (sim.c.pin_import_id == import_id, sim.c.pin_pending_enc.is_not(None))
    n_out = tx.conn.scalar(select(func.count(pin_attempt.c.attempt_id)).where(*is_out)) or 0
    n_pending = tx.conn.scalar(select(func.count(sim.c.iccid)).where(*is_pending)) or 0
    return ChangeState(
        n_right=0 if row is None else row.n_right,
        n_refused=0 if row is None else row.n_refused,
        n_out=n_out,
        n_unsure=max(n_pending - n_out, 0),
        is_stopped=row is not None and row.stopped_at is not None,
    )


def count_outcome(tx: Tx, import_id: str, outcome: AttemptOutcome) -> None:
    """Add what became of a change; `UNBURNT`: the card has its old PIN still, though asked.

    Where it ends the change of its import, an alarm is raised.
    """
    is_lost = is_refusal(outcome) or outcome is AttemptOutcome.UNBURNT
    if not is_lost and outcome is not AttemptOutcome.RIGHT:
        return
    row = tx.conn.execute(select(*pin_change.c).where(pin_change.c.import_id == import_id)).first()
    if row is None:
        tx.conn.execute(insert(pin_change).values(import_id=import_id, n_right=0, n_refused=0))
    n_right = (0 if row is None else row.n_right) + (not is_lost)
    n_refused = (0 if row is None else row.n_refused) + is_lost
    values: dict[str, object] = {"n_right": n_right, "n_refused": n_refused}
    is_stopped = row is not None and row.stopped_at is not None
    if not is_stopped and is_change_stopped_by(outcome, n_right, n_refused):
        reason = f"a card kept its PIN ({outcome})"
        values |= {"stopped_at": tx.now, "stopped_reason": reason}
        facts = {"alarm": "pin_change_stopped", "reason": reason, "policy": "SIM-07"}
        tx.event(EventKind.ALARM, import_id, facts)
    tx.conn.execute(update(pin_change).where(pin_change.c.import_id == import_id).values(values))


def settle_last(tx: Tx, iccid: str, *, is_done: bool) -> None:
    """A power-up has told which PIN holds: note it on the change that was unsure."""
    row = tx.conn.execute(
        select(pin_attempt.c.attempt_id, pin_attempt.c.import_id, pin_attempt.c.outcome)
        .where(pin_attempt.c.iccid == iccid, pin_attempt.c.command == PinCommand.CPWD)
        .order_by(pin_attempt.c.attempt_id.desc())
        .limit(1)
    ).first()
    if row is None or row.outcome not in _UNSURE:
        return
    outcome = AttemptOutcome.RIGHT if is_done else AttemptOutcome.UNBURNT
    tx.conn.execute(
        update(pin_attempt)
        .where(pin_attempt.c.attempt_id == row.attempt_id)
        .values(outcome=outcome)
    )
    if row.import_id is not None:
        count_outcome(tx, row.import_id, outcome)


def resume(tx: Tx, import_id: str) -> bool:
    """Let a stopped change begin again with one card; False where it had not stopped."""
    done = tx.conn.execute(
        update(pin_change)
        .where(pin_change.c.import_id == import_id, pin_change.c.stopped_at.is_not(None))
        .values(n_right=0, n_refused=0, stopped_at=None, stopped_reason=None)
    )
    return done.rowcount > 0
