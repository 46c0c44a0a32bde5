"""The log's screening, spot check and audits (SEC-05): what they show, who acknowledges, when."""

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import python_calamine
from pypdf import PdfReader

from modemctl.errors import InvalidRequest, NotFound, NotPermitted, PolicyRefused
from modemctl.model import AccountId
from modemctl.policy.papers import Lang, PaperFormat, prove
from modemctl.policy.screening import Finding, findings, is_audit_work
from modemctl.service.audit_samples import SampleAsk
from modemctl.service.paper_duties import overdue
from modemctl.service.paper_words import DIGEST_LABELS, Words
from modemctl.service.papers import PaperAsk, PaperKind, PaperState
from modemctl.service.principal import Principal, Scope
from modemctl.store import Store, duties
from modemctl.store.accounts import AccountKind, add_account
from modemctl.vault import AuditKey, Vault
from tests.support.apis import ApiBench, open_api
from tests.support.stores import AUDIT_SEED, MASTER_KEY, Databases

DAY = 86_400
WEEK = "2026-W47"  # the bench's clock stands on its Saturday, noon in Shanghai


@asynccontextmanager
async def working(folder: Path):
    async with open_api(folder) as bench, asyncio.TaskGroup() as group:
        run = group.create_task(bench.services.papers.run())
        yield bench
        run.cancel()


def auditor(name: str = "audrey", **changes: object) -> Principal:
    scopes = frozenset({Scope.AUDIT_READ, Scope.REPORTS_MAKE, Scope.MODEMS_READ})
    one = Principal(
        account_id=AccountId(f"id-{name}"), name=name, department=None, scopes=scopes,
        source="test", is_person=True,
    )  # fmt: skip
    return replace(one, **changes)


async def act(bench: ApiBench, actor: str, action: str = "thing.do", **details: object) -> None:
    await bench.store.write(lambda tx: tx.audit(actor, action, "x", {**details}))


async def made(bench, kind, subject, *, form=PaperFormat.XLSX, lang=Lang.EN, who=None):
    papers, who = bench.services.papers, who or auditor()
    ask = PaperAsk(kind=kind, subject=subject, paper_format=form, lang=lang)
    shown = await papers.make(who, ask)
    async with asyncio.timeout(30):
        while shown.state is PaperState.WORKING:
            await asyncio.sleep(0.02)
            shown = await papers.show(who, shown.report_id)
    assert shown.state is PaperState.DONE, shown.reason
    return shown


async def sheets_of(bench, shown, folder: Path) -> dict[str, list[list[object]]]:
    file = await bench.services.papers.file(auditor(), shown.report_id)
    path = folder / "fetched.xlsx"
    path.write_bytes(file.octets)
    book = python_calamine.CalamineWorkbook.from_path(path)
    sheets = {name: book.get_sheet_by_name(name).to_python() for name in book.sheet_names}
    rows = [row for sheet in sheets.values() for row in sheet]
    assert prove(rows, DIGEST_LABELS) == (shown.digest,) * 2
    return sheets


def log_rows(sheet: list[list[object]]) -> dict[int, list[object]]:
    return {int(row[0]): row for row in sheet if isinstance(row[0], int | float)}


async def test_the_weeks_spot_check_is_the_draw_of_the_chain_whoever_asks(tmp_path):
    async with working(tmp_path) as bench:
        for n in range(30):
            await act(bench, "anna", n=n)
        bench.clock.advance(2 * DAY)
        drawn = await bench.services.audit_samples.sample(auditor(), SampleAsk(week=WEEK))
        shown = await made(bench, PaperKind.SPOT_CHECK, WEEK)
        sheets = await sheets_of(bench, shown, tmp_path)
        again = await made(bench, PaperKind.SPOT_CHECK, WEEK, who=auditor("bert"))
        other = await sheets_of(bench, again, tmp_path)
    assert len(drawn.items) * 100 >= 30 * drawn.n_entries
    rows = log_rows(sheets["Sample"])
    assert list(rows) == [one.seq for one in drawn.items]
    assert {row[-1] for row in rows.values()} == {"□"}
    assert log_rows(other["Sample"]) == rows
    cover = [str(cell) for row in next(iter(sheets.values())) for cell in row]
    assert any(drawn.seed in cell for cell in cover)
    assert f"{len(drawn.items)} of {drawn.n_entries} entries drawn (at least 30 %)" in cover


async def test_the_screening_shows_what_wants_a_second_look(tmp_path):
    async with working(tmp_path) as bench:
        counts = {"SMS-03": 4, "TEL-11": 1}
        uses = {"anna": {"10.0.0.7": 12}, "oa": {"unix": 3}}
        await act(bench, "n1", "access.counted", refused=counts, uses=uses, wrong_keys={"oa": 2})
        for action in ("pin.reveal", "elevation.grant", "policy.accept", "request.confirm"):
            await act(bench, "zhou", action)
        await act(bench, "n1", "account.state", after="frozen", policy="SEC-06")
        await act(bench, "zhou", "report.fetch", kind="costs", is_masked=False)
        await act(bench, "zhou", "sim.state")
        bench.clock.advance(2 * DAY)
        shown = await made(bench, PaperKind.SCREENING, WEEK)
        sheets = await sheets_of(bench, shown, tmp_path)
        printed = await made(bench, PaperKind.SCREENING, WEEK, form=PaperFormat.PDF, lang=Lang.ZH)
        file = await bench.services.papers.file(auditor(), printed.report_id)
    found = [(row[3], row[-1]) for row in log_rows(sheets["Acts to look at"]).values()]
    assert [one for one in found if one[0] not in {"account.create", "key.issue"}] == [
        ("pin.reveal", "PINs and PUKs"), ("elevation.grant", "elevations"),
        ("policy.accept", "changes of limits and rules"),
        ("request.confirm", "acts of two persons"), ("account.state", "frozen, unfrozen"),
        ("report.fetch", "exports"),
    ]  # fmt: skip
    cells = [tuple(row[:3]) for sheet in sheets.values() for row in sheet]
    assert any(str(row[0]).startswith("SMS-03") and row[1] == 4 for row in cells)
    assert ("anna", "10.0.0.7", 12) in cells
    assert any(row[:2] == ("oa", 2) for row in cells)
    (tmp_path / "printed.pdf").write_bytes(file.octets)
    text = "".join(page.extract_text() for page in PdfReader(tmp_path / "printed.pdf").pages)
    assert "操作日志周审查表" in text
    assert "冻结与解冻" in text


@pytest.mark.parametrize("hour", [12, 23])
async def test_what_a_person_does_at_night_is_shown_what_a_machine_does_is_not(tmp_path, hour):
    async with working(tmp_path) as bench:
        await bench.store.write(
            lambda tx: [
                add_account(tx, name=name, kind=kind, department=None, roles=[])
                for name, kind in (("zhou", AccountKind.PERSON), ("oa", AccountKind.SYSTEM))
            ]
        )
        bench.clock.advance((2 * 24 + hour - 12) * 3_600)  # Monday
        for name in ("zhou", "oa"):
            await act(bench, name, "sim.state")
        bench.clock.advance(8 * DAY)
        shown = await made(bench, PaperKind.SCREENING, "2026-W48")
        sheets = await sheets_of(bench, shown, tmp_path)
    found = [(row[2], row[-1]) for row in log_rows(sheets["Acts to look at"]).values()]
    assert found == ([] if hour == 12 else [("zhou", "outside working hours")])


async def test_nobody_acknowledges_a_paper_that_shows_his_own_acts(tmp_path):
    async with working(tmp_path) as bench:
        papers = bench.services.papers
        for n in range(10):
            await act(bench, "zhou", n=n)
        for kind in ("screening", "spot_check"):
            await act(bench, "audrey", "report.make", kind=kind, is_masked=True)
        bench.clock.advance(2 * DAY)
        shown = await made(bench, PaperKind.SPOT_CHECK, WEEK)
        for wrong in (auditor("zhou"), auditor("oa", is_person=False)):
            with pytest.raises(PolicyRefused) as caught:
                await papers.acknowledge(wrong, shown.report_id, "41")
            assert caught.value.policy == "SEC-05" if wrong.is_person else "SMS-05"
        outsiders = (auditor("li", department="retail"), auditor("li", scopes=frozenset()))
        for outsider in outsiders:
            with pytest.raises((NotFound, NotPermitted)):
                await papers.acknowledge(outsider, shown.report_id, "41")
        filed = await papers.acknowledge(auditor(), shown.report_id, "41")
        assert (filed.filed_by, filed.filed_reference) == ("audrey", "41")


async def test_each_week_month_and_year_is_asked_for_until_its_paper_is_acknowledged(tmp_path):
    async with working(tmp_path) as bench:
        papers, late = bench.services.papers, bench.services.papers.watch

        async def filed(kind: PaperKind, subject: str) -> None:
            shown = await made(bench, kind, subject)
            await papers.acknowledge(auditor(), shown.report_id, "41")

        async def overdue() -> dict[str, int]:
            await late.look()
            return {kind: n for kind, n in late.counts().items() if n and kind != "stocktake"}

        async def duty(name: str):
            found = await late.list_duties(auditor())
            return next(one for one in found if one.duty == name)

        assert await overdue() == {}
        assert not (await duty("report_screening")).is_due
        bench.clock.advance(2 * DAY)  # Monday, the week is over
        waiting = await duty("report_spot_check")
        assert (waiting.is_due, waiting.is_overdue) == (True, False)
        bench.clock.advance(7 * DAY)
        assert await overdue() == {"screening": 1, "spot_check": 1}
        await filed(PaperKind.SPOT_CHECK, WEEK)
        assert await overdue() == {"screening": 1}
        await filed(PaperKind.SCREENING, WEEK)
        assert await overdue() == {}
        done = await duty("report_screening")
        assert (done.done_by, done.is_overdue) == ("audrey", False)
        bench.clock.advance(14 * DAY)  # 14 December: November's audit is not late yet
        assert await overdue() == {"screening": 2, "spot_check": 2}
        bench.clock.advance(5 * DAY)
        assert (await overdue())["month_audit"] == 1
        await filed(PaperKind.MONTH_AUDIT, "2026-11")
        assert "month_audit" not in await overdue()
        bench.clock.advance(50 * DAY)
        found = await overdue()
        assert (found["month_audit"], found["year_audit"]) == (1, 1)
        await filed(PaperKind.YEAR_AUDIT, "2026")
        assert "year_audit" not in await overdue()
        alarms = await bench.store.read(
            lambda conn: conn.exec_driver_sql(
                "SELECT data FROM event WHERE kind = 'alarm' AND subject = 'reports'"
            ).all()
        )
    told = {(one["report"], one["policy"]) for one in (json.loads(row[0]) for row in alarms)}
    kinds = ("screening", "spot_check", "month_audit", "year_audit")
    assert told >= {(kind, "SEC-05") for kind in kinds}


async def test_an_older_site_is_asked_for_papers_since_the_version_that_asks(tmp_path):
    async with working(tmp_path) as bench:
        watch = bench.services.papers.watch

        async def overdue() -> dict[str, int]:
            await watch.look()
            return {kind: n for kind, n in watch.counts().items() if n and kind != "stocktake"}

        bench.clock.advance(500 * DAY)  # the former version runs
        await bench.store.write(duties.begin)
        await act(bench, "zhou")
        assert await overdue() == {}
        assert all(not one.is_due for one in await watch.list_duties(auditor()))
        bench.clock.advance(23 * DAY)
        assert await overdue() == {"screening": 2, "spot_check": 2}
        await made(bench, PaperKind.SCREENING, "2026-W48")  # an earlier one may still be made


async def test_each_nodes_log_is_screened_whatever_the_others_had_acknowledged(tmp_path):
    async with working(tmp_path) as bench:
        papers, url = bench.services.papers, Databases.url(tmp_path)
        key, rules = AuditKey(AUDIT_SEED), papers.watch._rules
        async with Store(
            url, vault=Vault(MASTER_KEY), audit_key=key, clock=bench.clock, node_id="n2"
        ) as other:
            await other.write(lambda tx: tx.audit("zhou", "thing.do", "x", {}))
            await act(bench, "zhou")
            bench.clock.advance(9 * DAY)
            for kind in (PaperKind.SCREENING, PaperKind.SPOT_CHECK):
                shown = await made(bench, kind, WEEK)
                await papers.acknowledge(auditor(), shown.report_id, "41")
            late = {}
            for store in (bench.store, other):
                found = await store.read(
                    lambda conn, store=store: overdue(conn, store, rules, bench.clock.now())
                )
                late[store.node_id] = found["screening"], found["spot_check"]
    assert late == {"n1": (0, 0), "n2": (1, 1)}


async def test_a_years_audit_samples_three_months_and_a_months_tells_what_was_missed(tmp_path):
    async with working(tmp_path) as bench:
        for _month in range(8):  # November to June
            for n in range(10):
                await act(bench, "zhou", n=n)
            bench.clock.advance(31 * DAY)
        bench.clock.advance(300 * DAY)
        year = await sheets_of(bench, await made(bench, PaperKind.YEAR_AUDIT, "2027"), tmp_path)
        month = await sheets_of(
            bench, await made(bench, PaperKind.MONTH_AUDIT, "2026-11"), tmp_path
        )
    sampled = {name: log_rows(rows) for name, rows in year.items() if name.startswith("Sample")}
    assert set(sampled) < {f"Sample 2027-{month:02d}" for month in range(1, 7)}
    assert [len(rows) for rows in sampled.values()] == [3, 3, 3]
    missed = [row for row in month["Papers that were due"] if row[0] == WEEK]
    assert [row[2] for row in missed] == ["not yet", "not yet"]
    assert any("whole:" in str(cell) for rows in month.values() for row in rows for cell in row)


WRONG = (
    (PaperKind.SCREENING, "2026-11"), (PaperKind.SPOT_CHECK, "2026"),
    (PaperKind.SPOT_CHECK, "2026-W60"), (PaperKind.MONTH_AUDIT, "2026Q3"),
    (PaperKind.MONTH_AUDIT, WEEK), (PaperKind.YEAR_AUDIT, "2025-12"), (PaperKind.SCREENING, None),
)  # fmt: skip


async def test_an_audit_is_of_its_own_kind_of_period_and_of_one_that_is_over(tmp_path):
    async with open_api(tmp_path) as bench:
        for kind, subject in WRONG:
            with pytest.raises(InvalidRequest):
                await bench.services.papers.make(auditor(), PaperAsk(kind=kind, subject=subject))
        now = ((PaperKind.SPOT_CHECK, WEEK), (PaperKind.MONTH_AUDIT, "2026-11"))
        for kind, subject in (*now, (PaperKind.YEAR_AUDIT, "2026")):
            with pytest.raises(InvalidRequest, match="not over"):
                await bench.services.papers.make(auditor(), PaperAsk(kind=kind, subject=subject))


@pytest.mark.parametrize("lang", Lang)
def test_every_finding_has_its_words(lang):
    told = {Words(lang).of("finding", one) for one in Finding}
    assert len(told) == len(Finding)
    assert told.isdisjoint(Finding) or lang is Lang.EN


def test_the_audits_own_work_is_told_from_what_takes_data_out():
    assert is_audit_work("audit.sample", {})
    assert is_audit_work("report.file", {"kind": "screening", "is_masked": True})
    for action, details in (
        ("report.make", {"kind": "screening", "is_masked": False}),
        ("report.make", {"kind": "costs", "is_masked": True}),
        ("audit.export", {}),
        ("pin.reveal", {}),
    ):
        assert not is_audit_work(action, details), action
    assert findings("sim.state", {}, is_odd_hour=True) == (Finding.ODD_HOURS,)
