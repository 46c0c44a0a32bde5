"""A bay as a scrape shows it: what is true now, nothing that was measured earlier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from drivers.interface import Registration
from modemctl.lifecycle import ModemState
from modemctl.store.modems import Facts
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
