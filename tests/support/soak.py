"""A bank with work, faults and operators for long: what the daemon's process is like meanwhile."""

from __future__ import annotations

import importlib
import math
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from modemctl.cli.client import Connection
from modemctl.cli.errors import ApiProblem, NoDaemon
from modemctl.demo import cast
from modemctl.demo.world import ADMINISTRATORS, World
from tests.support.banks import DaemonProcess, Site
from tests.support.simulated import BankProcess
from tests.support.turmoil_host import TurmoilHost

sys.path.append(str(Path(__file__).parents[2] / "bench"))
banks = importlib.import_module("banks")
meters = importlib.import_module("meters")

SAMPLE_EVERY: Final = 10.0
_LAG: Final = "modemctl_loop_lag_seconds"
_READS: Final = (
    "modems", "sims", "limits", "batches", "inbox", "calls", "doubt", "events", "audit", "duties",
    "self-tests", "register-faults", "nodes",
)  # fmt: skip
"""What operators look at, in turn."""
_MOST_FAILED: Final = 0.02
"""Share of the reads that may fail: the store stalls for longer than its own patience."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The daemon's process at a moment, `at` seconds from the beginning (10^6 octets)."""

    at: float
    rss_mb: float
    pss_mb: float
    descriptors: int
    threads: int
    tasks: int
    wal_mb: float
    store_mb: float
    lag_p99_s: float
    cpu_s: float
    delivered: int


def sample(site: Site, world: World, *, at: float, before: Mapping[float, float]) -> Sample:
    """Read the process, its files and its metrics; `before`: the lag's histogram of last time."""
    pid = world.daemon_pid
    process = Path(f"/proc/{pid}")
    text = banks.metrics(world)
    status = (process / "status").read_text()
    (tasks,) = (line for line in text.splitlines() if line.startswith("modemctl_tasks "))
    return Sample(
        at=at,
        rss_mb=meters.rss_mb(pid),
        pss_mb=meters.pss_mb(pid),
        descriptors=len(list((process / "fd").iterdir())),
        threads=int(status.partition("Threads:")[2].split()[0]),
        tasks=int(float(tasks.split()[1])),
        wal_mb=_size_mb(site.database.with_name(site.database.name + "-wal")),
        store_mb=_size_mb(site.database),
        lag_p99_s=meters.quantile_bound(before, meters.histogram(text, _LAG), 0.99),
        cpu_s=meters.cpu_seconds(pid),
        delivered=site.segments()["delivered"],
    )


def _size_mb(path: Path) -> float:
    return path.stat().st_size / 1e6 if path.exists() else 0.0


def growth(samples: Sequence[Sample], name: str, *, warm: float) -> float:
    """By how much of itself a figure grew after `warm` seconds, by the line that fits it best.

    0.05 is 5 %; NaN where less than three samples were taken after that.
    """
    points = [(one.at, float(getattr(one, name))) for one in samples if one.at >= warm]
    if len(points) < 3:
        return math.nan
    middle = sum(at for at, _ in points) / len(points)
    mean = sum(value for _, value in points) / len(points)
    slope = sum((at - middle) * (value - mean) for at, value in points) / sum(
        (at - middle) ** 2 for at, _ in points
    )
    first, last = points[0][0], points[-1][0]
    begin = mean + slope * (first - middle)
    return slope * (last - first) / begin if begin else math.nan


def people(site: Site, bank: BankProcess, daemon: DaemonProcess, *, n_modems: int) -> object:
    """Hire everybody over the API of a daemon that runs, and import the bank's cards.

    Returns `banks.Staffed`; the site has two administrators (`bootstrap`) and no departments.
    """
    world = World(
        folder=site.folder,
        connection=Connection(config_path=site.config, socket_path=site.socket, key_file=None),
        bank=bank.folder,
        daemon_pid=daemon.pid,
        simulator_pid=bank.pid,
    )
    hired = cast.hire(world)
    cast.write_card_list(world)
    with (
        world.client("it-technician") as technician,
        (site.folder / "cards.csv").open("rb") as cards,
    ):
        technician.send_file("POST", "/v1/sims/import", cards, format="csv")
    return banks.Staffed(world=world, cast=hired, n_modems=n_modems, import_seconds=0.0)


def bootstrap(site: Site) -> None:
    """Make the two administrators while no daemon runs."""
    for name in ADMINISTRATORS:
        command = [
            *(sys.executable, "-m", "modemctl", "--config", str(site.config)),
            *("key", "bootstrap", "--name", name, "--out", str(site.folder / "keys" / name)),
        ]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MODEMCTL_")}
        subprocess.run(command, check=True, capture_output=True, env=environment, timeout=60)


class SoakHost(TurmoilHost):
    """A machine whose store stalls between two batches, not while people put one in."""

    def __init__(self, site: Site, daemon: DaemonProcess) -> None:
        super().__init__(site, daemon)
        self.desk = threading.Lock()

    def stall_store(self) -> None:
        """From now on no commit is possible."""
        with self.desk:
            super().stall_store()


@dataclass(kw_only=True)
class Operators:
    """A thread that keeps the queue fed, looks at everything in turn, and takes the samples."""

    site: Site
    staffed: object
    host: SoakHost
    began: float
    recipients: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    reads: Counter[str] = field(default_factory=Counter)
    n_batches: int = 0

    def __post_init__(self) -> None:
        self._is_fed = True
        self._end = threading.Event()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="operators")
        self._work_done: Future[None] | None = None
        self._lag: Mapping[float, float] = {}
        self._sampled = -math.inf
        self._n_reads = 0

    def start(self) -> None:
        """Begin to work."""
        self._work_done = self._executor.submit(self._run)

    def feed_no_more(self) -> None:
        """Let the queue run empty; go on looking."""
        with self.host.desk:
            self._is_fed = False

    def stop(self) -> None:
        """End; fails as the work failed, or where it hangs for two minutes."""
        self._end.set()
        self._executor.shutdown(wait=False)
        if self._work_done is not None:
            self._work_done.result(timeout=120)

    def _run(self) -> None:
        while not self._end.wait(1.0):
            self._work()

    def _work(self) -> None:
        with self.host.desk:
            if self._is_fed and not self.host.is_stalled:
                self._feed()
        self._read()
        at = time.monotonic() - self.began
        if self._is_fed and at - self._sampled >= SAMPLE_EVERY:
            world = self.staffed.world
            self.samples.append(sample(self.site, world, at=at, before=self._lag))
            self._lag = meters.histogram(banks.metrics(world), _LAG)
            self._sampled = at

    def _feed(self) -> None:
        staffed = self.staffed
        if self.site.segments()["queued"] >= 6 * staffed.n_modems:
            return
        n, first = 6 * staffed.n_modems, len(self.recipients)
        staffed.release(staffed.prepare(n, first=first))
        n_promotions = n * (staffed.n_modems // 2) // staffed.n_modems
        for block, size in ((banks.NOTICE_BLOCK, n - n_promotions),
                            (banks.PROMOTION_BLOCK, n_promotions)):  # fmt: skip
            self.recipients += [banks.number_of(block, i) for i in range(first, first + size)]
        self.n_batches += 2

    def _read(self) -> None:
        what = _READS[self._n_reads % len(_READS)]
        self._n_reads += 1
        try:
            with self.staffed.world.client("it-technician") as technician:
                technician.get(f"/v1/{what}")
        except (ApiProblem, NoDaemon) as error:
            self.reads[f"{what}: {error}"[:80]] += 1
        else:
            self.reads["good"] += 1

    def findings(self) -> list[str]:
        """What is wrong with the answers."""
        failed = self.reads.total() - self.reads["good"]
        if failed > 1 + self.reads.total() * _MOST_FAILED:
            return [f"{failed} of {self.reads.total()} reads failed: {dict(self.reads)}"]
        return []


_GROWING: Final = ("rss_mb", "pss_mb", "descriptors", "threads", "tasks")
MOST_GROWTH: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a soak showed; growth after `warm` seconds."""

    modems: int
    minutes: float
    seed: int
    warm: float
    n_batches: int
    growths: Mapping[str, float]
    samples: Sequence[Sample]
    figures: str
    reads: Mapping[str, int]
    findings: Sequence[str]

    def facts(self) -> dict[str, object]:
        """All of it for JSON."""
        return asdict(self)

    def table(self) -> str:
        """A row for each figure: first after warm-up, last, most, growth."""
        warm = [one for one in self.samples if one.at >= self.warm] or list(self.samples)
        lines = ["| the daemon | after warm-up | at the end | most | growth |",
                 "|---|---:|---:|---:|---:|"]  # fmt: skip
        for name in (*_GROWING, "wal_mb", "store_mb", "lag_p99_s"):
            values = [float(getattr(one, name)) for one in warm]
            grown = f"{self.growths[name]:+.1%}" if name in self.growths else "–"
            lines.append(
                f"| {name} | {values[0]:.4g} | {values[-1]:.4g} | {max(values):.4g} | {grown} |"
            )
        seconds = warm[-1].at - warm[0].at
        if seconds:
            cores = (warm[-1].cpu_s - warm[0].cpu_s) / seconds
            rate = (warm[-1].delivered - warm[0].delivered) / seconds
            lines += ["", f"{rate:.1f} delivered a second, {cores:.2f} cores of the daemon"]
        return "\n".join([*lines, self.figures, f"reads {dict(self.reads)}"])


def growths(samples: Sequence[Sample], *, warm: float) -> dict[str, float]:
    """Figure → growth after warm-up."""
    return {name: growth(samples, name, warm=warm) for name in _GROWING}
