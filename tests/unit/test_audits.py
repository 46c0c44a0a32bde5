"""The audit log is whole, or says what is wrong; heads outside the database show a cut."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine, delete, insert, select, update

from modemctl.audit import Head
from modemctl.errors import ConfigError, InvalidRequest, NotPermitted
from modemctl.lifecycle import SegmentState
from modemctl.model import AccountId, SegmentId
from modemctl.service.audit_watch import AuditWatch
from modemctl.service.audits import Audits, read_heads, verify_offline
from modemctl.service.principal import Principal, Scope
from modemctl.store.tables import audit_entry, event, segment, segment_journal
from modemctl.store.transaction import Transition
from modemctl.vault import AuditKey, Vault
from tests.support.approved import add_batch, add_staff, numbers
from tests.support.stores import AUDIT_SEED, MASTER_KEY, Databases, open_store

KEY = AuditKey(AUDIT_SEED).public_octets()
AUDITOR = Principal(
    account_id=AccountId("a"), name="audrey", department=None,
    scopes=frozenset({Scope.AUDIT_READ}), source="test",
)  # fmt: skip


async def fill(store, n_acts: int = 5, n_moves: int = 4) -> None:
    for n in range(n_acts):
        await store.write(lambda tx, n=n: tx.audit("anna", "thing.do", f"t{n}", {"n": n}))
    if n_moves:
        await store.write(lambda tx: add_batch(tx, add_staff(tx), numbers(3 * n_moves)))
    for n in range(n_moves):

        def move(tx, n=n):
            for segment_id in range(3 * n + 1, 3 * n + 4):
                tx.conn.execute(
                    update(segment).where(segment.c.segment_id == segment_id).values(state="leased")
                )
                tx.transition(
                    Transition(
                        segment_id=SegmentId(segment_id), before=SegmentState.QUEUED,
                        after=SegmentState.LEASED, actor="n1",
                    )
                )  # fmt: skip

        await store.write(move)


async def alarms_of(store) -> list[str]:
    kinds = select(event.c.kind).where(event.c.kind == "alarm")
    return list(await store.read(lambda conn: conn.scalars(kinds).all()))


def tamper(folder, *statements) -> None:
    engine = create_engine(Databases.url(folder))
    with engine.begin() as conn:
        for statement in statements:
            conn.execute(statement)
    engine.dispose()


def check(folder):
    return verify_offline(
        Databases.url(folder), node_id="n1", audit_public_key=KEY,
        head_file=folder / "head.json", vault=Vault(MASTER_KEY),
    )  # fmt: skip


def audits_of(store, folder):
    return Audits(store, audit_public_key=KEY, head_file=folder / "head.json")


@pytest.fixture
async def filled(tmp_path):
    """A folder with a database of nine entries and a noted head."""
    async with open_store(tmp_path) as store:
        await fill(store)
        await audits_of(store, tmp_path).note_head()
    return tmp_path


async def test_an_untouched_log_is_whole_with_and_without_the_daemon(tmp_path):
    async with open_store(tmp_path) as store:
        await fill(store)
        audits = audits_of(store, tmp_path)
        await audits.note_head()
        (report,) = await audits.verify(AUDITOR)
        assert report.is_whole
        assert (report.n_entries, report.n_transitions) == (9, 12)
        newest = (await audits.list(AUDITOR, limit=1)).items[0]
        assert newest.action == "audit.verify"
    (offline,) = check(tmp_path)
    assert offline.is_whole
    assert offline.n_entries == 10


async def test_a_log_longer_than_a_page_is_whole(tmp_path):
    async with open_store(tmp_path) as store:

        def many(tx):
            for n in range(1_203):
                tx.audit("anna", "thing.do", f"t{n}", {})

        await store.write(many)
        await fill(store, 0, 2)
    (report,) = check(tmp_path)
    assert report.is_whole
    assert report.n_entries == 1_205


ENTRY, MOVED = audit_entry.c, segment_journal.c


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        (update(audit_entry).where(ENTRY.seq == 3).values(actor="bert"), "entry 3 was changed"),
        (
            update(audit_entry).where(ENTRY.seq == 3).values(at=datetime(2020, 1, 1, tzinfo=UTC)),
            "entry 3 was changed",
        ),
        (delete(audit_entry).where(ENTRY.seq == 4), "entry 4 is missing"),
        (delete(audit_entry).where(ENTRY.seq == 1), "entry 1 is missing"),
        (delete(audit_entry).where(ENTRY.seq > 6), "entry 9, noted as head, is missing"),
        (delete(audit_entry), "entry 9, noted as head, is missing"),
        (
            update(audit_entry).where(ENTRY.seq == 5).values(signature=bytes(64)),
            "entry 5 carries no valid signature",
        ),
        (update(segment_journal).where(MOVED.entry_id == 5).values(after="sent"), "entry 7 vouch"),
        (delete(segment_journal).where(MOVED.entry_id == 1), "entry 6 vouches for was changed"),
        (delete(segment_journal).where(MOVED.entry_id == 12), "entry 9 vouches for was changed"),
        (
            insert(segment_journal).values(
                segment_id=1, at=datetime(2026, 1, 1, tzinfo=UTC), before="queued",
                after="leased", actor="x",
            ),
            "no entry vouches for its last 1 rows",
        ),
    ],
)  # fmt: skip
async def test_each_kind_of_edit_shows(filled, statement, fault):
    assert check(filled)[0].is_whole
    tamper(filled, statement)
    (report,) = check(filled)
    assert any(fault in one for one in report.faults), report.faults


async def test_a_rewritten_chain_under_another_key_shows(filled):
    other = AuditKey(bytes(32)).public_octets()
    (report,) = verify_offline(
        Databases.url(filled), node_id="n1", audit_public_key=other,
        head_file=filled / "none.json", vault=Vault(MASTER_KEY),
    )  # fmt: skip
    assert len(report.faults) == 9


async def test_a_planted_chain_of_another_node_does_not_pass_for_a_good_one(filled):
    engine = create_engine(Databases.url(filled))
    with engine.connect() as conn:
        row = dict(conn.execute(select(audit_entry).where(ENTRY.seq == 1)).mappings().one())
    engine.dispose()
    tamper(filled, insert(audit_entry).values(row | {"node_id": "n2"}))
    own, foreign = check(filled)
    assert own.is_whole
    assert foreign.node_id == "n2"
    assert not foreign.is_whole


@pytest.mark.sqlite_only  # a copy of its file
async def test_an_older_copy_of_the_database_shows(tmp_path):
    async with open_store(tmp_path) as store:
        await fill(store, 3, 0)
    database = tmp_path / "modemctl.db"
    copy = database.read_bytes()
    async with open_store(tmp_path) as store:
        await fill(store, 2, 0)
        await audits_of(store, tmp_path).note_head()
    database.write_bytes(copy)
    (report,) = check(tmp_path)
    assert any("older copy" in one for one in report.faults)


@pytest.mark.parametrize("cut", [ENTRY.seq > 6, ENTRY.seq == 9, ENTRY.seq > 0])
async def test_a_cut_is_not_covered_up_by_what_comes_after_it(filled, cut):
    noted = read_heads(filled / "head.json")
    tamper(filled, delete(audit_entry).where(cut))
    for _ in range(2):
        async with open_store(filled) as store:
            audits = audits_of(store, filled)
            assert not await audits.note_head()
            await fill(store, 6, 0)
            assert not await audits.note_head()
            alarms = await alarms_of(store)
            (report,) = await audits.verify(AUDITOR)
            assert any("entry 9, noted as head, is missing" in one for one in report.faults)
    assert alarms == ["alarm"] * 4
    assert read_heads(filled / "head.json") == noted


async def test_a_damaged_head_file_is_kept_and_alarms(filled):
    (filled / "head.json").write_text("")
    async with open_store(filled) as store:
        assert not await audits_of(store, filled).note_head()
        assert await alarms_of(store) == ["alarm"]
    assert (filled / "head.json").read_text() == ""


async def test_the_noted_head_never_moves_back(filled):
    noted = read_heads(filled / "head.json")
    async with open_store(filled) as store:
        audits_of(store, filled)._write_head(Head(seq=3, hash=bytes(32)))
    assert read_heads(filled / "head.json") == noted


async def test_the_head_file_holds_the_head_and_is_replaced_whole(tmp_path):
    async with open_store(tmp_path) as store:
        audits = audits_of(store, tmp_path)
        await audits.note_head()
        assert read_heads(tmp_path / "head.json") == {}
        await fill(store, 2, 0)
        await audits.note_head()
        assert read_heads(tmp_path / "head.json") == {"n1": store.journal.head}
    assert [file.name for file in tmp_path.glob("head*")] == ["head.json"]


@pytest.mark.parametrize("content", ["", "[]", '{"n1": {}}', '{"n1": {"seq": "x", "hash": "zz"}}'])
def test_a_damaged_head_file_is_an_error_with_a_cure(tmp_path, content):
    file = tmp_path / "head.json"
    file.write_text(content)
    with pytest.raises(ConfigError, match="damaged"):
        read_heads(file)


async def test_lists_are_newest_first_filtered_and_paged(tmp_path):
    async with open_store(tmp_path) as store:
        await fill(store)
        await store.write(lambda tx: tx.audit("bert", "other.do", "t1", {"why": "x"}))
        audits = audits_of(store, tmp_path)
        seqs, cursor = [], None
        while True:
            page = await audits.list(AUDITOR, cursor=cursor, limit=4)
            seqs += [one.seq for one in page.items]
            cursor = page.next
            if cursor is None:
                break
        assert seqs == list(range(10, 0, -1))
        by_bert = await audits.list(AUDITOR, actor="bert", limit=10)
        assert [json.dumps(dict(one.details)) for one in by_bert.items] == ['{"why": "x"}']
        on_t1 = await audits.list(AUDITOR, subject="t1", limit=10)
        assert [one.action for one in on_t1.items] == ["other.do", "thing.do"]
        with pytest.raises(InvalidRequest):
            await audits.list(AUDITOR, cursor="zz", limit=1)


async def test_without_the_scope_nobody_reads_the_log(tmp_path):
    who = Principal(
        account_id=AccountId("a"), name="anna", department=None,
        scopes=frozenset(set(Scope) - {Scope.AUDIT_READ}), source="test",
    )  # fmt: skip
    async with open_store(tmp_path) as store:
        audits = audits_of(store, tmp_path)
        with pytest.raises(NotPermitted):
            await audits.list(who, limit=1)
        with pytest.raises(NotPermitted):
            await audits.verify(who)


async def test_an_auditor_of_one_department_does_not_read_all_departments_log(tmp_path):
    async with open_store(tmp_path) as store:
        audits = audits_of(store, tmp_path)
        await fill(store, 1, 0)
        loans = replace(AUDITOR, department="loans")
        with pytest.raises(NotPermitted):
            await audits.list(loans, limit=1)
        with pytest.raises(NotPermitted):
            await audits.verify(loans)


async def test_the_daemon_verifies_by_itself_and_names_the_first_bad_row(filled):
    async with open_store(filled) as store:
        watch = AuditWatch(
            store, audits_of(store, filled), every=timedelta(hours=24), first=0, breath=0
        )
        assert watch.n_faults is None
        assert await watch.look() == 0
        assert await alarms_of(store) == []
        await asyncio.to_thread(
            tamper, filled, update(audit_entry).where(ENTRY.seq == 3).values(actor="bert")
        )
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watch.run())
            async with asyncio.timeout(60):
                while not watch.n_faults:
                    await asyncio.sleep(0.005)
            watching.cancel()
        assert watch.n_faults == 1
        told = await store.read(
            lambda conn: conn.scalars(select(event.c.data).where(event.c.kind == "alarm")).all()
        )
        assert json.loads(told[0])["first"] == "n1: entry 3 was changed"


async def test_a_site_may_verify_by_hand_only(filled):
    async with open_store(filled) as store:
        watch = AuditWatch(store, audits_of(store, filled), every=timedelta(0), first=0)
        await watch.run()
        assert watch.n_faults is None
