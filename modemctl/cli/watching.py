"""Following a batch until it is over."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

import click

from modemctl.cli.client import Client, Record, in_path, text_of
from modemctl.cli.show import console, show_json
from modemctl.clock import SystemClock
from modemctl.lifecycle import BATCH, BatchState, SegmentState

if TYPE_CHECKING:
    from rich.progress import Progress

_LEFT: Final = (SegmentState.SENT, SegmentState.DELIVERED, SegmentState.UNDELIVERED)
_UNSETTLED: Final = (SegmentState.QUEUED, SegmentState.LEASED, SegmentState.SUBMITTING)


def watch_batch(client: Client, batch_id: str, *, interval: float, as_json: bool) -> BatchState:
    """Show each change until the batch is final; returns its last state.

    Args:
        client: the daemon.
        batch_id: the batch.
        interval: seconds between two looks.
        as_json: one object a change on stdout; else a bar, or lines where nobody looks.
    """
    looks = _looks(client, batch_id, interval)
    if as_json:
        return _follow_json(looks)
    screen = console(err=True)
    if not screen.is_terminal:
        return _follow_lines(looks)
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=screen) as bar:
        return _follow_bar(looks, bar)


def _looks(client: Client, batch_id: str, interval: float) -> Iterator[Record]:
    """The batch as it stands, again and again; the last look shows a final state."""
    pause = threading.Event()  # never set: Ctrl-C ends the wait
    while True:
        found = client.get(f"/v1/batches/{in_path(batch_id)}")
        yield found
        if not BATCH[_state(found)]:
            return
        pause.wait(interval)


def _follow_json(looks: Iterator[Record]) -> BatchState:
    before: Record = {}
    for found in looks:
        if _marks(found) != _marks(before):
            show_json(found)
        before = found
    return _state(before)


def _follow_lines(looks: Iterator[Record]) -> BatchState:
    before: Record = {}
    for found in looks:
        if _marks(found) != _marks(before):
            click.echo(_line(found), err=True)
        before = found
    return _state(before)


def _follow_bar(looks: Iterator[Record], bar: Progress) -> BatchState:
    clock = SystemClock()
    began, at_first = clock.monotonic(), -1
    task = bar.add_task("", total=None)
    found: Record = {}
    for found in looks:
        counts = _counts(found)
        total = sum(counts.values())
        n_left = sum(counts.get(state, 0) for state in _LEFT)
        at_first = n_left if at_first < 0 else at_first
        seconds = clock.monotonic() - began
        rate = (n_left - at_first) / seconds if seconds > 0 else 0.0
        bar.update(
            task,
            total=total or None,
            completed=total - sum(counts.get(state, 0) for state in _UNSETTLED),
            description=f"{_line(found)}; {rate:.1f} segments/s",
        )
    return _state(found)


def _line(found: Record) -> str:
    words = ", ".join(f"{n} {state}" for state, n in _counts(found).items())
    reason = f" ({found['reason']})" if found.get("reason") else ""
    return f"{found.get('state')}{reason}: {words or 'no segments'}"


def _counts(found: Record) -> Mapping[str, int]:
    progress = found.get("progress")
    if not isinstance(progress, dict):
        return {}
    return {state: n for state, n in progress.items() if isinstance(n, int)}


def _marks(found: Record) -> tuple[object, ...]:
    return (found.get("state"), found.get("reason"), found.get("progress"))


def _state(found: Record) -> BatchState:
    return BatchState(text_of(found, "state"))
