"""Writes the pages that are made from the code. Usage: ./run docs"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from modemctl.config import reference_markdown
from modemctl.telemetry import metrics_markdown

PAGES: Final[Mapping[str, Callable[[], str]]] = MappingProxyType(
    {
        "configuration.md": reference_markdown,
        "metrics.md": metrics_markdown,
    }
)


def main() -> int:
    """Returns the exit status."""
    for name, make in PAGES.items():
        page = Path(__file__).with_name(name)
        page.write_text(make(), encoding="utf-8")
        sys.stdout.write(f"docs/{name}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
