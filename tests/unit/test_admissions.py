"""The admission list of modems (CC-01): two persons admit, one expels, the fleet obeys."""

import asyncio
import json
import os
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import delete, select, update

from modemctl.config.settings import ListMode
from modemctl.errors import InvalidRequest, NotPermitted, PolicyRefused
from modemctl.fleet import admission as fleet
from modemctl.fleet.ladder import Step
from modemctl.fleet.places import Place
from modemctl.lifecycle import MODEM, ModemEvent, ModemState
from modemctl.model import AccountId, Bay, Topic
from modemctl.policy.admission import Admission, AdmissionState, refusal
from modemctl.service.admissions import Admissions
from modemctl.service.principal import Principal, Scope
from modemctl.store import Store, accounts, admissions, wishes
from modemctl.store.modems import Facts
from modemctl.store.tables import admission, audit_entry, event
from modemctl.store.wishes import WishKind
from modemctl.telemetry import Telemetry
from tests.support.apis import open_api
from tests.support.scripted_modem import said
from tests.support.stores import TestClock, open_store
from tests.unit.test_actor import OneCard, reach, until
from tests.unit.test_actor import bay as one_bay

OFF, LEARN, ENFORCE = ListMode
SEEN, REQUESTED, ADMITTED, EXPELLED = AdmissionState
IMEI, ANOTHER = "490154203237518", "356938035643809"
ANNA, BERT = AccountId("anna"), AccountId("bert")
LEFT, RIGHT = Bay("left"), Bay("right")
NOW = TestClock().now()


def listed(state: AdmissionState, **facts) -> Admission:
    return replace(
        Admission(
            imei=IMEI, state=state, requested_by=ANNA, requested_at=NOW, decided_by=BERT,
            decided_at=NOW, reason="new", bay=LEFT, is_intact=True,
        ),
        **facts,
    )  # fmt: skip


async def admit(store: Store, imei: str = IMEI) -> None:
    await store.write(lambda tx: admissions.ask(tx, imei, by=ANNA, reason="new"))
    await store.write(
        lambda tx: admissions.approve(tx, admissions.read(tx.conn, tx.vault, imei), by=BERT)
    )


async def events(store: Store, kind: str) -> list[dict]:
    query = select(event.c.data).where(event.c.kind == kind).order_by(event.c.event_id)
    rows = await store.read(lambda conn: list(conn.scalars(query)))
    return [json.loads(row) for row in rows]


# ---------------------------------------------------------------- the rule


@pytest.mark.parametrize(
    ("mode", "known", "reason"),
    [
        (OFF, None, None),
        (OFF, listed(EXPELLED), None),
        (LEARN, None, None),
        (LEARN, listed(SEEN), None),
        (LEARN, listed(EXPELLED), "expelled"),
        (LEARN, listed(REQUESTED, decided_by=None), None),
        (LEARN, listed(REQUESTED), "expelled"),
        (LEARN, listed(ADMITTED, is_intact=False), "tampered"),
        (ENFORCE, None, "not_admitted"),
        (ENFORCE, listed(SEEN), "not_admitted"),
        (ENFORCE, listed(REQUESTED, decided_by=None), "not_admitted"),
        (ENFORCE, listed(EXPELLED), "expelled"),
        (ENFORCE, listed(ADMITTED), None),
        (ENFORCE, listed(ADMITTED, is_intact=False), "tampered"),
        (ENFORCE, listed(ADMITTED, decided_by=ANNA), "not_admitted"),
        (ENFORCE, listed(ADMITTED, requested_by=None), "not_admitted"),
    ],
)
def test_only_what_two_persons_admitted_is_driven_under_enforce(mode, known, reason):
    found = refusal(mode, IMEI, known)
    assert (None if found is None else found.reason) == reason


def test_a_modem_without_an_imei_cannot_be_on_the_list():
    assert refusal(LEARN, None, None) is None
    found = refusal(ENFORCE, None, None)
    assert found is not None
    assert (found.reason, found.policy) == ("no_imei", "CC-01")


def test_every_live_state_can_be_left_for_refused():
    driven = set(ModemState) - {
        ModemState.ABSENT, ModemState.REFUSED, ModemState.FAILED,
    }  # fmt: skip
    for state in driven:
        assert MODEM[state, ModemEvent.NOT_ADMITTED] is ModemState.REFUSED


# ---------------------------------------------------------------- the rows


@pytest.mark.parametrize(
    "change",
    [
        {"state": "admitted"},
        {"state": "nonsense"},
        {"requested_by": "eve"},
        {"decided_by": "eve"},
        {"imei": ANOTHER},
    ],
)
async def test_a_row_that_was_altered_admits_nobody(tmp_path, change):
    async with open_store(tmp_path) as store:
        await store.write(lambda tx: admissions.ask(tx, IMEI, by=ANNA, reason="new"))
        if "decided_by" in change or "imei" in change:
            await admit(store)
        await store.write(lambda tx: tx.conn.execute(update(admission).values(change)) and None)
        imei = change.get("imei", IMEI)
        known = await store.read(lambda conn: admissions.read(conn, store.vault, imei))
        assert known is not None
        assert not known.is_intact
        found = refusal(LEARN, imei, known)
        assert found is not None
        assert found.reason == "tampered"


async def test_a_deleted_row_admits_nobody(tmp_path):
    async with open_store(tmp_path) as store:
        await admit(store)
        await store.write(lambda tx: tx.conn.execute(delete(admission)) and None)
        found = await store.write(lambda tx: admissions.note_seen(tx, IMEI, LEFT, ENFORCE))
        assert found is not None
        assert found.reason == "not_admitted"


async def test_a_modem_that_comes_is_noted_and_one_that_moved_is_an_alarm(tmp_path):
    async with open_store(tmp_path) as store:
        for bay in (LEFT, LEFT, RIGHT):
            assert (
                await store.write(lambda tx, b=bay: admissions.note_seen(tx, IMEI, b, LEARN))
                is None
            )
        known = await store.read(lambda conn: admissions.read(conn, store.vault, IMEI))
        assert known is not None
        assert (known.state, known.bay, known.is_intact) == (SEEN, RIGHT, True)
        moved = {"alarm": "modem_moved", "imei": IMEI, "from_bay": "left", "policy": "CC-01"}
        assert await events(store, "alarm") == [moved]


async def test_a_modem_that_moved_is_counted_once(tmp_path):
    telemetry = Telemetry(version="test")
    async with open_store(tmp_path) as store:
        for bay in (LEFT, LEFT, RIGHT, RIGHT):
            facts = Facts(bay=bay, port="/dev/none", imei=IMEI)
            assert await fleet.refused(store, LEARN, facts, telemetry=telemetry) is None
    assert telemetry.value("modemctl_moves_total", kind="modem") == 1


async def test_off_keeps_no_list_and_enforce_refuses_a_modem_without_an_imei(tmp_path):
    telemetry = Telemetry(version="test")
    async with open_store(tmp_path) as store:
        facts = Facts(bay=LEFT, port="/dev/none", imei=IMEI)
        assert await fleet.refused(store, OFF, facts, telemetry=telemetry) is None
        assert await store.read(lambda conn: admissions.read(conn, store.vault, IMEI)) is None
        nameless = replace(facts, imei=None)
        assert await fleet.refused(store, LEARN, nameless, telemetry=telemetry) is None
        told = await fleet.refused(store, ENFORCE, nameless, telemetry=telemetry)
        assert told == "no_imei (policy: CC-01)"


async def test_an_admitted_modem_stays_admitted_in_another_bay(tmp_path):
    async with open_store(tmp_path) as store:
        await admit(store)
        for bay in (LEFT, RIGHT):
            found = await store.write(lambda tx, b=bay: admissions.note_seen(tx, IMEI, b, ENFORCE))
            assert found is None
        vault = store.vault
        told = await store.read(
            lambda conn: fleet.verdicts(conn, vault, {RIGHT: IMEI, LEFT: ANOTHER}, ENFORCE)
        )
        assert told == {RIGHT: None, LEFT: "not_admitted (policy: CC-01)"}


# ---------------------------------------------------------------- persons


def who(account: accounts.Account, *, is_person=True, department=None) -> Principal:
    return Principal(
        account_id=account.account_id, name=account.name, department=department,
        scopes=frozenset({Scope.MODEMS_READ, Scope.MODEMS_OPERATE}), source="test",
        is_person=is_person,
    )  # fmt: skip


async def two(store: Store) -> list[accounts.Account]:
    return [
        await store.write(
            lambda tx, n=name: accounts.add_account(
                tx, name=n, kind=accounts.AccountKind.PERSON, department=None, roles=()
            )
        )
        for name in ("anna", "bert")
    ]


async def test_one_asks_another_admits_and_both_are_on_record(tmp_path):
    async with open_store(tmp_path) as store:
        desk = Admissions(store)
        anna, bert = [who(one) for one in await two(store)]
        for _ in range(2):  # asking twice is not approving
            page = await desk.admit(anna, [IMEI, ANOTHER, IMEI], "order 7")
            assert [(one.imei, one.state) for one in page.items] == [
                (IMEI, REQUESTED), (ANOTHER, REQUESTED),
            ]  # fmt: skip
        with store.signals.subscribe(Topic.MODEMS) as bell:
            (done,) = (await desk.admit(bert, [IMEI], "checked")).items
            assert await bell.wait(5)
        assert (done.state, done.requested_by, done.decided_by) == (ADMITTED, "anna", "bert")
        assert (done.reason, done.is_intact) == ("order 7", True)
        assert (await desk.admit(anna, [IMEI], "again")).items[0].decided_by == "bert"
        first = await desk.list_admissions(anna, limit=1)
        rest = await desk.list_admissions(anna, limit=1, cursor=first.next)
        assert [one.imei for page in (first, rest) for one in page.items] == [ANOTHER, IMEI]
        assert rest.next is None
        waiting = await desk.list_admissions(anna, state=REQUESTED)
        assert [one.imei for one in waiting.items] == [ANOTHER]
        log = await store.read(
            lambda conn: [
                (row.actor, row.action, row.subject)
                for row in conn.execute(select(audit_entry).order_by(audit_entry.c.seq))
            ]
        )
        assert log == [
            ("anna", "admission.request", IMEI),
            ("anna", "admission.request", ANOTHER),
            ("bert", "admission.approve", IMEI),
        ]


async def test_one_person_expels_and_two_admit_again(tmp_path):
    async with open_store(tmp_path) as store:
        desk = Admissions(store)
        anna, bert = [who(one) for one in await two(store)]
        await desk.admit(anna, [IMEI], "x")
        await desk.admit(bert, [IMEI], "x")
        with store.signals.subscribe(Topic.STOP) as bell:
            gone = await desk.expel(anna, IMEI, "not ours")
            assert await bell.wait(5)
        assert (gone.state, gone.decided_by, gone.requested_by) == (EXPELLED, "anna", None)
        assert (await desk.expel(bert, IMEI, "again")).decided_by == "anna"
        assert (await desk.expel(bert, ANOTHER, "never came")).state is EXPELLED
        assert (await desk.admit(anna, [IMEI], "back")).items[0].state is REQUESTED
        for mode in (LEARN, ENFORCE):  # one person does not undo it
            no = await store.write(partial(admissions.note_seen, imei=IMEI, bay=LEFT, mode=mode))
            assert no is not None
            assert no.reason == "expelled"
        assert (await desk.admit(bert, [IMEI], "back")).items[0].state is ADMITTED


async def test_an_altered_row_is_asked_for_anew(tmp_path):
    async with open_store(tmp_path) as store:
        desk = Admissions(store)
        anna, bert = [who(one) for one in await two(store)]
        await desk.admit(anna, [IMEI], "x")
        forged = update(admission).values(requested_by="eve")
        await store.write(lambda tx: tx.conn.execute(forged) and None)
        (one,) = (await desk.admit(bert, [IMEI], "y")).items
        assert (one.state, one.requested_by, one.is_intact) == (REQUESTED, "bert", True)


async def test_machines_departments_and_wrong_numbers_are_refused(tmp_path):
    async with open_store(tmp_path) as store:
        desk = Admissions(store)
        anna, _ = await two(store)
        with pytest.raises(PolicyRefused, match="person"):
            await desk.admit(who(anna, is_person=False), [IMEI], "x")
        with pytest.raises(NotPermitted):
            await desk.expel(who(anna, department="sales"), IMEI, "x")
        for imei in ("49015420323751", "49015420323751x", "٤90154203237518", ""):
            with pytest.raises(InvalidRequest, match="15 digits"):
                await desk.admit(who(anna), [ANOTHER, imei], "x")
        with pytest.raises(InvalidRequest, match="characters"):
            await desk.admit(who(anna), [IMEI], "  ")
        assert (await desk.list_admissions(who(anna))).items == []


async def test_a_modem_that_tells_a_serial_number_is_admitted_once_it_came(tmp_path):
    serial = "SN-4901542"  # TS 27.007 §5.4 leaves the text to the maker
    async with open_store(tmp_path) as store:
        desk = Admissions(store)
        anna, bert = [who(one) for one in await two(store)]
        with pytest.raises(InvalidRequest, match="serial number that came"):
            await desk.admit(anna, [serial], "x")
        await store.write(lambda tx: admissions.note_seen(tx, serial, LEFT, ENFORCE))
        await desk.admit(anna, [serial], "x")
        assert (await desk.admit(bert, [serial], "x")).items[0].state is ADMITTED
        assert await store.write(lambda tx: admissions.note_seen(tx, serial, LEFT, ENFORCE)) is None
        assert (await desk.expel(anna, serial, "x")).state is EXPELLED


# ---------------------------------------------------------------- a bay's walk


async def test_an_unknown_modem_is_only_asked_who_it_is_until_it_is_admitted(tmp_path):
    modem = OneCard()
    modem.stat = 1
    async with one_bay(tmp_path, modem, modems=ENFORCE, rescan_interval=0.05) as (actor, store):
        await reach(actor, ModemState.REFUSED)
        assert actor.reason == "not_admitted (policy: CC-01)"
        identifying = set(modem.received)
        assert identifying <= {*IDENTIFYING}, identifying
        await admit(store)
        actor.tell_admission(None)
        await reach(actor, ModemState.READY)
        await store.write(lambda tx: admissions.expel(tx, IMEI, by=ANNA, reason="not ours"))
        actor.tell_admission("expelled (policy: CC-01)")
        await reach(actor, ModemState.REFUSED)
        n_asked = len(modem.received)
        await until(lambda: not actor._link.is_open)
        assert len(modem.received) == n_asked


@pytest.mark.skipif(os.environ.get("MODEMCTL_LONG") != "1", reason="waits for a realignment")
async def test_another_modem_found_while_recovering_is_refused_before_anything_else(tmp_path):
    modem = OneCard()
    modem.stat = 1
    async with one_bay(tmp_path, modem, modems=ENFORCE) as (actor, store):
        await reach(actor, ModemState.REFUSED)
        await admit(store)
        actor.tell_admission(None)
        await reach(actor, ModemState.READY)
        others = {"AT+CGSN": ANOTHER, "AT+CGMI": "OTHER", "AT+CGMM": "Model 2", "AT+CGMR": "R2"}
        modem.script.update({command: said(answer) for command, answer in others.items()})
        modem.received.clear()
        actor._mailbox.interrupt(ModemEvent.OUT_OF_STEP, "an answer came late")
        await reach(actor, ModemState.REFUSED)
        assert (actor.facts.imei, actor.reason) == (ANOTHER, "not_admitted (policy: CC-01)")
        assert set(modem.received) <= {*IDENTIFYING}


async def test_another_modem_found_behind_a_restart_is_refused_before_anything_else(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("modemctl.fleet.link._BOOT_POLL", 0.05)
    modem = OneCard()
    modem.stat = 1
    others = {"AT+CGSN": ANOTHER, "AT+CGMI": "OTHER", "AT+CGMM": "Model 2", "AT+CGMR": "R2"}

    def be_changed(_: str) -> bytes:
        modem.script.update({command: said(answer) for command, answer in others.items()})
        modem.received.clear()
        return said()

    modem.script["AT+CFUN=1,1"] = be_changed
    async with one_bay(tmp_path, modem, modems=ENFORCE) as (actor, store):
        await reach(actor, ModemState.REFUSED)
        await admit(store)
        actor.tell_admission(None)
        await reach(actor, ModemState.READY)
        for _ in (Step.REALIGN, Step.REOPEN):
            actor._recovery._ladder.climb(store.clock.monotonic(), offered=set(Step))
        modem.received.clear()
        actor._mailbox.interrupt(ModemEvent.OUT_OF_STEP, "an answer came late")
        await until(lambda: modem.received)
        await reach(actor, ModemState.REFUSED)
        assert (actor.facts.imei, actor.reason) == (ANOTHER, "not_admitted (policy: CC-01)")
        assert set(modem.received) <= {*IDENTIFYING}


async def test_another_modem_found_on_the_way_to_a_restart_is_not_restarted(tmp_path, monkeypatch):
    """A link out of step is opened anew for its restart: whoever answers there has to be ours."""
    monkeypatch.setattr("modemctl.fleet.link._BOOT_POLL", 0.05)
    modem = OneCard()
    modem.stat = 1
    modem.script["AT+CFUN=1,1"] = said()
    async with one_bay(tmp_path, modem, modems=ENFORCE) as (actor, store):
        await reach(actor, ModemState.REFUSED)
        await admit(store)
        actor.tell_admission(None)
        await reach(actor, ModemState.READY)
        others = {"AT+CGSN": ANOTHER, "AT+CGMI": "OTHER", "AT+CGMM": "Model 2", "AT+CGMR": "R2"}
        modem.script.update({command: said(answer) for command, answer in others.items()})
        actor._link.driver._channel.distrust()
        for _ in (Step.REALIGN, Step.REOPEN):
            actor._recovery._ladder.climb(store.clock.monotonic(), offered=set(Step))
        modem.received.clear()
        actor._mailbox.interrupt(ModemEvent.OUT_OF_STEP, "an answer came late")
        await reach(actor, ModemState.REFUSED)
        assert (actor.facts.imei, actor.reason) == (ANOTHER, "not_admitted (policy: CC-01)")
        assert set(modem.received) <= {*IDENTIFYING}


@pytest.mark.parametrize("kind", [WishKind.AT, WishKind.RESET, WishKind.RELEASE, WishKind.RETRY])
async def test_a_refused_modem_is_not_driven_by_a_persons_wish(tmp_path, kind):
    modem = OneCard()
    async with one_bay(tmp_path, modem, modems=ENFORCE) as (actor, store):
        await reach(actor, ModemState.REFUSED)
        n_asked = len(modem.received)
        wish_id = await store.write(
            lambda tx: wishes.ask(tx, kind=kind, bay=Bay("bay-7"), body="AT+CSQ", by=ANNA)
        )
        actor.call()
        async with asyncio.timeout(10):
            while True:
                wish = await store.read(lambda conn: wishes.read(conn, store.vault, wish_id))
                if wish is not None and wish.done_at is not None:
                    break
                await asyncio.sleep(0.01)
        assert wish.error
        assert actor.state is ModemState.REFUSED
        assert len(modem.received) == n_asked


async def test_a_refused_modem_that_is_unplugged_leaves_its_bay(tmp_path):
    async with one_bay(tmp_path, OneCard(), modems=ENFORCE) as (actor, _):
        await reach(actor, ModemState.REFUSED)
        actor.follow(Place(bay=Bay("bay-7"), addresses=(), note="unplugged"))
        await reach(actor, ModemState.ABSENT)
        assert actor.reason in {"unplugged", "the port is gone"}  # told, or seen first


IDENTIFYING = (
    "<esc>", "AT", "ATE0", "ATQ0V1E0", "AT+CGSN", "AT+GSN", "AT+CGMI", "AT+CGMM", "AT+CGMR", "ATI",
    "AT+GMI", "AT+GMM", "AT+GMR",
)  # fmt: skip


async def test_a_modem_that_starts_anew_is_looked_up_anew(tmp_path):
    """Whatever a link comes back with, it is not driven under an earlier admission."""
    modem = OneCard()
    modem.stat = 1
    async with one_bay(tmp_path, modem) as (actor, store):
        await reach(actor, ModemState.READY)
        await store.write(lambda tx: admissions.expel(tx, IMEI, by=ANNA, reason="not ours"))
        actor._mailbox.interrupt(ModemEvent.REBOOTED, "the modem restarted")
        await reach(actor, ModemState.REFUSED)
        assert actor.reason == "expelled (policy: CC-01)"


# ---------------------------------------------------------------- over the API


async def test_the_api_admits_and_expels(tmp_path):
    async with open_api(tmp_path) as bench:
        second = await bench.token_of("technician", by=await bench.second())
        async with bench.client(bench.admin_token) as one, bench.client(second) as two_:
            body = {"imeis": [IMEI], "reason": "order 7"}
            asked = (await one.post("/v1/admissions", json=body)).json()
            assert [item["state"] for item in asked["items"]] == ["requested"]
            done = (await two_.post("/v1/admissions", json=body)).json()
            assert [item["state"] for item in done["items"]] == ["admitted"]
            found = (await one.get("/v1/admissions", params={"state": "admitted"})).json()
            assert [item["imei"] for item in found["items"]] == [IMEI]
            out = await two_.post(f"/v1/admissions/{IMEI}/expel", json={"reason": "not ours"})
            assert out.json()["state"] == "expelled"
            bad = await one.post("/v1/admissions", json={"imeis": ["12"], "reason": "x"})
            assert bad.status_code == 422
            assert bad.json()["policy"] == "CC-01"
