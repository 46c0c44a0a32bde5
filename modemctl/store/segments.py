"""Segments: what holds for them from the queue to the card, and their way back to the queue.

The lease stands in `store.leases`, what follows it in `store.submits`, what time does in
`store.sweeps`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import RowMapping, bindparam, literal_column, select, update

from modemctl.errors import TamperedError
from modemctl.lifecycle import BatchState, CardState, SegmentState
from modemctl.model import BatchId, Bay, Iccid, MessageId, SegmentId, Topic
from modemctl.policy.approvals import ApprovalRules
from modemctl.policy.cards import lease_fault, unfitness
from modemctl.policy.gates import ClockTrust
from modemctl.policy.quotas import Zones
from modemctl.policy.stops import StopMemory
from modemctl.store import batches, card_zones, sims
from modemctl.store.finals import announce
from modemctl.store.prepared import Change, Prepared
from modemctl.store.proofs import ProofBook
from modemctl.store.quotas import Bearer, Book, Charge, QuotaRules
from modemctl.store.tables import modem, segment, sim
from modemctl.store.transaction import Transition, Tx

IS_QUEUED: Final = segment.c.state == literal_column("'queued'")
"""Written out, so that SQLite sees that the partial index serves it."""
IS_OPEN: Final = segment.c.state.in_(
    [literal_column("'leased'"), literal_column("'submitting'"), literal_column("'in_doubt'")]
)
"""Likewise, for the index of segments that somebody has in hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingRules:
    """What leases and submits are held to. `lease_seconds` must outlast a submit in flight.

    A submit that is older than that has lost its actor.
    """

    quota: QuotaRules
    approvals: ApprovalRules
    is_open: Callable[[str, datetime], bool]
    """Whether a category may leave at a moment (quiet hours)."""
    proofs: ProofBook
    stops: StopMemory = field(default_factory=StopMemory)
    clock: ClockTrust = field(default_factory=ClockTrust)
    policy: str | None = None
    """Digest of the settings' policy, which two persons must have confirmed; None: not asked."""
    on_doubt_hold: bool = False
    doubt_closes_after: timedelta | None = None
    """From the submit on; None where only a person closes a doubt."""
    wants_reports: bool = True
    lease_seconds: float = 420.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What decides whether a card may carry a batch's traffic."""

    iccid: Iccid
    holder: str | None
    department: str | None
    carrier: str | None
    card_group: str | None
    is_usable: bool
    zones: Zones | None = None
    """Whose days and months bind it now, where they are not the site's alone."""
    number_bidx: bytes | None = field(default=None, repr=False)

    def bearer(
        self, batch_id: BatchId | None, department: str | None, recipient: bytes | None
    ) -> Bearer:
        """For whom a segment of this batch counts on this card; `department` is the batch's."""
        return Bearer(
            iccid=self.iccid,
            holder=self.holder,
            department=department,
            carrier=self.carrier,
            batch_id=batch_id,
            recipient=recipient,
            zones=self.zones,
        )


def read_cards(tx: Tx, iccids: Collection[Iccid], rules: SendingRules) -> Mapping[Iccid, CardFacts]:
    """The cards that the register knows of these; a row that was altered is not usable."""
    rows = _CARDS.mappings(tx.conn, {"ids": sorted(set(iccids))})
    return {
        Iccid(row["iccid"]): CardFacts(
            iccid=Iccid(row["iccid"]),
            holder=row["holder"],
            department=row["department"],
            carrier=row["carrier"],
            card_group=row["card_group"],
            is_usable=_is_usable(tx, row, rules),
            zones=card_zones.binding(tx, row),
            number_bidx=row["number_bidx"],
        )
        for row in rows
    }


def read_fitness(tx: Tx, bays: Collection[Bay]) -> Mapping[Bay, tuple[int | None, int]]:
    """Signal (dBm) and number of open breakers of the modems in these bays."""
    if not bays:
        return {}
    rows = _FITNESS.rows(tx.conn, {"bays": sorted(set(bays))})
    return {
        Bay(row.bay): (row.signal_dbm, row.breakers.count(",") + (row.breakers != ""))
        for row in rows
        if isinstance(row.signal_dbm, int | None) and isinstance(row.breakers, str)
    }


def _is_usable(tx: Tx, row: RowMapping, rules: SendingRules) -> bool:
    try:
        rules.proofs.check_card(tx.vault, row)
    except TamperedError:
        return False
    state, until = CardState(row["state"]), row["lease_until"]
    fault = unfitness(state, row["verified_at"]) or lease_fault(until, tx.now, rules.quota.zone)
    is_barred = row["is_paused"] or row["is_reserved"] or not card_zones.are_known(row)
    return fault is None and not is_barred


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Why a segment moved. `cause` is a code (`cms:38`, `policy:SIM-08`) where there is one.

    `not_before` and `avoid_iccid` steer the next try of a segment that goes back.
    """

    text: str
    cause: str | None = None
    not_before: datetime | None = None
    avoid_iccid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A lease that its card cannot use: nothing of it was written to a modem."""

    token: str
    reason: str
    rules: SendingRules = field(repr=False)


HELD_COLUMNS: Final = (
    segment.c.segment_id,
    segment.c.message_id,
    segment.c.batch_id,
    segment.c.seq,
    segment.c.state,
    segment.c.tries,
    segment.c.iccid,
    segment.c.lease_token,
    segment.c.charged_at,
    segment.c.charged_to,
    segment.c.not_before,
    segment.c.avoid_iccid,
)
"""What is asked of a segment that somebody has in hand."""


def release(tx: Tx, releases: Sequence[Release]) -> Sequence[int]:
    """Put what is still LEASED under these tokens back in the queue, with its charges.

    Returns how many segments each one freed.
    """
    notes = {one.token: Note(text=one.reason) for one in releases}
    rows = leased_under(tx, notes)
    requeue(tx, rows, releases[0].rules.quota, notes=notes)
    tx.wake(Topic.WORK)
    return [sum(row["lease_token"] == one.token for row in rows) for one in releases]


def requeue(
    tx: Tx, rows: Sequence[RowMapping], rules: QuotaRules, *, notes: Mapping[str, Note]
) -> None:
    """LEASED or SUBMITTING (proven no send) → QUEUED, with the charges given back.

    `notes` by lease token. A message of which a segment left keeps its card.
    """
    if not rows:
        return
    refund(tx, rows, rules)
    ids = [row["segment_id"] for row in rows]
    bound = bound_messages(tx, {row["message_id"] for row in rows}, without=ids)
    changes = [_requeued(row, notes[row["lease_token"]], bound) for row in rows]
    n = _TO_QUEUED.run(tx.conn, changes)
    assert n == len(changes), "a segment in hand was taken under our hands"
    for row in rows:
        before, note = SegmentState(row["state"]), notes[row["lease_token"]]
        note_change(tx, row["segment_id"], before, SegmentState.QUEUED, note.text)


def finish(
    tx: Tx,
    rows: Sequence[RowMapping],
    to: SegmentState,
    rules: SendingRules,
    *,
    notes: Mapping[str, Note],
) -> None:
    """Move segments that never left to a final state; `notes` by lease token."""
    if not rows:
        return
    refund(tx, rows, rules.quota)
    changes = [
        {
            "id": row["segment_id"],
            "before": row["state"],
            "to": to.value,
            "at": tx.now,
            "why": notes[row["lease_token"]].cause,
            "what": notes[row["lease_token"]].text,
        }
        for row in rows
    ]
    n = _TO_FINAL.run(tx.conn, changes)
    assert n == len(changes), "a segment in hand was taken under our hands"
    for row in rows:
        before, note = SegmentState(row["state"]), notes[row["lease_token"]]
        note_change(tx, row["segment_id"], before, to, note.text)
    announce(tx, {row["message_id"] for row in rows})


def refund(tx: Tx, rows: Sequence[RowMapping], rules: QuotaRules) -> None:
    """Give back what segments that provably did not leave had reserved."""
    found = [Charge.of(tx.vault, row) for row in rows]
    charges = [charge for charge in found if charge is not None]
    if not charges:
        return
    book = Book(tx, rules)
    book.read_charges(charges)
    for charge in charges:
        book.refund(charge)
    with suppress(TamperedError):  # a count that is no number: what it holds stays counted
        book.save()


def postpone(tx: Tx, until: Mapping[MessageId, datetime], why: str) -> None:
    """Let messages wait in the queue until then, each."""
    rows = [{"id": one, "when": at, "what": why} for one, at in sorted(until.items())]
    tx.conn.execute(_POSTPONE, rows)
    tx.wake(Topic.WORK)  # others of the batch may go


def hold_batch(tx: Tx, batch_id: BatchId, reason: str) -> bool:
    """RUNNING → HELD by this node; False if it does not run."""
    if not batches.move(
        tx, batch_id, BatchState.HELD, reason=reason, only_from={BatchState.RUNNING}
    ):
        return False
    tx.audit(tx.node_id, "batch.hold", batch_id, {"reason": reason})
    return True


def leased_under(tx: Tx, tokens: Collection[str]) -> Sequence[RowMapping]:
    """What is still LEASED under these tokens."""
    return _LEASED.mappings(tx.conn, {"tokens": sorted(tokens)})


def bound_messages(
    tx: Tx, message_ids: Iterable[int], *, without: Collection[int] = ()
) -> frozenset[int]:
    """Those of which a segment left, or may have left: their card does not change.

    `without`: segments that do not count, since they are just proven not to have left.
    """
    facts = {"ids": sorted(set(message_ids)), "without": sorted(without)}
    return frozenset(tx.conn.scalars(_BOUND, facts))


def note_change(
    tx: Tx, segment_id: int, before: SegmentState, after: SegmentState, note: str | None = None
) -> None:
    """Put a change of state in the journal, as done by this node."""
    tx.transition(
        Transition(
            segment_id=SegmentId(segment_id),
            before=before,
            after=after,
            actor=tx.node_id,
            note=note,
        )
    )


def _requeued(row: RowMapping, note: Note, bound: frozenset[int]) -> dict[str, object]:
    return {
        "id": row["segment_id"],
        "before": row["state"],
        "card": row["iccid"] if row["message_id"] in bound else None,
        "when": note.not_before or row["not_before"],
        "avoid": note.avoid_iccid or row["avoid_iccid"],
        "why": note.cause,
        "what": note.text,
    }


_CARDS: Final = Prepared(
    select(*sims.SEALED, sim.c.mac).where(sim.c.iccid.in_(bindparam("ids", expanding=True)))
)
_FITNESS: Final = Prepared(
    select(modem.c.bay, modem.c.signal_dbm, modem.c.breakers).where(
        modem.c.bay.in_(bindparam("bays", expanding=True))
    )
)
_LEASED: Final = Prepared(
    select(*HELD_COLUMNS).where(
        IS_OPEN,
        segment.c.state == SegmentState.LEASED,
        segment.c.lease_token.in_(bindparam("tokens", expanding=True)),
    )
)
_BOUND: Final = (
    select(segment.c.message_id)
    .distinct()
    .where(
        segment.c.message_id.in_(bindparam("ids", expanding=True)),
        segment.c.segment_id.not_in(bindparam("without", expanding=True)),
        segment.c.state.in_(
            [
                SegmentState.SUBMITTING,
                SegmentState.SENT,
                SegmentState.DELIVERED,
                SegmentState.UNDELIVERED,
                SegmentState.IN_DOUBT,
                SegmentState.ABANDONED,
            ]
        ),
    )
)
_POSTPONE: Final = (
    update(segment)
    .where(segment.c.message_id == bindparam("id"), IS_QUEUED)
    .values(not_before=bindparam("when"), note=bindparam("what"))
)
_TO_QUEUED: Final = Change(
    update(segment)
    .where(segment.c.segment_id == bindparam("id"), segment.c.state == bindparam("before"))
    .values(
        state=SegmentState.QUEUED.value,
        lease_token=None,
        leased_until=None,
        submitting_at=None,
        bay=None,
        node_id=None,
        charged_at=None,
        charged_to=None,
        iccid=bindparam("card"),
        not_before=bindparam("when"),
        avoid_iccid=bindparam("avoid"),
        cause=bindparam("why"),
        note=bindparam("what"),
    )
)
_TO_FINAL: Final = Change(
    update(segment)
    .where(segment.c.segment_id == bindparam("id"), segment.c.state == bindparam("before"))
    .values(
        state=bindparam("to"),
        final_at=bindparam("at"),
        cause=bindparam("why"),
        note=bindparam("what"),
        charged_at=None,
        charged_to=None,
    )
)
