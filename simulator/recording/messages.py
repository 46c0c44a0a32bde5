"""Stand-ins inside octets: PDUs, packed USSD, files of the card, APDUs. Lengths never change.

Source: TS 23.040 §9.2 (TPDUs), §9.1.2.5 (addresses); TS 23.038 §4, §6.1.2; TS 51.011 §10 (files).
"""

from __future__ import annotations

from typing import Final

from simulator import alphabet, pdu
from simulator.recording.fields import Kind
from simulator.recording.standins import Standins

_ALPHANUMERIC: Final = 5
_PLAIN_ELEMENTS: Final = frozenset(
    {(0x00, 3), (0x04, 2), (0x05, 4), (0x08, 4), (0x24, 1), (0x25, 1)}
)
"""Elements of a header (with sizes) that say nothing of the text: parts, ports, alphabets."""
_COMPRESSED: Final = 0x20
_EF_ICCID: Final = 12258
_EF_IMSI: Final = 28423
_EF_SMSP: Final = 28482
_EF_NUMBERS: Final = frozenset({28474, 28475, 28480, 28489, 28491})  # ADN FDN MSISDN SDN
_EF_PLAIN: Final = frozenset({28486, 28589, 28599, 28478, 28479, 28539, 28421, 12037, 28472})
_PIN_INSTRUCTIONS: Final = frozenset({0x20, 0x24, 0x26, 0x28, 0x2C})
_CONTROLS: Final = b"\x00\x0a\x0d\x1b"
_SELECT: Final = 0xA4
_STATUS_NIBBLES: Final = frozenset({0x6, 0x9})


class NotUnderstood(ValueError):
    """These octets are not what they should be."""


def message(octets: bytes, standins: Standins, *, is_from_host: bool) -> bytes:
    """A PDU (service centre's address and TPDU) with other numbers and another text.

    Raises:
        NotUnderstood: no TPDU of this direction, or cut.
    """
    try:
        centre, tpdu = pdu.split_pdu(octets)
    except pdu.PduError as error:
        raise NotUnderstood(str(error)) from error
    return _centre(centre, standins) + _tpdu(tpdu, standins, is_from_host=is_from_host)


def _centre(octets: bytes, standins: Standins) -> bytes:
    return octets[:2] + bcd(octets[2:], standins)


def _tpdu(tpdu: bytes, standins: Standins, *, is_from_host: bool) -> bytes:
    walk = _Walk(tpdu, standins)
    first_octet = walk.keep(1)[0]
    match first_octet & 3:
        case 1:  # SUBMIT
            walk.keep(1)
            walk.address()
            walk.keep(1)
            dcs = walk.keep(1)[0]
            _validity(walk, (first_octet >> 3) & 3)
            walk.user_data(dcs, has_header=bool(first_octet & 0x40))
        case 2 if is_from_host:  # COMMAND
            walk.keep(4)
            walk.address()
            walk.data(walk.keep(1)[0])
        case 2:  # STATUS-REPORT
            walk.keep(1)
            walk.address()
            walk.timestamp()
            walk.timestamp()
            walk.keep(1)
            _report_tail(walk, has_header=bool(first_octet & 0x40))
        case _:  # DELIVER, also one that a host stores; the reserved type is read as one
            walk.address()
            walk.keep(1)
            dcs = walk.keep(1)[0]
            walk.timestamp()
            walk.user_data(dcs, has_header=bool(first_octet & 0x40))
    return walk.result()


def _validity(walk: _Walk, form: int) -> None:
    # None, enhanced, relative, absolute. Source: TS 23.040 §9.2.3.3.
    match form:
        case 1:
            walk.data(7)
        case 2:
            walk.keep(1)
        case 3:
            walk.timestamp()


def _report_tail(walk: _Walk, *, has_header: bool) -> None:
    # TP-PI says which of the optional parameters follow. Source: TS 23.040 §9.2.3.27.
    if walk.is_over:
        return
    present = walk.keep(1)[0]
    if present & 1:
        walk.keep(1)
    dcs = walk.keep(1)[0] if present & 2 else 0
    if present & 4:
        walk.user_data(dcs, has_header=has_header)


class _Walk:
    """Copies a TPDU field by field, stand-ins in the place of secrets."""

    def __init__(self, octets: bytes, standins: Standins) -> None:
        self._rest = octets
        self._standins = standins
        self._made = bytearray()

    @property
    def is_over(self) -> bool:
        return not self._rest

    def result(self) -> bytes:
        """What was made; nothing may be left over."""
        if self._rest:
            raise NotUnderstood("octets are left over")
        return bytes(self._made)

    def keep(self, count: int) -> bytes:
        """Copy `count` octets."""
        taken = self._take(count)
        self._made += taken
        return taken

    def timestamp(self) -> None:
        """Copy a timestamp, if it is one; a zero month or day is seen on real networks."""
        octets = self.keep(7)
        digits = swapped(octets[:6])
        limits = (99, 12, 31, 24, 60, 60)
        values = [digits[place : place + 2] for place in range(0, 12, 2)]
        is_time = digits.isdigit() and all(
            int(value) <= limit for value, limit in zip(values, limits, strict=True)
        )
        if not is_time:
            raise NotUnderstood("no such time")

    def data(self, count: int) -> None:
        """Other octets for the next `count`."""
        self._made += self._standins.octets(self._take(count))

    def address(self) -> None:
        """The next TP address."""
        length, toa = self.keep(2)
        if length > 20:
            raise NotUnderstood("an address has at most 20 digits")
        body = self._take((length + 1) // 2)
        if (toa >> 4) & 7 != _ALPHANUMERIC:
            self._made += bcd(body, self._standins)
            return
        septets = alphabet.unpack(body, length * 4 // 7)
        packed = alphabet.pack(self._standins.septets(septets))
        self._made += packed.ljust(len(body), b"\x00")[: len(body)]

    def user_data(self, dcs: int, *, has_header: bool) -> None:
        """TP-UDL and TP-UD, which must end the TPDU."""
        length = self.keep(1)[0]
        is_gsm7 = pdu.coding(dcs) is pdu.Coding.GSM7
        if len(self._rest) != (-(-7 * length // 8) if is_gsm7 else length):
            raise NotUnderstood("TP-UDL does not fit the octets that follow")
        skip = self._header() if has_header else 0
        if dcs < 0x80 and dcs & _COMPRESSED:
            self.data(len(self._rest))
        elif is_gsm7:
            start = -(-8 * skip // 7)
            fill = 7 * start - 8 * skip
            count = max(0, length - start)
            septets = alphabet.unpack(self._rest, count, skip_bits=fill)
            packed = alphabet.pack(self._standins.septets(septets), fill_bits=fill)
            self._made += packed.ljust(len(self._rest), b"\x00")[: len(self._rest)]
            self._rest = b""
        elif pdu.coding(dcs) is pdu.Coding.UCS2 and len(self._rest) % 2 == 0:
            self._made += ucs2(self._rest, self._standins)
            self._rest = b""
        else:
            self.data(len(self._rest))

    def _header(self) -> int:
        """Copy the header; how many octets it has, its length octet included."""
        length = self.keep(1)[0]
        left = length
        while left:
            if left < 2:
                raise NotUnderstood("an element of the header is cut")
            kind, size = self.keep(2)
            left -= 2 + size
            if left < 0:
                raise NotUnderstood("an element is longer than its header")
            if (kind, size) in _PLAIN_ELEMENTS:
                self.keep(size)
            else:
                self.data(size)
        return 1 + length

    def _take(self, count: int) -> bytes:
        taken, self._rest = self._rest[:count], self._rest[count:]
        if len(taken) != count:
            raise NotUnderstood("the TPDU ends too early")
        return taken


def swapped(octets: bytes) -> str:
    """The hex digits of octets, low nibble first."""
    return "".join(f"{octet & 0xF:X}{octet >> 4:X}" for octet in octets)


def _unswapped(digits: str) -> bytes:
    return bytes.fromhex("".join(b + a for a, b in zip(digits[::2], digits[1::2], strict=True)))


def bcd(octets: bytes, standins: Standins) -> bytes:
    """Another number for one in swapped BCD; its filler and `*#abc` stay."""
    digits = swapped(octets)
    core = digits.rstrip("F")
    return _unswapped(standins.number(core) + digits[len(core) :])


def ucs2(octets: bytes, standins: Standins) -> bytes:
    """Another text for one of 16-bit units."""
    text = octets.decode("utf-16-be", "surrogatepass")
    return standins.text(text).encode("utf-16-be", "surrogatepass")


def packed(octets: bytes, standins: Standins) -> bytes | None:
    """Another text for packed septets without a length (USSD); None where they are no text.

    Source: TS 23.038 §6.1.2.3.
    """
    septets = alphabet.unpack(octets, len(octets) * 8 // 7)
    rare = sum(septet < 0x20 and septet not in _CONTROLS for septet in septets)
    if 8 * rare > len(septets):
        return None
    return alphabet.pack(standins.septets(septets)).ljust(len(octets), b"\x00")[: len(octets)]


def card_file(fid: int, octets: bytes, standins: Standins) -> bytes:
    """A file of the card; one that is not known is replaced whole."""
    if fid in _EF_PLAIN:
        return octets
    if fid == _EF_ICCID:
        return _unswapped(standins.iccid(swapped(octets)))
    if fid == _EF_IMSI and len(octets) == 9:
        # Length, then parity and IMSI as nibbles. Source: TS 51.011 §10.3.2.
        digits = swapped(octets[1:])
        core = digits[1:].rstrip("F")
        return octets[:1] + _unswapped(digits[0] + standins.imsi(core).ljust(15, "F"))
    if fid in _EF_NUMBERS and len(octets) >= 14:
        alpha, entry = octets[:-14], octets[-14:]
        made = entry[:2] + bcd(entry[2:12], standins) + entry[12:]
        return _alpha(alpha, standins) + made
    if fid == _EF_SMSP and len(octets) >= 28:
        return _parameters(octets, standins)
    return standins.octets(octets)


def _parameters(octets: bytes, standins: Standins) -> bytes:
    # Alpha, indicators, destination, centre, PID, DCS, validity. Source: TS 51.011 §10.5.6.
    alpha, rest = octets[:-28], octets[-28:]
    addresses = (rest[1:13], rest[13:25])
    made = b"".join(part[:2] + bcd(part[2:], standins) for part in addresses)
    return _alpha(alpha, standins) + rest[:1] + made + rest[25:]


def _alpha(octets: bytes, standins: Standins) -> bytes:
    core = octets.rstrip(b"\xff")
    return standins.octets(core) + octets[len(core) :]


def apdu(octets: bytes, standins: Standins) -> bytes:
    """A command to the card, its data replaced; whole where its lengths do not fit.

    A selection stays: it names files. A PIN's digits stay digits. Source: TS 51.011 §9.2.
    """
    if len(octets) < 5 or octets[0] & 0x7C not in {0x00, 0x20}:
        return standins.octets(octets)
    head, data = octets[:5], octets[5:]
    if not data:  # the fifth octet says how much is asked for
        return octets
    size = head[4]
    data, expected = data[:size], data[size:]
    if len(data) != size or len(expected) > 1:
        return standins.octets(octets)
    if head[1] == _SELECT:
        return octets
    if head[1] in _PIN_INSTRUCTIONS:
        made = standins.digits(Kind.PIN, data.decode("latin-1")).encode("latin-1")
        return head + made + expected
    return head + standins.octets(data) + expected


def reply(octets: bytes, standins: Standins) -> bytes:
    """The card's answer to an APDU: all is replaced but its status word.

    Source: TS 51.011 §9.4 (status words).
    """
    has_status = len(octets) >= 2 and octets[-2] >> 4 in _STATUS_NIBBLES
    cut = len(octets) - 2 if has_status else len(octets)
    return standins.octets(octets[:cut]) + octets[cut:]
