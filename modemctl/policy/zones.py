"""Time zones by their IANA names."""

from __future__ import annotations

from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

NAME_MAX: Final = 36
"""Characters; the longest of IANA has 32."""


@cache
def zone_named(name: str) -> ZoneInfo:
    """The zone of this name, each read once.

    Raises:
        KeyError: there is none.
    """
    return ZoneInfo(name)


@cache
def known_zones() -> frozenset[str]:
    """All names; it walks through the machine's files the first time: not on the loop."""
    return frozenset(one for one in available_timezones() if len(one) <= NAME_MAX)
