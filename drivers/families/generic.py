"""Any modem that keeps to TS 27.005 and 27.007; the family of last resort."""

from __future__ import annotations

from drivers.family import ICCID_BY_FILE, Family, iccid_by
from drivers.interface import Capabilities

GENERIC = Family(
    capabilities=Capabilities(family="generic", pin_counter=True, reports=True),
    matches=lambda _identity: True,
    iccid=(ICCID_BY_FILE, iccid_by("AT+CCID", "+CCID:", bare=True)),
)
