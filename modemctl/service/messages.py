"""Messages: searched, and explained step by step in words (SEC-11)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from modemctl.errors import InvalidRequest, NotFound, TamperedError
from modemctl.lifecycle import BatchState, MessageState, SegmentState
from modemctl.model import BatchId, MessageId, mask_number
from modemctl.policy.approvals import BatchEvidence
from modemctl.policy.choosing import choice_in_words
from modemctl.policy.digest import decode_header
from modemctl.policy.hours import next_open
from modemctl.policy.numbers import Rejection, normalise
from modemctl.policy.quotas import message_load
from modemctl.policy.stops import Standing, StopMemory
from modemctl.service.batch_views import may_see, sight_of
from modemctl.service.pages import Page, decode_number, encode_cursor
from modemctl.service.principal import Principal, Scope
from modemctl.service.submission import SubmissionRules
from modemctl.store import Connection, Store, Tx, headroom
from modemctl.store import batches as batch_rows
from modemctl.store import messages as rows
from modemctl.store.accounts import find_account
from modemctl.store.batches import Batch
from modemctl.store.evidence import read_evidence
from modemctl.store.fitness import CardVerdict, verdicts
from modemctl.store.headroom import Waiting
from modemctl.store.messages import Change, Message, Segment
from modemctl.store.stop_book import standing

__all__ = ["Explanation", "MessageView", "Messages", "Moment", "Segment"]

_WORDS: Final[dict[tuple[SegmentState, SegmentState], str]] = {
    (SegmentState.QUEUED, SegmentState.LEASED): "given to a card",
    (SegmentState.QUEUED, SegmentState.EXPIRED): "expired unsent",
    (SegmentState.QUEUED, SegmentState.REFUSED): "refused before it was sent",
    (SegmentState.QUEUED, SegmentState.CANCELLED): "cancelled unsent",
    (SegmentState.LEASED, SegmentState.SUBMITTING): "cleared; being handed to the modem",
    (SegmentState.LEASED, SegmentState.QUEUED): "given back unsent",
    (SegmentState.LEASED, SegmentState.EXPIRED): "expired unsent",
    (SegmentState.LEASED, SegmentState.REFUSED): "refused before it was sent",
    (SegmentState.LEASED, SegmentState.CANCELLED): "cancelled unsent",
    (SegmentState.SUBMITTING, SegmentState.SENT): "accepted by the network",
    (SegmentState.SUBMITTING, SegmentState.QUEUED): "proved not to have left; waits for a new try",
    (SegmentState.SUBMITTING, SegmentState.REFUSED): "refused by the network for good",
    (SegmentState.SUBMITTING, SegmentState.IN_DOUBT): "no answer that tells whether it left",
    (SegmentState.SENT, SegmentState.DELIVERED): "delivered, says the network's report",
    (SegmentState.SENT, SegmentState.UNDELIVERED): "not delivered, says the network's report",
    (SegmentState.SENT, SegmentState.EXPIRED): "the network gave up",
    (SegmentState.IN_DOUBT, SegmentState.SENT): "a late answer shows that it was accepted",
    (SegmentState.IN_DOUBT, SegmentState.DELIVERED): "a report shows that it was delivered",
    (SegmentState.IN_DOUBT, SegmentState.UNDELIVERED): "a report shows that it was not delivered",
    (SegmentState.IN_DOUBT, SegmentState.EXPIRED): "a report shows that the network gave up",
    (SegmentState.IN_DOUBT, SegmentState.QUEUED): "a person decided to send it again",
    (SegmentState.IN_DOUBT, SegmentState.ABANDONED): "a person closed it without sending again",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageView:
    """A message as an account may see it: `to` masked without `pii:read`."""

    message_id: MessageId
    batch_id: BatchId
    line_no: int
    to: str | None
    state: MessageState
    iccid: str | None
    choice: str | None
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One thing that happened to a message; `policy` names the rule that it serves.

    `actor` is the name of an account or a node.
    """

    at: datetime
    what: str
    actor: str
    policy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A message's whole story, in order, and one line that says where it stands.

    `cards`: of one that waits, each card of the serving department, and why it does not take it.
    """

    message: MessageView
    summary: str
    moments: tuple[Moment, ...]
    cards: tuple[CardVerdict, ...]


class Messages:
    """What became of messages."""

    def __init__(self, store: Store, rules: SubmissionRules) -> None:
        self._store = store
        self._rules = rules

    async def search(
        self,
        who: Principal,
        *,
        batch_id: str | None = None,
        number: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[MessageView]:
        """Messages that the account may see, in order of id.

        Raises:
            NotPermitted, InvalidRequest: scope, number or cursor.
        """
        who.require(Scope.BATCHES_READ)
        query = rows.Query(
            sight=sight_of(who, self._rules.approvals.general_department),
            batch_id=batch_id,
            number=None if number is None else self._number(number),
        )
        vault, after = self._store.vault, decode_number(cursor)
        found = await self._store.read(
            lambda conn: rows.find_messages(conn, vault, query, after=after, limit=limit + 1)
        )
        shown = [_view(one, who) for one in found[:limit]]
        more = encode_cursor(shown[-1].message_id) if len(found) > limit else None
        return Page(items=shown, next=more)

    async def explain(self, who: Principal, message_id: int) -> Explanation:
        """Everything that happened to a message, and by whose leave.

        Raises:
            NotFound, NotPermitted: no such message, or not of the account's department.
        """
        who.require(Scope.BATCHES_READ)
        sight = sight_of(who, self._rules.approvals.general_department)
        vault = self._store.vault

        def read(conn: Connection) -> Explanation:
            found = rows.find_message(conn, vault, message_id)
            if found is None or not may_see(sight, found.department, found.category):
                raise NotFound("no such message", field="message_id", value=str(message_id))
            batch = batch_rows.find_batch(conn, found.batch_id)
            assert batch is not None, "a message belongs to a batch"
            known = read_evidence(conn, vault, [batch.batch_id]).get(batch.batch_id)
            changes = rows.changes_of(conn, (one.segment_id for one in found.segments))
            view, waiting = self._store.view(conn), self._waiting(found, batch)
            stops = standing(conn, vault, StopMemory())
            pause = None if waiting is None else self._pause(stops, view, batch)
            cards: Sequence[CardVerdict] = ()
            if waiting is not None:
                quota = self._rules.quota
                avoids = next((one.avoids for one in found.segments if one.avoids), None)
                cards = verdicts(view, quota, waiting, stops=stops, avoids=avoids)
                obstacle = headroom.obstacle(view, quota, waiting)
                pause = pause or (_next_try(found, view.now) if obstacle is None else obstacle.text)
                if pause is None and all(one.why_not is not None for one in cards):
                    pause = "no card fits now"
            approvals = self._approvals(conn, batch, known)
            moments = [*approvals, *_moments(found, changes)]
            return Explanation(
                message=_view(found, who),
                summary=_summary(found, batch) + ("" if pause is None else f"; {pause}"),
                moments=tuple(sorted(moments, key=lambda one: one.at)),
                cards=tuple(cards),
            )

        return await self._store.read(read)

    def _waiting(self, found: Message, batch: Batch) -> Waiting | None:
        """What of it waits for a card; None where nothing does."""
        queued = [one for one in found.segments if one.state is SegmentState.QUEUED]
        if batch.state is not BatchState.RUNNING or not queued or found.line is None:
            return None
        quota, recipient = self._rules.quota, self._store.vault.blind_index(found.line.to)
        n = min(len(queued), quota.smallest)
        return Waiting(
            batch_id=batch.batch_id,
            department=batch.department,
            serving=self._serving(batch),
            card_group=batch.card_group,
            iccid=queued[0].iccid,
            is_loop=batch.is_loop,
            recipient=recipient,
            load=message_load(n, is_first=queued[0].seq == 1, recipient=recipient),
        )

    def _serving(self, batch: Batch) -> str:
        return self._rules.approvals.serving_department(
            batch.category, batch.department, is_loop=batch.is_loop
        )

    def _pause(self, stops: Standing, view: Tx, batch: Batch) -> str | None:
        """What its batch waits for: the end of a stop, the window, the end of quiet hours."""
        now, serving = view.now, self._serving(batch)
        stopped = stops.on_node(view.node_id) or stops.on_batch(
            batch.batch_id, {batch.department, serving}
        )
        if stopped is not None:
            return f"{stopped} (policy: SEC-10)"
        if now < batch.not_before:
            return f"its window opens at {_iso(batch.not_before)}"
        window = {"not_before": batch.not_before, "not_after": batch.not_after}
        opens = next_open(self._rules.quiet.get(batch.category), now, **window)
        if opens is not None and opens > now:
            return f"quiet hours until {_iso(opens)} (policy: SIM-08)"
        return None

    def _approvals(
        self, conn: Connection, batch: Batch, known: BatchEvidence | TamperedError | None
    ) -> Sequence[Moment]:
        drafter = self._name(conn, batch.drafter)
        moments = [
            Moment(
                at=batch.created_at,
                what=f"submitted in batch {batch.batch_id}, drafted by {drafter}",
                actor=self._name(conn, batch.submitter),
                policy="SMS-01",
            )
        ]
        if isinstance(known, TamperedError):
            fault = f"the evidence cannot be trusted: {known}"
            return [*moments, Moment(at=batch.state_at, what=fault, actor="", policy="SMS-01")]
        if known is None:
            return moments
        known = known.standing or known
        chain = self._rules.approvals.chain_of(decode_header(known.header)).steps
        moments += [
            Moment(
                at=one.received_at,
                what=f"signed by {name} as {chain[one.step - 1]} with key {one.kid}",
                actor=name,
                policy="SMS-01",
            )
            for one in known.approvals
            if one.step <= len(chain)
            for name in [self._name(conn, one.account_id)]
        ]
        return moments

    def _name(self, conn: Connection, account_id: str) -> str:
        try:
            found = find_account(conn, self._store.vault, account_id)
        except TamperedError:
            found = None
        return account_id if found is None else found.name

    def _number(self, number: str) -> str:
        found = normalise(number, self._rules.numbers())
        if isinstance(found, Rejection):
            raise InvalidRequest(f"is not a number that gets messages: {found}", field="number")
        return found


def _view(found: Message, who: Principal) -> MessageView:
    to = None if found.line is None else found.line.to
    if to is not None and Scope.PII_READ not in who.scopes:
        to = mask_number(to)
    return MessageView(
        message_id=found.message_id,
        batch_id=found.batch_id,
        line_no=found.line_no,
        to=to,
        state=found.state,
        iccid=found.iccid,
        choice=None if found.choice is None else choice_in_words(found.choice),
        segments=found.segments,
    )


def _moments(found: Message, changes: Sequence[Change]) -> Sequence[Moment]:
    segments = {one.segment_id: one for one in found.segments}
    moments = []
    for change in changes:
        segment = segments[change.segment_id]
        words = _WORDS.get((change.before, change.after), f"{change.before} → {change.after}")
        place = f"segment {segment.seq} of {len(segments)}: " if len(segments) > 1 else ""
        tail = f" ({change.note})" if change.note else ""
        if change.after is SegmentState.LEASED and change.note:
            tail = f"; {choice_in_words(change.note)}"
        elif change.after is SegmentState.LEASED and found.choice:  # from an earlier version
            tail = f"; card {found.iccid}: {choice_in_words(found.choice)}"
        moments.append(Moment(at=change.at, what=f"{place}{words}{tail}", actor=change.actor))
    return moments


def _next_try(found: Message, now: datetime) -> str | None:
    tries = [one.not_before for one in found.segments if one.not_before is not None]
    return f"its next try is at {_iso(min(tries))}" if tries and min(tries) > now else None


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def _summary(found: Message, batch: Batch) -> str:
    if found.is_erased:
        return "the recipient's data was erased; the message itself is proved by its leaf (SEC-08)"
    if found.line is None:
        return "is never sent: its stored line was tampered with (policy: SMS-01)"
    barred = [one for one in found.segments if (one.cause or "").startswith("policy:")]
    if found.state is MessageState.FAILED and barred:
        policy = str(barred[0].cause).partition(":")[2]
        return f"was not sent: {barred[0].note} (policy: {policy})"
    words = {
        MessageState.QUEUED: f"waits; its batch is {batch.state}",
        MessageState.SENDING: f"is on its way; its batch is {batch.state}",
        MessageState.SENT: "was accepted by the network; no report yet",
        MessageState.DELIVERED: "was delivered",
        MessageState.FAILED: "failed; nobody sends it again by himself",
        MessageState.FAILED_PARTLY_SENT: "failed after a part of it had been sent",
        MessageState.EXPIRED: "expired: its window or the network's time was over",
        MessageState.CANCELLED: f"was not sent: its batch is {batch.state}",
        MessageState.IN_DOUBT: "is in doubt: it may have left; only a person sends it again",
    }[found.state]
    reason = f" ({batch.reason})" if batch.reason else ""
    return words + (reason if found.state in {MessageState.QUEUED, MessageState.CANCELLED} else "")
