"""A bay's work: what ends its stay in READY says so in its own words."""

import pytest

from drivers.errors import OutOfStep
from modemctl.lifecycle import ModemState
from tests.unit.test_actor import OneCard, bay, reach


async def test_a_link_that_closed_before_the_first_message_is_told_as_such(tmp_path):
    """Not as a group of exceptions, which nobody judges: the actor would die of it."""
    modem = OneCard()
    async with bay(tmp_path, modem) as (actor, _):
        await reach(actor, ModemState.SEARCHING)
        modem.tell_registration(1)
        await reach(actor, ModemState.READY)
        actor._link.abandon()  # nobody opens it again
        await actor._link.close()
        with pytest.raises(OutOfStep):
            await actor._work.run()
