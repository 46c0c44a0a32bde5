"""Drafts from a run: a persona of the simulator, and capabilities for a driver's row.

No secret goes into them: the card's and the modem's numbers become words in braces.
"""

from __future__ import annotations

from pathlib import Path

from simulator.conformance import capabilities, persona_draft
from simulator.conformance.port import usb_place
from simulator.conformance.suite import Report


def write(folder: Path, report: Report, port: str) -> list[Path]:
    """Write both drafts; where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    usb = None if port.startswith(("tcp://", "unix:")) else usb_place(port)
    texts = {
        "persona.toml": persona_draft.text(report, usb=usb),
        "capabilities.toml": capabilities.text(report),
    }
    for name, content in texts.items():
        (folder / name).write_text(content, "utf-8")
    return [folder / name for name in texts]
