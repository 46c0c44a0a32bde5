"""What the modem says unasked. Source: V.250 §5.7.1; at-dialects §1.4, §3.8."""

from __future__ import annotations

import re
from typing import Final

from simulator.conformance.check import Bench, Check, Finding, can, cannot, not_tried, odd


def _watch(bench: Bench) -> Finding:
    seconds = bench.wishes.listen_seconds
    if seconds > 0:
        bench.client.listen(seconds)
    heard = bench.client.unasked
    names: dict[str, int] = {}
    for line in heard:
        name = re.split(r"[:\s]", line.text)[0]
        names[name] = names.get(name, 0) + 1
    if not names:
        return can("nothing")
    bench.seen.noise = tuple(
        {re.split(r"[:\s]", line.text)[0]: line.text for line in heard}.values()
    )
    times = [line.at for line in heard if line.text.startswith(next(iter(names)))]
    if len(times) > 1:
        bench.seen.noise_seconds = round((times[-1] - times[0]) / (len(times) - 1), 1)
    says = ", ".join(f"{name} ×{n}" for name, n in sorted(names.items()))
    return odd(f"{says} in {heard[-1].at:.0f} s")


def _hush(bench: Bench) -> Finding:
    if bench.seen.family != "huawei":
        return not_tried("Huawei's modems only")
    before = bench.settings.keep("^CURC")
    reply = bench.ask("AT^CURC=0")
    if before:
        bench.settings.put_back("^CURC")
    else:
        bench.ask("AT^CURC=1")
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
