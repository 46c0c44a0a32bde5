"""What came of a card's message to itself (SIM-18)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from modemctl.lifecycle import SegmentState

LATE: Final = timedelta(hours=1)
"""A message to oneself that is not there by then is a fault of card, modem or network."""

_OPEN: Final = frozenset({SegmentState.QUEUED, SegmentState.LEASED, SegmentState.SUBMITTING})
_ACCEPTED: Final = frozenset({SegmentState.SENT, SegmentState.DELIVERED})


class LoopState(StrEnum):
    """How far a card's message to itself has come."""

    NONE = "none"
    WAITING = "waiting"  # to leave, or to arrive
    ARRIVED = "arrived"
    DELIVERED = "delivered"  # so says the report; it is not in the card's inbox
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """What is told of it; `seconds` from its submit to its arrival."""

    state: LoopState
    told: str
    seconds: float | None = None
    is_fault: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopFacts:
    """A card's latest message to itself: its segments, why the last one stands as it does.

    `held` says why its batch goes no further now, `is_ruled` that a rule kept it back: neither is
    the card's fault. `sent_at` is the last segment's.
    """

    states: Collection[SegmentState]
    note: str
    held: str | None
    sent_at: datetime | None
    arrived_at: datetime | None
    is_ruled: bool = False


def judge_loop(facts: LoopFacts, now: datetime) -> Loop:
    """What came of it; what arrived has arrived, whatever modem and report say."""
    if facts.arrived_at is not None and facts.sent_at is not None:
        seconds = max(0.0, (facts.arrived_at - facts.sent_at).total_seconds())
        told = f"arrived after {seconds:.0f} s"
        return Loop(state=LoopState.ARRIVED, told=told, seconds=seconds)
    states = set(facts.states)
    if states <= _ACCEPTED and facts.sent_at is not None:
        return _not_arrived(states, facts.sent_at, now)
    bad = sorted(states - _OPEN - _ACCEPTED)
    if not bad and facts.held is None:
        return Loop(state=LoopState.WAITING, told="waiting to leave")
    why = facts.held or f"{bad[0]}: {facts.note}".rstrip(": ")
    is_fault = facts.held is None and not facts.is_ruled
    return Loop(state=LoopState.FAILED, told=f"failed: {why}", is_fault=is_fault)


def _not_arrived(states: Collection[SegmentState], sent_at: datetime, now: datetime) -> Loop:
    is_late = now - sent_at >= LATE
    if SegmentState.SENT not in states:
        told = "delivered, but not arrived" + (" within an hour" if is_late else " yet")
        return Loop(state=LoopState.DELIVERED, told=told, is_fault=is_late)
    if is_late:
        told = "failed: sent, and not arrived within an hour"
        return Loop(state=LoopState.FAILED, told=told, is_fault=True)
    return Loop(state=LoopState.WAITING, told="sent, not arrived yet")
