"""The stock-take of cards on a terminal."""

from __future__ import annotations

from collections import Counter
from typing import Final

import click

from modemctl.cli.client import Connection
from modemctl.cli.show import as_json_option, show_table
from modemctl.policy.stocktake import Verdict

_COLUMNS: Final = ("iccid", "verdicts", "state", "bay", "tied_bay", "n_idle_days", "department")
_SPARE: Final = ("department", "tied_bay", "n_idle_days")


@click.command(epilog="Example: modemctl sims stocktake --verdict missing")
@click.option(
    "--verdict", type=click.Choice([str(one) for one in Verdict]), help="Only cards that are so."
)
@as_json_option
@click.pass_obj
def stocktake(connection: Connection, verdict: str | None, *, as_json: bool) -> None:
    """The register against what the bank sees now; to print and sign: `report make stocktake`."""
    with connection.client() as client:
        found = list(client.pages("/v1/stocktake", verdict=verdict, limit=500))
    show_table(found, _COLUMNS, as_json=as_json, empty="no such cards", spare=_SPARE)
    if not as_json:
        told = [str(word) for one in found for word in _words(one.get("verdicts"))]
        counts = ", ".join(f"{n} {word}" for word, n in Counter(told).most_common())
        click.echo(f"{len(found)} cards: {counts or 'none'}", err=True)


def _words(value: object) -> list[object]:
    return value if isinstance(value, list) else []
