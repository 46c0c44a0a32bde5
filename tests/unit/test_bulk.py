"""Many like values at once: what is written and asked for as it is, and what is not."""

import pytest
from sqlalchemy import Column, Integer, LargeBinary, MetaData, String, Table, select

from modemctl.store.bulk import among, insert_rows
from modemctl.store.tables import UtcMs
from tests.support.stores import open_store

pytestmark = pytest.mark.both_databases
PILE = Table(
    "pile",
    MetaData(),
    Column("octets", LargeBinary, primary_key=True),
    Column("words", String(16)),
    Column("n", Integer),
    Column("at", UtcMs),
)
NAMES = ("octets", "words", "n")
ROWS = [(bytes([n]) * 16, "some 字", n) for n in range(256)]


async def test_rows_are_written_as_they_are_and_found_among_others(tmp_path):
    async with open_store(tmp_path) as store:
        wanted = [ROWS[0][0], b"nobody's", ROWS[255][0], *(bytes([n]) * 9 for n in range(200))]

        def write(tx):
            PILE.create(tx.conn)
            insert_rows(tx.conn, PILE, NAMES, ROWS)
            insert_rows(tx.conn, PILE, NAMES, [])

        await store.write(write)
        assert await store.read(lambda conn: among(conn, PILE.c.octets, wanted)) == {
            ROWS[0][0],
            ROWS[255][0],
        }
        assert await store.read(lambda conn: among(conn, PILE.c.octets, [])) == set()
        query = select(*(PILE.c[name] for name in NAMES)).order_by(PILE.c.n)
        assert await store.read(lambda conn: [tuple(row) for row in conn.execute(query)]) == ROWS


async def test_values_that_need_a_conversion_or_stand_in_another_order_are_refused(tmp_path):
    async with open_store(tmp_path) as store:

        def insert(tx, names):
            insert_rows(tx.conn, PILE, names, [ROWS[0][: len(names)]])

        await store.write(lambda tx: PILE.create(tx.conn))
        with pytest.raises(TypeError, match=r"pile\.at"):
            await store.write(lambda tx: insert(tx, ["at"]))
        with pytest.raises(TypeError, match=r"pile\.at"):
            await store.read(lambda conn: among(conn, PILE.c.at, [b""]))
        with pytest.raises(ValueError, match="another order"):
            await store.write(lambda tx: insert(tx, NAMES[::-1]))
        assert await store.read(lambda conn: conn.execute(select(PILE)).all()) == []
