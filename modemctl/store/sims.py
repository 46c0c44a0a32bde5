"""The register of SIM cards: rows with encrypted numbers, and a MAC over what authorises."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from sqlalchemy import Connection, RowMapping, Select, insert, select, update

from modemctl.errors import Conflict, NotFound, TamperedError
from modemctl.lifecycle import CARD, CardState, ModemState, sources
from modemctl.model import EventKind, Iccid, Topic
from modemctl.policy.custody import IN_REQUEST
from modemctl.policy.identities import Identity, IdentityKind
from modemctl.store import identities
from modemctl.store.tables import modem, sim, to_ms
from modemctl.store.transaction import Tx
from modemctl.vault import Vault


class Ownership(StrEnum):
    """Whose the card is (SIM-01)."""

    OWNED = "owned"
    LEASED = "leased"
    PERSONAL = "personal"  # its holder's own, in his real name


_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCard:
    """A card to register. `number` in E.164 form; `requested_by` an account.

    `user_name`: who has it in use, where that is not the holder; `is_pool`: its department has.
    """

    iccid: Iccid
    number: str | None = field(default=None, repr=False)
    holder: str | None = None
    department: str | None = None
    user_name: str | None = None
    purpose: str | None = None
    is_pool: bool = False
    ownership: Ownership = Ownership.OWNED
    lessor: str | None = None
    contract: str | None = None
    lease_from: date | None = None
    lease_until: date | None = None
    requested_by: str | None = None
    replaces: Iccid | None = None
    carrier: str | None = None
    card_group: str | None = None
    timezone: str | None = None
    state: CardState = CardState.REQUESTED
    is_reserved: bool = False
    verified_at: datetime | None = None
    verified_by: str | None = None
    identity: Identity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A registered card. Build nothing on one that is not intact: its MAC or number does not fit.

    `bay` is where it was seen last, None if nowhere. `revision` counts its changes: the log tells
    each, so that a row of yesterday is known. `identity_kind` without a number: it was erased.
    """

    iccid: Iccid
    number: str | None = field(repr=False)
    holder: str | None
    department: str | None
    user_name: str | None
    purpose: str | None
    is_pool: bool
    ownership: Ownership
    lessor: str | None
    contract: str | None
    lease_from: date | None
    lease_until: date | None
    carrier: str | None
    card_group: str | None
    timezone: str | None
    zones_left: str | None
    state: CardState
    is_reserved: bool
    requested_by: str | None
    reviewed_by: str | None
    approved_by: str | None
    suspended_until: datetime | None
    carrier_reference: str | None
    carrier_told_at: datetime | None
    replaces: Iccid | None
    replaced_by: Iccid | None
    revision: int
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
    identity_kind: IdentityKind | None = None
    identity_number: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which cards; None matches all. `number` in E.164 form."""

    department: str | None = None
    state: CardState | None = None
    holder: str | None = None
    number: str | None = field(default=None, repr=False)
    card_group: str | None = None
    bay: str | None = None
    identity: Identity | None = field(default=None, repr=False)


_ZONES: Final = (sim.c.timezone, sim.c.zones_left)

SEALED: Final = (
    sim.c.iccid, sim.c.number_bidx, sim.c.holder, sim.c.department, sim.c.user_name,
    sim.c.purpose, sim.c.is_pool, sim.c.ownership, sim.c.lessor, sim.c.contract,
    sim.c.lease_from, sim.c.lease_until, sim.c.carrier, sim.c.card_group, sim.c.state,
    sim.c.is_reserved, sim.c.is_paused, sim.c.verified_at, sim.c.verified_by,
    sim.c.requested_by, sim.c.reviewed_by, sim.c.approved_by, sim.c.suspended_until,
    sim.c.carrier_reference, sim.c.carrier_told_at, sim.c.replaces, sim.c.replaced_by,
    sim.c.revision, *identities.IDENTITY, *_ZONES,
)  # fmt: skip
"""What a card's MAC covers: all but its PIN, which is sealed for itself, and the MAC."""

_SEEN_IN: Final = (
    select(modem.c.bay)
    .where(modem.c.iccid == sim.c.iccid)
    .order_by(modem.c.updated_at.desc())
    .limit(1)
    .scalar_subquery()
)


def row_mac(vault: Vault, row: Mapping[str, object]) -> bytes:
    """The MAC of a card's row, given all columns that it covers."""
    return vault.mac("card", *_mac_fields(row))


def check_row(vault: Vault, row: RowMapping) -> None:
    """Refuse a row of `sim` (all columns that the MAC covers, and `mac`) that was altered.

    Raises:
        TamperedError: the row was not written by this controller.
    """
    vault.check_mac(row["mac"], "card", *_mac_fields({**row}))


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
        sim.c.identity_bidx: None
        if query.identity is None
        else identities.index_of(vault, query.identity),
    }
    for column, value in equals.items():
        if value is not None:
            statement = statement.where(column == value)
    return [_card(vault, row) for row in conn.execute(statement).mappings()]


def in_request(conn: Connection, vault: Vault, *, department: str | None) -> Sequence[Card]:
    """Cards that somebody asked for and does not have yet; of one department, or of all."""
    statement = _with_bay().where(sim.c.state.in_(IN_REQUEST)).order_by(sim.c.iccid)
    is_asked = (sim.c.state != CardState.PROVISIONED) | sim.c.approved_by.is_not(None)
    statement = statement.where(is_asked)
    if department is not None:
        statement = statement.where(sim.c.department == department)
    return [_card(vault, row) for row in conn.execute(statement).mappings()]


def held_by(conn: Connection, vault: Vault, name: str) -> Sequence[Card]:
    """Every card that has this holder, or this user; also those that are given up."""
    is_his = (sim.c.holder == name) | (sim.c.user_name == name)
    rows = conn.execute(_with_bay().where(is_his).order_by(sim.c.iccid))
    return [_card(vault, row) for row in rows.mappings()]


def bay_of(conn: Connection, iccid: str) -> str | None:
    """The bay that holds a card now; None where none does, or its modem is gone."""
    held = select(modem.c.bay).where(modem.c.iccid == iccid, modem.c.state != ModemState.ABSENT)
    bay: str | None = conn.scalar(held.limit(1))
    return bay


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


def change_state(
    tx: Tx, iccid: str, to: CardState, also: Mapping[str, object] = _NOTHING
) -> CardState:
    """Move a card along its life, with `also` among its columns; returns the state before.

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
    _update(tx, row, {**also, "state": to})
    tx.event(EventKind.SIM, iccid, {"state": to.value, "before": before.value})
    tx.wake(Topic.SIMS, Topic.STOP, Topic.WORK)
    return before


def ask_again(tx: Tx, card: NewCard) -> None:
    """Let a request for a card that lies in the drawer begin: nothing of its former holder stays.

    Its number and PIN do, where the request brings no other number.

    Raises:
        NotFound: the register does not know it.
        Conflict: somebody has it.
        TamperedError: the row was altered.
    """
    changes: dict[str, object] = {name: getattr(card, name) for name in _OWN_FIELDS}
    changes |= dict.fromkeys(_OF_A_LIFE)
    for name in _OF_THE_CARD:
        if changes[name] is None:
            del changes[name]
    if card.number is not None:
        changes |= _number_columns(tx, card)
    changes |= identities.columns_of(tx.vault, card.iccid, card.identity)
    change_state(tx, card.iccid, CardState.REQUESTED, changes)


def hand_over(tx: Tx, card: NewCard, names: Collection[str]) -> None:
    """Give a registered card these of `number`, `holder`, `identity`, `department` and `state`.

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
    if "identity" in names or is_another:
        changes |= identities.columns_of(tx.vault, card.iccid, card.identity)
    _update(tx, row, changes)
    tx.event(EventKind.SIM, card.iccid, {"handed_over": True})
    tx.wake(Topic.SIMS, Topic.WORK)


def verify(tx: Tx, iccid: str, *, by: str, at: datetime, identity: Identity | None = None) -> None:
    """Note that the holder's identity was verified, by this document if one is told (SIM-04).

    Raises:
        NotFound: the register does not know it.
        TamperedError: the row was altered.
    """
    changes: dict[str, object] = {"verified_at": at, "verified_by": by}
    if identity is not None:
        changes |= identities.columns_of(tx.vault, iccid, identity)
    _update(tx, _own_row(tx, iccid), changes)
    tx.event(EventKind.SIM, iccid, {"verified": True})
    tx.wake(Topic.SIMS, Topic.WORK)


def amend(tx: Tx, iccid: str, changes: Mapping[str, object]) -> None:
    """Change columns of a card that the MAC covers, its state left as it is.

    Raises:
        NotFound: the register does not know it.
        TamperedError: the row was altered.
    """
    _update(tx, _own_row(tx, iccid), changes)
    tx.event(EventKind.SIM, iccid, {"amended": True})
    tx.wake(Topic.SIMS, Topic.WORK)


def set_number(tx: Tx, iccid: str, number: str) -> None:
    """Correct a card's number (E.164).

    Raises:
        NotFound: the register does not know it.
        TamperedError: the row was altered.
    """
    sealed = tx.vault.encrypt_text(number, place=number_place(iccid))
    amend(tx, iccid, {"number_enc": sealed, "number_bidx": tx.vault.blind_index(number)})


def revision(tx: Tx, iccid: str) -> int:
    """How many changes of a card's row there were; 0 for a card that is not registered."""
    return tx.conn.scalar(select(sim.c.revision).where(sim.c.iccid == iccid)) or 0


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
    counted = {**changes, "revision": row["revision"] + 1}
    after = {**row, **counted}
    tx.conn.execute(
        update(sim)
        .where(sim.c.iccid == row["iccid"])
        .values({**counted, "mac": row_mac(tx.vault, after), "updated_at": tx.now})
    )


def _values(tx: Tx, card: NewCard) -> dict[str, object]:
    values: dict[str, object] = dict.fromkeys(column.name for column in SEALED)
    values |= {name: getattr(card, name) for name in _OWN_FIELDS}
    values |= _number_columns(tx, card)
    values |= identities.columns_of(tx.vault, card.iccid, card.identity)
    values |= {"is_paused": False, "revision": 0, "created_at": tx.now, "updated_at": tx.now}
    return {**values, "mac": row_mac(tx.vault, values)}


def _number_columns(tx: Tx, card: NewCard) -> dict[str, object]:
    if card.number is None:
        return {"number_enc": None, "number_bidx": None}
    sealed = tx.vault.encrypt_text(card.number, place=number_place(card.iccid))
    return {"number_enc": sealed, "number_bidx": tx.vault.blind_index(card.number)}


def _mac_fields(row: Mapping[str, object]) -> tuple[str | int | None, ...]:
    """All that decides which traffic a card carries, and for whom."""
    covered = tuple(_plain(row[column.name]) for column in SEALED)
    for late in (_ZONES, identities.IDENTITY):  # rows of before they were kept are sealed without
        if covered[-len(late) :] != (None,) * len(late):
            break
        covered = covered[: -len(late)]
    return covered


def _plain(value: object) -> str | int | None:
    match value:
        case None | bool() | int():
            return value
        case datetime():
            return to_ms(value)
        case date():
            return value.isoformat()
        case bytes():
            return value.hex()
    return str(value)


def _card(vault: Vault, row: RowMapping) -> Card:
    number: str | None = None
    document: tuple[IdentityKind | None, str | None] = (None, None)
    is_intact = True
    try:
        check_row(vault, row)
        document = identities.read(vault, {**row})
        if row["number_enc"] is not None:
            number = vault.decrypt_text(row["number_enc"], place=number_place(row["iccid"]))
    except TamperedError:
        is_intact = False
    known = row["ownership"] in set(Ownership)  # an altered row must not break a list
    ownership = Ownership(row["ownership"]) if known else Ownership.OWNED
    return Card(
        iccid=Iccid(row["iccid"]),
        number=number,
        ownership=ownership,
        state=CardState(row["state"]),
        has_pin=row["pin_enc"] is not None,
        bay=row["seen_in"],
        is_intact=is_intact,
        identity_kind=document[0],
        identity_number=document[1],
        **{name: row[name] for name in _AS_THEY_ARE},
    )


_MADE: Final = frozenset({"iccid", "ownership", "state", "identity_kind"})
_OWN_FIELDS: Final = tuple(
    one.name for one in fields(NewCard) if one.name not in {"number", "identity"}
)
_OF_A_LIFE: Final = (
    "verified_at", "verified_by", "reviewed_by", "approved_by", "suspended_until",
    "carrier_reference", "carrier_told_at", "replaced_by",
)  # fmt: skip
"""Columns that end with a card's holder."""
_OF_THE_CARD: Final = ("carrier", "card_group", "timezone")
"""Columns that stay, where a request brings none."""

_AS_THEY_ARE: Final = tuple(
    one.name for one in fields(Card) if one.name in sim.c and one.name not in _MADE
)
