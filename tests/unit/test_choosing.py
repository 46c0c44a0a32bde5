"""Which waiting card gets a message, why, and why the others do not."""

from itertools import permutations

import pytest
from sqlalchemy import select, update

from modemctl.model import Iccid
from modemctl.policy.choosing import CardStanding, Choice, Contender, choice_in_words, why_not
from modemctl.store.leases import Leased, Nothing
from modemctl.store.segments import Release, release
from modemctl.store.tables import message, modem, segment_journal, sim
from tests.support.approved import GENERAL
from tests.support.benches import CARDS, bay_of, bench


def contender(name, **facts):
    defaults = {"has_holder": False, "room": 1.0, "troubles": 0, "signal_dbm": -70}
    return Contender(iccid=Iccid(name), **{**defaults, **facts})


def test_cards_are_put_in_one_order_whatever_order_they_come_in():
    best_first = [
        contender("b"),
        contender("c", signal_dbm=-75),
        contender("a", signal_dbm=None),
        contender("a", signal_dbm=-96),
        contender("a", room=0.5),
        contender("a", has_holder=True),
        contender("a", troubles=1),
    ]
    for mixed in permutations(best_first):
        assert sorted(mixed, key=lambda one: one.rank) == best_first


def test_a_choice_is_told_in_english_and_chinese():
    choice = Choice(
        iccid=Iccid("8986"), department="sales", card_group="vip", place=2, n=3, avoids=True,
        contender=contender("8986", has_holder=True, room=0.349, troubles=1, signal_dbm=-81),
    )  # fmt: skip
    assert choice_in_words(choice.encode()) == (
        "card 8986: place 2 of 3 waiting cards of department sales, group vip, has a holder, "
        "34 % of its tightest limit free, -81 dBm, breakers open: 1, "
        "another than the one that refused it"
    )
    assert choice_in_words(choice.encode(), is_chinese=True) == (
        "卡 8986:sales 部门 3 张待命卡中排第 2,组 vip,个人持有卡,最紧限额尚余 34 %,-81 dBm,"
        "熔断中: 1,避开拒发过的卡"
    )


def test_what_an_earlier_version_stored_stands_as_it_is():
    for text in ("first waiting card of department sales with room", "8986", ""):
        assert choice_in_words(text) == text


async def prepare(b, **facts):
    def act(tx):
        for card, values in facts.items():
            place = CARDS[int(card[1:])]
            tx.conn.execute(update(modem).where(modem.c.bay == bay_of(place)).values(**values))

    await b.store.write(act)


CHOICES = select(message.c.choice).order_by(message.c.message_id)


async def choices(b):
    stored = await b.store.read(lambda conn: conn.scalars(CHOICES).all())
    return [choice_in_words(one) for one in stored if one]


async def test_of_the_waiting_cards_the_best_one_gets_the_only_message(tmp_path):
    async with bench(tmp_path) as b:
        await prepare(
            b, c0={"signal_dbm": -60, "breakers": "modem"}, c1={"signal_dbm": -99},
            c2={"signal_dbm": -60}, c3={"signal_dbm": -60},
        )  # fmt: skip
        await b.batch(1)
        found = await b.lease(*CARDS[:4])
        assert [type(one) for one in found] == [Nothing, Nothing, Leased, Nothing]
        assert await choices(b) == [
            f"card {CARDS[2]}: place 1 of 4 waiting cards of department {GENERAL}, of the pool, "
            "100 % of its tightest limit free, -60 dBm"
        ]


async def test_a_card_with_more_room_goes_first(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(250)
        for _ in range(200):
            assert isinstance((await b.lease(CARDS[0]))[0], Leased)
        first, second = await b.lease(*CARDS[:2])
        assert isinstance(second, Leased)
        assert isinstance(first, Leased)
        told = (await choices(b))[-2:]
        assert told[0].startswith(f"card {CARDS[1]}: place 1 of 2")
        assert "80 % of its tightest limit free" in told[1]


async def test_each_lease_of_a_segment_keeps_its_own_reason(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(1)
        [one] = await b.lease(CARDS[0])
        await b.store.write_in_set(
            release,
            Release(token=one.token, reason="moved", rules=b.rules),
        )
        await b.lease(CARDS[1])
        notes = await b.store.read(
            lambda conn: conn.scalars(
                select(segment_journal.c.note).where(segment_journal.c.after == "leased")
            ).all()
        )
        assert [choice_in_words(note).split(":")[0] for note in notes] == [
            f"card {CARDS[0]}", f"card {CARDS[1]}",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("column", "value"),
    [("is_reserved", True), ("is_paused", True), ("department", "loans"), ("state", "lost")],
)
async def test_a_card_that_does_not_fit_gets_nothing(tmp_path, column, value):
    async with bench(tmp_path) as b:
        await b.batch(1)

        def act(tx):
            tx.conn.execute(update(sim).where(sim.c.iccid == CARDS[0]).values(**{column: value}))

        await b.store.write(act)
        assert [type(one) for one in await b.lease(CARDS[0])] == [Nothing]


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({}, None),
        ({"is_intact": False}, "its row was altered (policy: SEC-05)"),
        ({"unfit": "is lost"}, "is lost"),
        ({"card_group": "b"}, "is not in group a"),
        ({"is_reserved": True}, "is kept in reserve"),
        ({"is_paused": True}, "is paused"),
        ({"modem_state": None}, "is in no bay"),
        ({"is_bay_paused": True}, "its bay is paused"),
        ({"modem_state": "searching"}, "its modem is searching"),
        ({"iccid": "y"}, "refused this message for reasons of its own"),
        ({"lacks": "has no room"}, "has no room"),
    ],
)
def test_why_a_card_does_not_take_a_message(facts, why):
    card = CardStanding(
        **{
            "iccid": "x", "card_group": "a", "unfit": None, "is_intact": True,
            "is_reserved": False, "is_paused": False, "modem_state": "ready",
            "is_bay_paused": False, "lacks": None, **facts,
        }
    )  # fmt: skip
    assert why_not(card, card_group="a", avoids="y") == why
