"""Whether all is well, and what happens."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from typing import Final

import click

from modemctl.cli.client import Client, Connection, Json, Record, records, text_of
from modemctl.cli.errors import EXIT_REFUSED, ApiProblem, printable
from modemctl.cli.show import as_json_option, local_time, show_json
from modemctl.lifecycle import BATCH
from modemctl.model import EventKind, NodeState

_LIVE: Final = [str(state) for state, following in BATCH.items() if following]
_FORBIDDEN: Final = 403
_UNAVAILABLE: Final = 503
_MOST_DOUBTS: Final = 1_000


@click.command(epilog="Example: modemctl status. Exit status 1: not ready; the checks say why.")
@as_json_option
@click.pass_obj
def status(connection: Connection, *, as_json: bool) -> int:
    """Whether the daemon is well, and what it has to do.

    Its checks, nodes that are away or drain, stops, open incidents, modems by state, live batches,
    doubts; what your account may not see is left out. Where the database is away it shows the
    checks alone, and says so.
    """
    with connection.client() as client:
        found = client.readiness()
        found["problem"] = _look(client, found)
    if as_json:
        show_json(found)
    else:
        _tell(found)
    return 0 if found.get("is_ready") and found["problem"] is None else EXIT_REFUSED


def _look(client: Client, found: Record) -> Json:
    """Add what there is to do; why it cannot be told, where the database is away."""
    found |= dict.fromkeys(["nodes", "modems", "batches", "in_doubt", "stops", "incidents"])
    try:
        found["nodes"] = _all(client, "/v1/nodes")
        found["modems"] = _counted(client, "/v1/modems")
        found["batches"] = _counted(client, "/v1/batches", _LIVE)
        found["in_doubt"] = _number_in_doubt(client)
        found["stops"] = _all(client, "/v1/stops")
        found["incidents"] = _all(client, "/v1/incidents")
    except ApiProblem as problem:
        if problem.status != _UNAVAILABLE:
            raise
        return str(problem)
    return None


def _counted(client: Client, path: str, states: list[str] | None = None) -> Json:
    """How many items are in which state; null where the account may not look."""
    try:
        found = client.pages(path, limit=1000, state=states)
        counts = Counter(str(one.get("state")) for one in found)
    except ApiProblem as problem:
        if problem.status != _FORBIDDEN:
            raise
        return None
    return dict(sorted(counts.items()))


def _all(client: Client, path: str) -> Json:
    """All items of a list; null where the account may not look."""
    try:
        return list(client.pages(path))
    except ApiProblem as problem:
        if problem.status != _FORBIDDEN:
            raise
        return None


def _number_in_doubt(client: Client) -> Json:
    try:
        return sum(1 for _ in client.pages("/v1/doubt", most=_MOST_DOUBTS))
    except ApiProblem as problem:
        if problem.status != _FORBIDDEN:
            raise
        return None


def _tell(found: Record) -> None:
    click.echo("ready" if found.get("is_ready") else "NOT READY")
    for check in records(found.get("checks")):
        word = "ok" if check.get("is_good") else f"WRONG: {check.get('detail')}"
        click.echo(printable(f"  {check.get('name')}: {word}"))
    for one in records(found.get("nodes")):
        _tell_node(one)
    for stop in records(found.get("stops")):
        since = local_time(text_of(stop, "placed_at"))
        what = f"{stop.get('kind')} {stop.get('target')}".strip()
        click.echo(
            printable(f"STOPPED: {what} since {since} by {stop.get('placed_by')}")
            + printable(f" ({stop.get('reason')}); {stop.get('stop_id')}")
        )
    for one in records(found.get("incidents")):
        _tell_incident(one)
    for name in ("modems", "batches"):
        counts = found.get(name)
        if isinstance(counts, dict):
            words = ", ".join(f"{n} {state}" for state, n in counts.items())
            click.echo(f"{name}: {words or 'none'}")
    if problem := found.get("problem"):
        click.echo(f"what else there is cannot be told now: {problem}")
    n_doubts = found.get("in_doubt")
    if n_doubts is not None:
        more = " or more" if n_doubts == _MOST_DOUBTS else ""
        cure = "; decide: modemctl doubt list" if n_doubts else ""
        click.echo(f"in doubt: {n_doubts}{more} segments{cure}")


def _tell_node(one: Record) -> None:
    """Where it is not up, or leases nothing."""
    state, since = one.get("state"), local_time(text_of(one, "heartbeat_at"))
    if state != NodeState.UP:
        what = f"NODE {one.get('node')}: {state}, last heard of {since}; modemctl node list"
        click.echo(printable(what))
    elif one.get("is_draining"):
        click.echo(printable(f"NODE {one.get('node')}: drains; modemctl node undrain"))


def _tell_incident(one: Record) -> None:
    """Level, title, and until when its route has to hear of it."""
    heard, due = one.get("acknowledged_by"), one.get("due_at")
    word = f"acknowledged by {heard}" if heard else str(one.get("state"))
    if isinstance(due, str) and not heard:
        word = f"to be heard of by {local_time(due)}"
    late = ", LATE" if one.get("is_overdue") else ""
    what = f"INCIDENT: level {one.get('level')}, {one.get('title')}; {word}{late}"
    click.echo(printable(f"{what}; modemctl incident show {one.get('incident_id')}"))


@click.command(epilog="Example: modemctl events --follow --kind alarm")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice([str(kind) for kind in EventKind]),
    help="Only these; may be repeated.",
)
@click.option("--after", "cursor", help="Only what came after this cursor (from --json).")
@click.option("--limit", type=click.IntRange(0), default=20, show_default=True, help="The last …")
@click.option("--follow", "-f", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@as_json_option
@click.pass_obj
def events(
    connection: Connection,
    *,
    kinds: tuple[str, ...],
    cursor: str | None,
    limit: int,
    follow: bool,
    as_json: bool,
) -> int:
    """What happened, and what happens. Oldest first; kept for some days."""
    with connection.client() as client:
        last: deque[Record] = deque(maxlen=limit)
        for page in _event_pages(client, kinds, cursor):
            last.extend(records(page.get("items")))
            cursor = text_of(page, "next")
        for one in last:
            _show_event(one, as_json=as_json)
        if not follow:
            return 0
        for one in client.events(cursor, kinds=kinds):
            _show_event(one, as_json=as_json)
            cursor = text_of(one, "cursor")
    click.echo(f"the daemon ended the stream\n  → go on with --after {cursor}", err=True)
    return EXIT_REFUSED


def _event_pages(client: Client, kinds: tuple[str, ...], cursor: str | None) -> Iterator[Record]:
    while True:
        page = client.get("/v1/events", kind=list(kinds), cursor=cursor, limit=1000)
        yield page
        if page.get("next") == cursor:  # it goes on, also where there is nothing yet
            return
        cursor = text_of(page, "next")


def _show_event(one: Record, *, as_json: bool) -> None:
    if as_json:
        show_json(one)
        return
    if one.get("kind") == "reset":
        click.echo("older events were forgotten: look at the state anew", err=True)
        return
    data = one.get("data")
    words = (
        " ".join(f"{name}={_told(value)}" for name, value in data.items() if value != "")
        if isinstance(data, dict)
        else ""
    )
    click.echo(
        printable(
            f"{local_time(text_of(one, 'at'))}  {one.get('kind'):<8} {one.get('subject')}  {words}"
        )
    )


def _told(value: Json) -> str:
    """As a word of the line; what has blanks in it, in quotes."""
    if isinstance(value, dict):
        return ",".join(f"{name}:{_told(one)}" for name, one in value.items())
    if isinstance(value, list):
        return ",".join(_told(one) for one in value)
    text = str(value)
    return f'"{text}"' if " " in text else text


COMMANDS: Final = {"status": status, "events": events}
