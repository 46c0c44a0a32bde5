"""Prepared statements: the same rows, changes and errors as by SQLAlchemy's own way."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, bindparam, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError

from modemctl.lifecycle import SegmentState
from modemctl.store import leases
from modemctl.store.engine import create_engines
from modemctl.store.prepared import Change, Prepared
from modemctl.store.tables.schema import Octets, UtcMs

AT = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
metadata = MetaData()
card = Table(
    "card",
    metadata,
    Column("card_id", Integer, primary_key=True),
    Column("name", String(20), nullable=False),
    Column("state", String(20), server_default="queued"),
    Column("seen", UtcMs),
    Column("mark", Octets),
)
ADD = Change.adding(card, "card_id", "name", "seen", "mark")
LISTED = Prepared(
    select(card)
    .where(card.c.card_id.in_(bindparam("ids", expanding=True)))
    .order_by(card.c.card_id)
)
OTHERS = Prepared(
    select(card.c.card_id).where(card.c.card_id.not_in(bindparam("ids", expanding=True)))
)


@pytest.fixture
def conn(tmp_path):
    writer, reader = create_engines(f"sqlite:///{tmp_path}/x.db", n_readers=1)
    reader.dispose()
    metadata.create_all(writer)
    with writer.begin() as connection:
        rows = [
            {"card_id": n, "name": f"n{n}", "seen": AT if n % 2 else None, "mark": bytes([n])}
            for n in range(1, 10)
        ]
        assert ADD.run(connection, rows) == 9
        yield connection
    writer.dispose()


@pytest.mark.parametrize("n", range(10))
def test_a_list_of_any_length_finds_what_sqlalchemy_finds(conn, n):
    ids = list(range(1, n + 1))
    by_sqlalchemy = conn.execute(
        select(card).where(card.c.card_id.in_(ids)).order_by(card.c.card_id)
    ).all()
    assert LISTED.rows(conn, {"ids": ids}) == by_sqlalchemy
    assert [row.seen for row in by_sqlalchemy] == [AT if one % 2 else None for one in ids]
    assert [dict(row) for row in LISTED.mappings(conn, {"ids": ids})] == [
        dict(row._mapping) for row in by_sqlalchemy
    ]
    assert OTHERS.column(conn, {"ids": ids}) == list(range(n + 1, 10))


def test_cells_are_as_they_lie_in_the_table(conn):
    [cells] = LISTED.cells(conn, {"ids": [1]})
    assert cells == (1, "n1", "queued", int(AT.timestamp() * 1000), b"\x01")
    assert LISTED.first(conn, {"ids": [1]}).seen == AT
    assert LISTED.first(conn, {"ids": [99]}) is None


def test_few_texts_serve_lists_of_all_lengths(conn):
    texts = {LISTED.spelled(conn.dialect, {"ids": list(range(1, n + 1))})[0] for n in range(1, 65)}
    assert len(texts) == 7  # 1, 2, 4 … 64


def test_a_change_says_how_many_rows_it_met(conn):
    change = Change(
        update(card)
        .where(card.c.card_id == bindparam("id"), card.c.state == SegmentState.QUEUED)
        .values(state=SegmentState.LEASED, seen=bindparam("at"))
    )
    assert change.run(conn, [{"id": n, "at": AT} for n in (2, 4, 77)]) == 2
    assert change.run(conn, [{"id": 2, "at": AT}]) == 0  # no longer queued
    assert change.run(conn, []) == 0
    assert LISTED.first(conn, {"ids": [4]}).seen == AT


def test_a_fact_that_lacks_is_an_error_here_not_a_null(conn):
    with pytest.raises(KeyError):
        LISTED.rows(conn)


def test_errors_of_the_driver_are_sqlalchemys_without_values(conn):
    with pytest.raises(IntegrityError) as error:
        ADD.run(conn, [{"card_id": 1, "name": "secret", "seen": None, "mark": None}])
    assert "secret" not in str(error.value)
    with pytest.raises(DBAPIError):
        Change(text("INSERT INTO nothing VALUES (:x)")).run(conn, [{"x": 1}])


def test_octets_that_are_no_text_are_met_once(conn):
    conn.exec_driver_sql("UPDATE card SET name = CAST(x'ff41' AS TEXT) WHERE card_id = 3")
    with pytest.raises(DBAPIError, match="UTF-8"):
        LISTED.rows(conn, {"ids": [3]})
    assert LISTED.first(conn, {"ids": [3]}).name == "\N{REPLACEMENT CHARACTER}A"


def test_a_statement_is_spelled_for_postgresql_as_well():
    facts = {"batch": "b", "cards": ["1", "2", "3"], "alone": "", "now": AT, "n": 3}
    for_sqlite, values = leases._AGAIN.spelled(sqlite.dialect(), facts)
    assert "IN (?, ?, ?, ?)" in for_sqlite
    assert values[:6] == ["b", "1", "2", "3", "3", ""]
    for_postgresql, others = leases._AGAIN.spelled(postgresql.dialect(), facts)
    assert "IN (%s, %s, %s, %s)" in for_postgresql
    assert others[:6] == values[:6]
    assert for_postgresql.count("%s") == len(others)
