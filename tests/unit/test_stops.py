"""Running batches stop with the authority of the persons on whom they rest, and can go on."""

import dataclasses
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from sqlalchemy import select

from modemctl.config import Settings
from modemctl.errors import PolicyRefused
from modemctl.lifecycle import BatchState
from modemctl.model import Topic
from modemctl.service.accounts import Accounts, AccountState
from modemctl.service.authorities import Authorities
from modemctl.service.grants import Grants
from modemctl.store.accounts import add_account
from modemctl.store.authorities import add_authorisation, list_authorisations
from modemctl.store.tables import audit_entry
from tests.support.people import GENERAL, RETAIL, open_office, second_administrator
from tests.support.stores import open_store


@asynccontextmanager
async def office_in(folder):
    async with open_store(folder) as store:
        office = await open_office(store)
        steps = {step for chain in Settings().approvals.chains.values() for step in chain}
        office.accounts = Accounts(store, general_department=GENERAL)
        office.authorities = Authorities(store, general_department=GENERAL)
        office.grants = Grants(store, steps=steps)
        second = await second_administrator(store)
        root = await store.write(
            lambda tx: add_account(
                tx, name="root", kind="person", department=None, roles=["administrator"]
            )
        )
        office.admin = dataclasses.replace(second, account_id=root.account_id, name="root")
        yield office


async def authorisations_of(office, name):
    account_id, vault = office.who[name].account_id, office.store.vault
    return await office.store.read(
        lambda conn: list_authorisations(conn, vault, account_id=account_id)
    )


async def state_of(office, shown):
    reader = office.who["gm"]
    return (await office.batches.show(reader, shown.batch.batch_id)).batch.state


async def withdraw(office, name):
    (one,) = await authorisations_of(office, name)
    await office.authorities.withdraw(office.admin, one.authorisation_id, reason="moved")


async def freeze(office, name):
    account_id = office.who[name].account_id
    await office.accounts.set_state(
        office.admin, account_id, AccountState.FROZEN, reason="suspected"
    )


@pytest.mark.parametrize("act", [withdraw, freeze])
@pytest.mark.parametrize(
    ("category", "name", "is_held"),
    [
        ("notice", "operator", True),
        ("notice", "dm", True),
        ("notice", "general_operator", False),
        ("notice", "gm", False),
        ("promotion", "general_operator", True),
        ("promotion", "mic", True),
        ("promotion", "operator", False),
    ],
)
async def test_a_running_batch_stops_with_those_on_whom_it_rests(
    tmp_path, act, category, name, is_held
):
    async with office_in(tmp_path) as office:
        shown = await office.start(await office.approve(await office.submit(2, category)))
        with office.store.signals.subscribe(Topic.STOP) as bell:
            await act(office, name)
            assert await bell.wait(60)
        held = await state_of(office, shown)
        trail = await office.store.read(
            lambda conn: conn.scalars(
                select(audit_entry.c.actor).where(audit_entry.c.action == "batch.hold")
            ).all()
        )
    assert held is (BatchState.HELD if is_held else BatchState.RUNNING)
    assert trail == (["root"] if is_held else [])


@pytest.mark.parametrize("act", [withdraw, freeze])
async def test_what_would_start_itself_waits_and_what_a_person_starts_stays(tmp_path, act):
    async with office_in(tmp_path) as office:
        opens = office.store.clock.now() + timedelta(hours=2)
        itself = await office.approve(await office.submit(not_before=opens, starts_itself=True))
        by_hand = await office.approve(await office.submit())
        await act(office, "dm")
        states = [await state_of(office, one) for one in (itself, by_hand)]
    assert states == [BatchState.HELD, BatchState.APPROVED]


async def test_after_a_hand_over_the_new_operator_goes_on_and_it_rests_on_him(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.start(await office.approve(await office.submit()))
        await withdraw(office, "operator")
        deputy = dataclasses.replace(office.who["system"], scopes=office.who["operator"].scopes)
        with pytest.raises(PolicyRefused, match="SMS-06"):
            await office.batches.resume(deputy, shown.batch.batch_id)
        await office.store.write(
            lambda tx: add_authorisation(
                tx, kind="operator", department=RETAIL, account_id=deputy.account_id,
                valid_from=tx.now, valid_until=tx.now + timedelta(days=9), granted_by="test",
            )
        )  # fmt: skip
        with pytest.raises(PolicyRefused, match="SMS-06"):
            await office.batches.resume(office.who["operator"], shown.batch.batch_id)
        shown = await office.batches.resume(deputy, shown.batch.batch_id)
        assert shown.batch.state is BatchState.RUNNING
        await withdraw(office, "system")
        assert await state_of(office, shown) is BatchState.HELD


async def test_withdrawing_one_of_two_authorisations_of_an_operator_stops_nothing(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.start(await office.approve(await office.submit()))
        operator = office.who["operator"]
        await office.store.write(
            lambda tx: add_authorisation(
                tx, kind="operator", department=RETAIL, account_id=operator.account_id,
                valid_from=tx.now, valid_until=tx.now + timedelta(days=9),
                granted_by=office.admin.account_id,
            )
        )  # fmt: skip
        first, second = await authorisations_of(office, "operator")
        await office.authorities.withdraw(office.admin, first.authorisation_id, reason="double")
        assert await state_of(office, shown) is BatchState.RUNNING
        await office.authorities.withdraw(office.admin, second.authorisation_id, reason="moved")
        assert await state_of(office, shown) is BatchState.HELD
