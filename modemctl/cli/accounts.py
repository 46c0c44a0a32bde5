"""Accounts: people and systems, their approvers' keys, their authorisations."""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path
from typing import Final

import click

from modemctl.cli.client import Client, Connection, Json, Record, in_path, records, text_of
from modemctl.cli.errors import Refusal
from modemctl.cli.show import as_json_option, show_done, show_record, show_table
from modemctl.clock import SystemClock

_COLUMNS: Final = ("name", "kind", "department", "roles", "state", "account_id")
_KEY_COLUMNS: Final = ("kid", "valid_from", "valid_until", "revoked_at", "revoke_reason")
_AUTHORITY_COLUMNS: Final = (
    "authorisation_id", "kind", "department", "valid_from", "valid_until", "revoked_at",
)  # fmt: skip


def find_account(client: Client, name: str) -> Record:
    """The account of this name or id; one's own without any scope.

    Raises:
        Refusal: there is none.
        ApiProblem: it may not be looked for.
    """
    own = client.get("/v1/whoami")
    if name in {own.get("name"), own.get("account_id")}:
        return client.get(f"/v1/accounts/{in_path(text_of(own, 'account_id'))}")
    found = next(client.pages("/v1/accounts", name=name, limit=1), None)
    if found is not None:
        return found
    if len(name) == 36 and name.count("-") == 4:  # an id, as lists show it
        return client.get(f"/v1/accounts/{in_path(name)}")
    raise Refusal(f"no account is named {name}", cure="modemctl account list shows all")


def account_id_of(client: Client, name: str) -> str:
    """The id of the account of this name; raises as `find_account`."""
    return text_of(find_account(client, name), "account_id")


@click.group()
def account() -> None:
    """Accounts: people and systems, and what they may do."""


@account.command(epilog="Example: modemctl account create wang --role approver --department sales")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(["person", "system"]),
    default="person",
    show_default=True,
    help="Whom it names: one person or one machine.",
)
@click.option("--role", "roles", multiple=True, required=True, help="A role; may be repeated.")
@click.option("--department", help="The only department that it sees; none: all of them.")
@as_json_option
@click.pass_obj
def create(
    connection: Connection,
    name: str,
    kind: str,
    roles: tuple[str, ...],
    department: str | None,
    *,
    as_json: bool,
) -> None:
    """Make an account.

    Roles: submitter, checker, approver, operator, maintainer, technician, card_requester,
    sales, department_head, records, customer_keeper, exporter, auditor, code_reader,
    monitor;
    administrators: `account promote`.
    """
    body: dict[str, Json] = {
        "name": name,
        "kind": kind,
        "department": department,
        "roles": list(roles),
    }
    with connection.client() as client:
        made = client.post("/v1/accounts", body)
    cure = f"give it a key: modemctl key issue {name} --out {name}.key"
    show_done(made, f"account {name} made\n  → {cure}", as_json=as_json)


@account.command("list", epilog="Example: modemctl account list --json")
@as_json_option
@click.pass_obj
def list_(connection: Connection, *, as_json: bool) -> None:
    """All accounts by name."""
    with connection.client() as client:
        accounts = client.pages("/v1/accounts")
        show_table(accounts, _COLUMNS, as_json=as_json, spare=("account_id",))


@account.command(epilog="Example: modemctl account show wang")
@click.argument("name")
@as_json_option
@click.pass_obj
def show(connection: Connection, name: str, *, as_json: bool) -> None:
    """One account with its approver's keys and authorisations."""
    with connection.client() as client:
        found = find_account(client, name)
        account_id = text_of(found, "account_id")
        keys = client.get(f"/v1/accounts/{account_id}/approver-keys").get("items")
        authorities: list[Json] = list(client.pages("/v1/authorisations", account_id=account_id))
    if as_json:
        show_record(found | {"approver_keys": keys, "authorisations": authorities}, as_json=True)
        return
    show_record(found, as_json=False)
    for title, items, columns in (
        ("approver's keys", keys, _KEY_COLUMNS),
        ("authorisations", authorities, _AUTHORITY_COLUMNS),
    ):
        click.echo(f"\n{title}:")
        rows = items if isinstance(items, list) else []
        known = [one for one in rows if isinstance(one, dict)]
        show_table(known, columns, as_json=False, spare=("valid_from", "revoke_reason"))


@account.command(epilog="Example: modemctl account freeze wang --reason 'on leave'")
@click.argument("name")
@click.option("--reason", required=True, help="Why; goes to the audit log.")
@as_json_option
@click.pass_obj
def freeze(connection: Connection, name: str, reason: str, *, as_json: bool) -> None:
    """Let an account do nothing until `account unfreeze`."""
    _change_state(connection, name, "freeze", reason, as_json=as_json)


@account.command(epilog="Example: modemctl account unfreeze wang --reason 'back again'")
@click.argument("name")
@click.option("--reason", required=True, help="Why; goes to the audit log.")
@as_json_option
@click.pass_obj
def unfreeze(connection: Connection, name: str, reason: str, *, as_json: bool) -> None:
    """End a freeze, once another administrator has confirmed it."""
    with connection.client() as client:
        path = f"/v1/accounts/{account_id_of(client, name)}/reactivate"
        asked = client.post(path, {"reason": reason})
    show_asked(asked, as_json=as_json)


@account.command(epilog="Example: modemctl account revoke wang --reason 'left the company'")
@click.argument("name")
@click.option("--reason", required=True, help="Why; goes to the audit log.")
@as_json_option
@click.pass_obj
def revoke(connection: Connection, name: str, reason: str, *, as_json: bool) -> None:
    """End an account for ever."""
    _change_state(connection, name, "revoke", reason, as_json=as_json)


def _change_state(
    connection: Connection, name: str, verb: str, reason: str, *, as_json: bool
) -> None:
    with connection.client() as client:
        account_id = account_id_of(client, name)
        changed = client.post(f"/v1/accounts/{account_id}/{verb}", {"reason": reason})
    show_done(changed, f"account {name} is {changed.get('state')}", as_json=as_json)


@account.command("approver-key", epilog="Example: modemctl account approver-key wang wang.pem.pub")
@click.argument("name")
@click.argument("public_key", metavar="FILE.pub", type=click.Path(path_type=Path, readable=False))
@as_json_option
@click.pass_obj
def approver_key(connection: Connection, name: str, public_key: Path, *, as_json: bool) -> None:
    """Register a person's public Ed25519 key (PEM), as `key signing` makes it.

    It counts once another administrator has confirmed it.
    """
    octets = _read_public_key(public_key)
    encoded = base64.urlsafe_b64encode(octets).decode().rstrip("=")
    with connection.client() as client:
        account_id = account_id_of(client, name)
        made = client.post(f"/v1/accounts/{account_id}/approver-keys", {"public_key": encoded})
    show_asked(made, as_json=as_json)


@account.command(
    "end-approver-key", epilog="Example: modemctl account end-approver-key wang --reason lost"
)
@click.argument("name")
@click.option(
    "--reason",
    type=click.Choice(["lost", "compromised", "superseded", "left"]),
    required=True,
    help="Anything but `superseded` holds what the key approved and is not over.",
)
@click.option("--kid", help="Which of several; `account show` tells them.")
@as_json_option
@click.pass_obj
def end_approver_key(
    connection: Connection, name: str, reason: str, kid: str | None, *, as_json: bool
) -> None:
    """End a person's public key now; one's own without any role.

    What is held goes on once a new key signed its step anew and an operator resumes it.
    """
    with connection.client() as client:
        account_id = text_of(find_account(client, name), "account_id")
        found = records(client.get(f"/v1/accounts/{account_id}/approver-keys").get("items"))
        kids = [text_of(one, "kid") for one in found if not one.get("revoked_at")]
        if not kids or (kid is not None and kid not in kids):
            raise Refusal(
                f"{name} has no such key that counts", cure=f"modemctl account show {name}"
            )
        if kid is None and len(kids) > 1:
            raise Refusal(f"{name} has {len(kids)} keys", cure=f"--kid {' or '.join(kids)}")
        ended = client.post(
            f"/v1/approver-keys/{in_path(kid or kids[0])}/revoke", {"reason": reason}
        )
    show_done(ended, f"key {text_of(ended, 'kid')} of {name} has ended", as_json=as_json)


def _read_public_key(path: Path) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}") from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise Refusal(
            f"{path} holds no public Ed25519 key in PEM form",
            cure="make a pair: modemctl key signing NAME.pem, and register NAME.pem.pub",
        )
    return key.public_bytes_raw()


@account.command(
    epilog="Example: modemctl account authorise wang department_manager --department sales"
    " --days 90 --reference 'form 2026-17'"
)
@click.argument("name")
@click.argument("kind")
@click.option("--department", required=True, help="For which department; `*` means all of them.")
@click.option(
    "--days", type=click.IntRange(1, 366), required=True, help="How many days from now it counts."
)
@click.option("--reference", required=True, help="The signed form.")
@as_json_option
@click.pass_obj
def authorise(
    connection: Connection,
    *,
    name: str,
    kind: str,
    department: str,
    days: int,
    reference: str,
    as_json: bool,
) -> None:
    """Let an account act as KIND for a department, once another administrator has confirmed it.

    KIND is a step of a chain of approvals: department_manager (notice), manager_in_charge and
    general_manager (promotion), manager (other). Operators: `modemctl operator`.
    """
    until = SystemClock().now() + timedelta(days=days)
    with connection.client() as client:
        body: dict[str, Json] = {
            "account_id": account_id_of(client, name),
            "kind": kind,
            "department": department,
            "valid_until": until.isoformat(),
            "reference": reference,
        }
        made = client.post("/v1/authorisations", body)
    show_asked(made, as_json=as_json)


@account.command(epilog="Example: modemctl account promote li --reason 'second administrator'")
@click.argument("name")
@click.option("--reason", required=True, help="Why; goes to the audit log.")
@as_json_option
@click.pass_obj
def promote(connection: Connection, name: str, reason: str, *, as_json: bool) -> None:
    """Make a person an administrator, once another administrator has confirmed it."""
    with connection.client() as client:
        path = f"/v1/accounts/{account_id_of(client, name)}/promote"
        asked = client.post(path, {"reason": reason})
    show_asked(asked, as_json=as_json)


def show_asked(asked: Record, *, as_json: bool) -> None:
    """Who has to confirm what was asked for."""
    cure = f"another administrator now: modemctl request confirm {asked.get('request_id')}"
    show_done(asked, f"asked; {cure}", as_json=as_json)


@account.command(epilog="Example: modemctl account unauthorise 12 --reason 'moved to another team'")
@click.argument("authorisation_id", type=int)
@click.option("--reason", required=True, help="Why; goes to the audit log.")
@as_json_option
@click.pass_obj
def unauthorise(
    connection: Connection, authorisation_id: int, reason: str, *, as_json: bool
) -> None:
    """End an authorisation now (its number: `account show`)."""
    with connection.client() as client:
        path = f"/v1/authorisations/{authorisation_id}/withdraw"
        changed = client.post(path, {"reason": reason})
    show_done(changed, f"authorisation {authorisation_id} is withdrawn", as_json=as_json)


COMMANDS: Final = {"account": account}
