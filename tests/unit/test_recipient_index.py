"""Recipients in a table of their own: filled in order, one line each, kept by the upgrade."""

from datetime import timedelta

import pytest
from alembic import command
from sqlalchemy import create_engine, func, select, text

from modemctl.errors import StoreError
from modemctl.service import staging as staging_service
from modemctl.service.batches import ListFormat
from modemctl.store import messages, staging
from modemctl.store.migrate import alembic_config, upgrade
from modemctl.store.tables import recipient
from modemctl.vault import Vault
from tests.support.people import open_office
from tests.support.stores import MASTER_KEY, TestClock, open_store

N_LINES = 3_210


async def chunks(octets):
    yield octets


async def submitted(office, n_lines, **changes):
    body = "".join(f"138{i * 7_368_787 % 100_000_000:08}\n" for i in range(n_lines)).encode()
    who, request = office.who["system"], office.request(**changes)
    return await office.batches.submit_list(who, request, chunks(body), ListFormat.TXT)


@pytest.mark.parametrize("most_gathered", [1, 1_000, 1 << 19])
async def test_every_line_is_found_by_its_number_however_many_are_gathered(
    tmp_path, monkeypatch, most_gathered
):
    monkeypatch.setattr(staging_service, "_MOST_GATHERED", most_gathered)
    monkeypatch.setattr(staging_service, "_INDEX_LINES", 700)
    async with open_store(tmp_path) as store:
        office = await open_office(store)
        shown = await submitted(office, N_LINES)
        vault = store.vault

        def read(conn):
            query = messages.Query(number="+8613807368787")
            found = messages.find_messages(conn, vault, query, after=0, limit=10)
            return found, conn.scalar(select(func.count()).select_from(recipient))

        found, n_indexed = await store.read(read)
    assert shown.batch.n_messages == n_indexed == N_LINES
    assert [(one.batch_id, one.line_no) for one in found] == [(shown.batch.batch_id, 2)]


async def test_the_database_refuses_a_recipient_twice_in_a_batch(tmp_path):
    async with open_store(tmp_path) as store:
        office = await open_office(store)
        batch_id = (await submitted(office, 3)).batch.batch_id
        bidx = store.vault.blind_index("+8613800000000")
        with pytest.raises(StoreError, match="UNIQUE"):
            await store.write(lambda tx: staging.index_recipients(tx, batch_id, [(bidx, 2)]))


def test_the_upgrade_keeps_who_got_what(tmp_path):
    url, now = f"sqlite:///{tmp_path}/m.db", TestClock().now()
    engine = create_engine(url)
    with engine.begin() as conn:
        config = alembic_config()
        config.attributes["connection"] = conn
        command.upgrade(config, "0009")
        check = Vault(MASTER_KEY).check_value
        conn.execute(text("INSERT INTO meta VALUES ('key_check', :check)"), {"check": check})
        at = int((now + timedelta(days=1)).timestamp() * 1_000)
        for batch_id in ("a", "b"):
            conn.execute(
                text(
                    "INSERT INTO batch VALUES (:id, 'other', 'done', '', 1, 'd', 'own', 'x', 'x',"
                    " 'x', 't', NULL, 0, :at, :at, x'00', x'00', x'00', x'00', 2, 0, 2,"
                    " :at, :at, 0)"
                ),
                {"id": batch_id, "at": at},
            )
            for line_no in (1, 2):
                conn.execute(
                    text(
                        "INSERT INTO message (batch_id, line_no, recipient_bidx, line_enc,"
                        " n_segments) VALUES (:id, :line_no, :bidx, x'00', 1)"
                    ),
                    {"id": batch_id, "line_no": line_no, "bidx": bytes([9 - line_no])},
                )
        conn.execute(
            text(
                "INSERT INTO segment (message_id, batch_id, seq, state)"
                " SELECT message_id, batch_id, 1, 'sent' FROM message"
            )
        )
    upgrade(url, vault=Vault(MASTER_KEY), site_id="s", now=now)
    with engine.connect() as conn:
        rows = conn.execute(select(recipient).order_by(*recipient.primary_key)).all()
        assert rows == [(b"\7", "a", 2), (b"\7", "b", 2), (b"\x08", "a", 1), (b"\x08", "b", 1)]
        joined = "SELECT count(*) FROM segment JOIN message USING (message_id)"
        assert conn.scalar(text(joined)) == 4
        assert conn.execute(text("PRAGMA foreign_key_check")).all() == []
    engine.dispose()
