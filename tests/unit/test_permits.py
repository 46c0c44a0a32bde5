"""A bay that waits for its turn: what changed meanwhile is seen before the PIN leaves."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from modemctl.config.settings import ListMode
from modemctl.fleet.actor import Actor
from modemctl.lifecycle import CardState, ModemState
from modemctl.model import AccountId, Bay
from modemctl.policy.pin_guard import AttemptOutcome, PinCommand, Stop, StopReason
from modemctl.store import Store, Tx, admissions, pin_tries, puks, sims, ties
from modemctl.store.permits import Lists
from modemctl.store.tables import admission, bay_tie
from tests.support.approved import add_cards
from tests.support.stores import TestClock, open_store
from tests.unit.test_actor import CARDS, OneCard, reach
from tests.unit.test_actor import bay as one_bay
from tests.unit.test_admissions import IMEI, admit

OFF, LEARN, ENFORCE = ListMode
CARD, CANARY = CARDS[:2]
BAY, ELSEWHERE = Bay("bay-7"), Bay("bay-8")
ANNA = AccountId("anna")
PIN = 'AT+CPIN="1234"'
ASK = pin_tries.TryRequest(iccid=CANARY, bay="bay-1", command=PinCommand.CPIN, counter=3)


class Locked(OneCard):
    """A modem whose card asks for its PIN, once it has booted."""

    def __init__(self) -> None:
        super().__init__()
        self.pin_state, self.stat, self.has_booted = "SIM PIN", 1, False
        self.script[PIN] = lambda text: setattr(self, "pin_state", "READY") or b"\r\nOK\r\n"
        asked = self.script["AT+CPIN?"]
        busy = b"\r\n+CME ERROR: 14\r\n"
        self.script["AT+CPIN?"] = lambda text: asked(text) if self.has_booted else busy


@asynccontextmanager
async def waiting(tmp_path: Path) -> AsyncIterator[tuple[Actor, Store, Locked, int]]:
    """A bay that waits for the canary of its card's import, which is out elsewhere."""
    modem = Locked()
    async with one_bay(tmp_path, modem, cards=LEARN, modems=LEARN) as (actor, store):
        canary = await store.write_in_set(pin_tries.claim, ASK)
        assert isinstance(canary, pin_tries.ClearedTry)
        modem.has_booted = True
        await reach(actor, ModemState.UNLOCKING)
        yield actor, store, modem, canary.attempt_id


async def go_on(store: Store, attempt_id: int) -> None:
    """The canary's PIN was right: the others may follow."""
    right = pin_tries.AttemptResult(attempt_id=attempt_id, outcome=AttemptOutcome.RIGHT)
    await store.write_in_set(pin_tries.record, right)


def bind_elsewhere(tx: Tx) -> None:
    ties.bind(tx, ELSEWHERE, CARD, by="anna")


def bind_another(tx: Tx) -> None:
    ties.bind(tx, BAY, CANARY, by="anna")


def alter_tie(tx: Tx) -> None:
    tx.conn.execute(update(bay_tie).where(bay_tie.c.bay == BAY).values(tied_by="eve"))


def suspend(tx: Tx) -> None:
    sims.change_state(tx, CARD, CardState.SUSPENDED_LOSS)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (bind_elsewhere, "moved (policy: SIM-07)"),
        (bind_another, "moved (policy: SIM-07)"),
        (alter_tie, "tampered (policy: SEC-05)"),
        (suspend, "suspended_loss (policy: SIM-09)"),
    ],
    ids=["bound elsewhere", "another bound here", "tie altered", "suspended"],
)
async def test_what_changes_while_a_bay_waits_keeps_its_pin_back(
    tmp_path, change: Callable[[Tx], None], reason: str
):
    """Nobody tells the actor: the guard itself asks, in the transaction of the try."""
    async with waiting(tmp_path) as (actor, store, modem, canary):
        await store.write(change)
        await go_on(store, canary)
        await reach(actor, ModemState.QUARANTINED)
        assert actor.reason == reason
        assert modem.n_asked(PIN) == 0


async def test_a_modem_expelled_while_it_waits_gets_no_pin(tmp_path):
    async with waiting(tmp_path) as (actor, store, modem, canary):
        await store.write(lambda tx: admissions.expel(tx, IMEI, by=ANNA, reason="x") and None)
        await go_on(store, canary)
        await reach(actor, ModemState.REFUSED)
        assert actor.reason == "expelled (policy: CC-01)"
        assert modem.n_asked(PIN) == 0


async def test_a_bay_that_nothing_changed_for_gets_its_turn(tmp_path):
    async with waiting(tmp_path) as (actor, store, modem, canary):
        await go_on(store, canary)
        await reach(actor, ModemState.READY)
        assert modem.n_asked(PIN) == 1


# ---------------------------------------------------------------- the guard's own question


@asynccontextmanager
async def listed(tmp_path: Path) -> AsyncIterator[tuple[Store, pin_tries.TryRequest]]:
    """An enforcing bank; a card in its own bay, in a modem that two persons admitted."""
    async with open_store(tmp_path, TestClock()) as store:
        await store.write(lambda tx: add_cards(tx, [CARD], pin="1234"))
        await store.write(lambda tx: ties.bind(tx, BAY, CARD, by="anna") and None)
        await admit(store)
        lists = Lists(imei=IMEI, cards=ENFORCE, modems=ENFORCE)
        yield store, replace(ASK, iccid=CARD, bay=BAY, lists=lists)


def delete_admission(tx: Tx) -> None:
    tx.conn.execute(admission.delete())


def expel(tx: Tx) -> None:
    admissions.expel(tx, IMEI, by=ANNA, reason="x")


def unbind(tx: Tx) -> None:
    ties.unbind(tx, BAY)


GUARDED = [
    (unbind, StopReason.UNFIT),
    (bind_elsewhere, StopReason.UNFIT),
    (suspend, StopReason.UNFIT),
    (expel, StopReason.NOT_ADMITTED),
    (delete_admission, StopReason.NOT_ADMITTED),
]


@pytest.mark.parametrize(("change", "reason"), GUARDED)
async def test_a_try_asks_both_lists_in_its_own_transaction(tmp_path, change, reason):
    async with listed(tmp_path) as (store, request):
        peek = replace(request, is_peek=True)
        assert await store.write_in_set(pin_tries.claim, peek) == pin_tries.Turn()
        await store.write(change)
        for one in (peek, request, replace(request, new_pin="90417365")):
            assert await store.write_in_set(pin_tries.claim, one) == Stop(reason=reason)


@pytest.mark.parametrize("change", [change for change, _ in GUARDED])
async def test_a_puk_asks_both_lists_in_its_own_transaction(tmp_path, change):
    def bring(tx: Tx) -> None:
        asked = puks.ask(tx, CARD, puk="73914682", reason="x", by=ANNA, name="anna")
        assert puks.confirm(tx, asked, puk="73914682", by=AccountId("b"), name="bert")

    async with listed(tmp_path) as (store, request):
        await store.write(bring)
        turn = puks.PukTurn(
            iccid=CARD, bay=BAY, counter=10, new_pin="90417365", lists=request.lists
        )
        await store.write(change)
        assert await store.write_in_set(puks.claim, turn) == puks.NoPuk()
        unchanged = replace(turn, lists=replace(request.lists, cards=OFF, modems=OFF))
        is_register = change is suspend
        answer = await store.write_in_set(puks.claim, unchanged)
        assert isinstance(answer, puks.ClearedPuk) is not is_register
