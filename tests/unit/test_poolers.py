"""A pooler before PostgreSQL: one that keeps sessions serves, another one is refused at start."""

import pytest

from modemctl.errors import ConfigError, NameTaken
from modemctl.model import Topic
from modemctl.store import Store
from modemctl.store.seats import Seat
from modemctl.vault import AuditKey, Vault
from tests.support.nodes import PATIENCE, hearing, node
from tests.support.poolers import pooler
from tests.support.stores import AUDIT_SEED, MASTER_KEY, Databases, TestClock

pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


def daemons_store(url: str) -> Store:
    return Store(
        url, vault=Vault(MASTER_KEY), audit_key=AuditKey(AUDIT_SEED), clock=TestClock(),
        node_id="n1", seat=Seat("n1"),
    )  # fmt: skip


def test_a_pooler_that_changes_servers_in_a_session_is_refused_with_the_cure(tmp_path):
    url = Databases.url(tmp_path)
    told = r"behind a pooler that changes servers .*pool_mode = session"
    with pooler(url, "transaction") as through, pytest.raises(ConfigError, match=told):
        daemons_store(through)
    daemons_store(url)._dispose()


async def test_a_pooler_that_keeps_sessions_keeps_locks_and_wake_ups(tmp_path):
    with pooler(Databases.url(tmp_path), "session") as through:
        async with daemons_store(through) as one, node(tmp_path, "n2") as two, hearing(one, two):
            with one.signals.subscribe(Topic.WISHES) as wishes:
                await two.write(lambda tx: tx.wake(Topic.WISHES))
                assert await wishes.wait(PATIENCE)
            with pytest.raises(NameTaken):
                daemons_store(through)
