"""The PIN guard's table, row by row."""

from datetime import UTC, datetime, timedelta

import pytest

from modemctl.policy.pin_guard import (
    ANSWER_LIMIT,
    MAX_WIDTH,
    Attempt,
    AttemptOutcome,
    Case,
    ImportState,
    PinCommand,
    PinSource,
    Stop,
    StopReason,
    Try,
    Wait,
    WaitReason,
    decide,
    is_stopped_by,
    settle,
    width,
)

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)
OLD, NEW = b"old", b"new"
FRESH = ImportState(n_right=0, n_wrong=0, n_out=0, is_stopped=False)
AO = AttemptOutcome


def attempt(outcome, fingerprint=OLD, tries_before=3, age=0.0, command=PinCommand.CPIN):
    return Attempt(
        attempt_id=1,
        fingerprint=fingerprint,
        command=command,
        tries_before=tries_before,
        at=NOW - timedelta(seconds=age),
        outcome=outcome,
    )


def case(counter=3, current=OLD, pending=None, attempts=(), pin_import=FRESH):
    return Case(
        counter=counter,
        current=current,
        pending=pending,
        attempts=attempts,
        pin_import=pin_import,
        now=NOW,
    )


def state(n_right=0, n_wrong=0, n_out=0, is_stopped=False):
    return ImportState(n_right=n_right, n_wrong=n_wrong, n_out=n_out, is_stopped=is_stopped)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (case(), Try(source=PinSource.CURRENT)),
        (case(counter=2), Try(source=PinSource.CURRENT)),
        (case(counter=None), Stop(reason=StopReason.COUNTER_UNKNOWN)),
        (case(counter=1), Stop(reason=StopReason.COUNTER_LOW)),
        (case(counter=0), Stop(reason=StopReason.COUNTER_LOW)),
        (case(current=None), Stop(reason=StopReason.NO_PIN)),
        (case(attempts=[attempt(AO.WRONG)]), Stop(reason=StopReason.PIN_FAILED)),
        (case(attempts=[attempt(AO.BLOCKED)]), Stop(reason=StopReason.PIN_FAILED)),
        (case(attempts=[attempt(AO.UNKNOWN)]), Stop(reason=StopReason.PIN_FAILED)),
        (case(attempts=[attempt(AO.ABANDONED)]), Stop(reason=StopReason.PIN_FAILED)),
        (case(attempts=[attempt(None)]), Wait(reason=WaitReason.IN_FLIGHT)),
        (case(attempts=[attempt(None, age=3600)]), Stop(reason=StopReason.PIN_FAILED)),
        (case(attempts=[attempt(AO.WRONG, NEW)]), Try(source=PinSource.CURRENT)),
        (case(attempts=[attempt(AO.NOT_ALLOWED)]), Try(source=PinSource.CURRENT)),
        (case(attempts=[attempt(AO.UNBURNT)]), Try(source=PinSource.CURRENT)),
        (case(attempts=[attempt(AO.UNBURNT)] * 2), Stop(reason=StopReason.ANSWERS_LOST)),
        (
            case(attempts=[attempt(AO.RIGHT), *[attempt(AO.UNBURNT)] * 9]),
            Try(source=PinSource.CURRENT),
        ),
        (case(attempts=[attempt(AO.RIGHT), attempt(AO.WRONG)]), Stop(reason=StopReason.PIN_FAILED)),
    ],
)
def test_a_card_alone(given, expected):
    assert decide(given) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (state(n_out=1), Wait(reason=WaitReason.CANARY)),
        (state(n_right=1, n_out=1), Try(source=PinSource.CURRENT)),
        (state(n_right=1, n_out=2), Wait(reason=WaitReason.WIDTH)),
        (state(n_right=3, n_out=3), Try(source=PinSource.CURRENT)),
        (state(n_right=3, n_out=4), Wait(reason=WaitReason.WIDTH)),
        (state(n_right=5, n_wrong=1), Try(source=PinSource.CURRENT)),
        (state(n_right=5, n_wrong=2, is_stopped=True), Stop(reason=StopReason.IMPORT_STOPPED)),
    ],
)
def test_a_card_among_its_import(given, expected):
    assert decide(case(pin_import=given)) == expected


def test_a_proved_pin_waits_for_no_import():
    given = case(attempts=[attempt(AO.RIGHT)], pin_import=state(n_out=64, is_stopped=True))
    assert decide(given) == Try(source=PinSource.CURRENT)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (case(pending=NEW), Try(source=PinSource.PENDING)),
        (case(pending=NEW, counter=2), Stop(reason=StopReason.PENDING_UNSURE)),
        (
            case(pending=NEW, counter=2, attempts=[attempt(AO.WRONG, NEW)]),
            Try(source=PinSource.CURRENT),
        ),
        (
            case(pending=NEW, counter=1, attempts=[attempt(AO.WRONG, NEW)]),
            Stop(reason=StopReason.COUNTER_LOW),
        ),
        (
            case(pending=NEW, attempts=[attempt(AO.WRONG, NEW), attempt(AO.WRONG)]),
            Stop(reason=StopReason.PIN_FAILED),
        ),
        (case(pending=NEW, current=None), Try(source=PinSource.PENDING)),
        (
            case(pending=NEW, current=None, attempts=[attempt(AO.WRONG, NEW)]),
            Stop(reason=StopReason.PIN_FAILED),
        ),
    ],
)
def test_a_pending_pin_goes_first_and_only_with_all_tries(given, expected):
    assert decide(given) == expected


LATE = ANSWER_LIMIT.total_seconds()


@pytest.mark.parametrize(
    ("outcome", "age", "tries_before", "counter", "is_unlocked", "expected"),
    [
        (AO.UNKNOWN, 0, 3, 3, False, AO.UNBURNT),
        (AO.UNKNOWN, 0, 3, 2, False, AO.WRONG),
        (AO.UNKNOWN, 0, 3, 0, False, AO.WRONG),
        (AO.UNKNOWN, 0, 2, 3, False, AO.RIGHT),
        (AO.UNKNOWN, 0, 3, None, False, None),
        (AO.UNKNOWN, 0, 3, None, True, AO.RIGHT),
        (None, LATE - 1, 3, 2, False, None),
        (None, LATE - 1, 3, 3, True, None),
        (None, LATE, 3, 2, False, AO.WRONG),
        (None, LATE, 3, 3, False, AO.UNBURNT),
        (AO.WRONG, 0, 3, 3, True, None),
        (AO.RIGHT, 0, 3, 1, False, None),
        (AO.ABANDONED, 0, 3, 3, True, AO.RIGHT),
        (AO.ABANDONED, 0, 3, 3, False, AO.UNBURNT),
        (AO.ABANDONED, 0, 3, 2, False, AO.WRONG),
        (AO.ABANDONED, 0, 3, None, False, None),
    ],
)
def test_the_card_settles_an_attempt_without_answer(
    outcome, age, tries_before, counter, is_unlocked, expected
):
    given = attempt(outcome, age=age, tries_before=tries_before)
    assert settle(given, counter=counter, is_unlocked=is_unlocked, now=NOW) == expected


def test_an_open_card_does_not_tell_whether_its_pin_was_changed():
    given = attempt(AO.UNKNOWN, command=PinCommand.CPWD)
    assert settle(given, counter=None, is_unlocked=True, now=NOW) is None
    assert settle(given, counter=3, is_unlocked=True, now=NOW) is AO.UNBURNT


def test_the_width_doubles_when_as_many_as_it_allows_were_right():
    assert [width(n) for n in range(8)] == [1, 2, 2, 4, 4, 4, 4, 8]
    assert width(10_000) == MAX_WIDTH


def test_which_wrong_answers_stop_an_import():
    assert is_stopped_by(n_right=0, n_wrong=1)
    assert not is_stopped_by(n_right=1, n_wrong=1)
    assert is_stopped_by(n_right=500, n_wrong=2)
    assert not is_stopped_by(n_right=0, n_wrong=0)
