"""Rotation of keys while everything runs (SEC-03): data keys by rows, the master key by wraps."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modemctl.errors import ConfigError, Conflict, InvalidRequest, StoreError
from modemctl.model import Topic
from modemctl.policy.dual import DualKind
from modemctl.service import dual
from modemctl.service.principal import Principal, Scope
from modemctl.store import Connection, Store, Tx, keys, reseal
from modemctl.store.reseal import Progress
from modemctl.vault import Vault

__all__ = ["DATA_KEY", "MASTER_KEY", "Keyring", "KeyringView"]

DATA_KEY: Final = "data"
MASTER_KEY: Final = "master"
"""What the two persons name in a request of the kind `key_rotation`."""

_EVERY: Final = 60.0  # seconds between two looks
_SCRUBS: Final = 100
_PAUSE: Final = 0.01  # seconds between two steps: others write too

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyringView:
    """Which keys there are. `n_left` values stand on older generations, while one is rotated.

    `old` tells them by column. `is_master_changing`: two master keys open the database now.
    """

    generation: int
    is_rotating: bool
    n_left: int
    n_broken: int
    old: Mapping[str, int]
    is_master_changing: bool
    new_key_file: str


class Keyring:
    """Rotates keys, by the permit of a second person."""

    def __init__(self, store: Store, *, master_key_file: Path) -> None:
        """`master_key_file` with `.new` behind it is where a new master key is looked for."""
        self._store = store
        self._new_file = master_key_file.with_name(f"{master_key_file.name}.new")
        self._is_asked = False

    async def show(self, who: Principal) -> KeyringView:
        """Which keys there are, and how far a rotation is.

        Raises:
            NotPermitted: without `audit:read` or `accounts:write`, or of one department only.
        """
        if Scope.ACCOUNTS_WRITE not in who.scopes:
            who.require(Scope.AUDIT_READ)
        who.require_all_departments()
        return await self._store.read(self._view)

    async def rotate(self, who: Principal, *, request_id: str | None) -> KeyringView:
        """Encrypt with a new data key from now on, and all that stands bit by bit.

        Raises:
            NotPermitted, PolicyRefused: scope; SEC-04, no permit.
            Conflict: a rotation or a change of the master key is under way.
        """
        _require(who)
        vault = self._store.vault
        following = vault.generation + 1
        old = await self._store.read(lambda conn: reseal.count_old(conn, following))

        def act(tx: Tx) -> None:
            self._require_quiet(tx.conn)
            dual.take(tx, who, request_id, kind=DualKind.KEY_ROTATION, subject=DATA_KEY)
            key = keys.add_generation(tx)
            reseal.begin(tx, key.generation, n_left=sum(old.values()))
            facts = {"source": who.source, "policy": "SEC-03"}
            tx.audit(who.name, "vault.rotate", f"{key.use}:{key.generation}", {**facts})
            tx.wake(Topic.KEYS)

        self._is_asked = True
        await self._store.write(act)
        await self._store.read(lambda conn: keys.unlock(conn, vault))
        return await self._store.read(self._view)

    async def change_master(self, who: Principal, *, request_id: str | None) -> KeyringView:
        """Let the key of the file `….new` open the database, beside the one in use.

        The operator then puts that file in the other's place and starts the daemon again; from
        then on the earlier key opens nothing.

        Raises:
            NotPermitted, PolicyRefused: scope; SEC-04, no permit.
            InvalidRequest: there is no such file, or it is the key in use.
            Conflict: a rotation is under way.
        """
        _require(who)
        try:
            new = await asyncio.to_thread(Vault.load, self._new_file)
        except ConfigError as error:
            raise InvalidRequest(str(error), field="new_key_file", policy="SEC-03") from None
        if new.check_value == self._store.vault.check_value:
            raise InvalidRequest("it is the key in use", field="new_key_file", policy="SEC-03")

        def act(tx: Tx) -> None:
            self._require_quiet(tx.conn, of_master=True)
            dual.take(tx, who, request_id, kind=DualKind.KEY_ROTATION, subject=MASTER_KEY)
            n = keys.wrap_for(tx, new)
            facts = {"source": who.source, "policy": "SEC-03"}
            tx.audit(who.name, "vault.change_master", "master key", {"n_keys": n, **facts})

        await self._store.write(act)
        return await self._store.read(self._view)

    async def run(self) -> None:
        """Go on with a rotation that is under way, at start and when one is asked for.

        One that another node began is known here from then on; one of them ends it.
        """
        vault = self._store.vault
        with self._store.signals.subscribe(Topic.KEYS) as bell:
            while True:
                try:
                    await self._store.read(lambda conn: keys.unlock(conn, vault))
                    if self._is_asked or self._store.is_caretaker:
                        await self.finish_rotation()
                    self._is_asked = False
                except StoreError as error:
                    _log.error("vault.not_rotated", extra={"error": str(error)})
                await bell.wait(_EVERY)

    async def finish_rotation(self) -> Progress | None:
        """Encrypt anew what is left of a rotation; None where none is under way.

        Raises:
            StoreError: the database cannot be written.
        """
        last: Progress | None = None
        while (done := await self._store.write(reseal.step)) is not None:
            last = done
            if done.is_over:
                await self._scrub()
                _log.info("vault.rotated", extra={"generation": done.generation})
                break
            await asyncio.sleep(_PAUSE)
        return last

    async def _scrub(self) -> None:
        """The ciphertexts of before are gone from the log, too."""
        for _ in range(_SCRUBS):
            if await self._store.scrub():
                return
            await asyncio.sleep(_PAUSE)

    def _require_quiet(self, conn: Connection, *, of_master: bool = False) -> None:
        if reseal.read(conn) is not None:
            cure = "modemctl vault show; wait for its end"
            raise Conflict("a rotation of the data key is under way", cure=cure, policy="SEC-03")
        if not of_master and keys.is_changing(conn):
            cure = "put the new key file in its place and start the daemon again"
            raise Conflict("the master key is being changed", cure=cure, policy="SEC-03")

    def _view(self, conn: Connection) -> KeyringView:
        progress, vault = reseal.read(conn), self._store.vault
        return KeyringView(
            generation=vault.generation,
            is_rotating=progress is not None,
            n_left=0 if progress is None else progress.n_left,
            n_broken=0 if progress is None else progress.n_broken,
            old=reseal.count_old(conn, vault.generation),
            is_master_changing=keys.is_changing(conn),
            new_key_file=str(self._new_file),
        )


def _require(who: Principal) -> None:
    who.require(Scope.ACCOUNTS_WRITE)
    who.require_all_departments()
    who.require_person("SEC-04")
