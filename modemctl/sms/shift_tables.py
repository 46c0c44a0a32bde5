"""The character tables of TS 23.038 as data: default, extension and national shift tables.

A table maps a septet (0…127) to one character. Septets that a table leaves out are absent.
Language numbers: 1 Turkish, 2 Spanish (single shift only), 3 Portuguese, 4 Bengali, 5 Gujarati,
6 Hindi, 7 Kannada, 8 Malayalam, 9 Oriya, 10 Punjabi, 11 Tamil, 12 Telugu, 13 Urdu.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

ESCAPE: Final = 0x1B
"""The septet that announces a character of the single shift (or extension) table."""

_DEFAULT_ROWS: Final = (
    "@£$¥èéùìòÇ\nØø\rÅå"
    "Δ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ"
    " !\"#¤%&'()*+,-./"
    "0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNO"
    "PQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmno"
    "pqrstuvwxyzäöñüà"
)

# Septets that carry a script's own letters, in order; the rest of an Indic or Urdu table is the
# same in all of them.
_LOCKING_LETTERS: Final = (
    bytes((*range(0x0A), 0x0B, 0x0C, *range(0x0E, 0x1B), *range(0x1C, 0x20), *range(0x22, 0x28)))
    + b"\x2a\x2b\x2d\x2f"
    + bytes((*range(0x3C, 0x3F), *range(0x40, 0x61), *range(0x7B, 0x80)))
)
_SINGLE_LETTERS: Final = bytes(
    (0x19, 0x1A, *range(0x1C, 0x28), *range(0x2A, 0x2F), *range(0x30, 0x3C), 0x3F)
)

# Code points (hexadecimal) for those septets; `.` is a septet without a character.
# Kannada: annex A.3.7 misprints 0CAA at 24, which stands at 3D already: phones send 0CA1 there.
_LOCKING_SCRIPTS: Final = {
    4: "981-983 985-98C . . 98F-990 . . 993-9A8 . 9AA-9B0 . 9B2 . . . 9B6-9B9 9BC-9C4 . . "
    "9C7-9C8 . . 9CB-9CD 9CE 9D7 9DC-9DD 9F0-9F1",
    5: "A81-A83 A85-A8D . A8F-A91 . A93-AA8 . AAA-AB0 . AB2-AB3 . AB5-AB9 ABC-AC5 . "
    "AC7-AC9 . ACB-ACD AD0 AE0-AE3 AF1",
    6: "901-903 905-939 93C-94D 950 972 97B-97C 97E-97F",
    7: ". C82-C83 C85-C8C . C8E-C90 . C92-CA8 . CAA-CB3 . CB5-CB9 CBC-CC4 . CC6-CC8 . "
    "CCA-CCD CD5-CD6 CE0-CE3",
    8: ". D02-D03 D05-D0C . D0E-D10 . D12-D28 . D2A-D39 . D3D-D44 . D46-D48 . D4A-D4D "
    "D57 D60-D63 D79",
    9: "B01-B03 B05-B0C . . B0F-B10 . . B13-B28 . B2A-B30 . B32-B33 . B35-B39 B3C-B44 . . "
    "B47-B48 . . B4B-B4D B56-B57 B60-B63",
    10: "A01-A03 A05-A0A . . . . A0F-A10 . . A13-A28 . A2A-A30 . A32-A33 . A35-A36 . "
    "A38-A39 A3C . A3E-A42 . . . . A47-A48 . . A4B-A4D A51 A70-A74",
    11: ". B82-B83 B85-B8A . . . B8E-B90 . B92-B95 . . . B99-B9A . B9C . B9E-B9F . . . "
    "BA3-BA4 . . . BA8-BAA . . . BAE-BB9 . . BBE-BC2 . . . BC6-BC8 . BCA-BCD BD0 BD7 "
    "BF0-BF2 BF9",
    12: "C01-C03 C05-C0C . C0E-C10 . C12-C28 . C2A-C33 . C35-C39 . C3D-C44 . C46-C48 . "
    "C4A-C4D C55-C56 C60-C63",
    13: "627 622 628 67B 680 67E 6A6 62A 6C2 67F 679 67D 67A 67C 62B 62C 681 684 683 685 "
    "686 687 62D 62E 62F 68C 688 689 68A 68F 68D 630 631 691 693 699 632 696 698 69A 633 "
    "634 635 636 637 638 639 641 642 6A9 6AA 6AB 6AF 6B3 6B1 644 645 646 6BA 6BB 6BC 648 "
    "6C4 6D5 6C1 6BE 621 6CC 6D0 6D2 64D 650 64F 657 654 655 651 653 656 670",
}
_SINGLE_SCRIPTS: Final = {
    4: "9E6-9EF 9DF-9E3 9F2-9FA",
    5: "964-965 AE6-AEF",
    6: "964-965 966-96F 951-954 958-963 970-971",
    7: "964-965 CE6-CEF CDE CF1-CF2",
    8: "964-965 D66-D75 D7A-D7F",
    9: "964-965 B66-B6F B5C-B5D B5F B70-B71",
    10: "964-965 A66-A6F A59-A5C A5E A75",
    11: "964-965 BE6-BEF BF3-BF8 BFA",
    12: ". . C66-C6F C58-C59 C78-C7F",
    13: "600-601 6F0-6F9 60C-614 61B 61F 640 652 658 66B-66C 672-673 6CD 6D4",
}


def _characters(runs: str) -> Iterator[str | None]:
    for run in runs.split():
        if run == ".":
            yield None
            continue
        first, _, last = run.partition("-")
        for code_point in range(int(first, 16), int(last or first, 16) + 1):
            yield chr(code_point)


def _script(frame: Mapping[int, str], letters: bytes, runs: str) -> dict[int, str]:
    table = dict(frame)
    table.update(
        (septet, char) for septet, char in zip(letters, _characters(runs), strict=False) if char
    )
    return table


def _locking_tables() -> dict[int, Mapping[int, str]]:
    default = {septet: char for septet, char in enumerate(_DEFAULT_ROWS) if septet != ESCAPE}
    frame = {0x0A: "\n", 0x0D: "\r", 0x20: " ", 0x21: "!", 0x28: ")", 0x29: "(", 0x2C: ","}
    frame |= {0x2E: ".", 0x3F: "?"} | {s: chr(s) for s in (*range(0x30, 0x3C), *range(0x61, 0x7B))}
    turkish = dict(zip(b"\x04\x07\x0b\x0c\x1c\x1d\x40\x60", "€ıĞğŞşİç", strict=True))
    portuguese = dict(
        zip(
            b"\x04\x06\x07\x08\x09\x0b\x0c\x0e\x0f\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1c\x1d\x1e"
            b"\x24\x40\x5b\x5c\x5d\x60\x7b\x7c\x7d",
            "êúíóçÔôÁáªÇÀ∞^\\€Ó|ÂâÊºÍÃÕÚ~ãõ`",
            strict=True,
        )
    )
    scripts = {n: _script(frame, _LOCKING_LETTERS, runs) for n, runs in _LOCKING_SCRIPTS.items()}
    return {0: default, 1: default | turkish, 3: default | portuguese, **scripts}


def _single_shift_tables() -> dict[int, Mapping[int, str]]:
    extension = dict(zip(b"\x0a\x14()/<=>\x40e", "\f^{}\\[~]|€", strict=True))
    turkish = dict(zip(b"GIScgis", "ĞİŞçğış", strict=True))
    spanish = dict(zip(b"\x09AIOUaiou", "çÁÍÓÚáíóú", strict=True))
    portuguese = dict(
        zip(
            b"\x05\x09\x0b\x0c\x0e\x0f\x12\x13\x15\x16\x17\x18\x19\x1fAIOU[\\aiou{|\x7f",
            "êçÔôÁáΦΓΩΠΨΣΘÊÀÍÓÚÃÕÂíóúãõâ",
            strict=True,
        )
    )
    frame = extension | dict(zip(range(10), "@£$¥¿\"¤%&'", strict=True))
    frame |= dict(
        zip(b"\x0b\x0c\x0e\x0f\x10\x11\x12\x13\x15\x16\x17\x18", "*+-/<=>¡¡_#*", strict=True)
    )
    frame |= {s: chr(s) for s in range(0x41, 0x5B)}
    scripts = {n: _script(frame, _SINGLE_LETTERS, runs) for n, runs in _SINGLE_SCRIPTS.items()}
    western = {1: extension | turkish, 2: extension | spanish, 3: extension | portuguese}
    return {0: extension, **western, **scripts}


LOCKING: Final[Mapping[int, Mapping[int, str]]] = _locking_tables()
"""Language → base table; 0 is the default alphabet. Source: TS 23.038 §6.2.1, annex A.3."""

SINGLE_SHIFT: Final[Mapping[int, Mapping[int, str]]] = _single_shift_tables()
"""Language → table behind the escape; 0 is the extension. Source: §6.2.1.1, annex A.2."""
