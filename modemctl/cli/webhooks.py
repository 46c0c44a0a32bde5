"""Webhooks: who is sent which events."""

from __future__ import annotations

from typing import Final

import click

from modemctl.cli.client import Connection, Record, in_path, records
from modemctl.cli.errors import Refusal
from modemctl.cli.show import as_json_option, show_done, show_json, show_table

_COLUMNS: Final = (
    "name", "state", "url", "events", "department", "n_delivered", "n_waiting", "n_dead",
    "failing_since",
)  # fmt: skip
_DELIVERY_COLUMNS: Final = (
    "webhook_id", "type", "at", "state", "n_attempts", "next_attempt_at", "reason",
)  # fmt: skip
_PATH: Final = "/v1/webhooks"
_limit = click.option(
    "--limit", type=click.IntRange(1, 100_000), default=100, show_default=True,
    help="Most events that are shown.",
)  # fmt: skip


@click.group()
def webhook() -> None:
    """Webhooks: who is sent which events, what did not arrive.

    Events go by HTTPS to the hosts that webhooks.allow lists, signed as Standard Webhooks says, at
    least once, in order; docs/webhooks.md has a receiver.
    """


@webhook.command(
    epilog="Example: modemctl webhook add https://crm.example.com/hooks/sms --events "
    "message.final,batch.* --department sales"
)
@click.argument("url")
@click.option("--events", required=True, help="Types, with commas: message.final,batch.*; * all.")
@click.option("--name", help="What it is known by; else the host's first word.")
@click.option("--department", help="Only what this department may see; else all.")
@click.option(
    "--parallel", type=click.IntRange(1, 16), default=1, show_default=True,
    help="Requests at once; with more than one the order of events is lost.",
)  # fmt: skip
@as_json_option
@click.pass_obj
def add(
    connection: Connection,
    url: str,
    *,
    events: str,
    name: str | None,
    department: str | None,
    parallel: int,
    as_json: bool,
) -> None:
    """Register a receiver, which gets the events from now on; the secret is shown this once."""
    body: Record = {
        "name": name or _name_of(url),
        "url": url,
        "events": [one.strip() for one in events.split(",") if one.strip()],
        "department": department,
        "parallel": parallel,
    }
    with connection.client() as client:
        _show_secret(client.post(_PATH, body), as_json=as_json)


@webhook.command("list", epilog="Example: modemctl webhook list")
@as_json_option
@click.pass_obj
def list_(connection: Connection, *, as_json: bool) -> None:
    """All webhooks, how far each is, since when one fails."""
    with connection.client() as client:
        found = records(client.get(_PATH).get("items"))
    if not as_json:
        found = [{**one, "events": ",".join(map(str, _words(one)))} for one in found]
    empty = "no webhook is registered: modemctl webhook add URL --events …"
    show_table(
        found, _COLUMNS, as_json=as_json, empty=empty, spare=("department", "n_delivered", "url")
    )


@webhook.command(epilog="Example: modemctl webhook test crm")
@click.argument("name")
@as_json_option
@click.pass_obj
def test(connection: Connection, name: str, *, as_json: bool) -> None:
    """Send a test event once, now, and show what the receiver answered."""
    with connection.client() as client:
        done = client.post(f"{_PATH}/{in_path(name)}/test")
    if not done.get("is_delivered") and not as_json:
        raise Refusal(f"the test event was not taken: {done.get('reason')}")
    show_done(done, f"the test event was taken: {done.get('reason')}", as_json=as_json)


@webhook.command(epilog="Example: modemctl webhook pause crm --reason 'the CRM moves'")
@click.argument("name")
@click.option("--reason", required=True, help="Why; goes to the audit log.")
@as_json_option
@click.pass_obj
def pause(connection: Connection, name: str, reason: str, *, as_json: bool) -> None:
    """Send it nothing; its events wait, as long as events are kept (retention.events_days)."""
    with connection.client() as client:
        done = client.post(f"{_PATH}/{in_path(name)}/pause", {"reason": reason})
    show_done(done, f"{name} is paused, its events wait", as_json=as_json)


@webhook.command(epilog="Example: modemctl webhook resume crm")
@click.argument("name")
@as_json_option
@click.pass_obj
def resume(connection: Connection, name: str, *, as_json: bool) -> None:
    """Send it events again, at once: after a pause, a 410, or a repair of the receiver."""
    with connection.client() as client:
        done = client.post(f"{_PATH}/{in_path(name)}/resume")
    show_done(done, f"{name} is sent events again", as_json=as_json)


@webhook.command("rotate-secret", epilog="Example: modemctl webhook rotate-secret crm")
@click.argument("name")
@click.option(
    "--overlap-hours", type=click.IntRange(0, 720), default=24, show_default=True,
    help="How long the secret before signs, too; 0 if it leaked.",
)  # fmt: skip
@as_json_option
@click.pass_obj
def rotate_secret(connection: Connection, name: str, overlap_hours: int, *, as_json: bool) -> None:
    """A new secret, shown this once; for a while both sign each event."""
    body: Record = {"overlap_hours": overlap_hours}
    with connection.client() as client:
        done = client.post(f"{_PATH}/{in_path(name)}/rotate-secret", body)
    _show_secret(done, as_json=as_json)


@webhook.command(epilog="Example: modemctl webhook remove crm")
@click.argument("name")
@as_json_option
@click.pass_obj
def remove(connection: Connection, name: str, *, as_json: bool) -> None:
    """Forget a webhook, with all events that wait for it."""
    with connection.client() as client:
        done = client.delete(f"{_PATH}/{in_path(name)}")
    show_done(done, f"{name} is removed", as_json=as_json)


@webhook.command(epilog="Example: modemctl webhook deliveries crm")
@click.argument("name")
@_limit
@as_json_option
@click.pass_obj
def deliveries(connection: Connection, name: str, limit: int, *, as_json: bool) -> None:
    """Events that were not taken yet: when they are tried again, what the last answer was."""
    _show_deliveries(connection, name, "waiting", limit, as_json=as_json)


@webhook.command(epilog="Example: modemctl webhook dead crm")
@click.argument("name")
@_limit
@as_json_option
@click.pass_obj
def dead(connection: Connection, name: str, limit: int, *, as_json: bool) -> None:
    """Events that were given up, with the reason; `webhook replay` sends them once more."""
    _show_deliveries(connection, name, "dead", limit, as_json=as_json)


@webhook.command(
    epilog="Example: modemctl webhook replay crm --dead\n\n"
    "Example: modemctl webhook replay crm --since 2026-11-20T08:00:00+08:00\n\n"
    "Example: modemctl webhook replay crm evt_8121_19ab0c1d2e3"
)
@click.argument("name")
@click.argument("webhook_ids", nargs=-1, metavar="[ID…]")
@click.option("--dead", "is_dead", is_flag=True, help="All that were given up.")
@click.option("--since", help="From this moment on (ISO 8601 with its offset).")
@click.option("--until", help="Up to this moment; else up to now.")
@as_json_option
@click.pass_obj
def replay(
    connection: Connection,
    name: str,
    webhook_ids: tuple[str, ...],
    *,
    is_dead: bool,
    since: str | None,
    until: str | None,
    as_json: bool,
) -> None:
    """Send events once more, under their own ids: receivers that keep them take none twice."""
    if sum((bool(webhook_ids), is_dead, since is not None)) != 1:
        raise click.UsageError("name ids, or say --dead, or --since")
    body: Record = {"webhook_ids": list(webhook_ids), "since": since, "until": until}
    with connection.client() as client:
        done = client.post(f"{_PATH}/{in_path(name)}/replay", body)
    more = "" if done.get("is_all") else "; there are more: repeat the command"
    show_done(done, f"{done.get('n')} events are sent once more{more}", as_json=as_json)


def _show_deliveries(
    connection: Connection, name: str, state: str, limit: int, *, as_json: bool
) -> None:
    with connection.client() as client:
        found = client.pages(f"{_PATH}/{in_path(name)}/deliveries", most=limit, state=state)
        show_table(found, _DELIVERY_COLUMNS, as_json=as_json, empty="none", spare=("type", "at"))


def _show_secret(done: Record, *, as_json: bool) -> None:
    if as_json:
        show_json(done)
        return
    one = done.get("webhook")
    name = one.get("name") if isinstance(one, dict) else ""
    click.echo(f"{name}: the secret, shown this once:", err=True)
    click.echo(str(done.get("secret")))


def _name_of(url: str) -> str:
    """The first word of its host: a short name that people know it by."""
    host = url.partition("://")[2].partition("/")[0].partition(":")[0]
    return host.partition(".")[0].lower()[:32]


def _words(one: Record) -> list[object]:
    found = one.get("events")
    return list(found) if isinstance(found, list) else []


COMMANDS: Final = {"webhook": webhook}
