"""A bay as the supervisor sees it: where its ports are, its actor, when to start one anew."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from modemctl.fleet.actor import Actor
from modemctl.fleet.places import Place, is_there

_LONG_LIFE: Final = 60.0  # seconds; who lived that long failed by chance
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
_LONGEST_AFTER_CRASH: Final = 300.0
_FREE_RETURNS: Final = 2  # a port that comes and goes oftener waits


class Seat:
    """One bay's. `actor` is the last one, also after its end; `is_living` while it walks."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.actor: Actor | None = None
        self.is_living = False
        self._news = asyncio.Event()
        self._haste = asyncio.Event()
        self._heeds_plug = False

    @property
    def has_port(self) -> bool:
        """Whether there is something to open."""
        return any(is_there(address) for address in self.place.addresses)

    @property
    def was_kept_out(self) -> bool:
        """Whether the last actor found a port that it could not have."""
        return self.actor is not None and self.actor.was_kept_out

    def follow(self, place: Place) -> None:
        """The bay's ports are these now."""
        if self._heeds_plug and place.arrival != self.place.arrival:
            self._haste.set()
        self.place = place
        self._news.set()
        if self.actor is not None:
            self.actor.follow(place)

    def call(self) -> None:
        """A person wants something of the bay."""
        self.hurry()
        if self.actor is not None:
            self.actor.call()

    def hurry(self) -> None:
        """Somebody waits for this bay: no rest is kept now."""
        self._haste.set()
        self._news.set()

    async def wait_news(self, seconds: float) -> None:
        """Until the ports changed, at most so long."""
        await _wait(self._news, seconds)

    async def rest(self, seconds: float, *, heeds_plug: bool) -> None:
        """Keep a pause, unless somebody is in a hurry; or pulls the modem, or plugs in another."""
        self._haste.clear()
        self._heeds_plug = heeds_plug
        try:
            await _wait(self._haste, seconds)
        finally:
            self._heeds_plug = False


class Patience:
    """How long to rest before the next actor of a bay: the more short lives, the longer."""

    def __init__(self) -> None:
        self._n_short = 0

    def after(self, life: float, *, has_crashed: bool, has_port: bool) -> float:
        """Seconds, after an actor that lived `life` seconds; `has_port`: its port is still there.

        A port that was unplugged is taken at once when it returns, but not for ever: a loose
        contact comes and goes. A port that another program holds is asked ever more rarely.
        """
        self._n_short = 0 if life >= _LONG_LIFE else self._n_short + 1
        is_unplugged = not has_crashed and not has_port
        if is_unplugged and self._n_short <= _FREE_RETURNS:
            return 0.0
        longest = _LONGEST_AFTER_CRASH if has_crashed else _LONGEST_PAUSE
        doublings = min(max(0, self._n_short - 1), 10)
        return float(min(_FIRST_PAUSE * 2**doublings, longest))


async def _wait(event: asyncio.Event, seconds: float) -> None:
    if seconds > 0:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()
    event.clear()
