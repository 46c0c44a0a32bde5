"""What is shown of a card, and to whom: numbers and names only with the right to see them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from modemctl.errors import NotFound
from modemctl.lifecycle import CardState
from modemctl.model import mask_number
from modemctl.service.identities import IdentityKind, number_for
from modemctl.service.principal import Principal, Scope
from modemctl.store.sims import Card, Ownership


@dataclass(frozen=True, slots=True, kw_only=True)
class SimView:
    """One card. Numbers and names are masked without `pii:read`; a PIN is never shown.

    `identity_kind` without a number: it was erased.
    `is_intact` is false where the row was altered behind our back: the card is not used then.
    `timezone`: whose days and months its limits run in, None: the site's.
    `user_name`: who has it in use, where that is not the holder; `is_pool`: its department has.
    """

    iccid: str
    number: str | None
    holder: str | None
    identity_kind: IdentityKind | None
    identity_number: str | None
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
    state: CardState
    is_reserved: bool
    verified_at: datetime | None
    verified_by: str | None
    suspended_until: datetime | None
    carrier_reference: str | None
    carrier_told_at: datetime | None
    replaces: str | None
    replaced_by: str | None
    has_pin: bool
    pin_state: str
    pin_import_id: str | None
    is_paused: bool
    bay: str | None
    is_intact: bool
    created_at: datetime
    updated_at: datetime


def view(card: Card, who: Principal) -> SimView:
    """A card as this account may see it."""
    is_open = Scope.PII_READ in who.scopes
    number = card.number
    if number is not None and not is_open:
        number = mask_number(number)
    return SimView(
        iccid=card.iccid,
        number=number,
        holder=name_for(card.holder, who),
        identity_kind=card.identity_kind,
        identity_number=number_for(card.identity_number, who),
        department=card.department,
        user_name=name_for(card.user_name, who),
        purpose=card.purpose,
        is_pool=card.is_pool,
        ownership=card.ownership,
        lessor=card.lessor,
        contract=card.contract,
        lease_from=card.lease_from,
        lease_until=card.lease_until,
        carrier=card.carrier,
        card_group=card.card_group,
        timezone=card.timezone,
        state=card.state,
        is_reserved=card.is_reserved,
        verified_at=card.verified_at,
        verified_by=card.verified_by,
        suspended_until=card.suspended_until,
        carrier_reference=card.carrier_reference,
        carrier_told_at=card.carrier_told_at,
        replaces=card.replaces,
        replaced_by=card.replaced_by,
        has_pin=card.has_pin,
        pin_state=card.pin_state,
        pin_import_id=card.pin_import_id,
        is_paused=card.is_paused,
        bay=card.bay,
        is_intact=card.is_intact,
        created_at=card.created_at,
        updated_at=card.updated_at,
    )


def name_for(name: str | None, who: Principal) -> str | None:
    """A person's name, masked without the right to see it."""
    return name if name is None or Scope.PII_READ in who.scopes else f"{name[:1]}**"


def unknown(iccid: str) -> NotFound:
    """The refusal for a card that is not registered, or not shown to who asks."""
    cure = "modemctl sims lists them; new cards: modemctl sims import cards.csv"
    return NotFound("no such card in the register", field="iccid", value=iccid[:22], cure=cure)
