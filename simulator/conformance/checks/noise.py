"""What the modem says unasked. Source: V.250 §5.7.1; at-dialects §1.4, §3.8."""

from __future__ import annotations

import re
from typing import Final

from simulator.conformance.check import Bench, Check, Finding, can, cannot, not_tried, odd
from simulator.conformance.client import Heard

_EVENTS: Final = frozenset(
    {"+CMTI", "+CMT", "+CDS", "+CDSI", "+CBM", "+CUSD", "RING", "+CRING", "+CLIP", "+CCWA"}
)


def _watch(bench: Bench) -> Finding:
    seconds = bench.wishes.listen_seconds
    if seconds > 0:
        bench.client.listen(seconds)
    by_name: dict[str, list[Heard]] = {}
    for line in bench.client.unasked:
        if not line.is_body:
            by_name.setdefault(re.split(r"[:\s]", line.text)[0], []).append(line)
    if not by_name:
        return can("nothing")
    # What comes again and again is noise; what came once told of something that happened.
    chatter = {name: lines for name, lines in by_name.items() if len(lines) > 1}
    chatter = {name: lines for name, lines in chatter.items() if name not in _EVENTS}
    if chatter:
        bench.seen.noise = tuple(lines[-1].text for lines in chatter.values())
        gaps = [(lines[-1].at - lines[0].at) / (len(lines) - 1) for lines in chatter.values()]
        bench.seen.noise_seconds = round(min(gaps), 1)
    says = ", ".join(f"{name} ×{len(lines)}" for name, lines in sorted(by_name.items()))
    return odd(f"{says} in {bench.client.unasked[-1].at:.0f} s")


def _hush(bench: Bench) -> Finding:
    if bench.seen.family != "huawei":
        return not_tried("Huawei's modems only")
    if not bench.settings.keep("^CURC"):
        return not_tried("AT^CURC? tells nothing: it could not be put back, so it is not set")
    reply = bench.ask("AT^CURC=0")
    bench.settings.put_back("^CURC")
    return can("AT^CURC=0 is taken") if reply.is_ok else cannot(f"AT^CURC=0: {reply.told}")


CHECKS: Final = (
    Check(
        name="noise.lines", title="lines unasked", clause="V.250 §5.7.1", run=_watch,
        suffers="smstools, python-gsmmodem and ModemManager's generic part take them for answers.",
    ),
    Check(
        name="noise.hush", title="silencing them (^CURC=0)", clause="Huawei", run=_hush,
        suffers="gammu ends the connection when a Huawei modem refuses it.",
    ),
)  # fmt: skip
