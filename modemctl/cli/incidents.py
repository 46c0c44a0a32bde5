"""Incidents: opened, told, corrected, closed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from modemctl.cli.client import Connection, Record, in_path, records, text_of
from modemctl.cli.errors import Refusal
from modemctl.cli.forms import read_form
from modemctl.cli.show import as_json_option, show_done, show_json, show_record, show_table
from modemctl.policy.incidents import Isolation

_COLUMNS: Final = (
    "incident_id", "level", "state", "title", "opened_by", "opened_at", "due_at", "is_overdue",
    "acknowledged_by",
)  # fmt: skip
_SPARE: Final = ("opened_at", "acknowledged_by", "opened_by", "due_at")
_TIMELINE: Final = ("at", "by", "what", "text")
_ISOLATE_HELP: Final = "What to cut off at once: node:NAME, modem:BAY, key:ID, approver_key:KID."


@click.group()
def incident() -> None:
    """Incidents: opened, told to whom they concern, corrected, closed."""


@incident.command(
    "open",
    epilog="Example: modemctl incident open --level 1 --isolate modem:bay07 'card seen elsewhere'",
)
@click.argument("title")
@click.option(
    "--level",
    type=click.IntRange(1, 3),
    required=True,
    help="1 leak or intrusion, 2 internal slip such as a wrong send, 3 minor.",
)
@click.option("--detected-at", help="When it was noticed, with its offset; else now.")
@click.option("--isolate", help=_ISOLATE_HELP)
@click.option(
    "--keep-running", is_flag=True, help="Do not stop the fleet, as level 2 does otherwise."
)
@as_json_option
@click.pass_obj
def open_(
    connection: Connection,
    *,
    title: str,
    level: int,
    detected_at: str | None,
    isolate: str | None,
    keep_running: bool,
    as_json: bool,
) -> None:
    """Record an incident; level 2 stops the fleet by this. The countdown runs."""
    body: Record = {"level": level, "title": title, "keeps_running": keep_running}
    if detected_at is not None:
        body["detected_at"] = detected_at
    if isolate is not None:
        body["isolate"] = _isolation(isolate)
    with connection.client() as client:
        _tell(client.post("/v1/incidents", body), as_json=as_json)


@incident.command("list", epilog="Example: modemctl incident list --all")
@click.option("--all", "is_all", is_flag=True, help="Also the closed ones.")
@as_json_option
@click.pass_obj
def list_(connection: Connection, *, is_all: bool, as_json: bool) -> None:
    """Incidents, newest first."""
    with connection.client() as client:
        found = list(client.pages("/v1/incidents", all=is_all))
    show_table(found, _COLUMNS, as_json=as_json, empty="no incident", spare=_SPARE)


@incident.command(epilog="Example: modemctl incident show 0b5c9e52-5d0b-4d7c-a7f2-0e9f2f1c8f11")
@click.argument("incident_id")
@as_json_option
@click.pass_obj
def show(connection: Connection, incident_id: str, *, as_json: bool) -> None:
    """An incident with its timeline and countdown."""
    with connection.client() as client:
        _tell(client.get(f"/v1/incidents/{in_path(incident_id)}"), as_json=as_json)


@incident.command(epilog="Example: modemctl incident isolate 0b5c9e52-… key:abcdefgh23456723")
@click.argument("incident_id")
@click.argument("what", metavar="KIND:TARGET")
@as_json_option
@click.pass_obj
def isolate(connection: Connection, incident_id: str, what: str, *, as_json: bool) -> None:
    """Cut off node:NAME, modem:BAY, key:ID or approver_key:KID at once."""
    with connection.client() as client:
        path = f"/v1/incidents/{in_path(incident_id)}/isolate"
        _tell(client.post(path, _isolation(what)), as_json=as_json)


@incident.command(epilog="Example: modemctl incident note 0b5c9e52-… 'customers called'")
@click.argument("incident_id")
@click.argument("text")
@as_json_option
@click.pass_obj
def note(connection: Connection, incident_id: str, text: str, *, as_json: bool) -> None:
    """Add a line to the timeline."""
    _post(connection, incident_id, "notes", {"text": text}, "noted", as_json=as_json)


@incident.command(epilog="Example: modemctl incident link 0b5c9e52-… 6f2c0b5c-…")
@click.argument("incident_id")
@click.argument("stop_id")
@as_json_option
@click.pass_obj
def link(connection: Connection, incident_id: str, stop_id: str, *, as_json: bool) -> None:
    """Say which stop belongs to it; its reach is what a correction goes to."""
    _post(connection, incident_id, "stop", {"stop_id": stop_id}, "linked", as_json=as_json)


@incident.command(epilog="Example: modemctl incident acknowledge 0b5c9e52-… 'told by phone'")
@click.argument("incident_id")
@click.argument("text")
@as_json_option
@click.pass_obj
def acknowledge(connection: Connection, incident_id: str, text: str, *, as_json: bool) -> None:
    """Say, as somebody of its route, that you have heard; that ends the countdown."""
    _post(connection, incident_id, "acknowledge", {"text": text}, "acknowledged", as_json=as_json)


@incident.command(epilog="Example: modemctl incident correct 0b5c9e52-… correction.toml")
@click.argument("incident_id")
@click.argument("form_path", metavar="FORM.toml", type=click.Path(path_type=Path, readable=False))
@click.option("--id", "batch_id", help="The batch's UUID.")
@as_json_option
@click.pass_obj
def correct(
    connection: Connection,
    incident_id: str,
    form_path: Path,
    batch_id: str | None,
    *,
    as_json: bool,
) -> None:
    """Prepare a batch for exactly the numbers that the incident's stop found reached.

    Nothing is sent by this: it is confirmed, approved and started as every batch.
    """
    request = read_form(form_path, batch_id=batch_id)
    with connection.client() as client:
        path = f"/v1/incidents/{in_path(incident_id)}/correction"
        done = client.post(path, request)
    made = text_of(done, "batch_id")
    sentence = f"batch {made}: {done.get('n_messages')} messages; modemctl batch check {made}"
    show_done(done, sentence, as_json=as_json)


@incident.command(
    epilog="Example: modemctl incident close 0b5c9e52-… --cause 'old list' --lessons 'check dates'"
)
@click.argument("incident_id")
@click.option("--cause", required=True, help="Why it happened.")
@click.option("--lessons", required=True, help="What is done so that it does not happen again.")
@as_json_option
@click.pass_obj
def close(
    connection: Connection, incident_id: str, cause: str, lessons: str, *, as_json: bool
) -> None:
    """Close it, with its cause and what is learned."""
    body: Record = {"cause": cause, "lessons": lessons}
    _post(connection, incident_id, "close", body, "closed", as_json=as_json)


def _post(
    connection: Connection,
    incident_id: str,
    act: str,
    body: Record,
    sentence: str,
    *,
    as_json: bool,
) -> None:
    with connection.client() as client:
        done = client.post(f"/v1/incidents/{in_path(incident_id)}/{act}", body)
    show_done(done, sentence, as_json=as_json)


def _isolation(what: str) -> Record:
    """`KIND:TARGET` as the API takes it.

    Raises:
        Refusal: no such kind, or no target.
    """
    kind, _, target = what.partition(":")
    if kind not in set(Isolation) or not target:
        raise Refusal(f"{what!r} is not KIND:TARGET", cure="such as modem:bay07 or key:ID")
    return {"kind": kind, "target": target}


def _tell(found: Record, *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    facts: Record = {
        name: value
        for name, value in found.items()
        if name != "timeline" and value not in (None, "", False)
    }
    show_record(facts, as_json=False)
    show_table(records(found.get("timeline")), _TIMELINE, as_json=False)


COMMANDS: Final = {"incident": incident}
