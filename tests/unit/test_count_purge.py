"""Counts that ask for nothing any more are forgotten without keeping the writer."""

from sqlalchemy import Connection, func, insert, select

from modemctl.fleet.sweeper import Sweeper
from modemctl.store import Tx, count_purge, count_seal
from modemctl.store.tables import quota_contact
from modemctl.vault import Vault
from tests.support.benches import Bench, bench

LIVE = 1_000_000  # a day that is not over


def fill(tx: Tx, n: int, bucket: int) -> None:
    rows = [
        {"scope": "department:x", "span": "r:day", "recipient": f"{bucket}-{i}", "since": bucket,
         "bucket": bucket, "n": 1}
        for i in range(n)
    ]  # fmt: skip
    tx.conn.execute(insert(quota_contact), rows)
    tx.count(count_seal.weight(tx.vault, quota_contact, [tuple(row.values()) for row in rows]))


def left(conn: Connection) -> list[int]:
    buckets = select(quota_contact.c.bucket, func.count()).group_by(quota_contact.c.bucket)
    return [n for _, n in conn.execute(buckets)]


async def is_sealed(b: Bench, vault: Vault) -> bool:
    measured = await b.store.read(lambda conn: count_seal.measure(conn, vault))
    told = await b.store.read(lambda conn: count_seal.last_told(conn, "n1"))
    return told is not None and told.total == measured


async def test_a_write_forgets_so_many_and_the_seal_follows(tmp_path):
    async with bench(tmp_path) as b:
        await b.store.write(lambda tx: fill(tx, count_purge.PURGED + 5, 100))
        await b.store.write(lambda tx: fill(tx, 3, LIVE))
        zone = b.rules.quota.zone
        gone = [await b.store.write(lambda tx: count_purge.purge(tx, zone)) for _ in range(3)]
        assert gone == [count_purge.PURGED, 5, 0]
        assert await b.store.read(left) == [3]
        assert await is_sealed(b, b.store.vault)


async def test_a_sweep_forgets_all_of_it_in_several_writes(tmp_path):
    async with bench(tmp_path) as b:
        await b.store.write(lambda tx: fill(tx, count_purge.PURGED + 5, 100))
        await Sweeper(b.store, b.rules)._turn()
        assert await b.store.read(left) == []
