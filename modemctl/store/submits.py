"""The last gate before a modem.

`begin_submit` is the only place that makes a `Cleared`, and the fleet gives a modem nothing else.
It commits before the bytes leave; `store.outcomes` notes what became of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from sqlalchemy import RowMapping, bindparam, select, update

from modemctl.errors import PolicyRefused
from modemctl.lifecycle import BatchState, SegmentState
from modemctl.model import BatchId, Bay, DesiredState, EventKind, Iccid, SegmentId
from modemctl.policy.approvals import VerifiedBatch
from modemctl.policy.quotas import Load, Scope, message_load
from modemctl.store.gates import why_shut
from modemctl.store.prepared import Change, Prepared
from modemctl.store.quotas import Book, Charge, Shortage
from modemctl.store.segments import (
    Note,
    SendingRules,
    finish,
    hold_batch,
    leased_under,
    note_change,
    read_cards,
    requeue,
)
from modemctl.store.stop_book import standing
from modemctl.store.tables import batch, modem, opt_out, segment
from modemctl.store.transaction import Tx

_SEAL: Final = object()
_PATIENCE: Final = timedelta(minutes=2)  # longer than that, a message is not held by its card


class Cleared:
    """Leave to send one TPDU, once. Only the SUBMITTING transaction makes one.

    `at` is that transaction's steady time: all that was committed before it was heeded.
    """

    __slots__ = ("at", "segment_id", "tpdu")

    def __init__(self, *, segment_id: SegmentId, tpdu: bytes, at: datetime, seal: object) -> None:
        if seal is not _SEAL:
            raise TypeError("a clearance comes from begin_submit only")
        self.segment_id: Final = segment_id
        self.tpdu: Final = tpdu
        self.at: Final = at


@dataclass(frozen=True, slots=True, kw_only=True)
class NotYet:
    """The card's gap or limits say later; the lease holds until then."""

    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """The message may not leave now, and its lease is over. `policy` names a rule, if one."""

    reason: str
    policy: str | None = None


Clearance: TypeAlias = Cleared | NotYet | Withdrawn


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitRequest:
    """One segment, encoded from the verified line; `digest` is that of the batch it was in."""

    segment_id: SegmentId
    token: str
    bay: Bay
    iccid: Iccid
    batch_id: BatchId
    digest: bytes
    recipient_bidx: bytes
    tpdu: bytes = field(repr=False)
    rules: SendingRules = field(repr=False)


def begin_submit(tx: Tx, requests: Sequence[SubmitRequest]) -> Sequence[Clearance]:
    """Check everything once more and mark as SUBMITTING what may leave.

    Lease, batch, approval, stops, window, opt-out, quiet hours, card and its MAC, pause, gap,
    limits. What may not leave goes back to the queue; an opted-out recipient's message is refused;
    a batch whose approval no longer holds is held.
    """
    gate = _Gate(tx, requests)
    gate.read_counts(requests)
    results = [gate.pass_(request) for request in requests]
    gate.save()
    return results


def why_withheld(tx: Tx, request: SubmitRequest) -> str:
    """Why what was cleared may not leave any more; empty where it may. Counts are not asked again.

    What was committed since, on whatever node, and this one may not have heard of.
    """
    return _Gate(tx, [request]).why_over(request)


class _Gate:
    """One set of requests before the gate: reads for all, decides each, writes for all."""

    def __init__(self, tx: Tx, requests: Sequence[SubmitRequest]) -> None:
        self._tx, self._rules = tx, requests[0].rules
        iccids = [request.iccid for request in requests]
        self._rows = _rows_of(tx, [request.segment_id for request in requests])
        self._batches = self._rules.proofs.verified(
            tx.conn, tx.vault, {one.batch_id for one in requests}, now=tx.now
        )
        self._cards = read_cards(tx, iccids, self._rules)
        self._shut = why_shut(tx, self._rules)
        self._stops = standing(tx.conn, tx.vault, self._rules.stops)
        indexes = sorted({one.recipient_bidx for one in requests})
        self._opted_out = frozenset(_OPTED_OUT.column(tx.conn, {"indexes": indexes}))
        self._book = Book(tx, self._rules.quota)
        self._charges: dict[SegmentId, Charge] = {}
        self._submitting: list[SubmitRequest] = []
        self._prolonged: dict[str, datetime] = {}
        self._returned: dict[str, Note] = {}
        self._refused: dict[str, Note] = {}
        self._held: dict[BatchId, PolicyRefused] = {}

    def pass_(self, request: SubmitRequest) -> Clearance:
        row = self._rows.get(request.segment_id)
        if not _is_leased(row, request, self._tx.now):
            return Withdrawn(reason="the lease is over")
        assert row is not None
        refusal = self._refusal(request, row)
        if refusal is not None:
            return refusal
        ready_at = self._book.may_submit_at(request.iccid)
        if ready_at is not None and ready_at > self._tx.now:
            return NotYet(until=ready_at)
        scopes, load = self._scopes(request), _load(request, row)
        old = self._charges.get(request.segment_id)
        charge = self._book.move(old, scopes, load)
        if isinstance(charge, Shortage):
            return self._postpone(request, self._book.fits_at(scopes, load))
        self._charges[request.segment_id] = charge
        self._book.note_submit(request.iccid)
        self._submitting.append(request)
        at = self._tx.steady
        return Cleared(segment_id=request.segment_id, tpdu=request.tpdu, at=at, seal=_SEAL)

    def why_over(self, request: SubmitRequest) -> str:
        """Why a clearance that was given holds no more; empty where it does."""
        row = self._rows.get(request.segment_id)
        is_ours = row is not None and row["lease_token"] == request.token
        if row is None or not is_ours or row["state"] != SegmentState.SUBMITTING:
            return "it is not submitted under this lease any more"
        refusal = self._refusal(request, row)
        return "" if refusal is None else refusal.reason

    def save(self) -> None:
        """Write all decisions."""
        tx = self._tx
        self._book.save()
        if self._submitting:
            rows = [
                {
                    "id": one.segment_id,
                    "token": one.token,
                    "at": tx.now,
                    "charged": self._charges[one.segment_id].at,
                    "charge": self._charges[one.segment_id].text(tx.vault, one.segment_id),
                }
                for one in self._submitting
            ]
            n = _TO_SUBMITTING.run(tx.conn, rows)
            assert n == len(rows), "a leased segment was taken under our hands"
            for one in self._submitting:
                note_change(tx, one.segment_id, SegmentState.LEASED, SegmentState.SUBMITTING)
        if self._prolonged:
            self._prolong()
        if self._returned:
            rows_back = leased_under(tx, self._returned)
            requeue(tx, rows_back, self._rules.quota, notes=self._returned)
        if self._refused:
            leased = leased_under(tx, self._refused)
            finish(tx, leased, SegmentState.REFUSED, self._rules, notes=self._refused)
        for batch_id, error in self._held.items():
            hold_batch(tx, batch_id, f"{error.rule} (policy: {error.policy})")

    def read_counts(self, requests: Sequence[SubmitRequest]) -> None:
        """Read what the limits ask for; needed before any may pass."""
        scopes: list[Scope] = []
        for one in requests:
            row = self._rows.get(one.segment_id)
            charge = row and Charge.of(self._tx.vault, row)
            if charge:
                self._charges[one.segment_id] = charge
            is_sound = isinstance(self._batches[one.batch_id], VerifiedBatch)
            if is_sound and one.iccid in self._cards:
                scopes += self._scopes(one)
        self._book.read(scopes, {one.recipient_bidx for one in requests})
        self._book.read_charges(self._charges.values())

    def _scopes(self, request: SubmitRequest) -> tuple[Scope, ...]:
        """On whom the segment falls as things stand now: the card may have a new holder."""
        verified = self._batches[request.batch_id]
        assert isinstance(verified, VerifiedBatch), "refused before"
        bearer = self._cards[request.iccid].bearer(
            request.batch_id, verified.header.department, request.recipient_bidx
        )
        return self._rules.quota.scopes(bearer)

    def _prolong(self) -> None:
        rows = leased_under(self._tx, self._prolonged)
        _PROLONG.run(
            self._tx.conn,
            [
                {"id": row["segment_id"], "until": self._prolonged[row["lease_token"]]}
                for row in rows
            ],
        )

    def _refusal(self, request: SubmitRequest, row: RowMapping) -> Withdrawn | None:
        if row["batch_state"] != BatchState.RUNNING:
            return self._return(request, "the batch does not run")
        if self._shut is not None:
            return self._return(request, self._shut.reason, self._shut.policy)
        if row["desired_state"] != DesiredState.RUN:
            return self._return(request, "the bay is paused")
        verified = self._batches[request.batch_id]
        if isinstance(verified, PolicyRefused):
            self._held[request.batch_id] = verified
            return self._return(request, verified.rule, verified.policy)
        if verified.digest != request.digest:
            return self._return(request, "the batch is not what was verified", "SMS-01")
        return (
            self._stop_refusal(request, verified)
            or self._time_refusal(request, verified)
            or self._card_refusal(request, verified)
        )

    def _stop_refusal(self, request: SubmitRequest, verified: VerifiedBatch) -> Withdrawn | None:
        header, serving = verified.header, self._serving(verified)
        why = (
            self._stops.on_node(self._tx.node_id)
            or self._stops.on_card(request.iccid)
            or self._stops.on_batch(request.batch_id, {header.department, serving})
        )
        return None if why is None else self._return(request, why, "SEC-10")

    def _time_refusal(self, request: SubmitRequest, verified: VerifiedBatch) -> Withdrawn | None:
        header, now = verified.header, self._tx.now
        if not header.not_before <= now < min(header.not_after, verified.approved_until):
            return self._return(request, "outside the approved window")
        if not self._rules.is_open(header.category, now):
            return self._return(request, "quiet hours", "SIM-08")
        if request.recipient_bidx in self._opted_out:
            reason = "the recipient opted out"
            self._refused[request.token] = Note(text=reason, cause="policy:SIM-08")
            return Withdrawn(reason=reason, policy="SIM-08")
        return None

    def _card_refusal(self, request: SubmitRequest, verified: VerifiedBatch) -> Withdrawn | None:
        card = self._cards.get(request.iccid)
        header = verified.header
        if card is None or not card.is_usable:
            return self._return(request, "the card may not send")
        is_ours = card.department == self._serving(verified)
        if not is_ours or header.card_group not in {None, card.card_group}:
            return self._return(request, "the card serves other batches", "SIM-05")
        if header.is_loop and card.number_bidx != request.recipient_bidx:
            return self._return(request, "a self-test's message goes to its own card", "SMS-09")
        return None

    def _serving(self, verified: VerifiedBatch) -> str:
        header = verified.header
        return self._rules.approvals.serving_department(
            header.category, header.department, is_loop=header.is_loop
        )

    def _return(self, request: SubmitRequest, reason: str, policy: str | None = None) -> Withdrawn:
        self._returned[request.token] = Note(text=reason)
        return Withdrawn(reason=reason, policy=policy)

    def _postpone(self, request: SubmitRequest, until: datetime) -> Clearance:
        if until - self._tx.now > _PATIENCE:
            return self._return(request, "limits are used up", "SIM-08")
        self._prolonged[request.token] = until + timedelta(seconds=self._rules.lease_seconds)
        return NotYet(until=until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A leased message that could not be proved: its own line, or its whole batch."""

    token: str
    batch_id: BatchId
    policy: str
    rule: str
    is_whole_batch: bool
    rules: SendingRules = field(repr=False)


def refuse(tx: Tx, refusals: Sequence[Refusal]) -> Sequence[None]:
    """Hold batches that cannot be proved; refuse single messages that cannot."""
    for one in refusals:
        rows = leased_under(tx, [one.token])
        note = Note(text=one.rule, cause=f"policy:{one.policy}")
        if one.is_whole_batch:
            requeue(tx, rows, one.rules.quota, notes={one.token: note})
            hold_batch(tx, one.batch_id, f"{one.rule} (policy: {one.policy})")
        else:
            finish(tx, rows, SegmentState.REFUSED, one.rules, notes={one.token: note})
        facts = {"alarm": "refused", "policy": one.policy, "rule": one.rule}
        tx.event(EventKind.ALARM, one.batch_id, {**facts})
        tx.audit(tx.node_id, "segment.refuse", one.batch_id, {**facts})
    return [None] * len(refusals)


# ---------------------------------------------------------------- what the gate reads


def _rows_of(tx: Tx, segment_ids: Sequence[SegmentId]) -> Mapping[SegmentId, RowMapping]:
    rows = _STANDING.mappings(tx.conn, {"ids": list(segment_ids)})
    return {SegmentId(row["segment_id"]): row for row in rows}


def _load(request: SubmitRequest, row: RowMapping) -> Load:
    return message_load(1, is_first=row["seq"] == 1, recipient=request.recipient_bidx)


def _is_leased(row: RowMapping | None, request: SubmitRequest, now: datetime) -> bool:
    return (
        row is not None
        and row["state"] == SegmentState.LEASED
        and row["lease_token"] == request.token
        and row["iccid"] == request.iccid
        and row["bay"] == request.bay
        and row["batch_id"] == request.batch_id
        and row["leased_until"] > now
    )


_STANDING: Final = Prepared(
    select(
        segment.c.segment_id,
        segment.c.batch_id,
        segment.c.state,
        segment.c.lease_token,
        segment.c.leased_until,
        segment.c.iccid,
        segment.c.bay,
        segment.c.charged_at,
        segment.c.charged_to,
        segment.c.seq,
        batch.c.state.label("batch_state"),
        modem.c.desired_state,
    )
    .join(batch, batch.c.batch_id == segment.c.batch_id)
    .outerjoin(modem, modem.c.bay == segment.c.bay)
    .where(segment.c.segment_id.in_(bindparam("ids", expanding=True)))
)
_OPTED_OUT: Final = Prepared(
    select(opt_out.c.number_bidx).where(
        opt_out.c.number_bidx.in_(bindparam("indexes", expanding=True))
    )
)
_TO_SUBMITTING: Final = Change(
    update(segment)
    .where(
        segment.c.segment_id == bindparam("id"),
        segment.c.state == SegmentState.LEASED,
        segment.c.lease_token == bindparam("token"),
    )
    .values(
        state=SegmentState.SUBMITTING.value,
        submitting_at=bindparam("at"),
        charged_at=bindparam("charged"),
        charged_to=bindparam("charge"),
        tries=segment.c.tries + 1,
    )
)
_PROLONG: Final = Change(
    update(segment)
    .where(segment.c.segment_id == bindparam("id"), segment.c.state == SegmentState.LEASED)
    .values(leased_until=bindparam("until"))
)
