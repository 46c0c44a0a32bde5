"""A PostgreSQL server's address: how people are shown it, and what in it no waiting mends."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from sqlalchemy import URL, make_url

from modemctl.errors import ConfigError

_TLS: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_PROVING: Final = frozenset({"verify-ca", "verify-full"})
_PLACE: Final = frozenset({"host", "port"})

_CURES: Final = tuple(  # of what the server or its library says in English; else the last one
    (re.compile(said), cure)
    for said, cure in (
        (
            r"password authentication failed|no password supplied",
            "the user's password belongs into the file of paths.database_password_file",
        ),
        (
            r'database ".*" does not exist',
            "name one that is there, or make it as docs/postgresql.md says",
        ),
        (r"no pg_hba\.conf entry", "let the user in from this address: the server's pg_hba.conf"),
        (
            r"certificate for .* does not match host name",
            "name the server as its certificate names it",
        ),
        (
            r"certificate verify failed",
            "sslrootcert has to be the certificate that signed the server's",
        ),
        (r"failed to resolve host", "is the server's name spelt right, and known to DNS?"),
        ("", "is the server up, the address right, this user let in (pg_hba.conf)?"),
    )
)


def shown(url: str | URL) -> str:
    """The address for people: no password, no options that would push out what follows it."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "postgresql":
        return parsed.render_as_string(hide_password=True)
    place = {name: value for name, value in parsed.query.items() if name in _PLACE}
    short = URL.create(
        parsed.drivername, parsed.username, None, parsed.host, parsed.port, parsed.database, place
    )
    return unquote(short.render_as_string())


def cure(said: str) -> str:
    """What a person can do about a server that was not reached, by what was said."""
    return next(cure for pattern, cure in _CURES if pattern.search(said))


def require_sound(url: str | URL) -> None:
    """Refuse an address by which no server is ever reached.

    Raises:
        ConfigError: with the cure.
    """
    from psycopg import ProgrammingError
    from psycopg.conninfo import make_conninfo

    parsed = make_url(url)
    _, options = parsed.get_dialect()().create_connect_args(parsed)
    try:
        make_conninfo("", **options)
    except ProgrammingError as error:
        why = str(error).strip().partition("\n")[0]
        raise ConfigError([f"the database's address {shown(url)}: {why}"]) from None
    host, mode = str(options.get("host") or "/"), str(options.get("sslmode") or "prefer")
    if mode not in _TLS:
        why = f"sslmode is {mode}; it may be {', '.join(_TLS)}"
        raise ConfigError([f"the database's address {shown(url)}: {why}"])
    if mode in _PROVING and not host.startswith("/"):
        _require_root(str(options.get("sslrootcert") or ""), shown(url))


def _require_root(named: str, where: str) -> None:
    root = named or os.environ.get("PGSSLROOTCERT") or "~/.postgresql/root.crt"
    if root == "system" or os.access(Path(root).expanduser(), os.R_OK):
        return
    way = "as sslrootcert in its address (…&sslrootcert=/etc/modemctl/database-ca.crt)"
    raise ConfigError(
        [
            f"the database's address {where}: {root} is not there, or not for this user to read;"
            f" name the certificate that signed the server's {way}"
        ]
    )
