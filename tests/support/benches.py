"""The sending path in a store: staff, cards in READY bays, and the acts of an actor."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from modemctl.config import ApprovalsSettings
from modemctl.lifecycle import ModemState, SegmentState
from modemctl.model import BatchId, Bay, Iccid, SegmentId
from modemctl.policy.approvals import ApprovalRules
from modemctl.policy.quotas import Caps, Measure, QuotaRules, ScopeKind, Span
from modemctl.store import Store, Tx, batches, leases, modems, outcomes, submits
from modemctl.store.leases import Leased, LeaseRequest, Nothing
from modemctl.store.outcomes import Outcome
from modemctl.store.proofs import ProofBook
from modemctl.store.quotas import Book
from modemctl.store.segments import SendingRules
from modemctl.store.submits import SubmitRequest
from modemctl.store.tables import message, segment
from tests.support.approved import SALES, SITE, Staff, add_batch, add_cards, add_staff, numbers
from tests.support.stores import TestClock, open_store

CARDS = [Iccid(f"8986000000000000{i:03d}") for i in range(8)]
MANY = Caps(minute=1_000, hour=10_000, day=100_000, gap=0)


def rules(caps: Caps = MANY, **changes) -> SendingRules:
    approvals = ApprovalRules.of(SITE, ApprovalsSettings())
    return SendingRules(
        approvals=approvals,
        proofs=ProofBook(approvals),
        **{
            "quota": QuotaRules(caps=caps, zone=ZoneInfo("Asia/Shanghai")),
            "is_open": lambda category, at: True,
            **changes,
        },
    )


@dataclass
class Bench:
    """A store with staff and cards in bays, and the acts of an actor."""

    store: Store
    clock: TestClock
    staff: Staff
    rules: SendingRules

    async def batch(self, n: int = 3, **facts) -> BatchId:
        recipients = facts.pop("recipients", None) or numbers(n)
        return await self.store.write(lambda tx: add_batch(tx, self.staff, recipients, **facts))

    async def lease(self, *cards: Iccid) -> list[Leased | Nothing]:
        items = [LeaseRequest(bay=bay_of(card), iccid=card, rules=self.rules) for card in cards]
        return list(await self.store.write(lambda tx: leases.lease(tx, items)))

    async def begin(self, lease: Leased, place: int = 0, **changes):
        digest = await self.store.read(lambda conn: batches.find_batch(conn, lease.batch_id).digest)
        line = await self.store.read(
            lambda conn: conn.scalar(
                select(message.c.recipient_bidx).where(message.c.message_id == lease.message_id)
            )
        )
        facts = {
            "segment_id": lease.segments[place][0],
            "token": lease.token,
            "bay": lease.bay,
            "iccid": lease.iccid,
            "batch_id": lease.batch_id,
            "digest": digest,
            "recipient_bidx": line,
            "tpdu": b"\x01tpdu",
            "rules": self.rules,
            **changes,
        }
        return await self.store.write_in_set(submits.begin_submit, SubmitRequest(**facts))

    async def end(self, lease: Leased, result, place: int = 0):
        outcome = Outcome(
            segment_id=lease.segments[place][0], token=lease.token, result=result, rules=self.rules
        )
        return await self.store.write_in_set(outcomes.record_outcome, outcome)

    async def states(self, batch_id: BatchId) -> dict[str, int]:
        return await self.store.read(
            lambda conn: {
                SegmentState(state): n
                for state, n in conn.execute(
                    select(segment.c.state, func.count())
                    .where(segment.c.batch_id == batch_id)
                    .group_by(segment.c.state)
                )
            }
        )

    async def row(self, segment_id: SegmentId):
        return await self.store.read(
            lambda conn: conn.execute(
                select(segment).where(segment.c.segment_id == segment_id)
            ).one()
        )

    async def used(self, card: Iccid) -> int:
        return await self.store.write(
            lambda tx: used(tx, self.rules.quota, ScopeKind.SIM, card, Span.HOUR)
        )


def used(
    tx: Tx,
    rules: QuotaRules,
    kind: ScopeKind,
    name: str,
    span: Span,
    measure: Measure = Measure.SEGMENTS,
) -> int:
    """What counts against a cap now."""
    book, scope = Book(tx, rules), rules.scope(kind, name)
    assert scope is not None, f"no cap falls on a {kind}"
    book.read([scope])
    [cap] = [one for one in scope.caps if (one.span, one.measure) == (span, measure)]
    return book.used(scope, cap)


def bay_of(card: Iccid) -> Bay:
    return Bay(f"bay-{card[-3:]}")


@asynccontextmanager
async def bench(folder: Path, *, clock: TestClock | None = None, **changes) -> AsyncIterator[Bench]:
    clock = clock or TestClock()
    async with open_store(folder, clock) as store:

        def prepare(tx):
            add_cards(tx, CARDS[:6])
            add_cards(tx, CARDS[6:], department=SALES)
            changes_ = [
                modems.StateChange(
                    facts=modems.Facts(bay=bay_of(card), port="/dev/x", iccid=card),
                    before=ModemState.SEARCHING, after=ModemState.READY, event="registered",
                    reason="",
                )
                for card in CARDS
            ]  # fmt: skip
            modems.save_changes(tx, changes_)
            return add_staff(tx)

        staff = await store.write(prepare)
        yield Bench(store=store, clock=clock, staff=staff, rules=rules(**changes))
