"""One side measured on one bank: speed, cost, start-up, rest; and with withheld answers."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from counting import Tally, session_cpu_seconds, session_pss_mb, tally, window_rate
from meters import LedgerReader
from sides import Side

from modemctl.demo.world import ask_bank

Opener = Callable[[int, float, str], AbstractContextManager[Side]]
_TICK: Final = 0.1
_START_LIMIT: Final = 120.0  # seconds in which every modem has sent, or is counted as out
_DRAIN_LIMIT: Final = 90.0
_QUIET: Final = 15.0  # seconds without a segment: what is missing now will not come
FAULT_RATE: Final = 0.15
_FAULT_LIMIT: Final = 1200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Lengths of the phases in seconds; `quiet` ends a run with withheld answers."""

    warm_up: float
    window: float
    rest: float
    quiet: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One side in one cell. `cpu_s_per_1000` and `pss_mb` are of all its processes."""

    side: str
    modems: int
    latency_s: float
    modems_sending: int
    messages_per_s: float
    line_utilisation: float | None
    cpu_s_per_1000: float
    pss_mb: float
    start_s: float
    rest_cores: float
    asked: int
    lost: int
    left: int
    doubled: int
    wrong: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Faulty:
    """One side whose modems kept answers after Ctrl-Z to themselves."""

    side: str
    modems: int
    asked: int
    withheld: int
    lost: int
    doubled: int
    copies: int
    most: int
    seconds: float
    settled: bool


class Run:
    """A side at work, and what the ledger says of it."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.ledger = LedgerReader(side.bank / "ledger.jsonl")

    def work(self, holds: Callable[[], bool], seconds: float, *, feeds: bool = True) -> bool:
        """Keep the side fed until something holds; whether it came to hold in time."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                return False
            taken = self.ledger.read()
            if feeds:
                self.side.top_up(taken)
            time.sleep(_TICK)
        return True

    def sending(self) -> Collection[str]:
        """The modems that sent at all."""
        return {one.modem for one in self.ledger.read()}

    def tally(self) -> Tally:
        """All that was asked so far against the ledger."""
        return tally(self.side.asked, self.ledger.read())

    def cpu(self) -> float:
        """CPU seconds of all its processes so far."""
        return session_cpu_seconds(self.side.sessions)

    def quiet_for(self) -> float:
        """Seconds since a segment was taken."""
        taken = self.ledger.read()
        return time.time() - (taken[-1].at if taken else self.side.started)


def measure(
    name: str, opener: Opener, n_modems: int, latency: float, personas: str, times: Times
) -> Row:
    """Speed, cost, start-up and rest of one side in one cell."""
    with opener(n_modems, latency, personas) as side:
        run = Run(side)
        run.work(lambda: len(run.sending()) == n_modems, _START_LIMIT)
        first = {one.modem: one.at for one in reversed(run.ledger.read())}
        if not first:
            raise RuntimeError(f"{name} sent nothing in {_START_LIMIT:.0f} s")
        run.work(lambda: False, times.warm_up)
        cpu, begin = run.cpu(), time.time()
        run.work(lambda: False, times.window)
        cpu, end = run.cpu() - cpu, time.time()
        pss = session_pss_mb(side.sessions)
        run.work(lambda: False, 2 * latency + 0.5)
        run.work(
            lambda: not run.tally().missing or run.quiet_for() > _QUIET + latency,
            _DRAIN_LIMIT,
            feeds=False,
        )
        counts, is_quiet = run.tally(), run.quiet_for() > _QUIET + latency
        time.sleep(2)
        at_rest, rested = run.cpu(), time.monotonic()
        time.sleep(times.rest)
        at_rest, rested = run.cpu() - at_rest, time.monotonic() - rested
        per_second = window_rate(run.ledger.read(), begin=begin, end=end)
        counts = tally(side.asked, run.ledger.read())
        return Row(
            side=name,
            modems=n_modems,
            latency_s=latency,
            modems_sending=len(first),
            messages_per_s=per_second,
            line_utilisation=per_second * latency / n_modems if latency else None,
            cpu_s_per_1000=cpu / max(per_second * (end - begin), 1e-9) * 1000,
            pss_mb=pss,
            start_s=max(first.values()) - side.started,
            rest_cores=at_rest / rested,
            asked=counts.asked,
            lost=counts.missing if is_quiet else 0,
            left=0 if is_quiet else counts.missing,
            doubled=counts.doubled,
            wrong=counts.wrong,
        )


def withhold(
    name: str, opener: Opener, n_modems: int, n_each: int, personas: str, times: Times
) -> Faulty:
    """A few messages a modem, where the answer to some payloads is lost though they were sent."""
    with opener(n_modems, 0.0, personas) as side:
        run = Run(side)
        for modem in side.modems:
            ask_bank(side.bank, do="set_fault", modem=modem, fault="lost_answer", count=0,
                     rate=FAULT_RATE)  # fmt: skip
        begin = time.monotonic()
        side.ask_each(n_each)
        run.work(lambda: bool(run.sending()), _START_LIMIT, feeds=False)
        settled = run.work(lambda: run.quiet_for() > times.quiet, _FAULT_LIMIT, feeds=False)
        counts = run.tally()
        return Faulty(
            side=name,
            modems=n_modems,
            asked=counts.asked,
            withheld=n_faults(side.bank / "ledger.jsonl"),
            lost=counts.missing,
            doubled=counts.doubled,
            copies=counts.copies,
            most=counts.most,
            seconds=time.monotonic() - begin - run.quiet_for(),
            settled=settled,
        )


def n_faults(ledger: Path) -> int:
    """How many answers were withheld, by the ledger."""
    facts = map(json.loads, ledger.read_text(encoding="utf-8").splitlines())
    return sum(fact["kind"] == "fault" and fact["fault"] == "lost_answer" for fact in facts)


def median(rows: list[Row]) -> Row:
    """Of repeated runs: the one in the middle by messages a second."""
    wanted = statistics.median_low(row.messages_per_s for row in rows)
    return next(row for row in rows if row.messages_per_s == wanted)
