"""Random TPDUs with the truth about them, built without any of the product's code.

The alphabets are gsmcodecs' (a foreign package); packing is done bit by bit on strings, the slow
and obvious way, so that a clever mistake of the product cannot be repeated here.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import gsmcodecs  # noqa: F401  # registers the codecs

BASE = b"".join(bytes([s]) for s in range(128) if s != 0x1B).decode("gsm23.038-0-0")
EXTENSION = "\f^{}\\[~]|€"
UCS2_SAMPLE = "Привет, мир! 你好世界 שלום مرحبا ελληνικά ěščřžýáíé ‚„“”– İĞŞ"
EMOJI = "😀🎉👍🏽🇩🇪👨‍👩‍👧‍👦🚀"
DIGITS = "0123456789*#abc"


def pack_slowly(septets: Sequence[int], fill_bits: int = 0) -> bytes:
    """Bits least significant first, as a string, cut into eights."""
    bits = "0" * fill_bits + "".join(f"{septet:07b}"[::-1] for septet in septets)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8))


def swapped(number: int) -> int:
    """Two decimal digits, low nibble first."""
    return int(f"{number:02d}"[::-1], 16)


@dataclass
class Truth:
    """What a built TPDU means."""

    octets: bytes
    kind: str
    number: str
    ton: int
    facts: dict[str, object] = field(default_factory=dict)
    traits: set[str] = field(default_factory=set)


def gsm7_text(rng: random.Random, n_septets: int, *, extension: float = 0.1) -> str:
    """A text of exactly `n_septets` septets."""
    chars: list[str] = []
    left = n_septets
    while left:
        if left >= 2 and rng.random() < extension:
            chars.append(rng.choice(EXTENSION))
            left -= 2
        else:
            chars.append(rng.choice(BASE))
            left -= 1
    rng.shuffle(chars)
    return "".join(chars)


def ucs2_text(rng: random.Random, n_units: int, *, emoji: float = 0.1) -> str:
    """A text of at most `n_units` UTF-16 units; no character is NUL."""
    text = ""
    while True:
        roll = rng.random()
        if roll < emoji:
            char = rng.choice(EMOJI)
        elif roll < 0.5:
            char = rng.choice(UCS2_SAMPLE)
        else:
            char = chr(rng.choice((rng.randrange(1, 0x250), rng.randrange(0x4E00, 0x9FA0))))
        if len((text + char).encode("utf-16-be")) > 2 * n_units:
            return text
        text += char


def address(rng: random.Random) -> tuple[bytes, str, int, set[str]]:
    """(octets, number, type of number, traits) of a random party."""
    roll = rng.random()
    if roll < 0.2:
        name = gsm7_text(rng, rng.randint(1, 11), extension=0.03)
        septets = name.encode("gsm23.038-0-0")
        traits = {"alphanumeric"}
        if not (name.isascii() and name.isalnum()):
            traits.add("alphanumeric beyond A-Z")
        if len(septets) == 8 and septets[-1] == 0:
            return address(rng)  # cannot be told from seven letters, by TS 23.040 itself
        n_semi_octets = -(-7 * len(septets) // 4)
        packed = pack_slowly(septets)
        return bytes((n_semi_octets, 0xD0)) + packed, name, 5, traits
    alphabet = DIGITS if roll < 0.25 else "0123456789"
    number = "".join(rng.choice(alphabet) for _ in range(rng.randint(3, 20)))
    traits = {"star"} if set(number) & set("*#abc") else set()
    toa = rng.choice((0x91, 0x91, 0x91, 0x81, 0xA1, 0x80, 0xB1, 0xC8))
    nibbles = ["0123456789*#abc".index(digit) for digit in number] + [15] * (len(number) % 2)
    value = bytes(nibbles[i] | nibbles[i + 1] << 4 for i in range(0, len(nibbles), 2))
    return bytes((len(number), toa)) + value, number, toa >> 4 & 7, traits


def moment(rng: random.Random) -> tuple[bytes, datetime | None]:
    """Seven octets and the time that they are; now and then none."""
    if rng.random() < 0.03:
        return rng.choice((bytes(7), b"\xff" * 7)), None
    quarters = rng.randint(-48, 56)
    when = datetime(2000, 1, 1, tzinfo=timezone(timedelta(minutes=15 * quarters)))
    when += timedelta(seconds=rng.randrange(50 * 365 * 86400))
    values = (when.year % 100, when.month, when.day, when.hour, when.minute, when.second)
    zone = swapped(abs(quarters)) | (0x08 if quarters < 0 else 0)
    return bytes((*map(swapped, values), zone)), when


def header(rng: random.Random) -> tuple[bytes, dict[str, object], set[str]]:
    """A user data header: octets with its length, what it says, traits."""
    elements: list[bytes] = []
    facts: dict[str, object] = {"concat": None, "ports": None, "locking": 0, "single": 0}
    traits: set[str] = set()
    total = rng.randint(1, 255)
    sequence = rng.randint(1, total)
    kind = rng.choice(("c8", "c16", "p8", "p16", "p16+c8", "tables", "tables+c8", "unknown"))
    if "c8" in kind:
        reference = rng.randrange(256)
        elements.append(bytes((0, 3, reference, total, sequence)))
        facts["concat"] = (reference, total, sequence, False)
    if "c16" in kind:
        reference = rng.randrange(65536)
        elements.append(bytes((8, 4, reference >> 8, reference & 255, total, sequence)))
        facts["concat"] = (reference, total, sequence, True)
    if "p8" in kind:
        ports = (rng.randrange(256), rng.randrange(256))
        elements.append(bytes((4, 2, *ports)))
        facts["ports"] = ports
    if "p16" in kind:
        ports = (rng.randrange(65536), rng.randrange(65536))
        elements.append(bytes((5, 4)) + ports[0].to_bytes(2, "big") + ports[1].to_bytes(2, "big"))
        facts["ports"] = ports
    if "tables" in kind:
        traits.add("national")
        if rng.random() < 0.6:
            facts["locking"] = rng.choice((1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13))
            elements.append(bytes((0x25, 1, facts["locking"])))
        if rng.random() < 0.6:
            facts["single"] = rng.randint(1, 13)
            elements.append(bytes((0x24, 1, facts["single"])))
    if kind == "unknown" or not elements:
        data = rng.randbytes(rng.randint(0, 6))
        elements.append(bytes((rng.choice((0x0A, 0x70, 0xC1)), len(data))) + data)
    traits.add(f"header {kind}")
    rng.shuffle(elements)
    body = b"".join(elements)
    facts["elements"] = tuple((e[0], bytes(e[2:])) for e in elements)
    return bytes((len(body),)) + body, facts, traits


def alphabet_of(dcs: int) -> str:
    """`gsm7`, `8bit`, `ucs2` or `raw` (compressed), by TS 23.038 §4."""
    if dcs < 0x80:
        if dcs & 0x20:
            return "raw"
        return ("gsm7", "8bit", "ucs2", "gsm7")[(dcs & 0x0C) // 4]
    if 0xE0 <= dcs <= 0xEF:
        return "ucs2"
    return "8bit" if 0xF4 <= dcs <= 0xF7 else "gsm7"


def national_text(
    rng: random.Random, n_septets: int, locking: int, single: int
) -> tuple[list[int], str]:
    """Septets of random characters of the tables, and their text, by gsmcodecs' maps."""
    from gsmcodecs.charmaps import GSMCHARMAPS

    base = GSMCHARMAPS[locking]["locking"]["decode"]
    shift = GSMCHARMAPS[single]["singleShift"]["decode"]
    # Two septets where we do not follow gsmcodecs (reasons in test_foreign_codecs); the third, the
    # Telugu euro sign, is absent from its map and so is never drawn.
    repaired = {0x2C: 0x2C} if locking >= 4 else {}
    if locking == 7:
        repaired[0x24] = 0x0CA1
    septets: list[int] = []
    text = ""
    while len(septets) < n_septets:
        if len(septets) + 2 <= n_septets and rng.random() < 0.3:
            septet = rng.choice([s for s in shift if s != 0x1B])
            septets += [0x1B, septet]
            text += chr(shift[septet])
        else:
            septet = rng.choice([s for s in base if s != 0x1B])
            septets.append(septet)
            text += chr(repaired.get(septet, base[septet]))
    return septets, text


def user_data(
    rng: random.Random, dcs: int, head: bytes, facts: dict[str, object]
) -> tuple[bytes, dict[str, object]]:
    """TP-UDL and TP-UD behind the header `head`, and what they say."""
    alphabet = alphabet_of(dcs)
    room = 140 - len(head)
    if alphabet == "gsm7":
        n_head = -(-8 * len(head) // 7)
        n_septets = rng.choice((rng.randint(0, 160 - n_head), 160 - n_head))
        locking, single = facts.get("locking", 0), facts.get("single", 0)
        assert isinstance(locking, int)
        assert isinstance(single, int)
        if locking or single:
            septets, text = national_text(rng, n_septets, locking, single)
        else:
            text = gsm7_text(rng, n_septets)
            septets = list(text.encode("gsm23.038-0-0"))
        packed = pack_slowly(septets, n_head * 7 - len(head) * 8)
        return bytes((n_head + len(septets),)) + head + packed, {"text": text}
    if alphabet == "ucs2":
        text = ucs2_text(rng, rng.randint(0, room // 2))
        body = text.encode("utf-16-be")
        return bytes((len(head) + len(body),)) + head + body, {"text": text}
    body = rng.randbytes(rng.randint(0, room))
    return bytes((len(head) + len(body),)) + head + body, {"data": body}


def any_dcs(rng: random.Random) -> int:
    """Mostly the usual ones, sometimes any octet."""
    usual = (0x00, 0x00, 0x00, 0x08, 0x08, 0x04, 0x10, 0x11, 0x18, 0xF0, 0xF5)
    return rng.choice(usual) if rng.random() < 0.8 else rng.randrange(256)


def _content(
    rng: random.Random, first: int, dcs: int
) -> tuple[int, bytes, dict[str, object], set[str]]:
    head, facts, traits = b"", {}, set[str]()
    if rng.random() < 0.5:
        first |= 0x40
        head, facts, traits = header(rng)
    tail, said = user_data(rng, dcs, head, facts)
    return first, tail, facts | said, traits


def deliver(rng: random.Random) -> Truth:
    """A random DELIVER."""
    first = rng.choice((0x00, 0x04)) | rng.choice((0x00, 0x08)) | rng.choice((0, 0x20, 0x80))
    dcs, pid = any_dcs(rng), rng.choice((0, 0, 0x39, 0x41, rng.randrange(256)))
    sender, number, ton, traits = address(rng)
    scts, when = moment(rng)
    first, tail, facts, more = _content(rng, first, dcs)
    octets = bytes((first,)) + sender + bytes((pid, dcs)) + scts + tail
    facts |= {"scts": when, "pid": pid, "dcs": dcs, "first": first}
    return Truth(octets, "deliver", number, ton, facts, traits | more)


def status_report(rng: random.Random) -> Truth:
    """A random STATUS-REPORT, some with optional parameters."""
    first = 0x02 | rng.choice((0x00, 0x04)) | rng.choice((0x00, 0x20))
    mr, st = rng.randrange(256), rng.choice((0, 0, 0x46, rng.randrange(256)))
    party, number, ton, traits = address(rng)
    (scts, when), (dt, discharged) = moment(rng), moment(rng)
    facts: dict[str, object] = {"pid": None, "dcs": None}
    tail = b""
    if rng.random() < 0.4:
        indicator = rng.randrange(8)
        tail = bytes((indicator,))
        traits.add("optional parameters")
        if indicator & 1:
            facts["pid"] = rng.randrange(256)
            tail += bytes((facts["pid"],))
        if indicator & 2:
            facts["dcs"] = rng.choice((0, 4, 8))
            tail += bytes((facts["dcs"],))
        if indicator & 4:
            dcs = facts["dcs"] or 0
            assert isinstance(dcs, int)
            said, what = b"\0", {}
            while not what or len(said) > 130:
                said, what = user_data(rng, dcs, b"", {})
            tail += said
            facts |= what
    octets = bytes((first, mr)) + party + scts + dt + bytes((st,)) + tail
    facts |= {"mr": mr, "st": st, "scts": when, "dt": discharged, "first": first}
    return Truth(octets, "report", number, ton, facts, traits)


def submit(rng: random.Random) -> Truth:
    """A random SUBMIT with each validity format."""
    first = 0x01 | rng.choice((0x00, 0x04)) | rng.choice((0x00, 0x20)) | rng.choice((0, 0, 0x80))
    vpf = rng.choice((0x00, 0x10, 0x10, 0x18, 0x08))
    dcs, pid, mr = any_dcs(rng), rng.randrange(256), rng.randrange(256)
    party, number, ton, traits = address(rng)
    facts: dict[str, object] = {"vpf": vpf}
    validity = b""
    if vpf == 0x10:
        validity = rng.randbytes(1)
        facts["relative"] = validity[0]
    elif vpf == 0x18:
        validity, facts["absolute"] = moment(rng)
    elif vpf == 0x08:
        validity = bytes((2, rng.randrange(256), 0, 0, 0, 0, 0))
        facts["seconds"] = validity[1]
        traits.add("enhanced validity")
    first, tail, more_facts, more = _content(rng, first | vpf, dcs)
    facts |= more_facts | {"mr": mr, "pid": pid, "dcs": dcs, "first": first}
    octets = bytes((first, mr)) + party + bytes((pid, dcs)) + validity + tail
    return Truth(octets, "submit", number, ton, facts, traits | more)


def random_text(rng: random.Random) -> str:
    """Texts of the kinds that break encoders: borders, escapes, emoji, empty."""
    roll = rng.random()
    if roll < 0.02:
        return ""
    if roll < 0.45:
        near = rng.choice((0, 7, 8, 152, 153, 159, 160, 161, 304, 306, 307, 459))
        return gsm7_text(
            rng, max(0, near + rng.randint(-2, 2)), extension=rng.choice((0, 0.1, 0.5))
        )
    if roll < 0.6:
        return gsm7_text(rng, rng.randint(1, 800))
    near = rng.choice((1, 66, 67, 69, 70, 71, 132, 134, 201, rng.randint(1, 400)))
    return ucs2_text(rng, max(1, near + rng.randint(-2, 2)), emoji=rng.choice((0, 0.1, 0.5)))
