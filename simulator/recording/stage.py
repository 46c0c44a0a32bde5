"""Where a replay is served: a pseudo terminal, a Unix socket or TCP, until it is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from simulator.clock import LoopClock
from simulator.recording.exchanges import story
from simulator.recording.player import Player
from simulator.recording.tape import Tape
from simulator.wire.ports import BankPort, Listener, PtyPort, SocketKind, SocketPort, Watcher


@dataclass(frozen=True, slots=True, kw_only=True)
class Applause:
    """What a replay came to. `unknown`: what was asked that is not in the recording, and how often;
    secrets in it are bare shapes.
    """

    answered: int
    unknown: dict[str, int] = field(default_factory=dict)


async def play(
    tape: Tape,
    path: Path,
    *,
    kind: SocketKind | None,
    is_fast: bool,
    stopped: asyncio.Event,
    ready: Callable[[str], None],
) -> Applause:
    """Serve a recording at `path` (a terminal where `kind` is None) until `stopped` is set.

    `ready` is called with the address when a client may come.

    Raises:
        OSError: the address cannot be used.
    """
    loop = asyncio.get_running_loop()
    watcher = Watcher(loop)

    def send(data: bytes) -> None:
        port.write(data)

    player = Player(story(tape), clock=LoopClock(loop), write=send, is_fast=is_fast)
    listener = Listener(received=player.receive, came=player.came, went=player.went)
    port = _port(path, kind, listener=listener, watcher=watcher)
    try:
        port.plug()
        ready(port.node if kind not in {None, SocketKind.UNIX} else str(path))
        await stopped.wait()
    finally:
        port.unplug()
        watcher.close()
    return Applause(answered=player.answered, unknown=dict(player.unknown))


def _port(path: Path, kind: SocketKind | None, *, listener: Listener, watcher: Watcher) -> BankPort:
    if kind is None:
        return PtyPort(path, watcher=watcher, listener=listener)
    return SocketPort(path, kind=kind, listener=listener)
