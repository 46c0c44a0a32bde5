"""Webhooks: each event arrives, in order, signed, under one id; nothing goes where it may not."""

import asyncio
import base64
import json
import re
import sqlite3
import ssl
import threading
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import ValidationError
from sqlalchemy import select, update
from standardwebhooks import Webhook, WebhookVerificationError

from modemctl.clock import SystemClock
from modemctl.config.webhooks import WebhooksSettings
from modemctl.errors import (
    ConfigError,
    InvalidRequest,
    NotFound,
    NotPermitted,
    PolicyRefused,
    TamperedError,
)
from modemctl.model import EventKind
from modemctl.policy.webhooks import HOLD_TRIES, Destinations
from modemctl.service.events import Events
from modemctl.service.principal import Principal, Scope
from modemctl.service.webhook_client import PostOffice, Resolver
from modemctl.service.webhook_couriers import CourierRules, Couriers
from modemctl.service.webhook_line import Line, LineRules
from modemctl.service.webhooks import DeliveryState, EndpointState, Webhooks
from modemctl.store import replay, webhook_rows, webhooks
from modemctl.store.seals import broken_seals
from modemctl.store.tables import (
    audit_entry,
    event,
    webhook,
    webhook_delivery,
    webhook_place,
)
from modemctl.telemetry import Telemetry
from tests.support.people import RETAIL, open_office
from tests.support.receivers import (
    Receiver,
    answering,
    babbling,
    dripping,
    hanging_up,
    receiver,
    silent,
)
from tests.support.stores import TestClock, open_store

GIVE_UP = timedelta(hours=24)
LOCAL = Destinations.of(["127.0.0.0/8"], plain_http=True)
RULES = LineRules(site="test", general_department="general", give_up=GIVE_UP)


def clerk(department: str | None = None, *scopes: Scope) -> Principal:
    return Principal(
        account_id="a", name="anna", department=department, source="test",
        scopes=frozenset(scopes or {Scope.WEBHOOKS_READ, Scope.WEBHOOKS_WRITE}),
    )  # fmt: skip


class Desk:
    """A store, its endpoints, and lines that are turned by hand."""

    def __init__(self, store, clock, office: PostOffice) -> None:
        self.store, self.clock, self.office = store, clock, office
        self.telemetry = Telemetry(version="test")
        self.webhooks = Webhooks(store, office, site="test", general_department="general")

    async def add(self, url: str, *events: str, name: str = "crm", **more) -> str:
        made = await self.webhooks.add(
            clerk(), name=name, url=url, events=list(events or ("*",)), **more
        )
        return made.secret

    async def happen(self, *subjects: str, kind=EventKind.MODEM, **data) -> None:
        for subject in subjects:
            await self.store.write(lambda tx, one=subject: tx.event(kind, one, data))

    @asynccontextmanager
    async def line(self, name: str = "crm"):
        async with self.office.open() as poster:
            yield Line(self.store, name, rules=RULES, poster=poster, telemetry=self.telemetry)

    async def turn(self, n: int = 1, name: str = "crm") -> float | None:
        """So many turns of a new line, as after a restart; what the last one said."""
        pause = None
        async with self.line(name) as line:
            for _ in range(n):
                pause = await line.turn()
        return pause

    async def view(self, name: str = "crm"):
        found = await self.webhooks.list(clerk())
        return next(one for one in found if one.name == name)

    async def listed(self, state: DeliveryState, name: str = "crm"):
        page = await self.webhooks.deliveries(clerk(), name, state=state, cursor=None, limit=1_000)
        return page.items

    async def faults(self) -> list[str]:
        def look(conn):
            return [*replay.replay(conn), *broken_seals(conn, self.store.vault)]

        return await self.store.read(look)

    async def alarms(self) -> list[str]:
        query = select(event.c.data).where(event.c.kind == "alarm").order_by(event.c.event_id)
        found = await self.store.read(lambda conn: conn.scalars(query).all())
        return [json.loads(one)["alarm"] for one in found]


@pytest.fixture
def clock():
    return TestClock()


@pytest.fixture
async def desk(tmp_path, clock):
    async with open_store(tmp_path, clock) as store:
        yield Desk(store, clock, PostOffice(LOCAL, timeout=10))


# ---------------------------------------------------------------- delivering


async def test_events_arrive_in_order_signed_as_the_standards_own_library_asks(desk):
    async with receiver() as crm:
        await desk.happen("before")
        secret = await desk.add(crm.url, "modem.*")
        await desk.happen(*(f"bay-{n}" for n in range(5)), state="ready")
        await desk.happen("card", kind=EventKind.SIM, state="lost")
        await desk.turn()
        assert crm.subjects == [f"bay-{n}" for n in range(5)]
        assert len(set(crm.ids)) == 5
        assert crm.n_connections == 1
        one = crm.got[0]
        assert one.headers["content-type"] == "application/json"
        assert one.event == {
            "type": "modem.ready", "timestamp": "2026-11-21T04:00:00.000+00:00", "site": "test",
            "subject": "bay-0", "data": {"state": "ready"},
        }  # fmt: skip
        judge = Webhook(secret)
        now = int(one.headers["webhook-timestamp"])
        assert now == int(desk.clock.now().timestamp())
        signed = judge.sign(one.id, desk.clock.now(), one.body.decode())
        assert one.headers["webhook-signature"] == signed
        with pytest.raises(WebhookVerificationError):
            judge.verify(one.body, one.headers)  # the test's clock stands in the past
        assert (await desk.view()).n_delivered == 5
        assert await desk.turn() > 0
        assert len(crm.got) == 5
        assert await desk.faults() == []


async def test_the_standards_library_verifies_what_is_sent_now(tmp_path):
    clock = TestClock(SystemClock().now())
    async with open_store(tmp_path, clock) as store, receiver() as crm:
        desk = Desk(store, clock, PostOffice(LOCAL, timeout=10))
        secret = await desk.add(crm.url)
        await desk.happen("bay", name="电话")
        await desk.turn()
        [got] = crm.got
        assert Webhook(secret).verify(got.body, got.headers)["data"] == {"name": "电话"}
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(got.body.replace(b"bay", b"bax"), got.headers)


async def test_a_new_secret_signs_beside_the_old_one_until_its_hours_are_over(desk):
    async with receiver() as crm:
        old = await desk.add(crm.url)
        made = await desk.webhooks.rotate_secret(clerk(), "crm", overlap=timedelta(hours=2))
        assert made.secret != old
        for hours in (1, 3):
            await desk.happen("bay")
            await desk.turn()
            desk.clock.advance(hours * 3_600)
        both, alone = (one.headers["webhook-signature"].split() for one in crm.got)
        body, at = crm.got[0].body.decode(), desk.clock.now() - timedelta(hours=4)
        assert both == [Webhook(one).sign(crm.ids[0], at, body) for one in (made.secret, old)]
        assert len(alone) == 2  # an hour in
        await desk.happen("bay")
        await desk.turn()
        assert len(crm.got[-1].headers["webhook-signature"].split()) == 1
        await desk.webhooks.rotate_secret(clerk(), "crm", overlap=timedelta(0))
        assert (await desk.view()).old_secret_until is None
        assert await desk.faults() == []


async def test_a_crash_between_sending_and_noting_sends_the_same_ids_again(desk, monkeypatch):
    async with receiver() as crm:
        await desk.add(crm.url)
        await desk.happen("a", "b")

        def crash(tx, name, turn):
            raise KeyError("the machine stops here")

        with monkeypatch.context() as patched:
            patched.setattr(webhook_rows, "note", crash)
            with pytest.raises(KeyError):
                await desk.turn()
        assert crm.subjects == ["a", "b"]
        await desk.turn()
        assert crm.subjects == ["a", "b", "a", "b"]
        assert crm.ids[:2] == crm.ids[2:]
        assert crm.got[0].body == crm.got[2].body
        await desk.turn()
        assert len(crm.got) == 4


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (answering(500, body=b"tel \x1b[31m +8613800000001 no\n" + b"x" * 500), "500 tel"),
        (answering(302, headers="location: http://127.0.0.1:65535/\r\n"), "302: redirects are not"),
        (hanging_up, "RemoteProtocolError"),
        (babbling, "500"),
        (answering(404), "404"),
    ],
)
async def test_what_is_not_taken_waits_with_its_reason_and_goes_out_later_in_order(
    desk, behave, reason
):
    async with receiver(behave) as crm:
        await desk.add(crm.url)
        await desk.happen("a", "b")
        await desk.turn()
        [waiting] = await desk.listed(DeliveryState.WAITING)
        assert waiting.reason.startswith(reason)
        assert len(waiting.reason) <= 200
        assert waiting.reason.isprintable()
        assert crm.subjects == ["a"]
        assert await desk.turn() > 0
        assert crm.subjects == ["a"], "it waits"
        desk.clock.advance(6)
        crm.behave = answering(204)
        await desk.turn(2)
        assert crm.subjects == ["a", "a", "b"]
        assert crm.ids[0] == crm.ids[1] != crm.ids[2]
        assert await desk.listed(DeliveryState.WAITING) == []
        assert (await desk.view()).failing_since is None


@pytest.mark.parametrize("behave", [silent, dripping])
async def test_a_receiver_that_does_not_come_to_an_end_is_left_after_its_time(
    tmp_path, clock, behave
):
    async with open_store(tmp_path, clock) as store, receiver(behave) as crm:
        desk = Desk(store, clock, PostOffice(LOCAL, timeout=0.2))
        await desk.add(crm.url)
        await desk.happen("a")
        await desk.turn()
        [waiting] = await desk.listed(DeliveryState.WAITING)
        assert waiting.reason == "no answer within 0.2 s"


async def test_a_receiver_that_is_not_there_is_tried_again_after_longer_and_longer_waits(desk):
    async with receiver() as crm:
        pass
    await desk.add(crm.url)
    await desk.happen("a")
    waits = []
    for _ in range(12):
        await desk.turn()
        [one] = await desk.listed(DeliveryState.WAITING)
        waits.append((one.next_attempt_at - desk.clock.now()).total_seconds())
        desk.clock.advance(waits[-1] + 1)
    for n, wait in enumerate(waits):
        full = min(5.0 * 2**n, 900.0)
        assert full / 2 <= wait <= full
    assert len({wait / (5.0 * 2**n) for n, wait in enumerate(waits[:6])}) > 3, "they spread"
    assert one.n_attempts == 12
    assert one.reason.startswith("ConnectError")


async def test_the_wait_that_a_receiver_asks_for_is_kept_up_to_an_hour(desk):
    async with receiver(answering(429, headers="Retry-After: 1800\r\n")) as crm:
        await desk.add(crm.url)
        await desk.happen("a")
        await desk.turn()
        due = (await desk.view()).next_attempt_at - desk.clock.now()
        assert due == timedelta(seconds=1_800)
        desk.clock.advance(1_801)
        crm.behave = answering(503, headers="retry-after: Sun, 21 Nov 2027 08:00:00 GMT\r\n")
        await desk.turn()
        due = (await desk.view()).next_attempt_at - desk.clock.now()
        assert due == timedelta(hours=1)


@pytest.mark.both_databases
async def test_retries_outlast_a_restart_of_the_daemon(tmp_path, clock):
    async with receiver(answering(500)) as crm:
        async with open_store(tmp_path, clock) as store:
            desk = Desk(store, clock, PostOffice(LOCAL, timeout=10))
            await desk.add(crm.url)
            await desk.happen("a", "b")
            await desk.turn()
        async with open_store(tmp_path, clock) as store:
            desk = Desk(store, clock, PostOffice(LOCAL, timeout=10))
            await desk.turn()
            assert crm.subjects == ["a"], "the wait outlasts it, too"
            clock.advance(60)
            crm.behave = answering(200)
            await desk.turn(2)
        assert crm.subjects == ["a", "a", "b"]
        assert crm.ids[0] == crm.ids[1]


async def test_one_event_that_is_never_taken_holds_up_the_others_for_some_tries_only(desk):
    async def picky(got, writer):
        status = 500 if got.event["subject"] == "poison" else 204
        await answering(status)(got, writer)

    async with receiver(picky) as crm:
        await desk.add(crm.url)
        await desk.happen("poison", "a", "b")
        for _ in range(HOLD_TRIES):
            await desk.turn()
            desk.clock.advance(901)
        await desk.turn(3)
        assert crm.subjects[:HOLD_TRIES] == ["poison"] * HOLD_TRIES
        assert crm.subjects[-2:] == ["a", "b"]
        [aside] = await desk.listed(DeliveryState.WAITING)
        assert aside.subject == "poison"
        await desk.happen("c")
        await desk.turn(2)
        assert crm.subjects[-1] == "c"
        desk.clock.advance(GIVE_UP.total_seconds())
        await desk.turn(2)
        [dead] = await desk.listed(DeliveryState.DEAD)
        assert dead.subject == "poison"
        assert await desk.alarms() == ["webhook_dead"]
        crm.behave = answering(204)
        done = await desk.webhooks.replay(clerk(), "crm")
        assert (done.n, done.is_all) == (1, True)
        await desk.turn(2)
        assert crm.subjects[-1] == "poison"
        assert await desk.listed(DeliveryState.DEAD) == []
        assert len({one.id for one in crm.got if one.event["subject"] == "poison"}) == 1


@pytest.mark.both_databases
async def test_what_waits_for_a_receiver_that_is_gone_for_long_is_dead_and_told_of_once(desk):
    async with receiver(answering(500)) as crm:
        await desk.add(crm.url, "modem.*")
        await desk.happen(*(f"bay-{n}" for n in range(7)))
        for _ in range(4):
            await desk.turn(2)
            desk.clock.advance(GIVE_UP.total_seconds() / 2)
        await desk.turn(4)
        dead = await desk.listed(DeliveryState.DEAD)
        assert [one.subject for one in dead] == [f"bay-{n}" for n in range(7)]
        assert len(crm.got) < 12, "each of the old ones was not tried"
        assert await desk.alarms() == ["webhook_dead"]
        assert desk.telemetry.value("modemctl_webhook_given_up_total", webhook="crm") == 7
        crm.behave = answering(204)
        crm.got.clear()
        await desk.webhooks.resume(clerk(), "crm")
        await desk.happen("new")
        await desk.webhooks.replay(clerk(), "crm")
        await desk.turn(10)
        assert sorted(crm.subjects) == sorted([*(f"bay-{n}" for n in range(7)), "new"])


async def test_a_receiver_that_says_it_is_gone_is_left_alone_until_somebody_resumes_it(desk):
    async with receiver(answering(410)) as crm:
        await desk.add(crm.url)
        await desk.happen("a", "b")
        await desk.turn(3)
        assert crm.subjects == ["a"]
        view = await desk.view()
        assert (view.state, view.reason) == ("disabled", "the receiver answered 410 Gone")
        assert await desk.alarms() == ["webhook_disabled"]
        crm.behave = answering(204)
        await desk.webhooks.resume(clerk(), "crm")
        await desk.turn(3)
        assert crm.subjects == ["a", "a", "b"], "and none about itself"
        assert await desk.faults() == []


async def test_a_paused_endpoint_gets_its_events_when_it_is_resumed(desk):
    async with receiver() as crm:
        await desk.add(crm.url)
        await desk.webhooks.pause(clerk(), "crm", reason="it moves")
        await desk.happen("a")
        await desk.turn()
        assert crm.got == []
        await desk.webhooks.resume(clerk(), "crm")
        await desk.turn()
        assert crm.subjects == ["a"]


async def test_what_was_forgotten_while_it_was_paused_is_told(desk):
    async with receiver() as crm:
        await desk.add(crm.url)
        await desk.webhooks.pause(clerk(), "crm", reason="it moves")
        await desk.happen("a", "b", "c")
        desk.clock.advance(8 * 86_400)
        await Events(desk.store, keep_days=7, general_department="general").purge()
        await desk.webhooks.resume(clerk(), "crm")
        await desk.turn(3)
        assert crm.subjects == ["c"]
        assert await desk.alarms() == ["webhook_lost"]


async def test_a_clock_that_is_set_back_lets_nobody_wait_for_it(desk):
    async with receiver(answering(500)) as crm:
        await desk.add(crm.url)
        await desk.happen("a")
        await desk.turn()
        desk.clock.step(-30 * 86_400)
        crm.behave = answering(204)
        await desk.turn()
        assert crm.subjects == ["a", "a"]


async def test_several_requests_at_once_leave_none_out(desk):
    async with receiver() as crm:
        await desk.add(crm.url, parallel=4)
        await desk.happen(*(f"bay-{n}" for n in range(21)))
        async with desk.office.open(4) as poster:
            line = Line(desk.store, "crm", rules=RULES, poster=poster, telemetry=desk.telemetry)
            await line.turn()
        assert sorted(crm.subjects) == sorted(f"bay-{n}" for n in range(21))
        assert 1 < crm.n_connections <= 4


async def test_events_that_are_not_wanted_cost_no_write_each(desk):
    async with receiver() as crm:
        await desk.add(crm.url, "alarm.*")
        async with desk.line() as line:
            for n in range(5):
                await desk.happen(f"bay-{n}")
                before = desk.store.journal.turns
                assert await line.turn() > 0
                assert desk.store.journal.turns == before
            await desk.happen("x", kind=EventKind.ALARM, alarm="outage")
            await line.turn()
        assert crm.subjects == ["x"]


async def hand_over(desk: Desk, node: str, seconds: float) -> None:
    until = desk.clock.now() + timedelta(seconds=seconds)
    taken = update(webhook_place).values(node_id=node, held_until=until)
    await desk.store.write(lambda tx: tx.conn.execute(taken))


async def test_while_another_node_delivers_this_one_sends_nothing(desk):
    async with receiver() as crm:
        await desk.add(crm.url)
        await desk.happen("a")
        await hand_over(desk, "n2", 90)
        async with desk.line() as line:
            assert await line.turn() > 0
            assert not line.is_listening
            assert crm.got == []
            desk.clock.advance(91)
            await line.turn()
        assert crm.subjects == ["a"], "its node is dead"


@pytest.mark.both_databases
async def test_what_another_node_took_over_meanwhile_is_not_written_down_twice(desk):
    async def lose(got, writer):
        await hand_over(desk, "n2", 90)
        await answering(204)(got, writer)

    async with receiver(lose) as crm:
        await desk.add(crm.url)
        await desk.happen("a")
        await desk.turn()
        assert crm.subjects == ["a"]
        assert (await desk.view()).n_delivered == 0


# ---------------------------------------------------------------- replays


async def test_events_of_a_time_are_sent_once_more_under_their_own_ids(desk):
    async with receiver() as crm:
        await desk.add(crm.url, "modem.*")
        for subject in ("a", "b", "c"):
            await desk.happen(subject)
            desk.clock.advance(60)
        await desk.happen("card", kind=EventKind.SIM)
        await desk.turn()
        since = desk.clock.now() - timedelta(seconds=130)
        done = await desk.webhooks.replay(clerk(), "crm", since=since)
        assert (done.n, done.is_all) == (2, True)
        await desk.turn(4)
        assert crm.subjects == ["a", "b", "c", "b", "c"]
        assert crm.ids[1:3] == crm.ids[3:]
        again = await desk.webhooks.replay(clerk(), "crm", webhook_ids=[crm.ids[0]])
        assert again.n == 1
        await desk.turn(2)
        assert crm.ids[-1] == crm.ids[0]


# ---------------------------------------------------------------- who may, and where to


async def test_a_departments_endpoint_gets_what_the_department_may_see(desk):
    office = await open_office(desk.store)
    ids = {
        category: (await office.submit(1, category)).batch.batch_id
        for category in ("notice", "promotion")
    }
    async with receiver() as own, receiver() as other, receiver() as general:
        await desk.add(own.url, name="own", department=RETAIL)
        await desk.add(other.url, name="other", department="loans")
        await desk.add(general.url, name="general", department="general")
        for batch_id in ids.values():
            await desk.happen("17", kind=EventKind.MESSAGE, batch_id=batch_id, state="sent")
        await desk.happen("5", kind=EventKind.CALL, department=RETAIL, state="ended")
        await desk.happen("6", kind=EventKind.CALL, department=None, state="ended")
        await desk.happen("bay")
        for name in ("own", "other", "general"):
            await desk.turn(name=name)
        assert own.subjects == ["17", "17", "5", "bay"]
        assert other.subjects == ["bay"]
        assert general.subjects == ["17", "bay"]


async def test_no_number_of_a_recipient_is_in_what_is_sent(desk):
    office = await open_office(desk.store)
    async with receiver() as crm:
        await desk.add(crm.url)
        await office.start(await office.approve(await office.submit(3)))
        await desk.turn()
        assert crm.got
        assert not any(b"138000" in one.body for one in crm.got)


async def test_an_account_of_a_department_keeps_its_own_endpoints_alone(desk):
    await desk.add("http://127.0.0.1:65535/", name="all")
    retail = clerk(RETAIL)
    made = await desk.webhooks.add(retail, name="own", url="http://127.0.0.1:65535/", events=["*"])
    assert made.webhook.department == RETAIL
    assert [one.name for one in await desk.webhooks.list(retail)] == ["own"]
    with pytest.raises(NotFound):
        await desk.webhooks.pause(retail, "all", reason="no")
    with pytest.raises(NotPermitted):
        await desk.webhooks.add(
            retail, name="x", url="http://127.0.0.1:65535/", events=["*"], department="loans"
        )
    with pytest.raises(NotPermitted):
        await desk.webhooks.list(clerk(None, Scope.EVENTS_READ))


OUTSIDE = [
    "http://crm.example.com/", "https://10.0.0.1/", "https://evil.example.org/",
    "https://crm.example.com.evil.org/", "https://[::1]/", "https://169.254.169.254/latest",
]  # fmt: skip
ODD_URLS = [
    "crm.example.com", "ftp://crm.example.com/", "https://a:b@crm.example.com/",
    "https://crm.example.com/?token=1", "https://crm.example.com/#x", "https://crm.example.com:x/",
    "https:///x", "https://crm.example.com/ x", "https://crm.example.com/" + "x" * 500,
    "https://a..crm.example.com/", f"https://{'a' * 64}.crm.example.com/",
]  # fmt: skip


async def test_no_endpoint_stands_outside_the_list_and_no_url_holds_a_secret_of_its_own(desk):
    office = PostOffice(Destinations.of(["crm.example.com"], plain_http=False), timeout=1)
    webhooks = Webhooks(desk.store, office, site="test", general_department="general")
    for url in OUTSIDE:
        with pytest.raises(PolicyRefused) as refused:
            await webhooks.add(clerk(), name="crm", url=url, events=["*"])
        assert refused.value.policy == "CC-05"
    for url in ODD_URLS:
        with pytest.raises(InvalidRequest) as wrong:
            await webhooks.add(clerk(), name="crm", url=url, events=["*"])
        assert wrong.value.field == "url"
    for events in ([], ["messages.final"], ["message"], ["message.FINAL"], ["*.final"]):
        with pytest.raises(InvalidRequest) as wrong:
            await webhooks.add(clerk(), name="crm", url="https://crm.example.com/", events=events)
        assert wrong.value.field == "events"
    assert await webhooks.list(clerk()) == []


@pytest.mark.parametrize(
    ("words", "host", "address", "may"),
    [
        (["crm.example.com"], "crm.example.com", "93.184.216.34", True),
        (["*.example.com"], "a.b.example.com", "93.184.216.34", True),
        (["*.example.com"], "example.com", "93.184.216.34", False),
        (["crm.example.com"], "crm.example.com", "127.0.0.1", False),
        (["crm.example.com"], "crm.example.com", "10.1.2.3", False),
        (["crm.example.com"], "crm.example.com", "::ffff:10.1.2.3", False),
        (["crm.example.com"], "crm.example.com", "64:ff9b::a01:203", False),
        (["crm.example.com"], "crm.example.com", "2002:a01:203::1", False),
        (["crm.example.com"], "crm.example.com", "fec0::1", False),
        (["crm.example.com"], "crm.example.com", "64:ff9b:1::a01:203", False),
        (["crm.example.com"], "crm.example.com", "::10.1.2.3", False),
        (["crm.example.com"], "crm.example.com", "224.0.0.1", False),
        (["crm.example.com"], "crm.example.com", "169.254.169.254", False),
        (["crm.example.com", "10.1.0.0/16"], "crm.example.com", "10.1.2.3", True),
        (["10.1.0.0/16"], "any.host", "10.2.2.3", False),
        ([], "crm.example.com", "93.184.216.34", False),
    ],
)
def test_an_address_is_reached_only_where_the_list_says_so(words, host, address, may):
    import ipaddress

    rules = Destinations.of(words, plain_http=False)
    assert rules.may_reach(host, ipaddress.ip_address(address), 443) is may


@pytest.mark.parametrize(
    ("word", "url", "may"),
    [
        ("crm.example.com", "https://crm.example.com/", True),
        ("crm.example.com", "https://crm.example.com:8443/", True),
        ("crm.example.com", "http://crm.example.com:80/", True),
        ("crm.example.com", "http://crm.example.com:25/", False),
        ("crm.example.com:25", "http://crm.example.com:25/", True),
        ("crm.example.com:8443", "https://crm.example.com/", False),
        ("crm.example.com:8443", "https://crm.example.com:8443/", True),
        ("*.example.com:8443", "https://crm.example.com:8443/", True),
        ("*.example.com:8443", "https://crm.example.com:8444/", False),
        ("10.1.0.0/16", "http://10.1.2.3:22/", False),
        ("10.1.0.0/16:22", "http://10.1.2.3:22/", True),
        ("10.1.0.0/16:8080", "http://any.host:8080/", True),
        ("10.1.0.0/16:8080", "http://any.host:8081/", False),
        ("[fd00::/8]:8080", "http://[fd00::1]:8080/", True),
        ("[fd00::/8]:8080", "http://[fd00::1]/", False),
        ("fd00::/8", "http://[fd00::1]/", True),
    ],
)
def test_a_port_of_another_service_is_reached_only_where_the_list_names_it(word, url, may):
    [word] = WebhooksSettings(allow=[word]).allow
    rules, parts = Destinations.of([word], plain_http=True), urlsplit(url)
    assert rules.may_name(parts.scheme, parts.hostname, parts.port) is may


@pytest.mark.parametrize("word", ["crm.example.com:0", "10.1.0.0/16:65536", "[crm]:x", ":80"])
def test_a_port_that_is_none_is_refused_in_the_settings(word):
    with pytest.raises(ValidationError, match="must be a host"):
        WebhooksSettings(allow=[word])


async def test_a_name_that_changes_its_address_between_two_looks_reaches_nothing(desk):
    """DNS rebinding: public when it was registered, ours when it is used."""
    asked = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    rules = Destinations.of(["crm.example.com"], plain_http=True)
    async with receiver() as inner:
        desk.webhooks._office = desk.office = PostOffice(rules, timeout=5, resolve=rebinding)
        await desk.add(f"http://crm.example.com:{inner.port}/")
        await desk.happen("a")
        await desk.turn()
        [waiting] = await desk.listed(DeliveryState.WAITING)
        assert waiting.reason == "webhooks.allow has no address of crm.example.com"
        assert asked == ["crm.example.com"]
        assert inner.n_connections == 0


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to(desk):
    answers = [["127.0.0.1"], ["10.9.9.9"]]

    async def once(host: str, port: int) -> list[str]:
        return answers.pop(0)

    rules = Destinations.of(["127.0.0.1/32"], plain_http=True)
    async with receiver() as inner:
        desk.webhooks._office = desk.office = PostOffice(rules, timeout=5, resolve=once)
        await desk.add(f"http://crm.example.com:{inner.port}/")
        await desk.happen("a", "b")
        await desk.turn()
        assert inner.subjects == ["a", "b"]
        assert inner.got[0].headers["host"] == f"crm.example.com:{inner.port}"
        assert len(answers) == 1, "one look for one connection"


@pytest.mark.parametrize("parallel", [1, 2])
async def test_a_host_that_is_no_name_is_a_failure_and_not_the_daemons_end(desk, parallel):
    """An endpoint of an earlier version, whose check let such a name in."""
    office = PostOffice(Destinations.of(["*.example.com"], plain_http=False), timeout=5)
    desk.webhooks._office = desk.office = office
    await desk.add("https://a.example.com/", parallel=parallel)
    await desk.store.write(lambda tx: rename_host(tx, "https://a..example.com/"))
    await desk.happen("a", "b")
    await desk.turn()
    waiting = await desk.listed(DeliveryState.WAITING)
    assert [one.reason for one in waiting] == ["the name of the host is none"] * parallel


def rename_host(tx, url: str) -> None:
    before = webhooks.find(tx.conn, tx.vault, "crm")
    webhooks.change(tx, before, url=url)


async def test_a_name_that_hangs_is_asked_once_and_delays_no_other(monkeypatch):
    back, asked = threading.Event(), []

    def ask(host: str, port: int, **_: object):
        asked.append(host)
        if host == "hangs.example.com":
            back.wait(30)
        return [(0, 0, 0, "", ("192.0.2.1", port))] * 2

    monkeypatch.setattr("socket.getaddrinfo", ask)
    resolve = Resolver()
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(resolve("hangs.example.com", 443)) for _ in range(16)]
        async with asyncio.timeout(10):
            assert await resolve("crm.example.com", 443) == ["192.0.2.1"]
        assert not any(one.done() for one in waiting)
        waiting.pop().cancel()
        back.set()
    assert [one.result() for one in waiting] == [["192.0.2.1"]] * 15
    assert sorted(asked) == ["crm.example.com", "hangs.example.com"]


async def test_plain_http_that_the_settings_allow_no_more_sends_nothing(desk):
    async with receiver() as crm:
        await desk.add(crm.url)
        await desk.happen("a")
        desk.office = PostOffice(Destinations.of(["127.0.0.0/8"], plain_http=False), timeout=5)
        await desk.turn()
        [waiting] = await desk.listed(DeliveryState.WAITING)
        assert waiting.reason == f"the settings let no event go to http://127.0.0.1:{crm.port}"
        assert crm.n_connections == 0


# ---------------------------------------------------------------- seals


CHANGES = [
    {"url": "http://127.0.0.2:9/"}, {"department": None}, {"events": '["*"]'},
    {"state": "active"}, {"secret_enc": b"\x01" * 61}, {"mac": b""}, {"parallel": 3},
    {"old_until": None},
]  # fmt: skip


async def test_a_row_that_was_altered_is_sent_nothing_and_named(desk):
    async with receiver() as crm:
        await desk.add(crm.url, "modem.*", department=RETAIL)
        await desk.webhooks.rotate_secret(clerk(), "crm", overlap=timedelta(hours=2))
        await desk.webhooks.pause(clerk(), "crm", reason="it moves")
        await desk.happen("a")
        whole = await desk.store.read(
            lambda conn: dict(conn.execute(select(webhook)).mappings().one())
        )
        for change in CHANGES:
            altered = {**whole, **change}
            await desk.store.write(
                lambda tx, row=altered: tx.conn.execute(update(webhook).values(**row))
            )
            with pytest.raises(TamperedError):
                await desk.turn()
            assert crm.got == []
            assert any("webhook crm" in one for one in await desk.faults()), change
        with pytest.raises(NotPermitted):
            await desk.webhooks.remove(clerk(RETAIL), "crm")
        await desk.webhooks.remove(clerk(), "crm")
        assert await desk.faults() == []


async def test_an_endpoint_that_was_removed_and_put_back_is_named(desk):
    async with receiver() as crm:
        await desk.add(crm.url)
        rows = await desk.store.read(
            lambda conn: [dict(row) for row in conn.execute(select(webhook)).mappings()]
        )
        await desk.webhooks.remove(clerk(), "crm")
        assert await desk.faults() == []
        await desk.store.write(lambda tx: tx.conn.execute(webhook.insert().values(rows)))
        assert any("put back" in one for one in await desk.faults())


async def test_no_log_entry_tells_the_secret_or_the_path_of_a_url(desk):
    secret = await desk.add("http://127.0.0.1:65535/token-in-path")
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    await desk.webhooks.rotate_secret(clerk(), "crm", overlap=timedelta(hours=1))
    told = await desk.store.read(lambda conn: conn.scalars(select(audit_entry.c.details)).all())
    assert any("url_sha256" in one for one in told)
    assert not any("token-in-path" in one or secret in one for one in told)
    assert "secret=" not in repr(await desk.view())


# ---------------------------------------------------------------- TLS


def private_authority(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate authority of our own, and a server's context that it signed for."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = SystemClock().now()

    def certificate(name: str, key, issuer: str, signer, *, is_ca: bool):
        names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, one)])
                 for one in (name, issuer)]  # fmt: skip
        made = (
            x509.CertificateBuilder()
            .subject_name(names[0]).issuer_name(names[1]).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False
            )
        )  # fmt: skip
        if is_ca:
            usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
            made = made.add_extension(usage, critical=True)
        else:
            made = made.add_extension(
                x509.SubjectAlternativeName([x509.DNSName("crm.example.com")]), critical=False
            )
        return made.sign(signer, hashes.SHA256())

    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca = certificate("ca", ca_key, "ca", ca_key, is_ca=True)
    own = certificate("crm", key, "ca", ca_key, is_ca=False)
    pem = serialization.Encoding.PEM
    ca_file, chain = folder / "ca.pem", folder / "crm.pem"
    ca_file.write_bytes(ca.public_bytes(pem))
    chain.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + own.public_bytes(pem)
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain)
    return ca_file, context


async def test_tls_is_verified_and_a_private_authority_is_trusted_where_it_is_named(desk, tmp_path):
    ca_file, context = private_authority(tmp_path)

    async def local(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async with receiver(tls=context) as crm:

        async def tried(host: str, ca: Path | None):
            office = PostOffice(LOCAL, timeout=10, ca_file=ca, resolve=local)
            webhooks = Webhooks(desk.store, office, site="test", general_department="general")
            url = f"https://{host}:{crm.port}/"
            await webhooks.add(clerk(), name="crm", url=url, events=["*"])
            done = await webhooks.test(clerk(), "crm")
            await webhooks.remove(clerk(), "crm")
            return done

        refused = await tried("crm.example.com", None)
        assert (refused.is_delivered, refused.status) == (False, None)
        assert "CERTIFICATE_VERIFY_FAILED" in refused.reason
        wrong = await tried("other.example.com", ca_file)
        assert "CERTIFICATE_VERIFY_FAILED" in wrong.reason
        assert crm.got == []
        taken = await tried("crm.example.com", ca_file)
        assert (taken.is_delivered, taken.status) == (True, 204)
        assert crm.got[0].event["type"] == "webhook.test"
    with pytest.raises(ConfigError):
        await PostOffice(LOCAL, timeout=1, ca_file=tmp_path / "none.pem").prepare()


# ---------------------------------------------------------------- the page's receiver


async def test_the_receiver_of_the_page_takes_each_event_once_and_no_forged_one(
    tmp_path, monkeypatch
):
    page = (Path(__file__).parents[2] / "docs/webhooks.md").read_text(encoding="utf-8")
    [source] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    clock = TestClock(SystemClock().now())
    async with open_store(tmp_path, clock) as store:
        desk = Desk(store, clock, PostOffice(LOCAL, timeout=30))
        with _played(source) as (told, port):
            told["SECRETS"] = [await desk.add(f"http://127.0.0.1:{port}/")]
            await desk.happen("a", "b")
            await desk.turn()
            await desk.webhooks.replay(clerk(), "crm", since=clock.now() - timedelta(hours=1))
            await desk.turn(3)
            assert (await desk.view()).n_delivered == 4
            told["SECRETS"] = ["whsec_" + base64.b64encode(b"another").decode()]
            forged = await desk.webhooks.test(clerk(), "crm")
            assert forged.status == 401
            count = "SELECT count(*) FROM taken"
            assert told["seen"].execute(count).fetchone() == (2,)


@contextmanager
def _played(source: str):
    """The page's program, served by a thread; and its port."""
    told: dict = {"__name__": "page"}
    exec(compile(source, "docs/webhooks.md", "exec"), told)
    told["seen"].close()
    told["seen"] = sqlite3.connect("seen.db", isolation_level=None, check_same_thread=False)
    handler = told["Receiver"]
    handler.log_message = lambda *words: None
    with told["http"].server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield told, server.server_port
        finally:
            server.shutdown()
            thread.join()
            told["seen"].close()


# ---------------------------------------------------------------- couriers


@asynccontextmanager
async def at_work(desk: Desk):
    rules = CourierRules(line=RULES, keep_dead=timedelta(days=30))
    couriers = Couriers(desk.store, desk.office, rules, desk.telemetry)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(couriers.run())
        yield couriers
        task.cancel()


async def test_a_slow_receiver_delays_no_other_and_a_new_one_is_served_at_once(desk):
    async with receiver(silent) as slow, receiver() as quick, at_work(desk):
        await desk.add(slow.url, name="slow")
        await desk.happen("a")
        await slow.wait(1)
        await desk.add(quick.url, name="quick")
        await desk.happen(*(f"bay-{n}" for n in range(10)))
        await quick.wait(10)
        assert len(slow.got) == 1
        await desk.webhooks.remove(clerk(), "quick")
        await desk.happen("later")
        await desk.add(quick.url, name="quick")
        await desk.happen("last")
        await quick.wait(11)
        assert quick.subjects[-1] == "last"


async def test_metrics_tell_how_far_each_is(desk):
    async with receiver(answering(500)) as crm:
        await desk.add(crm.url)
        await desk.happen("a", "b")
        await desk.turn()
        desk.clock.advance(600)
        async with at_work(desk) as couriers:
            await crm.wait(2)
            await desk.add("http://127.0.0.1:65535/", name="other")
            async with asyncio.timeout(60):
                while set(couriers.samples()) != {"crm", "other"}:
                    await asyncio.sleep(0)
        one = couriers.samples()["crm"]
        assert (one.n_waiting, one.n_dead, one.is_well) == (2, 0, True)
        assert one.oldest == 600
        tries = {
            outcome: desk.telemetry.value(
                "modemctl_webhook_tries_total", webhook="crm", outcome=outcome
            )
            for outcome in ("delivered", "failed")
        }
        assert tries["delivered"] == 0
        assert tries["failed"] >= 1


async def test_dead_events_are_forgotten_after_their_days(desk):
    async with receiver() as crm:
        await desk.add(crm.url)

        def bury(tx):
            page = webhook_rows.read_place(tx.conn, "crm")
            assert page is not None
            tx.conn.execute(
                webhook_delivery.insert().values(
                    name="crm", event_id=1, event_at=tx.now, kind="modem", subject="a", data="{}",
                    state="dead", is_holding=False, n_attempts=1, first_at=tx.now,
                    next_attempt_at=tx.now, reason="",
                )
            )  # fmt: skip

        await desk.store.write(bury)
        rules = CourierRules(line=RULES, keep_dead=timedelta(days=30))
        couriers = Couriers(desk.store, desk.office, rules, desk.telemetry)
        for days, n in ((29, 1), (2, 0)):
            desk.clock.advance(days * 86_400)
            await couriers.tidy()
            assert len(await desk.listed(DeliveryState.DEAD)) == n
        assert (await desk.view()).state == EndpointState.ACTIVE
        assert isinstance(crm, Receiver)
