"""The ladder: the modem is judged, never the store."""

import asyncio

from drivers.interface import LateSubmitResult
from drivers.registry import probe
from modemctl.config.settings import HubPower
from modemctl.fleet.hubs import Hubs
from modemctl.fleet.ladder import Ladders
from modemctl.fleet.link import Link
from modemctl.fleet.mailbox import Asked, Mailbox
from modemctl.fleet.receiving import Receiver
from modemctl.fleet.recovering import Recovery, Tools
from modemctl.fleet.usb_notes import OffNotes
from modemctl.lifecycle import ModemEvent
from modemctl.policy.numbers import NumberRules
from modemctl.store.outcomes import Doubtful
from modemctl.telemetry import Telemetry
from tests.support.benches import CARDS, bench
from tests.support.places import place_of
from tests.support.scripted_modem import OnPty, ScriptedModem
from tests.support.senders import break_store, mend_store


async def test_a_store_that_fails_climbs_no_step_and_loses_no_late_answer(tmp_path):
    async with bench(tmp_path) as b, OnPty(ScriptedModem()) as port:
        await b.batch(1)
        [one] = await b.lease(CARDS[0])
        await b.begin(one)
        await b.end(one, Doubtful(reason="no answer"))
        mailbox = Mailbox(on_unknown=lambda: None, on_wake=lambda: None)
        link = Link(place_of(port.path), probe=probe, budget=asyncio.Semaphore(1), mailbox=mailbox)
        telemetry = Telemetry(version="test")
        receiver = Receiver(
            b.store, telemetry, bay=one.bay, numbers=NumberRules(region="CN"), link=link
        )
        recovery = Recovery(
            b.store,
            telemetry,
            bay=one.bay,
            link=link,
            receiver=receiver,
            reopen=link.open,
            tools=Tools(
                ladders=Ladders(), hubs=Hubs(), hub_power=HubPower.OFF, off_notes=OffNotes()
            ),
        )
        await link.open()
        segment_id = one.segments[0][0]
        mailbox.expect(Asked(segment_id=segment_id, token=one.token))
        mailbox.put(LateSubmitResult(mr=9))
        await break_store(b, "sent")
        for _ in range(3):  # each time it helps, and each time from the lowest step
            moved = await recovery.run("no answer", family="generic", may_go_on=lambda: True)
            assert (moved.event, moved.reason) == (ModemEvent.RECOVERED, "realign")
            recovery.note_health()
        assert (await b.row(segment_id)).state == "in_doubt"
        await mend_store(b)
        await receiver.settle_late()
        assert ((await b.row(segment_id)).state, (await b.row(segment_id)).mr) == ("sent", 9)
        await link.close()
