"""What there is to see: a running bank's modems, personas, scenarios, verbs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

import click

from simulator import persona as models
from simulator.cli.show import bank_option, connect, json_option, show_json, show_table
from simulator.control.verbs import VERBS
from simulator.ledger import Fact
from simulator.story import scenario as scenarios
from simulator.story.bays import deal, persona_file

_STATS: Final = {0: "off", 1: "home", 2: "searching", 3: "denied", 4: "unknown", 5: "roaming"}


@click.command(epilog="Example: state 1-4 --dir /tmp/bank")
@click.argument("modem", default="all")
@bank_option
@json_option
def state(*, modem: str, folder: Path, as_json: bool) -> None:
    """What is true of the modems now (--json: with the cards' PINs and all counters)."""
    with connect(folder) as bank:
        found = bank.state(modem)
    if as_json:
        for one in found:
            show_json(one)
        return
    columns = ("modem", "persona", "hub", "power", "network", "number", "card", "call", "faults")
    show_table(columns, map(_row, found))


def _row(one: Mapping[str, Fact]) -> list[object]:
    card = one["card"]
    number = card["number"] if isinstance(card, Mapping) else None
    status = card["state"] if isinstance(card, Mapping) else "none"
    stat = one["registration"]
    network = _STATS.get(stat, stat) if isinstance(stat, int) else stat
    power = "unplugged" if not one["is_plugged"] else "on" if one["is_on"] else "off"
    return [one["modem"], one["persona"], one["hub"], power, network, number, status, one["call"],
            one["faults"]]  # fmt: skip


@click.command(
    epilog="Example: personas; is a file of your own well-formed: personas --check my.toml"
)
@click.option(
    "--check",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Read this persona file; tell its mistake, if any.",
)
@click.option("--show", metavar="NAME", help="Print this persona's file.")
@json_option
def personas(*, file: Path | None, show: str | None, as_json: bool) -> None:
    """The models that there are."""
    if file is not None:
        one = persona_file(file)
        click.echo(f"{file}: well-formed: {one.manufacturer} {one.model}")
        return
    if show is not None:
        click.echo(_file_of(show).read_text("utf-8"), nl=False)
        return
    found = [models.load(name) for name in models.names()]
    if as_json:
        for one in found:
            roles = [port.role.value for port in one.ports]
            show_json({"name": one.name, "manufacturer": one.manufacturer, "model": one.model,
                       "usb_id": one.usb_id, "ports": roles})  # fmt: skip
        return
    show_table(
        ("name", "manufacturer", "model", "USB id", "ports"),
        [
            (name, one.manufacturer, one.model, one.usb_id, " ".join(p.role for p in one.ports))
            for name, one in zip(models.names(), found, strict=True)
        ],
    )


def _file_of(name: str) -> Traversable:
    deal(name)
    return resources.files("simulator") / "personas" / f"{name}.toml"


@click.command(
    "scenarios", epilog="Example: scenarios; then: serve --scenario quiet --dir /tmp/bank"
)
@click.option("--show", metavar="NAME", help="Print this scenario's file.")
@json_option
def scenarios_(*, show: str | None, as_json: bool) -> None:
    """The scenarios that there are."""
    if show is not None:
        click.echo(scenarios.find(show).read_text("utf-8"), nl=False)
        return
    found = [(name, scenarios.load(scenarios.find(name))) for name in scenarios.names()]
    if as_json:
        for name, one in found:
            show_json({"name": name, "about": one.about, "modems": one.modems})
        return
    _show_entries((f"{name} ({one.modems} modems)", one.about) for name, one in found)


@click.command(epilog="Example: verbs --json")
@json_option
def verbs(*, as_json: bool) -> None:
    """What `do` and a timeline can do, with their keys."""
    if as_json:
        for name, one in VERBS.items():
            show_json({"verb": name, "about": one.summary, "keys": one.keys(), "undo": one.undo})
        return
    _show_entries(
        (f"{name}  {one.summary}", " ".join(one.keys()) or "no keys") for name, one in VERBS.items()
    )


def _show_entries(entries: Iterable[tuple[str, str]]) -> None:
    """A line each and what belongs to it below, in 80 columns."""
    for head, text in entries:
        click.echo(head)
        for line in textwrap.wrap(text, 76, break_on_hyphens=False):
            click.echo(f"    {line}")
