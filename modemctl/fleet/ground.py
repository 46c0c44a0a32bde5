"""What every actor of a fleet stands on."""

from __future__ import annotations

from dataclasses import dataclass, field

from modemctl.config import BankSettings, SimsSettings
from modemctl.fleet.breaking import Breakers
from modemctl.fleet.dispatcher import Dispatcher
from modemctl.fleet.hubs import Hubs
from modemctl.fleet.ladder import Ladders
from modemctl.fleet.link import Probe
from modemctl.fleet.recovering import Tools
from modemctl.fleet.sending import StopBell
from modemctl.fleet.starting import StartBudget
from modemctl.fleet.usb_notes import OffNotes
from modemctl.model import Iccid
from modemctl.policy.numbers import NumberRules
from modemctl.store import Store
from modemctl.store.segments import SendingRules
from modemctl.telemetry import Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What every actor of a fleet stands on."""

    store: Store
    dispatcher: Dispatcher
    breakers: Breakers
    telemetry: Telemetry
    rules: SendingRules
    bank: BankSettings
    sims: SimsSettings
    numbers: NumberRules
    stops: StopBell
    start_budget: StartBudget
    probe: Probe
    hubs: Hubs = field(default_factory=Hubs)
    ladders: Ladders = field(default_factory=Ladders)
    off_notes: OffNotes = field(default_factory=OffNotes)
    proved: set[Iccid] = field(default_factory=set)
    """Cards whose modem was restarted to learn which PIN holds."""

    @property
    def recovery_tools(self) -> Tools:
        """What all recoveries share."""
        return Tools(
            ladders=self.ladders,
            hubs=self.hubs,
            hub_power=self.bank.hub_power,
            off_notes=self.off_notes,
        )
