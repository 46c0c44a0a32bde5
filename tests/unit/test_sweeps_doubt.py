"""`on_doubt = "close"`: a doubt ends by itself after the last report that could settle it."""

import json
from datetime import timedelta

from sqlalchemy import select

from modemctl.config import OnDoubt, Settings
from modemctl.daemon import sending_rules
from modemctl.lifecycle import SegmentState
from modemctl.store import sweeps
from modemctl.store.outcomes import Doubtful, Took
from modemctl.store.tables import audit_entry, event, segment_journal
from tests.support.benches import CARDS, Bench, bench

DAY = timedelta(hours=24) + timedelta(hours=1)  # validity, and an hour for the last report


async def one_doubt(b: Bench):
    batch_id = await b.batch(2)
    one, other = await b.lease(*CARDS[:2])
    await b.begin(one)
    await b.begin(other)
    await b.end(one, Doubtful(reason="no answer"))
    await b.end(other, Took(mr=1))
    return batch_id, one.segments[0][0]


async def sweep(b: Bench) -> sweeps.Swept:
    return await b.store.write(lambda tx: sweeps.sweep(tx, b.rules))


async def test_a_doubt_is_closed_after_the_last_possible_report(tmp_path):
    async with bench(tmp_path, doubt_closes_after=DAY) as b:
        batch_id, segment_id = await one_doubt(b)
        b.clock.advance(DAY.total_seconds() - 1)
        assert (await sweep(b)).n_doubts == 0
        b.clock.advance(1)
        assert (await sweep(b)).n_doubts == 1
        assert await b.states(batch_id) == {SegmentState.ABANDONED: 1, SegmentState.SENT: 1}
        row = await b.row(segment_id)
        assert row.final_at == b.clock.at
        assert "no report came" in row.note
        assert await b.used(CARDS[0]) == await b.used(CARDS[1]), "what may have left stays charged"
        assert (await sweep(b)).n_doubts == 0


async def test_the_rule_is_named_as_who_closed_it(tmp_path):
    async with bench(tmp_path, doubt_closes_after=DAY) as b:
        batch_id, segment_id = await one_doubt(b)
        b.clock.advance(DAY.total_seconds())
        await sweep(b)
        change = await b.store.read(
            lambda conn: conn.execute(
                select(segment_journal.c.before, segment_journal.c.actor).where(
                    segment_journal.c.after == SegmentState.ABANDONED
                )
            ).one()
        )
        assert tuple(change) == ("in_doubt", "rule:on_doubt")
        entry = await b.store.read(
            lambda conn: conn.execute(
                select(audit_entry).where(audit_entry.c.action == "doubt.close")
            ).one()
        )
        assert (entry.actor, entry.subject) == ("rule:on_doubt", batch_id)
        assert json.loads(entry.details)["segments"] == [segment_id]
        told = await b.store.read(
            lambda conn: conn.scalars(select(event.c.data).where(event.c.kind == "message")).all()
        )
        assert '"failed"' in told[-1]


async def test_without_the_rule_a_doubt_waits_for_a_person(tmp_path):
    async with bench(tmp_path) as b:
        batch_id, _ = await one_doubt(b)
        b.clock.advance(90 * 86_400)
        assert (await sweep(b)).n_doubts == 0
        assert SegmentState.IN_DOUBT in await b.states(batch_id)


def test_the_settings_say_when():
    facts = {"site": {"id": "s", "node": "n1"}}
    for choice, expected in [("ask", None), ("hold", None), ("close", timedelta(hours=49))]:
        sms = {"on_doubt": OnDoubt(choice), "validity_hours": 48}
        rules = sending_rules(Settings.model_validate({**facts, "sms": sms}))
        assert rules.doubt_closes_after == expected
        assert rules.on_doubt_hold is (choice == "hold")
