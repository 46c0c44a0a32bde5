"""User data with its header: elements, text, octets. Source: TS 23.040 §9.2.3.24."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from modemctl.sms.alphabet import Alphabet, Unencodable, decode_gsm7, encode_gsm7, pack, unpack
from modemctl.sms.coding import Encoding
from modemctl.sms.fields import MalformedTpdu

MAX_OCTETS: Final = 140
MAX_SEPTETS: Final = 160

_IEI_CONCAT_8: Final = 0x00
_IEI_PORTS_8: Final = 0x04
_IEI_PORTS_16: Final = 0x05
_IEI_CONCAT_16: Final = 0x08
_IEI_SINGLE_SHIFT: Final = 0x24
_IEI_LOCKING_SHIFT: Final = 0x25


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """One information element as it stands in the header. Source: TS 23.040 §9.2.3.24."""

    iei: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Concat:
    """This segment's place: `sequence` of `total` under `reference` (16 bits if `is_wide`)."""

    reference: int
    total: int
    sequence: int
    is_wide: bool = False

    @property
    def element(self) -> Element:
        """The element that says so.

        Raises:
            Unencodable: a value outside its octets, or `sequence` outside 1…total.
        """
        width = 2 if self.is_wide else 1
        if not 0 <= self.reference < 1 << 8 * width:
            raise Unencodable(f"a concatenation reference has {8 * width} bits")
        if not 1 <= self.sequence <= self.total <= 255:
            raise Unencodable("a message has 1 to 255 segments, numbered from 1")
        data = self.reference.to_bytes(width, "big") + bytes((self.total, self.sequence))
        return Element(iei=_IEI_CONCAT_16 if self.is_wide else _IEI_CONCAT_8, data=data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Application ports; 8 or 16 bits on the wire."""

    destination: int
    source: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UserData:
    """What a message carries: text, or octets where the alphabet is 8-bit or it is compressed.

    `ucs2` holds the octets of a decoded UCS-2 text, so that a character that its sender cut in
    two can be joined again. Contents are kept out of `repr`, so that they do not end in a log.
    """

    text: str | None = field(default=None, repr=False)
    data: bytes = field(default=b"", repr=False)
    header: tuple[Element, ...] = ()
    ucs2: bytes = field(default=b"", repr=False, compare=False)

    @property
    def concat(self) -> Concat | None:
        """The place in a longer message; None for a single one and for impossible numbers.

        Of several elements the last one holds. Source: TS 23.040 §9.2.3.24.1, §9.2.3.24.8.
        """
        for element in reversed(self.header):
            is_wide = element.iei == _IEI_CONCAT_16
            if not is_wide and element.iei != _IEI_CONCAT_8:
                continue
            if len(element.data) != 3 + is_wide:
                continue
            *reference, total, sequence = element.data
            if 1 <= sequence <= total:
                return Concat(
                    reference=int.from_bytes(reference, "big"),
                    total=total,
                    sequence=sequence,
                    is_wide=is_wide,
                )
        return None

    @property
    def ports(self) -> Ports | None:
        """The ports it is meant for. Source: TS 23.040 §9.2.3.24.3, §9.2.3.24.4."""
        for element in reversed(self.header):
            width = {_IEI_PORTS_8: 1, _IEI_PORTS_16: 2}.get(element.iei, 0)
            if width and len(element.data) == 2 * width:
                return Ports(
                    destination=int.from_bytes(element.data[:width], "big"),
                    source=int.from_bytes(element.data[width:], "big"),
                )
        return None


def _shift(header: tuple[Element, ...], iei: int) -> int:
    for element in reversed(header):
        if element.iei == iei and len(element.data) == 1:
            return element.data[0]
    return 0


def _header_octets(header: tuple[Element, ...]) -> bytes:
    if not header:
        return b""
    body = b"".join(bytes((e.iei, len(e.data))) + e.data for e in header)
    if len(body) >= MAX_OCTETS:
        raise Unencodable("the user data header is too long")
    return bytes((len(body),)) + body


def encode_user_data(content: UserData, encoding: Encoding) -> bytes:
    """TP-UDL and TP-UD.

    Raises:
        Unencodable: text that the alphabet lacks, text where octets are due or the other way
            round, or more than 140 octets.
    Source: TS 23.040 §9.2.3.16, §9.2.3.24.
    """
    head = _header_octets(content.header)
    is_octets = encoding.is_compressed or encoding.alphabet is Alphabet.EIGHT_BIT
    if is_octets == (content.text is not None) or (not is_octets and content.data):
        raise Unencodable("text needs a text alphabet, octets need the 8-bit one")
    if content.text is None:
        body = content.data
    elif encoding.alphabet is Alphabet.UCS2:
        body = encode_ucs2(content.text)
    else:
        return _encode_septets(content.text, content.header, head)
    if len(head) + len(body) > MAX_OCTETS:
        raise Unencodable(f"user data has at most {MAX_OCTETS} octets")
    return bytes((len(head) + len(body),)) + head + body


def _encode_septets(text: str, header: tuple[Element, ...], head: bytes) -> bytes:
    septets = encode_gsm7(
        text,
        locking=_shift(header, _IEI_LOCKING_SHIFT),
        single_shift=_shift(header, _IEI_SINGLE_SHIFT),
    )
    n_head_septets = (8 * len(head) + 6) // 7
    udl = n_head_septets + len(septets)
    if udl > MAX_SEPTETS:
        raise Unencodable(f"user data has at most {MAX_SEPTETS} septets")
    fill_bits = 7 * n_head_septets - 8 * len(head)
    return bytes((udl,)) + head + pack(septets, fill_bits=fill_bits)


def encode_ucs2(text: str) -> bytes:
    """UTF-16 big-endian: what phones take for UCS-2.

    Raises:
        Unencodable: half of a surrogate pair stands alone.
    """
    try:
        return text.encode("utf-16-be")
    except UnicodeEncodeError:
        raise Unencodable("half of a surrogate pair stands alone") from None


def decode_ucs2(octets: bytes) -> str:
    """UTF-16 big-endian; half a pair or a dangling octet shows as U+FFFD. Never fails."""
    return octets.decode("utf-16-be", errors="replace")


def decode_user_data(udl: int, octets: bytes, *, encoding: Encoding, has_header: bool) -> UserData:
    """Read TP-UD; TP-UDL bounds it, whatever follows is not ours.

    Raises:
        MalformedTpdu: fewer octets than TP-UDL says, more than 140, or a header longer than them.
    Source: TS 23.040 §9.2.3.16, §9.2.3.24.
    """
    is_septets = encoding.alphabet is Alphabet.GSM7 and not encoding.is_compressed
    n_octets = (7 * udl + 7) // 8 if is_septets else udl
    if n_octets > MAX_OCTETS:
        raise MalformedTpdu(f"user data longer than {MAX_OCTETS} octets")
    if len(octets) < n_octets:
        raise MalformedTpdu("cut short in the user data")
    octets = octets[:n_octets]
    n_head = 0
    header: tuple[Element, ...] = ()
    if has_header:
        n_head = 1 + (octets[0] if octets else MAX_OCTETS)
        if n_head > n_octets:
            raise MalformedTpdu("the user data header is longer than the user data")
        header = _decode_header(octets[1:n_head])
    if is_septets:
        return _decode_septets(udl, octets, n_head, header)
    body = octets[n_head:]
    if encoding.alphabet is Alphabet.UCS2 and not encoding.is_compressed:
        return UserData(text=decode_ucs2(body), header=header, ucs2=body)
    return UserData(data=body, header=header)


def _decode_septets(udl: int, octets: bytes, n_head: int, header: tuple[Element, ...]) -> UserData:
    n_head_septets = (8 * n_head + 6) // 7
    n_septets = udl - n_head_septets
    if n_septets < 0:
        raise MalformedTpdu("the user data header is longer than the user data")
    fill_bits = 7 * n_head_septets - 8 * n_head
    text = decode_gsm7(
        unpack(octets[n_head:], n_septets, fill_bits=fill_bits),
        locking=_shift(header, _IEI_LOCKING_SHIFT),
        single_shift=_shift(header, _IEI_SINGLE_SHIFT),
    )
    return UserData(text=text, header=header)


def _decode_header(octets: bytes) -> tuple[Element, ...]:
    """The elements; none at all where the last one does not end with the header.

    Source: TS 23.040 §9.2.3.24: such a header is ignored as a whole.
    """
    elements: list[Element] = []
    position = 0
    while position < len(octets):
        data_start = position + 2
        if data_start > len(octets):
            return ()
        iei, n_octets = octets[position:data_start]
        position = data_start + n_octets
        if position > len(octets):
            return ()
        elements.append(Element(iei=iei, data=octets[data_start:position]))
    return tuple(elements)
