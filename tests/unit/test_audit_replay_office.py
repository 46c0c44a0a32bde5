"""Rows of the office put back as they were yesterday: people, keys, opt-outs, batches."""

import asyncio

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import delete, update

from modemctl.errors import PolicyRefused
from modemctl.lifecycle import BatchState
from modemctl.policy.approvals import BatchEvidence
from modemctl.service.authorities import RevokeReason
from modemctl.store import batch_turns, optouts
from modemctl.store.evidence import read_evidence
from modemctl.store.tables import account, api_key, approver_key, authorisation, batch, opt_out
from tests.support.people import agree, granted
from tests.support.stores import open_store, take_back
from tests.unit.test_audit_replay import faults, put_back, rows_of
from tests.unit.test_audits import tamper
from tests.unit.test_batches import rules_of
from tests.unit.test_stops import freeze, office_in

NUMBER = "+8613900000009"


@pytest.mark.sqlite_only  # PostgreSQL's own foreign keys forbid it
async def test_an_account_of_yesterday_does_not_come_back(tmp_path):
    async with office_in(tmp_path) as office:
        new = await office.accounts.create(
            office.admin, name="eve", kind="person", department="retail", roles=["submitter"]
        )
        yesterday = await rows_of(office.store, account)
        await office.accounts.change(office.admin, new.account_id, roles=["auditor"])
        assert faults(tmp_path) == []
        await freeze(office, "operator")
    put_back(tmp_path, account, yesterday)
    assert sorted(one.split(":")[0] for one in faults(tmp_path)) == [
        "account eve",
        f"account {office.who['operator'].name}",
    ]


async def test_keys_that_were_ended_stay_ended(tmp_path):
    async with office_in(tmp_path) as office:
        admin, anna = office.admin, office.who["dm"].account_id
        public_key = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
        issued = await office.accounts.issue_key(admin, anna)
        asked = await office.grants.register_key(admin, anna, public_key=public_key)
        await agree(office.store, office.grants, asked)
        kid = asked.details["kid"]
        before = {table: await rows_of(office.store, table) for table in (api_key, approver_key)}
        assert faults(tmp_path) == []
        await office.accounts.revoke_key(admin, issued.key.key_id, reason="stolen")
        await office.authorities.revoke_key(admin, kid, reason=RevokeReason.COMPROMISED)
        assert faults(tmp_path) == []
    for table, found in before.items():
        put_back(tmp_path, table, found)
    assert [one.split(":")[0] for one in faults(tmp_path)] == [
        f"api_key {issued.key.key_id}",
        f"approver_key {kid}",
    ]


async def test_an_authorisation_that_was_withdrawn_stays_withdrawn(tmp_path):
    async with office_in(tmp_path) as office:
        clock = office.store.clock
        one = await granted(
            office.store, office.grants, office.admin, account_id=office.who["mic"].account_id,
            kind="manager", department="retail", valid_from=None,
            valid_until=clock.now().replace(year=clock.now().year + 1), reference="form 7",
        )  # fmt: skip
        yesterday = await rows_of(office.store, authorisation)
        await office.authorities.withdraw(office.admin, one.authorisation_id, reason="moved")
        assert faults(tmp_path) == []
    put_back(tmp_path, authorisation, yesterday)
    (fault,) = faults(tmp_path)
    assert fault.startswith(f"authorisation {one.authorisation_id}:")


async def test_a_deleted_opt_out_shows(tmp_path):
    async with office_in(tmp_path) as office:
        await office.store.write(lambda tx: optouts.add_from_sms(tx, NUMBER, "TD"))
        assert faults(tmp_path) == []
    tamper(tmp_path, delete(opt_out))
    (fault,) = faults(tmp_path)
    assert fault.endswith("the row is missing: not as entry 1 (opt_out.add) left it")
    assert NUMBER[3:] not in fault


async def test_a_cancelled_batch_of_yesterday_does_not_go_on_unseen(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.start(await office.approve(await office.submit()))
        yesterday = await rows_of(office.store, batch)
        assert faults(tmp_path) == []
        await office.batches.cancel(office.who["operator"], shown.batch.batch_id, "no more")
        assert faults(tmp_path) == []
    tamper(tmp_path, update(batch).values(yesterday[0]))
    (fault,) = faults(tmp_path)
    assert fault.startswith(f"batch {shown.batch.batch_id}: the row was put back or changed")
    assert "(batch.cancel)" in fault


async def test_a_salt_that_no_purge_destroyed_is_missed(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.start(await office.approve(await office.submit()))
        await office.batches.cancel(office.who["operator"], shown.batch.batch_id, "no more")
        assert faults(tmp_path) == []
    tamper(tmp_path, update(batch).values(salt_nonce=None))
    (fault,) = faults(tmp_path)
    assert fault.startswith(f"batch {shown.batch.batch_id}: the row was put back or changed")
    assert "(batch.submit)" in fault


@pytest.mark.parametrize("forged", [BatchState.HELD, BatchState.APPROVED, BatchState.RUNNING])
async def test_a_state_that_modemctl_did_not_set_sends_nothing(tmp_path, forged):
    async with office_in(tmp_path) as office:
        operator = office.who["operator"]
        shown = await office.start(await office.approve(await office.submit()))
        batch_id = shown.batch.batch_id
        await office.batches.cancel(operator, batch_id, "no more")
        await asyncio.to_thread(tamper, tmp_path, update(batch).values(state=forged))
        # Neither the next lease nor any step that a person could take makes it good.
        if forged is BatchState.RUNNING:
            await office.batches.hold(operator, batch_id, "what is that")
        elif forged is BatchState.APPROVED:
            await office.store.write(lambda tx: batch_turns.due_starts(tx, rules_of(office)))
        act = office.batches.start if forged is BatchState.APPROVED else office.batches.resume
        with pytest.raises(PolicyRefused, match="state was not set by modemctl") as caught:
            await act(operator, batch_id)
        assert caught.value.policy == "SMS-01"


async def test_a_clock_that_is_set_back_turns_no_entries_around(tmp_path):
    async with office_in(tmp_path) as office:
        operator, clock = office.who["operator"], office.store.clock
        clock.advance(3_600)
        shown = await office.start(await office.approve(await office.submit()))
        await office.batches.hold(operator, shown.batch.batch_id, "wait")
        clock.step(-60)
        await office.batches.resume(operator, shown.batch.batch_id)
    assert faults(tmp_path) == []


async def test_an_approval_of_an_earlier_version_says_nothing_of_the_state(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.confirm(await office.submit())
        details = {"decision": "approve", "step": 1}
        await office.store.write(
            lambda tx: tx.audit("dm", "batch.approve", shown.batch.batch_id, details)
        )
    assert faults(tmp_path) == []


@pytest.mark.sqlite_only  # an older schema, by its file
async def test_an_older_database_is_sealed_by_its_upgrade_and_never_again(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.approve(await office.submit())
        batch_id = shown.batch.batch_id
        await asyncio.to_thread(tamper, tmp_path, update(batch).values(state_mac=None))
    async with open_store(tmp_path) as store:  # an upgrade seals nothing where seals were
        assert (await rows_of(store, batch))[0]["state_mac"] is None
    take_back(tmp_path, "0010")
    async with open_store(tmp_path) as store:
        found = await store.read(lambda conn: read_evidence(conn, store.vault, [batch_id]))
    assert isinstance(found[batch_id], BatchEvidence)
