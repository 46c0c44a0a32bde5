"""Training, confidentiality agreement and drills (SEC-14)."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import click

from modemctl.cli.accounts import account_id_of
from modemctl.cli.client import Connection
from modemctl.cli.show import as_json_option, show_done, show_record

_DAY: Final = click.DateTime(formats=["%Y-%m-%d"])


@click.group()
def training() -> None:
    """Training, confidentiality agreement and drills of persons."""


@training.command(
    epilog="Example: modemctl training record wang --hours 8 --score 92 --on 2026-10-05"
    " --agreement 2026-10-01 --reference 'certificate 17'"
)
@click.argument("name")
@click.option("--hours", type=int, required=True, help="Hours of training; 8 at least.")
@click.option("--score", type=int, required=True, help="Points of the examination; 80 at least.")
@click.option("--on", "trained_on", type=_DAY, required=True, help="Day of the examination.")
@click.option("--agreement", type=_DAY, required=True, help="Day of the signed agreement.")
@click.option("--reference", required=True, help="The certificate or form.")
@as_json_option
@click.pass_obj
def record(
    connection: Connection,
    *,
    name: str,
    hours: int,
    score: int,
    trained_on: datetime,
    agreement: datetime,
    reference: str,
    as_json: bool,
) -> None:
    """Put NAME's training on record; an account that waited for it becomes active."""
    with connection.client() as client:
        done = client.put(
            f"/v1/accounts/{account_id_of(client, name)}/training",
            {
                "hours": hours,
                "score": score,
                "trained_on": trained_on.date().isoformat(),
                "agreement_on": agreement.date().isoformat(),
                "reference": reference,
            },
        )
    show_done(done, f"training of {name} is on record", as_json=as_json)


@training.command(epilog="Example: modemctl training drill wang --failed")
@click.argument("name")
@click.option("--passed/--failed", "is_passed", required=True, help="How it ended.")
@as_json_option
@click.pass_obj
def drill(connection: Connection, name: str, *, is_passed: bool, as_json: bool) -> None:
    """Note a drill; the second that fails in a row freezes the account until the next training."""
    with connection.client() as client:
        path = f"/v1/accounts/{account_id_of(client, name)}/drills"
        done = client.post(path, {"is_passed": is_passed})
    show_done(done, f"noted; failed in a row: {done.get('failed_drills')}", as_json=as_json)


@training.command(epilog="Example: modemctl training show wang")
@click.argument("name")
@as_json_option
@click.pass_obj
def show(connection: Connection, name: str, *, as_json: bool) -> None:
    """What is on record of NAME."""
    with connection.client() as client:
        found = client.get(f"/v1/accounts/{account_id_of(client, name)}/training")
    show_record(found, as_json=as_json)


COMMANDS: Final = {"training": training}
