"""Rows a second of `modemctl db copy`: many messages to PostgreSQL, and back as backups do.

.venv/bin/python bench/copying.py --messages 300000
"""

from __future__ import annotations

import argparse
import json
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from modemctl.store.migrate import upgrade
from modemctl.store.site_streams import end_of, filling, reading
from modemctl.store.streams import Stage, Streamed, stream
from modemctl.vault import Vault
from tests.support import postgres

_FILL: Final = (
    "INSERT INTO batch (batch_id, {batch}) VALUES ('b', {values})",
    "INSERT INTO message (message_id, batch_id, line_no, recipient_bidx, line_enc, n_segments)"
    " WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :n)"
    " SELECT i, 'b', i, randomblob(32), randomblob(90), 1 FROM n",
    "INSERT INTO recipient SELECT recipient_bidx, batch_id, line_no FROM message ORDER BY 1",
    "INSERT INTO segment (segment_id, message_id, batch_id, seq, state, tries, iccid, bay, mr,"
    " submitting_at, sent_at, final_at)"
    " SELECT message_id, message_id, 'b', 1, 'delivered', 1, '89860012345678901234', '1-4.2',"
    " message_id % 256, 1795000000000, 1795000000900, 1795000009000 FROM message",
    "INSERT INTO segment_journal (segment_id, at, before, after, actor)"
    " SELECT segment_id, 1795000000000, 'submitting', 'sent', 'n1' FROM segment",
)


def main(arguments: Sequence[str]) -> None:
    """Measure, print one line a direction."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=300_000)
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as room:
        database = Path(room) / "modemctl.db"
        _fill(database, asked.messages)
        cluster = postgres.cluster()
        try:
            url = cluster.url(cluster.create())
            for source, target in (
                (f"sqlite:///{database}", url),
                (url, f"sqlite:///{room}/back.db"),
            ):
                print(json.dumps(_measure(source, target)), flush=True)
        finally:
            postgres.end()


def _fill(database: Path, n: int) -> None:
    url = f"sqlite:///{database}"
    upgrade(url, vault=Vault(bytes(32)), site_id="bench", now=datetime.now(UTC))
    with closing(sqlite3.connect(database)) as db:
        needed = [
            (name, "x''" if kind == "BLOB" else "'draft'" if _is_text(kind) else "0")
            for _, name, kind, is_needed, default, _ in db.execute("PRAGMA table_info(batch)")
            if is_needed and default is None and name != "batch_id"
        ]
        names, values = (", ".join(one) for one in zip(*needed, strict=True))
        for text in _FILL:
            db.execute(text.format(batch=names, values=values), {"n": n} if ":n" in text else {})
        db.commit()


def _is_text(kind: str) -> bool:
    return kind.startswith(("VARCHAR", "TEXT"))


def _measure(source: str, target: str) -> dict[str, object]:
    began: dict[Stage, float] = {}

    def tell(told: Streamed) -> None:
        began.setdefault(told.stage, time.perf_counter())

    started, cpu = time.perf_counter(), time.process_time()
    with reading(source) as old, filling(target) as new:
        rows = sum(stream(end_of(old), end_of(new), tell).values())
    ended = time.perf_counter()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "to": target.partition(":")[0],
        "rows": rows,
        "seconds": round(ended - started, 1),
        "rows_per_second": int(rows / (ended - started)),
        "copying_s": round(began[Stage.INDEXING] - began[Stage.COPYING], 1),
        "indexing_s": round(began[Stage.COMPARING] - began[Stage.INDEXING], 1),
        "comparing_s": round(ended - began[Stage.COMPARING], 1),
        "cpu_s": round(time.process_time() - cpu, 1),
        "rss_mb": usage.ru_maxrss >> 10,
    }


if __name__ == "__main__":
    main(sys.argv[1:])
