"""A blocked card: the PUK that two persons brought, once, and a random PIN of the vault with it.

Ten wrong PUKs end a card, so the guard of `policy.puk` stands before each: its counter is known
and shows two tries or more, and a PUK that was tried on a card is not tried on it again.
"""

from __future__ import annotations

import logging

from drivers.interface import PinOutcome
from modemctl.fleet.pin_turns import Seat, Stopped, deliver, other_card, settle_blocked, tries_left
from modemctl.fleet.renewing import random_pin
from modemctl.model import EventKind
from modemctl.policy.pin_guard import AttemptOutcome
from modemctl.store import puks

_log = logging.getLogger(__name__)


async def unblock(seat: Seat) -> Stopped | None:
    """Unblock a card that asks for its PUK, if two persons want it; None when it is open.

    Raises:
        DriverError: the modem failed; a PUK that was out is settled at the card's next start.
        StoreError: the store failed; no PUK left without its try on disk.
    """
    other = await other_card(seat.driver, seat.iccid)
    if other is not None:
        return other
    counter = await tries_left(seat.driver)
    if counter is not None and counter.pin > 0:
        # A modem that tells yesterday's state: the card may have taken its PUK long since.
        return Stopped(reason="puk_not_wanted")
    if counter is not None:  # the PUK gives all tries back, and they would tell nothing any more
        await settle_blocked(seat, counter.pin)
    new_pin = random_pin()
    turn = puks.PukTurn(
        iccid=seat.iccid,
        bay=seat.bay,
        counter=None if counter is None else counter.puk,
        new_pin=new_pin,
        lists=seat.lists,
    )
    answer = await seat.store.write_in_set(puks.claim, turn)
    if isinstance(answer, puks.NoPuk):
        return Stopped(reason="sim_puk" if answer.stop is None else answer.stop.value)
    cleared = answer

    async def record(outcome: AttemptOutcome) -> None:
        result = puks.PukResult(request_id=cleared.request_id, outcome=outcome)
        await seat.store.write_in_set(puks.record, result)

    outcome = await deliver(seat, lambda: seat.driver.enter_puk(cleared.puk, new_pin), record)
    if isinstance(outcome, Stopped):
        return outcome
    _log.info("puk.tried", extra={"outcome": outcome.value})
    if outcome is PinOutcome.OK:
        return None
    word = f"puk_{outcome}"
    facts = {"alarm": word, "bay": seat.bay, "policy": "SIM-06"}
    await seat.store.write(lambda tx: tx.event(EventKind.ALARM, seat.iccid, facts))  # each try
    return Stopped(reason=word)
