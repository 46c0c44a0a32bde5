"""Keys: of the database, of the API, of approvers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from modemctl.cli.accounts import account_id_of, show_asked
from modemctl.cli.client import Connection, Json, in_path, records, text_of
from modemctl.cli.errors import Refusal
from modemctl.cli.show import as_json_option, show_done, show_table

if TYPE_CHECKING:
    from modemctl.config import Settings

_COLUMNS: Final = ("key_id", "created_at", "expires_at", "last_used_at", "revoked_at")


@click.group()
def key() -> None:
    """Keys: of the database, of the API, of approvers."""


@key.command(epilog="Example: modemctl key create /etc/modemctl/master.key")
@click.argument("path", type=click.Path(path_type=Path, readable=False))
def create(path: Path) -> None:
    """Write a new random master or audit key to PATH (mode 0600).

    Keep a copy of the master key apart from the database: without it PINs and numbers are gone.
    """
    from modemctl.vault import create_key

    try:
        create_key(path)
    except FileExistsError:
        raise Refusal(f"{path} exists; a key is never overwritten") from None
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}") from None
    click.echo(f"wrote {path}; keep a copy of it apart from the database")


@key.command(epilog="Example: modemctl key bootstrap --name chen --out chen.key")
@click.option("--name", default="admin", show_default=True, help="Name of the administrator.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, readable=False),
    required=True,
    help="File for the API key.",
)
@click.pass_obj
def bootstrap(connection: Connection, name: str, out: Path) -> None:
    """Make the first two administrators, one a run; only while no daemon runs.

    Neither of them gives authority alone. Later it gives an administrator whose keys have all
    ended a new one.
    """
    import asyncio

    from modemctl.cli.local import require_database
    from modemctl.config import load
    from modemctl.store.lock import state_lock

    settings = load(connection.config_path)
    with state_lock(settings.paths.state_dir):
        require_database(settings)
        with _new_secret(out) as write:  # before the act: a key that cannot be kept is lost
            write(asyncio.run(_bootstrap(settings, name)))
    click.echo(f"account {name} made; its API key is in {out} (valid for 90 days)")


async def _bootstrap(settings: Settings, name: str) -> str:
    from modemctl.clock import SystemClock
    from modemctl.service.accounts import bootstrap as first_account
    from modemctl.store import Store
    from modemctl.store.key_files import load_audit_key, load_database, load_vault
    from modemctl.store.seats import Seat

    paths = settings.paths
    async with Store(
        load_database(paths),
        vault=load_vault(paths),
        audit_key=load_audit_key(paths),
        clock=SystemClock(),
        node_id=settings.site.node,
        seat=Seat(settings.site.node),
    ) as store:
        issued = await store.write(lambda tx: first_account(tx, name=name))
    return issued.token


@key.command(epilog="Example: modemctl key signing wang.pem --passphrase")
@click.argument("path", type=click.Path(path_type=Path, readable=False))
@click.option("--passphrase", is_flag=True, help="Ask for a passphrase that protects the file.")
def signing(path: Path, *, passphrase: bool) -> None:
    """Make an approver's Ed25519 key pair: the private key to PATH, the public one to PATH.pub.

    The private key never leaves the approver; register the public one with
    `modemctl account approver-key NAME PATH.pub`.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        KeySerializationEncryption,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    lock: KeySerializationEncryption = NoEncryption()
    if passphrase:
        word = click.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True)
        lock = BestAvailableEncryption(str(word).encode())
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    public_path = path.with_name(path.name + ".pub")
    with _new_secret(path) as write:
        try:
            public_path.write_bytes(public)
        except OSError as error:
            raise Refusal(f"{public_path}: {error.strerror}") from None
        write(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock).decode())
    click.echo(f"wrote {path} (keep it) and {public_path} (register it)")


@key.command(epilog="Example: modemctl key issue wang --out wang.key")
@click.argument("account")
@click.option(
    "--out",
    type=click.Path(path_type=Path, readable=False),
    help="File for the key; none: show it.",
)
@click.option(
    "--address",
    "addresses",
    multiple=True,
    help="A network where it counts, or `unix`; may be repeated. None: socket and loopback.",
)
@as_json_option
@click.pass_obj
def issue(
    connection: Connection,
    account: str,
    out: Path | None,
    addresses: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """A new API key for an account, good for 90 days; it is shown this once.

    An account has two live keys at most: enough to change over without a gap.
    """
    with connection.client() as client:
        path = f"/v1/accounts/{account_id_of(client, account)}/keys"
        body: dict[str, Json] | None = {"addresses": list(addresses)} if addresses else None
        if out is None:
            issued = client.post(path, body)
            show_done(issued, text_of(issued, "token"), as_json=as_json)
            return
        with _new_secret(out) as write:
            issued = client.post(path, body)
            write(text_of(issued, "token"))
    kept = {name: value for name, value in issued.items() if name != "token"}
    show_done(kept, f"API key of {account} written to {out}", as_json=as_json)


@key.command(epilog="Example: modemctl key reissue wang --certificate 'form 31' --out wang2.key")
@click.argument("account")
@click.option("--certificate", required=True, help="The department's certificate of the loss.")
@click.option("--stolen", is_flag=True, help="It was stolen: an alarm tells of it at once.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, readable=False),
    required=True,
    help="File for the new key.",
)
@as_json_option
@click.pass_obj
def reissue(
    connection: Connection,
    account: str,
    certificate: str,
    out: Path,
    *,
    stolen: bool,
    as_json: bool,
) -> None:
    """End all API keys of an account that lost them, and give it one new key."""
    with connection.client() as client:
        path = f"/v1/accounts/{account_id_of(client, account)}/keys/reissue"
        with _new_secret(out) as write:
            issued = client.post(path, {"certificate": certificate, "stolen": stolen})
            write(text_of(issued, "token"))
    kept = {name: value for name, value in issued.items() if name != "token"}
    show_done(kept, f"the old keys are dead; the new one of {account} is in {out}", as_json=as_json)


@key.command("list", epilog="Example: modemctl key list wang")
@click.argument("account")
@as_json_option
@click.pass_obj
def list_(connection: Connection, account: str, *, as_json: bool) -> None:
    """An account's API keys, without their secrets."""
    with connection.client() as client:
        found = client.get(f"/v1/accounts/{account_id_of(client, account)}/keys")
    show_table(records(found.get("items")), _COLUMNS, as_json=as_json)


@key.command(epilog="Example: modemctl key revoke a2b3c4d5e6f7g2h3 --reason stolen")
@click.argument("key_id")
@click.option("--reason", required=True, help="Why; `stolen` raises an alarm.")
@as_json_option
@click.pass_obj
def revoke(connection: Connection, key_id: str, reason: str, *, as_json: bool) -> None:
    """End an API key now."""
    with connection.client() as client:
        ended = client.post(f"/v1/keys/{in_path(key_id)}/revoke", {"reason": reason})
    show_done(ended, f"key {key_id} is revoked", as_json=as_json)


@key.command(epilog="Example: modemctl key unfreeze a2b3c4d5e6f7g2h3 --reason 'was on leave'")
@click.argument("key_id")
@click.option("--reason", required=True, help="Why; goes to the audit log.")
@as_json_option
@click.pass_obj
def unfreeze(connection: Connection, key_id: str, reason: str, *, as_json: bool) -> None:
    """Let a key that lay idle for 15 days count again, once another administrator confirms."""
    with connection.client() as client:
        asked = client.post(f"/v1/keys/{in_path(key_id)}/unfreeze", {"reason": reason})
    show_asked(asked, as_json=as_json)


@contextmanager
def _new_secret(path: Path) -> Iterator[Callable[[str], None]]:
    """A new file that only its owner can read, and the function that fills it.

    It goes again where the block fails, so that no empty key lies about.

    Raises:
        Refusal: it exists, or cannot be made.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise Refusal(f"{path} exists; name a new file") from None
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}") from None

    def write(text: str) -> None:
        out.write(text.rstrip("\n") + "\n")
        out.flush()
        os.fsync(out.fileno())

    with os.fdopen(fd, "w", encoding="utf-8") as out:
        try:
            yield write
        except BaseException:
            path.unlink(missing_ok=True)
            raise


COMMANDS: Final = {"key": key}
