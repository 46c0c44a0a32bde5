"""Amounts in networks' answers, and the patterns that find them (SIM-15)."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modemctl.config.balances import GROUPS, USUAL_PATTERN, BalanceSettings, BalancesSettings
from modemctl.config.patterns import checked_pattern
from modemctl.policy.balances import amount_in, is_due, is_low, read_amount, shown

USUAL = checked_pattern(USUAL_PATTERN, groups=GROUPS)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1,234.50", "1234.50"),
        ("-3.20元", "-3.20"),
        ("￥12", "12"),
        ("-￥3.20", "-3.20"),
        ("￥-3.20", "-3.20"),
        ("−0.5", "-0.5"),
        ("+7", "7"),
        ("1.234,50", "1234.50"),
        ("1 234,50", "1234.50"),
        ("12,5", "12.5"),
        ("1,234", "1234"),
        ("1.234", "1.234"),
        ("1,234,567", "1234567"),
        ("1.234.567,8", "1234567.8"),
        ("１２．５０", "12.50"),
        ("12.50.", "12.50"),
        ("0.00", "0.00"),
        ("EUR 5", "5"),
        ("1,23,4", None),
        ("1.2.3", None),
        ("12,34.56.7", None),
        ("", None),
        ("-", None),
        ("--5", None),
        ("1" * 16, None),
        ("5-3", None),
    ],
)
def test_amounts_are_read_as_people_write_them(text: str, amount: str | None) -> None:
    found = read_amount(text)
    assert (None if found is None else shown(found)) == amount


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("您的余额为12.50元", "12.50"),
        ("尊敬的客户，您的当前余额：1,234.50元。", "1234.50"),
        ("账户余额:-3.20元", "-3.20"),
        ("可用余额￥-3.20", "-3.20"),
        ("您已欠费3.20元，请充值。当前余额0元", "-3.20"),
        ("Balance 12.50 CNY", "12.50"),
        ("Your credit is: EUR 7,35.", "7.35"),
        ("You owe 5.00", "-5.00"),
        ("余额为零", None),
        ("1 Balance\n2 My number", None),
        ("1. 查询余额\n2. 充值", None),
        ("Balance 12.50\n1 Top up", "12.50"),
        ("系统繁忙，请稍后再试", None),
        ("拨打10086", None),
        ("", None),
    ],
)
def test_usual_pattern_finds_the_amount_of_usual_answers(text: str, amount: str | None) -> None:
    found = amount_in(text, USUAL)
    assert (None if found is None else shown(found)) == amount


@given(st.text())
def test_no_answer_is_too_odd(text: str) -> None:
    for one in (text, f"余额{text}", f"余额{text}1.5"):
        found = amount_in(one, USUAL)
        assert found is None or found.is_finite()


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=2))
def test_an_amount_in_groups_is_the_amount(value: Decimal) -> None:
    assert read_amount(f"{value:,.2f}") == value
    assert read_amount(shown(value)) == value


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("余额(", "no regular expression"),
        ("余额[0-9]+", "no group"),
        (r"(?P<other>[0-9]+)", "no group"),
        (r"(?P<amount>([0-9]+)+)x", "may not repeat"),
        (r"(?P<amount>(?:[0-9]|[0-9])*)x", "may not repeat"),
        (r"(?P<amount>[0-9])(?:a{1,9}){5}", "may not repeat"),
        (r".*.*.*(?P<amount>[0-9]+)", "too many repeats"),
        (r"(?P<amount>[0-9]*)[0-9]*[0-9]*x", "too many repeats"),
        (r"(?P<amount>[0-9])\1", "not allowed here"),
        (r"(?P<amount>[0-9])(?P=amount)", "not allowed here"),
        (r"(?x)(?P<amount>[0-9])", "not allowed here"),
        (r"(?P<amount>a)(?<=a)", "not allowed here"),
        ("(?P<amount>[0-9])" + "a" * 300, "longer than"),
    ],
)
def test_pattern_that_could_hold_up_the_daemon_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        checked_pattern(pattern, groups=GROUPS)


@pytest.mark.parametrize(
    "pattern",
    [
        USUAL_PATTERN,
        r"余额(?:为|[:：])?\s?(?P<amount>-?[0-9,]+(?:\.[0-9]{1,2})?)",
        r"(?i)bal\.? (?:is )?(?P<amount>\d+\.\d\d)",
        r"^.{0,40}?(?P<amount>\d{1,9})$",
        r"[^]\]]{0,3}(?P<owed>\d+?)\x41\u4f59",
    ],
)
def test_pattern_of_few_ways_is_taken_and_soon_ends_on_the_worst_text(pattern: str) -> None:
    compiled = checked_pattern(pattern, groups=GROUPS)
    for text in ("余额" * 100, "1" * 200, "余额" + "," * 198, "." * 200):
        amount_in(text, compiled)


def test_costliest_pattern_that_is_taken_ends() -> None:
    compiled = checked_pattern(r".*.*\d?(?P<amount>x)", groups=GROUPS)
    assert amount_in("1" * 10_000, compiled) is None


def test_refused_pattern_is_named_with_its_cure() -> None:
    with pytest.raises(ValueError, match=r"pattern: a group may not repeat; write out what comes"):
        BalanceSettings(code="*100#", pattern="(?P<amount>([0-9]+)+)")


@pytest.mark.parametrize("code", ["100", "*100#;D", "*100#\r", '*1",15', "#" * 30, ""])
def test_code_that_is_none_is_refused(code: str) -> None:
    with pytest.raises(ValueError, match="code"):
        BalanceSettings(code=code)


def test_carriers_without_a_code_are_not_asked() -> None:
    rule = BalanceSettings(code="*100#")
    assert BalancesSettings().of("CMCC") is None
    assert BalancesSettings(carriers={"CMCC": rule}).of("CUCC") is None
    assert BalancesSettings(carriers={"CMCC": rule}).of(None) is None
    assert BalancesSettings(carriers={"default": rule}).of("CUCC") is rule


@pytest.mark.parametrize(
    ("amount", "low", "is_told"),
    [("10.00", "10", True), ("10.01", "10", False), ("0", "0", True), ("-1", "0", True)],
)
def test_what_is_no_more_than_the_threshold_is_low(amount: str, low: str, *, is_told: bool) -> None:
    assert is_low(Decimal(amount), low) is is_told


def test_a_card_is_asked_once_a_day_of_the_site() -> None:
    zone = ZoneInfo("Asia/Shanghai")
    late, early = datetime(2026, 11, 22, 15, 59, tzinfo=UTC), datetime(2026, 11, 22, 16, tzinfo=UTC)
    assert is_due(None, late, days=1, zone=zone)
    assert not is_due(datetime(2026, 11, 21, 16, tzinfo=UTC), late, days=1, zone=zone)
    assert is_due(late, early, days=1, zone=zone)
    assert not is_due(late, early, days=2, zone=zone)


def test_the_pattern_is_compiled_as_it_stands() -> None:
    assert BalanceSettings(code="*100#").compiled() == re.compile(USUAL_PATTERN)


@pytest.mark.parametrize(
    "code",
    ["**04*1234*0000*0000#", "**05*1#", "**21*10086#", "*21*10086#", "*62#", "#21#", "##002#",
     "*43#", "*33*0000#", "*03*330*1*2*2#"],
)  # fmt: skip
def test_a_code_that_changes_something_asks_no_balance(code: str) -> None:
    with pytest.raises(ValueError, match="would forward or bar calls or change a PIN"):
        BalanceSettings(code=code)


@pytest.mark.parametrize("code", ["*100#", "*102*1#", "#123#", "*#100#", "*333#", "*611#", "*043#"])
def test_a_code_that_asks_is_taken(code: str) -> None:
    assert BalanceSettings(code=code).code == code
