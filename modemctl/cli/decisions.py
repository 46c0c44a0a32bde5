"""What persons decide about a batch: confirm, sign, start, stop."""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from modemctl.cli.client import Client, Connection, Json, Record, in_path, records, text_of
from modemctl.cli.errors import Refusal, printable
from modemctl.cli.show import as_json_option, local_time, show_done
from modemctl.clock import SystemClock
from modemctl.model import Decision

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from modemctl.policy.digest import BatchHeader

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
        sheet = client.get(f"/v1/batches/{in_path(batch_id)}/sheet")
        header = _header(sheet, batch_id)
        _show_sheet(sheet, header)
        _ask("Are text and list right?", yes=yes)
        body: dict[str, Json] = {"digest": text_of(sheet, "digest")}
        done = client.post(f"/v1/batches/{in_path(batch_id)}/confirm", body)
    show_done(done, _stands(done), as_json=as_json)


@click.command(epilog="Example: modemctl batch approve 0b5c9e52-5d0b… --key wang.pem")
@click.argument("batch_id")
@click.option(
    "--key",
    "key_path",
    required=True,
    type=click.Path(path_type=Path, readable=False),
    help="Your private key.",
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
    key_path: Path,
    step: int | None,
    days: int,
    yes: bool,
    as_json: bool,
) -> None:
    """Sign the batch's next step with your key: shows text, totals and examples first, and asks.

    The key stays here; only the signature goes to the daemon. What is shown is read from the very
    octets that are signed.
    """
    private = _read_private_key(key_path)
    with connection.client() as client:
        sheet = client.get(f"/v1/batches/{in_path(batch_id)}/sheet")
        header = _header(sheet, batch_id)
        turn = _turn(sheet, step)
        _show_sheet(sheet, header)
        _ask(f"Approve as {sheet.get('step_name')} (step {turn})?", yes=yes)
        jws = _sign(client, private, sheet, batch_id, step=turn, days=days)
        done = client.post(f"/v1/batches/{in_path(batch_id)}/approve", {"jws": jws})
    show_done(done, _stands(done), as_json=as_json)


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


COMMANDS: Final = (confirm, approve, reject, withdraw, start, hold, resume, cancel)


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


def _header(sheet: Record, batch_id: str) -> BatchHeader:
    """The header that is signed, read from its octets: the daemon is not taken at its word.

    Raises:
        Refusal: digest or id are another batch's.
    """
    from modemctl.policy.digest import decode_header, header_digest

    octets = text_of(sheet, "header").encode()
    header = decode_header(octets)
    if header_digest(octets).hex() != sheet.get("digest") or header.batch_id != batch_id:
        raise Refusal("the daemon's sheet contradicts itself: nothing was signed")
    return header


def _turn(sheet: Record, wanted: int | None) -> int:
    turn = sheet.get("step")
    if not isinstance(turn, int):
        raise Refusal("every step of this batch is signed already")
    if wanted is not None and wanted != turn:
        raise Refusal(f"it is the turn of step {turn} ({sheet.get('step_name')}), not {wanted}")
    return turn


def _show_sheet(sheet: Record, header: BatchHeader) -> None:
    totals = header.totals
    facts = {
        "batch": header.batch_id,
        "category": header.category,
        "department": header.department,
        "for": header.party,
        "window": f"{local_time(header.not_before.isoformat())} – "
        f"{local_time(header.not_after.isoformat())}",
        "starts": "by itself" if header.starts_itself else "by its operator",
        "card group": header.card_group or "any",
        "to send": f"{totals.n_messages} messages, {totals.n_segments} segments",
        "taken out": ", ".join(f"{why} {n}" for why, n in totals.removed_by.items()) or "none",
        **_estimate(header),
        "digest": text_of(sheet, "digest"),
        "text": header.template,
    }
    for name, value in facts.items():
        click.echo(printable(f"{name + ':':<12}{value}"), err=True)
    examples = sheet.get("examples")
    for one in examples if isinstance(examples, list) else []:
        if isinstance(one, list) and len(one) == 2:
            click.echo(printable(f"{'example:':<12}{one[0]}  {one[1]}"), err=True)


def _estimate(header: BatchHeader) -> dict[str, str]:
    known = header.totals.estimate
    if known is None:
        return {}
    finish = known.finish
    return {
        "cards": str(known.n_cards),
        "cost": f"at most {known.cost} {known.currency}",
        "sent by": "NOT within its window" if finish is None else local_time(finish.isoformat()),
        "waits for": ", ".join(known.limits) or "nothing",
    }


def _sign(
    client: Client,
    private: Ed25519PrivateKey,
    sheet: Record,
    batch_id: str,
    *,
    step: int,
    days: int,
) -> str:
    from modemctl.policy.signatures import sign_approval

    account_id = text_of(client.get("/v1/whoami"), "account_id")
    now = SystemClock().now()
    return sign_approval(
        private.private_bytes_raw(),
        kid=_kid(client, private, account_id),
        digest=bytes.fromhex(text_of(sheet, "digest")),
        batch_id=batch_id,
        step=step,
        approver=account_id,
        issued_at=now,
        expires_at=now + timedelta(days=days),
        decision=Decision.APPROVE,
    )


def _kid(client: Client, private: Ed25519PrivateKey, account_id: str) -> str:
    """The id under which this key is registered for the account that asks.

    Raises:
        Refusal: it is not, or it was revoked.
    """
    public = base64.urlsafe_b64encode(private.public_key().public_bytes_raw()).decode().rstrip("=")
    known = client.get(f"/v1/accounts/{account_id}/approver-keys").get("items")
    for one in records(known):
        if one.get("public_key") == public:
            if one.get("revoked_at"):
                raise Refusal("this key was revoked", cure="register a new one")
            return text_of(one, "kid")
    raise Refusal(
        "this key is not registered for your account",
        cure="an administrator does it: modemctl account approver-key NAME FILE.pub",
    )


def _read_private_key(path: Path) -> Ed25519PrivateKey:
    """An approver's private key.

    Raises:
        Refusal: unreadable, open to others, not such a key, a wrong passphrase.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        if path.stat().st_mode & 0o077:
            raise Refusal(f"{path} is open to others", cure=f"run: chmod 600 {path}")
        pem = path.read_bytes()
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}") from None
    password = None
    if b"ENCRYPTED" in pem:
        password = str(click.prompt("Passphrase", hide_input=True, err=True)).encode()
    try:
        key = load_pem_private_key(pem, password)
    except (ValueError, TypeError):
        cure = "is the passphrase right?" if password else "make one: modemctl key signing"
        raise Refusal(f"{path} cannot be read as a private key", cure=cure) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise Refusal(f"{path} is no Ed25519 key", cure="make one: modemctl key signing")
    return key
