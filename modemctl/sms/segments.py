"""Text into segments: how many, which alphabet, where to cut. Source: TS 23.040 §9.2.3.24."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import regex  # type: ignore[import-untyped]  # the package ships no types

from modemctl.sms.alphabet import (
    Alphabet,
    Unencodable,
    forcing_characters,
    is_gsm7,
    n_septets,
    septet_width,
)
from modemctl.sms.coding import dcs_for
from modemctl.sms.fields import Address
from modemctl.sms.tpdu import Submit
from modemctl.sms.userdata import Concat, Element, UserData, encode_ucs2

MAX_SEGMENTS: Final = 255

_CLUSTER: Final = regex.compile(r"\X")
_SINGLE_CAPACITY: Final = {Alphabet.GSM7: 160, Alphabet.UCS2: 70}
_CONCAT_CAPACITY: Final = {Alphabet.GSM7: (153, 152), Alphabet.UCS2: (67, 66)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentText:
    """One segment's text and its place; `concat` is None where the message is a single one."""

    text: str = field(repr=False)
    alphabet: Alphabet
    concat: Concat | None = None

    @property
    def header(self) -> tuple[Element, ...]:
        """The user data header that it needs."""
        return () if self.concat is None else (self.concat.element,)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentPlan:
    """What a text will take.

    `n_units` and `n_units_left` (in the last segment) count septets or UTF-16 units. `forcing`
    are the characters that force UCS-2: distinct, in order of appearance.
    """

    alphabet: Alphabet
    n_segments: int
    n_units: int
    n_units_left: int
    forcing: tuple[str, ...] = field(repr=False)


def plan(text: str, *, wide_reference: bool = False) -> SegmentPlan:
    """Count the segments of `text` as `segment` will cut them.

    Raises:
        Unencodable: more than 255 segments, or half of a surrogate pair stands alone.
    """
    alphabet = _alphabet(text, None)
    pieces = _cut(text, alphabet, wide_reference=wide_reference)
    n_last = _n_units(pieces[-1], alphabet)
    capacity = (
        _SINGLE_CAPACITY[alphabet]
        if len(pieces) == 1
        else _CONCAT_CAPACITY[alphabet][wide_reference]
    )
    return SegmentPlan(
        alphabet=alphabet,
        n_segments=len(pieces),
        n_units=_n_units(text, alphabet),
        n_units_left=capacity - n_last,
        forcing=forcing_characters(text),
    )


def segment(
    text: str, *, reference: int, wide_reference: bool = False, encoding: Alphabet | None = None
) -> tuple[SegmentText, ...]:
    """Cut `text` into at most 255 segments; their texts joined are `text` again.

    No escape and no surrogate pair is split; a grapheme cluster stays whole unless it is larger
    than a segment. A text that fits in one segment gets no header. `reference` (8 bits, or 16 if
    `wide_reference`) must be new for each message and recipient.

    Raises:
        Unencodable: too long, not in `encoding`, a bad reference, or half of a surrogate pair.
    Source: TS 23.040 §9.2.3.24.1, §9.2.3.24.8.
    """
    alphabet = _alphabet(text, encoding)
    if not 0 <= reference < (1 << 16 if wide_reference else 1 << 8):
        raise Unencodable(f"a concatenation reference has {16 if wide_reference else 8} bits")
    pieces = _cut(text, alphabet, wide_reference=wide_reference)
    if len(pieces) == 1:
        return (SegmentText(text=text, alphabet=alphabet),)
    return tuple(
        SegmentText(
            text=piece,
            alphabet=alphabet,
            concat=Concat(
                reference=reference,
                total=len(pieces),
                sequence=sequence,
                is_wide=wide_reference,
            ),
        )
        for sequence, piece in enumerate(pieces, 1)
    )


def submits(
    text: str,
    recipient: str,
    *,
    reference: int,
    validity: timedelta | None = None,
    report: bool = False,
    sms_class: int | None = None,
    wide_reference: bool = False,
) -> list[Submit]:
    """The SUBMITs that carry `text` to `recipient` (as dialled), in order, each with MR 0.

    The modem or the network puts the message reference in.

    Raises:
        Unencodable: a text, number, validity, class or reference that cannot be sent.
    """
    address = Address.dialled(recipient)
    return [
        Submit(
            recipient=address,
            user_data=UserData(text=piece.text, header=piece.header),
            dcs=dcs_for(piece.alphabet, sms_class),
            validity=validity,
            wants_report=report,
        )
        for piece in segment(text, reference=reference, wide_reference=wide_reference)
    ]


def _alphabet(text: str, wanted: Alphabet | None) -> Alphabet:
    if wanted is Alphabet.EIGHT_BIT:
        raise Unencodable("text is sent as GSM 7-bit or UCS-2")
    if is_gsm7(text):
        return wanted or Alphabet.GSM7
    if wanted is Alphabet.GSM7:
        raise Unencodable("a character is not in the GSM 7-bit alphabet")
    return Alphabet.UCS2


def _n_units(text: str, alphabet: Alphabet) -> int:
    return n_septets(text) if alphabet is Alphabet.GSM7 else len(encode_ucs2(text)) // 2


def _cut(text: str, alphabet: Alphabet, *, wide_reference: bool) -> list[str]:
    n_units = _n_units(text, alphabet)
    if n_units <= _SINGLE_CAPACITY[alphabet]:
        return [text]
    capacity = _CONCAT_CAPACITY[alphabet][wide_reference]
    # Before any cutting: a text far too long costs no time.
    pieces = [] if n_units > capacity * MAX_SEGMENTS else list(_fill(text, alphabet, capacity))
    if not 0 < len(pieces) <= MAX_SEGMENTS:
        raise Unencodable(f"a message has at most {MAX_SEGMENTS} segments")
    return pieces


def _clusters(text: str, alphabet: Alphabet) -> Iterable[tuple[str, int]]:
    """Grapheme clusters and their units."""
    if alphabet is Alphabet.GSM7 and "\r\n" not in text:
        # The alphabet has no combining marks: CR LF would be its only cluster of two.
        return zip(text, map(septet_width, text), strict=True)
    return ((cluster, _n_units(cluster, alphabet)) for cluster in _CLUSTER.findall(text))


def _fill(text: str, alphabet: Alphabet, capacity: int) -> Iterator[str]:
    """Fill segment after segment with as many whole clusters as fit."""
    start = position = n_used = 0
    for cluster, n_cluster in _clusters(text, alphabet):
        if n_cluster <= capacity:
            atoms: Iterable[tuple[str, int]] = ((cluster, n_cluster),)
        else:
            # No segment can hold it: it is cut between code points.
            atoms = ((char, _n_units(char, alphabet)) for char in cluster)
        for atom, n_atom in atoms:
            if n_used + n_atom > capacity:
                yield text[start:position]
                start, n_used = position, 0
            position += len(atom)
            n_used += n_atom
    yield text[start:]
