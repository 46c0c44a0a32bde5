"""A card that is changed while it serves: no segment leaves by the other one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from sqlalchemy import select

from drivers.registry import probe
from modemctl.config import SimsSettings
from modemctl.config.settings import BankSettings, ListMode, LockMode
from modemctl.fleet import serving as serving_cards
from modemctl.fleet.actor import Actor
from modemctl.fleet.breaking import Breakers
from modemctl.fleet.dispatcher import Dispatcher, EncodingRules
from modemctl.fleet.ground import Ground
from modemctl.fleet.sending import StopBell
from modemctl.fleet.starting import StartBudget
from modemctl.lifecycle import MessageState, ModemState, SegmentState, message_state
from modemctl.model import Bay
from modemctl.policy.numbers import NumberRules
from modemctl.store import sweeps
from modemctl.store.tables import segment
from modemctl.telemetry import Telemetry
from tests.support.benches import CARDS, Bench, bench
from tests.support.places import place_of
from tests.support.scripted_modem import ERROR, OnPty, said
from tests.unit.test_actor import OneCard, break_changes, mend_changes, reach, until

LONG = "x" * 400  # three segments
MINE, OTHER = CARDS[:2]


class Sender(OneCard):
    """Counts its payloads; `at_payload` is what happens to the card while one is on the air."""

    def __init__(self) -> None:
        super().__init__()
        self.stat = 1
        self.n_payloads = 0
        self.at_payload = lambda: None
        self.payload_answer = self._take

    def _take(self, payload: str) -> bytes:
        self.n_payloads += 1
        self.at_payload()
        return said(f"+CMGS: {self.n_payloads}")

    @property
    def n_looks(self) -> int:
        """How often the card was asked who it is."""
        return self.n_asked("AT+CCID")


@asynccontextmanager
async def serving(b: Bench, modem: Sender, **settings) -> AsyncIterator[Actor]:
    encoding = EncodingRules(validity=timedelta(hours=1), wants_reports=False)
    telemetry = Telemetry(version="test")
    dispatcher = Dispatcher(b.store, b.rules, encoding, telemetry)
    async with OnPty(modem) as port, asyncio.TaskGroup() as group:
        ground = Ground(
            store=b.store,
            breakers=Breakers(b.store, telemetry),
            dispatcher=dispatcher,
            telemetry=telemetry,
            rules=b.rules,
            bank=BankSettings(ports=(port.path,), **settings),
            sims=SimsSettings(lock=LockMode.VERIFY),
            numbers=NumberRules(region="CN"),
            stops=StopBell(),
            start_budget=StartBudget(1, per_hub=1),
            probe=probe,
        )
        actor = Actor(ground, place_of(port.path, Bay("bay-7")))
        leasing = group.create_task(dispatcher.run())
        walking = group.create_task(actor.run())
        try:
            await reach(actor, ModemState.READY)
            yield actor
        finally:
            actor.stop()
            await asyncio.wait([walking])
            leasing.cancel()


async def segments(b: Bench) -> list[tuple[str, str | None]]:
    query = select(segment.c.state, segment.c.iccid).order_by(segment.c.segment_id)
    return await b.store.read(lambda conn: [tuple(row) for row in conn.execute(query)])


async def test_the_rest_of_a_long_message_never_leaves_by_a_card_put_in_silently(tmp_path):
    """The modem says nothing, keeps its registration and would send with the other card."""
    modem = Sender()
    modem.at_payload = lambda: setattr(modem, "iccid", OTHER)
    async with bench(tmp_path) as b, serving(b, modem) as actor:
        await b.batch(1, template=LONG)
        await until(lambda: actor.facts.iccid == OTHER)
        await reach(actor, ModemState.READY)
        assert modem.n_payloads == 1
        await b.batch(1, template="for the other card")
        await until(lambda: modem.n_payloads == 2)
        async with asyncio.timeout(10):
            while [state for state, _ in await segments(b)].count("sent") < 2:
                await asyncio.sleep(0.01)
        expected = [("sent", MINE), ("queued", MINE), ("queued", MINE), ("sent", OTHER)]
        assert await segments(b) == expected


@pytest.mark.sqlite_only  # a trigger as SQLite writes it
async def test_a_card_put_in_while_the_store_failed_sends_nothing_for_the_former_one(tmp_path):
    """The bay was READY, and could not note it: what SEARCHING saw is old by then."""
    modem = Sender()
    async with bench(tmp_path) as b, serving(b, modem) as actor:
        modem.tell_registration(0)
        await reach(actor, ModemState.SEARCHING)
        await break_changes(b.store, ModemState.READY)
        modem.tell_registration(1)
        await reach(actor, ModemState.READY)
        modem.iccid = OTHER
        await b.batch(1, template="for the former card")
        await mend_changes(b.store)
        await until(lambda: actor.facts.iccid == OTHER or modem.n_payloads > 0)
        await reach(actor, ModemState.READY)
        await until(lambda: modem.n_payloads == 1)
        async with asyncio.timeout(10):
            while (found := await segments(b))[0][0] != "sent":
                await asyncio.sleep(0.01)
        assert found == [("sent", OTHER)]


async def test_a_card_changed_while_its_hub_is_shaken_gets_no_segment_of_the_other_one(
    tmp_path, monkeypatch
):
    """Such a wait lasts half a minute: what was known of the card before it tells nothing."""
    monkeypatch.setattr(serving_cards, "_CARD_FRESH", 0.0)
    modem = Sender()
    async with bench(tmp_path) as b, serving(b, modem) as actor:
        hubs = actor._ground.hubs
        hubs.settle(Bay("bay-7"), "1-1")
        async with hubs.shaking(Bay("bay-8"), "1-1", patience=1.0):
            await b.batch(1, template="for my card")
            await until(lambda: hubs._changed._waiters)
            modem.iccid = OTHER
        await until(lambda: actor.facts.iccid == OTHER or modem.n_payloads > 0)
        assert actor.facts.iccid == OTHER
        async with asyncio.timeout(10):
            while (found := await segments(b))[0][0] != "sent":
                await asyncio.sleep(0.01)
        assert found == [("sent", OTHER)]


async def test_the_rest_expires_where_its_card_never_comes_back(tmp_path):
    modem = Sender()
    modem.at_payload = lambda: setattr(modem, "iccid", OTHER)
    async with bench(tmp_path) as b:
        async with serving(b, modem) as actor:
            await b.batch(1, template=LONG, not_after=b.clock.now() + timedelta(minutes=10))
            await until(lambda: actor.facts.iccid == OTHER)
        b.clock.advance(700)
        await b.store.write(lambda tx: sweeps.sweep(tx, b.rules))
        found = [state for state, _ in await segments(b)]
        assert found == ["sent", "expired", "expired"]
        whole = message_state(SegmentState(state) for state in found)
        assert whole is MessageState.FAILED_PARTLY_SENT
        assert modem.n_payloads == 1


async def test_the_rest_leaves_by_its_own_card_when_that_is_back(tmp_path):
    modem = Sender()
    modem.at_payload = lambda: setattr(modem, "iccid", OTHER)
    async with bench(tmp_path) as b, serving(b, modem) as actor:
        await b.batch(1, template=LONG)
        await until(lambda: actor.facts.iccid == OTHER)
        await reach(actor, ModemState.READY)
        modem.at_payload, modem.iccid = (lambda: None), MINE
        modem.tell_registration(0)
        await reach(actor, ModemState.SEARCHING)
        modem.tell_registration(1)
        await until(lambda: modem.n_payloads == 3)
        assert {iccid for _, iccid in await segments(b)} == {MINE}


@pytest.mark.parametrize("urc", ["+CPIN: NOT INSERTED", "+CREG: 0"])
async def test_a_told_change_stops_the_next_segment_without_any_gap(tmp_path, urc):
    modem = Sender()

    def leave() -> None:
        modem.script["AT+CPIN?"] = said(final="+CME ERROR: 10")
        modem.script["AT+CCID"] = ERROR
        modem.say(f"\r\n{urc}\r\n".encode())

    modem.at_payload = leave
    async with bench(tmp_path) as b, serving(b, modem) as actor:
        await b.batch(1, template=LONG)
        await reach(actor, ModemState.SIM_WAIT)
        assert modem.n_payloads == 1


async def test_under_enforce_the_other_card_is_set_aside_before_the_next_segment(tmp_path):
    modem = Sender()
    modem.at_payload = lambda: setattr(modem, "iccid", OTHER)
    async with bench(tmp_path) as b:
        async with serving(b, modem) as actor:  # learns the bay's card
            assert actor.facts.iccid == MINE
        async with serving(b, modem, cards=ListMode.ENFORCE) as actor:
            await b.batch(1, template=LONG)
            await reach(actor, ModemState.QUARANTINED)
            assert actor.reason == "moved (policy: SIM-07)"
            assert modem.n_payloads == 1


async def test_one_reading_cut_short_stops_nothing(tmp_path):
    modem = Sender()
    answer = modem.script["AT+CCID"]
    cut = iter(["HALF"])

    def tell(text: str) -> bytes:
        is_cut = modem.n_payloads == 1 and next(cut, None) is not None
        return said(f"+CCID: {MINE[:18]}") if is_cut else answer(text)

    modem.script["AT+CCID"] = tell
    async with bench(tmp_path) as b, serving(b, modem) as actor:
        await b.batch(1, template=LONG)
        await until(lambda: modem.n_payloads == 3)
        assert next(cut, None) is None
        assert actor.state is ModemState.READY


async def test_a_card_that_cannot_be_read_for_a_moment_is_asked_again(tmp_path):
    modem = Sender()
    answer = modem.script["AT+CCID"]
    busy = iter(range(8))
    modem.script["AT+CCID"] = lambda text: (
        ERROR if modem.n_payloads == 1 and next(busy, None) is not None else answer(text)
    )
    async with bench(tmp_path) as b, serving(b, modem) as actor:
        await b.batch(1, template=LONG)
        await until(lambda: modem.n_payloads == 3)
        assert next(busy, None) is None
        assert actor.state is ModemState.READY


async def test_a_card_that_cannot_be_read_any_more_sends_no_further_segment(tmp_path):
    modem = Sender()
    modem.at_payload = lambda: modem.script.update({"AT+CCID": ERROR})
    async with bench(tmp_path) as b, serving(b, modem) as actor:
        await b.batch(1, template=LONG)
        await reach(actor, ModemState.SIM_WAIT)
        assert actor.reason == "iccid_unreadable"
        assert modem.n_payloads == 1


async def test_short_messages_in_a_row_cost_no_look_each(tmp_path):
    """Within three seconds no other card is put in, read and registered."""
    modem = Sender()
    async with bench(tmp_path) as b, serving(b, modem):
        loop = asyncio.get_running_loop()
        n_before, since = modem.n_looks, loop.time()
        await b.batch(6)
        await until(lambda: modem.n_payloads == 6)
        assert modem.n_looks - n_before <= (loop.time() - since) / 3.0 + 1


async def test_a_silent_change_in_an_idle_bay_is_seen_by_the_health_check(tmp_path):
    modem = Sender()
    async with bench(tmp_path) as b, serving(b, modem, health_interval=0.3) as actor:
        modem.iccid = OTHER
        await until(lambda: actor.facts.iccid == OTHER)
        await reach(actor, ModemState.READY)
