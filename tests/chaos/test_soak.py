"""A bank in turmoil for long, with people at work: nothing lost or doubled, and no growth.

20 seconds with 12 modems by default, to see that it works; `bench/soak.py` runs it for half an hour
with 256. `SOAK_MODEMS`, `SOAK_MINUTES`, `SOAK_JSON` (a file) and `MODEMCTL_SEED` say otherwise.
"""

import json
import os
import time
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support import soak
from tests.support.banks import DaemonProcess, Site, accepts
from tests.support.simulated import BankProcess
from tests.support.turmoil import PER_HUB, Turmoil, plan
from tests.support.turmoil_judge import TurmoilJudge
from tests.support.turmoil_people import Keeper, settle

N_MODEMS = int(os.environ.get("SOAK_MODEMS", "12"))
MINUTES = float(os.environ.get("SOAK_MINUTES", "0.33"))
SEED = int(os.environ.get("MODEMCTL_SEED", "20261123"))
OUT = os.environ.get("SOAK_JSON")
SECONDS = MINUTES * 60
LATENCY = 4.0 if MINUTES >= 1 else 1.0
PATIENCE = 20.0
LOOK = 900.0 if MINUTES >= 1 else 90.0
"""Seconds: a storage is looked into each ten minutes."""
BURST = min(10.0, SECONDS / 10)
WARM = min(600.0, SECONDS / 3)
LONG_ENOUGH = 15.0
"""Minutes from which on growth is judged."""
WORLD = f"""
seed = {SEED}
modems = {N_MODEMS}
persona = "all"
latency = {LATENCY}
per_hub = {PER_HUB}
pin = "random"
[[carriers]]
name = "CHINA MOBILE"
numeric = "46000"
home = [""]
retry = 5
"""


@pytest.mark.timeout(900 + LOOK + 2 * SECONDS)
def test_a_long_turmoil_loses_nothing_and_makes_nothing_grow(tmp_path):
    print(f"seed {SEED}")
    (tmp_path / "world.toml").write_text(WORLD)
    with BankProcess(tmp_path / "bank", "--scenario", str(tmp_path / "world.toml")) as bank:
        names = sorted(str(state["modem"]) for state in bank.control.state())
        hub = -(-N_MODEMS // PER_HUB)
        whole = names[(hub - 1) * PER_HUB :]  # the last hub is pulled with all that is on it
        sick = names[1 : -len(whole) : 2] + whole
        deeds = plan(SEED, sick, names, SECONDS, hub=hub, burst=BURST, ends=False)
        site = make_site(tmp_path)
        keeper = Keeper(site)
        with DaemonProcess(site) as daemon:
            daemon.wait_until(lambda: accepts(site.socket), what="the API")
            staffed = soak.people(site, bank, daemon, n_modems=N_MODEMS)
            host = soak.SoakHost(site, daemon)
            turmoil = Turmoil(bank, sick, host)
            daemon.wait_until(lambda: site.n_ready() == N_MODEMS, what="all ready", seconds=300)
            operators = soak.Operators(
                site=site, staffed=staffed, host=host, began=time.monotonic()
            )
            operators.start()
            try:
                turmoil.run(deeds, keeper.look)
                operators.feed_no_more()
                turmoil.finish()
                settle(site, daemon, turmoil, keeper, n_modems=N_MODEMS, seconds=SECONDS, look=LOOK)
            finally:
                operators.stop()
                keep([asdict(one) for one in operators.samples])
        judge = TurmoilJudge(
            site=site, bank=bank, turmoil=turmoil, host=host, healthy=frozenset(names) - {*sick},
            recipients=operators.recipients, seen=frozenset(keeper.seen),
            patience=timedelta(seconds=PATIENCE),
        )  # fmt: skip
        judge.judge(daemon)
    result = conclude(operators, judge)
    print(result.table())
    keep(result.facts())
    assert not result.findings, "\n".join(result.findings[:200])


def keep(facts: object) -> None:
    """Leave it as JSON for whoever asked: the samples alone where the rest never came."""
    octets = json.dumps(facts)
    if OUT:
        Path(OUT).write_text(octets)


def make_site(folder: Path) -> Site:
    """A site with two administrators, whose bank answers within seconds or not at all."""
    site = Site(
        folder / "site",
        str(folder / "bank" / "ports" / "*"),
        departments=False,
        site__signature='"【示例公司】"',
        api__max_json_bytes="67108864",
        sms__request_reports="true",
        bank__submit_timeout=str(PATIENCE),
        bank__health_interval="5.0",
    )
    soak.bootstrap(site)
    return site


def conclude(operators: soak.Operators, judge: TurmoilJudge) -> soak.Result:
    """What the judge, the readings and the answers say together."""
    grown = soak.growths(operators.samples, warm=WARM)
    findings = [*judge.findings, *operators.findings()]
    if MINUTES >= LONG_ENOUGH:
        findings += [
            f"{name} grew by {by:.1%} after warm-up"
            for name, by in grown.items()
            if not by < soak.MOST_GROWTH
        ]
    return soak.Result(
        modems=N_MODEMS, minutes=MINUTES, seed=SEED, warm=WARM, n_batches=operators.n_batches,
        growths=grown, samples=operators.samples, figures=judge.figures(),
        reads=dict(operators.reads), findings=findings,
    )  # fmt: skip
