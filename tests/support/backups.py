"""Backups of a real store into real folders, and what opens them again."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import pyrage

from modemctl.config import Settings
from modemctl.service.backup_rules import BackupRules
from modemctl.service.backups import Backups, BackupView
from modemctl.service.policies import Policies
from modemctl.service.principal import Principal, scopes_of
from modemctl.service.restoring import Opener
from modemctl.store import Store
from modemctl.store.accounts import add_account
from modemctl.vault import AuditKey, Vault
from tests.support.people import second_administrator
from tests.support.stores import AUDIT_SEED, MASTER_KEY, TestClock

OTHER_DISK = Path("/dev/shm")
"""A file system that tests' folders are not on."""


def new_identity(folder: Path, name: str = "identity.txt") -> tuple[Path, str]:
    """A recipient's secret key file, as age-keygen writes it, and the public key."""
    key = pyrage.x25519.Identity.generate()
    path = folder / name
    path.write_text(f"# public key: {key.to_public()}\n{key}\n", encoding="ascii")
    return path, str(key.to_public())


def opener(identity: Path, clock: TestClock | None = None) -> Opener:
    """The keys of the tests' site beside a recipient's."""
    return Opener(
        identity=identity,
        vault=Vault(MASTER_KEY),
        audit_key=AuditKey(AUDIT_SEED),
        clock=clock or TestClock(),
    )


def settings_of(target: Path, state: Path, **backup: object) -> Settings:
    """A site whose state lies in `state`; backups may go to `target`, whatever its disk."""
    chosen = {"folder": str(target), "allowed": (target,), "allow_same_disk": True} | backup
    return Settings.model_validate(
        {
            "site": {"node": "n1"},
            "paths": {"state_dir": state},
            "limits": {"minimum_gap": 0},
            "backup": chosen,
        }
    )


@dataclass
class Safe:
    """A store with backups, a place for them, and a person who may keep them."""

    store: Store
    backups: Backups
    folder: Path
    identity: Path
    keeper: Principal
    settings: Settings

    async def make(self) -> BackupView:
        """Ask for a backup, and make it."""
        asked = await self.backups.ask(self.keeper)
        await self.backups.look()
        return await self.backups.show(self.keeper, asked.backup_id)

    def file(self, made: BackupView) -> Path:
        """Where a backup lies."""
        return self.folder / made.name


async def furnish(store: Store, state: Path, target: Path, **backup: object) -> Safe:
    """Backups over a store, its settings confirmed."""
    target.mkdir(exist_ok=True)
    identity, public = new_identity(state.parent)
    settings = settings_of(target, state, **{"recipients": (public,), **backup})
    await Policies(store, settings.policy()).open()
    person = await second_administrator(store)
    account = await store.write(
        lambda tx: add_account(
            tx, name="anna", kind="person", department=None, roles=["maintainer"]
        )
    )
    keeper = dataclasses.replace(
        person,
        account_id=account.account_id,
        name="anna",
        scopes=scopes_of(frozenset({"maintainer"})),
    )
    return Safe(
        store=store,
        backups=Backups(store, BackupRules.of(settings)),
        folder=target,
        identity=identity,
        keeper=keeper,
        settings=settings,
    )


def is_on(path: Path, other: Path) -> bool:
    """Whether both are on one file system."""
    return path.stat().st_dev == other.stat().st_dev
