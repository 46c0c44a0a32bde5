"""What came in, calls, and who wants no promotions."""

from __future__ import annotations

from typing import Final

import click

from modemctl.cli.client import Connection
from modemctl.cli.show import as_json_option, show_done, show_table

_OPT_OUT_COLUMNS: Final = ("number", "at", "source", "keyword", "by")
_limit = click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="How many."
)


@click.group("opt-outs")
def opt_outs() -> None:
    """Numbers that want no promotions."""


@opt_outs.command("list", epilog="Example: modemctl opt-outs list --number 13800000001")
@click.option("--number", help="This one or nothing.")
@click.option("--limit", type=click.IntRange(1), help="How many; none: all.")
@as_json_option
@click.pass_obj
def list_opt_outs(
    connection: Connection, number: str | None, limit: int | None, *, as_json: bool
) -> None:
    """The list, in an order that tells nothing."""
    with connection.client() as client:
        found = client.pages("/v1/opt-outs", most=limit, number=number)
        show_table(found, _OPT_OUT_COLUMNS, as_json=as_json, empty="not on the list")


@opt_outs.command(epilog="Example: modemctl opt-outs add 13800000001")
@click.argument("number")
@as_json_option
@click.pass_obj
def add(connection: Connection, number: str, *, as_json: bool) -> None:
    """Put a number on the list; one that is on it stays as it was."""
    with connection.client() as client:
        added = client.post("/v1/opt-outs", {"number": number})
    show_done(added, f"{added.get('number')} is on the list", as_json=as_json)


@opt_outs.command(epilog="Example: modemctl opt-outs remove 13800000001 --reason 'asked by letter'")
@click.argument("number")
@click.option("--reason", required=True, help="How we know; goes to the audit log.")
@as_json_option
@click.pass_obj
def remove(connection: Connection, number: str, reason: str, *, as_json: bool) -> None:
    """Take a number off the list, for instance at the customer's own wish."""
    with connection.client() as client:
        done = client.post("/v1/opt-outs/remove", {"number": number, "reason": reason})
    show_done(done, "the number is off the list", as_json=as_json)
