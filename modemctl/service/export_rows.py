"""What an export holds: only the columns asked for, masked unless it was said (SEC-09)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Final

from modemctl.model import mask_number, mask_text
from modemctl.policy.identities import mask_identity
from modemctl.policy.papers import Block, Cell, Column, Passage, Rows, TableHead
from modemctl.service.export_plans import ExportContent, ExportPlan
from modemctl.service.paper_orders import Order
from modemctl.store import Store, figures, messages, optouts
from modemctl.store.messages import Message
from modemctl.store.optouts import OptOut
from modemctl.store.sims import Card

_PAGE: Final = 500


async def export(store: Store, order: Order, plan: ExportPlan) -> AsyncIterator[Block]:
    """The export's blocks: the ledger's facts, then the rows."""
    words = order.words
    yield order.cover("SEC-09")
    yield Passage(
        heading=words("ledger"),
        lines=(
            (words("recipient"), plan.recipient),
            (words("purpose"), plan.purpose),
            (words("content"), f"{plan.content} {plan.batch_id or ''}"),
        ),
    )
    yield TableHead(
        name=plan.content.value,
        heading=words("content"),
        columns=tuple(Column(heading=name, width=20) for name in plan.columns),
    )
    match plan.content:
        case ExportContent.CARDS:
            source = _cards(store, order)
        case ExportContent.OPT_OUTS:
            source = _opt_outs(store, order)
        case ExportContent.RESULTS:
            source = _results(store, order, plan.batch_id or "")
    async for page in source:
        yield Rows(rows=tuple(tuple(row[name] for name in plan.columns) for row in page))


async def _cards(store: Store, order: Order) -> AsyncIterator[Sequence[Mapping[str, Cell]]]:
    after: str | None = None
    while page := await store.read(
        partial(
            figures.cards_after,
            vault=store.vault,
            department=order.paper.department,
            after=after,
        )
    ):
        yield [_card(order, one) for one in page]
        after = page[-1].iccid


async def _opt_outs(store: Store, order: Order) -> AsyncIterator[Sequence[Mapping[str, Cell]]]:
    after = b""
    while page := await store.read(
        partial(optouts.list_opt_outs, vault=store.vault, after=after, limit=_PAGE)
    ):
        yield [_opt_out(order, one) for one in page]
        after = page[-1].bidx


async def _results(
    store: Store, order: Order, batch_id: str
) -> AsyncIterator[Sequence[Mapping[str, Cell]]]:
    query, after = messages.Query(batch_id=batch_id), 0
    while page := await store.read(
        partial(messages.find_messages, vault=store.vault, query=query, after=after, limit=_PAGE)
    ):
        yield [_result(order, one) for one in page]
        after = page[-1].message_id


def _card(order: Order, one: Card) -> Mapping[str, Cell]:
    return {
        "iccid": one.iccid,
        "number": _shown(order, one.number, mask_number),
        "holder": _shown(order, one.holder, mask_text),
        "identity_kind": None if one.identity_kind is None else one.identity_kind.value,
        "identity_number": _shown(order, one.identity_number, mask_identity),
        "department": one.department,
        "carrier": one.carrier,
        "group": one.card_group,
        "ownership": one.ownership.value,
        "lessor": one.lessor,
        "state": one.state.value,
        "verified_at": order.moment(one.verified_at),
    }


def _opt_out(order: Order, one: OptOut) -> Mapping[str, Cell]:
    return {
        "number": _shown(order, one.number, mask_number),
        "at": order.moment(one.at),
        "source": one.source,
        "keyword": one.keyword,
    }


def _result(order: Order, one: Message) -> Mapping[str, Cell]:
    sent = [part.sent_at for part in one.segments if part.sent_at is not None]
    return {
        "line_no": str(one.line_no),
        "number": _shown(order, None if one.line is None else one.line.to, mask_number),
        "state": one.state.value,
        "iccid": one.iccid,
        "sent_at": order.moment(max(sent, default=None)),
    }


def _shown(order: Order, text: str | None, mask: Callable[[str], str]) -> str | None:
    return text if text is None or not order.paper.is_masked else mask(text)
