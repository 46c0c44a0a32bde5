"""A site with a running batch, and somebody who writes into its database without any key.

Each attack runs in one transaction that is rolled back: what it changes, what then leaves, and what
`audit verify` says of it.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import SQLAlchemyError

from modemctl.config import Settings
from modemctl.config.settings import ListMode
from modemctl.daemon import sending_rules
from modemctl.errors import ConfigError, PolicyRefused
from modemctl.fleet.dispatcher import Dispatcher, EncodingRules, Job
from modemctl.lifecycle import ModemState
from modemctl.model import Bay, Iccid
from modemctl.policy.dual import DualKind
from modemctl.policy.stops import StopKind
from modemctl.service.admissions import Admissions
from modemctl.service.audits import read_heads
from modemctl.service.chain_check import ChainCheck
from modemctl.service.departments import Departments
from modemctl.service.dual import Dual
from modemctl.service.policies import Policies
from modemctl.service.principal import scopes_of
from modemctl.service.stops import StopMemory, Stops
from modemctl.store import (
    Store,
    keys,
    leases,
    modems,
    optouts,
    outcomes,
    puks,
    submits,
    ties,
    wishes,
)
from modemctl.store.engine import UNREADABLE, _tune_sqlite
from modemctl.store.evidence import read_lines
from modemctl.store.leases import Leased, LeaseRequest
from modemctl.store.outcomes import Outcome, Took
from modemctl.store.segments import Release, SendingRules, release
from modemctl.store.submits import Cleared, SubmitRequest
from modemctl.store.transaction import Tx
from modemctl.telemetry import Telemetry
from modemctl.vault import AuditKey, Vault
from tests.support import records
from tests.support.approved import add_cards
from tests.support.people import RETAIL, Office
from tests.support.stores import AUDIT_SEED, MASTER_KEY, TestClock
from tests.unit.test_audits import audits_of
from tests.unit.test_stops import office_in

CARDS = [Iccid(f"8986000000000000{i:03d}") for i in range(2)]
SETTINGS = Settings.model_validate(
    {
        "limits": {
            "minimum_gap": 0,
            "recipient": {"messages_per_day": 5},
            "department": {"recipients_per_day": 50},
        }
    }
)
N_LINES = 5
OPTED_OUT = "+8613800000005"  # the last line's, opted out when the batch ran already


def new_rules() -> SendingRules:
    """What leases and submits are held to; nothing is remembered of earlier checks."""
    return sending_rules(SETTINGS)


def bay_of(card: Iccid) -> Bay:
    return Bay(f"bay-{card[-3:]}")


async def build(folder: Path) -> None:
    """A bank with two cards, people, and a batch of five lines of which one is sent."""
    async with office_in(folder) as office:
        await _furnish(office)
        shown = await office.start(await office.approve(await office.submit(N_LINES)))
        await office.store.write(lambda tx: optouts.add_from_sms(tx, OPTED_OUT, "TD"))
        await office.store.write(lambda tx: optouts.add_from_sms(tx, "+8613900000001", "TD"))
        assert await Policies(office.store, SETTINGS.policy()).open()
        assert shown.batch.state == "running"
        crew = Crew(office.store, new_rules())
        sent = await office.store.write(lambda tx: crew.send(tx, n=1))
        assert len(sent) == 1
        other = office.submit(2, text="Interest paid, in a longer text. " * 6)
        await office.start(await office.approve(await other))
        await _stop_in_flight(office, crew)
        await records.fill(office, folder)
        await audits_of(office.store, folder).note_head()


def place_cards(tx: Tx) -> None:
    """Two issued cards, each READY in its bay."""
    add_cards(tx, CARDS, department=RETAIL, pin="1234")
    modems.save_changes(
        tx,
        [
            modems.StateChange(
                facts=modems.Facts(
                    bay=bay_of(card), port="/dev/x", iccid=card, imei=f"49015420323751{i}"
                ),
                before=ModemState.SEARCHING, after=ModemState.READY, event="registered",
                reason="",
            )
            for i, card in enumerate(CARDS)
        ],
    )  # fmt: skip
    for card in CARDS:
        ties.learn(tx, bay_of(card), card, ListMode.LEARN)


async def _furnish(office: Office) -> None:
    store = office.store
    await store.write(place_cards)
    issued = await office.accounts.create(
        office.admin, name="eve", kind="person", department=RETAIL, roles=["submitter"]
    )
    await office.accounts.issue_key(office.admin, issued.account_id)
    clerk = dataclasses.replace(
        office.who["gm"], scopes=scopes_of(frozenset({"technician", "administrator"}))
    )
    await Departments(store, general_department="general").add(clerk, name="east")
    await Admissions(store).admit(clerk, ["490154203237518"], "order 7")
    await store.write(
        lambda tx: puks.ask(
            tx, CARDS[1], puk="12345678", reason="blocked", by=clerk.account_id, name="gm"
        )
    )
    await Dual(store).ask(
        clerk, kind=DualKind.PIN_REVEAL, subject=CARDS[0], details={}, reason="more cards"
    )


async def _stop_in_flight(office: Office, crew: "Crew") -> None:
    """A card is stopped with a message in hand; it is given back, and the stop lifted."""
    card, who = CARDS[1], dataclasses.replace(
        office.who["gm"], scopes=scopes_of(frozenset({"operator", "administrator"}))
    )  # fmt: skip
    request = LeaseRequest(bay=bay_of(card), iccid=card, rules=crew.rules)
    [leased] = await office.store.write(lambda tx: leases.lease(tx, [request]))
    assert isinstance(leased, Leased)
    stops = Stops(office.store, general_department="general", memory=StopMemory())
    placed = await stops.place(who, StopKind.CARD, card, "it was seen elsewhere")
    back = Release(token=leased.token, reason="stopped", rules=crew.rules)
    await office.store.write(lambda tx: release(tx, [back]))
    await stops.lift(office.admin, placed.stop_id, "it was another")


@dataclass
class Crew:
    """Two READY cards, with the dispatcher's own proof and encoding between lease and submit."""

    store: Store
    rules: SendingRules

    def __post_init__(self) -> None:
        encoding = EncodingRules(validity=timedelta(hours=24), wants_reports=True)
        self._dispatcher = Dispatcher(self.store, self.rules, encoding, Telemetry(version="test"))

    def send(self, tx: Tx, *, n: int = 50) -> list[bytes]:
        """Send what may be sent, `n` messages at most; the TPDUs that left."""
        left: list[bytes] = []
        for turn in range(n):
            card = CARDS[turn % len(CARDS)]
            request = LeaseRequest(bay=bay_of(card), iccid=card, rules=self.rules)
            [leased] = leases.lease(tx, [request])
            if not isinstance(leased, Leased):
                if turn % len(CARDS):
                    break
                continue
            job = self._prove(tx, leased)
            if job is None:
                continue
            for one in job.segments:
                left += self._submit(tx, job, one.segment_id, one.tpdu)
        return left

    def _prove(self, tx: Tx, leased: Leased) -> Job | None:
        verified = self.rules.proofs.verified(tx.conn, tx.vault, [leased.batch_id], now=tx.now)
        batch = verified[leased.batch_id]
        try:
            if isinstance(batch, PolicyRefused):
                raise batch
            lines = read_lines(tx.conn, tx.vault, [leased.message_id])
            return self._dispatcher._encode(leased, batch, lines.get(leased.message_id))
        except PolicyRefused as error:
            refusal = submits.Refusal(
                token=leased.token, batch_id=leased.batch_id, policy=error.policy or "",
                rule=error.rule, is_whole_batch=isinstance(batch, PolicyRefused), rules=self.rules,
            )  # fmt: skip
            submits.refuse(tx, [refusal])
            return None

    def _submit(self, tx: Tx, job: Job, segment_id: int, tpdu: bytes) -> list[bytes]:
        lease = job.lease
        request = SubmitRequest(
            segment_id=segment_id, token=lease.token, bay=lease.bay, iccid=lease.iccid,
            batch_id=lease.batch_id, digest=job.digest, recipient_bidx=job.recipient_bidx,
            tpdu=tpdu, rules=self.rules,
        )  # fmt: skip
        [clearance] = submits.begin_submit(tx, [request])
        if not isinstance(clearance, Cleared):
            return []
        outcome = Outcome(
            segment_id=segment_id, token=lease.token, result=Took(mr=7), rules=self.rules
        )
        outcomes.record_outcome(tx, [outcome])
        return [clearance.tpdu]


@dataclass(frozen=True)
class Finding:
    """What an attack came to: TPDUs that left, what `audit verify` said."""

    left: tuple[bytes, ...]
    faults: tuple[str, ...]
    error: str = ""


class Site:
    """The database of a site, opened by somebody who writes what he likes."""

    def __init__(self, folder: Path) -> None:
        self._clock = TestClock()
        self._vault = Vault(MASTER_KEY)
        url = f"sqlite:///{folder}/modemctl.db"
        self._store = Store(
            url, vault=self._vault, audit_key=AuditKey(AUDIT_SEED), clock=self._clock, node_id="n1"
        )
        self._engine = create_engine(url)
        _tune_sqlite(self._engine, begin="BEGIN", query_only=False, cache_kib=16_000)
        self._heads = read_heads(folder / "head.json")

    @contextmanager
    def opened(self) -> Iterator[Connection]:
        """The database, to be changed; all is undone at the end."""
        with self._engine.connect() as conn:
            conn.exec_driver_sql("ROLLBACK")
            conn.exec_driver_sql("PRAGMA foreign_keys=OFF")
            conn.exec_driver_sql("PRAGMA ignore_check_constraints=ON")
            conn.exec_driver_sql("BEGIN")
            yield conn
            conn.rollback()

    def attack(self, conn: Connection, *, always: bool = False) -> Finding:
        """What comes of the database as it stands now; where it is named, only `always` sends."""
        try:
            keys.unlock(conn, self._vault)  # as whoever opens the database does
        except ConfigError as refused:
            return Finding(left=(), faults=(), error=repr(refused))
        faults = self.verify(conn)
        left: tuple[bytes, ...] = ()
        error = ""
        if always or not faults:
            try:
                left = tuple(self.send(conn))
            except (*UNREADABLE, SQLAlchemyError) as caught:
                error = repr(caught)
        return Finding(left=left, faults=faults, error=error)

    def verify(self, conn: Connection) -> tuple[str, ...]:
        """What `audit verify` says."""
        key = AuditKey(AUDIT_SEED).public_octets()
        check = ChainCheck("n1", key=key, expected=self._heads["n1"], vault=self._vault)
        while check.step(conn):
            pass
        return check.report().faults

    def send(self, conn: Connection) -> Sequence[bytes]:
        """What leaves."""
        return Crew(self._store, new_rules()).send(self.tx(conn))

    def wishes(self, conn: Connection, *, hours: float = 0) -> set[tuple[str, str, str]]:
        """What bays take up of what was asked of them: id, kind, bay."""
        bays = [bay_of(card) for card in CARDS]
        taken = wishes.take(self.tx(conn, hours=hours), bays)
        return {(one.wish_id, one.kind, one.bay) for of_bay in taken for one in of_bay}

    def tx(self, conn: Connection, *, hours: float = 0) -> Tx:
        """A transaction of the daemon, a little later."""
        now = self._clock.now() + timedelta(hours=hours, minutes=2)
        return Tx(conn, now=now, steady=now, vault=self._vault, node_id="n1")
