"""Abnormal behaviour freezes an account at once; keys count where they are registered."""

import json
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from modemctl.errors import Conflict, InvalidRequest, NotAuthenticated, NotPermitted, PolicyRefused
from modemctl.policy.behaviour import (
    BehaviourRules,
    Oddity,
    is_registered,
    is_working_time,
    too_many_places,
)
from modemctl.policy.dual import DualKind
from modemctl.service.accounts import AccountKind, Accounts, bootstrap
from modemctl.service.behaviour import Behaviour
from modemctl.service.dual import Dual
from modemctl.service.freezing import Freezing
from modemctl.service.gate import Gate
from modemctl.store.accounts import find_account
from modemctl.store.tables import api_key, audit_entry, event
from tests.support.apis import open_api
from tests.support.people import second_administrator, unfrozen
from tests.support.stores import TestClock, open_store
from tests.unit.test_audit_replay import faults
from tests.unit.test_audits import tamper

RULES = BehaviourRules(
    max_places=2, places_within=600, max_failures=3, failures_within=600, max_night_exports=1,
    exports_within=3_600, work_from=time(8), work_until=time(20),
    rest_weekdays=frozenset({5, 6}), zone=ZoneInfo("Asia/Shanghai"),
)  # fmt: skip
NOON = datetime(2026, 11, 18, 4, 0, tzinfo=UTC)  # a Wednesday, 12:00 in Shanghai
HOUR = timedelta(hours=1)


class Watch:
    """A door that is watched, and anna who comes in."""

    async def open(self, store):
        self.store, self.odd = store, []
        self.behaviour = Behaviour(
            store, RULES, general_department="general", on_odd=self.odd.append
        )
        self.gate = Gate(store, peers={}, behaviour=self.behaviour)
        self.accounts = Accounts(store, general_department="general")
        first = await store.write(lambda tx: bootstrap(tx, name="root"))
        self.admin = await self.gate.authenticate(first.token, "test")
        self.anna = await self.accounts.create(
            self.admin, name="anna", kind=AccountKind.PERSON, department=None, roles=["auditor"]
        )
        self.issued = await self.accounts.issue_key(
            self.admin, self.anna.account_id, addresses=["10.0.0.0/8", "unix"]
        )
        return self

    async def come(self, source="tcp:10.0.0.1", token=None):
        return await self.gate.authenticate(token or self.issued.token, source)

    async def state(self):
        vault, account_id = self.store.vault, self.anna.account_id
        return (await self.store.read(lambda conn: find_account(conn, vault, account_id))).state

    async def alarms(self):
        return await self.store.read(
            lambda conn: [
                json.loads(data)
                for data in conn.scalars(select(event.c.data).where(event.c.kind == "alarm"))
            ]
        )


@pytest.fixture
async def watch(tmp_path):
    async with open_store(tmp_path, TestClock(NOON)) as store:
        yield await Watch().open(store)


async def test_an_account_at_too_many_places_is_frozen_at_once(watch, tmp_path):
    await watch.come("tcp:10.0.0.1")
    await watch.come("tcp:10.0.0.2")
    with pytest.raises(NotAuthenticated, match="too many places") as caught:
        await watch.come("tcp:10.0.0.3")
    assert caught.value.policy == "SEC-06"
    assert await watch.state() == "frozen"
    with pytest.raises(NotAuthenticated, match="anna is frozen"):
        await watch.come("tcp:10.0.0.1")
    assert watch.odd == [Oddity.MANY_PLACES]
    assert (await watch.alarms())[-1] == {
        "account": "frozen", "reason": "many_places", "policy": "SEC-06",
    }  # fmt: skip
    assert faults(tmp_path) == []


async def test_who_moves_slowly_is_nobody_odd(watch):
    for place in range(1, 9):
        await watch.come(f"tcp:10.0.0.{place}")
        watch.store.clock.advance(301)
    assert await watch.state() == "active"


async def test_a_clock_that_is_set_changes_nothing_about_it(watch):
    for place in (1, 2):
        await watch.come(f"tcp:10.0.0.{place}")
        watch.store.clock.step(3_600)
    with pytest.raises(NotAuthenticated, match="too many places"):
        await watch.come("tcp:10.0.0.3")


async def test_who_guesses_the_secret_freezes_the_account(watch):
    wrong = watch.issued.token[:-4] + ("aaaa" if watch.issued.token[-4:] != "aaaa" else "bbbb")
    for _ in range(3):
        with pytest.raises(NotAuthenticated, match="is not known"):
            await watch.come(token=wrong)
    assert await watch.state() == "active"
    with pytest.raises(NotAuthenticated, match="is not known"):
        await watch.come(token=wrong)
    assert await watch.state() == "frozen"
    assert watch.odd == [Oddity.FAILED_TRIES]


async def test_a_few_slips_over_a_day_freeze_nobody(watch):
    wrong = watch.issued.token[:-4] + ("aaaa" if watch.issued.token[-4:] != "aaaa" else "bbbb")
    for _ in range(12):
        with pytest.raises(NotAuthenticated):
            await watch.come(token=wrong)
        watch.store.clock.advance(201)
    assert await watch.state() == "active"


async def test_bulk_export_at_night_freezes_the_account(watch):
    who = await watch.come()
    for _ in range(5):
        await watch.behaviour.exported(who)  # people work
    watch.store.clock.advance(9 * 3600)  # 21:00
    machine = replace(who, is_person=False)
    for _ in range(5):
        await watch.behaviour.exported(machine)
    await watch.behaviour.exported(who)
    with pytest.raises(PolicyRefused, match="outside working hours") as caught:
        await watch.behaviour.exported(who)
    assert caught.value.policy == "SEC-06"
    assert await watch.state() == "frozen"
    assert watch.odd == [Oddity.NIGHT_EXPORT]


async def test_two_persons_end_a_freeze_and_one_does_not(watch, tmp_path):
    await test_an_account_at_too_many_places_is_frozen_at_once(watch, tmp_path)
    freezing = Freezing(watch.store, general_department="general")
    dual = Dual(watch.store, performers={DualKind.UNFREEZE: freezing.perform})
    asked = await freezing.ask_account(watch.admin, watch.anna.account_id, reason="he travelled")
    with pytest.raises(PolicyRefused, match="who asked does not confirm"):
        await dual.confirm(watch.admin, asked.request_id)
    assert await watch.state() == "frozen"
    await dual.confirm(await second_administrator(watch.store), asked.request_id)
    assert await watch.state() == "active"
    await watch.come("tcp:10.0.0.1")
    with pytest.raises(Conflict, match="anna is active"):
        await unfrozen(watch.store, watch.admin, watch.anna.account_id)
    assert faults(tmp_path) == []


async def test_nobody_unfreezes_himself(watch):
    freezing = Freezing(watch.store, general_department="general")
    with pytest.raises(PolicyRefused, match="nobody unfreezes himself"):
        await freezing.ask_account(watch.admin, watch.admin.account_id, reason="me")


async def test_a_key_that_lay_idle_is_unfrozen_by_two(watch, tmp_path):
    watch.store.clock.advance(15 * 86_400 + 1)
    with pytest.raises(NotAuthenticated, match="this API key is frozen") as caught:
        await watch.come()
    assert caught.value.policy == "SEC-02"
    freezing = Freezing(watch.store, general_department="general")
    dual = Dual(watch.store, performers={DualKind.UNFREEZE: freezing.perform})
    key_id = watch.issued.key.key_id
    asked = await freezing.ask_key(watch.admin, key_id, reason="was on leave")
    await dual.confirm(await second_administrator(watch.store), asked.request_id)
    assert (await watch.come()).name == "anna"
    with pytest.raises(Conflict, match="the key is live"):
        await freezing.ask_key(watch.admin, key_id, reason="again")
    assert faults(tmp_path) == []


async def test_a_key_counts_at_its_registered_addresses_only(watch):
    for source in ("tcp:10.255.0.1", "unix:uid=1000"):
        assert (await watch.come(source)).name == "anna"
    for source in ("tcp:11.0.0.1", "tcp:127.0.0.1", "tcp:unknown"):
        with pytest.raises(NotAuthenticated, match="not registered for this address") as caught:
            await watch.come(source)
        assert caught.value.policy == "CC-02"


async def test_a_key_without_addresses_counts_on_this_machine_only(watch):
    issued = await watch.accounts.issue_key(watch.admin, watch.admin.account_id)
    for source in ("tcp:127.0.0.1", "tcp:::1"):
        watch.store.clock.advance(601)
        await watch.come(source, token=issued.token)
    with pytest.raises(NotAuthenticated, match="not registered"):
        await watch.come("tcp:10.0.0.1", token=issued.token)


async def test_who_renews_his_own_key_takes_its_addresses_along_and_no_others(watch):
    who = await watch.come()
    with pytest.raises(NotPermitted):
        await watch.accounts.issue_key(who, who.account_id, addresses=["0.0.0.0/0"])
    renewed = await watch.accounts.issue_key(who, who.account_id)
    assert renewed.key.addresses == ("10.0.0.0/8", "unix")


@pytest.mark.parametrize("addresses", [["10.0.0.1/8"], ["host"], [""], ["10.0.0.0/33"]])
async def test_what_is_no_address_is_refused(watch, addresses):
    with pytest.raises(InvalidRequest) as caught:
        await watch.accounts.issue_key(watch.admin, watch.anna.account_id, addresses=addresses)
    assert (caught.value.field, caught.value.policy) == ("addresses", "CC-02")


async def test_addresses_that_were_altered_let_nobody_in(tmp_path):
    async with open_store(tmp_path, TestClock(NOON)) as store:
        watch = await Watch().open(store)
    tamper(tmp_path, api_key.update().values(addresses='["0.0.0.0/0"]'))
    async with open_store(tmp_path, TestClock(NOON)) as store:
        watch.gate = Gate(store, peers={})
        with pytest.raises(NotAuthenticated) as caught:
            await watch.come("tcp:11.0.0.1")
        assert caught.value.policy == "SEC-05"


async def test_a_stolen_key_is_dead_and_told_of_at_once(watch):
    await watch.accounts.revoke_key(watch.admin, watch.issued.key.key_id, reason="stolen")
    with pytest.raises(NotAuthenticated, match="revoked"):
        await watch.come()
    assert (await watch.alarms())[-1]["key"] == "stolen"
    actions = await watch.store.read(lambda conn: conn.scalars(select(audit_entry.c.action)).all())
    assert actions[-1] == "key.revoke"


@pytest.mark.parametrize("is_stolen", [False, True])
async def test_a_lost_key_is_issued_anew_on_a_certificate(watch, tmp_path, is_stolen):
    second = await watch.accounts.issue_key(watch.admin, watch.anna.account_id)
    issued = await watch.accounts.reissue(
        watch.admin, watch.anna.account_id, certificate="form 31", is_stolen=is_stolen
    )
    for token in (watch.issued.token, second.token):
        with pytest.raises(NotAuthenticated, match="revoked"):
            await watch.come(token=token)
    assert (await watch.come(token=issued.token)).name == "anna"  # where the old one counted
    entries = await watch.store.read(
        lambda conn: [
            json.loads(row.details)
            for row in conn.execute(
                select(audit_entry).where(audit_entry.c.action == "key.reissue")
            )
        ]
    )
    assert [one["certificate"] for one in entries] == ["form 31"]
    assert [one for one in await watch.alarms() if "key" in one] == (
        [{"key": "stolen"}] if is_stolen else []
    )
    assert faults(tmp_path) == []


async def test_nothing_is_issued_anew_without_a_certificate_or_to_oneself(watch):
    with pytest.raises(InvalidRequest) as caught:
        await watch.accounts.reissue(watch.admin, watch.anna.account_id, certificate=" ")
    assert (caught.value.field, caught.value.policy) == ("certificate", "SMS-10")
    with pytest.raises(PolicyRefused, match="nobody changes his own account"):
        await watch.accounts.reissue(watch.admin, watch.admin.account_id, certificate="form 31")
    assert (await watch.come()).name == "anna"


@pytest.mark.parametrize(
    "path", ["/v1/batches/x/removed.csv", "/v1/batches/x/results", "/v1/stops/x/reach.csv"]
)
async def test_what_gives_data_out_in_bulk_counts_as_an_export(tmp_path, path):
    async with open_api(tmp_path) as bench:
        bench.clock.at = NOON + 9 * HOUR
        token = await bench.token_of("operator")
        async with bench.client(token) as client:
            answers = [await client.get(path) for _ in range(11)]
    assert {one.status_code for one in answers[:10]} == {404}
    assert (answers[10].status_code, answers[10].json()["policy"]) == (403, "SEC-06")


async def test_the_api_freezes_and_counts_it(tmp_path):
    async with open_api(tmp_path) as bench:
        token = await bench.token_of("auditor")
        wrong = token[:-4] + ("aaaa" if token[-4:] != "aaaa" else "bbbb")
        async with bench.client(wrong) as client:
            for _ in range(11):
                assert (await client.get("/v1/whoami")).status_code == 401
        async with bench.client(token) as client:
            refused = await client.get("/v1/whoami")
        assert "frozen" in refused.json()["rule"]
        async with bench.client(bench.admin_token) as client:
            metrics = (await client.get("/metrics")).text
    assert 'modemctl_accounts_frozen_total{reason="failed_tries"} 1' in metrics


@pytest.mark.parametrize(
    ("at", "is_working"),
    [
        (NOON, True),
        (NOON + 8 * HOUR, False),
        (NOON - 4 * HOUR, True),
        (NOON - 5 * HOUR, False),
        (NOON + 72 * HOUR, False),
    ],
)
def test_when_people_work(at, is_working):
    assert is_working_time(at, RULES) is is_working


def test_places_of_long_ago_do_not_count():
    seen = {"a": 0.0, "b": 500.0, "c": 700.0}
    assert too_many_places(seen, 600.0, RULES)
    assert not too_many_places(seen, 601.0, RULES)


@pytest.mark.parametrize(
    ("source", "addresses", "counts"),
    [
        ("tcp:10.1.2.3", ["10.1.2.0/24"], True),
        ("tcp:10.1.3.3", ["10.1.2.0/24"], False),
        ("tcp:fd00::7", ["fd00::/8"], True),
        ("tcp:10.1.2.3", ["unix"], False),
        ("unix:uid=7", ["10.1.2.0/24"], False),
        ("unix:uid=7", [], True),
        ("tcp:192.168.0.1", [], False),
    ],
)
def test_where_a_key_counts(source, addresses, counts):
    assert is_registered(source, addresses) is counts
