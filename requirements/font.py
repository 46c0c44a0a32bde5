"""Makes the font of printed reports: a part of Noto Sans CJK SC (SIL Open Font License 1.1).

It holds GB 2312, the 8,105 characters of the Table of General Standard Chinese Characters (通用规范
汉字表, kTGH of Unihan: the characters that names may be registered in), Latin, Greek, Cyrillic and
punctuation. Beside the font lies the list of what it holds: what it lacks is printed by its number.

Needs fonttools and two Debian packages, unpacked anywhere (apt-get download, dpkg -x):
fonts-noto-cjk and unicode-data. Usage: python requirements/font.py UNPACKED-FOLDER
"""

import bz2
import subprocess
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent / "modemctl" / "service" / "fonts"
FONT = HOME / "ModemctlSans.otf"
LICENCE = HOME / "OFL.txt"
COLLECTION = Path("usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc")
UNIHAN = Path("usr/share/unicode/Unihan_OtherMappings.txt.bz2")
SIMPLIFIED = "2"  # place of Noto Sans CJK SC in the collection
BLOCKS = (
    (0x20, 0x7F), (0xA0, 0x180), (0x2010, 0x2040), (0x20A0, 0x20C0), (0x2100, 0x2140),
    (0x2150, 0x2200), (0x2460, 0x2500), (0x25A0, 0x2600), (0x2610, 0x2613), (0x2713, 0x2718),
    (0x3000, 0x3040), (0x3200, 0x3300), (0xFE30, 0xFE50), (0xFF00, 0xFFEF),
)  # fmt: skip


def wanted(unpacked: Path) -> set[int]:
    """All code points that the font shall hold."""
    points = {point for first, end in BLOCKS for point in range(first, end)}
    for high in range(0xA1, 0xF8):
        for low in range(0xA1, 0xFF):
            points |= {ord(char) for char in bytes((high, low)).decode("gb2312", "ignore")}
    with bz2.open(unpacked / UNIHAN, "rt", encoding="utf-8") as lines:
        for line in lines:
            point, _, rest = line.partition("\t")
            if rest.startswith("kTGH\t"):
                points.add(int(point.removeprefix("U+"), 16))
    return points


def make(unpacked: Path) -> None:
    """Write the font, its list and a changed name (the licence reserves none, yet it is a part)."""
    from fontTools.ttLib import TTFont

    text = HOME / "wanted.txt"
    text.write_text("\n".join(f"U+{point:04X}" for point in sorted(wanted(unpacked))))
    command = (
        sys.executable, "-m", "fontTools.subset", str(unpacked / COLLECTION),
        f"--font-number={SIMPLIFIED}", f"--unicodes-file={text}", f"--output-file={FONT}",
        "--layout-features=kern", "--no-hinting", "--name-IDs=0,1,2,3,4,5,6,13,14",
    )  # fmt: skip
    subprocess.run(command, check=True)
    text.unlink()
    font = TTFont(FONT)
    for record in font["name"].names:
        if record.nameID in {1, 4}:
            record.string = "Modemctl Sans"
        if record.nameID == 6:
            record.string = "ModemctlSans"
    font.save(FONT)
    held = "".join(map(chr, sorted(font.getBestCmap())))
    FONT.with_suffix(".txt").write_text(held, encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
