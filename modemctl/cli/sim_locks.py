"""Who asks for a PIN at power-up: the whole bank on one page."""

from __future__ import annotations

from collections import Counter
from typing import Final

import click

from modemctl.cli.client import Connection
from modemctl.cli.cures import cure_of
from modemctl.cli.errors import EXIT_REFUSED, printable
from modemctl.cli.show import as_json_option, show_table

_COLUMNS: Final = ("iccid", "bay", "state", "is_locked", "verified_at", "reason")


@click.command(epilog="Example: modemctl sims locks --open || mail -s 'cards without lock' it")
@click.option("--open", "only_open", is_flag=True, help="Only cards that are not locked.")
@as_json_option
@click.pass_obj
def locks(connection: Connection, *, only_open: bool, as_json: bool) -> None:
    """Who asks for a PIN at power-up, who does not, who is stopped or blocked, and why.

    Cards in use and cards in a bay; `verified at` is when a modem last told. Exit status 0: every
    one of them is locked; 1: one is not, or nobody knows.
    """
    with connection.client() as client:
        cards = list(client.pages("/v1/sims/locks", limit=500))
    open_cards = [card for card in cards if card.get("is_locked") is not True]
    shown = open_cards if only_open else cards
    show_table(shown, _COLUMNS, as_json=as_json, empty="no such cards", spare=("is_locked",))
    if not as_json:
        found = Counter(str(card.get("state")) for card in cards)
        counts = ", ".join(f"{n} {printable(state)}" for state, n in found.most_common())
        click.echo(f"{len(cards)} cards: {counts or 'none'}", err=True)
        for word in sorted({str(card.get("reason") or "").partition(" ")[0] for card in shown}):
            cure = cure_of(word, bay=None, iccid=None, imei=None)
            if cure:
                click.echo(f"  {printable(word)} → {cure}", err=True)
    if open_cards:
        click.get_current_context().exit(EXIT_REFUSED)
