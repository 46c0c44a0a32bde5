"""What the routes stand on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from modemctl.config import ApiSettings
from modemctl.service.access_counts import AccessCounts
from modemctl.service.accounts import Accounts
from modemctl.service.admissions import Admissions
from modemctl.service.audit_export import AuditExports
from modemctl.service.audit_samples import AuditSamples
from modemctl.service.audits import Audits
from modemctl.service.authorities import Authorities
from modemctl.service.backups import Backups
from modemctl.service.balances import Balances
from modemctl.service.batches import Batches
from modemctl.service.behaviour import Behaviour
from modemctl.service.calls import Calls
from modemctl.service.card_endings import Endings
from modemctl.service.custody import Custody
from modemctl.service.customers import Customers
from modemctl.service.departments import Departments
from modemctl.service.doubt import Doubts
from modemctl.service.dual import Dual
from modemctl.service.elevations import Elevations
from modemctl.service.emergencies import EmergencyWatch
from modemctl.service.erasures import Erasures
from modemctl.service.events import Events
from modemctl.service.exports import Exports
from modemctl.service.freezing import Freezing
from modemctl.service.gate import Gate
from modemctl.service.grants import Grants
from modemctl.service.handovers import Handovers
from modemctl.service.health import Health
from modemctl.service.histories import Histories
from modemctl.service.holds import Holds
from modemctl.service.inbox import Inbox
from modemctl.service.incidents import Incidents
from modemctl.service.keyring import Keyring
from modemctl.service.limits import Limits
from modemctl.service.locks import Locks
from modemctl.service.loop_tests import LoopTests
from modemctl.service.messages import Messages
from modemctl.service.modems import Modems
from modemctl.service.nodes import Nodes
from modemctl.service.offboarding import Offboarding
from modemctl.service.operators import Operators
from modemctl.service.optouts import OptOuts
from modemctl.service.packages import Packages
from modemctl.service.papers import Papers
from modemctl.service.pin_reveals import PinReveals
from modemctl.service.policies import Policies
from modemctl.service.puks import Puks
from modemctl.service.purges import Purges
from modemctl.service.qualifications import Qualifications
from modemctl.service.register_checks import RegisterChecks
from modemctl.service.self_tests import SelfTests
from modemctl.service.sims import Sims
from modemctl.service.stops import Stops
from modemctl.service.violations import Cases
from modemctl.service.webhooks import Webhooks
from modemctl.service.zones import Zones
from modemctl.telemetry import Telemetry

__all__ = ["Api", "Of", "Services", "api_of", "services_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """One of each, made by the daemon."""

    backups: Backups
    batches: Batches
    emergencies: EmergencyWatch
    messages: Messages
    doubts: Doubts
    opt_outs: OptOuts
    customers: Customers
    modems: Modems
    nodes: Nodes
    admissions: Admissions
    sims: Sims
    custody: Custody
    endings: Endings
    histories: Histories
    offboarding: Offboarding
    stops: Stops
    incidents: Incidents
    cases: Cases
    handovers: Handovers
    limits: Limits
    register_checks: RegisterChecks
    zones: Zones
    webhooks: Webhooks
    loops: LoopTests
    balances: Balances
    self_tests: SelfTests
    locks: Locks
    puks: Puks
    dual: Dual
    policies: Policies
    inbox: Inbox
    calls: Calls
    access: AccessCounts
    gate: Gate
    behaviour: Behaviour
    freezing: Freezing
    elevations: Elevations
    accounts: Accounts
    departments: Departments
    authorities: Authorities
    grants: Grants
    operators: Operators
    qualifications: Qualifications
    events: Events
    audits: Audits
    audit_exports: AuditExports
    audit_samples: AuditSamples
    papers: Papers
    exports: Exports
    health: Health
    holds: Holds
    purges: Purges
    erasures: Erasures
    keyring: Keyring
    pin_reveals: PinReveals
    packages: Packages


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """The services with the API's settings and counters."""

    services: Services
    settings: ApiSettings
    telemetry: Telemetry


def api_of(request: Request) -> Api:
    """What stands behind a request's application."""
    api = request.app.state.api
    assert isinstance(api, Api)
    return api


def services_of(request: Request) -> Services:
    """The services behind a request's application."""
    return api_of(request).services


Of = Annotated[Services, Depends(services_of)]
"""A route's parameter: the services."""
