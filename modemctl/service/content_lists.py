"""The site's own lists of words: TOML files of one folder, read once at the start (SMS-08)."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

from modemctl.config import Settings
from modemctl.errors import ConfigError
from modemctl.policy.content import ContentRules
from modemctl.policy.folding import fold
from modemctl.policy.links import SHORTENERS, LinkList, ascii_host
from modemctl.policy.words import LEAST_WORD, Pattern, WordRule

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_KEYS: Final = frozenset({"categories", "words", "patterns", "is_promotion", "cure"})
_MAX_WORDS: Final = 20_000


def content_rules(settings: Settings) -> ContentRules:
    """What texts may say at this site; reads files.

    Raises:
        ConfigError: a list or a link is wrong; all mistakes at once.
    """
    problems = [
        f"content.links: {entry}: a short-link service leads anywhere; name the whole link"
        for entry in settings.content.links
        if ascii_host(entry.lower()) in SHORTENERS
    ]
    problems += [
        f"content.links: {entry}: no such name can exist"
        for entry in settings.content.links
        if not ascii_host(entry.partition("/")[0].lower())
    ]
    rules: list[WordRule] = []
    for path in sorted(settings.content.lists.glob("*.toml")):
        found = _read(path, frozenset(settings.approvals.chains))
        if isinstance(found, WordRule):
            rules.append(found)
        else:
            problems += [f"{path}: {one}" for one in found]
    if problems:
        raise ConfigError(problems)
    return ContentRules(
        signature=settings.site.signature,
        lists=tuple(rules),
        links=LinkList(settings.content.links),
    )


def _read(path: Path, categories: frozenset[str]) -> WordRule | list[str]:
    """The list of one file, or what is wrong with it."""
    if not _NAME.fullmatch(path.stem):
        return ["its name, which refusals tell, has letters, digits, - and _ only"]
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        return [f"cannot be read: {error}"]
    problems = [f"{key}: no such key" for key in data.keys() - _KEYS]
    words, patterns = _strings(data, "words", problems), _strings(data, "patterns", problems)
    named = frozenset(_strings(data, "categories", problems))
    is_promotion, cure = data.get("is_promotion", False), data.get("cure", "take it out")
    if not isinstance(is_promotion, bool) or not isinstance(cure, str):
        problems.append("is_promotion must be true or false, cure a text")
    problems += [f"categories: {one}: no such category" for one in sorted(named - categories)]
    problems += [f"words: {word!r}: has too few letters" for word in words if not _can_be(word)]
    problems += [f"patterns: {one!r}: {why}" for one in patterns if (why := _mistake(one))]
    if not words and not patterns:
        problems.append("has neither words nor patterns")
    if len(words) > _MAX_WORDS:
        problems.append(f"words: more than {_MAX_WORDS}")
    if problems:
        return problems
    return WordRule(
        name=path.stem,
        categories=named or None,
        words=words,
        patterns=patterns,
        is_promotion=bool(is_promotion),
        cure=str(cure),
    )


def _strings(data: dict[str, object], key: str, problems: list[str]) -> tuple[str, ...]:
    value = data.get(key, [])
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(value)
    problems.append(f"{key}: must be a list of texts")
    return ()


def _can_be(word: str) -> bool:
    folded = fold(word)
    return len(folded.tight) >= LEAST_WORD and any(char.isalnum() for char in folded.tight)


def _mistake(pattern: str) -> str | None:
    try:
        compiled = Pattern.of(pattern).compiled
    except re.error as error:
        return f"is no regular expression: {error}"
    return "fits an empty text" if compiled.search("") else None
