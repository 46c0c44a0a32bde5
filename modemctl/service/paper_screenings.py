"""Papers of the audit (SEC-05): the week's screening and spot check, the month's and year's audit.

Who made or acknowledges one proves nothing by it of himself: whose acts it shows is kept with it,
and none of them acknowledges it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from modemctl.policy.behaviour import is_working_time
from modemctl.policy.paper_periods import Period, months_of, weeks_of
from modemctl.policy.papers import Block, Cell, Column, ColumnKind, Passage, Rows, TableHead
from modemctl.policy.sampling import LEAST, draw, rank, seed_of
from modemctl.policy.screening import COUNTED, Finding, findings, is_audit_work
from modemctl.service.audits import Audits, ChainReport
from modemctl.service.paper_orders import Order
from modemctl.store import Connection, Store, audits, figures
from modemctl.store.figures import LogLine
from modemctl.store.papers import Paper, PaperKind, last_filed

_PAGE: Final = 500
_MONTHS_DRAWN: Final = 3
_MAX_FAULTS: Final = 10
_LOG_WIDTHS: Final = {"seq": 8, "at": 18, "actor": 14, "action": 20, "subject": 26}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """An entry of the log, why it is looked at, and whether it is the audit's own work.

    `counts` are what the daemon counted of refusals and of who came from where.
    """

    line: LogLine
    why: tuple[Finding, ...]
    is_own_work: bool
    policy: str
    counts: Mapping[str, object]


@dataclass(slots=True, kw_only=True)
class _Screen:
    """A period's log in numbers."""

    n_entries: int = 0
    n_found: Counter[Finding] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    uses: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong_keys: Counter[str] = field(default_factory=Counter)


def blocks(store: Store, order: Order, *, own: Audits) -> AsyncIterator[Block]:
    """A paper of the audit, by its kind."""
    match order.paper.kind:
        case PaperKind.SCREENING:
            return screening(store, order)
        case PaperKind.SPOT_CHECK:
            return spot_check(store, order)
        case _:
            return audit(store, order, own=own)


async def screening(store: Store, order: Order) -> AsyncIterator[Block]:
    """A week's log: what was refused, who came from where, and each act that wants a look."""
    seen = await _screen(store, order)
    words = order.words
    yield order.cover("SEC-05")
    yield Passage(heading=words("summary"), lines=tuple(_in_numbers(order, seen)))
    yield order.boxes("box_checker", "box_manager")
    for block in _screened(order, seen):
        yield block
    yield _log_head(order, "findings", "finding")
    async for rows in _found(store, order):
        yield rows


async def spot_check(store: Store, order: Order) -> AsyncIterator[Block]:
    """At least 30 % of a week's entries, drawn by the chain itself; room for a tick each."""
    sample = await store.read(lambda conn: _sample(conn, store.node_id, order.span))
    yield order.cover("SEC-05", *_told(order, sample))
    yield order.boxes("box_checker", "box_manager")
    yield _log_head(order, "sample", "checked")
    async for rows in _sampled(store, order, sample):
        yield rows


async def audit(store: Store, order: Order, *, own: Audits) -> AsyncIterator[Block]:
    """A month's audit, or a year's with a sample of three months: chain, duties, totals, acts."""
    words, node_id, span = order.words, store.node_id, order.span
    chains = await own.verify(order.who)
    filed = await store.read(lambda conn: list(_filed(conn, store, order)))
    totals = await store.read(lambda conn: figures.log_totals(conn, node_id, span.first, span.end))
    seen = await _screen(store, order)
    samples = await store.read(lambda conn: _month_samples(conn, store, order))
    yield order.cover("SEC-05", *(fact for one in samples for fact in _told(order, one)))
    yield Passage(heading=words("evidence"), lines=tuple(_chain(order, one) for one in chains))
    yield Passage(heading=words("summary"), lines=tuple(_in_numbers(order, seen)))
    yield order.boxes("box_checker", "box_manager", "box_compliance")
    yield _head(order, "screenings", period=14, kind=26, filed_by=20, filed_at=20)
    yield Rows(rows=tuple(filed))
    yield _head(order, "by_actor", actor=24, action=30, number_of=10)
    yield Rows(rows=tuple(totals))
    for block in _screened(order, seen):
        yield block
    if order.paper.kind is PaperKind.MONTH_AUDIT:  # those of a year stand in its months' audits
        yield _log_head(order, "findings", "finding")
        async for rows in _found(store, order):
            yield rows
    for sample in samples:
        yield _log_head(order, "sample", "checked", period=sample.name)
        async for rows in _sampled(store, order, sample):
            yield rows


# ---------------------------------------------------------------- screening


async def _screen(store: Store, order: Order) -> _Screen:
    seen = _Screen()
    async for page in _pages(store, order):
        for one in page:
            _take(seen, one)
    return seen


async def _found(store: Store, order: Order) -> AsyncIterator[Block]:
    async for page in _pages(store, order):
        found = [one for one in page if one.why]
        order.actors.update(one.line.actor for one in found if not one.is_own_work)
        yield Rows(rows=tuple(_finding(order, one) for one in found))


async def _pages(store: Store, order: Order) -> AsyncIterator[Sequence[_Line]]:
    people = await store.read(figures.person_names)
    after = 0
    while True:
        page = await store.read(
            partial(_page, node_id=store.node_id, order=order, people=people, after=after)
        )
        if not page:
            return
        yield page
        after = page[-1].line.seq


def _page(
    conn: Connection, *, node_id: str, order: Order, people: Collection[str], after: int
) -> Sequence[_Line]:
    span = order.span
    lines = figures.log_between(conn, node_id, span.first, span.end, after=after)
    return [_line(one, order, is_person=one.actor in people) for one in lines]


def _line(line: LogLine, order: Order, *, is_person: bool) -> _Line:
    details: Mapping[str, object] = json.loads(line.details)
    is_odd = is_person and not is_working_time(line.at, order.rules.behaviour)
    is_count = line.action == COUNTED
    return _Line(
        line=line,
        why=() if is_count else findings(line.action, details, is_odd_hour=is_odd),
        is_own_work=is_audit_work(line.action, details),
        policy=str(details.get("policy", "")),
        counts=details if is_count else {},
    )


def _take(seen: _Screen, one: _Line) -> None:
    seen.n_entries += 1
    seen.n_found.update(one.why)
    if Finding.REFUSED in one.why and one.policy:
        seen.refused[one.policy] += 1
    seen.refused.update(_counted(one.counts.get("refused")))
    seen.wrong_keys.update(_counted(one.counts.get("wrong_keys")))
    uses = one.counts.get("uses")
    for name, places in (uses if isinstance(uses, dict) else {}).items():
        seen.uses.update({(str(name), place): n for place, n in _counted(places).items()})


def _counted(value: object) -> Mapping[str, int]:
    if not isinstance(value, dict):
        return {}
    return {str(name): n for name, n in value.items() if isinstance(n, int)}


def _in_numbers(order: Order, seen: _Screen) -> Iterator[tuple[str, str]]:
    words = order.words
    yield words("entries"), str(seen.n_entries)
    for one in Finding:
        yield words.of("finding", one), str(seen.n_found[one])
    yield words("wrong_keys"), str(seen.wrong_keys.total())


def _screened(order: Order, seen: _Screen) -> Iterator[Block]:
    yield _head(order, "refused_by_rule", rule=60, number_of=10)
    yield Rows(rows=tuple((_rule(order, one), n) for one, n in sorted(seen.refused.items())))
    yield _head(order, "by_place", actor=24, place=40, number_of=10)
    yield Rows(rows=tuple((*who, n) for who, n in sorted(seen.uses.items())))
    if seen.wrong_keys:
        yield _head(order, "wrong_keys", actor=24, number_of=10)
        yield Rows(rows=tuple(sorted(seen.wrong_keys.items())))


def _rule(order: Order, rule_id: str) -> str:
    try:
        return order.words.rule(rule_id)
    except KeyError:
        return rule_id


def _finding(order: Order, one: _Line) -> tuple[Cell, ...]:
    told = ", ".join(order.words.of("finding", why) for why in one.why)
    return (*_log_row(order, one.line), told)


# ---------------------------------------------------------------- samples


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    """Which entries were drawn of a period, and by what seed."""

    name: str
    seed: str
    last: int
    n_entries: int
    numbers: Sequence[int]


def _sample(conn: Connection, node_id: str, period: Period) -> _Sample:
    span = audits.span_of(conn, node_id=node_id, since=period.first, until=period.end)
    if span is None:
        return _Sample(name=period.name, seed="", last=0, n_entries=0, numbers=())
    (last,) = audits.read_entries(conn, node_id=node_id, numbers=[span.last])
    numbers = audits.acts_of(conn, node_id=node_id, span=span)
    seed = seed_of(last.signature, "week" if "W" in period.name else "month")
    drawn = draw(numbers, LEAST, seed)
    return _Sample(
        name=period.name, seed=seed, last=span.last, n_entries=len(numbers), numbers=drawn
    )


def _month_samples(conn: Connection, store: Store, order: Order) -> Sequence[_Sample]:
    """Of a year: samples of three of its months, drawn as well."""
    if order.paper.kind is not PaperKind.YEAR_AUDIT:
        return ()
    year = order.span
    span = audits.span_of(conn, node_id=store.node_id, since=year.first, until=year.end)
    if span is None:
        return ()
    (last,) = audits.read_entries(conn, node_id=store.node_id, numbers=[span.last])
    seed = seed_of(last.signature, "year")
    every = (_sample(conn, store.node_id, one) for one in months_of(year, order.rules.zone))
    known = sorted((one for one in every if one.n_entries), key=lambda one: rank(seed, one.name))
    return sorted(known[:_MONTHS_DRAWN], key=lambda one: one.name)


def _told(order: Order, sample: _Sample) -> Iterator[tuple[str, str]]:
    words = order.words
    told = words("drawn_of", n=len(sample.numbers), all=sample.n_entries, percent=LEAST)
    yield f"{words('sample')} {sample.name}", told
    yield words("seed"), words("seed_of", seed=sample.seed or "–", last=sample.last)


async def _sampled(store: Store, order: Order, sample: _Sample) -> AsyncIterator[Block]:
    for at in range(0, len(sample.numbers), _PAGE):
        lines = await store.read(
            partial(
                figures.log_lines, node_id=store.node_id, numbers=sample.numbers[at : at + _PAGE]
            )
        )
        order.actors.update(
            one.actor for one in lines if not is_audit_work(one.action, json.loads(one.details))
        )
        yield Rows(rows=tuple((*_log_row(order, one), "□") for one in lines))


# ---------------------------------------------------------------- what was done before


def _filed(conn: Connection, store: Store, order: Order) -> Iterator[tuple[Cell, ...]]:
    """Who acknowledged which week's papers; of a year the months' audits."""
    zone, span = order.rules.zone, order.span
    if order.paper.kind is PaperKind.MONTH_AUDIT:
        wanted = [
            (one, kind)
            for one in weeks_of(span, zone)
            for kind in (PaperKind.SCREENING, PaperKind.SPOT_CHECK)
        ]
    else:
        wanted = [(one, PaperKind.MONTH_AUDIT) for one in months_of(span, zone)]
    for period, kind in wanted:
        filed = last_filed(conn, store.vault, kind, period.name, node_id=store.node_id)
        yield _filed_row(order, period, kind, filed)


def _filed_row(
    order: Order, period: Period, kind: PaperKind, filed: Paper | None
) -> tuple[Cell, ...]:
    title = order.words(f"duty_{kind}")
    if filed is None:
        return period.name, title, order.words("not_filed"), ""
    return period.name, title, filed.filed_by, order.moment(filed.filed_at)


def _chain(order: Order, one: ChainReport) -> tuple[str, str]:
    words = order.words
    label = words("chain", node=one.node_id)
    if one.is_whole:
        return label, f"{words('whole', n=one.n_entries)}　{one.head}"
    faults = "; ".join(one.faults[:_MAX_FAULTS])
    return label, words("broken", n=len(one.faults), faults=faults)


# ---------------------------------------------------------------- tables


def _head(order: Order, name: str, **widths: int) -> TableHead:
    words = order.words
    columns = tuple(
        Column(
            heading=words(one),
            width=width,
            kind=ColumnKind.COUNT if one == "number_of" else ColumnKind.TEXT,
        )
        for one, width in widths.items()
    )
    return TableHead(name=words(name), heading=words(name), columns=columns)


def _log_head(order: Order, name: str, more: str, *, period: str = "") -> TableHead:
    words = order.words
    columns = [
        Column(
            heading=words(one),
            width=width,
            kind=ColumnKind.COUNT if one == "seq" else ColumnKind.TEXT,
        )
        for one, width in _LOG_WIDTHS.items()
    ]
    columns += [
        Column(heading=words("details"), width=44), Column(heading=words(more), width=12),
    ]  # fmt: skip
    title = f"{words(name)} {period}".strip()
    return TableHead(name=title, heading=title, columns=tuple(columns))


def _log_row(order: Order, line: LogLine) -> tuple[Cell, ...]:
    return (line.seq, order.moment(line.at), line.actor, line.action, line.subject, line.details)
