"""The real application over real services on a real store, for tests."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import httpx2
from fastapi import FastAPI

from api.app import Services, create_app
from api.server import serve
from modemctl.config import ApiSettings, Settings
from modemctl.config.balances import BalanceSettings, BalancesSettings
from modemctl.policy.custody import WorkingDays
from modemctl.policy.records import RecordClass, Retention
from modemctl.policy.webhooks import Destinations
from modemctl.service.accounts import AccountKind, Accounts, bootstrap
from modemctl.service.admissions import Admissions
from modemctl.service.audit_export import AuditExports
from modemctl.service.audit_samples import AuditSamples
from modemctl.service.audits import Audits
from modemctl.service.authorities import Authorities
from modemctl.service.backup_rules import BackupRules
from modemctl.service.backups import Backups
from modemctl.service.balances import Balances
from modemctl.service.batches import Batches, SubmissionRules
from modemctl.service.calls import Calls
from modemctl.service.card_endings import Endings
from modemctl.service.custody import Custody
from modemctl.service.customers import Customers
from modemctl.service.departments import Departments
from modemctl.service.doubt import Doubts
from modemctl.service.dual import DualKind, DualState
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
from modemctl.service.people import open_people
from modemctl.service.pin_reveals import PinReveals
from modemctl.service.policies import Policies
from modemctl.service.principal import ADMINISTRATOR, Principal
from modemctl.service.puks import Puks
from modemctl.service.purges import Purges
from modemctl.service.register_checks import RegisterChecks
from modemctl.service.self_tests import SelfTests
from modemctl.service.sims import Sims
from modemctl.service.stops import StopMemory, Stops
from modemctl.service.violations import Cases
from modemctl.service.webhook_client import PostOffice
from modemctl.service.webhooks import Webhooks
from modemctl.service.zones import Zones
from modemctl.store import Store
from modemctl.telemetry import Telemetry
from modemctl.vault import AuditKey
from tests.support.people import empower, second_administrator
from tests.support.stores import AUDIT_SEED, TestClock, open_store

STEPS = (
    "department_manager", "manager", "manager_in_charge", "general_manager", "emergency_approver",
)  # fmt: skip

LOCAL_POST = PostOffice(Destinations.of(["127.0.0.0/8"], plain_http=True), timeout=5)
"""Sends to receivers of this machine alone."""

RETENTION = Retention(days=dict.fromkeys(RecordClass, 1_827))


@dataclass
class ApiBench:
    """What a test holds of an application."""

    store: Store
    clock: TestClock
    services: Services
    settings: ApiSettings
    telemetry: Telemetry
    app: FastAPI
    admin: Principal
    admin_token: str

    def client(self, token: str | None = None) -> httpx2.AsyncClient:
        """A client that calls the application without a server."""
        return httpx2.AsyncClient(
            transport=httpx2.ASGITransport(self.app, raise_app_exceptions=False),
            base_url="http://modemctl",
            headers=_bearer(token),
        )

    def unix_client(self, token: str | None = None) -> httpx2.AsyncClient:
        """A client of the served Unix socket."""
        return httpx2.AsyncClient(
            transport=httpx2.AsyncHTTPTransport(uds=str(self.settings.unix_socket)),
            base_url="http://modemctl",
            headers=_bearer(token),
            timeout=60,
        )

    def tcp_client(self, token: str | None = None) -> httpx2.AsyncClient:
        """A client of the served TCP port."""
        return httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{self.settings.tcp_port}",
            headers=_bearer(token),
            timeout=60,
        )

    async def token_of(
        self, *roles: str, department: str | None = None, by: Principal | None = None
    ) -> str:
        """A new account with these roles; returns its API key, which `by` issued, else root."""
        name = f"{'-'.join(roles) or 'nobody'}-{department or 'all'}"
        account = await self.services.accounts.create(
            self.admin,
            name=name,
            kind=AccountKind.PERSON,
            department=department,
            roles=set(roles) - {ADMINISTRATOR},
        )
        if ADMINISTRATOR in roles:
            await self.services.grants.promote(self.admin, account.account_id, reason="test")
            await self.confirm_all()
        issuer = by or self.admin
        return (await self.services.accounts.issue_key(issuer, account.account_id)).token

    async def second(self) -> Principal:
        """Another administrator, who confirms what the first one asks for."""
        return await second_administrator(self.store)

    async def confirm_all(self) -> None:
        """The second administrator says yes to all that waits."""
        second = await self.second()
        waiting = await self.services.dual.list(second, state=DualState.ASKED)
        for one in waiting.items:
            await self.services.dual.confirm(second, one.request_id)

    async def empower(self, name: str, kind: str, department: str) -> None:
        """Let an account act as `kind` for 300 days, without the two who would have to say so."""
        await self.store.write(lambda tx: empower(tx, name, kind, department))


ASKED: Final = BalancesSettings(carriers={"CMCC": BalanceSettings(code="*100#", low="10")})
"""Which cards are asked for their balance."""


@asynccontextmanager
async def open_api(
    folder: Path,
    *,
    peers: dict[int, str] | None = None,
    site: Settings | None = None,
    **settings: object,
) -> AsyncIterator[ApiBench]:
    """An application with its first administrator `root`; `site`: settings of its backups."""
    clock = TestClock()
    chosen = {"unix_socket": folder / "api.sock", "tcp_port": 0} | settings
    api_settings = ApiSettings.model_validate({**chosen, "peers": peers or {}})
    async with open_store(folder, clock) as store:
        telemetry = Telemetry(version="test")
        services = make_services(store, api_settings, folder, telemetry, site)
        first = await store.write(lambda tx: bootstrap(tx, name="root"))
        yield ApiBench(
            store=store,
            clock=clock,
            services=services,
            settings=api_settings,
            telemetry=telemetry,
            app=create_app(services, settings=api_settings, telemetry=telemetry),
            admin=await services.gate.authenticate(first.token, "test"),
            admin_token=first.token,
        )


def make_services(
    store: Store,
    settings: ApiSettings,
    folder: Path,
    telemetry: Telemetry,
    site: Settings | None = None,
) -> Services:
    """All services over one store."""
    rules = SubmissionRules.of(Settings(api=settings))
    numbers = rules.numbers()
    zone = ZoneInfo("Asia/Shanghai")
    general = rules.approvals.general_department
    audits = Audits(
        store,
        audit_public_key=AuditKey(AUDIT_SEED).public_octets(),
        head_file=folder / "audit-head.json",
    )
    papers = Papers(
        store,
        PaperRules.of(Settings(api=settings, balances=ASKED)),
        folder=folder / "reports",
        audits=audits,
    )
    policies = Policies(store, Settings(api=settings).policy())
    people = open_people(
        store,
        Settings(api=settings),
        performers={DualKind.POLICY_CHANGE: policies.perform},
        on_odd=lambda odd: telemetry.count("modemctl_accounts_frozen_total", reason=odd.value),
    )
    office = Office(
        stops=Stops(store, general_department=general, memory=StopMemory()),
        modems=Modems(store, patience=0.05),
        admissions=Admissions(store),
        accounts=Accounts(store, general_department=general),
        authorities=Authorities(store, general_department=general),
        batches=Batches(store, rules),
    )
    loops = LoopTests(store, office.batches, rules)
    return Services(
        backups=Backups(store, BackupRules.of(site or Settings(api=settings))),
        batches=office.batches,
        emergencies=EmergencyWatch(store, timedelta(hours=24)),
        messages=Messages(store, rules),
        doubts=Doubts(store, general_department=general),
        opt_outs=OptOuts(store, numbers),
        customers=Customers(
            store, numbers=numbers, content=rules.content, is_enforced=rules.asks_register
        ),
        nodes=Nodes(store),
        modems=office.modems,
        admissions=office.admissions,
        stops=office.stops,
        incidents=Incidents(store, office),
        sims=Sims(store, numbers=numbers, zone=zone),
        custody=Custody(store, numbers=numbers),
        endings=Endings(store),
        histories=Histories(store, days=WorkingDays.of(Settings().hours, zone)),
        offboarding=Offboarding(store),
        handovers=Handovers(store),
        cases=Cases(store, WorkingDays(zone=ZoneInfo("Asia/Shanghai"))),
        limits=Limits(store, rules.quota),
        register_checks=RegisterChecks(store, numbers=numbers, zone=ZoneInfo("Asia/Shanghai")),
        zones=Zones(store, rules.quota),
        webhooks=Webhooks(store, LOCAL_POST, site="site", general_department="general"),
        loops=loops,
        self_tests=SelfTests(
            store, numbers=numbers, zone=ZoneInfo("Asia/Shanghai"), patience=0.05, loops=loops
        ),
        balances=Balances(store, ASKED, zone=zone, patience=0.05),
        locks=Locks(store),
        puks=Puks(store),
        policies=policies,
        dual=people.dual,
        inbox=Inbox(store, numbers=numbers),
        calls=Calls(store, numbers=numbers),
        access=people.access,
        gate=people.gate,
        behaviour=people.behaviour,
        freezing=people.freezing,
        elevations=people.elevations,
        grants=people.grants,
        operators=people.operators,
        qualifications=people.qualifications,
        accounts=office.accounts,
        departments=Departments(store, general_department=general),
        authorities=office.authorities,
        events=Events(store, keep_days=7, general_department="general"),
        audits=audits,
        papers=papers,
        exports=Exports(
            store,
            papers,
            bulk_rows=4,
            review_every=timedelta(days=90),
        ),
        audit_exports=AuditExports(
            store, site_id="site", audit_public_key=AuditKey(AUDIT_SEED).public_octets()
        ),
        audit_samples=AuditSamples(store, zone=ZoneInfo("Asia/Shanghai")),
        health=Health(store),
        holds=Holds(store, numbers=numbers),
        purges=Purges(store, retention=RETENTION, is_automatic=False),
        erasures=Erasures(store, numbers=numbers),
        pin_reveals=PinReveals(store),
        packages=Packages(store, numbers=numbers, site_id="test", key=AuditKey(AUDIT_SEED)),
        keyring=Keyring(store, master_key_file=folder / "master.key"),
    )


@asynccontextmanager
async def serving(bench: ApiBench) -> AsyncIterator[asyncio.Event]:
    """The application on its real sockets until the block ends; gives the stop event."""
    stop, listening = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(bench.app, bench.settings, stop=stop, on_listening=listening.set))
        async with asyncio.timeout(60):
            await listening.wait()
        try:
            yield stop
        finally:
            stop.set()


def free_port() -> int:
    """A TCP port of this host that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}
