"""Batches: submitted, looked at, watched."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import click

from modemctl.cli import decisions
from modemctl.cli.client import Client, Connection, Json, Record, in_path, records, text_of
from modemctl.cli.errors import EXIT_REFUSED
from modemctl.cli.forms import EXAMPLE, FORMS_OF_LIST, read_form, require_list, submit
from modemctl.cli.show import as_json_option, local_time, show_json, show_record, show_table
from modemctl.cli.targets import NewPath
from modemctl.cli.watching import watch_batch
from modemctl.lifecycle import BATCH, BatchState, MessageState
from modemctl.model import Decision

_COLUMNS: Final = (
    "batch_id", "category", "state", "department", "n_messages", "n_segments", "n_removed",
    "created_at", "not_after",
)  # fmt: skip
_LET_GO: Final = (
    "batch_id", "state", "department", "let_go_by", "let_go_at", "due_at", "is_overdue", "entry",
)  # fmt: skip
_SPARE: Final = ("n_removed", "created_at", "n_segments", "not_after", "department", "n_messages")
_RESULT_COLUMNS: Final = ("message_id", "line_no", "to", "state", "iccid", "segments")
_REMOVED_COLUMNS: Final = ("line_no", "masked", "reason", "policy")
_NEXT: Final = {
    BatchState.CHECKED: "a second person looks at it: modemctl batch confirm {id}",
    BatchState.AWAITING_APPROVAL: "the next approver signs: modemctl batch approve {id} --key PEM",
    BatchState.APPROVED: "the operator starts it: modemctl batch start {id}",
    BatchState.RUNNING: "modemctl batch watch {id}",
    BatchState.HELD: "go on: modemctl batch resume {id}",
}
_NEXT_STANDING: Final = {
    BatchState.APPROVED: "self-tests send under it: modemctl self-test --sms",
    BatchState.HELD: "in force again, signed as it is: modemctl batch resume {id}",
}
_SIGN_ANEW: Final = "{name} signs anew: modemctl batch approve {{id}} --key PEM; then "


def _values(states: Iterable[str]) -> list[str]:
    return [str(state) for state in states]  # click would take the names of an enumeration


@click.group()
def batch() -> None:
    """Batches: submit, approve, start, watch.

    A batch goes its way: submit → confirm (a second person) → approve (each step of its chain
    signs) → start (the named operator) → watch.
    """


@batch.command(epilog="Example: modemctl batch form > notice.toml")
def form() -> None:
    """Print a form to fill in."""
    click.echo(EXAMPLE, nl=False)


@batch.command(
    "propose-self-test",
    epilog="Example: modemctl batch propose-self-test --department sales --drafter liu "
    "--operator zhou --days 90",
)
@click.option("--department", required=True, help="Whose active cards write to themselves.")
@click.option("--drafter", required=True, help="Who answers for text and list (SMS-11).")
@click.option("--operator", required=True, help="Operator of the general department (SMS-04).")
@click.option("--runs", default=2, show_default=True, help="Self-tests in seven days that may.")
@click.option("--days", type=click.IntRange(1, 90), help="How long; else as the site allows.")
@click.option("--text", help="What they write; the same for all.")
@click.option("--id", "batch_id", help="The batch's UUID; the same may be sent again with it.")
@as_json_option
@click.pass_obj
def propose_self_test(
    connection: Connection, /, *, runs: int, batch_id: str | None, as_json: bool, **form: Json
) -> None:
    """Hand in a standing approval under which self-tests send (SMS-09, SIM-18).

    The list is made from the register: the numbers of the department's active cards. It is
    confirmed and signed as any batch of category `other`, and sends nothing itself.
    """
    batch_id = batch_id or str(uuid.uuid4())
    if not as_json:
        click.echo(f"batch {batch_id}", err=True)
    body = {**form, "batch_id": batch_id, "runs_per_week": runs}
    with connection.client() as client:
        found = client.post("/v1/standing-approvals", body)
    if as_json:
        show_json(found)
    else:
        _preview(found)


@batch.command("submit", epilog="Example: modemctl batch submit notice.toml customers.xlsx")
@click.argument("form_path", metavar="FORM.toml", type=click.Path(path_type=Path, readable=False))
@click.argument(
    "list_path", metavar="[LIST]", required=False, type=click.Path(path_type=Path, readable=False)
)
@click.option("--id", "batch_id", help="The batch's UUID; the same form may be sent again with it.")
@click.option("--format", "list_format", type=click.Choice(FORMS_OF_LIST), help="Form of the list.")
@click.option("--encoding", help="Of the list's text; else it is found out.")
@as_json_option
@click.pass_obj
def submit_(
    connection: Connection,
    *,
    form_path: Path,
    list_path: Path | None,
    batch_id: str | None,
    list_format: str | None,
    encoding: str | None,
    as_json: bool,
) -> None:
    """Hand in a batch: the form, and a list (.txt, .csv, .xlsx, .ndjson) of any size.

    Nothing is sent by this. Lines that cannot get the message are taken out and listed
    (`batch removed`); `modemctl batch form` prints a form.
    """
    request = read_form(form_path, batch_id=batch_id)
    if list_path is not None:
        require_list(list_path, list_format)
    if not as_json:
        click.echo(f"batch {request['batch_id']}", err=True)  # first: with it one may ask again
    with connection.client() as client:
        found = submit(client, request, list_path, list_format=list_format, encoding=encoding)
    if as_json:
        show_json(found)
    else:
        _preview(found)


@batch.command("list", epilog="Example: modemctl batch list --state running --state held")
@click.option(
    "--state", "states", multiple=True, type=click.Choice(_values(BatchState)), help="Only these."
)
@click.option("--category", help="Only this category.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Batches.")
@as_json_option
@click.pass_obj
def list_(
    connection: Connection,
    states: tuple[str, ...],
    category: str | None,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """Batches, newest first."""
    with connection.client() as client:
        found = client.pages("/v1/batches", most=limit, state=list(states), category=category)
        show_table(found, _COLUMNS, as_json=as_json, spare=_SPARE)


@batch.command(epilog="Example: modemctl batch emergencies")
@as_json_option
@click.pass_obj
def emergencies(connection: Connection, *, as_json: bool) -> None:
    """Batches that one approver let go in an emergency: their chain still has to sign them."""
    with connection.client() as client:
        found = records(client.get("/v1/emergencies").get("items"))
    show_table(found, _LET_GO, as_json=as_json, empty="none is open", spare=("department", "entry"))
    late = next((one for one in found if one.get("is_overdue")), None)
    if late is not None and not as_json:
        click.echo(
            "if it was none: modemctl case open SMS-01"
            f" {late.get('let_go_by')} --grade 1 --entry {late.get('entry')} 'WHY'; what wrong"
            " messages left is an incident: modemctl incident open --level 2 'WHAT'"
        )


@batch.command(epilog="Example: modemctl batch show 0b5c9e52-5d0b-4d7c-a7f2-0e9f2f1c8f11")
@click.argument("batch_id")
@as_json_option
@click.pass_obj
def show(connection: Connection, batch_id: str, *, as_json: bool) -> None:
    """One batch: its state, text, chain of approvals, progress."""
    with connection.client() as client:
        found = client.get(f"/v1/batches/{in_path(batch_id)}")
    if as_json:
        show_json(found)
        return
    show_record(_facts(found), as_json=False)
    _say_next(found)


def _facts(found: Record) -> Record:
    """What people want to know of a batch, in their order."""
    reason = f" ({found['reason']})" if found.get("reason") else ""
    name = _Names(_members(found.get("names")))
    facts: Record = {
        "batch": found.get("batch_id"),
        "state": f"{found.get('state')}{reason}",
        "since": found.get("state_at"),
        "fault": found.get("fault"),
        "warnings": found.get("warnings"),
        "category": found.get("category"),
        "emergency": found.get("emergency"),
        "self-tests a week": found.get("runs_per_week"),
        "under": found.get("under"),
        "department": found.get("department"),
        "for": found.get("party"),
        "text": found.get("text"),
        "from": found.get("not_before"),
        "until": found.get("not_after"),
        "starts": _starts(found),
        "card group": found.get("card_group"),
        "size": f"{found.get('n_messages')} messages, {found.get('n_segments')} segments",
        "taken out": _members(found.get("totals")).get("removed_by"),
        "progress": found.get("progress"),
        "sent by about": found.get("finish_estimate"),
        "drafter": name(found.get("drafter")),
        "handed in by": name(found.get("submitter")),
        "confirmed by": name(found.get("confirmed_by")),
        "approvals": [_step(one, name) for one in records(found.get("steps"))],
        "operator": name(found.get("operator")),
        "list answered for by": name(found.get("list_owner")),
        "list comes from": found.get("list_source"),
        "digest": found.get("digest"),
    }
    return {name: value for name, value in facts.items() if value not in (None, {}, [])}


def _starts(found: Record) -> str:
    if found.get("runs_per_week") is not None:
        return "never; self-tests send under it"
    return "by itself" if found.get("starts_itself") else "by its operator"


class _Names:
    """Accounts by their names, as far as the daemon told them."""

    def __init__(self, known: Record) -> None:
        self._known = known

    def __call__(self, account: Json) -> Json:
        """The name of one account, or of each of a list."""
        if isinstance(account, list):
            return [self(one) for one in account]
        return self._known.get(account, account) if isinstance(account, str) else account


def _step(one: Record, name: _Names) -> str:
    approver, at = name(one.get("approver")), one.get("received_at")
    word = "rejected by" if one.get("decision") == Decision.REJECT else "approved by"
    signed = f"{word} {approver}, {local_time(at)}" if isinstance(at, str) else "missing"
    return f"{one.get('step')} {one.get('name')}: {signed}"


def _texts(value: Json) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []


def _members(value: Json) -> Record:
    return value if isinstance(value, dict) else {}


@batch.command(epilog="Example: modemctl batch check 0b5c9e52-5d0b-4d7c-a7f2-0e9f2f1c8f11")
@click.argument("batch_id")
@as_json_option
@click.pass_obj
def check(connection: Connection, batch_id: str, *, as_json: bool) -> None:
    """What the list and text come to: segments, characters that cost, lines taken out."""
    with connection.client() as client:
        path = f"/v1/batches/{in_path(batch_id)}"
        found = client.get(path)
        if as_json:
            show_json(found)
            return
        _preview(found)
        if found.get("n_removed"):
            click.echo("\nlines taken out (the first 20; all: modemctl batch removed):")
            show_table(client.pages(f"{path}/removed", most=20), _REMOVED_COLUMNS, as_json=False)


@batch.command(epilog="Example: modemctl batch removed 0b5c9e52-… --out removed.csv")
@click.argument("batch_id")
@click.option("--out", "out_path", type=NewPath(), help="Save them as CSV, in a new file.")
@as_json_option
@click.pass_obj
def removed(connection: Connection, batch_id: str, out_path: Path | None, *, as_json: bool) -> None:
    """Lines of the list that are not part of the batch, and why."""
    with connection.client() as client:
        if out_path is not None:
            client.save(f"/v1/batches/{in_path(batch_id)}/removed.csv", out_path)
            return
        found = client.pages(f"/v1/batches/{in_path(batch_id)}/removed")
        show_table(found, _REMOVED_COLUMNS, as_json=as_json, empty="no line was taken out")


@batch.command(epilog="Example: modemctl batch results 0b5c… --json > results.ndjson")
@click.argument("batch_id")
@click.option(
    "--state", "states", multiple=True, type=click.Choice(_values(MessageState)), help="Only these."
)
@click.option(
    "--limit", type=click.IntRange(1), default=500, show_default=True, help="Rows of the table."
)
@as_json_option
@click.pass_obj
def results(
    connection: Connection, batch_id: str, states: tuple[str, ...], limit: int, *, as_json: bool
) -> None:
    """Every message with its outcome; --json gives all of them, the table the first ones."""
    with connection.client() as client:
        found = _of_states(client, batch_id, states)
        rows = found if as_json else islice(found, limit)
        show_table(map(_result, rows) if not as_json else rows, _RESULT_COLUMNS, as_json=as_json)
        if not as_json and next(found, None) is not None:
            click.echo(f"… more than {limit}: all of them with --json", err=True)


def _of_states(client: Client, batch_id: str, states: tuple[str, ...]) -> Iterator[Record]:
    for one in client.lines(f"/v1/batches/{in_path(batch_id)}/results"):
        if not states or one.get("state") in states:
            yield one


def _result(one: Record) -> Record:
    words = [
        f"{part.get('state')} ({part.get('cause')})"
        if part.get("cause")
        else str(part.get("state"))
        for part in records(one.get("segments"))
    ]
    return one | {"segments": ", ".join(words)}


@batch.command(epilog="Example: modemctl batch watch 0b5c9e52-5d0b-4d7c-a7f2-0e9f2f1c8f11")
@click.argument("batch_id")
@click.option(
    "--interval", type=click.FloatRange(0.1), default=1.0, show_default=True, help="Seconds."
)
@as_json_option
@click.pass_obj
def watch(connection: Connection, batch_id: str, interval: float, *, as_json: bool) -> int:
    """Follow a batch until it is over.

    Exit status 0 where all was done, 1 where it ended otherwise (cancelled, expired, …).
    """
    with connection.client() as client:
        end = watch_batch(client, batch_id, interval=interval, as_json=as_json)
    return 0 if end is BatchState.DONE else EXIT_REFUSED


def _preview(found: Record) -> None:
    totals = _members(found.get("totals"))
    click.echo(f"{found.get('n_messages')} messages, {found.get('n_segments')} segments")
    forcing = totals.get("forcing")
    if isinstance(forcing, list) and forcing:
        click.echo(f"characters that force UCS-2: {' '.join(map(str, forcing))}")
    if removed_by := _members(totals.get("removed_by")):
        reasons = ", ".join(f"{reason} {n}" for reason, n in removed_by.items())
        click.echo(f"lines taken out: {found.get('n_removed')} ({reasons})")
    for line in _estimate(_members(totals.get("estimate"))):
        click.echo(line)
    for line in _texts(found.get("warnings")):
        click.echo(f"warning: {line}")
    if found.get("fault"):
        click.echo(f"its evidence cannot be trusted: {found['fault']}")
    _say_next(found)


def _estimate(known: Record) -> Iterator[str]:
    """What the batch was reckoned to come to; nothing for batches of earlier versions."""
    if not known:
        return
    yield f"cards that could send it: {known.get('n_cards')}"
    yield f"cost: at most {known.get('cost')} {known.get('currency')}"
    finish = known.get("finish")
    if isinstance(finish, str):
        yield f"would be sent by about {local_time(finish)}, if its modems and other batches let it"
    else:
        yield "would NOT be sent within its window"
    limits = known.get("limits")
    if isinstance(limits, list) and limits:
        yield f"limits that make it wait: {', '.join(map(str, limits))}"


def _say_next(found: Record) -> None:
    state = BatchState(text_of(found, "state"))
    if BATCH[state] and state in _NEXT:
        then = _NEXT[state]
        if found.get("runs_per_week"):
            then = _NEXT_STANDING.get(state, then)
        elif state is BatchState.HELD and not found.get("emergency"):
            missing = (one for one in records(found.get("steps")) if one.get("approver") is None)
            then = next((_SIGN_ANEW.format(**one) for one in missing), "") + then
        click.echo(f"it is {state} → {then.format(id=found.get('batch_id'))}")


for _command in decisions.COMMANDS:
    batch.add_command(_command)

COMMANDS: Final = {"batch": batch}
