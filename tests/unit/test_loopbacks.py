"""Self-tests' batches in the store: only under a standing approval, only to the sending card."""

from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import delete, select, text, update

from modemctl.config import Settings
from modemctl.daemon import sending_rules
from modemctl.errors import InvalidRequest, PolicyRefused, TamperedError
from modemctl.fleet.dispatcher import Dispatcher, EncodingRules
from modemctl.lifecycle import BatchState, CardState
from modemctl.service.messages import Messages
from modemctl.service.principal import Scope
from modemctl.service.submission import SubmissionRules
from modemctl.sms import Submit, decode
from modemctl.store import batch_turns, evidence, leases, loopbacks, messages, submits
from modemctl.store import batches as rows
from modemctl.store.evidence import read_lines
from modemctl.store.leases import Leased, LeaseRequest
from modemctl.store.replay import replay
from modemctl.store.seals import broken_seals
from modemctl.store.segments import Release, release
from modemctl.store.submits import Cleared, SubmitRequest
from modemctl.store.tables import audit_entry, authorisation, batch, segment
from modemctl.telemetry import Telemetry
from tests.support.approved import amend_cards
from tests.support.loops import (
    CARDS,
    NUMBERS,
    TEXT,
    add_numbered,
    as_operator,
    bay_of,
    propose,
    seat,
    standing,
)
from tests.support.people import open_office
from tests.support.stores import open_store

DAY = 86_400
SETTINGS = Settings.model_validate({"limits": {"minimum_gap": 0}})


@asynccontextmanager
async def office_in(folder):
    async with open_store(folder) as store:
        office = await open_office(store)
        await store.write(add_numbered)
        await store.write(seat)
        await store.write(lambda tx: add_numbered(tx, CARDS[2:], department="loans"))
        yield office


def approvals():
    return SubmissionRules.of(SETTINGS).approvals


async def run(office, shown, *, by="modemctl"):
    def act(tx):
        found = rows.find_batch(tx.conn, shown.batch.batch_id)
        return loopbacks.run(tx, found, by=by, rules=approvals())

    return await office.store.write(act)


class Crew:
    """Cards that ask for work; what they may send goes through the dispatcher's own proof."""

    def __init__(self, office):
        self.store, self.rules = office.store, replace(sending_rules(SETTINGS), policy=None)
        encoding = EncodingRules(validity=timedelta(hours=24), wants_reports=True)
        self.dispatcher = Dispatcher(self.store, self.rules, encoding, Telemetry(version="test"))

    async def lease(self, *cards):
        return await self.store.write(lambda tx: leases.lease(tx, self.requests(cards)))

    def requests(self, cards):
        return [LeaseRequest(bay=bay_of(card), iccid=card, rules=self.rules) for card in cards]

    async def submit(self, leased, *, iccid=None):
        """What leaves of a lease: number and text; else why not."""
        (found,) = await self.store.write(lambda tx: [self.submit_in(tx, leased, iccid=iccid)])
        return found

    def submit_in(self, tx, leased, *, iccid=None):
        found = self.rules.proofs.verified(tx.conn, tx.vault, [leased.batch_id], now=tx.now)
        proved = found[leased.batch_id]
        if isinstance(proved, PolicyRefused):
            return proved
        lines = read_lines(tx.conn, tx.vault, [leased.message_id])
        job = self.dispatcher._encode(leased, proved, lines[leased.message_id])
        (one,) = job.segments
        request = SubmitRequest(
            segment_id=one.segment_id, token=leased.token, bay=leased.bay,
            iccid=iccid or leased.iccid, batch_id=leased.batch_id, digest=job.digest,
            recipient_bidx=job.recipient_bidx, tpdu=one.tpdu, rules=self.rules,
        )  # fmt: skip
        (cleared,) = submits.begin_submit(tx, [request])
        return cleared

    def send_in(self, tx, *cards):
        """All that these cards may send now."""
        left = []
        for one in leases.lease(tx, self.requests(cards)):
            if isinstance(one, Leased):
                try:
                    left.append(self.submit_in(tx, one))
                except PolicyRefused:
                    continue
        return [one for one in left if isinstance(one, Cleared)]


def sent_to(cleared):
    assert isinstance(cleared, Cleared), cleared
    message = decode(cleared.tpdu, from_network=False)
    assert isinstance(message, Submit)
    return message.recipient.text, message.user_data.text


async def faults(office):
    def read(conn):
        return [*replay(conn), *broken_seals(conn, office.store.vault)]

    return await office.store.read(read)


# ---------------------------------------------------------------- the standing approval


async def test_it_takes_numbers_of_the_departments_own_active_cards_and_no_other(tmp_path):
    async with office_in(tmp_path) as office:
        for wrong in (CARDS[2:], CARDS):
            with pytest.raises(PolicyRefused) as caught:
                await propose(office, wrong)
            assert (caught.value.policy, caught.value.field) == ("SMS-09", "recipients")
            assert "batch propose-self-test" in caught.value.cure
        lost = CardState.LOST
        await office.store.write(lambda tx: amend_cards(tx, [CARDS[1]], state=lost))
        with pytest.raises(PolicyRefused, match="1 lines are none"):
            await propose(office, CARDS[:2])
        shown = await propose(office, CARDS[:1])
        assert (shown.runs_per_week, shown.totals.n_messages) == (2, 1)
        assert shown.totals.estimate.n_cards == 1, "the department's own, not the general one's"


@pytest.mark.parametrize(
    "changes",
    [
        {"category": "notice", "operator": "operator"},
        {"runs_per_week": 0},
        {"starts_itself": True},
        {"emergency": "the branch in the east is flooded"},
    ],
)
async def test_what_is_no_standing_approval_is_not_taken_in(tmp_path, changes):
    async with office_in(tmp_path) as office:
        with pytest.raises((PolicyRefused, InvalidRequest)):
            await propose(office, **changes)


async def test_it_lasts_ninety_days_and_sends_nothing_itself(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await standing(office)
        found = shown.batch
        assert found.state is BatchState.APPROVED
        assert found.not_after - found.not_before == timedelta(days=90)
        with pytest.raises(PolicyRefused) as caught:
            await office.batches.start(office.who["general_operator"], found.batch_id)
        assert caught.value.policy == "SMS-09"
        assert "self-test --sms" in caught.value.cure
        crew = Crew(office)
        assert not any(isinstance(one, Leased) for one in await crew.lease(*CARDS))
        await office.batches.hold(as_operator(office), found.batch_id, "to look at it")
        office.store.clock.step(91 * DAY)
        await office.store.write(batch_turns.expire_due)
        shown = await office.batches.show(office.who["manager"], found.batch_id)
        assert shown.batch.state is BatchState.EXPIRED
        assert await faults(office) == []


async def test_even_one_that_runs_is_refused_where_it_is_proved(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await standing(office)
        await office.store.write(lambda tx: rows.move(tx, shown.batch.batch_id, BatchState.RUNNING))
        crew = Crew(office)

        def prove(tx):
            batch_id = shown.batch.batch_id
            return crew.rules.proofs.verified(tx.conn, tx.vault, [batch_id], now=tx.now)

        (refused,) = (await office.store.write(prove)).values()
        assert isinstance(refused, PolicyRefused)
        assert refused.policy == "SMS-09"


# ---------------------------------------------------------------- what runs under it


async def test_each_message_goes_to_the_card_that_sends_it(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await standing(office, cards=CARDS[1::-1])  # the list is not in the cards' order
        batch_id = await run(office, shown)
        crew = Crew(office)
        other, second, first = await crew.lease(CARDS[2], CARDS[1], CARDS[0])
        assert not isinstance(other, Leased)
        assert sent_to(await crew.submit(first)) == (NUMBERS[CARDS[0]], TEXT)
        assert sent_to(await crew.submit(second)) == (NUMBERS[CARDS[1]], TEXT)
        view = await office.batches.show(office.who["manager"], batch_id)
        assert (view.under, view.batch.state) == (shown.batch.batch_id, BatchState.RUNNING)
        assert [one.decision for one in view.steps] == ["approve"]
        assert view.batch.not_after - view.batch.not_before == timedelta(hours=1)
        assert await faults(office) == []


async def test_a_message_waits_for_its_own_card_and_explain_says_so(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await standing(office)
        batch_id = await run(office, shown)
        crew = Crew(office)
        (leased,) = await crew.lease(CARDS[1])
        back = Release(token=leased.token, reason="stopped", rules=crew.rules)
        await office.store.write(lambda tx: release(tx, [back]))
        (leased,) = await crew.lease(CARDS[0])
        assert leased.line_no == 1, "given back, it is still for its own card alone"
        (nothing,) = await crew.lease(CARDS[0])
        assert not isinstance(nothing, Leased)
        who = office.who["manager"]
        reader = replace(who, scopes=who.scopes | {Scope.BATCHES_READ})
        service = Messages(office.store, SubmissionRules.of(SETTINGS))
        query = messages.Query(batch_id=batch_id)
        found = await office.store.read(
            lambda conn: messages.find_messages(conn, office.store.vault, query, after=0, limit=9)
        )
        told = await service.explain(reader, found[1].message_id)
        whys = {one.iccid: one.why_not for one in told.cards}
        assert "goes to another card's own number" in whys[CARDS[0]]
        assert "own number" not in (whys[CARDS[1]] or "")
        told = await service.explain(reader, found[0].message_id)
        assert any("goes to its own number" in one.what for one in told.moments)
        assert any("signed by manager" in one.what for one in told.moments)


async def test_another_card_than_its_own_gets_no_clearance(tmp_path):
    async with office_in(tmp_path) as office:
        await run(office, await standing(office))
        crew = Crew(office)
        (leased,) = await crew.lease(CARDS[0])
        await office.store.write(
            lambda tx: tx.conn.execute(
                update(segment).where(segment.c.lease_token == leased.token).values(iccid=CARDS[1])
            )
        )
        refused = await crew.submit(leased, iccid=CARDS[1])
        assert (refused.policy, refused.reason) == (
            "SMS-09", "a self-test's message goes to its own card",
        )  # fmt: skip


async def test_a_run_that_is_over_expires_what_did_not_leave(tmp_path):
    async with office_in(tmp_path) as office:
        batch_id = await run(office, await standing(office))
        office.store.clock.step(3_601)
        crew = Crew(office)
        (nothing,) = await crew.lease(CARDS[0])
        assert not isinstance(nothing, Leased)
        await office.store.write(batch_turns.expire_due)
        await office.store.write(batch_turns.settle_closed)
        found = await office.store.read(lambda conn: rows.find_batch(conn, batch_id))
        assert found.state is BatchState.EXPIRED
        assert await faults(office) == []


# ---------------------------------------------------------------- what ends it


async def withdraw(office, shown):
    batch_id = shown.batch.batch_id
    await office.batches.withdraw(office.who["system"], batch_id, "no more tests")


async def hold(office, shown):
    await office.batches.hold(as_operator(office), shown.batch.batch_id, "to look at it")


async def expire(office, shown):
    await office.store.write(lambda tx: rows.move(tx, shown.batch.batch_id, BatchState.EXPIRED))


async def distrust(office, _shown):
    await office.store.write(
        lambda tx: tx.conn.execute(
            text("DELETE FROM approval")  # as good as a key that counts no more
        )
    )


async def end_authority(office, _shown):
    await office.store.write(
        lambda tx: tx.conn.execute(delete(authorisation).where(authorisation.c.kind == "manager"))
    )


@pytest.mark.parametrize("end", [withdraw, hold, expire, distrust, end_authority])
async def test_what_has_not_left_stays_when_the_standing_approval_ends(tmp_path, end):
    async with office_in(tmp_path) as office:
        shown = await standing(office)
        await run(office, shown)
        crew = Crew(office)
        first, second = await crew.lease(*CARDS[:2])
        sent_to(await crew.submit(first))
        await end(office, shown)
        assert isinstance(await crew.submit(second), PolicyRefused)
        with pytest.raises(PolicyRefused):
            await run(office, shown)


@pytest.mark.parametrize("end", [withdraw, hold])
async def test_an_old_row_put_back_does_not_bring_a_standing_approval_back(tmp_path, end):
    async with office_in(tmp_path) as office:
        shown = await standing(office)
        columns = (batch.c.state, batch.c.state_at, batch.c.state_mac)
        own = batch.c.batch_id == shown.batch.batch_id
        await run(office, shown)
        (leased, _) = await (crew := Crew(office)).lease(*CARDS[:2])
        before = await office.store.read(
            lambda conn: conn.execute(select(*columns).where(own)).mappings().one()
        )
        await end(office, shown)
        await office.store.write(
            lambda tx: tx.conn.execute(update(batch).where(own).values(before))
        )
        with pytest.raises(PolicyRefused, match="as the log says"):
            await run(office, shown)
        assert isinstance(await crew.submit(leased), PolicyRefused), "nor what ran before"
        assert any(shown.batch.batch_id in one for one in await faults(office))


@pytest.mark.parametrize("end", [withdraw, hold])
async def test_one_that_was_put_back_and_then_held_is_not_resumed(tmp_path, end):
    """Nobody's word makes an altered approval a signed one again: a new one is signed (SMS-01)."""
    async with office_in(tmp_path) as office:
        shown = await standing(office)
        columns = (batch.c.state, batch.c.state_at, batch.c.state_mac)
        own = batch.c.batch_id == shown.batch.batch_id
        before = await office.store.read(
            lambda conn: conn.execute(select(*columns).where(own)).mappings().one()
        )
        await end(office, shown)
        await office.store.write(
            lambda tx: tx.conn.execute(update(batch).where(own).values(before))
        )
        await hold(office, shown)
        with pytest.raises(PolicyRefused, match="put back") as caught:
            await office.batches.resume(as_operator(office), shown.batch.batch_id)
        assert caught.value.policy == "SMS-01"
        assert "propose-self-test" in caught.value.cure
        again = await standing(office)
        await run(office, again)


@pytest.mark.parametrize("end", [withdraw, hold])
async def test_an_old_row_put_back_lets_nothing_leave_that_was_proved_before_its_end(tmp_path, end):
    """What was proved once is remembered by its rows: the same rows are there again."""
    async with office_in(tmp_path) as office:
        shown = await standing(office)
        columns = (batch.c.state, batch.c.state_at, batch.c.state_mac)
        own = batch.c.batch_id == shown.batch.batch_id
        await run(office, shown)
        first, second = await (crew := Crew(office)).lease(*CARDS[:2])
        sent_to(await crew.submit(first))
        before = await office.store.read(
            lambda conn: conn.execute(select(*columns).where(own)).mappings().one()
        )
        await end(office, shown)
        await office.store.write(
            lambda tx: tx.conn.execute(update(batch).where(own).values(before))
        )
        assert isinstance(await crew.submit(second), PolicyRefused)


@pytest.mark.sqlite_only  # SQLite's own plan
async def test_how_a_standing_approval_ended_is_found_by_its_index(tmp_path):
    def plan(conn):
        statement, values = evidence._ENDS.spelled(conn.dialect, {"standing": "x"})
        return conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", tuple(values)).all()

    async with open_store(tmp_path) as store:
        assert "ix_audit_end (subject=?)" in str(await store.read(plan))


async def test_nothing_runs_without_its_operators_right(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await standing(office)
        await office.store.write(
            lambda tx: tx.conn.execute(
                delete(authorisation).where(authorisation.c.kind == "operator")
            )
        )
        with pytest.raises(PolicyRefused) as caught:
            await run(office, shown)
        assert caught.value.policy == "SMS-06"
        assert await office.store.read(
            lambda conn: conn.scalars(select(batch.c.under).where(batch.c.under.is_not(None))).all()
        ) == []  # fmt: skip


async def test_a_held_one_is_in_force_again_when_its_operator_resumes_it(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await standing(office)
        await hold(office, shown)
        with pytest.raises(PolicyRefused):
            await run(office, shown)
        with pytest.raises(PolicyRefused, match="no operator of department"):
            await office.batches.resume(as_operator(office, "operator"), shown.batch.batch_id)
        again = await office.batches.resume(as_operator(office), shown.batch.batch_id)
        assert again.batch.state is BatchState.APPROVED, "it never runs"
        await run(office, shown)
        assert await faults(office) == []
        await hold(office, shown)
        await office.store.write(
            lambda tx: tx.conn.execute(text("DELETE FROM approval"))  # a key that counts no more
        )
        with pytest.raises(PolicyRefused):
            await office.batches.resume(as_operator(office), shown.batch.batch_id)


# ---------------------------------------------------------------- how often


async def test_no_more_runs_a_week_than_were_signed(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await standing(office)
        await run(office, shown)
        office.store.clock.advance(3 * DAY)
        await run(office, shown)
        office.store.clock.advance(3 * DAY)
        with pytest.raises(PolicyRefused, match="2 self-tests ran") as caught:
            await run(office, shown)
        assert caught.value.policy == "SMS-09"
        office.store.clock.advance(DAY + 1)
        await run(office, shown)
        with pytest.raises(PolicyRefused):
            await run(office, shown)
        assert await faults(office) == []


async def test_who_deletes_runs_gets_no_more_of_them_and_is_named(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await standing(office)
        for _ in range(2):
            batch_id = await run(office, shown)
        await office.store.write(
            lambda tx: tx.conn.execute(
                text("UPDATE batch SET under = NULL, created_at = 0 WHERE under IS NOT NULL")
            )
        )
        with pytest.raises(PolicyRefused, match="2 self-tests ran"):
            await run(office, shown)
        assert any(batch_id in one for one in await faults(office))


async def test_who_deletes_entries_gets_no_more_runs_either(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await standing(office)
        for _ in range(2):
            batch_id = await run(office, shown)
        await office.store.write(
            lambda tx: tx.conn.execute(
                delete(audit_entry).where(audit_entry.c.action == "batch.run")
            )
        )
        with pytest.raises(PolicyRefused, match="2 self-tests ran"):
            await run(office, shown)
        assert f"batch {batch_id}: no entry of the log made it" in await faults(office)


async def test_an_entry_that_cannot_be_read_stops_its_own_approval_alone(tmp_path):
    async with office_in(tmp_path) as office:
        first, second = await standing(office), await standing(office)
        batch_id = await run(office, first)
        entry = update(audit_entry).where(audit_entry.c.subject == batch_id)
        await office.store.write(lambda tx: tx.conn.execute(entry.values(details="[]")))
        listed = await office.store.write(lambda tx: loopbacks.allowed(tx, department=None))
        assert len(listed.known) == 2
        with pytest.raises(TamperedError):
            await run(office, first)
        await run(office, second)
        assert f"batch {batch_id}: its entry of the log cannot be read" in await faults(office)
        row = update(batch).where(batch.c.batch_id == batch_id)
        await office.store.write(
            lambda tx: tx.conn.execute(row.values(under=second.batch.batch_id))
        )
        for shown in (first, second):
            with pytest.raises(TamperedError):  # whose it was, no sealed row tells any more
                await run(office, shown)


async def test_runs_beyond_what_was_signed_are_named(tmp_path, monkeypatch):
    async with office_in(tmp_path) as office:
        shown = await standing(office)
        monkeypatch.setattr(loopbacks, "_require_room", lambda *_: None)
        for _ in range(3):
            await run(office, shown)
        (told,) = await faults(office)
        assert told.startswith(f"batch {shown.batch.batch_id}: more self-tests ran")


# ---------------------------------------------------------------- with full write access, no key

ATTACKS = {
    "its text": "UPDATE batch SET template = 'Buy' WHERE under IS NOT NULL",
    "its window": "UPDATE batch SET not_after = not_after + 60000 WHERE under IS NOT NULL",
    "its header": "UPDATE batch SET header = (SELECT o.header FROM batch o WHERE o.under IS NULL)"
    " WHERE under IS NOT NULL",
    "what it goes under": "UPDATE batch SET under = batch_id WHERE under IS NOT NULL",
    "that it goes under any": "UPDATE batch SET under = NULL WHERE under IS NOT NULL",
    "its seal": "UPDATE batch SET under_mac = x'00' WHERE under IS NOT NULL",
    "no seal": "UPDATE batch SET under = NULL, under_mac = NULL WHERE under IS NOT NULL",
    "a seal on others": "UPDATE batch SET under_mac = x'00' WHERE under IS NULL",
    "the standing one's state": "UPDATE batch SET state = 'running' WHERE under IS NULL",
    "the standing one's signature": "UPDATE approval SET jws = replace(jws, 'a', 'b')",
    "the standing one's row": "UPDATE batch SET department = 'loans' WHERE under IS NULL",
    "the standing one's word": "DELETE FROM confirmation",
    "a line": "UPDATE message SET line_enc = x'00' WHERE batch_id IN "
    "(SELECT batch_id FROM batch WHERE under IS NOT NULL)",
    "its salt": "UPDATE batch SET salt_nonce = x'00' WHERE under IS NOT NULL",
    "a chunk": "UPDATE batch_chunk SET leaves = x'00'",
    "a card's number": "UPDATE sim SET number_bidx = x'00'",
    "a recipient": "UPDATE message SET recipient_bidx = x'00'",
}


async def test_nothing_of_an_altered_run_leaves(tmp_path):
    async with office_in(tmp_path) as office:
        await run(office, await standing(office))
        assert await faults(office) == []

        async def left_of(statement):
            left = []

            def act(tx):
                tx.conn.execute(text(statement))
                left.extend(Crew(office).send_in(tx, *CARDS[:2]))
                raise InvalidRequest("all is undone", field="attack")

            with pytest.raises(InvalidRequest, match="undone"):
                await office.store.write(act)
            return len(left)

        assert await left_of("UPDATE batch SET reason = reason") == 2
        assert {name: await left_of(one) for name, one in ATTACKS.items()} == dict.fromkeys(
            ATTACKS, 0
        )
