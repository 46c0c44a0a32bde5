"""Violation cases rest on the audit log, keep working days, and let nobody judge himself."""

import dataclasses
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select, update

from modemctl.errors import Conflict, InvalidRequest, NotFound, NotPermitted, PolicyRefused
from modemctl.policy.custody import WorkingDays
from modemctl.policy.violations import CaseState
from modemctl.service.principal import scopes_of
from modemctl.service.violations import Cases
from modemctl.store import violations
from modemctl.store.replay import replay
from modemctl.store.seals import broken_seals
from modemctl.store.tables import audit_entry, event, violation_case, violation_evidence
from tests.support.people import open_office
from tests.support.stores import TestClock, open_store

SHANGHAI = ZoneInfo("Asia/Shanghai")
DAY = 86_400
DAYS = WorkingDays(
    zone=SHANGHAI, weekdays=frozenset({5, 6}), holidays=frozenset({date(2026, 11, 24)}),
    extra=frozenset({date(2026, 11, 28)}),
)  # fmt: skip


def local(*numbers: int) -> datetime:
    return datetime(*numbers, tzinfo=SHANGHAI).astimezone(UTC)


@pytest.mark.parametrize(
    ("at", "days", "ends"),
    [
        ((2026, 11, 16, 9), 3, (2026, 11, 20)),  # Monday → Thursday ends
        ((2026, 11, 20, 9), 2, (2026, 11, 26)),  # Friday; Tuesday is a holiday: Monday, Wednesday
        ((2026, 11, 26, 23, 59), 2, (2026, 11, 29)),  # Saturday is worked
        ((2026, 11, 21, 9), 1, (2026, 11, 24)),  # begun on a rest day
    ],
)
def test_working_days_end_at_midnight_of_the_site(at, days, ends):
    assert DAYS.after(local(*at), days) == local(*ends)


@asynccontextmanager
async def desk(folder):
    """Compliance, a person, and an entry of the log that names him."""
    clock = TestClock(local(2026, 11, 16, 9))
    async with open_store(folder, clock) as store:
        office = await open_office(store)
        office.clock, office.cases = clock, Cases(store, DAYS)
        auditor = scopes_of(frozenset({"auditor"}))
        office.mei, office.lin = (
            dataclasses.replace(office.who["gm"], account_id=name, name=name, scopes=auditor)
            for name in ("mei", "lin")
        )
        office.zhou = office.who["operator"]
        await office.start(await office.approve(await office.submit()))
        office.entry = await store.read(
            lambda conn: conn.scalar(
                select(audit_entry.c.seq).where(audit_entry.c.action == "batch.start")
            )
        )
        yield office


async def opened(d, **changes):
    facts = {
        "policy": "SMS-06", "person": "operator", "grade": 1, "summary": "sent for a friend",
        "evidence": [("n1", d.entry)], "amount_fen": 5_000,
    }  # fmt: skip
    return (await d.cases.open(d.mei, **{**facts, **changes})).case


async def found(d):
    one = await opened(d)
    await d.cases.decide(d.mei, one.case_id, is_violation=True, finding="he did", grade=2)
    return one


async def test_a_case_goes_from_evidence_to_review_with_its_time_limits(tmp_path):
    async with desk(tmp_path) as d:
        one = await opened(d)
        assert one.investigate_by == local(2026, 11, 20)
        view = await d.cases.decide(
            d.mei, one.case_id, is_violation=True, finding="he did", grade=2, amount_fen=900
        )
        assert (view.case.state, view.case.grade) == (CaseState.FOUND, 2)
        assert view.case.appeal_by == local(2026, 11, 19)
        view = await d.cases.appeal(d.zhou, one.case_id, "it was the late shift")
        assert view.case.review_by == local(2026, 11, 24)
        with pytest.raises(PolicyRefused, match="decided"):
            await d.cases.review(d.mei, one.case_id, is_upheld=True, text="no")
        view = await d.cases.review(d.lin, one.case_id, is_upheld=False, text="the shift was late")
        assert (view.case.state, view.case.reviewed_name) == (CaseState.OVERTURNED, "lin")
        assert await d.cases.list_cases(d.mei) == []
        acts = await d.store.read(
            lambda conn: conn.scalars(
                select(audit_entry.c.action).where(audit_entry.c.subject == one.case_id)
            ).all()
        )
        assert acts == ["case.open", "case.decide", "case.appeal", "case.review"]


async def test_a_case_needs_entries_that_exist_and_name_the_person(tmp_path):
    async with desk(tmp_path) as d:
        with pytest.raises(PolicyRefused, match="SEC-13"):
            await opened(d, person="stranger")
        with pytest.raises(NotFound):
            await opened(d, evidence=[("n1", 99_999)])
        with pytest.raises(InvalidRequest):
            await opened(d, evidence=[])
        with pytest.raises(InvalidRequest):
            await opened(d, policy="SMS-99")
        with pytest.raises(NotFound):
            await opened(d, person="nobody")
        assert await d.cases.list_cases(d.mei) == []


async def test_nobody_investigates_or_reviews_his_own_case(tmp_path):
    async with desk(tmp_path) as d:
        one = await opened(d)
        judge = dataclasses.replace(d.zhou, scopes=d.mei.scopes, department=None)
        with pytest.raises(PolicyRefused, match="own case"):
            await d.cases.decide(judge, one.case_id, is_violation=False, finding="no", grade=1)
        await d.cases.decide(d.mei, one.case_id, is_violation=True, finding="he did", grade=1)
        await d.cases.appeal(d.zhou, one.case_id, "no")
        with pytest.raises(PolicyRefused, match="own case"):
            await d.cases.review(judge, one.case_id, is_upheld=False, text="no")
        machine = dataclasses.replace(d.lin, is_person=False)
        with pytest.raises(PolicyRefused):
            await d.cases.review(machine, one.case_id, is_upheld=False, text="no")


async def test_only_the_person_appeals_and_only_in_time(tmp_path):
    async with desk(tmp_path) as d:
        one = await found(d)
        with pytest.raises(NotPermitted):
            await d.cases.appeal(d.lin, one.case_id, "for him")
        with pytest.raises(NotPermitted):
            await d.cases.appeal(d.who["dm"], one.case_id, "for him")
        with pytest.raises(Conflict, match="may still appeal"):
            await d.cases.close(d.mei, one.case_id)
        d.clock.advance(3 * DAY)
        with pytest.raises(Conflict, match="time to appeal"):
            await d.cases.appeal(d.zhou, one.case_id, "late")
        assert (await d.cases.close(d.mei, one.case_id)).case.state is CaseState.CLOSED


async def test_a_late_step_is_told_once(tmp_path):
    async with desk(tmp_path) as d:
        one = await opened(d)
        d.clock.advance(3 * DAY)
        assert await d.store.write(violations.note_overdue) == 0
        d.clock.advance(DAY)
        assert await d.store.write(violations.note_overdue) == 1
        assert await d.store.write(violations.note_overdue) == 0
        assert await d.store.read(violations.counts) == {"investigating": 1, "overdue": 1}
        assert (await d.cases.show(d.mei, one.case_id)).is_overdue
        data = await d.store.read(
            lambda conn: conn.scalars(
                select(event.c.data).where(event.c.subject == one.case_id)
            ).all()
        )
        assert len(data) == 1
        assert "operator" not in data[0]


async def test_without_the_scope_one_sees_ones_own_case_alone(tmp_path):
    async with desk(tmp_path) as d:
        one = await opened(d)
        assert [case.case_id for case in await d.cases.list_cases(d.zhou)] == [one.case_id]
        assert (await d.cases.show(d.zhou, one.case_id)).case.case_id == one.case_id
        assert await d.cases.list_cases(d.who["checker"]) == []
        with pytest.raises(NotPermitted):
            await d.cases.show(d.who["checker"], one.case_id)
        with pytest.raises(NotPermitted):
            await d.cases.open(
                d.zhou, policy="SMS-06", person="dm", grade=1, summary="x",
                evidence=[("n1", d.entry)],
            )  # fmt: skip


async def test_a_quarter_is_counted_by_rule_and_grade(tmp_path):
    async with desk(tmp_path) as d:
        await opened(d)
        await opened(d, amount_fen=None)
        await opened(d, policy="SMS-08", grade=3, amount_fen=1)
        d.clock.advance(60 * DAY)
        await opened(d)
        told = await d.cases.quarter(d.mei, 2026, 4)
        assert (told.n, told.n_late) == (3, 3)
        assert [(one.policy, one.grade, one.n, one.amount_fen) for one in told.lines] == [
            ("SMS-06", 1, 2, 5_000), ("SMS-08", 3, 1, 1),
        ]  # fmt: skip
        assert (await d.cases.quarter(d.mei, 2027, 1)).n == 1
        with pytest.raises(InvalidRequest):
            await d.cases.quarter(d.mei, 2026, 5)


FORGERIES = {
    "grade": update(violation_case).values(grade=1, amount_fen=0),
    "person": update(violation_case).values(person_id="eve", person_name="eve"),
    "evidence": update(violation_evidence).values(seq=1),
    "proof": violation_evidence.delete(),
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_an_altered_case_or_its_evidence_is_named(tmp_path, forgery):
    async with desk(tmp_path) as d:
        one = await opened(d, grade=3)
        vault = d.store.vault
        assert await d.store.read(lambda conn: list(broken_seals(conn, vault))) == []
        await d.store.write(lambda tx: tx.conn.execute(FORGERIES[forgery]) and None)
        [line] = await d.store.read(lambda conn: list(broken_seals(conn, vault)))
        assert one.case_id in line
        with pytest.raises(PolicyRefused, match="SEC-05"):
            await d.cases.decide(d.mei, one.case_id, is_violation=True, finding="x", grade=3)


async def test_a_case_put_back_as_it_was_is_named(tmp_path):
    async with desk(tmp_path) as d:
        one = await opened(d)
        columns = [column for column in violation_case.c if column.name != "case_id"]
        before = await d.store.read(
            lambda conn: dict(conn.execute(select(*columns)).mappings().one())
        )
        await d.cases.decide(d.mei, one.case_id, is_violation=True, finding="he did", grade=2)
        assert await d.store.read(lambda conn: list(replay(conn))) == []
        await d.store.write(
            lambda tx: tx.conn.execute(update(violation_case).values(**before)) and None
        )
        [line] = await d.store.read(lambda conn: list(replay(conn)))
        assert line.startswith(f"violation_case {one.case_id}")
