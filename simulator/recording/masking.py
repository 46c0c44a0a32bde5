"""One line of a session, with stand-ins in the place of its secrets; the tables say where they are.

Everything is found by what a field *is*, in a known command or answer. What is not known is masked
but for short numbers and two-letter codes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from simulator.recording import fields, messages
from simulator.recording.fields import Fields, Kind
from simulator.recording.standins import Standins

_START: Final = re.compile(r"AT|at")
_NAME: Final = r"[+^*#$%!_](?![A-Za-z0-9]*\d{4})[A-Za-z][A-Za-z0-9]{0,15}(?![A-Za-z0-9])"
_EXTENDED: Final = re.compile(rf"\s*({_NAME})\s*(=\?|\?|=)?")
_DIAL: Final = re.compile(r"\s*[Dd]")
_BASIC: Final = re.compile(r"\s*([Ss]\d{1,3}|[&\\]?[A-Za-z])(=\?|\?|=)?(\d{0,3})(?!\d)")
_WORD: Final = re.compile(r"\s*[A-Za-z]{3}")  # no basic commands: somebody's text
_SERIAL: Final = re.compile(r"(?i)\b(?:s/?n|fsn|esn|meid|serial)\b")
_TOLD: Final = re.compile(rf"\s*({_NAME}|[A-Za-z][A-Za-z_ /]{{1,23}})\s*:\s?")
_PIECES: Final = re.compile(r"[0-9A-Za-z\x80-\U0010ffff]+")
_RUN: Final = re.compile(r"\d{10,}")
_IDENTITY_RUN: Final = re.compile(
    # A long run, or a shorter one that is no part of a version, a date or a model's name.
    r"\d(?:-?\d){6,}|(?<![0-9A-Za-z_])(?<!\d[./-])\d{4,6}(?![0-9A-Za-z_])(?![./-]\d)"
)
_BANDS: Final = re.compile(r"(?i)\b(?:(?:multi|dual|tri|quad)-?band|e?gsm|dcs|pcs|umts|lte|mhz)")
_BAND: Final = frozenset({"1700", "1800", "1900", "2100", "2300", "2500", "2600"})
_SENTENCE: Final = re.compile(r"(?:\b[A-Za-z']+\W+){4,}[A-Za-z']+\b|\b[a-z]{2,}\b.*\b[a-z]{2,}\b")
_NUMBER: Final = re.compile(r"\+?[0-9*#abcABC]*\d[0-9*#abcABC]*")
_TIME: Final = re.compile(r"\d{2,4}/\d\d/\d\d(?:,\d\d:\d\d:\d\d(?:[+-]\d{1,3})?)?")
_LONG_NUMBER: Final = re.compile(r"\+?\d{7,}")
_LONG_HEX: Final = re.compile(r"[0-9A-Fa-f]{24,}")
_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_UCS2_NUMBER: Final = re.compile(r"(?:00(?:2[ABab3]|3[0-9]))+")
_SECOND: Final = re.compile(
    r"[+^*#$%!_][A-Za-z]{2,}[A-Za-z0-9]* ?[:=?]|[0-9A-Za-z][+^*#$%!][A-Za-z]{2,}"
)
_NAMES: Final = {Kind.PARTY: Kind.NUMBER, Kind.SHORT: Kind.GUARD, Kind.REPLY: Kind.APDU}
_PLANES: Final = (
    (0x000A, 0x000E), (0x0020, 0x007F), (0x00A0, 0x0180), (0x0370, 0x0500), (0x2000, 0x2100),
    (0x3000, 0x3100), (0x4E00, 0xA000), (0xD800, 0xE000), (0xFF00, 0xFFF0),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One command of a line. `name` in upper case; `op` is empty, `=`, `?` or `=?`."""

    name: str
    op: str
    args: str = ""


class Masker:
    """Masks lines with one set of stand-ins; `taken` tells what was found meanwhile.

    As a skeleton it writes the kinds' names in the place of secrets, whatever their shape.
    """

    def __init__(self, standins: Standins, *, is_skeleton: bool = False) -> None:
        self._standins = standins
        self._is_skeleton = is_skeleton
        self._found: set[Kind] = set()

    def taken(self) -> tuple[Kind, ...]:
        """The kinds of secrets found since the last call, in alphabetical order."""
        found, self._found = self._found, set()
        return tuple(sorted(found))

    # ------------------------------------------------------------ whole lines

    def command(self, line: str) -> tuple[str, list[Asked]]:
        """A command line, and its commands; a line without `AT` is masked whole."""
        start = _START.search(line)
        if start is None and line.strip().upper() == "A/":
            return line, []
        if start is None:
            return self.unknown(line), []
        made = [self.unknown(line[: start.start()]), start.group()]
        found: list[Asked] = []
        rest = line[start.end() :]
        while rest:
            piece, asked, rest = self._next(rest)
            made.append(piece)
            if asked is not None:
                found.append(asked)
        return "".join(made), found

    def answer(self, line: str, *, fid: int | None = None, is_sure: bool = True) -> str:
        """A line of the modem that names itself (`+CSQ: …`); what its name promises decides.

        `fid` is the card's file that was asked for; not `is_sure` where it may be a message's text.
        """
        head = _TOLD.match(line)
        assert head is not None
        name = head.group(1).upper().strip()
        args = line[head.end() :]
        known = fields.told(name)
        if not is_sure and known.rest is Kind.KEEP:
            known = fields.UNKNOWN
        elif known is not fields.UNKNOWN and args.startswith("("):
            known = Fields()  # the answer to a test: ranges and words, no values
        return head.group() + self._args(args, known, fid=fid)

    def bare(self, line: str, names: set[str]) -> str:
        """A line that names nothing, while these commands wait for their answer."""
        if _LONG_HEX.fullmatch(line.strip()):
            return self.value(Kind.PDU, line)
        for known, kind in (
            (fields.IMSI_NAMES, Kind.IMSI),
            (fields.IMEI_NAMES, Kind.IMEI),
            (fields.ICCID_NAMES, Kind.ICCID),
            (fields.IDENTITY_NAMES, Kind.IDENTITY),
        ):
            if names & known and (kind is Kind.IDENTITY or any(map(str.isdigit, line))):
                return self.value(kind, line)
        # Half of a quoted value: the other half may be anywhere, and this one short.
        is_half = line.count('"') % 2 == 1
        if is_half or not names:
            return self.unknown(line)
        return self.value(Kind.GUARD, line, quoted=False)

    def payload(self, data: str, *, is_text: bool) -> str:
        """What was typed behind a prompt."""
        core = data.strip()
        if is_text or not _HEX.fullmatch(core):
            return self.value(Kind.TEXT, data)
        self._found.add(Kind.PDU)
        return data.replace(core, self._pdu(core, is_from_host=True))

    def ussd_end(self, line: str) -> str:
        """A further line of a USSD answer that holds a line end; its quote may close in it."""
        text, quote, behind = line.partition('"')
        return self.value(Kind.TEXT, text) + quote + self._args(behind, Fields(rest=Kind.SHORT))

    def unknown(self, line: str) -> str:
        """Masked but for blanks and punctuation."""
        made = self._standins.opaque(line)
        if made != line:
            self._found.add(Kind.GUARD)
        return made

    def value(self, kind: Kind, value: str, *, fid: int | None = None, quoted: bool = True) -> str:
        """One value of this kind."""
        if self._is_skeleton and kind not in {Kind.KEEP, Kind.SHORT}:
            return f"<{kind}>"
        if kind is Kind.FILE:
            made = self._file(value, fid)
        elif kind in {Kind.KEEP, Kind.IDENTITY}:
            made = self._kept(value, kind, quoted=quoted)
        elif kind in {Kind.PARTY, Kind.GUARD, Kind.NUMBER} and not quoted:
            made = self._unquoted(value, kind)
        else:
            made = self._makers[kind](self, value)
        if made != value:
            self._found.add(_NAMES.get(kind, kind))
        return made

    # ------------------------------------------------------------ commands

    def _next(self, rest: str) -> tuple[str, Asked | None, str]:
        """Mask the first command of what is left: its new text, itself, what is left behind it."""
        if rest[0] in "; \t":
            return rest[0], None, rest[1:]
        extended = _EXTENDED.match(rest)
        if extended is not None:
            end = _end(rest, extended.end())
            name, op = extended.group(1).upper(), extended.group(2) or ""
            args = rest[extended.end() : end]
            known = fields.asked(name) if op == "=" else fields.UNKNOWN
            asked = Asked(name=name, op=op, args=args)
            is_half = args.count('"') % 2 == 1  # it may be an echo that was cut within a PIN
            made = self.unknown(args) if is_half else self._args(args, known)
            return extended.group() + made, asked, rest[end:]
        dial = _DIAL.match(rest)
        if dial is not None:
            end = _end(rest, dial.end())
            dialled = self._dialled(rest[dial.end() : end])
            return dial.group() + dialled, Asked(name="D", op=""), rest[end:]
        basic = None if _WORD.match(rest) else _BASIC.match(rest)
        if basic is not None:
            asked = Asked(name=basic.group(1).upper(), op=basic.group(2) or "", args=basic.group(3))
            return basic.group(), asked, rest[basic.end() :]
        return self.unknown(rest), None, ""

    def _dialled(self, text: str) -> str:
        if text.startswith(">"):
            return ">" + self._args(text[1:], Fields(rest=Kind.GUARD))
        kind = Kind.PIN if re.match(r"[TPtp]?\*\*0[45]", text) else Kind.NUMBER
        head = re.match(r"[TPLtpl]?\s*(?:\*\*0[45]2?\*)?", text)
        assert head is not None
        rest = text[head.end() :]
        parts = re.split(r"([*#,;@!wW ]+)", rest)
        return head.group() + "".join(
            self.value(kind, part) if place % 2 == 0 and len(part) > 1 else part
            for place, part in enumerate(parts)
        )

    # ------------------------------------------------------------ parameters

    def _args(self, args: str, known: Fields, *, fid: int | None = None) -> str:
        is_open = args.count('"') % 2 == 1 and Kind.USSD not in known.kinds
        if (is_open and known.rest is not Kind.KEEP) or _SECOND.search(args):
            # A quote is lost, or two lines ran into each other: nothing stands in its place.
            return self.value(Kind.GUARD, args, quoted=False)
        return ",".join(
            self._field(part, known.kind(place), fid) for place, part in enumerate(split(args))
        )

    def _field(self, part: str, kind: Kind, fid: int | None) -> str:
        core = part.strip()
        if not core:
            return part
        lead = part[: part.index(core[0])]
        trail = part[len(lead) + len(core) :]
        if not core.startswith('"'):
            return lead + self.value(kind, core, fid=fid, quoted=False) + trail
        inner, quote, behind = core[1:].partition('"')
        made = self.value(kind, inner, fid=fid) if inner else ""
        return f'{lead}"{made}{quote}{self.unknown(behind)}{trail}'

    def _kept(self, value: str, kind: Kind, *, quoted: bool = False) -> str:
        oddities = (_SECOND, _SENTENCE, _SERIAL) if kind is Kind.IDENTITY else ()
        is_odd = any(oddity.search(value) for oddity in oddities)
        if is_odd or (quoted and _LONG_NUMBER.fullmatch(value)):
            return self._unquoted(value, Kind.GUARD)
        value = _LONG_HEX.sub(lambda match: self._standins.opaque(match.group()), value)

        has_bands = _BANDS.search(value) is not None

        def masked(match: re.Match[str]) -> str:
            if has_bands and match.group() in _BAND:
                return match.group()
            digits = match.group().replace("-", "")
            is_imei = kind is Kind.IDENTITY and 14 <= len(digits) <= 16
            made = self._standins.imei(digits) if is_imei else self._standins.number(digits)
            drawn = iter(made)
            return "".join(char if char == "-" else next(drawn) for char in match.group())

        return (_IDENTITY_RUN if kind is Kind.IDENTITY else _RUN).sub(masked, value)

    def _short(self, value: str) -> str:
        is_plain = value in fields.STATUS_WORDS or _TIME.fullmatch(value)
        return value if is_plain else self._unquoted(value, Kind.GUARD)

    def _unquoted(self, value: str, kind: Kind) -> str:
        if kind is Kind.NUMBER and _NUMBER.fullmatch(value) and len(value) > 3:
            return self._number(value)

        def masked(match: re.Match[str]) -> str:
            piece = match.group()
            if len(piece) <= 2 or (len(piece) <= 3 and piece.isdigit()):
                return piece
            return self._number(piece) if piece.isdigit() else self._standins.opaque(piece)

        return _PIECES.sub(masked, value)

    def _party(self, value: str) -> str:
        if _TIME.fullmatch(value):
            return value
        return self._number(value)

    def _guarded(self, value: str) -> str:
        if len(value) <= 2 and value.isalnum():
            return value
        if _NUMBER.fullmatch(value) or _UCS2_NUMBER.fullmatch(value):
            return self._number(value)
        return self._standins.opaque(value)

    def _number(self, value: str) -> str:
        if _UCS2_NUMBER.fullmatch(value):
            plain = bytes.fromhex(value).decode("utf-16-be")
            return _as_hex(self._standins.number(plain).encode("utf-16-be"), value)
        if _NUMBER.fullmatch(value):
            return self._standins.number(value)
        return self._text(value)

    def _text(self, value: str) -> str:
        octets = _octets_of_ucs2(value)
        if octets is not None:
            return _as_hex(messages.ucs2(octets, self._standins), value)
        return self._standins.opaque(value)

    def _ussd(self, value: str) -> str:
        octets = _octets_of_ucs2(value)
        if octets is not None:
            return _as_hex(messages.ucs2(octets, self._standins), value)
        if _HEX.fullmatch(value) and len(value) >= 4 and not value.isdigit():
            made = messages.packed(bytes.fromhex(value), self._standins)
            return _as_hex(made, value) if made is not None else self._standins.opaque(value)
        return self._standins.text(value)

    def _pin(self, value: str) -> str:
        if not (value.isascii() and value.isdigit()):
            return self._standins.opaque(value)
        return self._standins.digits(Kind.PIN, value)

    def _iccid(self, value: str) -> str:
        if re.search(r"[G-Zg-z]{2}", value):
            return self._standins.opaque(value)
        return re.sub(r"[0-9A-Fa-f]{4,}", lambda hit: self._standins.iccid(hit.group()), value)

    def _imsi(self, value: str) -> str:
        if re.search(r"[A-Za-z]{2}", value):
            return self._standins.opaque(value)
        return re.sub(r"\d{4,}", lambda hit: self._standins.imsi(hit.group()), value)

    def _imei(self, value: str) -> str:
        if re.search(r"[A-Za-z]{3}", value):
            return self._standins.opaque(value)
        made = self._kept(value, Kind.IDENTITY)
        return made if made != value else self._unquoted(value, Kind.GUARD)

    def _tones(self, value: str) -> str:
        return re.sub(r"\d", "0", value)

    def _pdu(self, value: str, *, is_from_host: bool = False) -> str:
        core = value.strip()
        try:
            made = messages.message(bytes.fromhex(core), self._standins, is_from_host=is_from_host)
        except (messages.NotUnderstood, ValueError):
            return self._standins.opaque(value)
        return value.replace(core, _as_hex(made, core))

    def _file(self, value: str, fid: int | None) -> str:
        if not _HEX.fullmatch(value):
            return self._standins.opaque(value)
        made = messages.card_file(
            fid if fid is not None else -1, bytes.fromhex(value), self._standins
        )
        return _as_hex(made, value)

    def _apdu(self, value: str) -> str:
        if not _HEX.fullmatch(value):
            return self._standins.opaque(value)
        return _as_hex(messages.apdu(bytes.fromhex(value), self._standins), value)

    def _reply(self, value: str) -> str:
        if not _HEX.fullmatch(value):
            return self._standins.opaque(value)
        return _as_hex(messages.reply(bytes.fromhex(value), self._standins), value)

    _makers: Final[dict[Kind, Callable[[Masker, str], str]]] = {
        Kind.SHORT: _short,
        Kind.PARTY: _party,
        Kind.GUARD: _guarded,
        Kind.NUMBER: _number,
        Kind.PIN: _pin,
        Kind.IMSI: _imsi,
        Kind.IMEI: _imei,
        Kind.ICCID: _iccid,
        Kind.TEXT: _text,
        Kind.USSD: _ussd,
        Kind.PDU: _pdu,
        Kind.APDU: _apdu,
        Kind.REPLY: _reply,
        Kind.DTMF: _tones,
    }


def name_of(line: str) -> str | None:
    """The name that a line of the modem begins with, in upper case; None where it names nothing."""
    head = _TOLD.match(line)
    if head is None:
        return None
    name = head.group(1).upper().strip()
    if name[0] in {*"+^*#$%!_"}:
        return name
    # "Manufacturer: …" and the like are no names; a name's values are not in small letters.
    is_known = fields.told(name) is not fields.UNKNOWN
    return name if is_known and not re.search("[a-z]{3}", line[head.end() :]) else None


def split(args: str) -> list[str]:
    """Cut parameters at commas outside quotes; quotes stay on."""
    parts: list[str] = [""]
    is_quoted = False
    for char in args:
        if char == "," and not is_quoted:
            parts.append("")
            continue
        is_quoted ^= char == '"'
        parts[-1] += char
    return parts


def _end(text: str, start: int) -> int:
    """Where the command that `start` stands in ends: at a semicolon outside quotes."""
    is_quoted = False
    for place in range(start, len(text)):
        if text[place] == ";" and not is_quoted:
            return place
        is_quoted ^= text[place] == '"'
    return len(text)


def _as_hex(octets: bytes, like: str) -> str:
    made = octets.hex()
    return made if like != like.upper() else made.upper()


def _octets_of_ucs2(value: str) -> bytes | None:
    if len(value) % 4 or not value or not _HEX.fullmatch(value):
        return None
    octets = bytes.fromhex(value)
    units = [high << 8 | low for high, low in zip(octets[::2], octets[1::2], strict=True)]
    plausible = all(any(first <= unit < last for first, last in _PLANES) for unit in units)
    return octets if plausible else None
