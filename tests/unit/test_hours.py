"""Quiet hours in the site's zone and the batch's window."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from modemctl.config import HoursSettings, Settings
from modemctl.config.settings import Weekday
from modemctl.policy.hours import Quiet, is_quiet, next_open

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


# ---------------------------------------------------------------- days

NATIONAL_DAY = HoursSettings(
    working_days_only=("promotion", "other"),
    rest_weekdays=(Weekday.SATURDAY, Weekday.SUNDAY),
    holidays=(date(2026, 10, 1), date(2026, 10, 2)),
    extra_working_days=(date(2026, 10, 10),),
)
ZONE = ZoneInfo("Asia/Shanghai")
PROMOTION = Quiet.of(NATIONAL_DAY, "promotion", ZONE)
OTHER = Quiet.of(NATIONAL_DAY, "other", ZONE)  # no quiet hours, days of rest alone


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-09-30T23:59:59+08:00", False),
        ("2026-10-01T00:00:00+08:00", True),
        ("2026-10-02T12:00:00+08:00", True),
        ("2026-10-03T12:00:00+08:00", True),
        ("2026-10-04T23:59:59+08:00", True),
        ("2026-10-04T16:00:00+00:00", False),
        ("2026-10-10T12:00:00+08:00", False),
        ("2026-10-11T12:00:00+08:00", True),
    ],
)
def test_days_of_rest_are_quiet_but_those_that_are_worked(moment, expected):
    assert is_quiet(OTHER, at(moment)) is expected


def test_the_first_working_day_opens_with_its_hours():
    start = at("2026-09-30T22:00:00+08:00")
    window = {"not_before": start, "not_after": start + timedelta(days=30)}
    assert next_open(OTHER, start, **window) == start
    assert next_open(PROMOTION, start, **window) == at("2026-10-05T08:00:00+08:00")
    holiday = at("2026-10-01T09:00:00+08:00")
    assert next_open(OTHER, holiday, **window) == at("2026-10-05T00:00:00+08:00")
    assert next_open(OTHER, holiday, not_before=holiday, not_after=at("2026-10-04T00:00Z")) is None


def test_categories_that_are_not_named_know_no_days_of_rest():
    assert Quiet.of(NATIONAL_DAY, "notice", ZONE) is None
    plain = Quiet.of(HoursSettings(), "promotion", ZONE)
    assert plain is not None
    assert not is_quiet(plain, at("2026-10-03T12:00:00+08:00"))
    bound = HoursSettings(working_days_only=("notice",))
    assert Quiet.of(bound, "notice", ZONE) is None


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"rest_weekdays": tuple(Weekday)}, "leaves no day to work"),
        ({"holidays": (date(2026, 1, 1),), "extra_working_days": (date(2026, 1, 1),)}, "in both"),
    ],
)
def test_a_senseless_calendar_is_refused(wrong, told):
    with pytest.raises(ValidationError) as caught:
        HoursSettings(**wrong)
    assert told.replace("in both", "in holidays and in extra_working_days") in str(caught.value)


def test_a_calendar_for_an_unknown_category_is_refused():
    with pytest.raises(ValidationError, match=r"hours\.working_days_only names alarm"):
        Settings(hours=HoursSettings(working_days_only=("alarm",)))
