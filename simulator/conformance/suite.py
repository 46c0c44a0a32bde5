"""Runs the checks on one port and puts everything back."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from simulator.conformance import checks
from simulator.conformance.check import (
    Bench,
    Check,
    Finding,
    Need,
    Observed,
    Pace,
    Result,
    Timings,
    Verdict,
    Wishes,
    not_tried,
)
from simulator.conformance.client import Client, LineLost
from simulator.conformance.guard import ESC, Guard, Permit
from simulator.conformance.port import Port, PortError, PortGone
from simulator.conformance.reply import Reply
from simulator.conformance.settings import Settings

_PROBES: Final = 3
_PROBE_SECONDS: Final = 3.0
_REPEATS: Final = ("AT", "AT+CSQ", "AT+CREG?", "AT+CPIN?", "AT+CMGF?")
_N_REPEATS: Final = 5


class Outcome(IntEnum):
    """The exit status."""

    USABLE = 0
    LACKING = 1  # something essential is missing or could not be shown
    MUTE = 2  # no talking to it


class NoModem(PortError):
    """The port opens, but nothing on it speaks AT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that a run brought to light."""

    results: tuple[Result, ...]
    seen: Observed
    timings: Timings
    not_restored: tuple[str, ...] = ()
    broke_off: str = ""
    replies: tuple[Reply, ...] = ()
    typed: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def lacking(self) -> list[Result]:
        """Essential checks that failed or could not be made."""
        bad = {Verdict.CANNOT, Verdict.NOT_TRIED}
        return [
            result
            for result in self.results
            if result.check.is_essential
            and result.finding.verdict in bad
            and not result.is_without_flag
        ]

    @property
    def outcome(self) -> Outcome:
        """Usable or not."""
        if self.broke_off:
            return Outcome.MUTE
        return Outcome.LACKING if self.lacking else Outcome.USABLE


def unheard(_result: Result, _seen: Observed) -> None:
    """Nobody wants results as they come."""


def run(
    opener: Callable[[], Port],
    *,
    wishes: Wishes,
    permits: frozenset[Permit] = frozenset(),
    patience: float = 1.0,
    chosen: Sequence[Check] = checks.ALL,
    on_result: Callable[[Result, Observed], None] = unheard,
) -> Report:
    """Carry the checks out, tell each result as it comes, put everything back.

    Settings are put back also where somebody breaks the run off (Ctrl-C, a closed pipe).

    Raises:
        PortError: the port cannot be opened, or nothing on it speaks AT.
    """
    guard = Guard(permits)
    client = Client(opener, guard, patience=patience)
    bench = Bench(client=client, wishes=wishes, settings=Settings(client))
    try:
        _meet(bench)
        with _put_back_if_broken_off(bench):
            broke_off = _try(bench, _settle)
            results, broke_off = _carry_out(bench, chosen, on_result, broke_off)
            broke_off = broke_off or _try(bench, _repeat)
            not_restored, broke_off = _put_back(bench, broke_off)
        return Report(
            results=tuple(results),
            seen=bench.seen,
            timings=timings(client.replies),
            not_restored=tuple(not_restored),
            broke_off=broke_off,
            replies=tuple(client.replies),
            typed=tuple(guard.typed),
        )
    finally:
        client.close()


@contextlib.contextmanager
def _put_back_if_broken_off(bench: Bench) -> Iterator[None]:
    is_over = False
    try:
        yield
        is_over = True
    finally:
        if not is_over:
            _put_back(bench, "broken off")


def _put_back(bench: Bench, broke_off: str) -> tuple[list[str], str]:
    """Restore all that can be; what could not be, and why the run broke off, if it did."""
    try:
        if broke_off:
            bench.client.realign(avoid="")
        return bench.settings.restore(), broke_off
    except (LineLost, PortGone) as error:
        return bench.settings.changed, broke_off or str(error)


def _try(bench: Bench, act: Callable[[Bench], None]) -> str:
    """Why the line was lost over it; empty where it was not."""
    try:
        act(bench)
    except (LineLost, PortGone) as error:
        return str(error)
    return ""


def timings(replies: Sequence[Reply]) -> Timings:
    """How long each kind of command took, where it was answered."""
    by_name: dict[str, list[float]] = {}
    for reply in replies:
        if reply.final and reply.seconds >= 0:
            by_name.setdefault(_kind(reply.command), []).append(reply.seconds)
    return {
        name: Pace(
            n=len(seconds),
            minimum=min(seconds),
            median=statistics.median(seconds),
            maximum=max(seconds),
        )
        for name, seconds in sorted(by_name.items())
    }


def _kind(command: str) -> str:
    if command.startswith("<text"):
        return command
    upper = command.upper()
    name, is_set, _ = upper.partition("=")
    if is_set and not upper.endswith("=?"):
        return f"{name}=…"
    return f"{upper[:12]}…" if upper.startswith("ATE0E0") else upper


def _meet(bench: Bench) -> None:
    """Find out whether somebody answers, and how the line was left by the one before us."""
    client = bench.client
    said = b""
    for probe in range(_PROBES):
        # A forgotten prompt is left by ESC; at the command line it is nothing.
        said += client.say(ESC) if probe else b""
        woken = client.say(b"ATQ0\r") if probe > 1 else b""
        reply = client.probe(_PROBE_SECONDS)
        if reply.is_ok:
            bench.seen.is_echoing = reply.is_echoed
            bench.settings.begin(
                is_echoing=reply.is_echoed,
                is_numeric=reply.final == "0",
                was_quiet=b"OK" in woken or b"0\r" in woken,
            )
            break
        said += woken + reply.raw
    else:
        raise _nobody(said)


def _settle(bench: Bench) -> None:
    """Have results in words and errors in numbers."""
    bench.ask("ATQ0V1")
    if bench.settings.keep("+CMEE"):
        bench.ask("AT+CMEE=1")


def _nobody(said: bytes) -> NoModem:
    if b"$G" in said:
        cure = "It talks of satellites: this is the model's NMEA port. Take its AT port."
        return NoModem("no AT on this port", cure=cure)
    if said.strip():
        cure = "Another port of the modem, another baud rate, or another client at work on it?"
        return NoModem("it talks, but does not answer AT", cure=cure)
    cure = (
        "Is it the model's AT port (not diag, NMEA, audio)? Powered? At this baud rate (--baud)?"
        " Does ModemManager hold it? Else switch the modem off and on."
    )
    return NoModem("no answer to AT", cure=cure)


def _carry_out(
    bench: Bench,
    chosen: Sequence[Check],
    on_result: Callable[[Result, Observed], None],
    broke_off: str,
) -> tuple[list[Result], str]:
    results: list[Result] = []
    for check in chosen:
        reason = _why_not(bench, check, broke_off)
        with bench.client.recorded() as replies:
            finding = not_tried(reason)
            if not reason:
                try:
                    finding = _find(bench, check)
                except (LineLost, PortGone) as error:
                    broke_off = str(error)
                    finding = not_tried(f"broken off: {broke_off}")
        result = Result(
            check=check,
            finding=finding,
            replies=tuple(replies),
            is_without_flag=check.permit is not None and not bench.allows(check.permit),
        )
        results.append(result)
        on_result(result, bench.seen)
    return results, broke_off


def _find(bench: Bench, check: Check) -> Finding:
    try:
        return check.run(bench)
    except (LineLost, PortGone):
        raise
    except Exception as error:  # noqa: BLE001  # one check's defect must not leave a modem changed
        # A prompt may be up, or half an answer on its way. The error's text may quote the card.
        bench.client.realign(avoid="")
        return not_tried(f"an answer nobody thought of: {type(error).__name__}")


# What each permit allows, and by which flag.
ACTS: Final = {
    Permit.PIN: "a PIN",
    Permit.WRITE: "a draft",
    Permit.USSD: "a USSD code",
    Permit.SEND: "an SMS",
    Permit.REBOOT: "a restart",
}
FLAGS: Final = {
    Permit.SEND: "--send-to",
    Permit.PIN: "--pin",
    Permit.WRITE: "--write",
    Permit.USSD: "--ussd",
    Permit.REBOOT: "--reboot",
}


def _why_not(bench: Bench, check: Check, broke_off: str) -> str:
    if broke_off:
        return "the modem fell silent"
    if check.permit is not None and not bench.allows(check.permit):
        return f"only with {FLAGS[check.permit]}"
    if check.need is not Need.LINE and not bench.has_card:
        return f"the card is not usable: {bench.seen.pin_state or 'none'}"
    if check.need is Need.NETWORK and not bench.is_registered:
        return "not registered"
    return ""


def _repeat(bench: Bench) -> None:
    """Ask the commonest questions several times, for the sake of the timing."""
    for command in _REPEATS:
        for _ in range(_N_REPEATS):
            if bench.ask(command).is_silent:
                break
