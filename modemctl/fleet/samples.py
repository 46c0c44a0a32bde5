"""What is known of a bay's modem, and what a scrape shows of it: nothing that was true earlier."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

from drivers.interface import Driver, Registration
from modemctl.lifecycle import ModemState
from modemctl.model import DesiredState
from modemctl.store.modems import Facts, ModemRow
from modemctl.telemetry import ModemSample

_ON_A_CARRIER: Final = frozenset({ModemState.SEARCHING, ModemState.READY})


def sample_of(
    facts: Facts, state: ModemState, *, is_paused: bool, breakers: Mapping[str, str]
) -> ModemSample:
    """The sample; signal, registration and temperature are those of a READY bay."""
    is_on_air = state is ModemState.READY
    stat = facts.registration_stat if is_on_air else None
    return ModemSample(
        bay=facts.bay,
        family=facts.family or "none",
        state=state.value,
        is_paused=is_paused,
        is_registered=stat is not None and Registration(stat=stat).is_registered,
        carrier=facts.operator if state in _ON_A_CARRIER else None,
        signal_dbm=facts.signal_dbm if is_on_air else None,
        temperature_c=facts.temperature_c if is_on_air else None,
        breakers=breakers,
    )


def absent_sample(row: ModemRow) -> ModemSample:
    """The sample of a bay that no actor has been in since the start: the alert counts it too."""
    return ModemSample(
        bay=row.bay,
        family=row.family or "none",
        state=ModemState.ABSENT.value,
        is_paused=row.desired_state is DesiredState.PAUSED,
    )


def identified(facts: Facts, address: str, driver: Driver) -> Facts:
    """The facts with what the modem behind an address says that it is."""
    identity = driver.identity
    return dataclasses.replace(
        facts,
        port=address,
        imei=identity.imei,
        manufacturer=identity.manufacturer,
        model=identity.model,
        revision=identity.revision,
        family=driver.capabilities.family,
    )
