"""The receipt of a restore that tried a backup: who restored it can write one, nobody else.

Its MAC takes a key that lies wrapped in the restored database and opens with the master key only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self

from modemctl.errors import InvalidRequest
from modemctl.store.tables import from_ms, to_ms
from modemctl.vault import Vault

_FORM: Final = re.compile(r"mrt1:([0-9a-f]{64}):(\d{1,15}):(\d{1,9}):(\d{1,15}):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """That the backup of this digest was restored at `at`, had `n_rows` rows, took `seconds`."""

    sha256: str
    n_rows: int
    seconds: int
    at: datetime
    mac: bytes = field(repr=False)

    @classmethod
    def write(cls, vault: Vault, *, sha256: str, n_rows: int, seconds: int, at: datetime) -> Self:
        """A new one; `vault` is that of the restored database."""
        at = from_ms(to_ms(at))
        mac = vault.mac("restore_test", sha256, n_rows, seconds, to_ms(at))
        return cls(sha256=sha256, n_rows=n_rows, seconds=seconds, at=at, mac=mac)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read one line.

        Raises:
            InvalidRequest: it is none.
        """
        found = _FORM.fullmatch(text.strip())
        if found is None:
            cure = "take the line that modemctl restore --verify printed (mrt1:…)"
            raise InvalidRequest("this is no receipt of a restore test", cure=cure, field="receipt")
        sha256, n_rows, seconds, at, mac = found.groups()
        return cls(
            sha256=sha256,
            n_rows=int(n_rows),
            seconds=int(seconds),
            at=from_ms(int(at)),
            mac=bytes.fromhex(mac),
        )

    @property
    def fields(self) -> tuple[str, object, object, object, object]:
        """What the MAC is over."""
        return "restore_test", self.sha256, self.n_rows, self.seconds, to_ms(self.at)

    def text(self) -> str:
        """As one line."""
        at = to_ms(self.at)
        return f"mrt1:{self.sha256}:{self.n_rows}:{self.seconds}:{at}:{self.mac.hex()}"
