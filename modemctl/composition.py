"""One of each service, over one store and one set of settings. No logic."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

from api.services import Services
from modemctl.config import PurgeMode, Settings
from modemctl.policy.custody import WorkingDays
from modemctl.service.accounts import Accounts
from modemctl.service.admissions import Admissions
from modemctl.service.audit_export import AuditExports
from modemctl.service.audit_samples import AuditSamples
from modemctl.service.audits import Audits
from modemctl.service.authorities import Authorities
from modemctl.service.backup_rules import BackupRules
from modemctl.service.backups import Backups
from modemctl.service.balances import Balances
from modemctl.service.batches import Batches
from modemctl.service.calls import Calls
from modemctl.service.card_endings import Endings
from modemctl.service.custody import Custody
from modemctl.service.customers import Customers
from modemctl.service.departments import Departments
from modemctl.service.doubt import Doubts
from modemctl.service.dual import DualKind
from modemctl.service.emergencies import EmergencyWatch
from modemctl.service.erasures import Erasures
from modemctl.service.events import Events
from modemctl.service.exports import Exports
from modemctl.service.handovers import Handovers
from modemctl.service.health import Health
from modemctl.service.histories import Histories
from modemctl.service.holds import Holds
from modemctl.service.inbox import Inbox
from modemctl.service.incidents import Incidents, Office
from modemctl.service.keyring import Keyring
from modemctl.service.limits import Limits
from modemctl.service.locks import Locks
from modemctl.service.loop_tests import LoopTests
from modemctl.service.messages import Messages
from modemctl.service.modems import Modems
from modemctl.service.nodes import Nodes
from modemctl.service.offboarding import Offboarding
from modemctl.service.optouts import OptOuts
from modemctl.service.packages import Packages
from modemctl.service.paper_orders import PaperRules
from modemctl.service.papers import Papers
from modemctl.service.parties import Parties
from modemctl.service.people import open_people
from modemctl.service.pin_reveals import PinReveals
from modemctl.service.policies import Policies
from modemctl.service.puks import Puks
from modemctl.service.purges import Purges, retention
from modemctl.service.register_checks import RegisterChecks
from modemctl.service.self_tests import SelfTests
from modemctl.service.sims import Sims
from modemctl.service.stops import Stops
from modemctl.service.submission import SubmissionRules
from modemctl.service.violations import Cases
from modemctl.service.webhook_client import PostOffice
from modemctl.service.webhooks import Webhooks
from modemctl.service.zones import Zones
from modemctl.store import (
    Store,
)
from modemctl.store.segments import SendingRules
from modemctl.telemetry import (
    Telemetry,
)
from modemctl.vault import AuditKey


def make_services(
    store: Store,
    settings: Settings,
    audit_key: AuditKey,
    sending: SendingRules,
    telemetry: Telemetry,
    *,
    post: PostOffice,
) -> Services:
    """One of each service.

    `sending` is the gate's: what it remembers and counts they share. `post` sends webhooks.
    """
    rules = replace(SubmissionRules.of(settings), quota=sending.quota)
    general = settings.approvals.general_department
    numbers = rules.numbers()
    audits = Audits(
        store,
        audit_public_key=audit_key.public_octets(),
        head_file=settings.paths.state_dir / "audit.head",
    )
    papers = Papers(
        store,
        PaperRules.of(settings),
        folder=settings.paths.state_dir / "reports",
        audits=audits,
    )
    policies = Policies(store, settings.policy())
    people = open_people(
        store,
        settings,
        performers={
            DualKind.POLICY_CHANGE: policies.perform,
            DualKind.THIRD_PARTY: Parties(own_party=settings.approvals.own_party).perform,
        },
        on_odd=lambda odd: telemetry.count("modemctl_accounts_frozen_total", reason=odd.value),
    )
    zone = ZoneInfo(settings.site.timezone)
    office = Office(
        stops=Stops(store, general_department=general, memory=sending.stops),
        modems=Modems(store),
        admissions=Admissions(store),
        accounts=Accounts(
            store,
            general_department=general,
            needs_training=settings.people.require_training,
        ),
        authorities=Authorities(store, general_department=general),
        batches=Batches(store, rules, sending.proofs),
    )
    loops = LoopTests(store, office.batches, rules)
    return Services(
        backups=Backups(store, BackupRules.of(settings)),
        batches=office.batches,
        emergencies=EmergencyWatch(store, rules.approvals.emergencies.followup),
        messages=Messages(store, rules),
        doubts=Doubts(store, general_department=general),
        opt_outs=OptOuts(store, numbers),
        customers=Customers(
            store,
            numbers=rules.numbers(half_width_only=True),
            content=rules.content,
            is_enforced=rules.asks_register,
        ),
        modems=office.modems,
        nodes=Nodes(store),
        admissions=office.admissions,
        sims=Sims(store, numbers=numbers, zone=zone),
        custody=Custody(store, numbers=numbers),
        endings=Endings(store),
        histories=Histories(store, days=WorkingDays.of(settings.hours, zone)),
        offboarding=Offboarding(store),
        stops=office.stops,
        incidents=Incidents(store, office),
        handovers=Handovers(store),
        cases=Cases(store, WorkingDays.of(settings.hours, zone)),
        limits=Limits(store, rules.quota),
        register_checks=RegisterChecks(store, numbers=numbers, zone=zone),
        zones=Zones(store, rules.quota),
        webhooks=Webhooks(store, post, site=settings.site.id, general_department=general),
        loops=loops,
        self_tests=SelfTests(
            store, numbers=numbers, zone=zone, balances=settings.balances, loops=loops
        ),
        balances=Balances(store, settings.balances, zone=zone),
        locks=Locks(store),
        puks=Puks(store),
        dual=people.dual,
        policies=policies,
        inbox=Inbox(store, numbers=numbers),
        calls=Calls(store, numbers=numbers),
        access=people.access,
        gate=people.gate,
        behaviour=people.behaviour,
        freezing=people.freezing,
        elevations=people.elevations,
        accounts=office.accounts,
        departments=Departments(store, general_department=general),
        authorities=office.authorities,
        grants=people.grants,
        operators=people.operators,
        qualifications=people.qualifications,
        events=Events(store, keep_days=settings.retention.events_days, general_department=general),
        audits=audits,
        papers=papers,
        exports=Exports(
            store,
            papers,
            bulk_rows=settings.exports.bulk_rows,
            review_every=timedelta(days=settings.exports.review_days),
        ),
        audit_exports=AuditExports(
            store, site_id=settings.site.id, audit_public_key=audit_key.public_octets()
        ),
        audit_samples=AuditSamples(store, zone=zone),
        health=Health(store),
        holds=Holds(store, numbers=numbers),
        purges=Purges(
            store,
            retention=retention(settings.retention),
            is_automatic=settings.retention.purge is PurgeMode.AUTOMATIC,
        ),
        erasures=Erasures(store, numbers=numbers),
        pin_reveals=PinReveals(store),
        packages=Packages(store, numbers=numbers, site_id=settings.site.id, key=audit_key),
        keyring=Keyring(store, master_key_file=settings.paths.master_key_file),
    )
