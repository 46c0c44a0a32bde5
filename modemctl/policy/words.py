"""Lists of words and patterns that a text of some categories may not hold (SMS-02, SMS-08)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from modemctl.policy.folding import Folded, fold

LEAST_WORD: Final = 2
"""Characters of the shortest word: a single one stands in half of all texts."""
_HAN: Final = re.compile(r"[㐀-鿿]")
_WORD: Final = re.compile(r"[a-z0-9à-ɏ]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class WordRule:
    """A list: who hits it is refused. `categories` None: all; words in any script and width.

    `is_promotion`: it tells only notices that they are promotions (SMS-02).
    """

    name: str
    categories: frozenset[str] | None = None
    words: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    cure: str = "take it out"
    is_promotion: bool = False

    def covers(self, category: str) -> bool:
        """Whether the list holds for a category."""
        return self.categories is None or category in self.categories


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """A regular expression for folded texts; one that knows where words end needs their spaces."""

    compiled: re.Pattern[str]
    knows_words: bool

    @classmethod
    def of(cls, text: str) -> Pattern:
        """The pattern of a list; capitals in it match what became small letters.

        Raises:
            re.error: it is no regular expression.
        """
        has_capitals = re.search(r"[A-Z]", re.sub(r"\\.", "", text)) is not None
        compiled = re.compile(text, re.IGNORECASE if has_capitals else 0)  # much slower with it
        return cls(compiled=compiled, knows_words=r"\b" in text or r"\s" in text)

    def forms(self, text: Folded) -> tuple[str, ...]:
        """Those of a text's forms in which it may be found."""
        if self.knows_words or text.plain == text.tight:
            return (text.plain,)
        return (text.tight, text.plain)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A list's word or pattern found in a folded text."""

    rule: WordRule
    found: str


class WordSearch:
    """Finds the first hit of many lists in about the time that a look at each character takes."""

    def __init__(self, rules: Sequence[WordRule]) -> None:
        self._torn: dict[str, list[tuple[str, WordRule]]] = defaultdict(list)
        self._whole: dict[str, list[tuple[str, WordRule]]] = defaultdict(list)
        for rule in rules:
            for word in rule.words:
                self._add(word, rule)
        firsts = "".join(sorted({re.escape(pair[0]) for pair in self._torn}))
        self._firsts = re.compile(f"[{firsts}]" if firsts else r"(?!)")
        self._patterns = [(Pattern.of(one), rule) for rule in rules for one in rule.patterns]

    def first(self, text: Folded) -> Hit | None:
        """The first word found, else the first pattern."""
        return self._torn_word(text.tight) or self._whole_word(text.plain) or self._pattern(text)

    def _add(self, word: str, rule: WordRule) -> None:
        folded = fold(word)
        if _HAN.search(folded.plain):
            self._torn[folded.tight[:LEAST_WORD]].append((folded.tight, rule))
        else:
            words = _WORD.findall(folded.plain)
            self._whole[words[0]].append((r"[\W_]+".join(map(re.escape, words)), rule))

    def _torn_word(self, tight: str) -> Hit | None:
        for found in self._firsts.finditer(tight):
            start = found.start()
            for word, rule in self._torn.get(tight[start : start + LEAST_WORD], ()):
                if tight.startswith(word, start):
                    return Hit(rule=rule, found=word)
        return None

    def _whole_word(self, plain: str) -> Hit | None:
        if not self._whole:
            return None
        for first in self._whole.keys() & set(_WORD.findall(plain)):
            for words, rule in self._whole[first]:
                found = re.search(rf"(?<![^\W_]){words}(?![^\W_])", plain)
                if found is not None:
                    return Hit(rule=rule, found=found[0])
        return None

    def _pattern(self, text: Folded) -> Hit | None:
        for pattern, rule in self._patterns:
            for form in pattern.forms(text):
                found = pattern.compiled.search(form)
                if found is not None:
                    return Hit(rule=rule, found=found[0])
        return None
