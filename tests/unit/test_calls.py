"""Lines about calls, told in many ways, give one record a call."""

from datetime import UTC, datetime, timedelta

import pytest

from drivers.interface import CallEvent, CallEventKind, CurrentCall
from modemctl.fleet.calls import CallFolder
from modemctl.store import calls, sims
from modemctl.store.sims import NewCard
from tests.support.stores import TestClock, open_store

START = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
K = CallEventKind


def event(kind, **fields) -> CallEvent:
    return CallEvent(kind=kind, **fields)


RING = event(K.RING, is_incoming=True)
CLIP = event(K.CALLER, is_incoming=True, number="13800000001")
END = event(K.ENDED, cause="no carrier")


def tell(*lines, gap=4.0):
    """Feed lines, `gap` seconds apart (or after their own delay); last state of each record."""
    folder = CallFolder(bay="b", iccid="c", number_of=lambda number: f"+86{number}")
    records, now = {}, START
    for line in lines:
        delay, one = line if isinstance(line, tuple) else (gap, line)
        now += timedelta(seconds=delay)
        for state in folder.feed(one, now):
            records[state.started_at] = state
    return list(records.values()), folder, now


@pytest.mark.parametrize(
    ("lines", "n_rings", "is_answered", "cause"),
    [
        ([RING, CLIP, RING, CLIP, END], 2, False, "no carrier"),
        ([CLIP, RING, RING, END], 2, False, "no carrier"),
        (
            [
                event(K.RING, is_incoming=True, call_id=1, number="13800000001"), RING, RING,
                event(K.ENDED, call_id=1), (0.1, END),
            ],
            2, False, None,
        ),
        (
            [RING, CLIP, event(K.CONNECTED, call_id=1), event(K.ENDED, call_id=1, cause="29")],
            1, True, "29",
        ),
        (
            [RING, CLIP, event(K.CONNECTED, is_incoming=True), event(K.ENDED, duration=41), END],
            1, True, None,
        ),
        ([RING, CLIP, event(K.ENDED, duration=12)], 1, True, None),
    ],
    ids=["clip", "clip-first", "dsci", "huawei", "voice-call", "only-duration"],
)  # fmt: skip
def test_an_incoming_call_is_one_record(lines, n_rings, is_answered, cause):
    (one,), folder, _ = tell(*lines)
    assert one.is_incoming
    assert one.number == "+8613800000001"
    assert one.n_rings == n_rings
    assert (one.answered_at is not None) == is_answered
    assert one.cause == cause
    assert one.ended_at is not None
    assert folder.deadline is None


def test_an_outgoing_call_is_one_record():
    number = event(K.DIALLING, is_incoming=False, number="10086", call_id=1)
    (one,), _, _ = tell(
        number, event(K.ALERTING, call_id=1), event(K.CONNECTED, call_id=1),
        event(K.ENDED, call_id=1, cause="16"), (0.1, END),
    )  # fmt: skip
    assert not one.is_incoming
    assert (one.number, one.n_rings, one.cause) == ("+8610086", 0, "16")
    assert one.answered_at == START + timedelta(seconds=12)


def test_two_calls_after_each_other_are_two_records():
    found, _, _ = tell(RING, END, RING, CLIP, END)
    assert [one.number for one in found] == [None, "+8613800000001"]


def test_a_waiting_call_does_not_end_the_first():
    first = event(K.CONNECTED, is_incoming=True, call_id=1)
    waiting = event(K.RING, is_incoming=True, call_id=2, number="13800000002")
    found, folder, _ = tell(
        event(K.RING, is_incoming=True, call_id=1), first, waiting,
        event(K.ENDED, call_id=2), (0.5, END),
    )  # fmt: skip
    assert [one.ended_at is None for one in found] == [True, False]
    assert folder.deadline is not None


def test_the_fourth_ring_is_told():
    folder = CallFolder(bay="b", iccid="c", number_of=str)
    told = [bool(folder.feed(RING, START + timedelta(seconds=4 * i))) for i in range(6)]
    assert told == [True, False, False, True, False, False]


def test_a_call_whose_end_is_not_told_ends_two_periods_after_its_last_ring():
    (one,), folder, now = tell(RING, RING, RING)
    assert folder.deadline == now + timedelta(seconds=8)
    assert not folder.is_overdue(now + timedelta(seconds=7))
    assert folder.is_overdue(now + timedelta(seconds=8))
    assert folder.reconcile([], now + timedelta(seconds=7)) == []
    (ended,) = folder.reconcile([], now + timedelta(seconds=8))
    assert ended.started_at == one.started_at
    assert (ended.ended_at, ended.answered_at) == (now, None)


def test_the_modems_list_tells_who_answered():
    _, folder, now = tell(RING)
    later = now + timedelta(seconds=10)
    (one,) = folder.reconcile(
        [CurrentCall(call_id=1, is_incoming=True, stat=0, number=None)], later
    )
    assert one.answered_at == later
    much_later = later + timedelta(seconds=15)
    (ended,) = folder.reconcile([], much_later)
    assert ended.ended_at == much_later


def test_a_call_that_still_rings_is_left():
    _, folder, now = tell(RING)
    later = now + timedelta(seconds=10)
    listed = [CurrentCall(call_id=1, is_incoming=True, stat=4, number=None)]
    assert folder.reconcile(listed, later) == []
    assert folder.deadline > later


def test_an_end_without_a_call_is_nothing():
    found, _, _ = tell(END, END)
    assert found == []


def test_a_restart_of_the_modem_ends_all_calls():
    _, folder, now = tell(RING, event(K.DIALLING, is_incoming=False))
    ended = folder.close(now, "the modem restarted")
    assert [one.cause for one in ended] == ["the modem restarted"] * 2
    assert folder.deadline is None


def test_calls_that_start_in_one_instant_have_keys_of_their_own():
    found, _, _ = tell(RING, event(K.DIALLING, is_incoming=False), gap=0.0)
    assert len(found) == 2


async def test_a_record_names_who_was_responsible_then(tmp_path):
    clock = TestClock(START)
    async with open_store(tmp_path, clock) as store:
        card = NewCard(iccid="c", holder="王芳", department="sales")
        await store.write(lambda tx: sims.add(tx, [card]))
        (ringing,), folder, now = tell(RING, CLIP)
        first = await store.write_in_set(calls.save, ringing)
        (ended,) = folder.feed(END, now)
        second = await store.write_in_set(calls.save, ended)
        (one,) = await store.read(
            lambda conn: calls.find(conn, store.vault, calls.Query(), before=None, limit=9)
        )
    assert first == second == one.call_id
    assert (one.holder, one.department, one.number) == ("王芳", "sales", "+8613800000001")
    assert one.ended_at == now


async def test_calls_that_nobody_followed_are_closed_at_the_start(tmp_path):
    async with open_store(tmp_path) as store:
        (ringing,), _, _ = tell(RING)
        await store.write_in_set(calls.save, ringing)
        assert await store.write(lambda tx: calls.close_open(tx, "other", "x")) == 0
        assert await store.write(lambda tx: calls.close_open(tx, "b", "not followed")) == 1
        (one,) = await store.read(
            lambda conn: calls.find(conn, store.vault, calls.Query(), before=None, limit=9)
        )
    assert one.cause == "not followed"
