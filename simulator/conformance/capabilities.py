"""What was observed, as a driver author wants it: one plain TOML file."""

from __future__ import annotations

import re
from typing import Final

from simulator.conformance import masks, toml
from simulator.conformance.check import Observed, Verdict
from simulator.conformance.checks.routing import best_route
from simulator.conformance.suite import Report

_PLAIN: Final = re.compile(r"AT(?:[+^*#$%!_][A-Z0-9]+(?:=…|=\?|\?)?)?|<text of .*>")


def text(report: Report) -> str:
    """The file's text."""
    seen = report.seen
    verdicts = {result.check.name: result.finding.verdict for result in report.results}
    parts = [
        "# Observed by the conformance suite; not what a manual says. Times in seconds.\n",
        toml.table(_known(_identity(seen)), name="identity"),
        toml.table(_known(_card(seen)), name="card"),
        toml.table(_known(_messages(seen, verdicts)), name="messages"),
        toml.table(_known(_network(seen)), name="network"),
        toml.table({name: verdict.value for name, verdict in verdicts.items()}, name="checks"),
        _times(report),
    ]
    return "\n".join(part for part in parts if part)


def _identity(seen: Observed) -> dict[str, toml.Value | None]:
    return {
        "family": seen.family,
        "manufacturer": seen.manufacturer,
        "model": seen.model,
        "revision": seen.revision,
        "unknown_command": seen.unknown_command,
        "longest_line": seen.max_line,
    }


def _card(seen: Observed) -> dict[str, toml.Value | None]:
    return {
        "pin_counter": seen.counter_command is not None,
        "pin_counter_command": seen.counter_command,
        "pin_counter_form": seen.counter_form,
        "iccid_command": seen.iccid_command,
        "iccid_form": seen.iccid_form,
        "cpin_has_ok": seen.cpin_has_ok,
    }


def _messages(seen: Observed, verdicts: dict[str, Verdict]) -> dict[str, toml.Value | None]:
    acknowledged = verdicts.get("sms.acknowledge")
    return {
        "reports": any(ds for _, _, ds in seen.cnmi_taken) if seen.cnmi_taken else None,
        "routing": best_route(seen) or None,
        "routes_refused": [f"{m},{mt},0,{ds}" for m, mt, ds in sorted(seen.cnmi_refused)] or None,
        "direct_needs_phase_2_plus": seen.cnmi_depends,
        "phase_2_plus": seen.has_phase_2_plus,
        "storages": list(seen.memories) or None,
        "default_storage": seen.default_memory,
        "first_slot": seen.first_slot,
        "prompt": seen.prompt.decode("latin-1") if seen.prompt is not None else None,
        "acknowledge_refused_at_rest": acknowledged is Verdict.CAN if acknowledged else None,
        "submit_seconds": round(seen.submit_seconds, 3) if seen.submit_seconds else None,
        "alphabets": list(seen.charsets) or None,
    }


def _network(seen: Observed) -> dict[str, toml.Value | None]:
    mask = masks.of(seen)
    return {
        "creg_is_quoted": seen.creg_is_quoted,
        "access_technology": seen.access_technology,
        "eps": seen.has_eps,
        "noise": [mask(line) for line in seen.noise] or None,
        "boot_lines": [mask(line) for line in seen.boot_lines] or None,
        "boot_seconds": seen.boot_seconds,
    }


def _times(report: Report) -> str:
    slowest = {
        name: [round(value, 4) for value in (pace.minimum, pace.median, pace.maximum)]
        for name, pace in report.timings.items()
        if _PLAIN.fullmatch(name)
    }
    lines = ["[times]  # min, median, max"]
    lines += [
        f"{toml.key(name)} = [{', '.join(map(str, times))}]" for name, times in slowest.items()
    ]
    return "\n".join(lines) + "\n"


def _known(values: dict[str, toml.Value | None]) -> dict[str, toml.Value]:
    return {name: value for name, value in values.items() if value is not None}
