"""The policy section of the settings: what counts, what was changed (SEC-04)."""

from __future__ import annotations

from typing import Final

import click

from modemctl.cli.client import Connection, Json, Record, text_of
from modemctl.cli.errors import Refusal
from modemctl.cli.show import as_json_option, show_done, show_json, show_record, show_table

_FACTS: Final = ("counts", "digest", "accepted_digest", "accepted_at", "asked_by", "confirmed_by")
_TABLES: Final = (
    ("changes", "differs from what was confirmed; nothing is sent until two persons confirm it:",
     "change"),
    ("settings", "what the daemon runs with, where it is not the default:", "value"),
)  # fmt: skip
_MOST: Final = 30  # changes that a request names; the digest stands for all


@click.group()
def policy() -> None:
    """The settings' policy: what counts, what was changed.

    A changed one counts once two persons have confirmed it; until then nothing is sent (SEC-04).
    """


@policy.command(epilog="Example: modemctl policy show")
@as_json_option
@click.pass_obj
def show(connection: Connection, *, as_json: bool) -> None:
    """What the daemon runs with, what two persons confirmed, and what differs."""
    with connection.client() as client:
        found = client.get("/v1/policy")
    if as_json:
        show_json(found)
        return
    show_record({one: found.get(one) for one in _FACTS}, as_json=False)
    for name, heading, column in _TABLES:
        values = found.get(name)
        if isinstance(values, dict) and values:
            click.echo(f"\n{heading}")
            rows: list[Record] = [
                {"setting": one, column: value} for one, value in sorted(values.items())
            ]
            show_table(rows, ("setting", column), as_json=False)


@policy.command(epilog="Example: modemctl policy accept --reason 'form 12: new limits'")
@click.option("--reason", required=True, help="Why; goes to the audit log.")
@as_json_option
@click.pass_obj
def accept(connection: Connection, reason: str, *, as_json: bool) -> None:
    """Ask for the settings that the daemon runs with; a colleague confirms them.

    Then what was held can be resumed: modemctl batch resume.
    """
    with connection.client() as client:
        found = client.get("/v1/policy")
        if found.get("counts"):
            raise Refusal("the settings' policy counts already; nothing is to be confirmed")
        changed = found.get("changes")
        pairs = list(changed.items())[:_MOST] if isinstance(changed, dict) else []
        details: Json = {str(name): str(change)[:1_000] for name, change in pairs}
        asked = client.post(
            "/v1/requests",
            {
                "kind": "policy_change",
                "subject": text_of(found, "digest"),
                "details": details,
                "reason": reason,
            },
        )
    cure = f"a colleague now: modemctl request confirm {text_of(asked, 'request_id')}"
    show_done(asked, f"asked; {cure}", as_json=as_json)


COMMANDS: Final = {"policy": policy}
