"""Any modem that keeps to TS 27.005 and 27.007; the family of last resort."""

from __future__ import annotations

from drivers.at.counters import CounterForm
from drivers.family import (
    COUNTER_CPINR,
    COUNTER_CPINR_PIN,
    COUNTER_STATUS,
    COUNTER_VERIFY,
    ICCID_BY_FILE,
    Family,
    counter_by,
    iccid_by,
)
from drivers.interface import Capabilities

GENERIC = Family(
    capabilities=Capabilities(family="generic", pin_counter=True, reports=True),
    matches=lambda _identity: True,
    iccid=(ICCID_BY_FILE, iccid_by("AT+CCID", "+CCID:", bare=True)),
    # The makers' own commands last: each has one form, and who does not know it refuses it.
    counters=(
        COUNTER_CPINR,
        COUNTER_CPINR_PIN,
        COUNTER_VERIFY,
        counter_by("AT%PINNUM?", CounterForm.PIN1_PUK1_PIN2_PUK2),  # Icera
        counter_by("AT+XPINCNT", CounterForm.PIN1_PIN2_PUK1_PUK2),  # Infineon
        counter_by("AT*EPIN?", CounterForm.PIN1_PUK1_PIN2_PUK2),  # Ericsson
        counter_by("AT_OERCN?", CounterForm.PIN1_PUK1),  # Option
        counter_by("AT+PNNM?", CounterForm.PIN1_PUK1),  # Alcatel
        counter_by("AT+CPNNUM", CounterForm.NAMED, "PIN1=", "+CPNNUM:"),  # SpeedUp
        COUNTER_STATUS,
    ),
)
"""The last family that is asked: it matches every modem."""
