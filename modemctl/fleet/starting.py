"""The polite start: how many modems may start at once, on the whole and on one hub.

Modems that register together draw their peak current together: a hub that browns out drops all.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final

from modemctl.fleet.places import Place


class StartBudget:
    """The node's. `per_hub` counts the modems of one USB hub; ports that hang on none have all."""

    def __init__(self, total: int, *, per_hub: int) -> None:
        self._all: Final = asyncio.Semaphore(total)
        self._per_hub: Final = per_hub
        self._hubs: dict[str, asyncio.Semaphore] = {}

    def turn(self, place: Place) -> Turn:
        """What a bay enters while it starts."""
        if place.usb is None:
            return Turn(self._all)
        hub = self._hubs.get(place.usb.hub)
        if hub is None:
            hub = self._hubs[place.usb.hub] = asyncio.Semaphore(self._per_hub)
        return Turn(hub, self._all)  # who waits for its hub holds nobody else up


class Turn:
    """One bay's turn, entered as often as it starts; left in any case."""

    def __init__(self, *gates: asyncio.Semaphore) -> None:
        self._gates = gates
        self._entered = AsyncExitStack()

    async def __aenter__(self) -> None:
        """Wait for all gates, in their order."""
        async with AsyncExitStack() as stack:
            for gate in self._gates:
                await stack.enter_async_context(gate)
            self._entered = stack.pop_all()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the next one in."""
        await self._entered.aclose()
