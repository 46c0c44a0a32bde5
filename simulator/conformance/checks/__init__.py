"""All checks, one module a field, in the order in which they are carried out."""

from __future__ import annotations

from typing import Final

from simulator.conformance.check import Check
from simulator.conformance.checks import (
    acting,
    calls,
    card,
    drafting,
    errors,
    identity,
    line,
    messages,
    network,
    noise,
    routing,
)

ALL: Final[tuple[Check, ...]] = (
    *line.CHECKS,
    *errors.CHECKS,
    *identity.CHECKS,
    *card.CHECKS,
    *acting.PIN,
    *card.USABLE,
    *network.CHECKS,
    *messages.CHECKS,
    *drafting.CHECKS,
    *messages.SLOTS,
    *routing.CHECKS,
    *calls.CHECKS,
    *noise.CHECKS,
    *acting.CHECKS,
)
TITLES: Final = {
    "line": "Line discipline",
    "errors": "Errors",
    "identity": "Identity",
    "card": "Card and PIN",
    "network": "Network",
    "sms": "Messages",
    "calls": "Calls and USSD",
    "noise": "Unasked lines",
    "acts": "What flags allowed",
}
