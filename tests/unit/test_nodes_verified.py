"""Several nodes' chains on one PostgreSQL: each verifies all of them, by keys kept under a MAC."""

import json
from collections.abc import Callable, Iterator, Mapping

import pytest
from sqlalchemy import Connection, delete, func, select, text

from modemctl.audit import Draft, Head, seal
from modemctl.errors import Conflict
from modemctl.service.audits import Audits, read_heads, verify_on
from modemctl.service.chain_walk import Spans
from modemctl.store import Store, nodes
from modemctl.store.audits import read_chain
from modemctl.store.engine import create_engines
from modemctl.store.moved import moved_digest
from modemctl.store.tables import segment_journal
from modemctl.vault import AuditKey, Vault
from tests.support import postgres
from tests.support.benches import CARDS, Bench, bench
from tests.support.nodes import node
from tests.support.stores import AUDIT_SEED, MASTER_KEY, Databases, TestClock, open_store

KEYS = {name: AuditKey(name.encode().ljust(32, b"\0")) for name in ("n2", "n9")}


@pytest.fixture
def cluster() -> Iterator[postgres.Cluster]:
    Databases.is_postgresql = True
    yield postgres.cluster()
    Databases.clear()


async def start(store: Store) -> None:
    """As a daemon does, without heartbeats: the test's clock is not the server's."""
    key = store.journal.signer.public_octets()
    await store.write(lambda tx: nodes.start(tx, version="1", boot_id="b", public_key=key))


def put_entry(conn: Connection, name: str, head: Head, details: dict[str, object]) -> None:
    """An entry that this node's key has signed."""
    draft = Draft(
        at=TestClock().now(), actor=name, action="segments.moved", subject="segments",
        details=json.dumps(details),
    )  # fmt: skip
    entry = seal(draft, node_id=name, head=head, key=KEYS[name])
    conn.execute(
        text(
            "INSERT INTO audit_entry (node_id, seq, at, actor, action, subject, details, prev,"
            " hash, signature) SELECT :node, :seq, :at, :node, 'segments.moved', 'segments',"
            " :details, :prev, :hash, :signature"
        ),
        {
            "node": name, "seq": entry.seq, "at": int(draft.at.timestamp() * 1_000),
            "details": draft.details, "prev": entry.prev, "hash": entry.hash,
            "signature": entry.signature,
        },
    )  # fmt: skip


def told_again(conn: Connection) -> None:
    """What n2 would sign of the counts once their seal was put back to one of before."""
    last = read_chain(conn, node_id="n1", after=0, limit=500)[-1]
    told = json.loads(last.draft.details)
    own = read_chain(conn, node_id="n2", after=0, limit=500)[-1]
    details = {"n": 0, "rows": moved_digest([]), "counts": told["counts"], "turn": told["turn"]}
    put_entry(conn, "n2", Head(seq=own.seq, hash=own.hash), details)


def stranger(conn: Connection) -> None:
    """A node that nobody started, with a key of its own and a row for it."""
    put_entry(conn, "n9", Head(), {"n": 0, "rows": moved_digest([])})
    value = f"{KEYS['n9'].public_octets().hex()} {'0' * 64}"
    conn.execute(text("INSERT INTO meta (key, value) VALUES ('signer:n9', :v)"), {"v": value})


COPIED = "segment_id, at, before, after, actor, note"
ATTACKS: dict[str, tuple[str | Callable[[Connection], None], str, str]] = {
    "a row altered": (
        "UPDATE segment_journal SET at = at + 1 WHERE entry_id = :row",
        "n2",
        "vouches for was changed",
    ),
    "a row removed": (
        "DELETE FROM segment_journal WHERE entry_id = :row",
        "n2",
        "vouches for was changed",
    ),
    "a row planted": (
        f"INSERT INTO segment_journal ({COPIED})"
        f" SELECT {COPIED} FROM segment_journal WHERE entry_id = :row",
        "n1",
        "the nodes' entries speak of",
    ),
    "its tail cut": (
        "DELETE FROM audit_entry WHERE node_id = 'n2' AND seq = :seq",
        "n2",
        "noted as head, is missing",
    ),
    "its chain removed": (
        "DELETE FROM audit_entry WHERE node_id = 'n2'",
        "n2",
        "its chain is gone",
    ),
    "an entry altered": (
        "UPDATE audit_entry SET actor = 'eve' WHERE node_id = 'n2' AND seq = :seq",
        "n2",
        "was changed",
    ),
    "its key removed": (
        "DELETE FROM meta WHERE key = 'signer:n2'",
        "n2",
        "public key of this node is not known",
    ),
    "its key exchanged": (
        "UPDATE meta SET value = '00' || substr(value, 3) WHERE key = 'signer:n2'",
        "n1",
        "meta signer:n2: the row was not written by modemctl",
    ),
    "a node planted": (stranger, "n9", "public key of this node is not known"),
    "a turn told twice": (told_again, "n1", "of the counts is told by two nodes"),
}


def verified(conn: Connection, heads: Mapping[str, Head]) -> list[tuple[str, str]]:
    """Node and fault of all that n1 finds."""
    reports = verify_on(
        conn,
        node_id="n1",
        audit_public_key=AuditKey(AUDIT_SEED).public_octets(),
        heads=heads,
        vault=Vault(MASTER_KEY),
    )
    return [(report.node_id, fault) for report in reports for fault in report.faults]


def attacked(
    conn: Connection, heads: Mapping[str, Head], row: int
) -> dict[str, list[tuple[str, str]]]:
    """What is found after each attack; each is taken back."""
    found = {}
    for what, (attack, _, _) in ATTACKS.items():
        with conn.begin():
            if isinstance(attack, str):
                places = {"row": row, "seq": heads["n2"].seq}
                names = {name: at for name, at in places.items() if f":{name}" in attack}
                assert conn.execute(text(attack), names).rowcount, what
            else:
                attack(conn)
            found[what] = verified(conn, heads)
            conn.get_transaction().rollback()
    return found


async def test_each_node_verifies_what_all_wrote_and_names_what_somebody_did_to_it(
    cluster, tmp_path
):
    async with bench(tmp_path) as one:
        await start(one.store)
        await one.batch(40)
        async with node(tmp_path, "n2", one.clock) as two:
            await start(two)
            other = Bench(two, one.clock, one.staff, one.rules)
            for _ in range(3):
                await one.lease(*CARDS[:2])
                await other.lease(*CARDS[:2])
            row = await two.read(lambda c: c.scalar(select(func.max(segment_journal.c.entry_id))))
            await one.lease(*CARDS[:2])
            key = AuditKey(AUDIT_SEED).public_octets()
            audits = Audits(one.store, audit_public_key=key, head_file=tmp_path / "heads")
            assert await audits.note_head()
            heads = read_heads(tmp_path / "heads")
            assert heads == {"n1": one.store.journal.head, "n2": two.journal.head}
            theirs = Audits(
                two, audit_public_key=two.journal.signer.public_octets(), head_file=tmp_path / "x"
            )
            for reports in (await audits.check(), await theirs.check()):
                assert [report.faults for report in reports] == [(), ()]
                assert all(report.n_transitions > 2 for report in reports)
        writer, reader = create_engines(Databases.url(tmp_path), n_readers=1)
        reader.dispose()
        with writer.connect() as conn:
            found = attacked(conn, heads, row)
        writer.dispose()
        for what, (_, by, words) in ATTACKS.items():
            assert any(name == by and words in fault for name, fault in found[what]), (what, found)


async def test_a_server_that_goes_on_under_another_name_verifies_what_both_wrote(tmp_path):
    """On SQLite, as docs/keys.md tells to do with a new audit key."""
    async with bench(tmp_path) as one:
        await start(one.store)
        await one.batch(40)
        await one.lease(*CARDS[:2])
    async with node(tmp_path, "n2", one.clock) as two:
        await start(two)
        other = Bench(two, one.clock, one.staff, one.rules)
        for _ in range(2):
            await other.lease(*CARDS[:2])
        key = two.journal.signer.public_octets()
        audits = Audits(two, audit_public_key=key, head_file=tmp_path / "heads")
        assert [report.faults for report in await audits.check()] == [(), ()]
        await two.write(
            lambda tx: tx.conn.execute(
                delete(segment_journal).where(
                    segment_journal.c.entry_id
                    == select(func.max(segment_journal.c.entry_id)).scalar_subquery()
                )
            )
        )
        assert any(report.faults for report in await audits.check())


async def test_a_node_of_another_audit_key_than_it_had_does_not_start(tmp_path):
    async with open_store(tmp_path) as store:
        await start(store)
        await start(store)
        other = KEYS["n9"].public_octets()
        with pytest.raises(Conflict, match="had another audit key"):
            await store.write(
                lambda tx: nodes.start(tx, version="1", boot_id="b", public_key=other)
            )


def spans(*parts: tuple[int, int]) -> Spans:
    made = Spans()
    assert all(made.add(after, last) for after, last in parts)
    return made


def test_numbers_that_two_nodes_have_are_found_and_none_comes_twice_in_one():
    assert Spans.common([spans((0, 3), (3, 5), (9, 12)), spans((5, 9), (12, 13))]) is None
    assert Spans.common([spans((0, 5)), spans((4, 6))]) == 5
    assert Spans.common([spans((0, 5), (7, 9)), spans((1, 2))]) == 2
    one = spans((0, 5))
    assert not one.add(4, 6)
    assert one.last == 5
