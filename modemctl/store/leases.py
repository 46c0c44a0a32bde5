"""Leasing whole messages to all waiting cards as one set.

A lease is for a message: all its segments, one card, in order; limits are reserved with it
(`store.quotas`).
"""

from __future__ import annotations

import uuid
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain, groupby
from typing import Final, TypeAlias

from sqlalchemy import Integer, RowMapping, bindparam, exists, or_, select, update

from modemctl.lifecycle import BatchState, SegmentState
from modemctl.model import BatchId, Bay, Iccid, MessageId, SegmentId
from modemctl.policy.choosing import Choice
from modemctl.policy.quotas import Load, Scope, ScopeKind, message_load
from modemctl.policy.stops import Standing
from modemctl.store.gates import stand_still, why_shut
from modemctl.store.lease_order import kinds, ranked
from modemctl.store.prepared import AnyRow, Change, Prepared
from modemctl.store.quotas import Book, Charge
from modemctl.store.segments import (
    IS_QUEUED,
    CardFacts,
    SendingRules,
    note_change,
    postpone,
    read_cards,
)
from modemctl.store.stop_book import standing
from modemctl.store.tables import batch, message, segment, to_ms
from modemctl.store.transaction import Tx


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRequest:
    """A READY card in a bay that has nothing to send; `token` will be that of its lease."""

    bay: Bay
    iccid: Iccid
    rules: SendingRules = field(repr=False)
    token: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Leased:
    """A message that is this card's to send. `not_before`: the card's gap ends then."""

    bay: Bay
    iccid: Iccid
    message_id: MessageId
    batch_id: BatchId
    line_no: int
    token: str
    n_segments: int
    segments: tuple[tuple[SegmentId, int], ...]
    """Those that are left to send: id and place (1 … n), in order."""
    not_before: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """No message for this card now; `until` is when its limits leave room, if that is why."""

    until: datetime | None = None


LeaseResult: TypeAlias = Leased | Nothing

RECIPIENT_FULL: Final = "the recipient has got as much as one may (policy: SIM-08)"
"""Why a message waits that could leave but for whom it goes to."""
_LAST_TURN: Final = 1 << 62


def lease(tx: Tx, requests: Sequence[LeaseRequest]) -> Sequence[LeaseResult]:
    """Give each waiting card its next message, notices first, batches in turn.

    Limits are reserved in this transaction. A card whose limits have no room for the next message
    gets none: a shorter one must not starve it. A batch or department without room is passed over,
    a recipient without room put off.
    """
    if (shut := why_shut(tx, requests[0].rules)) is not None:
        stand_still(tx, shut)
        return [Nothing()] * len(requests)
    stops = standing(tx.conn, tx.vault, requests[0].rules.stops)
    if not (queues := _running(tx, requests[0].rules, stops, None)):
        return [Nothing()] * len(requests)  # a bank at rest asks every few seconds
    round_ = _Round(tx, requests, stops, queues)
    results = {id(request): round_.serve(request) for request in round_.in_order(requests)}
    round_.save()
    return [results[id(request)] for request in requests]


def probe(tx: Tx, requests: Sequence[LeaseRequest], batch_id: str) -> None:
    """Do all of `lease` for one batch but write; raises `UNREADABLE` where a row of it is odd."""
    stops = standing(tx.conn, tx.vault, requests[0].rules.stops)
    queues = _running(tx, requests[0].rules, stops, batch_id)
    round_ = _Round(tx, requests, stops, queues)
    for request in requests:
        round_.serve(request)


# ---------------------------------------------------------------- one round of leasing


@dataclass(slots=True, kw_only=True)
class _Candidate:
    message_id: MessageId
    line_no: int
    n_segments: int
    segments: tuple[tuple[SegmentId, int], ...]
    recipient: bytes = field(repr=False)
    iccid: Iccid | None  # an earlier segment left by this card
    avoid_iccid: Iccid | None

    def suits(self, iccid: Iccid) -> bool:
        return self.iccid in {None, iccid} and self.avoid_iccid != iccid


@dataclass(slots=True, kw_only=True)
class _Queue:
    """One running batch and what of it may go now; read when it is first asked."""

    batch_id: BatchId
    department: str  # whose cards serve it
    card_group: str | None
    is_loop: bool  # a self-test's: each message goes to the card that sends it
    priority: int
    served_at: int
    scopes: tuple[Scope, ...]  # of the batch and of the department whose it is
    candidates: deque[_Candidate] | None = None

    def is_for(self, card: CardFacts) -> bool:
        return card.department == self.department and (
            self.card_group is None or card.card_group == self.card_group
        )


class _Round:
    """Picks for all cards of one set, then writes all picks with a few statements."""

    def __init__(
        self, tx: Tx, requests: Sequence[LeaseRequest], stops: Standing, queues: Sequence[_Queue]
    ) -> None:
        rules = requests[0].rules
        self._tx, self._rules, self._book = tx, rules, Book(tx, rules.quota)
        self._iccids = [request.iccid for request in requests]
        bays = [(request.bay, request.iccid) for request in requests]
        self._cards = read_cards(tx, self._iccids, rules)
        self._stops = stops
        self._card_scopes = {
            card.iccid: rules.quota.scopes(card.bearer(None, None, None))
            for card in self._cards.values()
        }
        scopes = [*self._card_scopes.values(), *(queue.scopes for queue in queues)]
        self._book.read(chain.from_iterable(scopes))
        self._contenders = ranked(tx, self._book, bays, self._cards, self._card_scopes)
        self._n_for: Counter[tuple[str | None, str | None]] = Counter()
        self._place_for: Counter[tuple[str | None, str | None]] = Counter()
        for iccid in self._contenders:
            self._n_for.update(kinds(self._cards[iccid]))
        self._rotations = [
            deque(same) for _, same in groupby(queues, key=lambda queue: queue.priority)
        ]
        # grows also where the clock stands or ran back; a row holds none beyond the last
        turns = [one.served_at + 1 for one in queues if one.served_at < _LAST_TURN]
        self._next_turn = max([to_ms(tx.now) * 1_000, *turns])
        self._served: dict[BatchId, int] = {}
        self._picks: list[tuple[Leased, str]] = []
        self._charges: dict[SegmentId, Charge] = {}
        self._put_off: dict[MessageId, datetime] = {}

    def in_order(self, requests: Sequence[LeaseRequest]) -> Sequence[LeaseRequest]:
        """The best card first: where messages are fewer than cards, it gets one."""
        if len(requests) == 1:
            return requests
        places = {iccid: place for place, iccid in enumerate(self._contenders)}
        return sorted(requests, key=lambda one: places.get(one.iccid, len(places)))

    def serve(self, request: LeaseRequest) -> LeaseResult:
        card = self._cards.get(request.iccid)
        if card is None or not card.is_usable or self._stops.on_card(card.iccid):
            return Nothing()
        self._place_for.update(kinds(card))
        for rotation in self._rotations:
            picked = self._pick(rotation, card)
            if picked is not None:
                queue, candidate = picked
                load = self._load(candidate)
                scopes = self._card_scopes[card.iccid]
                if self._book.lacks(scopes, load) is not None:
                    return Nothing(until=self._book.fits_at(scopes, load))
                return self._take(request, rotation, queue, candidate)
        return Nothing()

    def save(self) -> None:
        """Write leases, cards' choices, the batches' turns and the charges."""
        self._book.save()
        if self._put_off:
            postpone(self._tx, self._put_off, RECIPIENT_FULL)
        if not self._picks:
            return
        conn, now = self._tx.conn, self._tx.now
        until = now + timedelta(seconds=self._rules.lease_seconds)
        rows = [
            {
                "id": segment_id,
                "token": one.token,
                "until": until,
                "to_bay": one.bay,
                "card": one.iccid,
                "charged": None if charge is None else charge.at,
                "charge": None if charge is None else charge.text(self._tx.vault, segment_id),
            }
            for one, _ in self._picks
            for segment_id, _ in one.segments
            for charge in (self._charges.get(segment_id),)
        ]
        n = _TO_LEASED.run(conn, [{**row, "node": self._tx.node_id} for row in rows])
        assert n == len(rows), "a queued segment was taken under our hands"
        _CHOOSE.run(
            conn,
            [{"id": one.message_id, "card": one.iccid, "why": why} for one, why in self._picks],
        )
        _TURN.run(conn, [{"id": key, "at": at} for key, at in sorted(self._served.items())])
        for one, why in self._picks:
            for segment_id, _ in one.segments:
                note_change(self._tx, segment_id, SegmentState.QUEUED, SegmentState.LEASED, why)

    def _pick(self, rotation: deque[_Queue], card: CardFacts) -> tuple[_Queue, _Candidate] | None:
        for queue in rotation:
            if not queue.is_for(card):
                continue
            candidate = self._pick_from(queue, card)
            if candidate is not None:
                return queue, candidate
        return None

    def _pick_from(self, queue: _Queue, card: CardFacts) -> _Candidate | None:
        """The batch's next message for a card; one whose recipient has no room is put off."""
        if queue.candidates is None:
            queue.candidates = deque(self._candidates(queue))
            if self._rules.quota.knows_recipients:
                self._read_recipients(queue)
        for candidate in list(queue.candidates):
            if not candidate.suits(card.iccid):
                continue
            if queue.is_loop and candidate.recipient != card.number_bidx:
                continue
            load = self._load(candidate)
            if self._book.lacks(queue.scopes, load) is not None:
                return None
            own = self._recipient_scopes(candidate)
            if self._book.lacks(own, load) is None:
                return candidate
            queue.candidates.remove(candidate)
            self._put_off[candidate.message_id] = self._book.fits_at(own, load)
        return None

    def _candidates(self, queue: _Queue) -> list[_Candidate]:
        if not queue.is_loop:
            return _candidates(self._tx, queue.batch_id, self._iccids)
        numbers = [card.number_bidx or b"" for card in self._cards.values()]
        facts = {"batch": queue.batch_id, "numbers": numbers, "now": self._tx.now}
        return _whole(self._tx, list(dict.fromkeys(_LOOPED.column(self._tx.conn, facts))))

    def _read_recipients(self, queue: _Queue) -> None:
        """Read what is counted of those whom these candidates go to."""
        assert queue.candidates is not None, "read before"
        own = [scope for one in queue.candidates for scope in self._recipient_scopes(one)]
        counting = [*chain.from_iterable(self._card_scopes.values()), *queue.scopes]
        self._book.read([*own, *counting], [one.recipient for one in queue.candidates])

    def _recipient_scopes(self, candidate: _Candidate) -> tuple[Scope, ...]:
        scope = self._rules.quota.scope(ScopeKind.RECIPIENT, candidate.recipient.hex())
        return () if scope is None else (scope,)

    def _load(self, candidate: _Candidate) -> Load:
        """What is reserved for it at once; what is beyond the smallest cap follows as it goes."""
        n = min(len(candidate.segments), self._rules.quota.smallest)
        return message_load(
            n, is_first=candidate.segments[0][1] == 1, recipient=candidate.recipient
        )

    def _take(
        self,
        request: LeaseRequest,
        rotation: deque[_Queue],
        queue: _Queue,
        candidate: _Candidate,
    ) -> Leased:
        assert queue.candidates is not None
        queue.candidates.remove(candidate)
        rotation.remove(queue)
        rotation.append(queue)
        self._served[queue.batch_id] = self._next_turn + len(self._picks)
        ready_at = self._book.may_submit_at(request.iccid)
        scopes = (
            *self._card_scopes[request.iccid],
            *queue.scopes,
            *self._recipient_scopes(candidate),
        )
        n = self._load(candidate).n_segments
        for segment_id, seq in candidate.segments[:n]:
            load = message_load(1, is_first=seq == 1, recipient=candidate.recipient)
            self._charges[segment_id] = self._book.charge(scopes, load)
        leased = Leased(
            bay=request.bay,
            iccid=request.iccid,
            message_id=candidate.message_id,
            batch_id=queue.batch_id,
            line_no=candidate.line_no,
            token=request.token,
            n_segments=candidate.n_segments,
            segments=candidate.segments,
            not_before=ready_at,
        )
        self._picks.append((leased, self._why(queue, candidate, request.iccid)))
        return leased

    def _why(self, queue: _Queue, candidate: _Candidate, iccid: Iccid) -> str:
        kind = (queue.department, queue.card_group)
        is_bound = candidate.iccid is not None
        return Choice(
            iccid=iccid,
            department=queue.department,
            card_group=queue.card_group,
            place=None if is_bound else self._place_for[kind],
            n=self._n_for[kind],
            contender=None if is_bound else self._contenders[iccid],
            avoids=candidate.avoid_iccid is not None,
            is_loop=queue.is_loop,
        ).encode()


def _running(tx: Tx, rules: SendingRules, stops: Standing, only: str | None) -> list[_Queue]:
    if stops.on_node(tx.node_id) or tx.standing.is_draining:
        return []
    return [
        _Queue(
            batch_id=BatchId(row.batch_id),
            department=_serving(rules, row),
            card_group=row.card_group,
            is_loop=row.under is not None,
            priority=row.priority,
            served_at=row.served_at,
            scopes=tuple(
                scope
                for kind, name in (
                    (ScopeKind.DEPARTMENT, row.department),
                    (ScopeKind.BATCH, row.batch_id),
                )
                if (scope := rules.quota.scope(kind, name)) is not None
            ),
        )
        for row in _RUNNING.rows(tx.conn, {"now": tx.now})
        if only in {None, row.batch_id}
        and rules.is_open(row.category, tx.now)
        and not stops.on_batch(
            row.batch_id,
            {row.department, _serving(rules, row)},
        )
    ]


def _serving(rules: SendingRules, row: AnyRow) -> str:
    is_loop = row.under is not None
    return rules.approvals.serving_department(row.category, row.department, is_loop=is_loop)


def _candidates(tx: Tx, batch_id: BatchId, iccids: Sequence[Iccid]) -> list[_Candidate]:
    """As many messages as cards wait: those that wait for another try, then fresh ones."""
    cards = sorted(set(iccids))
    facts = {
        "batch": batch_id,
        "cards": cards,
        # of several cards another one may take what this one must avoid
        "alone": cards[0] if len(cards) == 1 else "",
        "n": 2 * len(cards),
    }
    ids = list(dict.fromkeys(_AGAIN.column(tx.conn, {**facts, "now": tx.now})))
    if len(ids) < 2 * len(cards):
        ids = list(dict.fromkeys([*ids, *_FRESH.column(tx.conn, facts)]))
    return _whole(tx, ids)


def _whole(tx: Tx, ids: Sequence[object]) -> list[_Candidate]:
    if not ids:
        return []
    rows = _WHOLE.mappings(tx.conn, {"ids": ids})
    found = {
        message_id: _candidate(list(same))
        for message_id, same in groupby(rows, key=lambda row: row["message_id"])
    }
    return [found[message_id] for message_id in ids]


def _candidate(rows: Sequence[RowMapping]) -> _Candidate:
    first = rows[0]
    return _Candidate(
        message_id=MessageId(first["message_id"]),
        line_no=first["line_no"],
        n_segments=first["n_segments"],
        segments=tuple((SegmentId(row["segment_id"]), row["seq"]) for row in rows),
        recipient=first["recipient_bidx"],
        iccid=first["iccid"],
        avoid_iccid=first["avoid_iccid"],
    )


_RUNNING: Final = Prepared(
    select(
        batch.c.batch_id,
        batch.c.category,
        batch.c.department,
        batch.c.card_group,
        batch.c.priority,
        batch.c.served_at,
        batch.c.under,
    )
    .where(
        batch.c.state == BatchState.RUNNING,
        batch.c.not_before <= bindparam("now"),
        batch.c.not_after > bindparam("now"),
        exists().where(segment.c.batch_id == batch.c.batch_id, IS_QUEUED),
    )
    .order_by(batch.c.priority, batch.c.served_at, batch.c.batch_id)
)
_HEADS: Final = (
    select(segment.c.message_id)
    .where(segment.c.batch_id == bindparam("batch"), IS_QUEUED)
    .where(
        or_(
            segment.c.iccid.is_(None),
            segment.c.iccid.in_(bindparam("cards", expanding=True)),
        ),
        or_(segment.c.avoid_iccid.is_(None), segment.c.avoid_iccid != bindparam("alone")),
    )
    .limit(bindparam("n", type_=Integer))
)
_AGAIN: Final = Prepared(
    _HEADS.where(segment.c.not_before <= bindparam("now")).order_by(segment.c.not_before)
)
_FRESH: Final = Prepared(
    _HEADS.where(segment.c.not_before.is_(None)).distinct().order_by(segment.c.message_id)
)
_LOOPED: Final = Prepared(
    select(segment.c.message_id)
    .join(message, message.c.message_id == segment.c.message_id)
    .where(segment.c.batch_id == bindparam("batch"), IS_QUEUED)
    .where(
        message.c.recipient_bidx.in_(bindparam("numbers", expanding=True)),
        or_(segment.c.not_before.is_(None), segment.c.not_before <= bindparam("now")),
    )
    .order_by(segment.c.message_id)
)
_WHOLE: Final = Prepared(
    select(
        segment.c.message_id,
        segment.c.segment_id,
        segment.c.seq,
        segment.c.iccid,
        segment.c.avoid_iccid,
        message.c.line_no,
        message.c.n_segments,
        message.c.recipient_bidx,
    )
    .join(message, message.c.message_id == segment.c.message_id)
    .where(segment.c.message_id.in_(bindparam("ids", expanding=True)), IS_QUEUED)
    .order_by(segment.c.message_id, segment.c.seq)
)
_TO_LEASED: Final = Change(
    update(segment)
    .where(segment.c.segment_id == bindparam("id"), segment.c.state == SegmentState.QUEUED)
    .values(
        state=SegmentState.LEASED.value,
        lease_token=bindparam("token"),
        leased_until=bindparam("until"),
        bay=bindparam("to_bay"),
        node_id=bindparam("node"),
        iccid=bindparam("card"),
        charged_at=bindparam("charged"),
        charged_to=bindparam("charge"),
    )
)
_CHOOSE: Final = Change(
    update(message)
    .where(message.c.message_id == bindparam("id"))
    .values(iccid=bindparam("card"), choice=bindparam("why"))
)
_TURN: Final = Change(
    update(batch).where(batch.c.batch_id == bindparam("id")).values(served_at=bindparam("at"))
)
