"""Break-glass: one named approver lets an urgent batch go; its chain signs afterwards."""

from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, timedelta

import pytest
from pydantic import ValidationError
from sqlalchemy import select

from modemctl.config import ApprovalsSettings, Settings
from modemctl.errors import InvalidRequest, PolicyRefused
from modemctl.lifecycle import BatchState
from modemctl.model import Decision
from modemctl.policy.custody import WorkingDays
from modemctl.policy.digest import decode_header
from modemctl.service.emergencies import EmergencyWatch
from modemctl.service.principal import Scope
from modemctl.service.submission import SubmissionRules
from modemctl.service.violations import Cases
from modemctl.store import batch_turns, handovers
from modemctl.store import batches as rows
from modemctl.store.authorities import (
    add_authorisation,
    list_authorisations,
    revoke_authorisation,
)
from modemctl.store.replay import replay
from modemctl.store.tables import event
from tests.support.people import RETAIL, open_office
from tests.support.stores import open_store

WHY = "the branch in the east is flooded"


@asynccontextmanager
async def office_in(folder, *, granted=True):
    async with open_store(folder) as store:
        office = await open_office(store)
        if granted:
            await store.write(
                lambda tx: add_authorisation(
                    tx, kind="emergency_approver", department=RETAIL,
                    account_id=office.who["manager"].account_id, valid_from=tx.now,
                    valid_until=tx.now + timedelta(days=9), granted_by="test",
                )
            )  # fmt: skip
        yield office


async def confirmed(office, **changes):
    return await office.confirm(await office.submit(3, emergency=WHY, **changes))


async def say(office, shown, name, step=1, decision=Decision.APPROVE):
    jws = office.sign(shown, name, step=step, decision=decision)
    return await office.batches.approve(office.who[name], shown.batch.batch_id, jws)


async def open_ones(office):
    found = await office.batches.emergencies(office.who["gm"])
    return [one.batch.batch_id for one in found]


async def alarms(office):
    return await office.store.read(
        lambda conn: [
            row.data for row in conn.execute(select(event).where(event.c.kind == "alarm"))
        ]
    )


async def test_one_named_approver_lets_it_go_and_the_chain_signs_afterwards(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await confirmed(office)
        assert (shown.emergency, [one.name for one in shown.steps]) == (
            WHY, ["emergency_approver", "department_manager"],
        )  # fmt: skip
        assert decode_header(shown.batch.header).emergency == WHY, "it is signed"
        assert await open_ones(office) == []
        shown = await say(office, shown, "manager")
        assert shown.batch.state is BatchState.APPROVED
        assert await open_ones(office) == [shown.batch.batch_id]
        (told,) = await alarms(office)
        assert '"alarm":"emergency"' in str(told).replace(" ", "").replace("'", '"')
        shown = await office.start(shown)
        reviewed = await say(office, shown, "dm", step=2)
        assert reviewed.batch.state is BatchState.RUNNING, "a review moves nothing"
        assert await open_ones(office) == []
        assert not list(await office.store.read(lambda conn: list(replay(conn))))


async def test_an_emergency_whose_chain_nobody_may_sign_says_so_while_it_runs(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.start(await say(office, await confirmed(office), "manager"))
        manager = office.who["gm"]
        assert not [one for one in shown.warnings if "nobody may sign" in one]
        await revoke(office, "department_manager")
        shown = await office.batches.show(manager, shown.batch.batch_id)
        assert shown.batch.state is BatchState.RUNNING
        (warned,) = [one for one in shown.warnings if "nobody may sign" in one]
        assert warned.startswith(f"nobody may sign as department_manager for {RETAIL} now")
        assert "modemctl account authorise NAME department_manager" in warned


async def revoke(office, kind):
    def act(tx):
        for one in list_authorisations(tx.conn, tx.vault):
            if one.kind == kind:
                revoke_authorisation(tx, one)

    await office.store.write(act)


async def test_a_refused_emergency_waits_for_nobody(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.start(await say(office, await confirmed(office), "manager"))
        shown = await say(office, shown, "dm", step=2, decision=Decision.REJECT)
        await revoke(office, "department_manager")
        shown = await office.batches.show(office.who["gm"], shown.batch.batch_id)
        assert not [one for one in shown.warnings if "nobody may sign" in one]


async def test_without_the_permission_nobody_breaks_the_glass(tmp_path):
    async with office_in(tmp_path, granted=False) as office:
        shown = await confirmed(office)
        for name in ("manager", "dm", "gm"):
            with pytest.raises(PolicyRefused) as caught:
                await say(office, shown, name)
            assert caught.value.policy == "SMS-02"
        with pytest.raises(PolicyRefused, match="only an approved batch"):
            await office.start(shown)


async def test_all_else_is_asked_for_as_ever(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.submit(3, emergency=WHY)
        jws = office.sign(shown, "manager")
        with pytest.raises(Exception, match="only a confirmed batch"):
            await office.batches.approve(office.who["manager"], shown.batch.batch_id, jws)
        with pytest.raises(PolicyRefused) as caught:
            await office.submit(3, "promotion", emergency=WHY)
        assert caught.value.policy == "SMS-01"
        now = office.store.clock.now()
        for wrong in (
            {"emergency": "urgent"}, {"not_after": now + timedelta(hours=5)},
            {"starts_itself": True},
        ):  # fmt: skip
            with pytest.raises(InvalidRequest):
                await office.submit(3, **{"emergency": WHY, **wrong})


async def test_the_emergency_approval_lapses_after_its_hours(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await say(office, await confirmed(office), "manager")
        rules = SubmissionRules.of(Settings()).approvals
        later = office.store.clock.now() + timedelta(hours=4)
        with pytest.raises(PolicyRefused, match="expired"):
            await office.store.read(
                lambda conn: rows.verify_now(
                    conn, office.store.vault, shown.batch.batch_id, rules=rules, now=later
                )
            )


async def test_the_chain_may_sign_when_all_is_over_and_long_after(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.start(await say(office, await confirmed(office), "manager"))
        office.store.clock.advance(5 * 3_600)
        await office.store.write(batch_turns.expire_due)
        done = await say(office, shown, "dm", step=2)
        assert done.batch.state is BatchState.EXPIRED
        assert await open_ones(office) == []
        assert not list(await office.store.read(lambda conn: list(replay(conn))))


@pytest.mark.parametrize("is_over", [False, True])
async def test_a_no_afterwards_stops_the_rest_and_is_told(tmp_path, is_over):
    async with office_in(tmp_path) as office:
        shown = await office.start(await say(office, await confirmed(office), "manager"))
        if is_over:
            office.store.clock.advance(5 * 3_600)
            await office.store.write(batch_turns.expire_due)
        after = await say(office, shown, "dm", step=2, decision=Decision.REJECT)
        assert after.batch.state is (BatchState.EXPIRED if is_over else BatchState.CANCELLED)
        assert "emergency_refused" in str((await alarms(office))[-1])
        assert not list(await office.store.read(lambda conn: list(replay(conn))))


async def test_who_let_it_go_does_not_review_it(tmp_path):
    async with office_in(tmp_path) as office:
        await office.store.write(
            lambda tx: add_authorisation(
                tx, kind="department_manager", department=RETAIL,
                account_id=office.who["manager"].account_id, valid_from=tx.now,
                valid_until=tx.now + timedelta(days=9), granted_by="test",
            )
        )  # fmt: skip
        shown = await say(office, await confirmed(office), "manager")
        with pytest.raises(PolicyRefused) as caught:
            await say(office, shown, "manager", step=2)
    assert caught.value.policy == "SMS-11"


async def test_what_is_no_emergency_is_not_signed_after_it_was_let_go(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.approve(await office.submit())
        with pytest.raises(Exception, match="it takes no signature now"):
            await say(office, shown, "manager", step=2)


FOLLOWUP = timedelta(hours=24)


async def test_a_chain_that_does_not_sign_in_time_is_told_of_once(tmp_path):
    async with office_in(tmp_path) as office:
        store, watch = office.store, EmergencyWatch(office.store, FOLLOWUP)
        clerk = replace(office.who["gm"], scopes=frozenset({Scope.MODEMS_READ}))
        shown = await office.start(await say(office, await confirmed(office), "manager"))
        store.clock.advance(24 * 3_600 - 1)
        await watch.look()
        assert watch.counts() == {"open": 1, "overdue": 0}
        (duty,) = await watch.list_duties(clerk)
        assert (duty.is_due, duty.is_overdue) == (True, False)
        assert len(await alarms(office)) == 1, "that it was let go"

        store.clock.advance(1)
        await watch.look()
        await watch.look()
        assert watch.counts() == {"open": 1, "overdue": 1}
        (duty,) = await watch.list_duties(clerk)
        assert duty.is_overdue
        assert [str(one).count("emergency_overdue") for one in await alarms(office)] == [0, 1]
        (line,) = await office.batches.emergencies(office.who["gm"])
        assert (line.is_overdue, line.due_at - line.let_go_at) == (True, FOLLOWUP)
        facts = await store.read(lambda conn: handovers.look(conn, None))
        assert (facts["emergencies"], facts["emergencies_overdue"]) == (1, 1)

        await store.write(batch_turns.expire_due)
        await say(office, shown, "dm", step=2)
        await watch.look()
        assert watch.counts() == {"open": 0, "overdue": 0}
        (duty,) = await watch.list_duties(clerk)
        assert (duty.is_due, duty.is_overdue, duty.done_by) == (False, False, "dm")
        facts = await store.read(lambda conn: handovers.look(conn, None))
        assert (facts["emergencies"], facts["emergencies_overdue"]) == (0, 0)
        assert not list(await store.read(lambda conn: list(replay(conn))))


async def test_a_case_rests_on_the_entry_that_names_who_let_it_go(tmp_path):
    async with office_in(tmp_path) as office:
        await say(office, await confirmed(office), "manager")
        office.store.clock.advance(25 * 3_600)
        (line,) = await office.batches.emergencies(office.who["gm"])
        node, seq = line.entry.split(":")
        compliance = replace(
            office.who["gm"], scopes=frozenset({Scope.CASES_READ, Scope.CASES_WRITE})
        )
        days = WorkingDays(zone=UTC)
        opened = await Cases(office.store, days).open(
            compliance, policy="SMS-01", person=line.let_go_by, grade=1, summary="no emergency",
            evidence=[(node, int(seq))],
        )  # fmt: skip
        assert opened.case.person_name == "manager"


def test_the_configuration_makes_no_promotion_urgent():
    for wrong in (
        {"emergency_categories": ("promotion",)},
        {"emergency_categories": ("unknown",)},
        {"emergency_hours": 25},
        {"chains": {"notice": ("department_manager", "emergency_approver")}},
    ):
        with pytest.raises(ValidationError):
            ApprovalsSettings(**wrong)
    assert ApprovalsSettings(emergency_categories=()).emergency_categories == ()
