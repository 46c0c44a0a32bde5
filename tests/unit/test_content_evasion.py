"""Tricks of writing, links, the site's own lists: what gets past the content rules is a bug."""

import pickle
import random

import pytest

from modemctl.config import Settings
from modemctl.config.content import ContentSettings
from modemctl.errors import ConfigError, PolicyRefused
from modemctl.policy.content import ContentRules
from modemctl.policy.folding import fold, place_of
from modemctl.policy.links import LinkList, links_in
from modemctl.policy.words import WordRule
from modemctl.service.content_lists import content_rules

SITE = ContentRules(
    lists=(
        WordRule(name="gambling", words=("六合彩", "優惠貸款", "casino", "free  loan")),
        WordRule(name="sales", words=("开门红",), is_promotion=True),
        WordRule(name="notices", words=("理财",), categories=frozenset({"notice"})),
        WordRule(name="shapes", patterns=(r"加[vwx]信", r"QQ\d{5,}")),
    ),
    links=LinkList(("bank.cn", "t.cn/Ab12", "中国银行.cn")),
)


def refused(text, category="other", rules=SITE):
    with pytest.raises(PolicyRefused) as caught:
        rules.check(text, category=category)
    return caught.value


@pytest.mark.parametrize(
    "text",
    ["六合彩开奖",
     "六\u200b合\u2060彩", "六 合 彩", "六*合_彩", "六.合.彩", "六,合,彩", "(六)(合)(彩)",
     "六\n合\n彩", "六★合★彩", "优惠贷款", "優惠貸款", "优 惠 貸 款", "CASINO", "Ｃａｓｉｎｏ",
     "c a s i n o", "c.a.s.i.n.o", "cаsinо night", "a casino.", "FREE LOAN", "free-loan today",
     "ca\u00adsino", "加V信", "加 v 信 领取", "qq123456", "六\ufe0f合\ufe0f彩"],
)  # fmt: skip
def test_no_writing_hides_a_forbidden_word(text):
    error = refused(text)
    assert error.policy == "SMS-08"
    assert "characters" in error.rule
    assert error.cure


@pytest.mark.parametrize(
    "text",
    ["六家合作彩电商场", "广博。彩色印刷", "casinos are not meant",
     "a free car, a loan", "加上信用",
     "开。门,红", "六月合同,彩页附后", "他在理财部门工作", "qq12"],
)  # fmt: skip
def test_what_only_looks_alike_passes(text):
    SITE.check(text, category="other")


def test_the_refusal_tells_rule_place_and_cure():
    error = refused("尊敬的客户:六 合*彩开奖", "notice")
    assert error.rule == "the text holds what list gambling forbids (characters 7 to 11)"
    assert (error.value, error.cure) == ("六合彩", "take it out")
    assert place_of("ab", "c") is None


def test_a_list_holds_for_its_categories():
    SITE.check("理财提示", category="other")
    assert refused("理财提示", "notice").policy == "SMS-08"


def test_the_sites_words_of_promotion_refuse_only_notices():
    SITE.check("开门红", category="other")
    error = refused("开門红", "notice")
    assert (error.policy, error.cure) == ("SMS-02", "submit it as promotion")


@pytest.mark.parametrize(
    "text",
    ["https://evil.com/x", "evil.com", "请点击evil.com领取", "EVIL．COM", "evil。com", "evil . com",
     "evil[.]com", "https://bank.cn@evil.com", "https://bank.cn.evil.com", "bank.cn或evil.com",
     "bаnk.cn", "http://1.2.3.4/a", "1.2.3.4", "xn--fsq.com", "例子.中国", "http://例子.网站/",
     "t.cn/Xy99", "t.me/abc", "www.anything.zz", "https://dl/business", "weixin://dl/business",
     "bank.cn.co/x", "mybank.cn", "evil.com:8080", "ev\u200bil.com", "mail x@evil.com",
     "https://bank.cn?u=https://evil.com", "hxxps://evil.top", "http:\\\\evil.com"],
)  # fmt: skip
def test_a_link_that_is_not_on_the_list_is_refused(text):
    assert refused(text).policy == "SMS-08"


@pytest.mark.parametrize(
    "text",
    ["请登录bank.cn查询", "https://www.bank.cn/a?b=c#d", "BANK.CN", "bank。cn", "t.cn/Ab12",
     "访问 中国银行.cn 办理", "xn--fiqs8s856bruk.cn", "官网:bank.cn,客服95588", "bank.cn:443/x",
     "bank.cn和www.bank.cn", "余额1,234.50元。请查收", "Hello.To all", "v1.2.3", "3.14.15",
     "See you at 8.30.Bring it."],
)  # fmt: skip
def test_links_on_the_list_and_texts_without_links_pass(text):
    SITE.check(text, category="other")


def test_links_are_found_in_order():
    hosts = [link.host for link in links_in("a.com, b.net/x 和 c.cn")]
    assert hosts == ["a.com", "b.net", "c.cn"]


ASKS = [
    "请把收到的6位数字告诉客服", "请将收到的短信验证码转发给工作人员", "回复银行卡密码即可解冻",
    "请输入您的银行卡密码完成认证", "點擊鏈接輸入短信驗證碼", "请提供CVV2", "验证码发给我",
    "请把密码发至95588", "请 提 供 密 码", "告知动态口令", "Please tell us your one-time password",
    "reply with the 6-digit code", "Enter your PIN to continue", "send us your OTP",
    "Forward your security code to us", "Submit your card password here", "Reply with your code.",
    "your password by reply please", "text back the verification code", "ＲＥＰＬＹ your PIN",
]  # fmt: skip
OWN = [
    "您的验证码是482913,5分钟内有效,请勿泄露给任何人。", "验证码为482913,请在页面输入。",
    "请输入验证码482913完成登录", "您的登录密码已于今日修改。", "密码输入错误次数过多,账户已锁定。",
    "您连续输入错误密码3次", "工作人员不会向您索要密码", "警惕以任何理由要求您提供验证码的来电。",
    "重置密码请发送CZMM到95588", "请妥善保管密码", "您的取款密码有误", "切勿回复验证码",
    "Your verification code is 482913. Do not share it.", "482913 is your security code",
    "Enter verification code 482913 on the page", "Your password was changed today.",
    "Never reply with your PIN.", "We will not ask you to send a password",
    "Don't give your one-time password to anybody", "Reply STOP to end. Your code is 482913.",
    "Your verification code is {code}", "您的验证码是{code},请在页面输入",
]  # fmt: skip


@pytest.mark.parametrize("text", ASKS)
@pytest.mark.parametrize("category", ["notice", "other"])
def test_who_asks_for_a_secret_is_refused(text, category):
    assert refused(text, category, ContentRules()).policy == "SMS-12"


@pytest.mark.parametrize("text", OWN)
def test_our_own_notices_of_codes_and_passwords_pass(text):
    ContentRules().check(text, category="notice")


# ---------------------------------------------------------------- many texts at once


@pytest.mark.parametrize("seed", range(20))
def test_many_texts_at_once_are_judged_as_each_alone(seed):
    dice = random.Random(seed)
    bits = ["六", "合", "彩", "。", " ", "请", "回复", "密码", "勿", "evil", ".com", "bank", ".cn",
            "李", "4829", "优惠", "casino", "\n", "code", "reply "]  # fmt: skip
    texts = ["您好" + "".join(dice.choices(bits, k=dice.randint(1, 5))) for _ in range(300)]
    clean = [text for text in texts if not _is_refused(text)]
    assert 50 < len(clean) < 300, f"seed {seed}"
    assert SITE.check_all(clean, template="您好{x}", category="notice") is None, f"seed {seed}"
    bad = next(text for text in texts if _is_refused(text))
    at = dice.randrange(len(clean))
    mixed = [*clean[:at], bad, *clean[at:]]
    assert SITE.check_all(mixed, template="您好{x}", category="notice") == at, f"seed {seed}"


def _is_refused(text):
    try:
        SITE.check(text, category="notice")
    except PolicyRefused:
        return True
    return False


def test_a_link_does_not_grow_out_of_two_texts():
    texts = ["evil.com", ".bank.cn"]
    assert SITE.check_all(texts, template="{x}", category="other") == 0


def test_a_pattern_that_asks_for_the_end_is_asked_of_each_text():
    rules = ContentRules(lists=(WordRule(name="ends", patterns=("再见$",)),))
    assert rules.check_all(["你好", "再见", "走了"], template="{x}", category="other") == 1


def test_a_promotion_whose_signature_is_a_variable_is_looked_at_line_by_line():
    rules, good = ContentRules(), "【公司】新品,回T退订"
    template = "{who}新品,回T退订"
    assert rules.check_all([good, good], template=template, category="promotion") is None
    assert rules.check_all([good, "某某新品,回T退订"], template=template, category="promotion") == 1


def test_rules_reach_the_sifting_child_whole():
    again = pickle.loads(pickle.dumps(SITE))
    assert again == SITE
    assert refused("六合彩", rules=again).policy == "SMS-08"


def test_folding_is_stable():
    for text in ("優惠 Ｃａ\u200bsino 六.合.彩", "ﬁne ½ ①"):
        once = fold(text)
        assert fold(once.plain) == once


# ---------------------------------------------------------------- files


def settings(folder, **content):
    return Settings(content=ContentSettings(lists=folder, **content))


def test_the_sites_lists_are_read_from_their_folder(tmp_path):
    (tmp_path / "spam.toml").write_text(
        'words = ["彩票"]\npatterns = [\'加[vx]信\']\ncategories = ["notice"]\ncure = "别写"\n'
    )
    rules = content_rules(settings(tmp_path, links=("bank.cn",)))
    error = refused("彩 票", "notice", rules)
    assert (error.rule.split(" (")[0], error.cure) == (
        "the text holds what list spam forbids",
        "别写",
    )
    rules.check("彩票 bank.cn", category="other")
    assert content_rules(settings(tmp_path / "none")).lists == ()


def test_all_mistakes_of_the_lists_are_told_at_once(tmp_path):
    (tmp_path / "a.toml").write_text('words = ["x", "**"]\npatterns = ["(", "a*"]\nnoun = 1\n')
    (tmp_path / "b.toml").write_text('categories = ["gossip"]\n')
    (tmp_path / "c d.toml").write_text("words = ['ab']")
    (tmp_path / "e.toml").write_text("words = 'ab'")
    (tmp_path / "f.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError) as caught:
        content_rules(settings(tmp_path, links=("t.cn", "a..cn")))
    told = "\n".join(caught.value.problems)
    for part in ("t.cn: a short-link", "a..cn: no such name", "noun: no such key",
                 "'x': has too few",
                 "'**': has too few", "'(': is no regular", "'a*': fits an empty",
                 "gossip: no such category", "neither words nor", "its name, which",
                 "words: must be a list", "f.toml: cannot be read"):  # fmt: skip
        assert part in told


@pytest.mark.parametrize(
    "link", ["", "bank", "https://bank.cn", "a@bank.cn", "bank.cn /x", "*.cn/ a"]
)
def test_a_link_of_the_settings_is_a_name(link):
    with pytest.raises(ValueError, match="each link must be"):
        ContentSettings(links=(link,))
