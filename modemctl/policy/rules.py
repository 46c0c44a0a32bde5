"""The company's rules that software acts on: ids, titles, classes. Nothing else spells a title."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class RuleClass(StrEnum):
    """What the controller does about a rule."""

    ENFORCE = "enforce"  # refuse or act
    RECORD = "record"  # keep evidence
    ALERT = "alert"  # metric, alert rule, event
    REPORT = "report"  # file or page


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One clause of the company's policies, as the controller understands it."""

    id: str
    title_en: str
    title_zh: str
    classes: frozenset[RuleClass]


_CLASS_OF_LETTER: Final = {
    "E": RuleClass.ENFORCE,
    "R": RuleClass.RECORD,
    "A": RuleClass.ALERT,
    "P": RuleClass.REPORT,
}

# id, classes (E enforce, R record, A alert, P report), English title, Chinese title
_TABLE: Final[tuple[tuple[str, str, str, str], ...]] = (
    ("SIM-01", "EA", "Every card is registered", "卡片逐张登记"),
    ("SIM-02", "ERP", "Cards are requested, reviewed, approved, issued", "申请审核审批发放"),
    ("SIM-03", "RP", "The register can be searched later", "登记备查"),
    ("SIM-04", "E", "Real names only, verified", "实名制"),
    ("SIM-05", "E", "Only for the holder's authorised business", "仅限授权业务,不得转借"),
    ("SIM-06", "E", "PINs and passwords are not disclosed", "PIN 码及密码不得泄露"),
    ("SIM-07", "EA", "Never in an unauthorised device", "不得用于未授权设备"),
    ("SIM-08", "E", "No harassment, no improper marketing", "禁止骚扰及不当营销"),
    ("SIM-09", "ERA", "Loss and damage stop the card at once", "丢失损坏立即停用"),
    ("SIM-10", "E", "Leavers' cards are returned and cancelled", "离职退卡销户"),
    ("SIM-11", "PA", "Stock is taken, idle cards are recycled", "定期盘点,闲置回收"),
    ("SIM-12", "EA", "Recovered cards are kept from misuse", "回收卡防滥用"),
    ("SIM-13", "E", "SIM information is encrypted", "卡片信息加密"),
    ("SIM-14", "P", "Use is monitored live", "使用实时监控"),
    ("SIM-15", "P", "Costs are accounted for per card", "费用核算"),
    ("SIM-16", "P", "Compliance inspects regularly", "合规检查"),
    ("SIM-17", "ERA", "The register is kept true", "登记信息保持准确"),
    ("SIM-18", "RPA", "Cards, modems and lines are checked regularly", "设备线路定期检查"),
    ("SMS-01", "E", "No bulk send without form and approvals", "群发须申请并逐级审批"),
    (
        "SMS-02",
        "E",
        "Notices: department manager, own operator",
        "通知类:部门经理审批,本部门发送",
    ),
    ("SMS-03", "E", "Promotion: two managers, general department", "营销类:主管经理和总经理审批"),
    ("SMS-04", "E", "Others: manager, general department", "其他类:经理审批,综合部发送"),
    ("SMS-05", "RPA", "Contents are filed and summarised each quarter", "内容存档,按季汇总"),
    ("SMS-06", "ER", "Operators are authorised and dated", "操作员授权"),
    ("SMS-07", "E", "Lists hold mobile numbers, one a line", "名单格式:每行一个手机号"),
    ("SMS-08", "E", "No secret, harmful or spam content", "内容合规"),
    ("SMS-09", "E", "No sending for third parties unapproved", "未经批准不得代发"),
    ("SMS-10", "R", "Accounts are kept by a named person", "账号专人保管"),
    ("SMS-11", "ER", "A designated drafter; nobody approves his own", "专人拟稿,不得自审"),
    ("SMS-12", "EA", "Never ask for passwords or codes", "不得索要密码或验证码"),
    ("TEL-01", "R", "The user of a line is responsible", "话机责任人"),
    ("TEL-02", "RAP", "Calls are logged", "通话登记"),
    ("TEL-03", "PA", "Daily minutes of sales staff", "每日通话时长"),
    ("TEL-04", "A", "A call lasts at most three minutes", "通话不超过三分钟"),
    ("TEL-05", "EAR", "Information lines are forbidden", "禁拨声讯电话"),
    ("TEL-06", "E", "Long distance by right or approval", "长途须授权"),
    ("TEL-07", "A", "No charges outside working hours", "非工作时间不产生费用"),
    ("TEL-08", "AP", "Monthly budget per line", "话费月度预算"),
    ("TEL-09", "AP", "Answer within three rings", "三声内接听"),
    ("TEL-10", "A", "Reachable in the window of the post", "保持通讯畅通"),
    ("TEL-11", "E", "Personal data is masked", "个人信息脱敏"),
    ("TEL-12", "ERA", "Duty lines are followed to the answer", "值班电话跟进到底"),
    ("TEL-13", "E", "Hang up after five unanswered rings", "五声无人接听挂断"),
    ("SEC-01", "E", "Least privilege", "最小权限"),
    ("SEC-02", "EA", "Secrets are renewed, idle ones frozen", "密码定期更换,闲置冻结"),
    ("SEC-03", "E", "Sensitive data is encrypted", "敏感数据加密"),
    ("SEC-04", "E", "What one enters another checks", "双人复核"),
    ("SEC-05", "RPA", "Operations are logged and screened", "操作留痕与审计"),
    ("SEC-06", "EA", "Abnormal behaviour freezes the account", "异常行为冻结账号"),
    ("SEC-07", "EA", "Daily encrypted backup", "每日加密备份"),
    ("SEC-08", "E", "Deleted data is really deleted", "彻底删除并记录"),
    ("SEC-09", "ERA", "Exports are minimal, encrypted, on a ledger", "导出审批与台账"),
    ("SEC-10", "EAR", "Incidents have levels and timers", "事件分级处置"),
    ("SEC-11", "R", "Sensitive operations are tied to their approval", "敏感操作关联审批"),
    ("SEC-12", "ER", "Investigations are supported", "配合调查"),
    ("SEC-13", "RP", "Violations are graded and investigated", "违规分级处理"),
    ("SEC-14", "E", "Training before access", "培训后上岗"),
    ("CC-01", "EA", "USB devices are off unless approved", "USB 设备审批"),
    ("CC-02", "E", "Addresses are planned centrally", "地址统一规划"),
    ("CC-03", "E", "A user id belongs to one person", "一人一号"),
    ("CC-04", "P", "Shift hand-over", "交接班"),
    ("CC-05", "E", "No Internet unless signed for", "外网须审批"),
    ("CC-06", "ER", "Power may be cut every evening", "机房每晚断电"),
)

RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        rule_id: Rule(
            id=rule_id,
            title_en=title_en,
            title_zh=title_zh,
            classes=frozenset(_CLASS_OF_LETTER[letter] for letter in letters),
        )
        for rule_id, letters, title_en, title_zh in _TABLE
    }
)
"""All rules by id, in the order of the policies."""
