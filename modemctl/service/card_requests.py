"""The form by which a card is asked for (《SIM 卡申请表》; SIM-01, SIM-02, SIM-05)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final

from modemctl.errors import Conflict, InvalidRequest, NotPermitted, PolicyRefused
from modemctl.lifecycle import CardState
from modemctl.model import Iccid
from modemctl.policy.custody import GONE
from modemctl.policy.identities import Identity
from modemctl.policy.numbers import NumberRules, Rejection, normalise
from modemctl.service.departments import require_department
from modemctl.service.identities import IdentityKind, entered
from modemctl.service.principal import Principal
from modemctl.store import Tx, sims
from modemctl.store.sims import Card, NewCard, Ownership

__all__ = ["CardForm", "Ownership", "file_request", "new_card", "replacement"]

_ICCID: Final = re.compile(r"89[0-9A-E]{16,20}")
_TEXT_MAX: Final[Mapping[str, int]] = {
    "department": 128, "holder": 128, "user_name": 128, "purpose": 200, "lessor": 128,
    "contract": 128, "carrier": 64, "card_group": 64,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class CardForm:
    """A request for a card: for whom, for what, whose it is.

    `is_pool`: for the department's pool, whose head becomes its holder; else `holder` is named.
    `identity_number` is that of the holder's document; without `identity_kind` a resident's card.
    A leased card has `lessor` and `contract`. `replaces`: a lost or damaged card; what the form
    leaves out of number, holder, department and purpose is then as it was there.
    """

    department: str | None = None
    purpose: str | None = None
    holder: str | None = None
    identity_number: str | None = field(default=None, repr=False)
    identity_kind: IdentityKind | None = None
    user_name: str | None = None
    is_pool: bool = False
    number: str | None = field(default=None, repr=False)
    ownership: Ownership = Ownership.OWNED
    lessor: str | None = None
    contract: str | None = None
    lease_from: date | None = None
    lease_until: date | None = None
    carrier: str | None = None
    card_group: str | None = None
    replaces: str | None = None


def new_card(iccid: str, form: CardForm, who: Principal, numbers: NumberRules) -> NewCard:
    """What a form stands for, its words and numbers in the register's form.

    Raises:
        InvalidRequest: a field that cannot be.
    """
    texts = {name: _text(name, getattr(form, name)) for name in _TEXT_MAX}
    if form.lease_from and form.lease_until and form.lease_until < form.lease_from:
        raise InvalidRequest("ends before it begins", field="lease_until", policy="SIM-01")
    return NewCard(
        iccid=Iccid(_iccid(iccid, "iccid")),
        number=None if form.number is None else read_number(form.number, numbers),
        is_pool=form.is_pool,
        ownership=form.ownership,
        lease_from=form.lease_from,
        lease_until=form.lease_until,
        replaces=None if form.replaces is None else Iccid(_iccid(form.replaces, "replaces")),
        requested_by=who.account_id,
        state=CardState.REQUESTED,
        identity=entered(form.identity_number, form.identity_kind),
        holder=texts["holder"],
        department=texts["department"],
        user_name=texts["user_name"],
        purpose=texts["purpose"],
        lessor=texts["lessor"],
        contract=texts["contract"],
        carrier=texts["carrier"],
        card_group=texts["card_group"],
    )


def require_whole(card: NewCard) -> None:
    """Refuse a request that leaves out what the register needs of every card.

    Raises:
        PolicyRefused: SIM-01 of a leased card; SIM-05: for whom and for what; a pool has no holder
            but its head.
    """
    for name in ("department", "purpose"):
        if getattr(card, name) is None:
            raise PolicyRefused("SIM-05", f"a card is asked for with a {name}", field=name)
    if card.is_pool and not (card.holder is None and card.identity is None):
        cure = "leave the holder out: who approves for the department becomes it"
        raise PolicyRefused("SIM-05", "a pool's holder is its head", field="holder", cure=cure)
    if not card.is_pool and card.holder is None:
        cure = "name who is to have it, or ask for the department's pool"
        raise PolicyRefused("SIM-05", "a card has a holder", field="holder", cure=cure)
    for name in ("lessor", "contract") if card.ownership is Ownership.LEASED else ():
        if getattr(card, name) is None:
            raise PolicyRefused("SIM-01", f"a leased card has a {name}", field=name)


def file_request(tx: Tx, who: Principal, card: NewCard) -> None:
    """Put a request into the register: a new card, or one that lies in the drawer.

    Raises:
        NotPermitted: for another department.
        Conflict: somebody has the card, or its number.
        PolicyRefused: SIM-01, SIM-05: not whole.
    """
    require_whole(card)
    if not who.sees(card.department):
        raise NotPermitted(
            f"account {who.name} sees department {who.department} only", policy="SEC-01"
        )
    require_department(tx.conn, tx.vault, card.department or "", policy="SIM-05")
    if card.number is not None:
        require_free_number(tx, card.number, card.iccid)
    known = sims.read(tx.conn, tx.vault, card.iccid)
    if known is None:
        sims.add(tx, [card])
        return
    if known.state is CardState.PROVISIONED and known.approved_by is not None:
        cure = "issue it, or return it first"
        raise Conflict("it was provisioned for somebody", field="iccid", cure=cure, policy="SIM-05")
    sims.ask_again(tx, card)


def replacement(tx: Tx, who: Principal, card: NewCard) -> NewCard:
    """A request for a card in place of another one, what it leaves out taken from that (SIM-09).

    Raises:
        InvalidRequest: there is no such other card.
        Conflict: it is neither lost nor damaged, or has been replaced already.
    """
    assert card.replaces is not None, "asked of replacements only"
    old = sims.read(tx.conn, tx.vault, card.replaces)
    if old is None or not who.sees(old.department):
        raise InvalidRequest("no such card in the register", field="replaces", policy="SIM-09")
    if old.state not in GONE or old.iccid == card.iccid:
        cure = f"first: modemctl sims state {old.iccid} lost --reason WHY"
        rule = f"a card that is {old.state} is not replaced"
        raise Conflict(rule, field="replaces", cure=cure, policy="SIM-09")
    if old.replaced_by is not None and _is_on_the_way(tx, old):
        rule = f"it is replaced by {old.replaced_by}"
        raise Conflict(rule, field="replaces", policy="SIM-09")
    return _filled_from(card, old)


def _is_on_the_way(tx: Tx, old: Card) -> bool:
    """Whether the card in place of this one is still that."""
    new = sims.read(tx.conn, tx.vault, old.replaced_by or "")
    is_over = (CardState.RETURNED, CardState.CANCELLED)
    return new is not None and new.replaces == old.iccid and new.state not in is_over


def _filled_from(card: NewCard, old: Card) -> NewCard:
    names = ("number", "department", "purpose", "user_name", "carrier", "card_group")
    taken = {name: getattr(card, name) or getattr(old, name) for name in names}
    is_pool = card.is_pool or (old.is_pool and card.holder is None)
    holder = None if is_pool else card.holder or old.holder
    identity = card.identity
    if identity is None and holder is not None and holder == old.holder:
        identity = _document_of(old)
    return replace(card, **taken, is_pool=is_pool, holder=holder, identity=identity)


def _document_of(card: Card) -> Identity | None:
    if card.identity_kind is None or card.identity_number is None:
        return None
    return Identity(kind=card.identity_kind, number=card.identity_number)


def require_free_number(tx: Tx, number: str, iccid: Iccid) -> None:
    """Raises Conflict where another card has the number."""
    owner = sims.holders_of_numbers(tx, [number]).get(number)
    if owner is not None and owner != iccid:
        raise Conflict("another card has this number", field="number", policy="SIM-01")


def _iccid(text: str, name: str) -> str:
    plain = re.sub(r"[\s\-]", "", unicodedata.normalize("NFKC", text)).upper().rstrip("F")
    if not _ICCID.fullmatch(plain):
        cure = "see the print on the card"
        rule = "must begin with 89 and have 18 to 22 digits"
        raise InvalidRequest(rule, field=name, cure=cure, policy="SIM-01")
    return plain


def read_number(text: str, numbers: NumberRules) -> str:
    """A card's number as a person writes it, in E.164; raises InvalidRequest."""
    found = normalise(text, numbers)
    if isinstance(found, Rejection):
        raise InvalidRequest(f"is no number of a mobile: {found}", field="number")
    return found


def _text(name: str, text: str | None) -> str | None:
    plain = (text or "").strip()
    if len(plain) > _TEXT_MAX[name]:
        raise InvalidRequest(f"must have up to {_TEXT_MAX[name]} characters", field=name)
    if any(unicodedata.category(one) == "Cc" for one in plain):
        raise InvalidRequest("must be one line without control characters", field=name)
    return plain or None
