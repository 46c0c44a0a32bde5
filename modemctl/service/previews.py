"""What a batch will come to, before anybody approves it: cards, cost, finish (SIM-08)."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from modemctl.model import BatchId
from modemctl.policy.digest import Estimate
from modemctl.policy.forecast import Bank, Forecast, Opening, forecast
from modemctl.service.submission import SubmissionRules
from modemctl.store.pools import Pool, PoolQuery


class Planned(Protocol):
    """What of a batch the reckoning needs."""

    @property
    def batch_id(self) -> BatchId:
        """Its id."""

    @property
    def category(self) -> str:
        """Its category."""

    @property
    def department(self) -> str:
        """Whose it is."""

    @property
    def card_group(self) -> str | None:
        """The cards it is confined to."""

    @property
    def not_before(self) -> datetime:
        """When its window begins."""

    @property
    def not_after(self) -> datetime:
        """When its window ends."""


def pool_query(planned: Planned, rules: SubmissionRules) -> PoolQuery:
    """Which cards could send it."""
    serving = rules.approvals.operating_department(planned.category, planned.department)
    return PoolQuery(
        batch_id=planned.batch_id,
        department=planned.department,
        serving=serving,
        card_group=planned.card_group,
    )


def foresee(
    planned: Planned,
    pool: Pool,
    rules: SubmissionRules,
    *,
    n_segments: int,
    n_messages: int,
    now: datetime,
) -> Forecast:
    """When so much of a batch would be sent, were it alone."""
    seconds = pool.seconds or rules.tariff.seconds_per_segment
    bank = Bank(
        n_cards=pool.n_cards,
        interval=max(rules.limits.minimum_gap, seconds),
        ceilings=pool.ceilings,
    )
    when = Opening(
        not_before=planned.not_before,
        not_after=planned.not_after,
        quiet=rules.quiet.get(planned.category),
    )
    return forecast(n_segments, n_messages, bank, when, now=now, zone=rules.quota.zone)


def estimate(
    planned: Planned,
    pool: Pool,
    rules: SubmissionRules,
    *,
    n_segments: int,
    n_messages: int,
    now: datetime,
) -> Estimate:
    """What approvers sign of it; the cost is that of the dearest cards that could send it."""
    found = foresee(planned, pool, rules, n_segments=n_segments, n_messages=n_messages, now=now)
    price = max(rules.tariff.price(carrier) for carrier in pool.carriers or (None,))
    finish = None if found.finish is None else found.finish.replace(microsecond=0)
    return Estimate(
        n_cards=pool.n_cards,
        cost=f"{price * n_segments:f}",
        currency=rules.tariff.currency,
        finish=finish,
        limits=found.limits,
    )
