"""What a text may say (SMS-02, SMS-08, SMS-12), its variables, what an answer means (SIM-08)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from modemctl.errors import PolicyRefused
from modemctl.model import Category
from modemctl.policy.folding import Folded, fold, place_of, visible
from modemctl.policy.links import LinkList
from modemctl.policy.words import Hit, Pattern, WordRule, WordSearch

_VARIABLE: Final = re.compile(r"\{([A-Za-z_\u4e00-\u9fff][A-Za-z0-9_\u4e00-\u9fff]{0,31})\}")
_ANCHOR: Final = re.compile(r"(?<!\[)\^|\$|\\[AZ]")
_VARIABLE_NAME: Final = re.compile(r"[A-Za-z_\u4e00-\u9fff][A-Za-z0-9_\u4e00-\u9fff]{0,31}")

# Patterns are read on folded texts (`policy.folding`): small letters, simplified characters.
_STOP_ZH: Final = r"[^。!?;\n]"
_STOP_EN: Final = r"[^.!?;\n]"
_CODE_ZH: Final = r"验证码|校验码|动态码|动态口令|短信码|确认码|授权码"
_KNOWN_ZH: Final = r"(?:密码|网银口令|cvv2?|安全码)(?!有误|错|不正确|失败|次数|已)"
_SECRET_ZH: Final = rf"{_CODE_ZH}|{_KNOWN_ZH}"
_GIVE_ZH: Final = r"回复|回传|提供|告知|告诉|报给|发回|转发|转告|透露|回给"
_SEND_ZH: Final = r"发(?:送)?(?:给|至|到|回)|传给"
_CODE_EN: Final = (
    r"verification\s+codes?|security\s+codes?|one[- ]time\s+(?:codes?|passwords?)|otps?|cvv2?"
)
_KNOWN_EN: Final = r"passwords?|pins?|pin\s+codes?"
_GIVE_EN: Final = (
    r"reply|send|give|tell|provide|forward|submit|text\s+(?:us|back)|confirm|share|disclose"
)
_IS_GIVEN: Final = r"(?!\s*(?:is\b|:|=|为|是)?\s*(?:[0-9]{4,8}|\{))"
_NOT_ZH: Final = (
    r"(?:请?勿|不要|切勿|不得|请?不|严禁|谨防|绝不会?|不会|从不|防止|警惕)[^。!?;\n]{0,12}$"
)
_NOT_EN: Final = r"(?:never|do\s+not|don['’]?t|not|will\s+not|won['’]?t)\b[^.!?;\n]{0,24}$"
_NOT_INSIDE: Final = re.compile(r"勿|不要|不会|不得|切莫|\b(?:never|do\s+not|don['’]?t)\b")
_WARNING: Final = re.compile(rf"{_NOT_ZH}|{_NOT_EN}")

DEFAULT_ASKING: Final = (
    rf"(?:{_GIVE_ZH}){_STOP_ZH}{{0,16}}(?:{_SECRET_ZH})",
    rf"(?:{_SEND_ZH}|发送)(?:{_STOP_ZH}{{0,6}}(?:[您你卡]|收到|手机|短信){_STOP_ZH}{{0,6}})?(?:{_SECRET_ZH})",
    rf"(?:{_SECRET_ZH}){_STOP_ZH}{{0,8}}(?:{_GIVE_ZH}|{_SEND_ZH})",
    rf"(?:输入|填写|填入)(?!错){_STOP_ZH}{{0,12}}(?:{_KNOWN_ZH})",
    rf"(?:输入|填写|填入){_STOP_ZH}{{0,8}}(?:{_CODE_ZH}){_IS_GIVEN}",
    rf"收到的{_STOP_ZH}{{0,6}}(?:数字|短信|验证){_STOP_ZH}{{0,8}}(?:{_GIVE_ZH}|{_SEND_ZH})",
    rf"(?:{_GIVE_ZH}|{_SEND_ZH}|发送){_STOP_ZH}{{0,10}}收到的{_STOP_ZH}{{0,6}}(?:数字|短信|验证)",
    rf"\b(?:{_GIVE_EN})\b{_STOP_EN}{{0,40}}\b(?:{_CODE_EN}|{_KNOWN_EN})\b{_IS_GIVEN}",
    rf"\b(?:{_CODE_EN}|{_KNOWN_EN})\b{_STOP_EN}{{0,24}}\b(?:to\s+us|by\s+reply|in\s+reply)\b",
    rf"\benter\b{_STOP_EN}{{0,30}}\b(?:{_CODE_EN}|{_KNOWN_EN})\b{_IS_GIVEN}",
    rf"\b(?:reply|send|text)\b{_STOP_EN}{{0,20}}\b(?:your|the)\s+(?:[0-9]-digit\s+)?code\b{_IS_GIVEN}",
)
"""Texts that ask for a password or code; a negation just before is a warning, and allowed."""
DEFAULT_FORBIDDEN: Final = (
    r"六合彩|代开发票|办理假证|枪支|迷药|裸聊|赌场|博彩|刷单返利|套现|高利贷",
    r"\b(?:casino|lottery\s+winner|you\s+have\s+won|fake\s+invoices?)\b",
)
"""Content that no category may carry; sites add their own lists."""
DEFAULT_PROMOTION: Final = (
    r"优惠|促销|折扣|特价|大促|秒杀|抢购|满减|限时|立减|返现|免费领|中奖|红包|抽奖|推荐理财|低至|特惠",
    r"\b(?:discounts?|special\s+offers?|sale|promo(?:tions?)?|coupons?|cash\s?back|limited\s+time"
    r"|free\s+gift|%\s*off|buy\s+now)\b|\d\s*%\s*off",
)
"""Words by which a notice is a promotion in truth (SMS-02)."""

_OPT_OUT_HINT: Final = re.compile(
    r"退订|拒收|回复?\s*(?:TD|T|N|R)\b|\b(?:reply|text|send)\s+(?:STOP|TD|T)\b|\bunsubscribe\b",
    re.IGNORECASE,
)
_SIGNATURE: Final = re.compile(r"^\s*【[^【】]{2,20}】|【[^【】]{2,20}】\s*$")
_OPT_OUT_WORDS: Final = frozenset(
    {"退订", "取消", "取消订阅", "拒收", "不要再发", "别发了", "td", "t", "n", "stop", "stopall",
     "unsubscribe", "cancel", "td退订", "t退订",
     "回t退订", "回复t退订", "回td退订", "我要退订", "end", "quit", "optout", "0000", "00000"}
)  # fmt: skip
_TRIMMED: Final = " \t\r\n。.!!,,;;'\"“”‘’「」()()-_*#"


_BETWEEN: Final = "\n␞\n"
"""Between texts that are looked at together: no rule reaches over it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentRules:
    """Patterns per rule; `signature` is the site's own, empty lets any signature pass.

    `lists` are the site's own words, `links` what may stand in a text as a link.
    """

    signature: str = ""
    asking: tuple[str, ...] = DEFAULT_ASKING
    forbidden: tuple[str, ...] = DEFAULT_FORBIDDEN
    promotion: tuple[str, ...] = DEFAULT_PROMOTION
    lists: tuple[WordRule, ...] = ()
    links: LinkList = field(default_factory=LinkList)
    _asking: tuple[Pattern, ...] = field(init=False, repr=False, compare=False)
    _searches: dict[str, WordSearch] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_asking", tuple(map(Pattern.of, self.asking)))
        object.__setattr__(self, "_searches", {})

    def check(self, text: str, *, category: str) -> None:
        """Refuse a text that its category may not carry; the refusal quotes only the hit.

        Raises:
            PolicyRefused: SMS-12 asks for a secret; SMS-08 forbidden content or link, promotion
                without signature or way out; SMS-02 promotion in a notice.
        """
        folded = fold(text)
        if (hit := self._asks_for_secret(folded)) is not None:
            raise _refusal(
                "SMS-12",
                "a text never asks for passwords or verification codes",
                text,
                hit,
                cure="take it out; a warning says 请勿 or never",
            )
        if (word := self._search(category).first(folded)) is not None:
            raise _word_refusal(text, word)
        if (link := self.links.first_foreign(text, folded)) is not None:
            raise _refusal(
                "SMS-08",
                "the text holds a link that is not on the list",
                text,
                link.written,
                cure="take it out, or have it added to content.links",
            )
        if category == Category.PROMOTION:
            self._check_promotion(text)

    def check_all(self, texts: Sequence[str], *, template: str, category: str) -> int | None:
        """The place (from 0) of the first of many texts made of one template that `check` refuses.

        Costs a fraction of checking each; the template itself has passed.
        """
        together = _BETWEEN.join(texts)
        folded = fold(together)
        is_clean = (
            not self.has_anchors
            and self._asks_for_secret(folded) is None
            and self._search(category).first(folded) is None
            and self.links.first_foreign(together, folded) is None
            and self._stays_promotion(template, category)
        )
        return None if is_clean else self._first_refused(texts, category)

    @property
    def has_anchors(self) -> bool:
        """Whether a pattern asks where a text begins or ends: each must be looked at alone."""
        own = [one for rule in self.lists for one in rule.patterns]
        return any(
            _ANCHOR.search(one) for one in (*self.asking, *self.forbidden, *self.promotion, *own)
        )

    def _first_refused(self, texts: Sequence[str], category: str) -> int | None:
        for at, text in enumerate(texts):
            try:
                self.check(text, category=category)
            except PolicyRefused:
                return at
        return None

    def _stays_promotion(self, template: str, category: str) -> bool:
        """Whether signature and way out stand in a promotion's constant part."""
        if category != Category.PROMOTION:
            return True
        try:
            self._check_promotion(_VARIABLE.sub("【】\n", template))
        except PolicyRefused:
            return False
        return True

    def _search(self, category: str) -> WordSearch:
        if category not in self._searches:
            lists = [one for one in self.lists if one.covers(category) and not one.is_promotion]
            lists.append(WordRule(name="built-in", patterns=self.forbidden))
            if category == Category.NOTICE:
                lists += [one for one in self.lists if one.is_promotion]
                lists.append(WordRule(name="promotion", patterns=self.promotion, is_promotion=True))
            self._searches[category] = WordSearch(lists)
        return self._searches[category]

    def _asks_for_secret(self, text: Folded) -> str | None:
        for pattern in self._asking:
            for form in pattern.forms(text):
                for found in pattern.compiled.finditer(form):
                    before = form[max(0, found.start() - 40) : found.start()]
                    if not _WARNING.search(before) and not _NOT_INSIDE.search(found[0]):
                        return found[0]
        return None

    def _check_promotion(self, text: str) -> None:
        has_signature = self.signature in text if self.signature else _SIGNATURE.search(text)
        if not has_signature:
            raise PolicyRefused(
                "SMS-08",
                "a promotion carries the company's signature",
                cure=f"begin or end the text with {self.signature or '【company】'}",
                field="text",
            )
        if not _OPT_OUT_HINT.search(visible(text)):
            raise PolicyRefused(
                "SMS-08",
                "a promotion says how to opt out",
                cure="add for instance 回T退订",
                field="text",
            )


def _word_refusal(text: str, hit: Hit) -> PolicyRefused:
    rule = hit.rule
    if rule.is_promotion:
        return _refusal(
            "SMS-02", "a notice does not advertise", text, hit.found, cure="submit it as promotion"
        )
    return _refusal(
        "SMS-08", f"the text holds what list {rule.name} forbids", text, hit.found, cure=rule.cure
    )


def _refusal(policy: str, rule: str, text: str, hit: str, *, cure: str) -> PolicyRefused:
    place = place_of(text, hit)
    where = "" if place is None else f" (characters {place[0]} to {place[1]})"
    return PolicyRefused(policy, f"{rule}{where}", cure=cure, field="text", value=hit)


def variables_of(template: str) -> frozenset[str]:
    """Names of the variables (`{name}`) that a template needs."""
    return frozenset(_VARIABLE.findall(template))


def has_control(text: str) -> bool:
    """Whether it holds what no text may: control characters but tab and line breaks, halves."""
    return not text.isprintable() and any(
        (char < " " and char not in "\n\r\t") or "\ud800" <= char <= "\udfff" for char in text
    )


def is_variable_name(name: str) -> bool:
    """Letters, digits, `_` and Chinese characters, at most 32, no digit first."""
    return _VARIABLE_NAME.fullmatch(name) is not None


def render(template: str, variables: Mapping[str, str]) -> str:
    """The text for one recipient; values are put in as they are, once.

    Raises:
        PolicyRefused: SMS-01, a variable has no value.
    """

    def value(found: re.Match[str]) -> str:
        try:
            return variables[found[1]]
        except KeyError:
            raise PolicyRefused("SMS-01", f"the variable {found[1]} has no value") from None

    return _VARIABLE.sub(value, template)


def opt_out_keyword(text: str) -> str | None:
    """The keyword by which an incoming text opts out, or None; only a text that is just that.

    Source: company rule SIM-08.
    """
    word = fold(text).tight.strip(_TRIMMED)
    return word if word in _OPT_OUT_WORDS else None
