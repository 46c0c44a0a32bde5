"""What the simulator costs: start, memory and rest of a large bank, and how many SMS a second.

Each row starts `python -m simulator` as a process on one core; the load generator `bench/storm.c`
(compiled into a temporary folder) has the other one. In the same run it drives `bench/parrot.py`,
the same bytes with no world behind them: `of_parrot` is what the simulator carries for a second of
CPU time, divided by what that one does.
What the generator counted must be what the ledger holds, or the run fails.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from meters import LedgerReader, cpu_seconds, pss_mb, rss_mb

_ROOT: Final = Path(__file__).parents[1]
_PATIENCE: Final = 180.0  # seconds for a bank to come up, to be unlocked, to end
_BUSY: Final = 0.75  # a bank under load that got less of a core was kept from it
_SETTLE: Final = 3.0  # seconds after a start, before a rest is measured
_EXAMPLES: Final = """examples:
  .venv/bin/python bench/simulator.py                     all of it, about 11 minutes
  .venv/bin/python bench/simulator.py --only bank --modems 512 --port-sets all
  .venv/bin/python bench/simulator.py --only load --load-modems 64 --loads sms --json

Exit status 1 where a target is not met: 512 modems with one port each start in < 5 s, take < 400 MB
and, idle, < 3 % of a core; 64 modems without latency carry at least 3,000 SMS a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BankRow:
    """A bank that has nothing to do; shares are of one core."""

    modems: int
    port_sets: str
    ports: int
    start_s: float
    rss_mb: float
    pss_mb: float
    idle_share: float
    connected_share: float

    @property
    def is_met(self) -> bool:
        """The target holds, where it is one of these banks."""
        if self.port_sets != "one" or self.modems > 512:
            return True
        share = max(self.idle_share, self.connected_share)
        return self.start_s < 5 and self.rss_mb < 400 and share < 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRow:
    """A bank under load; `per_cpu_s` counts the bank's user and system time."""

    modems: int
    transport: str
    load: str
    per_s: float
    cores: float
    per_cpu_s: float
    parrot_per_cpu_s: float
    of_parrot: float
    p50_ms: float
    p99_ms: float
    max_ms: float

    @property
    def is_met(self) -> bool:
        """The target holds, where it is one of these loads."""
        return self.load != "sms" or self.modems != 64 or self.per_s >= 3000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Load:
    persona: str = "mixed"
    arguments: tuple[str, ...] = ()
    is_sms: bool = True


_REPORTED: Final = (
    "0031000D91683109000000F10008A73C3010793A4F8B516C53F8301160A876847B2C003100320033003400"
    "3553F7901A77E55DF25230FF0C8BF767E56536300256DE590D0054004490008BA2"
)
_LOADS: Final = {
    "sms": _Load(),
    # Each brings a delivery report, sent to the client as +CDS at once.
    "report": _Load(
        persona="generic", arguments=("--pdu", _REPORTED, "--init", "AT+CNMI=2,0,0,1,0")
    ),
    "command": _Load(arguments=("--load", "command"), is_sms=False),
}


def main() -> int:
    options = _options()
    if shutil.which("cc") is None:
        print("no C compiler; Debian: apt install gcc libc6-dev", file=sys.stderr)
        return 2
    print(f"load average before: {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores",
          file=sys.stderr)  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="modemctl-bench-") as name:
        folder = Path(name)
        storm = _compiled(folder)
        banks = _banks(folder, storm, options) if options.only != "load" else []
        loads = _loads(folder, storm, options) if options.only != "bank" else []
    if options.json:
        found = {"bank": [asdict(row) for row in banks], "load": [asdict(row) for row in loads]}
        print(json.dumps(found))
    is_met = all(row.is_met for row in banks) and all(row.is_met for row in loads)
    print(f"targets: {'met' if is_met else 'NOT met'}", file=sys.stderr)
    if any(not row.is_met and row.cores < _BUSY for row in loads):
        print("other work kept the bank from its core: not its fault, repeat", file=sys.stderr)
    return 0 if is_met else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", choices=["bank", "load"], help="one of the two tables")
    parser.add_argument("--modems", type=_integers, default=[512], help="banks at rest, as 64,512")
    parser.add_argument("--port-sets", type=_words, default=["one", "all"], help="as one,all")
    parser.add_argument("--idle-seconds", type=float, default=40.0, help="length of each rest")
    parser.add_argument("--load-modems", type=_integers, default=[1, 64, 512], help="as 1,64,512")
    parser.add_argument("--transport", type=_words, default=["pty", "unix"], help="as pty,unix")
    parser.add_argument("--loads", type=_words, default=list(_LOADS), help=f"of {','.join(_LOADS)}")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each load")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    options = parser.parse_args()
    for name, known in (
        ("port_sets", {"one", "all"}),
        ("transport", {"pty", "unix"}),
        ("loads", set(_LOADS)),
    ):
        if not set(getattr(options, name)) <= known:
            parser.error(f"--{name.replace('_', '-')}: of {', '.join(sorted(known))}")
    return options


def _integers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


def _words(text: str) -> list[str]:
    return text.split(",")


# ---------------------------------------------------------------- processes


def _compiled(folder: Path) -> Path:
    program = folder / "storm"
    source = Path(__file__).with_name("storm.c")
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["cc", *flags, "-o", program, source], check=True, timeout=60)
    return program


def _cores() -> tuple[int, int]:
    """The bank's core and the generator's: the same where there is but one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


@contextmanager
def _started(command: Sequence[str | Path], core: int) -> Iterator[subprocess.Popen[str]]:
    """A process on one core, ended at the end of the context.

    Raises:
        RuntimeError: it did not end as it should.
    """
    # The core is inherited, so that the process has it from its first instruction.
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True)
    finally:
        os.sched_setaffinity(0, mine)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


@contextmanager
def _bank(
    folder: Path, module: Sequence[str | Path], *flags: str
) -> Iterator[tuple[Path, int, float]]:
    """A bank: its folder, its process, the seconds until it was ready."""
    place = Path(tempfile.mkdtemp(dir=folder)) / "bank"
    began = time.monotonic()
    with _started([sys.executable, *module, "--dir", place, *flags], _cores()[0]) as process:
        _line(process, "ready")
        yield place, process.pid, time.monotonic() - began
    shutil.rmtree(place.parent)


def _line(process: subprocess.Popen[str], beginning: str) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line.startswith(beginning):
        raise RuntimeError(f"a process ended, or said {line!r} instead of {beginning!r}")
    return line


_SIMULATOR: Final = ("-m", "simulator")
_PARROT: Final = (Path(__file__).with_name("parrot.py"),)


# ---------------------------------------------------------------- a large bank at rest


def _banks(folder: Path, storm: Path, options: argparse.Namespace) -> list[BankRow]:
    rows: list[BankRow] = []
    if not options.json:
        print(_BANK_HEAD, flush=True)
    for modems in options.modems:
        for port_sets in options.port_sets:
            rows.append(_rest(folder, storm, modems, port_sets, options.idle_seconds))
            if not options.json:
                print(_bank_line(rows[-1]), flush=True)
    return rows


def _rest(folder: Path, storm: Path, modems: int, port_sets: str, seconds: float) -> BankRow:
    scenario = folder / "bank.toml"
    scenario.write_text(f'modems = {modems}\nport_sets = "{port_sets}"\n', "utf-8")
    with _bank(folder, _SIMULATOR, "--scenario", str(scenario)) as (place, pid, start_s):
        time.sleep(_SETTLE)
        idle_share = _share(pid, seconds)
        span = seconds + 3 * _SETTLE
        load = ["--load", "idle", "--every-port", "--seconds", str(span)]
        with _started([storm, *load, place], _cores()[1]) as clients:
            ready = json.loads(_line(clients, '{"ready"'))
            time.sleep(_SETTLE)
            connected_share = _share(pid, seconds)
            if clients.poll() is not None:
                raise RuntimeError("the clients were gone before the rest was over")
        return BankRow(
            modems=modems,
            port_sets=port_sets,
            ports=ready["ports"],
            start_s=start_s,
            rss_mb=rss_mb(pid),
            pss_mb=pss_mb(pid),
            idle_share=idle_share,
            connected_share=connected_share,
        )


def _share(pid: int, seconds: float) -> float:
    used, began = cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(pid) - used) / (time.monotonic() - began)


# ---------------------------------------------------------------- under load


def _loads(folder: Path, storm: Path, options: argparse.Namespace) -> list[LoadRow]:
    rows: list[LoadRow] = []
    if not options.json:
        print(f"\n{_LOAD_HEAD}" if options.only is None else _LOAD_HEAD, flush=True)
    for load in options.loads:
        for transport in options.transport:
            for modems in options.load_modems:
                rows.append(_storm(folder, storm, modems, transport, load, options.seconds))
                if not options.json:
                    print(_load_line(rows[-1]), flush=True)
    return rows


def _storm(
    folder: Path, storm: Path, modems: int, transport: str, load: str, seconds: float
) -> LoadRow:
    chosen = _LOADS[load]
    flags = ["--modems", str(modems), "--transport", transport]
    world = ["--latency", "0", "--report-delay", "0", "--persona", chosen.persona]
    with _bank(folder, _PARROT, *flags) as (place, pid, _):
        parrot_cpu, parrot = _driven(storm, place, pid, chosen, seconds)
    with _bank(folder, _SIMULATOR, *flags, *world) as (place, pid, _):
        cpu, found = _driven(storm, place, pid, chosen, seconds)
        ledger = place / "ledger.jsonl"
        n_ledger = len(LedgerReader(ledger).read())
        n_reports = ledger.read_bytes().count(b'"kind":"report"')
    if n_ledger != (found["completed"] if chosen.is_sms else 0):
        raise RuntimeError(f"the ledger holds {n_ledger}, the client counted {found['completed']}")
    if found["unsolicited"] != n_reports:
        raise RuntimeError(
            f"{n_reports} reports in the ledger, {found['unsolicited']} at the client"
        )
    per_cpu_s, parrot_per_cpu_s = found["completed"] / cpu, parrot["completed"] / parrot_cpu
    return LoadRow(
        modems=modems,
        transport=transport,
        load=load,
        per_s=found["per_second"],
        cores=cpu / found["seconds"],
        per_cpu_s=per_cpu_s,
        parrot_per_cpu_s=parrot_per_cpu_s,
        of_parrot=per_cpu_s / parrot_per_cpu_s,
        p50_ms=found["p50_ms"],
        p99_ms=found["p99_ms"],
        max_ms=found["max_ms"],
    )


def _driven(
    storm: Path, place: Path, pid: int, load: _Load, seconds: float
) -> tuple[float, dict[str, float]]:
    """The bank's CPU time while the generator was at work, and what that counted."""
    command: list[str | Path] = [storm, "--seconds", str(seconds), *load.arguments, place]
    with _started(command, _cores()[1]) as process:
        _line(process, '{"ready"')
        used = cpu_seconds(pid)
        result = json.loads(_line(process, '{"modems"'))
        used = cpu_seconds(pid) - used
        if process.wait(_PATIENCE) != 0:
            raise RuntimeError(f"not everything was answered: {result}")
    return used, result


# ---------------------------------------------------------------- tables

_BANK_HEAD: Final = (
    "| modems | port sets | ports | start s | RSS MB | PSS MB | of one core | with clients |\n"
    "|---:|---|---:|---:|---:|---:|---:|---:|"
)
_LOAD_HEAD: Final = (
    "| load | transport | modems | a second | cores | per CPU s | parrot per CPU s | of parrot "
    "| p50 ms | p99 ms | max ms |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)


def _bank_line(row: BankRow) -> str:
    return (
        f"| {row.modems} | {row.port_sets} | {row.ports} | {row.start_s:.2f} | {row.rss_mb:.0f} "
        f"| {row.pss_mb:.0f} | {row.idle_share:.2%} | {row.connected_share:.2%} |"
    )


def _load_line(row: LoadRow) -> str:
    return (
        f"| {row.load} | {row.transport} | {row.modems} | {row.per_s:.0f} | {row.cores:.2f} "
        f"| {row.per_cpu_s:.0f} | {row.parrot_per_cpu_s:.0f} | {row.of_parrot:.2f} "
        f"| {row.p50_ms:.2f} | {row.p99_ms:.2f} | {row.max_ms:.2f} |"
    )


if __name__ == "__main__":
    sys.exit(main())
