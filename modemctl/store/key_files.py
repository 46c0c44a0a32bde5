"""The two key files of a site, and whether there are data that need the very ones."""

from __future__ import annotations

from modemctl.config.settings import PathsSettings
from modemctl.store.engine import sqlite_path
from modemctl.vault import AuditKey, Vault


def load_vault(paths: PathsSettings) -> Vault:
    """The vault of the master key file.

    Raises:
        ConfigError: as `Vault.load`; where data are there, the cure is no new key.
    """
    return Vault.load(paths.master_key_file, has_data=_has_data(paths))


def load_audit_key(paths: PathsSettings) -> AuditKey:
    """The audit key of its file.

    Raises:
        ConfigError: as `AuditKey.load`; where data are there, the cure is no new key.
    """
    return AuditKey.load(paths.audit_key_file, has_data=_has_data(paths))


def _has_data(paths: PathsSettings) -> bool:
    """Whether the database's file holds something; of other databases nothing is known."""
    path = sqlite_path(paths.database_url)
    return path is not None and path.exists() and path.stat().st_size > 0
