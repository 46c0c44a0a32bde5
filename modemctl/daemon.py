"""The composition root: builds everything, one root TaskGroup, signals, the service manager.

No logic: each part knows its work, here they meet. A child's death ends the process; the service
manager starts it again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

from api.app import create_app
from api.server import serve
from api.waiting import waiting_room
from drivers.family import Family
from drivers.interface import Driver, EventSink
from drivers.registry import probe
from modemctl import memory
from modemctl.composition import make_services
from modemctl.config import OnDoubt, Settings
from modemctl.errors import ConfigError, Conflict, NameTaken, StoreError
from modemctl.fleet.breaking import Breakers
from modemctl.fleet.census import Census
from modemctl.fleet.clock_watch import ClockWatch
from modemctl.fleet.dispatcher import Dispatcher, EncodingRules
from modemctl.fleet.families import known_families
from modemctl.fleet.ground import Ground
from modemctl.fleet.node_watch import NodeWatch
from modemctl.fleet.sending import StopBell
from modemctl.fleet.starting import StartBudget
from modemctl.fleet.supervisor import Supervisor
from modemctl.fleet.sweeper import Sweeper
from modemctl.fleet.usb_notes import OffNotes
from modemctl.policy.approvals import ApprovalRules
from modemctl.policy.hours import Quiet, is_quiet
from modemctl.policy.numbers import NumberRules
from modemctl.policy.quotas import FormerZone, QuotaRules
from modemctl.policy.webhooks import Destinations
from modemctl.service.audit_watch import AuditWatch
from modemctl.service.audits import Audits
from modemctl.service.chores import kept
from modemctl.service.events import Events
from modemctl.service.webhook_client import PostOffice
from modemctl.service.webhook_couriers import CourierRules, Couriers
from modemctl.service.webhook_line import LineRules
from modemctl.store import (
    Store,
    keys,
    modems,
    nodes,
    site_zones,
    sweeps,
)
from modemctl.store.key_files import load_audit_key, load_vault
from modemctl.store.lock import state_lock
from modemctl.store.opening import open_store
from modemctl.store.proofs import ProofBook
from modemctl.store.segments import SendingRules
from modemctl.telemetry import (
    BankSnapshot,
    ServiceManager,
    Telemetry,
    sample_loop_lag,
    setup_logging,
)
from modemctl.vault import AuditKey

_log = logging.getLogger(__name__)

_Chore: TypeAlias = Callable[[], Coroutine[object, object, None]]

_MINUTE: Final = 60.0
_HOUR: Final = 3_600.0
_REPORT_MARGIN: Final = timedelta(hours=1)  # a report may come so long after the validity's end
_LOST: Final = (
    "another daemon wrote to the database as node {node} meanwhile, or declared it lost (90 s of"
    " silence); this one ends, and what it had in flight is in doubt"
)
_WATCHDOG_PATIENCE: Final = 30.0  # the writer may be busy or fail; it must turn


async def run(settings: Settings) -> int:
    """Run the daemon until SIGTERM or SIGINT; returns the exit status.

    Raises:
        ConfigError: it cannot start as configured (exit status 78).
        StoreError: the database is held by another program, or was away for too long; starting
            again later may help. Another daemon took this node's name.
    """
    memory.share_heap()
    setup_logging(settings.logging.level, wire_log=settings.logging.wire_log)
    families = known_families(settings.bank.families)
    with state_lock(settings.paths.state_dir):
        vault = load_vault(settings.paths)
        audit_key = load_audit_key(settings.paths)
        telemetry = Telemetry(version=version("modemctl"))
        async with AsyncExitStack() as stack:
            async with waiting_room(settings.api) as tell:
                opening = open_store(settings, vault, audit_key, telemetry, tell=tell)
                store = await stack.enter_async_context(opening)
            is_clean = await _run_on(store, settings, telemetry, audit_key, families)
    if not is_clean:
        _log.error("daemon.left_behind")
        logging.shutdown()
        os._exit(0)  # to close the loop would wait for what never ends; all is saved by now
    return 0


def sending_rules(settings: Settings, former: Sequence[FormerZone] = ()) -> SendingRules:
    """What leases and submits are held to; `former` are zones that still bind the site."""
    zone = ZoneInfo(settings.site.timezone)
    quiet: dict[str, Quiet] = {}
    for category in settings.approvals.chains:
        hours = Quiet.of(settings.hours, category, zone)
        if hours is not None:
            quiet[category] = hours

    def is_open(category: str, at: datetime) -> bool:
        return not is_quiet(quiet.get(category), at)

    approvals = ApprovalRules.of(settings.site.id, settings.approvals)
    closes = settings.sms.on_doubt is OnDoubt.CLOSE
    last_report = timedelta(hours=settings.sms.validity_hours) + _REPORT_MARGIN
    return SendingRules(
        quota=replace(QuotaRules.of(settings.limits, zone), former=tuple(former)),
        approvals=approvals,
        proofs=ProofBook(approvals),
        policy=settings.policy_digest(),
        is_open=is_open,
        on_doubt_hold=settings.sms.on_doubt is OnDoubt.HOLD,
        doubt_closes_after=last_report if closes else None,
        wants_reports=settings.sms.request_reports,
        lease_seconds=2 * settings.bank.submit_timeout + 60,
    )


class Fleet:
    """What runs while hardware is plugged in, wired together."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        telemetry: Telemetry,
        families: Sequence[Family],
        former: Sequence[FormerZone],
    ) -> None:
        self.rules: Final = sending_rules(settings, former)
        encoding = EncodingRules(
            validity=timedelta(hours=settings.sms.validity_hours),
            wants_reports=settings.sms.request_reports,
        )
        self.dispatcher: Final = Dispatcher(store, self.rules, encoding, telemetry)
        self.sweeper: Final = Sweeper(store, self.rules)
        self.node_watch: Final = NodeWatch(store, self.rules, every=settings.site.heartbeat)

        async def open_modem(address: str, sink: EventSink) -> Driver:
            return await probe(address, sink, known=families, baudrate=settings.bank.baud)

        self.supervisor: Final = Supervisor(
            Ground(
                store=store,
                dispatcher=self.dispatcher,
                breakers=Breakers(store, telemetry),
                telemetry=telemetry,
                rules=self.rules,
                bank=settings.bank,
                sims=settings.sims,
                numbers=NumberRules(region=settings.site.region),
                stops=StopBell(),
                start_budget=StartBudget(
                    settings.bank.start_parallel, per_hub=settings.bank.start_parallel_per_hub
                ),
                probe=open_modem,
                off_notes=OffNotes(settings.paths.state_dir / "usb-off"),
            )
        )


class Office:
    """What runs beside the fleet, wired together: services, watches, couriers."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        telemetry: Telemetry,
        audit_key: AuditKey,
        rules: SendingRules,
    ) -> None:
        self._store = store
        self._post = post_office(settings)
        self.services = make_services(store, settings, audit_key, rules, telemetry, post=self._post)
        self.census = Census(store, rules.quota)
        every = timedelta(hours=settings.evidence.verify_hours)
        self.audit_watch = AuditWatch(store, self.services.audits, every=every)
        self.couriers = Couriers(store, self._post, _courier_rules(settings), telemetry)
        self.clock_watch = ClockWatch(
            store, rules.clock, is_minded=settings.evidence.is_clock_minded
        )
        health = self.services.health
        health.register("stops", self.services.stops.fault)
        health.register("policy", self.services.policies.fault)
        health.register("clock", self.clock_watch.fault)
        telemetry.register(self.census.snapshot)
        telemetry.register(self.services.backups.snapshot)
        telemetry.register(self._snapshot)

    async def open(self) -> None:
        """What has to be known before anybody is given work."""
        await self._post.prepare()
        await self.services.stops.recall()
        await self.services.policies.open()
        await self.clock_watch.look()

    def chores(self) -> Sequence[tuple[str, _Chore]]:
        """What is done beside sending and receiving, and must end neither."""
        services = self.services
        return (
            ("census", self.census.run),
            ("incidents", services.incidents.watch),
            ("cases", services.cases.watch),
            ("emergencies", services.emergencies.run),
            ("access counts", services.access.run),
            ("audit watch", self.audit_watch.run),
            ("events", partial(_forget_events, services.events)),
            ("drafts", services.batches.tidy),
            ("backup", services.backups.run),
            ("purge", services.purges.run),
            ("self-tests", services.self_tests.keep),
            ("balances", services.balances.keep),
            ("keys", services.keyring.run),
            ("reports", services.papers.run),
            ("overdue reports", services.papers.watch.run),
            ("webhooks", self.couriers.run),
        )

    async def close(self) -> None:
        """What the log is told at the end; a database that takes nothing is no reason not to."""
        try:
            await self.services.access.note()
            await self._store.write(nodes.stop)
        except StoreError as error:
            _log.error("daemon.end_not_noted", extra={"error": str(error)})
        await _note_head(self.services.audits)

    def _snapshot(self) -> BankSnapshot:
        return BankSnapshot(
            overdue=self.services.papers.watch.counts(),
            emergencies=self.services.emergencies.counts(),
            audit_faults=self.audit_watch.n_faults,
            webhooks=self.couriers.samples(),
        )


async def _run_on(
    store: Store,
    settings: Settings,
    telemetry: Telemetry,
    audit_key: AuditKey,
    families: Sequence[Family],
) -> bool:
    """Run until a signal; whether nothing is left that still runs."""
    stop = asyncio.Event()
    with _signals(stop):
        await _begin(store, settings)
        former = await _former_zones(store, settings.site.timezone)
        fleet = Fleet(store, settings, telemetry, families, former)
        telemetry.register(fleet.supervisor.snapshot)
        telemetry.register(fleet.node_watch.snapshot)
        office = Office(store, settings, telemetry, audit_key, fleet.rules)
        office.services.health.register("node", fleet.node_watch.fault)
        await office.open()
        longest_outage = timedelta(minutes=settings.hours.hold_after_outage_minutes)
        await _recover(store, fleet.rules, longest_outage)
        memory.settle()
        try:
            await _work(store, settings, telemetry, fleet=fleet, office=office, stop=stop)
        except* ConfigError as errors:
            raise ConfigError(_problems(errors)) from None
        except* NameTaken:
            raise NameTaken(_LOST.format(node=settings.site.node)) from None
    await office.close()
    return not fleet.supervisor.has_left_behind


async def _work(
    store: Store,
    settings: Settings,
    telemetry: Telemetry,
    *,
    fleet: Fleet,
    office: Office,
    stop: asyncio.Event,
) -> None:
    """Everything at once, until `stop`; then in order: no new work, actors, chores, the API."""
    app = create_app(office.services, settings=settings.api, telemetry=telemetry)
    manager = ServiceManager(store.clock)
    api_stop = asyncio.Event()
    running: Sequence[tuple[str, _Chore]] = (
        ("wake-ups", store.hear),  # first: whether others do a site's chores is asked before any
        ("dispatcher", fleet.dispatcher.run),
        ("sweeper", fleet.sweeper.run),
        ("node watch", fleet.node_watch.run),
        ("loop lag", partial(sample_loop_lag, telemetry)),
        ("name", partial(_mind_the_name, store)),
        ("watchdog", partial(_feed_watchdog, store, manager)),
        ("audit head", partial(_keep_evidence, office.services.audits)),
        ("clock", office.clock_watch.run),
        *((name, partial(kept, name, chore)) for name, chore in office.chores()),
    )
    async with asyncio.TaskGroup() as group:
        chores = [group.create_task(chore(), name=name) for name, chore in running]
        supervision = group.create_task(fleet.supervisor.run(), name="supervisor")
        listening = serve(app, settings.api, stop=api_stop, on_listening=manager.ready)
        group.create_task(listening, name="api")
        await stop.wait()
        _log.info("daemon.stopping")
        manager.stopping()
        fleet.supervisor.stop()
        await asyncio.wait([supervision])
        for task in chores:
            task.cancel()
        api_stop.set()


async def _former_zones(store: Store, zone: str) -> Sequence[FormerZone]:
    """The zones that the site left lately: told, since a day's limits are tighter meanwhile."""
    now = {"steady": store.journal.steady.now(), "wall": store.clock.now()}
    found = await store.read(lambda conn: site_zones.former(conn, store.vault, zone, **now))
    for one in found:
        told = {"before": str(one.zone), "after": zone, "policy": "SIM-08"}
        until = {"day_until": one.day_until, "month_until": one.month_until}
        _log.warning("policy.two_zones", extra={**told, **until})
    return found


def post_office(settings: Settings) -> PostOffice:
    """What webhooks are sent by."""
    rules = settings.webhooks
    return PostOffice(
        Destinations.of(rules.allow, plain_http=rules.plain_http),
        timeout=rules.timeout,
        ca_file=Path(rules.ca_file) if rules.ca_file else None,
    )


def _courier_rules(settings: Settings) -> CourierRules:
    return CourierRules(
        line=LineRules(
            site=settings.site.id,
            general_department=settings.approvals.general_department,
            give_up=timedelta(hours=settings.webhooks.give_up_hours),
        ),
        keep_dead=timedelta(days=settings.webhooks.dead_days),
    )


def _problems(errors: BaseExceptionGroup[ConfigError]) -> list[str]:
    found: list[str] = []
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            found += _problems(error)
        else:
            found += error.problems
    return found


async def _begin(store: Store, settings: Settings) -> None:
    """Before this node writes anything else: its life before, wherever it goes on, is over.

    Raises:
        ConfigError: a person removed the node, or it had another audit key.
    """
    try:
        epoch = await store.write(
            lambda tx: nodes.start(
                tx,
                version=version("modemctl"),
                boot_id=store.clock.boot_id,
                public_key=store.journal.signer.public_octets(),
            )
        )
    except Conflict as error:
        raise ConfigError([f"{error}; {error.cure}"]) from None
    store.journal.life.begin(epoch, every=settings.site.heartbeat)


async def _recover(store: Store, rules: SendingRules, longest_outage: timedelta) -> None:
    """What the node's earlier life left open: submits in doubt, leases back, PIN tries closed."""
    left = await store.write(lambda tx: nodes.settle(tx, rules))
    away = store.journal.steady.absence
    n_held = await store.write(lambda tx: sweeps.hold_after_outage(tx, away, longest_outage))
    faults = store.journal.start_faults
    for fault in faults:
        _log.error("store.altered", extra={"fault": fault, "cure": "modemctl audit verify"})
    n_held += await store.write(lambda tx: sweeps.hold_after_tampering(tx, faults))
    await store.write(keys.finish_master)
    await store.write(modems.note_restart)
    facts = {"n_in_doubt": left.n_in_doubt, "n_leases": left.n_leases, "n_held": n_held}
    _log.info("daemon.recovered", extra=facts)


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT ask for an end in order."""
    loop = asyncio.get_running_loop()
    wanted = (signal.SIGTERM, signal.SIGINT)
    for number in wanted:
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in wanted:
            loop.remove_signal_handler(number)


async def _keep_evidence(audits: Audits) -> None:
    """The head of the audit chain goes to the log and the state file at start and every minute."""
    while True:
        await _note_head(audits)
        await asyncio.sleep(_MINUTE)


async def _note_head(audits: Audits) -> None:
    try:
        await audits.note_head()
    except (OSError, StoreError) as error:
        _log.error("audit.head_not_kept", extra={"error": str(error)})


async def _forget_events(events: Events) -> None:
    while True:
        await asyncio.sleep(_HOUR)
        try:
            await events.purge()
        except StoreError as error:
            _log.warning("events.not_purged", extra={"error": str(error)})


async def _mind_the_name(store: Store) -> None:
    """End where another daemon writes under this node's name, as after a long time cut off.

    Raises:
        NameTaken: it does.
    """
    await store.journal.lost.wait()
    raise NameTaken(store.node_id)


async def _feed_watchdog(store: Store, manager: ServiceManager) -> None:
    """Feed while loop and writer turn, also when commits fail."""
    interval = manager.watchdog_interval
    if interval is None:
        return
    turns, turned_at = store.journal.turns, store.clock.monotonic()
    while True:
        now = store.clock.monotonic()
        if store.journal.turns != turns or store.journal.backlog == 0:
            turns, turned_at = store.journal.turns, now
        if store.journal.is_alive and now - turned_at < _WATCHDOG_PATIENCE:
            manager.watchdog()
        await asyncio.sleep(interval)
