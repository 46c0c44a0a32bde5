"""Departments: what cards, accounts, authorities and batches may name."""

from __future__ import annotations

from typing import Final

import click

from modemctl.cli.client import Connection, Record, in_path, records
from modemctl.cli.errors import Refusal
from modemctl.cli.show import as_json_option, show_done, show_json, show_record, show_table

_COLUMNS: Final = ("name", "title", "head", "parent", "state", "n_accounts", "n_cards", "n_batches")


@click.group()
def department() -> None:
    """Departments: what cards, accounts, authorities and batches may name."""


@department.command(
    epilog="Example: modemctl department add 零售部 综合部\n\n"
    "Example: modemctl department add retail --title 零售部 --parent sales"
)
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@click.option("--title", default="", help="What people read beside the name (one department).")
@click.option("--parent", help="The registered department that they are part of.")
@as_json_option
@click.pass_obj
def add(
    connection: Connection,
    names: tuple[str, ...],
    title: str,
    parent: str | None,
    *,
    as_json: bool,
) -> None:
    """Register departments, or open again what was closed."""
    if title and len(names) > 1:
        raise click.UsageError("--title names one department: register them one by one")
    with connection.client() as client:
        for name in names:
            body: Record = {"name": name, "title": title, "parent": parent}
            made = client.post("/v1/departments", body)
            show_done(made, f"{name} is registered", as_json=as_json)


@department.command("list", epilog="Example: modemctl department list")
@as_json_option
@click.pass_obj
def list_(connection: Connection, *, as_json: bool) -> None:
    """All departments that one sees, closed ones too."""
    show_table(
        _all(connection),
        _COLUMNS,
        as_json=as_json,
        empty="no department is registered: modemctl department add NAME…",
        spare=("parent", "n_batches", "title"),
    )


@department.command(epilog="Example: modemctl department show retail")
@click.argument("name")
@as_json_option
@click.pass_obj
def show(connection: Connection, name: str, *, as_json: bool) -> None:
    """One department, and how much is of it."""
    found = next((one for one in _all(connection) if one.get("name") == name), None)
    if found is None:
        raise Refusal("no such department", cure="modemctl department list")
    if as_json:
        show_json(found)
        return
    show_record(found, as_json=False)


@department.command(epilog="Example: modemctl department head retail wang")
@click.argument("name")
@click.argument("account", required=False)
@click.option("--none", "is_none", is_flag=True, help="There is no head just now.")
@as_json_option
@click.pass_obj
def head(
    connection: Connection, name: str, account: str | None, *, is_none: bool, as_json: bool
) -> None:
    """Name the head: cards of the department's pool have the head as holder (SIM-05)."""
    if is_none == (account is not None):
        raise click.UsageError("name the head's account, or say --none")
    with connection.client() as client:
        done = client.put(f"/v1/departments/{in_path(name)}/head", {"head": account})
    what = f"{account} heads {name}" if account else f"{name} has no head now"
    show_done(done, what, as_json=as_json)


@department.command(epilog="Example: modemctl department close loans --reason 'merged with sales'")
@click.argument("name")
@click.option("--reason", required=True, help="Why; goes to the audit log.")
@as_json_option
@click.pass_obj
def close(connection: Connection, name: str, reason: str, *, as_json: bool) -> None:
    """Close a department that nothing is of any more: nothing new may name it."""
    with connection.client() as client:
        done = client.post(f"/v1/departments/{in_path(name)}/close", {"reason": reason})
    show_done(done, f"{name} is closed", as_json=as_json)


def _all(connection: Connection) -> list[Record]:
    with connection.client() as client:
        return records(client.get("/v1/departments").get("items"))


COMMANDS: Final = {"department": department}
