"""Operators of departments: two managers sign, the general department files (SMS-06)."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import click

from modemctl.cli.client import Connection, Json, in_path, text_of
from modemctl.cli.show import as_json_option, local_time, show_done
from modemctl.clock import SystemClock


@click.group()
def operator() -> None:
    """Operators of departments: two managers sign, the general department files."""


@operator.command(
    epilog="Example: modemctl operator apply zhou --department sales --days 90"
    " --reference 'form 8' --undertaking 2026-01"
)
@click.argument("name")
@click.option("--department", required=True, help="For which department.")
@click.option("--days", type=click.IntRange(1, 366), required=True, help="How many days it counts.")
@click.option(
    "--in-days",
    type=click.IntRange(0, 366),
    default=0,
    show_default=True,
    help="In how many days it begins.",
)
@click.option("--reference", required=True, help="The signed form.")
@click.option("--undertaking", required=True, help="Version of the undertaking that NAME signed.")
@click.option("--hand-over", is_flag=True, help="The operator of then ends when NAME begins.")
@as_json_option
@click.pass_obj
def apply(
    connection: Connection,
    *,
    name: str,
    department: str,
    days: int,
    in_days: int,
    reference: str,
    undertaking: str,
    hand_over: bool,
    as_json: bool,
) -> None:
    """As the department's manager, authorise NAME; the manager in charge signs next."""
    now = SystemClock().now()
    body: dict[str, Json] = {
        "account": name,
        "department": department,
        "valid_until": (now + timedelta(days=in_days + days)).isoformat(),
        "reference": reference,
        "undertaking": undertaking,
        "hand_over": hand_over,
    }
    if in_days:
        body["valid_from"] = (now + timedelta(days=in_days)).isoformat()
    with connection.client() as client:
        asked = client.post("/v1/operators", body)
    number = text_of(asked, "request_id")
    cure = f"the manager in charge now: modemctl request confirm {number}"
    show_done(asked, f"applied; {cure}\n  → then: modemctl operator file {number}", as_json=as_json)


@operator.command(epilog="Example: modemctl operator file 6f2c0b5c-5d0b-4d7c-a7f2-0e9f2f1c8f11")
@click.argument("request_id")
@as_json_option
@click.pass_obj
def file(connection: Connection, request_id: str, *, as_json: bool) -> None:
    """As an administrator of the general department, file what both managers have signed."""
    with connection.client() as client:
        made = client.post(f"/v1/operators/{in_path(request_id)}/file")
    until = local_time(text_of(made, "valid_until"))
    what = f"filed as authorisation {made.get('authorisation_id')}"
    show_done(made, f"{what}, until {until}", as_json=as_json)


COMMANDS: Final = {"operator": operator}
