"""Call set-up and USSD, without dialling. Source: TS 27.007 §6, §7; at-dialects §3.6, §3.7."""

from __future__ import annotations

from typing import Final

from simulator.conformance.check import Bench, Check, Finding, Need, can, cannot, odd


def _caller(bench: Bench) -> Finding:
    clip, ring = (bench.ask(f"AT{name}?") for name in ("+CLIP", "+CRC"))
    known = [
        name for name, reply in (("+CLIP", clip), ("+CRC", ring)) if reply.value(name) is not None
    ]
    if len(known) == 2:
        return can("+CLIP and +CRC")
    return odd(f"{known[0]} only") if known else cannot("neither +CLIP nor +CRC")


def _list(bench: Bench) -> Finding:
    reply = bench.ask("AT+CLCC")
    if not reply.is_ok:
        return cannot(f"+CLCC: {reply.told}")
    return odd("a call is on now") if reply.values("+CLCC") else can("OK, no call on")


def _hang_up(bench: Bench) -> Finding:
    value = bench.ask("AT+CVHU?").value("+CVHU")
    if value is None:
        return cannot("+CVHU? is not known: hang up with +CHUP")
    return can(f"+CVHU: {value}" + ("; ATH ends calls" if value == "0" else "; use +CHUP"))


def _cause(bench: Bench) -> Finding:
    reply = bench.ask("AT+CEER")
    if not reply.is_ok:
        return cannot(f"+CEER: {reply.told}")
    value = reply.value("+CEER")
    return can(f"“{value}”") if value is not None else odd("OK without a cause")


def _vendor_lines(bench: Bench) -> Finding:
    """Whether the model tells of calls in lines of its own; asked, not switched on."""
    found = [
        name
        for name in ("^DSCI", "#ECAM", "+UCALLSTAT", "^SLCC", "+MORING", "^CVOICE", "+WIND")
        if bench.ask(f"AT{name}?").value(name) is not None
    ]
    return can(", ".join(found)) if found else cannot("by no known command: poll +CLCC")


def _ussd(bench: Bench) -> Finding:
    value = bench.ask("AT+CUSD=?").value("+CUSD")
    return can(value) if value is not None else cannot("+CUSD=? is not known")


CHECKS: Final = (
    Check(
        name="calls.caller", title="caller's number", clause="TS 27.007 §7.6, §6.11",
        run=_caller, suffers="Calls are recorded without a number.",
    ),
    Check(
        name="calls.list", title="calls on now (+CLCC)", clause="TS 27.007 §7.18", run=_list,
        suffers="The end of a call can be missed.",
    ),
    Check(
        name="calls.hang_up", title="hanging up (+CVHU)", clause="TS 27.007 §6.20",
        run=_hang_up, suffers="ATH may leave the call on.",
    ),
    Check(
        name="calls.cause", title="cause of the end (+CEER)", clause="TS 27.007 §6.10",
        run=_cause, suffers="Nobody knows why a call ended.",
    ),
    Check(
        name="calls.lines", title="call lines of the maker", clause="at the vendors' manuals",
        run=_vendor_lines, suffers="Calls are seen by polling only, short ones not at all.",
    ),
    Check(
        name="calls.ussd", title="USSD (+CUSD=?)", clause="TS 27.007 §7.15", run=_ussd,
        need=Need.CARD, suffers="Balances cannot be asked for.",
    ),
)  # fmt: skip
