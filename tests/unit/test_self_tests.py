"""The regular test of bays, and the duties that are late (SIM-18)."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from modemctl.errors import NotFound, NotPermitted
from modemctl.lifecycle import ModemState
from modemctl.model import AccountId, Bay, Iccid
from modemctl.policy.duties import TURNS, Duty, is_due, is_overdue, opened_at
from modemctl.policy.numbers import NumberRules
from modemctl.policy.self_tests import Measured, Subject, faults
from modemctl.service.principal import Principal, Scope
from modemctl.service.self_tests import SelfTests
from modemctl.store import duties, modems, register_faults, self_tests
from modemctl.store.tables import audit_entry
from tests.support.apis import open_api
from tests.support.scripted_modem import said
from tests.support.stores import open_store
from tests.unit.test_actor import OneCard, bay, reach

ZONE = ZoneInfo("Asia/Shanghai")
TURN = TURNS[Duty.SELF_TEST]
CARD = Iccid("89860012345678900001")
WELL = Subject(
    state=ModemState.READY,
    reason="",
    iccid=CARD,
    measured=Measured(
        iccid=CARD,
        is_registered=True,
        registration="registered in its home network",
        signal_dbm=-71,
        answer_ms=12,
    ),
    error=None,
)
MAINTAINER = Principal(
    account_id=AccountId("m"),
    name="mei",
    department=None,
    scopes=frozenset({Scope.MODEMS_OPERATE, Scope.MODEMS_READ}),
    source="test",
    is_person=True,
)


def local(day: int, hour: int) -> datetime:
    """November 2026 in the site's zone; the 16th and the 23rd are Mondays."""
    return datetime(2026, 11, day, hour, tzinfo=ZONE)


# ---------------------------------------------------------------- decisions


@pytest.mark.parametrize(
    ("now", "opened"),
    [
        (local(16, 6), local(9, 7)),
        (local(16, 7), local(16, 7)),
        (local(22, 23), local(16, 7)),
        (datetime(2026, 11, 15, 23, 0, tzinfo=UTC), local(16, 7)),
    ],
)
def test_a_week_begins_on_monday_at_seven_of_the_site(now, opened):
    assert opened_at(TURN, now, ZONE) == opened


@pytest.mark.parametrize(
    ("done", "now", "due", "overdue"),
    [
        (local(16, 7), local(22, 23), False, False),
        (local(16, 6), local(16, 8), True, False),
        (local(15, 12), local(17, 8), True, True),
        (local(17, 8), local(17, 9), False, False),
        (local(10, 7), local(16, 8), True, False),
        (local(1, 7), local(16, 6), True, True),
    ],
)
def test_a_duty_is_late_a_day_after_it_was_due(done, now, due, overdue):
    assert is_due(TURN, done, now, ZONE) is due
    assert is_overdue(TURN, done, now, ZONE) is overdue


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, []),
        ({"signal_dbm": None}, []),
        ({"signal_dbm": -111}, ["weak signal: -111 dBm"]),
        ({"iccid": None}, ["holds another card than it started with, or does not tell which"]),
        ({"answer_ms": 2_500}, ["slow: an answer took 2.5 s"]),
        (
            {"is_registered": False, "registration": "the network denies registration"},
            ["the network denies registration"],
        ),
    ],
)
def test_what_a_modem_told_is_judged(changes, told):
    assert list(faults(replace(WELL, measured=replace(WELL.measured, **changes)))) == told


def test_a_bay_that_is_not_ready_is_a_fault_and_so_is_silence():
    absent = replace(WELL, state=ModemState.ABSENT, reason="unplugged", measured=None)
    assert list(faults(absent)) == ["absent: unplugged"]
    silent = replace(WELL, measured=None, error="no answer within two minutes")
    assert list(faults(silent)) == ["no answer within two minutes"]


# ---------------------------------------------------------------- a bay under test


async def run_beside(tests: SelfTests, actor, bays=()):
    """Run tests while the supervisor's part is played: it tells bays of wishes."""
    async with asyncio.TaskGroup() as group:
        running = group.create_task(tests.run(MAINTAINER, bays))
        while not running.done():
            actor.call()
            await asyncio.wait([running], timeout=0.01)
    return running.result()


async def test_a_bay_tells_how_it_is_and_what_is_wrong(tmp_path):
    modem = OneCard()
    modem.stat = 1
    async with bay(tmp_path, modem) as (actor, store):
        await reach(actor, ModemState.READY)
        tests = SelfTests(store, numbers=NumberRules(), zone=ZONE, patience=20)
        (well,) = await run_beside(tests, actor)
        assert (well.faults, well.registration) == ((), "registered in its home network")
        assert well.answer_ms is not None
        modem.script["AT+CSQ"] = said("+CSQ: 1,99")
        modem.script["AT+CNUM"] = said('+CNUM: ,"8613800000009",145')
        (weak,) = await run_beside(tests, actor, [well.bay])
        assert weak.faults == ("weak signal: -111 dBm",)
        assert [one.bay for one in await tests.latest(MAINTAINER, only_faulty=True)] == [well.bay]
        (fault,) = await store.read(
            lambda conn: register_faults.find(conn, now=store.clock.now(), zone=ZONE)
        )
        assert (fault.kind, fault.told) == ("number", "+86138****0009")
        assert actor.state is ModemState.READY
        with pytest.raises(NotFound):
            await tests.run(MAINTAINER, ["nowhere"])


# ---------------------------------------------------------------- by itself, each week


async def absent_bay(store) -> None:
    change = modems.StateChange(
        facts=modems.Facts(bay=Bay("bay-01"), port=None, family=None, iccid=CARD),
        before=ModemState.PROBING, after=ModemState.ABSENT, event="port_gone", reason="unplugged",
    )  # fmt: skip
    await store.write(lambda tx: modems.save_changes(tx, [change]))


async def test_all_bays_are_tested_once_a_week_without_being_asked(tmp_path):
    async with open_store(tmp_path) as store:
        await absent_bay(store)
        tests = SelfTests(store, numbers=NumberRules(), zone=ZONE)
        await tests.look()
        assert await tests.latest(MAINTAINER) == []  # the site's first week counts as done
        store.clock.step(8 * 86_400)
        (duty,) = await tests.list_duties(MAINTAINER)
        assert (duty.is_due, duty.is_overdue, duty.done_by) == (True, True, None)
        await tests.look()
        (found,) = await tests.latest(MAINTAINER)
        assert (found.faults, found.done_by) == (("absent: unplugged",), "modemctl")
        (duty,) = await tests.list_duties(MAINTAINER)
        assert (duty.is_due, duty.is_overdue, duty.done_by) == (False, False, "modemctl")
        await tests.look()
        entries = select(audit_entry.c.details).where(audit_entry.c.action == "duty.done")
        (details,) = await store.read(lambda conn: conn.scalars(entries).all())
        assert details == '{"n_bays":1,"n_faulty":1,"policy":"SIM-18"}'


async def test_a_test_of_some_bays_is_no_duty_done(tmp_path):
    async with open_store(tmp_path) as store:
        await absent_bay(store)
        await store.write(duties.begin)
        store.clock.step(8 * 86_400)
        tests = SelfTests(store, numbers=NumberRules(), zone=ZONE)
        await tests.run(MAINTAINER, ["bay-01"])
        await tests.run(replace(MAINTAINER, department="sales"))
        (duty,) = await tests.list_duties(MAINTAINER)
        assert duty.is_due
        await tests.run(MAINTAINER)
        (duty,) = await tests.list_duties(MAINTAINER)
        assert (duty.is_due, duty.done_by) == (False, "mei")


async def test_only_those_who_operate_modems_test_them(tmp_path):
    async with open_store(tmp_path) as store:
        with pytest.raises(NotPermitted):
            await SelfTests(store, numbers=NumberRules(), zone=ZONE).run(
                replace(MAINTAINER, scopes=frozenset())
            )


async def test_the_api_tests_lists_and_tells_duties(tmp_path):
    async with open_api(tmp_path) as bench:
        await absent_bay(bench.store)
        async with bench.client(await bench.token_of("maintainer")) as client:
            (found,) = (await client.post("/v1/self-tests", json={})).json()
            assert (found["bay"], found["faults"]) == ("bay-01", ["absent: unplugged"])
            assert (await client.get("/v1/self-tests", params={"only_faulty": True})).json()
            duty, *_ = (await client.get("/v1/duties")).json()
            assert (duty["duty"], duty["policy"], duty["done_by"]) == (
                "self_test", "SIM-18", "maintainer-all",
            )  # fmt: skip
            missing = await client.post("/v1/self-tests", json={"bays": ["x"]})
            assert (missing.status_code, missing.json()["field"]) == (404, "bays")


async def test_the_last_test_of_each_bay_is_counted(tmp_path):
    bays = [Bay(f"bay-0{n}") for n in range(3)]

    def tested(bay_name, *found):
        return self_tests.Found(
            bay=bay_name, iccid=None, state="ready", registration=None, signal_dbm=None,
            answer_ms=5, balance=None, faults=found,
        )  # fmt: skip

    async with open_store(tmp_path) as store:
        await store.write(lambda tx: modems.save_changes(tx, [seen(one) for one in bays]))
        weak = [tested(one, "weak signal") for one in bays[:2]]
        await store.write(lambda tx: self_tests.add(tx, weak, by="mei"))
        assert await store.read(self_tests.tally) == {"faulty": 2}
        store.clock.advance(60)
        await store.write(lambda tx: self_tests.add(tx, [tested(bays[0])], by="mei"))
        assert await store.read(self_tests.tally) == {"faulty": 1, "fine": 1}


def seen(bay_name):
    facts = modems.Facts(bay=bay_name, port="/dev/x", family=None, iccid=None)
    return modems.StateChange(
        facts=facts, before=ModemState.SEARCHING, after=ModemState.READY, event="registered",
        reason="",
    )  # fmt: skip
