"""What came in, calls, and who wants no promotions."""

from __future__ import annotations

from typing import Final

import click

from modemctl.cli.client import Connection
from modemctl.cli.show import as_json_option, show_done, show_table
from modemctl.policy.incoming import InboxKind

_OPT_OUT_COLUMNS: Final = ("number", "at", "source", "keyword", "by")
_INBOX_COLUMNS: Final = ("inbox_id", "received_at", "sender", "bay", "department", "kind", "text")
_CALL_COLUMNS: Final = (
    "call_id", "started_at", "is_incoming", "number", "bay", "department", "n_rings", "seconds",
    "cause",
)  # fmt: skip
_limit = click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="How many."
)
_since = click.option("--since", help="Only later: an instant with offset, 2026-11-21T08:00+08:00.")


@click.group("opt-outs")
def opt_outs() -> None:
    """Numbers that want no promotions."""


@opt_outs.command("list", epilog="Example: modemctl opt-outs list --number 13800000001")
@click.option("--number", help="This one or nothing.")
@click.option("--limit", type=click.IntRange(1), help="How many; none: all.")
@as_json_option
@click.pass_obj
def list_opt_outs(
    connection: Connection, number: str | None, limit: int | None, *, as_json: bool
) -> None:
    """The list, in an order that tells nothing."""
    with connection.client() as client:
        found = client.pages("/v1/opt-outs", most=limit, number=number)
        none = "not on the list" if number else "no number is on the list"
        show_table(found, _OPT_OUT_COLUMNS, as_json=as_json, empty=none)


@opt_outs.command(epilog="Example: modemctl opt-outs add 13800000001")
@click.argument("number")
@as_json_option
@click.pass_obj
def add(connection: Connection, number: str, *, as_json: bool) -> None:
    """Put a number on the list; one that is on it stays as it was."""
    with connection.client() as client:
        added = client.post("/v1/opt-outs", {"number": number})
    show_done(added, f"{added.get('number')} is on the list", as_json=as_json)


@opt_outs.command(epilog="Example: modemctl opt-outs remove 13800000001 --reason 'asked by letter'")
@click.argument("number")
@click.option("--reason", required=True, help="How we know; goes to the audit log.")
@as_json_option
@click.pass_obj
def remove(connection: Connection, number: str, reason: str, *, as_json: bool) -> None:
    """Take a number off the list, for instance at the customer's own wish."""
    with connection.client() as client:
        done = client.post("/v1/opt-outs/remove", {"number": number, "reason": reason})
    show_done(done, "the number is off the list", as_json=as_json)


@click.command(epilog="Example: modemctl inbox --since 2026-11-21T00:00:00+08:00 --kind opt_out")
@click.option("--number", help="Only from this sender.")
@click.option("--iccid", help="Only what this card received.")
@click.option("--department", help="Only what this department's cards received.")
@click.option("--kind", type=click.Choice([str(kind) for kind in InboxKind]), help="Only these.")
@_since
@click.option("--parts", "with_parts", is_flag=True, help="Also the parts of joined texts.")
@_limit
@as_json_option
@click.pass_obj
def inbox(
    connection: Connection, /, *, limit: int, as_json: bool, **wanted: str | bool | None
) -> None:
    """Messages that came in. Newest first; sender and text need the scope pii:read."""
    with connection.client() as client:
        found = client.pages("/v1/inbox", wanted, most=limit)
        show_table(found, _INBOX_COLUMNS, as_json=as_json, empty="nothing came in")


@click.command(epilog="Example: modemctl calls --number 13800000001 --limit 10")
@click.option("--number", help="Only with this other party.")
@click.option("--iccid", help="Only of this card.")
@click.option("--department", help="Only of this department's cards.")
@click.option("--incoming/--outgoing", "is_incoming", default=None, help="Only these.")
@click.option("--answered/--missed", "is_answered", default=None, help="Only these.")
@_since
@_limit
@as_json_option
@click.pass_obj
def calls(
    connection: Connection, /, *, limit: int, as_json: bool, **wanted: str | bool | None
) -> None:
    """Calls that the modems saw. Newest first; the number needs the scope pii:read."""
    with connection.client() as client:
        found = client.pages("/v1/calls", wanted, most=limit)
        show_table(found, _CALL_COLUMNS, as_json=as_json, empty="no calls")


COMMANDS: Final = {"opt-outs": opt_outs, "inbox": inbox, "calls": calls}
