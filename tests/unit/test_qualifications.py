"""No access without training and agreement; two failed drills take it away (SEC-14)."""

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest

from modemctl.errors import Conflict, InvalidRequest, NotAuthenticated, NotFound, PolicyRefused
from modemctl.service.accounts import AccountKind, Accounts, bootstrap
from modemctl.service.gate import Gate
from modemctl.service.qualifications import Qualifications
from modemctl.store.tables import qualification
from tests.support.people import unfrozen
from tests.support.stores import open_store
from tests.unit.test_audit_replay import faults, put_back, rows_of
from tests.unit.test_audits import tamper

TODAY = date(2026, 11, 21)
GOOD = {
    "hours": 8, "score": 80, "trained_on": TODAY, "agreement_on": TODAY, "reference": "c 17",
}  # fmt: skip


class School:
    """An administrator, and anna who was hired today."""

    async def open(self, store, *, needs_training=True):
        self.store = store
        self.accounts = Accounts(store, general_department="general", needs_training=needs_training)
        self.qualifications = Qualifications(
            store, general_department="general", zone=ZoneInfo("Asia/Shanghai")
        )
        first = await store.write(lambda tx: bootstrap(tx, name="root"))
        self.gate = Gate(store, peers={7: "anna"})
        self.admin = await self.gate.authenticate(first.token, "test")
        self.anna = await self.hire("anna")
        return self

    async def hire(self, name, kind=AccountKind.PERSON):
        return await self.accounts.create(
            self.admin, name=name, kind=kind, department=None, roles=["auditor"]
        )

    async def train(self, **changes):
        return await self.qualifications.record(
            self.admin, self.anna.account_id, **{**GOOD, **changes}
        )

    async def drill(self, *, is_passed=False):
        return await self.qualifications.drill(
            self.admin, self.anna.account_id, is_passed=is_passed
        )

    async def state(self):
        return (await self.accounts.get(self.admin, self.anna.account_id)).state


@pytest.fixture
async def school(tmp_path):
    async with open_store(tmp_path) as store:
        yield await School().open(store)


async def test_a_person_gets_in_only_when_training_is_on_record(school, tmp_path):
    assert await school.state() == "pending"
    with pytest.raises(NotAuthenticated, match="anna is pending"):
        await school.gate.peer(7, "unix:uid=7")
    with pytest.raises(Conflict, match="anna is pending"):
        await school.accounts.issue_key(school.admin, school.anna.account_id)
    await school.train()
    assert await school.state() == "active"
    assert (await school.gate.peer(7, "unix:uid=7")).name == "anna"
    assert faults(tmp_path) == []


async def test_a_machine_needs_no_training(school):
    robot = await school.hire("robot", AccountKind.SYSTEM)
    assert robot.state == "active"
    with pytest.raises(Conflict, match="not a person"):
        await school.qualifications.record(school.admin, robot.account_id, **GOOD)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"hours": 7}, "hours"),
        ({"score": 79}, "score"),
        ({"trained_on": TODAY + timedelta(days=1)}, "trained_on"),
        ({"agreement_on": TODAY + timedelta(days=1)}, "agreement_on"),
        ({"reference": " "}, "reference"),
    ],
)
async def test_too_little_training_opens_nothing(school, changes, field):
    with pytest.raises(InvalidRequest) as caught:
        await school.train(**changes)
    assert caught.value.field == field
    assert await school.state() == "pending"


async def test_two_failed_drills_suspend_until_the_next_training(school, tmp_path):
    await school.train()
    await school.drill()
    await school.drill(is_passed=True)
    await school.drill()
    assert await school.state() == "active"
    await school.drill()
    assert await school.state() == "frozen"
    with pytest.raises(PolicyRefused, match="failed drills") as caught:
        await unfrozen(school.store, school.admin, school.anna.account_id)
    assert caught.value.policy == "SEC-14"
    await school.train(reference="c 18")
    await unfrozen(school.store, school.admin, school.anna.account_id)
    assert await school.state() == "active"
    assert faults(tmp_path) == []


async def test_nobody_examines_himself(school):
    with pytest.raises(PolicyRefused, match="nobody examines himself"):
        await school.qualifications.record(school.admin, school.admin.account_id, **GOOD)


async def test_a_drill_of_who_was_never_trained_is_refused(school):
    with pytest.raises(Conflict, match="no training of anna is on record"):
        await school.drill()
    with pytest.raises(NotFound, match="no training is on record"):
        await school.qualifications.get(school.admin, school.anna.account_id)


async def test_where_it_is_switched_off_an_account_is_active_at_once(tmp_path):
    async with open_store(tmp_path) as store:
        school = await School().open(store, needs_training=False)
        assert await school.state() == "active"


async def test_failed_drills_do_not_vanish_unseen(tmp_path):
    async with open_store(tmp_path) as store:
        school = await School().open(store)
        await school.train()
        yesterday = await rows_of(store, qualification)
        await school.drill()
    put_back(tmp_path, qualification, yesterday)
    (fault,) = faults(tmp_path)
    assert fault.startswith("qualification ")
    assert "(qualification.drill)" in fault


async def test_a_record_that_was_altered_counts_for_nothing(tmp_path):
    async with open_store(tmp_path) as store:
        school = await School().open(store)
        await school.train()
    tamper(tmp_path, qualification.update().values(score=100))
    async with open_store(tmp_path) as store:
        school.qualifications = Qualifications(
            store, general_department="general", zone=ZoneInfo("Asia/Shanghai")
        )
        with pytest.raises(Exception, match="MAC"):
            await school.qualifications.get(school.admin, school.anna.account_id)
