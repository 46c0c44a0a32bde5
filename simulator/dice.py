"""Chance that repeats: each draw belongs to a seed, an entity and its own count."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

_BITS: Final = 53


class Dice:
    """Numbers that depend on nothing but (seed, entity, n): the order of draws does not matter."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def draw(self, entity: str, n: int) -> float:
        """A number in [0, 1) for the entity's `n`-th chance."""
        digest = blake2b(f"{self.seed}/{entity}/{n}".encode(), digest_size=8).digest()
        return (int.from_bytes(digest, "big") >> (64 - _BITS)) / (1 << _BITS)


class Draws:
    """What one entry of a story, one connection draws: for each verb a row of its own."""

    def __init__(self, dice: Dice, who: str) -> None:
        self._dice = dice
        self._who = who
        self._chances: dict[str, Chance] = {}

    def of(self, what: str) -> Chance:
        """The row for this verb."""
        found = self._chances.get(what)
        if found is None:
            found = self._chances[what] = Chance(self._dice, f"any/{self._who}/{what}")
        return found


class Chance:
    """One entity's draws, counted: its first, its second, …"""

    def __init__(self, dice: Dice, entity: str) -> None:
        self._dice = dice
        self._entity = entity
        self._count = 0

    def draw(self) -> float:
        """The next number in [0, 1)."""
        self._count += 1
        return self._dice.draw(self._entity, self._count)

    def strikes(self, rate: float) -> bool:
        """True with this probability; a certain thing costs no draw."""
        if rate >= 1:
            return True
        return rate > 0 and self.draw() < rate
