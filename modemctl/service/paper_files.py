"""The files of reports on disk: sealed with the vault's key, forgotten after a while."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from modemctl.clock import Clock
from modemctl.errors import TamperedError
from modemctl.vault import Vault

_DAY: Final = 86_400.0  # seconds
_AGAIN: Final = 3_600.0  # seconds after a folder that could not be read

_log = logging.getLogger(__name__)


class PaperFiles:
    """One folder of them."""

    def __init__(self, folder: Path, vault: Vault) -> None:
        self._folder = folder
        self._vault = vault

    async def place(self, paper_id: str) -> Path:
        """Where a report is written before it is sealed; the folder is made at need.

        Raises:
            OSError: it cannot be made.
        """
        await asyncio.to_thread(self._make_room, paper_id)
        return self._draft(paper_id)

    async def seal(self, paper_id: str) -> None:
        """Replace what was written by its sealed form.

        Raises:
            OSError: it cannot be written.
        """
        await asyncio.to_thread(self._seal, paper_id)

    async def read(self, paper_id: str, *, sha256: str | None) -> bytes | None:
        """A report's octets; None where they were forgotten.

        Raises:
            TamperedError: they are not what was written.
        """
        octets = await asyncio.to_thread(self._read, paper_id)
        if octets is not None and hashlib.sha256(octets).hexdigest() != sha256:
            raise TamperedError("paper: the file of a report was replaced")
        return octets

    async def sweep(self, keep: timedelta, now: datetime) -> None:
        """Forget drafts, and files that are older than `keep`; while nothing is being made."""
        await asyncio.to_thread(self._sweep, now - keep)

    async def forget_daily(self, keep: timedelta, clock: Clock, *, every: float = _DAY) -> None:
        """Forget files that are older than `keep`, each `every` seconds until cancelled.

        A draft that is being written is left alone.
        """
        while True:
            await asyncio.sleep(every)
            try:
                await asyncio.to_thread(self._forget, clock.now() - keep)
            except OSError as error:
                _log.warning("report.not_forgotten", extra={"error": error.strerror or ""})
                await asyncio.sleep(_AGAIN)

    async def tidy(self, paper_id: str) -> None:
        """Forget what was half written; nobody writes it any more."""
        await asyncio.to_thread(shutil.rmtree, self._room(paper_id), ignore_errors=True)

    def _room(self, paper_id: str) -> Path:
        return self._folder / paper_id

    def _make_room(self, paper_id: str) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._room(paper_id).mkdir(mode=0o700, exist_ok=True)

    def _draft(self, paper_id: str) -> Path:
        return self._room(paper_id) / "draft"

    def _sealed(self, paper_id: str) -> Path:
        return self._folder / f"{paper_id}.sealed"

    def _seal(self, paper_id: str) -> None:
        draft = self._draft(paper_id)
        octets = self._vault.encrypt(draft.read_bytes(), place=f"paper.file:{paper_id}")
        half = draft.with_name("sealed")
        half.touch(mode=0o600)
        half.write_bytes(octets)
        half.replace(self._sealed(paper_id))

    def _read(self, paper_id: str) -> bytes | None:
        try:
            octets = self._sealed(paper_id).read_bytes()
        except FileNotFoundError:
            return None
        return self._vault.decrypt(octets, place=f"paper.file:{paper_id}")

    def _sweep(self, before: datetime) -> None:
        if not self._folder.is_dir():
            return
        for path in self._folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
        self._forget(before)

    def _forget(self, before: datetime) -> None:
        for path in self._folder.glob("*.sealed"):
            if datetime.fromtimestamp(path.stat().st_mtime, tz=UTC) < before:
                path.unlink(missing_ok=True)
