"""How a refusal looks. Source: TS 27.007 §9.1, §9.2; TS 27.005 §3.2.5."""

from __future__ import annotations

from typing import Final

from simulator.conformance.check import Bench, Check, Finding, can, cannot, odd
from simulator.conformance.reply import Reply

# Each of them is wrong for every modem and does nothing.
_WRONG: Final = ("AT+CMEE=9", 'AT+CLCK="ZZ",2', "AT+CRSM=999", 'AT+CSCS="NONE"')


def _unknown(bench: Bench) -> Finding:
    if bench.settings.keep("+CMEE"):
        bench.ask("AT+CMEE=1")
    reply = bench.ask("AT+NOSUCHCOMMAND")
    if reply.is_silent:
        return cannot("an unknown command gets no result")
    bench.seen.unknown_command = reply.final
    if reply.is_ok:
        return odd("OK to a command that does not exist")
    if reply.final != "ERROR" and reply.cme is None:
        return odd(reply.final)
    return can(reply.final)


def _levels(bench: Bench) -> Finding:
    if not bench.settings.keep("+CMEE"):
        return cannot("+CMEE? tells nothing: it could not be put back, so it is not set")
    found: dict[int, Reply] = {}
    wrong = _WRONG[0]
    for level in (1, 0, 2):
        if not bench.ask(f"AT+CMEE={level}").is_ok:
            return cannot(f"AT+CMEE={level} is refused")
        if level == 1:
            wrong = _first_refused(bench)
        found[level] = bench.ask(wrong)
    bench.ask("AT+CMEE=1")
    if any(reply.is_silent for reply in found.values()):
        return odd("a refusal gets no result")
    if found[1].cme is None:
        return odd(f"level 1 tells no numbers: {found[1].told}")
    strange = [
        f"level 0 says {found[0].told}" if found[0].final != "ERROR" else "",
        f"level 2 says {found[2].told}" if found[2].cme is not None else "",
    ]
    says = ", ".join(filter(None, strange))
    return odd(says) if says else can("0 ERROR, 1 a number, 2 words")


def _first_refused(bench: Bench) -> str:
    for wrong in _WRONG:
        if "+CSCS" in wrong and not bench.settings.keep("+CSCS"):
            continue
        if bench.ask(wrong).cme is not None:
            return wrong
    return _WRONG[0]


CHECKS: Final = (
    Check(
        name="errors.unknown", title="an unknown command", clause="V.250 §5.7.1", run=_unknown,
        suffers="Clients probe for commands: without ERROR each probe costs a time-out.",
    ),
    Check(
        name="errors.levels", title="error numbers (+CMEE)", clause="TS 27.007 §9.1", run=_levels,
        suffers="Without numbers a wrong PIN, a busy card and no card look the same.",
    ),
)  # fmt: skip
