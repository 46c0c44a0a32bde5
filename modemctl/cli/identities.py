"""A holder's document on the command line: its number never stands in an argument (SIM-13)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

import click

from modemctl.policy.identities import IdentityKind

_F = TypeVar("_F", bound=Callable[..., object])


def identity_options(command: _F) -> _F:
    """Add `--identity` (`has_identity`) and `--identity-kind`."""
    kind = click.option(
        "--identity-kind",
        type=click.Choice([one.value for one in IdentityKind]),
        help="Of the document; else a resident's identity card.",
    )
    asked = click.option(
        "--identity",
        "has_identity",
        is_flag=True,
        help="Ask for the holder's identity number (身份证号), or read it from standard input; it"
        " never stands in an argument.",
    )
    return asked(kind(command))


def read_identity(kind: str | None, *, has_identity: bool) -> dict[str, str]:
    """The fields of a request; none where no document was asked for.

    Raises:
        UsageError: a kind alone.
    """
    if not has_identity:
        if kind is not None:
            raise click.UsageError("--identity-kind goes with --identity, which asks for it")
        return {}
    if sys.stdin.isatty():
        number = str(click.prompt("Identity number", hide_input=True, err=True))
    else:
        number = sys.stdin.readline().strip()
    found = {"identity_number": number}
    return found if kind is None else {**found, "identity_kind": kind}
