"""Where this node's bays are: USB through udev, and what the configuration names.

Each look reads what is true now and compares it with the last one; the kernel's news only say
when to look. So no lost, doubled or late event leaves a bay wrong for longer than one interval.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from modemctl.fleet.places import Place, is_there
from modemctl.fleet.usb_bays import UDEV_IS_HERE, UsbReader
from modemctl.model import Bay
from modemctl.threads import in_daemon_thread

if TYPE_CHECKING:
    import pyudev

_log = logging.getLogger(__name__)

USB: Final = "usb"
"""The value of `bank.ports` that stands for every USB modem."""

_SETTLE: Final = 1.0  # seconds until all ports of a modem are there (seen: 0.6–1)
_FROZEN: Final = 5.0  # seconds over one port; a file of sysfs takes microseconds
_GLANCE: Final = 0.25
_GLOB_SIGNS: Final = frozenset("*?[")

Places = Mapping[Bay, Place]


class Discovery:
    """Tells of all places whenever one changed."""

    def __init__(
        self, patterns: Sequence[str], *, interval: float, tell: Callable[[Places], None]
    ) -> None:
        self._patterns = tuple(one for one in patterns if one != USB)
        self._reader = UsbReader() if USB in patterns else None
        self._interval = interval
        self._tell = tell
        self._told: Places | None = None
        self._arrivals: dict[Bay, tuple[tuple[str, ...], float]] = {}
        self._changed: set[str] = set()
        self._fault = ""
        self._bell = asyncio.Event()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        loop = asyncio.get_running_loop()
        with self._hear():
            while True:
                began_at = loop.time()
                self._bell.clear()
                changed, self._changed = self._changed, set()
                try:
                    found = await self._look(frozenset(changed))
                except OSError as error:  # a folder that goes while it is read, a bad file system
                    self._changed |= changed
                    self._fail(str(error))
                else:
                    self._fault = ""
                    self._note(self._settled(found))
                # Much news at once (a hub with 128 ports) must not become one look after the other.
                await asyncio.sleep(loop.time() - began_at)
                await self._rest(_SETTLE if self._arrivals or self._fault else self._interval)

    def _fail(self, error: str) -> None:
        """Tell of a look that failed, once as long as it is the same."""
        if error != self._fault:
            _log.warning("discovery.look_failed", extra={"error": error})
        self._fault = error

    def _note(self, places: Places) -> None:
        if places != self._told:
            self._told = places
            self._tell(places)

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._bell.wait()

    async def _look(self, changed: frozenset[str]) -> Places:
        """All places. A device that freezes who reads of it is left out until it lets go.

        Raises:
            OSError: a file system fails.
        """
        while True:
            reader = self._reader
            done = in_daemon_thread("discovery", partial(self._read, reader, changed))
            if reader is None or await _comes_back(done, reader):
                return await done
            device = reader.being_read
            _log.warning("discovery.frozen", extra={"device": device})
            self._reader = reader.beside(device)
            done.add_done_callback(partial(self._thaw, device))

    def _read(self, reader: UsbReader | None, changed: frozenset[str]) -> Places:
        usb = {} if reader is None else reader.read(changed)
        return {**named_places(self._patterns, usb), **usb}

    def _thaw(self, device: str, _: asyncio.Future[Places]) -> None:
        _log.info("discovery.thawed", extra={"device": device})
        if self._reader is not None:
            self._reader.thaw(device)
        self._bell.set()

    def _settled(self, found: Places) -> Places:
        """Without modems that are just being plugged in and whose best port may yet appear."""
        now = asyncio.get_running_loop().time()
        arrivals: dict[Bay, tuple[tuple[str, ...], float]] = {}
        for bay, place in found.items():
            is_settled = place.usb is None or (place.is_sure and place.addresses)
            told = (self._told or {}).get(bay)
            if is_settled or (told is not None and told.arrival == place.arrival):
                continue
            seen, since = self._arrivals.get(bay, (None, now))
            if seen != place.addresses:
                since = now
            if now - since < _SETTLE:
                arrivals[bay] = place.addresses, since
        self._arrivals = arrivals
        return {bay: place for bay, place in found.items() if bay not in arrivals}

    # ---------------------------------------------------------------- the kernel's news

    @contextlib.contextmanager
    def _hear(self) -> Iterator[None]:
        """While open, what udev says of ports rings the bell; without udev only time does."""
        monitor = None if self._reader is None else _open_monitor()
        if monitor is None:
            yield
            return
        loop, descriptor = asyncio.get_running_loop(), monitor.fileno()
        loop.add_reader(descriptor, self._hear_news, monitor)
        try:
            yield
        finally:
            loop.remove_reader(descriptor)

    def _hear_news(self, monitor: pyudev.Monitor) -> None:
        try:
            while (device := monitor.poll(timeout=0)) is not None:
                self._changed.add(device.sys_name)
        except OSError as error:  # more news than the kernel could keep: the look finds all
            _log.info("discovery.news_lost", extra={"error": str(error)})
        self._bell.set()


async def _comes_back(done: asyncio.Future[Places], reader: UsbReader) -> bool:
    """Wait for a look; False where one device holds it up."""
    loop = asyncio.get_running_loop()
    n_read, since = reader.n_read, loop.time()
    while not done.done():
        await asyncio.wait([done], timeout=_GLANCE)
        if reader.n_read != n_read or not reader.being_read:
            n_read, since = reader.n_read, loop.time()
        elif loop.time() - since >= _FROZEN and not done.done():
            return False
    return True


def _open_monitor() -> pyudev.Monitor | None:
    """The kernel's news of ports; None where they cannot be had."""
    import pyudev

    source = "udev" if UDEV_IS_HERE.exists() else "kernel"
    try:
        monitor = pyudev.Monitor.from_netlink(pyudev.Context(), source=source)
        monitor.filter_by("tty")
        monitor.start()
    except (ImportError, OSError) as error:
        _log.warning("discovery.deaf", extra={"error": str(error)})
        return None
    return monitor


# ---------------------------------------------------------------- what the configuration names


def named_places(patterns: Sequence[str], usb: Places) -> dict[Bay, Place]:
    """Bay → place of each address that the patterns name now, but those of `usb`.

    Globs bring what exists; a path without signs counts even while it is missing. A bay is named
    after its path's last part. Two names of one device are one bay: the first in order.
    """
    found: dict[Bay, Place] = {}
    nodes = {_node(one) for place in usb.values() for one in place.addresses}
    for pattern in patterns:
        for address in _expand(pattern):
            if (node := _node(address)) in nodes:
                continue
            nodes.add(node)
            bay = bay_of(address)
            if bay in found:
                bay = Bay(address)
            there = (address,) if is_there(address) else ()
            note = "" if there else f"{address} is missing"
            found[bay] = Place(bay=bay, addresses=there, note=note, arrival=_arrival(address))
    return found


def bay_of(address: str) -> Bay:
    """The bay's name behind an address."""
    if address.startswith("tcp://"):
        return Bay(address.removeprefix("tcp://"))
    return Bay(Path(address.removeprefix("unix:")).name)


def _node(address: str) -> str:
    """What an address leads to."""
    if not address.startswith("/"):
        return address
    try:
        return str(Path(address).resolve())
    except RuntimeError:  # links in a ring
        return address


def _arrival(address: str) -> int:
    """The number of a device's file: the kernel makes it anew at each plugging in."""
    try:
        return Path(address.removeprefix("unix:")).stat().st_ino
    except OSError:
        return 0


def _expand(pattern: str) -> Sequence[str]:
    prefix = "unix:" if pattern.startswith("unix:") else ""
    path = Path(pattern.removeprefix(prefix))
    if pattern.startswith("tcp://") or not _GLOB_SIGNS & set(str(path)):
        return [pattern]
    below = path.relative_to("/")
    return [f"{prefix}{one}" for one in sorted(Path("/").glob(str(below)))]
