"""An odd row ends no chore for good: it goes on once the row is mended."""

import asyncio
import logging

from sqlalchemy import text

from modemctl.policy.numbers import NumberRules
from modemctl.service.chores import kept
from modemctl.service.self_tests import SelfTests
from tests.support.stores import open_store
from tests.unit.test_self_tests import MAINTAINER, ZONE, absent_bay

SECRET = "13800138000"


async def test_a_chore_goes_on_after_an_odd_row_and_tells_nothing_of_it(tmp_path, caplog):
    async with open_store(tmp_path) as store:
        await absent_bay(store)
        tests = SelfTests(store, numbers=NumberRules(), zone=ZONE)
        await tests.run(MAINTAINER)

        async def put(faults: str) -> None:
            change = text("UPDATE self_test SET faults = :faults").bindparams(faults=faults)
            await store.write(lambda tx: tx.conn.execute(change) and None)

        n_looks = 0

        async def look() -> None:
            nonlocal n_looks
            n_looks += 1
            if n_looks == 3:
                await put("[]")
            await tests.latest(MAINTAINER)

        await put(f"[{SECRET}x")
        with caplog.at_level(logging.ERROR):
            async with asyncio.timeout(20):
                await kept("self-tests", look, pause=0.0)
    assert n_looks == 3
    told = [one for one in caplog.records if one.message == "chore.broke_off"]
    assert [(one.chore, one.error) for one in told] == [("self-tests", "JSONDecodeError")] * 2
    assert SECRET not in caplog.text


async def test_an_odd_row_that_a_task_of_the_chore_met_ends_nothing_either(caplog):
    n_runs = 0

    async def odd() -> None:
        raise ValueError(SECRET)

    async def run() -> None:
        nonlocal n_runs
        n_runs += 1
        if n_runs < 3:
            async with asyncio.TaskGroup() as outer, asyncio.TaskGroup() as inner:
                outer.create_task(odd())
                inner.create_task(odd())

    with caplog.at_level(logging.ERROR):
        async with asyncio.timeout(20):
            await kept("webhooks", run, pause=0.0)
    assert n_runs == 3
    assert [one.error for one in caplog.records] == ["ValueError"] * 2
    assert SECRET not in caplog.text
