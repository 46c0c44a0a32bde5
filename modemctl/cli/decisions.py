"""What persons decide about a batch: confirm, sign, start, stop."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from modemctl.cli.client import Client, Connection, Json, Record, in_path, records, text_of
from modemctl.cli.errors import Refusal
from modemctl.cli.sheets import (
    load_sheet,
    read_header,
    read_private_key,
    show_sheet,
    sign,
    signer_of,
    thumbprint,
    turn_of,
)
from modemctl.cli.show import as_json_option, show_done, show_json
from modemctl.cli.targets import NewPath
from modemctl.model import Decision

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_yes = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
_reason = click.option("--reason", required=True, help="Why; goes to the audit log.")


@click.command(epilog="Example: modemctl batch confirm 0b5c9e52-5d0b-4d7c-a7f2-0e9f2f1c8f11")
@click.argument("batch_id")
@_yes
@as_json_option
@click.pass_obj
def confirm(connection: Connection, batch_id: str, *, yes: bool, as_json: bool) -> None:
    """A second person has checked text and list (SEC-04): shows them and asks."""
    with connection.client() as client:
        found = client.get(f"/v1/batches/{in_path(batch_id)}/sheet")
        show_sheet(found, read_header(found, batch_id))
        _ask("Are text and list right?", yes=yes)
        body: dict[str, Json] = {"digest": text_of(found, "digest")}
        done = client.post(f"/v1/batches/{in_path(batch_id)}/confirm", body)
    show_done(done, _stands(done), as_json=as_json)


@click.command(epilog="Example: modemctl batch approve 0b5c9e52-5d0b… --key wang.pem")
@click.argument("batch_id")
@click.option(
    "--key",
    "key_path",
    type=click.Path(path_type=Path, readable=False),
    help="Your private key: sign here.",
)
@click.option(
    "--jws",
    "jws_path",
    type=click.Path(path_type=Path, readable=False),
    help="Bring a signature that `batch sign` made elsewhere; - reads it from standard input.",
)
@click.option("--step", type=click.IntRange(1), help="Sign only if it is this step's turn.")
@click.option(
    "--days", type=click.IntRange(1, 366), default=7, show_default=True, help="Valid for so long."
)
@_yes
@as_json_option
@click.pass_obj
def approve(
    connection: Connection,
    *,
    batch_id: str,
    key_path: Path | None,
    jws_path: Path | None,
    step: int | None,
    days: int,
    yes: bool,
    as_json: bool,
) -> None:
    """Sign the batch's next step with your key: shows text, totals and examples first, and asks.

    The key stays here; only the signature goes to the daemon. What is shown is read from the very
    octets that are signed.
    """
    private = None if key_path is None else read_private_key(key_path)
    with connection.client() as client:
        found = client.get(f"/v1/batches/{in_path(batch_id)}/sheet")
        if private is None:
            jws = _read_jws(jws_path)
        else:
            header, turn = read_header(found, batch_id), turn_of(found, step)
            show_sheet(found, header)
            _ask(f"Approve as {found.get('step_name')} (step {turn})?", yes=yes)
            account_id = text_of(client.get("/v1/whoami"), "account_id")
            _require_registered(client, private, account_id)
            jws = sign(private, header, step=turn, approver=account_id, days=days)
        done = client.post(f"/v1/batches/{in_path(batch_id)}/approve", {"jws": jws})
    show_done(done, _stands(done), as_json=as_json)


@click.command(epilog="Example: modemctl batch sheet 0b5c9e52-5d0b… --out sheet.json")
@click.argument("batch_id")
@click.option("--out", "out_path", type=NewPath(), help="Save it as JSON, in a new file.")
@as_json_option
@click.pass_obj
def sheet(connection: Connection, batch_id: str, out_path: Path | None, *, as_json: bool) -> None:
    """What the next approver sees and signs; saved, it can be signed on another machine."""
    with connection.client() as client:
        found = client.get(f"/v1/batches/{in_path(batch_id)}/sheet")
    if out_path is not None:
        out_path.write_text(json.dumps(found, ensure_ascii=False) + "\n", encoding="utf-8")
        return
    if as_json:
        show_json(found)
        return
    show_sheet(found, read_header(found, batch_id))
    names = [str(one.get("name")) for one in records(found.get("signers"))]
    if isinstance(found.get("step"), int):
        who = ", ".join(names) or "nobody"
        click.echo(f"step {found['step']} ({found.get('step_name')}) may be signed by {who}")
    else:
        click.echo("every step is signed")


@click.command("sign", epilog="Example: modemctl batch sign sheet.json --key wang.pem > word.jws")
@click.argument("sheet_path", metavar="SHEET", type=click.Path(path_type=Path, readable=False))
@click.option(
    "--key",
    "key_path",
    required=True,
    type=click.Path(path_type=Path, readable=False),
    help="Your private key.",
)
@click.option("--reject", "is_reject", is_flag=True, help="Sign a no: it ends the batch.")
@click.option(
    "--days", type=click.IntRange(1, 366), default=7, show_default=True, help="Valid for so long."
)
@_yes
def sign_(*, sheet_path: Path, key_path: Path, is_reject: bool, days: int, yes: bool) -> None:
    """Sign a saved sheet on your own machine: needs no daemon and no network.

    Shows in Chinese and English what is signed, read from the very octets that the digest is of,
    asks, and prints the signature (a JWS) that `batch approve --jws` takes to the daemon.
    """
    private = read_private_key(key_path)
    found = load_sheet(sheet_path)
    header, turn = read_header(found), turn_of(found, None)
    approver = signer_of(found, thumbprint(private))
    show_sheet(found, header)
    decision = Decision.REJECT if is_reject else Decision.APPROVE
    words = "REJECT 驳回" if is_reject else "approve 批准"
    click.echo(f"you sign 你将签署: {words}, step 第 {turn} 步 {found.get('step_name')}", err=True)
    _ask("Sign it? 签署?", yes=yes)
    click.echo(sign(private, header, step=turn, approver=approver, days=days, decision=decision))


@click.command(epilog="Example: modemctl batch reject 0b5c9e52-5d0b… --reason 'wrong date in text'")
@click.argument("batch_id")
@_reason
@as_json_option
@click.pass_obj
def reject(connection: Connection, batch_id: str, reason: str, *, as_json: bool) -> None:
    """Refuse a batch that is not approved yet."""
    _act(connection, batch_id, "reject", {"reason": reason}, as_json=as_json)


@click.command(epilog="Example: modemctl batch withdraw 0b5c9e52-5d0b… --reason 'typo'")
@click.argument("batch_id")
@_reason
@as_json_option
@click.pass_obj
def withdraw(connection: Connection, batch_id: str, reason: str, *, as_json: bool) -> None:
    """Take back a batch that does not run yet."""
    _act(connection, batch_id, "withdraw", {"reason": reason}, as_json=as_json)


@click.command(epilog="Example: modemctl batch start 0b5c9e52-5d0b-4d7c-a7f2-0e9f2f1c8f11")
@click.argument("batch_id")
@as_json_option
@click.pass_obj
def start(connection: Connection, batch_id: str, *, as_json: bool) -> None:
    """The named operator starts an approved batch; it sends within its window."""
    _act(connection, batch_id, "start", None, as_json=as_json)


@click.command(epilog="Example: modemctl batch hold 0b5c9e52-5d0b… --reason 'complaints'")
@click.argument("batch_id")
@_reason
@as_json_option
@click.pass_obj
def hold(connection: Connection, batch_id: str, reason: str, *, as_json: bool) -> None:
    """Stop for now: nothing of it begins later than a second after the answer."""
    _act(connection, batch_id, "hold", {"reason": reason}, as_json=as_json)


@click.command(epilog="Example: modemctl batch resume 0b5c9e52-5d0b-4d7c-a7f2-0e9f2f1c8f11")
@click.argument("batch_id")
@as_json_option
@click.pass_obj
def resume(connection: Connection, batch_id: str, *, as_json: bool) -> None:
    """Let a held batch go on."""
    _act(connection, batch_id, "resume", None, as_json=as_json)


@click.command(epilog="Example: modemctl batch cancel 0b5c9e52-5d0b… --reason 'wrong list'")
@click.argument("batch_id")
@_reason
@_yes
@as_json_option
@click.pass_obj
def cancel(connection: Connection, batch_id: str, reason: str, *, yes: bool, as_json: bool) -> None:
    """Stop an approved batch for good; what left is not called back."""
    _ask("Stop this batch for good?", yes=yes)
    _act(connection, batch_id, "cancel", {"reason": reason}, as_json=as_json)


COMMANDS: Final = (sheet, sign_, confirm, approve, reject, withdraw, start, hold, resume, cancel)


def _act(
    connection: Connection,
    batch_id: str,
    verb: str,
    body: dict[str, Json] | None,
    *,
    as_json: bool,
) -> None:
    with connection.client() as client:
        done = client.post(f"/v1/batches/{in_path(batch_id)}/{verb}", body)
    show_done(done, _stands(done), as_json=as_json)


def _stands(done: Record) -> str:
    """A batch's state in one line: also what was sent, is in flight and unsent (SEC-10)."""
    progress = done.get("progress")
    counts = progress if isinstance(progress, dict) else {}
    words = ", ".join(f"{n} {state}" for state, n in counts.items())
    return f"batch {done.get('batch_id')} is {done.get('state')}" + (f"; {words}" if words else "")


def _ask(question: str, *, yes: bool) -> None:
    if not yes:
        click.confirm(question, abort=True, err=True)


def _read_jws(path: Path | None) -> str:
    """A signature from a file or, where it is `-`, from standard input."""
    if path is None:
        raise click.UsageError("give --key to sign here, or --jws to bring a signature")
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(f"{path}: cannot be read: {error}") from None
    return text.strip()


def _require_registered(client: Client, private: Ed25519PrivateKey, account_id: str) -> None:
    """Whether this key is registered for the account that asks.

    Raises:
        Refusal: it is not, or it was revoked.
    """
    kid = thumbprint(private)
    known = client.get(f"/v1/accounts/{account_id}/approver-keys").get("items")
    for one in records(known):
        if one.get("kid") == kid:
            if one.get("revoked_at"):
                raise Refusal("this key was revoked", cure="register a new one")
            return
    raise Refusal(
        "this key is not registered for your account",
        cure="an administrator does it: modemctl account approver-key NAME FILE.pub",
    )
