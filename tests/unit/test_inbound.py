"""What comes in, on a real store: every TPDU becomes a row; texts join; opt-outs count."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from modemctl.fleet.inbound import Inbound
from modemctl.model import Iccid, Topic
from modemctl.policy.incoming import InboxKind, read_text
from modemctl.policy.numbers import NumberRules
from modemctl.service.inbox import Inbox
from modemctl.service.principal import Principal, Scope
from modemctl.sms import (
    Address,
    Alphabet,
    Concat,
    Deliver,
    UserData,
    dcs_for,
)
from modemctl.sms.fields import encode_address, encode_time
from modemctl.sms.userdata import encode_user_data
from modemctl.store import Store, inbox, optouts, reports, sims
from modemctl.store.tables import event
from modemctl.store.tables import inbox as inbox_table
from modemctl.telemetry import Telemetry
from tests.support.stores import TestClock, open_store

CARD = Iccid("89860000000000000001")
SCTS = datetime(2026, 11, 21, 22, 34, 56, tzinfo=UTC)

# at-dialects §5.5; the service centre's address is cut off, as drivers do.
E9 = "040DD0D432BBBC7EB7010000621112224365400DC73A1D1D1697DD3A506D5306"
E10 = "040B811017325476F800006210203040500A0741E19058341E01"
E11 = "062A0C91947121436587621112224365406211122253604000"
E12 = "06FF0C91947121436587621112224365406211122204004021"
E13 = "06000C91947121436587621112224365406211222253004046"
E15 = "040C9194712143658700C862111222436540053190BB7C07"


def bay(store: Store, region="CN", card=CARD) -> Inbound:
    return Inbound(
        store,
        Telemetry(version="test"),
        bay="bay-1",
        iccid=card,
        numbers=NumberRules(region=region),
    )


async def take(store: Store, tpdu: bytes | str, **how):
    octets = bytes.fromhex(tpdu) if isinstance(tpdu, str) else tpdu
    incoming = bay(store, **how).read(octets)
    act = inbox.add if isinstance(incoming, inbox.NewMessage) else reports.add
    return await store.write_in_set(act, incoming)


def deliver(text="hello", sender="+8613800000001", concat=None, scts=SCTS, ucs2=False) -> bytes:
    """A DELIVER as a network sends it."""
    dcs = dcs_for(Alphabet.UCS2 if ucs2 else Alphabet.GSM7)
    header = () if concat is None else (Concat(**concat).element,)
    content = UserData(text=text, header=header)
    message = Deliver(sender=Address.dialled(sender), scts=scts, user_data=content, dcs=dcs)
    return (
        bytes([0x04 | (0x40 if header else 0)])
        + encode_address(message.sender)
        + bytes([0, dcs])
        + encode_time(scts)
        + encode_user_data(content, message.encoding)
    )


async def listed(store: Store, **query):
    wanted = inbox.Query(**query)
    return await store.read(
        lambda conn: inbox.find(conn, store.vault, wanted, before=None, limit=100)
    )


async def events(store: Store, kind: str) -> list[str]:
    return list(
        await store.read(
            lambda conn: conn.scalars(select(event.c.data).where(event.c.kind == kind))
        )
    )


@pytest.fixture
def clock():
    return TestClock()


@pytest.mark.parametrize(
    ("tpdu", "region", "sender", "text", "scts"),
    [
        (E9, "DE", "Telekom", "Guthaben: 5€", "2026-11-21T22:34:56+01:00"),
        (E10, "DE", "+491712345678", "ABCDEFG", "2026-01-02T03:04:05-05:00"),
        (E15, "DE", "+491712345678", "1 new", "2026-11-21T22:34:56+01:00"),
    ],
    ids=["E9", "E10", "E15"],
)
async def test_known_deliveries_are_stored_as_what_they_mean(
    tmp_path, clock, tpdu, region, sender, text, scts
):
    async with open_store(tmp_path, clock) as store:
        await take(store, tpdu, region=region)
        (row,) = await listed(store)
    assert (row.sender, row.text, row.scts, row.kind) == (sender, text, scts, InboxKind.TEXT)
    assert row.iccid == CARD
    assert not row.is_repeat


@pytest.mark.parametrize(
    ("tpdu", "mr", "st"),
    [(E11, 42, 0), (E12, 255, 0x21), (E13, 0, 0x46)],
    ids=["E11", "E12", "E13"],
)
async def test_known_reports_are_told_by_their_type_not_by_their_line(
    tmp_path, clock, tpdu, mr, st
):
    async with open_store(tmp_path, clock) as store:
        incoming = bay(store, region="DE").read(bytes.fromhex(tpdu))
    assert isinstance(incoming, reports.NewReport)
    assert (incoming.mr, incoming.st, incoming.recipient) == (mr, st, "+491712345678")


@pytest.mark.parametrize("tpdu", ["", "04", "04FF", "05" * 40, "FF" * 200, E9[:20]])
async def test_what_cannot_be_decoded_is_kept_as_it_came(tmp_path, clock, tpdu):
    async with open_store(tmp_path, clock) as store:
        stored = await take(store, tpdu)
        row = await store.read(
            lambda conn: conn.execute(
                select(inbox_table).where(inbox_table.c.inbox_id == stored.inbox_id)
            ).one()
        )
        kept = store.vault.decrypt(row.tpdu_enc, place=f"inbox.tpdu_enc:{row.fingerprint.hex()}")
    assert row.kind == "raw"
    assert not row.is_decoded
    assert kept == bytes.fromhex(tpdu)


async def test_a_repeat_is_stored_and_flagged(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        first = await take(store, deliver())
        again = await take(store, deliver())
        later = await take(store, deliver(scts=SCTS.replace(minute=35)))
        other_card = await take(store, deliver(), card=Iccid("89860000000000000002"))
        rows = await listed(store)
    flags = [one.is_repeat for one in (first, again, later, other_card)]
    assert flags == [False, True, False, False]
    assert len(rows) == 4


async def test_two_copies_in_one_set_are_one_and_its_repeat(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        incoming = bay(store).read(deliver())
        both = await store.write(lambda tx: inbox.add(tx, [incoming, incoming]))
    assert [one.is_repeat for one in both] == [False, True]


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2), (3, 2, 1)])
async def test_segments_join_in_any_order_once(tmp_path, clock, order):
    texts = {1: "一二三", 2: "四五六", 3: "七八九"}
    async with open_store(tmp_path, clock) as store:
        joined = []
        for sequence in order:
            place = {"reference": 9, "total": 3, "sequence": sequence}
            stored = await take(store, deliver(texts[sequence], concat=place, ucs2=True))
            joined.append(stored.joined_id)
        place = {"reference": 9, "total": 3, "sequence": 2}
        repeat = await take(store, deliver(texts[2], concat=place, ucs2=True))
        whole = await listed(store, kind=InboxKind.TEXT)
        parts = await listed(store, kind=InboxKind.PART, with_parts=True)
        shown = await listed(store)
        told = await events(store, "inbox")
    assert joined[:2] == [None, None]
    assert [one.text for one in whole] == ["一二三四五六七八九"]
    assert joined[2] == whole[0].inbox_id
    assert repeat.is_repeat
    assert [one.joined_id for one in parts if not one.is_repeat] == [joined[2]] * 3
    assert [one.kind for one in shown if not one.is_repeat] == [InboxKind.TEXT]
    assert len(told) == 1


async def test_a_reference_used_again_next_day_joins_nothing_old(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        old = {"reference": 9, "total": 2, "sequence": 1}
        await take(store, deliver("old-", concat=old))
        next_day = SCTS.replace(day=22)
        late = await take(store, deliver("new", concat={**old, "sequence": 2}, scts=next_day))
        done = await take(store, deliver("brand-", concat=old, scts=next_day))
        (whole,) = await listed(store, kind=InboxKind.TEXT)
    assert late.joined_id is None
    assert done.joined_id == whole.inbox_id
    assert whole.text == "brand-new"


async def test_wide_and_narrow_references_do_not_mix(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        one = {"reference": 9, "total": 2, "sequence": 1}
        await take(store, deliver("a", concat=one))
        stored = await take(store, deliver("b", concat={**one, "sequence": 2, "is_wide": True}))
    assert stored.joined_id is None


@pytest.mark.parametrize(
    "text", ["退订", " td ", "TD。", "STOP", "Stop!", "n", "0000", "T", "ＴＤ"]
)
async def test_an_opt_out_counts_from_the_commit_that_stores_it(tmp_path, clock, text):
    async with open_store(tmp_path, clock) as store:
        with store.signals.subscribe(Topic.EVENTS) as bell:
            await take(store, deliver(text, sender="13800000001", ucs2=True))
            assert await bell.wait(60)
        found = await store.read(lambda conn: optouts.find(conn, store.vault, "+8613800000001"))
        (row,) = await listed(store)
        (told,) = await events(store, "inbox")
    assert found is not None
    assert found.source == "sms"
    assert row.kind is InboxKind.OPT_OUT
    assert "opt_out" in told
    assert "138" not in told


async def test_a_long_opt_out_is_read_when_it_is_whole(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        for sequence, text in ((1, "退"), (2, "订")):
            place = {"reference": 1, "total": 2, "sequence": sequence}
            await take(store, deliver(text, concat=place, ucs2=True))
        found = await store.read(lambda conn: optouts.find(conn, store.vault, "+8613800000001"))
    assert found is not None


@pytest.mark.parametrize("text", ["退订吗？我想再看看", "NO", "How do I stop this", "t 1"])
async def test_a_sentence_is_no_opt_out(tmp_path, clock, text):
    async with open_store(tmp_path, clock) as store:
        await take(store, deliver(text, ucs2=True))
        (row,) = await listed(store)
    assert row.kind is InboxKind.TEXT


async def test_a_name_cannot_opt_out(tmp_path, clock):
    tpdu = bytes.fromhex("040DD0D432BBBC7EB701000062111222436540025422")  # "Telekom": TD
    async with open_store(tmp_path, clock) as store:
        await take(store, tpdu)
        (row,) = await listed(store)
        rows = await store.read(
            lambda conn: optouts.list_opt_outs(conn, store.vault, after=b"", limit=10)
        )
    assert (row.text, row.kind) == ("TD", InboxKind.OPT_OUT)
    assert rows == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("【银行】您的验证码是 482913，请勿告诉他人", InboxKind.CODE),
        ("Your verification code: 4829", InboxKind.CODE),
        ("OTP 482913", InboxKind.CODE),
        ("动态密码４８２９１３", InboxKind.CODE),
        ("您的驗證碼是 482 913", InboxKind.CODE),
        ("验\u200b证码 482913", InboxKind.CODE),
        ("Use G7X2Q as your security code", InboxKind.CODE),
        ("您的初始密码是 a8k2m9", InboxKind.CODE),
        ("请问验证码在哪里", InboxKind.TEXT),
        ("订单 482913 已发货", InboxKind.TEXT),
    ],
)
def test_verification_codes_are_recognised(text, kind):
    assert read_text(text).kind is kind


async def test_a_verification_code_raises_an_alarm_without_its_text(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        await take(store, deliver("您的验证码是 482913", ucs2=True))
        (alarm,) = await events(store, "alarm")
    assert "SMS-12" in alarm
    assert "482913" not in alarm


async def test_no_part_of_a_code_is_shown_to_who_may_not_read_it(tmp_path, clock):
    scopes = frozenset({Scope.INBOX_READ, Scope.PII_READ})
    who = Principal(account_id="a", name="a", department=None, scopes=scopes, source="test")
    async with open_store(tmp_path, clock) as store:
        box = Inbox(store, numbers=NumberRules())
        shown = []
        for sequence, text in enumerate(("您的验证码", "是 482913", "请勿泄露"), 1):
            place = {"reference": 9, "total": 3, "sequence": sequence}
            await take(store, deliver(text, concat=place, ucs2=True))
            found = (await box.list_messages(who, with_parts=True)).items
            shown.append([one.text for one in found])
        whole = (await box.list_messages(who, with_parts=True)).items[0]
    assert shown == [[None], [None, None], [None] * 4]
    assert whole.kind is InboxKind.CODE


async def test_a_longer_text_that_is_no_code_is_shown_in_parts(tmp_path, clock):
    scopes = frozenset({Scope.INBOX_READ, Scope.PII_READ})
    who = Principal(account_id="a", name="a", department=None, scopes=scopes, source="test")
    async with open_store(tmp_path, clock) as store:
        place = {"reference": 9, "total": 2, "sequence": 1}
        await take(store, deliver("一二三", concat=place, ucs2=True))
        found = await Inbox(store, numbers=NumberRules()).list_messages(who, with_parts=True)
    assert [one.text for one in found.items] == ["一二三"]


async def test_what_a_card_of_ours_writes_sets_nothing_going(tmp_path, clock):
    """Two cards of a bank that answer each other would go on for ever."""
    async with open_store(tmp_path, clock) as store:
        card = sims.NewCard(iccid=Iccid("89860000000000000009"), number="+8613800000001")
        await store.write(lambda tx: sims.add(tx, [card]))
        for _ in range(3):
            clock.advance(60)
            await take(store, deliver("TD"))
        rows = await store.read(
            lambda conn: optouts.list_opt_outs(conn, store.vault, after=b"", limit=10)
        )
        alarms = await events(store, "alarm")
    assert rows == []
    assert all("own_card_wrote" in alarm for alarm in alarms)
    assert alarms


@pytest.mark.parametrize(
    "text", ["【银行】新利率上线。回T退订", "拒收请回复R,退订回T", "您好,怎么退订?", "T恤有货吗"]
)
async def test_an_echo_of_our_own_text_opts_nobody_out(tmp_path, clock, text):
    async with open_store(tmp_path, clock) as store:
        await take(store, deliver(text, ucs2=True))
        rows = await store.read(
            lambda conn: optouts.list_opt_outs(conn, store.vault, after=b"", limit=10)
        )
    assert rows == []


async def test_octets_for_an_application_are_kept(tmp_path, clock):
    content = UserData(data=b"\x01\x06")
    dcs = dcs_for(Alphabet.EIGHT_BIT)
    message = Deliver(sender=Address.dialled("10086"), scts=SCTS, user_data=content, dcs=dcs)
    tpdu = (
        b"\x04" + encode_address(message.sender) + bytes([0, dcs]) + encode_time(SCTS)
        + encode_user_data(content, message.encoding)
    )  # fmt: skip
    async with open_store(tmp_path, clock) as store:
        await take(store, tpdu)
        (row,) = await listed(store)
    assert (row.kind, row.text, row.sender) == (InboxKind.BINARY, None, "10086")


async def test_numbers_and_texts_do_not_stand_in_the_database_in_clear(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        await take(store, deliver("geheimes Wort"))
    for path in tmp_path.iterdir():
        octets = path.read_bytes()
        assert b"geheimes" not in octets
        assert b"13800000001" not in octets
