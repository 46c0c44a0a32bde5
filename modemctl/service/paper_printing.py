"""A report written to a file, in whichever form, sealed where it was asked for (`paper_child`)."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from modemctl.errors import InvalidRequest
from modemctl.policy.papers import Block, PaperFormat
from modemctl.service.paper_pages import Pages
from modemctl.service.paper_sheets import Workbooks

TOO_MUCH: Final = "the report needs more memory than a report may"

_BLOCK: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """What is to be written where; with a passphrase only who has it opens the workbook."""

    path: Path
    paper_format: PaperFormat
    passphrase: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written, or why it was not (`rule`)."""

    digest: str = ""
    sha256: str = ""
    n_octets: int = 0
    n_rows: int = 0
    rule: str | None = None
    cure: str = ""


def write(writing: Writing, blocks: Iterator[Block]) -> Written:
    """Write a report; what is half written goes away."""
    folder = writing.path.parent
    try:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            plain = Path(scratch) / f"paper.{writing.paper_format}"
            if writing.paper_format is PaperFormat.PDF:
                digest, n_rows = _fill(Pages(plain, Path(scratch)), blocks)
            else:
                digest, n_rows = _fill(Workbooks(plain), blocks)
            if writing.passphrase is not None:
                plain = _sealed(plain, writing.passphrase)
            plain.chmod(0o600)
            sha256, n_octets = _measure(plain)
            plain.replace(writing.path)
    except InvalidRequest as refusal:
        return Written(rule=refusal.rule, cure=refusal.cure)
    except MemoryError:
        return Written(rule=TOO_MUCH, cure="ask for a shorter period")
    return Written(digest=digest, sha256=sha256, n_octets=n_octets, n_rows=n_rows)


def _fill(writer: Pages | Workbooks, blocks: Iterator[Block]) -> tuple[str, int]:
    for block in blocks:
        writer.add(block)
    return writer.close()


def _sealed(plain: Path, passphrase: str) -> Path:
    """The workbook as office programs encrypt one: AES-256, a key from 100,000 rounds of SHA-512.

    Source: ECMA-376 agile encryption, MS-OFFCRYPTO 2.3.4.
    """
    from msoffcrypto.format.ooxml import OOXMLFile

    sealed = plain.with_name(f"sealed{plain.suffix}")
    with plain.open("rb") as source, sealed.open("wb") as out:
        OOXMLFile(source).encrypt(passphrase, out)
    return sealed


def _measure(path: Path) -> tuple[str, int]:
    sha, n_octets = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha.update(block)
            n_octets += len(block)
    return sha.hexdigest(), n_octets
