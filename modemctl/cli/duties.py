"""What is done regularly, and the tests of bays."""

from __future__ import annotations

from typing import Final

import click

from modemctl.cli.client import Connection, Json, records
from modemctl.cli.errors import EXIT_REFUSED
from modemctl.cli.show import as_json_option, show_table

_DUTIES: Final = ("duty", "policy", "done_at", "done_by", "is_due", "is_overdue")
_TESTS: Final = (
    "bay",
    "at",
    "state",
    "registration",
    "signal_dbm",
    "balance",
    "answer_ms",
    "sms",
    "faults",
)
_FAULTS: Final = ("kind", "iccid", "department", "since", "told", "is_late")
_SPARE: Final = ("answer_ms", "registration", "at")


_SILENT: Final = """modemctl: no card wrote to itself
  → a standing approval is asked for with: modemctl batch propose-self-test
  → those that stand: modemctl batch list --state approved --state held"""


def _is_sent(sms: Json) -> bool:
    return isinstance(sms, dict) and sms.get("state") != "none"


def _told(sms: Json) -> Json:
    return sms.get("told") if isinstance(sms, dict) else None


def _summary(n_bays: int, n_faulty: int) -> str:
    bays = "1 bay" if n_bays == 1 else f"{n_bays} bays"
    return f"{bays}: {'no fault' if not n_faulty else f'a fault in {n_faulty}'}"


@click.command(epilog="Example: modemctl duties")
@as_json_option
@click.pass_obj
def duties(connection: Connection, *, as_json: bool) -> None:
    """Regular duties: when each was done last. `is_due`: it waits; `is_overdue`: it is late."""
    with connection.client() as client:
        found = records(client.get("/v1/duties").get("items"))
    show_table(found, _DUTIES, as_json=as_json, empty="no duties", spare=("policy",))


@click.command(
    "self-test",
    epilog="Example: modemctl self-test bay-07; what was found last: self-test --last; all cards"
    " of a standing approval: self-test --sms. Exit status 1: one of these bays has a fault, or no"
    " card wrote to itself though --sms asked for it.",
)
@click.argument("bays", nargs=-1)
@click.option("--last", is_flag=True, help="Ask nobody; show what the last tests found.")
@click.option("--faulty", is_flag=True, help="Only bays with a fault.")
@click.option(
    "--sms", is_flag=True, help="Cards write to themselves, under a standing approval alone."
)
@as_json_option
@click.pass_obj
def self_test(
    connection: Connection,
    bays: tuple[str, ...],
    *,
    last: bool,
    faulty: bool,
    sms: bool,
    as_json: bool,
) -> int:
    """Test bays now, or all: port, card, registration, signal, balance (SIM-18); takes seconds.

    All bays are tested by themselves on Mondays at 7; the results are kept. What came of the cards'
    messages to themselves shows with --last: none, waiting, arrived, delivered or failed. A
    standing approval is asked for with `modemctl batch propose-self-test`.
    """
    with connection.client() as client:
        if last:
            answer = client.get("/v1/self-tests")
        else:
            answer = client.post("/v1/self-tests", {"bays": list(bays), "sms": sms})
    asked = [one for one in records(answer.get("items")) if not bays or one["bay"] in bays]
    with_fault = [one for one in asked if one["faults"]]
    chosen = with_fault if faulty else asked
    if not as_json:
        chosen = [{**one, "sms": _told(one["sms"])} for one in chosen]
    show_table(chosen, _TESTS, as_json=as_json, empty="no bay to show", spare=_SPARE)
    if asked and not as_json:
        click.echo(_summary(len(asked), len(with_fault)), err=True)
    is_silent = sms and not any(_is_sent(one["sms"]) for one in asked)
    if is_silent:
        click.echo(_SILENT, err=True)
    return EXIT_REFUSED if with_fault or is_silent else 0


@click.command(epilog="Example: modemctl register-faults")
@as_json_option
@click.pass_obj
def register_faults(connection: Connection, *, as_json: bool) -> None:
    """Where the register is not true: numbers on cards, leases, departments' word (SIM-17)."""
    with connection.client() as client:
        found = records(client.get("/v1/register-faults").get("items"))
    show_table(found, _FAULTS, as_json=as_json, empty="the register is true", spare=("told",))


COMMANDS: Final = {"duties": duties, "register-faults": register_faults, "self-test": self_test}
