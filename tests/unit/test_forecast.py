"""When a batch would be sent: worked examples, and held against every single segment."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modemctl.policy.forecast import Bank, Ceiling, Opening, forecast
from modemctl.policy.hours import Quiet, next_open
from modemctl.policy.quotas import Cap, Measure, Span, bucket_of, fits_at

ZONE = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)  # noon in Shanghai
WEEK = Opening(not_before=NOW, not_after=NOW + timedelta(days=7), quiet=None)
NIGHT = Quiet(start=time(21), end=time(8), zone=ZONE)


def ceiling(span, most, *, used=0, measure=Measure.SEGMENTS):
    return Ceiling(
        cap=Cap(measure=measure, span=span, most=most), used=used, setting=f"{measure}_per_{span}"
    )


def when(n, n_cards, *ceilings, interval=3.0, window=WEEK, n_messages=None):
    bank = Bank(n_cards=n_cards, interval=interval, ceilings=ceilings)
    return forecast(n, n_messages or n, bank, window, now=NOW, zone=ZONE)


def seconds(found):
    return (found.finish - NOW).total_seconds()


def test_without_limits_the_pace_of_the_cards_decides():
    assert seconds(when(1, 1)) == 0
    assert seconds(when(11, 1)) == pytest.approx(30, abs=3)
    assert seconds(when(1_001, 10)) == pytest.approx(300, abs=5)
    assert seconds(when(1_000_000, 500)) == pytest.approx(6_000, rel=0.02)


def test_nothing_to_send_and_nothing_to_send_with():
    assert when(0, 3).finish == NOW
    assert when(5, 0).finish is None


def test_each_limit_slows_and_is_named():
    minute = when(101, 1, ceiling(Span.MINUTE, 10))
    assert minute.limits == ("segments_per_minute",)
    assert seconds(minute) == pytest.approx(10 * 65, abs=30)
    hour = when(401, 2, ceiling(Span.HOUR, 200))
    assert hour.limits == ("segments_per_hour",)
    assert seconds(hour) == pytest.approx(2 * 3_900, abs=330)
    day = when(1_500, 10, ceiling(Span.DAY, 600))
    assert day.limits == ("segments_per_day",)
    assert seconds(day) == pytest.approx((12 + 24) * 3_600 + 300 * 0.3, abs=60), "two midnights"


def test_what_is_used_already_counts():
    free = when(100, 1, ceiling(Span.DAY, 100))
    used = when(100, 1, ceiling(Span.DAY, 100, used=1))
    assert seconds(free) == pytest.approx(300, abs=5)
    assert seconds(used) == pytest.approx(12 * 3_600, abs=10), "one waits for midnight"


def test_a_cap_on_messages_counts_as_many_segments_as_they_have():
    found = when(300, 10, ceiling(Span.DAY, 50, measure=Measure.MESSAGES), n_messages=100)
    assert found.limits == ("messages_per_day",)
    assert seconds(found) == pytest.approx(12 * 3_600 + 45, abs=10)


def test_quiet_hours_and_the_window_are_kept():
    window = Opening(not_before=NOW, not_after=NOW + timedelta(days=7), quiet=NIGHT)
    found = when(12_000, 1, window=window)  # ten hours of work, nine before the night
    assert seconds(found) == pytest.approx((9 + 11 + 1) * 3_600, abs=310)
    late = Opening(
        not_before=NOW + timedelta(hours=2), not_after=NOW + timedelta(hours=3), quiet=None
    )
    assert seconds(when(100, 1, window=late)) == pytest.approx(7_200 + 297, abs=5)
    never = when(12_000, 1, window=late)
    assert never.finish is None
    assert never.n_sent == pytest.approx(1_200, abs=110)


def every_segment(n, n_cards, cap, interval):
    """Segment by segment and card by card, by the very function that the ledger asks."""
    used: dict[int, int] = {}
    free = [NOW] * n_cards
    last = NOW
    for _ in range(n):
        card = min(range(n_cards), key=free.__getitem__)
        at = fits_at(
            used, cap, 1, steady=max(free[card], last), wall=max(free[card], last), zone=ZONE
        )
        bucket = bucket_of(cap.span, at, ZONE)
        used[bucket] = used.get(bucket, 0) + 1
        free[card] = at + timedelta(seconds=interval)
        last = at
    return last


@settings(max_examples=60)
@given(
    n=st.integers(1, 400),
    n_cards=st.integers(1, 8),
    span=st.sampled_from(list(Span)),
    most=st.integers(1, 300),
    interval=st.floats(0.5, 20),
)
def test_it_comes_near_to_a_walk_segment_by_segment(n, n_cards, span, most, interval):
    cap = Cap(measure=Measure.SEGMENTS, span=span, most=most)
    exact = every_segment(n, n_cards, cap, interval)
    far = Opening(not_before=NOW, not_after=NOW + timedelta(days=40_000), quiet=None)
    found = when(n, n_cards, ceiling(span, most), interval=interval, window=far)
    wait = (exact - NOW).total_seconds()
    assert seconds(found) == pytest.approx(wait, rel=0.10, abs=400)


@given(st.integers(0, 7 * 86_400))
def test_the_finish_lies_where_messages_may_leave(offset):
    start = NOW + timedelta(seconds=offset)
    window = Opening(not_before=start, not_after=start + timedelta(days=4), quiet=NIGHT)
    found = when(2_000, 3, ceiling(Span.HOUR, 300), window=window).finish
    assert found is not None
    opened = next_open(NIGHT, found - timedelta(seconds=300), not_before=start, not_after=found)
    assert opened is None or opened <= found


def test_a_million_lines_take_no_longer_than_a_hundred():
    most = {Span.MINUTE: 5_120, Span.HOUR: 102_400, Span.DAY: 256_000, Span.MONTH: 10**7}
    ceilings = [ceiling(span, n) for span, n in most.items()]
    found = when(1_000_000, 512, *ceilings)
    assert found.limits == ("segments_per_minute", "segments_per_hour", "segments_per_day")
    assert found.finish is not None
    assert found.finish.astimezone(ZONE).date().isoformat() == "2026-11-24", "on the fourth day"
