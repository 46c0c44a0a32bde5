"""A changed policy section of the settings holds what runs until two persons have confirmed it."""

import dataclasses

import pytest
from sqlalchemy import delete, update

from modemctl.config import Settings
from modemctl.config.policy import POLICY, TECHNICAL
from modemctl.daemon import sending_rules
from modemctl.errors import PolicyRefused
from modemctl.lifecycle import BatchState
from modemctl.model import AccountId
from modemctl.policy.gates import ClockTrust
from modemctl.service.dual import Dual, DualKind
from modemctl.service.policies import Policies
from modemctl.service.principal import Principal, scopes_of
from modemctl.store import batches
from modemctl.store.accounts import AccountKind, add_account
from modemctl.store.leases import Leased, Nothing
from modemctl.store.submits import Cleared, Withdrawn
from modemctl.store.tables import policy_version
from tests.support.benches import CARDS, Bench, bench
from tests.unit.test_audit_replay import faults

OLD = Settings.model_validate({"site": {"id": "test"}})
NEW = Settings.model_validate({"site": {"id": "test"}, "limits": {"segments_per_day": 501}})


def held_to(b: Bench, settings: Settings) -> None:
    b.rules = dataclasses.replace(b.rules, policy=settings.policy_digest())


async def state_of(b: Bench, batch_id: str) -> tuple[BatchState, str]:
    found = await b.store.read(lambda conn: batches.find_batch(conn, batch_id))
    return found.state, found.reason


async def administrators(b: Bench) -> list[Principal]:
    def act(tx):
        return [
            add_account(
                tx, name=name, kind=AccountKind.PERSON, department=None, roles=["administrator"]
            )
            for name in ("root", "ruth")
        ]

    return [
        Principal(
            account_id=AccountId(one.account_id), name=one.name, department=None,
            scopes=scopes_of(frozenset({"administrator"})), source="test", is_person=True,
        )
        for one in await b.store.write(act)
    ]  # fmt: skip


async def test_the_first_policy_is_noted_and_counts(tmp_path):
    async with bench(tmp_path) as b:
        held_to(b, OLD)
        await b.batch(1)
        assert await Policies(b.store, OLD.policy()).open()
        assert isinstance((await b.lease(CARDS[0]))[0], Leased)
    assert faults(tmp_path) == []


async def test_a_changed_policy_holds_what_runs_until_two_persons_confirmed_it(tmp_path):
    async with bench(tmp_path) as b:
        batch_id = await b.batch(2)
        assert await Policies(b.store, OLD.policy()).open()
        changed = Policies(b.store, NEW.policy())
        held_to(b, NEW)
        assert not await changed.open()
        state, reason = await state_of(b, batch_id)
        assert state is BatchState.HELD
        assert "(policy: SEC-04)" in reason
        root, ruth = await administrators(b)
        shown = await changed.show(root)
        assert shown.changes == {"limits.segments_per_day": "default → 501"}
        assert "SEC-04" in await changed.fault()
        dual = Dual(b.store, performers={DualKind.POLICY_CHANGE: changed.perform})
        asked = await dual.ask(
            root, kind=DualKind.POLICY_CHANGE, subject=shown.digest, details={}, reason="form 12"
        )
        # Who resumes a batch before that gets it held again, and sends nothing.
        await b.store.write(lambda tx: batches.move(tx, batch_id, BatchState.RUNNING))
        assert await b.lease(CARDS[0]) == [Nothing()]
        assert (await state_of(b, batch_id))[0] is BatchState.HELD
        with pytest.raises(PolicyRefused) as caught:
            await dual.confirm(root, asked.request_id)
        assert caught.value.policy == "SEC-04"
        await dual.confirm(ruth, asked.request_id)
        assert await changed.fault() == ""
        await b.store.write(lambda tx: batches.move(tx, batch_id, BatchState.RUNNING))
        assert isinstance((await b.lease(CARDS[0]))[0], Leased)
        assert (await changed.show(ruth)).confirmed_by == "ruth"
    assert not any("policy_version" in one for one in faults(tmp_path))


async def test_two_persons_confirm_the_settings_that_the_daemon_has_and_no_others(tmp_path):
    async with bench(tmp_path) as b:
        await Policies(b.store, OLD.policy()).open()
        changed = Policies(b.store, NEW.policy())
        root, ruth = await administrators(b)
        dual = Dual(b.store, performers={DualKind.POLICY_CHANGE: changed.perform})
        asked = await dual.ask(
            root, kind=DualKind.POLICY_CHANGE, subject="0" * 64, details={}, reason="form 12"
        )
        with pytest.raises(PolicyRefused, match="not the settings that the daemon runs with"):
            await dual.confirm(ruth, asked.request_id)
        assert await changed.fault()


async def test_what_is_leased_already_does_not_leave_under_a_changed_policy(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(2)
        await Policies(b.store, OLD.policy()).open()
        held_to(b, OLD)
        first, second = await b.lease(CARDS[0], CARDS[1])
        assert isinstance(await b.begin(first), Cleared)
        held_to(b, NEW)
        refused = await b.begin(second)
        assert isinstance(refused, Withdrawn)
        assert refused.policy == "SEC-04"


@pytest.mark.parametrize(
    "attack",
    [delete(policy_version), update(policy_version).values(digest=NEW.policy_digest())],
)
async def test_an_altered_or_deleted_policy_lets_nothing_leave(tmp_path, attack):
    async with bench(tmp_path) as b:
        await b.batch(1)
        await Policies(b.store, OLD.policy()).open()
        await b.store.write(lambda tx: tx.conn.execute(attack) and None)
        held_to(b, NEW)
        assert not await Policies(b.store, NEW.policy()).open()
        assert await b.lease(CARDS[0]) == [Nothing()]
    assert any("policy_version 1" in one for one in faults(tmp_path))


async def test_a_clock_that_is_not_believed_leases_nothing_and_holds_nothing(tmp_path):
    async with bench(tmp_path) as b:
        batch_id = await b.batch(2)
        clock = ClockTrust()
        b.rules = dataclasses.replace(b.rules, clock=clock)
        [leased] = await b.lease(CARDS[0])
        clock.fault = "no time server has set the machine's clock"
        assert await b.lease(CARDS[1]) == [Nothing()]
        refused = await b.begin(leased)
        assert isinstance(refused, Withdrawn)
        assert refused.reason == clock.fault
        assert (await state_of(b, batch_id))[0] is BatchState.RUNNING
        clock.fault = ""
        assert isinstance((await b.lease(CARDS[1]))[0], Leased)


def test_every_section_of_the_settings_is_policy_or_says_why_it_is_none():
    assert POLICY.keys() | TECHNICAL.keys() == set(Settings.model_fields)
    assert not POLICY.keys() & TECHNICAL.keys()


def test_the_daemon_is_held_to_the_policy_of_its_settings():
    assert sending_rules(NEW).policy == NEW.policy_digest()
    plain = Settings.model_validate({"limits": {"segments_per_day": 500}})
    assert plain.policy_digest() == Settings().policy_digest()  # the default, written out
