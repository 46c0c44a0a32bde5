"""Shift hand-over."""

from __future__ import annotations

from typing import Final

import click

from modemctl.cli.client import Connection, Record, in_path
from modemctl.cli.show import as_json_option, show_done, show_record, show_table

_COLUMNS: Final = ("handover_id", "made_by", "made_at", "taken_by", "taken_at", "note")


@click.group()
def handover() -> None:
    """Shift hand-over: what is open, made by one shift, taken by the next."""


@handover.command(epilog="Example: modemctl handover now")
@as_json_option
@click.pass_obj
def now(connection: Connection, *, as_json: bool) -> None:
    """What a hand-over would tell now; nothing is kept."""
    with connection.client() as client:
        show_record(client.get("/v1/handovers/now"), as_json=as_json)


@handover.command(epilog="Example: modemctl handover make --note 'bay07 waits for a new card'")
@click.option("--note", default="", help="What the next shift should know; nothing personal.")
@as_json_option
@click.pass_obj
def make(connection: Connection, note: str, *, as_json: bool) -> None:
    """Hand the shift over."""
    with connection.client() as client:
        done = client.post("/v1/handovers", {"note": note})
    facts = done.get("facts")
    shown: Record = {"handover_id": done.get("handover_id")}
    shown |= facts if isinstance(facts, dict) else {}
    show_record(done if as_json else shown, as_json=as_json)


@handover.command(epilog="Example: modemctl handover take 0b5c9e52-5d0b-4d7c-a7f2-0e9f2f1c8f11")
@click.argument("handover_id")
@as_json_option
@click.pass_obj
def take(connection: Connection, handover_id: str, *, as_json: bool) -> None:
    """Take the shift over by your name."""
    with connection.client() as client:
        done = client.post(f"/v1/handovers/{in_path(handover_id)}/take")
    show_done(done, "the shift is yours", as_json=as_json)


@handover.command("list", epilog="Example: modemctl handover list")
@as_json_option
@click.pass_obj
def list_(connection: Connection, *, as_json: bool) -> None:
    """The latest hand-overs, newest first."""
    with connection.client() as client:
        found = list(client.pages("/v1/handovers"))
    show_table(found, _COLUMNS, as_json=as_json, empty="no hand-over yet", spare=("taken_at",))


COMMANDS: Final = {"handover": handover}
