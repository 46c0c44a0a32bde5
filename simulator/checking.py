"""Compares what the network took with what should have been sent: missing, doubled, unexpected."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from simulator.ledger import Fact
from simulator.network.numbers import national
from simulator.reading import ScenarioError, read

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
    As Excel writes them: UTF-8, UTF-16 or GB18030 (GBK), cut by commas, semicolons or tabs.

    Raises:
        ScenarioError: a line is wrong; with its number.
        OSError: the file cannot be read.
    """
    text = _decoded(path)
    found: list[Expected] = []
    is_json = path.suffix in {".jsonl", ".ndjson", ".json"}
    rows = _json_rows(path, text) if is_json else _rows(path, text)
    for number, row in rows:
        try:
            found.append(_expected(row))
        except ScenarioError as error:
            raise ScenarioError(f"{path}:{number}: {error}") from error
    return found


def messages(lines: Iterable[Line]) -> list[Taken]:
    """The messages in a ledger's submits, long ones joined; in the order of their first segment.

    A segment that comes a second time begins another message, which lacks the others; if its text
    is another one, the reference has come round and what was open before it stays incomplete.

    Raises:
        ScenarioError: a line is not as the ledger writes it.
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
        total, sequence = _whole(concat, "total"), _whole(concat, "seq")
        to = national(str(line.get("destination")))
        place = (str(line.get("iccid")), to, _whole(concat, "ref"), total)
        waiting = open_ones.setdefault(place, [])
        if any(one.contradicts(sequence, line) for one in waiting):
            waiting.clear()
        growing = next((one for one in waiting if sequence not in one.parts), None)
        if growing is None:
            growing = _Growing(total=total)
            found.append(growing)
            waiting.append(growing)
        growing.parts[sequence] = line
        if len(growing.parts) == total:  # the reference may come again for another message
            waiting.remove(growing)
    return [one.taken() for one in found]


def compare(lines: Iterable[Line], expected: Sequence[Expected]) -> Comparison:
    """What of `expected` the submits of a ledger lack, have too often, or did not call for."""
    taken = messages(lines)
    left: dict[tuple[str, str | None], list[Taken]] = {}
    for one in taken:
        if not one.lacks:
            left.setdefault((national(one.destination), one.text), []).append(one)
    partial = [one for one in taken if one.lacks]
    short: dict[Expected, int] = {}
    for place, wants in _pools(expected).items():
        matching = _Matching(wants, left.get(place, []))
        short.update(matching.short())
        left[place] = matching.left()
    missing = tuple(_missing(want, times, partial) for want, times in short.items())
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

    def contradicts(self, sequence: int, line: Line) -> bool:
        """True where that segment is here already and says something else."""
        here = self.parts.get(sequence)
        return here is not None and here.get("text") != line.get("text")

    def taken(self) -> Taken:
        first = next(iter(self.parts.values()))
        texts = [self.parts[number].get("text") for number in sorted(self.parts)]
        return Taken(
            destination=str(first.get("destination") or ""),
            text=None if None in texts else _joined(map(str, texts)),
            sender=str(first.get("from") or ""),
            iccid=str(first.get("iccid") or ""),
            modem=str(first.get("modem") or ""),
            time=str(first.get("time") or ""),
            pieces=() if None in texts else tuple(map(str, texts)),
            lines=tuple(_whole(part, "n") for part in self.parts.values()),
            lacks=tuple(n for n in range(1, self.total + 1) if n not in self.parts),
        )


def _joined(texts: Iterable[str]) -> str:
    # A character outside the first plane may be cut in two by the end of a segment.
    units = "".join(texts).encode("utf-16-le", "surrogatepass")
    return units.decode("utf-16-le", "replace")


def _whole(facts: Line, name: str) -> int:
    fact = facts.get(name)
    if not isinstance(fact, int):
        raise ScenarioError(f"a submit in the ledger has no {name}; the file is damaged")
    return fact


def _pools(expected: Sequence[Expected]) -> dict[tuple[str, str | None], Counter[Expected]]:
    """What is expected by number and text, and how often."""
    pools: dict[tuple[str, str | None], Counter[Expected]] = {}
    for want in expected:
        place = (national(want.destination), want.text)
        pools.setdefault(place, Counter())[want] += want.times
    return pools


class _Matching:
    """Gives as many messages of one number and text as can be to who expects them.

    Source: augmenting paths in a bipartite graph (H. W. Kuhn, 1955).
    """

    def __init__(self, wants: Counter[Expected], pool: list[Taken]) -> None:
        # Whoever asks for most is served first: then paths are seldom needed.
        self._wants = sorted(wants.items(), key=lambda pair: -_weight(pair[0]))
        self._pool = pool
        self._owner: dict[int, int] = {}
        self._lack = [times for _, times in self._wants]
        self._dead: set[int] = set()  # messages from which no path leads to a free one
        for number, (want, _) in enumerate(self._wants):
            self._serve(number, want)
        for number in range(len(self._wants)):
            while self._lack[number] and self._has_path(number):
                self._lack[number] -= 1

    def short(self) -> dict[Expected, int]:
        """Who lacks how many."""
        pairs = zip(self._wants, self._lack, strict=True)
        return {want: lack for (want, _), lack in pairs if lack}

    def left(self) -> list[Taken]:
        """What nobody got."""
        return [one for place, one in enumerate(self._pool) if place not in self._owner]

    def _serve(self, number: int, want: Expected) -> None:
        for place, one in enumerate(self._pool):
            if not self._lack[number]:
                return
            if place not in self._owner and _fits(want, one):
                self._owner[place] = number
                self._lack[number] -= 1

    def _has_path(self, start: int) -> bool:
        """Find one more for `start`, where others can do with another one of theirs."""
        asked_by: dict[int, int] = {}
        gives_up: dict[int, int] = {}
        queue = deque([start])
        while queue:
            number = queue.popleft()
            for place, one in enumerate(self._pool):
                is_seen = place in asked_by or place in self._dead
                if is_seen or not _fits(self._wants[number][0], one):
                    continue
                asked_by[place] = number
                owner = self._owner.get(place)
                if owner is None:
                    self._shift(place, start, asked_by, gives_up)
                    return True
                if owner != start and owner not in gives_up:
                    gives_up[owner] = place
                    queue.append(owner)
        self._dead.update(asked_by)
        return False

    def _shift(
        self, place: int, start: int, asked_by: dict[int, int], gives_up: dict[int, int]
    ) -> None:
        while True:
            number = asked_by[place]
            self._owner[place] = number
            if number == start:
                return
            place = gives_up[number]


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
    found = read(Expected, {name: value for name, value in table.items() if value is not None})
    if found.times < 0:
        raise ScenarioError(f"{found.times}: not below 0", path=("times",))
    return found


def _times(text: str) -> int:
    if not text.strip():
        return 1
    if not re.fullmatch(r"\s*[0-9]{1,9}\s*", text):
        raise ScenarioError(f'"{text}": a whole number is needed', path=("times",))
    return int(text)


def _decoded(path: Path) -> str:
    """A file's text with its own line ends."""
    octets = path.read_bytes()
    is_wide = octets.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16",) if is_wide else ("utf-8-sig", "gb18030"):
        try:
            return octets.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ScenarioError(f"{path}: neither UTF-8 nor UTF-16 nor GB18030; save it as CSV UTF-8")


def _rows(path: Path, text: str) -> Iterable[tuple[int, Mapping[str, object]]]:
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    # newline="" keeps a text's own line ends.
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            yield reader.line_num, {str(name).strip(): value for name, value in row.items()}
    except csv.Error as error:
        raise ScenarioError(f"{path}:{reader.line_num}: no CSV: {error}") from error


def _json_rows(path: Path, text: str) -> Iterable[tuple[int, Mapping[str, object]]]:
    # Only "\n" ends a line: a text may hold what else Unicode calls a line's end.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ScenarioError(f"{path}:{number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ScenarioError(f"{path}:{number}: an object is needed")
        yield number, row
