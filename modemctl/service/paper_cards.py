"""Reports on cards: what they cost (SIM-15), and the stock-take (SIM-11)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from modemctl.lifecycle import CardState
from modemctl.model import Iccid, mask_number, mask_text
from modemctl.policy.balances import state_of
from modemctl.policy.costs import Cost, cost_of, tariff_of
from modemctl.policy.paper_periods import Period, months_of
from modemctl.policy.papers import Block, Cell, Column, ColumnKind, Passage, Rows, TableHead
from modemctl.policy.stocktake import Found, IdleRules, Registered, Verdict, compare
from modemctl.service.paper_orders import Order
from modemctl.store import Connection, Store, balances, figures
from modemctl.store.balances import Kept
from modemctl.store.figures import Use
from modemctl.store.sims import Card

_RENTED: Final = frozenset(
    {CardState.PROVISIONED, CardState.ISSUED, CardState.SUSPENDED_LOSS,
     CardState.SUSPENDED_ARREARS, CardState.SUSPENDED_PENALTY}
)  # fmt: skip
_COUNTS: Final = ("segments", "in_doubt", "minutes")
_COSTS: Final = ("cost_segments", "cost_minutes", "cost_rent", "cost_total")
_SLICE: Final = 500


async def costs(store: Store, order: Order) -> AsyncIterator[Block]:
    """Use and cost of each card a month, and of each department."""
    register = await read_register(store, order.paper.department)
    rows: list[tuple[Cell, ...]] = []
    sums: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for month in months_of(order.span, order.rules.zone):
        uses = await store.read(partial(figures.use_between, first=month.first, end=month.end))
        told = await store.read(partial(balances.read_between, first=month.first, end=month.end))
        for one in _charged(order, register, uses, month):
            left = _balance(order, one.card, told.get(Iccid(one.iccid)))
            rows.append((*_cost_row(order, month, one), left))
            _add(sums[month.name, one.department or ""], one)
    yield order.cover("SIM-15")
    yield Passage(heading=order.words("tariffs"), lines=tuple(_tariff_lines(order)))
    yield order.boxes("box_manager", "box_finance")
    yield _by_department(order)
    yield Rows(
        rows=tuple(
            (month, department or order.words("no_department"), numbers["cards"],
             *(numbers[one] for one in (*_COUNTS, *_COSTS)))
            for (month, department), numbers in sorted(sums.items())
        )
    )  # fmt: skip
    yield _by_card(order)
    for at in range(0, len(rows), _SLICE):
        yield Rows(rows=tuple(rows[at : at + _SLICE]))


def _by_department(order: Order) -> TableHead:
    words = order.words
    return TableHead(
        name=words("by_department"),
        heading=words("by_department"),
        note=words("cost_note"),
        columns=(
            Column(heading=words("month"), width=10),
            Column(heading=words("department"), width=18),
            Column(heading=words("cards"), kind=ColumnKind.COUNT, width=8),
            *_use_and_cost(order),
        ),
    )


def _by_card(order: Order) -> TableHead:
    words = order.words
    names = {"month": 9, "iccid": 22, "number": 15, "holder": 14, "department": 14, "carrier": 10}
    return TableHead(
        name=words("by_card"),
        heading=words("by_card"),
        columns=(
            *(Column(heading=words(name), width=width) for name, width in names.items()),
            *_use_and_cost(order),
            Column(heading=words("balance"), width=24),
        ),
    )


def _use_and_cost(order: Order) -> Iterator[Column]:
    for one in _COUNTS:
        yield Column(heading=order.words(one), kind=ColumnKind.COUNT, width=10)
    for one in _COSTS:
        yield Column(heading=order.words(one), kind=ColumnKind.MONEY, width=12)


async def stocktake(store: Store, order: Order) -> AsyncIterator[Block]:
    """The register against what the bank sees now."""
    department = order.paper.department
    cards = await read_register(store, department)
    register: dict[str, Card] = {card.iccid: card for card in cards}
    idle = order.rules.idle
    found, ties = await take_stock(store, register, idle, sees_all=department is None)
    totals = Counter(verdict for one in found for verdict in one.verdicts)
    words = order.words
    yield order.cover("SIM-11")
    yield Passage(
        heading=words("summary"),
        lines=(
            (words("cards"), str(len(register))),
            *((words.of("verdict", one), str(totals[one])) for one in Verdict),
        ),
    )
    yield order.boxes("box_counter", "box_witness", "box_manager")
    widths = {
        "iccid": 22, "number": 15, "holder": 12, "department": 12, "state": 12, "verdict": 16,
        "bay": 24, "tied_bay": 24,
    }  # fmt: skip
    yield TableHead(
        name=words("by_card"),
        heading=words("by_card"),
        note=words("stocktake_note", idle=idle.idle.days, cancel=idle.cancel.days),
        columns=(
            *(Column(heading=words(name), width=width) for name, width in widths.items()),
            Column(heading=words("idle_days"), kind=ColumnKind.COUNT, width=8),
        ),
    )
    rows = [_stock_row(order, one, register.get(one.iccid), ties.get(one.iccid)) for one in found]
    for at in range(0, len(rows), _SLICE):
        yield Rows(rows=tuple(rows[at : at + _SLICE]))


async def read_register(store: Store, department: str | None) -> Sequence[Card]:
    """All cards of a department, or of all, page by page."""
    cards: list[Card] = []
    while True:
        after = cards[-1].iccid if cards else None
        page = await store.read(
            partial(figures.cards_after, vault=store.vault, department=department, after=after)
        )
        if not page:
            return cards
        cards += page


async def take_stock(
    store: Store, register: Mapping[str, Card], idle: IdleRules, *, sees_all: bool
) -> tuple[Sequence[Found], Mapping[str, str]]:
    """The comparison, and the bay that each card belongs into.

    Without `sees_all` cards that this register does not hold are left out: they are others'.
    """

    def query(
        conn: Connection,
    ) -> tuple[Mapping[str, str], Mapping[str, str], Sequence[Registered]]:
        uses, ties = figures.last_uses(conn), figures.tied_bays(conn)
        cards = [
            Registered(
                iccid=card.iccid,
                state=card.state,
                tied_bay=ties.get(card.iccid),
                last_use=max(uses.get(card.iccid, card.created_at), card.created_at),
            )
            for card in register.values()
        ]
        return figures.seen_cards(conn), ties, cards

    seen, ties, cards = await store.read(query)
    if not sees_all:
        seen = {iccid: bay for iccid, bay in seen.items() if iccid in register}
    return compare(cards, seen, now=store.clock.now(), rules=idle), ties


@dataclass(frozen=True, slots=True, kw_only=True)
class _Charge:
    """A card's month; `card` is None where nobody registered it."""

    iccid: str
    card: Card | None
    use: Use
    cost: Cost

    @property
    def department(self) -> str | None:
        return None if self.card is None else self.card.department


def _charged(
    order: Order, register: Sequence[Card], uses: Mapping[str, Use], month: Period
) -> Sequence[_Charge]:
    """Each card that was used or rented in a month; used ones that nobody registered, too."""
    known: dict[str, Card] = {card.iccid: card for card in register}
    rented = {
        card.iccid for card in register if card.state in _RENTED and card.created_at < month.end
    }
    used = uses.keys() if order.paper.department is None else uses.keys() & known.keys()
    found = []
    for iccid in sorted(used | rented):
        card, use = known.get(iccid), uses.get(iccid, Use())
        cost = cost_of(
            tariff_of(order.rules.tariffs, None if card is None else card.carrier),
            n_segments=use.n_segments,
            n_minutes=use.n_minutes,
            is_rented=iccid in rented,
        )
        found.append(_Charge(iccid=iccid, card=card, use=use, cost=cost))
    return found


def _add(sums: Counter[str], one: _Charge) -> None:
    sums.update(
        cards=1,
        segments=one.use.n_segments,
        in_doubt=one.use.n_in_doubt,
        minutes=one.use.n_minutes,
        cost_segments=one.cost.segments,
        cost_minutes=one.cost.minutes,
        cost_rent=one.cost.rent,
        cost_total=one.cost.total,
    )


def _balance(order: Order, card: Card | None, told: Kept | None) -> str:
    """What was read last of a card in a month, and when; low; not asked, or not read."""
    if told is not None:
        day = told.at.astimezone(order.rules.zone).date().isoformat()
        state = state_of(told.amount, is_low=told.is_low)
        word = "" if state == "fine" else f", {order.words.of('balance_state', state)}"
        return f"{told.amount} {told.currency} ({day}{word})"
    is_asked = order.rules.balances.of(None if card is None else card.carrier) is not None
    return order.words("not_read" if is_asked else "not_asked")


def _cost_row(order: Order, month: Period, one: _Charge) -> tuple[Cell, ...]:
    holder, number = _personal(order, one.card)
    card, use, cost = one.card, one.use, one.cost
    return (
        month.name,
        one.iccid,
        number,
        holder,
        order.words("no_card") if card is None else card.department,
        None if card is None else card.carrier,
        use.n_segments,
        use.n_in_doubt,
        use.n_minutes,
        cost.segments,
        cost.minutes,
        cost.rent,
        cost.total,
    )


def _personal(order: Order, card: Card | None) -> tuple[str | None, str | None]:
    """Holder and number as the report shows them (TEL-11)."""
    if card is None:
        return None, None
    if not order.paper.is_masked:
        return card.holder, card.number
    holder = None if card.holder is None else mask_text(card.holder)
    return holder, None if card.number is None else mask_number(card.number)


def _tariff_lines(order: Order) -> Sequence[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = [
        (
            carrier,
            order.words("tariff_of", segment=one.segment, minute=one.minute, rent=one.rent),
        )
        for carrier, one in sorted(order.rules.tariffs.items())
    ]
    return lines or [(order.words("none"),)]


def _stock_row(order: Order, one: Found, card: Card | None, tied: str | None) -> tuple[Cell, ...]:
    holder, number = _personal(order, card)
    words = order.words
    return (
        one.iccid,
        number,
        holder,
        None if card is None else card.department,
        words("no_card") if card is None else words.of("card", card.state),
        "、".join(words.of("verdict", verdict) for verdict in one.verdicts),
        one.bay,
        tied,
        one.n_idle_days,
    )
