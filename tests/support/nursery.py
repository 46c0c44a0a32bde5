"""Many lives of the real daemon for the price of one start: forked from what has all imported.

Run as `python -m tests.support.nursery`: each line of its input is a life to begin; what began
and what ended is told in lines of its output. Its own end ends all of them.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import selectors
import signal
import sys
import traceback
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from modemctl.fleet.node_watch import LOST_AFTER
from tests.support.banks import environment
from tests.support.kill_points import Point, Reaper

_LIMIT: Final = 120.0
_IN_A_HURRY: Final = 0.3  # seconds


class Nursery:
    """The process from which daemons are forked, as its user sees it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._ends: dict[str, asyncio.Future[int]] = {}
        self._pids: dict[str, int] = {}
        self._n_lives = 0

    def begin(
        self, config: Path, *, notes: Path, point: Point | None, hurry: Path | None = None
    ) -> str:
        """Begin a life that ends at `point`; returns its name.

        As long as there is a file `hurry` it takes over at once from a node that is silent.
        """
        self._n_lives += 1
        name = f"life{self._n_lives}"
        self._ends[name] = asyncio.get_running_loop().create_future()
        order = {
            "name": name,
            "config": str(config),
            "notes": str(notes),
            "point": None if point is None else [point.what, point.turn],
            "hurry": None if hurry is None else str(hurry),
        }
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(order)}\n".encode())
        return name

    def has_ended(self, name: str) -> bool:
        """Whether a life is over."""
        return self._ends[name].done()

    def kill(self, name: str) -> None:
        """`kill -9` from outside, where no point did it."""
        if not self.has_ended(name):
            os.kill(self._pids[name], signal.SIGKILL)

    async def end_of(self, name: str) -> int:
        """Wait for the end; the status as `waitstatus_to_exitcode` tells it."""
        async with asyncio.timeout(_LIMIT):
            return await self._ends[name]

    async def listen(self) -> None:
        """Note who begins and who ends, until the output ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = json.loads(line)
            if "pid" in told:
                self._pids[told["name"]] = told["pid"]
            else:
                self._ends[told["name"]].set_result(told["status"])


@asynccontextmanager
async def nursery() -> AsyncIterator[Nursery]:
    """A nursery while the context is open."""
    command = [sys.executable, "-m", "tests.support.nursery"]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, env=environment()
    )
    found = Nursery(process)
    async with asyncio.TaskGroup() as group:
        group.create_task(found.listen())
        try:
            yield found
        finally:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()


# ---------------------------------------------------------------- the process itself


def main() -> None:
    """Fork what is asked for, tell what ends."""
    for name in ("modemctl.daemon", "psycopg", "sqlalchemy.dialects.postgresql.psycopg"):
        importlib.import_module(name)  # once, for all of them
    gc.collect()
    gc.freeze()  # lives share these pages, and none collects them again
    waiting = selectors.DefaultSelector()
    waiting.register(sys.stdin.fileno(), selectors.EVENT_READ)
    names: dict[int, str] = {}
    rest = b""
    while True:
        for key, _ in waiting.select():
            if key.data is not None:
                _tell_end(waiting, key.fd, key.data, names)
                continue
            octets = os.read(key.fd, 1 << 16)
            if not octets:
                for pid in names:
                    os.kill(pid, signal.SIGKILL)
                return
            *lines, rest = (rest + octets).split(b"\n")
            for line in lines:
                order = json.loads(line)
                pid = _fork(order)
                names[pid] = order["name"]
                waiting.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)
                _tell({"name": order["name"], "pid": pid})


def _tell_end(waiting: selectors.BaseSelector, pidfd: int, pid: int, names: dict[int, str]) -> None:
    waiting.unregister(pidfd)
    os.close(pidfd)
    _, status = os.waitpid(pid, 0)
    _tell({"name": names.pop(pid), "status": os.waitstatus_to_exitcode(status)})


def _tell(facts: dict[str, object]) -> None:
    os.write(1, f"{json.dumps(facts)}\n".encode())


def _fork(order: dict[str, object]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        _live(order)
    except BaseException:  # noqa: BLE001 - nothing of the nursery may go on in its child
        traceback.print_exc()
    os._exit(70)


class _Patience(float):
    """Seconds of silence after which a node is lost: the product's, or few while a file is there.

    Only a test knows that a node is dead: one that is slow must not be taken for lost.
    """

    __slots__ = ("_hurry",)

    def __new__(cls, hurry: Path) -> _Patience:
        made = super().__new__(cls, LOST_AFTER)
        made._hurry = hurry
        return made

    def __le__(self, silence: float) -> bool:  # what `silence >= lost_after` asks first
        return silence >= (_IN_A_HURRY if self._hurry.exists() else LOST_AFTER)


def _live(order: dict[str, object]) -> None:
    from modemctl import daemon
    from modemctl.config import load

    config = Path(str(order["config"]))
    log = os.open(config.with_name("daemon.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for fd, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(fd, target)
    found = order["point"]
    point = None
    if found is not None:
        assert isinstance(found, list)
        point = Point(str(found[0]), int(found[1]))
    settings = load(config)
    if order["hurry"] is not None:
        patience = _Patience(Path(str(order["hurry"])))
        daemon.NodeWatch = partial(daemon.NodeWatch, lost_after=patience)
    Reaper(point, Path(str(order["notes"]))).install()
    os._exit(asyncio.run(daemon.run(settings)))


if __name__ == "__main__":
    main()
