"""Where new messages and reports go: what is offered, and what is refused all the same.

While a combination is tried a message could come in the new way and be lost to the modem's owner.
So direct delivery (mt=2) is tried only under +CSMS=1, where the network brings again what nobody
acknowledges, or with the flag; and every value is put back at once.
Source: TS 27.005 §3.2.1, §3.4.1; at-dialects §3.5.
"""

from __future__ import annotations

import re
from typing import Final

from simulator.conformance.check import Bench, Check, Finding, Need, Observed, can, cannot, odd
from simulator.conformance.guard import Permit

_STORED: Final = ((1, 0), (1, 1), (1, 2))
_DIRECT: Final = ((2, 0), (2, 1), (2, 2))
_PREFERRED: Final = (
    (2, 1, 2), (2, 1, 1), (1, 1, 2), (1, 1, 1), (3, 1, 2), (3, 1, 1), (2, 1, 0), (1, 1, 0),
)  # fmt: skip


def best_route(seen: Observed) -> str:
    """The `+CNMI` line that tells most of what is stored; empty where none was taken."""
    taken = next((values for values in _PREFERRED if values in seen.cnmi_taken), None)
    return f"{taken[0]},{taken[1]},0,{taken[2]},{seen.cnmi_taken[taken]}" if taken else ""


def _service(bench: Bench) -> Finding:
    if not bench.settings.keep("+CSMS"):
        return cannot("+CSMS? tells nothing: it could not be put back, so nothing is tried")
    reply = bench.ask("AT+CSMS=1")
    now = bench.ask("AT+CSMS?").value("+CSMS") or ""
    bench.settings.put_back("+CSMS")
    bench.seen.has_phase_2_plus = reply.is_ok
    bench.seen.is_service_stuck = reply.is_ok and not now.startswith("1")
    if bench.seen.is_service_stuck:
        return odd("takes 1, but +CSMS? goes on saying 0")
    return can("0 and 1") if reply.is_ok else cannot(f"1: {reply.told}")


def _ranges(value: str) -> list[set[int]]:
    """The groups of a test answer: `(0-2),(0,1,3)`."""
    found: list[set[int]] = []
    for group in re.findall(r"\(([^)]*)\)", value):
        numbers: set[int] = set()
        for part in group.split(","):
            ends = [int(text) for text in re.findall(r"\d+", part)]
            if ends:
                numbers |= set(range(ends[0], ends[-1] + 1))
        found.append(numbers)
    return found


def _groups(bench: Bench) -> list[set[int]]:
    found = _ranges(bench.ask("AT+CNMI=?").value("+CNMI") or "")
    return found + [set[int]()] * (5 - len(found))


def _offered(bench: Bench) -> Finding:
    value = bench.ask("AT+CNMI=?").value("+CNMI")
    groups = _ranges(value or "")
    if len(groups) < 4:
        return cannot(f"+CNMI=? tells {value or 'nothing'}")
    bench.seen.cnmi_modes = tuple(sorted(groups[0]))
    if bench.seen.has_phase_2_plus:
        bench.ask("AT+CSMS=1")
        bench.seen.cnmi_depends = _groups(bench)[:4] != groups[:4]
        bench.settings.put_back("+CSMS")
    if bench.seen.cnmi_depends:
        return odd(f"{value}, more with +CSMS=1")
    if 1 in groups[1] and groups[3] & {1, 2}:
        return can(value or "")
    return odd(f"{value}: news of messages or reports is missing")


def _taken(bench: Bench) -> Finding:
    before = bench.settings.keep("+CNMI")
    bench.seen.cnmi_found = before
    if not before:
        return cannot("+CNMI? tells nothing: it could not be put back, so nothing is tried")
    _try_all(bench, _groups(bench), _STORED)
    if bench.seen.has_phase_2_plus:
        bench.ask("AT+CSMS=1")
        _try_all(bench, _groups(bench), (*_STORED, *_DIRECT))
    elif bench.allows(Permit.WRITE):
        _try_all(bench, _groups(bench), _DIRECT)
    bench.settings.put_back("+CSMS")
    bench.settings.put_back("+CNMI")
    return _summary(bench)


def _try_all(bench: Bench, groups: list[set[int]], pairs: tuple[tuple[int, int], ...]) -> None:
    tried = bench.seen.cnmi_refused | bench.seen.cnmi_taken.keys()
    for mode in sorted(groups[0]):
        for mt, ds in pairs:
            if mt not in groups[1] or ds not in groups[3] or (mode, mt, ds) in tried:
                continue
            # Siemens' family wants 1 in the last place.
            flushes = sorted(groups[4]) or [0]
            taken = next((b for b in flushes if _is_taken(bench, (mode, mt, 0, ds, b))), None)
            if taken is None:
                bench.seen.cnmi_refused.add((mode, mt, ds))
            else:
                bench.seen.cnmi_taken[mode, mt, ds] = taken


def _is_taken(bench: Bench, values: tuple[int, ...]) -> bool:
    wanted = ",".join(map(str, values))
    reply = bench.ask(f"AT+CNMI={wanted}")
    if reply.is_ok:
        bench.settings.put_back("+CNMI")
    else:
        bench.seen.cnmi_refusal = reply.final
    return reply.is_ok


def _summary(bench: Bench) -> Finding:
    taken, refused = bench.seen.cnmi_taken, bench.seen.cnmi_refused
    if not any(mt == 1 for _, mt, _ in taken):
        return cannot("no combination that tells of new messages")
    if not refused:
        return can(f"all of {len(taken)} combinations")
    modes = {mode for mode, _, _ in refused} - {mode for mode, _, _ in taken}
    rest = {values for values in refused if values[0] not in modes}
    reports = {ds for _, _, ds in rest} - {ds for _, _, ds in taken}
    rest = {values for values in rest if values[2] not in reports}
    direct = {mt for _, mt, _ in rest} - {mt for _, mt, _ in taken}
    words = [
        f"mode {', '.join(map(str, sorted(modes)))}" if modes else "",
        f"reports {', '.join(map(str, sorted(reports)))}" if reports else "",
        f"mt {', '.join(map(str, sorted(direct)))}" if direct else "",
    ]
    what = " and ".join(filter(None, words)) or f"{len(refused)} combinations"
    return odd(f"offers but refuses {what}; takes {best_route(bench.seen)}")


CHECKS: Final = (
    Check(
        name="sms.service", title="phase 2+ (+CSMS=1)", clause="TS 27.005 §3.2.1", run=_service,
        need=Need.CARD, suffers="Messages are acknowledged before a client has stored them.",
    ),
    Check(
        name="sms.routes", title="routes offered (+CNMI=?)", clause="TS 27.005 §3.4.1",
        run=_offered, need=Need.CARD, suffers="New messages are seen only by asking.",
    ),
    Check(
        name="sms.routes_taken", title="routes really taken", clause="TS 27.005 §3.4.1",
        run=_taken, need=Need.CARD,
        suffers="Clients with one fixed +CNMI line get no news and no reports.",
    ),
)  # fmt: skip
