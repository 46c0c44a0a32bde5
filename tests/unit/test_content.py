"""What texts may say, and which answers opt out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modemctl.errors import PolicyRefused
from modemctl.policy.content import (
    ContentRules,
    is_variable_name,
    opt_out_keyword,
    render,
    variables_of,
)

RULES = ContentRules()
GOOD_PROMOTION = "【公司】新品上市,优惠多多。回T退订"


@pytest.mark.parametrize(
    ("category", "text", "policy"),
    [
        ("notice", "请回复您的验证码", "SMS-12"),
        ("notice", "请把短信验证码发送给我们的客服", "SMS-12"),
        ("other", "请提供您的银行卡密码", "SMS-12"),
        ("other", "请 回 复 验\u200b证码".replace(" ", ""), "SMS-12"),
        ("notice", "Please reply with your verification code.", "SMS-12"),
        ("notice", "Send your PIN code to us", "SMS-12"),
        ("notice", "ｒｅｐｌｙ with the one-time password", "SMS-12"),
        ("other", "代开发票,量大从优", "SMS-08"),
        ("notice", "You have won a prize", "SMS-08"),
        ("notice", "限时优惠,仅此一天", "SMS-02"),
        ("notice", "Special offer: 20% off", "SMS-02"),
        ("promotion", "新品上市。回T退订", "SMS-08"),
        ("promotion", "【公司】新品上市", "SMS-08"),
    ],
)
def test_a_text_that_breaks_a_rule_is_refused_with_its_id(category, text, policy):
    with pytest.raises(PolicyRefused) as caught:
        RULES.check(text, category=category)
    assert caught.value.policy == policy


@pytest.mark.parametrize(
    ("category", "text"),
    [
        ("notice", "您的利息已到账,请登录手机银行查询。"),
        ("notice", "请勿向任何人提供验证码"),
        ("notice", "我行不会向您索取密码,请勿回复验证码。"),
        ("notice", "Never send your password to anybody."),
        ("notice", "We will not ask you to reply with a PIN code."),
        ("notice", "Your meeting is on Monday at 9."),
        ("other", "Your parcel waits at the desk."),
        ("promotion", GOOD_PROMOTION),
        ("promotion", "New rates, reply STOP to unsubscribe【Bank】"),
    ],
)
def test_a_text_that_keeps_the_rules_passes(category, text):
    RULES.check(text, category=category)


def test_the_sites_own_signature_is_asked_for():
    rules = ContentRules(signature="【华夏】")
    with pytest.raises(PolicyRefused, match="华夏"):
        rules.check(GOOD_PROMOTION, category="promotion")
    rules.check(GOOD_PROMOTION.replace("公司", "华夏"), category="promotion")


def test_a_site_may_set_its_own_lists():
    rules = ContentRules(forbidden=("gold",), promotion=(), asking=())
    rules.check("限时优惠 请回复您的验证码", category="notice")
    with pytest.raises(PolicyRefused, match="SMS-08"):
        rules.check("GOLD for all", category="notice")


@pytest.mark.parametrize(
    "text",
    ["退订", "TD", "td ", "T", "t。", "ＴＤ", "Stop", "STOP!", "“退订”", "n", "unsubscribe", "拒收",
     "opt out", "取消订阅", "退訂", "退 订", "退\u200b订", "TD退订", "回T退订"],
)  # fmt: skip
def test_a_text_that_is_just_a_keyword_opts_out(text):
    assert opt_out_keyword(text) is not None


@pytest.mark.parametrize("text", ["", "thanks", "怎么退订别的", "stop by tomorrow", "TDD", "好的"])
def test_other_texts_do_not(text):
    assert opt_out_keyword(text) is None


def test_variables_are_put_in_once_and_as_they_are():
    template = "{name}: {a1} {姓名} {1x} {} {{name}}"
    assert variables_of(template) == {"name", "a1", "姓名"}
    text = render(template, {"name": "{a1}", "a1": "{name}", "姓名": "\\1"})
    assert text == "{a1}: {name} \\1 {1x} {} {{a1}}"


def test_a_missing_variable_is_refused():
    with pytest.raises(PolicyRefused, match="name"):
        render("Dear {name}", {})


@given(st.text())
def test_a_name_is_a_variables_name_exactly_if_a_template_takes_it(name):
    assert is_variable_name(name) == (variables_of(f"{{{name}}}") == {name})


@given(st.text(max_size=300), st.sampled_from(["notice", "promotion", "other"]))
def test_any_text_passes_or_is_refused_by_a_rule(text, category):
    refused_by = None
    try:
        RULES.check(text, category=category)
    except PolicyRefused as refusal:
        refused_by = refusal.policy
    assert refused_by in {None, "SMS-02", "SMS-08", "SMS-12"}
    if category == "promotion" and "【" not in text:
        assert refused_by is not None
