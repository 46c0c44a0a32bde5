"""What keeps records, and what takes them away: legal holds, purges, erasures."""

from __future__ import annotations

import threading
from typing import Final

import click

from modemctl.cli.client import Connection, Json, in_path, records, text_of
from modemctl.cli.identities import identity_options, read_identity
from modemctl.cli.show import as_json_option, show_done, show_record, show_table
from modemctl.policy.identities import IdentityKind

_HOLDS: Final = (
    "hold_id", "kind", "iccid", "number", "batch_id", "since", "until", "reason", "set_by",
    "set_at", "lifted_at",
)  # fmt: skip
_HOLDS_SPARE: Final = ("lifted_at", "set_at", "set_by", "since", "until")
_CLASSES: Final = ("of", "n_due", "n_held", "before", "oldest")
_RUNS: Final = ("run_id", "by", "started_at", "finished_at", "n_batches", "n_rows")
_ID: Final = "6f2c0b5c-5d0b-4d7c-a7f2-0e9f2f1c8f11"
_POLL: Final = 0.5  # seconds
_request = click.option(
    "--request", "request_id", required=True, help="The request that a colleague confirmed."
)
_reason = click.option("--reason", required=True, help="Why; goes to the audit log.")


@click.group()
def hold() -> None:
    """Legal holds: what they keep is neither purged nor erased."""


@hold.command("list", epilog="Example: modemctl hold list")
@as_json_option
@click.pass_obj
def list_holds(connection: Connection, *, as_json: bool) -> None:
    """All holds, newest first; numbers need the scope pii:read."""
    with connection.client() as client:
        found = records(client.get("/v1/holds").get("items"))
    show_table(found, _HOLDS, as_json=as_json, empty="no holds", spare=_HOLDS_SPARE)


@hold.command("set", epilog="Example: modemctl hold set --number 13800000001 --reason 'case 12'")
@click.option("--card", "iccid", help="All of this card: its ICCID.")
@click.option("--number", help="All of this other party.")
@click.option("--batch", "batch_id", help="This batch.")
@click.option("--since", help="With --until, all of a period: 2026-11-01T00:00+08:00.")
@click.option("--until", help="The period's end.")
@_reason
@as_json_option
@click.pass_obj
def set_hold(connection: Connection, /, *, as_json: bool, **wanted: str | None) -> None:
    """Keep what an investigation may ask for, from now on; one person is enough."""
    body = {name: value for name, value in wanted.items() if value is not None}
    with connection.client() as client:
        done = client.post("/v1/holds", body)
    show_done(done, f"kept: hold {text_of(done, 'hold_id')}", as_json=as_json)


@hold.command(epilog=f"Example: modemctl hold lift {_ID} --request {_ID} --reason 'case closed'")
@click.argument("hold_id")
@_request
@_reason
@as_json_option
@click.pass_obj
def lift(
    connection: Connection, hold_id: str, request_id: str, reason: str, *, as_json: bool
) -> None:
    """End a hold. First: modemctl request ask hold_lift HOLD_ID; a colleague confirms."""
    body = {"request_id": request_id, "reason": reason}
    with connection.client() as client:
        done = client.post(f"/v1/holds/{in_path(hold_id)}/lift", body)
    show_done(done, "lifted", as_json=as_json)


@click.group()
def purge() -> None:
    """What has been kept long enough is removed, on record."""


@purge.command(epilog="Example: modemctl purge preview")
@as_json_option
@click.pass_obj
def preview(connection: Connection, *, as_json: bool) -> None:
    """What is due by [retention], by class, and what legal holds keep of it."""
    with connection.client() as client:
        found = client.get("/v1/purge")
    if as_json:
        show_record(found, as_json=True)
        return
    show_table(records(found.get("classes")), _CLASSES, as_json=False)
    how = "the daemon purges it by itself" if found.get("is_automatic") else "two persons purge it"
    click.echo(how, err=True)


@purge.command("run", epilog=f"Example: modemctl purge run --request {_ID}")
@_request
@click.option("--no-wait", is_flag=True, help="Return once it is begun.")
@as_json_option
@click.pass_obj
def run_(connection: Connection, request_id: str, *, no_wait: bool, as_json: bool) -> None:
    """Purge what is due now. First: modemctl request ask purge due; a colleague confirms."""
    with connection.client() as client:
        done = client.post("/v1/purge/runs", {"request_id": request_id})
        pause = threading.Event()
        while not no_wait and done.get("finished_at") is None:
            pause.wait(_POLL)
            runs = records(client.get("/v1/purge/runs").get("items"))
            done = next(one for one in runs if one.get("run_id") == done.get("run_id"))
            if not as_json:
                click.echo(f"{done.get('n_rows')} rows", err=True)
    what = f"{done.get('n_batches')} batches, {done.get('n_rows')} rows removed"
    show_done(done, "begun" if no_wait else what, as_json=as_json)


@purge.command(epilog="Example: modemctl purge runs")
@as_json_option
@click.pass_obj
def runs(connection: Connection, *, as_json: bool) -> None:
    """The latest purges, and how far they are."""
    with connection.client() as client:
        found = records(client.get("/v1/purge/runs").get("items"))
    show_table(found, _RUNS, as_json=as_json, empty="nothing was purged yet")


@click.group()
def erase() -> None:
    """A person's number and texts are taken out; a keyed hash stays."""


@erase.command("preview", epilog="Example: modemctl erase preview 13800000001")
@click.argument("number", required=False)
@identity_options
@as_json_option
@click.pass_obj
def preview_erasure(
    connection: Connection,
    number: str | None,
    *,
    has_identity: bool,
    identity_kind: str | None,
    as_json: bool,
) -> None:
    """What is stored of a number; `subject` is what the two persons name in their request."""
    body = _person(number, identity_kind, has_identity=has_identity)
    with connection.client() as client:
        found = client.post("/v1/erasures/preview", body)
    show_record(found, as_json=as_json)


@erase.command(
    "run", epilog=f"Example: modemctl erase run 13800000001 --request {_ID} --reason 'her letter'"
)
@click.argument("number", required=False)
@identity_options
@_request
@_reason
@as_json_option
@click.pass_obj
def run_erasure(
    connection: Connection,
    number: str | None,
    *,
    has_identity: bool,
    identity_kind: str | None,
    request_id: str,
    reason: str,
    as_json: bool,
) -> None:
    """Erase. First: modemctl request ask erasure SUBJECT (of the preview); a colleague confirms."""
    body = _person(number, identity_kind, has_identity=has_identity)
    body |= {"request_id": request_id, "reason": reason}
    with connection.client() as client:
        done = client.post("/v1/erasures", body)
    show_done(done, f"erased: {done.get('n_erased')} rows", as_json=as_json)


def _person(
    number: str | None, identity_kind: str | None, *, has_identity: bool
) -> dict[str, Json]:
    """A phone number, or the document that is asked for."""
    document = read_identity(identity_kind, has_identity=has_identity)
    if bool(document) == (number is not None):
        raise click.UsageError("name a phone number, or give --identity to be asked for another")
    if number is not None:
        return {"number": number}
    kind = document.get("identity_kind", IdentityKind.RESIDENT_ID.value)
    return {"number": document["identity_number"], "identity_kind": kind}


COMMANDS: Final = {"hold": hold, "purge": purge, "erase": erase}
