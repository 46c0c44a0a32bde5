"""Rows of all that a site keeps beside its batches, each made by the act that makes it.

Nothing here stops the batches that run: stops and holds are about others.
"""

import dataclasses
import uuid
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import insert

from modemctl.config.settings import ApiSettings
from modemctl.lifecycle import CardState
from modemctl.model import Bay, Iccid
from modemctl.policy.dual import DualKind
from modemctl.policy.incoming import InboxKind
from modemctl.policy.pin_guard import AttemptOutcome, PinCommand
from modemctl.policy.stops import StopKind
from modemctl.service.batches import Recipient
from modemctl.service.card_requests import CardForm
from modemctl.service.dual import Dual
from modemctl.service.export_plans import ExportContent
from modemctl.service.exports import ExportAsk
from modemctl.service.papers import PaperAsk
from modemctl.service.parties import Parties
from modemctl.service.principal import ROLES, Principal, scopes_of
from modemctl.service.qualifications import Qualifications
from modemctl.store import (
    Tx,
    backups,
    calls,
    card_locks,
    customers,
    duties,
    inbox,
    nodes,
    optouts,
    pin_tries,
    pins,
    register_faults,
    reports,
    sims,
)
from modemctl.store.accounts import AccountKind, add_account
from modemctl.store.audits import read_chain
from modemctl.store.papers import PaperKind
from modemctl.store.tables import balance
from modemctl.telemetry import Telemetry
from modemctl.vault import AuditKey
from tests.support.apis import make_services
from tests.support.people import RETAIL, Office
from tests.support.stores import AUDIT_SEED

BAY = Bay("bay-000")
NEW_CARD = Iccid("89860000000000000900")
PIN_CARD = Iccid("89860000000000000901")
STRANGER, FORGOTTEN = "+8613900000099", "+8613900000077"
OLD_PIN, NEW_PIN = "7391", "90417365"


class Registry:
    """All services over an office's store, and persons who may do everything."""

    def __init__(self, office: Office, folder: Path) -> None:
        self.office, self.store = office, office.store
        settings = ApiSettings(unix_socket=folder / "api.sock")
        self.services = make_services(self.store, settings, folder, Telemetry(version="test"))
        self.dual = Dual(
            self.store,
            performers={
                DualKind.THIRD_PARTY: Parties(own_party="own").perform,
                DualKind.ELEVATION: self.services.elevations.perform,
                DualKind.GRANT: self.services.grants.perform,
            },
        )

    async def hire(self) -> None:
        """Four persons with every role."""
        names = ("anna", "bert", "carl", "dora")
        self.anna, self.bert, self.carl, self.dora = [await self._hire(name) for name in names]

    async def _hire(self, name: str) -> Principal:
        roles = sorted(ROLES)
        account = await self.store.write(
            lambda tx: add_account(
                tx, name=name, kind=AccountKind.PERSON, department=None, roles=roles
            )
        )
        return Principal(
            account_id=account.account_id, name=name, department=None,
            scopes=scopes_of(frozenset(roles)), source="test", is_person=True,
        )  # fmt: skip

    async def agree(self, kind: DualKind, subject: str, **details: str) -> str:
        """What two persons agreed on."""
        asked = await self.dual.ask(
            self.anna, kind=kind, subject=subject, details=details, reason="form 3"
        )
        await self.dual.confirm(self.bert, asked.request_id)
        return asked.request_id


async def fill(office: Office, folder: Path) -> None:
    """At least one row of each table."""
    registry = Registry(office, folder)
    await registry.hire()
    await office.store.write(_come_in)
    await office.store.write(_register_customers)
    await office.store.write(_back_up)
    await _leave_one_out(registry)
    await _hand_out_a_card(registry)
    await _try_pins(registry)
    await _empower(registry)
    await _judge(registry)
    await _keep_and_forget(registry)
    await _report(registry)
    await _test_bays(registry)
    await _send_events(registry)


async def _send_events(registry: Registry) -> None:
    """A webhook with a new secret, and an event that its receiver did not take."""
    webhooks = registry.services.webhooks
    await webhooks.add(registry.anna, name="crm", url="http://127.0.0.1:65535/", events=["alarm.*"])
    await webhooks.rotate_secret(registry.anna, "crm", overlap=timedelta(hours=24))
    since = registry.store.clock.now() - timedelta(days=1)
    await webhooks.replay(registry.anna, "crm", since=since)


def _back_up(tx: Tx) -> None:
    """A backup as the log tells of it, and its copy on a medium."""
    begun = backups.begin(tx, by="n1", folder="/srv/backup", name="modemctl-site-n1-x.tar.age")
    made = dataclasses.replace(
        begun, state=backups.BackupState.DONE, finished_at=tx.now, sha256="0" * 64, n_octets=4_711,
        n_database=4_000, n_rows=99, schema_revision="0039", log_seq=12,
    )  # fmt: skip
    backups.keep(tx, made)
    tx.audit("n1", "backup.make", made.backup_id, {"name": made.name})
    act = backups.BackupAct(
        act_id=str(uuid.uuid4()), backup_id=made.backup_id, kind=backups.ActKind.COPY, at=tx.now,
        by="anna", medium="friday-a", keeper="anna", n_rows=7, seconds=3,
    )  # fmt: skip
    backups.add_act(tx, act)
    tx.audit("anna", "backup.copy", made.backup_id, {"act": act.act_id, "keeper": "anna"})


def _register_customers(tx: Tx) -> None:
    """A department's customers, from two lists."""
    for n_before in (0, 2):
        number = customers.begin(tx, department="sales", source="core bank")
        tokens = [
            customers.token_of(tx.vault, "sales", tx.vault.blind_index(f"+861380000{n:04d}"))
            for n in range(n_before, n_before + 2)
        ]
        new = customers.keep(tx, number, tokens)
        total = sum(customers.weight_of(tx.vault, token, number) for token in new)
        customers.finish(tx, number, by="keeper", n=len(new), total=total)


def _come_in(tx: Tx) -> None:
    """What modems tell by themselves: a message, a call, a report, a number, a lock."""
    nodes.start(tx, version="1", boot_id="b", public_key=AuditKey(AUDIT_SEED).public_octets())
    duties.begin(tx)
    message = inbox.NewMessage(
        iccid=None, bay=BAY, sender=STRANGER, is_sender_number=True, scts=None, text="hello",
        concat=None, tpdu=b"\x04", kind=InboxKind.TEXT,
    )  # fmt: skip
    inbox.add(tx, [message])
    ringing = calls.CallState(
        iccid=None, bay=BAY, is_incoming=True, number=STRANGER, started_at=tx.now,
        answered_at=None, ended_at=tx.now, n_rings=3, cause="not answered",
    )  # fmt: skip
    calls.save(tx, [ringing])
    unknown = reports.NewReport(
        iccid=PIN_CARD, bay=BAY, recipient=STRANGER, mr=9, st=0, scts=None, discharged_at=None,
        tpdu=b"\x06",
    )  # fmt: skip
    reports.add(tx, [unknown])
    card_locks.note(tx, [card_locks.LockNote(iccid=PIN_CARD, bay=BAY, is_locked=True, reason="")])
    register_faults.note_number(tx, PIN_CARD, STRANGER)
    told = {"iccid": PIN_CARD, "bay": BAY, "at": tx.now, "asked_by": "", "currency": "CNY"}
    tx.conn.execute(insert(balance).values(told | {"outcome": "read", "is_low": False}))
    optouts.add(tx, FORGOTTEN, source="api", by="anna")


async def _leave_one_out(registry: Registry) -> None:
    """A batch that waits for its check; one of its numbers wants nothing."""
    office = registry.office
    lines = [
        Recipient(line_no=1, to="13800000009", variables={}),
        Recipient(line_no=2, to=FORGOTTEN[3:], variables={}),
    ]
    shown = await office.batches.submit(
        office.who["system"], office.request("notice", text="Closed on Monday."), lines
    )
    assert shown.batch.n_removed == 1


async def _hand_out_a_card(registry: Registry) -> None:
    """Request, review, approve, provision: each by another person."""
    custody = registry.services.custody
    form = CardForm(
        department=RETAIL, purpose="notices", holder="Li", number=STRANGER, user_name="Wang"
    )
    await custody.request(registry.anna, NEW_CARD, form, "a new branch")
    await custody.review(registry.bert, NEW_CARD, "needed")
    head = dataclasses.replace(registry.carl, department=RETAIL)
    await custody.approve(head, NEW_CARD, "yes")
    await custody.provision(registry.dora, NEW_CARD, "done", pin=OLD_PIN)


async def _try_pins(registry: Registry) -> None:
    """A card of a list: its PIN is proved, then the vault sets another one."""

    def bring(tx: Tx) -> None:
        card = sims.NewCard(
            iccid=PIN_CARD, department="loans", state=CardState.ISSUED, verified_at=tx.now,
            verified_by="x",
        )  # fmt: skip
        sims.add(tx, [card])
        pins.add_import(tx, "import-1", {PIN_CARD: OLD_PIN})

    await registry.store.write(bring)
    for command, new_pin in ((PinCommand.CPIN, None), (PinCommand.CPWD, NEW_PIN)):
        request = pin_tries.TryRequest(
            iccid=PIN_CARD, bay=BAY, command=command, counter=3, new_pin=new_pin,
        )  # fmt: skip

        def claim(tx: Tx, request: pin_tries.TryRequest = request) -> None:
            [cleared] = pin_tries.claim(tx, [request])
            assert isinstance(cleared, pin_tries.ClearedTry), cleared
            done = pin_tries.AttemptResult(
                attempt_id=cleared.attempt_id, outcome=AttemptOutcome.RIGHT
            )
            pin_tries.record(tx, [done])

        await registry.store.write(claim)


async def _empower(registry: Registry) -> None:
    """A third party, roles for a time, a training."""
    until = (registry.store.clock.now() + timedelta(days=10)).isoformat()
    await registry.agree(DualKind.THIRD_PARTY, "Acme", until=until, reference="board 7")
    services = registry.services
    asked = await services.elevations.ask(
        registry.office.who["dm"], account="checker", roles=["maintainer"], hours=8, reason="x"
    )
    await registry.dual.confirm(registry.bert, asked.request_id)
    grants, carl = services.grants, registry.carl.account_id
    granted = await grants.authorise(
        registry.anna, account_id=carl, kind="manager", department="loans", valid_from=None,
        valid_until=registry.store.clock.now() + timedelta(days=9), reference="form 9",
    )  # fmt: skip
    public = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
    registered = await grants.register_key(registry.anna, carl, public_key=public)
    for one in (granted, registered):
        await registry.dual.confirm(registry.bert, one.request_id)
    today = registry.store.clock.now().date()
    assert isinstance(services.qualifications, Qualifications)
    await services.qualifications.record(
        registry.anna, registry.office.who["checker"].account_id, hours=8, score=90,
        trained_on=today, agreement_on=today, reference="c 17",
    )  # fmt: skip


async def _judge(registry: Registry) -> None:
    """An incident, a case on an entry of the log, a hand-over, a department's word."""
    services, anna = registry.services, registry.anna
    opened = await services.incidents.open(
        anna, level=3, title="a modem smells", keeps_running=True
    )
    await services.incidents.note(anna, opened.incident.incident_id, "it was taken out")
    chain = await registry.store.read(
        lambda conn: read_chain(conn, node_id="n1", after=0, limit=1_000)
    )
    entry = next(one for one in chain if one.draft.action == "request.ask"
                 and one.draft.actor == "anna")  # fmt: skip
    await services.cases.open(
        registry.bert, policy="SMS-06", person="anna", grade=1, summary="for a friend",
        evidence=[("n1", entry.seq)], amount_fen=500,
    )  # fmt: skip
    await services.handovers.make(anna, "quiet")
    await services.register_checks.confirm(anna, RETAIL)
    await services.stops.place(anna, StopKind.CARD, PIN_CARD, "a spare")


async def _keep_and_forget(registry: Registry) -> None:
    """A legal hold, a purge of what is old, an erasure."""
    services, anna = registry.services, registry.anna
    await services.holds.set_hold(anna, reason="a dispute", iccid=NEW_CARD)
    subject = (await services.purges.preview(anna)).subject
    await services.purges.start(anna, request_id=await registry.agree(DualKind.PURGE, subject))
    await services.purges.purge_due()
    subject = (await services.erasures.preview(anna, FORGOTTEN)).subject
    await services.erasures.erase(
        anna, FORGOTTEN, reason="asked to",
        request_id=await registry.agree(DualKind.ERASURE, subject),
    )  # fmt: skip


async def _report(registry: Registry) -> None:
    """A report that was asked for, and a line of the exports' ledger."""
    await registry.services.papers.make(
        registry.anna, PaperAsk(kind=PaperKind.ACCESS, subject="2026-10")
    )
    await registry.services.exports.make(
        registry.anna,
        ExportAsk(
            content=ExportContent.CARDS, columns=("iccid",), recipient="audit", purpose="yearly",
            request_id=await registry.agree(
                DualKind.EXPORT, "cards", columns="iccid", recipient="audit", purpose="yearly",
                unmasked="no",
            ),
        ),
    )  # fmt: skip


async def _test_bays(registry: Registry) -> None:
    """Nobody drives the bays here: each wish waits for nothing."""
    await registry.services.self_tests.run(registry.anna)
