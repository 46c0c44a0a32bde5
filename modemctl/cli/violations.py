"""Violation cases: opened on audit entries, investigated, appealed, reviewed."""

from __future__ import annotations

import re
from typing import Final

import click

from modemctl.cli.client import Connection, Record, in_path, records
from modemctl.cli.errors import Refusal
from modemctl.cli.show import as_json_option, show_done, show_json, show_record, show_table

_COLUMNS: Final = (
    "case_id", "policy", "grade", "state", "person", "opened_at", "investigate_by", "review_by",
)  # fmt: skip
_SPARE: Final = ("opened_at", "review_by", "investigate_by")
_LINES: Final = ("policy", "grade", "n", "n_by_state", "amount_fen")
_QUARTER: Final = re.compile(r"(20\d\d)-?[Qq]([1-4])")


@click.group()
def case() -> None:
    """Violation cases: opened, investigated, appealed, reviewed."""


@case.command(
    "open",
    epilog="Example: modemctl case open SMS-06 zhou --grade 1 --entry n1:812 'sent for a friend'",
)
@click.argument("policy")
@click.argument("person")
@click.argument("summary")
@click.option("--grade", type=click.IntRange(1, 3), required=True, help="1 minor … 3 grave.")
@click.option(
    "--entry", "entries", multiple=True, required=True, help="Audit entry NODE:NUMBER; repeatable."
)
@click.option("--amount-fen", type=click.IntRange(0), help="In fen; recorded, never collected.")
@as_json_option
@click.pass_obj
def open_(
    connection: Connection,
    *,
    policy: str,
    person: str,
    summary: str,
    grade: int,
    entries: tuple[str, ...],
    amount_fen: int | None,
    as_json: bool,
) -> None:
    """Open a case on entries of the audit log, of which one names the person."""
    body: Record = {
        "policy": policy,
        "person": person,
        "summary": summary,
        "grade": grade,
        "evidence": [_entry(one) for one in entries],
        "amount_fen": amount_fen,
    }
    with connection.client() as client:
        _tell(client.post("/v1/cases", body), as_json=as_json)


@case.command("list", epilog="Example: modemctl case list --all")
@click.option("--all", "is_all", is_flag=True, help="Also those that are over.")
@as_json_option
@click.pass_obj
def list_(connection: Connection, *, is_all: bool, as_json: bool) -> None:
    """Cases, newest first; your own alone, where your account may not read all."""
    with connection.client() as client:
        found = list(client.pages("/v1/cases", all=is_all))
    show_table(found, _COLUMNS, as_json=as_json, empty="no case", spare=_SPARE)


@case.command(epilog="Example: modemctl case show 0b5c9e52-5d0b-4d7c-a7f2-0e9f2f1c8f11")
@click.argument("case_id")
@as_json_option
@click.pass_obj
def show(connection: Connection, case_id: str, *, as_json: bool) -> None:
    """A case with its evidence."""
    with connection.client() as client:
        _tell(client.get(f"/v1/cases/{in_path(case_id)}"), as_json=as_json)


@case.command(epilog="Example: modemctl case decide 0b5c9e52-… --violation --grade 1 'he did'")
@click.argument("case_id")
@click.argument("finding")
@click.option("--violation/--no-violation", "is_violation", required=True, help="What was found.")
@click.option("--grade", type=click.IntRange(1, 3), required=True, help="1 minor … 3 grave.")
@click.option("--amount-fen", type=click.IntRange(0), help="In fen; recorded, never collected.")
@as_json_option
@click.pass_obj
def decide(
    connection: Connection,
    *,
    case_id: str,
    finding: str,
    is_violation: bool,
    grade: int,
    amount_fen: int | None,
    as_json: bool,
) -> None:
    """End the investigation; the person may appeal within two working days."""
    body: Record = {"is_violation": is_violation, "finding": finding, "grade": grade}
    body["amount_fen"] = amount_fen
    _post(connection, case_id, "decide", body, as_json=as_json)


@case.command(epilog="Example: modemctl case appeal 0b5c9e52-… 'it was the late shift'")
@click.argument("case_id")
@click.argument("text")
@as_json_option
@click.pass_obj
def appeal(connection: Connection, case_id: str, text: str, *, as_json: bool) -> None:
    """Appeal, as the person whom it is about."""
    _post(connection, case_id, "appeal", {"text": text}, as_json=as_json)


@case.command(epilog="Example: modemctl case review 0b5c9e52-… --upheld 'the log is clear'")
@click.argument("case_id")
@click.argument("text")
@click.option("--upheld/--overturned", "is_upheld", required=True, help="What becomes of it.")
@as_json_option
@click.pass_obj
def review(
    connection: Connection, case_id: str, text: str, *, is_upheld: bool, as_json: bool
) -> None:
    """Review an appeal, as somebody else than who decided."""
    body: Record = {"is_upheld": is_upheld, "text": text}
    _post(connection, case_id, "review", body, as_json=as_json)


@case.command(epilog="Example: modemctl case close 0b5c9e52-5d0b-4d7c-a7f2-0e9f2f1c8f11")
@click.argument("case_id")
@as_json_option
@click.pass_obj
def close(connection: Connection, case_id: str, *, as_json: bool) -> None:
    """Close what was found, once the time to appeal is over."""
    _post(connection, case_id, "close", None, as_json=as_json)


@case.command(epilog="Example: modemctl case quarter 2026Q4")
@click.argument("quarter")
@as_json_option
@click.pass_obj
def quarter(connection: Connection, quarter: str, *, as_json: bool) -> None:
    """The cases that were opened in a quarter, by rule and grade."""
    match = _QUARTER.fullmatch(quarter)
    if match is None:
        raise Refusal(f"{quarter!r} is no quarter", cure="such as 2026Q4")
    with connection.client() as client:
        found = client.get(f"/v1/cases/quarters/{match[1]}/{match[2]}")
    if as_json:
        show_json(found)
        return
    click.echo(f"{found.get('n')} cases, {found.get('n_late')} of them late")
    show_table(records(found.get("lines")), _LINES, as_json=False, empty="no case")


def _post(
    connection: Connection, case_id: str, act: str, body: Record | None, *, as_json: bool
) -> None:
    with connection.client() as client:
        done = client.post(f"/v1/cases/{in_path(case_id)}/{act}", body)
    show_done(done, f"the case is {done.get('state')}", as_json=as_json)


def _entry(text: str) -> Record:
    """`NODE:NUMBER` as the API takes it.

    Raises:
        Refusal: it is not.
    """
    node, _, seq = text.rpartition(":")
    if not node or not (seq.isascii() and seq.isdecimal()):
        raise Refusal(f"{text!r} is not NODE:NUMBER", cure="modemctl audit list shows both")
    return {"node": node, "seq": int(seq)}


def _tell(found: Record, *, as_json: bool) -> None:
    facts: Record = {
        name: value
        for name, value in found.items()
        if as_json or (name != "evidence" and value not in (None, "", False))
    }
    if not as_json:
        facts["evidence"] = [
            f"{one.get('node')}:{one.get('seq')}" for one in records(found.get("evidence"))
        ]
    show_record(facts, as_json=as_json)


COMMANDS: Final = {"case": case}
