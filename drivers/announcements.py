"""Whether messages are announced here, or their lines go to another port of the modem."""

from __future__ import annotations

PATIENCE = 5.0
"""Seconds that an announcement may come later than the message is found in its slot."""

_UNREAD = 0


class Announcements:
    """Counts announcements against messages that are found lying, unread.

    One that nobody announced is a sign that unsolicited lines come out elsewhere, or not at all:
    some firmware drops `+CMTI` with the noise. Times in seconds of the caller's clock.
    """

    def __init__(self) -> None:
        self._is_listed = False
        self._is_announced = False
        self._was_announced = False  # before the listing that is under way
        self._missing_since: float | None = None

    def begin(self) -> None:
        """Routing was set: what lies there from before was announced to nobody."""
        self._is_listed = self._is_announced = self._was_announced = False
        self._missing_since = None

    def listing(self) -> None:
        """The storages are about to be listed, which takes a while.

        What is announced meanwhile may be in a storage that was listed already: it counts for the
        next list, too.
        """
        self._was_announced |= self._is_announced
        self._is_announced = False

    def announced(self) -> None:
        """A message was announced."""
        self._is_announced = True
        self._missing_since = None

    def found(self, statuses: list[int], now: float) -> None:
        """The storages were listed; `statuses` of the messages in them."""
        is_announced = self._was_announced or self._is_announced
        is_new = _UNREAD in statuses and self._is_listed and not is_announced
        if is_new and self._missing_since is None:
            self._missing_since = now
        self._is_listed, self._was_announced = True, False

    def are_missing(self, now: float) -> bool:
        """Whether a message was found that nobody announced, then or soon after."""
        return self._missing_since is not None and now - self._missing_since >= PATIENCE
