"""Stops: one command holds a batch, a card, a department, a node or the fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from modemctl.cli.client import Client, Connection, Record, in_path, records, text_of
from modemctl.cli.errors import ApiProblem, Refusal
from modemctl.cli.show import as_json_option, show_done, show_json, show_record, show_table
from modemctl.cli.targets import NewPath
from modemctl.policy.stops import StopKind

_KINDS: Final = [str(kind) for kind in StopKind]
_COLUMNS: Final = (
    "stop_id", "kind", "target", "placed_by", "placed_at", "reason", "lifted_by", "lifted_at",
)  # fmt: skip
_SPARE: Final = ("lifted_at", "lifted_by", "placed_at")
_BATCH_COLUMNS: Final = ("batch_id", "sent", "in_flight", "unsent")
_FLIGHT_COLUMNS: Final = ("segment_id", "batch_id", "message_id", "seq", "iccid", "state", "to")


@click.command(epilog="Example: modemctl stop fleet --reason 'wrong text in the March notice'")
@click.argument("kind", type=click.Choice(_KINDS))
@click.argument("target", required=False, default="")
@click.option("--reason", required=True, help="Why; goes to the audit log.")
@as_json_option
@click.pass_obj
def stop(connection: Connection, kind: str, target: str, reason: str, *, as_json: bool) -> None:
    """Stop sending at once, and tell what had left.

    KIND and TARGET: fleet, department NAME, card ICCID, batch ID, node NAME. No message begins to
    leave later than a second after the answer. Receiving goes on.
    """
    with connection.client() as client:
        body: Record = {"kind": kind, "target": target, "reason": reason}
        placed = client.post("/v1/stops", body)
        if not as_json:
            click.echo(f"stopped: {text_of(placed, 'stop_id')}")
        try:
            found = client.get(f"/v1/stops/{in_path(text_of(placed, 'stop_id'))}")
        except ApiProblem as error:  # it stands, whatever became of the look at its reach
            found = {"stop": placed, "reach": str(error.problem.get("detail"))}
        is_moot = kind == StopKind.BATCH and not _stands(client, placed)
    if as_json:
        show_json(found)
        return
    _tell(found)
    if is_moot:
        click.echo("the batch is over: nothing was left to stop; this is what it had reached")


@click.command(epilog="Example: modemctl resume fleet --reason 'the batch was cancelled'")
@click.argument("kind", type=click.Choice(_KINDS))
@click.argument("target", required=False, default="")
@click.option("--reason", required=True, help="Why; goes to the audit log.")
@as_json_option
@click.pass_obj
def resume(connection: Connection, kind: str, target: str, reason: str, *, as_json: bool) -> None:
    """Lift a stop. Who stopped the fleet, a department or a node does not lift that himself.

    Another person does. After a restore the controller placed the stop: any one person lifts it.
    A batch that was stopped stays held until its operator says `modemctl batch resume`.
    """
    with connection.client() as client:
        stop_id = _standing(client, kind, target)
        done = client.post(f"/v1/stops/{in_path(stop_id)}/lift", {"reason": reason})
    cure = f"; now: modemctl batch resume {target}" if kind == StopKind.BATCH else ""
    show_done(done, f"the stop is lifted{cure}", as_json=as_json)


@click.group()
def stops() -> None:
    """Stops: those that stand, and exactly what each one reached."""


@stops.command("list", epilog="Example: modemctl stops list --all")
@click.option("--all", "is_all", is_flag=True, help="Also those that were lifted.")
@as_json_option
@click.pass_obj
def list_(connection: Connection, *, is_all: bool, as_json: bool) -> None:
    """Stops that stand, newest first."""
    with connection.client() as client:
        found = list(client.pages("/v1/stops", all=is_all))
    show_table(found, _COLUMNS, as_json=as_json, empty="nothing is stopped", spare=_SPARE)


@stops.command(epilog="Example: modemctl stops show 0b5c9e52-5d0b-4d7c-a7f2-0e9f2f1c8f11")
@click.argument("stop_id")
@as_json_option
@click.pass_obj
def show(connection: Connection, stop_id: str, *, as_json: bool) -> None:
    """A stop and its reach: sent, in flight with what became of it so far, unsent."""
    with connection.client() as client:
        found = client.get(f"/v1/stops/{in_path(stop_id)}")
    if as_json:
        show_json(found)
    else:
        _tell(found)


@stops.command(
    epilog="Example: modemctl stops reach 0b5c9e52-5d0b-4d7c-a7f2-0e9f2f1c8f11 --out reach.csv"
)
@click.argument("stop_id")
@click.option("--out", type=NewPath(), required=True, help="A new file for it.")
@click.pass_obj
def reach(connection: Connection, stop_id: str, out: Path) -> None:
    """Every segment that the stop concerned, as a CSV file."""
    with connection.client() as client:
        client.save(f"/v1/stops/{in_path(stop_id)}/reach.csv", out)
    click.echo(f"written: {out}")


def _stands(client: Client, placed: Record) -> bool:
    """Whether the stop holds anything: that of a batch which is over does not."""
    return any(one.get("stop_id") == placed.get("stop_id") for one in client.pages("/v1/stops"))


def _standing(client: Client, kind: str, target: str) -> str:
    """The id of the stop that holds this.

    Raises:
        Refusal: nothing holds it.
    """
    for one in client.pages("/v1/stops"):
        if (one.get("kind"), one.get("target")) == (kind, target):
            return text_of(one, "stop_id")
    what = f"{kind} {target}".strip()
    raise Refusal(f"no stop of {what} stands", cure="modemctl stops list shows those that do")


def _tell(found: Record) -> None:
    stop_ = found.get("stop")
    facts: Record = dict(stop_) if isinstance(stop_, dict) else {}
    facts |= {name: found.get(name) for name in ("sent", "in_flight", "unsent", "outcomes")}
    show_record(
        {name: value for name, value in facts.items() if value not in (None, "", {})},
        as_json=False,
    )
    show_table(records(found.get("batches")), _BATCH_COLUMNS, as_json=False, empty="no batch ran")
    flights = records(found.get("flights"))
    if flights:
        click.echo("in flight when it was stopped, and what became of each:")
        show_table(flights, _FLIGHT_COLUMNS, as_json=False)


COMMANDS: Final = {"stop": stop, "resume": resume, "stops": stops}
