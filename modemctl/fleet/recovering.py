"""A bay out of step: up the ladder, until its modem answers again or no step is left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from drivers.errors import DriverError, LinkError
from modemctl.errors import StoreError
from modemctl.fleet.ladder import Ladder, Step
from modemctl.fleet.link import Link
from modemctl.fleet.moves import Moved
from modemctl.fleet.receiving import Receiver
from modemctl.fleet.saving import save
from modemctl.lifecycle import ModemEvent
from modemctl.model import Bay
from modemctl.store import Store, modems
from modemctl.telemetry import Telemetry

_log = logging.getLogger(__name__)


class Recovery:
    """One bay's. What the store fails to take is no reason to climb: only the modem is judged."""

    def __init__(
        self,
        store: Store,
        telemetry: Telemetry,
        *,
        bay: Bay,
        link: Link,
        receiver: Receiver,
        reopen: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._telemetry = telemetry
        self._bay = bay
        self._link = link
        self._receiver = receiver
        self._reopen = reopen
        self._ladder = Ladder()

    @property
    def cool_down(self) -> float:
        """Seconds to rest once the ladder is spent."""
        return self._ladder.cool_down

    def note_health(self) -> None:
        """The modem works: next time from the lowest step."""
        self._ladder.rest()

    async def run(self, reason: str, *, family: str, may_go_on: Callable[[], bool]) -> Moved:
        """Climb step by step; how it ended."""
        while (step := self._ladder.climb(has_link=self._link.is_open)) is not None:
            error = await self._climb(step)
            await self._note(step, error, reason, family)
            if error is None:
                return Moved(event=ModemEvent.RECOVERED, reason=step.value)
            if isinstance(error, LinkError) and not self._link.has_port():
                return Moved(event=ModemEvent.PORT_GONE, reason=error.reason)
            reason = str(error)
            if not may_go_on():
                break
        return Moved(event=ModemEvent.LADDER_SPENT, reason=reason)

    async def _climb(self, step: Step) -> DriverError | None:
        await asyncio.sleep(Ladder.pause(step))
        try:
            match step:
                case Step.REALIGN:
                    await self._link.realign()
                case Step.REOPEN:
                    await self._reopen()
                case Step.RESET:
                    await self._link.restart()
        except DriverError as error:
            return error
        try:
            await self._receiver.settle_late()
        except StoreError as error:  # it is kept, and saved before the next submit
            _log.warning("actor.store_failed", extra={"error": str(error)})
        return None

    async def _note(self, step: Step, error: DriverError | None, reason: str, family: str) -> None:
        outcome = "recovered" if error is None else "failed"
        after = outcome if error is None else str(error)
        self._telemetry.count("modemctl_recoveries_total", family=family, step=step.value)
        if step is Step.REALIGN:
            self._telemetry.count("modemctl_realignments_total", family=family, outcome=outcome)
        _log.warning("modem.ladder", extra={"step": step.value, "before": reason, "after": after})
        ladder = modems.LadderStep(
            bay=self._bay, step=step.value, outcome=outcome, before=reason, after=after
        )
        await save(lambda: self._store.write_in_set(modems.note_ladder, ladder))
