"""The recovery ladder: which step is next, when it starts again from below, when it is spent."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Step(StrEnum):
    """What is tried, gentlest first."""

    REALIGN = "realign"
    REOPEN = "reopen"
    RESET = "reset"


_ORDER: Final = (Step.REALIGN, Step.REOPEN, Step.RESET)
_COOL_DOWN: Final = 900.0  # seconds in FAILED before the first retry
_LONGEST_COOL_DOWN: Final = 7_200.0
_PAUSES: Final = {Step.REALIGN: 0.0, Step.REOPEN: 1.0, Step.RESET: 5.0}


class Ladder:
    """One bay's. A step that helped only for a moment is not taken twice: the next one is."""

    def __init__(self) -> None:
        self._next = 0
        self._n_spent = 0

    def climb(self, *, has_link: bool) -> Step | None:
        """The next step, None when all are spent; without a link there is nothing to realign."""
        if self._next == 0 and not has_link:
            self._next = 1
        if self._next >= len(_ORDER):
            self._n_spent += 1
            self._next = 0
            return None
        step = _ORDER[self._next]
        self._next += 1
        return step

    def rest(self) -> None:
        """The modem works: next time from the lowest step."""
        self._next = 0
        self._n_spent = 0

    @staticmethod
    def pause(step: Step) -> float:
        """Seconds to wait before a step."""
        return _PAUSES[step]

    @property
    def cool_down(self) -> float:
        """Seconds to stay in FAILED; doubles each time that the ladder was spent."""
        return float(min(_COOL_DOWN * 2 ** max(0, self._n_spent - 1), _LONGEST_COOL_DOWN))
