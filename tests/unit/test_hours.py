"""Quiet hours in the site's zone and the batch's window."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modemctl.policy.hours import Quiet, after_open_seconds, is_quiet, next_open, open_seconds

SHANGHAI = Quiet(start=time(21), end=time(8), zone=ZoneInfo("Asia/Shanghai"))
NOON = Quiet(start=time(12), end=time(13, 30), zone=ZoneInfo("Asia/Shanghai"))
BERLIN = Quiet(start=time(1), end=time(2, 30), zone=ZoneInfo("Europe/Berlin"))


def at(text):
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("quiet", "moment", "expected"),
    [
        (SHANGHAI, "2026-11-21T20:59:59+08:00", False),
        (SHANGHAI, "2026-11-21T21:00:00+08:00", True),
        (SHANGHAI, "2026-11-21T13:00:00+00:00", True),
        (SHANGHAI, "2026-11-22T07:59:59+08:00", True),
        (SHANGHAI, "2026-11-22T08:00:00+08:00", False),
        (NOON, "2026-11-22T11:59:00+08:00", False),
        (NOON, "2026-11-22T12:00:00+08:00", True),
        (NOON, "2026-11-22T13:30:00+08:00", False),
        (None, "2026-11-22T03:00:00+08:00", False),
    ],
)
def test_the_first_quiet_minute_is_quiet_and_the_one_after_the_last_is_not(quiet, moment, expected):
    assert is_quiet(quiet, at(moment)) is expected


@pytest.mark.parametrize(
    ("quiet", "moment", "opens"),
    [
        (SHANGHAI, "2026-11-21T22:00:00+08:00", "2026-11-22T08:00:00+08:00"),
        (SHANGHAI, "2026-11-22T02:00:00+08:00", "2026-11-22T08:00:00+08:00"),
        (SHANGHAI, "2026-11-22T09:00:00+08:00", "2026-11-22T09:00:00+08:00"),
        (SHANGHAI, "2026-11-20T09:00:00+08:00", "2026-11-21T10:00:00+08:00"),
        (None, "2026-11-22T03:00:00+08:00", "2026-11-22T03:00:00+08:00"),
        (SHANGHAI, "2026-11-23T21:30:00+08:00", None),
    ],
)
def test_the_next_opening_lies_in_the_window_and_outside_quiet_hours(quiet, moment, opens):
    found = next_open(
        quiet,
        at(moment),
        not_before=at("2026-11-21T10:00:00+08:00"),
        not_after=at("2026-11-24T07:00:00+08:00"),
    )
    assert found == (None if opens is None else at(opens))


def test_clocks_that_go_back_into_quiet_hours_stay_quiet():
    window = {
        "not_before": at("2026-10-24T00:00:00+00:00"),
        "not_after": at("2026-10-26T00:00:00+00:00"),
    }
    # 02:30 comes twice that night: at 00:30 and, after half an hour more of quiet, at 01:30.
    for moment, opens in (("T00:15", "T00:30"), ("T00:45", "T00:45"), ("T01:10", "T01:30")):
        found = next_open(BERLIN, at(f"2026-10-25{moment}:00+00:00"), **window)
        assert found == at(f"2026-10-25{opens}:00+00:00")


MOMENTS = st.integers(0, 365 * 86_400).map(
    lambda seconds: at("2026-01-01T00:00:00+00:00") + timedelta(seconds=seconds)
)
QUIETS = st.builds(
    Quiet,
    start=st.times(),
    end=st.times(),
    zone=st.sampled_from([ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin"), UTC]),
).filter(lambda quiet: quiet.start != quiet.end)


@given(QUIETS, MOMENTS)
def test_what_opens_is_open_and_never_earlier(quiet, moment):
    window = {"not_before": moment, "not_after": moment + timedelta(days=3)}
    found = next_open(quiet, moment, **window)
    assert found is not None
    assert found >= moment
    assert not is_quiet(quiet, found)


@given(QUIETS, MOMENTS, st.integers(0, 100_000))
def test_open_seconds_are_never_more_than_the_time_that_passes(quiet, moment, seconds):
    end = moment + timedelta(seconds=seconds)
    assert 0 <= open_seconds(quiet, moment, end) <= seconds + 1e-6
    assert open_seconds(None, moment, end) == seconds


def test_open_seconds_of_a_whole_day():
    day = at("2026-11-21T00:00:00+08:00")
    assert open_seconds(SHANGHAI, day, day + timedelta(days=1)) == 13 * 3_600
    assert open_seconds(NOON, day, day + timedelta(days=1)) == 22.5 * 3_600


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
@pytest.mark.parametrize("end", [time(1, 30), time(2), time(2, 30), time(3), time(3, 30)])
@pytest.mark.parametrize("start", [time(22), time(0, 30), time(1), time(2, 15), time(2, 45)])
def test_nights_of_clock_changes_open_when_they_are_open(day, start, end):
    quiet = Quiet(start=start, end=end, zone=ZoneInfo("Europe/Berlin"))
    midnight = at(f"{day}T00:00:00+00:00")
    for minutes in range(-180, 360, 15):
        moment = midnight + timedelta(minutes=minutes)
        found = next_open(quiet, moment, not_before=moment, not_after=moment + timedelta(days=2))
        assert found is not None
        assert not is_quiet(quiet, found)
        assert found == moment or is_quiet(quiet, moment)


@given(QUIETS, MOMENTS, st.integers(0, 400_000))
def test_after_open_seconds_is_the_inverse_of_open_seconds(quiet, moment, seconds):
    end = after_open_seconds(quiet, moment, seconds)
    assert open_seconds(quiet, moment, end) == pytest.approx(seconds, abs=1e-3)
    assert after_open_seconds(None, moment, seconds) == moment + timedelta(seconds=seconds)
