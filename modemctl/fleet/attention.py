"""What a bay's walker heeds while it stays: its modem's events, persons' wishes, pause, the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from modemctl.fleet.link import Link
from modemctl.fleet.mailbox import Mailbox
from modemctl.fleet.moves import Interrupted
from modemctl.fleet.progress import Progress
from modemctl.fleet.receiving import Receiver
from modemctl.fleet.wishing import Hand, serve_wishes
from modemctl.lifecycle import MODEM, ModemEvent, ModemState
from modemctl.model import Bay
from modemctl.store import Store
from modemctl.store.wishes import Wish

_E = ModemEvent


class Attention:
    """One bay's. Every wait of the walker goes through it, so that nothing is overheard."""

    def __init__(
        self,
        store: Store,
        *,
        bay: Bay,
        link: Link,
        receiver: Receiver,
        progress: Progress,
        wake: asyncio.Event,
        state: Callable[[], ModemState],
        on_reset: Callable[[], None],
        on_balance: Callable[[Wish], bool],
    ) -> None:
        self._store = store
        self._bay = bay
        self._link = link
        self._receiver = receiver
        self._progress = progress
        self._hand = Hand(link, rest=lambda until: progress.mark(rests_until=until))
        self._wake = wake
        self._state = state
        self._on_reset = on_reset
        self._on_balance = on_balance
        self._has_wishes = True  # until we looked
        self.is_paused = False
        self.is_stopping = False

    @property
    def mailbox(self) -> Mailbox:
        """Where the modem's own words wait."""
        return self._link.mailbox

    @property
    def has_wishes(self) -> bool:
        """Whether somebody wants something of the bay."""
        return self._has_wishes

    def set_paused(self, *, is_paused: bool) -> None:
        """A person paused the bay or lets it run."""
        if self.is_paused != is_paused:
            self.is_paused = is_paused
            self._wake.set()

    def call(self) -> None:
        """Somebody wants something of the bay."""
        self._has_wishes = True
        self._wake.set()

    def stop(self) -> None:
        """The walk shall end in order."""
        self.is_stopping = True
        self._hand.stop()
        self._wake.set()

    def goes_on(self) -> bool:
        """Whether the next segment may be sent; who asks makes progress."""
        return self.walks_on() and not self.is_paused

    def walks_on(self) -> bool:
        """Whether the walk goes on at all; who asks makes progress."""
        self._progress.mark()
        return not self.is_stopping

    async def look_up(self, until: float) -> None:
        """Serve wishes, then wait for something to look at, at most until a point of loop time.

        Raises:
            Interrupted: the state is left.
        """
        await self._receiver.settle_late()
        if self._has_wishes:
            self._has_wishes = False
            await serve_wishes(
                self._store,
                self._link,
                self._hand,
                bay=self._bay,
                state=self._state(),
                on_reset=self._on_reset,
                on_balance=self._on_balance,
            )
        await self.idle(until)

    async def idle(self, until: float) -> None:
        """Wait until woken, at most until a point of the loop's time.

        Raises:
            Interrupted: the state is left.
        """
        self.check()
        left = until - asyncio.get_running_loop().time()
        self._progress.mark(rests_until=until)
        if left > 0 and not self.is_stopping:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._wake.wait()
        self._wake.clear()
        self._progress.mark()
        self.check()

    def check(self) -> None:
        """Look at what moves the state, without waiting.

        Raises:
            Interrupted: the state is left.
        """
        while (control := self.mailbox.next_control()) is not None:
            event = control.event
            if event is _E.REGISTERED:
                continue  # it only wakes: the card is asked first whether it is still the same
            if event is _E.LINK_ERROR and not self._link.has_port():
                event = _E.PORT_GONE
            if (self._state(), event) in MODEM:
                raise Interrupted(event, control.reason)
