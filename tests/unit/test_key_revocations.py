"""A key that was lost or compromised holds what it approved, until its steps are signed anew."""

from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select

from modemctl.errors import PolicyRefused
from modemctl.lifecycle import BatchState
from modemctl.model import Decision, Topic
from modemctl.policy.approvals import sign_approval
from modemctl.service.authorities import RevokeReason
from modemctl.store.authorities import add_authorisation
from modemctl.store.replay import replay
from modemctl.store.tables import approval, audit_entry, event
from tests.support.people import agree
from tests.unit.test_stops import office_in

NEW_SEED = bytes(range(100, 132))


async def revoke(office, name, reason=RevokeReason.COMPROMISED):
    office.store.clock.advance(60)
    with office.store.signals.subscribe(Topic.STOP) as bell:
        await office.authorities.revoke_key(office.admin, f"key-{name}", reason=reason)
        assert await bell.wait(5)


async def state_of(office, shown):
    return (await look(office, shown)).batch.state


async def look(office, shown):
    return await office.batches.show(office.who["gm"], shown.batch.batch_id)


async def new_key(office, name):
    public = Ed25519PrivateKey.from_private_bytes(NEW_SEED).public_key().public_bytes_raw()
    asked = await office.grants.register_key(
        office.admin, office.who[name].account_id, public_key=public
    )
    await agree(office.store, office.grants, asked)
    return asked.details["kid"]


async def sign_anew(office, shown, name, *, kid, step=1, decision=Decision.APPROVE):
    now = office.store.clock.now()
    jws = sign_approval(
        NEW_SEED, kid=kid, digest=bytes.fromhex(shown.digest), batch_id=shown.batch.batch_id,
        step=step, approver=office.who[name].account_id, issued_at=now,
        expires_at=now + timedelta(hours=9), decision=decision,
    )  # fmt: skip
    return await office.batches.approve(office.who[name], shown.batch.batch_id, jws)


async def alarms(office):
    rows = await office.store.read(
        lambda conn: conn.execute(select(event).where(event.c.kind == "alarm")).all()
    )
    return [(row.subject, row.data) for row in rows]


@pytest.mark.parametrize("reason", [RevokeReason.COMPROMISED, RevokeReason.LOST])
async def test_all_that_a_bad_key_approved_is_held_at_once_and_named(tmp_path, reason):
    async with office_in(tmp_path) as office:
        running = await office.start(await office.approve(await office.submit()))
        waiting = await office.approve(await office.submit())
        other = await office.approve(await office.submit(category="promotion"))
        await revoke(office, "dm", reason)
        shown = [await look(office, one) for one in (running, waiting, other)]
        ((subject, data),) = await alarms(office)
        assert not list(await office.store.read(lambda conn: list(replay(conn))))
    states = [one.batch.state for one in shown]
    assert states == [BatchState.HELD, BatchState.HELD, BatchState.APPROVED]
    assert shown[0].batch.reason == f"an approver's key of dm was revoked: {reason}"
    assert shown[0].steps[0].approver is None, "the step is wanted again"
    assert subject == "account:dm"
    assert all(one.batch.batch_id in data for one in shown[:2])
    assert "key-dm" in data


async def test_that_nobody_may_sign_the_step_anew_is_told(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.start(await office.approve(await office.submit()))
        await revoke(office, "dm")
        warned = (await look(office, shown)).warnings
        assert any("nobody may sign as department_manager" in line for line in warned)
        await new_key(office, "dm")
        warned = (await look(office, shown)).warnings
        assert not any("nobody may sign" in line for line in warned)


async def test_a_key_that_was_merely_replaced_stops_nothing(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.start(await office.approve(await office.submit()))
        await revoke(office, "dm", RevokeReason.SUPERSEDED)
        assert await state_of(office, shown) is BatchState.RUNNING
        assert await alarms(office) == []


async def test_it_goes_on_only_when_a_good_key_signed_the_step_again(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.start(await office.approve(await office.submit()))
        operator = office.who["operator"]
        await revoke(office, "dm")
        with pytest.raises(PolicyRefused, match="revoked"):
            await office.batches.resume(operator, shown.batch.batch_id)
        with pytest.raises(PolicyRefused, match="revoked"):
            await office.batches.approve(
                office.who["dm"], shown.batch.batch_id, office.sign(shown, "dm")
            )
        kid = await new_key(office, "dm")
        signed = await sign_anew(office, shown, "dm", kid=kid)
        assert signed.batch.state is BatchState.HELD, "a signature starts nothing"
        assert signed.steps[0].approver == office.who["dm"].account_id
        with pytest.raises(PolicyRefused, match="complete already"):
            await sign_anew(office, shown, "dm", kid=kid)
        resumed = await office.batches.resume(operator, shown.batch.batch_id)
        trail = await office.store.read(
            lambda conn: conn.scalars(
                select(audit_entry.c.details).where(audit_entry.c.action == "batch.approve")
            ).all()
        )
        assert not list(await office.store.read(lambda conn: list(replay(conn))))
    assert resumed.batch.state is BatchState.RUNNING
    assert '"instead_of":"key-dm"' in trail[-1].replace(" ", "")


async def test_of_a_longer_chain_only_the_bad_step_is_signed_again(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.approve(await office.submit(category="promotion"))
        await revoke(office, "mic")
        sheet = await office.batches.sheet(office.who["gm"], shown.batch.batch_id)
        assert (sheet.step, sheet.step_name) == (1, "manager_in_charge")
        kid = await new_key(office, "mic")
        with pytest.raises(PolicyRefused, match="another step"):
            await sign_anew(office, shown, "mic", kid=kid, step=2)
        await sign_anew(office, shown, "mic", kid=kid)
        operator = office.who["general_operator"]
        resumed = await office.batches.resume(operator, shown.batch.batch_id)
        rows = await office.store.read(
            lambda conn: conn.execute(select(approval).order_by(approval.c.step)).all()
        )
    assert resumed.batch.state is BatchState.RUNNING
    assert [(row.step, row.kid) for row in rows] == [(1, kid), (2, "key-gm")]


async def test_one_person_does_not_take_a_second_step_by_the_way_of_a_renewal(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.approve(await office.submit(category="promotion"))
        await revoke(office, "mic")
        gm = office.who["gm"]
        await office.store.write(
            lambda tx: add_authorisation(
                tx, kind="manager_in_charge", department="*", account_id=gm.account_id,
                valid_from=tx.now, valid_until=tx.now + timedelta(days=9), granted_by="root",
            )
        )  # fmt: skip
        with pytest.raises(PolicyRefused) as caught:
            await sign_anew(office, shown, "gm", kid=await new_key(office, "gm"))
    assert caught.value.policy == "SMS-11"


async def test_a_half_signed_batch_wants_the_bad_step_first(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.confirm(await office.submit(category="promotion"))
        first = office.sign(shown, "mic")
        await office.batches.approve(office.who["mic"], shown.batch.batch_id, first)
        await revoke(office, "mic")
        assert await state_of(office, shown) is BatchState.AWAITING_APPROVAL
        second = office.sign(shown, "gm", step=2)
        with pytest.raises(PolicyRefused, match="another step"):
            await office.batches.approve(office.who["gm"], shown.batch.batch_id, second)
        await sign_anew(office, shown, "mic", kid=await new_key(office, "mic"))
        done = await office.batches.approve(office.who["gm"], shown.batch.batch_id, second)
    assert done.batch.state is BatchState.APPROVED


async def test_a_signed_no_ends_a_held_batch(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.start(await office.approve(await office.submit()))
        await revoke(office, "dm")
        kid = await new_key(office, "dm")
        ended = await sign_anew(office, shown, "dm", kid=kid, decision=Decision.REJECT)
        assert not list(await office.store.read(lambda conn: list(replay(conn))))
    assert ended.batch.state is BatchState.CANCELLED
