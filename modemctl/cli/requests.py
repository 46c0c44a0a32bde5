"""Acts of two persons: one asks, another one confirms (SEC-04)."""

from __future__ import annotations

from typing import Final

import click

from modemctl.cli.client import Connection, Json, in_path, text_of
from modemctl.cli.errors import Refusal
from modemctl.cli.show import as_json_option, show_done, show_record, show_table
from modemctl.policy.dual import BY_COMMAND, DualKind, DualState

_COLUMNS: Final = ("request_id", "kind", "subject", "state", "asked_by", "decided_by", "expires_at")
_SPARE: Final = ("expires_at", "decided_by", "asked_by")
_ASKED: Final = [one.value for one in DualKind if one not in BY_COMMAND]
_ID: Final = "6f2c0b5c-5d0b-4d7c-a7f2-0e9f2f1c8f11"


@click.group()
def request() -> None:
    """Acts of two persons: one asks, a colleague confirms.

    The colleague has another account and the rights that the act needs. It counts once.
    """


@request.command(epilog="Example: modemctl request ask key_rotation data --reason 'yearly change'")
@click.argument("kind", type=click.Choice(_ASKED))
@click.argument("subject")
@click.option("--detail", "details", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
@click.option("--reason", required=True, help="Why; goes to the audit log.")
@as_json_option
@click.pass_obj
def ask(
    connection: Connection,
    kind: str,
    subject: str,
    details: tuple[str, ...],
    reason: str,
    *,
    as_json: bool,
) -> None:
    """Ask for an act; nothing happens until a colleague confirms.

    SUBJECT is what the act is about; the refusal of an act without a request tells both, and the
    details. Elevations, authorisations, operators and frozen accounts are asked for by commands of
    their own: `modemctl elevation`, `account`, `operator`.
    """
    pairs: Json = {**_pairs(details)}
    with connection.client() as client:
        asked = client.post(
            "/v1/requests",
            {"kind": kind, "subject": subject, "details": pairs, "reason": reason},
        )
    cure = f"a colleague now: modemctl request confirm {text_of(asked, 'request_id')}"
    show_done(asked, f"asked; {cure}", as_json=as_json)


@request.command("list", epilog="Example: modemctl request list --state asked")
@click.option("--state", type=click.Choice([one.value for one in DualState]), help="Only these.")
@click.option("--ids", is_flag=True, help="Print nothing but their ids, one a line.")
@as_json_option
@click.pass_obj
def list_(connection: Connection, state: str | None, *, ids: bool, as_json: bool) -> None:
    """Your own requests and those that you may decide on, newest first."""
    with connection.client() as client:
        found = client.pages("/v1/requests", state=state)
        if ids:
            for one in found:
                click.echo(text_of(one, "request_id"))
            return
        show_table(found, _COLUMNS, as_json=as_json, empty="no requests", spare=_SPARE)


@request.command(epilog=f"Example: modemctl request show {_ID}")
@click.argument("request_id")
@as_json_option
@click.pass_obj
def show(connection: Connection, request_id: str, *, as_json: bool) -> None:
    """One request, with all that is to be done."""
    with connection.client() as client:
        found = client.get(f"/v1/requests/{in_path(request_id)}")
    show_record(found, as_json=as_json)


@request.command(epilog=f"Example: modemctl request confirm {_ID}")
@click.argument("request_id")
@as_json_option
@click.pass_obj
def confirm(connection: Connection, request_id: str, *, as_json: bool) -> None:
    """Say yes to a colleague's request."""
    with connection.client() as client:
        done = client.post(f"/v1/requests/{in_path(request_id)}/confirm")
    if done.get("spent_at") is not None:
        what = "confirmed and done"
    elif done.get("kind") == "operator":
        what = f"confirmed; the general department now: modemctl operator file {request_id}"
    else:
        what = f"confirmed; {done.get('asked_by')} may act now"
    show_done(done, what, as_json=as_json)


@request.command(epilog=f"Example: modemctl request refuse {_ID} --reason 'not on the form'")
@click.argument("request_id")
@click.option("--reason", required=True, help="Why; goes to the audit log.")
@as_json_option
@click.pass_obj
def refuse(connection: Connection, request_id: str, reason: str, *, as_json: bool) -> None:
    """Say no to a colleague's request, also to one that was confirmed and not used."""
    with connection.client() as client:
        done = client.post(f"/v1/requests/{in_path(request_id)}/refuse", {"reason": reason})
    show_done(done, "refused", as_json=as_json)


@request.command(epilog=f"Example: modemctl request withdraw {_ID}")
@click.argument("request_id")
@as_json_option
@click.pass_obj
def withdraw(connection: Connection, request_id: str, *, as_json: bool) -> None:
    """Take your own request back."""
    with connection.client() as client:
        done = client.post(f"/v1/requests/{in_path(request_id)}/withdraw")
    show_done(done, "withdrawn", as_json=as_json)


def _pairs(details: tuple[str, ...]) -> dict[str, str]:
    """`NAME=VALUE` words as a table.

    Raises:
        Refusal: a word without `=`.
    """
    pairs = [detail.partition("=") for detail in details]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise Refusal(f"--detail {name}: must read NAME=VALUE")
    return {name: value for name, _, value in pairs}


COMMANDS: Final = {"request": request}
