"""The recorder: stands between a program and its modem, passes all on, writes what went by."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from simulator.clock import LoopClock
from simulator.recording import wire
from simulator.recording.reader import Reader
from simulator.recording.tape import Header, Record, Sender, What, Writer
from simulator.recording.wire import Source, Wire
from simulator.wire.ports import Listener, PtyPort, Watcher

STOPPED: Final = "stopped"
GONE: Final = "the modem went away"
UNWRITABLE: Final = "the file could not be written"


@dataclass(slots=True, kw_only=True)
class Summary:
    """What a recording came to. `masked` counts records by the kind of secret found in them."""

    seconds: float = 0.0
    records: int = 0
    commands: int = 0
    to_modem: int = 0
    from_modem: int = 0
    lost: int = 0
    masked: dict[str, int] = field(default_factory=dict)
    end: str = ""

    def count(self, records: list[Record]) -> None:
        """Add these."""
        self.records += len(records)
        for record in records:
            self.commands += record.what is What.COMMAND
            for kind in record.masked:
                self.masked[kind] = self.masked.get(kind, 0) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be recorded, and where to."""

    source: Source
    file: Path
    link: Path
    model: str = ""
    note: str = ""


class Tap:
    """One session that is being recorded. `key` makes the stand-ins and is written nowhere."""

    def __init__(self, plan: Plan, *, key: bytes, stopped: asyncio.Event) -> None:
        self._plan = plan
        self._reader = Reader(key)
        self._stopped = stopped
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()
        self._writer: Writer | None = None
        self._wire: Wire | None = None
        self._port: PtyPort | None = None
        self.summary = Summary()

    async def run(self, ready: Callable[[], None]) -> Summary:
        """Record until `stopped` is set or the modem is gone; `ready` is called when all is open.

        Raises:
            WireError: the modem cannot be reached.
            FileExistsError: the recording's file is there already.
            OSError: the file or the terminal cannot be made.
        """
        fd = await wire.connect(self._plan.source)
        self._wire = Wire(fd, received=self._from_modem, ended=self._modem_gone)
        watcher = Watcher(self._loop)
        try:
            self._writer = Writer(self._plan.file, self._header())
            listener = Listener(received=self._from_host, came=lambda: None, went=lambda: None)
            self._port = PtyPort(self._plan.link, watcher=watcher, listener=listener)
            self._port.plug()
            ready()
            await self._stopped.wait()
        finally:
            self._close()
            watcher.close()
        return self.summary

    def _header(self) -> Header:
        source = self._plan.source
        is_tty = source.transport is wire.Transport.TTY
        return Header(
            started=LoopClock(self._loop).now().isoformat(timespec="seconds"),
            transport=source.transport.value,
            baud=source.baud if is_tty else None,
            model=self._plan.model,
            note=self._plan.note,
        )

    def _from_host(self, data: bytes) -> None:
        assert self._wire is not None
        if not self._wire.write(data):
            self.summary.lost += len(data)
        self.summary.to_modem += len(data)
        self._note(Sender.HOST, data)

    def _from_modem(self, data: bytes) -> None:
        if self._port is not None:
            self._port.write(data)
        self.summary.from_modem += len(data)
        self._note(Sender.MODEM, data)

    def _modem_gone(self) -> None:
        self.summary.end = self.summary.end or GONE
        self._stopped.set()

    def _note(self, sender: Sender, data: bytes) -> None:
        self._write(self._reader.feed(sender, data, self._ms()))

    def _write(self, records: list[Record]) -> None:
        if self._writer is None:
            return
        try:
            self._writer.add(records)
        except OSError:
            self.summary.end = UNWRITABLE
            broken, self._writer = self._writer, None
            with contextlib.suppress(OSError):
                broken.close(UNWRITABLE)
            self._stopped.set()
            return
        self.summary.count(records)

    def _close(self) -> None:
        if self._wire is not None:
            self._wire.close()
        if self._port is not None:
            self._port.unplug()
        self.summary.seconds = round(self._loop.time() - self._start, 3)
        self.summary.end = self.summary.end or STOPPED
        self._write(self._reader.close(self._ms()))
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.close(self.summary.end)

    def _ms(self) -> int:
        return int(1000 * (self._loop.time() - self._start))
