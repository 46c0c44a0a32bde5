"""Questions whose answers are known, by which a link is brought back into step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing that is known of the modem: the command that asks it, and how it is told."""

    text: str
    is_told_by: Callable[[str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question of known answer: these facts in this order, then `OK`."""

    text: str
    facts: tuple[Fact, ...] = ()
    timeout: float = 3.0


def questions_about(facts: Sequence[Fact]) -> list[Question]:
    """Different questions from few facts: each alone, then every order of two, of three, …

    No question need be asked twice, so a late answer to one never fits another.
    """
    return [
        Question(text="AT" + ";".join(fact.text[2:] for fact in order), facts=order)
        for n_facts in range(1, len(facts) + 1)
        for order in permutations(facts, n_facts)
    ]
