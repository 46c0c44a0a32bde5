"""Evidence packages: all that is stored of a card, a number, a batch or a period, for others."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import click

from modemctl.cli.client import Connection, Json, text_of
from modemctl.cli.errors import Refusal
from modemctl.cli.show import as_json_option, show_done, show_record
from modemctl.cli.targets import NewPath

_F = TypeVar("_F", bound=Callable[..., object])
_ID: Final = "6f2c0b5c-5d0b-4d7c-a7f2-0e9f2f1c8f11"


def _about(command: _F) -> _F:
    """Add what a package is about."""
    for option in (
        click.option("--until", help="The period's end."),
        click.option("--since", help="With --until, a period: 2026-11-01T00:00+08:00."),
        click.option("--batch", "batch_id", help="A batch."),
        click.option("--number", help="Another party."),
        click.option("--card", "iccid", help="A card: its ICCID."),
    ):
        command = option(command)
    return command


@click.group()
def evidence() -> None:
    """Evidence packages: signed and encrypted, by two persons."""


@evidence.command(epilog=f"Example: modemctl evidence preview --batch {_ID}")
@_about
@as_json_option
@click.pass_obj
def preview(connection: Connection, /, *, as_json: bool, **about: str | None) -> None:
    """How much it would hold; `subject` is what the two persons name in their request."""
    with connection.client() as client:
        found = client.post("/v1/evidence-packages/preview", _given(about))
    show_record(found, as_json=as_json)


@evidence.command(
    epilog=f"Example: modemctl evidence make --batch {_ID} --request {_ID} --out case12.evidence"
)
@_about
@click.option(
    "--request", "request_id", required=True, help="The request that a colleague confirmed."
)
@click.option(
    "--out",
    required=True,
    type=NewPath(),
    help="A new file.",
)
@as_json_option
@click.pass_obj
def make(
    connection: Connection, /, *, request_id: str, out: Path, as_json: bool, **about: str | None
) -> None:
    """Make one. First: modemctl request ask evidence_package SUBJECT; a colleague confirms.

    The passphrase is asked for, or read from standard input; tell it on another way than the file.
    """
    body = _given(about)
    body |= {"request_id": request_id, "passphrase": _passphrase(confirm=True)}
    with connection.client() as client:
        done = client.post("/v1/evidence-packages", body)
    out.touch(mode=0o600)
    out.write_bytes(base64.b64decode(text_of(done, "package")))
    shown = {name: value for name, value in done.items() if name != "package"}
    what = f"{out}: {done.get('n_lines')} lines; its public audit key: {done.get('audit_key')}"
    show_done(shown, what, as_json=as_json)


@evidence.command("open", epilog="Example: modemctl evidence open case12.evidence --out case12 "
                  "--audit-key 3b6a")  # fmt: skip
@click.argument("package", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--out", required=True, type=NewPath(), help="A new folder.")
@click.option(
    "--audit-key",
    required=True,
    metavar="HEX",
    help="The site's public audit key, as make told it.",
)
def open_(package: Path, out: Path, audit_key: str) -> None:
    """Open a package, after its signature and digests were checked; needs no daemon."""
    from modemctl.service.packages import open_package

    try:
        public = bytes.fromhex(audit_key)
    except ValueError:
        raise Refusal("--audit-key: must be 64 hexadecimal digits") from None
    passphrase = _passphrase(confirm=False)
    files = open_package(package.read_bytes(), passphrase=passphrase, audit_public_key=public)
    out.mkdir(mode=0o700)
    for name, octets in files.items():
        (out / Path(name).name).write_bytes(octets)
    click.echo(f"{len(files)} files in {out}: signature and digests are right")


def _given(about: dict[str, str | None]) -> dict[str, Json]:
    return {name: value for name, value in about.items() if value is not None}


def _passphrase(*, confirm: bool) -> str:
    """Typed unseen at a terminal, else the first line of standard input."""
    if sys.stdin.isatty():
        return str(
            click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
        )
    return sys.stdin.readline().rstrip("\r\n")


COMMANDS: Final = {"evidence": evidence}
