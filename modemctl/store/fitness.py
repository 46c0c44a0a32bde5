"""Why the cards of a department do not take a message that waits; for people, not decisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from sqlalchemy import RowMapping, func, select

from modemctl.errors import TamperedError
from modemctl.lifecycle import CardState
from modemctl.model import DesiredState, Iccid
from modemctl.policy.cards import lease_fault, unfitness
from modemctl.policy.choosing import CardStanding, why_not
from modemctl.policy.quotas import Bearer, QuotaRules
from modemctl.policy.stops import Standing
from modemctl.store import card_zones, sims
from modemctl.store.headroom import Waiting
from modemctl.store.pools import PoolQuery
from modemctl.store.quotas import Book
from modemctl.store.tables import modem, sim
from modemctl.store.transaction import Tx

_MOST = 50  # cards that are told one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class CardVerdict:
    """Whether a card may take the message now: `why_not` None. The last of a long list sums up."""

    iccid: str
    why_not: str | None


def verdicts(
    tx: Tx, rules: QuotaRules, waiting: Waiting, *, stops: Standing, avoids: str | None
) -> Sequence[CardVerdict]:
    """Each card of the department that serves the batch, in order, then how many others have."""
    found = select(*sim.c, modem.c.state.label("modem_state"), modem.c.desired_state).select_from(
        sim.outerjoin(modem, modem.c.iccid == sim.c.iccid)
    )
    own = found.where(sim.c.department == waiting.serving).order_by(sim.c.iccid)
    told = [
        CardVerdict(
            iccid=row["iccid"],
            why_not=stops.on_card(row["iccid"])
            or _bound(row, waiting)
            or why_not(
                _standing(tx, rules, waiting, row), card_group=waiting.card_group, avoids=avoids
            ),
        )
        for row in tx.conn.execute(own.limit(_MOST)).mappings()
    ]
    others = tx.conn.scalar(
        select(func.count()).select_from(sim).where(sim.c.department != waiting.serving)
    )
    if others:
        why = f"are of other departments than {waiting.serving} (policy: SIM-05)"
        told.append(CardVerdict(iccid=f"{others} others", why_not=why))
    return told


def count_unfit(tx: Tx, query: PoolQuery, *, zone: tzinfo) -> Mapping[str, int]:
    """How many cards of the department that sends are left out for which reason, most first.

    Each counts for its first reason; where its modem is does not matter.
    """
    why: Counter[str] = Counter()
    own = select(*sim.c).where(sim.c.department == query.serving)
    for row in tx.conn.execute(own).mappings():
        unfit = unfitness(CardState(row["state"]), row["verified_at"]) or lease_fault(
            row["lease_until"], tx.now, zone
        )
        if unfit is not None:
            why[f"{unfit.reason} (policy: {unfit.policy})"] += 1
        elif query.card_group not in {None, row["card_group"]}:
            why[f"not in group {query.card_group}"] += 1
        elif row["is_reserved"]:
            why["kept in reserve"] += 1
        elif row["is_paused"]:
            why["paused"] += 1
    return dict(why.most_common())


def _bound(row: RowMapping, waiting: Waiting) -> str | None:
    if waiting.is_loop and row["number_bidx"] != waiting.recipient:
        return "the message goes to another card's own number (policy: SMS-09)"
    if waiting.iccid in {None, row["iccid"]}:
        return None
    return "an earlier segment of the message left by another card"


def _standing(tx: Tx, rules: QuotaRules, waiting: Waiting, row: RowMapping) -> CardStanding:
    try:
        sims.check_row(tx.vault, row)
        is_intact = True
    except TamperedError:
        is_intact = False
    unfit = unfitness(CardState(row["state"]), row["verified_at"]) or lease_fault(
        row["lease_until"], tx.now, rules.zone
    )
    return CardStanding(
        iccid=Iccid(row["iccid"]),
        card_group=row["card_group"],
        unfit=None if unfit is None else f"is {unfit.reason} (policy: {unfit.policy})",
        is_intact=is_intact,
        is_reserved=row["is_reserved"],
        is_paused=row["is_paused"],
        modem_state=row["modem_state"],
        is_bay_paused=row["desired_state"] == DesiredState.PAUSED,
        lacks=_lacks(tx, rules, waiting, row),
    )


def _lacks(tx: Tx, rules: QuotaRules, waiting: Waiting, row: RowMapping) -> str | None:
    bearer = Bearer(
        iccid=Iccid(row["iccid"]),
        holder=row["holder"],
        carrier=row["carrier"],
        zones=card_zones.binding(tx, row),
    )
    book, scopes = Book(tx, rules), rules.scopes(bearer)
    book.read(scopes, [waiting.recipient])
    shortage = book.lacks(scopes, waiting.load)
    if shortage is None:
        return None
    used = book.used(shortage.scope, shortage.cap)
    return f"has no room: {used} of {shortage.cap.most} are used (policy: SIM-08)"
