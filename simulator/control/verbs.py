"""What a bank can be told to do: each verb's name, arguments and opposite.

The same verbs serve the control socket, the timeline of a scenario and the command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Final, TypeAlias

from pydantic import BeforeValidator, Field

from simulator.faults import Fault, FaultKind
from simulator.network.exchange import CallRule
from simulator.network.latency import Latency
from simulator.network.network import Rule
from simulator.network.ussd import Menu
from simulator.phone import CallPlan
from simulator.reading import (
    Octet,
    Path,
    ScenarioError,
    Seconds,
    is_text,
    keys,
    read,
    shaped,
    unknown,
)

Args: TypeAlias = Mapping[str, object]
Result: TypeAlias = dict[str, object]

STRANGER: Final = "+8613900000000"
PAGE_MOST: Final = 5000
"""Lines of the ledger that one request reads: the modems want their turn too."""
_MODEM_KEYS: Final = ("modem", "modems")
_OCTETS: Final = shaped(r"\s*(?:[0-9A-Fa-f]{2}\s*)+", "octets in hex, one at least")


def _one_modem(value: object) -> object:
    if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
        return str(value)
    raise ValueError("the name or the number of one modem is needed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No arguments beside the modem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingSms:
    """An SMS to a card: a text (cut into segments where long), or a TPDU in hexadecimal."""

    to: str
    text: str = ""
    origin: Annotated[str, Field(alias="from")] = STRANGER
    dcs: Octet | None = None
    pid: Octet = 0
    tpdu: Annotated[str, _OCTETS] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingSms:
    """An SMS that a client of the modem would send."""

    to: str
    text: str
    report: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Typing:
    """Octets as a client writes them; `{pin}`, `{puk}`, `{iccid}`, `{number}` are the card's.

    A carriage return is added unless the text ends with one, with Ctrl-Z or Esc, or not `enter`.
    """

    text: str
    enter: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultName:
    """Which faults to take away; none named = all."""

    fault: FaultKind | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OfCard:
    """`card` (ICCID or number): this one, wherever it is; else the one in the modem."""

    card: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration(OfCard):
    """A `+CREG` status to force on the card; none = what the network would say."""

    stat: Annotated[int, Field(ge=0, le=10)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The network's pace; what is not named stays."""

    seconds: Seconds | None = None
    report_delay: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRule:
    """A rule of the network for matching submits."""

    rule: Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCallRule:
    """A rule for calls to numbers outside."""

    rule: CallRule


@dataclass(frozen=True, slots=True, kw_only=True)
class CarrierPace:
    """How long a carrier takes for a submit; none = as configured."""

    carrier: str
    latency: Latency | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A carrier (empty = all) at the places that are named."""

    carrier: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength(Place):
    """The signal of a carrier: 0–31, -1 none; none = as configured."""

    signal: Annotated[int, Field(ge=-1, le=31)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOff(OfCard):
    """What the card's submits get from now on; `denied`: it is thrown out of the network too."""

    cms: int = 21
    denied: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Money(OfCard):
    """The balance of a card."""

    balance: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Unplugging:
    """Whether the modem keeps its power (a cable fault) or loses it."""

    keeps_power: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugging:
    """Whether the ports come back under other numbers."""

    renumbered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """A USB hub by its number, from 1."""

    hub: Annotated[int, Field(ge=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardKey:
    """A card by its ICCID or number."""

    card: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherModem:
    """The second modem of an exchange: its name or number."""

    other: Annotated[str, BeforeValidator(_one_modem)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerQuery:
    """Which lines: each of `where` has that value; from an octet of the file on.

    `limit` lines are looked at; the answer's `offset` is where the next ones begin.
    """

    where: Mapping[str, object] = field(default_factory=dict)
    offset: Annotated[int, Field(ge=0, le=2**62)] = 0
    limit: Annotated[int, Field(ge=1, le=PAGE_MOST)] = PAGE_MOST


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """Which lines to be told as they come; `is_new`: only those from now on."""

    where: Mapping[str, object] = field(default_factory=dict)
    is_new: Annotated[bool, Field(alias="new")] = False


class Source(StrEnum):
    """Who makes traffic."""

    STRANGERS = "strangers"  # send SMS to the bank's cards
    NEIGHBOURS = "neighbours"  # the bank's cards send SMS to each other, as a client would
    SENDERS = "senders"  # the bank's cards send SMS to strangers
    CALLERS = "callers"  # call the bank's cards


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Traffic at a rate over all chosen modems, with drawn gaps, numbers and texts.

    `chinese`, `long`, `report`: shares from 0 to 1. `texts` replaces the built-in ones;
    `{n}` in a text is the message's number. `name` is for `stop_traffic`.
    """

    source: Source
    per_minute: Annotated[float, Field(gt=0, le=1_000_000)]
    name: str = ""
    chinese: Annotated[float, Field(ge=0, le=1)] = 0.5
    long: Annotated[float, Field(ge=0, le=1)] = 0.1
    report: Annotated[float, Field(ge=0, le=1)] = 0.5
    texts: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficName:
    """Which traffic to end; none named = all."""

    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One verb. `modem`: `one` needed, `all` unless named, `place` (none named = everywhere).

    With a `kind` of `OfCard` a card may be named instead of the modem.
    `names`: keys that stand for another field. `undo`: the verb that takes it back.
    `is_question`: it changes nothing, and has no place in a timeline.
    """

    summary: str
    kind: type = Nothing
    modem: str = "none"
    names: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, object] = field(default_factory=dict)
    undo: str = ""
    is_question: bool = False

    def read(self, args: Args, *, at: Path = ()) -> tuple[str, object]:
        """The modems that are meant (`""` where none is named) and the arguments.

        Raises:
            ScenarioError: an unknown key, a missing one, a wrong value.
        """
        allowed = self.keys()
        for name in args:
            if name not in allowed:
                raise ScenarioError(unknown(name, allowed), path=(*at, name))
        rest = dict(args)
        modems = self._modems(rest, at)
        table = {self.names.get(name, name): value for name, value in rest.items()}
        table = {**self.defaults, **table}
        if self.kind is Fault and _goes_on(table):
            table["count"] = None
        try:
            value: object = read(self.kind, table, at=at)
        except ScenarioError as error:
            raise self._renamed(error, at) from error
        if isinstance(value, OfCard) and value.card and modems:
            raise ScenarioError("either a card or a modem is meant", path=(*at, "card"))
        return modems, value

    def wants_text(self, key: str) -> bool:
        """True where a key's value is a text, even if it looks like a number."""
        return key in _MODEM_KEYS or is_text(self.kind, self.names.get(key, key))

    def keys(self) -> list[str]:
        """The keys that a request may have."""
        renamed = {value: key for key, value in self.names.items()}
        own = [renamed.get(name, name) for name in keys(self.kind)]
        return own if self.modem == "none" else [*_MODEM_KEYS, *own]

    def _modems(self, rest: dict[str, object], at: Path) -> str:
        if self.modem == "none":
            return ""
        written = next((name for name in _MODEM_KEYS if name in rest), "modem")
        given = [rest.pop(name) for name in _MODEM_KEYS if name in rest]
        found = given[0] if given else None
        if self._may_lack(found, rest):
            return ""
        if isinstance(found, list) and found:
            return ",".join(map(str, found))
        if isinstance(found, str | int) and not isinstance(found, bool) and found != "":
            return str(found)
        if self.modem == "one" or found is not None:
            problem = "is missing" if found is None else "a modem is needed"
            raise ScenarioError(f"{problem}: its name, its number, `1-4`, `all` or `any`",
                                path=(*at, written))  # fmt: skip
        return "all"

    def _may_lack(self, found: object, rest: Args) -> bool:
        """True where no modem is named, and none need be."""
        if self.modem == "place" and (found is None or found == ""):
            return True
        return found is None and bool(rest.get("card")) and issubclass(self.kind, OfCard)

    def _renamed(self, error: ScenarioError, at: Path) -> ScenarioError:
        path = error.path
        renamed = {value: key for key, value in self.names.items()}
        if len(path) > len(at) and path[len(at)] in renamed:
            path = (*at, renamed[str(path[len(at)])], *path[len(at) + 1 :])
        return ScenarioError(error.problem, path=path)


def _goes_on(fault: Args) -> bool:
    """A fault until it is cleared: TOML knows no null, and a rate says that it strikes again."""
    return fault.get("count") == 0 or ("count" not in fault and "rate" in fault)


_CALL_DEFAULTS: Final = {"number": STRANGER, "outcome": "missed"}

VERBS: Final[Mapping[str, Verb]] = MappingProxyType({
    "state": Verb(summary="What is true of the modems.", modem="all", is_question=True),
    "inject_sms": Verb(summary="A stranger sends an SMS to a card.", kind=IncomingSms),
    "send_sms": Verb(summary="A modem sends an SMS, as if a client had told it to.",
                     kind=OutgoingSms, modem="one"),
    "type": Verb(summary="Write octets to a modem as a client would.", kind=Typing, modem="one"),
    "inject_call": Verb(summary="A call comes in.", kind=CallPlan, modem="one",
                        defaults=_CALL_DEFAULTS),
    "dial": Verb(summary="Somebody at the modem dials.", kind=CallPlan, modem="one",
                 defaults=_CALL_DEFAULTS),
    "hang_up": Verb(summary="Somebody at the modem hangs up.", modem="one"),
    "set_fault": Verb(summary="Give a modem a fault.", kind=Fault, modem="one",
                      names={"fault": "kind"}, undo="clear_faults"),
    "clear_faults": Verb(summary="Take one fault away, or all.", kind=FaultName, modem="all"),
    "set_registration": Verb(summary="Force a card's registration.", kind=Registration,
                             modem="one", undo="set_registration"),
    "set_latency": Verb(summary="Change the network's pace.", kind=Pace, undo="set_latency"),
    "set_network_error": Verb(summary="Add a rule for what the network does with submits.",
                              kind=NewRule, undo="remove_network_error"),
    "clear_network_errors": Verb(summary="Take all rules away."),
    "remove_network_error": Verb(summary="Take one rule away.", kind=NewRule),
    "add_call_rule": Verb(summary="Add a rule for calls to numbers outside.", kind=NewCallRule),
    "clear_call_rules": Verb(summary="Take all rules for calls away."),
    "set_carrier_latency": Verb(summary="Change how long a carrier takes for a submit.",
                                kind=CarrierPace, undo="set_carrier_latency"),
    "lose_coverage": Verb(summary="A carrier, a modem or everything has no network.", kind=Place,
                          modem="place", undo="restore_coverage"),
    "restore_coverage": Verb(summary="The network is back.", kind=Place, modem="place"),
    "set_signal": Verb(summary="Change the signal of a carrier at a modem.", kind=Strength,
                       modem="place", undo="set_signal"),
    "cut_off": Verb(summary="The carrier lets the card of a modem send nothing.", kind=CutOff,
                    modem="one", undo="lift"),
    "lift": Verb(summary="The carrier lets the card of a modem send again.", kind=OfCard,
                 modem="one"),
    "set_balance": Verb(summary="Set the money of the card in a modem.", kind=Money,
                        modem="one"),
    "push_ussd": Verb(summary="The network begins a USSD session with the card of a modem.",
                      kind=Menu, modem="one"),
    "reboot": Verb(summary="A modem restarts by itself.", modem="one"),
    "unplug": Verb(summary="Take a modem's ports away.", kind=Unplugging, modem="one",
                   undo="plug"),
    "plug": Verb(summary="Bring a modem's ports back.", kind=Plugging, modem="one"),
    "unplug_hub": Verb(summary="Unplug every modem of a hub.", kind=Hub, undo="plug_hub"),
    "plug_hub": Verb(summary="Plug every modem of a hub.", kind=Hub),
    "pull_card": Verb(summary="Take a modem's card out.", modem="one", undo="insert_card"),
    "insert_card": Verb(summary="Put a card into a modem.", kind=CardKey, modem="one"),
    "swap_cards": Verb(summary="Exchange two modems' cards.", kind=OtherModem, modem="one",
                       undo="swap_cards"),
    "traffic": Verb(summary="Start traffic.", kind=Traffic, modem="all", undo="stop_traffic"),
    "stop_traffic": Verb(summary="End traffic.", kind=TrafficName),
    "ledger": Verb(summary="Lines of the ledger.", kind=LedgerQuery, is_question=True),
    "follow": Verb(summary="Be told the ledger's lines as they come.", kind=Following,
                   is_question=True),
    "stop": Verb(summary="End the bank."),
})  # fmt: skip


def verb(name: str) -> Verb:
    """The verb of that name.

    Raises:
        ScenarioError: there is none.
    """
    found = VERBS.get(name)
    if found is None and not name:
        raise ScenarioError(f"is missing: one of {', '.join(VERBS)}", path=("do",))
    if found is None:
        raise ScenarioError(unknown(name, VERBS, what="verb"), path=("do",))
    return found
