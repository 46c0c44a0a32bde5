"""Rows of a table: a fact of the dialects, the persona that shows it, and how it shows.

A step is what is done, then what the client must see: `AT…` types a line, `~2` lets two seconds
pass, `!…` is done from outside (`_ACTS`). `{iccid}`, `{imsi}`, `{half}`, `{imei}`, `{pin}`: the
bench's.
"""

from collections.abc import Callable
from dataclasses import dataclass

from simulator.faults import Fault, FaultKind
from simulator.phone import CallOutcome, CallPlan
from tests.support.one_modem import OneModem

Steps = tuple[tuple[str, tuple[str, ...]], ...]
FAR = "+8613900000000"


@dataclass(frozen=True)
class Row:
    """One fact of the document, and how it shows."""

    section: str
    fact: str
    name: str
    steps: Steps
    is_locked: bool = False


def _call_in(bench: OneModem, outcome: CallOutcome = CallOutcome.MISSED) -> None:
    plan = CallPlan(number=FAR, outcome=outcome, rings=1, seconds=3, ring_seconds=5)
    bench.modem.phone.ring(plan)


def _text(bench: OneModem, **options: int) -> None:
    bench.network.send_text(to=bench.card, origin="10086", text="hi", **options)


def _fill(bench: OneModem) -> None:
    for _ in range(300):
        _text(bench)
        if bench.network.waiting(bench.card):
            break


_ACTS: dict[str, Callable[[OneModem], object]] = {
    "!pull": lambda bench: bench.modem.insert(None),
    "!insert": lambda bench: bench.modem.insert(bench.card),
    "!reboot": lambda bench: bench.modem.reboot(),
    "!call": _call_in,
    "!text": _text,
    "!fill": _fill,
    "!listen": lambda bench: bench.modem.client_came(),
    "!busy": lambda bench: bench.modem.faults.set(Fault(kind=FaultKind.SIM_BUSY)),
    "!half": lambda bench: bench.modem.faults.set(Fault(kind=FaultKind.HALF_ICCID)),
    "!engaged": lambda bench: bench.modem.phone.dial(
        CallPlan(number=FAR, outcome=CallOutcome.BUSY, ring_seconds=2), is_client=False
    ),
    "!answered": lambda bench: bench.modem.phone.dial(
        CallPlan(number=FAR, outcome=CallOutcome.ANSWERED, rings=1, seconds=3, ring_seconds=2),
        is_client=False,
    ),
}


def play(bench: OneModem, steps: Steps) -> None:
    facts = {
        "{half}": bench.card.iccid[:10],
        "{iccid}": bench.card.iccid,
        "{imsi}": bench.card.subscription.imsi,
        "{pin}": bench.card.pin,
        "{imei}": bench.modem.imei,
    }
    for act, expected in steps:
        if act.startswith("~"):
            said = bench.wait(float(act[1:]))
        elif act in _ACTS:
            _ACTS[act](bench)
            said = bench.terminal.take()
        else:
            typed = act.replace("{pin}", bench.card.pin)
            said = bench.type(typed.encode() + b"\r")
        lines = [line for line in said.replace("\r\r\n", "\r\n").split("\r\n") if line]
        wanted = list(expected)
        for word, value in facts.items():
            wanted = [line.replace(word, value) for line in wanted]
        assert lines == wanted, (act, lines, wanted)


def row(
    section: str, fact: str, name: str, *steps: tuple[str, ...], is_locked: bool = False
) -> Row:
    told = tuple((step[0], step[1:]) for step in steps)
    return Row(section=section, fact=fact, name=name, steps=told, is_locked=is_locked)
