"""A persona file drafted from a recording: what the session showed of its model.

It says what was seen and nothing else; a person reads it, adds ports and times, and tries it.
"""

from __future__ import annotations

import itertools
import re
import statistics
from collections import Counter
from collections.abc import Iterator
from typing import Final

from simulator import commands, persona
from simulator.commands.settings import SETTINGS
from simulator.conformance import toml
from simulator.conformance.toml import Value
from simulator.recording.exchanges import Exchange, Reaction, Story, shape, story
from simulator.recording.masking import name_of, split
from simulator.recording.tape import Tape, What
from simulator.wire.syntax import Command, Op, SyntaxFault, body, parse

_VENDORS: Final = (
    "huawei", "zte", "quectel", "simcom", "telit", "sierra", "u-blox", "cinterion",
    "wavecom",
)  # fmt: skip
_RESETS: Final = frozenset({"AT+CFUN=1,1", "AT^RESET", "AT+CRESET", "AT#REBOOT", "AT!RESET"})
_EVENTS: Final = frozenset(
    {
        "+CMTI", "+CMT", "+CDSI", "+CDS", "+CBM", "+CREG", "+CGREG", "+CEREG", "+CLIP", "+CRING",
        "+CUSD", "+CLCC", "+QIND", "^DSCI", "^ORIG", "^CONF", "^CONN", "^CEND", "+CCWA", "+COLP",
    }
)  # fmt: skip
_OF_STATE: Final = re.compile(r"\+CM[ES] ERROR: (?:5|6|7|1\d|2\d|3\d|1\d\d|31\d|32\d|33\d|5\d\d)")
_ICCID: Final = re.compile(r"\b[89][0-9A-Fa-f]{17,21}\b")
_IMEI: Final = re.compile(r"\b\d{14,16}\b")
_OFTEN: Final = 4
_NOISE_MS: Final = 60_000
_FRESH: Final = frozenset({"ATZ", "AT&F"})
_REGISTRATION: Final = frozenset({"+CREG", "+CGREG", "+CEREG", "+CLIP"})
_DEFAULT_TAC: Final = "35600001"


def draft(tape: Tape, *, name: str = "") -> str:
    """The text of a persona file, as `simulator.persona.parse` reads it."""
    facts = _Facts(tape, story(tape))
    table: dict[str, Value] = {}
    for part in (facts.identity(name), facts.habits(), facts.storages(), facts.forms()):
        table.update(part)
    table.update(facts.spoken())
    remarks = "".join(f"# {line}\n" for line in facts.remarks())
    tables = facts.kept(_known(table))
    named = (toml.table(values, name=title) for title, values in tables.items())
    return "\n".join([remarks + toml.table(table), *named])


class _Facts:
    """What a recording shows."""

    def __init__(self, tape: Tape, told: Story) -> None:
        self._tape = tape
        self._story = told
        self._by_form: dict[str, list[Exchange]] = {}
        for exchange in told.exchanges:
            self._by_form.setdefault(shape(exchange.said), []).append(exchange)

    def identity(self, name: str) -> dict[str, Value]:
        """Who it says it is."""
        block = [_generic(line) for line in self._first("ATI")]
        maker = self._word("AT+CGMI", "AT+GMI") or (block[0] if block else "unknown")
        model = self._word("AT+CGMM", "AT+GMM") or self._tape.header.model or "unknown"
        maker, model = _unlabelled(maker), _unlabelled(model)
        imei = _IMEI.search(" ".join((*self._first("AT+CGSN"), *self._first("ATI"))))
        lower = f"{maker} {model}".lower()
        vendor = next((vendor for vendor in _VENDORS if vendor in lower), "generic")
        if maker == "Ericsson":  # its modules; the phones were another house's
            vendor = "mbm"
        return {
            "name": name or re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-") or "draft",
            "vendor": vendor,
            "manufacturer": maker,
            "model": model,
            "revision": self._word("AT+CGMR", "AT+GMR") or _revision(block),
            "tac": imei.group()[:8] if imei else _DEFAULT_TAC,
            "identification": block or [maker, model],
        }

    def habits(self) -> dict[str, Value]:
        """Echo, prompt, words of its own, results."""
        found: dict[str, Value] = {}
        exchanges = self._story.exchanges
        if exchanges and not exchanges[0].has_echo:
            found["echo"] = False
        prompts = Counter(item.octets for item in self._reactions() if item.what is What.PROMPT)
        if prompts:
            prompt = prompts.most_common(1)[0][0].decode("latin-1")
            if prompt != "\r\n> ":
                found["prompt"] = prompt
        results = {exchange.result for exchange in exchanges}
        if "COMMAND NOT SUPPORT" in results:
            found["unknown_command"] = "COMMAND NOT SUPPORT"
        asked = self._by_form.get("AT+CPIN?", [])
        if asked and not any(item.result for item in asked) and any(a.answer for a in asked):
            found["cpin_has_ok"] = False
        for exchange in asked:
            if re.fullmatch(r"\+CME ERROR: 1[03]", exchange.result):
                found["no_card"] = exchange.result
        return found

    def storages(self) -> dict[str, Value]:
        """Places of messages and their sizes."""
        found: dict[str, Value] = {}
        tests = [line for line in self._first("AT+CPMS=?") if line.startswith("+CPMS")]
        if tests:
            lists = re.findall(r"\(([^()]*)\)", tests[0])
            if lists:
                found["memories"] = [part.strip('" ') for part in lists[0].split(",")]
                found["n_memories"] = len(lists)
        read = [split(line.partition(":")[2]) for line in self._first("AT+CPMS?")]
        if read and len(read[0]) >= 3:
            fields = [part.strip('" ') for part in read[0]]
            found["default_memory"] = fields[0]
            for place in range(0, len(fields) - 2, 3):
                key = {"ME": "me_slots", "SR": "sr_slots"}.get(fields[place])
                if key and re.fullmatch("[0-9]{1,5}", fields[place + 2]):
                    found[key] = int(fields[place + 2])
        slots = re.findall(
            r'\+(?:CMTI|CDSI): ?"?\w+"?,(\d+)|\+CMGL: ?(\d+),', "\n".join(self._lines())
        )
        if any("0" in pair for pair in slots):
            found["first_slot"] = 0
        return found | self._routing()

    def _routing(self) -> dict[str, Value]:
        found: dict[str, Value] = {}
        told = set(range(10))
        for line in self._first("AT+CNMI=?"):
            lists = re.findall(r"\(([^()]*)\)", line)
            if lists:
                found["cnmi_modes"] = _numbers(lists[0])
                told = set(_numbers(lists[0]))
        tried: dict[int, set[bool]] = {}
        for form, exchanges in self._by_form.items():
            match = re.fullmatch(r"AT\+CNMI=(\d)(?:,\d?)*", form)
            if match:
                results = {exchange.result == "OK" for exchange in exchanges if exchange.result}
                tried.setdefault(int(match.group(1)), set()).update(results)
        refused = sorted(
            mode for mode, results in tried.items() if results == {False} and mode in told
        )
        if refused and any(True in results for results in tried.values()):
            found["cnmi_refused_modes"] = refused
        return found

    def forms(self) -> dict[str, Value]:
        """How lines are written that all models have."""
        found: dict[str, Value] = {}
        for line in self._lines():
            if match := re.fullmatch(r'\+C(?:G|E)?REG: ?\d,\d, ?("?)[0-9A-Fa-f]+"?,.*', line):
                found["creg_is_quoted"] = bool(match.group(1))
                technology = re.fullmatch(r".*,(\d{1,2})", line)
                if technology and len(split(line)) == 5:
                    found["access_technology"] = int(technology.group(1))
            elif match := re.fullmatch(r"\+CSQ: ?\d+(\D+)\d+", line):
                found["csq_separator"] = match.group(1)
            elif match := re.fullmatch(r'\+CRSM: ?(14[456],\d+),("?)[0-9A-F]+"?', line):
                found["crsm_ok"] = match.group(1)
                found["crsm_quoted"] = bool(match.group(2))
            elif match := re.fullmatch(r'\+CRSM: ?(106,130|148,4|106,136)(,"")?', line):
                found["crsm_missing"] = match.group(1)
            elif match := re.fullmatch(r'(\+C(?:MT|DS): ?(?:(?:"[^"]*"|[^",]*),)?)\d+', line):
                key = "message_line" if line.startswith("+CMT") else "report_line"
                found[key] = f"{match.group(1)}{{length}}"
        if any(e.result == "OK" for e in self._by_form.get("AT+CEREG?", [])):
            found["has_eps"] = True
        return found

    def spoken(self) -> dict[str, Value]:
        """What it says by itself: at boot, after the PIN, again and again."""
        found: dict[str, Value] = {}
        noise, seconds = self._noise()
        boot = [item for item in self._story.opening if item.what is What.URC]
        unlock: list[Reaction] = []
        for exchange in self._story.exchanges:
            urcs = [item for item in exchange.reactions if item.what is What.URC]
            if shape(exchange.said) in _RESETS and exchange.result == "OK" and urcs:
                boot = urcs
                found["boot_seconds"] = round(urcs[0].seconds, 1)
            elif exchange.said.upper().startswith("AT+CPIN=") and exchange.result == "OK":
                unlock = urcs
        for key, items in (("boot_lines", boot), ("unlock_lines", unlock)):
            lines = [item.line for item in items if not self._is_event(item.line, noise)]
            if lines:
                found[key] = lines
        if noise:
            found["noise"] = noise
            found["noise_seconds"] = seconds
        return found

    def _noise(self) -> tuple[list[str], float]:
        """Lines that come again and again, and the usual seconds between two of a kind."""
        times: dict[str, list[int]] = {}
        latest: dict[str, str] = {}
        for record in self._tape.records:
            name = name_of(record.line)
            if record.what is What.URC and name is not None and name not in _EVENTS:
                times.setdefault(name, []).append(record.ms)
                latest[name] = record.line
        gaps = {
            name: statistics.median(later - earlier for earlier, later in itertools.pairwise(found))
            for name, found in times.items()
            if len(found) >= _OFTEN
        }
        often = {name: gap / 1000 for name, gap in gaps.items() if 0 < gap <= _NOISE_MS}
        seconds = round(statistics.median(often.values()), 1) if often else 0.0
        return [latest[name] for name in often], seconds

    def kept(self, known: frozenset[str]) -> dict[str, dict[str, Value]]:
        """Commands that the simulator does not know by itself, and settings after power-up."""
        answers: dict[str, Value] = {}
        errors: dict[str, Value] = {}
        keeps: dict[str, Value] = {}
        settings: dict[str, Value] = {}
        for exchange in self._story.exchanges:
            command = _single(exchange.said)
            if command is None or exchange.payload is not None or exchange.prompt:
                continue
            if command.name in known:
                self._differing(command, exchange, errors, settings)
            elif exchange.result == "OK":
                self._own(command, exchange, answers, keeps)
        for key in [key for key in answers if key.rstrip("=?") in keeps and not key.endswith("=?")]:
            del answers[key]
        found = {"answers": answers, "errors": errors, "settings": settings, "keeps": keeps}
        return {name: table for name, table in found.items() if table}

    def _own(
        self,
        command: Command,
        exchange: Exchange,
        answers: dict[str, Value],
        keeps: dict[str, Value],
    ) -> None:
        lines = [_generic(line) for line in exchange.answer]
        value = lines[0].partition(":")[2].strip() if len(lines) == 1 else ""
        was_set = f"{command.name}=" in answers
        if command.op is Op.READ and value and was_set and "{" not in value:
            keeps.setdefault(command.name, value)
        answers.setdefault(command.key, lines)

    def _differing(
        self,
        command: Command,
        exchange: Exchange,
        errors: dict[str, Value],
        settings: dict[str, Value],
    ) -> None:
        setting = SETTINGS.get(command.name)
        if command.op is Op.READ and setting is not None and len(exchange.answer) == 1:
            value = exchange.answer[0].partition(":")[2].strip().strip('"')
            # Only the first reading before anything was set tells of power-up.
            earlier = self._by_name(command.name, before=exchange)
            if not earlier and value != setting.default and command.name not in _REGISTRATION:
                settings[command.name] = value
        is_refusal = bool(exchange.result) and exchange.result != "OK"
        if is_refusal and not _OF_STATE.fullmatch(exchange.result) and command.name in SETTINGS:
            alike = self._by_form[shape(exchange.said)]
            if all(item.result == exchange.result for item in alike):
                key = f"{command.key}{command.text}"
                errors[key] = exchange.result

    def _by_name(self, name: str, *, before: Exchange) -> list[Exchange]:
        found: list[Exchange] = []
        for exchange in self._story.exchanges:
            if exchange is before:
                break
            if f"{name}=" in exchange.said.upper() or exchange.said.upper() in _FRESH:
                found.append(exchange)
        return found

    def remarks(self) -> list[str]:
        """What was seen and has no key."""
        found = [f"Drafted from a recording of {self._tape.header.started}; read it before use."]
        if not self._tape.is_complete:
            found.append("The recording was cut off.")
        waits = [
            sum(item.seconds for item in exchange.payload.reactions[:1])
            for exchange in self._story.exchanges
            if exchange.payload is not None and exchange.payload.result == "OK"
        ]
        if waits:
            found.append(
                f"A submit took {statistics.median(waits):.1f} s (median of {len(waits)})."
            )
        found.append("Ports, USB id and times at boot are not in a recording of one port.")
        return found

    # ------------------------------------------------------------ inside

    def _first(self, form: str) -> tuple[str, ...]:
        """The answer to the first command of that form that was answered."""
        found = (exchange.answer for exchange in self._by_form.get(form, []) if exchange.answer)
        return next(found, ())

    def _word(self, *forms: str) -> str:
        return next((lines[0].strip() for form in forms if (lines := self._first(form))), "")

    def _reactions(self) -> Iterator[Reaction]:
        for exchange in self._story.exchanges:
            yield from exchange.reactions
            if exchange.payload is not None:
                yield from exchange.payload.reactions

    def _lines(self) -> Iterator[str]:
        return (item.line for item in self._reactions())

    def _is_event(self, line: str, noise: list[str]) -> bool:
        name = name_of(line)
        return name in _EVENTS or line == "RING" or any(name_of(n) == name for n in noise)


def _single(said: str) -> Command | None:
    """The only command of a line; None where there are several or it is none."""
    try:
        found = parse(body(said) or "")
    except SyntaxFault:
        return None
    return found[0] if len(found) == 1 else None


def _generic(line: str) -> str:
    """The line with names in braces in the place of this card's and this modem's identity."""

    def identity(match: re.Match[str]) -> str:
        text = match.group()
        if text.startswith("98"):
            return "{iccid_swapped}"
        if text.endswith("f"):
            return "{iccid_lower}"
        return "{iccid_padded}" if len(text) == 20 else "{iccid}"

    made = _ICCID.sub(identity, line)
    return _IMEI.sub(lambda match: "{imeisv}" if len(match.group()) == 16 else "{imei}", made)


def _revision(block: list[str]) -> str:
    lines = (line.partition(":") for line in block)
    return next((value.strip() for name, _, value in lines if name == "Revision"), "unknown")


def _unlabelled(text: str) -> str:
    return re.sub(r"^(?:\+C?GM[IM]|Manufacturer|Model): ?", "", text).strip('"')


def _numbers(text: str) -> list[int]:
    found: list[int] = []
    for part in text.split(","):
        limits = re.fullmatch(r"([0-9]{1,4})(?:-([0-9]{1,4}))?", part.strip())
        if limits is not None:
            first, last = limits.groups()
            found += range(int(first), int(last or first) + 1)
    return found


def _known(table: dict[str, Value]) -> frozenset[str]:
    """The commands that the simulator knows of this model by itself."""
    return frozenset(commands.table(persona.parse(toml.table(table))))
