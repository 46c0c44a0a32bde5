"""The same text goes to so many and no more within a time, however it is written (SMS-08)."""

from contextlib import asynccontextmanager

import pytest

from modemctl.config import ContentSettings, Settings
from modemctl.errors import NotFound, PolicyRefused
from modemctl.store.replay import replay
from tests.support.people import open_office
from tests.support.stores import open_store

SPARING = Settings(content=ContentSettings(same_text_recipients=10, same_text_hours=2))


@asynccontextmanager
async def office_in(folder, settings=SPARING):
    async with open_store(folder) as store:
        yield await open_office(store, settings)


async def refusal(office, n, **changes):
    with pytest.raises(PolicyRefused) as caught:
        await office.submit(n, **changes)
    assert caught.value.policy == "SMS-08"
    return caught.value


async def test_the_same_text_is_counted_over_batches_and_ways_of_writing(tmp_path):
    async with office_in(tmp_path) as office:
        await office.submit(6, text="账单已寄出,请查收")
        error = await refusal(office, 5, text="賬單 已寄出,請查收")
        assert "11 recipients within 2:00:00" in error.rule
        assert "content.same_text_recipients allows 10" in error.rule
        await office.submit(4, text="账单\u200b已寄出,请查收")
        await refusal(office, 1, text="账单已寄出,请查收")
        await office.submit(10, text="账单已寄出,请在明天查收")


async def test_a_refused_batch_leaves_nothing(tmp_path):
    async with office_in(tmp_path) as office:
        request = office.request()
        await refusal(office, 11, batch_id=request.batch_id)
        with pytest.raises(NotFound):
            await office.batches.show(office.who["system"], request.batch_id)
        await office.submit(10, batch_id=request.batch_id)


async def test_time_passes_and_what_was_taken_back_does_not_count(tmp_path):
    async with office_in(tmp_path) as office:
        one = await office.submit(10)
        await refusal(office, 1)
        await office.batches.withdraw(office.who["system"], one.batch.batch_id, "wrong list")
        await office.submit(10)
        office.store.clock.advance(7_199)
        await refusal(office, 1)
        office.store.clock.advance(1)
        await office.submit(10)


async def test_a_repeat_of_a_request_counts_once(tmp_path):
    async with office_in(tmp_path) as office:
        request = office.request()
        for _ in range(3):
            await office.submit(10, batch_id=request.batch_id)


async def test_zero_lets_any_number_through(tmp_path):
    settings = Settings(content=ContentSettings(same_text_recipients=0))
    async with office_in(tmp_path, settings) as office:
        for _ in range(3):
            await office.submit(10)


async def test_an_altered_count_is_not_believed(tmp_path):
    async with office_in(tmp_path) as office:
        await office.submit(10)
        damage = "UPDATE text_use SET n_messages = 0"
        await office.store.write(lambda tx: tx.conn.exec_driver_sql(damage) and None)
        assert "was altered" in (await refusal(office, 1)).rule


async def test_a_use_that_vanished_is_found(tmp_path):
    async with office_in(tmp_path) as office:
        shown = await office.submit(10)
        assert await office.store.read(lambda conn: list(replay(conn))) == []
        damage = "DELETE FROM text_use"
        await office.store.write(lambda tx: tx.conn.exec_driver_sql(damage) and None)
        [line] = await office.store.read(lambda conn: list(replay(conn)))
        assert line.startswith(f"text_use {shown.batch.batch_id}: the row is missing")
