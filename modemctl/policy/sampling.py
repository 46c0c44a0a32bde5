"""Which entries a spot check looks at (SEC-05): a draw that nobody chooses and anybody repeats.

The seed is SHA-256 over the node's signature of the last entry of the span, which nobody knows
before that entry is written, and which the chain holds from then on. An entry's rank is SHA-256
over seed and number; those with the least ranks are drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

LEAST: Final = 30
"""Percent of the entries that a spot check looks at, at least."""


def seed_of(signature: bytes, label: str) -> str:
    """The seed (64 hexadecimal digits) of a draw, by the signature of its span's last entry.

    `label` tells draws of different kinds apart, such as `week` and `year`.
    """
    text = f"modemctl-sample/1 {label} ".encode()
    return hashlib.sha256(text + signature).hexdigest()


def draw(numbers: Sequence[int], percent: int, seed: str) -> Sequence[int]:
    """At least `percent` of the numbers, rounded up, in order.

    Raises:
        ValueError: less than the company's rules ask for, or more than all.
    """
    if not LEAST <= percent <= 100:
        raise ValueError(f"must be {LEAST} to 100 (SEC-05)")
    n_drawn = -(-len(numbers) * percent // 100)
    return sorted(sorted(numbers, key=lambda number: rank(seed, number))[:n_drawn])


def rank(seed: str, name: object) -> bytes:
    """Where a number, or a month's name, stands among others."""
    return hashlib.sha256(f"{seed} {name}".encode()).digest()
