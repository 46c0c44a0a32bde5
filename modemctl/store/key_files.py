"""The secret files of a site: its two keys, and what opens its database."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final, TypeAlias

from sqlalchemy import URL, make_url

from modemctl.config.settings import PathsSettings
from modemctl.errors import ConfigError
from modemctl.store.engine import sqlite_path
from modemctl.vault import AuditKey, Vault

Address: TypeAlias = URL
"""Where a database is, taken apart; what it shows of itself holds no password."""


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


def load_database(paths: PathsSettings) -> Address:
    """Where the database is, with the password of its file, which no text of it shows.

    Raises:
        ConfigError: the file is missing, unreadable, too open, or holds no password.
    """
    return read_address(paths.database_url, paths.database_password_file)


def read_address(text: str, password_file: str) -> Address:
    """`load_database` of an address and the path of a password file, or none (empty)."""
    url = make_url(text)
    if sqlite_path(url) is not None or not password_file:
        return url
    return url.set(password=_password(Path(password_file)))


def _password(path: Path) -> str:
    name = f"database password file {path}"
    try:
        mode = path.stat().st_mode
        octets = b""
        if stat.S_ISREG(mode):  # a pipe would be waited for
            with path.open("rb") as file:
                octets = file.read(_PASSWORD_MAX)
    except FileNotFoundError:
        cure = "write it there, or empty paths.database_password_file"
        raise ConfigError([f"{name} does not exist; {cure}"]) from None
    except OSError as error:
        raise ConfigError([f"{name} cannot be read: {error.strerror}"]) from None
    if mode & 0o037:  # group may read: systemd grants a credential by an ACL, shown as 0440
        raise ConfigError([f"{name} is open to others; run: chmod 600 {path}"])
    try:
        password = octets.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        password = ""
    if not password or not password.isprintable():
        raise ConfigError([f"{name} does not hold a password in one line of UTF-8"])
    return password


def _has_data(paths: PathsSettings) -> bool:
    """Whether the database's file holds something; of other databases nothing is known."""
    path = sqlite_path(paths.database_url)
    return path is not None and path.exists() and path.stat().st_size > 0


_PASSWORD_MAX: Final = 4_096
