"""Registers of departments' customers: whom their notices may go to."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from modemctl.cli.client import Connection, Record, records
from modemctl.cli.forms import upload_list
from modemctl.cli.show import as_json_option, show_done, show_json, show_record, show_table

_COLUMNS: Final = ("department", "n", "last_at", "last_by", "last_source")
_FAULT_COLUMNS: Final = ("line_no", "masked", "reason")
_SHOWN: Final = 20
_department = click.option("--department", required=True, help="Whose customers.")


@click.group()
def customer() -> None:
    """Registers of customers: whom notices may go to.

    With content.customer_register = "enforce" a notice goes to its department's customers alone.
    A register holds keyed hashes, no numbers; each department has its own.
    """


@customer.command(
    "import",
    epilog="Example: modemctl customer import all.csv --department sales --source 'core bank'",
)
@click.argument("list_path", metavar="LIST", type=click.Path(path_type=Path, readable=False))
@_department
@click.option("--source", required=True, help="Where the list comes from.")
@click.option("--trial", is_flag=True, help="Check the list only; change nothing.")
@click.option("--encoding", help="Of the list's text; else it is found out.")
@as_json_option
@click.pass_obj
def import_(
    connection: Connection,
    *,
    list_path: Path,
    department: str,
    source: str,
    trial: bool,
    encoding: str | None,
    as_json: bool,
) -> None:
    """Add a list of numbers (.txt, .csv, .xlsx) of any size; lines without one are left out."""
    with connection.client() as client:
        done = upload_list(
            client,
            "/v1/customers/import",
            list_path,
            department=department,
            source=source,
            dry_run=trial or None,
            encoding=encoding,
        )
    if as_json:
        show_json(done)
        return
    word = "would be added" if trial else "added"
    click.echo(f"{done.get('n_added')} {word}, {done.get('n_known')} known before")
    faults = records(done.get("faults"))
    if faults:
        click.echo(f"{done.get('n_faulty')} lines left out (the first {_SHOWN}; more: --json):")
        show_table(faults[:_SHOWN], _FAULT_COLUMNS, as_json=False)


@customer.command(
    epilog="Example: modemctl customer add 13800000001 --department sales --source 'form 31'"
)
@click.argument("number")
@_department
@click.option("--source", required=True, help="Where the number comes from.")
@as_json_option
@click.pass_obj
def add(
    connection: Connection, number: str, *, department: str, source: str, as_json: bool
) -> None:
    """Add one number; one that is in the register stays as it was."""
    body: Record = {"number": number, "department": department, "source": source}
    with connection.client() as client:
        done = client.post("/v1/customers", body)
    show_done(done, f"the number is a customer of {department}", as_json=as_json)


@customer.command(
    epilog="Example: modemctl customer remove 13800000001 --department sales --reason 'closed'"
)
@click.argument("number")
@_department
@click.option("--reason", required=True, help="Why; goes to the audit log.")
@as_json_option
@click.pass_obj
def remove(
    connection: Connection, number: str, *, department: str, reason: str, as_json: bool
) -> None:
    """Take a number out of the register. Batches that were handed in go on as approved.

    Who must not be written to any more goes on the opt-out list: modemctl opt-outs add.
    """
    body: Record = {"number": number, "department": department, "reason": reason}
    with connection.client() as client:
        done = client.post("/v1/customers/remove", body)
    show_done(done, f"the number is no customer of {department} any more", as_json=as_json)


@customer.command(epilog="Example: modemctl customer count")
@click.option("--department", help="Only this one.")
@as_json_option
@click.pass_obj
def count(connection: Connection, department: str | None, *, as_json: bool) -> None:
    """How many customers each department has, and where the latest list came from."""
    with connection.client() as client:
        found = client.get("/v1/customers", department=department)
    if as_json:
        show_json(found)
        return
    rows = [_counted(one) for one in records(found.get("registers"))]
    show_table(rows, _COLUMNS, as_json=False, empty="no department keeps a register")
    if found.get("is_enforced"):
        click.echo("notices go to registered customers alone")
    else:
        click.echo('no notice asks for it: content.customer_register is "off"')


def _counted(one: Record) -> Record:
    imports = records(one.get("imports"))
    last: Record = imports[0] if imports else {}
    return {
        "department": str(one.get("department")),
        "n": int(str(one.get("n"))),
        "last_at": last.get("at"),
        "last_by": last.get("by"),
        "last_source": last.get("source"),
    }


@customer.command(epilog="Example: modemctl customer check 13800000001 --department sales")
@click.argument("number")
@_department
@as_json_option
@click.pass_obj
def check(connection: Connection, number: str, *, department: str, as_json: bool) -> None:
    """Whether a number is a department's customer, and by which list."""
    body: Record = {"number": number, "department": department}
    with connection.client() as client:
        found = client.post("/v1/customers/check", body)
    show_record(found, as_json=as_json)


COMMANDS: Final = {"customer": customer}
