"""Where a modem's own words wait: a bounded box between the driver and the bay's actor."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from drivers.interface import (
    CallEvent,
    DriverEvent,
    LateSubmitResult,
    LinkLost,
    Rebooted,
    RegistrationChanged,
    SignalChanged,
    SimChanged,
    SimState,
    SmsDirect,
    SmsStored,
    StorageFull,
    UnknownUrc,
)
from modemctl.lifecycle import ModemEvent
from modemctl.model import SegmentId

SIZE: Final = 256
"""Events that may wait; more is a fault of the bay, never a silent loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """Something that moves the bay's state."""

    event: ModemEvent
    reason: str


_SLOTS: Final = {ModemEvent.REGISTRATION_LOST: ModemEvent.REGISTERED}
"""Events of which only the later one counts; each other kind has a slot of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One try to submit one segment: what a `+CMGS:` may answer."""

    segment_id: SegmentId
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LateAnswer:
    """A reference that came after its deadline, and the submit that it answers."""

    asked: Asked
    mr: int


class Mailbox:
    """Takes events at once (`put` is the driver's sink); the walker is woken, the pump fed."""

    def __init__(self, on_unknown: Callable[[], None], on_wake: Callable[[], None]) -> None:
        self._on_unknown = on_unknown
        self._on_wake = on_wake
        self._items: deque[DriverEvent] = deque()
        self._has_items = asyncio.Event()
        self._controls: dict[ModemEvent, Control] = {}
        self._asked: Asked | None = None
        self._last_mr: int | None = None
        self.late: LateAnswer | None = None
        """The late answer to the submit in doubt, until it is saved."""
        self._signal_dbm: int | None = None
        self.is_listening = False
        """Whether somebody takes messages and calls; before that they are not for us."""

    def put(self, event: DriverEvent) -> None:
        """Take an event; never waits, never raises."""
        match event:
            case SmsStored() | SmsDirect() | StorageFull() | CallEvent():
                self._keep(event)  # the pump's; the walker need not look up
                return
            case LateSubmitResult():
                self._note_late(event.mr)
            case SignalChanged():
                self._signal_dbm = event.rssi_dbm
            case UnknownUrc():
                self._on_unknown()
            case _:
                self._note_control(event)
        self._on_wake()

    def interrupt(self, event: ModemEvent, reason: str) -> None:
        """Ask the walker to move on."""
        slot = _SLOTS.get(event, event)
        self._controls.pop(slot, None)
        self._controls[slot] = Control(event=event, reason=reason)
        self._on_wake()

    def next_control(self) -> Control | None:
        """The oldest thing that moves the state, taken out; of a kind only the last is kept."""
        if not self._controls:
            return None
        return self._controls.pop(next(iter(self._controls)))

    def take_signal(self) -> int | None:
        """The signal strength (dBm) that the modem told last, once; None where it told none."""
        dbm, self._signal_dbm = self._signal_dbm, None
        return dbm

    def forget_controls(self) -> None:
        """A new link begins: what the old one said of itself holds no more."""
        self._controls.clear()

    def expect(self, asked: Asked) -> None:
        """A segment is about to be announced: what was heard before cannot be its answer."""
        self._asked, self.late = asked, None

    def settle(self, mr: int | None = None) -> None:
        """The submit ended without doubt, under this reference: a later `+CMGS:` is nobody's."""
        self._asked = self.late = None
        if mr is not None:
            self._last_mr = mr

    async def next_item(self, limit: float | None) -> DriverEvent | None:
        """The oldest message or call event; None after `limit` seconds without one."""
        if self._items:
            return self._items.popleft()
        try:
            async with asyncio.timeout(limit):
                while not self._items:  # `take_items` may have been quicker
                    self._has_items.clear()
                    await self._has_items.wait()
        except TimeoutError:
            return None
        return self._items.popleft()

    @property
    def n_waiting(self) -> int:
        """Message and call events that nobody has taken up yet."""
        return len(self._items)

    def take_items(self) -> Sequence[DriverEvent]:
        """All messages and call events, oldest first, taken out."""
        items = list(self._items)
        self._items.clear()
        return items

    def _keep(self, event: DriverEvent) -> None:
        if not self.is_listening:
            return
        if len(self._items) >= SIZE:
            self.interrupt(ModemEvent.WATCHDOG, "events came faster than they could be stored")
            return
        self._items.append(event)
        self._has_items.set()

    def _note_late(self, mr: int) -> None:
        """Keep a late reference only for the submit in doubt; the one before may be doubled."""
        if self._asked is None or mr == self._last_mr:
            self._on_unknown()
        else:
            self.late = LateAnswer(asked=self._asked, mr=mr)

    def _note_control(self, event: DriverEvent) -> None:
        match event:
            case SimChanged(state=SimState.ABSENT):
                self.interrupt(ModemEvent.SIM_REMOVED, "the card was taken out")
            case SimChanged():
                self.interrupt(ModemEvent.SIM_READY, f"the card says {event.state}")
            case Rebooted():
                self.interrupt(ModemEvent.REBOOTED, f"the modem restarted ({event.evidence})")
            case LinkLost():
                self.interrupt(ModemEvent.LINK_ERROR, event.reason)
            case RegistrationChanged():
                is_in = event.registration.is_registered
                name = ModemEvent.REGISTERED if is_in else ModemEvent.REGISTRATION_LOST
                self.interrupt(name, event.registration.words)
