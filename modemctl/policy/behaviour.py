"""What an account does that nobody in his right mind does (SEC-06), and where a key counts (CC-02).

Moments are seconds of a clock that only goes on; places are the words of `place_of`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, tzinfo
from enum import StrEnum

UNIX = "unix"
"""Stands for the Unix socket in a key's list of addresses."""


class Oddity(StrEnum):
    """Abnormal behaviour; an account that shows one is frozen at once."""

    MANY_PLACES = "many_places"
    FAILED_TRIES = "failed_tries"
    NIGHT_EXPORT = "night_export"


@dataclass(frozen=True, slots=True, kw_only=True)
class BehaviourRules:
    """How much is too much. Times of day are local in `zone`; weekdays count from Monday, 0."""

    max_places: int
    places_within: float
    max_failures: int
    failures_within: float
    max_night_exports: int
    exports_within: float
    work_from: time
    work_until: time
    rest_weekdays: frozenset[int]
    zone: tzinfo


def too_many_places(seen: Mapping[str, float], now: float, rules: BehaviourRules) -> bool:
    """Whether one account is at more places than one person can be; `seen`: place → last time."""
    recent = sum(now - at <= rules.places_within for at in seen.values())
    return recent > rules.max_places


def too_many_failures(failures: Sequence[float], now: float, rules: BehaviourRules) -> bool:
    """Whether somebody guesses the secret of a key."""
    recent = sum(now - at <= rules.failures_within for at in failures)
    return recent > rules.max_failures


def too_many_exports(
    exports: Sequence[float], now: float, at: datetime, rules: BehaviourRules
) -> bool:
    """Whether data leave in bulk while nobody works; `exports` are those outside working hours."""
    recent = sum(now - one <= rules.exports_within for one in exports)
    return not is_working_time(at, rules) and recent > rules.max_night_exports


def is_working_time(at: datetime, rules: BehaviourRules) -> bool:
    """Whether people work then."""
    local = at.astimezone(rules.zone)
    is_day = local.weekday() not in rules.rest_weekdays
    return is_day and rules.work_from <= local.time() < rules.work_until


def place_of(source: str) -> str:
    """Where a request came from, without what changes between two requests of one place."""
    return source.removeprefix("tcp:") if source.startswith("tcp:") else source


def is_registered(source: str, addresses: Collection[str]) -> bool:
    """Whether a key with these addresses (CIDR, or `unix`) counts where a request comes from.

    Without any it counts on the Unix socket and on the machine's own loopback only.
    """
    if not source.startswith("tcp:"):
        return not addresses or UNIX in addresses
    try:
        address = ipaddress.ip_address(source.removeprefix("tcp:"))
    except ValueError:
        return False
    if not addresses:
        return address.is_loopback
    networks = (ipaddress.ip_network(one) for one in addresses if one != UNIX)
    return any(address in network for network in networks)
