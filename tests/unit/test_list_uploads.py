"""Long lists over HTTP: how far they are, what was taken out, and clients that go away."""

import asyncio
import csv
import io
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import httpx2
import pytest
from sqlalchemy import func, select

from api.streams import csv_file
from modemctl.errors import StoreError
from modemctl.lifecycle import BatchState
from modemctl.policy.digest import (
    LEAF_OCTETS,
    NO_LINE,
    chunk_hash,
    chunk_of,
    decode_header,
    leaf,
    leaf_in_chunk,
)
from modemctl.service.batches import ListFormat
from modemctl.service.intake import Intake
from modemctl.store import batches as rows
from modemctl.store import staging
from modemctl.store.evidence import read_lines
from modemctl.store.tables import batch, batch_chunk, batch_removed, message, recipient, segment
from tests.support.apis import ApiBench, open_api, serving
from tests.support.people import empower, open_office
from tests.support.stores import TestClock, open_store

N_LONG = 30_000
LONG = "".join(f"138{i * 7_368_787 % 100_000_000:08}\n" for i in range(N_LONG)).encode("gbk")


@dataclass
class Desk:
    """A served application and somebody who may submit to it."""

    bench: ApiBench
    client: httpx2.AsyncClient
    form: dict[str, object]

    async def upload(self, content: bytes, name: str = "list.txt") -> httpx2.Response:
        files = {"request": (None, json.dumps(self.form)), "list": (name, content)}
        return await self.client.post("/v1/batches/upload", files=files)

    async def until_it_comes_in(self) -> dict[str, object]:
        """The batch once some of its list is stored; more is to come."""
        async with asyncio.timeout(30):
            while True:
                answer = await self.client.get(f"/v1/batches/{self.form['batch_id']}")
                shown = answer.json() if answer.status_code == 200 else {}
                if (shown.get("intake") or {}).get("n_lines"):
                    return shown
                await asyncio.sleep(0.01)

    async def until_it_is_gone(self) -> None:
        async with asyncio.timeout(30):
            path = f"/v1/batches/{self.form['batch_id']}"
            while (await self.client.get(path)).status_code != 404:
                await asyncio.sleep(0.01)

    async def n_rows(self) -> dict[str, int]:
        tables = (batch, message, segment, recipient, batch_removed)
        return await self.bench.store.read(
            lambda conn: {
                table.name: conn.scalar(select(func.count()).select_from(table)) or 0
                for table in tables
            }
        )


@asynccontextmanager
async def desk_in(folder) -> AsyncIterator[Desk]:
    async with open_api(folder) as bench, serving(bench):
        token = await bench.token_of("submitter", department="retail")
        name = "submitter-retail"
        await bench.store.write(lambda tx: empower(tx, name, "operator", "retail"))
        form: dict[str, object] = {
            "batch_id": str(uuid.uuid4()), "category": "notice", "text": "Paid.",
            "department": "retail", "drafter": name, "operator": name,
            "list_owner": name, "list_source": "core banking",
        }  # fmt: skip
        async with bench.unix_client(token) as client, asyncio.TaskGroup() as group:
            chore = group.create_task(bench.services.batches.tidy())
            yield Desk(bench=bench, client=client, form=form)
            chore.cancel()


async def test_a_client_that_goes_away_while_its_list_comes_in_leaves_nothing(tmp_path, caplog):
    async with desk_in(tmp_path) as desk:
        async with asyncio.TaskGroup() as group:
            upload = group.create_task(desk.upload(LONG))
            shown = await desk.until_it_comes_in()
            assert shown["state"] == "draft"
            assert 0 < shown["intake"]["n_lines"] < N_LONG
            assert 0 < shown["intake"]["share"] < 1
            upload.cancel()
        await desk.until_it_is_gone()
        assert set((await desk.n_rows()).values()) == {0}
    assert "api.failed" not in caplog.text


async def test_who_comes_again_at_once_takes_over_what_was_left(tmp_path):
    async with desk_in(tmp_path) as desk:
        async with asyncio.TaskGroup() as group:
            upload = group.create_task(desk.upload(LONG))
            await desk.until_it_comes_in()
            upload.cancel()
        async with asyncio.timeout(60):
            while (answer := await desk.upload(LONG)).status_code == 409:
                await asyncio.sleep(0.01)  # the daemon has not seen yet that we left
        assert answer.status_code == 201, answer.text
        shown = answer.json()
        assert (shown["state"], shown["n_messages"], shown["intake"]) == ("checked", N_LONG, None)
        n_rows = await desk.n_rows()
        assert (n_rows["message"], n_rows["segment"], n_rows["recipient"]) == (N_LONG,) * 3


async def test_each_line_has_its_leaf_in_its_chunk_and_each_chunk_its_hash_in_the_header(tmp_path):
    numbers = [f"138{i:08}" for i in range(1_500)]
    # a chunk that is cut short by lines taken out, one of nothing else, one that begins late
    content = "\n".join([*numbers, *["138"] * 2_000, "", "13900000001", "138", "13900000002"])
    async with desk_in(tmp_path) as desk:
        assert (await desk.upload(content.encode())).json()["n_messages"] == 1_502
        lines, chunks, header = await desk.bench.store.read(
            lambda conn: (
                read_lines(
                    conn, desk.bench.store.vault, conn.scalars(select(message.c.message_id)).all()
                ),
                conn.execute(select(batch_chunk).order_by(batch_chunk.c.chunk_no)).all(),
                decode_header(conn.scalar(select(batch.c.header))),
            )
        )
    found = {one.line_no: one for one in lines.values()}
    assert [len(one.leaves) // LEAF_OCTETS for one in chunks] == [1_024, 476, 0, 432]
    assert header.chunks == tuple(chunk_hash(one.leaves) for one in chunks)
    for line_no in range(1, 3_505):
        one = found.get(line_no)
        expected = NO_LINE if one is None else leaf(one.line, salt=one.salt, line_no=line_no)
        held = leaf_in_chunk(chunks[chunk_of(line_no)].leaves, line_no)
        assert held == expected or (held, one) == (b"", None)


async def test_lines_that_were_taken_out_are_saved_as_a_file_for_spreadsheets(tmp_path):
    bad = ["010-61234567", "１３８０００００００1x", "=1+cmd", "138", "13800000001"]
    content = "\n".join(["13800000001", *bad * 300]).encode("gbk")
    async with desk_in(tmp_path) as desk:
        shown = (await desk.upload(content)).json()
        answer = await desk.client.get(f"/v1/batches/{shown['batch_id']}/removed.csv")
        missing = await desk.client.get(f"/v1/batches/{uuid.uuid4()}/removed.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    assert answer.content.startswith(b"\xef\xbb\xbf")
    found = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert found[0] == ["line", "what stood there", "reason", "policy"]
    assert len(found) == 1 + shown["n_removed"] == 1 + 1_500
    assert [(row[0], row[2], row[3]) for row in found[1:6]] == [
        ("2", "a landline", "SMS-07"),
        ("3", "full-width digits", "SMS-07"),
        ("4", "letters or signs in the number", "SMS-07"),
        ("5", "a short code that is not on the allow-list", "SMS-07"),
        ("6", "duplicate", "SMS-07"),
    ]
    assert found[3][1].startswith("'="), "no formula"
    assert "13800000001" not in answer.text
    assert missing.status_code == 404


async def test_a_file_without_rows_has_its_heading():
    async def none() -> AsyncIterator[tuple[str, ...]]:
        for row in ():
            yield row

    answer = await csv_file(none(), heading=("a", "b"), name="x.csv")
    assert b"".join([block async for block in answer.body_iterator]) == b"\xef\xbb\xbfa,b\r\n"


@pytest.mark.parametrize(("hours", "is_there"), [(0.9, True), (1.1, False)])
async def test_a_draft_that_a_crash_left_is_taken_back_after_an_hour(tmp_path, hours, is_there):
    clock = TestClock()
    async with open_store(tmp_path, clock) as store:
        office = await open_office(store)
        who, request = office.who["system"], office.request()

        async def chunks():
            yield b"13800000001\n"

        await office.batches.submit_list(who, request, chunks(), ListFormat.TXT)
        await store.write(
            lambda tx: tx.conn.execute(batch.update().values(state=BatchState.DRAFT, header=None))
        )
        clock.advance(hours * 3_600)
        assert isinstance(office.batches._intake, Intake)
        await office.batches._intake._tidy()
        found = await store.read(lambda conn: rows.find_batch(conn, request.batch_id))
        n_left = await store.read(lambda conn: conn.scalar(select(func.count(message.c.line_no))))
    assert (found is not None, n_left) == (is_there, int(is_there))
    assert timedelta(hours=hours) == clock.now() - TestClock().now()


async def test_a_client_that_goes_away_at_the_last_moment_leaves_a_whole_batch(
    tmp_path, monkeypatch
):
    loop, freeze = asyncio.get_running_loop(), staging.freeze

    def freeze_and_cancel(tx, end):
        loop.call_soon_threadsafe(task.cancel)  # before the commit is told
        return freeze(tx, end)

    monkeypatch.setattr(staging, "freeze", freeze_and_cancel)
    async with open_store(tmp_path) as store:
        office = await open_office(store)
        task = asyncio.create_task(office.submit(3))
        with pytest.raises(asyncio.CancelledError):
            await task
        await office.batches._intake._tidy()

        def read(conn):
            n_messages = conn.scalar(select(func.count()).select_from(message))
            return conn.scalar(select(batch.c.state)), n_messages

        assert await store.read(read) == (BatchState.CHECKED, 3)


async def test_a_list_that_finds_the_disk_full_is_taken_back_later(tmp_path):
    async with open_store(tmp_path) as store:
        office = await open_office(store)
        who, request = office.who["system"], office.request()

        async def chunks():
            yield LONG[: 12 * 5_000]

        def most_pages(n):
            return lambda tx: tx.conn.exec_driver_sql(f"PRAGMA max_page_count={n}").scalar()

        n_pages = await store.write(most_pages(1))  # not fewer than there are
        await store.write(most_pages(n_pages + 100))
        with pytest.raises(StoreError, match="full"):
            await office.batches.submit_list(who, request, chunks(), ListFormat.TXT)
        found = await store.read(lambda conn: rows.find_batch(conn, request.batch_id))
        assert found is not None
        assert found.state is BatchState.DRAFT
        await store.write(most_pages(n_pages + 100_000))
        await office.batches._intake._tidy()
        assert await store.read(lambda conn: rows.find_batch(conn, request.batch_id)) is None
        shown = await office.batches.submit_list(who, request, chunks(), ListFormat.TXT)
        assert shown.batch.n_messages == 5_000
