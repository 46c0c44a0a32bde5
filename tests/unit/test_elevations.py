"""Roles for a time: the department's head asks, an administrator confirms (SEC-01)."""

import pytest

from modemctl.errors import Conflict, InvalidRequest, NotFound, NotPermitted, PolicyRefused
from modemctl.policy.dual import DualKind
from modemctl.service.accounts import Accounts
from modemctl.service.dual import Dual
from modemctl.service.elevations import Elevations
from modemctl.service.gate import Gate
from modemctl.service.principal import Scope
from modemctl.store.tables import elevation
from tests.support.people import GENERAL, open_office, second_administrator
from tests.support.stores import open_store
from tests.unit.test_audit_replay import faults, put_back, rows_of
from tests.unit.test_audits import tamper


class Desk:
    """A department with its head, a person in it, and an administrator."""

    async def open(self, store):
        self.store = store
        self.who = (await open_office(store)).who
        self.admin = await second_administrator(store)
        self.elevations = Elevations(store, general_department=GENERAL)
        performers = {DualKind.ELEVATION: self.elevations.perform}
        self.dual = Dual(store, performers=performers)
        return self

    async def ask(self, by="dm", **changes):
        wanted = {"account": "checker", "roles": ["maintainer"], "hours": 8, "reason": "nights"}
        return (await self.elevations.ask(self.who[by], **{**wanted, **changes})).request_id

    async def scopes(self, name="checker"):
        gate = Gate(self.store, peers={7: name})
        return (await gate.peer(7, "unix:uid=7")).scopes


@pytest.fixture
async def desk(tmp_path):
    async with open_store(tmp_path) as store:
        yield await Desk().open(store)


async def test_what_both_agreed_on_counts_for_its_time_and_no_longer(desk, tmp_path):
    request_id = await desk.ask()
    assert Scope.MODEMS_CONFIGURE not in await desk.scopes()
    await desk.dual.confirm(desk.admin, request_id)
    assert {Scope.MODEMS_CONFIGURE, Scope.BATCHES_CONFIRM} <= await desk.scopes()
    desk.store.clock.advance(8 * 3600 - 1)
    assert Scope.MODEMS_CONFIGURE in await desk.scopes()
    desk.store.clock.advance(1)
    assert Scope.MODEMS_CONFIGURE not in await desk.scopes()
    assert Scope.BATCHES_CONFIRM in await desk.scopes()
    assert faults(tmp_path) == []


async def test_only_the_departments_head_asks(desk):
    with pytest.raises(PolicyRefused, match="the head of department retail asks"):
        await desk.ask("manager")
    with pytest.raises(NotFound):
        await desk.ask("stranger")  # the head of another department
    with pytest.raises(NotPermitted):
        await desk.ask("operator")


async def test_it_takes_an_administrator_to_confirm(desk):
    request_id = await desk.ask()
    with pytest.raises(PolicyRefused, match="who asked does not confirm") as caught:
        await Dual(desk.store).confirm(_with(desk.who["dm"], Scope.ACCOUNTS_WRITE), request_id)
    assert caught.value.policy == "SEC-04"
    with pytest.raises(NotFound):
        await desk.dual.confirm(desk.who["manager"], request_id)
    assert Scope.MODEMS_CONFIGURE not in await desk.scopes()


async def test_nobody_elevates_himself(desk):
    with pytest.raises(PolicyRefused, match="nobody elevates himself"):
        await desk.ask(account="dm")


async def test_a_head_who_is_none_any_more_has_asked_in_vain(desk, tmp_path):
    request_id = await desk.ask()
    accounts = Accounts(desk.store, general_department=GENERAL)
    await accounts.change(desk.admin, desk.who["dm"].account_id, roles=[])
    with pytest.raises(PolicyRefused, match="dm, one of the two, no longer may"):
        await desk.dual.confirm(desk.admin, request_id)


async def test_an_administrator_is_not_made_for_a_time(desk):
    with pytest.raises(PolicyRefused, match="nobody is an administrator for a time"):
        await desk.ask(roles=["administrator"])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"hours": 0}, "hours"),
        ({"hours": 73}, "hours"),
        ({"roles": []}, "roles"),
        ({"roles": ["king"]}, "roles"),
        ({"reason": " "}, "reason"),
    ],
)
async def test_what_an_elevation_cannot_be(desk, changes, field):
    with pytest.raises(InvalidRequest) as caught:
        await desk.ask(**changes)
    assert caught.value.field == field


async def test_one_person_ends_it_early(desk, tmp_path):
    await desk.dual.confirm(desk.admin, await desk.ask())
    (one,) = await desk.elevations.list(desk.admin)
    await desk.elevations.end(desk.admin, one.elevation_id, reason="done")
    assert Scope.MODEMS_CONFIGURE not in await desk.scopes()
    with pytest.raises(NotFound):
        await desk.elevations.end(desk.admin, 99, reason="done")
    assert faults(tmp_path) == []


async def test_a_frozen_person_is_not_elevated(desk):
    accounts = Accounts(desk.store, general_department=GENERAL)
    await accounts.set_state(desk.admin, desk.who["checker"].account_id, "frozen", reason="odd")
    with pytest.raises(Conflict, match="checker is frozen"):
        await desk.ask()


async def test_an_elevation_that_ended_does_not_come_back_unseen(tmp_path):
    async with open_store(tmp_path) as store:
        desk = await Desk().open(store)
        await desk.dual.confirm(desk.admin, await desk.ask())
        yesterday = await rows_of(store, elevation)
        (one,) = await desk.elevations.list(desk.admin)
        await desk.elevations.end(desk.admin, one.elevation_id, reason="done")
    put_back(tmp_path, elevation, yesterday)
    (fault,) = faults(tmp_path)
    assert fault.startswith(f"elevation {one.elevation_id}: the row was put back or changed")


async def test_roles_that_were_altered_let_nobody_in(tmp_path):
    async with open_store(tmp_path) as store:
        desk = await Desk().open(store)
        await desk.dual.confirm(desk.admin, await desk.ask())
    tamper(tmp_path, elevation.update().values(roles='["administrator"]'))
    async with open_store(tmp_path) as store:
        desk.store = store
        with pytest.raises(Exception, match="changed outside the controller"):
            await desk.scopes()


def _with(who, scope):
    return type(who)(
        account_id=who.account_id, name=who.name, department=who.department,
        scopes=who.scopes | {scope}, source=who.source, is_person=who.is_person,
    )  # fmt: skip
