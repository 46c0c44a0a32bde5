"""Compares what the network took with what should have been sent: missing, doubled, unexpected."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from simulator.ledger import Fact
from simulator.network.numbers import national
from simulator.story.reading import ScenarioError, read

Line: TypeAlias = Mapping[str, Fact]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A message that should have been taken, `times` often; an empty field fits everything.

    `sender` is the card's number (`from` in files).
    """

    destination: str
    text: str
    sender: str = ""
    iccid: str = ""
    modem: str = ""
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A whole message that the network took; `lines` are its segments' numbers in the ledger.

    `text` is None for 8-bit data. `lacks` are the segments that never came.
    """

    destination: str
    text: str | None
    sender: str
    iccid: str
    modem: str
    time: str
    lines: tuple[int, ...]
    pieces: tuple[str, ...] = ()
    lacks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """An expected message of which `times` are missing; `parts`: what came of it, if anything."""

    expected: Expected
    times: int
    parts: Taken | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubled:
    """An expected message that was taken more often than it should: the superfluous ones."""

    expected: Expected
    extra: tuple[Taken, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What differs; nothing = the network took exactly what was expected."""

    n_expected: int
    n_taken: int
    missing: tuple[Missing, ...] = ()
    doubled: tuple[Doubled, ...] = ()
    unexpected: tuple[Taken, ...] = ()

    @property
    def agrees(self) -> bool:
        """True where nothing differs."""
        return not (self.missing or self.doubled or self.unexpected)


def load_expected(path: Path) -> list[Expected]:
    """Read a CSV (with a header line) or JSONL file of expected messages.

    Columns: destination, text; optional: from, iccid, modem, times; others are not looked at.

    Raises:
        ScenarioError: a line is wrong; with its number.
        OSError: the file cannot be read.
    """
    text = path.read_text("utf-8-sig")
    found: list[Expected] = []
    rows = _json_rows(path, text) if path.suffix in {".jsonl", ".ndjson", ".json"} else _rows(text)
    for number, row in rows:
        try:
            found.append(_expected(row))
        except ScenarioError as error:
            raise ScenarioError(f"{path}:{number}: {error}") from error
    return found


def messages(lines: Iterable[Line]) -> list[Taken]:
    """The messages in a ledger's submits, long ones joined; in the order of their first segment.

    A segment that comes a second time begins another message, which lacks the others.
    """
    found: list[_Growing] = []
    open_ones: dict[tuple[str, str, int, int], list[_Growing]] = {}
    for line in lines:
        if line.get("kind") != "submit":
            continue
        concat = line.get("concat")
        if not isinstance(concat, Mapping):
            found.append(_Growing(total=1, parts={1: line}))
            continue
        total, sequence = _whole(concat["total"]), _whole(concat["seq"])
        place = (
            str(line["iccid"]),
            national(str(line["destination"])),
            _whole(concat["ref"]),
            total,
        )
        growing = next((one for one in open_ones.get(place, []) if sequence not in one.parts), None)
        if growing is None:
            growing = _Growing(total=total)
            found.append(growing)
            open_ones.setdefault(place, []).append(growing)
        growing.parts[sequence] = line
        if len(growing.parts) == total:  # the reference may come again for another message
            open_ones[place].remove(growing)
    return [one.taken() for one in found]


def compare(lines: Iterable[Line], expected: Sequence[Expected]) -> Comparison:
    """What of `expected` the submits of a ledger lack, have too often, or did not call for."""
    taken = messages(lines)
    left: dict[tuple[str, str | None], list[Taken]] = {}
    for one in taken:
        if not one.lacks:
            left.setdefault((national(one.destination), one.text), []).append(one)
    partial = [one for one in taken if one.lacks]
    short: list[tuple[Expected, int]] = []
    # Whoever asks for most is served first: a wildcard must not take what a named one needs.
    for want, times in sorted(_summed(expected).items(), key=lambda pair: -_weight(pair[0])):
        pool = left.get((national(want.destination), want.text), [])
        got = [one for one in pool if _fits(want, one)][:times]
        for one in got:
            pool.remove(one)
        if len(got) < times:
            short.append((want, times - len(got)))
    missing = tuple(_missing(want, times, partial) for want, times in short)
    by_place: dict[str, list[Expected]] = {}
    for want in expected:
        by_place.setdefault(national(want.destination), []).append(want)
    doubled: dict[Expected, list[Taken]] = {}
    unexpected: list[Taken] = []
    for one in [*(one for pool in left.values() for one in pool), *partial]:
        wanted = by_place.get(national(one.destination), [])
        found = next((want for want in wanted if _is_of(want, one)), None)
        if found is None:
            unexpected.append(one)
        else:
            doubled.setdefault(found, []).append(one)
    unexpected.sort(key=lambda one: one.lines)
    return Comparison(
        n_expected=sum(want.times for want in expected),
        n_taken=len(taken),
        missing=missing,
        doubled=tuple(Doubled(expected=w, extra=tuple(ones)) for w, ones in doubled.items()),
        unexpected=tuple(unexpected),
    )


# ---------------------------------------------------------------- inside

_KEYS: Final = {"destination": "destination", "text": "text", "from": "sender", "sender": "sender",
                "iccid": "iccid", "modem": "modem", "times": "times"}  # fmt: skip


@dataclass(slots=True, kw_only=True)
class _Growing:
    total: int
    parts: dict[int, Line] = field(default_factory=dict)

    def taken(self) -> Taken:
        first = next(iter(self.parts.values()))
        texts = [self.parts[number].get("text") for number in sorted(self.parts)]
        return Taken(
            destination=str(first["destination"]),
            text=None if None in texts else _joined(map(str, texts)),
            sender=str(first.get("from") or ""),
            iccid=str(first.get("iccid") or ""),
            modem=str(first.get("modem") or ""),
            time=str(first["time"]),
            pieces=() if None in texts else tuple(map(str, texts)),
            lines=tuple(_whole(part["n"]) for part in self.parts.values()),
            lacks=tuple(n for n in range(1, self.total + 1) if n not in self.parts),
        )


def _joined(texts: Iterable[str]) -> str:
    # A character outside the first plane may be cut in two by the end of a segment.
    units = "".join(texts).encode("utf-16-le", "surrogatepass")
    return units.decode("utf-16-le", "replace")


def _whole(fact: Fact) -> int:
    assert isinstance(fact, int)
    return fact


def _summed(expected: Sequence[Expected]) -> Counter[Expected]:
    counts: Counter[Expected] = Counter()
    for want in expected:
        counts[want] += want.times
    return counts


def _weight(want: Expected) -> int:
    return sum(map(bool, (want.sender, want.iccid, want.modem)))


def _is_of(want: Expected, one: Taken) -> bool:
    """True where this is the wanted message, or some of its segments."""
    is_same = one.text == want.text
    if one.lacks:
        is_same = bool(one.pieces) and all(piece in want.text for piece in one.pieces)
    return is_same and _fits(want, one)


def _fits(want: Expected, one: Taken) -> bool:
    if want.sender and national(want.sender) != national(one.sender):
        return False
    return want.iccid in {"", one.iccid} and want.modem in {"", one.modem}


def _missing(want: Expected, times: int, partial: list[Taken]) -> Missing:
    """Say what came of it, where only some segments did."""
    for one in partial:
        if national(one.destination) == national(want.destination) and _is_of(want, one):
            partial.remove(one)
            return Missing(expected=want, times=times, parts=one)
    return Missing(expected=want, times=times)


def _expected(row: Mapping[str, object]) -> Expected:
    lacking = [name for name in ("destination", "text") if row.get(name) is None]
    if lacking:
        raise ScenarioError("is missing: a column of that name, or its value", path=(lacking[0],))
    table = {_KEYS[name]: value for name, value in row.items() if name in _KEYS}
    if isinstance(table.get("times"), str):
        table["times"] = _times(str(table["times"]))
    return read(Expected, {name: value for name, value in table.items() if value is not None})


def _times(text: str) -> int:
    if not text.strip():
        return 1
    if not text.strip().isdigit():
        raise ScenarioError(f'"{text}": a whole number is needed', path=("times",))
    return int(text)


def _rows(text: str) -> Iterable[tuple[int, Mapping[str, object]]]:
    # newline="" would keep a text's own line ends; the file was read as one string, so they are.
    reader = csv.DictReader(text.splitlines(keepends=True))
    for row in reader:
        yield reader.line_num, {str(name).strip(): value for name, value in row.items()}


def _json_rows(path: Path, text: str) -> Iterable[tuple[int, Mapping[str, object]]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ScenarioError(f"{path}:{number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ScenarioError(f"{path}:{number}: an object is needed")
        yield number, row
