"""The life of a card, step by step, each by another person; its history; who leaves."""

from __future__ import annotations

import sys
from typing import Final

import click

from modemctl.cli.client import Connection, Json, Record, in_path, records
from modemctl.cli.identities import identity_options, read_identity
from modemctl.cli.show import as_json_option, show_done, show_table

_HISTORY: Final = (
    "seq", "at", "step", "by", "state", "holder", "department", "reason", "reference",
    "other_iccid",
)  # fmt: skip
_SPARE: Final = ("other_iccid", "reference", "department", "seq")
_OPEN: Final = (
    "iccid", "department", "holder", "asked_by", "asked_at", "waits_for", "working_days",
    "is_overdue",
)  # fmt: skip
_LEFT: Final = ("iccid", "state", "bay", "department")
_reason = click.option("--reason", required=True, help="Why; goes to log and history.")


@click.command(
    epilog="Example: modemctl sims request 89860012345678901234 --department sales --holder 王芳"
    " --purpose notices --number 13800000001 --reason 'new branch'"
)
@click.argument("iccid")
@click.option("--department", help="Whose card it is to be.")
@click.option("--holder", help="Who answers for it; of a pool the head does.")
@identity_options
@click.option("--user", "user_name", help="Who has it in use, where that is not the holder.")
@click.option("--purpose", help="What it is for.")
@click.option("--pool", "is_pool", is_flag=True, help="For the department's pool.")
@click.option("--number", help="Its phone number.")
@click.option("--ownership", type=click.Choice(["owned", "leased", "personal"]), help="Whose.")
@click.option("--lessor", help="Of a leased card: from whom.")
@click.option("--contract", help="Of a leased card: by which contract.")
@click.option("--lease-from", help="Of a leased card: first day (2026-11-01).")
@click.option("--lease-until", help="Of a leased card: last day.")
@click.option("--carrier", help="Whose network.")
@click.option("--group", "card_group", help="Card group.")
@click.option("--replaces", help="The lost or damaged card that it stands in for.")
@_reason
@as_json_option
@click.pass_obj
def request(
    connection: Connection,
    /,
    *,
    iccid: str,
    as_json: bool,
    is_pool: bool,
    has_identity: bool,
    identity_kind: str | None,
    **form: str | None,
) -> None:
    """Ask for a card: a new one, or one that lies in the drawer (step 1 of 5)."""
    body: dict[str, Json] = {key: value for key, value in form.items() if value is not None}
    body |= read_identity(identity_kind, has_identity=has_identity)
    _step(connection, iccid, "request", {**body, "is_pool": is_pool}, as_json=as_json)


@click.command(epilog="Example: modemctl sims review 89860012345678901234 --reason 'form 12 seen'")
@click.argument("iccid")
@_reason
@as_json_option
@click.pass_obj
def review(connection: Connection, iccid: str, reason: str, *, as_json: bool) -> None:
    """Note that sales checked qualification, need and reason (step 2 of 5)."""
    _step(connection, iccid, "review", {"reason": reason}, as_json=as_json)


@click.command(epilog="Example: modemctl sims approve 89860012345678901234 --reason 'needed'")
@click.argument("iccid")
@_reason
@as_json_option
@click.pass_obj
def approve(connection: Connection, iccid: str, reason: str, *, as_json: bool) -> None:
    """The word of the department's head (step 3 of 5)."""
    _step(connection, iccid, "approve", {"reason": reason}, as_json=as_json)


@click.command(epilog="Example: modemctl sims refuse 89860012345678901234 --reason 'has one'")
@click.argument("iccid")
@_reason
@as_json_option
@click.pass_obj
def refuse(connection: Connection, iccid: str, reason: str, *, as_json: bool) -> None:
    """Say no to a request, as who would review or approve it next."""
    _step(connection, iccid, "refuse", {"reason": reason}, as_json=as_json)


@click.command(
    epilog="Example: modemctl sims provision 89860012345678901234 --pin --reason 'form 12'"
)
@click.argument("iccid")
@click.option("--pin", "has_pin", is_flag=True, help="Ask for the card's PIN, or read it from"
              " standard input; it never stands in an argument.")  # fmt: skip
@_reason
@as_json_option
@click.pass_obj
def provision(
    connection: Connection, iccid: str, reason: str, *, has_pin: bool, as_json: bool
) -> None:
    """IT's step: the PIN goes into the vault, the lock is set before it serves (step 4 of 5).

    A returned card goes into stock by it.
    """
    body: dict[str, Json] = {"reason": reason}
    if has_pin:
        body["pin"] = _read_pin()
    _step(connection, iccid, "provision", body, as_json=as_json)


@click.command(epilog="Example: modemctl sims issue 89860012345678901234 --reason 'handed over'")
@click.argument("iccid")
@_reason
@as_json_option
@click.pass_obj
def issue(connection: Connection, iccid: str, reason: str, *, as_json: bool) -> None:
    """Hand a provisioned, verified card out: it may carry traffic (step 5 of 5)."""
    _step(connection, iccid, "issue", {"reason": reason}, as_json=as_json)


@click.command(epilog="Example: modemctl sims release 89860012345678901234 --reason 'bill paid'")
@click.argument("iccid")
@_reason
@click.option("--request", "request_id", help="Confirmed by another: a penalty that ends early.")
@as_json_option
@click.pass_obj
def release(
    connection: Connection, iccid: str, reason: str, request_id: str | None, *, as_json: bool
) -> None:
    """End a suspension. A penalty's ends before its time only by two persons.

    First `modemctl request ask suspension_release ICCID`, which somebody else confirms.
    """
    body: dict[str, Json] = {"reason": reason}
    if request_id is not None:
        body["request_id"] = request_id
    _step(connection, iccid, "release", body, as_json=as_json)


@click.command(
    "carrier-report",
    epilog="Example: modemctl sims carrier-report 89860012345678901234 --reference GS-2026-77",
)
@click.argument("iccid")
@click.option("--reference", required=True, help="What the carrier answered.")
@click.option("--at", help="When it was told; now, if left out (2026-11-21T11:00+08:00).")
@as_json_option
@click.pass_obj
def carrier_report(
    connection: Connection, iccid: str, reference: str, at: str | None, *, as_json: bool
) -> None:
    """Note that the carrier was told that a card is missing."""
    body: dict[str, Json] = {"reference": reference}
    if at is not None:
        body["at"] = at
    with connection.client() as client:
        done = client.post(f"/v1/sims/{in_path(iccid)}/carrier-report", body)
    show_done(done, f"noted: the carrier was told of card {iccid}", as_json=as_json)


@click.command(epilog="Example: modemctl sims history 89860012345678901234")
@click.argument("iccid")
@as_json_option
@click.pass_obj
def history(connection: Connection, iccid: str, *, as_json: bool) -> None:
    """All that a card went through, oldest step first: who, when, why, whose it was."""
    with connection.client() as client:
        found = records(client.get(f"/v1/sims/{in_path(iccid)}/history").get("items"))
    show_table(found, _HISTORY, as_json=as_json, empty="nothing is on record", spare=_SPARE)


@click.command(epilog="Example: modemctl sims requests --overdue")
@click.option("--overdue", is_flag=True, help="Only those open for more than 4 working days.")
@as_json_option
@click.pass_obj
def requests(connection: Connection, *, overdue: bool, as_json: bool) -> None:
    """Requests that wait, for whom, and for how many working days."""
    with connection.client() as client:
        answer = client.get("/v1/sim-requests", overdue=overdue or None)
    found = [_flat(one) for one in records(answer.get("items"))]
    show_table(found, _OPEN, as_json=as_json, empty="no request waits", spare=("asked_by",))


@click.command(epilog="Example: modemctl sims offboard 王芳 --reason 'leaves on Friday'")
@click.argument("holder")
@click.option("--reason", help="Why; goes to log and history.")
@click.option("--show", "is_question", is_flag=True, help="Only tell what is left.")
@as_json_option
@click.pass_obj
def offboard(
    connection: Connection, holder: str, reason: str | None, *, is_question: bool, as_json: bool
) -> None:
    """A holder leaves: all of his cards are returned and cancelled, but those still in a bay.

    Take those out and say it again: it goes on where it was.
    """
    if reason is None and not is_question:
        raise click.UsageError("give --reason, or --show to change nothing")
    with connection.client() as client:
        if is_question:
            done = client.get(f"/v1/sim-offboardings/{in_path(holder)}")
        else:
            done = client.post("/v1/sim-offboardings", {"holder": holder, "reason": reason})
    show_done(done, _departure(done), as_json=as_json)
    if not as_json and done.get("left"):
        show_table(records(done["left"]), _LEFT, as_json=False)


def _departure(done: Record) -> str:
    told = f"{done.get('n_cancelled')} of {done.get('n_cards')} cards are cancelled"
    return told + ("" if done.get("is_finished") else "; not finished, these are left:")


def _flat(one: Record) -> Record:
    card = one.get("card")
    assert isinstance(card, dict), "a request is about a card"
    names = ("iccid", "department", "holder")
    return {**{name: card.get(name) for name in names}, **one}


def _step(
    connection: Connection, iccid: str, verb: str, body: dict[str, Json], *, as_json: bool
) -> None:
    with connection.client() as client:
        done = client.post(f"/v1/sims/{in_path(iccid)}/{verb}", body)
    show_done(done, f"card {iccid} is {done.get('state')}", as_json=as_json)


def _read_pin() -> str:
    if sys.stdin.isatty():
        return str(click.prompt("PIN", hide_input=True, err=True))
    return sys.stdin.readline().strip()


COMMANDS: Final = (
    request, review, approve, refuse, provision, issue, release, carrier_report, history, requests,
    offboard,
)  # fmt: skip
