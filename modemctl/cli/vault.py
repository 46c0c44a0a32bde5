"""The keys of the vault: which there are, and their rotation."""

from __future__ import annotations

import threading
from typing import Final

import click

from modemctl.cli.client import Connection
from modemctl.cli.show import as_json_option, show_done, show_record

_ID: Final = "6f2c0b5c-5d0b-4d7c-a7f2-0e9f2f1c8f11"
_POLL: Final = 0.5  # seconds
_request = click.option(
    "--request", "request_id", required=True, help="The request that a colleague confirmed."
)


@click.group()
def vault() -> None:
    """The vault's keys: see them, rotate them while everything runs."""


@vault.command(epilog="Example: modemctl vault show")
@as_json_option
@click.pass_obj
def show(connection: Connection, *, as_json: bool) -> None:
    """The generation that encrypts, what stands on older ones, and how far a rotation is."""
    with connection.client() as client:
        found = client.get("/v1/vault")
    show_record(found, as_json=as_json)


@vault.command(epilog=f"Example: modemctl vault rotate --request {_ID}")
@_request
@click.option("--no-wait", is_flag=True, help="Return once it is begun.")
@as_json_option
@click.pass_obj
def rotate(connection: Connection, request_id: str, *, no_wait: bool, as_json: bool) -> None:
    """A new data key. First: modemctl request ask key_rotation data; a colleague confirms."""
    pause = threading.Event()  # never set: Ctrl-C ends the wait, not the rotation
    with connection.client() as client:
        done = client.post("/v1/vault/rotate", {"request_id": request_id})
        while not no_wait and done.get("is_rotating"):
            if not as_json:
                click.echo(f"{done.get('n_left')} values left", err=True)
            pause.wait(_POLL)
            done = client.get("/v1/vault")
    what = "begun" if no_wait else "done: all values stand on"
    show_done(done, f"{what} generation {done.get('generation')}", as_json=as_json)


@vault.command(epilog=f"Example: modemctl vault master --request {_ID}")
@_request
@as_json_option
@click.pass_obj
def master(connection: Connection, request_id: str, *, as_json: bool) -> None:
    """Another master key. First: modemctl key create <master key file>.new, on the server.

    Then: modemctl request ask key_rotation master; a colleague confirms; this command; and at last
    the new file takes the other's place and the daemon starts again. Until then either key opens
    the database, afterwards the new one alone.
    """
    with connection.client() as client:
        done = client.post("/v1/vault/master", {"request_id": request_id})
    what = f"now put {done.get('new_key_file')} in the other's place, and restart the daemon"
    show_done(done, what, as_json=as_json)


COMMANDS: Final = {"vault": vault}
