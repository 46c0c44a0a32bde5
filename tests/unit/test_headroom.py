"""Limits as people see them: how much is used, and which one a message waits for."""

from datetime import timedelta

import pytest

from modemctl.config import LimitsSettings, Settings
from modemctl.config.limits import (
    BatchCaps,
    CarrierCaps,
    DepartmentCaps,
    HolderCaps,
    RecipientCaps,
    SimCaps,
)
from modemctl.errors import InvalidRequest, NotPermitted
from modemctl.model import AccountId
from modemctl.service.limits import Limits, Measure, ScopeKind, Span
from modemctl.service.messages import Messages
from modemctl.service.principal import Principal, Scope
from modemctl.service.submission import SubmissionRules
from modemctl.store import headroom, sims
from modemctl.store.leases import Leased
from modemctl.telemetry import BankSnapshot, Telemetry
from tests.support.approved import GENERAL, SALES, amend_cards, numbers
from tests.support.benches import CARDS, bench

ALL = frozenset(Scope)


def who(department=None, scopes=ALL) -> Principal:
    return Principal(
        account_id=AccountId("a"), name="a", department=department, scopes=scopes, source="test"
    )


def rules_of(**limits) -> SubmissionRules:
    plain = {"segments_per_minute": 900, "segments_per_hour": 900, "segments_per_day": 900}
    settings = LimitsSettings(**{**plain, "minimum_gap": 0.0, **limits})
    return SubmissionRules.of(Settings(limits=settings))


async def told(b, rules: SubmissionRules, message_id: int) -> str:
    return (await Messages(b.store, rules).explain(who(), message_id)).summary


# ---------------------------------------------------------------- why a message waits

ONE_A_DAY = {
    "limits.segments_per_day": {"segments_per_day": 1},
    "limits.sim.messages_per_day": {"sim": SimCaps(messages_per_day=1)},
    "limits.holder.messages_per_day": {"holder": HolderCaps(messages_per_day=1)},
    "limits.carrier.recipients_per_day": {"carrier": CarrierCaps(recipients_per_day=1)},
    "limits.department.messages_per_day": {"department": DepartmentCaps(messages_per_day=1)},
    "limits.batch.segments_per_day": {"batch": BatchCaps(segments_per_day=1)},
}


@pytest.mark.parametrize("setting", ONE_A_DAY)
async def test_explain_names_the_limit_that_a_message_waits_for(tmp_path, setting):
    rules = rules_of(**ONE_A_DAY[setting])
    async with bench(tmp_path, quota=rules.quota) as b:

        def leave_one_card(tx):
            for card in CARDS[1:6]:
                sims.set_paused(tx, card, is_paused=True)
            amend_cards(tx, CARDS, holder="王芳", carrier="CMCC")

        await b.store.write(leave_one_card)
        await b.batch(2)
        assert await told(b, rules, 2) == "waits; its batch is running"
        [one] = await b.lease(CARDS[0])
        assert isinstance(one, Leased)
        summary = await told(b, rules, 2)
    assert summary == (
        f"waits; its batch is running; {setting}: 1 of 1 are used; "
        "room about 2026-11-21T16:00:00+00:00 (policy: SIM-08)"
    )


async def test_explain_names_the_limit_of_a_recipient(tmp_path):
    rules = rules_of(recipient=RecipientCaps(messages_per_day=1))
    async with bench(tmp_path, quota=rules.quota) as b:
        await b.batch(recipients=numbers(1), priority=0)
        await b.batch(recipients=numbers(1))
        await b.lease(*CARDS[:2])
        assert "limits.recipient.messages_per_day: 1 of 1" in await told(b, rules, 2)


async def test_a_message_that_some_card_may_send_waits_for_no_limit(tmp_path):
    rules = rules_of(segments_per_day=1)
    async with bench(tmp_path, quota=rules.quota) as b:
        await b.batch(9)
        await b.lease(*CARDS[:5])
        assert "limits" not in await told(b, rules, 9)
        await b.lease(CARDS[5])
        assert "limits.segments_per_day" in await told(b, rules, 9)


async def test_the_card_that_is_free_first_is_named(tmp_path):
    rules = rules_of(segments_per_minute=1)
    async with bench(tmp_path, quota=rules.quota) as b:
        await b.batch(9)
        for card in CARDS[:6]:
            await b.lease(card)
            b.clock.advance(3)
        summary = await told(b, rules, 9)
    first = b.clock.at - timedelta(seconds=18) + timedelta(seconds=65)
    assert f"room about {first.isoformat(timespec='seconds')}" in summary


# ---------------------------------------------------------------- how much is used


async def test_the_list_shows_what_is_used_of_each_limit(tmp_path):
    rules = rules_of(department=DepartmentCaps(messages_per_day=3), segments_per_day=2)
    async with bench(tmp_path, quota=rules.quota) as b:
        await b.batch(5, template="a" * 200)
        await b.lease(*CARDS[:2])
        limits = Limits(b.store, rules.quota)
        page = await limits.list_limits(who(), scope=ScopeKind.DEPARTMENT)
        [only] = page.items
        assert (only.name, only.measure, only.span) == (SALES, Measure.MESSAGES, Span.DAY)
        assert (only.used, only.most, only.setting) == (2, 3, "limits.department.messages_per_day")
        full = await limits.list_limits(who(), only_full=True)
        assert [(one.name, one.setting) for one in full.items] == [
            (CARDS[0], "limits.segments_per_day"),
            (CARDS[1], "limits.segments_per_day"),
        ]


async def test_the_list_is_paged_and_keeps_to_the_department(tmp_path):
    rules = rules_of(carrier=CarrierCaps(messages_per_day=3), holder=HolderCaps(messages_per_day=3))
    async with bench(tmp_path, quota=rules.quota) as b:
        await b.store.write(lambda tx: amend_cards(tx, CARDS, holder="王芳", carrier="CMCC"))
        limits, seen, cursor = Limits(b.store, rules.quota), [], None
        while True:
            page = await limits.list_limits(who(), cursor=cursor, limit=5)
            seen += page.items
            if (cursor := page.next) is None:
                break
        assert len(seen) == len({(one.scope, one.name, one.setting) for one in seen})
        assert {one.scope for one in seen} == {ScopeKind.CARRIER, ScopeKind.HOLDER, ScopeKind.SIM}
        own = (await limits.list_limits(who(GENERAL, ALL - {Scope.PII_READ}))).items
        assert {one.name for one in own} == {"王**", *CARDS[:6]}


async def test_the_pressure_names_departments_and_carriers_alone(tmp_path):
    rules = rules_of(
        carrier=CarrierCaps(messages_per_day=8, segments_per_hour=4),
        department=DepartmentCaps(messages_per_day=4),
        segments_per_day=2,
    )
    async with bench(tmp_path, quota=rules.quota) as b:
        await b.store.write(lambda tx: amend_cards(tx, CARDS, carrier="CMCC"))
        await b.batch(5)
        await b.lease(CARDS[0])
        found = await b.store.read(lambda conn: headroom.pressure(b.store.view(conn), rules.quota))
    assert found == {("carrier", "CMCC"): 0.25, ("department", SALES): 0.25, ("sim", ""): 0.5}
    telemetry = Telemetry(version="test")
    telemetry.register(lambda: BankSnapshot(limits={**found, ("department", "综合部"): 1.0}))
    text = telemetry.render().decode()
    assert 'modemctl_limit_used_ratio{kind="sim",name=""} 0.5' in text
    assert 'modemctl_limit_used_ratio{kind="department",name="sales"} 0.25' in text
    assert 'modemctl_limit_used_ratio{kind="department",name="hidden"} 1.0' in text


async def test_who_may_not_read_cards_sees_no_limits(tmp_path):
    async with bench(tmp_path) as b:
        limits = Limits(b.store, b.rules.quota)
        with pytest.raises(NotPermitted):
            await limits.list_limits(who(scopes=frozenset()))
        with pytest.raises(InvalidRequest):
            await limits.list_limits(who(), cursor="no")
