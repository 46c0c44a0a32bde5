"""The simulator's own SMS codec: what the pretend network reads and writes.

Lengths: `+CMGS=n` counts TPDU octets; a PDU is the service centre's address followed by a TPDU.
Source: TS 23.040 §9.1.2 (addresses), §9.2 (TPDUs); TS 23.038 §4 (data coding).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import StrEnum
from functools import lru_cache
from typing import Final

from simulator import alphabet

_DIGITS = "0123456789*#abc"
_ALPHANUMERIC = 5
_INTERNATIONAL = 0x91
_MAX_OCTETS = 140


class PduError(ValueError):
    """These octets are not the SMS that they claim to be."""


class Coding(StrEnum):
    """How the user data is to be read."""

    GSM7 = "gsm7"
    DATA = "8bit"
    UCS2 = "ucs2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A TP address. `toa` is the type-of-address octet. Source: TS 23.040 §9.1.2.5."""

    text: str
    toa: int
    octets: bytes

    @property
    def number(self) -> str:
        """The number as people write it: `+` where international; a name as it stands."""
        return f"+{self.text}" if self.toa & 0x70 == 0x10 else self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Concat:
    """Where a segment belongs in a longer message."""

    reference: int
    total: int
    sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UserData:
    """TP-UD with what is needed to read it: `length` is TP-UDL, header included."""

    dcs: int
    has_header: bool
    length: int
    octets: bytes

    @property
    def header(self) -> bytes:
        """The information elements, without the header's own length octet."""
        return self.octets[1 : 1 + self.octets[0]] if self.has_header else b""

    @property
    def text(self) -> str | None:
        """The readable text; None for 8-bit data."""
        skip = len(self.header) + 1 if self.has_header else 0
        match coding(self.dcs):
            case Coding.GSM7:
                start = -(-8 * skip // 7)
                septets = alphabet.unpack(
                    self.octets, max(0, self.length - start), skip_bits=start * 7
                )
                return alphabet.from_septets(septets)
            case Coding.UCS2:
                body = self.octets[skip:]
                return body[: len(body) & ~1].decode("utf-16-be", "surrogatepass")
            case Coding.DATA:
                return None

    @property
    def concat(self) -> Concat | None:
        """The concatenation element, 8- or 16-bit; None where absent or senseless."""
        for iei, data in _elements(self.header):
            if iei == 0x00 and len(data) == 3:
                found = Concat(reference=data[0], total=data[1], sequence=data[2])
            elif iei == 0x08 and len(data) == 4:
                reference = int.from_bytes(data[:2], "big")
                found = Concat(reference=reference, total=data[2], sequence=data[3])
            else:
                continue
            return found if 1 <= found.sequence <= found.total else None
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """An SMS-SUBMIT. `validity` as it stands: 0, 1 or 7 octets. Source: TS 23.040 §9.2.2.2."""

    first_octet: int
    mr: int
    destination: Address
    pid: int
    validity: bytes
    data: UserData

    @property
    def wants_report(self) -> bool:
        """TP-SRR."""
        return bool(self.first_octet & 0x20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliver:
    """An SMS-DELIVER. Source: TS 23.040 §9.2.2.1."""

    origin: Address
    pid: int
    scts: datetime
    data: UserData
    report_follows: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """An SMS-STATUS-REPORT on a SUBMIT. Source: TS 23.040 §9.2.2.3."""

    mr: int
    recipient: Address
    scts: datetime
    discharged: datetime
    st: int


def coding(dcs: int) -> Coding:
    """The alphabet that a data coding scheme asks for. Source: TS 23.038 §4."""
    return _CODINGS[dcs]


def message_class(dcs: int) -> int | None:
    """Class 0–3, or None where the scheme names none. Source: TS 23.038 §4."""
    if dcs >> 4 == 0xF or (dcs < 0x80 and dcs & 0x10):
        return dcs & 3
    return None


@lru_cache(maxsize=4096)
def address(number: str) -> Address:
    """Make an address: `+86…` international, digits `*#abc` unknown, else alphanumeric.

    Raises:
        PduError: more than 20 digits, or a name that is too long or not GSM 7-bit.
    """
    digits = number.removeprefix("+")
    if digits and all(char in _DIGITS for char in digits):
        if len(digits) > 20:
            raise PduError("an address has at most 20 digits")
        toa = _INTERNATIONAL if number.startswith("+") else 0x81
        return Address(text=digits, toa=toa, octets=bytes((len(digits), toa)) + _bcd(digits))
    if not alphabet.fits_gsm7(number) or not 1 <= len(septets := alphabet.to_septets(number)) <= 11:
        raise PduError("an alphanumeric address has 1 to 11 GSM characters")
    octets = alphabet.pack(septets)
    length = -(-7 * len(septets) // 4)
    return Address(text=number, toa=0xD0, octets=bytes((length, 0xD0)) + octets)


def split_pdu(pdu: bytes) -> tuple[bytes, bytes]:
    """Cut a PDU into the service centre's address (with its length octet) and the TPDU.

    Raises:
        PduError: the address is longer than the PDU.
    """
    if not pdu or len(pdu) <= 1 + pdu[0]:
        raise PduError("no TPDU behind the service centre's address")
    return pdu[: 1 + pdu[0]], pdu[1 + pdu[0] :]


def service_centre(number: str) -> bytes:
    """The SCA octets of a number, its length octet included. Source: TS 24.011 §8.2.5.2."""
    coded = address(number)
    return bytes((len(coded.octets) - 1,)) + coded.octets[1:]


def decode_submit(tpdu: bytes) -> Submit:
    """Read an SMS-SUBMIT.

    Raises:
        PduError: another TPDU, or octets missing or left over.
    """
    reader = _Reader(tpdu)
    first_octet = reader.octet()
    if first_octet & 3 != 1:
        raise PduError("not an SMS-SUBMIT")
    mr = reader.octet()
    destination = reader.address()
    pid = reader.octet()
    dcs = reader.octet()
    validity = reader.take({0: 0, 2: 1}.get((first_octet >> 3) & 3, 7))
    data = reader.user_data(dcs, has_header=bool(first_octet & 0x40))
    return Submit(
        first_octet=first_octet,
        mr=mr,
        destination=destination,
        pid=pid,
        validity=validity,
        data=data,
    )


def encode_submit(submit: Submit) -> bytes:
    """Write an SMS-SUBMIT."""
    return (
        bytes((submit.first_octet, submit.mr))
        + submit.destination.octets
        + bytes((submit.pid, submit.data.dcs))
        + submit.validity
        + bytes((submit.data.length,))
        + submit.data.octets
    )


def decode_deliver(tpdu: bytes) -> Deliver:
    """Read an SMS-DELIVER.

    Raises:
        PduError: another TPDU, or octets missing or left over.
    """
    reader = _Reader(tpdu)
    first_octet = reader.octet()
    if first_octet & 3 != 0:
        raise PduError("not an SMS-DELIVER")
    origin = reader.address()
    pid = reader.octet()
    dcs = reader.octet()
    scts = reader.timestamp()
    data = reader.user_data(dcs, has_header=bool(first_octet & 0x40))
    return Deliver(
        origin=origin,
        pid=pid,
        scts=scts,
        data=data,
        report_follows=bool(first_octet & 0x20),
    )


def encode_deliver(deliver: Deliver) -> bytes:
    """Write an SMS-DELIVER with "no more messages waiting"."""
    first_octet = 0x04 | 0x20 * deliver.report_follows | 0x40 * deliver.data.has_header
    return (
        bytes((first_octet,))
        + deliver.origin.octets
        + bytes((deliver.pid, deliver.data.dcs))
        + timestamp(deliver.scts)
        + bytes((deliver.data.length,))
        + deliver.data.octets
    )


def decode_status_report(tpdu: bytes) -> StatusReport:
    """Read an SMS-STATUS-REPORT; optional parameters behind TP-ST are not looked at.

    Raises:
        PduError: another TPDU, or octets missing.
    """
    reader = _Reader(tpdu)
    if reader.octet() & 3 != 2:
        raise PduError("not an SMS-STATUS-REPORT")
    return StatusReport(
        mr=reader.octet(),
        recipient=reader.address(),
        scts=reader.timestamp(),
        discharged=reader.timestamp(),
        st=reader.octet(),
    )


def encode_status_report(report: StatusReport) -> bytes:
    """Write an SMS-STATUS-REPORT."""
    return (
        bytes((0x06, report.mr))
        + report.recipient.octets
        + timestamp(report.scts)
        + timestamp(report.discharged)
        + bytes((report.st,))
    )


def segments(text: str, *, reference: int, dcs: int | None = None) -> list[UserData]:
    """Cut a text into segments, GSM 7-bit where it fits, else UCS-2; 8-bit references.

    Raises:
        PduError: more than 255 segments, or no such data coding scheme.
    """
    chosen = dcs if dcs is not None else (0x00 if alphabet.fits_gsm7(text) else 0x08)
    if not 0 <= chosen <= 0xFF:
        raise PduError("a data coding scheme is one octet")
    is_gsm7 = coding(chosen) is Coding.GSM7
    units = [_unit(char, is_gsm7=is_gsm7) for char in text]
    whole = 160 if is_gsm7 else _MAX_OCTETS
    if sum(map(len, units)) <= whole:
        return [_user_data(b"".join(units), chosen, header=b"", is_gsm7=is_gsm7)]
    parts = _fill(units, 153 if is_gsm7 else 134)
    if len(parts) > 255:
        raise PduError("more than 255 segments")
    return [
        _user_data(
            part,
            chosen,
            header=bytes((5, 0, 3, reference & 0xFF, len(parts), sequence)),
            is_gsm7=is_gsm7,
        )
        for sequence, part in enumerate(parts, start=1)
    ]


def segment(text: str, concat: Concat) -> UserData:
    """One segment of a longer text, with an 8-bit reference.

    Raises:
        PduError: the text is too long for one segment.
    """
    is_gsm7 = alphabet.fits_gsm7(text)
    body = b"".join(_unit(char, is_gsm7=is_gsm7) for char in text)
    if len(body) > (153 if is_gsm7 else 134):
        raise PduError("too long for one segment")
    header = bytes((5, 0, 3, concat.reference & 0xFF, concat.total, concat.sequence))
    return _user_data(body, 0x00 if is_gsm7 else 0x08, header=header, is_gsm7=is_gsm7)


def timestamp(moment: datetime) -> bytes:
    """Seven swapped octets with the zone in quarters of an hour. Source: TS 23.040 §9.2.3.11."""
    offset = moment.utcoffset() or timedelta()
    quarters = int(offset.total_seconds()) // 900
    year = moment.year % 100
    fields = (year, moment.month, moment.day, moment.hour, moment.minute, moment.second)
    octets = [_swapped(value) for value in fields]
    octets.append(_swapped(abs(quarters)) | (0x08 if quarters < 0 else 0))
    return bytes(octets)


def moment(octets: bytes) -> datetime:
    """Read seven octets that `timestamp` wrote; the zone is kept.

    Raises:
        PduError: no such time, or octets missing.
    """
    return _Reader(octets).timestamp()


def _coding(dcs: int) -> Coding:
    group = dcs >> 4
    if group < 8:
        choice = (dcs >> 2) & 3
        return {1: Coding.DATA, 2: Coding.UCS2}.get(choice, Coding.GSM7)
    if group == 0xE:
        return Coding.UCS2
    if group == 0xF:
        return Coding.DATA if dcs & 4 else Coding.GSM7
    return Coding.GSM7


# Each octet is looked up, not worked out: a bank at full speed reads tens of thousands a second.
_CODINGS: Final = tuple(map(_coding, range(256)))
_NIBBLES: Final = f"{_DIGITS}F"  # the last one fills the octet of an odd digit
_PAIRS: Final = tuple(_NIBBLES[octet & 0xF] + _NIBBLES[octet >> 4] for octet in range(256))
_OCTETS: Final = {pair: octet for octet, pair in enumerate(_PAIRS)}


class _Reader:
    """Takes fields off the front of a TPDU; running short is a PduError."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    def take(self, count: int) -> bytes:
        """The next `count` octets."""
        taken = self._octets[self._at : self._at + count]
        if len(taken) != count:
            raise PduError("the TPDU ends too early")
        self._at += count
        return taken

    def octet(self) -> int:
        """The next octet."""
        at = self._at
        if at >= len(self._octets):
            raise PduError("the TPDU ends too early")
        self._at = at + 1
        return self._octets[at]

    def address(self) -> Address:
        """The next TP address."""
        length = self.octet()
        if length > 20:
            raise PduError("an address has at most 20 digits")
        toa = self.octet()
        body = self.take((length + 1) // 2)
        octets = bytes((length, toa)) + body
        if (toa >> 4) & 7 == _ALPHANUMERIC:
            text = alphabet.from_septets(alphabet.unpack(body, length * 4 // 7))
            return Address(text=text, toa=toa, octets=octets)
        digits = "".join([_PAIRS[octet] for octet in body])[:length]
        if "F" in digits:
            raise PduError("a filler stands among an address's digits")
        return Address(text=digits, toa=toa, octets=octets)

    def timestamp(self) -> datetime:
        """The next timestamp; its zone is kept."""
        octets = self.take(7)
        year, month, day, hour, minute, second = ((o & 0xF) * 10 + (o >> 4) for o in octets[:6])
        quarters = (octets[6] & 0x7) * 10 + (octets[6] >> 4)
        zone = timezone(timedelta(minutes=15) * (-quarters if octets[6] & 0x08 else quarters))
        try:
            return datetime(2000 + year, month, day, hour, minute, second, tzinfo=zone)
        except ValueError as error:
            raise PduError("no such time") from error

    def user_data(self, dcs: int, *, has_header: bool) -> UserData:
        """TP-UDL and TP-UD, which must end the TPDU."""
        length = self.octet()
        octets = self._octets[self._at :]
        n_octets = -(-7 * length // 8) if coding(dcs) is Coding.GSM7 else length
        if len(octets) != n_octets or n_octets > _MAX_OCTETS:
            raise PduError("TP-UDL does not fit the octets that follow")
        if has_header and (not octets or octets[0] >= len(octets)):
            raise PduError("the header is longer than the user data")
        return UserData(dcs=dcs, has_header=has_header, length=length, octets=octets)


def _elements(header: bytes) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    at = 0
    while at + 2 <= len(header):
        end = at + 2 + header[at + 1]
        found.append((header[at], header[at + 2 : end]))
        at = end
    return found


def _bcd(digits: str) -> bytes:
    padded = f"{digits}F" if len(digits) % 2 else digits
    return bytes([_OCTETS[padded[at : at + 2]] for at in range(0, len(padded), 2)])


def _swapped(value: int) -> int:
    return (value % 10) << 4 | value // 10


def _unit(char: str, *, is_gsm7: bool) -> bytes:
    # The smallest piece that may not be cut: an escape with its letter, a surrogate pair.
    return alphabet.to_septets(char) if is_gsm7 else char.encode("utf-16-be", "surrogatepass")


def _fill(units: list[bytes], capacity: int) -> list[bytes]:
    parts: list[bytearray] = [bytearray()]
    for unit in units:
        if len(parts[-1]) + len(unit) > capacity:
            parts.append(bytearray())
        parts[-1] += unit
    return [bytes(part) for part in parts]


def _user_data(body: bytes, dcs: int, *, header: bytes, is_gsm7: bool) -> UserData:
    if not is_gsm7:
        octets = header + body
        return UserData(dcs=dcs, has_header=bool(header), length=len(octets), octets=octets)
    start = -(-8 * len(header) // 7)
    packed = alphabet.pack(body, fill_bits=start * 7 - 8 * len(header))
    return UserData(
        dcs=dcs,
        has_header=bool(header),
        length=start + len(body),
        octets=header + packed,
    )
