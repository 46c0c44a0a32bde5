"""A daemon's start on a database that may not be there yet, or that its forerunner still holds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Final

from modemctl.clock import SystemClock
from modemctl.config import Settings
from modemctl.errors import ConfigError, NameTaken, StoreError
from modemctl.store import CommitReport, Store
from modemctl.store.engine import sqlite_path
from modemctl.store.key_files import load_database
from modemctl.store.seats import Seat
from modemctl.telemetry import ServiceManager, Telemetry
from modemctl.vault import AuditKey, Vault

_log = logging.getLogger(__name__)

_PAUSE: Final = 1.0  # seconds between two tries
_WAIT_STEP: Final = 30.0  # seconds: a try to reach a server takes ten at most
GHOST: Final = 30.0
"""Seconds for which a start waits for another daemon's session.

The server misses the session of a machine that fell over after some eleven seconds."""


def open_store(
    settings: Settings,
    vault: Vault,
    audit_key: AuditKey,
    telemetry: Telemetry,
    *,
    tell: Callable[[str], None],
) -> AbstractAsyncContextManager[Store]:
    """The store behind the settings, running; a server that is away is waited for.

    `tell` is called with what is waited for, and the service manager is told as well.

    Raises:
        ConfigError: it is missing, foreign, of another version or of another key.
    """
    url = load_database(settings.paths)
    path = sqlite_path(url)
    if path is not None and not path.exists():  # opening would make an empty one
        raise ConfigError([f"database {path} does not exist; run: modemctl db upgrade"])
    seat = Seat(settings.site.node) if path is None else None
    clock = SystemClock()
    manager = ServiceManager(clock)

    def wait_for(reason: str) -> None:
        manager.waiting(reason, seconds=_WAIT_STEP)
        tell(reason)

    def note(report: CommitReport) -> None:
        telemetry.observe("modemctl_journal_commit_seconds", report.seconds)
        telemetry.observe("modemctl_journal_group_size", report.n_requests)
        if report.is_failure:
            telemetry.count("modemctl_storage_errors_total", kind="commit")

    make = partial(
        Store,
        url,
        vault=vault,
        audit_key=audit_key,
        clock=clock,
        node_id=settings.site.node,
        on_commit=note,
        seat=seat,
    )
    return opened(
        make,
        patience=0.0 if seat is None else settings.paths.database_wait,
        tell=wait_for,
    )


@asynccontextmanager
async def opened(
    make: Callable[[], Store],
    *,
    patience: float,
    tell: Callable[[str], None],
    ghost: float = GHOST,
) -> AsyncIterator[Store]:
    """The store that `make` gives, running; waited for while its server cannot be reached.

    `patience` and `ghost` are seconds; `tell` is called with what is waited for, about each
    second.

    Raises:
        ConfigError: it does not fit; another daemon works on it and does not end.
        StoreError: it could not be reached for so long.
    """
    async with await _reach(make, patience, tell, ghost) as store:
        yield store


async def _reach(
    make: Callable[[], Store], patience: float, tell: Callable[[str], None], ghost: float
) -> Store:
    loop = asyncio.get_running_loop()
    began, told = loop.time(), ""
    while True:
        try:
            store = await asyncio.to_thread(make)
            store.start()
        except NameTaken as error:
            if loop.time() - began >= ghost:
                raise ConfigError([str(error)]) from None
            why = str(error)
        except StoreError as error:
            if loop.time() - began >= patience:
                raise
            why = str(error)
        else:
            if told:
                _log.info("database.reached", extra={"seconds": round(loop.time() - began, 1)})
            return store
        if why != told:
            _log.warning("database.waited_for", extra={"reason": why})
            told = why
        tell(why)
        await asyncio.sleep(_PAUSE)
