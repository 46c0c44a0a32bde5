"""`serve` and `run`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from pathlib import Path
from typing import Final

import click

from simulator.cli.naming import program
from simulator.control import serving
from simulator.reading import seconds as read_seconds
from simulator.story import scenario as scenarios
from simulator.story.bays import PinLock
from simulator.story.scenario import PortSets, Scenario, Transport

_FOLDER: Final = click.Path(path_type=Path, file_okay=False)


class Duration(click.ParamType[float]):
    """Seconds, or a text as `1h30m`."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Seconds."""
        number: object = value
        with contextlib.suppress(ValueError):
            number = float(str(value))
        try:
            found = read_seconds(number)
        except ValueError as error:
            self.fail(f"{value}: {error}", param, ctx)
        assert isinstance(found, float)
        return found


@click.command(
    epilog="Example: serve --modems 16 --persona mixed --dir /tmp/bank; the modems are then"
    " /tmp/bank/ports/modem01 and so on."
)
@click.option("--dir", "folder", type=_FOLDER, required=True, help="Folder to serve from.")
@click.option("--scenario", "name", help="A scenario's name or TOML file; the flags override it.")
@click.option("--modems", type=int, help="How many (default 16).")
@click.option("--persona", help="mixed, all, or one or several (a,b,c) of the personas.")
@click.option(
    "--port-sets",
    type=click.Choice([item.value for item in PortSets]),
    help="One port for each modem, or all of its model.",
)
@click.option(
    "--transport",
    type=click.Choice([item.value for item in Transport]),
    help="How clients reach the modems.",
)
@click.option("--latency", type=Duration(), help="Time until the network takes an SMS.")
@click.option("--report-delay", type=Duration(), help="Time until a delivery report.")
@click.option("--pin", help="One PIN for all cards, or random (default).")
@click.option(
    "--pin-lock",
    type=click.Choice([item.value for item in PinLock]),
    help="Which cards ask for their PIN.",
)
@click.option("--per-hub", type=int, help="Modems on each USB hub (default 16).")
@click.option("--time-factor", type=float, help="How many times faster than real time.")
@click.option("--seed", type=int, help="The same seed gives the same bank.")
@click.option("--fresh", "is_fresh", is_flag=True, help="Forget what cards keep of earlier runs.")
def serve(folder: Path, name: str | None, *, is_fresh: bool, **flags: object) -> None:
    """Serve a bank until stopped: by SIGTERM, Ctrl-C or `stop`.

    Prints `ready N modems in DIR` when clients may come. The folder holds ports/, ports.csv,
    cards.csv (numbers, PINs), ledger.jsonl (what the network saw) and control.sock.
    """
    chosen = _scenario(name, flags)

    def ready() -> None:
        click.echo(f"ready {chosen.modems} modems in {folder}")

    _tell(asyncio.run(serving.serve(chosen, folder, ready=ready, is_fresh=is_fresh)))


@click.command(epilog="Example: run chatter --dir /tmp/day --until 24h")
@click.argument("name", metavar="SCENARIO")
@click.option("--dir", "folder", type=_FOLDER, required=True, help="A new folder for the ledger.")
@click.option(
    "--until",
    type=Duration(),
    default=3600.0,
    show_default=True,
    help="How much time passes in the bank: seconds, or as 1h30m.",
)
@click.option("--events", type=click.IntRange(1), help="End at this line of the ledger.")
@click.option("--seed", type=int, help="Another seed than the scenario's.")
@click.option("--modems", type=int, help="Another number of modems.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def run(
    *,
    name: str,
    folder: Path,
    until: float,
    events: int | None,
    as_json: bool,
    **flags: object,
) -> int:
    """Play a scenario in no time, without clients: a clock that jumps from event to event.

    The same scenario and seed give the same ledger, octet by octet. Exit status 1: entries of its
    timeline could not be done; the ledger's kind `story` says which.
    """
    chosen = _scenario(name, flags)
    began = time.monotonic()
    played = serving.play(chosen, folder, until=until, events=events)
    took = time.monotonic() - began
    if as_json:
        facts = {"events": played.events, "lines": played.lines, "seconds": played.seconds,
                 "took": round(took, 3), "ledger": str(folder / "ledger.jsonl"),
                 "refusals": played.refusals}  # fmt: skip
        click.echo(json.dumps(facts))
        return _tell(played.refusals)
    click.echo(
        f"{played.events} events and {played.lines} ledger lines in {played.seconds:.0f} s of the"
        f" bank's time; took {took:.1f} s; see {folder / 'ledger.jsonl'}"
    )
    return _tell(played.refusals)


def _tell(refusals: str) -> int:
    if refusals:
        click.echo(f"{program()}: {refusals}", err=True)
    return 1 if refusals else 0


def _scenario(name: str | None, flags: dict[str, object]) -> Scenario:
    base = scenarios.load(scenarios.find(name)) if name is not None else Scenario()
    given = {key: value for key, value in flags.items() if value is not None}
    return scenarios.override(base, given)
