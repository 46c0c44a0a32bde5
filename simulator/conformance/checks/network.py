"""Signal, registration, operator. Source: TS 27.007 §7.2, §7.3, §8.5; at-dialects §3.4."""

from __future__ import annotations

import re
from typing import Final

from simulator.conformance.check import (
    Bench,
    Check,
    Finding,
    Need,
    can,
    cannot,
    not_tried,
    odd,
)
from simulator.conformance.checks.line import milliseconds
from simulator.conformance.guard import ESC
from simulator.conformance.reply import Reply

_STATES: Final = {
    0: "not registered", 1: "home", 2: "searching", 3: "denied", 4: "unknown", 5: "roaming",
    6: "SMS only, home", 7: "SMS only, roaming", 8: "emergency only", 9: "home", 10: "roaming",
}  # fmt: skip
_REGISTERED: Final = frozenset({1, 5, 6, 7, 9, 10})
_WAIT_TURNS: Final = 20
_SCAN_SECONDS: Final = 180.0


def _radio(bench: Bench) -> Finding:
    value = bench.ask("AT+CFUN?").value("+CFUN")
    if value is None:
        return cannot("+CFUN? is not known")
    level = value.split(",")[0].strip()
    return can("on (1)") if level == "1" else odd(f"+CFUN is {level}: switched off by somebody")


def _signal(bench: Bench) -> Finding:
    value = bench.ask("AT+CSQ").value("+CSQ")
    match = re.match(r"(\d+)\s*[,.]\s*(\d+)", value or "")
    if match is None:
        return cannot("+CSQ is not known") if value is None else odd(f"+CSQ: {value}")
    rssi = int(match.group(1))
    extended = "; +CESQ too" if bench.ask("AT+CESQ").value("+CESQ") else ""
    if rssi == 99:
        return odd(f"not known (99){extended}") if bench.has_card else can(f"none (99){extended}")
    bench.seen.csq_separator = (value or ",").strip("0123456789") or ","
    if "." in match.group():
        return odd(f"a point for the comma: {value}")
    # Source: TS 27.007 §8.5. TD-SCDMA modems tell 100–199.
    return can(f"{rssi} = {-113 + 2 * rssi} dBm{extended}" if rssi <= 31 else f"{rssi}{extended}")


def registration_of(reply: Reply, name: str) -> tuple[int | None, list[str]]:
    """State and the fields behind it in the answer to `+CREG?` and its kin."""
    value = reply.value(name)
    fields = [field.strip() for field in value.split(",")] if value else []
    place = 1 if len(fields) > 1 and fields[1].isdigit() else 0
    if len(fields) <= place or not fields[place].isdigit():
        return None, []
    return int(fields[place]), fields[place + 1 :]


def _registration(bench: Bench) -> Finding:
    stat, _ = registration_of(bench.ask("AT+CREG?"), "+CREG")
    for _ in range(_WAIT_TURNS if bench.has_card else 0):
        # Right after the PIN it says 0 until it begins to search.
        if stat not in {0, 2}:
            break
        bench.client.listen(1.0)
        stat, _ = registration_of(bench.ask("AT+CREG?"), "+CREG")
    bench.seen.registration = stat
    bench.seen.creg_is_short = "," not in (bench.client.replies[-1].value("+CREG") or ",")
    if stat is None:
        return cannot("+CREG? tells no state")
    says = f"{stat}, {_STATES.get(stat, 'not in the standard')}"
    if stat in _REGISTERED:
        return can(says)
    return cannot(says) if bench.has_card else not_tried(f"{says}: no usable card")


def _cell(bench: Bench) -> Finding:
    if not bench.settings.keep("+CREG"):
        return cannot("+CREG? does not tell its mode: it could not be put back, so it is not set")
    refused = [n for n in (1, 2) if not bench.ask(f"AT+CREG={n}").is_ok]
    stat, rest = registration_of(bench.ask("AT+CREG?"), "+CREG")
    if refused:
        return cannot(f"+CREG={refused[0]} is refused: no word of a change")
    if stat not in _REGISTERED:
        return not_tried("not registered")
    if len(rest) < 2 or not rest[0]:
        bench.seen.tells_no_cell = True
        return odd("+CREG=2 is taken, but tells no cell")
    bench.seen.creg_is_quoted = rest[0].startswith('"')
    if len(rest) > 2 and rest[2].isdigit():
        bench.seen.access_technology = int(rest[2])
    form = "quoted" if bench.seen.creg_is_quoted else "not quoted"
    says = f"{rest[0]},{rest[1]}, {form}"
    if len(rest) > 2:
        says += f", technology {rest[2]}"
    return can(says) if bench.seen.creg_is_quoted else odd(says)


def _packet(bench: Bench) -> Finding:
    found = []
    for name in ("+CGREG", "+CEREG"):
        stat, _ = registration_of(bench.ask(f"AT{name}?"), name)
        if stat is not None:
            found.append(f"{name} {stat}")
    bench.seen.has_eps = any(name.startswith("+CEREG") for name in found)
    return can(", ".join(found)) if found else cannot("neither +CGREG nor +CEREG")


def _operator(bench: Bench) -> Finding:
    if not bench.settings.keep("+COPS"):
        value = bench.ask("AT+COPS?").value("+COPS") or "nothing"
        return odd(f"tells no name: {value}")
    names: list[str] = []
    for form in (0, 1, 2):
        bench.ask(f"AT+COPS=3,{form}")
        value = bench.ask("AT+COPS?").value("+COPS") or ""
        match = re.match(r'\d+,(\d),"?([^",]*)"?', value)
        if match is None:
            return odd(f"form {form} tells no name: {value}")
        if int(match.group(1)) != form:
            return odd(f"asked for form {form}, got {match.group(1)}")
        names.append(match.group(2))
    return can(" / ".join(names))


def _scan(bench: Bench) -> Finding:
    """Begin a scan and break it off: it takes minutes, and some modems hang in it."""
    if not bench.wishes.has_scan:
        return not_tried("--no-scan")
    client = bench.client
    raw = client.say(b"AT+COPS=?\r", listen=1.0)
    if b"OK" in raw or b"ERROR" in raw:
        return can("the scan was over before it could be broken off")
    raw = client.say(ESC, listen=2.0)
    if re.search(rb"OK|ERROR|NO CARRIER|ABORTED", raw):
        told = raw.decode("latin-1").split()
        return can(f"broken off by a key: {' '.join(told[-2:])}")
    # Where nothing is said, either it was broken off in silence or it runs on: ask and see.
    reply = client.ask("AT", limit=_SCAN_SECONDS)
    if reply.is_silent:
        return cannot("not broken off, and nothing for minutes")
    if reply.seconds > 2.0:
        return odd(f"runs on for {milliseconds(reply.seconds)} though a key was pressed")
    return odd("broken off in silence")


def _clock(bench: Bench) -> Finding:
    value = bench.ask("AT+CCLK?").value("+CCLK")
    if value is None:
        return cannot("+CCLK? is not known")
    text = value.strip('"')
    return can(text) if re.match(r"\d\d(\d\d)?/\d\d/\d\d,\d\d:\d\d:\d\d", text) else odd(text)


CHECKS: Final = (
    Check(
        name="network.radio", title="radio (+CFUN?)", clause="TS 27.007 §8.2", run=_radio,
        suffers="A modem in flight mode looks like one without coverage.",
    ),
    Check(
        name="network.signal", title="signal (+CSQ)", clause="TS 27.007 §8.5", run=_signal,
        suffers="Bad antennas stay unnoticed.",
    ),
    Check(
        name="network.registration", title="registration (+CREG?)", clause="TS 27.007 §7.2",
        run=_registration, is_essential=True,
        suffers="A client waits for the network for ever, or sends without one.",
    ),
    Check(
        name="network.cell", title="cell, news of it (+CREG=2)", clause="TS 27.007 §7.2",
        run=_cell, need=Need.CARD,
        suffers="Clients that want quotes round area and cell lose them without.",
    ),
    Check(
        name="network.packet", title="+CGREG, +CEREG", clause="TS 27.007 §10.1.20, §10.1.22",
        run=_packet, suffers="On LTE +CREG alone may say “not registered”.",
    ),
    Check(
        name="network.operator", title="operator's names (+COPS)", clause="TS 27.007 §7.3",
        run=_operator, need=Need.NETWORK, suffers="The network is not known by name or number.",
    ),
    Check(
        name="network.scan", title="a scan, broken off", clause="V.250 §5.6.1; TS 27.007 §7.3",
        run=_scan, need=Need.NETWORK, suffers="Somebody's scan blocks the modem for minutes.",
    ),
    Check(
        name="network.clock", title="clock (+CCLK?)", clause="TS 27.007 §8.15", run=_clock,
        suffers="Hardly anybody; logs of the modem have no time.",
    ),
)  # fmt: skip
