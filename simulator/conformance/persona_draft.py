"""A persona file from a run: what was observed as its keys, what was answered as its answers.

What a card, the network or a storage decides is left to the simulator; what is always the same,
and what was refused, is taken word for word. Lines that would still hold a secret are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from simulator import commands, persona
from simulator.conformance import masks, tries
from simulator.conformance.check import Observed
from simulator.conformance.iccid import swapped
from simulator.conformance.reply import Reply
from simulator.conformance.suite import Report
from simulator.conformance.toml import Value, table
from simulator.persona import Persona

_KNOWN_MEMORIES: Final = ("SM", "ME", "MT", "SR", "BM")
# The maker's own call lines: what is set is read back.
_SWITCHES: Final = ("+MORING", "^DSCI", "#ECAM", "+UCALLSTAT", "^SLCC", "+WIND")
# What these answer depends on the card, the network, the storages or on what was set.
_STATEFUL: Final = frozenset(
    {
        "+CPIN", "+CIMI", "+CNUM", "+CRSM", "+CSIM", "+CLCK", "+CREG", "+CGREG", "+CEREG", "+COPS",
        "+CSQ", "+CESQ", "+CPMS", "+CNMI", "+CSMS", "+CMGF", "+CSCS", "+CMEE", "+CMGL", "+CMGR",
        "+CMGD", "+CMGS", "+CMGW", "+CNMA", "+CSCA", "+CSDH", "+CSMP", "+CSCB", "+CMMS", "+CGSMS",
        "+CCLK", "+CLCC", "+CEER", "+CUSD", "+CFUN", "+CLIP", "+CRC", "+CVHU", "^CURC", "+CPAS",
        *_SWITCHES,
    }
)  # fmt: skip
# Whether it answers these depends on what waits, or on a scan.
_REFUSED_AT_TIMES: Final = frozenset({"+CNMA", "+COPS"})
# Fields of a persona that tell the same already.
_TOLD_ELSEWHERE: Final = frozenset(
    {"+CGMI", "+GMI", "+CGMM", "+GMM", "+CGMR", "+GMR", "+NOSUCHCOMMAND"}
)
_TEST_DEPENDS: Final = frozenset({"+CMGD", "+COPS"})
_WORDS: Final = {
    "pin": "pin_tries",
    "puk": "puk_tries",
    "pin2": "pin2_tries",
    "puk2": "puk2_tries",
    "state": "pin_state",
    "asked": "asked_tries",
}
_QUESTION: Final = re.compile(r"AT([+^*#$%!_][A-Z0-9]+)(=\?|\?|=.*|)")


def text(report: Report, *, usb: tuple[str, int] | None = None) -> str:
    """The file's text; `usb` = the port's vendor:product id and interface number."""
    seen = report.seen
    fields = _fields(seen)
    if usb is not None:
        fields["usb_id"] = usb[0]
    answers, errors = _asked(report, _plain_persona(fields))
    keeps, settings = _kept(report, _plain_persona(fields))
    parts = [
        f"# {seen.model or 'A modem'}: a draft by the conformance suite. What a run cannot see has",
        "# the simulator's defaults: life without a card, calls, USSD's coding, other ports.",
        table(fields).rstrip("\n"),
    ]
    if usb is not None:
        parts.append(f'ports = [{{ role = "at", interface = {usb[1]} }}]')
    tables = {"answers": answers, "errors": errors, "settings": settings, "keeps": keeps}
    for name, values in tables.items():
        if values:
            parts += ["", table(values, name=name).rstrip("\n")]
    return "\n".join(parts) + "\n"


def _plain_persona(fields: Mapping[str, Value]) -> Persona:
    return persona.parse(table(fields))


def _fields(seen: Observed) -> dict[str, Value]:
    model = seen.model or "unknown"
    name = re.sub(r"[^a-z0-9]+", "-", _unprefixed(model).lower()).strip("-") or "draft"
    block = seen.identification or (seen.manufacturer or "unknown", _unprefixed(model))
    found: dict[str, Value | None] = {
        "name": name,
        "vendor": seen.family,
        "manufacturer": seen.manufacturer or "unknown",
        "model": model,
        "revision": seen.revision or "unknown",
        "tac": (seen.imei or "00000000")[:8],
        "identification": [_templated(line, seen) for line in block],
        "unknown_command": seen.unknown_command,
        "echo": seen.is_echoing,
        "prompt": seen.prompt.decode("latin-1") if seen.prompt is not None else None,
        "submit_seconds": round(seen.submit_seconds, 3) if seen.submit_seconds else None,
        "cpin_has_ok": seen.cpin_has_ok,
        "max_line": seen.max_line,
        "creg_is_quoted": seen.creg_is_quoted,
        "creg_form": "urc" if seen.creg_is_short else None,
        "access_technology": seen.access_technology,
        "has_eps": seen.has_eps,
        "csq_separator": seen.csq_separator,
        "crsm_short": seen.crsm_is_short,
        "crsm_quoted": seen.crsm_is_quoted,
        "crsm_missing": seen.crsm_missing,
        "noise": _harmless(seen, seen.noise),
        "noise_seconds": seen.noise_seconds,
        "boot_lines": _harmless(seen, seen.boot_lines),
        "boot_seconds": seen.boot_seconds,
        **_storage_fields(seen),
        **_routing_fields(seen),
    }
    return {key: value for key, value in found.items() if value is not None}


def _harmless(seen: Observed, lines: Iterable[str]) -> list[str] | None:
    mask = masks.of(seen)
    return [line for line in lines if mask(line) == line] or None


def _storage_fields(seen: Observed) -> dict[str, Value | None]:
    known = [name for name in seen.memories if name in _KNOWN_MEMORIES]
    read, delete = seen.empty_read, seen.empty_delete
    empty = None
    if read is not None and read.is_ok:
        empty = "zeros" if read.value("+CMGR") is not None else "ok"
    return {
        "memories": known or None,
        "write_memories": [name for name in seen.write_memories if name in _KNOWN_MEMORIES] or None,
        "n_memories": seen.n_memories,
        "default_memory": seen.default_memory if seen.default_memory in known else None,
        "first_slot": seen.first_slot,
        "me_slots": seen.capacities.get("ME"),
        "sr_slots": seen.capacities.get("SR"),
        "empty_slot": empty,
        "empty_delete": delete.is_ok if delete is not None else None,
    }


def _routing_fields(seen: Observed) -> dict[str, Value | None]:
    if not seen.cnmi_taken:
        return {}
    only = {seen.cnmi_found, "0,0,0,0,0"} if seen.cnmi_refused else set()
    if only:
        only |= {f"{m},{mt},0,{ds},{bfr}" for (m, mt, ds), bfr in seen.cnmi_taken.items()}
    return {
        "cnmi_modes": list(seen.cnmi_modes),
        "cnmi_only": sorted(only) or None,
        "cnmi_refusal": seen.cnmi_refusal,
        "direct_needs_ack": seen.cnmi_depends or None,
    }


def _asked(report: Report, drafted: Persona) -> tuple[dict[str, Value], dict[str, Value]]:
    """What was answered, and what was refused, by the keys of a persona file."""
    known = commands.table(drafted)
    seen = report.seen
    mask = masks.of(seen)
    answers: dict[str, Value] = {}
    errors: dict[str, Value] = {}
    for reply in report.replies:
        match = _QUESTION.fullmatch(reply.command.upper())
        if match is None or not reply.final or reply.command.count(";"):
            continue
        name, rest = match.groups()
        key = f"{name}{rest}"
        if name in _TOLD_ELSEWHERE:
            continue
        if not reply.is_ok:
            key = _refused_key(name, rest)
            if key and name in known and _is_refusal_of_model(report, reply):
                errors[key] = reply.final
            continue
        is_stuck = key == "+CSMS?" and seen.is_service_stuck
        if not (is_stuck or _is_constant(name, rest)) or (key == "+CNMI=?" and seen.cnmi_depends):
            continue
        lines = [_templated(line, seen) for line in _counters(reply, name, rest)]
        if all(mask(line) == line for line in lines):
            answers[key] = lines
    if seen.tells_no_cell:
        answers["+CREG?"] = ["+CREG: {=+CREG},{registration}"]
    return answers, errors


def _refused_key(name: str, rest: str) -> str:
    if name in _REFUSED_AT_TIMES:
        return ""
    if name == "+CSIM":
        return "+CSIM="
    if rest.startswith("=") and rest != "=?":
        return f"{name}{rest}" if _is_constant(name, rest) else ""
    return f"{name}{rest}"


def _kept(report: Report, drafted: Persona) -> tuple[dict[str, Value], dict[str, Value]]:
    """The maker's switches: those that the simulator only keeps, and those that it knows."""
    known = commands.table(drafted)
    keeps: dict[str, Value] = {}
    settings: dict[str, Value] = {}
    for reply in report.replies:
        name = reply.command[2:].rstrip("?")
        value = reply.value(name)
        if name in _SWITCHES and reply.is_ok and value is not None:
            (settings if name in known else keeps)[name] = value
    return keeps, settings


def _is_constant(name: str, rest: str) -> bool:
    """Whether the answer is the same whatever the card, the network or a setting is."""
    if rest == "=?":
        return name not in _TEST_DEPENDS
    if name == "+CLCK":
        return '"SC"' not in rest and rest.endswith(",2")
    if rest.startswith("="):
        return name in {"+CGSN", "^SPIC"}
    return name not in _STATEFUL


def _is_refusal_of_model(report: Report, reply: Reply) -> bool:
    """A refusal that tells of the model; a locked card refuses much that the model knows."""
    is_of_card = reply.cme in {10, 11, 12, 13, 14, 15} or reply.cms in {310, 311, 313, 314, 316}
    return not is_of_card and report.seen.pin_state == "READY"


def _counters(reply: Reply, name: str, rest: str) -> Iterable[str]:
    """The answer's lines with words for the tries that a card has left."""
    form = tries.form_of(f"{name}{rest}", reply)
    if form.startswith("PIN1="):
        for line in reply.lines:
            yield re.sub(r"(PIN|PUK)([12])=\d+", _numbered, line)
        return
    for line in reply.lines:
        yield _with_words(line, form) if form and line.upper().startswith(f"{name}:") else line


def _numbered(match: re.Match[str]) -> str:
    kind, number = match.groups()
    word = kind.lower() if number == "1" else f"{kind.lower()}2"
    return f"{kind}{number}={{{_WORDS[word]}}}"


def _with_words(line: str, form: str) -> str:
    if form.startswith("name,"):
        word = next((f"{{{_WORDS[key]}}}" for key in _NAMED if _NAMED[key] in line), None)
        return re.sub(r",(\s*)\d+", rf",\g<1>{word}", line, count=1) if word else line
    if '"' in line and '"SC"' not in line:
        return line
    names = form.split(",")
    head, colon, value = line.partition(":")
    fields = value.split(",")
    for place, key in enumerate(reversed(names), 1):
        if key in _WORDS and place <= len(fields):
            blank = " " * (len(fields[-place]) - len(fields[-place].lstrip()))
            fields[-place] = f"{blank}{{{_WORDS[key]}}}"
    return f"{head}{colon}{','.join(fields)}"


_NAMED: Final = {"pin2": "SIM PIN2", "puk2": "SIM PUK2", "pin": "SIM PIN", "puk": "SIM PUK"}


def _templated(line: str, seen: Observed) -> str:
    forms: dict[str, str] = {}
    if seen.iccid:
        padded = seen.iccid.ljust(20, "F")
        forms[swapped(padded)] = "{iccid_swapped}"
        forms[padded] = "{iccid_padded}"
        forms[padded.lower()] = "{iccid_lower}"
        forms[seen.iccid] = "{iccid}"
    if seen.imei:
        forms[seen.imei] = "{imei}" if len(seen.imei) == 15 else "{imeisv}"
        forms[seen.imei[:14]] = "{imei14}"
    for secret, word in forms.items():
        if len(secret) > 10:
            line = line.replace(secret, word)
    return line


def _unprefixed(model: str) -> str:
    return model.rpartition(":")[2].strip().strip('"')
