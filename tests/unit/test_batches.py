"""Batches on a real store: from submission to the start, and every way in which they stop."""

import asyncio
import dataclasses
import json
import uuid
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine, func, select, text, update

from modemctl.config import ApprovalsSettings, LimitsSettings, Settings, SiteSettings
from modemctl.config.limits import DepartmentCaps
from modemctl.errors import Conflict, InvalidRequest, NotFound, NotPermitted, PolicyRefused
from modemctl.lifecycle import BatchState, SegmentState
from modemctl.model import BatchId, Decision, EventKind, Topic
from modemctl.policy.approvals import verify_batch, verify_line
from modemctl.service.batches import Batches, ListFormat, Recipient, SubmissionRules
from modemctl.store import batch_turns, optouts
from modemctl.store import batches as rows
from modemctl.store.accounts import AccountState, change_account, find_account
from modemctl.store.authorities import (
    find_approver_key,
    list_authorisations,
    revoke_approver_key,
    revoke_authorisation,
)
from modemctl.store.evidence import read_evidence, read_lines
from modemctl.store.replay import replay
from modemctl.store.tables import (
    approval,
    audit_entry,
    batch,
    batch_chunk,
    confirmation,
    event,
    message,
    segment,
)
from tests.support.people import CHAINS, Office, open_office
from tests.support.stores import Databases, TestClock, open_store


@asynccontextmanager
async def office_in(folder, settings=None, clock=None):
    async with open_store(folder, clock) as store:
        yield await open_office(store, settings)


def rules_of(office: Office):
    return office.batches._rules.approvals


async def verified(office, shown):
    def read(conn):
        found = rows.verify_now(
            conn,
            office.store.vault,
            shown.batch.batch_id,
            rules=rules_of(office),
            now=office.store.clock.now(),
        )
        ids = conn.scalars(
            select(message.c.message_id)
            .where(message.c.batch_id == shown.batch.batch_id)
            .order_by(message.c.message_id)
        ).all()
        lines = read_lines(conn, office.store.vault, ids)
        return [
            verify_line(
                found,
                line_no=lines[one].line_no,
                line=lines[one].line,
                chunk_leaves=lines[one].chunk_leaves,
                salt=lines[one].salt,
            )
            for one in ids
        ]

    return await office.store.read(read)


async def audited(office):
    return await office.store.read(
        lambda conn: list(
            conn.execute(select(audit_entry.c.actor, audit_entry.c.action, audit_entry.c.details))
        )
    )


async def chunks(octets, size=7_000):
    for start in range(0, len(octets), size):
        yield octets[start : start + size]


# ---------------------------------------------------------------- the way through


@pytest.mark.parametrize("category", list(CHAINS))
async def test_a_batch_goes_through_its_chain_and_every_line_is_proved(tmp_path, category):
    async with office_in(tmp_path) as office:
        shown = await office.submit(5, category)
        assert shown.batch.state is BatchState.CHECKED
        assert shown.progress == {SegmentState.QUEUED: shown.batch.n_segments}
        shown = await office.approve(shown)
        assert shown.batch.state is BatchState.APPROVED
        assert [one.approver is not None for one in shown.steps] == [True] * len(CHAINS[category])
        with office.store.signals.subscribe(Topic.WORK) as bell:
            shown = await office.start(shown)
            assert await bell.wait(5)
        assert shown.batch.state is BatchState.RUNNING
        lines = await verified(office, shown)
        assert [line.to for line in lines] == [f"+86138{i:08d}" for i in range(1, 6)]
        assert {line.text for line in lines} == {shown.batch.template}
        actions = [action for _, action, _ in await audited(office) if action.startswith("batch.")]
    approvals = ["batch.approve"] * len(CHAINS[category])
    assert actions == ["batch.submit", "batch.confirm", *approvals, "batch.start"]


async def test_every_act_is_audited_with_its_rule_and_without_numbers(tmp_path):
    async with office_in(tmp_path) as office:
        await office.start(await office.approve(await office.submit()))
        entries = [one for one in await audited(office) if one.action.startswith("batch.")]
    assert [json.loads(one.details)["policy"] for one in entries] == [
        "SMS-01",
        "SEC-04",
        "SMS-02",
        "SMS-06",
    ]
    assert [json.loads(one.details)["source"] for one in entries] == ["test"] * 4
    assert not any("1380000" in one.details for one in entries)


async def test_lines_over_several_chunks_and_with_gaps_are_proved(tmp_path):
    async with office_in(tmp_path) as office:
        lines = [Recipient(line_no=i * 3, to=f"138{i:08d}", variables={}) for i in range(1, 1_501)]
        who = office.who["system"]
        shown = await office.batches.submit(who, office.request(), lines)
        shown = await office.approve(shown)
        assert len(await verified(office, shown)) == 1_500
        n_chunks = await office.store.read(
            lambda conn: conn.scalar(select(func.count()).select_from(batch_chunk))
        )
        assert n_chunks == 5


async def test_variables_make_each_recipients_text(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.submit(3, text="Dear {name}, interest was paid. {name}!")
        shown = await office.approve(shown)
        texts = [line.text for line in await verified(office, shown)]
    assert texts == [f"Dear N{i}, interest was paid. N{i}!" for i in (1, 2, 3)]


# ---------------------------------------------------------------- what is submitted


async def test_a_repeat_gives_the_same_batch_and_another_content_is_a_conflict(tmp_path):
    async with office_in(tmp_path) as office:
        who, request = office.who["system"], office.request()
        lines = [Recipient(line_no=1, to="13800000001", variables={})]
        first = await office.batches.submit(who, request, lines)
        await office.approve(first)
        again = await office.batches.submit(who, request, lines)
        assert again.batch.batch_id == first.batch.batch_id
        assert again.batch.state is BatchState.APPROVED
        others = [Recipient(line_no=1, to="13800000002", variables={})]
        for changed, list_ in (
            (request, others),
            (dataclasses.replace(request, text="Another text."), lines),
        ):
            with pytest.raises(Conflict, match="another request"):
                await office.batches.submit(who, changed, list_)


async def test_the_same_id_twice_at_once_is_one_batch(tmp_path):
    async with office_in(tmp_path) as office:
        who, request = office.who["system"], office.request()
        lines = [Recipient(line_no=i, to=f"138{i:08d}", variables={}) for i in range(1, 600)]
        done = await asyncio.gather(
            *(office.batches.submit(who, request, lines) for _ in range(3)),
            return_exceptions=True,
        )
        kept = [one for one in done if not isinstance(one, Exception)]
        assert len(kept) == 1
        assert all(isinstance(one, Conflict) for one in done if one not in kept)
        n = await office.store.read(
            lambda conn: conn.scalar(select(func.count()).select_from(message))
        )
    assert n == 599


async def test_a_list_that_broke_off_is_begun_anew(tmp_path):
    async with office_in(tmp_path) as office:
        who, request = office.who["system"], office.request()
        body = "".join(f"138{i:08d}\n" for i in range(1, 1_001)).encode()
        shown = await office.batches.submit_list(who, request, chunks(body), ListFormat.TXT)
        old = shown.digest

        def break_off(tx):  # what a crash in the middle leaves behind
            tx.conn.execute(
                update(batch).values(state=BatchState.DRAFT, header=None, digest=None, n_lines=0)
            )
            tx.conn.execute(text("DELETE FROM recipient WHERE line_no > 300"))
            tx.conn.execute(text("DELETE FROM segment WHERE message_id > 400"))
            tx.conn.execute(text("DELETE FROM message WHERE message_id > 400"))

        await office.store.write(break_off)
        shown = await office.batches.submit_list(who, request, chunks(body), ListFormat.TXT)
        assert shown.batch.n_messages == 1_000
        assert shown.progress == {SegmentState.QUEUED: 1_000}
        assert shown.digest != old, "a new salt"
        assert len(await verified(office, await office.approve(shown))) == 1_000


async def test_removed_lines_are_listed_masked_with_reason_and_rule(tmp_path):
    async with office_in(tmp_path) as office:
        await office.store.write(lambda tx: optouts.add_from_sms(tx, "+8613800000007", "td"))
        body = (
            "手机号,name\n13800000001,甲\n010-61234567,乙\n13800000001,丙\n１３８００００００02,丁\n"
            "13800000007,戊\n1.38E+10,己\n13800000003,\n+8613800000001,庚\nabc,辛\n"
        ).encode("gbk")
        request = office.request(text="尊敬的{name},利息已到账。")
        who = office.who["system"]
        shown = await office.batches.submit_list(who, request, chunks(body), ListFormat.CSV)
        page = await office.batches.removed(who, shown.batch.batch_id, limit=3)
        rest = await office.batches.removed(who, shown.batch.batch_id, cursor=page.next)
    removed = [(one.line_no, one.reason, one.policy) for one in (*page.items, *rest.items)]
    assert removed == [
        (3, "a landline", "SMS-07"),
        (4, "duplicate", "SMS-07"),
        (5, "full-width digits", "SMS-07"),
        (6, "opted out", "SIM-08"),
        (7, "a spreadsheet's rounded number, not the digits", "SMS-07"),
        (8, "a variable has no value", "SMS-07"),
        (9, "duplicate", "SMS-07"),
        (10, "letters or signs in the number", "SMS-07"),
    ]
    assert rest.next is None
    assert shown.totals is not None
    assert (shown.totals.n_messages, shown.totals.n_removed) == (1, 8)
    assert shown.totals.removed_by["duplicate"] == 2
    assert not any("13800000001" in one.masked for one in (*page.items, *rest.items))


async def test_a_removed_line_shows_neither_a_whole_number_nor_a_name(tmp_path):
    lines = ["13800138000 Wang Xiaomin 110", "王小明13800138001", "13800138002/13800138003", "Li"]
    async with office_in(tmp_path) as office:
        who = office.who["system"]
        body = "\n".join(["13800000001", *lines]).encode()
        easy, strict = office.request(), office.request(is_strict=True)
        shown = await office.batches.submit_list(who, easy, chunks(body), ListFormat.TXT)
        page = await office.batches.removed(who, shown.batch.batch_id)
        with pytest.raises(PolicyRefused) as caught:
            await office.batches.submit_list(who, strict, chunks(body), ListFormat.TXT)
    assert [one.masked for one in page.items] == [
        "138******** **** ******* *10", "************01", "138********/*********03", "**",
    ]  # fmt: skip
    assert caught.value.value == "138******** **** ******* *10"


async def test_a_strict_list_is_refused_for_one_bad_line_and_leaves_nothing(tmp_path):
    async with office_in(tmp_path) as office:
        who, request = office.who["system"], office.request(is_strict=True)
        lines = [
            Recipient(line_no=1, to="13800000001", variables={}),
            Recipient(line_no=2, to="０1061234567", variables={}),
        ]
        with pytest.raises(PolicyRefused, match="line 2: full-width digits") as caught:
            await office.batches.submit(who, request, lines)
        assert caught.value.policy == "SMS-07"
        with pytest.raises(NotFound):
            await office.batches.show(who, request.batch_id)
        shown = await office.batches.submit(who, request, lines[:1])
        assert shown.batch.n_messages == 1


async def test_a_repeat_behind_a_broken_line_hears_that_it_was_done(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.confirm(await office.submit())
        with pytest.raises(Conflict, match="is awaiting_approval; that was done before"):
            await office.confirm(shown)


async def test_a_list_without_anybody_left_is_refused(tmp_path):
    async with office_in(tmp_path) as office:
        with pytest.raises(InvalidRequest, match="no recipient is left; line 1"):
            await office.batches.submit(
                office.who["system"],
                office.request(),
                [Recipient(line_no=1, to="010-61234567", variables={})],
            )


async def test_a_list_without_the_column_that_the_text_names_tells_the_cure(tmp_path):
    async with office_in(tmp_path) as office:
        with pytest.raises(InvalidRequest, match="line 1: a variable has no value") as caught:
            await office.batches.submit(
                office.who["system"],
                office.request(text="您好{name}"),
                [Recipient(line_no=1, to="13800000001", variables={"姓名": "王芳"})],
            )
    assert "a column with the name that stands in braces" in caught.value.cure


async def test_a_heading_that_names_no_column_of_numbers_tells_the_cure(tmp_path):
    async with office_in(tmp_path) as office:
        who, request = office.who["system"], office.request(text="您好{name}")
        body = "联系方式,name\n13800000001,王芳\n".encode()
        with pytest.raises(InvalidRequest, match="line 1: letters or signs") as caught:
            await office.batches.submit_list(who, request, chunks(body), ListFormat.CSV)
        assert "call that of the numbers 手机号" in caught.value.cure
        body, again = (
            "電話,name\n13800000001,王芳\n".encode("big5"),
            office.request(text="您好{name}"),
        )
        shown = await office.batches.submit_list(
            who, again, chunks(body), ListFormat.CSV, encoding="big5"
        )
    assert shown.batch.n_messages == 1


@pytest.mark.parametrize(
    ("changes", "error", "policy"),
    [
        ({"batch_id": "7"}, InvalidRequest, None),
        ({"batch_id": str(uuid.uuid4()).upper()}, InvalidRequest, None),
        ({"category": "gossip"}, PolicyRefused, "SMS-04"),
        ({"text": "  "}, InvalidRequest, None),
        ({"text": "a\x1bb"}, InvalidRequest, None),
        ({"text": "请回复您的验证码"}, PolicyRefused, "SMS-12"),
        ({"text": "限时优惠"}, PolicyRefused, "SMS-02"),
        ({"category": "promotion", "text": "新品 回T退订"}, PolicyRefused, "SMS-08"),
        ({"party": "somebody else"}, PolicyRefused, "SMS-09"),
        ({"drafter": "nobody"}, InvalidRequest, None),
        ({"drafter": "stranger"}, PolicyRefused, "SMS-11"),
        ({"operator": ""}, InvalidRequest, None),
        ({"department": "loans"}, NotPermitted, "SEC-01"),
        ({"card_group": "a b"}, InvalidRequest, None),
        ({"not_after": TestClock().now() - timedelta(hours=1)}, InvalidRequest, None),
        ({"not_after": TestClock().now() + timedelta(days=8)}, InvalidRequest, None),
        ({"not_after": TestClock().now().replace(tzinfo=None)}, InvalidRequest, None),
    ],
)
async def test_a_wrong_request_is_refused_and_leaves_nothing(tmp_path, changes, error, policy):
    async with office_in(tmp_path) as office:
        with pytest.raises(error) as caught:
            await office.submit(2, **changes)
        assert caught.value.policy == policy
        count = await office.store.read(
            lambda conn: conn.scalar(select(func.count()).select_from(batch))
        )
    assert count == 0


async def test_a_variable_cannot_smuggle_in_what_the_text_may_not_say(tmp_path):
    async with office_in(tmp_path) as office:
        lines = [Recipient(line_no=1, to="13800000001", variables={"what": "请回复验证码"})]
        with pytest.raises(PolicyRefused) as caught:
            await office.batches.submit(
                office.who["system"], office.request(text="尊敬的客户:{what}"), lines
            )
        assert caught.value.policy == "SMS-12"


async def test_a_message_longer_than_the_smallest_cap_is_taken_out(tmp_path):
    limits = LimitsSettings(segments_per_minute=2)
    async with office_in(tmp_path, Settings(limits=limits)) as office:
        lines = [
            Recipient(line_no=1, to="13800000001", variables={"x": "short"}),
            Recipient(line_no=2, to="13800000002", variables={"x": "long " * 80}),
            Recipient(line_no=3, to="13800000003", variables={"x": "half \ud800"}),
        ]
        shown = await office.batches.submit(
            office.who["system"], office.request(text="News: {x}"), lines
        )
    assert shown.totals is not None
    assert shown.totals.removed_by == {
        "needs more segments than the limits allow at once": 1,
        "the text for this line cannot be sent": 1,
    }


async def test_a_text_longer_than_the_smallest_cap_is_refused_with_rule_and_cure(tmp_path):
    limits = LimitsSettings(department=DepartmentCaps(segments_per_hour=2))
    async with office_in(tmp_path, Settings(limits=limits)) as office:
        with pytest.raises(PolicyRefused) as caught:
            await office.submit(1, text="a" * 400)
        assert (caught.value.policy, caught.value.field) == ("SIM-08", "text")
        assert "limits.department.segments_per_hour allows 2" in caught.value.rule
        assert "shorten it to 2 segments" in caught.value.cure
        assert (await office.submit(1, text="a" * 300)).totals.n_segments == 2


async def test_totals_count_segments_and_name_forcing_characters(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.submit(4, text="x" * 150 + "…€ę")
    assert shown.totals is not None
    assert (shown.totals.n_segments, shown.totals.forcing) == (12, ("…", "ę"))


async def test_without_submitters_scope_nothing_is_submitted(tmp_path):
    async with office_in(tmp_path) as office:
        with pytest.raises(NotPermitted):
            await office.batches.submit(
                office.who["checker"],
                office.request(),
                [Recipient(line_no=1, to="13800000001", variables={})],
            )


# ---------------------------------------------------------------- second person, chain


async def test_drafter_and_submitter_do_not_confirm_and_the_digest_must_be_right(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.submit()
        digest = bytes.fromhex(shown.digest or "")
        scopes = office.who["checker"].scopes
        for name in ("drafter", "system"):
            who = dataclasses.replace(office.who[name], scopes=scopes)
            with pytest.raises(PolicyRefused, match="SEC-04"):
                await office.batches.confirm(who, shown.batch.batch_id, digest)
        with pytest.raises(PolicyRefused, match="SEC-04"):
            await office.batches.confirm(office.who["checker"], shown.batch.batch_id, bytes(32))
        with pytest.raises(NotPermitted):
            await office.batches.confirm(office.who["system"], shown.batch.batch_id, digest)
        shown = await office.confirm(shown)
        assert shown.confirmed_by == (office.who["checker"].account_id,)
        with pytest.raises(Conflict):
            await office.confirm(shown)


async def test_an_approval_before_the_confirmation_is_a_conflict(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.submit()
        with pytest.raises(Conflict):
            await office.batches.approve(
                office.who["dm"], shown.batch.batch_id, office.sign(shown, "dm")
            )


@pytest.mark.parametrize(
    ("name", "changes", "policy"),
    [
        ("gm", {}, "SMS-02"),
        ("stranger", {}, "SMS-02"),
        ("operator", {}, "SMS-11"),
        ("drafter", {}, "SMS-11"),
        ("system", {}, "SMS-11"),
        ("dm", {"key": "gm"}, "SMS-01"),
        ("dm", {"step": 2}, "SMS-01"),
        ("dm", {"lifetime": timedelta(0)}, "SMS-01"),
    ],
)
async def test_a_wrong_approval_is_refused_and_changes_nothing(tmp_path, name, changes, policy):
    async with office_in(tmp_path) as office:
        shown = await office.confirm(await office.submit())
        jws = office.sign(shown, name, **changes)
        with pytest.raises(PolicyRefused) as caught:
            await office.batches.approve(office.who["dm"], shown.batch.batch_id, jws)
        assert caught.value.policy == policy
        again = await office.batches.show(office.who["dm"], shown.batch.batch_id)
    assert again == shown


async def test_an_approval_of_another_batch_is_refused(tmp_path):
    async with office_in(tmp_path) as office:
        one = await office.confirm(await office.submit())
        other = await office.confirm(await office.submit())
        with pytest.raises(PolicyRefused, match="another batch") as caught:
            await office.batches.approve(
                office.who["dm"], other.batch.batch_id, office.sign(one, "dm")
            )
        assert caught.value.policy == "SMS-01"


async def test_a_frozen_accounts_signature_is_refused(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.confirm(await office.submit())
        dm = office.who["dm"]

        def freeze(tx):
            account = find_account(tx.conn, tx.vault, dm.account_id)
            assert account is not None
            change_account(tx, account, state=AccountState.FROZEN)

        await office.store.write(freeze)
        with pytest.raises(PolicyRefused, match="not active"):
            await office.batches.approve(dm, shown.batch.batch_id, office.sign(shown, "dm"))


async def test_a_signed_rejection_ends_the_batch(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.confirm(await office.submit())
        jws = office.sign(shown, "dm", decision=Decision.REJECT)
        shown = await office.batches.approve(office.who["dm"], shown.batch.batch_id, jws)
        assert shown.batch.state is BatchState.REJECTED
        with pytest.raises(Conflict):
            await office.batches.approve(
                office.who["dm"], shown.batch.batch_id, office.sign(shown, "dm")
            )


async def test_the_sheet_shows_what_is_signed_next(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.confirm(await office.submit(4, "promotion"))
        sheet = await office.batches.sheet(office.who["gm"], shown.batch.batch_id)
        assert (sheet.step, sheet.step_name) == (1, "manager_in_charge")
        assert sheet.digest == shown.digest == sheet.payload["digest"]
        assert json.loads(sheet.header)["template"] == shown.batch.template
        assert sheet.examples[0] == ("+8613800000001", shown.batch.template)
        masked = await office.batches.sheet(office.who["system"], shown.batch.batch_id)
        assert masked.examples[0][0] == "+86138****0001"
        jws = office.sign(shown, "mic")
        await office.batches.approve(office.who["mic"], shown.batch.batch_id, jws)
        sheet = await office.batches.sheet(office.who["gm"], shown.batch.batch_id)
        assert (sheet.step, sheet.step_name) == (2, "general_manager")


# ---------------------------------------------------------------- start and stop


async def test_only_the_named_operator_starts_and_only_while_authorised(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.approve(await office.submit())
        operator = office.who["operator"]
        another = dataclasses.replace(office.who["dm"], scopes=operator.scopes)
        with pytest.raises(PolicyRefused, match="SMS-06"):
            await office.batches.start(another, shown.batch.batch_id)

        def revoke(tx):
            for one in list_authorisations(tx.conn, tx.vault, account_id=operator.account_id):
                revoke_authorisation(tx, one)

        await office.store.write(revoke)
        with pytest.raises(PolicyRefused, match=r"which sends batches of category \w+ of .*SMS-06"):
            await office.start(shown)
        again = await office.batches.show(operator, shown.batch.batch_id)
        assert again.batch.state is BatchState.APPROVED


@pytest.mark.parametrize(
    ("name", "act", "policy"),
    [
        ("checker", "confirm", "SEC-04"),
        ("checker", "reject", "SEC-04"),
        ("operator", "start", "SMS-06"),
        ("operator", "resume", "SMS-06"),
    ],
)
async def test_a_machine_does_not_decide_what_persons_decide(tmp_path, name, act, policy):
    async with office_in(tmp_path) as office:
        shown = await office.submit()
        if name == "operator":
            shown = await office.approve(shown)
        if act == "resume":
            await office.batches.hold(office.who[name], shown.batch.batch_id, "wait")
        extra = {"confirm": [bytes.fromhex(shown.digest)], "reject": ["bad list"]}.get(act, [])
        machine = dataclasses.replace(office.who[name], is_person=False)
        with pytest.raises(PolicyRefused, match="machine") as caught:
            await getattr(office.batches, act)(machine, shown.batch.batch_id, *extra)
        assert caught.value.policy == policy
        await getattr(office.batches, act)(office.who[name], shown.batch.batch_id, *extra)


async def test_a_compromised_key_holds_what_it_signed(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.approve(await office.submit())
        office.store.clock.advance(60)

        def revoke(tx):
            key = find_approver_key(tx.conn, tx.vault, "key-dm")
            assert key is not None
            revoke_approver_key(tx, key, reason="compromised")

        await office.store.write(revoke)
        with pytest.raises(PolicyRefused, match="revoked"):
            await office.start(shown)


async def test_a_compromised_key_is_not_made_harmless_in_the_database(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.approve(await office.submit())
        office.store.clock.advance(60)

        def revoke(tx):
            key = find_approver_key(tx.conn, tx.vault, "key-dm")
            assert key is not None
            revoke_approver_key(tx, key, reason="compromised")
            tx.conn.execute(
                text("UPDATE approver_key SET revoke_reason = 'left' WHERE kid = 'key-dm'")
            )

        await office.store.write(revoke)
        assert await refused_now(office, shown) == "SMS-01"


async def test_hold_resume_cancel_say_what_is_unsent_and_ring_the_bell(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.start(await office.approve(await office.submit(7)))
        who, batch_id = office.who["operator"], shown.batch.batch_id
        with office.store.signals.subscribe(Topic.STOP) as bell:
            shown = await office.batches.hold(who, batch_id, "wrong text")
            assert await bell.wait(5)
        assert (shown.batch.state, shown.batch.reason) == (BatchState.HELD, "wrong text")
        assert shown.progress == {SegmentState.QUEUED: 7}
        with pytest.raises(NotFound):  # a notice is its own department's business
            await office.batches.resume(office.who["general_operator"], batch_id)
        shown = await office.batches.resume(who, batch_id)
        assert shown.batch.state is BatchState.RUNNING
        shown = await office.batches.cancel(who, batch_id, "not needed")
        assert shown.batch.state is BatchState.CANCELLED
        outcomes = [one["state"] async for one in office.batches.results(who, batch_id)]
        assert outcomes == ["cancelled"] * 7, "at once, before the rows say so"
        assert await office.store.write(lambda tx: batch_turns.settle_closed(tx, limit=5)) == 5
        assert await office.store.write(lambda tx: batch_turns.settle_closed(tx, limit=5)) == 2
        assert await office.store.write(batch_turns.settle_closed) == 0
        shown = await office.batches.show(who, batch_id)
        assert shown.progress == {SegmentState.CANCELLED: 7}
        with pytest.raises(Conflict):
            await office.batches.resume(who, batch_id)


async def test_a_message_that_a_cancelled_batch_ends_is_told_as_final_once(tmp_path):
    """A long text's segments may be settled by two sweeps: it is final with the last one."""
    async with office_in(tmp_path) as office:
        shown = await office.submit(1, text="长" * 300)
        shown = await office.start(await office.approve(shown))
        await office.batches.cancel(office.who["operator"], shown.batch.batch_id, "not needed")
        query = select(event.c.data).where(event.c.kind == EventKind.MESSAGE)
        told = []
        for _ in range(3):
            n_settled = await office.store.write(lambda tx: batch_turns.settle_closed(tx, limit=3))
            found = await office.store.read(lambda conn: conn.scalars(query).all())
            told.append((n_settled, [json.loads(one)["state"] for one in found]))
    assert told == [(3, []), (2, ["cancelled"]), (0, ["cancelled"])]


async def test_a_held_batch_does_not_go_on_without_an_authorised_operator(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.approve(await office.submit(2, "promotion"))
        await office.batches.hold(office.who["operator"], shown.batch.batch_id, "wait")
        with pytest.raises(PolicyRefused, match="SMS-06"):
            await office.batches.resume(office.who["operator"], shown.batch.batch_id)
        shown = await office.batches.resume(office.who["general_operator"], shown.batch.batch_id)
        assert shown.batch.state is BatchState.RUNNING


async def test_withdraw_and_reject_end_what_does_not_run(tmp_path):
    async with office_in(tmp_path) as office:
        one = await office.submit()
        one = await office.batches.withdraw(office.who["system"], one.batch.batch_id, "typo")
        assert one.batch.state is BatchState.WITHDRAWN
        two = await office.submit()
        two = await office.batches.reject(office.who["checker"], two.batch.batch_id, "bad list")
        assert two.batch.state is BatchState.REJECTED
        three = await office.start(await office.approve(await office.submit()))
        with pytest.raises(Conflict):
            await office.batches.withdraw(office.who["system"], three.batch.batch_id, "late")
        with pytest.raises(InvalidRequest):
            await office.batches.cancel(office.who["operator"], three.batch.batch_id, " ")


async def test_another_department_sees_nothing(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.submit()
        stranger, batch_id = office.who["stranger"], shown.batch.batch_id
        for call in (office.batches.show, office.batches.removed, office.batches.sheet):
            with pytest.raises(NotFound):
                await call(stranger, batch_id)
        with pytest.raises(NotFound):
            await anext(office.batches.results(stranger, batch_id))
        assert (await office.batches.list_batches(stranger)).items == []
        with pytest.raises(NotFound):
            await office.batches.approve(stranger, batch_id, office.sign(shown, "stranger"))


async def test_the_general_department_sees_what_it_operates(tmp_path):
    async with office_in(tmp_path) as office:
        await office.submit(1, "notice")
        promotion = await office.submit(1, "promotion")
        page = await office.batches.list_batches(office.who["general_operator"])
    assert [one.batch_id for one in page.items] == [promotion.batch.batch_id]


async def test_lists_are_paged_newest_first(tmp_path):
    async with office_in(tmp_path) as office:
        made = []
        for _ in range(5):
            made.append((await office.submit(1)).batch.batch_id)
            office.store.clock.advance(1)
        seen, cursor = [], None
        while True:
            page = await office.batches.list_batches(office.who["checker"], cursor=cursor, limit=2)
            seen += [one.batch_id for one in page.items]
            cursor = page.next
            if cursor is None:
                break
        found = await office.batches.list_batches(
            office.who["checker"], states=[BatchState.DONE], category="notice"
        )
        with pytest.raises(InvalidRequest):
            await office.batches.list_batches(office.who["checker"], cursor="bm8")
    assert seen == made[::-1]
    assert found.items == []


async def test_results_are_masked_without_the_scope_for_personal_data(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.submit(1)
        batch_id = shown.batch.batch_id
        plain = [one async for one in office.batches.results(office.who["checker"], batch_id)]
        masked = [one async for one in office.batches.results(office.who["system"], batch_id)]
    assert (plain[0]["to"], masked[0]["to"]) == ("+8613800000001", "+86138****0001")


async def test_times_of_results_are_written_as_the_other_answers_write_them(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.submit(1)
        left = datetime(2026, 11, 20, 1, 2, 3, tzinfo=UTC)
        await office.store.write(lambda tx: tx.conn.execute(update(segment).values(sent_at=left)))
        checker = office.who["checker"]
        (one,) = [one async for one in office.batches.results(checker, shown.batch.batch_id)]
    (part,) = one["segments"]
    assert (part["sent_at"], part["final_at"]) == ("2026-11-20T01:02:03Z", None)


# ---------------------------------------------------------------- what time does


async def test_a_batch_that_starts_itself_starts_when_its_window_opens(tmp_path):
    async with office_in(tmp_path) as office:
        opens = office.store.clock.now() + timedelta(hours=2)
        shown = await office.approve(await office.submit(not_before=opens, starts_itself=True))
        plain = await office.approve(await office.submit())
        start = batch_turns.due_starts
        assert await office.store.write(lambda tx: start(tx, rules_of(office))) == []
        office.store.clock.advance(7_200)
        started = await office.store.write(lambda tx: start(tx, rules_of(office)))
        assert started == [shown.batch.batch_id]
        again = await office.batches.show(office.who["operator"], plain.batch.batch_id)
        assert again.batch.state is BatchState.APPROVED


async def test_a_batch_that_starts_itself_runs_with_its_last_signature_within_its_window(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.approve(await office.submit(starts_itself=True))
        assert shown.batch.state is BatchState.RUNNING
        plain = await office.approve(await office.submit())
        assert plain.batch.state is BatchState.APPROVED
        assert (
            await office.store.write(lambda tx: batch_turns.due_starts(tx, rules_of(office))) == []
        )
        assert await office.store.read(lambda conn: list(replay(conn))) == []


async def test_one_that_may_not_start_itself_is_held_with_the_rule(tmp_path):
    async with office_in(tmp_path) as office:
        opens = office.store.clock.now() + timedelta(hours=2)
        shown = await office.approve(await office.submit(not_before=opens, starts_itself=True))
        office.store.clock.advance(7_200)

        def revoke(tx):
            for one in list_authorisations(tx.conn, tx.vault, kind="operator"):
                revoke_authorisation(tx, one)

        await office.store.write(revoke)
        assert (
            await office.store.write(lambda tx: batch_turns.due_starts(tx, rules_of(office))) == []
        )
        shown = await office.batches.show(office.who["operator"], shown.batch.batch_id)
        assert shown.batch.state is BatchState.HELD
        assert shown.batch.reason.startswith("SMS-06")
        kinds = await office.store.read(lambda conn: conn.scalars(select(event.c.kind)).all())
    assert "alarm" in kinds


async def test_batches_expire_with_their_window_and_finish_when_nothing_is_open(tmp_path):
    async with office_in(tmp_path) as office:
        waiting = await office.submit()
        running = await office.start(await office.approve(await office.submit()))
        sent = await office.start(await office.approve(await office.submit()))
        doubt = await office.start(await office.approve(await office.submit(1)))

        def finish(tx):
            for one, state in ((sent, "delivered"), (doubt, "in_doubt")):
                tx.conn.execute(
                    update(segment)
                    .where(segment.c.batch_id == one.batch.batch_id)
                    .values(state=state)
                )

        await office.store.write(finish)
        assert await office.store.write(batch_turns.finish_done) == [sent.batch.batch_id]
        assert await office.store.write(batch_turns.expire_due) == []
        office.store.clock.advance(24 * 3_600)
        expired = await office.store.write(batch_turns.expire_due)
        assert set(expired) == {
            waiting.batch.batch_id,
            running.batch.batch_id,
            doubt.batch.batch_id,
        }
        states = {
            name: (await office.batches.show(office.who["checker"], one.batch.batch_id)).batch.state
            for name, one in (("waiting", waiting), ("running", running), ("doubt", doubt))
        }
    assert states == {"waiting": "expired", "running": "expired", "doubt": "done"}


# ---------------------------------------------------------------- full write access, no keys


async def refused_now(office, shown):
    """What the fleet's last look at a batch's evidence says."""

    def read(conn):
        rows.verify_now(
            conn,
            office.store.vault,
            BatchId(shown.batch.batch_id),
            rules=rules_of(office),
            now=office.store.clock.now(),
        )

    with pytest.raises(PolicyRefused) as caught:
        await office.store.read(read)
    return caught.value.policy


@pytest.mark.parametrize(
    ("statement", "policy"),
    [
        ("UPDATE batch SET department = 'retaim'", "SMS-01"),
        ("UPDATE batch SET template = template || '.'", "SMS-01"),
        ("UPDATE batch SET category = 'other'", "SMS-01"),
        ("UPDATE batch SET operator = drafter", "SMS-01"),
        ("UPDATE batch SET not_after = not_after + 1", "SMS-01"),
        ("UPDATE batch SET header = cast(replace(header, 'own', 'owm') AS BLOB)", "SMS-01"),
        ("UPDATE batch SET state_at = state_at + 1", "SMS-01"),
        ("UPDATE batch SET state_mac = NULL", "SMS-01"),
        ("UPDATE approval SET jws = substr(jws, 1, length(jws) - 1) || 'B'", "SMS-01"),
        ("UPDATE approval SET received_at = received_at + 1", "SMS-01"),
        ("UPDATE approval SET account_id = (SELECT operator FROM batch)", "SMS-01"),
        ("UPDATE approval SET mac = x'00'", "SMS-01"),
        ("DELETE FROM approval", "SMS-01"),
        ("UPDATE confirmation SET digest = x'00'", "SMS-01"),
        ("UPDATE confirmation SET account_id = (SELECT operator FROM batch)", "SMS-01"),
        ("DELETE FROM confirmation", "SEC-04"),
        ("UPDATE approver_key SET valid_until = valid_until + 1", "SMS-01"),
        ("UPDATE approver_key SET public_key = x'00'", "SMS-01"),
        ("UPDATE authorisation SET valid_until = valid_until + 1", "SMS-01"),
        ("DELETE FROM authorisation", "SMS-02"),
    ],
)
async def test_a_changed_row_stops_an_approved_batch(tmp_path, statement, policy):
    async with office_in(tmp_path) as office:
        shown = await office.start(await office.approve(await office.submit()))
        engine = create_engine(Databases.url(tmp_path))
        with engine.begin() as conn:
            if conn.dialect.name == "postgresql":  # which writes octets otherwise
                for own, its in (
                    ("x'00'", "bytea '00'"),
                    ("AS BLOB", "AS bytea"),
                    ("replace(header,", "replace(encode(header, 'escape'),"),
                ):
                    statement = statement.replace(own, its)
            assert conn.execute(text(statement)).rowcount
        engine.dispose()
        assert await refused_now(office, shown) == policy


async def test_an_approval_moved_to_another_batch_is_refused(tmp_path):
    async with office_in(tmp_path) as office:
        one = await office.approve(await office.submit())
        other = await office.confirm(await office.submit())

        def move(tx):
            tx.conn.execute(update(approval).values(batch_id=other.batch.batch_id))
            tx.conn.execute(update(batch).values(state=BatchState.RUNNING))

        await office.store.write(move)
        assert await refused_now(office, other) == "SMS-01"
        assert await refused_now(office, one) == "SMS-01"


async def test_a_line_moved_or_changed_in_the_database_is_not_read(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.approve(await office.submit(3))

        def swap(tx):
            first, second, third = tx.conn.execute(
                select(message.c.message_id, message.c.line_enc).order_by(message.c.message_id)
            ).all()
            changed = bytearray(third.line_enc)
            changed[-1] ^= 1
            for one, octets in (
                (first, second.line_enc),
                (second, first.line_enc),
                (third, bytes(changed)),
            ):
                tx.conn.execute(
                    update(message)
                    .where(message.c.message_id == one.message_id)
                    .values(line_enc=octets)
                )

        await office.store.write(swap)
        lines = await office.store.read(
            lambda conn: read_lines(conn, office.store.vault, [1, 2, 3])
        )
        assert all(isinstance(one, Exception) for one in lines.values())
        shown = await office.start(shown)
        results = [
            one["to"]
            async for one in office.batches.results(office.who["checker"], shown.batch.batch_id)
        ]
    assert results == [None] * 3


async def test_tampered_evidence_is_shown(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.approve(await office.submit())
        await office.store.write(lambda tx: tx.conn.execute(update(confirmation).values(mac=b"")))
        shown = await office.batches.show(office.who["checker"], shown.batch.batch_id)
        assert shown.fault is not None
        with pytest.raises(PolicyRefused):
            await office.batches.sheet(office.who["checker"], shown.batch.batch_id)


async def test_evidence_of_unknown_and_unfrozen_batches_is_left_out(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.submit()
        found = await office.store.read(
            lambda conn: read_evidence(
                conn, office.store.vault, [shown.batch.batch_id, BatchId("unknown")]
            )
        )
        assert list(found) == [shown.batch.batch_id]
        with pytest.raises(PolicyRefused):
            verify_batch(
                found[shown.batch.batch_id], rules=rules_of(office), now=office.store.clock.now()
            )


# ---------------------------------------------------------------- settings


async def test_settings_reach_the_rules(tmp_path):
    settings = Settings(
        site=SiteSettings(id="s7", signature="【Bank】"),
        approvals=ApprovalsSettings(
            chains={"notice": ("department_manager", "manager")}, general_department="hq"
        ),
    )
    rules = SubmissionRules.of(settings)
    assert rules.approvals.site_id == "s7"
    assert rules.approvals.chain("notice") == ("department_manager", "manager")
    assert rules.approvals.operating_department("promotion", "retail") == "hq"
    assert rules.approvals.operating_department("notice", "retail") == "retail"
    assert list(rules.quiet) == ["promotion"]
    async with open_store(tmp_path) as store:
        office = await open_office(store, settings)
        assert isinstance(office.batches, Batches)
        shown = await office.submit()
        assert [one.name for one in shown.steps] == ["department_manager", "manager"]
