"""All models under all faults, hands at cards and cables, and traffic: nothing breaks, the ledger
stays possible, and it is the same each time."""

import hashlib
import os
from collections import Counter
from pathlib import Path

import pytest

from simulator import ledger, persona
from simulator.control import serving
from simulator.faults import FaultKind
from simulator.ledger import Fact
from simulator.network.numbers import national
from simulator.story import scenario
from simulator.story.scenario import Scenario

IS_LONG = bool(os.environ.get("MODEMCTL_LONG"))
COMMANDS = {
    'AT+CPIN="{pin}"': 60, "AT+CMGD=1,4": 45, "AT+CNMI=2,1,0,1,0": 300, "AT+CNMI=2,2,0,1,0": 310,
    "AT+CMGL=4": 70, 'AT+CUSD=1,"*101#",15': 33, "ATD13912345678;": 50, "ATD+8613800000003;": 55,
    "ATA": 20, "ATH": 90, "AT+COPS=?": 100, "AT+CFUN=1,1": 500, "AT+CFUN=0": 700, "AT+CFUN=1": 300,
    "ATZ": 900, "AT+CRSM=176,12258,0,0,10": 40, "AT+CPAS": 30, "AT+CLCC": 35,
    'AT+CPIN="0000"': 400, 'AT+CLCK="SC",1,"{pin}"': 600,
}  # fmt: skip
DEEDS: list[dict[str, object]] = [
    {"do": "unplug", "modem": "any", "lasts": 20},
    {"do": "unplug_hub", "hub": 2, "lasts": 20},
    {"do": "pull_card", "modem": "any", "lasts": 20},
    {"do": "reboot", "modem": "any"},
    {"do": "swap_cards", "modem": "any", "other": "3"},
    {"do": "lose_coverage", "lasts": 15},
    {"do": "push_ussd", "modem": "any", "text": "hi"},
    {"do": "inject_call", "modem": "any", "outcome": "answered"},
    {"do": "dial", "modem": "any", "outcome": "no_answer"},
    {"do": "cut_off", "modem": "any", "lasts": 60, "denied": True},
]


def turmoil(seed: int) -> Scenario:
    timeline: list[dict[str, object]] = [
        {"every": 120, "jitter": 100, "do": "set_fault", "modem": "any", "fault": kind.value,
         "rate": 0.3, "lasts": 60, "seconds": 2.0}
        for kind in FaultKind
    ]  # fmt: skip
    timeline += [{"every": 200, "jitter": 150, **deed} for deed in DEEDS]
    timeline += [
        {"every": every, "jitter": 10, "do": "type", "modem": "any", "text": text}
        for text, every in COMMANDS.items()
    ]
    rates = {"strangers": 60, "neighbours": 80, "senders": 40, "callers": 10}
    traffic = [{"source": name, "per_minute": rate} for name, rate in rates.items()]
    values = {"modems": 2 * len(persona.names()), "persona": "all", "pin": "1234", "seed": seed,
              "pin_lock": "mixed", "timeline": timeline, "traffic": traffic}  # fmt: skip
    return scenario.override(Scenario(), values)


def require_possible(lines: list[dict[str, Fact]]) -> None:
    """What came to a card was sent before; what was reported was asked for."""
    sent: Counter[tuple[Fact, ...]] = Counter()
    asked: set[tuple[Fact, ...]] = set()
    own = {national(str(line["from"])): line["iccid"] for line in lines if line["kind"] == "submit"}
    for line in lines:
        match line["kind"]:
            case "submit":
                to = own.get(national(str(line["destination"])))
                sent[line["from"], to, line["text"]] += 1
                if line["wants_report"]:
                    asked.add((line["iccid"], line["destination"], line["mr"]))
            case "report":
                assert (line["iccid"], line["destination"], line["mr"]) in asked, line
            case "deliver" if national(str(line["from"])) in own and line["iccid"] in own.values():
                key = (line["from"], line["iccid"], line["text"])
                assert sent[key] > 0, line
                sent[key] -= 1


@pytest.mark.parametrize("seed", range(1, 6 if IS_LONG else 2))
def test_all_models_under_all_faults_keep_a_possible_ledger(tmp_path: Path, seed: int) -> None:
    print("seed", seed)
    digests = set()
    for name in ("one", "two"):
        serving.play(turmoil(seed), tmp_path / name, until=7200 if IS_LONG else 1200)
        raw = (tmp_path / name / "ledger.jsonl").read_bytes()
        digests.add(hashlib.sha256(raw).hexdigest())
    assert len(digests) == 1
    lines = list(ledger.read(tmp_path / "one" / "ledger.jsonl"))
    require_possible(lines)
    struck = {line["fault"] for line in lines if line["kind"] == "fault"}
    assert len(struck) > 25, struck
    taken = Counter(line["modem"] for line in lines if line["kind"] == "submit")
    assert len(taken) > len(persona.names()), taken
