"""A bay that is taken off the list: what is refused, what the log keeps."""

import json

import pytest
from sqlalchemy import select

from modemctl.errors import Conflict, NotPermitted
from modemctl.model import AccountId
from modemctl.service.modems import Modems
from modemctl.service.principal import Principal, Scope
from modemctl.store import modems
from modemctl.store.tables import audit_entry
from tests.support.benches import CARDS, bay_of, bench


def who(*scopes: Scope) -> Principal:
    return Principal(
        account_id=AccountId("a"),
        name="anna",
        department=None,
        scopes=frozenset(scopes),
        source="test",
        is_person=True,
    )


async def test_a_bay_that_left_a_segment_open_is_not_forgotten(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(2)
        [lease] = await b.lease(CARDS[0])
        await b.begin(lease)
        bay = bay_of(CARDS[0])
        await b.store.write(lambda tx: modems.note_missing(tx, {bay: "no port"}))
        with pytest.raises(Conflict, match="left 1 segments open"):
            await Modems(b.store).forget(who(Scope.MODEMS_OPERATE), bay, "gone")
        assert await b.store.read(lambda conn: modems.read(conn, bay)) is not None


async def test_who_forgets_a_bay_and_why_is_in_the_log(tmp_path):
    async with bench(tmp_path) as b:
        bay = bay_of("new")
        await b.store.write(lambda tx: modems.note_missing(tx, {bay: "no port"}))
        with pytest.raises(NotPermitted):
            await Modems(b.store).forget(who(Scope.MODEMS_READ), bay, "gone")
        last = await Modems(b.store).forget(who(Scope.MODEMS_OPERATE), bay, " hub is gone ")
        assert (last.bay, last.reason) == (bay, "no port")
        query = select(audit_entry).where(audit_entry.c.action == "bay.forget")
        [row] = await b.store.read(lambda conn: list(conn.execute(query)))
        facts = {"imei": "", "node": b.store.node_id, "reason": "hub is gone", "source": "test"}
        assert (row.actor, json.loads(row.details)) == ("anna", facts)
        assert await b.store.read(lambda conn: modems.read(conn, bay)) is None
