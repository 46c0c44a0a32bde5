"""What a text may say (SMS-02, SMS-08, SMS-12), its variables, what an answer means (SIM-08)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from modemctl.errors import PolicyRefused
from modemctl.model import Category

_VARIABLE: Final = re.compile(r"\{([A-Za-z_\u4e00-\u9fff][A-Za-z0-9_\u4e00-\u9fff]{0,31})\}")
_VARIABLE_NAME: Final = re.compile(r"[A-Za-z_\u4e00-\u9fff][A-Za-z0-9_\u4e00-\u9fff]{0,31}")

_CODE_ZH: Final = (
    r"验证码|校验码|动态码|动态口令|短信码"
    r"|(?:银行卡?|支付|取款|交易|登录|网银|账户|帐户|卡片?)?密码"
)
_GIVE_ZH: Final = r"回复|回传|发送|发给|发至|提供|告知|告诉|输入|填写|报给|发回|转发"
_CODE_EN: Final = (
    r"verification\s+codes?|security\s+codes?|one[- ]time\s+(?:codes?|passwords?)|otps?"
    r"|(?:bank|card|account|login|payment)?\s*(?:passwords?|pin(?:\s+codes?)?)|cvv2?"
)
_GIVE_EN: Final = r"reply|send|give|tell|provide|enter|forward|submit|text\s+(?:us|back)|confirm"
_NOT_ZH: Final = r"(?:请?勿|不要|切勿|不得|请?不|严禁|谨防|绝不会?|不会)[^。!?!?;;\n]{0,12}$"
_NOT_EN: Final = r"(?:never|do\s+not|don['’]?t|not|will\s+not|won['’]?t)\b[^.!?;\n]{0,24}$"

DEFAULT_ASKING: Final = (
    rf"(?:{_GIVE_ZH})[^。!?!?;;\n]{{0,16}}(?:{_CODE_ZH})",
    rf"(?:{_CODE_ZH})[^。!?!?;;\n]{{0,8}}(?:{_GIVE_ZH})",
    rf"\b(?:{_GIVE_EN})\b[^.!?;\n]{{0,40}}\b(?:{_CODE_EN})\b",
    rf"\b(?:{_CODE_EN})\b[^.!?;\n]{{0,24}}\b(?:to\s+us|by\s+reply|back\s+to\s+us)\b",
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
     "unsubscribe", "cancel", "end", "quit", "optout", "0000", "00000"}
)  # fmt: skip
_TRIMMED: Final = " \t\r\n。.!!,,;;'\"“”‘’「」()()-_*#"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentRules:
    """Patterns per rule; `signature` is the site's own, empty lets any signature pass."""

    signature: str = ""
    asking: tuple[str, ...] = DEFAULT_ASKING
    forbidden: tuple[str, ...] = DEFAULT_FORBIDDEN
    promotion: tuple[str, ...] = DEFAULT_PROMOTION
    _compiled: Mapping[str, re.Pattern[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        compiled = {
            name: re.compile("|".join(f"(?:{one})" for one in patterns) or r"(?!)", re.IGNORECASE)
            for name, patterns in (
                ("asking", self.asking),
                ("forbidden", self.forbidden),
                ("promotion", self.promotion),
            )
        }
        object.__setattr__(self, "_compiled", compiled)

    def check(self, text: str, *, category: str) -> None:
        """Refuse a text that its category may not carry; the refusal quotes only the hit.

        Raises:
            PolicyRefused: SMS-12 asks for a secret; SMS-08 forbidden content, promotion without
                signature or way out; SMS-02 promotion in a notice.
        """
        plain = _plain(text)
        if (hit := self._asks_for_secret(plain)) is not None:
            raise PolicyRefused(
                "SMS-12",
                "a text never asks for passwords or verification codes",
                field="text",
                value=hit,
            )
        if found := self._compiled["forbidden"].search(plain):
            raise PolicyRefused(
                "SMS-08", "the text holds forbidden content", field="text", value=found[0]
            )
        if category == Category.PROMOTION:
            self._check_promotion(text)
        elif category == Category.NOTICE and (found := self._compiled["promotion"].search(plain)):
            raise PolicyRefused(
                "SMS-02",
                "a notice does not advertise",
                cure="submit it as promotion",
                field="text",
                value=found[0],
            )

    def _asks_for_secret(self, text: str) -> str | None:
        for found in self._compiled["asking"].finditer(text):
            before = text[max(0, found.start() - 40) : found.start()]
            is_warning = re.search(_NOT_ZH, before) or re.search(_NOT_EN, before, re.IGNORECASE)
            inner = re.search(
                r"[勿]|不要|不会|\b(?:never|do\s+not|don['’]?t)\b", found[0], re.IGNORECASE
            )
            if not is_warning and not inner:
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
        if not _OPT_OUT_HINT.search(_plain(text)):
            raise PolicyRefused(
                "SMS-08",
                "a promotion says how to opt out",
                cure="add for instance 回T退订",
                field="text",
            )


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
    word = _plain(text).strip(_TRIMMED).casefold().replace(" ", "")
    return word if word in _OPT_OUT_WORDS else None


def _plain(text: str) -> str:
    """Full-width letters made plain, invisible characters removed: tricks do not help."""
    folded = unicodedata.normalize("NFKC", text)
    if folded.isprintable():
        return folded  # by far the most: nothing in it is invisible
    return "".join(char for char in folded if unicodedata.category(char) != "Cf")
