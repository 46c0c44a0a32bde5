"""Who holds a colleague's key is no second person, whatever the two have to decide (SEC-04)."""

import pytest

from modemctl.errors import PolicyRefused
from modemctl.policy.stops import StopKind, StopMemory
from modemctl.service.accounts import Accounts
from modemctl.service.admissions import Admissions
from modemctl.service.principal import Principal, Scope, scopes_of
from modemctl.service.puks import Puks
from modemctl.service.stops import Stops
from modemctl.store.accounts import AccountKind, add_account
from tests.support.stores import open_store
from tests.unit.test_puks import CARD, PUK, register

SCOPES = scopes_of(frozenset({"administrator"})) | {Scope.SIMS_WRITE}


@pytest.fixture
async def store(tmp_path):
    async with open_store(tmp_path) as store:
        yield store


async def person(store, name: str) -> Principal:
    account = await store.write(
        lambda tx: add_account(tx, name=name, kind=AccountKind.PERSON, department=None, roles=[])
    )
    return Principal(
        account_id=account.account_id, name=name, department=None, scopes=SCOPES,
        source="test", is_person=True,
    )  # fmt: skip


@pytest.fixture
async def people(store):
    """Root, who has issued anna's key; anna; bert, who made his key himself."""
    root, anna, bert = [await person(store, name) for name in ("root", "anna", "bert")]
    await Accounts(store, general_department="general").issue_key(root, anna.account_id)
    return root, anna, bert


async def refused(awaitable) -> None:
    with pytest.raises(PolicyRefused, match="issued the other's key") as caught:
        await awaitable
    assert caught.value.policy == "SEC-04"


async def test_a_stop_is_not_lifted_with_a_key_of_who_placed_it(store, people):
    root, anna, bert = people
    stops = Stops(store, general_department="general", memory=StopMemory())
    placed = await stops.place(root, StopKind.FLEET, "", "wrong text")
    await refused(stops.lift(anna, placed.stop_id, "settled"))
    assert (await stops.lift(bert, placed.stop_id, "settled")).lifted_by == "bert"


async def test_a_puk_is_not_given_twice_by_one_who_holds_both_keys(store, people):
    root, anna, bert = people
    await register(store)
    asked = await Puks(store).ask(root, CARD, puk=PUK, reason="blocked")
    await refused(Puks(store).confirm(anna, asked.request_id, puk=PUK))
    assert (await Puks(store).confirm(bert, asked.request_id, puk=PUK)).confirmed_by == "bert"


async def test_a_modem_is_not_admitted_by_one_who_holds_both_keys(store, people):
    root, anna, bert = people
    machine_room = Admissions(store)
    await machine_room.admit(root, ["350000000000006"], "order 7")
    await refused(machine_room.admit(anna, ["350000000000006"], "checked"))
    (done,) = (await machine_room.admit(bert, ["350000000000006"], "checked")).items
    assert done.decided_by == "bert"
