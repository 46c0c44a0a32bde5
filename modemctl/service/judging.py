"""A recipient list's lines judged: who gets the message, who does not and why (SMS-07, SMS-08).

Nothing here knows a key or the database: long lists are judged in a process of their own. It is
told the batch's salt, which opens nothing but the hashes of these very lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from modemctl.errors import PolicyRefused
from modemctl.model import mask_text
from modemctl.policy.content import ContentRules, has_control, render, variables_of
from modemctl.policy.digest import Line, leaf, line_jcs
from modemctl.policy.numbers import NumberRules, Rejection, normalise
from modemctl.service.recipients import Reading, Recipient, in_slices
from modemctl.sms.alphabet import Unencodable
from modemctl.sms.segments import SegmentPlan, plan

_MAX_SHOWN: Final = 32  # characters of a refused line


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRules:
    """All that a line is judged by; `salt` is the batch's, for the lines' leaves.

    Without a salt nobody signs the lines: they have neither octets nor leaf.
    """

    category: str
    template: str = field(repr=False)
    numbers: NumberRules
    content: ContentRules
    smallest_cap: int
    salt: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoodLine:
    """A line that gets the message.

    `octets` are those that approvers sign (RFC 8785), by their hash: the `leaf`; both empty where
    nobody does.
    """

    line_no: int
    to: str = field(repr=False)
    octets: bytes = field(repr=False)
    leaf: bytes
    n_segments: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """A line that does not; `masked` shows what stood there."""

    line_no: int
    masked: str
    reason: Rejection


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A slice of the list; `forcing` are characters that force UCS-2, `share` how far it is."""

    good: Sequence[GoodLine]
    bad: Sequence[BadLine]
    forcing: Sequence[str]
    last_line: int
    share: float


class Judge:
    """Judges one list from its first line to its last; knows the numbers that it has seen."""

    def __init__(self, rules: JudgeRules) -> None:
        self._rules = rules
        self._needed = sorted(variables_of(rules.template))
        self._plan = None if self._needed else _plan(rules.template)
        self._seen: set[int] = set()  # a third of what their texts would take

    def judge(self, reading: Reading) -> Iterator[Judged]:
        """All of the list in slices.

        Raises:
            PolicyRefused: SMS-08, SMS-12, SMS-02: what a line's variables make of the text.
            InvalidRequest: the list itself is wrong.
        """
        for part in in_slices(reading.lines):
            good: list[GoodLine] = []
            bad: list[BadLine] = []
            forcing: dict[str, None] = {}  # a set that keeps its order
            texts: list[str] = []
            for source in part:
                found = self._judge(source, forcing, texts)
                if isinstance(found, Rejection):
                    masked = mask_text(source.to.strip()[:_MAX_SHOWN])
                    bad.append(BadLine(line_no=source.line_no, masked=masked, reason=found))
                else:
                    good.append(found)
            self._check(good, texts)
            yield Judged(
                good=good,
                bad=bad,
                forcing=list(forcing),
                last_line=part[-1].line_no,
                share=reading.share(),
            )

    def _check(self, good: Sequence[GoodLine], texts: Sequence[str]) -> None:
        """Refuse the list for the first line whose variables make the text break a rule."""
        if not texts:
            return
        content, category = self._rules.content, self._rules.category
        at = content.check_all(texts, template=self._rules.template, category=category)
        if at is None:
            return
        try:
            content.check(texts[at], category=category)
        except PolicyRefused as error:
            raise PolicyRefused(
                error.policy or "SMS-08",
                f"line {good[at].line_no}, its variables put in: {error.rule}",
                cure=error.cure,
                field="text",
                value=error.value,
            ) from None

    def _judge(
        self, source: Recipient, forcing: dict[str, None], texts: list[str]
    ) -> GoodLine | Rejection:
        to = normalise(source.to, self._rules.numbers)
        if isinstance(to, Rejection):
            return to
        variables = {name: source.variables.get(name, "") for name in self._needed}
        if not all(variables.values()):
            return Rejection.MISSING_VARIABLE
        text = self._text(variables)
        found = self._plan if text is None else _plan(text)
        if found is None:
            return Rejection.BAD_TEXT
        if found.n_segments > self._rules.smallest_cap:
            return Rejection.TOO_LONG
        number = int(to)
        if number in self._seen:
            return Rejection.DUPLICATE
        self._seen.add(number)
        if text is not None:
            texts.append(text)
        for char in found.forcing:
            forcing[char] = None
        salt, octets = self._rules.salt, b""
        if salt is not None:
            octets = line_jcs(Line(line_no=source.line_no, to=to, variables=variables))
        return GoodLine(
            line_no=source.line_no,
            to=to,
            octets=octets,
            leaf=b"" if salt is None else leaf(octets, salt=salt, line_no=source.line_no),
            n_segments=found.n_segments,
        )

    def _text(self, variables: dict[str, str]) -> str | None:
        """The text with its variables put in; None where it needs none.

        Empty, and hence not sent, where a variable holds what no text may.
        """
        if not self._needed:
            return None
        if any(map(has_control, variables.values())):
            return ""
        return render(self._rules.template, variables)


def _plan(text: str) -> SegmentPlan | None:
    try:
        return plan(text) if text else None
    except Unencodable:
        return None
