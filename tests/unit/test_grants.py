"""Authority is two administrators' to give (SEC-01): nobody makes a whole chain by himself."""

from datetime import timedelta

import pytest
from sqlalchemy import insert, select

from modemctl.errors import Conflict, PolicyRefused
from modemctl.policy.dual import DualKind
from modemctl.service.accounts import AccountKind, Accounts, bootstrap
from modemctl.service.dual import Dual
from modemctl.service.gate import Gate
from modemctl.service.grants import Grants
from modemctl.store.accounts import find_account
from modemctl.store.authorities import is_authorised
from modemctl.store.tables import authorisation
from tests.support.people import granted, second_administrator
from tests.support.stores import open_store
from tests.unit.test_audits import tamper

STEPS = ("manager",)


class Board:
    """Two administrators, and anna whom they decide on."""

    async def open(self, store):
        self.store, self.grants = store, Grants(store, steps=STEPS)
        self.dual = Dual(store, performers={DualKind.GRANT: self.grants.perform})
        self.accounts = Accounts(store, general_department="general")
        first = await store.write(lambda tx: bootstrap(tx, name="root"))
        self.admin = await Gate(store, peers={}).authenticate(first.token, "test")
        self.second = await second_administrator(store)
        self.anna = await self.accounts.create(
            self.admin, name="anna", kind=AccountKind.PERSON, department=None, roles=["approver"]
        )
        return self

    async def ask(self):
        return await self.grants.authorise(
            self.admin, account_id=self.anna.account_id, kind="manager", department="sales",
            valid_from=None, valid_until=self.store.clock.now() + timedelta(days=9),
            reference="F-1",
        )  # fmt: skip

    async def is_manager(self):
        now, vault = self.store.clock.now(), self.store.vault
        return await self.store.read(
            lambda conn: is_authorised(
                conn, vault, account_id=self.anna.account_id, kind="manager",
                department="sales", at=now,
            )
        )  # fmt: skip


@pytest.fixture
async def board(tmp_path):
    async with open_store(tmp_path) as store:
        yield await Board().open(store)


async def test_one_administrator_authorises_nobody(board):
    asked = await board.ask()
    assert not await board.is_manager()
    with pytest.raises(PolicyRefused, match="who asked does not confirm"):
        await board.dual.confirm(board.admin, asked.request_id)
    assert not await board.is_manager()
    await board.dual.confirm(board.second, asked.request_id)
    assert await board.is_manager()


async def test_one_administrator_makes_no_second_one(board):
    with pytest.raises(PolicyRefused, match="two administrators make a third one"):
        await board.accounts.create(
            board.admin, name="mine", kind=AccountKind.PERSON, department=None,
            roles=["administrator"],
        )  # fmt: skip
    with pytest.raises(PolicyRefused, match="two administrators make a third one"):
        await board.accounts.change(board.admin, board.anna.account_id, roles=["administrator"])
    asked = await board.grants.promote(board.admin, board.anna.account_id, reason="a third")
    await board.dual.confirm(board.second, asked.request_id)
    vault, account_id = board.store.vault, board.anna.account_id
    after = await board.store.read(lambda conn: find_account(conn, vault, account_id))
    assert after.roles == ("administrator", "approver")
    await board.accounts.change(board.admin, account_id, roles=["administrator"])  # keeps it
    with pytest.raises(Conflict, match="already"):
        await board.grants.promote(board.admin, account_id, reason="again")


async def test_who_is_given_authority_does_not_confirm_it_himself(board):
    asked = await board.grants.promote(board.admin, board.anna.account_id, reason="a third")
    await board.dual.confirm(board.second, asked.request_id)
    for_second = await board.grants.authorise(
        board.admin, account_id=board.second.account_id, kind="manager", department="sales",
        valid_from=None, valid_until=board.store.clock.now() + timedelta(days=9), reference="F-2",
    )  # fmt: skip
    with pytest.raises(PolicyRefused, match="nobody authorises himself"):
        await board.dual.confirm(board.second, for_second.request_id)


async def test_a_grant_that_was_asked_for_too_long_ago_is_void(board):
    asked = await board.ask()
    board.store.clock.advance(24 * 3600)
    with pytest.raises(Conflict, match="expired"):
        await board.dual.confirm(board.second, asked.request_id)
    assert not await board.is_manager()


async def test_a_copy_of_a_row_that_authorised_counts_for_nothing(tmp_path):
    async with open_store(tmp_path) as store:
        board = await Board().open(store)
        await granted(
            store, board.grants, board.admin, account_id=board.anna.account_id, kind="manager",
            department="sales", valid_from=None,
            valid_until=store.clock.now() + timedelta(days=9), reference="F-1",
        )  # fmt: skip
        assert await board.is_manager()
        row = await store.read(
            lambda conn: dict(conn.execute(select(authorisation)).mappings().one())
        )
    copy = {**row, "authorisation_id": 99}
    tamper(tmp_path, authorisation.delete(), insert(authorisation).values(copy))
    async with open_store(tmp_path) as store:
        board.store = store
        assert not await board.is_manager()
