"""The places of a bank: which modem stands in each, which card sits in it, on which hub it is."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, TypeAlias

from pydantic import Field, InstanceOf

from simulator import persona as personas
from simulator.cards.card import Subscription
from simulator.network.carriers import CMCC, Carrier
from simulator.network.numbers import national
from simulator.persona import Persona, PersonaPort, PortRole
from simulator.reading import ScenarioError, line_of, read, shaped, toml, unknown

MIXED: Final = ("generic", "huawei", "quectel", "simcom", "sim7600")
EMPTY: Final = "none"
_FIRST_NUMBER: Final = 13800000001
_NUMBER: Final = shaped(r"\+?\d{3,15}", "3 to 15 digits, with or without +")
_RANGE: Final = re.compile(r"(\d+)(?:-(\d+))?")


Pin: TypeAlias = Annotated[str, shaped(r"\d{4,8}", "4 to 8 digits")]
Puk: TypeAlias = Annotated[str, shaped(r"\d{8}", "8 digits")]
Imsi: TypeAlias = Annotated[str, shaped(r"\d{6,15}", "6 to 15 digits")]
Imei: TypeAlias = Annotated[str, shaped(r"\d{15}", "15 digits")]
Number: TypeAlias = Annotated[str, _NUMBER]
PrintedIccid: TypeAlias = Annotated[str, shaped(r"[0-9A-F]{18,20}", "18 to 20 digits")]
_HEX: Final = shaped(r"(?:[0-9A-Fa-f]{2})*", "octets in hex")
_PIN: Final = shaped(r"random|\d{4,8}", "`random` or 4 to 8 digits")
_CARD: Final = shaped(r"none|[0-9A-F]{18,20}", "an ICCID of 18 to 20 digits, or `none`")


class PinLock(StrEnum):
    """Which cards ask for their PIN."""

    ON = "on"
    OFF = "off"
    MIXED = "mixed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What may be in a card besides its numbers; see `simulator.cards.files.Subscription`."""

    pin2: Pin | None = None
    puk2: Puk | None = None
    provider: Annotated[str, shaped(r".{0,16}", "at most 16 letters")] | None = None
    service_centre: Number | None = None
    mnc_length: Annotated[int, Field(ge=0, le=3)] | None = None
    stores_number: bool | None = None
    alpha: Annotated[str, shaped(r".{0,10}", "at most 10 letters")] | None = None
    gid1: Annotated[str, _HEX] | None = None
    gid2: Annotated[str, _HEX] | None = None
    is_usim: bool | None = None

    def put_in(self, card: Subscription) -> Subscription:
        """The card with those that are given."""
        given = {item.name: getattr(self, item.name) for item in fields(CardFacts)}
        return replace(card, **{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True, slots=True, kw_only=True)
class BayChange(CardFacts):
    """What is different in some bays: `bay` is a number from 1, or several as `"1-4,7"`.

    `card` is an ICCID, or `none`; `carrier` is whose card it is; `present = false`: the
    modem is not plugged in at the start.
    """

    bay: int | str
    persona: str | None = None
    imei: Imei | None = None
    card: Annotated[str, _CARD] | None = None
    imsi: Imsi | None = None
    number: Number | None = None
    pin: Pin | None = None
    puk: Puk | None = None
    locked: bool | None = None
    carrier: str | None = None
    present: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpareCard(CardFacts):
    """A card that lies beside the bank until somebody inserts it."""

    iccid: PrintedIccid
    number: Number
    imsi: Imsi = "460009999999999"
    pin: Pin = "1234"
    puk: Puk = "12345678"
    locked: bool = True

    @property
    def subscription(self) -> Subscription:
        """What is printed on it."""
        card = Subscription(
            iccid=self.iccid, imsi=self.imsi, number=self.number, pin=self.pin, puk=self.puk
        )
        return self.put_in(card)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a bank consists of: so many modems, what they are, whose cards are in them.

    `persona` is a name, several joined by commas (dealt out in turn), `mixed` or `all`; a name
    that ends in `.toml` is a file, sought from `folder`, which is the scenario file's own.
    `carriers`: whose cards these are and who serves them; none = one that takes everybody.
    """

    about: str = ""
    modems: Annotated[int, Field(ge=1, le=2000)] = 16
    persona: str = "mixed"
    seed: int = 1
    per_hub: Annotated[int, Field(ge=1)] = 16
    pin: Annotated[str, _PIN] = "random"
    pin_lock: PinLock = PinLock.ON
    card_slots: Annotated[int, Field(ge=1, le=255)] = 40
    bays: tuple[BayChange, ...] = ()
    cards: tuple[SpareCard, ...] = ()
    carriers: Annotated[tuple[Carrier, ...], Field(min_length=1)] = (CMCC,)
    folder: InstanceOf[Path] = Path()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bay:
    """One modem of the bank with the card that sits in it (`has_card`)."""

    name: str
    persona: Persona
    imei: str
    subscription: Subscription
    is_locked: bool
    hub: int = 1
    has_card: bool = True
    is_present: bool = True


def bays(plan: Plan) -> list[Bay]:
    """The bank's modems and cards; the same for the same seed.

    Raises:
        ScenarioError: a persona or a bay that there is not.
    """
    chosen = deal(plan.persona, folder=plan.folder)
    width = max(2, len(str(plan.modems)))
    found = [_bay(plan, chosen[index % len(chosen)], index, width) for index in range(plan.modems)]
    found = _with_carriers(found, plan.carriers)
    names = [bay.name for bay in found]
    for number, change in enumerate(plan.bays, 1):
        try:
            places = [names.index(name) for name in select(change.bay, names)]
            for place in places:
                found[place] = _changed(found[place], change, plan)
        except ScenarioError as error:
            raise ScenarioError(error.problem, path=("bays", number, *error.path)) from error
    _require_different(found, plan.cards)
    return found


def port_name(modem: str, port: PersonaPort) -> str:
    """What a port is called in the bank's folder; the first command port as its modem."""
    if port.role is PortRole.AT:
        return modem
    return f"{modem}.if{port.interface:02x}-{port.role.value}"


def deal(text: str, *, folder: Path = Path()) -> list[Persona]:
    """The personas of a list (`a,b`), `mixed`, `all`; one that ends in `.toml` is a file.

    Raises:
        ScenarioError: there is none of that name, or the file is wrong.
    """
    parts: Iterable[str] = {"mixed": MIXED, "all": personas.names()}.get(text, text.split(","))
    try:
        return [_persona(name.strip(), folder) for name in parts]
    except (personas.PersonaError, ScenarioError) as error:
        raise ScenarioError(str(error), path=("persona",)) from error


def select(wanted: int | str, names: Sequence[str]) -> list[str]:
    """Modems by name, by number from 1, by range, list or pattern: `3`, `1-4,modem07`, `all`.

    Raises:
        ScenarioError: nothing fits.
    """
    found: list[str] = []
    for part in str(wanted).split(","):
        word = part.strip()
        match = _RANGE.fullmatch(word)
        if word in names:
            found.append(word)
        elif word in {"all", "*"}:
            found.extend(names)
        elif match:
            first, last = int(match[1]), int(match[2] or match[1])
            if not 1 <= first <= last <= len(names):
                raise ScenarioError(f"no bay {word}: there are 1 to {len(names)}")
            found.extend(names[first - 1 : last])
        else:
            raise ScenarioError(f"no modem {word!r}: {names[0]} to {names[-1]}, `1-4`, `all`")
    return list(dict.fromkeys(found))


def persona_file(path: Path) -> Persona:
    """A persona from a file of one's own.

    Raises:
        ScenarioError: it cannot be read, or is wrong; with file, line and key.
    """
    try:
        table, text = toml(path)
    except OSError as error:
        raise ScenarioError(f"{path}: {error.strerror}") from error
    try:
        read(Persona, table)
        return personas.parse(text)
    except personas.PersonaError as error:
        raise ScenarioError(f"{path}: {error}") from error
    except ScenarioError as error:
        line = line_of(text, error.path)
        raise ScenarioError(f"{path}{'' if line is None else f':{line}'}: {error}") from error


def _persona(name: str, folder: Path) -> Persona:
    return persona_file(folder / name) if name.endswith(".toml") else personas.load(name)


def _with_carriers(found: list[Bay], carriers: Sequence[Carrier]) -> list[Bay]:
    """Deal the cards out in turn, to each carrier as many as its share."""
    dealt = [carrier for carrier in carriers for _ in range(carrier.share)]
    if not dealt:
        return found
    return [
        replace(bay, subscription=_of_carrier(bay.subscription, dealt[index % len(dealt)]))
        for index, bay in enumerate(found)
    ]


def _of_carrier(card: Subscription, carrier: Carrier) -> Subscription:
    prefix = next((one for one in carrier.home if one), carrier.numeric)
    return replace(
        card,
        iccid=_issued_by(card.iccid, carrier.issuer),
        imsi=prefix + card.imsi[len(prefix) :],
        provider=carrier.short or carrier.name,
        service_centre=carrier.service_centre,
        mnc_length=len(carrier.numeric) - 3,
    )


def _issued_by(iccid: str, issuer: str) -> str:
    if not issuer:
        return iccid
    changed = issuer + iccid[len(issuer) :]
    # The shape with letters has no check digit.
    return _with_check_digit(changed[:-1]) if changed.isdigit() else changed


def _changed(bay: Bay, change: BayChange, plan: Plan) -> Bay:
    card = bay.subscription
    if change.carrier is not None:
        names = {carrier.name: carrier for carrier in plan.carriers}
        if change.carrier not in names:
            problem = unknown(change.carrier, names, what="carrier")
            raise ScenarioError(problem, path=("carrier",))
        card = _of_carrier(card, names[change.carrier])
    card = replace(
        card,
        iccid=change.card if change.card not in {None, EMPTY} else card.iccid,
        imsi=change.imsi or card.imsi,
        number=change.number or card.number,
        pin=change.pin or card.pin,
        puk=change.puk or card.puk,
    )
    persona, imei = bay.persona, change.imei or bay.imei
    if change.persona is not None:
        persona = deal(change.persona, folder=plan.folder)[0]
        if change.imei is None:
            imei = _with_check_digit(persona.tac + bay.imei[8:14])
    return replace(
        bay,
        persona=persona,
        imei=imei,
        subscription=change.put_in(card),
        is_locked=bay.is_locked if change.locked is None else change.locked,
        has_card=bay.has_card and change.card != EMPTY,
        is_present=bay.is_present if change.present is None else change.present,
    )


def _require_different(found: Sequence[Bay], spare: Sequence[SpareCard]) -> None:
    cards = [bay.subscription for bay in found if bay.has_card] + [
        one.subscription for one in spare
    ]
    for what in ("iccid", "number"):
        seen: set[str] = set()
        for card in cards:
            value = str(getattr(card, what))
            # +8613… and 13… are one subscriber.
            key = national(value) if what == "number" else value
            if key in seen:
                raise ScenarioError(f"two cards with {what} {value}: give one of them another")
            seen.add(key)


def _bay(plan: Plan, persona: Persona, index: int, width: int) -> Bay:
    # Keyed by entity: bay 7 is the same in a bank of 8 and in one of 512.
    draw = random.Random(f"{plan.seed}/bay/{index}")  # noqa: S311 - a pretend world
    imei = _with_check_digit(persona.tac + f"{draw.randrange(10**6):06d}")
    pin = plan.pin if plan.pin != "random" else f"{draw.randrange(10**4):04d}"
    locked = {PinLock.ON: True, PinLock.OFF: False, PinLock.MIXED: index % 3 != 2}
    return Bay(
        name=f"modem{index + 1:0{width}d}",
        persona=persona,
        imei=imei,
        subscription=Subscription(
            iccid=_iccid(draw, index),
            imsi=f"46000{draw.randrange(10**7):07d}{index % 1000:03d}",
            number=f"+86{_FIRST_NUMBER + index}",
            pin=pin,
            puk=f"{draw.randrange(10**8):08d}",
        ),
        is_locked=locked[plan.pin_lock],
        hub=index // plan.per_hub + 1,
    )


def _iccid(draw: random.Random, index: int) -> str:
    # The index keeps them apart; three real shapes: 20 digits, letters from the seventh, 19 digits.
    serial = f"{draw.randrange(10**5):05d}{index:04d}"
    match index % 4:
        case 1:
            return f"898604B2{draw.randrange(1000):03d}{serial}"
        case 3:
            return _with_check_digit(f"898600{draw.randrange(1000):03d}{serial}")
    return _with_check_digit(f"898600{draw.randrange(10**4):04d}{serial}")


def _with_check_digit(digits: str) -> str:
    """The digits with their Luhn digit. Source: TS 23.003 §B.2."""
    total = 0
    for place, char in enumerate(reversed(digits)):
        value = int(char) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return f"{digits}{-total % 10}"
