"""Who is not written to: opted out before the approval or after it, or a card of our own."""

from contextlib import asynccontextmanager

import pytest
from sqlalchemy import select

from modemctl.config import ContentSettings, Settings
from modemctl.errors import InvalidRequest
from modemctl.model import Iccid
from modemctl.policy.numbers import NumberRules
from modemctl.service.batches import Recipient
from modemctl.service.optouts import OptOuts
from modemctl.store import optouts, sims
from modemctl.store.tables import event, segment
from tests.support.people import open_office
from tests.support.stores import open_store

OWN = "+8613800000002"


@asynccontextmanager
async def office_in(folder, **content):
    async with open_store(folder) as store:
        office = await open_office(store, Settings(content=ContentSettings(**content)))
        card = sims.NewCard(iccid=Iccid("89860000000000000002"), number=OWN)
        await store.write(lambda tx: sims.add(tx, [card]))
        yield office


async def segments(office):
    columns = (segment.c.state, segment.c.cause, segment.c.note)
    rows = await office.store.read(
        lambda conn: conn.execute(select(*columns).order_by(segment.c.segment_id)).all()
    )
    return [tuple(row) for row in rows]


REFUSED = ("refused", "policy:SIM-08", "the recipient opted out")
WAITS = ("queued", None, None)


async def test_who_opts_out_while_a_batch_waits_is_refused_when_it_is_approved(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.submit(4, category="promotion")  # line 2 is a card of ours
        await office.store.write(
            lambda tx: (
                optouts.add_from_sms(tx, "+8613800000003", "TD")
                and optouts.add(tx, "+8613899999999", source="api", by="x")
            )
        )
        assert await segments(office) == [WAITS] * 3
        await office.approve(shown)
        assert await segments(office) == [WAITS, REFUSED, WAITS]
        told = await office.store.read(
            lambda conn: conn.scalars(select(event.c.data).where(event.c.kind == "message")).all()
        )
    assert len(told) == 1
    assert '"failed"' in told[0]


async def test_who_opts_in_again_gets_messages_again(tmp_path):
    async with office_in(tmp_path) as office:
        book = OptOuts(office.store, NumberRules())
        await book.add(office.who["operator"], "13800000003")
        first = await office.submit(4)
        await book.remove(office.who["operator"], "13800000003", "she asked for it in writing")
        second = await office.submit(4)
    assert (first.batch.n_removed, second.batch.n_removed) == (2, 1)


async def test_our_own_cards_are_taken_out_of_lists(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.submit(4)
        removed = await office.batches.removed(office.who["checker"], shown.batch.batch_id)
    [line] = removed.items
    assert (line.line_no, line.reason, line.policy) == (2, "one of our own cards", "SIM-08")


@pytest.mark.parametrize(("category", "n_removed"), [("other", 0), ("notice", 1)])
async def test_tests_may_write_to_own_cards_that_are_allowed(tmp_path, category, n_removed):
    async with office_in(tmp_path, test_numbers=(OWN,)) as office:
        shown = await office.submit(4, category=category)
    assert shown.batch.n_removed == n_removed


async def test_a_list_of_own_cards_alone_is_no_batch(tmp_path):
    async with office_in(tmp_path) as office:
        lines = [Recipient(line_no=1, to="13800000002", variables={})]
        why = "no recipient is left; 1 × one of our own cards"
        with pytest.raises(InvalidRequest, match=why):
            await office.batches.submit(office.who["system"], office.request(), lines)
