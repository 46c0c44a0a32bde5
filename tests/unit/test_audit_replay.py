"""Rows of yesterday with yesterday's valid MAC: only the audit log knows a later word on them."""

from collections.abc import Sequence

import pytest
from sqlalchemy import Table, delete, insert, select, update

from modemctl.config.settings import ListMode
from modemctl.lifecycle import CardState
from modemctl.model import AccountId
from modemctl.service.admissions import Admissions
from modemctl.service.card_endings import Ending, Endings
from modemctl.service.modems import Modems
from modemctl.service.principal import Principal, Scope
from modemctl.store import Store, ties
from modemctl.store.tables import admission, audit_entry, bay_tie, sim
from tests.support.stores import TestClock, open_store
from tests.unit.test_admissions import IMEI, two
from tests.unit.test_audits import AUDITOR, audits_of, check, tamper
from tests.unit.test_ties import CARD, LEFT, OTHER, service

DAY = 86_400.0


def person(account_id: str) -> Principal:
    return Principal(
        account_id=AccountId(account_id), name=account_id, department=None,
        scopes=frozenset({Scope.MODEMS_OPERATE, Scope.MODEMS_READ, Scope.SIMS_WRITE}),
        source="test", is_person=True,
    )  # fmt: skip


async def rows_of(store: Store, table: Table) -> list[dict]:
    rows = await store.read(lambda conn: list(conn.execute(select(table)).mappings()))
    return [dict(row) for row in rows]


def put_back(folder, table: Table, rows: Sequence[dict]) -> None:
    tamper(folder, delete(table), insert(table).values(list(rows)))


def faults(folder) -> list[str]:
    (report,) = check(folder)
    return list(report.faults)


async def test_a_tie_of_yesterday_is_no_tie(tmp_path):
    clock = TestClock()
    async with open_store(tmp_path, clock) as store:
        desk = await service(store)
        await desk.bind(person("anna"), "left", CARD, "new")
        yesterday = await rows_of(store, bay_tie)
        clock.advance(DAY)
        await desk.bind(person("anna"), "left", OTHER, "the other one belongs there")
        assert (await audits_of(store, tmp_path).verify(AUDITOR))[0].is_whole
        today = await rows_of(store, bay_tie)
    put_back(tmp_path, bay_tie, yesterday)
    (one,) = faults(tmp_path)
    assert one.startswith(
        "bay_tie left: the row was put back or changed: not as entry 2 (bay.bind)"
    )
    async with open_store(tmp_path, clock) as store:
        (report,) = await audits_of(store, tmp_path).verify(AUDITOR)
        assert report.faults == (one,)
    put_back(tmp_path, bay_tie, today)
    assert faults(tmp_path) == []
    tamper(tmp_path, delete(bay_tie))
    assert faults(tmp_path)[0].startswith("bay_tie left: the row is missing")


async def test_a_tie_that_was_given_up_does_not_come_back(tmp_path):
    async with open_store(tmp_path) as store:
        desk: Modems = await service(store)
        await desk.bind(person("anna"), "left", CARD, "new")
        yesterday = await rows_of(store, bay_tie)
        await desk.unbind(person("anna"), "left", "given up")
    assert faults(tmp_path) == []
    put_back(tmp_path, bay_tie, yesterday)
    assert faults(tmp_path)[0].endswith("not as entry 2 (bay.unbind) left it")


async def test_cards_that_change_bays_by_learning_are_as_the_log_says(tmp_path):
    async with open_store(tmp_path) as store:
        for bay, card in ((LEFT, CARD), ("right", OTHER), ("right", CARD), (LEFT, OTHER)):
            await store.write(
                lambda tx, bay=bay, card=card: ties.learn(tx, bay, card, ListMode.LEARN)
            )
        assert len(await rows_of(store, bay_tie)) == 2
    assert faults(tmp_path) == []
    tamper(tmp_path, update(bay_tie).where(bay_tie.c.bay == LEFT).values(is_firm=True))
    sealed, told = faults(tmp_path)
    assert sealed == f"bay_tie {LEFT}: the row was not written by modemctl"
    assert told.startswith(f"bay_tie {LEFT}: the row was put back or changed")


async def test_an_admission_of_yesterday_admits_nobody_unseen(tmp_path):
    clock = TestClock()
    async with open_store(tmp_path, clock) as store:
        desk = Admissions(store)
        anna, bert = (person(one.account_id) for one in await two(store))
        await desk.admit(anna, [IMEI], "order 7")
        await desk.admit(bert, [IMEI], "checked")
        yesterday = await rows_of(store, admission)
        assert faults(tmp_path) == []
        clock.advance(DAY)
        await desk.expel(anna, IMEI, "not ours")
        clock.advance(DAY)
        await desk.admit(anna, [IMEI], "ours after all")
        assert faults(tmp_path) == []
        await desk.expel(anna, IMEI, "not ours")
        assert faults(tmp_path) == []
    put_back(tmp_path, admission, yesterday)
    (one,) = faults(tmp_path)
    assert IMEI in one
    assert "(admission.expel)" in one


async def test_a_lost_card_of_yesterday_is_not_issued_again(tmp_path):
    async with open_store(tmp_path) as store:
        await service(store)
        yesterday = await rows_of(store, sim)
        lost = Ending(state=CardState.LOST, reason="gone")
        await Endings(store).end(person("anna"), CARD, lost)
    assert faults(tmp_path) == []
    put_back(tmp_path, sim, yesterday)
    (one,) = faults(tmp_path)
    assert one.startswith(f"sim {CARD}:")


@pytest.mark.parametrize("action", ["bay.bind", "bay.unbind"])
async def test_of_a_broken_log_nothing_is_concluded(tmp_path, action):
    """Its own faults come first: who cut it could have made it say anything."""
    async with open_store(tmp_path) as store:
        desk: Modems = await service(store)
        await desk.bind(person("anna"), "left", CARD, "new")
        if action == "bay.unbind":
            await desk.unbind(person("anna"), "left", "x")
        audits = audits_of(store, tmp_path)
        await audits.note_head()
    tamper(tmp_path, update(audit_entry).values(actor="eve"))
    assert all(one.startswith("entry ") for one in faults(tmp_path))
