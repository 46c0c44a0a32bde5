"""A store that holds ten million segments: no statement of the sending path reads through them.

The plans are SQLite's own, for the statements as they run, once with the statistics of a small
store (none) and once with those of a large one.
"""

import re

import pytest
from sqlalchemy import text

from modemctl.store import reports, sweeps
from modemctl.store.evidence import read_lines
from modemctl.store.outcomes import Took
from modemctl.store.segments import Release, release
from modemctl.store.tallies import Tally
from tests.support.benches import CARDS, bench
from tests.support.statements import statements
from tests.unit.test_reports import reported

pytestmark = pytest.mark.sqlite_only  # SQLite's own plan

N_ROWS = 10_000_000
LARGE = frozenset(
    {"segment", "message", "recipient", "segment_journal", "audit_entry", "event", "opt_out",
     "quota", "quota_contact", "report", "batch_chunk"}
)  # fmt: skip
STATISTICS = {  # 100 batches of 100,000, of which one is queued still
    "ix_segment_queue": "100000 100000 50000 1",
    "ix_segment_open": "64 32",
    "ix_segment_batch_state": "10000000 100000 33333",
    "ix_segment_report": "10000000 20000 80 1",
}
OPEN_ONLY = frozenset({"ix_segment_open"})
"""Indexes that hold what is in flight, and nothing of what is over."""
_LAST_ROW = re.compile(r"ORDER BY segment_journal\.entry_id DESC\s+LIMIT 1\b")
_OF_A_FEW = re.compile(  # as many as cards wait, twice; batches that run
    r"WHERE segment\.message_id IN \(|FROM batch\s+WHERE batch\.state = 'running'"
)
_READ = re.compile(r"^(?:SCAN|SEARCH) (\w+)(?: USING (?:COVERING )?INDEX (\w+))?")


async def sending_path(b) -> list[str]:
    """Every statement of a few messages' way, with its values."""
    batch_id = await b.batch(6)
    with statements(b.store) as run:
        await walk(b, batch_id)
    return [one for one in run if re.match(r"SELECT|UPDATE|DELETE|INSERT|WITH", one)]


async def walk(b, batch_id) -> None:
    """A few messages' way: leased, cleared, taken, given back, reported, swept, counted."""
    three = await b.lease(*CARDS[:3])
    for one in three[:2]:
        await b.begin(one)
    await b.end(three[0], Took(mr=7))
    await b.end(three[1], Took(mr=8))
    await b.store.write_in_set(
        release, Release(token=three[2].token, reason="a test", rules=b.rules)
    )
    found = reported(b.clock, mr=7, card=CARDS[0], left_ago=0.0)
    await b.store.write_in_set(reports.add, found)
    await b.store.write(lambda tx: sweeps.sweep(tx, b.rules))
    await b.store.write(lambda tx: Tally().look(tx.conn))
    await b.store.write(
        lambda tx: b.rules.proofs.verified(tx.conn, tx.vault, [batch_id], now=tx.now)
    )
    await b.store.write(lambda tx: read_lines(tx.conn, tx.vault, [one.message_id for one in three]))


def pretend_large(conn) -> None:
    """Statistics of a large store, as `ANALYZE` would leave them."""
    conn.execute(text("ANALYZE"))
    conn.execute(text("DELETE FROM sqlite_stat1"))
    for table in sorted(LARGE):
        for _, index, is_unique, *_ in conn.exec_driver_sql(f"PRAGMA index_list({table})").all():
            columns = conn.exec_driver_sql(f"PRAGMA index_info({index})").all()
            each = [max(1, N_ROWS // 1_000 ** (place + 1)) for place in range(len(columns))]
            if is_unique:
                each[-1] = 1
            stat = STATISTICS.get(index) or " ".join(map(str, [N_ROWS, *each]))
            conn.execute(
                text("INSERT INTO sqlite_stat1 VALUES (:t, :i, :s)"),
                {"t": table, "i": index, "s": stat},
            )
    conn.execute(text("ANALYZE sqlite_schema"))  # reads them


def faults(conn, statement: str) -> list[str]:
    """What of its plan grows with the store."""
    found = []
    tables = set(re.findall(r"\w+", statement)) & LARGE
    for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}").all():
        step = row[3]
        read = _READ.match(step)
        is_scan = step.startswith("SCAN") and read and read[1] in LARGE and read[2] not in OPEN_ONLY
        is_scan = is_scan and not _LAST_ROW.search(statement)
        sorts = "TEMP B-TREE FOR ORDER BY" in step and not _OF_A_FEW.search(statement)
        if is_scan or (tables and sorts):
            found.append(f"{step} ← {statement}")
    return found


@pytest.mark.parametrize("is_large", [False, True])
async def test_no_statement_of_the_sending_path_reads_through_a_large_store(tmp_path, is_large):
    async with bench(tmp_path) as b:
        if is_large:
            await b.store.write(lambda tx: pretend_large(tx.conn))
        asked = await sending_path(b)
        assert len(asked) > 40
        found = await b.store.write(
            lambda tx: [fault for one in dict.fromkeys(asked) for fault in faults(tx.conn, one)]
        )
    assert found == [], "\n".join(found)


async def test_a_scan_would_be_seen(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(1)
        query = "SELECT segment_id FROM segment WHERE bay = 'bay-1' ORDER BY sent_at"
        found = await b.store.write(lambda tx: faults(tx.conn, query))
    assert len(found) == 2
