"""Limits and how much of each is used."""

from __future__ import annotations

from typing import Final

import click

from modemctl.cli.client import Connection
from modemctl.cli.show import as_json_option, show_table
from modemctl.policy.quotas import ScopeKind

_COLUMNS: Final = ("scope", "name", "measure", "span", "used", "most", "timezone", "setting")
_SCOPES: Final = [str(kind) for kind in ScopeKind if kind is not ScopeKind.RECIPIENT]


@click.command(epilog="Example: modemctl limits --scope department --full")
@click.option("--scope", type=click.Choice(_SCOPES), help="Only caps on these.")
@click.option("--full", "only_full", is_flag=True, help="Only caps without room.")
@click.option("--limit", type=click.IntRange(1), help="How many; none: all.")
@as_json_option
@click.pass_obj
def limits(
    connection: Connection, scope: str | None, limit: int | None, *, only_full: bool, as_json: bool
) -> None:
    """Limits, and how much of each is used at this moment."""
    with connection.client() as client:
        found = client.pages("/v1/limits", most=limit, scope=scope, only_full=only_full)
        none = "no such limit is used up" if only_full else "no such limit is set"
        show_table(found, _COLUMNS, as_json=as_json, empty=none, spare=("setting", "timezone"))


COMMANDS: Final = {"limits": limits}
