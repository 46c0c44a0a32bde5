"""Who drafts for a department that keeps a list of its drafters (SMS-11)."""

from datetime import timedelta

import pytest

from modemctl.errors import PolicyRefused
from modemctl.store import authorities
from tests.support.people import RETAIL, open_office
from tests.support.stores import open_store


async def name_drafter(office, name, *, days, department=RETAIL):
    def act(tx):
        return authorities.add_authorisation(
            tx, kind=authorities.DRAFTER, department=department,
            account_id=office.who[name].account_id, valid_from=tx.now,
            valid_until=tx.now + timedelta(days=days), granted_by=office.who["gm"].account_id,
        )  # fmt: skip

    await office.store.write(act)


async def test_a_department_with_a_list_lets_only_those_on_it_draft(tmp_path):
    async with open_store(tmp_path) as store:
        office = await open_office(store)
        await office.submit(1)  # no list is kept yet
        await name_drafter(office, "checker", days=30, department="loans")
        await office.submit(1)
        await name_drafter(office, "checker", days=30)
        with pytest.raises(PolicyRefused, match="not on the list of department retail") as caught:
            await office.submit(1)
        assert caught.value.policy == "SMS-11"
        await office.submit(1, drafter="checker")


async def test_a_list_whose_entries_have_ended_is_still_a_list(tmp_path):
    async with open_store(tmp_path) as store:
        office = await open_office(store)
        await name_drafter(office, "drafter", days=1)
        await office.submit(1)
        store.clock.advance(86_400)
        with pytest.raises(PolicyRefused, match="SMS-11"):
            await office.submit(1)
