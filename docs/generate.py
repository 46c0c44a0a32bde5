"""Writes the pages that are made from the code. Usage: ./run docs"""

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from api.reference import api_markdown
from modemctl import lifecycle
from modemctl.config import reference_markdown
from modemctl.telemetry import metrics_markdown

HERE: Final = Path(__file__).resolve().parent


def architecture_markdown() -> str:
    """The page as it stands, its diagrams drawn anew from the state tables, in their order."""
    diagrams = iter(
        (
            lifecycle.modem_diagram(),
            lifecycle.diagram(lifecycle.SEGMENT),
            lifecycle.diagram(lifecycle.BATCH),
            lifecycle.diagram(lifecycle.CARD),
        )
    )
    page = (HERE / "architecture.md").read_text(encoding="utf-8")
    return re.sub(r"(?<=```mermaid\n).*?(?=\n```)", lambda _: next(diagrams), page, flags=re.DOTALL)


PAGES: Final[Mapping[str, Callable[[], str]]] = MappingProxyType(
    {
        "api.md": api_markdown,
        "architecture.md": architecture_markdown,
        "configuration.md": reference_markdown,
        "metrics.md": metrics_markdown,
    }
)


def main() -> int:
    """Returns the exit status."""
    for name, make in PAGES.items():
        (HERE / name).write_text(make(), encoding="utf-8")
        sys.stdout.write(f"docs/{name}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
