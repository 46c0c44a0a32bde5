"""Full write access to the database, no key: nothing leaves that was not approved, or it is named.

Every cell of a site with a running batch is changed with the database's own tool, one at a time.
What then is neither refused nor named by `audit verify` stands in `HARMLESS`, with the reason.
"""

import asyncio
import dataclasses
import os
from collections.abc import Iterator

import pytest
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Integer,
    LargeBinary,
    RowMapping,
    String,
    Table,
    Text,
    text,
    update,
)

from modemctl.audit import Head, seal
from modemctl.lifecycle import BatchState, CardState, ModemState, SegmentState
from modemctl.store.audits import read_chain
from modemctl.store.seals import SEALED
from modemctl.store.tables import audit_entry, metadata, wish
from modemctl.vault import AuditKey
from tests.support.attacks import Finding, Site, build

IS_LONG = bool(os.environ.get("MODEMCTL_LONG"))
N_ROWS = 100 if IS_LONG else 1
ODD = (b"\xff\x00", 2**63 - 1, "x", 1.5)
"""What no column of another kind ever holds."""

pytestmark = pytest.mark.timeout(3_600 if IS_LONG else 120)
WORDS = {
    ("batch", "state"): BatchState,
    ("segment", "state"): SegmentState,
    ("sim", "state"): CardState,
    ("modem", "state"): ModemState,
}


HARMLESS = {
    "what happened, told to people; no decision rests on it": """
        account.created_at api_key.created_at admission.reason approval.decision
        batch.created_at batch.purged_at batch.reason confirmation.at data_key.created_at
        event.at event.data event.event_id event.kind
        event.subject message.choice opt_out.keyword puk_request.asked_at puk_request.asked_name
        puk_request.confirmed_name puk_request.reason segment.cause segment.final_at segment.mr
        segment.note segment.sent_at sim.created_at sim.updated_at""",
    "a name that nothing else holds on to": """
        authorisation.authorisation_id custody.custody_id segment.segment_id stop_seal.seal_id""",
    "the order and the time in which approved messages leave": """
        batch.priority batch.served_at segment.avoid_iccid segment.not_before segment.tries
        message.iccid""",
    "answers a repeated request; the batch itself is proved by its digest": "batch.request_digest",
    "seen by the daemon anew at each start of a modem": """
        admission.bay modem.bay modem.breakers modem.desired_state modem.family modem.iccid
        modem.imei modem.manufacturer modem.model modem.node_id modem.operator modem.port
        modem.reason modem.registration_stat modem.revision modem.signal_dbm modem.state
        modem.state_at modem.temperature_c modem.updated_at""",
    "another one opens no database: the daemon refuses it": """
        meta.key meta.value data_key.created_at data_key.generation data_key.master data_key.use
        data_key.wrapped""",
    "a lease that does not fit is over; one that is forged meets the same gate": """
        segment.bay segment.iccid segment.lease_token segment.leased_until segment.node_id
        segment.submitting_at""",
    "a charge without its seal is never given back": "segment.charged_at segment.charged_to",
    "guards cards, not sends: the modem's own counter is asked before each try": """
        pin_import.created_at pin_import.import_id pin_import.n_cards pin_import.n_right
        pin_import.n_wrong pin_import.stopped_at pin_import.stopped_reason pin_import.width
        puk_request.bay puk_request.n_mismatches puk_request.node_id puk_request.outcome
        puk_request.puk_enc puk_request.tried_at puk_request.tries_before sim.pin_enc
        sim.pin_import_id sim.pin_state""",
    "an idle key freezes later; its end is sealed": "api_key.last_used_at",
    "what came in and what modems did: nothing is sent or allowed because of it": """
        call.* inbox.* report.* card_lock.* self_test.* balance.* node.* wish.error wish.result_enc
        wish.done_at""",
    "it opens for the very same wish alone, as a test below shows": """
        wish.at wish.bay wish.body_enc wish.kind wish.requested_by wish.taken_at wish.wish_id""",
    "a card's tries: its modem's own counter is asked before each": "pin_attempt.* pin_change.*",
    "as the card tells it anew at each start; what a person said of it is in the log": """
        card_number.iccid card_number.number_bidx card_number.told card_number.since""",
    "how many lines were taken out, and why, was signed": """
        batch_removed.line_no batch_removed.masked batch_removed.policy""",
    "nothing else holds on to it": "incident_note.note_id",
    "how far a receiver is, what it did not take: as harmless as events": """
        webhook_delivery.* webhook_place.*""",
    "as long as their order stays, which the chain's digests hold": "segment_journal.entry_id",
}
"""Why → the columns of which a change is neither refused nor named; `*` for all of a table."""


MAY_GO = {
    **dict.fromkeys(("call", "inbox", "report", "self_test", "balance", "card_lock", "card_number",
                     "node", "wish", "event", "webhook_delivery", "webhook_place"),
                    "what came in or was seen; nothing rests on it"),
    "meta": "the daemon opens no such database",
    "modem": "a bay is entered anew; that a person paused it is in the log",
    **dict.fromkeys(("pin_attempt", "pin_change", "pin_import", "puk_request"),
                    "guards cards, not sends: the modem's own counter is asked before each try"),
}  # fmt: skip
"""Tables of which a row may be missing unnoticed, with the reason."""

LOGGED = {
    "account": "name = 'eve'",
    "sim": "requested_by IS NOT NULL",
    "approver_key": "kid NOT LIKE 'key-%'",
    "authorisation": "request_id IS NOT NULL",
    "department": "name = 'east'",
}
"""Rows that were made by services; others of these tables the test's office has put in itself."""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    asyncio.run(build(folder))
    return Site(folder)


@pytest.fixture(scope="module")
def rest(site) -> frozenset[bytes]:
    """What leaves of the untouched site."""
    with site.opened() as conn:
        found = site.attack(conn)
    assert found.faults == ()
    assert found.error == ""
    assert len(found.left) == 7  # three of one segment, two of two
    return frozenset(found.left)


def others(table: Table, column: Column, value: object, known: list[object]) -> Iterator[object]:
    """What an attacker would write in place of a cell's value."""
    yield from [one for one in dict.fromkeys(known) if one != value][:1]
    yield from [word.value for word in WORDS.get((table.name, column.name), ()) if word != value]
    if column.nullable and value is not None:
        yield None
    if isinstance(column.type, Boolean):
        yield 1 - int(value or 0)
    elif isinstance(column.type, LargeBinary):
        octets = bytes(value or b"\0")
        yield octets[:-1] + bytes([octets[-1] ^ 1])
    elif isinstance(column.type, String | Text):
        word = str(value or "x")
        yield word[:-1] + chr(ord(word[-1]) ^ 1)
    else:
        yield int(value or 0) + 1
        if IS_LONG:
            yield int(value or 0) - 86_400_000


def unnoticed(site: Site, rest: frozenset[bytes], table: Table) -> Iterator[tuple[str, str]]:
    """Columns of which a change is neither refused nor named, and what then happened."""
    with site.opened() as conn:
        rows = conn.execute(text(f"SELECT * FROM {table.name}")).mappings().all()
    n = 0
    for column in table.columns:
        if is_harmless(table, column) and not IS_LONG:
            continue  # nothing is said of it; a long run sees that nothing raises
        known = [row[column.name] for row in rows]
        for row in rows[:N_ROWS]:
            values = list(others(table, column, row[column.name], known))
            if not IS_LONG:
                values = list(dict.fromkeys([*values[:1], *values[-1:]]))
            elif row is rows[0] and not takes_no_other_kind(column):
                values += ODD
            for value in values:
                with site.opened() as conn:
                    write(conn, table, column, row, value)
                    found = site.attack(conn)
                n += 1
                if not found.faults and not is_refused(found, rest):
                    yield column.name, f"{row[column.name]!r} → {value!r}: {len(found.left)} left"
    print(f"{table.name}: {n} attacks on {len(rows[:N_ROWS])} of {len(rows)} rows")


def takes_no_other_kind(column: Column) -> bool:
    """SQLite takes nothing else there; and any other kind of true is true."""
    is_number = isinstance(column.type, Integer | BigInteger) and column.primary_key
    return is_number or isinstance(column.type, Boolean)


def is_harmless(table: Table, column: Column) -> bool:
    harmless = {one for names in HARMLESS.values() for one in names.split()}
    return bool({f"{table.name}.{column.name}", f"{table.name}.*"} & harmless)


def write(conn: Connection, table: Table, column: Column, row: RowMapping, value: object) -> None:
    keys = [one.name for one in table.primary_key.columns]
    place = " AND ".join(f"{name} = :key_{name}" for name in keys)
    conn.execute(
        text(f"UPDATE OR REPLACE {table.name} SET {column.name} = :value WHERE {place}"),
        {"value": value, **{f"key_{name}": row[name] for name in keys}},
    )


def is_refused(found: Finding, rest: frozenset[bytes]) -> bool:
    """Whether less left than was approved, and nothing else."""
    return set(found.left) < rest and len(set(found.left)) == len(found.left)


def test_every_table_is_attacked(site):
    with site.opened() as conn:
        empty = {
            table.name
            for table in metadata.sorted_tables
            if not conn.execute(text(f"SELECT count(*) FROM {table.name}")).scalar()
        }
    assert empty == set()
    known = {f"{table.name}.{column}" for table in metadata.sorted_tables for column in
             ("*", *(one.name for one in table.columns))}  # fmt: skip
    assert {one for names in HARMLESS.values() for one in names.split()} <= known


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
def test_a_changed_cell_is_named_refused_or_known_to_be_harmless(site, rest, table):
    surprising = {
        column: what
        for column, what in unnoticed(site, rest, table)
        if not is_harmless(table, table.columns[column])
    }
    assert surprising == {}


@pytest.mark.parametrize("table", metadata.sorted_tables, ids=lambda table: table.name)
def test_a_row_that_is_taken_out_is_named_or_refused_or_known_to_be_harmless(site, rest, table):
    keys = [one.name for one in table.primary_key.columns]
    place = " AND ".join(f"{name} = :{name}" for name in keys)
    with site.opened() as conn:
        which = f"{', '.join(keys)} FROM {table.name} WHERE {LOGGED.get(table.name, 'true')}"
        rows = conn.execute(text(f"SELECT {which}")).mappings().all()
    assert rows
    for row in rows[:N_ROWS]:
        with site.opened() as conn:
            conn.execute(text(f"DELETE FROM {table.name} WHERE {place}"), dict(row))
            found = site.attack(conn)
        is_seen = found.faults or is_refused(found, rest) or found.error
        assert is_seen or table.name in MAY_GO, f"{dict(row)}: {len(found.left)} left"


@pytest.mark.parametrize("column", wish.columns.keys())
def test_a_changed_wish_is_not_done(site, column):
    with site.opened() as conn:
        rows = conn.execute(text("SELECT * FROM wish")).mappings().all()
        asked = {(row["wish_id"], row["kind"], row["bay"]) for row in rows}
        assert site.wishes(conn) == asked
    for value in others(wish, wish.columns[column], rows[0][column], []):
        with site.opened() as conn:
            write(conn, wish, wish.columns[column], rows[0], value)
            assert site.wishes(conn) <= asked


def test_a_wish_that_is_planted_or_put_back_later_is_not_done(site):
    with site.opened() as conn:
        conn.execute(
            text("INSERT INTO wish (wish_id, kind, bay, requested_by, at) "
                 "SELECT 'x', 'release', bay, requested_by, at FROM wish LIMIT 1")
        )  # fmt: skip
        assert "x" not in {wish_id for wish_id, _, _ in site.wishes(conn)}
    with site.opened() as conn:
        assert len(site.wishes(conn)) == 2
        conn.execute(text("UPDATE wish SET taken_at = NULL, done_at = NULL"))
        assert site.wishes(conn, hours=2) == set()


def test_every_table_with_a_seal_is_verified():
    sealed = {
        table.name
        for table in metadata.sorted_tables
        if any(column.name == "mac" or column.name.endswith("_mac") for column in table.columns)
    }
    with_their_batch = {"approval", "confirmation"}
    assert sealed - with_their_batch <= {table.name for table in SEALED}


# ---------------------------------------------------------------- the attacks that were named


NAMED = {
    "a batch": "UPDATE batch SET template = 'Call ' || template",
    "a recipient": "UPDATE message SET line_enc = substr(line_enc, 1, 40) || x'00' || "
    "substr(line_enc, 42) WHERE line_no = 2",
    "a recipient exchanged": "UPDATE message SET line_enc = (SELECT o.line_enc FROM message o "
    "WHERE o.line_no = 3 LIMIT 1) WHERE line_no = 2",
    "an approval": "UPDATE approval SET jws = replace(jws, 'a', 'b')",
    "an approver key": "UPDATE approver_key SET public_key = x'01' || substr(public_key, 2)",
    "an approver key prolonged": "UPDATE approver_key SET valid_until = valid_until + 1",
    "a role": """UPDATE account SET roles = '["administrator"]' WHERE name = 'eve'""",
    "a limit lowered": "UPDATE quota SET used = used - 1 WHERE span != 'gap'",
    "a limit deleted": "DELETE FROM quota",
    "a recipient met": "DELETE FROM quota_contact",
    "a gap ended": "UPDATE quota SET bucket = bucket - 60000 WHERE span = 'gap'",
    "a clock set on": "UPDATE meta SET value = replace(value, 'boot-1', 'boot-2') "
    "WHERE key LIKE 'steady:%'",
    "an opt-out deleted": "DELETE FROM opt_out",
    "an opt-out of another": "UPDATE opt_out SET number_bidx = x'00112233445566778899aabbccddeeff' "
    "WHERE rowid = 1",
    "an audit row": "UPDATE audit_entry SET actor = 'nobody' WHERE seq = 3",
    "an audit row's actor of another kind": "UPDATE audit_entry SET actor = x'ff00' WHERE seq = 3",
    "a journal row of another kind": "UPDATE segment_journal SET segment_id = x'ff00' "
    "WHERE entry_id = 1",
    "a journal row moved behind others": "UPDATE segment_journal SET entry_id = 1000 "
    "WHERE entry_id = 1",
    "the list of a batch that waits": "UPDATE batch SET header = NULL WHERE state = 'checked'",
    "an audit row's time": "UPDATE audit_entry SET at = 'yesterday' WHERE seq = 3",
    "the tail cut": "DELETE FROM audit_entry WHERE seq > 5",
    "a sent segment queued again": "UPDATE segment SET state = 'queued', iccid = NULL "
    "WHERE state = 'sent'",
    "a sent segment exchanged": "UPDATE segment SET message_id = CASE message_id WHEN 1 THEN -2 "
    "WHEN 2 THEN -1 END WHERE message_id IN (1, 2); "
    "UPDATE segment SET message_id = -message_id WHERE message_id < 0",
    "a sent segment renumbered": "UPDATE segment SET segment_id = segment_id + 1000 "
    "WHERE state = 'sent'",
    "a segment planted": "INSERT INTO segment (message_id, batch_id, seq, state, tries) "
    "SELECT message_id, batch_id, 2, 'queued', 0 FROM segment WHERE state = 'sent'",
    "a sent segment deleted": "DELETE FROM segment WHERE state = 'sent'",
    "a card issued": "UPDATE sim SET state = 'issued', department = 'loans'",
    "an authorisation": "UPDATE authorisation SET department = '*'",
}


@pytest.mark.parametrize("attack", NAMED)
def test_what_is_written_without_a_key_is_named(site, rest, attack):
    with site.opened() as conn:
        for statement in NAMED[attack].split("; "):
            assert conn.execute(text(statement)).rowcount
        found = site.attack(conn)
    assert found.faults, f"{len(found.left)} left"


@pytest.mark.parametrize(
    "attack",
    ["a batch", "a recipient", "a recipient exchanged", "an approval", "an approver key",
     "an approver key prolonged", "a card issued", "an authorisation"],
)  # fmt: skip
def test_what_authorises_lets_nothing_of_it_leave(site, rest, attack):
    with site.opened() as conn:
        for statement in NAMED[attack].split("; "):
            conn.execute(text(statement))
        found = site.attack(conn, always=True)
    assert is_refused(found, rest)


def test_a_chain_that_is_computed_anew_without_the_key_is_named(site):
    """Every hash fits again, only the signatures are of another key."""
    forger, head = AuditKey(bytes(32)), Head()
    with site.opened() as conn:
        chain = read_chain(conn, node_id="n1", after=0, limit=1_000)
        for entry in chain:
            draft = dataclasses.replace(entry.draft, actor="nobody")
            forged = seal(draft, node_id="n1", head=head, key=forger)
            head = Head(seq=forged.seq, hash=forged.hash)
            conn.execute(
                update(audit_entry)
                .where(audit_entry.c.seq == entry.seq)
                .values(
                    actor="nobody", prev=forged.prev, hash=forged.hash, signature=forged.signature
                )
            )
        faults = site.verify(conn)
    assert f"entry {len(chain)} carries no valid signature" in faults
    assert any("noted as head" in one for one in faults)


def test_an_approval_of_another_batch_is_no_approval(site, rest):
    """A signature replayed: the row with its valid seal is moved to another batch."""
    with site.opened() as conn:
        mine, other = conn.scalars(text("SELECT batch_id FROM approval")).all()
        conn.execute(text("DELETE FROM approval WHERE batch_id = :b"), {"b": other})
        conn.execute(
            text("UPDATE approval SET batch_id = :o WHERE batch_id = :b"), {"o": other, "b": mine}
        )
        found = site.attack(conn, always=True)
    assert found.left == ()
    assert found.faults


def test_an_entry_with_garbled_details_is_named_and_nothing_raises(site):
    with site.opened() as conn:
        conn.execute(text("UPDATE audit_entry SET details = CAST(x'ff00ff' AS TEXT) WHERE seq = 4"))
        faults = site.verify(conn)
    # the first who meets such octets cannot read them; from then on they read as U+FFFD
    assert faults[0] in {"entry 4 cannot be read", "entry 4 was changed"}


def test_entries_of_a_foreign_node_that_say_nothing_are_named(site):
    with site.opened() as conn:
        conn.execute(
            text(
                "INSERT INTO audit_entry SELECT 'n2', seq, at, actor, 'account.change', subject,"
                " '[7]', prev, hash, signature FROM audit_entry WHERE seq = 2"
            )
        )
        faults = site.verify(conn)
    assert faults == ("entry 2 (account.change) of n2 does not say what it has to",)


def test_counts_of_yesterday_do_not_add_up_to_what_the_log_says(site):
    """Rows put back as they once were, all of them."""
    with site.opened() as conn:
        rows = conn.execute(text("SELECT * FROM quota")).all()
        assert rows
        conn.execute(text("UPDATE quota SET used = used + 1"))
        assert site.verify(conn)
        conn.execute(text("UPDATE quota SET used = used - 1"))
        assert site.verify(conn) == ()
