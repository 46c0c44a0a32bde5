"""What people do to a running bank: messages, calls, faults, cards, cables."""

from __future__ import annotations

import json
from pathlib import Path

import click

from simulator.cli.naming import typed
from simulator.cli.serving import Duration
from simulator.cli.show import ask, bank_option, connect, json_option, show_json
from simulator.control.verbs import VERBS, Source
from simulator.faults import FaultKind
from simulator.phone import CallOutcome
from simulator.reading import unknown


@click.command(epilog="Example: sms modem01 退订 --from +8613912345678 --dir /tmp/bank")
@click.argument("to")
@click.argument("text")
@click.option(
    "--from",
    "origin",
    default="+8613900000000",
    show_default=True,
    help="The sender: a number, or a name of up to 11 letters.",
)
@bank_option
@json_option
def sms(*, to: str, text: str, origin: str, folder: Path, as_json: bool) -> None:
    """Send an SMS to cards, as a stranger would.

    TO is a modem, an ICCID or a number. A long text arrives in segments.
    """
    args = {"to": to, "text": text, "from": origin}
    ask(folder, "inject_sms", args, as_json=as_json, said="{segments} segment(s) on the way")


@click.command(epilog='Example: send modem01 +8613800000002 "hello" --report --dir /tmp/bank')
@click.argument("modem")
@click.argument("to")
@click.argument("text")
@click.option("--report", is_flag=True, help="Ask for a delivery report.")
@bank_option
@json_option
def send(*, modem: str, to: str, text: str, report: bool, folder: Path, as_json: bool) -> None:
    """Let modems send an SMS, as a client would.

    The commands are typed into the modem's first port; its card must be unlocked. The ledger shows
    whether the network took it.
    """
    args = {"modem": modem, "to": to, "text": text, "report": report}
    ask(folder, "send_sms", args, as_json=as_json, said="{modem}: {segments} segment(s) typed")


@click.command("type", epilog="Example: type modem01 'AT+CPIN=\"{pin}\"' --dir /tmp/bank")
@click.argument("modem")
@click.argument("text")
@click.option("--no-enter", is_flag=True, help="Without the carriage return at the end.")
@bank_option
@json_option
def type_(*, modem: str, text: str, no_enter: bool, folder: Path, as_json: bool) -> None:
    """Type a command into modems; prints what they answer at once.

    {pin}, {puk}, {iccid} and {number} stand for those of the card in the modem.
    """
    args = {"modem": modem, "text": text, "enter": not no_enter}
    if as_json:
        ask(folder, "type", args, as_json=True, said="")
        return
    with connect(folder) as bank:
        answer = bank.request("type", args)
    modems = answer.get("modems")
    each = modems if isinstance(modems, dict) else {answer["modem"]: answer}
    for name, one in each.items():
        lines = [line for line in str(one["answer"]).replace("\r", "\n").split("\n") if line]
        for line in lines:
            click.echo(f"{name}: {line}" if len(each) > 1 else line)


@click.command(epilog="Example: call modem01 --number 95588 --outcome missed --dir /tmp/bank")
@click.argument("modem")
@click.option("--number", default="+8613900000000", show_default=True, help="The other side.")
@click.option("--out", "is_out", is_flag=True, help="Somebody at the modem dials instead.")
@click.option(
    "--outcome",
    type=click.Choice([item.value for item in CallOutcome]),
    default="missed",
    show_default=True,
    help="How it goes if the client does nothing.",
)
@click.option("--rings", type=int, help="How often it rings before the outcome.")
@click.option("--seconds", type=Duration(), help="How long they talk.")
@bank_option
@json_option
def call(
    *, modem: str, number: str, is_out: bool, outcome: str, rings: int | None,
    seconds: float | None, folder: Path, as_json: bool,
) -> None:  # fmt: skip
    """Let calls come in, or leave (--out)."""
    args = {"modem": modem, "number": number, "outcome": outcome, "rings": rings,
            "seconds": seconds}  # fmt: skip
    ask(folder, "dial" if is_out else "inject_call", args, as_json=as_json, said="{modem}: done")


@click.command(
    epilog="Example: fault modem01 lost_answer --count 3 --dir /tmp/bank;"
    " take it away: fault modem01 lost_answer --clear --dir /tmp/bank"
)
@click.argument("modem")
@click.argument("kind", required=False)
@click.option("--count", type=int, help="Strike so often (default 1; 0 = until cleared).")
@click.option("--skip", type=int, help="Let so many chances pass first.")
@click.option("--rate", type=float, help="Strike with this probability, 0 to 1.")
@click.option("--seconds", type=float, help="How long, where the kind has a length.")
@click.option("--code", type=int, help="The error, where the kind has one.")
@click.option("--on", help="Only at this command, where the kind strikes at commands.")
@click.option("--clear", is_flag=True, help="Take KIND (or all) away instead.")
@bank_option
@json_option
def fault(
    *, modem: str, kind: str | None, clear: bool, folder: Path, as_json: bool, **more: object
) -> None:
    """Give modems a fault, or take faults away (--clear).

    KIND is one of those that docs/simulator.md explains.
    """
    kinds = [item.value for item in FaultKind]
    if kind is not None and kind not in kinds:
        raise click.UsageError(unknown(kind, kinds, what="fault"))
    if clear:
        ask(folder, "clear_faults", {"modem": modem, "fault": kind}, as_json=as_json, said="done")
        return
    if kind is None:
        raise click.UsageError(f"Missing argument 'KIND': one of {', '.join(kinds)}")
    args = {"modem": modem, "fault": kind, **more}
    ask(folder, "set_fault", args, as_json=as_json, said="{modem}: has " + kind)


@click.command(epilog="Example: pull modem03 --dir /tmp/bank")
@click.argument("modem")
@bank_option
@json_option
def pull(*, modem: str, folder: Path, as_json: bool) -> None:
    """Take cards out of modems; prints their ICCIDs."""
    ask(folder, "pull_card", {"modem": modem}, as_json=as_json, said="{modem}: {iccid} is out")


@click.command(epilog="Example: insert modem03 89860012345678901234 --dir /tmp/bank")
@click.argument("modem")
@click.argument("card")
@bank_option
@json_option
def insert(*, modem: str, card: str, folder: Path, as_json: bool) -> None:
    """Put a card into a modem, out of wherever it is.

    CARD is an ICCID, a number, or the modem that it is in.
    """
    args = {"modem": modem, "card": card}
    ask(folder, "insert_card", args, as_json=as_json, said="{modem}: has it")


@click.command(epilog="Example: swap modem01 modem02 --dir /tmp/bank")
@click.argument("modem")
@click.argument("other")
@bank_option
@json_option
def swap(*, modem: str, other: str, folder: Path, as_json: bool) -> None:
    """Exchange two modems' cards."""
    ask(folder, "swap_cards", {"modem": modem, "other": other}, as_json=as_json, said="exchanged")


@click.command(epilog="Example: unplug modem01 --dir /tmp/bank; a whole hub: unplug --hub 2")
@click.argument("modem", required=False)
@click.option("--hub", type=int, help="Every modem of this hub.")
@click.option("--keeps-power", is_flag=True, help="Only the data lines: the modem stays as it is.")
@bank_option
@json_option
def unplug(
    *, modem: str | None, hub: int | None, keeps_power: bool, folder: Path, as_json: bool
) -> None:
    """Unplug modems or a hub: the ports vanish."""
    if hub is not None:
        _of_hub("unplug_hub", modem, hub, folder, as_json=as_json)
        return
    args = {"modem": _named(modem), "keeps_power": keeps_power}
    ask(folder, "unplug", args, as_json=as_json, said="{modem}: unplugged")


@click.command(
    epilog="Example: plug modem01 --renumbered --dir /tmp/bank; a whole hub: plug --hub 2"
)
@click.argument("modem", required=False)
@click.option("--hub", type=int, help="Every modem of this hub.")
@click.option("--renumbered", is_flag=True, help="Under other numbers in tty/ than before.")
@bank_option
@json_option
def plug(
    *, modem: str | None, hub: int | None, renumbered: bool, folder: Path, as_json: bool
) -> None:
    """Plug modems or a hub: the ports come back when the modem has booted."""
    if hub is not None:
        _of_hub("plug_hub", modem, hub, folder, as_json=as_json)
        return
    args = {"modem": _named(modem), "renumbered": renumbered}
    ask(folder, "plug", args, as_json=as_json, said="{modem}: plugged")


def _of_hub(do: str, modem: str | None, hub: int, folder: Path, *, as_json: bool) -> None:
    if modem is not None:
        raise click.UsageError("either MODEM or --hub")
    ask(folder, do, {"hub": hub}, as_json=as_json, said=f"hub {hub}: {{names}}")


def _named(modem: str | None) -> str:
    if modem is None:
        raise click.UsageError("Missing argument 'MODEM' (or --hub)")
    return modem


@click.command(epilog="Example: reboot modem01 --dir /tmp/bank")
@click.argument("modem")
@bank_option
@json_option
def reboot(*, modem: str, folder: Path, as_json: bool) -> None:
    """Let modems restart by themselves."""
    ask(folder, "reboot", {"modem": modem}, as_json=as_json, said="{modem}: restarts")


@click.command(
    epilog="Example: traffic strangers --per-minute 30 --dir /tmp/bank;"
    " end it: traffic --stop --dir /tmp/bank"
)
@click.argument("source", required=False, type=click.Choice([item.value for item in Source]))
@click.option("--per-minute", type=float, default=6.0, show_default=True, help="How often.")
@click.option("--modems", default="all", show_default=True, help="Which: 1-4, modem07, all.")
@click.option("--chinese", type=float, help="Share of Chinese texts, 0 to 1 (default 0.5).")
@click.option("--long", "long_share", type=float, help="Share of long texts (default 0.1).")
@click.option("--name", help="What to call it, for --stop.")
@click.option("--limit", type=int, help="End after so many.")
@click.option("--stop", "is_stop", is_flag=True, help="End --name, or all traffic.")
@bank_option
@json_option
def traffic(
    *, source: str | None, per_minute: float, modems: str, chinese: float | None,
    long_share: float | None, name: str | None, limit: int | None, is_stop: bool, folder: Path,
    as_json: bool,
) -> None:  # fmt: skip
    """Start traffic, or end it (--stop).

    strangers write to the cards, neighbours (cards) write to each other, senders (cards) write to
    strangers, callers call.
    """
    if is_stop:
        ask(folder, "stop_traffic", {"name": name}, as_json=as_json, said="ended: {ended}")
        return
    if source is None:
        raise click.UsageError("Missing argument 'SOURCE'")
    args = {"source": source, "per_minute": per_minute, "modem": modems, "chinese": chinese,
            "long": long_share, "name": name, "limit": limit}  # fmt: skip
    ask(
        folder,
        "traffic",
        args,
        as_json=as_json,
        said="{name} goes on until: " + typed("traffic --stop"),
    )


@click.command(
    epilog="Example: do set_signal modem=modem01 signal=5 --dir /tmp/bank;"
    " `verbs` lists all verbs and keys."
)
@click.argument("verb")
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE]...")
@bank_option
@json_option
def do(*, verb: str, arguments: tuple[str, ...], folder: Path, as_json: bool) -> None:
    """Carry out any verb of the control socket; prints its answer as JSON.

    A VALUE that is JSON is read as such, anything else and what is a text anyway as a text:
    text=123, to=13800000001, rule='{"cms": 38}', modem='["modem01", "modem03"]'.
    """
    del as_json  # what it prints is JSON anyway; problems are where it is given
    args: dict[str, object] = {}
    for one in arguments:
        name, equals, value = one.partition("=")
        if not equals:
            raise click.UsageError(f"{one!r}: KEY=VALUE is needed")
        args[name] = _value(verb, name, value)
    with connect(folder) as bank:
        answer = bank.request(verb, args)
    show_json({name: value for name, value in answer.items() if name != "id"})


def _value(do: str, name: str, text: str) -> object:
    try:
        found: object = json.loads(text)
    except ValueError:
        return text
    is_text = do in VERBS and VERBS[do].wants_text(name)
    return text if is_text and not isinstance(found, str | list) else found


@click.command(epilog="Example: stop --dir /tmp/bank")
@bank_option
def stop(*, folder: Path) -> None:
    """End the bank."""
    with connect(folder) as bank:
        bank.stop()
