"""The progress clock: a walker in whose state nothing moves is sent on, however it came to hang.

Each wait on a modem has a time limit of its own, below us. This is for what those do not see: a
driver that waits for ever, a lock that nobody gives back, a fault of ours.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeVar

from modemctl.fleet.moves import Interrupted
from modemctl.lifecycle import ModemEvent, ModemState

_log = logging.getLogger(__name__)

_M, _E = ModemState, ModemEvent
ResultT = TypeVar("ResultT")

LIMITS: Final[Mapping[ModemState, float]] = MappingProxyType({
    _M.PROBING: 180.0,  # opening takes up to 15 s, each speed is tried for a few
    _M.REFUSED: 60.0,
    _M.STARTING: 120.0,  # `+CFUN=1` takes up to 30 s, everything else 10
    _M.CHECKING: 120.0,
    _M.QUARANTINED: 60.0,
    _M.UNLOCKING: 240.0,  # one command lists a whole storage: 120 s
    _M.SIM_WAIT: 60.0,
    _M.SEARCHING: 120.0,
    _M.READY: 240.0,  # beside the time that a submit may take
    _M.RECOVERING: 600.0,  # the steps have limits of their own
    _M.FAILED: 120.0,
})  # fmt: skip
"""Seconds without a sign of progress, beyond a rest that the walker chose, after which it hangs."""

ENDS: Final[Mapping[ModemState, ModemEvent]] = MappingProxyType({
    **dict.fromkeys(LIMITS, _E.WATCHDOG),
    _M.PROBING: _E.NO_ANSWER,
    _M.REFUSED: _E.PORT_GONE,  # begun anew, never let in
    _M.RECOVERING: _E.LADDER_SPENT,
    _M.FAILED: _E.RETRY,
})  # fmt: skip
"""What becomes of a walker that hangs in a state."""

_EXCUSED_FOR: Final = 5.0  # seconds until a hang that has an excuse is looked at again
_CLEAN_UP: Final = 60.0  # seconds for what a stay that was cut off has to put in order
_N_CUTS: Final = 3  # of one stay; who has not left then never will


class Progress:
    """One walker's. `mark` is cheap: it is called at every turn.

    `n_answers`: how many commands the modem has answered so far, None where nobody counts;
    `is_excused`: whether something else than the modem holds the walker up just now; `on_hang`
    hears of each stay that was cut off, `on_stuck` of one that does not end even so.
    """

    def __init__(
        self,
        *,
        n_answers: Callable[[], int | None],
        is_excused: Callable[[], bool],
        on_hang: Callable[[ModemState], None],
        on_stuck: Callable[[], None],
        submit_timeout: float,
    ) -> None:
        self._n_answers = n_answers
        self._is_excused = is_excused
        self._on_hang = on_hang
        self._on_stuck = on_stuck
        self._submit_timeout = submit_timeout
        self._moved_at = 0.0
        self._n_seen: int | None = None

    def mark(self, *, rests_until: float = 0.0) -> None:
        """Something moved, or the walker rests on purpose until a point of the loop's time."""
        self._moved_at = max(asyncio.get_running_loop().time(), rests_until)

    async def watch(self, state: ModemState, stay: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Stay, for as long as something moves.

        Raises:
            Interrupted: nothing moved for longer than the state's limit; the stay was cut off.
            Exception: what the stay raised.
        """
        limit = LIMITS[state] + (self._submit_timeout if state is _M.READY else 0.0)
        self.mark()
        self._n_seen = self._n_answers()
        cuts = _Cuts()
        timer = _Timer(lambda: self._look(limit, cuts, state))
        timer.set(limit)
        try:
            return await stay()
        except asyncio.CancelledError as error:
            if not cuts.are_all():
                raise
            raise Interrupted(ENDS[state], f"nothing moved for {limit:g} s") from error
        finally:
            timer.stop()
            cuts.take_back()

    def _look(self, limit: float, cuts: _Cuts, state: ModemState) -> float | None:
        """Cut the stay off where it hangs; when to look again, in seconds."""
        now = asyncio.get_running_loop().time()
        n_answers = self._n_answers()
        if state is not _M.READY and n_answers != self._n_seen:
            # In READY the receiver's commands are answered beside a sender that may hang.
            self._n_seen, self._moved_at = n_answers, max(self._moved_at, now)
        left = self._moved_at + limit - now
        if left > 0 and not cuts.n:
            return left
        if self._is_excused():
            self._moved_at = now  # who has waited long for others has all its own time yet
            return _EXCUSED_FOR
        facts = {"state": state.value, "limit": limit, "n_cuts": cuts.n}
        if cuts.n >= _N_CUTS:
            _log.error("actor.stuck", extra=facts)
            self._on_stuck()
            return None
        _log.error("actor.hangs", extra=facts)
        if not cuts.n:
            self._on_hang(state)
        cuts.cut()
        return _CLEAN_UP


class _Cuts:
    """How often the present task was cancelled by us; others' cancellations stay theirs."""

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "a walker is a task"
        self._task = task
        self._n_others = task.cancelling()
        self.n = 0

    def cut(self) -> None:
        self.n += 1
        self._task.cancel()

    def are_all(self) -> bool:
        """Whether the task was cancelled by us and nobody else."""
        return self.n > 0 and self._task.cancelling() <= self._n_others + self.n

    def take_back(self) -> None:
        for _ in range(self.n):
            self._task.uncancel()
        self.n = 0


class _Timer:
    """Calls again and again, each time after the seconds that the last call returned."""

    def __init__(self, look: Callable[[], float | None]) -> None:
        self._look = look
        self._handle: asyncio.TimerHandle | None = None

    def set(self, seconds: float) -> None:
        self._handle = asyncio.get_running_loop().call_later(seconds, self._on_due)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _on_due(self) -> None:
        self._handle = None
        again = self._look()
        if again is not None:
            self.set(again)
