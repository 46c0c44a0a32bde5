"""A fit card that waits for its network: no coverage is nobody's fault, and climbs no ladder."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Final

from drivers.errors import CommandError
from drivers.interface import SimState
from modemctl.fleet.attention import Attention
from modemctl.fleet.checking import CheckOutcome, Fit
from modemctl.fleet.health import read_network
from modemctl.fleet.judging import tells_card
from modemctl.fleet.link import Link
from modemctl.fleet.moves import Moved
from modemctl.lifecycle import ModemEvent
from modemctl.store.modems import Facts

_POLL: Final = 2.0  # grows up to the longest
_N_REFUSALS: Final = 3  # of one question, then the link is looked at
_E = ModemEvent


class Search:
    """One stay in SEARCHING. `facts` asks what is known, `learn` is told what is new.

    Many modems tell nobody that their card was changed, only that the network is gone: before
    the bay serves, it is asked again which card it holds.
    """

    def __init__(
        self,
        attention: Attention,
        link: Link,
        *,
        check_card: Callable[[], Awaitable[CheckOutcome]],
        longest_poll: float,
        facts: Callable[[], Facts],
        learn: Callable[[Facts], None],
    ) -> None:
        self._attention = attention
        self._link = link
        self._check_card = check_card
        self._longest_poll = longest_poll
        self._facts = facts
        self._learn = learn

    async def run(self) -> Moved | None:
        """Wait for the network; None where the daemon stops.

        Raises:
            Interrupted, DriverError, StoreError: the state is left.
        """
        loop = asyncio.get_running_loop()
        poll, n_refused = _POLL, 0
        while not self._attention.is_stopping:
            self._attention.check()
            try:
                found = await self._look()
            except CommandError as error:  # a card may be busy for a moment
                n_refused += 1
                if n_refused >= _N_REFUSALS or tells_card(error):
                    raise
                found = None
            else:
                n_refused = 0
            if found is not None:
                return found
            deadline = loop.time() + poll
            poll = min(poll * 2, self._longest_poll)
            await self._attention.look_up(deadline)
        return None

    async def _look(self) -> Moved | None:
        """What the card and the network allow; None = wait."""
        driver = self._link.driver
        registration = await driver.registration()
        self._learn(dataclasses.replace(self._facts(), registration_stat=registration.stat))
        state = await driver.sim_state()
        if state is SimState.ABSENT:
            return Moved(event=_E.SIM_REMOVED, reason="the card was taken out")
        if state is SimState.BUSY or (state is SimState.READY and not registration.is_registered):
            return None
        reason = f"the card says {state}"
        if state is SimState.READY:
            card = await self._check_card()
            if isinstance(card, Fit) and card.iccid == self._facts().iccid:
                self._learn(await read_network(driver, self._facts()))
                return Moved(event=_E.REGISTERED, reason=registration.words)
            reason = "not the card that was unlocked"
        self._attention.mailbox.interrupt(_E.SIM_READY, reason)  # what is there is checked at once
        return Moved(event=_E.SIM_REMOVED, reason=reason)
