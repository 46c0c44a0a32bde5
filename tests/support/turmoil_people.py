"""Who watches a bank in turmoil, and waits for its end."""

from __future__ import annotations

import time
from typing import Final

from tests.support.banks import DaemonProcess, Site
from tests.support.turmoil import Turmoil
from tests.support.turmoil_judge import Sighting, sightings

_AGAIN: Final = 20.0
"""Seconds after which a person tries a bay again that failed once more."""
_UNSENT: Final = {"queued", "leased", "submitting"}


class Keeper:
    """A person at the console: notes what the store says, has failed bays tried again."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._tried: dict[str, float] = {}
        self.seen: set[Sighting] = set()

    def look(self) -> None:
        """Look once; a failed bay's cool-down is long, a person shortens it (design §5)."""
        self.seen.update(sightings(self._site))
        now = time.monotonic()
        for bay, (state, _) in self._site.modems().items():
            if state == "failed" and now - self._tried.get(bay, -_AGAIN) >= _AGAIN:
                self._site.retry(bay)
                self._tried[bay] = now


def settle(
    site: Site,
    daemon: DaemonProcess,
    turmoil: Turmoil,
    keeper: Keeper,
    *,
    n_modems: int,
    seconds: float,
    look: float = 90,
) -> None:
    """Wait until every bay serves again and nothing is on its way.

    What came in unannounced is seen when its modem's storage is looked into, within `look` seconds.
    """

    def is_well() -> bool:
        keeper.look()
        return site.n_ready() == n_modems

    try:
        daemon.wait_until(is_well, what="all ready again", seconds=240)
        daemon.wait_until(
            lambda: not site.segments().keys() & _UNSENT, what="all sent", seconds=180 + seconds
        )
        daemon.wait_until(turmoil.is_all_taken, what="all that came in", seconds=look)
    finally:
        print({bay: state for bay, state in site.modems().items() if state[0] != "ready"})
        print(site.segments())
