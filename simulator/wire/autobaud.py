"""A module that finds the baud rate out by itself: deaf and dumb after power-up until it can.

Source: at-dialects §1.1 (Power-up), §3.8 (SIMCom 2G).
"""

from __future__ import annotations

from typing import Final

_KEPT: Final = 16


class AutoBaud:
    """Octets of a client at a rate that is not known yet; the first `AT` tells it."""

    def __init__(self) -> None:
        self.is_tuned = True
        self._heard = bytearray()

    def forget(self) -> None:
        """Power-up: the rate is unknown again."""
        self.is_tuned = False
        self._heard.clear()

    def hear(self, data: bytes) -> bytes:
        """What is understood of `data`: nothing before an `AT`, then all from it on."""
        if self.is_tuned:
            return data
        # The very first octet is lost, and with it a client's only `AT`.
        self._heard += data if self._heard else b"." + data[1:]
        start = self._heard.upper().find(b"AT")
        if start < 0:
            del self._heard[:-_KEPT]
            return b""
        self.is_tuned = True
        return bytes(self._heard[start:])
