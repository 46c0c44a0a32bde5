"""What a person sees of the demo: acts, refusals, live progress, the summary."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from modemctl.cli.client import Json, Record

_FINAL = ("delivered", "undelivered", "expired", "refused", "cancelled")
_LABELS = {
    "accepted": "messages accepted", "delivered": "messages delivered",
    "failed": "messages failed", "in_doubt": "messages in doubt", "sent": "segments sent",
}  # fmt: skip
_MARKS = {
    "ready": ("●", "green"), "absent": ("·", "dim"), "probing": ("○", "yellow"),
    "starting": ("○", "yellow"), "checking": ("◔", "yellow"), "unlocking": ("◑", "yellow"),
    "sim_wait": ("◌", "magenta"), "searching": ("◕", "cyan"), "recovering": ("↻", "yellow"),
    "quarantined": ("⊘", "red"), "refused": ("⊘", "red"), "failed": ("✗", "red"),
}  # fmt: skip


class View:
    """Writes to standard error, so that standard output stays the script's."""

    def __init__(self, *, is_quiet: bool) -> None:
        self._console = Console(stderr=True, quiet=is_quiet, highlight=False)
        self._live = Live(console=self._console, refresh_per_second=8, transient=True)
        self._modems: Sequence[Record] = ()
        self._batches: Sequence[Record] = ()
        self._started = time.monotonic()
        self._sent: list[tuple[float, int]] = []

    def __enter__(self) -> Self:
        """Start the live part."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        """Take the live part down."""
        self._live.stop()

    def act(self, title: str) -> None:
        """Begin an act."""
        seconds = time.monotonic() - self._started
        self._console.print(Text.assemble((f"{seconds:6.1f} s  ", "dim"), (title, "bold")))

    def note(self, text: str) -> None:
        """Something that went as it should."""
        self._console.print(Text.assemble("          ", ("✓ ", "green"), text))

    def refusal(self, text: str) -> None:
        """Something that was refused, as it should be."""
        first, *rest = text.splitlines()
        self._console.print(Text.assemble("          ", ("⊘ ", "red"), first))
        for line in rest:
            self._console.print(Text.assemble("            ", line))

    def modems(self, modems: Sequence[Record]) -> None:
        """Show the bank's states."""
        self._modems = modems
        self._draw()

    def batches(self, batches: Sequence[Record]) -> None:
        """Show the batches' progress."""
        self._batches = batches
        n_sent = sum(_counts(one)["sent"] + _counts(one)["delivered"] for one in batches)
        self._sent = [*self._sent[-40:], (time.monotonic(), n_sent)]
        self._draw()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)

    def summary(self, figures: dict[str, Json], *, agrees: bool) -> None:
        """The figures of both sides, and whether they agree."""
        self._live.stop()
        table = Table(box=None, show_header=False, pad_edge=False)
        for name, value in figures.items():
            if not isinstance(value, list):
                label = _LABELS.get(name, name.replace("_", " "))
                table.add_row("  " + label, Text(str(value), justify="right"))
        self._console.print()
        self._console.print(table)
        differences = figures.get("differences")
        for line in differences if isinstance(differences, list) else []:
            self._console.print(Text(f"  ✗ {line}", style="red"))
        word = (
            Text("  store and ledger agree, number by number", style="bold green")
            if agrees
            else Text("  store and ledger DISAGREE", style="bold red")
        )
        self._console.print(word)

    def _draw(self) -> None:
        self._live.update(Group(self._bank(), *(self._progress(one) for one in self._batches)))

    def _bank(self) -> Text:
        text = Text("  bank  ")
        for modem in self._modems:
            text.append(*_MARKS.get(str(modem.get("state")), ("?", "red")))
            text.append(" ")
        states = Counter(str(modem.get("state")) for modem in self._modems)
        text.append("  " + ", ".join(f"{n} {state}" for state, n in states.most_common()), "dim")
        return text

    def _progress(self, batch: Record) -> Table:
        counts = _counts(batch)
        total = sum(counts.values()) or 1
        done = sum(counts[state] for state in _FINAL)
        n_left = counts["sent"] + counts["delivered"]
        row = Table.grid(padding=(0, 1))
        row.add_row(
            Text(f"  {batch.get('category')!s:<10}"),
            ProgressBar(total=total, completed=done + counts["sent"] / 2, width=30),
            Text(
                f"{n_left:>5} sent {counts['delivered']:>5} delivered of {total}"
                f"   {self._rate():.1f}/s"
            ),
        )
        return row

    def _rate(self) -> float:
        if len(self._sent) < 2:
            return 0.0
        (t0, n0), (t1, n1) = self._sent[0], self._sent[-1]
        return max(0.0, (n1 - n0) / (t1 - t0)) if t1 > t0 else 0.0


def _counts(batch: Record) -> Counter[str]:
    progress = batch.get("progress")
    if not isinstance(progress, dict):
        return Counter()
    return Counter({state: n for state, n in progress.items() if isinstance(n, int)})
