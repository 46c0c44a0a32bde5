"""Driver events to rows: messages, reports, calls. First the commit, then delete or acknowledge.

What is a message and what a report is told by the TPDU itself, not by the line that announced it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Final, TypeAlias

from drivers.errors import CommandError
from drivers.interface import (
    CallEvent,
    Driver,
    DriverEvent,
    SmsDirect,
    SmsStored,
    StorageFull,
    StoredMessage,
)
from modemctl.errors import StoreError
from modemctl.fleet.calls import CallFolder
from modemctl.model import Iccid
from modemctl.policy.incoming import InboxKind
from modemctl.policy.numbers import NumberRules, Rejection, normalise
from modemctl.sms import Address, Deliver, MalformedTpdu, StatusReport, decode
from modemctl.store import Store, calls, inbox, reports
from modemctl.telemetry import Telemetry

_log = logging.getLogger(__name__)

_MAX_UNSAVED: Final = 256
"""Direct deliveries and calls that wait in memory while the store is away."""
_SENT_STATUSES: Final = frozenset({2, 3})  # stored to be sent, or sent: not for us

Incoming: TypeAlias = inbox.NewMessage | reports.NewReport


class Inbound:
    """What comes in by itself in one bay, for as long as its card stays.

    Belongs to the actor: its methods talk to the modem and are called by its task only.
    """

    def __init__(
        self, store: Store, telemetry: Telemetry, *, bay: str, iccid: Iccid, numbers: NumberRules
    ) -> None:
        self._store = store
        self._telemetry = telemetry
        self._bay = bay
        self._iccid = iccid
        self._numbers = numbers
        self._calls = CallFolder(bay=bay, iccid=iccid, number_of=self._e164)
        self._unsaved: deque[Incoming | calls.CallState] = deque(maxlen=_MAX_UNSAVED)
        self._drained: set[tuple[str, int]] = set()  # slots whose lines may still be on their way

    async def handle(self, driver: Driver, event: DriverEvent) -> bool:
        """Take an event; False where it is none of ours.

        Raises:
            DriverError: the modem failed; what it held is there at the next `drain_storage`.
            StoreError: not stored, hence neither deleted nor acknowledged. What nobody else holds
                is kept for `tick`: such an event must not be handled again.
        """
        match event:
            case SmsStored():
                await self._take_stored(driver, event)
            case SmsDirect():
                await self._take_direct(driver, event)
            case StorageFull():
                await self.drain_storage(driver)
            case CallEvent():
                self._keep_all(self._calls.feed(event, self._store.clock.now()))
                await self.save()
            case _:
                return False
        return True

    def keep(self, event: DriverEvent) -> None:
        """Take an event of a modem that is not spoken to any more; `save` stores what it was.

        What lies in the modem's storage stays there.
        """
        match event:
            case SmsDirect():
                self._keep_all([self.read(event.tpdu)])
            case CallEvent():
                self._keep_all(self._calls.feed(event, self._store.clock.now()))
            case _:
                pass

    async def drain_storage(self, driver: Driver) -> int:
        """Store and then delete all that lies in the modem; how many messages and reports.

        Raises:
            DriverError, StoreError: as `handle`; what was stored before is deleted or comes again
                as a repeat.
        """
        found = [one for one in await driver.list_messages() if one.status not in _SENT_STATUSES]
        try:
            async with asyncio.TaskGroup() as group:  # one set: one commit for all
                for one in found:
                    task = self._store_one(self.read(one.tpdu))
                    group.create_task(task, name=f"store:{one.index}")
        except* StoreError as failures:
            first = failures.exceptions[0]
            raise StoreError(f"the storage stays as it is: {first}") from failures
        for one in found:
            await self._delete(driver, one.memory, one.index)
        self._drained |= {(one.memory, one.index) for one in found}
        return len(found)

    async def tick(self, driver: Driver) -> None:
        """Do what is due by time: look up calls of which nothing was heard, save what waited.

        Raises:
            DriverError, StoreError: as `handle`.
        """
        await self.save()
        if not self._calls.is_overdue(self._store.clock.now()):
            return
        try:
            current = await driver.current_calls()
        except CommandError:
            current = []  # the modem has no list: silence is all there is
        self._keep_all(self._calls.reconcile(current, self._store.clock.now()))
        await self.save()

    def due_in(self) -> float | None:
        """Seconds until `tick` has something to do; None while nothing waits."""
        if self._unsaved:
            return 1.0
        deadline = self._calls.deadline
        if deadline is None:
            return None
        return max((deadline - self._store.clock.now()).total_seconds(), 0.0)

    def end_calls(self, cause: str) -> None:
        """The modem or its card is gone: calls that were under way are over; `save` stores it."""
        self._keep_all(self._calls.close(self._store.clock.now(), cause))

    async def save(self) -> None:
        """Store what is held in memory only, in its order.

        Raises:
            StoreError: the rest is kept.
        """
        while self._unsaved:
            waiting = self._unsaved[0]
            if isinstance(waiting, calls.CallState):
                await self._store_call(waiting)
            else:
                await self._store_one(waiting)
            self._unsaved.popleft()

    async def resume(self) -> None:
        """At the start of a bay: calls that nobody followed to their end are closed.

        Raises:
            StoreError: the store cannot be written now.
        """
        await self._store.write(lambda tx: calls.close_open(tx, self._bay, "not followed"))

    def read(self, tpdu: bytes) -> Incoming:
        """What a TPDU is; never fails: what cannot be decoded is kept as it came."""
        try:
            message = decode(tpdu, from_network=True)
        except MalformedTpdu as error:
            _log.warning("inbox.undecodable", extra={"bay": self._bay, "reason": str(error)})
            return self._raw(tpdu)
        match message:
            case Deliver():
                return self._message(message, tpdu)
            case StatusReport():
                return reports.NewReport(
                    iccid=self._iccid,
                    bay=self._bay,
                    recipient=self._party(message.recipient),
                    mr=message.mr,
                    st=message.st,
                    scts=message.scts,
                    discharged_at=message.discharged_at,
                    tpdu=tpdu,
                )
            case _:
                return self._raw(tpdu)

    async def _take_stored(self, driver: Driver, event: SmsStored) -> None:
        slot = (event.memory, event.index)
        stored: StoredMessage | None = await driver.read_message(*slot)
        if stored is None or stored.status in _SENT_STATUSES:
            if slot in self._drained:
                self._drained.discard(slot)
            else:
                # Some announce a slot that the message is not in (EC25: a report in SR as SM, 0).
                await self.drain_storage(driver)
            return
        self._drained.discard(slot)
        await self._store_one(self.read(stored.tpdu))
        await self._delete(driver, event.memory, event.index)

    async def _take_direct(self, driver: Driver, event: SmsDirect) -> None:
        incoming = self.read(event.tpdu)
        if not event.needs_ack:  # the modem has acknowledged it: nobody else has it
            self._keep_all([incoming])
            await self.save()
            return
        await self._store_one(incoming)  # where it fails, the network keeps it
        await driver.acknowledge()

    def _keep_all(self, waiting: Sequence[Incoming | calls.CallState]) -> None:
        for one in waiting:
            if len(self._unsaved) == _MAX_UNSAVED:
                _log.error("inbox.lost", extra={"bay": self._bay, "reason": "store away too long"})
            self._unsaved.append(one)

    async def _store_one(self, incoming: Incoming) -> None:
        match incoming:
            case inbox.NewMessage():
                await self._store.write_in_set(inbox.add, incoming)
                kind = incoming.kind.value
            case reports.NewReport():
                await self._store.write_in_set(reports.add, incoming)
                kind = "report"
        self._telemetry.count("modemctl_inbox_messages_total", kind=kind)

    async def _store_call(self, state: calls.CallState) -> None:
        await self._store.write_in_set(calls.save, state)
        if state.ended_at is not None:
            self._telemetry.count(
                "modemctl_calls_total",
                direction="incoming" if state.is_incoming else "outgoing",
                outcome="unanswered" if state.answered_at is None else "answered",
            )

    async def _delete(self, driver: Driver, memory: str, index: int) -> None:
        try:
            await driver.delete_message(memory, index)
        except CommandError as error:
            # It is stored; left behind it comes again as a repeat and takes a slot.
            _log.warning("inbox.not_deleted", extra={"bay": self._bay, "reason": str(error)})

    def _message(self, message: Deliver, tpdu: bytes) -> inbox.NewMessage:
        text, concat = message.user_data.text, message.user_data.concat
        if text is None:
            kind = InboxKind.BINARY
        else:
            kind = InboxKind.TEXT if concat is None or concat.total == 1 else InboxKind.PART
        place = None
        if concat is not None:
            place = inbox.Concat(
                reference=concat.reference, total=concat.total, sequence=concat.sequence
            )
        return inbox.NewMessage(
            iccid=self._iccid,
            bay=self._bay,
            sender=self._party(message.sender),
            is_sender_number=not message.sender.is_alphanumeric,
            scts=message.scts,
            text=text,
            concat=place,
            tpdu=tpdu,
            kind=kind,
        )

    def _raw(self, tpdu: bytes) -> inbox.NewMessage:
        return inbox.NewMessage(
            iccid=self._iccid,
            bay=self._bay,
            sender=None,
            is_sender_number=False,
            scts=None,
            text=None,
            concat=None,
            tpdu=tpdu,
            kind=InboxKind.RAW,
        )

    def _party(self, address: Address) -> str:
        return address.number if address.is_alphanumeric else self._e164(address.text)

    def _e164(self, number: str) -> str:
        """A number in E.164 form where it is one; a short code as it is."""
        found = normalise(number, self._numbers)
        return number if isinstance(found, Rejection) else found
