"""How many tries a PIN has left: every vendor's command, none of which costs a try.

Source: at-dialects §3.3 (manuals, ModemManager, ofono); TS 102 221 §11.1.9 (empty VERIFY).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from simulator.conformance.reply import Reply

Ask: TypeAlias = Callable[[str], Reply]
_Parse: TypeAlias = Callable[[Reply, str], "tuple[int, int | None, str] | None"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One command that tells. `form` says what stands where, as a persona file writes it."""

    command: str
    pin: int
    puk: int | None
    form: str


def read_all(ask: Ask, *, pin_state: str) -> list[Way]:
    """What each command that the modem knows says, the standard's first."""
    found: list[Way] = []
    for command, parse in _WAYS:
        reply = ask(f"AT{command}")
        # `=?` of an unknown command may be a bare OK.
        told = parse(reply, pin_state) if reply.is_ok and reply.lines else None
        if told is not None:
            pin, puk, form = told
            found.append(Way(command=command, pin=pin, puk=puk, form=form))
    return found


def fewest(ask: Ask) -> int | None:
    """Tries that a card that asks for its PIN has left: the least that any way says."""
    told = [way.pin for way in read_all(ask, pin_state="SIM PIN")]
    by_card = of_status_word(status_word(ask('AT+CSIM=10,"0020000100"')) or "")
    return min([*told, *([] if by_card is None else [by_card])], default=None)


def form_of(command: str, reply: Reply) -> str:
    """What stands where in the answer to one of these commands; empty where it is none of them."""
    parse = dict(_WAYS).get(command)
    told = parse(reply, "SIM PIN") if parse is not None else None
    return told[2] if told is not None else ""


def status_word(reply: Reply) -> str | None:
    """The last two octets of a card's answer to `+CSIM`."""
    match = re.fullmatch(r'\d+, ?"?([0-9A-Fa-f]*)"?', reply.value("+CSIM") or "")
    return match.group(1)[-4:].upper() if match and len(match.group(1)) >= 4 else None


def of_status_word(word: str) -> int | None:
    """Tries left by a status word; None where it does not tell. Source: TS 102 221 §10.2.1.5."""
    if word.startswith("63C"):
        return int(word[3], 16)
    return 0 if word == "6983" else None


def is_good_crsm(value: str) -> bool:
    """Whether `sw1,sw2,"…"` tells of success. Source: TS 102 221 §10.2.1.1."""
    parts = value.split(",")
    has_data = len(parts) > 2 and parts[2].strip('" ') != ""
    return parts[0].strip() in {"144", "145", "146", "159"} and has_data


def _numbers(value: str | None) -> list[int]:
    return [int(text) for text in re.findall(r"-?\d+", value or "")]


def _fields(name: str, pin: int, puk: int | None, form: str) -> _Parse:
    """A parser for one line whose fields hold the counters at fixed places."""

    def parse(reply: Reply, _state: str) -> tuple[int, int | None, str] | None:
        values = _numbers(reply.value(name))
        if len(values) <= max(pin, puk or 0):
            return None
        return values[pin], values[puk] if puk is not None else None, form

    return parse


def _cpinr(reply: Reply, _state: str) -> tuple[int, int | None, str] | None:
    left: dict[str, int] = {}
    for value in reply.values("+CPINR"):
        name, _, numbers = value.partition(",")
        if found := _numbers(numbers):
            left[name.strip('" ')] = found[0]
    if "SIM PIN" not in left:
        return None
    return left["SIM PIN"], left.get("SIM PUK"), "name,tries,most"


def _huawei(reply: Reply, _state: str) -> tuple[int, int | None, str] | None:
    value = reply.value("^CPIN")
    fields = value.split(",") if value else []
    if len(fields) < 4 or not fields[3].strip().isdigit():
        return None
    return int(fields[3]), int(fields[2]), "state,asked,puk,pin,puk2,pin2"


def _quectel(reply: Reply, _state: str) -> tuple[int, int | None, str] | None:
    for value in reply.values("+QPINC"):
        numbers = _numbers(value)
        if '"SC"' in value and len(numbers) >= 2:
            return numbers[0], numbers[1], "pin,puk"
    return None


def _simcom(reply: Reply, _state: str) -> tuple[int, int | None, str] | None:
    values = _numbers(reply.value("+SPIC"))
    if len(values) < 4:
        return None
    # Two orders are about; a PUK has up to ten tries, a PIN three.
    if values[1] > 3:
        return values[0], values[1], "pin,puk,pin2,puk2"
    return values[0], values[2], "pin,pin2,puk,puk2"


def _telit(reply: Reply, state: str) -> tuple[int, int | None, str] | None:
    values = _numbers(reply.value("#PCT"))
    # It counts for the code that is asked for now; once READY it means nothing.
    return (values[0], None, "asked") if values and state == "SIM PIN" else None


def _cinterion(reply: Reply, _state: str) -> tuple[int, int | None, str] | None:
    values = _numbers(reply.value("^SPIC"))
    return (values[0], None, "pin") if values else None


def _speedup(reply: Reply, _state: str) -> tuple[int, int | None, str] | None:
    match = re.search(r"PIN1=(\d+);\s*PUK1=(\d+)", " ".join(reply.lines))
    return (int(match.group(1)), int(match.group(2)), "PIN1=,PUK1=") if match else None


_FOUR: Final = "pin,pin2,puk,puk2"
_WAYS: Final[tuple[tuple[str, _Parse], ...]] = (
    ("+CPINR", _cpinr),
    ("^CPIN?", _huawei),
    ("+QPINC?", _quectel),
    ("+SPIC", _simcom),
    ("+ZPINPUK=?", _fields("+ZPINPUK", 0, 1, "pin,puk")),
    ("#PCT", _telit),
    ("+UPINCNT", _fields("+UPINCNT", 0, 2, _FOUR)),
    ("+CPINC?", _fields("+CPINC", 0, 2, _FOUR)),
    ('^SPIC="SC"', _cinterion),
    ("+QTRPIN", _fields("+QTRPIN", 0, 2, _FOUR)),
    ("+CPNNUM", _speedup),
    ("%PINNUM?", _fields("%PINNUM", 0, 1, "pin,puk,pin2,puk2")),
    ("+XPINCNT", _fields("+XPINCNT", 0, 2, _FOUR)),
    ("_OERCN?", _fields("_OERCN", 0, 1, "pin,puk")),
)
