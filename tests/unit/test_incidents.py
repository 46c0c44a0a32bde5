"""Incidents: countdown, isolation, a correction for just those reached, an honest end."""

import dataclasses
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update

from modemctl.errors import Conflict, InvalidRequest, NotFound, NotPermitted, PolicyRefused
from modemctl.lifecycle import BatchState, ModemState
from modemctl.model import DesiredState
from modemctl.policy.admission import AdmissionState
from modemctl.policy.stops import StopKind, StopMemory
from modemctl.service.accounts import Accounts, bootstrap
from modemctl.service.admissions import Admissions
from modemctl.service.authorities import Authorities
from modemctl.service.incidents import Incidents, IncidentState, Isolation, Office
from modemctl.service.modems import Modems
from modemctl.service.principal import scopes_of
from modemctl.service.stops import Stops
from modemctl.store import admissions, incidents, messages, modems
from modemctl.store.accounts import find_key
from modemctl.store.authorities import find_approver_key
from modemctl.store.replay import replay
from modemctl.store.seals import broken_seals
from modemctl.store.tables import audit_entry, event, incident, modem, node, segment
from tests.support.people import GENERAL, open_office
from tests.support.stores import TestClock, open_store
from tests.unit.test_admissions import IMEI

HOUR = timedelta(hours=1)


@asynccontextmanager
async def desk(folder):
    """People, a store, and what an incident acts with."""
    clock = TestClock()
    async with open_store(folder, clock) as store:
        root = await store.write(lambda tx: bootstrap(tx, name="root"))
        office = await open_office(store)
        tools = Office(
            stops=Stops(store, general_department=GENERAL, memory=StopMemory()),
            modems=Modems(store),
            admissions=Admissions(store),
            accounts=Accounts(store, general_department=GENERAL),
            authorities=Authorities(store, general_department=GENERAL),
            batches=office.batches,
        )
        office.clock, office.root, office.tools = clock, root, tools
        office.incidents = Incidents(store, tools)
        anna = dataclasses.replace(
            office.who["gm"], account_id="anna", name="anna",
            scopes=scopes_of(frozenset({"operator", "submitter"})),
        )  # fmt: skip
        office.anna, office.boss = anna, office.who["gm"]
        yield office


@pytest.mark.parametrize(
    ("level", "within", "route"),
    [(1, 2 * HOUR, "management"), (2, HOUR / 2, "manager"), (3, None, "shift")],
)
async def test_the_countdown_runs_from_the_detection_by_level(tmp_path, level, within, route):
    async with desk(tmp_path) as d:
        noticed = d.clock.now() - timedelta(minutes=10)
        view = await d.incidents.open(d.anna, level=level, title="x", detected_at=noticed)
        assert view.incident.due_at == (None if within is None else noticed + within)
        assert route in view.route
        if within is not None:
            assert view.seconds_left == (within - timedelta(minutes=10)).total_seconds()
            d.clock.advance(view.seconds_left)
            assert (await d.incidents.show(d.anna, view.incident.incident_id)).is_overdue


async def test_an_overdue_incident_is_told_once_as_event_audit_and_metric(tmp_path):
    async with desk(tmp_path) as d:
        view = await d.incidents.open(d.anna, level=2, title="x", keeps_running=True)
        assert await d.store.write(incidents.note_overdue) == 0
        d.clock.advance(1_801)
        assert await d.store.write(incidents.note_overdue) == 1
        assert await d.store.write(incidents.note_overdue) == 0
        assert await d.store.read(incidents.counts) == {"open": 1, "overdue": 1}
        told = await d.store.read(
            lambda conn: conn.scalars(
                select(event.c.data).where(event.c.subject == view.incident.incident_id)
            ).all()
        )
        assert [one for one in told if '"what":"overdue"' in one]
        acts = await d.store.read(
            lambda conn: conn.scalars(select(audit_entry.c.action).where(
                audit_entry.c.subject == view.incident.incident_id)).all()
        )  # fmt: skip
        assert acts == ["incident.open", "incident.overdue"]
        await d.incidents.acknowledge(d.boss, view.incident.incident_id, "told by phone")
        assert await d.store.read(incidents.counts) == {"acknowledged": 1}


async def test_only_another_person_of_the_route_ends_the_countdown_by_name(tmp_path):
    async with desk(tmp_path) as d:
        both = dataclasses.replace(d.anna, scopes=d.anna.scopes | d.boss.scopes)
        view = await d.incidents.open(both, level=1, title="x")
        incident_id = view.incident.incident_id
        with pytest.raises(PolicyRefused, match="SEC-10"):
            await d.incidents.acknowledge(both, incident_id, "me")
        with pytest.raises(NotPermitted):
            await d.incidents.acknowledge(d.anna, incident_id, "me")
        machine = dataclasses.replace(d.boss, is_person=False)
        with pytest.raises(PolicyRefused):
            await d.incidents.acknowledge(machine, incident_id, "beep")
        view = await d.incidents.acknowledge(d.boss, incident_id, "told by phone")
        assert (view.incident.state, view.seconds_left) == (IncidentState.ACKNOWLEDGED, None)
        assert view.incident.acknowledged_name == "gm"
        with pytest.raises(Conflict):
            await d.incidents.acknowledge(d.boss, incident_id, "again")


async def test_it_is_closed_with_cause_and_lessons_once_its_route_has_heard(tmp_path):
    async with desk(tmp_path) as d:
        incident_id = (await d.incidents.open(d.anna, level=1, title="x")).incident.incident_id
        with pytest.raises(Conflict, match="acknowledged"):
            await d.incidents.close(d.anna, incident_id, cause="a", lessons="b")
        await d.incidents.acknowledge(d.boss, incident_id, "told")
        with pytest.raises(InvalidRequest):
            await d.incidents.close(d.anna, incident_id, cause=" ", lessons="b")
        await d.incidents.note(d.anna, incident_id, "customers called")
        view = await d.incidents.close(d.anna, incident_id, cause="old list", lessons="check dates")
        assert (view.incident.cause, view.incident.lessons) == ("old list", "check dates")
        assert [one.what for one in view.timeline] == ["open", "acknowledge", "note", "close"]
        with pytest.raises(Conflict):
            await d.incidents.note(d.anna, incident_id, "late")
        assert await d.incidents.list_incidents(d.anna) == []
        assert len(await d.incidents.list_incidents(d.anna, is_open=False)) == 1
        small = (await d.incidents.open(d.anna, level=3, title="x")).incident.incident_id
        await d.incidents.close(d.anna, small, cause="a", lessons="b")


async def test_level_two_stops_the_fleet_with_the_record(tmp_path):
    async with desk(tmp_path) as d:
        view = await d.incidents.open(d.anna, level=2, title="wrong text")
        [stop] = await d.tools.stops.list_stops(d.anna)
        assert (stop.kind, stop.reason) == (StopKind.FLEET, "wrong text")
        assert view.incident.stop_id == stop.stop_id
        await d.incidents.open(d.anna, level=1, title="x")
        assert len(await d.tools.stops.list_stops(d.anna)) == 1


async def add_modem(d):
    facts = modems.Facts(bay="bay07", port="/dev/x", imei=IMEI)
    change = modems.StateChange(
        facts=facts, before=ModemState.PROBING, after=ModemState.STARTING, event="identified",
        reason="",
    )  # fmt: skip
    await d.store.write(lambda tx: modems.save_changes(tx, [change]) and None)


async def test_level_one_isolates_a_modem_in_one_action(tmp_path):
    async with desk(tmp_path) as d:
        await add_modem(d)
        view = await d.incidents.open(
            d.anna, level=1, title="seen elsewhere", isolate=(Isolation.MODEM, "bay07")
        )
        state = await d.store.read(
            lambda conn: conn.execute(
                select(modem.c.desired_state).where(modem.c.bay == "bay07")
            ).scalar_one()
        )
        assert state == DesiredState.PAUSED
        vault = d.store.vault
        known = await d.store.read(lambda conn: admissions.read(conn, vault, IMEI))
        assert known.state is AdmissionState.EXPELLED
        assert [one.what for one in view.timeline] == ["open", "isolate"]


async def test_level_one_isolates_a_node_and_keys(tmp_path):
    async with desk(tmp_path) as d:
        vault, key_id = d.store.vault, d.root.key.key_id
        with pytest.raises(NotFound):
            await d.incidents.open(d.anna, level=1, title="x", isolate=(Isolation.NODE, "n2"))
        now = d.store.clock.now()
        values = {"node_id": "n2", "started_at": now, "heartbeat_at": now}
        await d.store.write(lambda tx: tx.conn.execute(insert(node).values(values)) and None)
        view = await d.incidents.open(
            d.anna, level=1, title="login", isolate=(Isolation.NODE, "n2")
        )
        incident_id = view.incident.incident_id
        [stop] = await d.tools.stops.list_stops(d.anna)
        assert (stop.kind, stop.target) == (StopKind.NODE, "n2")
        await d.incidents.isolate(d.anna, incident_id, Isolation.KEY, key_id)
        found = await d.store.read(lambda conn: find_key(conn, vault, key_id))
        assert found.key.revoked_at is not None
        running = await d.start(await d.approve(await d.submit()))
        await d.incidents.isolate(d.anna, incident_id, Isolation.APPROVER_KEY, "key-dm")
        key = await d.store.read(lambda conn: find_approver_key(conn, vault, "key-dm"))
        assert key.revoked_at is not None
        held = await d.batches.show(d.boss, running.batch.batch_id)
        assert held.batch.state is BatchState.HELD
        with pytest.raises(NotFound):
            await d.incidents.isolate(d.anna, incident_id, Isolation.KEY, "nobody")


async def test_what_cannot_be_isolated_opens_no_record(tmp_path):
    async with desk(tmp_path) as d:
        with pytest.raises(NotFound):
            await d.incidents.open(d.anna, level=1, title="x", isolate=(Isolation.MODEM, "no"))
        assert await d.incidents.list_incidents(d.anna) == []


async def test_the_correction_goes_to_exactly_those_reached_and_waits_for_approval(tmp_path):
    async with desk(tmp_path) as d:
        shown = await d.start(await d.approve(await d.submit(8)))
        states = ["sent", "delivered", "in_doubt", "undelivered", "queued", "refused", "leased",
                  "submitting"]  # fmt: skip

        def spread(tx):
            ids = tx.conn.scalars(select(segment.c.segment_id).order_by(segment.c.segment_id)).all()
            for segment_id, state in zip(ids, states, strict=True):
                tx.conn.execute(
                    update(segment).where(segment.c.segment_id == segment_id).values(state=state)
                )
            return ids

        ids = await d.store.write(spread)
        view = await d.incidents.open(d.anna, level=2, title="wrong text")

        def land(tx):
            tx.conn.execute(
                update(segment).where(segment.c.segment_id == ids[7]).values(state="sent")
            )

        await d.store.write(land)
        request = d.request(text="Please ignore it.")
        made = await d.incidents.correct(d.anna, view.incident.incident_id, request)
        vault = d.store.vault
        query = messages.Query(batch_id=made.batch.batch_id)
        lines = await d.store.read(
            lambda conn: messages.find_messages(conn, vault, query, after=0, limit=99)
        )
        assert sorted(one.line.to for one in lines) == [f"+86138{n:08d}" for n in (1, 2, 3, 4, 8)]
        assert made.batch.state is BatchState.CHECKED, "still to be confirmed and approved"
        assert made.batch.batch_id != shown.batch.batch_id
        after = await d.incidents.show(d.anna, view.incident.incident_id)
        assert after.timeline[-1].what == "correct"


async def test_a_correction_needs_a_stop_and_the_right_to_see_its_reach(tmp_path):
    async with desk(tmp_path) as d:
        bare = await d.incidents.open(d.anna, level=3, title="x")
        with pytest.raises(Conflict, match="no stop"):
            await d.incidents.correct(d.anna, bare.incident.incident_id, d.request())
        stop = await d.tools.stops.place(d.anna, StopKind.FLEET, "", "x")
        linked = await d.incidents.link_stop(d.anna, bare.incident.incident_id, stop.stop_id)
        assert linked.incident.stop_id == stop.stop_id
        with pytest.raises(Conflict, match="nothing had left") as caught:
            await d.incidents.correct(d.anna, bare.incident.incident_id, d.request())
        assert "nobody needs a correction" in caught.value.cure
        with pytest.raises(NotFound):
            await d.incidents.correct(d.who["system"], bare.incident.incident_id, d.request())


async def test_departments_see_their_own_incidents_alone(tmp_path):
    async with desk(tmp_path) as d:
        await d.incidents.open(d.anna, level=3, title="of all")
        own = await d.incidents.open(d.who["operator"], level=3, title="retail's")
        seen = await d.incidents.list_incidents(d.who["operator"])
        assert [one.incident.title for one in seen] == ["retail's"]
        with pytest.raises(NotFound):
            await d.incidents.note(d.who["stranger"], own.incident.incident_id, "x")


async def test_an_altered_incident_is_refused_and_named(tmp_path):
    async with desk(tmp_path) as d:
        view = await d.incidents.open(d.anna, level=1, title="x")
        incident_id = view.incident.incident_id
        assert await d.store.read(lambda conn: list(replay(conn))) == []
        columns = [one for one in incident.c if one.name != "incident_id"]
        before = await d.store.read(
            lambda conn: dict(conn.execute(select(*columns)).mappings().one())
        )
        await d.incidents.acknowledge(d.boss, incident_id, "told")
        await d.store.write(lambda tx: tx.conn.execute(update(incident).values(**before)) and None)
        [line] = await d.store.read(lambda conn: list(replay(conn)))
        assert line.startswith(f"incident {incident_id}")
        await d.store.write(lambda tx: tx.conn.execute(update(incident).values(level=3)) and None)
        with pytest.raises(PolicyRefused, match="SEC-05"):
            await d.incidents.show(d.anna, incident_id)
        vault = d.store.vault
        [line] = await d.store.read(lambda conn: list(broken_seals(conn, vault)))
        assert incident_id in line
