"""The register of SIM cards."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from modemctl.cli.card_life import COMMANDS as LIFE
from modemctl.cli.client import Connection, Json, Record, in_path, records
from modemctl.cli.errors import Refusal
from modemctl.cli.forms import upload_list
from modemctl.cli.identities import identity_options, read_identity
from modemctl.cli.pins import pin
from modemctl.cli.puks import puk
from modemctl.cli.show import as_json_option, show_done, show_record, show_table
from modemctl.cli.sim_balances import balance, balances
from modemctl.cli.sim_locks import locks
from modemctl.cli.stock import stocktake
from modemctl.lifecycle import CardState
from modemctl.policy.custody import ENDS

_COLUMNS: Final = (
    "iccid", "number", "holder", "department", "state", "is_paused", "pin_state", "bay", "timezone",
)  # fmt: skip
_SPARE: Final = ("timezone", "is_paused", "holder", "pin_state", "department")
_IMPORT_COLUMNS: Final = (
    "import_id", "created_at", "n_cards", "n_right", "n_wrong", "n_out", "stopped_reason",
    "n_changed", "change_stopped_reason",
)  # fmt: skip
_reason = click.option("--reason", required=True, help="Why; goes to the audit log.")


@click.group()
def sims() -> None:
    """The register of SIM cards."""


@sims.command("list", epilog="Example: modemctl sims list --department sales --state issued")
@click.option("--department", help="Only this department's.")
@click.option("--state", type=click.Choice([str(state) for state in CardState]), help="Only these.")
@click.option("--holder", help="Only this holder's.")
@click.option("--number", help="Only the card of this number.")
@identity_options
@click.option("--group", "card_group", help="Only of this card group.")
@click.option("--bay", help="Only the card in this bay.")
@as_json_option
@click.pass_obj
def list_(
    connection: Connection,
    /,
    *,
    as_json: bool,
    has_identity: bool,
    identity_kind: str | None,
    **wanted: str | None,
) -> None:
    """Cards in order of ICCID."""
    wanted |= read_identity(identity_kind, has_identity=has_identity)
    with connection.client() as client:
        show_table(client.pages("/v1/sims", wanted), _COLUMNS, as_json=as_json, spare=_SPARE)


@sims.command(epilog="Example: modemctl sims show 89860012345678901234")
@click.argument("iccid")
@as_json_option
@click.pass_obj
def show(connection: Connection, iccid: str, *, as_json: bool) -> None:
    """One card. Its PIN is never shown."""
    with connection.client() as client:
        show_record(client.get(f"/v1/sims/{in_path(iccid)}"), as_json=as_json)


@sims.command(epilog="Example: modemctl sims number 89860012345678901234 13800138000 --reason typo")
@click.argument("iccid")
@click.argument("number", required=False)
@click.option("--accept", is_flag=True, help="The register is right; the card tells a wrong one.")
@_reason
@as_json_option
@click.pass_obj
def number(
    connection: Connection,
    iccid: str,
    number: str | None,
    reason: str,
    *,
    accept: bool,
    as_json: bool,
) -> None:
    """Correct a card's number, or say that the register is right (SIM-17)."""
    if accept == (number is not None):
        raise Refusal("say the right number, or --accept", cure="modemctl register-faults")
    step = "number/accept" if accept else "number"
    body: dict[str, Json] = {"reason": reason}
    if number is not None:
        body["number"] = number
    said = f"the register is right about card {iccid}"
    if not accept:
        said = f"card {iccid} has its new number"
    _change(connection, iccid, step, body, said=said, as_json=as_json)


@sims.command(
    epilog="Example: modemctl sims lease 89860012345678901234 --until 2027-12-31 --reason 续租"
)
@click.argument("iccid")
@click.option("--until", required=True, help="Last day of the new term.")
@_reason
@as_json_option
@click.pass_obj
def lease(connection: Connection, iccid: str, until: str, reason: str, *, as_json: bool) -> None:
    """Renew the lease of a leased card (SIM-17); behind its last day a card sends nothing."""
    body: dict[str, Json] = {"until": until, "reason": reason}
    said = f"the lease of card {iccid} lasts until {until}"
    _change(connection, iccid, "lease", body, said=said, as_json=as_json)


@sims.command(
    epilog="Example: modemctl sims zone 89860012345678901234 Europe/Berlin --reason 'roams there'"
)
@click.argument("iccid")
@click.argument("timezone", required=False)
@click.option("--site", "is_site", is_flag=True, help="Back to the site's zone.")
@_reason
@as_json_option
@click.pass_obj
def zone(
    connection: Connection,
    iccid: str,
    timezone: str | None,
    reason: str,
    *,
    is_site: bool,
    as_json: bool,
) -> None:
    """Let a card's limits of a day and a month run in a time zone of its own (SIM-08).

    The zone that it leaves binds it further, until day and month have ended in both.
    """
    if is_site == (timezone is not None):
        raise Refusal("say a time zone, such as Asia/Shanghai, or --site")
    body: dict[str, Json] = {"timezone": timezone, "reason": reason}
    said = f"days and months of card {iccid} are those of {timezone or 'the site'}"
    _change(connection, iccid, "zone", body, said=said, as_json=as_json)


@sims.command(epilog="Example: modemctl sims confirm sales")
@click.argument("department")
@click.pass_obj
def confirm(connection: Connection, department: str) -> None:
    """Say that a department's cards were gone through and are right; due every 92 days."""
    with connection.client() as client:
        client.post("/v1/register-confirmations", {"department": department})
    click.echo(f"noted: the cards of {department} are right")


@sims.command("import", epilog="Example: modemctl sims import cards.xlsx --trial")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path, readable=False))
@click.option("--trial", is_flag=True, help="Read and check everything, change nothing.")
@click.option("--encoding", help="Of the file's text; else it is found out.")
@as_json_option
@click.pass_obj
def import_(
    connection: Connection, path: Path, encoding: str | None, *, trial: bool, as_json: bool
) -> None:
    """Register the cards of a list (.csv, .xlsx): all of them, or none where a line is wrong.

    The first line names the columns: ICCID, number, holder, identity number, department,
    ownership, verified, state, PIN; English and Chinese headings are known (docs/install.md has
    all). Keep the list apart: it holds PINs and identity numbers.
    """
    with connection.client() as client:
        done = upload_list(
            client, "/v1/sims/import", path, dry_run=trial or None, encoding=encoding
        )
    show_done(done, _became(done, is_trial=trial), as_json=as_json)


def _became(done: Record, *, is_trial: bool) -> str:
    word = "would be added" if is_trial else "added"
    text = (
        f"{done.get('n_cards')} cards: {done.get('n_added')} {word}, {done.get('n_known')} known,"
        f" {done.get('n_pins')} new PINs"
    )
    if done.get("n_completed"):
        text += f", {done['n_completed']} of the known {'would be ' * is_trial}handed over"
    if done.get("n_pins_kept"):
        text += f", {done['n_pins_kept']} PINs left out: the vault has changed them since"
    if done.get("import_id"):
        text += f"\nPIN import {done['import_id']}: one canary card proves it first"
    return text


@sims.command(epilog="Example: modemctl sims state 89860012345678901234 lost --reason 'desk empty'")
@click.argument("iccid")
@click.argument("state", type=click.Choice([str(state) for state in ENDS]))
@_reason
@click.option("--until", help="Of a penalty: when it ends by itself (2026-12-21T00:00+08:00).")
@click.option("--carrier-reference", help="What the carrier answered to the report of a loss.")
@as_json_option
@click.pass_obj
def state(connection: Connection, /, *, iccid: str, as_json: bool, **sent: str | None) -> None:
    """Stop a card or give it up, at once; what lets it go on: `sims release`, `sims request`."""
    body: dict[str, Json] = {key: value for key, value in sent.items() if value is not None}
    _change(connection, iccid, "state", body, as_json=as_json)


@sims.command(epilog="Example: modemctl sims pause 89860012345678901234 --reason 'complaints'")
@click.argument("iccid")
@_reason
@as_json_option
@click.pass_obj
def pause(connection: Connection, iccid: str, reason: str, *, as_json: bool) -> None:
    """Let a card send nothing until `sims resume`; it goes on receiving."""
    _change(connection, iccid, "pause", {"reason": reason}, as_json=as_json)


@sims.command(epilog="Example: modemctl sims resume 89860012345678901234 --reason 'settled'")
@click.argument("iccid")
@_reason
@as_json_option
@click.pass_obj
def resume(connection: Connection, iccid: str, reason: str, *, as_json: bool) -> None:
    """Let a paused card send again."""
    _change(connection, iccid, "resume", {"reason": reason}, as_json=as_json)


@sims.command(epilog="Example: modemctl sims verify 89860012345678901234 --by zhao --identity")
@click.argument("iccid")
@click.option("--by", required=True, help="Who checked whose number it is (SIM-04).")
@identity_options
@as_json_option
@click.pass_obj
def verify(
    connection: Connection,
    iccid: str,
    by: str,
    *,
    has_identity: bool,
    identity_kind: str | None,
    as_json: bool,
) -> None:
    """Note that somebody checked whose number the card has, and by which document."""
    body: dict[str, Json] = {"verified_by": by}
    body |= read_identity(identity_kind, has_identity=has_identity)
    said = f"card {iccid}: its holder's identity is verified by {by}"
    _change(connection, iccid, "verify", body, said=said, as_json=as_json)


@sims.command("pin-imports", epilog="Example: modemctl sims pin-imports")
@as_json_option
@click.pass_obj
def pin_imports(connection: Connection, *, as_json: bool) -> None:
    """The imports of PINs and how far each proved itself, newest first."""
    with connection.client() as client:
        found = records(client.get("/v1/pin-imports").get("items"))
    spare = ("change_stopped_reason", "n_changed", "created_at", "n_out")
    none = "no PINs were imported"
    show_table(found, _IMPORT_COLUMNS, as_json=as_json, empty=none, spare=spare)


@sims.command(
    "resume-import", epilog="Example: modemctl sims resume-import 6f2c… --reason 'PIN corrected'"
)
@click.argument("import_id")
@_reason
@as_json_option
@click.pass_obj
def resume_import(connection: Connection, import_id: str, reason: str, *, as_json: bool) -> None:
    """Let a stopped import of PINs begin again with one canary card."""
    with connection.client() as client:
        done = client.post(f"/v1/pin-imports/{in_path(import_id)}/resume", {"reason": reason})
    show_done(done, "it begins again with a canary", as_json=as_json)


def _change(
    connection: Connection,
    iccid: str,
    verb: str,
    body: dict[str, Json],
    *,
    as_json: bool,
    said: str | None = None,
) -> None:
    with connection.client() as client:
        done = client.post(f"/v1/sims/{in_path(iccid)}/{verb}", body)
    is_paused = ", paused" if done.get("is_paused") else ""
    show_done(done, said or f"card {iccid} is {done.get('state')}{is_paused}", as_json=as_json)


sims.add_command(locks)
sims.add_command(balance)
sims.add_command(balances)
sims.add_command(stocktake)
sims.add_command(puk)
for _command in LIFE:
    sims.add_command(_command)
sims.add_command(pin)
COMMANDS: Final = {"sims": sims}
