"""Reports on batches (SMS-05): the quarterly summary, and the form of one batch."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from modemctl.errors import NotFound, PolicyRefused, TamperedError
from modemctl.lifecycle import SegmentState
from modemctl.model import BatchId
from modemctl.policy.approvals import BatchEvidence
from modemctl.policy.digest import BatchHeader, decode_header
from modemctl.policy.papers import Block, Cell, Column, ColumnKind, Passage, Rows, TableHead
from modemctl.service.batch_views import may_see, sight_of
from modemctl.service.paper_orders import Order
from modemctl.store import Connection, Store, figures, papers
from modemctl.store.evidence import read_evidence
from modemctl.store.figures import BatchLine
from modemctl.store.papers import Paper, PaperKind

_DELIVERED: Final = (SegmentState.DELIVERED,)
_SENT: Final = (SegmentState.SENT, *_DELIVERED, SegmentState.UNDELIVERED)
_FAILED: Final = (
    SegmentState.UNDELIVERED, SegmentState.REFUSED, SegmentState.EXPIRED, SegmentState.ABANDONED,
)  # fmt: skip
_COUNTS: Final = ("messages", "removed", "segments", "sent", "delivered", "failed", "in_doubt")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """Batches as a report lists them, and their numbers by category and department."""

    rows: Sequence[tuple[Cell, ...]]
    numbers: Mapping[tuple[str, str], Counter[str]]
    last: tuple[datetime, str]


async def quarter(store: Store, order: Order) -> AsyncIterator[Block]:
    """All batches that were submitted in a period: totals first, then each."""
    words, numbers, pages = order.words, dict[tuple[str, str], Counter[str]](), list[_Page]()
    async for page in _pages(store, order):
        for of, counted in page.numbers.items():
            numbers.setdefault(of, Counter()).update(counted)
        pages.append(page)
    yield order.cover("SMS-05")
    yield Passage(heading=words("summary"), lines=((_in_words(order, numbers),),))
    yield order.boxes("box_manager", "box_general", "box_office")
    columns = (
        Column(heading=words("category"), width=14),
        Column(heading=words("department"), width=18),
        *_columns(order, "batches", *_COUNTS),
    )
    yield TableHead(name=words("summary"), heading=words("summary"), columns=columns)
    yield Rows(rows=tuple(_totals(order, numbers)))
    yield TableHead(name=words("batches"), heading=words("batches"), columns=_batch_columns(order))
    for page in pages:
        yield Rows(rows=tuple(page.rows))


async def form(store: Store, order: Order) -> AsyncIterator[Block]:
    """The sheet of one batch (短信群发申请表): form, text, range, approvals, outcome, signatures.

    Raises:
        NotFound: no such batch.
        PolicyRefused: SMS-01, its evidence was altered.
    """
    known, line, filed, names = await store.read(lambda conn: _facts(store, conn, order))
    header = decode_header(known.header)
    words, text = order.words, header.template
    if order.paper.is_masked:
        text = words("hidden", n=len(text))
    yield order.cover("SMS-05", *_filing(order, filed))
    yield Passage(heading=words("form"), lines=tuple(_form_lines(order, line, header, names)))
    yield Passage(heading=words("text"), lines=((text,),))
    yield Passage(heading=words("range"), lines=tuple(_range_lines(order, header)))
    yield order.boxes(
        "box_drafter", "box_manager", "box_charge", "box_general", "box_operator", "box_office"
    )
    columns = ("step", "step_name", "person", "at", "key")
    widths = (6, 22, 18, 19, 22)
    yield TableHead(
        name=words("approvals"),
        heading=words("approvals"),
        columns=tuple(
            Column(heading=words(name), width=width)
            for name, width in zip(columns, widths, strict=True)
        ),
    )
    yield Rows(rows=tuple(_signed(order, known, header, names)))
    yield TableHead(
        name=words("outcome"),
        heading=words("outcome"),
        columns=(
            Column(heading=words("state"), width=24),
            Column(heading=words("segments"), kind=ColumnKind.COUNT),
        ),
    )
    yield Rows(
        rows=tuple((words.of("segment", one), n) for one, n in sorted(line.progress.items()))
    )


async def _pages(store: Store, order: Order) -> AsyncIterator[_Page]:
    """All of the period, some thousands in a quarter; their lists are not read."""
    after: tuple[datetime, str] | None = None
    while page := await store.read(partial(_page, order=order, after=after)):
        yield page
        after = page.last


def _page(conn: Connection, *, order: Order, after: tuple[datetime, str] | None) -> _Page | None:
    """The next batches, turned into rows by the reader: that is no work for the loop."""
    span = order.span
    lines = figures.batches_between(
        conn, span.first, span.end, department=order.paper.department, after=after
    )
    if not lines:
        return None
    numbers: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    rows: list[tuple[Cell, ...]] = []
    for line in lines:
        counted = _numbers(line)
        numbers[line.category, line.department].update(counted, batches=1)
        rows.append(_row(order, line, counted))
    last = lines[-1]
    return _Page(rows=rows, numbers=numbers, last=(last.created_at, last.batch_id))


def _in_words(order: Order, numbers: Mapping[tuple[str, str], Counter[str]]) -> str:
    whole = Counter[str]()
    for counted in numbers.values():
        whole.update(counted)
    return "　·　".join(f"{order.words(name)} {whole[name]}" for name in ("batches", *_COUNTS))


def _numbers(line: BatchLine) -> Mapping[str, int]:
    def of(states: Sequence[str]) -> int:
        return sum(line.progress.get(state, 0) for state in states)

    return {
        "messages": line.n_messages,
        "removed": line.n_removed,
        "segments": line.n_segments,
        "sent": of(_SENT),
        "delivered": of(_DELIVERED),
        "failed": of(_FAILED),
        "in_doubt": of((SegmentState.IN_DOUBT,)),
    }


def _totals(
    order: Order, numbers: Mapping[tuple[str, str], Counter[str]]
) -> Iterator[tuple[Cell, ...]]:
    for (category, department), counted in sorted(numbers.items()):
        name = order.words.of("category", category)
        yield name, department, *(counted[one] for one in ("batches", *_COUNTS))


def _batch_columns(order: Order) -> tuple[Column, ...]:
    widths = {
        "batch": 20, "submitted_at": 11, "category": 7, "department": 10, "drafter": 10,
        "operator": 10, "approvers": 14, "state": 9, "text": 30,
    }  # fmt: skip
    texts = tuple(Column(heading=order.words(name), width=n) for name, n in widths.items())
    counts = tuple(
        Column(heading=order.words(name), kind=ColumnKind.COUNT, width=8) for name in _COUNTS
    )
    digest = Column(heading=order.words("content_digest"), width=18)
    return (*texts, *counts, digest)


def _row(order: Order, line: BatchLine, numbers: Mapping[str, int]) -> tuple[Cell, ...]:
    words = order.words
    text = line.template
    if order.paper.is_masked:
        text = words("hidden", n=len(text))
    return (
        line.batch_id,
        order.moment(line.created_at),
        words.of("category", line.category),
        line.department,
        line.drafter,
        line.operator,
        "、".join(line.approvers) or words("none"),
        words.of("batch", line.state),
        text,
        *(numbers[name] for name in _COUNTS),
        line.digest[:16],
    )


def _columns(order: Order, *names: str) -> tuple[Column, ...]:
    return tuple(Column(heading=order.words(one), kind=ColumnKind.COUNT, width=10) for one in names)


def _facts(
    store: Store, conn: Connection, order: Order
) -> tuple[BatchEvidence, BatchLine, Paper | None, Mapping[str, str]]:
    batch_id = order.paper.subject
    line = figures.batch_line(conn, batch_id)
    known = read_evidence(conn, store.vault, [BatchId(batch_id)]).get(BatchId(batch_id))
    who, general = order.who, order.rules.general_department
    if (
        line is None
        or known is None
        or not may_see(sight_of(who, general), line.department, line.category)
    ):
        raise NotFound("no such batch, or its list is not complete", field="batch_id")
    if isinstance(known, TamperedError):
        raise PolicyRefused("SMS-01", str(known))
    filed = papers.last_filed(conn, store.vault, PaperKind.BATCH, batch_id)
    return known, line, filed, figures.names_of(conn)


def _filing(order: Order, filed: Paper | None) -> Sequence[tuple[str, str]]:
    words = order.words
    if filed is None:
        return [(words("filing"), words("not_filed"))]
    told = (filed.filed_by, order.moment(filed.filed_at), filed.filed_reference)
    return [(words("filing"), "　".join(one for one in told if one))]


def _form_lines(
    order: Order, line: BatchLine, header: BatchHeader, names: Mapping[str, str]
) -> Sequence[tuple[str, str]]:
    words = order.words
    window = f"{order.moment(header.not_before)} – {order.moment(header.not_after)}"
    return [
        (words("batch"), line.batch_id),
        (words("submitted_at"), order.moment(line.created_at)),
        (words("category"), words.of("category", header.category)),
        (words("department"), header.department),
        (words("party"), words.of("party", header.party)),
        (words("drafter"), names.get(header.drafter, header.drafter)),
        (words("operator"), line.operator),
        *_origin_lines(order, header, names),
        (words("window"), window),
        (words("card_group"), header.card_group or words("all")),
        (words("state"), words.of("batch", line.state)),
        (words("content_digest"), line.digest),
    ]


def _origin_lines(
    order: Order, header: BatchHeader, names: Mapping[str, str]
) -> Sequence[tuple[str, str]]:
    """Who answers for the list and where it comes from, where the form says so (SMS-02)."""
    owner, words = header.list_owner, order.words
    if owner is None:
        return ()
    source = (words("list_source"), header.list_source or "")
    return ((words("list_owner"), names.get(owner, owner)), source)


def _range_lines(order: Order, header: BatchHeader) -> Sequence[tuple[str, str]]:
    words, totals = order.words, header.totals
    reasons = sorted(totals.removed_by.items())
    why = "、".join(f"{words.of('removed', reason)} {n}" for reason, n in reasons)
    return [
        (words("messages"), str(totals.n_messages)),
        (words("segments"), str(totals.n_segments)),
        (words("removed"), str(totals.n_removed)),
        (words("removed_why"), why or words("none")),
    ]


def _signed(
    order: Order, known: BatchEvidence, header: BatchHeader, names: Mapping[str, str]
) -> Sequence[tuple[Cell, ...]]:
    words = order.words
    rows: list[tuple[Cell, ...]] = [
        ("", words("confirmation"), names.get(one.account_id, one.account_id), "", "")
        for one in known.confirmations
    ]
    signed = {one.step: one for one in known.approvals}
    for step, name in enumerate(order.rules.chains.get(header.category, ()), 1):
        one = signed.get(step)
        if one is None:
            rows.append((str(step), words.of("step", name), words("missing"), "", ""))
        else:
            person = names.get(one.account_id, one.account_id)
            at = order.moment(one.received_at)
            rows.append((str(step), words.of("step", name), person, at, one.kid))
    return rows
