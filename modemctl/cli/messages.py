"""Single messages, and segments of which nobody knows whether they left."""

from __future__ import annotations

from itertools import islice
from typing import Final

import click

from modemctl.cli.client import Client, Connection, Json, Record, records
from modemctl.cli.errors import Refusal, printable
from modemctl.cli.explain_words import CARDS, FREE, HEADINGS, STATES, in_chinese
from modemctl.cli.show import as_json_option, show_json, show_record, show_table

_COLUMNS: Final = ("message_id", "batch_id", "line_no", "to", "state", "iccid")
_DOUBT_COLUMNS: Final = (
    "segment_id", "message_id", "batch_id", "to", "bay", "iccid", "since", "cause", "may_resend",
)  # fmt: skip
_MOMENT_COLUMNS: Final = ("at", "what", "actor", "policy")
_MOST: Final = 500  # segments that one decision may name


@click.group()
def message() -> None:
    """Single messages: find them, explain what became of them."""


@message.command("list", epilog="Example: modemctl message list --number 13800000001")
@click.option("--batch", "batch_id", help="Only of this batch.")
@click.option("--number", help="Only to this recipient.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Messages.")
@as_json_option
@click.pass_obj
def list_(
    connection: Connection, batch_id: str | None, number: str | None, limit: int, *, as_json: bool
) -> None:
    """Messages of a batch or to a recipient."""
    with connection.client() as client:
        found = client.pages("/v1/messages", most=limit, batch_id=batch_id, number=number)
        show_table(found, _COLUMNS, as_json=as_json, spare=("batch_id", "line_no"))


@message.command(epilog="Example: modemctl message explain 4711 --lang zh")
@click.argument("message_id", type=int)
@click.option(
    "--lang", type=click.Choice(["zh", "en"]), default="en", show_default=True, help="Its language."
)
@as_json_option
@click.pass_obj
def explain(connection: Connection, message_id: int, *, lang: str, as_json: bool) -> None:
    """A message's whole story: approvals, cards, tries, answers, reports.

    With --lang zh in Chinese; names, ids and what people wrote stay. --json is English.
    """
    with connection.client() as client:
        found = client.get(f"/v1/messages/{message_id}/explain")
    if as_json:
        show_json(found)
    elif lang == "zh":
        _tell_in_chinese(found)
    else:
        _tell(found)


def _tell(found: Record) -> None:
    about = found.get("message")
    if isinstance(about, dict):
        show_record({name: about[name] for name in _COLUMNS if name in about}, as_json=False)
    click.echo(printable(f"\nIt {found.get('summary')}.\n"))
    show_table(records(found.get("moments")), _MOMENT_COLUMNS, as_json=False, spare=("actor",))
    if cards := records(found.get("cards")):
        click.echo("\nCards that may serve it, and why they do not take it now:\n")
        show_table(cards, ("iccid", "why_not"), as_json=False)


def _tell_in_chinese(found: Record) -> None:
    """The same story, by the table of `explain_words`."""
    about = found.get("message")
    if isinstance(about, dict):
        state = STATES.get(str(about.get("state")), str(about.get("state")))
        known = {name: about[name] for name in _COLUMNS if name in about} | {"state": state}
        show_record({HEADINGS[name]: value for name, value in known.items()}, as_json=False)
    click.echo(printable(f"\n{in_chinese(str(found.get('summary')))}。\n"))
    moments = records(found.get("moments"))
    told = [{**one, "what": in_chinese(str(one.get("what")))} for one in moments]
    _table_in_chinese(told, _MOMENT_COLUMNS, spare=("actor",))
    if cards := records(found.get("cards")):
        click.echo(f"\n{CARDS}\n")
        reasons = [{**one, "why_not": in_chinese(str(one.get("why_not") or FREE))} for one in cards]
        _table_in_chinese(reasons, ("iccid", "why_not"))


def _table_in_chinese(
    found: list[Record], columns: tuple[str, ...], spare: tuple[str, ...] = ()
) -> None:
    named: list[Record] = [{HEADINGS[name]: one.get(name) for name in columns} for one in found]
    show_table(
        named, [HEADINGS[name] for name in columns], as_json=False,
        spare=[HEADINGS[name] for name in spare],
    )  # fmt: skip


@click.group()
def doubt() -> None:
    """Segments of which nobody knows whether they left.

    They are never sent again by themselves: a person decides, with a reason.
    """


@doubt.command("list", epilog="Example: modemctl doubt list --batch 0b5c9e52-5d0b…")
@click.option("--batch", "batch_id", help="Only of this batch.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Segments.")
@as_json_option
@click.pass_obj
def list_doubts(connection: Connection, batch_id: str | None, limit: int, *, as_json: bool) -> None:
    """Segments in doubt, oldest first."""
    with connection.client() as client:
        found = client.pages("/v1/doubt", most=limit, batch_id=batch_id)
        none, spare = "nothing is in doubt", ("batch_id", "message_id", "bay", "may_resend")
        show_table(found, _DOUBT_COLUMNS, as_json=as_json, empty=none, spare=spare)


@doubt.command(epilog="Example: modemctl doubt close 17 18 --reason 'customers confirmed by phone'")
@click.argument("segment_ids", nargs=-1, type=int)
@click.option("--batch", "batch_id", help="All that is in doubt of this batch.")
@click.option("--reason", required=True, help="Why; goes to the audit log.")
@as_json_option
@click.pass_obj
def close(
    connection: Connection,
    segment_ids: tuple[int, ...],
    batch_id: str | None,
    reason: str,
    *,
    as_json: bool,
) -> None:
    """Give segments up: they are not sent again."""
    with connection.client() as client:
        chosen = _chosen(client, segment_ids, batch_id)
        n_done = _decide(client, "close", chosen, reason, as_json=as_json)
    if not as_json:
        click.echo(f"{n_done} closed")


@doubt.command(epilog="Example: modemctl doubt resend --batch 0b5c… --reason 'network was down'")
@click.argument("segment_ids", nargs=-1, type=int)
@click.option("--batch", "batch_id", help="All that is in doubt of this batch.")
@click.option("--reason", required=True, help="Why; goes to the audit log.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@as_json_option
@click.pass_obj
def resend(
    connection: Connection,
    *,
    segment_ids: tuple[int, ...],
    batch_id: str | None,
    reason: str,
    yes: bool,
    as_json: bool,
) -> None:
    """Send segments again, knowing that their recipients may get them twice."""
    with connection.client() as client:
        chosen = _chosen(client, segment_ids, batch_id)
        if not yes:
            question = f"Send {len(chosen)} segments again? Recipients may get them twice."
            click.confirm(question, abort=True, err=True)
        n_done = _decide(client, "resend", chosen, reason, as_json=as_json)
    if not as_json:
        click.echo(f"{n_done} will be sent again")


def _chosen(client: Client, segment_ids: tuple[int, ...], batch_id: str | None) -> list[int]:
    if bool(segment_ids) == (batch_id is not None):
        raise click.UsageError("name segments, or a batch with --batch")
    if batch_id is None:
        return list(segment_ids)
    found = client.pages("/v1/doubt", batch_id=batch_id)
    ids = [one["segment_id"] for one in found]
    chosen = [one for one in ids if isinstance(one, int)]
    if not chosen:
        raise Refusal("nothing of this batch is in doubt")
    return chosen


def _decide(client: Client, verb: str, chosen: list[int], reason: str, *, as_json: bool) -> int:
    """Decide in portions; each happens as a whole or not at all. Returns how many it reached."""
    n_done = 0
    left = iter(chosen)
    while part := list(islice(left, _MOST)):
        body: dict[str, Json] = {"segment_ids": list(part), "reason": reason}
        answer = client.post(f"/v1/doubt/{verb}", body)
        if as_json:
            show_json(answer)
        done = answer.get("segment_ids")
        n_done += len(done) if isinstance(done, list) else 0
    return n_done


COMMANDS: Final = {"message": message, "doubt": doubt}
