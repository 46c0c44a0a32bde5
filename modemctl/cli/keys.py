"""Keys, accounts and the audit log."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Final

import click

from modemctl.cli.client import Connection, Record
from modemctl.cli.local import state_lock
from modemctl.cli.show import as_json_option, show_record, show_table
from modemctl.config import Settings, load

_YEAR_DAYS: Final = 365


@click.group()
def key() -> None:
    """Keys: of the database, of the API, of approvers."""


@key.command(epilog="Example: modemctl key create /etc/modemctl/master.key")
@click.argument("path", type=click.Path(path_type=Path))
def create(path: Path) -> None:
    """Write a new random master or audit key to PATH (mode 0600).

    Keep a copy of the master key apart from the database: without it PINs and numbers are gone.
    """
    from modemctl.vault import create_key

    try:
        create_key(path)
    except FileExistsError:
        raise click.ClickException(f"{path} exists; a key is never overwritten") from None
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None
    click.echo(f"wrote {path}; keep a copy of it apart from the database")


@key.command(epilog="Example: modemctl key bootstrap --name chen --out /root/chen.key")
@click.option("--name", default="admin", show_default=True, help="Name of the administrator.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File for the API key.")
@click.pass_obj
def bootstrap(connection: Connection, name: str, out: Path) -> None:
    """Make the first administrator; only while no account exists and no daemon runs."""
    settings = load(connection.config_path)
    with state_lock(settings):
        token = asyncio.run(_bootstrap(settings, name))
    _write_secret(out, token)
    click.echo(f"account {name} made; its API key is in {out} (valid for 90 days)")


async def _bootstrap(settings: Settings, name: str) -> str:
    from modemctl.clock import SystemClock
    from modemctl.service.accounts import bootstrap as first_account
    from modemctl.store import Store
    from modemctl.vault import AuditKey, Vault

    paths = settings.paths
    async with Store(
        paths.database_url,
        vault=Vault.load(paths.master_key_file),
        audit_key=AuditKey.load(paths.audit_key_file),
        clock=SystemClock(),
        node_id=settings.site.node,
    ) as store:
        issued = await store.write(lambda tx: first_account(tx, name=name))
    return issued.token


@key.command(epilog="Example: modemctl key signing wang.pem")
@click.argument("path", type=click.Path(path_type=Path))
def signing(path: Path) -> None:
    """Make an approver's Ed25519 key pair: the private key to PATH, the public one to PATH.pub.

    The private key never leaves the approver; register the public one with
    `modemctl account approver-key NAME PATH.pub`.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write_secret(path, pem.decode())
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    path.with_name(path.name + ".pub").write_bytes(public)
    click.echo(f"wrote {path} (keep it) and {path}.pub (register it)")


def _write_secret(path: Path, text: str) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise click.ClickException(f"{path} exists; name a new file") from None
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None
    with os.fdopen(fd, "w", encoding="utf-8") as out:
        out.write(text.rstrip("\n") + "\n")
