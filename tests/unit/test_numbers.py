"""Numbers as people write them (SMS-07). Vectors: typical lists and exports of spreadsheets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modemctl.policy.numbers import NumberRules, Rejection, normalise

RULES = NumberRules()


@pytest.mark.parametrize(
    "raw",
    ["13800138000", " 13800138000\t", "138 0013 8000", "138-0013-8000", "+8613800138000",
     "+86 138 0013 8000", "8613800138000", "008613800138000", "0086-138-0013-8000",
     "１３８００１３８０００", "＋８６１３８００１３８０００", "\ufeff13800138000", "(138)00138000",
     "138\u00a00013\u00a08000", "\u202a13800138000\u202c"],
)  # fmt: skip
def test_a_mobile_number_becomes_e164(raw):
    assert normalise(raw, RULES) == "+8613800138000"


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("", Rejection.EMPTY),
        ("  \u200b", Rejection.EMPTY),
        ("13800138000.0", Rejection.SPREADSHEET),
        ("1.38E+10", Rejection.SPREADSHEET),
        ("1.38001e10", Rejection.SPREADSHEET),
        ("010-61234567", Rejection.LANDLINE),
        ("0755-26001234", Rejection.LANDLINE),
        ("+86 21 61234567", Rejection.LANDLINE),
        ("4001234567", Rejection.LANDLINE),
        ("1380013800", Rejection.LENGTH),
        ("138001380001", Rejection.LENGTH),
        ("61234567", Rejection.LENGTH),
        ("+12", Rejection.LENGTH),
        ("+1234567890123456", Rejection.LENGTH),
        ("1380013800a", Rejection.LETTERS),
        ("call me", Rejection.LETTERS),
        ("138;00138000", Rejection.LETTERS),
        ("手机", Rejection.LETTERS),
        ("12800138000", Rejection.NOT_MOBILE),
        ("+8612800138000", Rejection.NOT_MOBILE),
        ("12599", Rejection.SHORT_CODE),
        ("110", Rejection.SHORT_CODE),
        ("+442079460000", Rejection.LANDLINE),
        ("+18005550199", Rejection.NOT_MOBILE),
        ("+999123456789", Rejection.LENGTH),
    ],
)
def test_what_is_no_mobile_number_is_refused_with_the_reason(raw, why):
    assert normalise(raw, RULES) is why
    assert why.policy == "SMS-07"


@pytest.mark.parametrize("raw", ["+447400123456", "00447400123456", "+12025550123"])
def test_foreign_mobiles_are_asked_of_the_library(raw):
    assert normalise(raw, RULES) == raw.replace("00", "+", 1) if raw[0] == "0" else raw


def test_another_regions_national_form_is_read():
    rules = NumberRules(region="GB")
    assert normalise("07400 123456", rules) == "+447400123456"
    assert normalise("020 7946 0000", rules) is Rejection.LANDLINE
    assert normalise("+8613800138000", rules) == "+8613800138000"


@pytest.mark.parametrize("raw", ["10086", "95588", " 10 010 "])
def test_allowed_short_codes_stay_as_they_are(raw):
    assert normalise(raw, RULES) == raw.replace(" ", "")


def test_a_strict_list_takes_half_width_digits_only():
    strict = NumberRules(half_width_only=True)
    assert normalise("１3800138000", strict) is Rejection.FULL_WIDTH
    assert normalise("13800138000", strict) == "+8613800138000"


@given(st.text(max_size=40))
def test_any_text_gives_a_dialable_number_or_a_reason(raw):
    found = normalise(raw, RULES)
    if not isinstance(found, Rejection):
        assert found in RULES.short_codes or (found[0] == "+" and found[1:].isdigit())
        assert normalise(found, RULES) == found


def test_what_limits_and_wishes_take_out_serves_another_rule():
    assert {one for one in Rejection if one.policy == "SIM-08"} == {
        Rejection.OPTED_OUT,
        Rejection.OWN_CARD,
        Rejection.TOO_FREQUENT,
        Rejection.TOO_LONG,
    }
