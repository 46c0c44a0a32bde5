"""Answer lines to values; pure. A line that cannot be read raises `ProtocolError`, or is None.

Each parser bears the variants that real firmware was seen to send; the vectors of
`tests/vectors/at` say which.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from drivers.at.command import Bare, fits_bare
from drivers.errors import ProtocolError
from drivers.interface import CurrentCall, Registration, SimState

# ---------------------------------------------------------------- fields


def arguments(line: str) -> str:
    """What follows the prefix: `+CSQ: 20,99` → `20,99`. A line without a colon is all argument."""
    head, colon, rest = line.partition(":")
    return rest.strip() if colon and _NAME.fullmatch(head.strip()) else line.strip()


def fields(text: str) -> list[str]:
    """Split at commas outside quotes; quotes and outer blanks are removed."""
    parts: list[str] = []
    current: list[str] = []
    is_quoted = False
    for character in text:
        if character == '"':
            is_quoted = not is_quoted
        elif character == "," and not is_quoted:
            parts.append("".join(current).strip())
            current = []
        else:
            current.append(character)
    parts.append("".join(current).strip())
    return parts


def answer_fields(line: str) -> list[str]:
    """The fields of an answer line, without its prefix."""
    return fields(arguments(line))


def integer(text: str) -> int | None:
    """A decimal number, perhaps zero-padded; None for anything else."""
    return int(text) if _INTEGER.fullmatch(text) else None


_NAME = re.compile(r"[+^*#$%!_]?[A-Za-z][A-Za-z0-9_ ]*")
_INTEGER = re.compile(r"-?[0-9]{1,9}")

# ---------------------------------------------------------------- identity


def imei(lines: Sequence[str]) -> str:
    """The IMEI: 15 digits. An IMEISV (16) loses its version, a 14-digit one gains its Luhn digit.

    Source: TS 27.007 §5.4, TS 23.003 §6.2.
    """
    for line in lines:
        for item in re.split(r"[\s,:\"]+", line):
            if re.fullmatch(r"[0-9]{15}", item):
                return item
            if re.fullmatch(r"[0-9]{14}|[0-9]{16}", item):
                return item[:14] + luhn_digit(item[:14])
    raise ProtocolError("no IMEI in the answer", "|".join(lines))


def serial_number(lines: Sequence[str]) -> str:
    """The IMEI, or the serial number that a maker tells in its place: a word with six digits.

    Source: TS 27.007 §5.4, which leaves the text to the manufacturer.
    """
    try:
        return imei(lines)
    except ProtocolError:
        words = [line.strip('" ') for line in lines]
        found = next((word for word in words if fits_bare(Bare.SERIAL, word)), None)
        if found is None:
            raise
        return found


def luhn_digit(digits: str) -> str:
    """The check digit that belongs behind `digits`. Source: TS 23.003 annex B."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value // 10 + value % 10
    return str(-total % 10)


def text_answer(lines: Sequence[str]) -> str:
    """Manufacturer, model or revision: the first line without prefix and quotes."""
    for line in lines:
        value = arguments(line) if line.startswith("+") else line
        value = value.strip('" ')
        if value:
            return value
    raise ProtocolError("empty identity", "|".join(lines))


def own_number(line: str) -> str | None:
    """The number in `+CNUM: [alpha],number,type[,…]`, with its `+` where the type says so.

    None where the line holds none. Source: TS 27.007 §7.1; type 145: TS 24.008 §10.5.4.7.
    """
    parts = answer_fields(line)
    if len(parts) < 3 or not re.fullmatch(r"\+?[0-9]{3,20}", parts[1]):
        return None
    is_bare = parts[2] == "145" and not parts[1].startswith("+")
    return f"+{parts[1]}" if is_bare else parts[1]


def imsi(lines: Sequence[str]) -> str:
    """The IMSI: at most 15 digits; some cards tell one more. Source: TS 23.003 §2.2."""
    for line in lines:
        value = arguments(line).strip('" ')
        if re.fullmatch(r"[0-9]{6,16}", value):
            return value
    raise ProtocolError("no IMSI in the answer", "")  # the answer is not for logs


# ---------------------------------------------------------------- ICCID


def iccid(text: str) -> str:
    """A valid ICCID from any of its forms: 18–22 characters from `89` on, without padding.

    Letters may stand from the seventh character on (China Mobile: `898604B2…`), so it is never
    a number. Source: ITU-T E.118, TS 31.102 §4.2.2.
    """
    value = text.strip('" ').upper()
    if value.startswith("98"):  # raw octets, nibbles swapped
        value = swap_nibbles(value)
    value = value.rstrip("F")
    if not re.fullmatch(r"89[0-9]{4}[0-9A-F]{12,16}", value):
        raise ProtocolError("no ICCID", value[:6])  # its issuer alone: the rest names a person
    return value


def swap_nibbles(text: str) -> str:
    """`9849` → `8994`; an odd last character stays where it is."""
    pairs = [text[i : i + 2][::-1] for i in range(0, len(text), 2)]
    return "".join(pairs)


def crsm(line: str) -> str:
    """The hex data of a `+CRSM` answer. Source: TS 27.007 §8.18.

    Raises `ProtocolError` where the status words say no.
    """
    parts = answer_fields(line)
    if integer(parts[0]) not in _CRSM_OK or len(parts) < 3 or not parts[2]:
        raise ProtocolError("the card refuses the file", ",".join(parts[:2]))
    return parts[2]


_CRSM_OK = {144, 145, 146, 159}
"""SW1, decimal: ok; ok and a proactive command waits; ok after retries; ok with length."""

# ---------------------------------------------------------------- SIM and PIN


def sim_state(line: str) -> SimState:
    """The state in a `+CPIN` answer. Source: TS 27.007 §8.3."""
    code = re.sub(r"[-_ ]+", " ", arguments(line).strip('" ').upper())
    return _SIM_STATES.get(code, SimState.OTHER)


_SIM_STATES = {
    "READY": SimState.READY,
    "SIM PIN": SimState.PIN,
    "SIM PUK": SimState.PUK,
    "NOT INSERTED": SimState.ABSENT,
    "SIM REMOVED": SimState.ABSENT,
    "REMOVED": SimState.ABSENT,
    "SIM NOT INSERTED": SimState.ABSENT,
    "NOT READY": SimState.BUSY,
    "SIM NOT READY": SimState.BUSY,
    "SIM BUSY": SimState.BUSY,
    "SIM PIN2": SimState.READY,  # the card works; only PIN2 functions ask
    "SIM PUK2": SimState.READY,
}


def sim_state_of_error(*, cme: int | None, cms: int | None) -> SimState | None:
    """What an error in answer to `+CPIN?` says of the card; None where it says nothing."""
    by_cme = {10: SimState.ABSENT, 11: SimState.PIN, 12: SimState.PUK, 14: SimState.BUSY,
              13: SimState.OTHER, 15: SimState.OTHER, 515: SimState.BUSY}  # fmt: skip
    by_cms = {310: SimState.ABSENT, 311: SimState.PIN, 316: SimState.PUK, 314: SimState.BUSY,
              313: SimState.OTHER, 315: SimState.OTHER}  # fmt: skip
    if cme is not None:
        return by_cme.get(cme)
    return by_cms.get(cms) if cms is not None else None


def lock_state(line: str) -> bool:
    """Whether `+CLCK: 1[,class]` says on. Source: TS 27.007 §7.4."""
    status = integer(answer_fields(line)[0])
    if status not in {0, 1}:
        raise ProtocolError("no lock status", line)
    return status == 1


# ---------------------------------------------------------------- radio


def registration(line: str) -> Registration | None:
    """A `+CREG` line, answer or URC; None where it is neither. Source: TS 27.007 §7.2.

    Answer: `n,stat[,lac,ci[,act]]`; URC: `stat[,lac,ci[,act]]`.
    """
    parts = answer_fields(line)
    if is_registration_answer(line):
        parts = parts[1:]
    if len(parts) == 1:
        # Gobi: `0 5, 2715` — blank for comma.
        parts = parts[0].split()
        parts = parts[1:] if len(parts) == 2 else parts
    stat = integer(parts[0]) if parts else None
    if stat is None or not 0 <= stat <= 11:
        return None
    if len(parts) < 3 or stat not in _STAT_WITH_CELL:
        return Registration(stat=stat)
    return Registration(
        stat=stat,
        lac=_hex_or_none(parts[1]),
        cell=_hex_or_none(parts[2]),
        access_technology=integer(parts[3]) if len(parts) > 3 else None,
    )


def is_registration_answer(line: str) -> bool:
    """Whether a `+CREG` line answers `+CREG?`: it has `n` before `stat`.

    Told by the number of fields (1 or 3: URC; 2: answer), else by whether the second can be a
    `stat`: one or two digits or zero-padded as `n` is, never quoted.
    """
    raw = [part.strip() for part in arguments(line).split(",")]
    if len(raw) == 3 and raw[1] == "":
        return True  # Novatel: `2,,`
    if len(raw) in {1, 3} and not _lost_its_end(raw):
        return False
    first, second = raw[:2]
    if '"' in second or integer(second) is None or (integer(first) or 0) > _MAX_N:
        return False
    is_padded = second.startswith("0") and len(first) > 1
    return int(second) <= 11 and (len(second) <= 2 or is_padded)


def _lost_its_end(raw: Sequence[str]) -> bool:
    """`2,1,"5E25`: in a URC of three fields the second, a LAC, is quoted as the third is."""
    return len(raw) == 3 and '"' in raw[2] and '"' not in raw[1]


_MAX_N = 5  # `+CEREG=5`; of `+CREG` it is 3


_STAT_WITH_CELL = {1, 5, 6, 7, 9, 10}
"""With other states modems send rubbish as cell."""


def _hex_or_none(text: str) -> str | None:
    return text.upper() if re.fullmatch(r"[0-9A-Fa-f]{1,8}", text) else None


def signal_dbm(line: str) -> int | None:
    """RSSI in dBm of `+CSQ: rssi,ber` (`20, 99`, `20.99`); None = unknown.

    Source: TS 27.007 §8.5; 100–199 is the TD-SCDMA scale.
    """
    value = integer(re.split(r"[,.]", arguments(line))[0].strip())
    return None if value is None else dbm_of_rssi(value)


def dbm_of_rssi(value: int) -> int | None:
    """The `+CSQ` scale in dBm; None for 99, 199 and what is out of range."""
    if 0 <= value <= 31:
        return -113 + 2 * value
    if 100 <= value <= 191:
        return -116 + value - 100
    return None


def operator(line: str) -> str | None:
    """Code or name in `+COPS: mode[,format,"oper"[,act]]`. Source: TS 27.007 §7.3."""
    parts = answer_fields(line)
    return parts[2] if len(parts) > 2 and parts[2] else None


# ---------------------------------------------------------------- calls


def current_call(line: str) -> CurrentCall | None:
    """One `+CLCC` line; None where it is no voice call or cannot be read.

    Source: TS 27.007 §7.18: id, dir, stat, mode, mpty[, number, type].
    """
    parts = answer_fields(line)
    head = [integer(part) for part in parts[:4]]
    if len(head) < 4:
        return None
    call_id, direction, stat, mode = head
    if call_id is None or direction not in {0, 1} or stat is None or mode not in _VOICE:
        return None
    number = parts[5] if len(parts) > 5 and parts[5] else None
    return CurrentCall(call_id=call_id, is_incoming=direction == 1, stat=stat, number=number)


_VOICE = {0, 3, 4, 5, 9}
"""Modes in which somebody speaks, now or in turn with data; 9 is unknown."""


def caller(line: str) -> str | None:
    """The number in `+CLIP: "num",type,…`; None where it is withheld. Source: TS 27.007 §7.11."""
    return answer_fields(line)[0] or None


# ---------------------------------------------------------------- USSD


_USSD = re.compile(r'(?s)([0-9])\s*(?:,\s*"(.*)"\s*(?:,\s*([0-9]{1,3})?.*)?)?')


def ussd(line: str) -> tuple[int, str | None, int | None]:
    """`+CUSD: m[,"str"[,dcs]]` as (m, text as sent, dcs). Source: TS 27.007 §7.15.

    The text goes to the last quote: quotes and line ends within it are its own.
    """
    found = _USSD.fullmatch(arguments(line))
    if found is not None:
        state, text, dcs = found.groups()
        return int(state), text, None if dcs is None else int(dcs)
    parts = answer_fields(line)
    told = integer(parts[0])
    if told is None:
        raise ProtocolError("no USSD state", "+CUSD:")
    return told, parts[1] if len(parts) > 1 else None, None
