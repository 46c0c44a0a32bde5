"""A bay whose card cannot be used: it is looked at again, ever more rarely.

Most reasons are the card's or a person's. Some may be the modem's: one that lost touch with its
card, or answers nonsense about it, is restarted once in a while, by the ladder's own step.
"""

from __future__ import annotations

import asyncio
from typing import Final

from drivers.interface import Driver, SimState
from modemctl.fleet.attention import Attention
from modemctl.fleet.link import Link
from modemctl.fleet.moves import Moved
from modemctl.lifecycle import ModemEvent

_POLL: Final = 10.0
_LONGEST_POLL: Final = 300.0
_FIRST_RESTART: Final = 3  # looks, which is after a minute or so
_EACH_RESTART: Final = 24  # looks: two hours
_REMOVED: Final = "the card was taken out"
_BY_MODEM: Final = frozenset(
    {_REMOVED, "iccid_unreadable", "sim_absent", "sim_busy", "sim_other", "pin_unknown"}
)


class SimWait:
    """One bay's."""

    def __init__(self, attention: Attention, link: Link) -> None:
        self._attention = attention
        self._link = link
        self._n_looks = 0

    def rest(self) -> None:
        """A card serves: the next one that does not is looked at often again."""
        self._n_looks = 0

    async def stay(self, reason: str) -> Moved | None:
        """Wait, then look: the card is there again, or its modem is to be restarted, or None.

        Raises:
            Interrupted, DriverError: the state is left.
        """
        loop, attention = asyncio.get_running_loop(), self._attention
        deadline = loop.time() + min(_POLL * 2 ** min(self._n_looks, 8), _LONGEST_POLL)
        self._n_looks += 1
        while loop.time() < deadline and not attention.is_stopping:
            await attention.look_up(deadline)
        if attention.is_stopping:
            return None
        driver = self._link.driver
        is_due = self._n_looks == _FIRST_RESTART or self._n_looks % _EACH_RESTART == 0
        if is_due and may_be_modems(reason, driver):
            return Moved(event=ModemEvent.WATCHDOG, reason=f"restart for its card: {reason}")
        if await driver.sim_state() is SimState.ABSENT:
            return None
        return Moved(event=ModemEvent.SIM_READY, reason="looking again")


def may_be_modems(reason: str, driver: Driver) -> bool:
    """Whether a restart of the modem may cure why a card cannot be used.

    Never where a person has to act, a PIN would be wanted from nowhere, or there is no card.
    """
    if reason.removeprefix("lock_") == "counter_unknown":
        return driver.capabilities.pin_counter
    return reason in _BY_MODEM or "ERROR" in reason
