"""Reports for auditors: the access log (SEC-05) and the inspection (SIM-16)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Final

from modemctl.lifecycle import CardState, ModemState
from modemctl.policy.papers import Block, Cell, Column, ColumnKind, Passage, Rows, TableHead
from modemctl.service.audits import Audits, ChainReport
from modemctl.service.paper_cards import read_register
from modemctl.service.paper_orders import Order
from modemctl.service.paper_words import Words
from modemctl.store import Connection, Store, figures
from modemctl.store.accounts import Account, list_accounts

_MAX_FAULTS: Final = 10
_MAX_ACCOUNTS: Final = 10_000
TROUBLED: Final = (ModemState.QUARANTINED, ModemState.REFUSED, ModemState.FAILED)


async def access(store: Store, order: Order) -> AsyncIterator[Block]:
    """Who did what: totals by person, then every entry of this node's chain."""
    span, words, node_id = order.span, order.words, store.node_id
    totals = await store.read(lambda conn: figures.log_totals(conn, node_id, span.first, span.end))
    n_entries = sum(n for _actor, _action, n in totals)
    yield order.cover("SEC-05")
    yield Passage(heading=words("summary"), lines=((words("entries"), str(n_entries)),))
    yield order.boxes("box_checker", "box_manager")
    yield TableHead(
        name=words("by_actor"),
        heading=words("by_actor"),
        columns=(
            Column(heading=words("actor"), width=24),
            Column(heading=words("action"), width=30),
            Column(heading=words("number_of"), kind=ColumnKind.COUNT, width=10),
        ),
    )
    yield Rows(rows=tuple(totals))
    yield _entries_head(order)
    after = 0
    while True:
        page = await store.read(
            partial(
                figures.log_between, node_id=node_id, first=span.first, end=span.end, after=after
            )
        )
        if not page:
            return
        yield Rows(
            rows=tuple(
                (one.seq, order.moment(one.at), one.actor, one.action, one.subject, one.details)
                for one in page
            )
        )
        after = page[-1].seq


def _entries_head(order: Order) -> TableHead:
    words = order.words
    widths = {"seq": 8, "at": 18, "actor": 14, "action": 20, "subject": 28, "details": 58}
    return TableHead(
        name=words("entries"),
        heading=words("entries"),
        columns=tuple(
            Column(
                heading=words(name),
                width=width,
                kind=ColumnKind.COUNT if name == "seq" else ColumnKind.TEXT,
            )
            for name, width in widths.items()
        ),
    )


async def inspection(
    store: Store, order: Order, *, audits: Audits, duties: Mapping[str, str]
) -> AsyncIterator[Block]:
    """The state of what the rules ask for; `duties` says what is overdue, by the word for it."""
    words = order.words
    chains = await audits.verify(order.who)
    register = await read_register(store, None)
    accounts, states, troubled = await store.read(lambda conn: _state(store, conn))
    unverified = [
        one for one in register if one.state is CardState.ISSUED and one.verified_at is None
    ]
    altered = [one for one in register if not one.is_intact]
    yield order.cover("SIM-16")
    yield Passage(heading=words("evidence"), lines=tuple(_chain(words, one) for one in chains))
    yield Passage(
        heading=words("duties"),
        lines=tuple((words(duty), words(verdict)) for duty, verdict in duties.items()),
    )
    yield Passage(
        heading=words("register"),
        lines=(
            *((words.of("card", state), str(n)) for state, n in states.items()),
            (words("unverified"), _listed(words, [one.iccid for one in unverified])),
            (words("altered"), _listed(words, [one.iccid for one in altered])),
        ),
    )
    yield order.boxes("box_checker", "box_compliance")
    yield _head(words, "people", account=22, kind=10, department=18, roles=40, state=12)
    yield Rows(rows=tuple(_account_row(words, one) for one in accounts))
    yield _head(words, "bays", bay=30, iccid=24, state=14, reason=36)
    yield Rows(
        rows=tuple(
            (bay, iccid, words.of("bay", state), reason) for bay, iccid, state, reason in troubled
        )
    )


def _state(
    store: Store, conn: Connection
) -> tuple[Sequence[Account], Mapping[CardState, int], Sequence[tuple[str, str | None, str, str]]]:
    accounts = list_accounts(conn, store.vault, department=None, after="", limit=_MAX_ACCOUNTS)
    return accounts, figures.cards_by_state(conn), figures.bays_in(conn, TROUBLED)


def _chain(words: Words, one: ChainReport) -> tuple[str, str]:
    label = words("chain", node=one.node_id)
    if one.is_whole:
        return label, f"{words('whole', n=one.n_entries)}　{one.head}"
    faults = "; ".join(one.faults[:_MAX_FAULTS])
    return label, words("broken", n=len(one.faults), faults=faults)


def _listed(words: Words, iccids: Sequence[str]) -> str:
    if not iccids:
        return words("none")
    more = " …" if len(iccids) > _MAX_FAULTS else ""
    return f"{len(iccids)}: {', '.join(iccids[:_MAX_FAULTS])}{more}"


def _head(words: Words, name: str, **widths: int) -> TableHead:
    columns = tuple(Column(heading=words(one), width=width) for one, width in widths.items())
    return TableHead(name=words(name), heading=words(name), columns=columns)


def _account_row(words: Words, one: Account) -> tuple[Cell, ...]:
    department = one.department or words("all")
    roles = words.between.join(words.of("role", role) for role in one.roles)
    kind, state = words.of("account", one.kind), words.of("account", one.state)
    return one.name, kind, department, roles, state
