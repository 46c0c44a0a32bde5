"""What somebody wants a report of, and the cover that every report has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from modemctl.config import BehaviourSettings, Settings
from modemctl.config.balances import BalancesSettings
from modemctl.policy.behaviour import BehaviourRules
from modemctl.policy.costs import Tariff
from modemctl.policy.paper_periods import Period
from modemctl.policy.papers import Boxes, Cover
from modemctl.policy.stocktake import IdleRules
from modemctl.service.behaviour import rules_of
from modemctl.service.export_plans import ExportPlan
from modemctl.service.paper_words import Words
from modemctl.service.principal import Principal
from modemctl.store.papers import Paper

_MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperRules:
    """What reports are made by: site, calendar, prices, and when one is due."""

    site: str
    node_id: str
    zone: ZoneInfo
    tariffs: Mapping[str, Tariff]
    chains: Mapping[str, tuple[str, ...]]
    general_department: str
    idle: IdleRules = field(default_factory=IdleRules)
    balances: BalancesSettings = field(default_factory=BalancesSettings)
    keep: timedelta = timedelta(days=30)
    quarter_due: timedelta = timedelta(days=15)
    screening_due: timedelta = timedelta(days=7)
    month_audit_due: timedelta = timedelta(days=15)
    year_audit_due: timedelta = timedelta(days=31)
    stocktake_every: timedelta = timedelta(days=31)
    behaviour: BehaviourRules = field(default_factory=lambda: rules_of(BehaviourSettings(), "UTC"))

    @classmethod
    def of(cls, settings: Settings) -> PaperRules:
        """What the settings say of it."""
        reports = settings.reports
        return cls(
            site=settings.site.id,
            node_id=settings.site.node,
            zone=ZoneInfo(settings.site.timezone),
            tariffs={
                carrier: Tariff(**{name: one.exactly(name) for name in type(one).model_fields})
                for carrier, one in settings.costs.tariffs.items()
            },
            chains=settings.approvals.chains,
            general_department=settings.approvals.general_department,
            balances=settings.balances,
            idle=IdleRules(
                idle=timedelta(days=reports.idle_days), cancel=timedelta(days=reports.cancel_days)
            ),
            keep=timedelta(days=reports.keep_days),
            quarter_due=timedelta(days=reports.quarter_due_days),
            screening_due=timedelta(days=reports.screening_days),
            month_audit_due=timedelta(days=reports.month_audit_days),
            year_audit_due=timedelta(days=reports.year_audit_days),
            stocktake_every=timedelta(days=reports.stocktake_days),
            behaviour=rules_of(settings.people.behaviour, settings.site.timezone),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A report that is being made. `period` is None where it is about now, or about a batch.

    `plan` is there where it is an export.
    """

    paper: Paper
    who: Principal
    period: Period | None
    rules: PaperRules
    words: Words
    plan: ExportPlan | None = None
    actors: set[str] = field(default_factory=set)
    """Whose acts a paper of the audit shows; filled while it is made."""

    @property
    def span(self) -> Period:
        """The period of a report that has one."""
        assert self.period is not None
        return self.period

    def moment(self, at: datetime | None) -> str:
        """A time as the site's clocks show it."""
        return "" if at is None else f"{at.astimezone(self.rules.zone):%Y-%m-%d %H:%M:%S}"

    def cover(self, policy: str, *facts: tuple[str, str]) -> Cover:
        """The cover: what, for whom, when, by which rule."""
        words, paper = self.words, self.paper
        name = "" if self.period is None else self.period.name
        local = paper.asked_at.astimezone(self.rules.zone)
        zone = _zone(local, self.rules.zone)
        told = [
            (words("rule"), words.rule(policy)),
            (words("site"), f"{self.rules.site} / {self.rules.node_id}"),
        ]
        if self.period is not None:
            last = self.moment(self.period.end - _MS)
            span = words("period_of", first=self.moment(self.period.first), last=last)
            told.append((words("period"), f"{name}: {span}"))
        told += [
            (words("department"), paper.department or words("all")),
            (words("asked_by"), paper.asked_name),
            (words("asked_at"), f"{local:%Y-%m-%d %H:%M:%S} {zone}"),
            (words("masked"), words("masked_yes" if paper.is_masked else "masked_no")),
            (words("paper_id"), paper.paper_id),
        ]
        return Cover(
            title=words(f"title_{paper.kind}", period=paper.subject),
            lang=words.lang,
            facts=(*told, *facts),
            notice=words("notice"),
            digest_label=words("digest"),
            page_label=words("page"),
        )

    def boxes(self, *names: str) -> Boxes:
        """Room for the signatures of these."""
        labels = tuple(f"{self.words(name)}　　　{self.words('date_line')}" for name in names)
        return Boxes(heading=self.words("signatures"), labels=labels)


def _zone(local: datetime, zone: ZoneInfo) -> str:
    offset = local.strftime("%z")
    return f"({zone.key}, UTC{offset[:3]}:{offset[3:]})"
