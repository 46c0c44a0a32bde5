"""Exports over the real API, store and child process; files are opened by a foreign decrypter."""

import io

import httpx2
import msoffcrypto
import openpyxl
import pytest
from sqlalchemy import delete, update

from modemctl.service.principal import ROLES, Scope
from modemctl.store.replay import replay
from modemctl.store.tables import export_note, paper
from tests.support.apis import ApiBench
from tests.unit.test_report_making import HOLDERS, ICCIDS, fill, until_done, working

FOR = {"recipient": "审计 anna", "purpose": "年度审计"}


@pytest.fixture
async def bench(tmp_path):
    async with working(tmp_path) as opened:
        yield opened


async def ask(
    client: httpx2.AsyncClient, content: str = "cards", **more: object
) -> httpx2.Response:
    body = {"content": content, "columns": ["iccid", "holder"], **FOR, **more}
    return await client.post("/v1/exports", json=body)


async def rows_of(client: httpx2.AsyncClient, made: dict) -> list[tuple[object, ...]]:
    report = await until_done(client, made["export"]["report"]["report_id"])
    assert report["state"] == "done", report["reason"]
    answer = await client.get(f"/v1/reports/{report['report_id']}/file")
    judge = msoffcrypto.OfficeFile(io.BytesIO(answer.content))
    judge.load_key(password=made["passphrase"], verify_password=True)
    plain = io.BytesIO()
    judge.decrypt(plain, verify_integrity=True)
    book = openpyxl.load_workbook(plain)
    assert all("内部资料" in (sheet.oddHeader.right.text or "") for sheet in book)
    return [row for sheet in book for row in sheet.iter_rows(values_only=True)]


async def confirmed(bench: ApiBench, client: httpx2.AsyncClient, **details: str) -> str:
    body = {
        "kind": "export",
        "subject": "cards",
        "details": {"columns": "iccid,holder", **FOR, "unmasked": "no", **details},
        "reason": "audit",
    }
    asked = await client.post("/v1/requests", json=body)
    assert asked.status_code in {200, 201}, asked.text
    request_id = asked.json()["request_id"]
    async with bench.client(
        await bench.token_of("auditor", "records", by=await bench.second())
    ) as other:
        done = await other.post(f"/v1/requests/{request_id}/confirm")
        assert done.status_code == 200, done.text
    return request_id


def test_no_role_of_the_working_day_exports():
    assert [role for role, scopes in ROLES.items() if Scope.EXPORTS_MAKE in scopes] == ["exporter"]


async def test_an_export_opens_with_its_passphrase_and_holds_the_columns_asked_for(bench, tmp_path):
    await fill(bench)
    async with bench.client(await bench.token_of("exporter", "technician")) as client:
        answer = await ask(client)
        assert answer.status_code == 202, answer.text
        made = answer.json()
        rows = await rows_of(client, made)
        listed = (await client.get("/v1/exports")).json()["items"]
    assert ("iccid", "holder") in {row[:2] for row in rows}
    told = {row[0]: row[1:] for row in rows if row[0] in ICCIDS}
    assert told.keys() == set(ICCIDS)
    assert all(len([cell for cell in cells if cell]) == 1 for cells in told.values())
    assert not set(HOLDERS) & {cell for cells in told.values() for cell in cells}
    assert [one["recipient"] for one in listed] == [FOR["recipient"]]
    assert made["passphrase"] not in str(listed)
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert made["passphrase"].encode() not in stored


async def test_unmasked_needs_the_right_to_read_personal_data(bench):
    await fill(bench)
    async with bench.client(await bench.token_of("exporter", "technician")) as client:
        assert (await ask(client, unmasked=True)).status_code == 403
    async with bench.client(await bench.token_of("exporter", "operator")) as client:
        made = (await ask(client, unmasked=True)).json()
        rows = await rows_of(client, made)
    assert set(HOLDERS) <= {row[1] for row in rows}


async def test_results_of_a_batch_are_exported_to_who_may_see_it(bench):
    await fill(bench)
    page = await bench.services.batches.list_batches(bench.admin, limit=1)
    asked = {"columns": ["line_no", "number", "state"], "batch_id": page.items[0].batch_id}
    async with bench.client(await bench.token_of("exporter", "operator")) as client:
        made = (await ask(client, "results", **asked)).json()
        rows = await rows_of(client, made)
        assert sum(row[2] == "queued" for row in rows if len(row) > 2) == 3
    stranger = await bench.token_of("exporter", "operator", department="loans")
    async with bench.client(stranger) as client:
        assert (await ask(client, "results", **asked)).status_code == 404


async def test_a_bulk_export_needs_a_second_persons_word_for_just_this(bench):
    await fill(bench)
    bench.services.exports._bulk_rows = 3
    async with bench.client(await bench.token_of("exporter", "technician")) as client:
        refused = await ask(client)
        assert refused.status_code == 403
        assert refused.json()["policy"] == "SEC-04"
        request_id = await confirmed(bench, client)
        other = await ask(client, request_id=request_id, recipient="somebody else")
        assert other.json()["policy"] == "SEC-04"
        made = await ask(client, request_id=request_id)
        assert made.status_code == 202, made.text
        assert made.json()["export"]["request_id"] == request_id
        assert (await ask(client, request_id=request_id)).status_code == 403


async def test_an_export_is_due_for_review_until_somebody_else_looked(bench):
    await fill(bench)
    papers = bench.services.papers
    async with bench.client(await bench.token_of("exporter", "technician", "auditor")) as client:
        made = (await ask(client)).json()
        export_id = made["export"]["report"]["report_id"]
        await until_done(client, export_id)
        own = await client.post(f"/v1/exports/{export_id}/review", json={"note": "still needed"})
        assert own.status_code == 403
        assert own.json()["policy"] == "SEC-09"
    assert (await papers.overdue())["export"] == 0
    bench.clock.advance(86_400 * 91)
    assert (await papers.overdue())["export"] == 1
    async with bench.client(await bench.token_of("auditor")) as client:
        done = await client.post(
            f"/v1/exports/{export_id}/review", json={"note": "deleted", "days": 30}
        )
        assert done.status_code == 200, done.text
        assert done.json()["review_note"] == "deleted"
        refused = await client.get(f"/v1/reports/{export_id}/file")
        assert refused.status_code == 404
    assert (await papers.overdue())["export"] == 0


async def missed(bench: ApiBench) -> list[str]:
    """Lines of the ledger and reports that the audit log misses."""
    found = await bench.store.read(lambda conn: list(replay(conn)))
    return [one for one in found if one.startswith(("paper", "export_note"))]


async def test_an_export_that_is_taken_out_of_the_ledger_is_missed(bench):
    await fill(bench)
    async with bench.client(await bench.token_of("exporter", "technician")) as client:
        made = (await ask(client)).json()
        export_id = made["export"]["report"]["report_id"]
        await until_done(client, export_id)
    async with bench.client(await bench.token_of("auditor")) as client:
        note = {"note": "still needed"}
        assert (await client.post(f"/v1/exports/{export_id}/review", json=note)).status_code == 200
    assert await missed(bench) == []
    forgotten = update(export_note).values(review_note=None)
    await bench.store.write(lambda tx: tx.conn.execute(forgotten))
    (fault,) = await missed(bench)
    assert fault.startswith(f"export_note {export_id}: the row was put back or changed")
    for table in (export_note, paper):
        await bench.store.write(lambda tx, table=table: tx.conn.execute(delete(table)))
    told = await missed(bench)
    assert [one.split(":")[0] for one in told] == [f"paper {export_id}", f"export_note {export_id}"]
    assert all("the row is missing" in one for one in told)


async def test_what_an_export_must_say_is_asked_for(bench):
    async with bench.client(await bench.token_of("exporter", "technician")) as client:
        for wrong in (
            {"columns": []},
            {"columns": ["iccid", "pin"]},
            {"columns": ["iccid", "iccid"]},
            {"recipient": " "},
            {"purpose": "a\nb"},
            {"batch_id": "x"},
            {"content": "results"},
        ):
            assert (await ask(client, **wrong)).status_code == 422, wrong
        as_report = await client.post("/v1/reports", json={"kind": "export"})
        assert as_report.status_code == 422
    async with bench.client(await bench.token_of("operator")) as client:
        assert (await ask(client)).json()["rule"].endswith("lacks exports:make")


async def test_a_line_of_the_ledger_that_was_altered_is_refused(bench):
    await fill(bench)
    async with bench.client(await bench.token_of("exporter", "technician")) as client:
        made = (await ask(client)).json()
        await until_done(client, made["export"]["report"]["report_id"])
        await bench.store.write(
            lambda tx: tx.conn.exec_driver_sql("UPDATE export_note SET recipient='x'") and None
        )
        answer = await client.get("/v1/exports")
    assert answer.status_code == 403
    assert answer.json()["policy"] == "SEC-05"
