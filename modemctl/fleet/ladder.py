"""The recovery ladder: which step is next, when it starts again from below, when it is spent.

Times are seconds of any clock that only grows. What is known outlives a bay's actor: a modem whose
port went in the middle of a step is met again by the next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from modemctl.model import Bay


class Step(StrEnum):
    """What is tried, gentlest first."""

    REALIGN = "realign"
    REOPEN = "reopen"
    RESET = "reset"  # `+CFUN=1,1` or the vendor's command
    REBIND = "rebind"  # the USB device is taken from its drivers and given back
    POWER = "power"  # the hub's port is switched off and on (opt-in)


ORDER: Final = tuple(Step)
USB_STEPS: Final = frozenset({Step.REBIND, Step.POWER})
"""Steps that touch more than the bay's own link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One step: seconds to wait before it, seconds it may take, how often in an hour."""

    pause: float
    limit: float
    per_bay: int
    per_hub: int


_ALL: Final = 1_000_000
_STARTING: Final = 1_200.0
"""Seconds: after a hub's failure hundreds of modems wait for their turn to start, 16 at a time."""

TABLE: Final[Mapping[Step, Row]] = MappingProxyType({
    Step.REALIGN: Row(pause=0.0, limit=90.0, per_bay=_ALL, per_hub=_ALL),
    Step.REOPEN: Row(pause=1.0, limit=_STARTING, per_bay=60, per_hub=_ALL),
    Step.RESET: Row(pause=5.0, limit=_STARTING, per_bay=6, per_hub=_ALL),
    Step.REBIND: Row(pause=5.0, limit=_STARTING, per_bay=4, per_hub=8),
    Step.POWER: Row(pause=10.0, limit=_STARTING, per_bay=2, per_hub=4),
})  # fmt: skip
"""The ladder's limits."""

HOUR: Final = 3_600.0
"""Seconds of the budgets' span."""

_LONGEST_PAUSE: Final = 60.0
_COOL_DOWN: Final = 900.0  # seconds in FAILED before the first retry
_LONGEST_COOL_DOWN: Final = 7_200.0


class Ladder:
    """One bay's. A step that helped only for a moment is not taken twice: the next one is.

    What helped for an hour helped: then it begins with the lowest step again.
    """

    def __init__(self) -> None:
        self._next = 0
        self._n_spent = 0
        self._climbed_at = -HOUR

    def climb(self, now: float, *, offered: Collection[Step]) -> Step | None:
        """The next step of those that are possible here; None when all are spent."""
        if now - self._climbed_at >= HOUR:
            self._next = 0
        self._climbed_at = now
        while self._next < len(ORDER):
            step = ORDER[self._next]
            self._next += 1
            if step in offered:
                return step
        self._n_spent += 1
        self._next = 0
        return None

    def skip_to(self, step: Step, now: float) -> None:
        """What is below this step would not help: begin with it, or where we are above it."""
        if now - self._climbed_at >= HOUR:
            self._next = 0
        self._climbed_at = now
        self._next = max(self._next, ORDER.index(step))

    def rest(self) -> None:
        """The modem works: next time from the lowest step."""
        self._next = 0
        self._n_spent = 0

    @property
    def cool_down(self) -> float:
        """Seconds to stay in FAILED; doubles each time that the ladder was spent."""
        return float(min(_COOL_DOWN * 2 ** max(0, self._n_spent - 1), _LONGEST_COOL_DOWN))


class Ladders:
    """The node's: each bay's ladder, and how often which step was taken in the last hour."""

    def __init__(self) -> None:
        self._ladders: dict[Bay, Ladder] = {}
        self._taken: dict[tuple[str, Step], deque[float]] = {}
        self._lacking: set[Step] = set()

    def of(self, bay: Bay) -> Ladder:
        """A bay's ladder, whatever became of its actors."""
        return self._ladders.setdefault(bay, Ladder())

    def refusal(self, step: Step, bay: Bay, hub: str | None, now: float) -> str | None:
        """Why the hour's budget forbids a step; None where it does not."""
        row = TABLE[step]
        if self._count(f"bay {bay}", step, now) >= row.per_bay:
            return f"{row.per_bay} in an hour are the bay's budget"
        if hub is not None and self._count(f"hub {hub}", step, now) >= row.per_hub:
            return f"{row.per_hub} in an hour are the budget of hub {hub}"
        return None

    def note(self, step: Step, bay: Bay, hub: str | None, now: float) -> None:
        """A step is being taken."""
        for key in (f"bay {bay}", *(() if hub is None else (f"hub {hub}",))):
            self._taken.setdefault((key, step), deque(maxlen=256)).append(now)

    def take_back(self, step: Step, bay: Bay, hub: str | None) -> None:
        """A step that was noted last was not taken after all."""
        for key in (f"bay {bay}", *(() if hub is None else (f"hub {hub}",))):
            if taken := self._taken.get((key, step)):
                taken.pop()

    def is_first_lack(self, step: Step) -> bool:
        """Whether nobody has said yet that this node has no rights to a step."""
        is_first = step not in self._lacking
        self._lacking.add(step)
        return is_first

    def pause(self, step: Step, bay: Bay, now: float) -> float:
        """Seconds to wait before a step: twice as long for each time it was taken this hour."""
        n_before = min(self._count(f"bay {bay}", step, now), 16)
        return float(min(TABLE[step].pause * 2**n_before, _LONGEST_PAUSE))

    def _count(self, key: str, step: Step, now: float) -> int:
        taken = self._taken.get((key, step))
        if taken is None:
            return 0
        while taken and taken[0] <= now - HOUR:
            taken.popleft()
        return len(taken)
