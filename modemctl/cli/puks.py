"""Blocked cards: the PUK is typed in twice, by two persons, and never stands in an argument."""

from __future__ import annotations

import sys
from typing import Final

import click

from modemctl.cli.client import Connection, in_path, records
from modemctl.cli.errors import Refusal
from modemctl.cli.show import as_json_option, show_done, show_table

_COLUMNS: Final = (
    "request_id",
    "iccid",
    "state",
    "asked_by",
    "confirmed_by",
    "tried_at",
    "outcome",
)
_SPARE: Final = ("tried_at", "confirmed_by", "asked_by")


@click.group()
def puk() -> None:
    """Blocked cards: two persons unblock one, each with the PUK in his hand.

    It is asked for without being shown, or read from standard input; ten wrong ones end a card.
    """


@puk.command("ask", epilog="Example: modemctl sims puk ask 89860012345678901234 --reason 'blocked'")
@click.argument("iccid")
@click.option("--reason", required=True, help="Why; goes to the audit log.")
@as_json_option
@click.pass_obj
def ask_(connection: Connection, iccid: str, reason: str, *, as_json: bool) -> None:
    """Bring a card's PUK; nothing is tried until another person gives it again."""
    body = {"puk": _read_puk(), "reason": reason}
    with connection.client() as client:
        done = client.post(f"/v1/sims/{in_path(iccid)}/puk", body)
    cure = f"another person now: modemctl sims puk confirm {done.get('request_id')}"
    show_done(done, f"asked; {cure}", as_json=as_json)


@puk.command(epilog="Example: modemctl sims puk confirm 6f2c0b5c-5d0b-4d7c-a7f2-0e9f2f1c8f11")
@click.argument("request_id")
@as_json_option
@click.pass_obj
def confirm(connection: Connection, request_id: str, *, as_json: bool) -> None:
    """Give the PUK again, as another person; the card's bay then tries it, once."""
    with connection.client() as client:
        path = f"/v1/puk-requests/{in_path(request_id)}/confirm"
        done = client.post(path, {"puk": _read_puk()})
    show_done(done, "confirmed; modemctl sims puk list tells what the card says", as_json=as_json)


@puk.command(epilog="Example: modemctl sims puk withdraw 6f2c0b5c-5d0b-4d7c-a7f2-0e9f2f1c8f11")
@click.argument("request_id")
@as_json_option
@click.pass_obj
def withdraw(connection: Connection, request_id: str, *, as_json: bool) -> None:
    """Take a request back that was not tried yet."""
    with connection.client() as client:
        done = client.post(f"/v1/puk-requests/{in_path(request_id)}/withdraw", None)
    show_done(done, "withdrawn", as_json=as_json)


@puk.command("list", epilog="Example: modemctl sims puk list")
@as_json_option
@click.pass_obj
def list_(connection: Connection, *, as_json: bool) -> None:
    """The latest requests, newest first, and what the cards said."""
    with connection.client() as client:
        found = records(client.get("/v1/puk-requests").get("items"))
    show_table(found, _COLUMNS, as_json=as_json, empty="no PUK was asked for", spare=_SPARE)


def _read_puk() -> str:
    """From the terminal without showing it, else the first line of standard input.

    Raises:
        Refusal: not 8 digits.
    """
    if sys.stdin.isatty():
        text = str(click.prompt("PUK", hide_input=True, err=True))
    else:
        text = sys.stdin.readline()
    text = text.strip()
    if len(text) != 8 or not (text.isascii() and text.isdecimal()):
        raise Refusal("a PUK has 8 digits", cure="it stands on the card's letter")
    return text
