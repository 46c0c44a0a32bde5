"""A card's PIN, shown once to a person with a colleague's consent."""

from __future__ import annotations

from typing import Final

import click

from modemctl.cli.client import Connection, in_path, text_of
from modemctl.cli.show import as_json_option, show_json

_ID: Final = "6f2c0b5c-5d0b-4d7c-a7f2-0e9f2f1c8f11"


@click.command(epilog=f"Example: modemctl sims pin 89860012345678901234 --request {_ID}")
@click.argument("iccid")
@click.option(
    "--request", "request_id", required=True, help="The request that a colleague confirmed."
)
@as_json_option
@click.pass_obj
def pin(connection: Connection, iccid: str, request_id: str, *, as_json: bool) -> None:
    """Show a card's PIN, once. First: modemctl request ask pin_reveal ICCID; a colleague confirms.

    It goes to standard output and nowhere else; the audit log says who saw it.
    """
    with connection.client() as client:
        shown = client.post(f"/v1/sims/{in_path(iccid)}/pin", {"request_id": request_id})
    if as_json:
        show_json(shown)
    else:
        click.echo(text_of(shown, "pin"))
