"""Reports of cards whose references wrap: lost, late, doubled, out of order, before the answer.

Put into the real store by a model network that knows which segment each report is about. 1,500
sends over 3 cards by default, 100,000 over 64 under `MODEMCTL_LONG=1`.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import groupby

from sqlalchemy import insert, select

from modemctl.lifecycle import SegmentState
from modemctl.store import Store, Tx, reports
from modemctl.store.outcomes import Doubtful, Outcome, Took, record_outcome
from modemctl.store.reports import Matching, NewReport
from modemctl.store.tables import batch, message, recipient, report, segment
from tests.support.benches import rules
from tests.support.model_network import Answered, Fact, Model, Reported, Submitted
from tests.support.stores import TestClock, open_store

LONG = os.environ.get("MODEMCTL_LONG") == "1"
SEED = int(os.environ.get("MODEMCTL_SEED", "20261122"))
N_SEGMENTS, N_CARDS = (100_000, 64) if LONG else (1_500, 3)
N_RECIPIENTS = N_CARDS * 8  # each gets many messages by each card, some under the same reference
RULES = rules()


class Batches:
    """Segments as a store has them; a recipient is in a batch only once."""

    def __init__(self) -> None:
        self._visits: Counter[str] = Counter()
        self._n_open = 0

    def submit(self, tx: Tx, facts: Sequence[Submitted]) -> None:
        """These segments are SUBMITTING: their octets go out."""
        of: dict[int, int] = {}
        for one in facts:
            self._visits[one.to] += 1
            of[one.segment] = self._visits[one.to]
        while self._n_open < max(of.values()):
            self._n_open += 1
            _open_batch(tx, self._n_open)
        people = {one.to: tx.vault.blind_index(one.to) for one in facts}
        tx.conn.execute(
            insert(message),
            [
                {
                    "message_id": one.segment + 1, "batch_id": f"batch-{of[one.segment]}",
                    "line_no": one.segment + 1, "recipient_bidx": people[one.to], "line_enc": b"",
                    "n_segments": 1, "iccid": one.card,
                }
                for one in facts
            ],
        )  # fmt: skip
        tx.conn.execute(
            insert(recipient),
            [
                {
                    "recipient_bidx": people[one.to], "batch_id": f"batch-{of[one.segment]}",
                    "line_no": one.segment + 1,
                }
                for one in facts
            ],
        )  # fmt: skip
        tx.conn.execute(
            insert(segment),
            [
                {
                    "segment_id": one.segment + 1, "message_id": one.segment + 1,
                    "batch_id": f"batch-{of[one.segment]}", "seq": 1,
                    "state": SegmentState.SUBMITTING.value, "tries": 1, "iccid": one.card,
                    "bay": one.card, "node_id": "n1", "lease_token": str(one.segment),
                    "submitting_at": one.at,
                }
                for one in facts
            ],
        )  # fmt: skip


def _open_batch(tx: Tx, number: int) -> None:
    tx.conn.execute(
        insert(batch).values(
            batch_id=f"batch-{number}", category="notice", state="running", priority=0,
            department="d", party="own", drafter="a", operator="b", submitter="c", template="t",
            starts_itself=True, not_before=tx.now, not_after=tx.now, request_digest=b"",
            n_lines=1, n_removed=0, n_segments=1, created_at=tx.now, state_at=tx.now,
        )
    )  # fmt: skip


def answer(tx: Tx, facts: Sequence[Answered]) -> None:
    """What the modems said of them, or that they said nothing."""
    record_outcome(
        tx,
        [
            Outcome(
                segment_id=one.segment + 1,
                token=str(one.segment),
                result=Doubtful(reason="no answer") if one.mr is None else Took(mr=one.mr),
                rules=RULES,
            )
            for one in facts
        ],
    )


def hear(tx: Tx, facts: Sequence[Reported]) -> None:
    """Reports come in; what is doubled has the octets of the first one."""
    items = [
        NewReport(
            iccid=one.card, bay=one.card, recipient=one.to, mr=one.mr, st=0, scts=one.scts,
            discharged_at=one.discharged_at, tpdu=one.number.to_bytes(8, "big"),
        )
        for one in facts
    ]  # fmt: skip
    reports.add(tx, items)


def sets(facts: Sequence[Fact], seconds: int) -> Iterator[list[Fact]]:
    """What falls into the same so many seconds."""
    for _, some in groupby(facts, key=lambda one: int(one.at.timestamp()) // seconds):
        yield list(some)


async def play(store: Store, clock: TestClock, facts: Sequence[Fact]) -> None:
    """Let it happen: like facts of a second as a set, in their order, some seconds a commit."""
    acts = {Submitted: Batches().submit, Answered: answer, Reported: hear}

    def act(tx: Tx, some: Sequence[Fact]) -> None:
        for second in sets(some, 1):
            for kind, alike in groupby(second, key=type):
                acts[kind](tx, list(alike))

    for some in sets(facts, 8):
        clock.advance(max(0.0, (some[-1].at - clock.at).total_seconds()))
        await store.write(lambda tx, some=some: act(tx, some))


async def test_no_report_is_put_down_to_a_segment_of_another(tmp_path):
    clock = TestClock()
    model = Model(
        seed=SEED, start=clock.at + timedelta(seconds=1), n_segments=N_SEGMENTS, n_cards=N_CARDS,
        n_recipients=N_RECIPIENTS,
    )  # fmt: skip
    facts = model.facts()
    truth = {one.number.to_bytes(8, "big"): one for one in facts if isinstance(one, Reported)}
    async with open_store(tmp_path, clock) as store:
        await play(store, clock, facts)
        prints = await store.write(
            lambda tx: {
                tx.vault.mac("report", one.card, tpdu.hex()): one for tpdu, one in truth.items()
            }
        )
        rows = await store.read(lambda conn: conn.execute(select(report)).all())
        states = await store.read(
            lambda conn: dict(conn.execute(select(segment.c.segment_id, segment.c.state)).all())
        )
    assert len(rows) == len(truth), "every report is kept, what is doubled once"
    found = Counter(row.matching for row in rows)
    wrong = [
        (prints[row.fingerprint], row.segment_id)
        for row in rows
        if row.matching == Matching.MATCHED
        and row.segment_id != prints[row.fingerprint].segment + 1
    ]
    print(f"seed {SEED}: {N_SEGMENTS} sends, {dict(found)}, {dict(Counter(states.values()))}")
    assert wrong == []
    assert found[Matching.MATCHED] > 0.95 * len(rows)
    matched = {row.segment_id for row in rows if row.matching == Matching.MATCHED}
    for segment_id, state in states.items():
        assert (state == SegmentState.DELIVERED) == (segment_id in matched), segment_id
