"""What the demo sends and what comes in: texts of every kind, and to whom."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from random import Random
from typing import Final

from modemctl.cli.client import Json, Record
from modemctl.demo.cast import SALES

NOTICE_TEMPLATE: Final = "{greeting}{body}"
PROMOTION_TEMPLATE: Final = "【示例公司】{name}，{offer} 回复TD退订"
_REAL_MOBILE_PREFIX: Final = (
    "+8613"  # a range that the number rules know; nothing leaves this machine
)

_NAMES: Final = ("王小明", "李娜", "欧阳修远", "张伟", "Ms. Müller", "陈𠮷", "O'Neill", "刘洋")
_SHORT: Final = (
    "your meeting is on Monday at 09:30, room 5.",
    "the interest of EUR 12.50 was credited {today}. Balance: [see letter] ~ €",
    "您的季度对账单已寄出，请查收。",
    "生日快乐！🎂🎉 祝您健康平安。",
    "会议改到下周二 14:00，地点不变。",
    "Grüße aus Köln: Ihr Vertrag läuft noch 30 Tage.",
)
_LONG: Final = (
    "This is a longer notice about the annual general meeting. It has an agenda, a place and a "
    "time, and it does not fit into one message of one hundred and sixty characters, so it is "
    "sent as several segments that the phone joins again. Please bring your letter.",
    "尊敬的客户：根据您与我公司签订的服务合同，本季度利息将于本月二十日前划入您的账户。"
    "如您更换了联系地址或联系方式，请尽快与客户经理联系更新。感谢您一直以来的信任与支持，"
    "我们将继续为您提供优质的服务。祝您生活愉快，万事如意！😊",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One batch of the script: the request, and what each recipient must read in the end."""

    batch_id: str
    request: Record
    texts: dict[str, str]


def notice(n_messages: int, random: Random) -> Planned:
    """A notice to customers: GSM 7-bit, Chinese, emoji, one and several segments."""
    lines: list[Json] = []
    texts: dict[str, str] = {}
    for index in range(n_messages):
        to = _number(90, index)
        body = random.choice(_LONG if index % 8 == 7 else _SHORT).replace("{today}", "today")
        greeting = f"No. {index + 1}: "
        lines.append({"to": to, "variables": {"greeting": greeting, "body": body}})
        texts[to] = greeting + body
    return _planned("notice", NOTICE_TEMPLATE, lines, texts, operator="zhou-operator")


def promotion(n_messages: int, random: Random) -> Planned:
    """A promotion in Chinese, with signature and the way to opt out; starts by itself."""
    lines: list[Json] = []
    texts: dict[str, str] = {}
    for index in range(n_messages):
        to = _number(60, index)
        name = random.choice(_NAMES)
        offer = f"本周新品到店，凭本短信可领第{index + 1}号礼品。"
        lines.append({"to": to, "variables": {"name": name, "offer": offer}})
        texts[to] = f"【示例公司】{name}，{offer} 回复TD退订"
    return _planned(
        "promotion", PROMOTION_TEMPLATE, lines, texts, operator="wu-operator", starts_itself=True
    )


def forged(kind: str) -> Planned:
    """A small batch that must not leave: never approved, or altered after approval."""
    texts = {_number(50, index): f"{kind} {index}" for index in range(3)}
    lines: list[Json] = [
        {"to": to, "variables": {"greeting": "No. ", "body": text}} for to, text in texts.items()
    ]
    return _planned("notice", NOTICE_TEMPLATE, lines, texts, operator="zhou-operator")


def _planned(
    category: str,
    template: str,
    lines: list[Json],
    texts: dict[str, str],
    *,
    operator: str,
    starts_itself: bool = False,
) -> Planned:
    batch_id = str(uuid.uuid4())
    request: Record = {
        "batch_id": batch_id,
        "category": category,
        "text": template,
        "department": SALES,
        "drafter": "liu-drafter",
        "operator": operator,
        "list_owner": "liu-drafter",
        "list_source": "customers of the demonstration",
        "starts_itself": starts_itself,
        "recipients": lines,
    }
    return Planned(batch_id=batch_id, request=request, texts=texts)


def _number(block: int, index: int) -> str:
    return f"{_REAL_MOBILE_PREFIX}{block}{index:07}"
