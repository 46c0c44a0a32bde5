"""At hand-in it is judged who sends a batch, and told who signs it and which cards carry it."""

from contextlib import asynccontextmanager
from datetime import date, timedelta

import pytest

from modemctl.errors import PolicyRefused
from modemctl.lifecycle import BatchState, CardState
from modemctl.model import AccountId, Decision
from modemctl.store.authorities import add_authorisation, list_authorisations, revoke_authorisation
from modemctl.store.tables import batch
from tests.support.approved import add_cards, amend_cards
from tests.support.people import GENERAL, RETAIL, empower, open_office
from tests.support.stores import open_store

CARDS = [f"8986000000000000000{i}" for i in range(4)]


@asynccontextmanager
async def office_in(folder):
    async with open_store(folder) as store:
        yield await open_office(store)


async def revoke(office, **whose):
    def act(tx):
        for one in list_authorisations(tx.conn, tx.vault, **whose):
            revoke_authorisation(tx, one)

    await office.store.write(act)


async def n_batches(office):
    return await office.store.read(lambda conn: len(conn.execute(batch.select()).all()))


@pytest.mark.parametrize(
    ("category", "operator", "policy", "says"),
    [
        ("notice", "general_operator", "SMS-02", "not authorised for department retail but for"),
        ("promotion", "operator", "SMS-03", "not authorised for department general but for retail"),
        ("other", "operator", "SMS-04", "not authorised for department general but for retail"),
        ("notice", "checker", "SMS-06", "not authorised for department retail when it begins"),
    ],
)
async def test_an_operator_of_no_or_another_department_is_refused_at_hand_in(
    tmp_path, category, operator, policy, says
):
    async with office_in(tmp_path) as office:
        with pytest.raises(PolicyRefused, match=says) as caught:
            await office.submit(1, category, operator=operator)
        able = "operator" if category == "notice" else "general_operator"
        assert (caught.value.policy, caught.value.field) == (policy, "operator")
        assert caught.value.cure.endswith(f"name {able}")
        assert await n_batches(office) == 0, "nothing is kept"


async def test_where_nobody_operates_the_cure_is_to_apply_for_one(tmp_path):
    async with office_in(tmp_path) as office:
        await revoke(office, kind="operator")
        with pytest.raises(PolicyRefused, match="SMS-06") as caught:
            await office.submit(1)
    assert "modemctl operator apply operator --department retail" in caught.value.cure


async def test_it_counts_who_operates_when_the_window_begins(tmp_path):
    async with office_in(tmp_path) as office:
        now, day = office.store.clock.now(), timedelta(days=1)

        def hand_over(tx):
            add_authorisation(
                tx, kind="operator", department=RETAIL, account_id=office.who["checker"].account_id,
                valid_from=now + day, valid_until=now + 9 * day, granted_by=AccountId("test"),
            )  # fmt: skip

        await office.store.write(hand_over)
        with pytest.raises(PolicyRefused, match="SMS-06"):
            await office.submit(1, operator="checker")
        later = {"not_before": now + 2 * day, "not_after": now + 3 * day}
        shown = await office.submit(1, operator="checker", **later)
    assert shown.batch.state is BatchState.CHECKED


async def test_a_right_that_ends_meanwhile_is_told_and_refused_at_the_start(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.approve(await office.submit(1))
        await revoke(office, kind="operator", department=RETAIL)
        again = await office.batches.show(office.who["dm"], shown.batch.batch_id)
        assert "its operator is not authorised for retail any more (policy: SMS-06)" in (
            again.warnings
        )
        with pytest.raises(PolicyRefused, match="SMS-06"):
            await office.start(shown)


async def test_a_step_that_nobody_may_sign_is_told_and_refuses_nothing(tmp_path):
    async with office_in(tmp_path) as office:
        await office.store.write(lambda tx: add_cards(tx, CARDS))
        sound = await office.submit(1, "promotion")
        assert sound.warnings == ()
        await revoke(office, kind="general_manager")
        shown = await office.submit(1, "promotion")
    (line,) = shown.warnings
    assert line.startswith("nobody may sign as general_manager for retail now (policy: SMS-03)")
    assert "modemctl account authorise NAME general_manager --department retail" in line


async def test_one_person_for_two_steps_is_told(tmp_path):
    async with office_in(tmp_path) as office:
        await office.store.write(lambda tx: add_cards(tx, CARDS))
        await revoke(office, kind="general_manager")
        await office.store.write(lambda tx: empower(tx, "mic", "general_manager", "*"))
        shown = await office.submit(1, "promotion")
        (line,) = shown.warnings
        assert "too few persons may sign manager_in_charge, general_manager" in line
        await office.store.write(lambda tx: empower(tx, "manager", "manager_in_charge", GENERAL))
        again = await office.batches.show(office.who["system"], shown.batch.batch_id)
    assert again.warnings == ()


async def test_cards_that_do_not_send_it_are_counted_by_reason(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.submit(1)
        assert shown.warnings == ("no card of department retail may send it: it has none",)

        def act(tx):
            add_cards(tx, CARDS, department=RETAIL)
            amend_cards(tx, CARDS[:2], state=CardState.SUSPENDED_LOSS)
            amend_cards(tx, CARDS[2:3], lease_until=date(2026, 1, 31))
            amend_cards(tx, CARDS[3:], is_reserved=True)

        await office.store.write(act)
        shown = await office.submit(1)
        assert shown.totals.estimate.n_cards == 0
        assert shown.warnings == (
            "no card of department retail may send it: 2 suspended_loss (policy: SIM-09), "
            "1 lease_ended (policy: SIM-17), 1 kept in reserve",
        )
        await office.store.write(lambda tx: amend_cards(tx, CARDS[3:], is_reserved=False))
        grouped = await office.submit(1, card_group="vip")
        assert "1 not in group vip" in grouped.warnings[0]
        fit = await office.batches.show(office.who["system"], shown.batch.batch_id)
    assert fit.warnings == ()


async def test_each_step_says_what_was_decided(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.confirm(await office.submit(1, "promotion"))
        batch_id = shown.batch.batch_id
        shown = await office.batches.approve(office.who["mic"], batch_id, office.sign(shown, "mic"))
        assert [one.decision for one in shown.steps] == [Decision.APPROVE, None]
        word = office.sign(shown, "gm", step=2, decision=Decision.REJECT)
        shown = await office.batches.approve(office.who["gm"], batch_id, word)
        assert [one.decision for one in shown.steps] == [Decision.APPROVE, Decision.REJECT]
        assert [one.approver for one in shown.steps] == [
            office.who["mic"].account_id,
            office.who["gm"].account_id,
        ]
    assert shown.batch.state is BatchState.REJECTED
