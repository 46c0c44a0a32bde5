"""A card that is open while nobody knows which of two PINs it has: one restart lets it tell."""

import pytest
from sqlalchemy import select, update

from modemctl.lifecycle import ModemState
from modemctl.policy.pin_guard import AttemptOutcome, PinCommand
from modemctl.store import Store, pin_tries, pins
from modemctl.store.tables import pin_attempt, sim
from tests.support.scripted_modem import said
from tests.unit.test_actor import CARDS, OneCard, bay, reach

CARD = CARDS[0]
OLD, NEW = "1234", "90417365"


class Changed(OneCard):
    """A modem whose card was given a new PIN, and is open; a restart asks for it."""

    def __init__(self, *, pin: str, keeps_open: bool = False, tries: int = 3) -> None:
        super().__init__()
        self.pin, self.tries, self.stat = pin, tries, 1
        self.script["AT+CPINR"] = lambda text: said(f"+CPINR: SIM PIN,{self.tries},3")
        for one in (OLD, NEW):
            self.script[f'AT+CPIN="{one}"'] = lambda text, one=one: self.enter(one)
        self.script["AT+CFUN=1,1"] = lambda text: self.restart(keeps_open=keeps_open)
        self.has_booted = False
        asked = self.script["AT+CPIN?"]
        busy = b"\r\n+CME ERROR: 14\r\n"
        self.script["AT+CPIN?"] = lambda text: asked(text) if self.has_booted else busy

    def enter(self, pin: str) -> bytes:
        if pin == self.pin:
            self.pin_state, self.tries = "READY", 3
            return said()
        self.tries -= 1
        return b"\r\n+CME ERROR: 16\r\n"

    def restart(self, *, keeps_open: bool) -> bytes:
        self.pin_state = "READY" if keeps_open else "SIM PIN"
        return said()


async def change_without_answer(store: Store) -> None:
    """`+CPWD` left, and the daemon fell: committed as pending, its outcome unknown."""

    def act(tx) -> None:
        tx.conn.execute(update(sim).where(sim.c.iccid == CARD).values(pin_state="proved"))
        attempt = pin_tries.TryRequest(iccid=CARD, bay="bay-7", command=PinCommand.CPIN, counter=3)
        (first,) = pin_tries.claim(tx, [attempt])
        right = pin_tries.AttemptResult(attempt_id=first.attempt_id, outcome=AttemptOutcome.RIGHT)
        pin_tries.record(tx, [right])
        change = pin_tries.TryRequest(
            iccid=CARD, bay="bay-7", command=PinCommand.CPWD, counter=3, new_pin=NEW
        )
        (cleared,) = pin_tries.claim(tx, [change])
        assert isinstance(cleared, pin_tries.ClearedTry)
        pins.close_open_tries(tx)

    await store.write(act)


async def vault(store: Store) -> tuple[str, bool]:
    row = await store.read(lambda conn: conn.execute(select(sim).where(sim.c.iccid == CARD)).one())
    pin = store.vault.decrypt_text(row.pin_enc, place=pins.pin_place(CARD))
    return pin, row.pin_pending_enc is not None


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("modemctl.fleet.link._BOOT_POLL", 0.05)


@pytest.mark.parametrize("holds", [OLD, NEW])
async def test_a_card_whose_change_is_unsure_tells_while_the_daemon_runs(tmp_path, holds):
    modem = Changed(pin=holds)
    async with bay(tmp_path, modem) as (actor, store):
        await change_without_answer(store)
        modem.has_booted = True
        await reach(actor, ModemState.READY)
        assert await vault(store) == (holds, False)
        assert modem.n_asked("AT+CFUN=1,1") == 1
        assert modem.tries == 3
        outcomes = await store.read(
            lambda conn: list(
                conn.scalars(select(pin_attempt.c.outcome).where(pin_attempt.c.command == "CPWD"))
            )
        )
        assert outcomes == ["right" if holds == NEW else "unburnt"]


async def test_a_modem_that_keeps_its_card_open_is_restarted_once(tmp_path):
    modem = Changed(pin=NEW, keeps_open=True)
    async with bay(tmp_path, modem) as (actor, store):
        await change_without_answer(store)
        modem.has_booted = True
        await reach(actor, ModemState.READY)
        modem.tell_registration(2)
        await reach(actor, ModemState.SEARCHING)
        modem.tell_registration(1)
        await reach(actor, ModemState.READY)
        assert modem.n_asked("AT+CFUN=1,1") == 1
        assert await vault(store) == (OLD, True)  # nothing is guessed


async def test_with_a_try_gone_the_card_is_left_open(tmp_path):
    """At its next start the new PIN could not be tried: it would be lost for the bank."""
    modem = Changed(pin=NEW, tries=2)
    async with bay(tmp_path, modem) as (actor, store):
        await change_without_answer(store)
        modem.has_booted = True
        await reach(actor, ModemState.READY)
        assert modem.n_asked("AT+CFUN=1,1") == 0
        assert await vault(store) == (OLD, True)
