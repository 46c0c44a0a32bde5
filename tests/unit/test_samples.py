"""A bay as a scrape shows it."""

import pytest

from modemctl.fleet.samples import sample_of
from modemctl.lifecycle import ModemState
from modemctl.model import Bay
from modemctl.store.modems import Facts

_M = ModemState
FACTS = Facts(
    bay=Bay("bay-01"),
    port="/dev/ttyUSB2",
    signal_dbm=-67,
    operator="CMCC",
    registration_stat=1,
    temperature_c=41,
)


@pytest.mark.parametrize("state", list(ModemState))
def test_what_was_measured_is_shown_while_a_bay_is_ready_and_no_longer(state):
    shown = sample_of(FACTS, state, is_paused=False, breakers={})
    is_ready = state is _M.READY
    assert shown.is_registered is is_ready
    assert (shown.signal_dbm, shown.temperature_c) == ((-67, 41) if is_ready else (None, None))
    assert shown.carrier == ("CMCC" if state in {_M.READY, _M.SEARCHING} else None)
