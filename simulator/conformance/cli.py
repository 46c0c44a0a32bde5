"""`python -m simulator conformance PORT`: what a modem can, cannot and does oddly."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from simulator.conformance import draft as drafts
from simulator.conformance import masks, report, suite
from simulator.conformance.check import Observed, Result, Wishes
from simulator.conformance.port import PortError, open_port

_NUMBER: Final = re.compile(r"\+\d{7,15}")
_PIN: Final = re.compile(r"\d{4,8}")


def _checked_number(_context: click.Context, _option: click.Parameter, value: str) -> str:
    if value and not _NUMBER.fullmatch(value):
        raise click.BadParameter("an international number, as +8613800000001")
    return value


def _checked_pin(_context: click.Context, _option: click.Parameter, value: str) -> str:
    if value == "-":
        value = click.prompt("PIN", hide_input=True, err=True)
    if value and not _PIN.fullmatch(value):
        raise click.BadParameter("4 to 8 digits, or - to be asked for it")
    return value


@click.command("conformance")
@click.argument("port")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object.")
@click.option("-v", "--verbose", "is_verbose", is_flag=True, help="Show all that was said.")
@click.option("--show-secrets", is_flag=True, help="Do not mask IMSI, ICCID, IMEI, numbers.")
@click.option(
    "--draft",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for a persona draft and a capability draft.",
)
@click.option("--baud", default=115200, show_default=True, help="For ports without USB.")
@click.option("--listen", default=10.0, show_default=True, help="Seconds to watch for noise.")
@click.option("--patience", default=1.0, show_default=True, help="Stretches every time limit.")
@click.option("--no-scan", is_flag=True, help="Do not begin a network scan and break it off.")
@click.option("--write", is_flag=True, help="May write a draft into a storage and delete it.")
@click.option("--ussd", default="", metavar="CODE", help="Ask the network this code.")
@click.option(
    "--send-to",
    default="",
    metavar="NUMBER",
    callback=_checked_number,
    help="Send ONE SMS to this number. It costs what an SMS costs.",
)
@click.option("--text", default="modemctl conformance", show_default=True, help="Its text.")
@click.option("--ucs2", "is_ucs2", is_flag=True, help="Send a second one, in Chinese.")
@click.option(
    "--pin",
    default="",
    metavar="PIN",
    callback=_checked_pin,
    help="Try this PIN once, if 3 tries are known to be left; - asks for it.",
)
@click.option("--force", "is_forced", is_flag=True, help="Try the PIN at 2 tries, too.")
@click.option("--reboot", is_flag=True, help="Restart the modem at the end, see what it says.")
@click.pass_context
def command(
    context: click.Context, /, port: str, *, is_json: bool, is_verbose: bool, show_secrets: bool,
    draft: Path | None, baud: int, listen: float, patience: float, no_scan: bool, write: bool,
    ussd: str, send_to: str, text: str, is_ucs2: bool, pin: str, is_forced: bool, reboot: bool,
) -> None:  # fmt: skip
    """Ask the modem at PORT what it can, cannot and does oddly.

    PORT is a terminal (/dev/ttyUSB2), tcp://host:port or unix:/path. Without a flag nothing is
    sent, dialled, stored or deleted, and no PIN is tried; settings are put back at the end.

    Exit status: 0 usable, 1 something essential is missing, 2 no talking to it.
    """
    wishes = Wishes(
        number=send_to, text=text, is_ucs2=is_ucs2, pin=pin, is_forced=is_forced, ussd=ussd,
        is_writing=write, is_restarting=reboot, listen_seconds=listen, has_scan=not no_scan,
    )  # fmt: skip
    # A terminal that has not all the letters must not end the run.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    printer = report.Printer(Console(highlight=False), is_verbose=is_verbose)

    def tell(result: Result, seen: Observed) -> None:
        printer.result(result, _mask(seen, shows_all=show_secrets))

    if not is_json:
        click.echo(port)
    try:
        found = suite.run(
            lambda: open_port(port, baud=baud), wishes=wishes, permits=wishes.permits,
            patience=patience, on_result=suite.unheard if is_json else tell,
        )  # fmt: skip
    except PortError as error:
        click.echo(f"conformance: {error}\n  {error.cure}".rstrip(), err=True)
        context.exit(int(suite.Outcome.MUTE))
    mask = _mask(found.seen, shows_all=show_secrets)
    if is_json:
        sys.stdout.write(report.as_json(found, port, mask) + "\n")
    else:
        printer.summary(found, mask)
    for path in drafts.write(draft, found, port) if draft is not None else ():
        click.echo(f"written: {path}", err=is_json)
    context.exit(int(found.outcome))


def _mask(seen: Observed, *, shows_all: bool) -> masks.Mask:
    return masks.shows_all if shows_all else masks.of(seen)
