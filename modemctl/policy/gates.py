"""What shuts the way to all modems of a node at once, beside a stop that a person places."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class ClockTrust:
    """Why the machine's clock is not believed yet; empty where it is. Written by one task."""

    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shut:
    """Nothing leaves; `holds`: what runs is held, until a person resumes it."""

    reason: str
    policy: str
    holds: bool
