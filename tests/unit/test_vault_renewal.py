"""A value under a data key that another node has just added: who meets it waits for the key."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import make_url

from modemctl.errors import StoreError, TamperedError
from modemctl.store import Store, keys
from modemctl.vault import AuditKey, Vault
from tests.support import postgres
from tests.support.nodes import node, until
from tests.support.server_sites import wire
from tests.support.stores import AUDIT_SEED, MASTER_KEY, Databases, TestClock

PLACE = "t.c:1"


@pytest.fixture
def cluster() -> Iterator[postgres.Cluster]:
    Databases.is_postgresql = True
    yield postgres.cluster()
    Databases.clear()


async def sealed_anew(store: Store) -> bytes:
    """A text under a key of which no other node has heard."""
    await store.write(keys.add_generation)
    await store.read(lambda conn: keys.unlock(conn, store.vault))
    return store.vault.encrypt_text("text", place=PLACE)


async def test_who_meets_the_new_key_while_it_is_looked_for_waits_for_it(cluster, tmp_path):
    async with node(tmp_path, "n1") as one:
        with wire(Databases.url(tmp_path)) as line:
            vault = Vault(MASTER_KEY)
            async with Store(
                line.url, vault=vault, audit_key=AuditKey(AUDIT_SEED), clock=TestClock(),
                node_id="n2",
            ) as two, asyncio.TaskGroup() as group:  # fmt: skip
                sealed = await sealed_anew(one)
                has_begun = threading.Event()

                def meet() -> str:
                    has_begun.set()
                    return two.vault.decrypt_text(sealed, place=PLACE)

                line.freeze()
                n_before = line.n_clients
                first = group.create_task(asyncio.to_thread(meet))
                await until(lambda: line.n_clients > n_before)
                has_begun.clear()
                second = group.create_task(asyncio.to_thread(meet))
                await until(has_begun.is_set)
                line.thaw()
                assert (await first, await second) == ("text", "text")


async def test_a_key_that_cannot_be_looked_for_now_is_looked_for_again(cluster, tmp_path):
    """Nobody takes the value for altered meanwhile, as who finds no key for it would."""
    name = make_url(Databases.url(tmp_path)).database
    async with node(tmp_path, "n1") as one, node(tmp_path, "n2") as two:
        sealed = await sealed_anew(one)

        def open_it(*_: object) -> str:
            try:
                return two.vault.decrypt_text(sealed, place=PLACE)
            except (TamperedError, StoreError) as error:  # as the store reads a row that is odd
                return f"altered: {error}"

        assert await two.read(lambda conn: conn.exec_driver_sql("SELECT 1").scalar()) == 1
        cluster.sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        for ask in (two.read, two.write):
            with pytest.raises(StoreError, match="not currently accepting connections"):
                await ask(open_it)
        cluster.sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert await two.write(open_it) == "text"
        assert await two.read(open_it) == "text"
        assert two.journal.is_healthy


async def test_a_key_that_was_named_before_it_was_there_is_found_later(cluster, tmp_path):
    clock = TestClock()
    async with node(tmp_path, "n1") as one, node(tmp_path, "n2", clock) as two:
        with pytest.raises(TamperedError, match="a key that is not here"):
            two.vault.decrypt(b"\x02" + bytes(40), place=PLACE)
        sealed = await sealed_anew(one)
        clock.advance(1)
        assert two.vault.decrypt_text(sealed, place=PLACE) == "text"
