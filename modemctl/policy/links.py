"""Links in a text, with or without scheme, and the list of those that may stand there (SMS-08).

What a telephone makes a link of counts as one: `www.`, a name that ends in a known top domain, an
address of four numbers, anything behind `://`. Names are compared in their ASCII form (IDNA), so
that a Cyrillic а or a full-width dot is no way around.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from modemctl.policy.folding import Folded, visible

SHORTENERS: Final = frozenset(
    {"t.cn", "dwz.cn", "url.cn", "suo.im", "suo.nz", "0x3.me", "u.nu", "dwz.date", "mrw.so", "t.hk",
     "sourl.cn", "rrd.me", "985.so", "c1n.cn", "bit.ly", "t.co", "goo.gl", "tinyurl.com", "is.gd",
     "ow.ly", "cutt.ly", "rb.gy", "t.ly", "s.id", "buff.ly", "rebrand.ly", "shorturl.at", "v.gd",
     "tiny.cc", "j.mp", "u.to"}
)  # fmt: skip
"""Services whose short names lead anywhere: only single links of theirs can be allowed."""
_TOPS: Final = (
    "com|cn|net|org|gov|edu|info|biz|xyz|top|vip|club|shop|store|site|online|fun|ltd|pro|cc|tv|io"
    "|app|link|click|live|icu|wang|work|tech|ink|win|bid|loan|red|mobi|asia|name|hk|tw|mo|us|uk|jp"
    "|kr|sg|ru|eu|de|fr|ca|au|nz|nu|im|gd|gl|gy|ly|ws|la|pw|su|sh|gg|ai|dev|cloud|group|ren|world"
    "|space|website|host|press|news|today|life|mp|at|ml|tk|ga|cf|gq|date|cyou|sbs|cfd|rest|buzz"
    "|bank|finance|money|xn--[a-z0-9-]{2,59}|中国|中國|公司|网络|網絡|网址|集团|商城|商店|网店|香港"
    "|台湾|台灣|在线|中文网|网站|手机|我爱你|信息|餐厅|企业|购物|招聘|游戏|娱乐|佛山|广东|世界"
)
_WORDLIKE: Final = "me|so|to|in|it|is|be|my|no|by|do|id|co|am|as|ee|hm|pm"
"""Top domains that also end an English sentence: links only with a path behind them."""
_TOKEN: Final = re.compile(r"[^\s,;()<>\"'、。!?《》“”‘’「」【】\[\]|]+")
_TOP: Final = re.compile(rf"\.(?:{_TOPS})(?![a-z0-9_-])")
_WORD_TOP: Final = re.compile(rf"\.(?:{_WORDLIKE})$")
_QUAD: Final = re.compile(r"(?<![\d.])(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_LOOSE_DOT: Final = re.compile(
    r"(?<=[a-z0-9-])(?:\s*[。・·]\s*|\s+\.\s*|\s*[\[(]\.[\])]\s*)(?=[a-z])"
)
_SIGN_OF_ONE: Final = re.compile(
    r"[.。·・][\s\])]*[^\W\d_]|:[/\\]{2}|[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\."
)
"""What is in every text with a link, and in few others."""
_CHINESE: Final = re.compile(r"^[㐀-鿿]+(?=[a-z0-9])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One link of a text; `host` in its ASCII form, empty where it has none that can be read."""

    written: str
    host: str
    path: str


@dataclass(frozen=True, slots=True)
class LinkList:
    """What may stand in a text: `bank.cn` (with what is below it), `t.cn/Ab12` (that one)."""

    entries: tuple[str, ...] = ()
    _hosts: frozenset[str] = field(init=False, repr=False, compare=False)
    _whole: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        plain = [entry.partition("/") for entry in map(str.lower, self.entries)]
        hosts = frozenset(ascii_host(host) for host, _, path in plain if not path)
        whole = frozenset(f"{ascii_host(host)}/{path}" for host, _, path in plain if path)
        object.__setattr__(self, "_hosts", hosts)
        object.__setattr__(self, "_whole", whole)

    def first_foreign(self, text: str, folded: Folded) -> Link | None:
        """The first link that the list does not hold."""
        if _SIGN_OF_ONE.search(folded.plain) is None:
            return None  # by far the most
        for link in links_in(text):
            if not self._holds(link):
                return link
        return None

    def _holds(self, link: Link) -> bool:
        if f"{link.host}{link.path}" in self._whole:
            return True
        labels = link.host.split(".")
        return any(".".join(labels[at:]) in self._hosts for at in range(len(labels)))


def links_in(text: str) -> Iterator[Link]:
    """All links of a text, in order."""
    plain = visible(text).lower()
    plain = _LOOSE_DOT.sub(".", plain).replace("\\", "/")
    for found in _TOKEN.finditer(plain):
        if _SIGN_OF_ONE.search(found[0]) is not None:
            yield from _links_of(found[0])


def ascii_host(host: str) -> str:
    """The ASCII form of a host's name; empty where it has none."""
    try:
        return host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return ""


def _links_of(token: str) -> Iterator[Link]:
    scheme, mark, rest = token.rpartition("://")
    if not mark:
        rest = token
    cut = re.search(r"[/?#]", rest)
    at = len(rest) if cut is None else cut.start()
    authority, path = rest[:at].rpartition("@")[2], rest[at:]
    if "://" in scheme:  # one link within another: the outer one counts as well
        yield from _links_of(scheme)
    pieces = list(_names(authority, has_path=path.startswith("/") and len(path) > 1))
    if mark and not pieces:
        pieces = [re.split(r"[:一-鿿]", authority)[0]]
    for number, name in enumerate(pieces, 1):
        tail = path if number == len(pieces) else ""
        yield Link(written=name, host=ascii_host(_CHINESE.sub("", name)), path=tail)


def _names(authority: str, *, has_path: bool) -> Iterator[str]:
    """Each name that ends in a top domain; Chinese words may adjoin it on both sides."""
    quads = [found for found in _QUAD.finditer(authority) if _is_address(found)]
    if quads:
        yield from (found[0] for found in quads)
        return
    ends = [found.end() for found in _TOP.finditer(authority)]
    if has_path and (found := _WORD_TOP.search(authority)) is not None:
        ends.append(found.end())
    if not ends and authority.startswith("www."):
        ends = [len(authority)]
    begun = 0
    for number, end in enumerate(ends, 1):
        is_last = number == len(ends)
        if not is_last and authority[end : end + 1] in {".", "-"}:
            continue  # com.cn: the name goes on
        name = authority[begun:end].rpartition(":")[2].strip(".")
        begun = end
        if name:
            yield name


def _is_address(found: re.Match[str]) -> bool:
    return all(int(part) <= 255 for part in found.groups())
