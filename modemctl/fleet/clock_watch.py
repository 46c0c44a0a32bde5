"""The machine's clock at a start: nothing is sent until it may be believed (limits, windows, log).

What leaves then goes by it, also where the time server goes away later: steady time bears that.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

from modemctl.policy.gates import ClockTrust
from modemctl.store import Store

_log = logging.getLogger(__name__)

_EVERY: Final = 10.0  # seconds between two looks
_PATIENCE: Final = 5.0  # seconds that the asked program may take
_BEHIND: Final = timedelta(minutes=5)  # what a battery clock may lose while the machine is off
_MARK: Final = Path("/run/systemd/timesync/synchronized")
_ASK: Final = ("timedatectl", "show", "--property=NTPSynchronized", "--value")
_UNSET: Final = "no time server has set the machine's clock"
_RAN_BACK: Final = "the machine's clock is behind what it showed last"
_CURE: Final = "set the clock (NTP), or evidence.clock = 'any' for a machine without time server"

ReadSync = Callable[[], Awaitable[bool | None]]
"""Whether a time server has set the clock; None where the machine does not tell."""


async def read_sync() -> bool | None:
    """As systemd-timesyncd's mark says, else as the kernel does, told by timedatectl."""
    return await asyncio.to_thread(_read_sync)


def _read_sync() -> bool | None:
    if _MARK.exists():
        return True
    try:
        answer = subprocess.run(  # noqa: S603 - fixed words, nothing of anybody's in them
            _ASK, capture_output=True, text=True, timeout=_PATIENCE, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"yes": True, "no": False}.get(answer.stdout.strip())


class ClockWatch:
    """Watches the clock from a start on until it may be believed."""

    def __init__(
        self,
        store: Store,
        trust: ClockTrust,
        *,
        is_minded: bool = True,
        read: ReadSync = read_sync,
        every: float = _EVERY,
    ) -> None:
        """Unless `is_minded` every clock is believed."""
        self._is_minded = is_minded
        self._store = store
        self._trust = trust
        self._read = read
        self._every = every

    async def look(self) -> bool:
        """Look once, and shut or open the way to the modems; True where nothing is to be feared."""
        fault = await self._fault()
        if fault and not self._trust.fault.startswith(fault):
            _log.error("clock.not_believed", extra={"fault": fault, "cure": _CURE})
        if self._trust.fault and not fault:
            _log.info("clock.believed")
        self._trust.fault = f"{fault}; {_CURE}" if fault else ""
        return not fault

    async def run(self) -> None:
        """Look until the clock may be believed."""
        while True:
            if await self.look():
                return
            await asyncio.sleep(self._every)

    async def fault(self) -> str:
        """What is wrong, in words; empty where the clock is believed."""
        return self._trust.fault

    async def _fault(self) -> str:
        is_set = await self._read() if self._is_minded else True
        if is_set:
            return ""
        if is_set is False:
            return _UNSET
        steady = self._store.journal.steady.now()
        return _RAN_BACK if self._store.clock.now() < steady - _BEHIND else ""
