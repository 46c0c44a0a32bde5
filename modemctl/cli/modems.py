"""The bank's bays and their modems."""

from __future__ import annotations

from typing import Final

import click

from modemctl.cli.client import Connection, Record, in_path, records
from modemctl.cli.cures import cure_of
from modemctl.cli.errors import printable
from modemctl.cli.show import as_json_option, show_done, show_record, show_table

_COLUMNS: Final = (
    "bay", "state", "desired_state", "family", "model", "iccid", "operator", "signal_dbm", "reason",
)  # fmt: skip
_SPARE: Final = ("family", "signal_dbm", "operator", "model", "desired_state")
_ADMITTED: Final = ("imei", "state", "bay", "requested_by", "decided_by", "reason")
_RETRIED: Final = (
    "pull and plug it, then: modemctl modems retry BAY --reason WHY (ModemctlModemFailed)"
)
_NO_MODEM: Final = "no GSM modem"  # how the reason of such a port begins
_ADMISSIONS: Final = ("seen", "requested", "admitted", "expelled")
_reason = click.option("--reason", required=True, help="Why; goes to the audit log.")


@click.group(
    invoke_without_command=True, epilog="Example: modemctl modems; modemctl modems pause bay-07"
)
@as_json_option
@click.pass_context
def modems(ctx: click.Context, *, as_json: bool) -> None:
    """The bank's bays and their modems.

    Without a further word: all of them, with state and card.
    """
    if ctx.invoked_subcommand is None:
        connection = ctx.obj
        assert isinstance(connection, Connection)
        _show_all(connection, as_json=as_json)


@modems.command("list", epilog="Example: modemctl modems list --json")
@as_json_option
@click.pass_obj
def list_(connection: Connection, *, as_json: bool) -> None:
    """All bays with state and card, as `modemctl modems` alone."""
    _show_all(connection, as_json=as_json)


def _show_all(connection: Connection, *, as_json: bool) -> None:
    with connection.client() as client:
        show_table(client.pages("/v1/modems"), _COLUMNS, as_json=as_json, spare=_SPARE)


@modems.command(epilog="Example: modemctl modems show bay-07")
@click.argument("bay")
@as_json_option
@click.pass_obj
def show(connection: Connection, bay: str, *, as_json: bool) -> None:
    """One bay with all that is known of its modem."""
    with connection.client() as client:
        found = client.get(f"/v1/modems/{in_path(bay)}")
    show_record(found, as_json=as_json)
    cure = _cure(found)
    if cure and not as_json:
        click.echo(printable(f"  → {cure}"), err=True)


@modems.command(epilog="Example: modemctl modems pause bay-07 --reason 'antenna work'")
@click.argument("bay")
@_reason
@as_json_option
@click.pass_obj
def pause(connection: Connection, bay: str, reason: str, *, as_json: bool) -> None:
    """Let a bay send nothing until `modems resume`; it goes on receiving."""
    _act(connection, bay, "pause", reason, "is paused", as_json=as_json)


@modems.command(epilog="Example: modemctl modems resume bay-07 --reason 'antenna is back'")
@click.argument("bay")
@_reason
@as_json_option
@click.pass_obj
def resume(connection: Connection, bay: str, reason: str, *, as_json: bool) -> None:
    """Let a paused bay send again."""
    _act(connection, bay, "resume", reason, "may send", as_json=as_json)


@modems.command(epilog="Example: modemctl modems reset bay-07 --reason 'hangs'")
@click.argument("bay")
@_reason
@as_json_option
@click.pass_obj
def reset(connection: Connection, bay: str, reason: str, *, as_json: bool) -> None:
    """Restart a modem; where that fails, climb the recovery ladder."""
    _act(connection, bay, "reset", reason, "restarts", as_json=as_json)


@modems.command(epilog="Example: modemctl modems retry bay-07 --reason 'new cable'")
@click.argument("bay")
@_reason
@as_json_option
@click.pass_obj
def retry(connection: Connection, bay: str, reason: str, *, as_json: bool) -> None:
    """Try a failed bay again now."""
    _act(connection, bay, "retry", reason, "is tried again", as_json=as_json)


@modems.command(epilog="Example: modemctl modems release bay-07 --reason 'card is registered now'")
@click.argument("bay")
@_reason
@as_json_option
@click.pass_obj
def release(connection: Connection, bay: str, reason: str, *, as_json: bool) -> None:
    """Look at a quarantined or waiting card again."""
    _act(connection, bay, "release", reason, "is looked at again", as_json=as_json)


@modems.command(epilog="Example: modemctl modems bind bay-07 --reason 'card moved with its holder'")
@click.argument("bay")
@click.option("--iccid", help="The card; without it the one that is in the bay now.")
@_reason
@as_json_option
@click.pass_obj
def bind(
    connection: Connection, bay: str, iccid: str | None, reason: str, *, as_json: bool
) -> None:
    """Say which card belongs into a bay (SIM-07).

    A card that was set aside as moved is free at once if it is the one.
    """
    body = {"reason": reason} if iccid is None else {"reason": reason, "iccid": iccid}
    with connection.client() as client:
        done = client.post(f"/v1/modems/{in_path(bay)}/bind", body)
    show_done(done, f"card {done['expected_iccid']} belongs into {bay}", as_json=as_json)


@modems.command(epilog="Example: modemctl modems unbind bay-07 --reason 'bay is given up'")
@click.argument("bay")
@_reason
@as_json_option
@click.pass_obj
def unbind(connection: Connection, bay: str, reason: str, *, as_json: bool) -> None:
    """Say that no certain card belongs into a bay (SIM-07)."""
    _act(connection, bay, "unbind", reason, "has no card of its own", as_json=as_json)


@modems.command(epilog="Example: modemctl modems forget bay-07 --reason 'hub is gone for good'")
@click.argument("bay")
@_reason
@as_json_option
@click.pass_obj
def forget(connection: Connection, bay: str, reason: str, *, as_json: bool) -> None:
    """Take an absent bay off the list, for a socket that is given up.

    A modem that is plugged in there brings it back; so does `bank.ports` where it names the port.
    """
    _act(connection, bay, "forget", reason, "is off the list", as_json=as_json)


@modems.command(epilog="Example: modemctl modems admitted --state requested")
@click.option("--state", type=click.Choice(_ADMISSIONS), help="Only those.")
@as_json_option
@click.pass_obj
def admitted(connection: Connection, state: str | None, *, as_json: bool) -> None:
    """The admission list of modems, by IMEI (CC-01): who came, who asked, who approved."""
    with connection.client() as client:
        found = client.pages("/v1/admissions", {} if state is None else {"state": state})
        show_table(found, _ADMITTED, as_json=as_json)


@modems.command(epilog="Example: modemctl modems admit 490154203237518 --reason 'order 2026-117'")
@click.argument("imeis", nargs=-1, required=True, metavar="IMEI...")
@_reason
@as_json_option
@click.pass_obj
def admit(connection: Connection, imeis: tuple[str, ...], reason: str, *, as_json: bool) -> None:
    """Ask for modems, or approve what another person asked for (CC-01).

    Two persons run the same command; behind the second one the modems are driven at once.
    """
    with connection.client() as client:
        done = client.post("/v1/admissions", {"imeis": list(imeis), "reason": reason})
        for one in records(done.get("items")):
            waits = "" if one["state"] == "admitted" else ": a second person has to admit it too"
            show_done(one, f"{one['imei']} is {one['state']}{waits}", as_json=as_json)


@modems.command(epilog="Example: modemctl modems expel 490154203237518 --reason 'not ours'")
@click.argument("imei")
@_reason
@as_json_option
@click.pass_obj
def expel(connection: Connection, imei: str, reason: str, *, as_json: bool) -> None:
    """Let no bay drive a modem any more, from now on (CC-01)."""
    with connection.client() as client:
        done = client.post(f"/v1/admissions/{in_path(imei)}/expel", {"reason": reason})
    show_done(done, f"{imei} is expelled", as_json=as_json)


def _cure(found: Record) -> str:
    bay, reason = str(found["bay"]), str(found["reason"] or "")
    if found["state"] != "failed":
        return cure_of(reason, bay=bay, iccid=found["iccid"], imei=found["imei"])
    if reason.startswith(_NO_MODEM):
        return "leave this port out of bank.ports (docs/configuration.md), or put a modem there"
    return _RETRIED.replace("BAY", bay)


def _act(
    connection: Connection, bay: str, verb: str, reason: str, became: str, *, as_json: bool
) -> None:
    with connection.client() as client:
        done = client.post(f"/v1/modems/{in_path(bay)}/{verb}", {"reason": reason})
    is_open = "done_at" in done and not done["done_at"]
    show_done(done, f"{bay} {'will do so when it can' if is_open else became}", as_json=as_json)


COMMANDS: Final = {"modems": modems}
