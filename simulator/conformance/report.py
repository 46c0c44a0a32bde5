"""The report for a person's terminal, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from simulator.conformance import checks, suite
from simulator.conformance.check import Result, Verdict
from simulator.conformance.checks.messages import shown
from simulator.conformance.masks import Mask
from simulator.conformance.reply import Reply
from simulator.conformance.suite import Outcome, Report

_STYLES: Final = {
    Verdict.CAN: "green",
    Verdict.CANNOT: "red",
    Verdict.ODD: "yellow",
    Verdict.NOT_TRIED: "dim",
}
_TITLE_WIDTH: Final = 31
_VERDICT_WIDTH: Final = 9
_RAW: Final = 120
_SLOWEST: Final = 8


class Printer:
    """Prints results as they come, then the rest. Raw octets are shown where something is odd."""

    def __init__(self, console: Console, *, is_verbose: bool) -> None:
        self._console = console
        self._is_verbose = is_verbose
        self._field = ""
        self._reason = ""
        self._not_tried: list[str] = []

    def result(self, result: Result, mask: Mask) -> None:
        """One check's line, and below it what a client suffers where it is not as it should be."""
        if result.check.permit is not None and result.is_without_flag:
            return
        field = result.check.name.partition(".")[0]
        is_same = (field, result.finding.says) == (self._field, self._reason)
        if result.finding.verdict is Verdict.NOT_TRIED and is_same:
            self._not_tried.append(result.check.title)
            return
        self._flush()
        if field != self._field:
            self._field = field
            self._console.print(Text(f"\n{checks.TITLES.get(field, field)}", style="bold"))
        verdict = result.finding.verdict
        if verdict is Verdict.NOT_TRIED:
            self._reason, self._not_tried = result.finding.says, [result.check.title]
            return
        line = self._grid()
        line.add_row(
            Text(f" {verdict}", style=_STYLES[verdict]),
            Text(result.check.title),
            Text(mask(result.finding.says)),
        )
        self._console.print(line)
        if verdict in {Verdict.CANNOT, Verdict.ODD}:
            self._below(f"{result.check.suffers} ({result.check.clause})", "dim")
        if verdict is Verdict.ODD or self._is_verbose:
            for text in evidence(result.replies, mask, limit=None if self._is_verbose else 2):
                self._below(text, "cyan dim")

    def _flush(self) -> None:
        """Print what was not tried for one and the same reason."""
        if not self._not_tried:
            return
        line = self._grid()
        titles = "; ".join(self._not_tried)
        verdict = Text(f" {Verdict.NOT_TRIED}", style=_STYLES[Verdict.NOT_TRIED])
        if len(self._not_tried) == 1:
            line.add_row(verdict, Text(titles), Text(self._reason, style="dim"))
            self._console.print(line)
        else:
            line.add_row(verdict, Text(f"{len(self._not_tried)} checks"), Text(self._reason, "dim"))
            self._console.print(line)
            self._below(titles, "dim")
        self._reason, self._not_tried = "", []

    def _below(self, text: str, style: str) -> None:
        indent = _VERDICT_WIDTH + 4
        self._console.print(Padding(Text(text, style=style), (0, 0, 0, indent)))

    def summary(self, report: Report, mask: Mask) -> None:
        """How long things take, what was not put back, and the verdict."""
        self._flush()
        left_out = {result.check.permit for result in report.results if result.is_without_flag}
        acts = [f"{act} ({suite.FLAGS[it]})" for it, act in suite.ACTS.items() if it in left_out]
        if acts:
            self._console.print(Text(f"\nOnly with a flag: {', '.join(acts)}", style="dim"))
        self._timings(report)
        for name in report.not_restored:
            self._console.print(Text(f"\nNot put back: {name}", style="red"))
        if not report.not_restored and not report.broke_off:
            self._console.print("\nAll settings are as they were.")
        counts = dict.fromkeys(Verdict, 0)
        for result in report.results:
            counts[result.finding.verdict] += 1
        words = ", ".join(f"{n} {verdict}" for verdict, n in counts.items() if n)
        self._console.print(f"{len(report.results)} checks: {words}")
        self._verdict(report, mask)

    def _verdict(self, report: Report, mask: Mask) -> None:
        match report.outcome:
            case Outcome.USABLE:
                self._console.print(Text("Usable.", style="bold green"))
            case Outcome.LACKING:
                self._console.print(Text("Essential, and missing or not shown:", style="bold red"))
                for result in report.lacking:
                    says = mask(result.finding.says)
                    self._console.print(Text(f"  {result.check.title}: {says}"))
            case Outcome.MUTE:
                self._console.print(Text(f"Broken off: {report.broke_off}.", style="bold red"))
                self._console.print("Switch the modem off and on before it is used again.")

    def _timings(self, report: Report) -> None:
        if not report.timings:
            return
        self._console.print(Text("\nThe slowest answers", style="bold"))
        grid = Table.grid(padding=(0, 2, 0, 1))
        grid.add_column(width=26, no_wrap=True, overflow="ellipsis")
        for _ in range(4):
            grid.add_column(justify="right", width=9)
        grid.add_row(Text("command", style="dim"), *_HEADS)
        slowest = sorted(report.timings.items(), key=lambda pair: -pair[1].maximum)
        for name, pace in slowest[: None if self._is_verbose else _SLOWEST]:
            times = (
                f"{value * 1000:.0f} ms" for value in (pace.minimum, pace.median, pace.maximum)
            )
            grid.add_row(Text(_visible(name)), str(pace.n), *times)
        self._console.print(grid)

    def _grid(self) -> Table:
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(width=_VERDICT_WIDTH + 1, no_wrap=True)
        grid.add_column(width=_TITLE_WIDTH)
        grid.add_column(ratio=1)
        grid.expand = True
        return grid


_HEADS: Final = tuple(Text(word, style="dim") for word in ("times", "min", "median", "max"))


def evidence(replies: Sequence[Reply], mask: Mask, *, limit: int | None) -> list[str]:
    """What was typed and what came, each in a line, cut; with a limit first what was refused."""
    refused = [reply for reply in replies if not reply.is_ok and not reply.prompt]
    chosen = replies if limit is None else (refused or replies)[-limit:]
    return [
        f"{_visible(mask(reply.command))} → {_got(reply, mask) or 'nothing'}" for reply in chosen
    ]


def as_json(report: Report, port: str, mask: Mask) -> str:
    """The whole run as one object."""
    seen = report.seen
    answer = {
        "port": port,
        "outcome": report.outcome.name.lower(),
        "exit_status": int(report.outcome),
        "broken_off": report.broke_off,
        "manufacturer": seen.manufacturer,
        "model": seen.model,
        "revision": seen.revision,
        "family": seen.family,
        "not_restored": list(report.not_restored),
        "lacking": [result.check.name for result in report.lacking],
        "checks": [_check(result, mask) for result in report.results],
        "timings": {
            _visible(name): {
                "n": pace.n,
                "min": round(pace.minimum, 6),
                "median": round(pace.median, 6),
                "max": round(pace.maximum, 6),
            }
            for name, pace in report.timings.items()
        },
    }
    return json.dumps(answer, ensure_ascii=False, indent=1)


def _check(result: Result, mask: Mask) -> dict[str, object]:
    check = result.check
    return {
        "name": check.name,
        "title": check.title,
        "clause": check.clause,
        "suffers": check.suffers,
        "essential": check.is_essential,
        "verdict": result.finding.verdict.value,
        "says": mask(result.finding.says),
        "evidence": [
            {
                "typed": _visible(mask(reply.command)),
                "got": _got(reply, mask),
                "seconds": round(reply.seconds, 6) if reply.seconds >= 0 else None,
            }
            for reply in result.replies
        ],
    }


def _got(reply: Reply, mask: Mask) -> str:
    # Masked before it is cut: half a number would pass for none.
    text = mask(shown(reply.raw.decode("latin-1")))
    return text if len(text) <= _RAW else text[:_RAW] + "…"


def _visible(command: str) -> str:
    text = shown(command)
    return text if len(text) <= 60 else text[:57] + "…"
