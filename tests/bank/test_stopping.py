"""The daemon ends soon, whatever its bays wait for."""

import signal

from modemctl.lifecycle import CardState
from modemctl.model import Iccid
from modemctl.policy.pin_guard import PinCommand
from modemctl.store import pin_tries, pins, sims
from modemctl.store.tables import pin_attempt
from tests.support.banks import DaemonProcess, Site
from tests.support.simulated import BankProcess

ELSEWHERE = Iccid("89860000000000000009")


def test_a_bay_that_waits_for_its_turn_of_a_pin_does_not_hold_up_the_end(tmp_path):
    """The import's canary is out on another node and never answers."""
    flags = ("--modems", "1", "--pin", "1234", "--pin-lock", "on", "--persona", "generic")
    with BankProcess(tmp_path / "bank", *flags) as bank:
        site = Site(tmp_path / "site", str(tmp_path / "bank" / "ports" / "*"))
        (state,) = bank.control.state("modem01")
        card = Iccid(state["card"]["iccid"])

        def register(tx) -> None:
            known = {"state": CardState.ISSUED, "verified_at": tx.now, "verified_by": "x"}
            sims.add(tx, [sims.NewCard(iccid=one, **known) for one in (card, ELSEWHERE)])
            pins.add_import(tx, "import", dict.fromkeys((card, ELSEWHERE), "1234"))
            canary = pin_tries.TryRequest(
                iccid=ELSEWHERE, bay="1", command=PinCommand.CPIN, counter=3
            )
            pin_tries.claim(tx, [canary])
            tx.conn.execute(pin_attempt.update().values(node_id="another"))

        site.write(register)
        with DaemonProcess(site) as daemon:
            daemon.wait_until(
                lambda: [one for one, _ in site.modems().values()] == ["unlocking"], what="waits"
            )
            daemon.send(signal.SIGTERM)
            assert daemon.wait(60) == 0
        (after,) = bank.control.state("modem01")
    assert after["card"]["pin_tries"] == 3
