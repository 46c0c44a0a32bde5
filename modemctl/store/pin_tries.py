"""Every try of a PIN: committed here before the PIN leaves, with what became of it after.

`claim` and `record` are set acts: 512 cards that start together share their statements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final, TypeAlias

from sqlalchemy import Connection, RowMapping, func, insert, or_, select, update

from modemctl.errors import TamperedError
from modemctl.lifecycle import CardState
from modemctl.model import EventKind, Iccid, Topic
from modemctl.policy.cards import unfitness
from modemctl.policy.pin_change import ChangeCase, ChangeState, decide_change
from modemctl.policy.pin_guard import (
    WITHOUT_ANSWER,
    Attempt,
    AttemptOutcome,
    Case,
    ImportState,
    PinCommand,
    PinSource,
    Stop,
    StopReason,
    Try,
    Wait,
    decide,
    is_proved,
    settle,
)
from modemctl.store import pin_changes, puks
from modemctl.store.permits import NO_LISTS, Lists, Permits, Place
from modemctl.store.pins import (
    UNSETTLED,
    count_outcome,
    drop_pending,
    pending_place,
    pin_place,
    promote,
    read_import,
    set_pending,
)
from modemctl.store.sims import check_row
from modemctl.store.tables import pin_attempt, sim
from modemctl.store.transaction import Tx
from modemctl.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class TryRequest:
    """A card's turn. `counter`: tries left as just read; `is_unlocked`: lock on, card open.

    `wants_try` False only settles what the card now shows of earlier tries; `is_peek` only asks
    whether it would be cleared. `new_pin`: what `CPWD` is to set; it is committed as pending
    together with the attempt.
    """

    iccid: Iccid
    bay: str
    command: PinCommand
    counter: int | None
    is_unlocked: bool = False
    wants_try: bool = True
    is_peek: bool = False
    new_pin: str | None = field(default=None, repr=False)
    lists: Lists = NO_LISTS

    @property
    def place(self) -> Place:
        """What ties and admissions are asked about."""
        return Place(iccid=self.iccid, bay=self.bay, lists=self.lists)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearedTry:
    """The attempt is on disk once the claim returned: the PIN may leave, once."""

    attempt_id: int
    source: PinSource
    pin: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Nothing was asked but to settle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A peek: it is this card's turn, as far as this set of peeks goes."""


Answer: TypeAlias = ClearedTry | Wait | Stop | Settled | Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptResult:
    """What became of a cleared try."""

    attempt_id: int
    outcome: AttemptOutcome


_EVER: Final = datetime.min.replace(tzinfo=UTC)
_PIN_STATES: Final = {
    AttemptOutcome.RIGHT: "proved",
    AttemptOutcome.WRONG: "failed",
    AttemptOutcome.BLOCKED: "blocked",
}


def claim(tx: Tx, items: Sequence[TryRequest]) -> Sequence[Answer]:
    """Decide each card's turn; a cleared try is on disk when this is committed (a set act)."""
    desk = _Desk(tx, items)
    return [desk.answer(item) for item in items]


def record(tx: Tx, items: Sequence[AttemptResult]) -> Sequence[None]:
    """Save what became of cleared tries; a try that has its outcome keeps it (a set act)."""
    outcomes = {item.attempt_id: item.outcome for item in items}
    rows = tx.conn.execute(
        select(*pin_attempt.c).where(
            pin_attempt.c.attempt_id.in_(outcomes), pin_attempt.c.outcome.is_(None)
        )
    )
    for row in rows.mappings().all():
        outcome = outcomes[row["attempt_id"]]
        _finish(tx, row, outcome)
        if row["command"] == PinCommand.CPWD:
            _end_change(tx, row["iccid"], outcome)
    return [None] * len(items)


def has_unsettled(conn: Connection, iccid: str) -> bool:
    """Whether a try on this card waits to be settled by what the card shows."""
    is_open = or_(UNSETTLED, pin_attempt.c.outcome.in_(WITHOUT_ANSWER))
    statement = select(pin_attempt.c.attempt_id).where(pin_attempt.c.iccid == iccid, is_open)
    return conn.execute(statement.limit(1)).first() is not None


class _Desk:
    """One set of claims: what is known of their cards, kept true while claims are cleared."""

    def __init__(self, tx: Tx, items: Sequence[TryRequest]) -> None:
        self._tx = tx
        self._permits = Permits(tx, [item.place for item in items if item.wants_try])
        wanted = sorted({item.iccid for item in items})
        rows = tx.conn.execute(select(*sim.c).where(sim.c.iccid.in_(wanted))).mappings()
        self._cards = {Iccid(row["iccid"]): row for row in rows}
        self._imports: dict[str, ImportState] = {}
        self._changes: dict[str, ChangeState] = {}
        self._tries: dict[Iccid, list[RowMapping]] = {}
        tries = tx.conn.execute(
            select(*pin_attempt.c)
            .where(pin_attempt.c.iccid.in_(wanted))
            .order_by(pin_attempt.c.attempt_id)
        )
        for row in tries.mappings():
            self._tries.setdefault(Iccid(row["iccid"]), []).append(row)

    def answer(self, item: TryRequest) -> Answer:
        attempts = self._settle(item)
        if not item.wants_try:
            return Settled()
        card = self._cards.get(item.iccid)
        stop = self._objection(item, card)
        pins = None if card is None or stop is not None else _open_pins(self._tx.vault, card)
        if card is None or pins is None:
            return Stop(reason=stop or StopReason.TAMPERED)
        prints = {
            source: self._tx.vault.pin_fingerprint(item.iccid, pin) for source, pin in pins.items()
        }
        if item.new_pin is not None:
            return self._change(item, card, pins, prints, attempts)
        current = prints.get(PinSource.CURRENT)
        is_bound = current is not None and not is_proved(current, attempts)
        import_id: str | None = card["pin_import_id"] if is_bound else None
        decision = decide(self._case(item, prints, attempts, import_id))
        if not isinstance(decision, Try):
            return decision
        # A pending PIN is of no import.
        import_id = None if decision.source is PinSource.PENDING else import_id
        self._take_place(import_id)
        if item.is_peek:
            return Turn()
        attempt_id = self._commit_try(item, prints[decision.source], import_id)
        return ClearedTry(attempt_id=attempt_id, source=decision.source, pin=pins[decision.source])

    def _objection(self, item: TryRequest, card: RowMapping | None) -> StopReason | None:
        """What stands now against this card, this bay and this modem, whatever its PIN."""
        if not self._permits.is_admitted(item.place):
            return StopReason.NOT_ADMITTED
        is_fit = card is not None and _is_fit(self._tx.vault, card)
        return None if is_fit and self._permits.is_in_place(item.place) else StopReason.UNFIT

    def _change(
        self,
        item: TryRequest,
        card: RowMapping,
        pins: Mapping[PinSource, str],
        prints: Mapping[PinSource, bytes],
        attempts: Sequence[Attempt],
    ) -> Answer:
        """A card's turn to get a new PIN: it takes the old one along, and stays as it was."""
        import_id: str | None = card["pin_import_id"]
        if import_id is not None and import_id not in self._changes:
            self._changes[import_id] = pin_changes.read(self._tx, import_id)
        state = None if import_id is None else self._changes[import_id]
        decision = decide_change(
            ChangeCase(
                counter=item.counter,
                current=prints.get(PinSource.CURRENT),
                has_pending=PinSource.PENDING in pins,
                attempts=attempts,
                state=state,
                now=self._tx.now,
            )
        )
        if not isinstance(decision, Try):
            return decision
        if import_id is not None and state is not None:
            self._changes[import_id] = replace(state, n_out=state.n_out + 1)
        if item.is_peek:
            return Turn()
        attempt_id = self._commit_try(item, prints[decision.source], import_id)
        return ClearedTry(attempt_id=attempt_id, source=decision.source, pin=pins[decision.source])

    def _case(
        self,
        item: TryRequest,
        prints: Mapping[PinSource, bytes],
        attempts: Sequence[Attempt],
        import_id: str | None,
    ) -> Case:
        return Case(
            counter=item.counter,
            current=prints.get(PinSource.CURRENT),
            pending=prints.get(PinSource.PENDING),
            attempts=attempts,
            pin_import=None if import_id is None else self._import(import_id),
            now=self._tx.now,
        )

    def _take_place(self, import_id: str | None) -> None:
        """One more try of this import is out; peeks count in their set, lest all come at once."""
        if import_id is not None:
            state = self._import(import_id)
            self._imports[import_id] = replace(state, n_out=state.n_out + 1)

    def _import(self, import_id: str) -> ImportState:
        if import_id not in self._imports:
            self._imports[import_id] = read_import(self._tx.conn, import_id)
        return self._imports[import_id]

    def _settle(self, item: TryRequest) -> list[Attempt]:
        """The card's attempts, after what the card shows now was written into them."""
        attempts: list[Attempt] = []
        for row in self._tries.get(item.iccid, ()):
            attempt = _attempt(row)
            outcome = settle(
                attempt,
                counter=item.counter,
                is_unlocked=item.is_unlocked,
                now=self._tx.now,
            )
            if outcome is not None:
                _finish(self._tx, row, outcome)
                self._imports.pop(row["import_id"], None)
                self._changes.pop(row["import_id"], None)
                attempt = _attempt(row, outcome)
            attempts.append(attempt)
        return attempts

    def _commit_try(self, item: TryRequest, fingerprint: bytes, import_id: str | None) -> int:
        assert item.counter is not None, "the guard clears nothing without a counter"
        values = {
            "iccid": item.iccid,
            "import_id": import_id,
            "fingerprint": fingerprint,
            "command": item.command.value,
            "bay": item.bay,
            "node_id": self._tx.node_id,
            "tries_before": item.counter,
            "at": self._tx.now,
        }
        row = (
            self._tx.conn.execute(insert(pin_attempt).values(values).returning(*pin_attempt.c))
            .mappings()
            .one()
        )
        if item.new_pin is not None:
            set_pending(self._tx, item.iccid, item.new_pin)
        self._tries.setdefault(item.iccid, []).append(row)
        attempt_id: int = row["attempt_id"]
        return attempt_id


def _finish(tx: Tx, row: RowMapping, outcome: AttemptOutcome) -> None:
    """Write an outcome and what follows from it for card and import."""
    tx.conn.execute(
        update(pin_attempt)
        .where(pin_attempt.c.attempt_id == row["attempt_id"])
        .values(outcome=outcome)
    )
    iccid: str = row["iccid"]
    state = _PIN_STATES.get(outcome)
    if state is not None:
        _note_on_card(tx, row, state)
        tx.event(EventKind.SIM, iccid, {"pin": state, "bay": row["bay"]})
    if row["import_id"] is not None:
        if row["command"] != PinCommand.CPWD:
            count_outcome(tx, row["import_id"], outcome)
        elif outcome is not AttemptOutcome.UNBURNT:  # of that the next power-up tells
            pin_changes.count_outcome(tx, row["import_id"], outcome)
    tx.audit(
        tx.node_id,
        "pin.try",
        iccid,
        {
            "command": row["command"],
            "outcome": outcome.value,
            "tries_before": row["tries_before"],
            "bay": row["bay"],
            "policy": "SIM-06",
        },
    )
    tx.wake(Topic.SIMS)


def _note_on_card(tx: Tx, row: RowMapping, state: str) -> None:
    iccid: str = row["iccid"]
    tx.conn.execute(update(sim).where(sim.c.iccid == iccid).values(pin_state=state))
    if state != "proved" or row["command"] == PinCommand.CPWD:
        return
    sealed: bytes | None = tx.conn.scalar(select(sim.c.pin_pending_enc).where(sim.c.iccid == iccid))
    if sealed is None:
        return
    pending = tx.vault.decrypt_text(sealed, place=pending_place(iccid))
    if tx.vault.pin_fingerprint(iccid, pending) == row["fingerprint"]:
        promote(tx, iccid)
        if not puks.settle_unsure(tx, iccid, is_done=True):
            pin_changes.settle_last(tx, iccid, is_done=True)
    elif row["at"] >= _pending_since(tx, iccid):
        # The card took the old one behind it: the change never happened.
        if not puks.settle_unsure(tx, iccid, is_done=False):
            pin_changes.settle_last(tx, iccid, is_done=False)
        drop_pending(tx, iccid)


def _pending_since(tx: Tx, iccid: str) -> datetime:
    """When a card's pending PIN was to be set: what is older proves nothing of it."""
    changed = select(func.max(pin_attempt.c.at)).where(
        pin_attempt.c.iccid == iccid, pin_attempt.c.command == PinCommand.CPWD
    )
    moments = (tx.conn.scalar(changed), puks.last_tried(tx, iccid))
    return max((moment for moment in moments if moment is not None), default=_EVER)


def _end_change(tx: Tx, iccid: str, outcome: AttemptOutcome) -> None:
    """An answered `+CPWD` tells which PIN holds; without an answer the pending one stays."""
    if outcome is AttemptOutcome.RIGHT:
        promote(tx, iccid)
    elif outcome is not AttemptOutcome.UNKNOWN:
        drop_pending(tx, iccid)


def _is_fit(vault: Vault, card: RowMapping) -> bool:
    """Whether the register lets a card be used."""
    try:
        check_row(vault, card)
    except TamperedError:
        return False
    return unfitness(CardState(card["state"]), card["verified_at"]) is None


def _open_pins(vault: Vault, card: RowMapping) -> Mapping[PinSource, str] | None:
    """The vault's PINs of a card; None where one was altered."""
    iccid: str = card["iccid"]
    sealed = {
        PinSource.CURRENT: (card["pin_enc"], pin_place(iccid)),
        PinSource.PENDING: (card["pin_pending_enc"], pending_place(iccid)),
    }
    try:
        return {
            source: vault.decrypt_text(octets, place=place)
            for source, (octets, place) in sealed.items()
            if octets is not None
        }
    except TamperedError:
        return None


def _attempt(row: RowMapping, outcome: AttemptOutcome | None = None) -> Attempt:
    stored = None if row["outcome"] is None else AttemptOutcome(row["outcome"])
    return Attempt(
        attempt_id=row["attempt_id"],
        fingerprint=row["fingerprint"],
        command=PinCommand(row["command"]),
        tries_before=row["tries_before"],
        at=row["at"],
        outcome=stored if outcome is None else outcome,
    )
