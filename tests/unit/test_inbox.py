"""What accounts see of messages and calls."""

from datetime import timedelta

import pytest

from modemctl.errors import InvalidRequest, NotFound, NotPermitted
from modemctl.fleet.inbound import Inbound
from modemctl.model import AccountId, Iccid
from modemctl.policy.incoming import InboxKind
from modemctl.policy.numbers import NumberRules
from modemctl.service.calls import Calls
from modemctl.service.inbox import Inbox
from modemctl.service.principal import Principal, Scope
from modemctl.store import Store, calls, inbox, sims
from modemctl.telemetry import Telemetry
from tests.support.stores import TestClock, open_store

SALES, LOANS = Iccid("89860000000000000001"), Iccid("89860000000000000002")
DELIVER = "04" + "0D91683108000000F1" + "0000" + "62111222{:02d}0000" + "02E834"


def who(*scopes: Scope, department: str | None = None) -> Principal:
    return Principal(
        account_id=AccountId("a"), name="a", department=department, scopes=frozenset(scopes),
        source="test",
    )  # fmt: skip


READER = who(Scope.INBOX_READ, Scope.CALLS_READ)
INSIDER = who(Scope.INBOX_READ, Scope.CALLS_READ, Scope.PII_READ)
SELLER = who(Scope.INBOX_READ, Scope.CALLS_READ, department="sales")


@pytest.fixture
async def world(tmp_path):
    clock = TestClock()
    async with open_store(tmp_path, clock) as store:
        cards = [
            sims.NewCard(iccid=SALES, department="sales", holder="王芳"),
            sims.NewCard(iccid=LOANS, department="loans", holder="李雷"),
        ]
        await store.write(lambda tx: sims.add(tx, cards))
        for minute, card in enumerate([SALES, LOANS, SALES]):
            await receive(store, card, minute)
            await ring(store, card, minute)
        yield store


async def receive(store: Store, card: Iccid, minute: int) -> None:
    inbound = Inbound(store, Telemetry(version="test"), bay="1", iccid=card, numbers=NumberRules())
    tpdu = bytes.fromhex(DELIVER.format(minute))
    await store.write_in_set(inbox.add, inbound.read(tpdu))


async def ring(store: Store, card: Iccid, minute: int) -> None:
    start = store.clock.now() + timedelta(minutes=minute)
    state = calls.CallState(
        iccid=card, bay="1", is_incoming=True, number="+8613800000001", started_at=start,
        answered_at=start + timedelta(seconds=5) if minute else None,
        ended_at=start + timedelta(seconds=65), n_rings=2, cause=None,
    )  # fmt: skip
    await store.write_in_set(calls.save, state)


def services(store: Store) -> tuple[Inbox, Calls]:
    return Inbox(store, numbers=NumberRules()), Calls(store, numbers=NumberRules())


async def test_texts_and_parties_need_the_right_to_see_them(world):
    box, book = services(world)
    (masked, *_), (open_, *_) = [(await box.list_messages(one)).items for one in (READER, INSIDER)]
    (call, *_), (open_call, *_) = [(await book.list_calls(one)).items for one in (READER, INSIDER)]
    assert (masked.sender, masked.text) == ("+86138****0001", None)
    assert (open_.sender, open_.text) == ("+8613800000001", "hi")
    assert (call.number, call.holder) == ("+86138****0001", "王**")
    assert (open_call.number, open_call.holder) == ("+8613800000001", "王芳")


async def test_a_department_sees_what_its_cards_received(world):
    box, book = services(world)
    mine = (await box.list_messages(SELLER)).items
    all_ = (await box.list_messages(READER)).items
    foreign = next(one for one in all_ if one.iccid == LOANS)
    assert {one.iccid for one in mine} == {SALES}
    assert len(mine) == 2
    assert (await box.list_messages(SELLER, department="loans")).items == []
    assert {one.iccid for one in (await book.list_calls(SELLER)).items} == {SALES}
    assert (await book.list_calls(SELLER, department="loans")).items == []
    with pytest.raises(NotFound):
        await box.show(SELLER, foreign.inbox_id)
    assert (await box.show(READER, foreign.inbox_id)).inbox_id == foreign.inbox_id


async def test_lists_go_on_behind_a_cursor_newest_first(world):
    box, book = services(world)
    first = await box.list_messages(READER, limit=2)
    second = await box.list_messages(READER, limit=2, cursor=first.next)
    ids = [one.inbox_id for one in (*first.items, *second.items)]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 3
    assert second.next is None
    first_calls = await book.list_calls(READER, limit=2)
    rest = await book.list_calls(READER, limit=2, cursor=first_calls.next)
    assert len(first_calls.items) + len(rest.items) == 3


async def test_filters(world):
    box, book = services(world)
    assert len((await box.list_messages(READER, number="138 0000 0001")).items) == 3
    assert (await box.list_messages(READER, number="10086")).items == []
    assert (await box.list_messages(READER, kind=InboxKind.OPT_OUT)).items == []
    assert len((await box.list_messages(READER, iccid=LOANS)).items) == 1
    later = world.clock.now() + timedelta(seconds=1)
    assert (await box.list_messages(READER, since=later)).items == []
    assert len((await book.list_calls(READER, is_answered=True)).items) == 2
    assert len((await book.list_calls(READER, is_answered=False)).items) == 1
    assert (await book.list_calls(READER, is_incoming=False)).items == []
    assert len((await book.list_calls(READER, since=later)).items) == 2


async def test_the_length_of_a_talk_is_told(world):
    _, book = services(world)
    talked, _, missed = (await book.list_calls(READER)).items
    assert talked.seconds == 60.0
    assert missed.seconds is None


async def test_wrong_questions_are_refused(world):
    box, book = services(world)
    naive = world.clock.now().replace(tzinfo=None)
    for ask in (
        lambda: box.list_messages(READER, since=naive),
        lambda: book.list_calls(READER, since=naive),
        lambda: box.list_messages(READER, number=" "),
        lambda: box.list_messages(READER, cursor="nonsense"),
    ):
        with pytest.raises(InvalidRequest):
            await ask()
    for ask in (
        lambda: box.list_messages(who()),
        lambda: box.show(who(), 1),
        lambda: book.list_calls(who()),
    ):
        with pytest.raises(NotPermitted):
            await ask()


CODE_READER = who(Scope.INBOX_READ, Scope.PII_READ, Scope.SECRETS_READ)


def text_of(text: str) -> inbox.NewMessage:
    return inbox.NewMessage(
        iccid=SALES, bay="1", sender="+8613800000002", is_sender_number=True, scts=None, text=text,
        concat=None, tpdu=b"\x09", kind=InboxKind.TEXT,
    )  # fmt: skip


async def test_a_code_is_read_by_those_alone_who_may(world):
    text = "您的验证码是 482913"
    await world.write_in_set(inbox.add, text_of(text))
    box, _ = services(world)
    shown = [(await box.list_messages(one)).items[0] for one in (READER, INSIDER, CODE_READER)]
    assert [one.text for one in shown] == [None, None, text]
    assert (await box.show(INSIDER, shown[0].inbox_id)).text is None
    assert (await box.show(CODE_READER, shown[0].inbox_id)).text == text
