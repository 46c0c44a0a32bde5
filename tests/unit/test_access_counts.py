"""Who came from where, wrong keys and refusals are counted into the log (SEC-05)."""

import json

import pytest

from modemctl.errors import StoreError
from modemctl.service.access_counts import AccessCounts
from modemctl.store import audits
from modemctl.store.replay import replay
from tests.support.apis import open_api
from tests.support.stores import open_store


async def counted(store) -> list[dict]:
    found = await store.read(
        lambda conn: list(audits.read_acts(conn, node_id=store.node_id, action="access.counted"))
    )
    return [json.loads(one.draft.details) for one in found]


async def test_each_hour_has_one_entry_and_a_quiet_one_has_none(tmp_path):
    async with open_store(tmp_path) as store:
        counts = AccessCounts(store)
        await counts.note()
        assert await counted(store) == []
        for _ in range(3):
            counts.used("anna", "tcp:10.0.0.7")
        counts.used("anna", "unix:uid=1000")
        counts.used("oa", "tcp:10.0.0.7")
        counts.wrong_key("oa")
        counts.refused("SMS-03")
        await counts.note()
        await counts.note()
        (told,) = await counted(store)
        assert told["uses"] == {"anna": {"10.0.0.7": 3, "unix:uid=1000": 1}, "oa": {"10.0.0.7": 1}}
        assert (told["wrong_keys"], told["refused"]) == ({"oa": 1}, {"SMS-03": 1})
        assert not list(await store.read(lambda conn: list(replay(conn))))


async def test_who_comes_from_everywhere_does_not_fill_the_log(tmp_path):
    async with open_store(tmp_path) as store:
        counts = AccessCounts(store)
        for n in range(2_000):
            counts.used("oa", f"tcp:10.0.{n // 256}.{n % 256}")
        await counts.note()
        (told,) = await counted(store)
    assert len(told["uses"]["oa"]) == 500
    assert told["uses"]["…"] == {"…": 1_500}


async def test_what_could_not_be_written_stays_counted(tmp_path):
    async with open_store(tmp_path) as store:
        counts = AccessCounts(store)
        counts.used("anna", "unix:uid=1")
        counts.refused("SMS-03")
    with pytest.raises(StoreError):
        await counts.note()
    async with open_store(tmp_path) as store:
        counts._store = store
        counts.used("anna", "unix:uid=1")
        await counts.note()
        (told,) = await counted(store)
    assert told["uses"] == {"anna": {"unix:uid=1": 2}}
    assert told["refused"] == {"SMS-03": 1}


async def test_the_api_counts_uses_wrong_keys_and_refusals_by_rule(tmp_path):
    async with open_api(tmp_path) as bench:
        token = await bench.token_of("operator")
        async with bench.client(token) as client:
            assert (await client.get("/v1/duties")).status_code == 200
            assert (await client.get("/v1/events")).status_code == 200
        wrong = token[:-1] + ("a" if token[-1] != "a" else "b")
        async with bench.client(wrong) as client:
            assert (await client.get("/v1/duties")).status_code == 401
        auditor = await bench.token_of("auditor")
        async with bench.client(auditor) as client:
            body = {"seed": "chosen", "percent": 30}
            answer = await client.post("/v1/audit/sample", json=body)
            assert (answer.status_code, answer.json()["policy"]) == (403, "SEC-05")
        await bench.services.access.note()
        (told,) = await counted(bench.store)
    assert told["refused"] == {"SEC-05": 1}
    assert told["wrong_keys"] == {"operator-all": 1}
    assert sum(told["uses"]["operator-all"].values()) == 2
    assert sum(told["uses"]["auditor-all"].values()) == 1
