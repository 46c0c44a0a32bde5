"""The register kept true: numbers on cards, leases, the word of departments (SIM-17)."""

from dataclasses import replace
from datetime import date

import pytest

from modemctl.errors import Conflict, InvalidRequest, NotFound, NotPermitted, PolicyRefused
from modemctl.model import AccountId, EventKind, Iccid
from modemctl.policy.numbers import NumberRules
from modemctl.service.card_acts import note
from modemctl.service.principal import Principal, Scope
from modemctl.service.register_checks import FaultKind, RegisterChecks
from modemctl.store import events, register_faults, sims
from modemctl.store.leases import Leased
from modemctl.store.sims import Ownership
from tests.support.approved import add_cards
from tests.support.benches import CARDS, bench
from tests.support.stores import open_store
from tests.unit.test_audit_replay import faults
from tests.unit.test_self_tests import ZONE

CARD, OTHER = CARDS[:2]
DAY = 86_400
KEEPER = Principal(
    account_id=AccountId("k"), name="keeper", department=None,
    scopes=frozenset({Scope.SIMS_READ, Scope.SIMS_WRITE}), source="test", is_person=True,
)  # fmt: skip


def checks(store) -> RegisterChecks:
    return RegisterChecks(store, numbers=NumberRules(), zone=ZONE)


async def kinds(store, who=KEEPER) -> list[tuple[str, str | None, bool]]:
    return [(one.kind, one.iccid, one.is_late) for one in await checks(store).list_faults(who)]


async def tell(store, number: str, card: Iccid = CARD) -> None:
    await store.write(lambda tx: register_faults.note_number(tx, card, number))


async def two_cards(store) -> None:
    await store.write(lambda tx: add_cards(tx, [CARD, OTHER], department="sales"))
    await store.write(lambda tx: sims.set_number(tx, CARD, "+8613800000001"))


async def alarms(store) -> list[str]:
    kind = {EventKind.ALARM}
    rows = await store.read(lambda c: events.read_events(c, after=0, kinds=kind, limit=100))
    return [str(one.data) for one in rows]


async def test_a_number_that_differs_is_told_once_and_late_after_five_hours(tmp_path):
    async with open_store(tmp_path) as store:
        await two_cards(store)
        await tell(store, "+8613800000001")
        assert await kinds(store) == []
        for _ in range(2):
            await tell(store, "+8613800000009")
        assert await kinds(store) == [(FaultKind.NUMBER, CARD, False)]
        (told,) = await alarms(store)
        assert "number_differs" in told
        assert "13800000009" not in told
        store.clock.advance(5 * 3_600 + 1)
        assert await kinds(store) == [(FaultKind.NUMBER, CARD, True)]
        assert await kinds(store, replace(KEEPER, department="service")) == []


async def test_a_corrected_number_ends_it_and_is_free_of_others(tmp_path):
    async with open_store(tmp_path) as store:
        await two_cards(store)
        await tell(store, "+8613800000009")
        await tell(store, "+8613800000002", OTHER)  # the register knows none of this card
        with pytest.raises(Conflict):
            await checks(store).correct_number(
                KEEPER, OTHER, number="13800000001", reason="as printed"
            )
        seen = await checks(store).correct_number(
            KEEPER, CARD, number="138 0000 0009", reason="the carrier says so"
        )
        assert seen.is_intact
        assert seen.number is not None
        assert seen.number.endswith("0009")
        assert await kinds(store) == [(FaultKind.NUMBER, OTHER, False)]
        await checks(store).accept_number(KEEPER, OTHER, reason="an old one, never erased")
        assert await kinds(store) == []
        with pytest.raises(Conflict):
            await checks(store).accept_number(KEEPER, OTHER, reason="again")
        await tell(store, "+8613800000003", OTHER)
        assert await kinds(store) == [(FaultKind.NUMBER, OTHER, False)]


async def test_a_lease_is_told_before_its_end_and_renewed(tmp_path):
    async with open_store(tmp_path) as store:
        await two_cards(store)
        leased = {"ownership": Ownership.LEASED, "lessor": "某某公司"}
        until = date(2026, 12, 22)  # 31 days from the clock's day
        await store.write(lambda tx: sims.amend(tx, CARD, {**leased, "lease_until": until}))
        assert await kinds(store) == []
        store.clock.advance(DAY)
        assert await kinds(store) == [(FaultKind.LEASE_ENDS, CARD, False)]
        store.clock.advance(31 * DAY)
        assert await kinds(store) == [(FaultKind.LEASE_ENDED, CARD, True)]
        keep = checks(store)
        with pytest.raises(InvalidRequest):
            await keep.renew_lease(KEEPER, CARD, until=until, reason="late")
        with pytest.raises(Conflict):
            await keep.renew_lease(KEEPER, OTHER, until=date(2028, 1, 1), reason="owned")
        await keep.renew_lease(KEEPER, CARD, until=date(2028, 1, 1), reason="合同续签")
        assert await kinds(store) == []


async def test_a_corrected_row_is_no_row_that_was_put_back(tmp_path):
    async with open_store(tmp_path) as store:
        await two_cards(store)
        await store.write(lambda tx: sims.amend(tx, CARD, {"ownership": Ownership.LEASED}))
        told = {"state": "issued", "verified_at": None}
        await store.write(lambda tx: note(tx, KEEPER, "sim.add", CARD, {**told}))
        await checks(store).correct_number(KEEPER, CARD, number="13800000009", reason="typo")
        assert faults(tmp_path) == []
        await checks(store).renew_lease(KEEPER, CARD, until=date(2028, 1, 1), reason="合同续签")
        assert faults(tmp_path) == []


async def test_behind_the_last_day_of_its_lease_a_card_sends_nothing(tmp_path):
    async with bench(tmp_path) as b:
        today = b.clock.now().astimezone(ZONE).date()
        await b.store.write(lambda tx: sims.amend(tx, CARD, {"lease_until": today}))
        await b.batch(3, not_after=b.clock.now().replace(year=2027))
        (taken,) = await b.lease(CARD)
        assert isinstance(taken, Leased)
        b.clock.advance(DAY)
        found = await b.lease(CARD, OTHER)
        assert [isinstance(one, Leased) for one in found] == [False, True]


async def test_a_department_says_every_quarter_that_its_cards_are_right(tmp_path):
    async with open_store(tmp_path) as store:
        await two_cards(store)
        store.clock.advance(92 * DAY + 1)
        assert await kinds(store) == [(FaultKind.UNCONFIRMED, None, True)]
        head = replace(KEEPER, department="sales")
        await checks(store).confirm(head, "sales")
        assert await kinds(store) == []
        with pytest.raises(NotPermitted):
            await checks(store).confirm(replace(KEEPER, department="service"), "sales")
        with pytest.raises(NotFound):  # a slip of the pen is nobody's word
            await checks(store).confirm(KEEPER, "Sales")
        store.clock.advance(92 * DAY + 1)
        assert await kinds(store, head) == [(FaultKind.UNCONFIRMED, None, True)]


async def test_machines_and_readers_change_nothing(tmp_path):
    async with open_store(tmp_path) as store:
        await two_cards(store)
        machine = replace(KEEPER, is_person=False)
        reader = replace(KEEPER, scopes=frozenset({Scope.SIMS_READ}))
        for who, error in ((machine, PolicyRefused), (reader, NotPermitted)):
            with pytest.raises(error):
                await checks(store).correct_number(who, CARD, number="13800000005", reason="x")
            with pytest.raises(error):
                await checks(store).renew_lease(who, CARD, until=date(2028, 1, 1), reason="x")
            with pytest.raises(error):
                await checks(store).accept_number(who, CARD, reason="x")
        with pytest.raises(PolicyRefused):
            await checks(store).confirm(machine, "sales")
