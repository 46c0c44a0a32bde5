"""PostgreSQL beside a deep store: what the sending path ran looked nothing up by reading a table.

The server itself counts: each sequential scan of a table, whoever asked for it.
"""

import pytest
from sqlalchemy import text

from tests.support import postgres
from tests.support.benches import bench
from tests.support.stores import Databases
from tests.unit.test_sending_plans import walk

N_ROWS = 20_000
LARGE = ("message", "recipient", "segment", "segment_journal", "report")
FILL = (
    "INSERT INTO message (message_id, batch_id, line_no, recipient_bidx, line_enc, n_segments)"
    " SELECT 1000000 + i, (SELECT min(batch_id) FROM batch), 1000000 + i,"
    " sha256(int4send(i)), '\\x00', 1 FROM generate_series(1, :n) AS i",
    "INSERT INTO recipient (recipient_bidx, batch_id, line_no)"
    " SELECT recipient_bidx, batch_id, line_no FROM message WHERE message_id > 1000000",
    "INSERT INTO segment (segment_id, message_id, batch_id, seq, state, iccid, mr, sent_at)"
    " SELECT message_id, message_id, batch_id, 1, 'delivered', 'card' || message_id % 64,"
    " message_id % 256, 1700000000000 + message_id FROM message WHERE message_id > 1000000",
    "INSERT INTO segment_journal (segment_id, at, before, after, actor)"
    " SELECT segment_id, sent_at, 'submitting', 'sent', 'n1' FROM segment"
    " WHERE segment_id > 1000000",
    "INSERT INTO report (iccid, bay, received_at, recipient_bidx, mr, st, fingerprint, segment_id,"
    " matching) SELECT iccid, 'b', sent_at, sha256(int8send(segment_id)), mr, 0,"
    " sha256(int8send(segment_id)), segment_id, 'matched' FROM segment WHERE segment_id > 1000000",
    "ANALYZE",
)


@pytest.fixture(autouse=True)
def on_postgresql():
    postgres.cluster()  # or the test is skipped
    Databases.is_postgresql = True
    yield
    Databases.clear()


def scans(folder) -> dict[str, int]:
    """How often the server has read each large table from its first row, all sessions over."""
    name = Databases.url(folder).partition("@/")[2].partition("?")[0]
    rows = postgres.cluster().sql(
        "SELECT relname, seq_scan FROM pg_stat_user_tables", database=name
    )
    return {str(table): int(n) for table, n in rows if table in LARGE}


def flush(tx) -> None:
    """Let the server count what this session did so far, at the end of the transaction."""
    tx.conn.execute(text("SELECT pg_stat_force_next_flush()"))


async def test_no_statement_of_the_sending_path_reads_through_a_table(tmp_path):
    async with bench(tmp_path) as b:
        await b.batch(1)
        for statement in FILL:
            facts = {"n": N_ROWS} if ":n" in statement else {}
            await b.store.write(lambda tx, s=statement, f=facts: tx.conn.execute(text(s), f))
        await b.store.write(flush)
        before = scans(tmp_path)
        await walk(b, await b.batch(6))
        await b.store.write(flush)
    assert scans(tmp_path) == before
    assert set(before) == set(LARGE)


async def test_a_scan_would_be_counted(tmp_path):
    async with bench(tmp_path) as b:
        await b.store.write(flush)
        before = scans(tmp_path)
        await b.store.write(lambda tx: tx.conn.execute(text("SELECT count(note) FROM segment")))
        await b.store.write(flush)
    after = scans(tmp_path)
    assert after["segment"] == before["segment"] + 1
