"""What `message explain` says, in Chinese: the daemon tells it in English, phrase by phrase.

Names, ids and what people or networks wrote stay as they are. A test holds the table against every
golden story, so that a phrase which is new there is missed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Final

HEADINGS: Final[Mapping[str, str]] = {
    "message_id": "短信编号", "batch_id": "批次编号", "line_no": "行号", "to": "收信人",
    "state": "状态", "iccid": "卡 (ICCID)", "at": "时间", "what": "经过", "actor": "执行者",
    "policy": "依据", "why_not": "不用此卡的原因",
}  # fmt: skip
"""Names of the columns."""

STATES: Final[Mapping[str, str]] = {
    "queued": "待发", "sending": "发送中", "sent": "已发", "delivered": "已送达", "failed": "失败",
    "failed_partly_sent": "部分发出后失败", "expired": "已过期", "cancelled": "已取消",
    "in_doubt": "存疑",
}  # fmt: skip
"""States of a message."""

CARDS: Final = "可发此短信的卡，以及现在不用它的原因："
FREE: Final = "可以发送"

_BATCH: Final[Mapping[str, str]] = {
    "draft": "录入中", "checked": "待复核", "awaiting_approval": "待审批", "approved": "已批准",
    "running": "发送中", "held": "暂停", "done": "完成", "rejected": "已否决",
    "withdrawn": "已撤回", "cancelled": "已取消", "expired": "已过期",
}  # fmt: skip
_MODEM: Final[Mapping[str, str]] = {
    "absent": "不在位", "probing": "识别中", "refused": "不予使用", "starting": "启动中",
    "checking": "核对中", "quarantined": "隔离", "unlocking": "解锁中", "sim_wait": "等待卡",
    "searching": "搜网中", "recovering": "恢复中", "failed": "故障",
}  # fmt: skip
_UNFIT: Final[Mapping[str, str]] = {
    "suspended_loss": "挂失", "suspended_arrears": "停机", "suspended_penalty": "保号停机",
    "not_issued": "未发放", "unverified": "未实名核验", "lease_ended": "租期已满", "lost": "丢失",
    "damaged": "损坏", "returned": "已退回", "cancelled": "已注销",
}  # fmt: skip
_STEPS: Final[Mapping[str, str]] = {
    "manager": "经理", "department_manager": "部门经理", "manager_in_charge": "主管经理",
    "general_manager": "总经理",
}  # fmt: skip

_PHRASES: Final[tuple[tuple[str, str], ...]] = (
    # whole sentences first: parts of them are phrases of their own
    (r"the recipient's data was erased; the message itself is proved by its leaf",
     "收信人数据已删除，短信本身仍由其摘要叶证明"),
    (r"is never sent: its stored line was tampered with", "不会发送：其存储行被改动"),
    (r"was accepted by the network; no report yet", "网络已接收，尚无送达报告"),
    (r"failed; nobody sends it again by himself", "失败，不会自动重发"),
    (r"failed after a part of it had been sent", "部分发出后失败"),
    (r"expired: its window or the network's time was over", "已过期：发送时段或网络有效期已过"),
    (r"is in doubt: it may have left; only a person sends it again",
     "存疑：可能已发出，只能由人决定是否重发"),
    (r"was not sent: its batch is (\w+)", "未发送：所属批次{batch:1}"),
    (r"was not sent: ", "未发送："),
    (r"waits; its batch is (\w+)", "等待中，所属批次{batch:1}"),
    (r"is on its way; its batch is (\w+)", "发送途中，所属批次{batch:1}"),
    (r"^was delivered", "已送达"),
    # what it waits for
    (r"no card fits now", "现在没有合适的卡"),
    (r"its window opens at (\S+)", r"发送时段始于 \1"),
    (r"quiet hours until (\S+)", r"静默时段至 \1"),
    (r"its next try is at (\S+)", r"下次尝试在 \1"),
    (r"the node is stopped", "本节点已被叫停"),
    (r"the department is stopped", "本部门已被叫停"),
    (r"the batch is stopped", "本批次已被叫停"),
    (r"the card is stopped", "此卡已被叫停"),
    (r"the list of stops was altered outside modemctl", "叫停清单被外部改动"),
    (r"has no room: (\d+) of (\d+) are used", r"限额已满：\2 中已用 \1"),
    (r"(\d+) of (\d+) are used; room about (\S+)", r"\2 中已用 \1，约 \3 有余量"),
    # cards
    (r"are of other departments than (.+?)(?= \(|$)", r"属于 \1 以外的部门"),
    (r"an earlier segment of the message left by another card", "同一短信的前段由另一张卡发出"),
    (r"the message goes to another card's own number", "该短信发往另一张卡自己的号码"),
    (r"its row was altered", "登记记录被改动"),
    (r"is not in group (.+)", r"不在组 \1"),
    (r"is kept in reserve", "保留专用"),
    (r"its bay is paused", "卡位已暂停"),
    (r"its modem is (\w+)", "设备{modem:1}"),
    (r"is in no bay", "不在任何卡位"),
    (r"is paused", "已暂停"),
    (r"refused this message for reasons of its own", "此卡曾自行拒发该短信"),
    (r"^is (\w+)(?= \(policy)", "{unfit:1}"),
    # moments
    (r"^segment (\d+) of (\d+): ", r"第 \1/\2 段："),
    (r"submitted in batch (.+?), drafted by (\S+)", r"在批次 \1 中提交，拟稿人 \2"),
    (r"signed by (\S+) as (\w+) with key (\S+)", r"\1 以{step:2}身份签名，密钥 \3"),
    (r"the evidence cannot be trusted: ", "证据不可信："),
    (r"given to a card", "分配给卡"),
    (r"cleared; being handed to the modem", "放行，正交给设备"),
    (r"given back unsent", "未发退回"),
    (r"expired unsent", "未发过期"),
    (r"cancelled unsent", "未发取消"),
    (r"refused before it was sent", "发送前被拒"),
    (r"accepted by the network", "网络已接收"),
    (r"proved not to have left; waits for a new try", "已证实未发出，等待重试"),
    (r"refused by the network for good", "网络永久拒绝"),
    (r"no answer that tells whether it left", "没有能说明是否发出的应答"),
    (r"not delivered, says the network's report", "网络报告：未送达"),
    (r"delivered, says the network's report", "网络报告：已送达"),
    (r"the network gave up", "网络放弃投递"),
    (r"a late answer shows that it was accepted", "迟到的应答表明已被接收"),
    (r"a report shows that it was not delivered", "报告表明未送达"),
    (r"a report shows that it was delivered", "报告表明已送达"),
    (r"a report shows that 网络放弃投递", "报告表明网络放弃投递"),
    (r"a person decided to send it again", "由人决定重发"),
    (r"a person closed it without sending again", "由人结案，不再重发"),
    # the choice of a card (policy.choosing)
    (r"card (\S+): a part of the message left by this card, or may have",
     r"卡 \1：同一条短信的一部分已由或可能已由此卡发出"),
    (r"card (\S+): the message goes to its own number", r"卡 \1：自检短信，发往本卡号码"),
    (r"card (\S+): ", r"卡 \1："),
    (r"the only waiting card of department ([^,]+)", r"\1 部门唯一的待命卡"),
    (r"place (\d+) of (\d+) waiting cards of department ([^,]+)", r"\3 部门 \2 张待命卡中排第 \1"),
    (r", group ([^,]+)", r"，组 \1"),
    (r", of the pool", "，公共卡"),
    (r", has a holder", "，个人持有卡"),
    (r", (\d+) % of its tightest limit free", r"，最紧限额尚余 \1 %"),
    (r", (-?\d+) dBm", r"，\1 dBm"),
    (r", breakers open: ", "，熔断中："),
    (r", another than the one that refused it", "，避开拒发过的卡"),
    # the daemon's own reasons
    (r"the recipient opted out", "收信人已退订"),
    (r"the recipient's line was changed after approval", "收信人一行在审批后被改动"),
    (r"the approval has expired", "审批已过期"),
    (r"approval: a row that authorises carries no valid MAC", "审批：授权记录的校验码无效"),
    (r"the batch was closed", "批次已结束"),
    (r"the modem went away", "设备离线"),
    (r"the daemon ended while it was being submitted", "提交时守护进程结束"),
    (r"the daemon ended before it was submitted", "提交前守护进程结束"),
    (r"no answer within (\d+) s", r"\1 秒内无应答"),
    (r"an outage of (\d+) min; a person says whether the rest is still right",
     r"中断 \1 分钟，其余是否仍可发送由人决定"),
    (r"late answer", "迟到的应答"),
    (r"\(report st:(\w+)\)", r"（报告 st:\1）"),
    (r"\(policy: ([A-Z]+-\d+)\)", r"（依据 \1）"),
    (r"; (?=card |卡 )", "；"),
    (r"; ", "，"),
)  # fmt: skip
_COMPILED: Final = tuple((re.compile(pattern), words) for pattern, words in _PHRASES)
_TABLES: Final = {"batch": _BATCH, "modem": _MODEM, "unfit": _UNFIT, "step": _STEPS}
_LOOKED_UP: Final = re.compile(r"\{(\w+):(\d)\}")


def in_chinese(text: str) -> str:
    """A sentence of `message explain`; what the table does not know stays English."""
    for pattern, words in _COMPILED:
        text = pattern.sub(partial(_filled, words=words), text)
    return text


def _filled(found: re.Match[str], words: str) -> str:
    def word(place: re.Match[str]) -> str:
        value = found[int(place[2])]
        return _TABLES[place[1]].get(value, value)

    return found.expand(_LOOKED_UP.sub(word, words))
