"""`python -m simulator`: serve a bank until SIGTERM, or show a bank's ledger."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from simulator import control, ledger, scenario
from simulator.bank import Bank
from simulator.scenario import PinLock, Scenario, ScenarioError, Transport


def main(argv: Sequence[str] | None = None) -> int:
    """Run; the exit status: 0 ended as asked, 2 wrong arguments or scenario."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["ledger"]:
        return _show_ledger(arguments[1:])
    options = _parser().parse_args(arguments)
    try:
        chosen = _scenario(options)
    except (ScenarioError, OSError) as error:
        sys.stderr.write(f"simulator: {error}\n")
        return 2
    asyncio.run(_serve(chosen, options.dir, is_fresh=options.fresh))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulator", description=__doc__)
    parser.add_argument("--modems", type=int, help="how many (default 16)")
    parser.add_argument("--dir", type=Path, required=True, help="folder to serve from")
    parser.add_argument(
        "--persona", help="mixed, or one or several (a,b,c) of the personas (default mixed)"
    )
    parser.add_argument("--latency", type=float, help="seconds until the network takes an SMS")
    parser.add_argument("--report-delay", type=float, help="seconds until a delivery report")
    parser.add_argument("--seed", type=int, help="the same seed gives the same bank")
    parser.add_argument("--transport", choices=[item.value for item in Transport])
    parser.add_argument("--pin", help="one PIN for all cards, or random (default)")
    parser.add_argument("--pin-lock", choices=[item.value for item in PinLock])
    parser.add_argument(
        "--fresh", action="store_true", help="forget what the folder's cards kept of earlier runs"
    )
    parser.add_argument("--scenario", type=Path, help="a TOML file; flags override it")
    return parser


def _scenario(options: argparse.Namespace) -> Scenario:
    base = scenario.load(options.scenario) if options.scenario else Scenario()
    given = {
        name: value
        for name, value in vars(options).items()
        if value is not None and name not in {"dir", "scenario", "fresh"}
    }
    return scenario.override(base, given)


async def _serve(chosen: Scenario, folder: Path, *, is_fresh: bool) -> None:
    # What an earlier run left behind when it was killed.
    for name in ("ready", "control.sock"):
        (folder / name).unlink(missing_ok=True)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    ready = folder / "ready"
    async with Bank(chosen, folder, is_fresh=is_fresh) as bank:
        controller = control.Controller(bank, on_stop=stopped.set)
        server = await control.serve(controller, folder / "control.sock", book=bank.ledger)
        async with server:
            controller.begin()
            ready.touch()
            sys.stdout.write(f"ready {chosen.modems} modems in {folder}\n")
            sys.stdout.flush()
            await stopped.wait()
            controller.end()
            ready.unlink(missing_ok=True)
            (folder / "control.sock").unlink(missing_ok=True)


def _show_ledger(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m simulator ledger")
    parser.add_argument("dir", type=Path, help="a bank's folder")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--kind", help="submit, refused, deliver, report or call")
    options = parser.parse_args(arguments)
    path = options.dir / "ledger.jsonl"
    if not path.is_file():
        sys.stderr.write(f"simulator: no ledger in {options.dir}\n")
        return 2
    for line in ledger.read(path):
        if options.kind in {None, line["kind"]}:
            sys.stdout.write(f"{json.dumps(line) if options.json else _plain(line)}\n")
    return 0


def _plain(line: dict[str, ledger.Fact]) -> str:
    other = line.get("destination") or line.get("from") or line.get("number") or ""
    facts = (
        line["time"],
        line["modem"],
        line["kind"],
        other,
        line.get("outcome"),
        line.get("text"),
    )
    return "  ".join("" if fact is None else str(fact) for fact in facts)


if __name__ == "__main__":
    sys.exit(main())
