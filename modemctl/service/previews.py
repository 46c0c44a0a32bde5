"""What a batch will come to, before anybody approves it: cards, cost, finish (SIM-08)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from modemctl.model import BatchId
from modemctl.policy.digest import Estimate
from modemctl.policy.forecast import Bank, Forecast, Opening, forecast
from modemctl.policy.quotas import ScopeKind
from modemctl.service.submission import SubmissionRules
from modemctl.store.fronts import FrontQuery, in_front
from modemctl.store.pools import Pool, PoolQuery, read_pool
from modemctl.store.transaction import Tx

_SOON: Final = timedelta(hours=1)
"""Which modems work now says nothing of a batch that begins later."""


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
    def priority(self) -> int:
        """0 before 1."""

    @property
    def not_before(self) -> datetime:
        """When its window begins."""

    @property
    def not_after(self) -> datetime:
        """When its window ends."""

    @property
    def is_loop(self) -> bool:
        """Whether it goes to our own cards alone."""


def pool_query(planned: Planned, rules: SubmissionRules) -> PoolQuery:
    """Which cards could send it."""
    serving = rules.approvals.serving_department(
        planned.category, planned.department, is_loop=planned.is_loop
    )
    return PoolQuery(
        batch_id=planned.batch_id,
        department=planned.department,
        serving=serving,
        card_group=planned.card_group,
    )


def pool_of(tx: Tx, planned: Planned, rules: SubmissionRules) -> Pool:
    """What could send it, with the other batches that use the same cards."""
    query = pool_query(planned, rules)
    beside = FrontQuery(
        batch_id=query.batch_id,
        serving=query.serving,
        card_group=query.card_group,
        not_after=planned.not_after,
        now=tx.now,
    )
    fronts = in_front(tx.conn, rules.approvals, beside)
    return replace(read_pool(tx, rules.quota, query), fronts=tuple(fronts))


def foresee(
    planned: Planned,
    pool: Pool,
    rules: SubmissionRules,
    *,
    n_segments: int,
    n_messages: int,
    now: datetime,
) -> Forecast:
    """When so much of a batch would be sent, beside the others that use its cards.

    Cards in modems that are down are left out, and batches whose windows open when it is over. Not
    reckoned with: other batches' quiet hours and the ends of their windows, cards' own time zones
    (a day is the site's), modems that come back or fall out later.
    """
    begins = max(now, planned.not_before)
    fronts = [one for one in pool.fronts if one.not_before <= begins]
    later = [one for one in pool.fronts if one.not_before > begins]
    while True:
        found = _beside(
            planned,
            replace(pool, fronts=tuple(fronts)),
            rules,
            n_segments=n_segments,
            n_messages=n_messages,
            now=now,
        )
        met = [one for one in later if found.finish is None or one.not_before < found.finish]
        if not met:
            return found
        fronts += met
        later = [one for one in later if one not in met]


def _beside(
    planned: Planned,
    pool: Pool,
    rules: SubmissionRules,
    *,
    n_segments: int,
    n_messages: int,
    now: datetime,
) -> Forecast:
    """The same, beside these and no others."""
    n_cards = n_sending(planned, pool, now=now)
    bank = Bank(
        n_cards=n_cards,
        interval=max(rules.limits.minimum_gap, pool.seconds or rules.tariff.seconds_per_segment),
        ceilings=tuple(
            one.widened(n_cards / pool.n_cards) if one.kind is ScopeKind.SIM and n_cards else one
            for one in pool.ceilings
        ),
        fronts=pool.fronts,
    )
    when = Opening(
        not_before=planned.not_before,
        not_after=planned.not_after,
        quiet=rules.quiet.get(planned.category),
    )
    zone, n_ahead = rules.quota.zone, 0
    if n_segments:
        bank, n_ahead = bank.beside(
            n_segments, priority=planned.priority, department=planned.department
        )
    n, share = n_segments + n_ahead, (n_segments + n_ahead) / max(1, n_segments)
    found = forecast(n, round(n_messages * share), bank, when, now=now, zone=zone)
    words = list(found.limits)
    if n_cards < pool.n_cards:
        words.append(f"cards not ready 未就绪的卡: {pool.n_cards - n_cards}")
    if n_ahead:
        words.append(f"other batches 其他批次: {n_ahead}")
    return replace(found, limits=tuple(words), n_sent=int(found.n_sent / share))


def n_sending(planned: Planned, pool: Pool, *, now: datetime) -> int:
    """How many of its cards are reckoned with: those at work, where it begins soon and any is."""
    begins_soon = planned.not_before <= now + _SOON
    return pool.n_at_work if begins_soon and pool.n_at_work else pool.n_cards


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
