"""Random PINs of the vault in place of imported ones: whose turn it is, and what stops it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from modemctl.errors import Conflict
from modemctl.fleet.renewing import random_pin
from modemctl.lifecycle import CardState
from modemctl.model import Iccid
from modemctl.policy.pin_change import (
    ChangeCase,
    ChangeState,
    decide_change,
    is_change_stopped_by,
    is_trivial,
)
from modemctl.policy.pin_guard import (
    ANSWER_LIMIT,
    Attempt,
    AttemptOutcome,
    PinCommand,
    PinSource,
    Stop,
    StopReason,
    Try,
    Wait,
    WaitReason,
)
from modemctl.store import Store, pin_changes, pin_tries, pins, sims
from modemctl.store.tables import event, pin_attempt, sim
from tests.support.stores import TestClock, open_store

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
ICCIDS = [Iccid(f"8986{i:016d}") for i in range(6)]
OLD, NEW = "1234", "90417365"
C, AO = PinCommand, AttemptOutcome


def attempt(command, outcome, fingerprint=b"old"):
    return Attempt(
        attempt_id=1, fingerprint=fingerprint, command=command, tries_before=3,
        at=NOW - timedelta(seconds=5), outcome=outcome,
    )  # fmt: skip


PROVED = (attempt(C.CPIN, AO.RIGHT),)


def state(n_right=0, n_refused=0, n_out=0, n_unsure=0, is_stopped=False):
    return ChangeState(
        n_right=n_right, n_refused=n_refused, n_out=n_out, n_unsure=n_unsure, is_stopped=is_stopped
    )


def case(counter=3, current=b"old", has_pending=False, attempts=PROVED, state=None):
    return ChangeCase(
        counter=counter, current=current, has_pending=has_pending, attempts=attempts,
        state=state, now=NOW,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (case(), Try(source=PinSource.CURRENT)),
        (case(current=None), Stop(reason=StopReason.NO_PIN)),
        (case(has_pending=True), Stop(reason=StopReason.PENDING_UNSURE)),
        (case(counter=None), Stop(reason=StopReason.COUNTER_UNKNOWN)),
        (case(counter=2), Stop(reason=StopReason.COUNTER_LOW)),
        (case(attempts=()), Stop(reason=StopReason.UNPROVED)),
        (case(attempts=[attempt(C.CPIN, AO.WRONG)]), Stop(reason=StopReason.UNPROVED)),
        (
            case(attempts=[*PROVED, attempt(C.CPWD, None)]),
            Wait(reason=WaitReason.IN_FLIGHT),
        ),
        (
            case(attempts=[*PROVED, attempt(C.CPWD, AO.NOT_ALLOWED)]),
            Stop(reason=StopReason.PIN_FAILED),
        ),
        (case(attempts=[*PROVED, attempt(C.CPWD, AO.UNBURNT)]), Try(source=PinSource.CURRENT)),
        (
            case(attempts=[*PROVED, *[attempt(C.CPWD, AO.UNBURNT)] * 2]),
            Stop(reason=StopReason.ANSWERS_LOST),
        ),
        (
            case(attempts=[*PROVED, *[attempt(C.CPWD, AO.NOT_SENT)] * 9]),
            Try(source=PinSource.CURRENT),
        ),
        (case(state=state()), Try(source=PinSource.CURRENT)),
        (case(state=state(n_out=1)), Wait(reason=WaitReason.CANARY)),
        (case(state=state(n_right=1, n_out=1)), Try(source=PinSource.CURRENT)),
        (case(state=state(n_right=1, n_out=2)), Wait(reason=WaitReason.WIDTH)),
        (case(state=state(is_stopped=True)), Stop(reason=StopReason.CHANGE_STOPPED)),
        (case(state=state(n_unsure=1)), Stop(reason=StopReason.CHANGE_STOPPED)),
        (case(state=state(n_right=9, n_unsure=1)), Try(source=PinSource.CURRENT)),
        (
            case(state=state(n_right=9, n_refused=1, n_unsure=1)),
            Stop(reason=StopReason.CHANGE_STOPPED),
        ),
    ],
)
def test_whose_turn_it_is(given, expected):
    assert decide_change(given) == expected


@pytest.mark.parametrize("outcome", [AO.WRONG, AO.BLOCKED, AO.NOT_ALLOWED])
def test_one_refusal_stops_the_change_however_many_succeeded(outcome):
    assert is_change_stopped_by(outcome, 500, 1)


def test_a_change_that_never_happened_stops_as_canary_or_a_second_time():
    assert is_change_stopped_by(AO.UNBURNT, 0, 1)
    assert not is_change_stopped_by(AO.UNBURNT, 1, 1)
    assert is_change_stopped_by(AO.UNBURNT, 1, 2)
    assert not is_change_stopped_by(AO.RIGHT, 1, 0)


@pytest.mark.parametrize(
    "pin",
    ["0000", "11111111", "1234", "12345678", "7890", "87654321", "3210", "1212", "12341234",
     "123123", "90909090"],
)  # fmt: skip
def test_what_people_try_first_is_trivial(pin):
    assert is_trivial(pin)


@pytest.mark.parametrize("pin", ["4711", "90417365", "12345679", "13579135", "20261121"])
def test_other_pins_are_not_trivial(pin):
    assert not is_trivial(pin)


def test_random_pins_have_eight_digits_and_do_not_repeat():
    made = [random_pin() for _ in range(200)]
    assert all(len(pin) == 8 and pin.isdecimal() and not is_trivial(pin) for pin in made)
    assert len(set(made)) == len(made)


# ---------------------------------------------------------------- the rows behind it


async def cards(store: Store, n: int = 6) -> None:
    """Registered, with PINs of one import that all cards have taken."""

    def act(tx) -> None:
        known = {"state": CardState.ISSUED, "verified_at": tx.now, "verified_by": "x"}
        sims.add(tx, [sims.NewCard(iccid=one, **known) for one in ICCIDS[:n]])
        pins.add_import(tx, "import", dict.fromkeys(ICCIDS[:n], OLD))

    await store.write(act)
    for iccid in ICCIDS[:n]:
        await end(store, await ask(store, iccid, C.CPIN), AO.RIGHT)


async def ask(store: Store, iccid, command=C.CPWD, counter=3, **facts):
    new_pin = NEW if command is C.CPWD else None
    request = pin_tries.TryRequest(
        iccid=iccid, bay="1", command=command, counter=counter, new_pin=new_pin, **facts
    )
    return await store.write_in_set(pin_tries.claim, request)


async def end(store: Store, cleared, outcome) -> None:
    assert isinstance(cleared, pin_tries.ClearedTry), cleared
    result = pin_tries.AttemptResult(attempt_id=cleared.attempt_id, outcome=outcome)
    await store.write_in_set(pin_tries.record, result)


async def due(store: Store) -> list[bool]:
    return [await store.read(lambda conn, one=one: pin_changes.is_due(conn, one)) for one in ICCIDS]


async def held(store: Store, iccid) -> tuple[str, bool]:
    """The vault's PIN, and whether another one is pending."""
    row = await store.read(lambda conn: conn.execute(select(sim).where(sim.c.iccid == iccid)).one())
    place = pins.pin_place(iccid)
    return store.vault.decrypt_text(row.pin_enc, place=place), row.pin_pending_enc is not None


async def alarms(store: Store) -> list[str]:
    query = select(event.c.data).where(event.c.kind == "alarm")
    return list(await store.read(lambda conn: conn.scalars(query).all()))


async def test_the_first_change_must_succeed_before_others_begin(tmp_path):
    async with open_store(tmp_path) as store:
        await cards(store)
        first = await ask(store, ICCIDS[0])
        assert await ask(store, ICCIDS[1]) == Wait(reason=WaitReason.CANARY)
        assert await held(store, ICCIDS[0]) == (OLD, True)
        await end(store, first, AO.RIGHT)
        assert await held(store, ICCIDS[0]) == (NEW, False)
        together = [await ask(store, iccid) for iccid in ICCIDS[1:4]]
        (row,) = await store.read(pins.read_imports)
        assert await due(store) == [False, False, False, True, True, True]
    assert [type(one) for one in together] == [pin_tries.ClearedTry] * 2 + [Wait]
    assert (row.n_right, row.n_out, row.n_changed) == (6, 0, 1)


@pytest.mark.parametrize("outcome", [AO.WRONG, AO.NOT_ALLOWED])
async def test_a_refused_change_stops_the_rest_and_alarms_once(tmp_path, outcome):
    async with open_store(tmp_path) as store:
        await cards(store)
        await end(store, await ask(store, ICCIDS[0]), AO.RIGHT)
        one, two = [await ask(store, iccid) for iccid in ICCIDS[1:3]]
        await end(store, one, outcome)
        await end(store, two, outcome)
        assert await ask(store, ICCIDS[3]) == Stop(reason=StopReason.CHANGE_STOPPED)
        assert await held(store, ICCIDS[1]) == (OLD, False)
        said = [one for one in await alarms(store) if "pin_change_stopped" in one]
        (row,) = await store.read(pins.read_imports)
        await store.write(lambda tx: pins.resume_import(tx, "import"))
        begun = await ask(store, ICCIDS[3])
        with pytest.raises(Conflict):
            await store.write(lambda tx: pins.resume_import(tx, "import"))
    assert len(said) == 1
    assert row.stopped_at is None
    assert row.change_stopped_reason == f"a card kept its PIN ({outcome})"
    assert isinstance(begun, pin_tries.ClearedTry)


async def test_a_refusal_that_one_card_of_a_set_shows_stops_the_next_one_of_it(tmp_path):
    async with open_store(tmp_path) as store:
        await cards(store)
        await end(store, await ask(store, ICCIDS[0]), AO.RIGHT)
        await end(store, await ask(store, ICCIDS[1]), AO.UNKNOWN)
        change = pin_tries.TryRequest(
            iccid=ICCIDS[2], bay="1", command=C.CPWD, counter=3, new_pin=NEW
        )
        shows = replace(change, iccid=ICCIDS[1], command=C.CPIN, counter=2, new_pin=None)
        later = replace(change, iccid=ICCIDS[3])
        first, _, last = await store.write(lambda tx: pin_tries.claim(tx, [change, shows, later]))
    assert isinstance(first, pin_tries.ClearedTry)
    assert last == Stop(reason=StopReason.CHANGE_STOPPED)


@pytest.mark.parametrize("is_done", [True, False], ids=["done", "never_happened"])
async def test_a_lost_answer_is_settled_at_the_next_power_up(tmp_path, is_done):
    clock = TestClock()
    async with open_store(tmp_path, clock) as store:
        await cards(store)
        await ask(store, ICCIDS[0])
        await store.write(pins.close_open_tries)
        clock.advance(ANSWER_LIMIT.total_seconds())
        assert await ask(store, ICCIDS[1]) == Stop(reason=StopReason.CHANGE_STOPPED)
        pending = await ask(store, ICCIDS[0], C.CPIN)
        assert (pending.pin, pending.source) == (NEW, PinSource.PENDING)
        await end(store, pending, AO.RIGHT if is_done else AO.WRONG)
        if not is_done:
            old = await ask(store, ICCIDS[0], C.CPIN, counter=2)
            assert (old.pin, old.source) == (OLD, PinSource.CURRENT)
            await end(store, old, AO.RIGHT)
        assert await held(store, ICCIDS[0]) == (NEW if is_done else OLD, False)
        (row,) = await store.read(pins.read_imports)
        other = await ask(store, ICCIDS[1])
    assert row.n_changed == int(is_done)
    assert isinstance(other, pin_tries.ClearedTry) == is_done
    assert (row.change_stopped_at is None) == is_done


async def test_a_pending_pin_whose_answers_get_lost_is_not_tried_for_ever(tmp_path):
    """The counter always shows three: it may lie, and two tries are burnt."""
    async with open_store(tmp_path) as store:
        await cards(store, 1)
        await ask(store, ICCIDS[0])
        for _ in range(2):
            await store.write(pins.close_open_tries)
            assert isinstance(await ask(store, ICCIDS[0], C.CPIN), pin_tries.ClearedTry)
        await store.write(pins.close_open_tries)
        answer = await ask(store, ICCIDS[0], C.CPIN)
        n = len(await store.read(lambda conn: conn.execute(select(pin_attempt)).all()))
    assert answer == Stop(reason=StopReason.ANSWERS_LOST)
    assert n == 1 + 1 + 2
