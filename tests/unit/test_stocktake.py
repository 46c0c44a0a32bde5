"""The stock-take's verdicts, what cards cost, and the periods of reports."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from modemctl.errors import InvalidRequest
from modemctl.lifecycle import CardState
from modemctl.policy.costs import Tariff, cost_of, tariff_of
from modemctl.policy.paper_periods import months_of, quarter_before, quarter_of, read_period
from modemctl.policy.stocktake import IdleRules, Registered, Verdict, compare

NOW = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
ZONE = ZoneInfo("Asia/Shanghai")


def card(iccid: str, state: CardState = CardState.ISSUED, bay: str | None = None, days: int = 0):
    return Registered(
        iccid=iccid, state=state, tied_bay=bay, last_use=NOW - timedelta(days=days, seconds=1)
    )


def test_each_card_is_judged_by_register_and_bank():
    register = [
        card("a"),
        card("b", bay="bay-9"),
        card("c"),
        card("d", days=30),
        card("e", days=90),
        card("f", CardState.RETURNED),
        card("g", CardState.CANCELLED, days=400),
        card("h", CardState.REQUESTED),
        card("i", days=29),
    ]
    seen = {"a": "bay-1", "b": "bay-2", "d": "bay-4", "f": "bay-6", "z": "bay-7", "i": "bay-8"}
    found = compare(register, seen, now=NOW, rules=IdleRules())
    assert {one.iccid: one.verdicts for one in found} == {
        "a": (Verdict.PRESENT,),
        "b": (Verdict.PRESENT, Verdict.MOVED),
        "c": (Verdict.MISSING,),
        "d": (Verdict.PRESENT, Verdict.IDLE),
        "e": (Verdict.MISSING, Verdict.TO_CANCEL),
        "f": (Verdict.GIVEN_UP,),
        "g": (),
        "h": (),
        "i": (Verdict.PRESENT,),
        "z": (Verdict.UNKNOWN,),
    }
    assert [one.n_idle_days for one in found if one.iccid in {"d", "z"}] == [30, None]


def test_costs_are_rounded_once_a_month():
    tariff = Tariff(segment=Decimal("0.045"), minute=Decimal("0.15"), rent=Decimal("8"))
    one = cost_of(tariff, n_segments=1, n_minutes=0, is_rented=False)
    assert (one.segments, one.total) == (5, 5)
    month = cost_of(tariff, n_segments=1_001, n_minutes=7, is_rented=True)
    assert (month.segments, month.minutes, month.rent) == (4_505, 105, 800)
    assert month.total == 5_410


def test_a_carrier_without_a_tariff_has_the_default_one():
    tariffs = {"default": Tariff(rent=Decimal(5)), "中国移动": Tariff(rent=Decimal(8))}
    assert tariff_of(tariffs, "中国移动").rent == 8
    assert tariff_of(tariffs, "中国联通").rent == tariff_of(tariffs, None).rent == 5
    assert tariff_of({}, "中国联通") == Tariff()


@pytest.mark.parametrize("text", ["2026Q3", "2026q3", "2026-Q3"])
def test_a_quarter_lies_in_the_sites_calendar(text):
    period = read_period(text, ZONE)
    assert period.name == "2026Q3"
    assert period.first == datetime(2026, 6, 30, 16, 0, tzinfo=UTC)
    assert period.end == datetime(2026, 9, 30, 16, 0, tzinfo=UTC)
    assert [one.name for one in months_of(period, ZONE)] == ["2026-07", "2026-08", "2026-09"]


def test_the_quarter_before_january_is_last_years():
    period = quarter_of(datetime(2025, 12, 31, 16, 0, tzinfo=UTC), ZONE)
    assert period.name == "2026Q1"
    names = []
    for _ in range(5):
        period = quarter_before(period, ZONE)
        names.append(period.name)
    assert names == ["2025Q4", "2025Q3", "2025Q2", "2025Q1", "2024Q4"]


def test_months_of_a_zone_with_summer_time_touch_each_other():
    zone = ZoneInfo("Europe/Berlin")
    months = months_of(read_period("2026Q4", zone), zone)
    assert [one.name for one in months] == ["2026-10", "2026-11", "2026-12"]
    assert all(a.end == b.first for a, b in pairwise(months))


@pytest.mark.parametrize("text", ["", "2026Q5", "2026-13", "1999Q1", "2026-1", "Q3"])
def test_what_names_no_period_is_refused(text):
    with pytest.raises(InvalidRequest):
        read_period(text, ZONE)
