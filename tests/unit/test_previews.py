"""What a batch comes to is reckoned before anybody approves it, and approvers sign it."""

from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from sqlalchemy import update

from modemctl.config import LimitsSettings, Settings, TariffSettings
from modemctl.config.limits import RecipientCaps
from modemctl.errors import PolicyRefused
from modemctl.lifecycle import BatchState
from modemctl.model import BatchId, Iccid
from modemctl.policy.digest import decode_header
from modemctl.policy.quotas import Bearer, message_load
from modemctl.service.submission import SubmissionRules
from modemctl.store.pools import PoolQuery, read_pool
from modemctl.store.quotas import Book
from modemctl.store.tables import batch, segment, sim
from tests.support.approved import add_cards
from tests.support.people import GENERAL, RETAIL, open_office
from tests.support.stores import open_store

TARIFF = TariffSettings(segment="0.05", carriers={"CMCC": "0.045", "Unicom": "0.06"})
CARDS = [f"8986000000000000000{i}" for i in range(4)]


@asynccontextmanager
async def office_in(folder, **settings):
    async with open_store(folder) as store:
        office = await open_office(store, Settings(tariff=TARIFF, **settings))
        await store.write(lambda tx: add_cards(tx, CARDS, department=RETAIL))
        yield office


async def signed(office, shown):
    sheet = await office.batches.sheet(office.who["drafter"], shown.batch.batch_id)
    return decode_header(sheet.header.encode()).totals.estimate


async def set_cards(office, column, *values):
    def act(tx):
        for iccid, value in zip(CARDS, values, strict=True):
            tx.conn.execute(update(sim).where(sim.c.iccid == iccid).values(**{column: value}))

    await office.store.write(act)


async def test_cards_cost_finish_and_limits_stand_in_what_is_signed(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.submit(60)
        found = await signed(office, shown)
        now = office.store.clock.now()
    assert shown.totals.estimate == found
    assert (found.n_cards, found.cost, found.currency) == (4, "3.00", "CNY")
    assert found.limits == ("limits.segments_per_minute",)
    assert (found.finish - now).total_seconds() == pytest.approx(80, abs=30)
    assert shown.finish_estimate is not None


async def test_the_dearest_card_that_could_send_it_sets_the_cost(tmp_path):
    async with office_in(tmp_path) as office:
        await set_cards(office, "carrier", "CMCC", "CMCC", "Unicom", None)
        mixed = await signed(office, await office.submit(10))
        await set_cards(office, "card_group", "north", "north", None, None)
        north = await signed(office, await office.submit(10, card_group="north"))
    assert (mixed.n_cards, mixed.cost) == (4, "0.60")
    assert (north.n_cards, north.cost) == (2, "0.450")


async def test_what_does_not_fit_into_its_window_says_so(tmp_path):
    async with office_in(tmp_path) as office:
        soon = office.store.clock.now() + timedelta(seconds=30)
        late = await signed(office, await office.submit(500, not_after=soon))
        nobody = await signed(office, await office.submit(3, card_group="nobody"))
    assert late.finish is None
    assert (nobody.n_cards, nobody.finish) == (0, None)


async def test_a_changed_estimate_is_no_longer_what_was_signed(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.approve(await office.submit(10))

        def cheapen(tx):
            header = shown.batch.header.replace(b'"cost":"0.50"', b'"cost":"0.05"')
            assert header != shown.batch.header
            own = batch.c.batch_id == shown.batch.batch_id
            tx.conn.execute(update(batch).where(own).values(header=header))

        await office.store.write(cheapen)
        with pytest.raises(PolicyRefused, match="changed"):
            await office.start(shown)


async def test_the_pace_is_measured_once_enough_was_sent(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.submit(30)
        rules = SubmissionRules.of(Settings(tariff=TARIFF))
        query = PoolQuery(batch_id="x", department=RETAIL, serving=RETAIL, card_group=None)

        async def measured():
            return await office.store.read(
                lambda conn: read_pool(office.store.view(conn), rules.quota, query).seconds
            )

        assert await measured() is None

        def send(tx):
            tx.conn.execute(update(batch).values(state=BatchState.DONE))
            tx.conn.execute(
                update(segment).values(
                    state="sent", submitting_at=tx.now, sent_at=tx.now + timedelta(seconds=7)
                )
            )

        await office.store.write(send)
        assert await measured() == 7
        slow = await signed(office, await office.submit(30))
        assert shown.totals.estimate.finish is not None
        assert slow.finish > shown.totals.estimate.finish


async def test_numbers_without_room_until_the_window_ends_are_taken_out(tmp_path):
    limits = LimitsSettings(recipient=RecipientCaps(messages_per_day=1, messages_per_month=9))
    async with office_in(tmp_path, limits=limits) as office:
        rules = SubmissionRules.of(Settings(limits=limits)).quota

        def charge(tx):
            bidx = tx.vault.blind_index("+8613800000002")
            bearer = Bearer(
                iccid=Iccid(CARDS[0]), department=RETAIL, batch_id=BatchId("b"), recipient=bidx
            )
            book = Book(tx, rules)
            scopes = rules.scopes(bearer)
            book.read(scopes, [bidx])
            book.charge(scopes, message_load(1, is_first=True, recipient=bidx))
            book.save()

        await office.store.write(charge)
        now = office.store.clock.now()
        today = await office.submit(3, not_after=now + timedelta(hours=2))
        week = await office.submit(3, not_after=now + timedelta(days=3))
        removed = await office.batches.removed(office.who["drafter"], today.batch.batch_id)
    (one,) = removed.items
    assert (one.line_no, one.policy) == (2, "SIM-08")
    assert "as many messages as its limits allow" in one.reason
    assert today.totals.n_messages == 2
    assert week.totals.n_messages == 3, "tomorrow there is room"


async def test_the_general_departments_cards_carry_promotions(tmp_path):
    async with office_in(tmp_path) as office:
        promotion = await signed(office, await office.submit(3, "promotion"))
        await office.store.write(
            lambda tx: add_cards(tx, ["89860000000000000099"], department=GENERAL)
        )
        later = await signed(office, await office.submit(3, "promotion"))
    assert (promotion.n_cards, later.n_cards) == (0, 1)
