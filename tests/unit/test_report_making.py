"""Reports from the asking to the filing, over the real API, store and child process."""

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
import python_calamine
from pypdf import PdfReader

from modemctl.lifecycle import BatchState, CardState, SegmentState
from modemctl.model import Category, Iccid
from modemctl.policy.numbers import Rejection
from modemctl.policy.papers import Lang, prove
from modemctl.service.paper_audits import TROUBLED
from modemctl.service.paper_files import PaperFiles
from modemctl.service.paper_words import DIGEST_LABELS, Words
from modemctl.service.principal import ROLES, Principal, Scope
from modemctl.store import sims
from modemctl.store.accounts import AccountKind, AccountState
from modemctl.store.sims import NewCard, Ownership
from tests.support.apis import ApiBench, open_api
from tests.support.people import Office, open_office
from tests.support.stores import open_store

ICCIDS = [f"8986001234567890{i:04d}" for i in range(3)]
HOLDERS = ("=cmd|' /C calc'!A0", "刘堃", "王小明")


@pytest.fixture
async def bench(tmp_path):
    async with working(tmp_path) as opened:
        yield opened


@asynccontextmanager
async def working(folder: Path) -> AsyncIterator[ApiBench]:
    async with open_api(folder) as opened, asyncio.TaskGroup() as group:
        run = group.create_task(opened.services.papers.run())
        yield opened
        run.cancel()


async def fill(bench: ApiBench) -> Office:
    """Three cards, and a batch that its chain approved."""

    def act(tx):
        cards = [
            NewCard(
                iccid=Iccid(iccid), number=f"+86139000000{i:02d}", holder=HOLDERS[i],
                department="retail", carrier="中国移动", state=CardState.ISSUED,
                verified_at=tx.now, verified_by="zhao",
            )
            for i, iccid in enumerate(ICCIDS)
        ]  # fmt: skip
        sims.add(tx, cards)

    await bench.store.write(act)
    office = await open_office(bench.store)
    shown = await office.submit(n=3, text="尊敬的客户：您的季度对账单已寄出。")
    await office.start(await office.approve(shown))
    return office


async def ask(client: httpx2.AsyncClient, kind: str, **body: object) -> dict:
    answer = await client.post("/v1/reports", json={"kind": kind, **body})
    assert answer.status_code == 202, answer.text
    return await until_done(client, answer.json()["report_id"])


async def until_done(client: httpx2.AsyncClient, report_id: str) -> dict:
    async with asyncio.timeout(30):
        while True:
            made = (await client.get(f"/v1/reports/{report_id}")).json()
            if made["state"] != "working":
                return made
            await asyncio.sleep(0.02)


async def fetched(client: httpx2.AsyncClient, made: dict, folder: Path) -> Path:
    assert made["state"] == "done", made["reason"]
    answer = await client.get(f"/v1/reports/{made['report_id']}/file")
    assert answer.status_code == 200, answer.text
    assert hashlib.sha256(answer.content).hexdigest() == made["sha256"]
    path = folder / f"fetched.{made['format']}"
    path.write_bytes(answer.content)
    return path


def rows_of(path: Path) -> list[list[object]]:
    book = python_calamine.CalamineWorkbook.from_path(path)
    return [row for name in book.sheet_names for row in book.get_sheet_by_name(name).to_python()]


def text_of(path: Path) -> str:
    text = "".join(page.extract_text() for page in PdfReader(path).pages)
    return text.replace("\n", "").replace("\u200b", "")  # where a long word may break


async def audited(bench: ApiBench, action: str) -> list[dict]:
    page = await bench.services.audits.list(
        everything(bench), action=action, subject=None, limit=50
    )
    return [dict(one.details) for one in page.items]


def everything(bench: ApiBench) -> Principal:
    return replace(bench.admin, scopes=frozenset(Scope))


KINDS = {
    "quarter": {"subject": "2026Q4"},
    "costs": {"subject": "2026-11"},
    "access": {"subject": "2026-11"},
    "inspection": {},
    "stocktake": {},
    "batch": {},
}


async def test_every_kind_is_made_in_both_forms_and_languages_and_names_its_digest(bench, tmp_path):
    office = await fill(bench)
    batch_id = (await bench.services.batches.list_batches(bench.admin, limit=1)).items[0].batch_id
    del office
    token = await bench.token_of("auditor", "operator")
    async with bench.client(token) as client:
        for kind, more in KINDS.items():
            body = dict(more) or ({"subject": batch_id} if kind == "batch" else {})
            for form, lang in (("xlsx", "zh"), ("pdf", "en")):
                made = await ask(client, kind, lang=lang, format=form, **body)
                path = await fetched(client, made, tmp_path)
                if form == "pdf":
                    assert made["digest"] in text_of(path)
                else:
                    assert prove(rows_of(path), DIGEST_LABELS) == (made["digest"],) * 2
    assert len(await audited(bench, "report.make")) == 12


async def test_a_holder_named_like_a_formula_stays_a_text_and_is_masked(bench, tmp_path):
    await fill(bench)
    async with bench.client(await bench.token_of("auditor")) as client:
        made = await ask(client, "costs", subject="2026-11", format="xlsx")
        rows = rows_of(await fetched(client, made, tmp_path))
        refused = await client.post(
            "/v1/reports", json={"kind": "costs", "subject": "2026-11", "unmasked": True}
        )
    cells = [cell for row in rows for cell in row if isinstance(cell, str)]
    assert not set(HOLDERS) & set(cells)
    assert not any("+861390000" in cell for cell in cells)
    assert "+86139****0001" in cells
    assert refused.status_code == 403
    assert refused.json()["rule"].endswith("lacks pii:read")


async def test_an_unmasked_report_shows_persons_and_is_on_record(bench, tmp_path):
    await fill(bench)
    async with bench.client(await bench.token_of("operator")) as client:
        made = await ask(client, "costs", subject="2026-11", format="xlsx", unmasked=True)
        rows = rows_of(await fetched(client, made, tmp_path))
    cells = {cell for row in rows for cell in row}
    assert set(HOLDERS) <= cells
    assert "+8613900000001" in cells
    assert [one["is_masked"] for one in await audited(bench, "report.ask")] == [False]
    assert [one["is_masked"] for one in await audited(bench, "report.fetch")] == [False]
    async with bench.client(await bench.token_of("auditor")) as other:
        answer = await other.get(f"/v1/reports/{made['report_id']}/file")
    assert answer.status_code == 403


@pytest.mark.parametrize("reason", Rejection)
def test_why_a_number_was_taken_out_is_told_in_the_papers_language(reason):
    assert Words(Lang.EN).of("removed", reason) == reason
    assert not Words(Lang.ZH).of("removed", reason).isascii()


async def test_the_form_of_a_batch_shows_text_approvals_and_filing(bench, tmp_path):
    office = await fill(bench)
    batch_id = (await bench.services.batches.list_batches(bench.admin, limit=1)).items[0].batch_id
    async with bench.client(await bench.token_of("operator")) as client:
        made = await ask(client, "batch", subject=batch_id, unmasked=True)
        text = text_of(await fetched(client, made, tmp_path))
        words = (
            "您的季度对账单已寄出",
            "drafter",
            "dm",
            "key-dm",
            "尚未存档",
            "综合部签收",
            "本公司",
            "名单负责人",
            "statements of the third quarter",
        )
        for word in words:
            assert word in text, word
        filed = await client.post(
            f"/v1/reports/{made['report_id']}/receipt", json={"reference": "卷 2026-041"}
        )
        assert filed.status_code == 200
        again = await client.post(
            f"/v1/reports/{made['report_id']}/receipt", json={"reference": "x"}
        )
        assert again.status_code == 409
        made = await ask(client, "batch", subject=batch_id)
        text = text_of(await fetched(client, made, tmp_path))
    assert "卷 2026-041" in text
    assert "您的季度对账单已寄出" not in text
    del office


async def duty_of(client):
    """The quarter's summary in the one list of all duties, beside the self-test."""
    found = (await client.get("/v1/duties")).json()
    assert [one["duty"] for one in found] == [
        "self_test", "backup", "backup_copy", "restore_test", "report_quarter", "report_screening",
        "report_spot_check", "report_month_audit", "report_year_audit", "report_stocktake",
        "export_review", "emergency_review",
    ]  # fmt: skip
    return found[4]


async def test_a_quarter_is_overdue_until_somebody_else_received_its_summary(bench, tmp_path):
    await fill(bench)
    papers = bench.services.papers
    bench.clock.advance(86_400 * 41)  # the first of January
    assert (await papers.overdue())["quarter"] == 0
    bench.clock.advance(86_400 * 16)
    await papers.watch.look()
    assert papers.watch.counts()["quarter"] == 1
    assert 'modemctl_reports_overdue{kind="quarter"} 1.0' not in bench.telemetry.render().decode()
    token, other = await bench.token_of("operator"), await bench.token_of("auditor")
    async with bench.client(token) as client:
        made = await ask(client, "quarter", subject="2026Q4")
        path = f"/v1/reports/{made['report_id']}/receipt"
        refused = await client.post(path, json={"reference": "41"})
        assert refused.status_code == 403
        assert refused.json()["policy"] == "SMS-05"
        assert (await papers.overdue())["quarter"] == 1
    async with bench.client(other) as client:
        assert (await duty_of(client))["is_overdue"]
        assert (await client.post(path, json={"reference": "41"})).status_code == 200
        done = await duty_of(client)
        assert (done["is_overdue"], done["done_by"]) == (False, "auditor-all")
    assert (await papers.overdue())["quarter"] == 0
    alarms = await bench.store.read(
        lambda conn: conn.exec_driver_sql(
            "SELECT data FROM event WHERE kind = 'alarm' AND subject = 'reports'"
        ).all()
    )
    assert {json.loads(row[0])["policy"] for row in alarms} == {"SMS-05", "SEC-05", "SIM-11"}


async def test_a_file_is_proved_and_an_altered_one_is_not(bench):
    await fill(bench)
    async with bench.client(await bench.token_of("auditor")) as client:
        made = await ask(client, "stocktake", format="xlsx")
        body = {"sha256": made["sha256"], "digest": made["digest"]}
        proof = (await client.post("/v1/reports/verify", json=body)).json()
        assert proof["is_same_file"]
        assert proof["report"]["report_id"] == made["report_id"]
        body["sha256"] = "0" * 64
        proof = (await client.post("/v1/reports/verify", json=body)).json()
        assert proof["report"] is not None
        assert not proof["is_same_file"]
        body["digest"] = "1" * 64
        proof = (await client.post("/v1/reports/verify", json=body)).json()
        assert proof == {"report": None, "is_same_file": False}


async def test_files_lie_sealed_and_an_altered_one_is_refused(bench, tmp_path):
    await fill(bench)
    async with bench.client(await bench.token_of("operator")) as client:
        made = await ask(client, "costs", subject="2026-11", format="xlsx", unmasked=True)
        path = tmp_path / "reports" / f"{made['report_id']}.sealed"
        octets = path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0
        assert b"PK\x03\x04" not in octets[:64]
        path.write_bytes(octets[:-1] + bytes([octets[-1] ^ 1]))
        answer = await client.get(f"/v1/reports/{made['report_id']}/file")
        assert answer.status_code == 403
        assert answer.json()["policy"] == "SEC-05"
    assert [one.name for one in (tmp_path / "reports").iterdir()] == [path.name]


async def test_a_report_that_is_being_made_can_be_stopped(tmp_path):
    async with open_api(tmp_path) as bench:
        client = bench.client(await bench.token_of("auditor"))
        async with client:
            waiting = (await client.post("/v1/reports", json={"kind": "stocktake"})).json()
            path = f"/v1/reports/{waiting['report_id']}"
            assert (await client.get(f"{path}/file")).status_code == 409
            stopped = await client.post(f"{path}/cancel")
            assert stopped.json()["state"] == "cancelled"
            assert (await client.post(f"{path}/cancel")).status_code == 409
            async with asyncio.TaskGroup() as group:
                run = group.create_task(bench.services.papers.run())
                made = await ask(client, "stocktake")
                run.cancel()
            assert made["state"] == "done"
            assert (await client.get(path)).json()["state"] == "cancelled"


async def test_what_a_restart_left_undone_is_told(tmp_path):
    async with open_api(tmp_path) as bench:
        client = bench.client(await bench.token_of("auditor"))
        async with client:
            waiting = (await client.post("/v1/reports", json={"kind": "stocktake"})).json()
            await bench.services.papers.watch.look()
            async with asyncio.TaskGroup() as group:
                run = group.create_task(bench.services.papers.run())
                made = await until_done(client, waiting["report_id"])
                run.cancel()
    assert made["state"] == "failed"
    assert "stopped" in made["reason"]


async def test_one_sees_reports_of_what_one_may_read_only(bench):
    await fill(bench)
    own = await bench.token_of("operator", department="retail")
    async with bench.client(await bench.token_of("auditor")) as client:
        made = await ask(client, "stocktake")
        log = await ask(client, "access", subject="2026-11")
    async with bench.client(own) as client:
        for one in (made, log):
            assert (await client.get(f"/v1/reports/{one['report_id']}")).status_code == 404
        mine = await ask(client, "stocktake")
        assert mine["department"] == "retail"
        items = (await client.get("/v1/reports")).json()["items"]
        assert [one["report_id"] for one in items] == [mine["report_id"]]
        refused = await client.post("/v1/reports", json={"kind": "access", "subject": "2026-11"})
        assert refused.status_code == 403


WRONG = (
    {"kind": "quarter"},
    {"kind": "quarter", "subject": "2026-11"},
    {"kind": "costs", "subject": "2030Q1"},
    {"kind": "costs", "subject": "yesterday"},
    {"kind": "batch", "subject": "x"},
    {"kind": "stocktake", "subject": "2026Q3"},
    {"kind": "telephones"},
)


async def test_what_names_no_period_is_refused(bench):
    async with bench.client(await bench.token_of("auditor")) as client:
        for body in WRONG:
            answer = await client.post("/v1/reports", json=body)
            assert answer.status_code == 422, body


async def test_a_batch_that_nobody_knows_fails_in_words(bench):
    async with bench.client(await bench.token_of("auditor")) as client:
        made = await ask(client, "batch", subject="00000000-0000-4000-8000-000000000000")
    assert made["state"] == "failed"
    assert "no such batch" in made["reason"]


async def test_a_row_of_a_report_that_was_altered_is_refused(bench):
    async with bench.client(await bench.token_of("auditor")) as client:
        made = await ask(client, "stocktake")
        await bench.store.write(
            lambda tx: tx.conn.exec_driver_sql("UPDATE paper SET digest = 'f'") and None
        )
        answer = await client.get(f"/v1/reports/{made['report_id']}")
    assert answer.status_code == 403
    assert answer.json()["policy"] == "SEC-05"


async def test_old_files_are_forgotten(bench, tmp_path):
    async with bench.client(await bench.token_of("auditor")) as client:
        made = await ask(client, "stocktake")
        assert made["has_file"]
        bench.clock.at += timedelta(days=31)
        shown = await bench.services.papers.show(everything(bench), made["report_id"])
    assert not shown.has_file


async def test_old_files_are_forgotten_while_the_daemon_runs_and_a_draft_is_not(tmp_path):
    async with open_store(tmp_path) as store:
        files, old = PaperFiles(tmp_path / "reports", store.vault), "old"
        (await files.place(old)).write_bytes(b"a report")
        await files.seal(old)
        sealed = tmp_path / "reports" / f"{old}.sealed"
        written_at = (store.clock.now() - timedelta(days=31)).timestamp()
        os.utime(sealed, (written_at, written_at))
        (await files.place("new")).write_bytes(b"half of one")
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            daily = group.create_task(
                files.forget_daily(timedelta(days=30), store.clock, every=0.01)
            )
            while sealed.exists():
                await asyncio.sleep(0.01)
            daily.cancel()
        assert (tmp_path / "reports" / "new" / "draft").read_bytes() == b"half of one"


async def test_an_inspection_names_what_was_altered(bench, tmp_path):
    await fill(bench)
    async with bench.client(await bench.token_of("auditor")) as client:
        good = await ask(client, "inspection", lang="en")
        assert "whole:" in text_of(await fetched(client, good, tmp_path))
        await bench.store.write(
            lambda tx: (
                tx.conn.exec_driver_sql("UPDATE audit_entry SET actor = 'x' WHERE seq = 2") and None
            )
        )
        made = await ask(client, "inspection", lang="en")
        told = text_of(await fetched(client, made, tmp_path))
    assert "entry 2 was changed" in told


async def test_the_stock_take_pages_through_cards_by_verdict(bench):
    await fill(bench)
    async with bench.client(await bench.token_of("auditor")) as client:
        first = (await client.get("/v1/stocktake", params={"limit": 2})).json()
        assert [one["iccid"] for one in first["items"]] == ICCIDS[:2]
        assert {one["verdicts"][0] for one in first["items"]} == {"missing"}
        rest = (await client.get("/v1/stocktake", params={"cursor": first["next"]})).json()
        assert [one["iccid"] for one in rest["items"]] == ICCIDS[2:]
        assert rest["next"] is None
        none = await client.get("/v1/stocktake", params={"verdict": "unknown"})
        assert none.json()["items"] == []


@pytest.mark.parametrize(
    ("family", "values"),
    [
        ("role", ROLES), ("account", AccountKind), ("account", AccountState), ("bay", TROUBLED),
        ("card", CardState), ("batch", BatchState), ("segment", SegmentState),
        ("ownership", Ownership), ("category", Category),
    ],
)  # fmt: skip
def test_a_chinese_report_has_chinese_words_for_every_value(family, values):
    for value in values:
        known = Words(Lang.ZH).of(family, str(value))
        assert not known.isascii(), f"{family}_{value}"
        assert Words(Lang.EN).of(family, str(value)).isascii()


async def test_a_chinese_inspection_tells_roles_and_states_in_chinese(bench, tmp_path):
    async with bench.client(await bench.token_of("auditor")) as client:
        made = await ask(client, "inspection", lang="zh")
        told = text_of(await fetched(client, made, tmp_path))
    assert "审计员" in told
    assert "auditor" not in told.replace("auditor-all", "")  # the account is called so
