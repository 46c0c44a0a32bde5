"""Every sealed row is held against its seal, page by page, while others write."""

import sqlite3
from contextlib import closing
from itertools import pairwise

import pytest

from modemctl.model import EventKind
from modemctl.store import Store, Tx, optouts
from modemctl.store.seals import SealCheck, broken_seals
from tests.support.approved import numbers
from tests.support.stores import open_store

N = 120
PAGE = 7
KILOBYTE = "x" * 1_000


async def fill(store: Store) -> None:
    def act(tx: Tx) -> None:
        for number in numbers(N):
            optouts.add(tx, number, source="test", by="test")

    await store.write(act)


async def pages(store: Store, *, between=None) -> tuple[list[str], list[int]]:
    """What all pages say, and how far each came."""
    check, has_more = SealCheck(store.vault, page=PAGE), True
    faults: list[str] = []
    came_to: list[int] = []
    while has_more:
        some, has_more = await store.read(check.step)
        faults += some
        came_to.append(check.done)
        assert check.done <= check.of
        if between is not None:
            await between()
    assert check.done == check.of
    return faults, came_to


async def test_all_pages_together_hold_every_row_once(tmp_path):
    async with open_store(tmp_path) as store:
        await fill(store)
        faults, came_to = await pages(store)
        assert faults == []
        steps = [after - before for before, after in pairwise(came_to)]
        assert 0 < max(steps) <= PAGE
        assert came_to[-1] > N


@pytest.mark.parametrize(
    ("statement", "n"),
    [
        ("UPDATE opt_out SET number_enc = x'00' WHERE rowid % 3 = 0", N // 3),
        ("UPDATE opt_out SET number_bidx = CAST(x'ff' || rowid AS TEXT)", N),
        ("UPDATE opt_out SET number_bidx = 'x' || rowid WHERE rowid > 30", N - 30),
        ("UPDATE opt_out SET number_bidx = x'ff' || number_bidx WHERE rowid % 2", N // 2),
        ("UPDATE department SET name = CAST(x'ff' || rowid AS TEXT)", None),
        ("UPDATE department SET name = CAST('a' || rowid AS BLOB) WHERE rowid % 2", None),
    ],
)
async def test_pages_name_what_one_look_names_whatever_the_keys_are(tmp_path, statement, n):
    """Keys that stand in no order that can be asked for again are named all the same, and once."""
    async with open_store(tmp_path) as store:
        await fill(store)
    with closing(sqlite3.connect(tmp_path / "modemctl.db")) as db, db:
        db.execute("PRAGMA foreign_keys=OFF")
        db.execute(statement)
    async with open_store(tmp_path) as store:
        faults, _ = await pages(store)
        whole = await store.read(lambda conn: [*broken_seals(conn, store.vault)])
    assert sorted(faults) == sorted(whole)
    assert faults
    assert n is None or len(faults) == n


async def test_the_write_ahead_log_stays_small_while_the_seals_are_read(tmp_path):
    """Each page is a snapshot of its own: what is written meanwhile goes into the database."""
    wal = tmp_path / "modemctl.db-wal"
    written, sizes = 0, [0]

    def some(tx: Tx) -> None:
        for _ in range(1_000):
            tx.event(EventKind.ALARM, "test", {"alarm": KILOBYTE})

    async with open_store(tmp_path) as store:
        await fill(store)

        async def write() -> None:
            nonlocal written
            await store.write(some)
            written += 1_000 * len(KILOBYTE)
            sizes.append(wal.stat().st_size)

        await pages(store, between=write)
    assert written > 15_000_000
    assert max(sizes) < written / 2
