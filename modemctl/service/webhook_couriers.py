"""One courier for each webhook: a slow receiver delays nobody but itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from modemctl.errors import StoreError, TamperedError
from modemctl.model import Topic
from modemctl.policy.webhooks import kinds_of
from modemctl.service.webhook_client import PostOffice
from modemctl.service.webhook_line import Line, LineRules
from modemctl.store import Connection, Store, webhook_rows, webhooks
from modemctl.store.engine import UNREADABLE
from modemctl.telemetry import Telemetry, WebhookSample

MOST_PARALLEL: Final = 16
"""Requests at once to one receiver."""

_EVERY: Final = 30.0  # seconds between two looks at who is registered, and how far each is
_LINGER: Final = 0.05  # events of this time go out together, in one look
_AFTER_FAULT: Final = 30.0
_TIDY_EVERY: Final = 3_600.0
_TIDY: Final = 500  # rows a transaction

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CourierRules:
    """What couriers are held to."""

    line: LineRules
    keep_dead: timedelta


class Couriers:
    """Delivers to all endpoints until it is cancelled."""

    def __init__(
        self, store: Store, office: PostOffice, rules: CourierRules, telemetry: Telemetry
    ) -> None:
        self._store = store
        self._office = office
        self._rules = rules
        self._telemetry = telemetry
        self._samples: Mapping[str, WebhookSample] = {}
        self._at_work: set[str] = set()

    def samples(self) -> Mapping[str, WebhookSample]:
        """How far each endpoint was at the last look; from any thread."""
        return self._samples

    async def run(self) -> None:
        """Start a courier for each endpoint, also for those registered later."""
        loop = asyncio.get_running_loop()
        tidied_at = loop.time()
        async with asyncio.TaskGroup() as group:
            with self._store.signals.subscribe(Topic.WEBHOOKS) as bell:
                while True:
                    await self._look(group)
                    if loop.time() - tidied_at >= _TIDY_EVERY:
                        tidied_at = loop.time()
                        await self.tidy()
                    await bell.wait(_EVERY)

    async def tidy(self) -> None:
        """Forget dead events that nobody replayed for long."""
        before = self._store.clock.now() - self._rules.keep_dead
        try:
            n = _TIDY
            while n == _TIDY:
                n = await self._store.write(
                    lambda tx: webhook_rows.delete_dead(tx, before=before, limit=_TIDY)
                )
        except StoreError as error:
            _log.warning("webhook.not_tidied", extra={"error": str(error)})

    async def _look(self, group: asyncio.TaskGroup) -> None:
        try:
            names = await self._store.read(webhooks.names)
            for name in set(names) - self._at_work:
                self._at_work.add(name)
                group.create_task(self._work(name), name=f"webhook {name}")
            self._samples = await self._store.read(self._measure) if names else {}
        except StoreError as error:
            _log.warning("webhook.not_looked", extra={"error": str(error)})

    async def _work(self, name: str) -> None:
        signals = self._store.signals
        try:
            async with self._office.open(MOST_PARALLEL) as poster:
                line = Line(
                    self._store,
                    name,
                    rules=self._rules.line,
                    poster=poster,
                    telemetry=self._telemetry,
                )
                with (
                    signals.subscribe(Topic.EVENTS, Topic.WEBHOOKS) as any_bell,
                    signals.subscribe(Topic.WEBHOOKS) as own_bell,
                ):
                    while (pause := await self._turn(line, name)) is not None:
                        if pause:
                            await (any_bell if line.is_listening else own_bell).wait(pause)
                            await asyncio.sleep(_LINGER)
        finally:
            self._at_work.discard(name)

    async def _turn(self, line: Line, name: str) -> float | None:
        """One turn; a fault is told by its kind alone: its words may hold what stood in a row."""
        try:
            return await line.turn()
        except TamperedError:
            _log.error("webhook.altered", extra={"webhook": name, "cure": "modemctl audit verify"})
        except UNREADABLE as error:
            fault = type(error).__name__
            _log.warning("webhook.broke_off", extra={"webhook": name, "error": fault})
        line.is_listening = False
        return _AFTER_FAULT

    def _measure(self, conn: Connection) -> Mapping[str, WebhookSample]:
        now = self._store.clock.now()
        found: dict[str, WebhookSample] = {}
        for name in webhooks.names(conn):
            try:
                one = webhooks.find(conn, self._store.vault, name)
            except UNREADABLE:
                found[name] = WebhookSample(is_well=False)
                continue
            if one is not None:
                behind = webhook_rows.backlog(conn, name, kinds=kinds_of(one.events))
                found[name] = WebhookSample(
                    is_well=one.state is not webhooks.EndpointState.DISABLED,
                    n_waiting=behind.n_waiting,
                    n_dead=behind.n_dead,
                    oldest=_age(behind.oldest_at, now),
                )
        return found


def _age(at: datetime | None, now: datetime) -> float:
    return 0.0 if at is None else max(0.0, (now - at).total_seconds())
