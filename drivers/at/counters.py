"""Tries left for PIN1 and PUK1, out of every form in which modems tell them; pure.

A wrong reading locks cards. So each form names where PIN1 stands, a form that does not fit gives
None, and so does a PIN with more than three tries: then no PIN is tried.
Source: at-dialects §3.3.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias

from drivers.at.values import answer_fields, integer, sim_state
from drivers.interface import PinCounter, SimState

Reader: TypeAlias = Callable[[Sequence[Sequence[str]]], PinCounter | None]
"""(the lines of each command's answer) → tries; None = it does not tell."""

MAX_PIN_TRIES = 3
"""A PIN never has more; what claims more is a PUK's counter. Source: TS 51.011 §11.3.1."""

MAX_PUK_TRIES = 10


class CounterForm(StrEnum):
    """How an answer tells the tries; those with commas name the order of its numbers."""

    PIN1 = "pin1"
    PIN1_PUK1 = "pin1,puk1"
    PUK1_PIN1 = "puk1,pin1"
    PIN1_PUK1_PIN2_PUK2 = "pin1,puk1,pin2,puk2"
    PIN1_PIN2_PUK1_PUK2 = "pin1,pin2,puk1,puk2"
    SPIC = "spic"
    """Four numbers, PIN1 first, in either of SIMCom's orders: told apart by their size."""
    LABELLED = "labelled"
    """A line each: `SIM PIN,3[,3]`."""
    FACILITY = "facility"
    """A line for each facility: `"SC",3,10` (PIN1, PUK1); `"P2"` is another secret's."""
    NAMED = "named"
    """`PIN1=3; PUK1=10; …` in one line."""
    CPIN = "cpin"
    """`<code>,[times],puk1,pin1,puk2,pin2`."""


def tries(pin: int | None, puk: int | None) -> PinCounter | None:
    """The counter, where both can be believed; None where the PIN's cannot."""
    if pin is None or not 0 <= pin <= MAX_PIN_TRIES:
        return None
    return PinCounter(pin=pin, puk=puk if puk is None or 0 <= puk <= MAX_PUK_TRIES else None)


# ---------------------------------------------------------------- answers of one command


def _in_order(*names: str) -> Callable[[Sequence[str]], PinCounter | None]:
    def read(lines: Sequence[str]) -> PinCounter | None:
        numbers = [integer(part) for part in answer_fields(lines[0])]
        if len(numbers) != len(names):
            return None
        told = dict(zip(names, numbers, strict=True))
        return tries(told["pin1"], told.get("puk1"))

    return read


def spic(lines: Sequence[str]) -> PinCounter | None:
    """`+SPIC: …` in both orders: 2G `pin1,pin2,puk1,puk2`, later `pin1,puk1,pin2,puk2`.

    A PUK has up to 10 tries and a PIN never more than 3, so a value above 3 in the second place
    is PUK1; in the third too, where the second is not above 3.
    """
    values = [integer(part) for part in answer_fields(lines[0])]
    if len(values) != 4 or any(value is None or value < 0 for value in values):
        return None
    pin1, second, third, _ = (value or 0 for value in values)
    puks = [value for value in (second, third) if value > MAX_PIN_TRIES]
    return tries(pin1, puks[0] if puks else None)


def labelled(lines: Sequence[str]) -> PinCounter | None:
    """`+CPINR: SIM PIN,3[,3]`, a line each; `+CPINRE` tells others. Source: TS 27.007 §8.65."""
    told: list[tuple[str, int]] = []
    for line in lines:
        parts = answer_fields(line)
        left = integer(parts[1]) if len(parts) > 1 else None
        if left is not None and not line.upper().startswith("+CPINRE:"):
            told.append((parts[0].upper(), left))
    return tries(_told_once(told, "SIM PIN"), _told_once(told, "SIM PUK"))


def _told_once(told: Sequence[tuple[str, int]], name: str) -> int | None:
    """The number of a name; None where two are told: one is another secret's, its name garbled."""
    values = {left for named, left in told if named == name}
    return values.pop() if len(values) == 1 else None


def facility(lines: Sequence[str]) -> PinCounter | None:
    """`+QPINC: "SC",3,10` (PIN, PUK); the `"P2"` line is another secret's."""
    rows = [answer_fields(line) for line in lines]
    told = {tuple(row[1:3]) for row in rows if row[0].upper() == "SC" and len(row) > 1}
    if len(told) != 1:  # of two that differ one is another secret's, its name garbled
        return None
    pin, *puk = (integer(part) for part in told.pop())
    return tries(pin, puk[0] if puk else None)


def named(lines: Sequence[str]) -> PinCounter | None:
    """`PIN1=3; PUK1=10; PIN2=3; PUK2=10`, with a prefix or without."""
    told = [(name.upper(), int(left)) for name, left in _NAMED.findall(lines[0])]
    return tries(_told_once(told, "PIN1"), _told_once(told, "PUK1"))


_NAMED = re.compile(r"(?i)\b(P(?:IN|UK)[12])\s*=\s*([0-9]{1,2})\b")


def cpin(lines: Sequence[str]) -> PinCounter | None:
    """`^CPIN: <code>,[times],<puk>,<pin>,<puk2>,<pin2>`; `times` is empty when READY.

    While PIN1 is asked for, `times` is its counter too: where the two differ, neither is believed.
    """
    parts = answer_fields(lines[0])
    if len(parts) < 6 or (parts[0].upper() == "SIM PIN" and parts[1] not in {"", parts[3]}):
        return None
    return tries(integer(parts[3]), integer(parts[2]))


def _first(read: Callable[[Sequence[str]], PinCounter | None]) -> Reader:
    return lambda answers: read(answers[0])


READERS: Mapping[CounterForm, Reader] = MappingProxyType({
    **{
        form: _first(_in_order(*form.split(",")))
        for form in CounterForm
        if re.fullmatch(r"p(?:in|uk)1(?:,p(?:in|uk)[12])*", form)
    },
    CounterForm.SPIC: _first(spic),
    CounterForm.LABELLED: _first(labelled),
    CounterForm.FACILITY: _first(facility),
    CounterForm.NAMED: _first(named),
    CounterForm.CPIN: _first(cpin),
})  # fmt: skip
"""How each form is read."""


# ---------------------------------------------------------------- answers of two commands


def asked_for(answers: Sequence[Sequence[str]]) -> PinCounter | None:
    """`+CPIN?`, then one number that counts whatever is asked for *now* (`#PCT`, `*EPIN?`).

    Once READY it is PIN2's, whatever PIN1 burns: then it tells nothing.
    """
    state, left = sim_state(answers[0][-1]), _alone(answers[1])
    if state is SimState.PIN:
        return tries(left, None)
    return tries(0, left) if state is SimState.PUK else None


def by_facility(answers: Sequence[Sequence[str]]) -> PinCounter | None:
    """`^SPIC="SC"`, then `^SPIC="SC",1`: a number each, PIN1's and PUK1's.

    The first counts the PUK's tries once the PIN is blocked: equal numbers are the PUK's, and
    tell nothing of the PIN where both could be its.
    """
    pin, puk = _alone(answers[0]), _alone(answers[1])
    if pin is None or puk is None:
        return None
    if pin > MAX_PIN_TRIES:
        return tries(0, puk) if pin == puk else None
    return None if pin == puk else tries(pin, puk)


def by_verify(answers: Sequence[Sequence[str]]) -> PinCounter | None:
    """The answers to an empty VERIFY and an empty UNBLOCK."""
    pin, puk = (verify(lines[0]) for lines in answers)
    return tries(pin, puk)


def by_file_status(answers: Sequence[Sequence[str]]) -> PinCounter | None:
    """`+CRSM: 144,0,"…"` to STATUS: octet 19 tells CHV1, octet 20 its unblocking.

    Bit 8 says that the code is initialised, the low half how many tries are left. A USIM answers
    in another form, which begins with 62. Where octets were lost on the way, PIN2's tries stand
    there: so the whole must be as long as octet 13 says. Source: TS 51.011 §9.2.1.
    """
    parts = answer_fields(answers[0][0])
    if (
        parts[0] != "144"
        or len(parts) < 3
        or re.fullmatch(r"(?i)(?:[0-9a-f]{2})*", parts[2]) is None
    ):
        return None
    octets = bytes.fromhex(parts[2])
    if len(octets) < 20 or octets[0] == 0x62 or not octets[18] & octets[19] & 0x80:
        return None
    if octets[6] not in _FOLDERS or len(octets) != _COUNTED_FROM + octets[12]:
        return None
    return tries(octets[18] & 0x0F, octets[19] & 0x0F)


_FOLDERS = frozenset({0x01, 0x02})
"""Octet 7: the master file, or one of the folders below it. Source: TS 51.011 §9.2.1, §9.3."""

_COUNTED_FROM = 13  # octets up to the length itself, which counts those that follow


def verify(line: str) -> int | None:
    """Tries left in the answer to an empty VERIFY: `+CSIM: 4,"63C3"` → 3.

    The status is the last two octets, whatever some modems put before. Source: ETSI TS 102 221
    §10.2.1, §11.1.9.
    """
    *length, status = answer_fields(line)
    if length == [str(len(status))] and len(status) > 4:
        status = status[-4:]
    status = status.upper()
    if re.fullmatch(r"63C[0-9A-F]", status):
        return int(status[3], 16)
    return 0 if status == "6983" else None


def _alone(lines: Sequence[str]) -> int | None:
    parts = answer_fields(lines[0])
    return integer(parts[0]) if len(parts) == 1 else None
