"""What an incoming text is, as far as a rule of the company turns on it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from modemctl.policy.content import opt_out_keyword
from modemctl.policy.folding import fold


class InboxKind(StrEnum):
    """What a stored message is."""

    TEXT = "text"
    PART = "part"  # one segment of a longer text
    BINARY = "binary"  # octets for an application
    RAW = "raw"  # could not be decoded
    OPT_OUT = "opt_out"  # the sender wants nothing more (SIM-08)
    CODE = "code"  # looks like a verification code (SMS-12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a whole text is; `keyword` is the word that opts out."""

    kind: InboxKind
    keyword: str | None = None


_CODE_WORDS: Final = re.compile(
    r"验证码|校验码|动态码|动态密码|动态口令|确认码|激活码|授权码|短信口令|初始密码|密码[是为:]|"
    r"\b(?:verification|security|confirmation|login|access|pass)[ -]?code\b|\bone[ -]time\b|"
    r"\botp\b|\bpasscode\b|\b(?:temporary|initial|new)\s+(?:password|pin)\b"
)
_CODE: Final = re.compile(
    r"(?<![0-9])[0-9](?:[ -]?[0-9]){3,7}(?![0-9])"
    r"|(?<![a-z0-9])(?=[a-z]*[0-9])[a-z0-9]{5,12}(?![a-z0-9])"
)


def read_text(text: str) -> Reading:
    """Read a whole text. Source: company rules SIM-08, SMS-12."""
    keyword = opt_out_keyword(text)
    if keyword is not None:
        return Reading(kind=InboxKind.OPT_OUT, keyword=keyword)
    plain = fold(text).plain
    if _CODE_WORDS.search(plain) and _CODE.search(plain):
        return Reading(kind=InboxKind.CODE)
    return Reading(kind=InboxKind.TEXT)


def may_hold_code(text: str) -> bool:
    """Whether a piece of a text has a number in it that could be a code, or the word for one."""
    plain = fold(text).plain
    return _CODE.search(plain) is not None or _CODE_WORDS.search(plain) is not None
