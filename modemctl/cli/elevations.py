"""Roles for a time: the department's head asks, an administrator confirms (SEC-01)."""

from __future__ import annotations

from typing import Final

import click

from modemctl.cli.accounts import show_asked
from modemctl.cli.client import Connection, records
from modemctl.cli.show import as_json_option, show_done, show_table

_COLUMNS: Final = (
    "elevation_id", "account", "roles", "valid_from", "valid_until", "ended_at",
)  # fmt: skip


@click.group()
def elevation() -> None:
    """Roles for a time: the department's head asks, an administrator confirms."""


@elevation.command(
    epilog="Example: modemctl elevation ask zhou --role maintainer --hours 8 --reason 'night shift'"
)
@click.argument("name")
@click.option("--role", "roles", multiple=True, required=True, help="A role; may be repeated.")
@click.option("--hours", type=click.IntRange(1), required=True, help="How long, from then on.")
@click.option("--reason", required=True, help="Why; goes to the audit log.")
@as_json_option
@click.pass_obj
def ask(
    connection: Connection,
    name: str,
    roles: tuple[str, ...],
    hours: int,
    reason: str,
    *,
    as_json: bool,
) -> None:
    """Ask that NAME has more roles, from its confirmation on.

    Who asks is authorised as department_manager of NAME's department.
    """
    with connection.client() as client:
        asked = client.post(
            "/v1/elevations",
            {"account": name, "roles": list(roles), "hours": hours, "reason": reason},
        )
    show_asked(asked, as_json=as_json)


@elevation.command("list", epilog="Example: modemctl elevation list")
@as_json_option
@click.pass_obj
def list_(connection: Connection, *, as_json: bool) -> None:
    """The latest elevations, newest first, also ended ones."""
    with connection.client() as client:
        found = records(client.get("/v1/elevations").get("items"))
        accounts = [] if as_json or not found else client.pages("/v1/accounts")
        names = {one["account_id"]: one["name"] for one in accounts}
    if not as_json:
        found = [{**one, "account": names.get(one["account_id"])} for one in found]
    show_table(found, _COLUMNS, as_json=as_json, empty="no elevations", spare=("valid_from",))


@elevation.command(epilog="Example: modemctl elevation end 3 --reason 'done earlier'")
@click.argument("elevation_id", type=int)
@click.option("--reason", required=True, help="Why; goes to the audit log.")
@as_json_option
@click.pass_obj
def end(connection: Connection, elevation_id: int, reason: str, *, as_json: bool) -> None:
    """End an elevation now."""
    with connection.client() as client:
        ended = client.post(f"/v1/elevations/{elevation_id}/end", {"reason": reason})
    show_done(ended, f"elevation {elevation_id} has ended", as_json=as_json)


COMMANDS: Final = {"elevation": elevation}
