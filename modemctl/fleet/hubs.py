"""Who submits on which USB hub: nobody pulls a hub from under a segment in flight.

A step of the ladder that touches USB waits for an instant at which no bay of the hub, or of a hub
below it, has a segment (or a PIN) in flight; then it holds the hub until it is done. On a busy hub
that instant never comes by itself: towards the end of its patience a step lets no further one
begin.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from modemctl.model import Bay

_DRAIN_SHARE: Final = 0.25  # of its patience: 15 s of a minute, in which most submits end


class HubBusy(Exception):
    """A sibling had a segment in flight for as long as the step could wait."""


class Hubs:
    """The node's. Bays that hang on no hub disturb nobody and are disturbed by nobody."""

    def __init__(self) -> None:
        self._hub_of: dict[Bay, str] = {}
        self._device_of: dict[Bay, str] = {}
        self._in_flight: Counter[Bay] = Counter()
        self._shaken: set[str] = set()
        self._draining: Counter[str] = Counter()
        self._changed = asyncio.Event()
        self._is_awaited = False

    def settle(self, bay: Bay, hub: str | None, device: str = "") -> None:
        """A bay hangs on this hub now; None = on none. `device`: the kernel's name of its modem."""
        self._device_of.pop(bay, None)
        if hub is None:
            self._hub_of.pop(bay, None)
        else:
            self._hub_of[bay] = hub
            self._device_of[bay] = device

    def leave(self, bay: Bay) -> None:
        """Nobody drives the bay's modem any more: it may be another program's."""
        self._device_of.pop(bay, None)

    def devices(self) -> set[str]:
        """The kernel's names of the devices that are driven."""
        return set(self._device_of.values())

    @asynccontextmanager
    async def flight(self, bay: Bay) -> AsyncIterator[None]:
        """Submit, or send a PIN, inside; waits while the hub is being shaken, or about to be."""
        while (hub := self._hub_of.get(bay)) is not None and self._is_closed(hub):
            await self._change()
        with self._counted(bay):
            yield

    @asynccontextmanager
    async def shaking(self, bay: Bay, hub: str, *, patience: float) -> AsyncIterator[None]:
        """Touch the hub inside; no sibling has a segment in flight, none begins one.

        Raises:
            HubBusy: one had for `patience` seconds.
        """
        until = asyncio.get_running_loop().time() + patience
        if not await self._is_free(bay, hub, until - patience * _DRAIN_SHARE):
            with self._drained(hub):
                if not await self._is_free(bay, hub, until):
                    sibling = self._busy_sibling(bay, hub)
                    who = (
                        f"bay {sibling} has a segment in flight"
                        if sibling
                        else "it is being shaken"
                    )
                    raise HubBusy(f"hub {hub}: {who}")
        self._shaken.add(hub)
        try:
            yield
        finally:
            self._shaken.discard(hub)
            self._tell()

    @contextmanager
    def _counted(self, bay: Bay) -> Iterator[None]:
        self._in_flight[bay] += 1
        try:
            yield
        finally:
            self._in_flight[bay] -= 1
            self._tell()

    def _busy_sibling(self, bay: Bay, hub: str) -> Bay | None:
        for other, where in self._hub_of.items():
            if other != bay and self._in_flight[other] and is_below(where, hub):
                return other
        return None

    async def _is_free(self, bay: Bay, hub: str, until: float) -> bool:
        """Wait until the hub may be shaken; False where it may not at this point of loop time."""
        try:
            async with asyncio.timeout_at(until):
                while self._busy_sibling(bay, hub) or self._is_shaken(hub):
                    await self._change()
        except TimeoutError:
            return False
        return True

    @contextmanager
    def _drained(self, hub: str) -> Iterator[None]:
        self._draining[hub] += 1
        try:
            yield
        finally:
            self._draining[hub] -= 1
            self._tell()

    def _is_closed(self, hub: str) -> bool:
        drained = (one for one, n_steps in self._draining.items() if n_steps)
        return self._is_shaken(hub) or any(is_below(hub, one) for one in drained)

    def _is_shaken(self, hub: str) -> bool:
        return any(is_below(hub, shaken) or is_below(shaken, hub) for shaken in self._shaken)

    async def _change(self) -> None:
        self._is_awaited = True
        await self._changed.wait()

    def _tell(self) -> None:
        """Let all who wait look again."""
        if self._is_awaited:
            self._is_awaited = False
            self._changed.set()
            self._changed = asyncio.Event()


def is_below(hub: str, other: str) -> bool:
    """Whether a hub is the other one or hangs below it; names are the kernel's."""
    if other.startswith("usb"):  # a root hub: everything on its bus
        return hub == other or hub.startswith(f"{other.removeprefix('usb')}-")
    return hub == other or hub.startswith(f"{other}.")
