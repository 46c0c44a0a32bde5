"""Reading events behind a cursor, following them, forgetting them."""

import asyncio
from contextlib import aclosing
from functools import partial

import pytest
from sqlalchemy import delete

from modemctl.errors import InvalidRequest, NotPermitted
from modemctl.model import AccountId, EventKind
from modemctl.service.events import Event, Events, KeepAlive, Reset
from modemctl.service.principal import Principal, Scope
from modemctl.store import Store
from modemctl.store.accounts import AccountState
from modemctl.store.tables import event
from tests.support.apis import open_api
from tests.support.people import RETAIL, open_office
from tests.support.stores import TestClock, open_store


def reader(department: str | None = None, *scopes: Scope) -> Principal:
    return Principal(
        account_id=AccountId("a"), name="anna", department=department,
        scopes=frozenset(scopes or {Scope.EVENTS_READ}), source="test",
    )  # fmt: skip


async def still() -> Principal:
    return reader()


@pytest.fixture
def clock():
    return TestClock()


@pytest.fixture
async def store(tmp_path, clock):
    async with open_store(tmp_path, clock) as opened:
        yield opened


@pytest.fixture
def events(store):
    return Events(store, keep_days=7, general_department="general")


async def happen(
    store: Store, *subjects: str, kind: EventKind = EventKind.MODEM, **data: str | None
) -> None:
    for subject in subjects:
        await store.write(lambda tx, subject=subject: tx.event(kind, subject, data))


async def test_pages_follow_one_another_without_gap_or_repeat(store, events):
    await happen(store, *(f"bay-{n}" for n in range(7)))
    seen, cursor = [], None
    for _ in range(4):
        page = await events.page(reader(), cursor=cursor, limit=3)
        seen += [one.subject for one in page.items]
        cursor = page.next
    assert seen == [f"bay-{n}" for n in range(7)]
    await happen(store, "late")
    page = await events.page(reader(), cursor=cursor, limit=3)
    assert [one.subject for one in page.items] == ["late"]
    assert not page.is_reset


async def test_a_filter_passes_over_other_kinds_for_good(store, events):
    await happen(store, "m1", "m2")
    await happen(store, "c1", kind=EventKind.SIM)
    await happen(store, "m3")
    page = await events.page(reader(), cursor=None, kinds=[EventKind.SIM])
    assert [one.subject for one in page.items] == ["c1"]
    again = await events.page(reader(), cursor=page.next)
    assert again.items == []


async def test_a_departments_account_sees_only_its_own(store, events):
    office = await open_office(store)
    shown = {
        category: (await office.submit(1, category)).batch.batch_id
        for category in ("notice", "promotion")
    }
    start = (await events.page(reader(), cursor=None)).next
    for batch_id in shown.values():
        await happen(store, batch_id, kind=EventKind.BATCH, state="held")
        await happen(store, "17", kind=EventKind.MESSAGE, batch_id=batch_id)
    await happen(store, "unknown", kind=EventKind.BATCH)
    await happen(store, "18", kind=EventKind.MESSAGE)
    await happen(store, "5", kind=EventKind.CALL, department=RETAIL)
    await happen(store, "6", kind=EventKind.CALL, department=None)
    await happen(store, "bay")

    async def seen(department: str | None) -> list[str]:
        page = await events.page(reader(department), cursor=start)
        return [str(one.data.get("batch_id", one.subject)) for one in page.items]

    notice, promotion = shown["notice"], shown["promotion"]
    assert await seen(RETAIL) == [notice, notice, promotion, promotion, "5", "bay"]
    assert await seen("general") == [promotion, promotion, "bay"]
    assert await seen("loans") == ["bay"]
    assert len(await seen(None)) == 9


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "bm8",
        "WyJhIl0",
        "W10",
        "Wy0xXQ",
        "Wzk5OTk5OTk5OTk5OTk5OTk5OTk5OV0",
        "W3RydWVd",
        "WzEuNV0",
        "W1tb" * 10_000,
    ],
)
async def test_a_cursor_that_is_not_ours_is_refused(events, cursor):
    with pytest.raises(InvalidRequest) as caught:
        await events.page(reader(), cursor=cursor)
    assert caught.value.field == "cursor"
    with pytest.raises(InvalidRequest):
        await anext(events.follow(reader(), cursor=cursor, again=still))


async def test_without_the_scope_there_is_nothing(events):
    who = reader(None, Scope.SIMS_READ)
    with pytest.raises(NotPermitted):
        await events.page(who, cursor=None)
    with pytest.raises(NotPermitted):
        await anext(events.follow(who, cursor=None, again=still))


async def test_old_events_are_forgotten_but_the_newest_stays(store, events, clock):
    await happen(store, *(f"old-{n}" for n in range(5)))
    first = await events.page(reader(), cursor=None, limit=1)
    clock.advance(7 * 86_400 + 1)
    assert await events.purge() == 4
    assert await events.purge() == 0
    page = await events.page(reader(), cursor=first.next)
    assert page.is_reset
    assert [one.subject for one in page.items] == ["old-4"]
    await happen(store, "new")
    rest = await events.page(reader(), cursor=page.next)
    assert [one.subject for one in rest.items] == ["new"]
    assert not rest.is_reset


async def test_a_purge_larger_than_one_transaction_ends(store, events, clock):
    def many(tx):
        for n in range(4_500):
            tx.event(EventKind.MODEM, f"bay-{n}", {})

    await store.write(many)
    clock.advance(8 * 86_400)
    assert await events.purge() == 4_499


@pytest.mark.sqlite_only  # a sequence would go on where this counts anew
async def test_a_cursor_from_another_database_is_reset(store, events):
    await happen(store, "a", "b", "c")
    cursor = (await events.page(reader(), cursor=None)).next
    await store.write(lambda tx: tx.conn.execute(delete(event)))
    await happen(store, "z")
    page = await events.page(reader(), cursor=cursor)
    assert page.is_reset
    assert [one.subject for one in page.items] == ["z"]


async def test_followers_get_each_event_once_in_order_while_others_write(store, events):
    n = 60
    got: list[list[str]] = [[], [], []]

    async def follow(into: list[str]) -> None:
        async with aclosing(events.follow(reader(), cursor=None, again=still)) as stream:
            async for item in stream:
                if isinstance(item, KeepAlive):
                    ready.release()
                    continue
                assert isinstance(item, Event)
                into.append(item.subject)
                if len(into) == n:
                    return

    ready = asyncio.Semaphore(0)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for into in got:
            group.create_task(follow(into))
        for _ in got:
            await ready.acquire()
        for part in (range(20), range(20, 40), range(40, 60)):
            group.create_task(happen(store, *(f"e{i}" for i in part)))
    for subjects in got:
        assert sorted(subjects) == sorted(f"e{i}" for i in range(n))
        assert subjects == got[0]


async def test_a_follower_goes_on_from_its_cursor_and_hears_of_a_reset(store, events, clock):
    await happen(store, "a", "b")
    cursor = (await events.page(reader(), cursor=None, limit=1)).next
    async with aclosing(events.follow(reader(), cursor=cursor, again=still)) as stream:
        assert isinstance(await anext(stream), KeepAlive)
        item = await anext(stream)
        assert isinstance(item, Event)
        assert item.subject == "b"
    await happen(store, "c", "d")
    clock.advance(8 * 86_400)
    await happen(store, "e")
    await events.purge()
    async with aclosing(events.follow(reader(), cursor=cursor, again=still)) as stream:
        await anext(stream)
        assert isinstance(await anext(stream), Reset)
        after = await anext(stream)
        assert isinstance(after, Event)
        assert after.subject == "e"


async def test_closing_ends_followers_at_once(store, events):
    async def follow() -> int:
        return len([item async for item in events.follow(reader(), cursor=None, again=still)])

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        task = group.create_task(follow())
        while not store.signals._subscribers["events"]:
            await asyncio.sleep(0)
        events.close()
    assert task.result() >= 1


@pytest.mark.parametrize("end", ["freeze", "revoke key", "other role", "expire"])
async def test_a_stream_ends_with_its_key_account_or_role(tmp_path, monkeypatch, end):
    monkeypatch.setattr("modemctl.service.events.KEEP_ALIVE", 0.02)
    monkeypatch.setattr("modemctl.service.events._ASK_EVERY", 0.0)
    async with open_api(tmp_path) as bench:
        accounts = bench.services.accounts
        token = await bench.token_of("monitor")
        who = await bench.services.gate.authenticate(token, "test")
        again = partial(bench.services.gate.authenticate, token, "test")
        stream = bench.services.events.follow(who, cursor=None, again=again)
        for _ in range(3):
            assert isinstance(await anext(stream), KeepAlive)
        if end == "freeze":
            await accounts.set_state(
                bench.admin, who.account_id, AccountState.FROZEN, reason="left"
            )
        elif end == "revoke key":
            key = (await accounts.keys(bench.admin, who.account_id))[0]
            await accounts.revoke_key(bench.admin, key.key_id, reason="stolen")
        elif end == "other role":
            await accounts.change(bench.admin, who.account_id, roles=[])
        else:
            bench.clock.advance(91 * 86_400)
        await happen(bench.store, "after")
        async with asyncio.timeout(5):
            rest = [item async for item in stream]
    assert not [one for one in rest if isinstance(one, Event) and one.subject == "after"]
