"""Who the modem says it is. Source: TS 27.007 §5; V.250 §6.1; at-dialects §3.1, §3.2."""

from __future__ import annotations

import re
from typing import Final

from simulator.conformance.check import Bench, Check, Finding, can, cannot, odd
from simulator.conformance.reply import Reply

_FAMILIES: Final = {
    "huawei": "huawei",
    "zte": "zte",
    "quectel": "quectel",
    "simcom": "simcom",
    "simtech": "simcom",
    "telit": "telit",
    "sierra": "sierra",
    "u-blox": "ublox",
    "cinterion": "cinterion",
    "gemalto": "cinterion",
    "thales": "cinterion",
    "siemens": "cinterion",
    "wavecom": "wavecom",
}


def luhn_is_right(digits: str) -> bool:
    """The last digit checks the others. Source: ISO/IEC 7812-1 annex B; TS 23.003 annex B."""
    total = 0
    for place, char in enumerate(reversed(digits)):
        value = int(char) * (1 + place % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0


def _told(bench: Bench, *commands: str) -> tuple[str, list[str], str]:
    """The first answer, which of the commands answered, and how: bare or with a name."""
    first, form = "", ""
    answered: list[str] = []
    for command in commands:
        reply = bench.ask(f"AT{command}")
        line = reply.lines[0] if reply.is_ok and reply.lines else ""
        if line:
            answered.append(command)
            if not first:
                first = line
                form = "named" if reply.value(command) is not None else "bare"
    return first, answered, form


def _plain(line: str, command: str) -> str:
    return line.removeprefix(f"{command}:").strip().strip('"').strip()


def _text(bench: Bench, general: str, plain: str) -> tuple[str, Finding]:
    line, answered, form = _told(bench, general, plain)
    if not line:
        return "", cannot(f"neither {general} nor {plain}")
    text = _plain(line, general)
    if form == "named" or line.startswith('"'):
        return line, odd(f"{text}, not bare: {line.split(text)[0]}…")
    if plain not in answered:
        return line, can(f"{text} ({plain} is not known)")
    return line, can(text)


def _manufacturer(bench: Bench) -> Finding:
    line, finding = _text(bench, "+CGMI", "+GMI")
    bench.seen.manufacturer = line or None
    low = line.lower()
    bench.seen.family = next((name for text, name in _FAMILIES.items() if text in low), "generic")
    return finding


def _model(bench: Bench) -> Finding:
    line, finding = _text(bench, "+CGMM", "+GMM")
    bench.seen.model = line or None
    return finding


def _revision(bench: Bench) -> Finding:
    line, finding = _text(bench, "+CGMR", "+GMR")
    bench.seen.revision = line or None
    return finding


def _block(bench: Bench) -> Finding:
    reply = bench.ask("ATI")
    if not reply.lines:
        return cannot(f"ATI: {reply.told}")
    bench.seen.identification = reply.lines
    return can(f"{len(reply.lines)} line{'s' * (len(reply.lines) > 1)}: {reply.lines[0]}")


def _imei(bench: Bench) -> Finding:
    found: dict[str, str] = {}
    for command in ("+CGSN", "+GSN", "+CGSN=1"):
        digits = _imei_in(bench.ask(f"AT{command}"))
        if digits:
            found[command] = digits
    if not found:
        return cannot("no 14 to 16 digits by +CGSN, +GSN, +CGSN=1")
    bench.seen.imei = imei = next(iter(found.values()))
    ways = ", ".join(found)
    if len({digits[:14] for digits in found.values()}) > 1:
        return odd(f"different ones by {ways}")
    if len(imei) != 15:
        return odd(f"{len(imei)} digits by {ways}")
    if not luhn_is_right(imei):
        return odd(f"its check digit is wrong (by {ways})")
    return can(f"{imei} by {ways}")


def _imei_in(reply: Reply) -> str:
    if not reply.is_ok:
        return ""
    words = re.split(r'[\s:,"]+', " ".join(reply.lines))
    return next((word for word in words if re.fullmatch(r"\d{14,16}", word)), "")


def _abilities(bench: Bench) -> Finding:
    value = bench.ask("AT+GCAP").value("+GCAP")
    if value is None:
        return cannot("+GCAP is not known")
    return can(value) if "+CGSM" in value else odd(f"{value}: no +CGSM")


def _commands(bench: Bench) -> Finding:
    reply = bench.ask("AT+CLAC")
    if not reply.is_ok:
        return cannot(f"+CLAC: {reply.told}")
    n = sum(line.count(",") + 1 for line in reply.lines)
    return can(f"lists {n} commands") if n else odd("OK, and an empty list")


CHECKS: Final = (
    Check(
        name="identity.manufacturer", title="manufacturer (+CGMI)", clause="TS 27.007 §5.1",
        run=_manufacturer, suffers="Clients choose their vendor's dialect by it.",
    ),
    Check(
        name="identity.model", title="model (+CGMM)", clause="TS 27.007 §5.2", run=_model,
        suffers="gammu keys its work-arounds on the very string.",
    ),
    Check(
        name="identity.revision", title="firmware (+CGMR)", clause="TS 27.007 §5.3",
        run=_revision, suffers="Nobody can say which firmware has which defect.",
    ),
    Check(
        name="identity.block", title="identification (ATI)", clause="V.250 §6.1.3", run=_block,
        suffers="kannel finds the modem's type in it.",
    ),
    Check(
        name="identity.imei", title="IMEI (+CGSN)", clause="TS 27.007 §5.4", run=_imei,
        is_essential=True, suffers="The modem cannot be told from another of its kind.",
    ),
    Check(
        name="identity.abilities", title="abilities (+GCAP)", clause="V.250 §6.1.9",
        run=_abilities, suffers="ModemManager decides by it whether this is a GSM modem.",
    ),
    Check(
        name="identity.commands", title="list of commands (+CLAC)", clause="TS 27.007 §8.37",
        run=_commands, suffers="python-gsmmodem probes one by one instead.",
    ),
)  # fmt: skip
