"""A restored controller: nothing that may have left since the backup leaves by itself."""

import asyncio
import dataclasses
import fcntl
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from modemctl.config import Settings
from modemctl.daemon import sending_rules
from modemctl.errors import ConfigError, Conflict, InvalidRequest
from modemctl.lifecycle import BatchState, SegmentState
from modemctl.model import AccountId, BatchId
from modemctl.service.audits import read_heads, verify_offline
from modemctl.service.restoring import Opener, Restored, restore
from modemctl.service.stops import StopMemory, Stops
from modemctl.store import Store, batches, leases, submits, sweeps, webhooks, wishes
from modemctl.store.leases import Leased, LeaseRequest
from modemctl.store.segments import SendingRules
from modemctl.store.submits import Cleared, SubmitRequest
from modemctl.store.tables import batch, modem, segment, stop
from modemctl.store.webhooks import Endpoint, EndpointState
from modemctl.store.wishes import WishKind
from modemctl.vault import AuditKey, Vault
from tests.support.attacks import CARDS, Crew, bay_of, place_cards
from tests.support.backups import furnish, opener
from tests.support.people import Office, second_administrator
from tests.support.stores import AUDIT_SEED, MASTER_KEY, TestClock
from tests.unit.test_stops import office_in


@dataclass(frozen=True)
class Lost:
    """A backup of a site in the middle of its work, and what left after it."""

    file: Path
    identity: Path
    settings: Settings
    left_since: frozenset[bytes]

    def settings_in(self, state: Path) -> Settings:
        """The site's settings, for another state folder."""
        paths = self.settings.paths.model_copy(update={"state_dir": state})
        return self.settings.model_copy(update={"paths": paths})

    def rules(self) -> SendingRules:
        """What the site's leases and submits are held to; nothing is remembered."""
        return sending_rules(self.settings)


@pytest.fixture(scope="module")
def lost(tmp_path_factory) -> Lost:
    folder = tmp_path_factory.mktemp("lost")
    state = folder / "state"
    state.mkdir()

    async def work() -> Lost:
        async with office_in(state) as office:
            safe = await furnish(office.store, state, folder / "target")
            await office.store.write(place_cards)
            await office.start(await office.approve(await office.submit(6)))
            later = office.store.clock.now() + timedelta(hours=2)
            await office.approve(
                await office.submit(
                    2, starts_itself=True, not_before=later, not_after=later + timedelta(days=1)
                )
            )
            crew = Crew(office.store, sending_rules(safe.settings))
            assert len(await office.store.write(lambda tx: crew.send(tx, n=1))) == 1
            await have_in_hand(office, crew)
            await office.store.write(ask_and_follow)
            made = await safe.make()
            # the site goes on working, and then its disk is gone
            sent = await office.store.write(lambda tx: crew.send(tx, n=20))
            assert sent
            return Lost(safe.file(made), safe.identity, safe.settings, frozenset(sent))

    return asyncio.run(work())


async def have_in_hand(office: Office, crew: Crew) -> None:
    """One card holds a lease, the other is about to submit."""

    def act(tx):
        requests = [LeaseRequest(bay=bay_of(card), iccid=card, rules=crew.rules) for card in CARDS]
        leased, submitting = leases.lease(tx, requests)
        assert isinstance(leased, Leased)
        assert isinstance(submitting, Leased)
        job = crew._prove(tx, submitting)
        assert job is not None
        request = SubmitRequest(
            segment_id=job.segments[0].segment_id, token=submitting.token, bay=submitting.bay,
            iccid=submitting.iccid, batch_id=submitting.batch_id, digest=job.digest,
            recipient_bidx=job.recipient_bidx, tpdu=job.segments[0].tpdu, rules=crew.rules,
        )  # fmt: skip
        [clearance] = submits.begin_submit(tx, [request])
        assert isinstance(clearance, Cleared)

    await office.store.write(act)


def ask_and_follow(tx) -> None:
    """A command that no bay has taken up yet, and an endpoint that gets the events."""
    bay = bay_of(CARDS[0])
    known = select(modem.c.bay).where(modem.c.bay == bay)
    if tx.conn.scalar(known) is None:
        values = {"bay": bay, "state": "ABSENT", "state_since": tx.now, "desired_state": "run"}
        tx.conn.execute(insert(modem).values(**values))
    wishes.ask(tx, kind=WishKind.AT, bay=bay, body='AT+CUSD=1,"*100#"', by=AccountId("a"))
    webhooks.add(
        tx,
        Endpoint(
            name="crm", url="https://crm.example.com/", events=("*",), department=None,
            parallel=1, state=EndpointState.ACTIVE, reason="", created_at=tx.now,
            created_by="anna", secret=bytes(32),
        ),
    )  # fmt: skip


def put_back(lost: Lost, state: Path) -> Restored:
    return restore(lost.file, lost.settings_in(state), opener=opener(lost.identity))


def opened(state: Path, clock: TestClock) -> Store:
    return Store(
        f"sqlite:///{state}/modemctl.db",
        vault=Vault(MASTER_KEY),
        audit_key=AuditKey(AUDIT_SEED),
        clock=clock,
        node_id="n1",
    )


async def states(store: Store) -> tuple[Counter[str], Counter[str]]:
    def read(conn):
        return (
            Counter(conn.scalars(select(batch.c.state))),
            Counter(conn.scalars(select(segment.c.state))),
        )

    return await store.read(read)


async def test_a_restored_controller_sends_nothing_until_persons_let_it(lost, tmp_path):
    state = tmp_path / "state"
    done = await asyncio.to_thread(put_back, lost, state)
    assert done.standstill.n_held == 2
    assert done.standstill.n_in_doubt == 2
    assert done.standstill.n_queued == 3 + 2
    clock = TestClock()
    clock.advance(3 * 3_600)  # the window of the batch that starts itself is open
    async with opened(state, clock) as store:
        assert store.journal.start_faults == ()
        rules = lost.rules()
        await store.write(lambda tx: sweeps.recover(tx, rules))  # as the daemon starts
        await store.write(lambda tx: sweeps.sweep(tx, rules))
        in_state, segments = await states(store)
        assert in_state == {BatchState.HELD: 2}
        assert segments[SegmentState.IN_DOUBT] == 2
        assert segments[SegmentState.LEASED] == segments[SegmentState.SUBMITTING] == 0
        crew = Crew(store, rules)
        assert await store.write(lambda tx: crew.send(tx, n=20)) == []
        standing = await store.read(
            lambda conn: conn.execute(select(stop).where(stop.c.lifted_at.is_(None))).all()
        )
        assert [(one.kind, one.placed_name) for one in standing] == [("fleet", "modemctl restore")]
        assert "restored from a backup" in standing[0].reason


async def test_behind_the_stop_each_batch_waits_for_a_persons_word_of_its_own(lost, tmp_path):
    state = tmp_path / "state"
    await asyncio.to_thread(put_back, lost, state)
    async with opened(state, TestClock()) as store:
        person = dataclasses.replace(
            await second_administrator(store),
            account_id=AccountId("5b0f8a2e-0000-4000-8000-000000000000"),
        )
        stops = Stops(store, general_department="general", memory=StopMemory())
        await stops.recall()
        [placed] = await stops.list_stops(person)
        await stops.lift(person, placed.stop_id, "the carrier's bill was compared")
        crew = Crew(store, lost.rules())
        assert await store.write(lambda tx: crew.send(tx, n=20)) == []
        held = await store.read(lambda conn: conn.scalars(select(batch.c.batch_id)).all())
        for batch_id in held:  # what a person's `resume` does, beside its checks
            await store.write(
                lambda tx, one=batch_id: batches.move(tx, BatchId(one), BatchState.RUNNING)
            )
        again = await store.write(lambda tx: crew.send(tx, n=20))
        assert set(again) & lost.left_since  # why nobody but a person may say so


async def test_nothing_that_was_asked_is_done_again_and_no_receiver_gets_anything(lost, tmp_path):
    state = tmp_path / "state"
    done = await asyncio.to_thread(put_back, lost, state)
    assert done.standstill.n_webhooks == 1
    async with opened(state, TestClock()) as store:
        [taken] = await store.write(lambda tx: wishes.take(tx, [bay_of(CARDS[0])]))
        assert taken == []
        one = await store.read(lambda conn: webhooks.find(conn, store.vault, "crm"))
        assert one is not None
        assert one.state is EndpointState.PAUSED
        assert "restored from a backup" in one.reason


async def test_the_restored_log_is_whole_and_tells_of_it(lost, tmp_path):
    state = tmp_path / "state"
    done = await asyncio.to_thread(put_back, lost, state)
    [report] = await asyncio.to_thread(
        verify_offline,
        f"sqlite:///{state}/modemctl.db",
        node_id="n1",
        audit_public_key=AuditKey(AUDIT_SEED).public_octets(),
        head_file=state / "audit.head",
        vault=Vault(MASTER_KEY),
    )
    assert report.faults == ()
    head = done.manifest.heads["n1"]
    assert read_heads(state / "audit.head")["n1"].seq == report.n_entries > head.seq
    assert (state / "modemctl.db").stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in state.iterdir()) == [
        "audit.head", "lock", "modemctl.db", "restored-settings.json",
    ]  # fmt: skip


def test_what_stands_in_the_state_folder_is_never_written_over(lost, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    (state / "modemctl.db").write_bytes(b"the only copy of what was sent")
    with pytest.raises(Conflict, match="is not empty"):
        put_back(lost, state)
    assert (state / "modemctl.db").read_bytes() == b"the only copy of what was sent"


def test_a_running_daemon_keeps_a_restore_out(lost, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    with (state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="in use by a running modemctl"):
            put_back(lost, state)
    assert [path.name for path in state.iterdir()] == ["lock"]


def test_a_restore_that_fails_leaves_an_empty_folder(lost, tmp_path):
    """Damaged, or with another master key: what was unpacked goes, and it can be tried again."""
    state = tmp_path / "state"
    octets = bytearray(lost.file.read_bytes())
    octets[-1_000] ^= 1
    damaged = tmp_path / "damaged"
    damaged.write_bytes(octets)
    settings = lost.settings_in(state)
    with pytest.raises(InvalidRequest, match="damaged"):
        restore(damaged, settings, opener=opener(lost.identity))
    right = opener(lost.identity)
    wrong = Opener(
        identity=right.identity, vault=Vault(bytes(32)), audit_key=right.audit_key,
        clock=right.clock,
    )  # fmt: skip
    with pytest.raises(ConfigError, match="master key"):
        restore(lost.file, settings, opener=wrong)
    assert [path.name for path in state.iterdir()] == ["lock"]
    put_back(lost, state)
    with closing(sqlite3.connect(state / "modemctl.db")) as db:
        assert db.execute("SELECT count(*) FROM batch").fetchone() == (2,)
    shutil.rmtree(state)
