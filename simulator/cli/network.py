"""What people do to a running bank's network: coverage, limits, pace, rules, USSD."""

from __future__ import annotations

from pathlib import Path

import click

from simulator.cli.naming import typed
from simulator.cli.serving import Duration
from simulator.cli.show import ask, bank_option, connect, json_option, show_json


@click.command(
    epilog="Example: registration modem01 3 --dir /tmp/bank (denied);"
    " back to normal: registration modem01 --dir /tmp/bank"
)
@click.argument("modem")
@click.argument("stat", required=False, type=click.IntRange(0, 10))
@bank_option
@json_option
def registration(*, modem: str, stat: int | None, folder: Path, as_json: bool) -> None:
    """Force cards' registration, or (without STAT) leave it to the network again.

    STAT as in +CREG: 0 not registered, 1 home, 2 searching, 3 denied, 5 roaming.
    """
    args = {"modem": modem, "stat": stat}
    ask(folder, "set_registration", args, as_json=as_json, said="{modem}: searches again")


@click.command(epilog="Example: coverage lose --modem modem01 --dir /tmp/bank; coverage restore")
@click.argument("what", type=click.Choice(["lose", "restore"]))
@click.option("--carrier", default="", help="Only this carrier's (default: all).")
@click.option("--modem", default="", help="Only there: 1-4, modem07 (default: everywhere).")
@bank_option
@json_option
def coverage(*, what: str, carrier: str, modem: str, folder: Path, as_json: bool) -> None:
    """Take the network away, bring it back."""
    args = {"carrier": carrier, "modem": modem}
    ask(folder, f"{what}_coverage", args, as_json=as_json, said="done")


@click.command(
    "cut-off",
    epilog="Example: cut-off modem01 --cms 21 --dir /tmp/bank;"
    " cut-off modem01 --lift --dir /tmp/bank",
)
@click.argument("modem")
@click.option("--cms", default=21, show_default=True, help="What its submits get: +CMS ERROR.")
@click.option("--denied", is_flag=True, help="Throw it out of the network too.")
@click.option("--lift", is_flag=True, help="Let it send again.")
@bank_option
@json_option
def cut_off(*, modem: str, cms: int, denied: bool, lift: bool, folder: Path, as_json: bool) -> None:
    """Let the carrier cut cards off, or lift that again (--lift)."""
    if lift:
        ask(folder, "lift", {"modem": modem}, as_json=as_json, said="{modem}: may send again")
        return
    args = {"modem": modem, "cms": cms, "denied": denied}
    ask(folder, "cut_off", args, as_json=as_json, said="{modem}: is cut off")


@click.command(epilog="Example: balance modem01 3.50 --dir /tmp/bank")
@click.argument("modem")
@click.argument("amount")
@bank_option
@json_option
def balance(*, modem: str, amount: str, folder: Path, as_json: bool) -> None:
    """Set the money on cards."""
    args = {"modem": modem, "balance": amount}
    ask(folder, "set_balance", args, as_json=as_json, said="{modem}: has " + amount)


@click.command(epilog="Example: latency 2s --report-delay 1m --dir /tmp/bank")
@click.argument("seconds", type=Duration())
@click.option("--report-delay", type=Duration(), help="Time until a delivery report.")
@bank_option
@json_option
def latency(*, seconds: float, report_delay: float | None, folder: Path, as_json: bool) -> None:
    """Change the network's pace: the time until it takes an SMS."""
    args = {"seconds": seconds, "report_delay": report_delay}
    ask(folder, "set_latency", args, as_json=as_json, said="it was {seconds} s")


@click.command(
    epilog="Example: rule --destination +86139 --cms 38 --rate 0.2 --dir /tmp/bank;"
    " take all away: rule --clear --dir /tmp/bank"
)
@click.option("--destination", help="Submits to numbers that begin so.")
@click.option("--iccid", help="Submits of this card.")
@click.option("--text", help="Submits whose text this regular expression finds.")
@click.option("--cms", type=int, help="Refuse them with this +CMS ERROR.")
@click.option(
    "--st", type=int, help="TP-ST of their delivery reports (64 and more: not delivered)."
)
@click.option(
    "--report",
    type=click.Choice(["normal", "lost", "doubled", "late"]),
    help="What becomes of the reports.",
)
@click.option("--count", type=int, help="So often.")
@click.option("--rate", type=float, help="With this probability, 0 to 1.")
@click.option("--clear", is_flag=True, help="Take all rules away instead.")
@bank_option
@json_option
def rule(*, clear: bool, folder: Path, as_json: bool, **fields: object) -> None:
    """What the network does with matching submits; the newest rule that fits decides."""
    if clear:
        ask(folder, "clear_network_errors", {}, as_json=as_json, said="no rules any more")
        return
    wanted = {name: value for name, value in fields.items() if value is not None}
    ask(folder, "set_network_error", {"rule": wanted}, as_json=as_json, said="done")


@click.command(
    epilog="Example: ussd modem01 '*100#' --dir /tmp/bank;"
    " the network begins: ussd modem01 'Your credit is low' --push --dir /tmp/bank"
)
@click.argument("modem")
@click.argument("text")
@click.option("--push", is_flag=True, help="TEXT is what the network says by itself.")
@bank_option
@json_option
def ussd(*, modem: str, text: str, push: bool, folder: Path, as_json: bool) -> None:
    """Ask a code, or let the network begin (--push).

    Asking types AT+CUSD into the modem; the ledger's kind `ussd` shows both directions.
    """
    if push:
        args = {"modem": modem, "text": text}
        ask(folder, "push_ussd", args, as_json=as_json, said="{modem}: told")
        return
    with connect(folder) as bank:
        answer = bank.request("type", {"modem": modem, "text": f'AT+CUSD=1,"{text}",15'})
    if as_json:
        show_json({name: value for name, value in answer.items() if name != "id"})
        return
    click.echo(f"asked; see: {typed(f'ledger {folder} --kind ussd')}")
