"""Balances of cards: asked beside the work, kept, told (SIM-15, SIM-18, TEL-10)."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from modemctl.config.balances import BalanceSettings, BalancesSettings
from modemctl.errors import Conflict, NotFound, NotPermitted
from modemctl.lifecycle import ModemState
from modemctl.model import AccountId
from modemctl.policy.balances import Outcome, Question
from modemctl.policy.numbers import NumberRules
from modemctl.service.balances import Balances
from modemctl.service.principal import Principal, Scope
from modemctl.service.self_tests import SelfTests
from modemctl.store import Store, balances, wishes
from modemctl.store.tables import event
from tests.support.approved import SALES, amend_cards
from tests.support.balances import note_balance
from tests.support.benches import CARDS, bay_of, bench
from tests.support.scripted_modem import ERROR, OK, said
from tests.support.senders import until
from tests.unit.test_actor import BAY, OneCard, bay, reach
from tests.unit.test_self_tests import ZONE

ASKED = 'AT+CUSD=1,"*100#",15'
RULES = BalancesSettings(carriers={"default": BalanceSettings(code="*100#", low="10")})
MEI = Principal(
    account_id=AccountId("m"),
    name="mei",
    department=None,
    scopes=frozenset({Scope.MODEMS_OPERATE, Scope.MODEMS_READ, Scope.SIMS_READ}),
    source="test",
    is_person=True,
)


def answers(*lines: str) -> bytes:
    """The consent, then what the network says."""
    return OK + "".join(f"\r\n{line}\r\n" for line in lines).encode("latin-1")


def ready() -> OneCard:
    modem = OneCard()
    modem.stat = 1
    modem.script["AT+CUSD=2"] = OK
    return modem


async def beside(actor, work):
    """Run `work` while the supervisor's part is played: it tells bays of wishes."""
    async with asyncio.TaskGroup() as group:
        running = group.create_task(work)
        while not running.done():
            actor.call()
            await asyncio.wait([running], timeout=0.01)
    return running.result()


async def alarms(store: Store) -> list[dict[str, object]]:
    rows = await store.read(
        lambda conn: conn.scalars(select(event.c.data).where(event.c.kind == "alarm")).all()
    )
    return [json.loads(row) for row in rows]


# ---------------------------------------------------------------- one bay


async def test_a_balance_is_asked_read_and_kept(tmp_path):
    modem = ready()
    modem.script[ASKED] = answers('+CUSD: 0,"Balance 1,234.50 CNY",15')
    async with bay(tmp_path, modem) as (actor, store):
        await reach(actor, ModemState.READY)
        service = Balances(store, RULES, zone=ZONE, patience=20)
        done = await beside(actor, service.ask(MEI, CARDS[0]))
        assert (done.reading.amount, done.reading.state, done.text) == ("1234.50", "fine", None)
        (kept,) = await service.of_card(MEI, CARDS[0])
        assert (kept.by_hand, kept.outcome, kept.error) == (True, Outcome.READ, None)
        assert modem.n_asked("AT+CUSD=2") == 0
        assert await alarms(store) == []
        chinese = "账户余额:-3.20元".encode("utf-16-be").hex().upper()
        modem.script[ASKED] = answers(f'+CUSD: 0,"{chinese}",72')
        done = await beside(actor, service.ask(MEI, CARDS[0]))
        assert (done.reading.amount, done.reading.state) == ("-3.20", "spent")
        (alarm,) = await alarms(store)
        assert (alarm["alarm"], alarm["amount"]) == ("balance_spent", "-3.20")
        await beside(actor, service.ask(MEI, CARDS[0]))
        assert len(await alarms(store)) == 1  # it is low still
        assert actor.state is ModemState.READY


@pytest.mark.parametrize(
    ("script", "outcome", "error", "is_ended"),
    [
        (answers('+CUSD: 1,"1 Balance', '2 Number",15'), "no_amount", "no amount", True),
        (answers('+CUSD: 0,"Call 13800138000",15'), "no_amount", "no amount", False),
        (answers("+CUSD: 0"), "no_amount", "no amount", False),
        (answers("+CUSD: 2"), "refused", "ended it", False),
        (answers("+CUSD: 4"), "refused", "does not know", False),
        (answers("+CUSD: 5"), "refused", "too long", False),
        (said(final="+CME ERROR: 30"), "refused", "+CME ERROR: 30", False),
        (said(final="ERROR"), "refused", "ERROR", False),
    ],
)
async def test_an_answer_without_a_balance_is_named(tmp_path, script, outcome, error, is_ended):
    modem = ready()
    modem.script[ASKED] = script
    async with bay(tmp_path, modem) as (actor, store):
        await reach(actor, ModemState.READY)
        service = Balances(store, RULES, zone=ZONE, patience=20)
        done = await beside(actor, service.ask(MEI, CARDS[0]))
        assert (done.reading.outcome, done.reading.state) == (outcome, "unread")
        assert error in done.reading.error
        assert modem.n_asked("AT+CUSD=2") == is_ended
        if "Call" in script.decode():
            assert done.text == "Call 138****8000"  # a stranger's number, perhaps
            seen = replace(MEI, scopes=MEI.scopes | {Scope.PII_READ})
            done = await beside(actor, service.ask(seen, CARDS[0]))
            assert done.text == "Call 13800138000"
        assert actor.state is ModemState.READY


async def test_while_a_network_is_silent_the_bay_works_on_and_ends_in_order(tmp_path):
    modem = ready()
    modem.script[ASKED] = OK  # and no more
    async with bay(tmp_path, modem) as (actor, store):
        await reach(actor, ModemState.READY)
        service = Balances(store, RULES, zone=ZONE, patience=0.01)
        with pytest.raises(Conflict, match="no answer yet"):
            await service.ask(MEI, CARDS[0])
        actor.call()
        await modem.until(lambda: modem.n_asked(ASKED) == 1)
        wish_id = await store.write(
            lambda tx: wishes.ask(
                tx, kind=wishes.WishKind.AT, bay=BAY, body="AT+CSQ", by=AccountId("m")
            )
        )
        await beside(actor, answered(store, wish_id))
        assert modem.n_asked("AT+CUSD=2") == 0  # it waits still
        modem.tell_registration(2)
        await reach(actor, ModemState.SEARCHING)
        await modem.until(lambda: modem.n_asked("AT+CUSD=2") == 1)
        assert await service.of_card(MEI, CARDS[0]) == []  # nothing was learned
        assert await store.read(balances.open_bays) == frozenset()
        modem.tell_registration(1)
        await reach(actor, ModemState.READY)


async def test_a_card_that_cannot_be_read_is_not_called_another(tmp_path):
    modem = ready()
    async with bay(tmp_path, modem) as (actor, store):
        await reach(actor, ModemState.READY)
        modem.script["AT+CCID"] = ERROR
        question = Question(iccid=CARDS[0], code="*100#", pattern="", currency="CNY", low="0")
        wish_id = await store.write(lambda tx: balances.ask(tx, question, BAY, by=AccountId("m")))
        wish = await beside(actor, answered(store, wish_id))
        assert wish.error == "the card does not tell which it is"
        assert modem.n_asked(ASKED) == 0
        modem.script["AT+CCID"] = lambda text: said(f"+CCID: {modem.iccid}")


async def test_a_bay_that_leaves_while_its_card_is_read_asks_nothing(tmp_path):
    modem = ready()
    modem.script[ASKED] = OK  # and no more
    async with bay(tmp_path, modem) as (actor, store):
        await reach(actor, ModemState.READY)
        modem.script["AT+CCID"] = None  # it thinks
        question = Question(iccid=CARDS[0], code="*100#", pattern="", currency="CNY", low="0")
        n = modem.n_asked("AT+CCID")
        wish_id = await store.write(lambda tx: balances.ask(tx, question, BAY, by=AccountId("m")))
        actor.call()
        await modem.until(lambda: modem.n_asked("AT+CCID") > n)
        modem.tell_registration(2)
        await until(lambda: actor._work._asker is None)  # it is leaving
        modem.script["AT+CCID"] = lambda text: said(f"+CCID: {modem.iccid}")
        modem.say(said(f"+CCID: {modem.iccid}"))
        await reach(actor, ModemState.SEARCHING)
        wish = await answered(store, wish_id)
        assert wish.error == "the bay left its work before an answer came"
        assert modem.n_asked(ASKED) == 0


async def answered(store, wish_id):
    wish = None
    async with asyncio.timeout(20):
        while wish is None or wish.done_at is None:
            await asyncio.sleep(0.01)
            wish = await store.read(lambda conn: wishes.read(conn, store.vault, wish_id))
    return wish


async def test_another_card_is_not_asked_in_its_place(tmp_path):
    modem = ready()
    async with bay(tmp_path, modem) as (actor, store):
        await reach(actor, ModemState.READY)
        question = Question(iccid=CARDS[1], code="*100#", pattern="", currency="CNY", low="0")
        wish_id = await store.write(lambda tx: balances.ask(tx, question, BAY, by=AccountId("m")))
        wish = await beside(actor, answered(store, wish_id))
        assert wish.error == "the bay holds another card"
        assert modem.n_asked(ASKED) == 0


async def test_the_test_of_bays_asks_what_is_due_and_names_what_is_low(tmp_path):
    modem = ready()
    modem.script[ASKED] = answers('+CUSD: 0,"Balance 9.99",15')
    async with bay(tmp_path, modem) as (actor, store):
        await reach(actor, ModemState.READY)
        unasked = SelfTests(store, numbers=NumberRules(), zone=ZONE, patience=20)
        (found,) = await beside(actor, unasked.run(MEI))
        assert (found.balance, found.faults) == (None, ())
        tests = SelfTests(store, numbers=NumberRules(), zone=ZONE, balances=RULES, patience=20)
        (found,) = await beside(actor, tests.run(MEI))
        assert (found.balance, found.faults) == ("9.99 CNY", ("balance low: 9.99 CNY",))
        await beside(actor, tests.run(MEI))
        assert modem.n_asked(ASKED) == 1  # once a day
        store.clock.step(86_400)
        modem.script[ASKED] = said(final="+CME ERROR: 30")
        (found,) = await beside(actor, tests.run(MEI))
        assert found.balance == "9.99 CNY"
        (fault,) = found.faults
        assert fault.startswith("balance not read: ")


# ---------------------------------------------------------------- the bank


async def note(store: Store, card, amount: str) -> None:
    await store.write(lambda tx: note_balance(tx, card, bay_of(card), amount))


async def test_each_card_of_a_carrier_with_a_code_is_asked_once_a_day(tmp_path):
    rules = BalancesSettings(carriers={"CMCC": BalanceSettings(code="*100#")})
    async with bench(tmp_path) as desk:
        store = desk.store
        service = Balances(store, rules, zone=ZONE)
        assert await Balances(store, BalancesSettings(), zone=ZONE).look() == 0
        assert await service.look() == 0  # of no carrier
        await store.write(lambda tx: amend_cards(tx, CARDS[:2], carrier="CMCC"))
        assert await service.look() == 2
        assert await service.look() == 0
        assert await store.read(balances.open_bays) == {bay_of(card) for card in CARDS[:2]}
        await store.write(lambda tx: wishes.give_up(tx, older_than=-1))
        assert await service.look() == 0  # the bays are at work: a while later
        desk.clock.step(31 * 60)
        assert await service.look() == 2
        await store.write(lambda tx: wishes.give_up(tx, older_than=-1))
        for card in CARDS[:2]:
            await note(store, card, "50")
        desk.clock.step(3600)
        assert await service.look() == 0  # they were read today
        desk.clock.step(86_400)
        assert await service.look() == 2


async def test_cards_with_little_left_are_listed_to_those_who_see_them(tmp_path):
    async with bench(tmp_path) as desk:
        store = desk.store
        for card, amount in ((CARDS[0], "50"), (CARDS[1], "5"), (CARDS[6], "-1.5")):
            await note(store, card, amount)
        service = Balances(store, RULES, zone=ZONE)
        found = await service.latest(MEI)
        assert [(one.iccid, one.state) for one in found] == [
            (CARDS[0], "fine"), (CARDS[1], "low"), (CARDS[6], "spent"),
        ]  # fmt: skip
        assert [one.iccid for one in await service.latest(MEI, only_low=True)] == [
            CARDS[1], CARDS[6],
        ]  # fmt: skip
        theirs = replace(MEI, department=SALES)
        assert [one.iccid for one in await service.latest(theirs)] == [CARDS[6]]
        with pytest.raises(NotFound):
            await service.of_card(theirs, CARDS[0])
        with pytest.raises(NotFound):
            await service.ask(theirs, CARDS[0])
        with pytest.raises(NotPermitted):
            await service.ask(replace(MEI, scopes=frozenset({Scope.SIMS_READ})), CARDS[0])
        assert [one["alarm"] for one in await alarms(store)] == ["balance_low", "balance_spent"]


async def test_who_cannot_be_asked_is_told_why(tmp_path):
    async with bench(tmp_path) as desk:
        nobody = Balances(desk.store, BalancesSettings(), zone=ZONE)
        with pytest.raises(Conflict, match="code is not in the settings") as caught:
            await nobody.ask(MEI, CARDS[0])
        assert "the register names no carrier of this card" in caught.value.cure
        assert "[balances.carriers.default]" in caught.value.cure
        with pytest.raises(NotFound):
            await nobody.ask(MEI, "8986009999")


async def test_a_reading_of_long_ago_is_no_figure(tmp_path):
    async with bench(tmp_path) as desk:
        await note(desk.store, CARDS[0], "5")
        now = desk.store.clock.now()
        shown = await desk.store.read(lambda conn: balances.by_bay(conn, now=now))
        assert [(bay, one.amount) for bay, one in shown.items()] == [(bay_of(CARDS[0]), "5")]
        later = now + timedelta(days=41)
        assert await desk.store.read(lambda conn: balances.by_bay(conn, now=later)) == {}
