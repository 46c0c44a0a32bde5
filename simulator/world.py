"""What all modems of a bank share, and what each needs of its surroundings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from simulator.clock import Clock
from simulator.dice import Dice
from simulator.ledger import Ledger
from simulator.network.network import Network


class Port(Protocol):
    """What a modem's octets go out by."""

    def write(self, data: bytes) -> None:
        """Send; dropped where nobody listens."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What all modems of a bank share."""

    clock: Clock
    network: Network
    ledger: Ledger
    dice: Dice = field(default_factory=lambda: Dice(0))
