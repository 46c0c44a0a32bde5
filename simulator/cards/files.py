"""What is stored in a card: its elementary files, octet by octet.

Source: TS 31.102 §4.2 (files), TS 51.011 §9.2.1 (status), §10 (files of 2G cards).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from simulator import alphabet

EF_ICCID: Final = 12258
EF_SMS: Final = 28476
EF_IMSI: Final = 28423
EF_GID1: Final = 28478
EF_GID2: Final = 28479
EF_MSISDN: Final = 28480
EF_SMSP: Final = 28482
EF_SPN: Final = 28486
EF_FPLMN: Final = 28539
EF_AD: Final = 28589
EF_ECC: Final = 28599
MF: Final = 16128

OPEN_FILES: Final = frozenset({EF_ICCID, EF_ECC})
"""Readable before the PIN."""

SMS_RECORD: Final = 176
_ALPHA: Final = 10
_SPN: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What is printed on and stored in a card.

    `iccid` without filler. `provider`: EF_SPN, coded as UCS2 where GSM has not its letters; empty =
    no such file. `stores_number`: EF_MSISDN holds the number, under the name `alpha`. `gid1`,
    `gid2` in hex, empty = no such file. `mnc_length` 0: a very old card, which does not say it.
    `is_usim` false: a card of the 2G days.
    """

    iccid: str
    imsi: str
    number: str
    pin: str
    puk: str
    pin2: str = "2345"
    puk2: str = "23456789"
    provider: str = "CMCC"
    service_centre: str = "+8613800100500"
    mnc_length: int = 2
    stores_number: bool = False
    alpha: str = ""
    gid1: str = ""
    gid2: str = ""
    is_usim: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file's octets; `record` is the length of its records, 0 where it has none."""

    data: bytes
    record: int = 0


def content(card: Subscription, fid: int) -> File | None:
    """A file of the card; None where it has none of that number."""
    make = _FILES.get(fid)
    data = make(card) if make is not None else b""
    if not data:
        return None
    return File(data=data, record=len(data) if fid in _RECORDS else 0)


def status(fid: int, file: File) -> bytes:
    """The answer to GET RESPONSE, in the form of 2G cards, which modems also make of a USIM's.

    Source: TS 51.011 §9.2.1.
    """
    head = b"\x00\x00" + len(file.data).to_bytes(2, "big") + fid.to_bytes(2, "big")
    return head + bytes((4, 0, 0x11, 0, 0xFF, 1, 2, int(file.record > 0), file.record))


def old_status(tries: tuple[int, int, int, int]) -> bytes:
    """The MF's status of a 2G card: octet 19 holds PIN1's tries, then PUK1, PIN2, PUK2."""
    counters = bytes(0x80 | left for left in tries)
    return bytes.fromhex("0000A0003F00010000000000 09 91 02 12 04 00") + counters


def new_status() -> bytes:
    """The MF's status of a USIM: a template without counters. Source: TS 102 221 §11.1.1.3."""
    body = bytes.fromhex("82027821 83023F00 8A0105 8B032F0601 C606 900160 830101")
    return bytes((0x62, len(body))) + body


def swap_nibbles(digits: str) -> bytes:
    """BCD with the low nibble first, as cards keep numbers."""
    return bytes.fromhex("".join(b + a for a, b in zip(digits[::2], digits[1::2], strict=True)))


def _name(text: str, room: int) -> bytes:
    if alphabet.fits_gsm7(text):
        coded = alphabet.to_septets(text)
    else:
        # Source: TS 31.101 annex A: 80, then UCS2.
        coded = b"\x80" + text.encode("utf-16-be")[: (room - 1) & ~1]
    return coded[:room].ljust(room, b"\xff")


def _msisdn(card: Subscription) -> bytes:
    if not card.stores_number:
        # The usual card: a record, and nothing in it.
        return b"\xff" * (_ALPHA + 14)
    # Name, number, capability and extension. Source: TS 31.102 §4.2.26.
    return _name(card.alpha, _ALPHA) + _number(card.number) + b"\xff\xff"


def _parameters(centre: str) -> bytes:
    # Name, indicators (only the service centre present), DA, SCA, PID, DCS, VP. §4.2.27.
    return b"\xff" * _ALPHA + b"\xfd" + b"\xff" * 12 + _number(centre) + b"\xff" * 3


def _number(number: str) -> bytes:
    digits = number.removeprefix("+")
    padded = digits.ljust(len(digits) + len(digits) % 2, "F")
    coded = (b"\x91" if number.startswith("+") else b"\x81") + swap_nibbles(padded)
    return (bytes((len(coded),)) + coded).ljust(12, b"\xff")


def _imsi(card: Subscription) -> bytes:
    # Length, parity, then the digits. Source: TS 31.102 §4.2.2.
    digits = f"{'9' if len(card.imsi) % 2 else '1'}{card.imsi}"
    return b"\x08" + swap_nibbles(digits.ljust(16, "F"))


_RECORDS: Final = frozenset({EF_MSISDN, EF_SMSP})
_FILES: Final[Mapping[int, Callable[[Subscription], bytes]]] = {
    EF_ICCID: lambda card: swap_nibbles(card.iccid.upper().ljust(20, "F")),
    EF_IMSI: _imsi,
    EF_SPN: lambda card: b"\x00" + _name(card.provider, _SPN) if card.provider else b"",
    EF_AD: lambda card: bytes((0, 0, 0, card.mnc_length)[: 4 if card.mnc_length else 3]),
    EF_ECC: lambda _card: bytes.fromhex("11F211F009F1"),
    EF_FPLMN: lambda _card: b"\xff" * 12,
    EF_GID1: lambda card: bytes.fromhex(card.gid1),
    EF_GID2: lambda card: bytes.fromhex(card.gid2),
    EF_MSISDN: _msisdn,
    EF_SMSP: lambda card: _parameters(card.service_centre),
}
