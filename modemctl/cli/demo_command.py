"""`modemctl demo`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import click


@click.command(
    epilog="Example: modemctl demo --modems 64 --messages 1000 --latency 0.5 --json",
)
@click.option(
    "--modems",
    type=click.IntRange(2, 512),
    default=16,
    show_default=True,
    help="Size of the simulated bank.",
)
@click.option(
    "--messages",
    type=click.IntRange(2, 100_000),
    default=200,
    show_default=True,
    help="Messages of both batches together.",
)
@click.option(
    "--latency",
    type=click.FloatRange(0, 60),
    default=0.3,
    show_default=True,
    help="Seconds that the simulated network takes for a segment.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Same seed, same bank.")
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Use this folder and leave it behind: settings, keys, database, logs.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line.")
@click.pass_context
def demo(
    ctx: click.Context,
    *,
    modems: int,
    messages: int,
    latency: float,
    seed: int,
    keep: Path | None,
    as_json: bool,
) -> None:
    """Play the whole mission against a simulated bank, and judge it by the network's ledger.

    Exit status 0 only if the daemon's store and the ledger agree, number by number.
    """
    from modemctl.demo.play import Plan, Play
    from modemctl.demo.view import View
    from modemctl.demo.world import open_world

    plan = Plan(n_modems=modems, n_messages=messages, latency=latency, seed=seed)
    settings = {
        # The demo shows approval and evidence, not waiting: limits that do not bind.
        "limits.segments_per_minute": "100000",
        "limits.segments_per_hour": "1000000",
        "limits.segments_per_day": "10000000",
        "limits.minimum_gap": "0.0",
        "api.max_json_bytes": "67108864",
    }
    with View(is_quiet=as_json) as view:
        view.act(f"a bank of {modems} simulated modems and the daemon on top of it")
        with open_world(
            n_modems=modems,
            latency=latency,
            seed=seed,
            keep=None if keep is None else keep.absolute(),
            settings=settings,
        ) as world:
            outcome = Play(world, plan, view).perform()
        figures = outcome.figures()
        view.summary(figures, agrees=not outcome.differences)
    if as_json:
        click.echo(json.dumps(figures, ensure_ascii=False))
    ctx.exit(1 if outcome.differences else 0)


COMMANDS: Final = {"demo": demo}
