"""What is left on cards, as their carriers told it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import click

from modemctl.cli.client import Connection, in_path, records
from modemctl.cli.errors import EXIT_REFUSED
from modemctl.cli.show import as_json_option, show_done, show_table

_COLUMNS: Final = ("iccid", "bay", "at", "state", "amount", "currency", "error")
_OF_ONE: Final = ("at", "bay", "state", "amount", "currency", "by_hand", "error")


@click.command(
    epilog="Example: modemctl sims balance 89860012345678901234; ask now: … --ask."
    " Exit status 1: the carrier told none, or little or nothing is left."
)
@click.argument("iccid")
@click.option("--ask", "is_asked", is_flag=True, help="Ask its carrier now (USSD); takes seconds.")
@as_json_option
@click.pass_obj
def balance(connection: Connection, iccid: str, *, is_asked: bool, as_json: bool) -> int:
    """A card's balance: what was read so far, newest first, or with --ask what its carrier says.

    Which code asks is set in [balances]. An answer without an amount is shown as it came.
    """
    with connection.client() as client:
        if is_asked:
            done = client.post(f"/v1/sims/{in_path(iccid)}/balances", {})
            reading = done["reading"]
            assert isinstance(reading, dict)
            show_done(done, _said(reading, done.get("text")), as_json=as_json)
            return 0 if reading["state"] == "fine" else EXIT_REFUSED
        found = records(client.get(f"/v1/sims/{in_path(iccid)}/balances").get("items"))
    show_table(found, _OF_ONE, as_json=as_json, empty="never read", spare=("by_hand", "bay"))
    return EXIT_REFUSED if found and found[0]["state"] != "fine" else 0


@click.command(epilog="Example: modemctl sims balances --low")
@click.option("--low", "only_low", is_flag=True, help="Only cards with little or nothing left.")
@as_json_option
@click.pass_obj
def balances(connection: Connection, *, only_low: bool, as_json: bool) -> None:
    """What is left on each card, as it was read last (SIM-15)."""
    with connection.client() as client:
        found = records(client.get("/v1/balances", only_low=only_low or None).get("items"))
    show_table(found, _COLUMNS, as_json=as_json, empty="no balance was read", spare=("at", "bay"))


def _said(reading: Mapping[str, object], text: object) -> str:
    if reading["amount"] is not None:
        said = f"{reading['amount']} {reading['currency']} ({reading['state']})"
    else:
        said = f"not read: {reading['error']}"
    return said if text is None else f"{said}\nthe answer: {text}"
