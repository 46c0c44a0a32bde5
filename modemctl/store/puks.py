"""PUKs that one person brings and another one confirms; each is tried once at most on its card."""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, TypeAlias

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from modemctl.errors import Conflict, NotFound, TamperedError
from modemctl.model import AccountId, EventKind, Iccid, Topic
from modemctl.policy.cards import unfitness
from modemctl.policy.pin_guard import AttemptOutcome
from modemctl.policy.puk import (
    CONFIRMED_FOR,
    MAX_MISMATCHES,
    OPEN,
    PukCase,
    PukState,
    PukStop,
    counts_as_tried,
    decide_puk,
    settle_puk,
)
from modemctl.store import card_locks, sims
from modemctl.store.permits import NO_LISTS, Lists, Permits, Place
from modemctl.store.pins import drop_pending, promote, set_pending
from modemctl.store.tables import puk_request, to_ms
from modemctl.store.transaction import Tx
from modemctl.vault import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class PukRequest:
    """A request to unblock a card; the PUK itself is never shown."""

    request_id: str
    iccid: Iccid
    state: PukState
    reason: str
    asked_by: AccountId
    asked_name: str
    asked_at: datetime
    confirmed_name: str | None
    confirmed_at: datetime | None
    tried_at: datetime | None
    outcome: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PukTurn:
    """A card asks for its PUK. `counter`: tries of the PUK as just read; `new_pin`: what to set."""

    iccid: Iccid
    bay: str
    counter: int | None
    new_pin: str = field(repr=False)
    lists: Lists = NO_LISTS


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearedPuk:
    """The try is on disk once the claim returned: the PUK may leave, once."""

    request_id: str
    puk: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoPuk:
    """Nothing is tried; `stop` where this ended a request."""

    stop: PukStop | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PukResult:
    """What became of a cleared PUK."""

    request_id: str
    outcome: AttemptOutcome


PukAnswer: TypeAlias = ClearedPuk | NoPuk

_SHOWN: Final = tuple(
    puk_request.c[name]
    for name in (
        "request_id", "iccid", "state", "reason", "asked_by", "asked_name", "asked_at",
        "confirmed_name", "confirmed_at", "tried_at", "outcome",
    )
)  # fmt: skip
_WAITING: Final = frozenset({PukState.ASKED, PukState.CONFIRMED})
_ENDS: Final[Mapping[AttemptOutcome, PukState]] = {
    AttemptOutcome.RIGHT: PukState.DONE,
    AttemptOutcome.UNKNOWN: PukState.UNSURE,
    AttemptOutcome.NOT_ALLOWED: PukState.UNSURE,  # no longer blocked: perhaps by this very PUK
    AttemptOutcome.NOT_SENT: PukState.CONFIRMED,  # it did not leave: the next start tries it
}


def ask(tx: Tx, iccid: Iccid, *, puk: str, reason: str, by: AccountId, name: str) -> str:
    """Keep a PUK until another person confirms it; returns the request's id.

    Raises:
        Conflict: the card has a request already, or this PUK was tried on it before.
    """
    fingerprint = _fingerprint(tx.vault, iccid, puk)
    for row in _of_card(tx, iccid):
        _make_room(tx, row)
        if row["fingerprint"] == fingerprint and _was_tried(row):
            raise Conflict("this PUK was tried on the card before", field="puk", policy="SIM-06")
    values: dict[str, object] = {
        "request_id": str(uuid.uuid4()),
        "iccid": iccid,
        "state": PukState.ASKED.value,
        "reason": reason,
        "fingerprint": fingerprint,
        "asked_by": by,
        "asked_name": name,
        "asked_at": tx.now,
        "confirmed_by": None,
        "confirmed_at": None,
        "n_mismatches": 0,
    }
    request_id = str(values["request_id"])
    sealed = tx.vault.encrypt_text(puk, place=puk_place(request_id))
    mac = _mac(tx.vault, values)
    tx.conn.execute(insert(puk_request).values({**values, "puk_enc": sealed, "mac": mac}))
    tx.event(EventKind.SIM, iccid, {"puk": PukState.ASKED.value})
    return request_id


def confirm(tx: Tx, request_id: str, *, puk: str, by: AccountId, name: str) -> bool:
    """The second person gives the same PUK; False where it is another one, which is counted.

    Raises:
        NotFound: no such request.
        Conflict: it does not wait for a confirmation (any more).
        TamperedError: the row was altered.
    """
    row = _checked(tx, request_id)
    if row["state"] != PukState.ASKED or tx.now - row["asked_at"] >= CONFIRMED_FOR:
        raise Conflict(
            "the request does not wait for a confirmation",
            field="request_id",
            value=request_id,
            cure="ask anew",
        )
    if not hmac.compare_digest(row["fingerprint"], _fingerprint(tx.vault, row["iccid"], puk)):
        n = row["n_mismatches"] + 1
        _update(tx, row, {"n_mismatches": n})
        if n >= MAX_MISMATCHES:
            _end(tx, row, PukState.REFUSED)
        return False
    changes = {"confirmed_by": by, "confirmed_name": name, "confirmed_at": tx.now}
    _update(tx, row, {**changes, "state": PukState.CONFIRMED.value})
    tx.event(EventKind.SIM, row["iccid"], {"puk": PukState.CONFIRMED.value})
    tx.wake(Topic.SIMS)
    return True


def withdraw(tx: Tx, request_id: str) -> None:
    """Take a request back; its PUK is forgotten.

    Raises:
        NotFound: no such request.
        Conflict: it is over, or the PUK is on its way.
        TamperedError: the row was altered.
    """
    row = _checked(tx, request_id)
    if row["state"] not in _WAITING:
        raise Conflict(f"the request is {row['state']}", field="request_id", value=request_id)
    _end(tx, row, PukState.WITHDRAWN)


def read(conn: Connection, request_id: str) -> PukRequest | None:
    """One request; None if there is none of this id."""
    row = conn.execute(select(*_SHOWN).where(puk_request.c.request_id == request_id)).mappings()
    found = row.first()
    return None if found is None else _request(found)


def find(conn: Connection, *, limit: int = 200) -> Sequence[PukRequest]:
    """The latest requests, newest first."""
    order = (puk_request.c.asked_at.desc(), puk_request.c.request_id)
    rows = conn.execute(select(*_SHOWN).order_by(*order).limit(limit)).mappings()
    return [_request(row) for row in rows]


def claim(tx: Tx, items: Sequence[PukTurn]) -> Sequence[PukAnswer]:
    """Decide for each card that asks for its PUK; a cleared try is on disk when committed."""
    return [_claim(tx, item) for item in items]


def record(tx: Tx, items: Sequence[PukResult]) -> Sequence[None]:
    """Save what became of cleared PUKs."""
    for item in items:
        row = _row(tx, item.request_id)
        if row is not None and row["state"] in {PukState.TRYING, PukState.UNSURE}:
            _finish(tx, row, item.outcome)
    return [None] * len(items)


def settle_unsure(tx: Tx, iccid: str, *, is_done: bool) -> bool:
    """A power-up has told whether the PIN holds that a PUK was to set; False: none was unsure."""
    for row in _of_card(tx, iccid):
        if row["state"] in {PukState.TRYING, PukState.UNSURE}:
            outcome = AttemptOutcome.RIGHT if is_done else AttemptOutcome.UNBURNT
            _end(tx, row, PukState.DONE if is_done else PukState.REFUSED, outcome)
            _note_open(tx, row)
            return True
    return False


def last_tried(tx: Tx, iccid: str) -> datetime | None:
    """When a PUK last left for a card; None where none did."""
    moment: datetime | None = tx.conn.scalar(
        select(func.max(puk_request.c.tried_at)).where(puk_request.c.iccid == iccid)
    )
    return moment


def close_open(tx: Tx, node_id: str | None = None) -> int:
    """At this node's start: PUKs of its earlier life will get no answer; how many there were.

    So it is with those of a lost node (`node_id`).
    """
    closed = tx.conn.execute(
        select(*puk_request.c).where(
            puk_request.c.node_id == (node_id or tx.node_id),
            puk_request.c.state == PukState.TRYING,
        )
    )
    rows = closed.mappings().all()
    for row in rows:
        _update(tx, row, {"state": PukState.UNSURE.value})
    return len(rows)


def _claim(tx: Tx, item: PukTurn) -> PukAnswer:
    rows = [_settled(tx, row, item.counter) for row in _of_card(tx, item.iccid)]
    waiting = next((row for row in rows if row["state"] == PukState.CONFIRMED), None)
    card = sims.read(tx.conn, tx.vault, item.iccid)
    is_fit = card is not None and card.is_intact
    if waiting is None or card is None or not is_fit:
        return NoPuk()
    if unfitness(card.state, card.verified_at) is not None or not _may_stay(tx, item):
        return NoPuk()
    stop = _objection(tx, waiting, rows, item.counter)
    if stop is not None:
        _end(tx, waiting, PukState.EXPIRED if stop is PukStop.EXPIRED else PukState.REFUSED)
        facts = {"alarm": stop.value, "bay": item.bay, "policy": "SIM-06"}
        tx.event(EventKind.ALARM, item.iccid, facts)
        return NoPuk(stop=stop)
    request_id: str = waiting["request_id"]
    puk = tx.vault.decrypt_text(waiting["puk_enc"], place=puk_place(request_id))
    set_pending(tx, item.iccid, item.new_pin)
    changes = {
        "state": PukState.TRYING.value,
        "bay": item.bay,
        "node_id": tx.node_id,
        "tries_before": item.counter,
        "tried_at": tx.now,
    }
    _update(tx, waiting, changes)
    return ClearedPuk(request_id=request_id, puk=puk)


def _may_stay(tx: Tx, item: PukTurn) -> bool:
    place = Place(iccid=item.iccid, bay=item.bay, lists=item.lists)
    permits = Permits(tx, [place])
    return permits.is_admitted(place) and permits.is_in_place(place)


def _objection(
    tx: Tx, waiting: RowMapping, rows: Sequence[RowMapping], counter: int | None
) -> PukStop | None:
    if not is_intact(tx.vault, waiting):
        return PukStop.TAMPERED
    if waiting["confirmed_by"] in {None, waiting["asked_by"]} or waiting["puk_enc"] is None:
        return PukStop.TAMPERED
    was_tried = any(
        row["request_id"] != waiting["request_id"]
        and row["fingerprint"] == waiting["fingerprint"]
        and _was_tried(row)
        for row in rows
    )
    return decide_puk(
        PukCase(
            counter=counter,
            was_tried=was_tried,
            confirmed_at=waiting["confirmed_at"],
            now=tx.now,
        )
    )


def _make_room(tx: Tx, row: RowMapping) -> None:
    """End a request that nobody can go on with; refuse another one beside it where it is open."""
    is_waiting = row["state"] in _WAITING
    if _is_over(row, tx.now):
        _end(tx, row, PukState.EXPIRED)
    elif is_waiting and not is_intact(tx.vault, row):
        _end(tx, row, PukState.REFUSED)  # nobody can withdraw it
    elif PukState(row["state"]) in OPEN:
        is_out = "its PUK is out: restart the card's modem, its next start tells"
        raise Conflict(
            "the card has a request already",
            field="iccid",
            value=row["iccid"],
            cure=f"withdraw it: {row['request_id']}" if is_waiting else is_out,
            policy="SEC-04",
        )


def _settled(tx: Tx, row: RowMapping, counter: int | None) -> RowMapping:
    """A try without answer, after what a card that still asks for its PUK shows of it."""
    if row["state"] not in {PukState.TRYING, PukState.UNSURE}:
        return row
    outcome = settle_puk(
        counter=counter,
        tries_before=row["tries_before"],
        tried_at=row["tried_at"],
        is_out=row["state"] == PukState.TRYING,
        now=tx.now,
    )
    if outcome is None:
        return row
    _finish(tx, row, outcome)
    after = _row(tx, row["request_id"])
    assert after is not None, "requests are not deleted"
    return after


def _finish(tx: Tx, row: RowMapping, outcome: AttemptOutcome) -> None:
    """Write what became of a try, and what follows for the card's PIN."""
    iccid: str = row["iccid"]
    state = _ENDS.get(outcome, PukState.REFUSED)
    if outcome is AttemptOutcome.RIGHT:
        promote(tx, iccid)
        _note_open(tx, row)
    elif state is not PukState.UNSURE:
        drop_pending(tx, iccid)
    if state in OPEN:
        _update(tx, row, {"state": state.value})
    else:
        _end(tx, row, state, outcome)
    tx.audit(
        tx.node_id,
        "puk.try",
        iccid,
        {
            "request": row["request_id"],
            "outcome": outcome.value,
            "tries_before": row["tries_before"],
            "bay": row["bay"],
            "asked_by": row["asked_name"],
            "confirmed_by": row["confirmed_name"],
            "policy": "SEC-04",
        },
    )


def _note_open(tx: Tx, row: RowMapping) -> None:
    """The card asks for its PUK no more, however this start of it ends."""
    seen = card_locks.LockNote(iccid=row["iccid"], bay=row["bay"], is_locked=True, reason="")
    card_locks.note(tx, [seen])


def _end(tx: Tx, row: RowMapping, state: PukState, outcome: AttemptOutcome | None = None) -> None:
    """A request is over: its PUK is forgotten."""
    changes: dict[str, object] = {"state": state.value, "puk_enc": None}
    if outcome is not None:
        changes["outcome"] = outcome.value
    current = _row(tx, row["request_id"])
    assert current is not None, "requests are not deleted"
    _update(tx, current, changes)
    tx.event(EventKind.SIM, row["iccid"], {"puk": state.value})
    tx.wake(Topic.SIMS)


def _update(tx: Tx, row: RowMapping, changes: Mapping[str, object]) -> None:
    mac = _mac(tx.vault, {**row, **changes})
    tx.conn.execute(
        update(puk_request)
        .where(puk_request.c.request_id == row["request_id"])
        .values({**changes, "mac": mac})
    )


def _checked(tx: Tx, request_id: str) -> RowMapping:
    row = _row(tx, request_id)
    if row is None:
        raise NotFound("no such request", field="request_id", value=request_id[:80])
    tx.vault.check_mac(row["mac"], "puk_request", *_mac_fields({**row}))
    return row


def is_intact(vault: Vault, row: RowMapping) -> bool:
    """Whether a row of `puk_request` is as modemctl wrote it."""
    try:
        vault.check_mac(row["mac"], "puk_request", *_mac_fields({**row}))
    except TamperedError:
        return False
    return True


def _row(tx: Tx, request_id: str) -> RowMapping | None:
    query = select(*puk_request.c).where(puk_request.c.request_id == request_id)
    return tx.conn.execute(query).mappings().first()


def _of_card(tx: Tx, iccid: str) -> Sequence[RowMapping]:
    query = select(*puk_request.c).where(puk_request.c.iccid == iccid)
    return tx.conn.execute(query.order_by(puk_request.c.asked_at.desc())).mappings().all()


def _is_over(row: RowMapping, now: datetime) -> bool:
    """Whether a request has waited too long for the second person, or for the card."""
    since = {PukState.ASKED: row["asked_at"], PukState.CONFIRMED: row["confirmed_at"]}
    begun = since.get(PukState(row["state"]))
    return begun is not None and now - begun >= CONFIRMED_FOR


def _was_tried(row: RowMapping) -> bool:
    outcome = None if row["outcome"] is None else AttemptOutcome(row["outcome"])
    return counts_as_tried(outcome, PukState(row["state"]))


def _fingerprint(vault: Vault, iccid: str, puk: str) -> bytes:
    return vault.pin_fingerprint(iccid, f"puk {puk}")


def puk_place(request_id: str) -> str:
    """Where a request's PUK stands, for the vault."""
    return f"puk_request.puk_enc:{request_id}"


def _mac(vault: Vault, row: Mapping[str, object]) -> bytes:
    return vault.mac("puk_request", *_mac_fields(row))


def _mac_fields(row: Mapping[str, object]) -> tuple[str | int | None, ...]:
    """All that lets a PUK go to a card."""
    confirmed_at, fingerprint = row["confirmed_at"], row["fingerprint"]
    assert isinstance(fingerprint, bytes)
    return (
        str(row["request_id"]),
        str(row["iccid"]),
        str(row["state"]),
        fingerprint.hex(),
        str(row["asked_by"]),
        None if row["confirmed_by"] is None else str(row["confirmed_by"]),
        to_ms(confirmed_at) if isinstance(confirmed_at, datetime) else None,
    )


def _request(row: RowMapping) -> PukRequest:
    found = PukRequest(**row)
    return replace(found, state=PukState(row["state"]))
