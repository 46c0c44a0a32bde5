"""One bay's walk: whose card it is holds from the PIN to the last segment, whatever happens."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from drivers.errors import PortBusy
from drivers.registry import probe
from modemctl.config import SimsSettings
from modemctl.config.settings import BankSettings, LockMode
from modemctl.fleet.actor import Actor
from modemctl.fleet.breaking import Breakers
from modemctl.fleet.dispatcher import Dispatcher, EncodingRules
from modemctl.fleet.ground import Ground
from modemctl.fleet.ladder import Ladders
from modemctl.fleet.places import Place, UsbDevice
from modemctl.fleet.sending import StopBell
from modemctl.fleet.starting import StartBudget
from modemctl.lifecycle import ModemState
from modemctl.model import AccountId, Bay
from modemctl.policy.numbers import NumberRules
from modemctl.store import Store, wishes
from modemctl.store.tables import pin_attempt
from modemctl.telemetry import Telemetry
from tests.support.approved import add_cards
from tests.support.benches import CARDS, MANY, rules
from tests.support.places import place_of
from tests.support.scripted_modem import IDENTITY, OK, OnPty, ScriptedModem, said
from tests.support.stores import TestClock, open_store

BAY = Bay("bay-7")


class OneCard(ScriptedModem):
    """A modem that never tells by itself that its card was changed."""

    def __init__(self) -> None:
        super().__init__()
        self.iccid = CARDS[0]
        self.pin_state = "READY"
        self.stat = 2
        self.is_held = False
        fixed = [
            "AT+CMEE=1", "AT+CMGF=0", "AT+CREG=2", "AT+CNMI=2,1,0,2,0", "AT+CMGL=4",
            'AT+CPIN="1234"',
        ]  # fmt: skip
        self.script |= dict.fromkeys(fixed, OK)
        self.script |= {
            "AT+CFUN?": said("+CFUN: 1"),
            "AT+CPIN?": lambda text: said(f"+CPIN: {self.pin_state}"),
            "AT+CCID": lambda text: said(f"+CCID: {self.iccid}"),
            "AT+CPINR": said("+CPINR: SIM PIN,3,3"),
            'AT+CLCK="SC",2': said("+CLCK: 1"),
            "AT+CPMS?": said('+CPMS: "SM",0,50,"SM",0,50,"SM",0,50'),
            "AT+CPMS=?": said('+CPMS: ("SM"),("SM"),("SM")'),
            'AT+CPMS="SM","SM","SM"': said("+CPMS: 0,50,0,50,0,50"),
            'AT+CPMS="SM"': said("+CPMS: 0,50,0,50,0,50"),
            "AT+CNMI?": said("+CNMI: 2,1,0,2,0"),
            "AT+CREG?": lambda text: said(f"+CREG: 2,{self.stat}"),
            "AT+CSQ": said("+CSQ: 20,99"),
        }

    def tell_registration(self, stat: int) -> None:
        self.stat = stat
        self.say(f"\r\n+CREG: {stat}\r\n".encode())

    def n_asked(self, text: str) -> int:
        return self.received.count(text)


@asynccontextmanager
async def bay(
    tmp_path: Path, modem: OneCard, **settings: float
) -> AsyncIterator[tuple[Actor, Store]]:
    async with open_store(tmp_path, TestClock()) as store, OnPty(modem) as port:
        await store.write(lambda tx: add_cards(tx, CARDS[:2], pin="1234"))
        telemetry, limits = Telemetry(version="test"), rules(MANY)
        encoding = EncodingRules(validity=timedelta(hours=1), wants_reports=False)

        async def open_modem(address: str, sink):
            if modem.is_held:
                raise PortBusy(address, "held by another program")
            return await probe(address, sink)

        ground = Ground(
            store=store,
            breakers=Breakers(store, telemetry),
            dispatcher=Dispatcher(store, limits, encoding, telemetry),
            telemetry=telemetry,
            rules=limits,
            bank=BankSettings(ports=(port.path,), **settings),
            sims=SimsSettings(lock=LockMode.VERIFY),
            numbers=NumberRules(region="CN"),
            stops=StopBell(),
            start_budget=StartBudget(1, per_hub=1),
            probe=open_modem,
        )
        actor = Actor(ground, place_of(port.path, BAY))
        async with asyncio.TaskGroup() as group:
            group.create_task(actor.run())
            try:
                yield actor, store
            finally:
                actor.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def reach(actor: Actor, state: ModemState) -> None:
    try:
        await until(lambda: actor.state is state)
    except TimeoutError:
        pytest.fail(f"{actor.state} ({actor.reason}), not {state}")


async def break_changes(store: Store, state: ModemState) -> None:
    """From now on the database refuses to note that a bay is in this state."""
    trigger = (
        f"CREATE TRIGGER broken BEFORE UPDATE ON modem WHEN NEW.state = '{state}' "
        "BEGIN SELECT RAISE(ABORT, 'away'); END"
    )
    await store.write(lambda tx: tx.conn.exec_driver_sql(trigger) and None)


async def mend_changes(store: Store) -> None:
    await store.write(lambda tx: tx.conn.exec_driver_sql("DROP TRIGGER broken") and None)


# ---------------------------------------------------------------- the card while searching


@pytest.mark.parametrize("is_told", [True, False], ids=["told by the modem", "asked for"])
async def test_another_card_found_while_searching_is_checked_before_it_serves(tmp_path, is_told):
    modem = OneCard()
    async with bay(tmp_path, modem) as (actor, _):
        await reach(actor, ModemState.SEARCHING)
        modem.iccid = CARDS[1]
        if is_told:
            modem.tell_registration(1)
        else:
            modem.stat = 1
        await reach(actor, ModemState.READY)
        assert actor.facts.iccid == CARDS[1]


async def test_a_card_that_lost_the_network_is_looked_at_again(tmp_path):
    modem = OneCard()
    modem.stat = 1
    async with bay(tmp_path, modem) as (actor, _):
        await reach(actor, ModemState.READY)
        modem.tell_registration(0)
        await reach(actor, ModemState.SEARCHING)
        modem.iccid = CARDS[1]
        modem.tell_registration(1)
        await reach(actor, ModemState.READY)
        assert actor.facts.iccid == CARDS[1]


async def test_a_card_that_was_taken_out_is_no_longer_told_to_be_in_the_bay(tmp_path):
    modem = OneCard()
    modem.stat = 1
    async with bay(tmp_path, modem) as (actor, _):
        await reach(actor, ModemState.READY)
        modem.script["AT+CPIN?"] = b"\r\n+CME ERROR: 10\r\n"
        modem.tell_registration(0)
        await reach(actor, ModemState.SIM_WAIT)
        assert actor.facts.iccid is None


async def test_the_same_card_comes_back_without_another_check(tmp_path):
    modem = OneCard()
    async with bay(tmp_path, modem) as (actor, _):
        await reach(actor, ModemState.SEARCHING)
        n_starts = modem.n_asked("AT+CMGF=0")
        modem.tell_registration(1)
        await reach(actor, ModemState.READY)
        assert actor.facts.iccid == CARDS[0]
        assert modem.n_asked("AT+CMGF=0") == n_starts


async def test_a_card_that_asks_for_its_pin_again_is_unlocked_again(tmp_path):
    modem = OneCard()
    async with bay(tmp_path, modem) as (actor, _):
        await reach(actor, ModemState.SEARCHING)
        modem.pin_state = "SIM PIN"

        def unlock(text: str) -> bytes:
            modem.pin_state, modem.stat = "READY", 1
            return OK

        modem.script['AT+CPIN="1234"'] = unlock
        modem.tell_registration(0)
        await reach(actor, ModemState.READY)
        assert modem.n_asked('AT+CPIN="1234"') == 1


# ---------------------------------------------------------------- the PIN


async def test_a_card_that_went_while_the_store_failed_gets_no_pin(tmp_path):
    modem = OneCard()
    modem.pin_state = "SIM PIN"
    async with bay(tmp_path, modem) as (actor, store):
        await break_changes(store, ModemState.UNLOCKING)
        await reach(actor, ModemState.UNLOCKING)
        modem.say(b"\r\n+CPIN: NOT INSERTED\r\n")
        modem.script["AT+CPIN?"] = b"\r\n+CME ERROR: 10\r\n"
        await mend_changes(store)
        await reach(actor, ModemState.SIM_WAIT)
        assert actor.reason == "the card was taken out"
        assert modem.n_asked('AT+CPIN="1234"') == 0
        tries = await store.read(lambda conn: conn.execute(select(pin_attempt)).all())
        assert tries == []


# ---------------------------------------------------------------- wishes without a link


async def ask(store: Store, kind: wishes.WishKind, body: str | None = None) -> str:
    by = AccountId("admin")
    return await store.write(lambda tx: wishes.ask(tx, kind=kind, bay=BAY, body=body, by=by))


async def test_a_command_for_a_bay_without_a_link_is_answered_and_it_stays_failed(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(Ladders, "pause", lambda *_: 0.0)
    modem = OneCard()
    async with bay(tmp_path, modem) as (actor, store):
        await reach(actor, ModemState.SEARCHING)
        modem.script |= dict.fromkeys(IDENTITY)  # silent from now on
        modem.is_held = True
        await ask(store, wishes.WishKind.RESET)
        actor.call()
        await reach(actor, ModemState.FAILED)
        wish_id = await ask(store, wishes.WishKind.AT, "ATI")
        actor.call()
        wish = None
        async with asyncio.timeout(60):
            while wish is None or wish.done_at is None:
                await asyncio.sleep(0.01)
                wish = await store.read(lambda conn: wishes.read(conn, store.vault, wish_id))
        assert wish.error == "the bay has no link to its modem now"
        assert actor.state is ModemState.FAILED


async def test_a_failed_bay_is_tried_again_when_a_person_asks_for_it(tmp_path, monkeypatch):
    monkeypatch.setattr(Ladders, "pause", lambda *_: 0.0)
    modem = OneCard()
    async with bay(tmp_path, modem) as (actor, store):
        await reach(actor, ModemState.SEARCHING)
        modem.script |= dict.fromkeys(IDENTITY)  # silent from now on
        modem.is_held = True
        await ask(store, wishes.WishKind.RESET)
        actor.call()
        await reach(actor, ModemState.FAILED)
        modem.script |= IDENTITY
        modem.is_held, modem.stat = False, 1
        assert actor.state is ModemState.FAILED, "its cool-down lasts long"
        await ask(store, wishes.WishKind.RETRY)
        actor.call()
        await reach(actor, ModemState.READY)


async def test_a_bay_that_is_stopped_on_the_ladder_has_not_spent_it(tmp_path, monkeypatch):
    """A planned stop is no failure: nobody is called for it."""
    monkeypatch.setattr(Ladders, "pause", lambda *_: 60.0)
    modem = OneCard()
    async with bay(tmp_path, modem) as (actor, store):
        await reach(actor, ModemState.SEARCHING)
        modem.script, modem.unknown = {}, None  # silent from now on
        await ask(store, wishes.WishKind.RESET)
        actor.call()
        await reach(actor, ModemState.RECOVERING)
    assert actor.state is ModemState.RECOVERING


# ---------------------------------------------------------------- another device in the socket


async def test_a_modem_that_was_exchanged_between_two_looks_is_met_as_a_new_one(tmp_path):
    modem = OneCard()
    device = UsbDevice(
        folder=Path("/sys/none"), hub="1-1", hub_port=2, vendor_id="2c7c", product_id="0125"
    )
    async with bay(tmp_path, modem) as (actor, _):
        await reach(actor, ModemState.SEARCHING)
        address = actor.facts.port
        actor.follow(Place(bay=BAY, addresses=(address, "/dev/second"), usb=None))
        assert actor.state is ModemState.SEARCHING
        actor.follow(Place(bay=BAY, addresses=(address,), usb=device))
        await reach(actor, ModemState.ABSENT)
        assert "another device" in actor.reason
