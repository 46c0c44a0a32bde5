"""What a family of modems is, as data: the row that a file in `families/` fills in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from drivers.at.command import Bare, Command, asking
from drivers.at.counters import (
    READERS,
    CounterForm,
    Reader,
    asked_for,
    by_file_status,
    by_verify,
)
from drivers.at.temperatures import TemperatureQuery
from drivers.at.urcs import UrcRow
from drivers.at.values import arguments, crsm, iccid
from drivers.interface import Capabilities, Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class IccidQuery:
    """One way to ask for the ICCID; `read` raises `ProtocolError` on what is none."""

    command: Command
    read: Callable[[Sequence[str]], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterQuery:
    """One way to ask for the tries left; `read` gets the lines of each command's answer.

    `before` and `after` are sent around it; what they are answered is of no interest.
    """

    commands: tuple[Command, ...]
    read: Reader
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


def _first_iccid(lines: Sequence[str]) -> str:
    return iccid(arguments(lines[0]))


def iccid_by(text: str, *prefixes: str, bare: bool = False) -> IccidQuery:
    """Ask by a vendor's command that answers `prefix: <iccid>` (or, `bare`, the ICCID alone)."""
    command = Command(
        text=text,
        shown=text,
        prefixes=prefixes,
        bare=Bare.ICCID if bare else Bare.NONE,
        is_private=True,
        timeout=20.0,
    )
    return IccidQuery(command=command, read=_first_iccid)


ICCID_BY_FILE = IccidQuery(
    command=asking("AT+CRSM=176,12258,0,0,10", timeout=20.0, is_private=True),
    read=lambda lines: iccid(crsm(lines[0])),
)
"""EF-ICCID, the standard way; needs no PIN on most cards. Source: TS 27.007 §8.18, TS 31.102."""


def counter_by(text: str, form: CounterForm, *prefixes: str) -> CounterQuery:
    """Ask by a command that tells both counters in one answer of a known form."""
    return CounterQuery(commands=(asking(text, *prefixes, timeout=10.0),), read=READERS[form])


def counter_asked_for(text: str) -> CounterQuery:
    """Ask by a command that tells the tries of whatever code is asked for now."""
    commands = (asking("AT+CPIN?", timeout=10.0), asking(text, timeout=10.0))
    return CounterQuery(commands=commands, read=asked_for)


COUNTER_CPINR = counter_by("AT+CPINR", CounterForm.LABELLED, "+CPINR:", "+CPINRE:")
"""Source: TS 27.007 §8.65."""

COUNTER_CPINR_PIN = counter_by('AT+CPINR="SIM PIN"', CounterForm.LABELLED, "+CPINR:")
"""For modems that want to be told which code is meant. Source: TS 27.007 §8.65."""

COUNTER_VERIFY = CounterQuery(
    commands=(
        asking('AT+CSIM=10,"0020000100"', timeout=10.0),
        asking('AT+CSIM=10,"002C000100"', timeout=10.0),
    ),
    read=by_verify,
)
"""An empty VERIFY tells the tries and burns none. Source: ETSI TS 102 221 §11.1.9."""

COUNTER_STATUS = CounterQuery(
    commands=(asking("AT+CRSM=242", timeout=10.0, is_private=True),), read=by_file_status
)
"""What a 2G card says of its master file, where VERIFY is unknown. Source: TS 51.011 §9.2.1."""

STORE_FIRST = ("2,1,0,2,0", "2,1,0,1,0", "1,1,0,2,0", "1,1,0,1,0", "2,1,0,0,0", "1,1,0,0,0")
"""`+CNMI` values, best first: messages stored, so that they outlive our absence; reports too
(ds 2), else direct (ds 1), else none. Mode 1 for modems that list mode 2 and refuse it."""

SHOW_DIRECTLY = ("2,2,0,1,0", "2,2,0,0,0", "1,2,0,1,0", "1,2,0,0,0")
"""For modems without any storage: what comes while we are away is the network's to repeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One family. What is a tuple is tried in order.

    `noise_off`, `card_urcs`, `call_urcs`: each entry of the latter two holds alternatives, of
    which the first that is accepted counts. `card_urcs` are set before the PIN, the rest of the
    URCs after it. `urc_routes`: ways to have unsolicited lines come to *this* port, each of some
    commands; the first that is accepted is taken, the next once announcements were found to be
    missing (an empty one leaves it as it is). `memories`: where messages shall land, best first.
    `ready_signs`: URC heads that say that the card is served. `unlock_pause`: seconds after a PIN
    in which the modem is left alone, or until a ready sign. `csms` 1: each direct delivery waits
    for `+CNMA`. `ussd_packed`: USSD codes are given as packed septets in hexadecimal.
    """

    capabilities: Capabilities
    matches: Callable[[Identity], bool]
    vendor: str = ""
    noise_off: tuple[str, ...] = ()
    iccid: tuple[IccidQuery, ...] = (ICCID_BY_FILE,)
    counters: tuple[CounterQuery, ...] = (COUNTER_CPINR, COUNTER_VERIFY)
    cnmi: tuple[str, ...] = STORE_FIRST
    memories: tuple[str, ...] = ("ME", "SM")
    card_urcs: tuple[tuple[str, ...], ...] = ()
    call_urcs: tuple[tuple[str, ...], ...] = ()
    urc_routes: tuple[tuple[str, ...], ...] = ()
    urcs: Mapping[str, UrcRow] = field(default_factory=dict)
    ready_signs: frozenset[str] = frozenset()
    temperatures: tuple[TemperatureQuery, ...] = ()
    unlock_pause: float = 0.0
    reset: str = "AT+CFUN=1,1"
    csms: int = 0
    cpin_ends_bare: bool = False
    ussd_packed: bool = False
