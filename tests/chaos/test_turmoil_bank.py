"""The whole daemon while half of the bank is in turmoil: judged by ledger, store and log.

45 seconds by default, ten minutes under `MODEMCTL_LONG=1`; `MODEMCTL_SEED` tells another story, and
`CHAOS_MODEMS`, `CHAOS_SECONDS`, `CHAOS_PERSONAS` make it smaller or larger.
"""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from simulator.faults import FaultKind
from tests.support.approved import numbers
from tests.support.banks import DaemonProcess, Site
from tests.support.simulated import BankProcess
from tests.support.turmoil import PER_HUB, Turmoil, plan
from tests.support.turmoil_host import TurmoilHost
from tests.support.turmoil_judge import TurmoilJudge
from tests.support.turmoil_people import Keeper, settle

LONG = os.environ.get("MODEMCTL_LONG") == "1"
N_MODEMS = int(os.environ.get("CHAOS_MODEMS", "64"))
SECONDS = float(os.environ.get("CHAOS_SECONDS", "600" if LONG else "45"))
SEED = int(os.environ.get("MODEMCTL_SEED", "20261122"))
PERSONAS = os.environ.get("CHAOS_PERSONAS", "all")
LATENCY = 1.5
PATIENCE = 6.0
# A message that a modem had no room for comes again soon: networks wait minutes.
WORLD = f"""
seed = {SEED}
modems = {N_MODEMS}
persona = "{PERSONAS}"
latency = {LATENCY}
per_hub = {PER_HUB}
[[carriers]]
name = "CHINA MOBILE"
numeric = "46000"
home = [""]
retry = 5
"""
TEXTS = ("No {n}", "您好，您的账单已出，请及时查看。", "Ihre Bestellung ist unterwegs; " * 8)


@pytest.mark.timeout(1800)
def test_a_bank_in_turmoil_keeps_its_promise(tmp_path):
    print(f"seed {SEED}")
    (tmp_path / "world.toml").write_text(WORLD)
    names = [f"modem{n:02d}" for n in range(1, N_MODEMS + 1)]
    hub = -(-N_MODEMS // PER_HUB)
    whole = names[(hub - 1) * PER_HUB :]  # the last hub is pulled with all that is on it
    sick = names[1 : -len(whole) : 2] + whole
    deeds = plan(SEED, sick, names, SECONDS, hub=hub)
    with BankProcess(tmp_path / "bank", "--scenario", str(tmp_path / "world.toml")) as bank:
        site, recipients = prepare(tmp_path)
        keeper = Keeper(site)
        with DaemonProcess(site) as daemon:
            host = TurmoilHost(site, daemon)
            turmoil = Turmoil(bank, sick, host)
            daemon.wait_until(lambda: site.n_ready() == N_MODEMS, what="all ready", seconds=90)
            turmoil.run(deeds, keeper.look)
            turmoil.finish()
            settle(site, daemon, turmoil, keeper, n_modems=N_MODEMS, seconds=SECONDS)
        judge = TurmoilJudge(
            site=site, bank=bank, turmoil=turmoil, host=host, healthy=frozenset(names) - {*sick},
            recipients=recipients, seen=frozenset(keeper.seen),
            patience=timedelta(seconds=PATIENCE),
        )  # fmt: skip
        judge.judge(daemon)
    print(judge.figures())
    drawn = {deed.args["fault"] for deed in deeds if deed.what == "fault"}
    assert SECONDS < 40 or drawn == {kind.value for kind in FaultKind}
    assert judge.n_kinds > (30 if SECONDS >= 40 else 0), "hardly any fault struck"
    assert not judge.findings, "\n".join(judge.findings)


def prepare(folder: Path) -> tuple[Site, list[str]]:
    """A site with batches that last as long as the turmoil, and their recipients."""
    site = Site(
        folder / "site",
        str(folder / "bank" / "ports" / "*"),
        bank__submit_timeout=str(PATIENCE),
        bank__health_interval="1.0",
    )
    site.add_cards(folder / "bank")
    n_each = int(N_MODEMS * SECONDS / (3 * LATENCY)) // len(TEXTS)
    recipients = numbers(n_each * len(TEXTS), start=50_000_000)
    for n, text in enumerate(TEXTS):
        site.add_batch(recipients[n * n_each : (n + 1) * n_each], template=text)
    return site, recipients
