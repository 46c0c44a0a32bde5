"""What a list may change about cards that are registered: of those in use nothing (SIM-05)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from modemctl.errors import InvalidRequest, PolicyRefused
from modemctl.lifecycle import CardState
from modemctl.model import Iccid
from modemctl.policy.custody import SUSPENDED
from modemctl.policy.identities import Identity
from modemctl.service.card_lists import CardLine, LineError
from modemctl.service.departments import cure_of, require_department
from modemctl.store import Tx
from modemctl.store.sims import Card

_IN_USE: Final = frozenset({CardState.ISSUED, *SUSPENDED})


def completion(line: CardLine, known: Mapping[Iccid, Card]) -> frozenset[str]:
    """What a line brings to a registered card: to one in use nothing but its holder's document."""
    card = known.get(line.card.iccid)
    if card is None:
        return frozenset()
    missing = _missing_document(line, card)
    if card.state is not CardState.PROVISIONED:
        return missing
    if card.requested_by is not None:  # approved for somebody, or back from him: no list undoes it
        return missing
    names = line.given & {"number", "holder", "department"}
    if line.card.state is CardState.ISSUED:
        names |= line.given & {"state"}
    changed = {name for name in names if getattr(card, name) != getattr(line.card, name)}
    if line.card.identity not in {None, _document(card)}:
        changed.add("identity")
    return frozenset(changed)


def _missing_document(line: CardLine, card: Card) -> frozenset[str]:
    """The holder's document, where the register knows none and the line names the same holder."""
    is_his = "holder" not in line.given or line.card.holder == card.holder
    is_new = line.card.identity is not None and card.identity_kind is None
    return frozenset({"identity"} if is_his and is_new and card.holder is not None else ())


def _document(card: Card) -> Identity | None:
    if card.identity_kind is None or card.identity_number is None:
        return None
    return Identity(kind=card.identity_kind, number=card.identity_number)


def unregistered(
    tx: Tx, lines: Sequence[CardLine], known: Mapping[Iccid, Card]
) -> Sequence[LineError]:
    """Lines that bring a card to a department that is not registered (SIM-01)."""
    brought = [
        (line, line.card.department)
        for line in lines
        if line.card.iccid not in known or "department" in completion(line, known)
    ]
    rules: dict[str, str] = {}
    for name in dict.fromkeys(name for _, name in brought if name is not None):
        try:
            require_department(tx.conn, tx.vault, name, policy="SIM-01")
        except (InvalidRequest, PolicyRefused) as error:
            rules[name] = error.rule
    return [
        fault(
            line,
            "department",
            f"{rules[name]}: {name}",
            "SIM-01",
            cure=cure_of(tx.conn, name, missing=[*rules]),
        )
        for line, name in brought
        if name in rules
    ]


def differences(line: CardLine, card: Card) -> Sequence[LineError]:
    """A card in use keeps what it is: that changes by steps of their own (SIM-05)."""
    if not card.is_intact:
        return [fault(line, "iccid", "its row was altered outside modemctl", "SEC-05")]
    new = line.card
    pairs = {
        "number": (new.number, card.number),
        "holder": (new.holder, card.holder),
        "identity": (new.identity, _document(card)),
        "department": (new.department, card.department),
        "ownership": (new.ownership, card.ownership),
        "timezone": (new.timezone, card.timezone),
        "state": (new.state, card.state),
    }
    rule = "the card is registered otherwise"
    cures = {"timezone": "modemctl sims zone ICCID ZONE"}
    cure = "modemctl sims state ICCID returned; then ask for it: modemctl sims request ICCID"
    brought = completion(line, {card.iccid: card})
    return [
        fault(line, name, rule, "SIM-05", cure=cures.get(name, cure))
        for name, (wanted, stored) in pairs.items()
        if name in line.given - brought and wanted != stored
    ]


def handed_out(lines: Sequence[CardLine], known: Mapping[Iccid, Card]) -> Sequence[LineError]:
    """Lines that put a card into use without request and approval (SIM-02)."""
    rule = "cards are asked for, approved and issued one by one here"
    cure = "leave it in stock (provisioned); then: modemctl sims request ICCID"
    return [
        fault(line, "state", rule, "SIM-02", cure=cure)
        for line in lines
        if line.card.state in _IN_USE
        and (line.card.iccid not in known or "state" in completion(line, known))
    ]


def fault(line: CardLine, name: str, rule: str, policy: str, *, cure: str = "") -> LineError:
    """A fault of a line, as people are told it."""
    return LineError(line_no=line.line_no, field=name, rule=rule, cure=cure, policy=policy)
