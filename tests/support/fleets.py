"""Several nodes on one database, each with its own store and clock, as an actor uses them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from modemctl.fleet.node_watch import NodeWatch
from modemctl.store import Store, nodes
from modemctl.vault import AuditKey, Vault
from tests.support.benches import Bench, rules
from tests.support.stores import MASTER_KEY, Databases, TestClock

EVERY = 10.0


@asynccontextmanager
async def node(folder: Path, name: str, clock: TestClock) -> AsyncIterator[Store]:
    """A node that has begun its life on the folder's database."""
    async with Store(
        Databases.url(folder),
        vault=Vault(MASTER_KEY),
        audit_key=AuditKey(name.encode().ljust(32, b"\0")),
        clock=clock,
        node_id=name,
    ) as store:
        await begin(store)
        yield store


async def begin(store: Store) -> None:
    """What a daemon does first."""
    key, boot_id = store.journal.signer.public_octets(), store.clock.boot_id
    epoch = await store.write(
        lambda tx: nodes.start(tx, version="1.0", boot_id=boot_id, public_key=key)
    )
    store.journal.life.begin(epoch, every=EVERY)


def on(store: Store, bench: Bench) -> Bench:
    """The bench's acts, done by another node with rules of its own."""
    return replace(bench, store=store, rules=rules())


def watch_of(bench: Bench) -> NodeWatch:
    """What a node sees of the others."""
    return NodeWatch(bench.store, bench.rules, every=EVERY)


async def see_lost(watch: NodeWatch, clock: TestClock) -> list[str]:
    """The nodes declared lost over 100 s in which the watcher itself lives."""
    lost = list(await watch.look())
    for _ in range(10):
        clock.advance(EVERY)
        await watch._store.write(lambda tx: None)
        lost += await watch.look()
    return lost
