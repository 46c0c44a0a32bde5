"""Legal holds, purges and erasures: what goes, what stays, and what is still proved after it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select, update

from modemctl.errors import Conflict, InvalidRequest, NotFound, NotPermitted, PolicyRefused
from modemctl.lifecycle import BatchState
from modemctl.model import BatchId, Iccid
from modemctl.policy.digest import header_digest, leaf
from modemctl.policy.dual import DualKind
from modemctl.policy.incoming import InboxKind
from modemctl.policy.numbers import NumberRules
from modemctl.policy.records import RecordClass, Retention
from modemctl.service.dual import Dual
from modemctl.service.erasures import Erasures
from modemctl.service.holds import Holds
from modemctl.service.principal import Principal, Scope, scopes_of
from modemctl.service.purges import Purges
from modemctl.store import (
    Store,
    batches,
    calls,
    inbox,
    messages,
    optouts,
    purges,
    self_tests,
    sims,
)
from modemctl.store.accounts import AccountKind, add_account
from modemctl.store.evidence import read_lines
from modemctl.store.tables import (
    balance,
    batch,
    batch_chunk,
    call,
    erasure,
    legal_hold,
    message,
    opt_out,
    purge_run,
    recipient,
    segment,
    self_test,
)
from modemctl.store.tables import inbox as inbox_table
from modemctl.store.transaction import Transition
from tests.support.approved import Staff, add_batch, add_cards, add_staff
from tests.support.balances import note_balance
from tests.support.loops import bay_of, seat
from tests.support.stores import TestClock, open_store
from tests.unit.test_audit_replay import faults, put_back, rows_of
from tests.unit.test_audits import AUDITOR, audits_of, tamper

CARD = "89860000000000000001"
MARY, PAUL = "+8613800000001", "+8613800000002"
YEAR = 366 * 86_400.0
DAYS = dict.fromkeys(RecordClass, 1_827)


@dataclass
class Archive:
    """A store with two records officers and closed batches."""

    folder: Path
    store: Store
    clock: TestClock
    staff: Staff
    anna: Principal
    bert: Principal
    holds: Holds
    purges: Purges
    erasures: Erasures
    dual: Dual

    async def closed(self, *numbers: str, state: BatchState = BatchState.CANCELLED) -> BatchId:
        """A batch that was sent by the card, in its last state."""

        def act(tx) -> BatchId:
            batch_id = add_batch(tx, self.staff, numbers)
            tx.conn.execute(
                update(segment).where(segment.c.batch_id == batch_id).values(iccid=CARD)
            )
            for one in tx.conn.execute(select(segment).where(segment.c.batch_id == batch_id)):
                for before, after in (("queued", "leased"), ("leased", "queued")):
                    tx.transition(
                        Transition(
                            segment_id=one.segment_id, before=before, after=after, actor="n1",
                        )
                    )  # fmt: skip
            if state is not BatchState.RUNNING:
                batches.move(tx, batch_id, state)
            return batch_id

        return await self.store.write(act)

    async def permit(self, kind: DualKind, subject: str) -> str:
        asked = await self.dual.ask(
            self.anna, kind=kind, subject=subject, details={}, reason="form 3"
        )
        await self.dual.confirm(self.bert, asked.request_id)
        return asked.request_id

    async def count(self, table, *which) -> int:
        query = select(func.count()).select_from(table).where(*which)
        return await self.store.read(lambda conn: conn.scalar(query))

    async def is_whole(self) -> bool:
        (report,) = await audits_of(self.store, self.folder).verify(AUDITOR)
        assert report.faults == ()
        return True

    def raw(self) -> bytes:
        """All octets of the database's files."""
        return b"".join(path.read_bytes() for path in sorted(self.folder.glob("modemctl.db*")))


@asynccontextmanager
async def open_archive(folder: Path, *, is_automatic: bool = True) -> AsyncIterator[Archive]:
    clock = TestClock()
    async with open_store(folder, clock) as store:
        staff = await store.write(add_staff)
        await store.write(lambda tx: add_cards(tx, [CARD]))
        people = []
        for name in ("anna", "bert"):
            account = await store.write(
                lambda tx, name=name: add_account(
                    tx, name=name, kind=AccountKind.PERSON, department=None, roles=["records"]
                )
            )
            people.append(
                Principal(
                    account_id=account.account_id, name=name, department=None,
                    scopes=scopes_of(frozenset({"records"})), source="test", is_person=True,
                )
            )  # fmt: skip
        yield Archive(
            folder=folder, store=store, clock=clock, staff=staff, anna=people[0], bert=people[1],
            holds=Holds(store, numbers=NumberRules()),
            purges=Purges(store, retention=Retention(days=DAYS), is_automatic=is_automatic),
            erasures=Erasures(store, numbers=NumberRules()),
            dual=Dual(store),
        )  # fmt: skip


@pytest.fixture
async def archive(tmp_path):
    async with open_archive(tmp_path) as opened:
        yield opened


async def refused(awaitable, policy: str, match: str) -> None:
    with pytest.raises((PolicyRefused, Conflict), match=match) as caught:
        await awaitable
    assert caught.value.policy == policy


def incoming(number: str, text: str) -> inbox.NewMessage:
    return inbox.NewMessage(
        iccid=CARD, bay="left", sender=number, is_sender_number=True, scts=None, text=text,
        concat=None, tpdu=text.encode(), kind=InboxKind.TEXT,
    )  # fmt: skip


async def receive(archive: Archive, number: str, text: str) -> None:
    await archive.store.write_in_set(inbox.add, incoming(number, text))
    started = archive.clock.now()
    state = calls.CallState(
        iccid=CARD, bay="left", is_incoming=True, number=number, started_at=started,
        answered_at=None, ended_at=started, n_rings=2, cause=None,
    )  # fmt: skip
    await archive.store.write_in_set(calls.save, state)
    archive.clock.advance(60)


# ---------------------------------------------------------------- purge


async def test_what_is_older_than_five_years_is_gone_and_the_rest_stays(archive):
    old = await archive.closed(MARY, PAUL)
    await receive(archive, MARY, "hello")
    archive.clock.advance(4 * YEAR)
    young = await archive.closed(MARY)
    running = await archive.closed(PAUL, state=BatchState.RUNNING)
    assert await archive.purges.purge_due() == 0
    archive.clock.advance(1.5 * YEAR)
    assert await archive.purges.purge_due() > 0
    for table in (message, segment, recipient):
        assert await archive.count(table, table.c.batch_id == old) == 0, table.name
        assert await archive.count(table, table.c.batch_id == young) == 1, table.name
        assert await archive.count(table, table.c.batch_id == running) == 1, table.name
    assert await archive.count(inbox_table) == 0
    assert await archive.count(call) == 0
    assert await archive.is_whole()


async def test_balances_and_tests_of_bays_go_after_their_time_and_a_hold_keeps_a_cards(archive):
    kept, gone = Iccid(CARD), Iccid("89860000000000000002")

    def fill(tx):
        seat(tx, [kept, gone])
        for card in (kept, gone):
            note_balance(tx, card, bay_of(card))
        self_tests.add(tx, [found_of(kept), found_of(gone)], by="modemctl")

    await archive.store.write(fill)
    await archive.holds.set_hold(archive.anna, reason="case 12", iccid=CARD)
    archive.clock.advance(4 * YEAR)
    await archive.purges.purge_due()
    for table in (balance, self_test):
        assert await archive.count(table) == 2, table.name
    archive.clock.advance(2 * YEAR)
    await archive.purges.purge_due()
    for table in (balance, self_test):
        (left,) = await rows_of(archive.store, table)
        assert left["iccid"] == kept, table.name
    assert await archive.is_whole()


def found_of(card: Iccid) -> self_tests.Found:
    return self_tests.Found(
        bay=bay_of(card), iccid=card, state="ready", registration="home", signal_dbm=-70,
        answer_ms=5, balance=None, faults=[],
    )  # fmt: skip


async def test_a_purged_batch_still_proves_its_header_and_leaves_but_tells_no_line(archive):
    old = await archive.closed(MARY)
    before = (await rows_of(archive.store, batch))[0]
    chunks = await rows_of(archive.store, batch_chunk)
    archive.clock.advance(6 * YEAR)
    await archive.purges.purge_due()
    (after,) = await rows_of(archive.store, batch)
    assert after["salt_nonce"] is None
    assert after["purged_at"] == archive.clock.now()
    assert (after["header"], after["digest"]) == (before["header"], before["digest"])
    assert header_digest(after["header"]) == after["digest"]
    assert await rows_of(archive.store, batch_chunk) == chunks
    entry = await audits_of(archive.store, archive.folder).list(AUDITOR, subject=old, limit=9)
    (one,) = [item for item in entry.items if item.action == "purge.batch"]
    assert one.details["digest"] == after["digest"].hex()
    assert one.details["policy"] == "SEC-08"


@pytest.mark.sqlite_only  # octets of its file
async def test_deleted_octets_are_gone_from_the_files(archive):
    await archive.closed(*(f"+86139{n:08}" for n in range(300)))
    salt = bytes(range(100, 132))
    await archive.store.write(lambda tx: tx.conn.execute(update(batch).values(salt_nonce=salt)))
    await receive(archive, MARY, "a text that is not to stay")
    sealed = [one["line_enc"] for one in await rows_of(archive.store, message)]
    sealed += [one["body_enc"] for one in await rows_of(archive.store, inbox_table)]
    sealed.append(salt)
    raw = archive.raw()
    assert all(one in raw for one in sealed)
    archive.clock.advance(6 * YEAR)
    await archive.purges.purge_due()
    raw = archive.raw()
    assert [one for one in sealed if one in raw] == []


async def test_a_purge_goes_on_where_a_crash_ended_it(tmp_path):
    """Cut off behind each of its steps: the next start finishes it, and the log stays whole."""
    for n_steps in range(1, 7):
        folder = tmp_path / str(n_steps)
        folder.mkdir()
        async with open_archive(folder) as archive:
            await archive.closed(MARY, PAUL)
            await receive(archive, MARY, "hello")
            archive.clock.advance(6 * YEAR)
            run = await archive.store.write(archive.purges._take_up)
            for _ in range(n_steps):
                done = await archive.store.write(lambda tx, run=run: purges.step(tx, run))
                if done.is_over:
                    break
            assert await archive.is_whole()
            again = Purges(archive.store, retention=Retention(days=DAYS), is_automatic=True)
            await again.purge_due()
            assert await archive.count(message) == 0
            assert await archive.count(purge_run, purge_run.c.finished_at.is_(None)) == 0
            assert await archive.count(purge_run) == 1
            assert await archive.is_whole()


async def test_what_was_purged_does_not_come_back_unseen(archive):
    await archive.closed(MARY)
    rows = {table: await rows_of(archive.store, table) for table in (message, segment)}
    archive.clock.advance(6 * YEAR)
    await archive.purges.purge_due()
    assert await archive.is_whole()
    for table, held in rows.items():
        put_back(archive.folder, table, held)
    (report,) = await audits_of(archive.store, archive.folder).verify(AUDITOR)
    assert "segment 1: it was purged, and is there again" in report.faults


async def test_by_hand_it_takes_a_witness_and_only_what_is_due_goes(tmp_path):
    async with open_archive(tmp_path, is_automatic=False) as archive:
        old = await archive.closed(MARY)
        archive.clock.advance(6 * YEAR)
        await archive.closed(PAUL)
        assert await archive.purges.purge_due() == 0
        shown = await archive.purges.preview(archive.anna)
        due = {one.of: (one.n_due, one.n_held) for one in shown.classes}
        assert due[RecordClass.BATCH] == (1, 0)
        await refused(archive.purges.start(archive.anna, request_id=None), "SEC-04", "two persons")
        permit = await archive.permit(DualKind.PURGE, shown.subject)
        await archive.purges.start(archive.anna, request_id=permit)
        await refused(
            archive.purges.start(archive.anna, request_id=permit), "SEC-08", "is under way"
        )
        assert await archive.purges.purge_due() > 0
        assert await archive.count(message, message.c.batch_id == old) == 0
        assert await archive.count(message) == 1
        (run,) = await archive.purges.list_purges(archive.anna)
        assert (run.by, run.request_id, run.n_batches) == ("anna", permit, 1)
        assert await archive.is_whole()


async def test_a_forged_run_purges_nothing(tmp_path):
    async with open_archive(tmp_path, is_automatic=False) as archive:
        await archive.closed(MARY)
        archive.clock.advance(6 * YEAR)
        permit = await archive.permit(DualKind.PURGE, "due")
        await archive.purges.start(archive.anna, request_id=permit)
        tamper(tmp_path, update(purge_run).values(cutoffs='{"batch":99999999999999}'))
        with pytest.raises(Exception, match="no valid MAC"):
            await archive.purges.purge_due()
        assert await archive.count(message) == 1


# ---------------------------------------------------------------- legal hold


HOLDS = {
    "card": lambda one: {"iccid": CARD},
    "number": lambda one: {"number": MARY},
    "batch": lambda one: {"batch_id": one},
    "period": lambda one: {
        "since": TestClock().now() - timedelta(days=1),
        "until": TestClock().now() + timedelta(days=1),
    },
}


@pytest.mark.parametrize("kind", HOLDS)
async def test_a_hold_keeps_what_is_due_until_two_persons_lift_it(archive, kind):
    old = await archive.closed(MARY)
    archive.clock.advance(10 * 86_400.0)
    other = await archive.closed(PAUL)
    if kind == "card":
        await archive.store.write(
            lambda tx: tx.conn.execute(
                update(segment).where(segment.c.batch_id == other).values(iccid="8986")
            )
        )
    hold = await archive.holds.set_hold(archive.anna, reason="case 12", **HOLDS[kind](old))
    archive.clock.advance(6 * YEAR)
    due = {one.of: one for one in (await archive.purges.preview(archive.anna)).classes}
    assert (due[RecordClass.BATCH].n_due, due[RecordClass.BATCH].n_held) == (1, 1)
    await archive.purges.purge_due()
    assert await archive.count(message, message.c.batch_id == old) == 1
    assert await archive.count(message, message.c.batch_id == other) == 0
    lift = archive.holds.lift
    await refused(
        lift(archive.anna, hold.hold_id, reason="over", request_id=None), "SEC-04", "two persons"
    )
    permit = await archive.permit(DualKind.HOLD_LIFT, hold.hold_id)
    after = await lift(archive.anna, hold.hold_id, reason="over", request_id=permit)
    assert not after.is_in_force
    await archive.purges.purge_due()
    assert await archive.count(message) == 0
    assert await archive.is_whole()


async def test_a_hold_on_a_card_or_a_number_keeps_texts_and_calls(archive):
    await receive(archive, MARY, "from Mary")
    await receive(archive, PAUL, "from Paul")
    await archive.holds.set_hold(archive.anna, reason="case 12", number=MARY)
    archive.clock.advance(6 * YEAR)
    await archive.purges.purge_due()
    assert [one["sender_bidx"] for one in await rows_of(archive.store, inbox_table)] == [
        archive.store.vault.blind_index(MARY)
    ]
    assert await archive.count(call) == 1


async def test_a_hold_on_a_number_of_ours_keeps_what_its_card_did(archive):
    ours = sims.NewCard(iccid=Iccid("89860000000000000009"), number="+8613900000009")
    await archive.store.write(lambda tx: sims.add(tx, [ours]))
    old = await archive.closed(MARY)
    await archive.store.write(lambda tx: tx.conn.execute(update(segment).values(iccid=ours.iccid)))
    await archive.holds.set_hold(archive.anna, reason="case 12", number=ours.number)
    archive.clock.advance(6 * YEAR)
    await archive.purges.purge_due()
    assert await archive.count(message, message.c.batch_id == old) == 1


async def test_a_hold_that_is_set_while_a_batch_is_purged_stops_it(archive):
    await archive.closed(*(f"+86139{n:08}" for n in range(1_200)))
    archive.clock.advance(6 * YEAR)
    run = await archive.store.write(archive.purges._take_up)
    await archive.store.write(lambda tx: purges.step(tx, run))
    assert await archive.count(segment) == 700
    await archive.holds.set_hold(archive.anna, reason="case 12", iccid=CARD)
    await archive.purges.purge_due()
    assert await archive.count(segment) == 700


async def test_an_altered_hold_keeps_everything(archive):
    await archive.holds.set_hold(archive.anna, reason="case 12", number=PAUL)
    await archive.closed(MARY)
    tamper(archive.folder, update(legal_hold).values(lifted_at=TestClock().now()))
    archive.clock.advance(6 * YEAR)
    (hold,) = await archive.holds.list_holds(archive.anna)
    assert (hold.is_intact, hold.is_in_force) == (False, True)
    with pytest.raises(PolicyRefused, match="is gone from the database"):
        await archive.purges.purge_due()
    tamper(archive.folder, update(legal_hold).values(lifted_at=None, until=TestClock().now()))
    await archive.purges.purge_due()
    assert await archive.count(message) == 1


async def test_a_hold_that_was_deleted_is_missed_and_nothing_is_purged(archive):
    hold = await archive.holds.set_hold(archive.anna, reason="case 12", number=MARY)
    held = await rows_of(archive.store, legal_hold)
    await archive.closed(MARY)
    archive.clock.advance(6 * YEAR)
    tamper(archive.folder, delete(legal_hold))
    await refused(archive.purges.purge_due(), "SEC-12", hold.hold_id)
    subject = (await archive.erasures.preview(archive.anna, MARY)).subject
    permit = await archive.permit(DualKind.ERASURE, subject)
    await refused(
        archive.erasures.erase(archive.anna, MARY, reason="r", request_id=permit),
        "SEC-12",
        "is gone",
    )
    assert faults(archive.folder)[0].startswith(f"legal_hold {hold.hold_id}: the row is missing")
    put_back(archive.folder, legal_hold, held)
    assert faults(archive.folder) == []


async def test_a_lifted_hold_does_not_come_back_and_a_set_one_is_not_put_back(archive):
    hold = await archive.holds.set_hold(archive.anna, reason="case 12", number=MARY)
    yesterday = await rows_of(archive.store, legal_hold)
    permit = await archive.permit(DualKind.HOLD_LIFT, hold.hold_id)
    await archive.holds.lift(archive.anna, hold.hold_id, reason="over", request_id=permit)
    assert faults(archive.folder) == []
    put_back(archive.folder, legal_hold, yesterday)
    assert "was put back or changed" in faults(archive.folder)[0]


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"iccid": CARD, "number": MARY},
        {"since": TestClock().now()},
        {"since": TestClock().now(), "until": TestClock().now() - timedelta(days=1)},
        {"number": "12"},
    ],
)
async def test_a_hold_names_exactly_one_thing(archive, wanted):
    with pytest.raises(InvalidRequest):
        await archive.holds.set_hold(archive.anna, reason="case 12", **wanted)


async def test_a_hold_on_what_is_not_there_is_refused(archive):
    for wanted in ({"iccid": "898600000000000000ff"}, {"batch_id": "x"}):
        with pytest.raises(NotFound):
            await archive.holds.set_hold(archive.anna, reason="case 12", **wanted)


async def test_records_are_kept_by_persons_with_the_scope_only(archive):
    auditor = Principal(
        account_id=archive.anna.account_id, name="a", department=None,
        scopes=frozenset({Scope.AUDIT_READ}), source="test", is_person=True,
    )  # fmt: skip
    assert await archive.holds.list_holds(auditor) == []
    with pytest.raises(NotPermitted):
        await archive.holds.set_hold(auditor, reason="case 12", iccid=CARD)
    with pytest.raises(NotPermitted):
        await archive.erasures.preview(auditor, MARY)


# ---------------------------------------------------------------- erasure


async def erase(archive: Archive, number: str) -> int:
    subject = (await archive.erasures.preview(archive.anna, number)).subject
    permit = await archive.permit(DualKind.ERASURE, subject)
    done = await archive.erasures.erase(
        archive.anna, number, reason="her letter", request_id=permit
    )
    assert done.n_erased is not None
    return done.n_erased


@pytest.mark.sqlite_only  # looks for them among the octets of its file
async def test_an_erased_person_is_a_keyed_hash_and_everything_still_holds(archive):
    old = await archive.closed(MARY, PAUL)
    await receive(archive, MARY, "my name is Mary")
    await archive.store.write(lambda tx: optouts.add(tx, MARY, source="api", by="anna"))
    before = [one["line_enc"] for one in await rows_of(archive.store, message)]
    before += [one["body_enc"] for one in await rows_of(archive.store, inbox_table)]
    before += [one["number_enc"] for one in await rows_of(archive.store, opt_out)]
    assert await erase(archive, MARY) == 4
    raw = archive.raw()
    assert [one in raw for one in before] == [False, True, False, False]
    vault = archive.store.vault
    bidx = vault.blind_index(MARY)
    mary, paul = await archive.store.read(
        lambda conn: messages.find_messages(
            conn, vault, messages.Query(batch_id=old), after=0, limit=9
        )
    )
    assert (mary.line, mary.is_erased) == (None, True)
    assert paul.line is not None
    assert paul.line.to == PAUL
    (text,) = await archive.store.read(
        lambda conn: inbox.find(conn, vault, inbox.Query(), before=None, limit=9)
    )
    assert (text.sender, text.text, text.is_intact, text.is_erased) == (None, None, True, True)
    (row,) = await rows_of(archive.store, call)
    assert (row["number_enc"], row["number_bidx"]) == (None, bidx)
    assert await archive.count(erasure, erasure.c.number_bidx == bidx) == 1
    assert await archive.is_whole()


async def test_an_erased_opt_out_still_keeps_messages_away(archive):
    await archive.store.write(lambda tx: optouts.add(tx, MARY, source="api", by="anna"))
    await erase(archive, MARY)
    vault = archive.store.vault
    found = await archive.store.read(lambda conn: optouts.find(conn, vault, MARY))
    assert found is not None
    assert found.number is None
    with pytest.raises(AssertionError, match="opted in"):
        await archive.closed(MARY)
    assert await archive.is_whole()


async def test_an_erased_line_keeps_its_leaf_and_is_never_sent(archive):
    await archive.closed(MARY)
    chunks = await rows_of(archive.store, batch_chunk)
    await erase(archive, MARY)
    assert await rows_of(archive.store, batch_chunk) == chunks
    (row,) = await rows_of(archive.store, message)
    vault = archive.store.vault
    lines = await archive.store.read(lambda conn: read_lines(conn, vault, [row["message_id"]]))
    (line,) = lines.values()
    assert leaf(line.line, salt=line.salt, line_no=1) not in line.chunk_leaves


async def test_what_a_hold_keeps_or_a_batch_needs_is_not_erased(archive):
    await archive.closed(MARY, state=BatchState.RUNNING)
    await archive.closed(PAUL)
    await archive.holds.set_hold(archive.anna, reason="case 12", iccid=CARD)
    for number in (MARY, PAUL):
        await refused(erase(archive, number), "SEC-12", "a legal hold keeps")
    (hold,) = await archive.holds.list_holds(archive.anna)
    permit = await archive.permit(DualKind.HOLD_LIFT, hold.hold_id)
    await archive.holds.lift(archive.anna, hold.hold_id, reason="over", request_id=permit)
    await refused(erase(archive, MARY), "SEC-08", "is not over")
    assert await erase(archive, PAUL) == 1


async def test_a_card_of_ours_is_not_erased(archive):
    ours = sims.NewCard(iccid=Iccid("89860000000000000009"), number="+8613900000009")
    await archive.store.write(lambda tx: sims.add(tx, [ours]))
    await refused(erase(archive, ours.number), "SEC-08", "a card of ours")


async def test_nobody_erases_alone_or_another_number_than_was_confirmed(archive):
    await archive.closed(MARY, PAUL)
    act = archive.erasures.erase
    await refused(act(archive.anna, MARY, reason="r", request_id=None), "SEC-04", "two persons")
    subject = (await archive.erasures.preview(archive.anna, PAUL)).subject
    permit = await archive.permit(DualKind.ERASURE, subject)
    await refused(
        act(archive.anna, MARY, reason="r", request_id=permit), "SEC-04", "no request for it"
    )
    assert await archive.count(erasure) == 0
