"""The words of reports, in Chinese and English."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from modemctl.policy.papers import Lang
from modemctl.policy.rules import RULES

_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    # what every report has
    "notice": (
        "内部资料　注意保密　禁止外传",
        "Confidential: for internal use only, do not pass on",
    ),
    "digest": ("内容摘要 SHA-256", "Digest of content, SHA-256"),
    "page": ("第 {page} 页，共 {pages} 页", "page {page} of {pages}"),
    "paper_id": ("报表编号", "Report"),
    "site": ("站点", "Site"),
    "period": ("期间", "Period"),
    "period_of": ("{first} 至 {last}", "{first} to {last}"),
    "department": ("部门", "Department"),
    "all": ("全部", "all"),
    "asked_by": ("制表人", "Made for"),
    "asked_at": ("制表时间", "Made at"),
    "masked": ("个人信息", "Personal data"),
    "masked_yes": ("已脱敏 (TEL-11)", "masked (TEL-11)"),
    "masked_no": ("未脱敏，已记入审计日志 (TEL-11)", "not masked; this is on record (TEL-11)"),
    "rule": ("依据", "Serves"),
    "signatures": ("签字", "Signatures"),
    "date_line": ("日期", "date"),
    "hidden": ("（已隐藏，{n} 字）", "(hidden: {n} characters)"),
    "none": ("无", "none"),
    # titles
    "title_quarter": ("短信群发季度汇总表 {period}", "Bulk SMS, summary of {period}"),
    "title_batch": ("短信群发申请表", "Request for a bulk SMS"),
    "title_costs": ("SIM 卡费用与用量表 {period}", "Cost and use of SIM cards, {period}"),
    "title_access": ("操作日志审查表 {period}", "Access log, {period}"),
    "title_inspection": ("合规检查报告 {period}", "Inspection report, {period}"),
    "title_export": ("数据导出", "Export of data"),
    "ledger": ("导出台账", "Ledger of exports"),
    "recipient": ("接收人", "Recipient"),
    "purpose": ("用途", "Purpose"),
    "content": ("内容", "Content"),
    "duty_export": ("导出复查 (SEC-09)", "Exports looked at again (SEC-09)"),
    "title_stocktake": ("SIM 卡盘点表", "Stock-take of SIM cards"),
    # quarter and batch
    "summary": ("汇总", "Summary"),
    "batches": ("批次", "Batches"),
    "batch": ("批次编号", "Batch"),
    "submitted_at": ("提交时间", "Submitted"),
    "category": ("类别", "Category"),
    "party": ("委托方", "For"),
    "drafter": ("拟稿人", "Drafter"),
    "submitter": ("提交人", "Submitter"),
    "operator": ("操作员", "Operator"),
    "list_owner": ("名单负责人", "Answers for the list"),
    "list_source": ("名单来源", "Source of the list"),
    "approvers": ("审批人", "Approved by"),
    "text": ("短信内容", "Text"),
    "messages": ("条数", "Messages"),
    "removed": ("剔除", "Removed"),
    "segments": ("段数", "Segments"),
    "sent": ("已发", "Sent"),
    "delivered": ("已送达", "Delivered"),
    "failed": ("失败", "Failed"),
    "in_doubt": ("存疑", "In doubt"),
    "unsent": ("未发", "Unsent"),
    "state": ("状态", "State"),
    "content_digest": ("批次摘要", "Digest of the batch"),
    "form": ("申请内容", "Form"),
    "window": ("发送时段", "Window"),
    "card_group": ("卡组", "Card group"),
    "range": ("发送范围", "Range"),
    "removed_why": ("剔除原因", "Removed, why"),
    "approvals": ("审批", "Approvals"),
    "step": ("步骤", "Step"),
    "step_name": ("环节", "Name"),
    "person": ("姓名", "Person"),
    "at": ("时间", "At"),
    "key": ("签名密钥", "Key"),
    "confirmation": ("复核 (SEC-04)", "Second person (SEC-04)"),
    "outcome": ("发送结果", "Outcome"),
    "number_of": ("数量", "Number"),
    "missing": ("（未签）", "(missing)"),
    "step_department_manager": ("部门经理", "department manager"),
    "step_manager_in_charge": ("主管经理", "manager in charge"),
    "step_general_manager": ("总经理", "general manager"),
    "step_manager": ("经理", "manager"),
    "filing": ("纸质存档", "Paper filed"),
    "filed_by": ("存档人", "Filed by"),
    "filed_at": ("存档时间", "Filed at"),
    "reference": ("卷号", "Reference"),
    "not_filed": ("尚未存档", "not yet"),
    "box_drafter": ("拟稿人", "Drafter"),
    "box_manager": ("部门经理", "Department manager"),
    "box_charge": ("主管经理", "Manager in charge"),
    "box_general": ("总经理", "General manager"),
    "box_operator": ("操作员", "Operator"),
    "box_office": ("综合部签收", "Received by the general department"),
    "box_checker": ("复核人", "Checked by"),
    "box_finance": ("财务", "Finance"),
    "box_compliance": ("合规", "Compliance"),
    "box_counter": ("盘点人", "Counted by"),
    "box_witness": ("监盘人", "Witnessed by"),
    # cards
    "by_department": ("按部门", "By department"),
    "by_card": ("按卡", "By card"),
    "month": ("月份", "Month"),
    "iccid": ("ICCID", "ICCID"),
    "number": ("手机号", "Number"),
    "holder": ("持有人", "Holder"),
    "carrier": ("运营商", "Carrier"),
    "ownership": ("归属", "Ownership"),
    "cards": ("卡数", "Cards"),
    "minutes": ("分钟", "Minutes"),
    "cost_segments": ("短信费", "SMS"),
    "cost_minutes": ("通话费", "Calls"),
    "cost_rent": ("月租", "Rent"),
    "cost_total": ("合计", "Total"),
    "cost_note": (
        "费用按配置的资费计算；存疑的短信未计费；运营商账单以其为准。",
        "Costs by the tariffs of the settings; segments in doubt are not charged for; what the "
        "carrier bills prevails.",
    ),
    "tariffs": ("资费", "Tariffs"),
    "tariff_of": (
        "每段 {segment}，每分钟 {minute}，月租 {rent}",
        "a segment {segment}, a minute {minute}, rent a month {rent}",
    ),
    "no_department": ("（未登记）", "(none)"),
    "no_card": ("（登记簿中无此卡）", "(not in the register)"),
    "verdict": ("盘点结果", "Result"),
    "bay": ("卡位", "Bay"),
    "tied_bay": ("应在卡位", "Belongs into"),
    "idle_days": ("闲置天数", "Idle days"),
    "verdict_present": ("在位", "present"),
    "verdict_missing": ("缺失", "missing"),
    "verdict_unknown": ("未登记", "unknown"),
    "verdict_moved": ("移位", "moved"),
    "verdict_given_up": ("已停用仍在位", "given up, yet here"),
    "verdict_idle": ("闲置", "idle"),
    "verdict_to_cancel": ("应注销", "to cancel"),
    "stocktake_note": (
        "闲置超过 {idle} 天；超过 {cancel} 天应注销。",
        "Idle: no traffic for {idle} days; to be cancelled after {cancel}.",
    ),
    # log and inspection
    "by_actor": ("按操作人", "By person"),
    "entries": ("日志", "Entries"),
    "seq": ("序号", "Entry"),
    "actor": ("操作人", "Who"),
    "action": ("操作", "Act"),
    "subject": ("对象", "Subject"),
    "details": ("详情", "Details"),
    "evidence": ("证据链", "Evidence"),
    "chain": ("审计链 {node}", "Chain of {node}"),
    "whole": ("完整：{n} 条", "whole: {n} entries"),
    "broken": ("{n} 处异常：{faults}", "{n} faults: {faults}"),
    "register": ("SIM 卡登记簿", "Register of SIM cards"),
    "unverified": ("在用但未实名核验", "in use, identity not verified"),
    "altered": ("记录被改动", "rows that were altered"),
    "people": ("人员与权限", "People and permissions"),
    "account": ("账号", "Account"),
    "roles": ("角色", "Roles"),
    "kind": ("种类", "Kind"),
    "duties": ("应办事项", "Duties"),
    "overdue": ("逾期", "overdue"),
    "on_time": ("正常", "on time"),
    "bays": ("卡位与设备", "Bays and modems"),
    "reason": ("原因", "Reason"),
    "duty_quarter": ("季度汇总归档 (SMS-05)", "Quarterly summary filed (SMS-05)"),
    "duty_access": ("日志审查 (SEC-05)", "Screening of the log (SEC-05)"),
    "duty_stocktake": ("SIM 卡盘点 (SIM-11)", "Stock-take of cards (SIM-11)"),
    # closed sets
    "party_own": ("本公司", "own"),
    "removed_no number": ("无号码", "no number"),
    "removed_letters or signs in the number": (
        "号码含字母或符号",
        "letters or signs in the number",
    ),
    "removed_a spreadsheet's rounded number, not the digits": (
        "表格软件改写的号码",
        "a spreadsheet's rounded number, not the digits",
    ),
    "removed_full-width digits": ("全角数字", "full-width digits"),
    "removed_wrong length": ("位数不对", "wrong length"),
    "removed_a landline": ("固定电话", "a landline"),
    "removed_not a mobile number": ("非手机号码", "not a mobile number"),
    "removed_a short code that is not on the allow-list": (
        "未经允许的短号码",
        "a short code that is not on the allow-list",
    ),
    "removed_duplicate": ("重复", "duplicate"),
    "removed_opted out": ("已退订", "opted out"),
    "removed_one of our own cards": ("本公司的卡", "one of our own cards"),
    "removed_a variable has no value": ("缺少变量内容", "a variable has no value"),
    "removed_the text for this line cannot be sent": (
        "该行短信内容不能发送",
        "the text for this line cannot be sent",
    ),
    "removed_needs more segments than the limits allow at once": (
        "条数超过一次的限额",
        "needs more segments than the limits allow at once",
    ),
    "removed_got as many messages as its limits allow until the window ends": (
        "发送时段内已达限额",
        "got as many messages as its limits allow until the window ends",
    ),
    "category_notice": ("通知", "notice"),
    "category_promotion": ("推广", "promotion"),
    "category_other": ("其他", "other"),
    "ownership_owned": ("自有", "owned"),
    "ownership_leased": ("租赁", "leased"),
    "batch_draft": ("录入中", "draft"),
    "batch_checked": ("待复核", "checked"),
    "batch_awaiting_approval": ("待审批", "awaiting approval"),
    "batch_approved": ("已批准", "approved"),
    "batch_running": ("发送中", "running"),
    "batch_held": ("暂停", "held"),
    "batch_done": ("完成", "done"),
    "batch_rejected": ("已否决", "rejected"),
    "batch_withdrawn": ("已撤回", "withdrawn"),
    "batch_cancelled": ("已取消", "cancelled"),
    "batch_expired": ("已过期", "expired"),
    "segment_queued": ("待发", "queued"),
    "segment_leased": ("待发（已分配）", "leased"),
    "segment_submitting": ("提交中", "submitting"),
    "segment_sent": ("已发", "sent"),
    "segment_delivered": ("已送达", "delivered"),
    "segment_undelivered": ("未送达", "undelivered"),
    "segment_expired": ("已过期", "expired"),
    "segment_refused": ("被拒", "refused"),
    "segment_cancelled": ("已取消", "cancelled"),
    "segment_in_doubt": ("存疑", "in doubt"),
    "segment_abandoned": ("放弃", "abandoned"),
    "card_requested": ("申请中", "requested"),
    "card_reviewed": ("已审核", "reviewed"),
    "card_approved": ("已批准", "approved"),
    "card_provisioned": ("已配置", "provisioned"),
    "card_issued": ("在用", "issued"),
    "card_suspended_loss": ("挂失", "suspended (loss)"),
    "card_suspended_arrears": ("停机", "suspended (arrears)"),
    "card_suspended_penalty": ("保号停机", "suspended (penalty)"),
    "card_lost": ("丢失", "lost"),
    "card_damaged": ("损坏", "damaged"),
    "card_returned": ("已退回", "returned"),
    "card_cancelled": ("已注销", "cancelled"),
}

DIGEST_LABELS: Final = _WORDS["digest"]
"""What stands before a report's digest, in each language."""


class Words:
    """The words of one language."""

    def __init__(self, lang: Lang) -> None:
        self.lang: Final = lang
        self._place = 0 if lang is Lang.ZH else 1

    def __call__(self, name: str, **facts: object) -> str:
        """The word of this name, with its facts filled in."""
        word = _WORDS[name][self._place]
        return word.format(**facts) if facts else word

    def of(self, family: str, value: str) -> str:
        """The word for a value of a closed set; the value itself where there is none."""
        known = _WORDS.get(f"{family}_{value}")
        return value if known is None else known[self._place]

    def rule(self, rule_id: str) -> str:
        """A company rule with its title."""
        rule = RULES[rule_id]
        return f"{rule_id} {rule.title_zh if self.lang is Lang.ZH else rule.title_en}"
