"""Nodes: the servers that share the database."""

from __future__ import annotations

from typing import Final

import click

from modemctl.cli.client import Connection, Record, in_path
from modemctl.cli.show import as_json_option, show_done, show_table

_COLUMNS: Final = (
    "node", "state", "is_draining", "is_this", "heartbeat_at", "skew_seconds", "n_bays", "n_held",
    "version", "started_at",
)  # fmt: skip
_SPARE: Final = ("started_at", "version", "skew_seconds")


@click.group()
def node() -> None:
    """Servers that share the database: see them, drain, bring back, remove."""


@node.command("list", epilog="Example: modemctl node list --json")
@click.option("--all", "is_all", is_flag=True, help="Also those that were removed.")
@as_json_option
@click.pass_obj
def list_(connection: Connection, *, is_all: bool, as_json: bool) -> None:
    """Servers by name: up, down (ended in order), lost (gave no sign for 90 s), removed."""
    with connection.client() as client:
        found = list(client.pages("/v1/nodes", all=is_all))
    show_table(found, _COLUMNS, as_json=as_json, empty="no node", spare=_SPARE)


@node.command(epilog="Example: modemctl node drain node-2 --reason 'new power supply'")
@click.argument("name")
@click.option("--reason", required=True, help="Why; goes to the audit log.")
@as_json_option
@click.pass_obj
def drain(connection: Connection, name: str, reason: str, *, as_json: bool) -> None:
    """Give a server no more to send; what it has ends there, and it goes on receiving.

    It stays so over restarts, until `modemctl node undrain`.
    """
    show_done(_post(connection, name, "drain", reason), f"{name} drains", as_json=as_json)


@node.command(epilog="Example: modemctl node undrain node-2 --reason 'back in service'")
@click.argument("name")
@click.option("--reason", required=True, help="Why; goes to the audit log.")
@as_json_option
@click.pass_obj
def undrain(connection: Connection, name: str, reason: str, *, as_json: bool) -> None:
    """Let a server send again; one that was removed may start again."""
    show_done(_post(connection, name, "undrain", reason), f"{name} may send", as_json=as_json)


@node.command(epilog="Example: modemctl node remove node-2 --reason 'sold'")
@click.argument("name")
@click.option("--reason", required=True, help="Why; goes to the audit log.")
@as_json_option
@click.pass_obj
def remove(connection: Connection, name: str, reason: str, *, as_json: bool) -> None:
    """Take a server off the list that is down or lost; it may not start again."""
    show_done(_post(connection, name, "remove", reason), f"{name} is removed", as_json=as_json)


def _post(connection: Connection, name: str, act: str, reason: str) -> Record:
    with connection.client() as client:
        return client.post(f"/v1/nodes/{in_path(name)}/{act}", {"reason": reason})


COMMANDS: Final = {"node": node}
