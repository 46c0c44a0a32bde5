"""Fields that several TPDUs share: addresses, times, validity periods. Source: TS 23.040 §9.1.2."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from typing import Final

from modemctl.sms.alphabet import Unencodable, decode_gsm7, encode_gsm7, pack, unpack

TON_UNKNOWN: Final = 0
TON_INTERNATIONAL: Final = 1
TON_ALPHANUMERIC: Final = 5
NPI_E164: Final = 1

MIN_VALIDITY: Final = timedelta(minutes=5)
MAX_VALIDITY: Final = timedelta(weeks=63)

_MAX_DIGITS: Final = 20
_DIALLABLE: Final = re.compile(r"\+?[0-9*#abc]+")
_DIGITS: Final = "0123456789*#abcf"
_DIGIT_PAIRS: Final = tuple(_DIGITS[octet & 0x0F] + _DIGITS[octet >> 4] for octet in range(256))
_DIGIT_VALUES: Final = {char: value for value, char in enumerate(_DIGITS)}
_NOT_BCD: Final = 255
_BCD: Final = bytes(
    (octet & 0x0F) * 10 + (octet >> 4) if octet & 0x0F < 10 and octet >> 4 < 10 else _NOT_BCD
    for octet in range(256)
)
# Two digits of a year: 90…99 are the nineties (GSM's first years), the rest is this century.
_CENTURY_PIVOT: Final = 90


class MalformedTpdu(ValueError):
    """The octets are no TPDU of the expected kind; the reason names no content of the message."""


class Reader:
    """Takes octets from the front; running out of them is `MalformedTpdu`, naming the field."""

    __slots__ = ("_octets", "_position")

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._position = 0

    @property
    def has_more(self) -> bool:
        """True while octets are left."""
        return self._position < len(self._octets)

    def take(self, n_octets: int, what: str) -> bytes:
        """The next `n_octets` octets."""
        end = self._position + n_octets
        if end > len(self._octets):
            raise MalformedTpdu(f"cut short in {what}")
        taken = self._octets[self._position : end]
        self._position = end
        return taken

    def rest(self) -> bytes:
        """All octets that are left."""
        taken = self._octets[self._position :]
        self._position = len(self._octets)
        return taken

    def octet(self, what: str) -> int:
        """The next octet's value."""
        return self.take(1, what)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A party's number or name: digits of `0-9*#abc`, or text where `ton` is alphanumeric.

    `number` carries no `+`; `ton` and `npi` as in TS 23.040 §9.1.2.5. The number is kept out of
    `repr`, so that it does not end in a log.
    """

    number: str = field(repr=False)
    ton: int = TON_UNKNOWN
    npi: int = NPI_E164

    @classmethod
    def dialled(cls, text: str) -> Address:
        """An address from what one dials: digits, `*#abc`, a leading `+` for international.

        Raises:
            Unencodable: other characters, no digit, or more than 20 digits.
        """
        if not _DIALLABLE.fullmatch(text):
            raise Unencodable("a number has digits and *#abc only, after an optional +")
        number = text.removeprefix("+")
        if len(number) > _MAX_DIGITS:
            raise Unencodable(f"a number has at most {_MAX_DIGITS} digits")
        return cls(number=number, ton=TON_INTERNATIONAL if text[0] == "+" else TON_UNKNOWN)

    @property
    def is_alphanumeric(self) -> bool:
        """True where `number` is a name; one cannot reply to it."""
        return self.ton == TON_ALPHANUMERIC

    @property
    def text(self) -> str:
        """As a person writes it: `+` before an international number."""
        return f"+{self.number}" if self.ton == TON_INTERNATIONAL else self.number


def encode_address(address: Address) -> bytes:
    """Length in semi-octets, type, value.

    Raises:
        Unencodable: no such digit, empty, more than 20 semi-octets, or ton/npi out of range.
    Source: TS 23.040 §9.1.2.5.
    """
    if not (0 <= address.ton <= 7 and 0 <= address.npi <= 15):
        raise Unencodable("type of number is 0…7, numbering plan 0…15")
    toa = 0x80 | address.ton << 4 | address.npi
    if address.is_alphanumeric:
        septets = encode_gsm7(address.number)
        n_semi_octets = (7 * len(septets) + 3) // 4
        value = pack(septets)
    else:
        n_semi_octets = len(address.number)
        try:
            nibbles = [_DIGIT_VALUES[char] for char in address.number if char != "f"]
        except KeyError:
            raise Unencodable("a number has digits and *#abc only") from None
        if len(nibbles) != n_semi_octets:
            raise Unencodable("a number has digits and *#abc only")
        nibbles += [0x0F] * (n_semi_octets % 2)
        value = bytes(
            low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True)
        )
    if not 0 < n_semi_octets <= _MAX_DIGITS:
        raise Unencodable(f"an address has 1 to {_MAX_DIGITS} semi-octets")
    return bytes((n_semi_octets, toa)) + value


def read_address(reader: Reader, what: str) -> Address:
    """Read one address; filler semi-octets inside a number are left out.

    Raises:
        MalformedTpdu: cut short, or longer than 20 semi-octets.
    """
    n_semi_octets = reader.octet(what)
    if n_semi_octets > _MAX_DIGITS:
        raise MalformedTpdu(f"{what} longer than {_MAX_DIGITS} semi-octets")
    toa = reader.octet(what)
    value = reader.take((n_semi_octets + 1) // 2, what)
    ton, npi = toa >> 4 & 7, toa & 0x0F
    if ton != TON_ALPHANUMERIC:
        digits = "".join([_DIGIT_PAIRS[octet] for octet in value])[:n_semi_octets]
        return Address(number=digits.replace("f", ""), ton=ton, npi=npi)
    septets = unpack(value, n_semi_octets * 4 // 7)
    # 7 letters take 13 semi-octets; a centre that rounds up to 14 seems to send 8 with an @.
    if n_semi_octets == 14 and septets[-1] == 0:
        septets = septets[:-1]
    return Address(number=decode_gsm7(septets), ton=ton, npi=npi)


@cache
def _zone(quarters: int) -> timezone:
    return timezone(timedelta(minutes=15 * quarters)) if quarters else UTC


def decode_time(octets: bytes) -> datetime | None:
    """Seven octets as an aware time with the sender's own offset; None where they are no time.

    Source: TS 23.040 §9.2.3.11.
    """
    year, month, day, hour, minute, second = octets[:6].translate(_BCD)
    zone, units = octets[6], octets[6] >> 4
    if year == _NOT_BCD or units > 9:
        return None
    quarters = (zone & 0x07) * 10 + units
    century = 1900 if year >= _CENTURY_PIVOT else 2000
    try:
        return datetime(
            century + year,
            month,
            day,
            hour,
            minute,
            second,
            tzinfo=_zone(-quarters if zone & 0x08 else quarters),
        )
    except ValueError:
        return None


def encode_time(moment: datetime) -> bytes:
    """An aware time as seven octets; an offset that the field cannot hold becomes UTC.

    Raises:
        Unencodable: no offset, or a year outside 1990…2089.
    Source: TS 23.040 §9.2.3.11.
    """
    offset = moment.utcoffset()
    if offset is None:
        raise Unencodable("a time needs its offset")
    quarters, rest = divmod(abs(offset), timedelta(minutes=15))
    if rest or quarters > 79:
        moment, quarters, offset = moment.astimezone(UTC), 0, timedelta(0)
    if not 1900 + _CENTURY_PIVOT <= moment.year < 2000 + _CENTURY_PIVOT:
        raise Unencodable("a time lies between 1990 and 2089")
    values = (moment.year % 100, moment.month, moment.day, moment.hour, moment.minute)
    swapped = [value // 10 | value % 10 << 4 for value in (*values, moment.second, quarters)]
    swapped[6] |= 0x08 if offset < timedelta(0) else 0
    return bytes(swapped)


def decode_relative(octet: int) -> timedelta:
    """The relative validity period that `octet` means. Source: TS 23.040 §9.2.3.12.1."""
    if octet <= 143:
        return timedelta(minutes=5) * (octet + 1)
    if octet <= 167:
        return timedelta(hours=12) + timedelta(minutes=30) * (octet - 143)
    if octet <= 196:
        return timedelta(days=octet - 166)
    return timedelta(weeks=octet - 192)


def encode_relative(validity: timedelta) -> int:
    """The longest relative period that does not outlast `validity`, within 5 min … 63 weeks.

    Raises:
        Unencodable: `validity` is not positive.
    Source: TS 23.040 §9.2.3.12.1.
    """
    if validity <= timedelta(0):
        raise Unencodable("a validity period is positive")
    validity = min(max(validity, MIN_VALIDITY), MAX_VALIDITY)
    if validity >= timedelta(weeks=5):
        return 192 + validity // timedelta(weeks=1)
    if validity >= timedelta(days=2):
        return 166 + min(validity // timedelta(days=1), 30)
    if validity >= timedelta(hours=12, minutes=30):
        half_hours = (validity - timedelta(hours=12)) // timedelta(minutes=30)
        return 143 + min(half_hours, 24)
    return min(validity // timedelta(minutes=5), 144) - 1


def decode_enhanced(octets: bytes) -> timedelta | None:
    """The period of seven octets in enhanced format; None where none is given or it is reserved.

    Source: TS 23.040 §9.2.3.12.3.
    """
    match octets[0] & 0x07:
        case 1:
            return decode_relative(octets[1])
        case 2:
            return timedelta(seconds=octets[1])
        case 3:
            hours, minutes, seconds = octets[1:4].translate(_BCD)
            if _NOT_BCD in (hours, minutes, seconds):
                return None
            return timedelta(hours=hours, minutes=minutes, seconds=seconds)
        case _:
            return None
