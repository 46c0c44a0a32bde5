"""Where each of the company's rules is enforced, and the change that a test must notice.

The entries lie in `tests/policy/*.toml`; `docs/policy.md` is printed from them.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "tests/policy"

LATER: Final = frozenset({"CC-05", "CC-06"})
"""Deployment: ids that are not enforced yet, beside those of telephones (TEL)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A mutation of one rule: `find` becomes `replace` in `file`, and `test` fails."""

    id: str
    file: str
    find: str
    replace: str
    test: str
    source: str

    @property
    def label(self) -> str:
        """For a test's name."""
        return f"{self.id}-{self.source}"


def read_proofs() -> tuple[Proof, ...]:
    """All entries in the order of the files and lines.

    Raises:
        ValueError: an entry lacks a key or has an unknown one; the message names it.
    """
    proofs = []
    for path in sorted(FOLDER.glob("*.toml")):
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("proof", [])
        for place, entry in enumerate(entries, start=1):
            source = f"{path.stem}{place}"
            try:
                proofs.append(Proof(source=source, **entry))
            except TypeError as error:
                raise ValueError(f"tests/policy/{path.name}, entry {place}: {error}") from None
    return tuple(proofs)
