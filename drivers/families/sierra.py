"""Sierra Wireless modules (MC73xx, MC74xx, EM7xxx)."""

from __future__ import annotations

import re

from drivers.at.counters import CounterForm
from drivers.at.urcs import UrcRow, noise
from drivers.family import (
    COUNTER_CPINR,
    COUNTER_VERIFY,
    ICCID_BY_FILE,
    Family,
    counter_by,
    iccid_by,
)
from drivers.interface import Capabilities

SIERRA = Family(
    capabilities=Capabilities(family="sierra", pin_counter=True, reports=True),
    matches=lambda identity: re.match(r"(?i)sierra", identity.manufacturer) is not None,
    iccid=(
        ICCID_BY_FILE,
        iccid_by("AT!ICCID?", "!ICCID:"),
        iccid_by("AT+ICCID", "+ICCID:", "ICCID:"),
    ),
    counters=(
        counter_by("AT+CPINC?", CounterForm.PIN1_PIN2_PUK1_PUK2),
        COUNTER_CPINR,
        COUNTER_VERIFY,
    ),
    # What it says while it boots; whether it did, its echo tells.
    urcs={"+PACSP0": UrcRow(read=noise), "+PACSP1": UrcRow(read=noise)},
    reset="AT!RESET",
)
