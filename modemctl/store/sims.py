"""The register of SIM cards: rows with encrypted numbers, and a MAC over what authorises."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, RowMapping, Select, insert, select, update

from modemctl.errors import Conflict, NotFound, TamperedError
from modemctl.lifecycle import CARD, CardState, sources
from modemctl.model import EventKind, Iccid, Topic
from modemctl.store.tables import modem, sim, to_ms
from modemctl.store.transaction import Tx
from modemctl.vault import Vault


class Ownership(StrEnum):
    """Whose the card is (SIM-01)."""

    OWNED = "owned"
    LEASED = "leased"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCard:
    """A card to register. `number` in E.164 form."""

    iccid: Iccid
    number: str | None = field(default=None, repr=False)
    holder: str | None = None
    department: str | None = None
    ownership: Ownership = Ownership.OWNED
    lessor: str | None = None
    carrier: str | None = None
    card_group: str | None = None
    state: CardState = CardState.REQUESTED
    is_reserved: bool = False
    verified_at: datetime | None = None
    verified_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A registered card. Build nothing on one that is not intact: its MAC or number does not fit.

    `bay` is where it was seen last, None if nowhere.
    """

    iccid: Iccid
    number: str | None = field(repr=False)
    holder: str | None
    department: str | None
    ownership: Ownership
    lessor: str | None
    carrier: str | None
    card_group: str | None
    state: CardState
    is_reserved: bool
    verified_at: datetime | None
    verified_by: str | None
    has_pin: bool
    pin_state: str
    pin_import_id: str | None
    is_paused: bool
    created_at: datetime
    updated_at: datetime
    bay: str | None
    is_intact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which cards; None matches all. `number` in E.164 form."""

    department: str | None = None
    state: CardState | None = None
    holder: str | None = None
    number: str | None = field(default=None, repr=False)
    card_group: str | None = None
    bay: str | None = None


_SEEN_IN: Final = (
    select(modem.c.bay)
    .where(modem.c.iccid == sim.c.iccid)
    .order_by(modem.c.updated_at.desc())
    .limit(1)
    .scalar_subquery()
)


def row_mac(vault: Vault, row: Mapping[str, object]) -> bytes:
    """The MAC of a card's row, given all columns that it covers."""
    return vault.mac("sim", *_mac_fields(row))


def check_row(vault: Vault, row: RowMapping) -> None:
    """Refuse a row of `sim` (all columns that the MAC covers, and `mac`) that was altered.

    Raises:
        TamperedError: the row was not written by this controller.
    """
    vault.check_mac(row["mac"], "sim", *_mac_fields({**row}))


def read(conn: Connection, vault: Vault, iccid: str) -> Card | None:
    """One card; None where the register does not know it."""
    return read_many(conn, vault, [iccid]).get(Iccid(iccid))


def read_many(conn: Connection, vault: Vault, iccids: Iterable[str]) -> Mapping[Iccid, Card]:
    """The cards that the register knows of these."""
    rows = conn.execute(_with_bay().where(sim.c.iccid.in_(sorted(set(iccids)))))
    return {Iccid(row["iccid"]): _card(vault, row) for row in rows.mappings()}


def find(
    conn: Connection, vault: Vault, query: Query, *, after: str | None, limit: int
) -> Sequence[Card]:
    """Up to `limit` cards in order of ICCID, behind `after`."""
    statement = _with_bay().order_by(sim.c.iccid).limit(limit)
    if after is not None:
        statement = statement.where(sim.c.iccid > after)
    equals = {
        sim.c.department: query.department,
        sim.c.state: query.state,
        sim.c.holder: query.holder,
        sim.c.card_group: query.card_group,
        _SEEN_IN: query.bay,
        sim.c.number_bidx: None if query.number is None else vault.blind_index(query.number),
    }
    for column, value in equals.items():
        if value is not None:
            statement = statement.where(column == value)
    return [_card(vault, row) for row in conn.execute(statement).mappings()]


def add(tx: Tx, cards: Sequence[NewCard]) -> None:
    """Register cards that the register does not know.

    Raises:
        StoreError: one of them is registered (nothing is added).
    """
    if cards:
        tx.conn.execute(insert(sim), [_values(tx, card) for card in cards])
        tx.wake(Topic.SIMS)


def holders_of_numbers(tx: Tx, numbers: Iterable[str]) -> Mapping[str, Iccid]:
    """Which of these numbers (E.164) a card holds that is not given up, and which card."""
    by_index = {tx.vault.blind_index(number): number for number in numbers}
    given_up = (CardState.LOST, CardState.DAMAGED, CardState.RETURNED, CardState.CANCELLED)
    rows = tx.conn.execute(
        select(sim.c.iccid, sim.c.number_bidx).where(
            sim.c.number_bidx.in_(sorted(by_index)), sim.c.state.not_in(given_up)
        )
    )
    return {by_index[row.number_bidx]: Iccid(row.iccid) for row in rows}


def change_state(tx: Tx, iccid: str, to: CardState) -> CardState:
    """Move a card along its life; returns the state before.

    Raises:
        NotFound: the register does not know it.
        Conflict: the card's life has no such step.
        TamperedError: the row was altered.
    """
    row = _own_row(tx, iccid)
    before = CardState(row["state"])
    if before not in sources(CARD, to):
        raise Conflict(
            f"a card that is {before} does not become {to}",
            field="state",
            value=to,
            cure="possible: " + (", ".join(sorted(CARD[before])) or "nothing"),
            policy="SIM-02",
        )
    _update(tx, row, {"state": to})
    tx.event(EventKind.SIM, iccid, {"state": to.value, "before": before.value})
    tx.wake(Topic.SIMS, Topic.STOP, Topic.WORK)
    return before


def hand_over(tx: Tx, card: NewCard, names: Collection[str]) -> None:
    """Give a registered card these of `number`, `holder`, `department` and `state`.

    Another holder's identity was verified only if `card` says so (SIM-04).

    Raises:
        NotFound: the register does not know it.
        Conflict: the card's life has no such step.
        TamperedError: the row was altered.
    """
    if "state" in names:
        change_state(tx, card.iccid, card.state)
    row = _own_row(tx, card.iccid)
    changes = {name: getattr(card, name) for name in ("holder", "department") if name in names}
    if "number" in names:
        changes |= _number_columns(tx, card)
    is_another = "holder" in names and row["holder"] is not None
    if card.verified_at is not None or is_another:
        changes |= {"verified_at": card.verified_at, "verified_by": card.verified_by}
    _update(tx, row, changes)
    tx.event(EventKind.SIM, card.iccid, {"handed_over": True})
    tx.wake(Topic.SIMS, Topic.WORK)


def verify(tx: Tx, iccid: str, *, by: str, at: datetime) -> None:
    """Note that the holder's identity was verified (SIM-04).

    Raises:
        NotFound: the register does not know it.
        TamperedError: the row was altered.
    """
    _update(tx, _own_row(tx, iccid), {"verified_at": at, "verified_by": by})
    tx.event(EventKind.SIM, iccid, {"verified": True})
    tx.wake(Topic.SIMS, Topic.WORK)


def set_paused(tx: Tx, iccid: str, *, is_paused: bool) -> bool:
    """Pause or resume a card; False where it was so already.

    Raises:
        NotFound: the register does not know it.
        TamperedError: the row was altered.
    """
    row = _own_row(tx, iccid)
    if row["is_paused"] == is_paused:
        return False
    _update(tx, row, {"is_paused": is_paused})
    tx.event(EventKind.SIM, iccid, {"is_paused": is_paused})
    tx.wake(Topic.SIMS, Topic.STOP, Topic.WORK)
    return True


def number_place(iccid: str) -> str:
    """Where a card's number stands, for the vault."""
    return f"sim.number_enc:{iccid}"


def _with_bay() -> Select[tuple[object, ...]]:
    return select(*sim.c, _SEEN_IN.label("seen_in"))


def _own_row(tx: Tx, iccid: str) -> RowMapping:
    row = tx.conn.execute(select(*sim.c).where(sim.c.iccid == iccid)).mappings().first()
    if row is None:
        raise NotFound("no such card in the register", field="iccid", value=iccid)
    check_row(tx.vault, row)  # else a change would give an altered row a new, valid MAC
    return row


def _update(tx: Tx, row: RowMapping, changes: Mapping[str, object]) -> None:
    after = {**row, **changes}
    tx.conn.execute(
        update(sim)
        .where(sim.c.iccid == row["iccid"])
        .values({**changes, "mac": row_mac(tx.vault, after), "updated_at": tx.now})
    )


def _values(tx: Tx, card: NewCard) -> dict[str, object]:
    values: dict[str, object] = {
        "iccid": card.iccid,
        **_number_columns(tx, card),
        "holder": card.holder,
        "department": card.department,
        "ownership": card.ownership,
        "lessor": card.lessor,
        "carrier": card.carrier,
        "card_group": card.card_group,
        "state": card.state,
        "is_reserved": card.is_reserved,
        "is_paused": False,
        "verified_at": card.verified_at,
        "verified_by": card.verified_by,
        "created_at": tx.now,
        "updated_at": tx.now,
    }
    return {**values, "mac": row_mac(tx.vault, values)}


def _number_columns(tx: Tx, card: NewCard) -> dict[str, object]:
    if card.number is None:
        return {"number_enc": None, "number_bidx": None}
    sealed = tx.vault.encrypt_text(card.number, place=number_place(card.iccid))
    return {"number_enc": sealed, "number_bidx": tx.vault.blind_index(card.number)}


def _mac_fields(row: Mapping[str, object]) -> tuple[str | int | None, ...]:
    """All that decides which traffic a card carries."""
    verified_at = row["verified_at"]
    assert verified_at is None or isinstance(verified_at, datetime)
    return (
        str(row["iccid"]),
        _text(row["department"]),
        str(row["state"]),
        None if verified_at is None else to_ms(verified_at),
        str(row["ownership"]),
        bool(row["is_reserved"]),
        _text(row["card_group"]),
        bool(row["is_paused"]),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _card(vault: Vault, row: RowMapping) -> Card:
    number: str | None = None
    is_intact = True
    try:
        check_row(vault, row)
        if row["number_enc"] is not None:
            number = vault.decrypt_text(row["number_enc"], place=number_place(row["iccid"]))
    except TamperedError:
        is_intact = False
    known = row["ownership"] in set(Ownership)  # an altered row must not break a list
    ownership = Ownership(row["ownership"]) if known else Ownership.OWNED
    return Card(
        iccid=Iccid(row["iccid"]),
        number=number,
        holder=row["holder"],
        department=row["department"],
        ownership=ownership,
        lessor=row["lessor"],
        carrier=row["carrier"],
        card_group=row["card_group"],
        state=CardState(row["state"]),
        is_reserved=row["is_reserved"],
        verified_at=row["verified_at"],
        verified_by=row["verified_by"],
        has_pin=row["pin_enc"] is not None,
        pin_state=row["pin_state"],
        pin_import_id=row["pin_import_id"],
        is_paused=row["is_paused"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        bay=row["seen_in"],
        is_intact=is_intact,
    )
