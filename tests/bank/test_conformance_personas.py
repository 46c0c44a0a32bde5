"""The conformance suite against every persona, and against the draft that it writes of each."""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from simulator import persona
from simulator.conformance import checks, persona_draft, suite
from simulator.conformance.check import Check, Verdict, Wishes
from simulator.conformance.guard import Permit
from simulator.conformance.port import open_port
from simulator.conformance.suite import Outcome, Report
from simulator.ledger import Fact
from simulator.persona import RegistrationForm
from tests.support.simulated import BankProcess, wait_until

NAMES = persona.names()


@dataclass(frozen=True)
class Run:
    """One persona's run, with what its card and the network saw of it."""

    report: Report
    card: dict[str, object]


@dataclass(frozen=True)
class Tour:
    """A bank with one modem of each persona, all of them put to the test at once."""

    runs: dict[str, Run]
    ledger: list[dict[str, Fact]]


def tries_left(tour: Tour) -> set[tuple[object, object]]:
    cards = [run.card["card"] for run in tour.runs.values()]
    return {(card["pin_tries"], card["puk_tries"]) for card in cards if isinstance(card, dict)}


def examine(port: str, *permits: Permit, only: Sequence[Check] = checks.ALL) -> Report:
    return suite.run(
        lambda: open_port(port),
        wishes=Wishes(listen_seconds=0.1, pin="1234" if Permit.PIN in permits else ""),
        chosen=only,
        permits=frozenset(permits),
        patience=0.4,
    )


def tour(
    folder: Path,
    personas: Sequence[str],
    *permits: Permit,
    is_locked: bool = False,
    only: Sequence[Check] = checks.ALL,
) -> Tour:
    lock = "on" if is_locked else "off"
    flags = ("--modems", str(len(personas)), "--persona", ",".join(personas), "--latency", "0")
    with BankProcess(folder, *flags, "--pin-lock", lock, "--pin", "1234") as bank:
        wait_until(
            lambda: is_locked or all(modem["registration"] == 1 for modem in bank.control.state()),
            what="registered",
        )
        modems = [str(modem["modem"]) for modem in bank.control.state()]
        with ThreadPoolExecutor(len(modems)) as pool:
            reports = list(
                pool.map(lambda modem: examine(bank.port(modem), *permits, only=only), modems)
            )
        cards = [dict(modem) for modem in bank.control.state()]
        runs = {
            name: Run(report=report, card=card)
            for name, report, card in zip(personas, reports, cards, strict=True)
        }
        return Tour(runs=runs, ledger=bank.ledger())


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Tour:
    return tour(tmp_path_factory.mktemp("plain") / "bank", NAMES)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Tour:
    return tour(tmp_path_factory.mktemp("written") / "bank", NAMES, Permit.WRITE)


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Tour:
    return tour(tmp_path_factory.mktemp("locked") / "bank", NAMES, is_locked=True)


@pytest.fixture(scope="module")
def redrawn(tmp_path_factory: pytest.TempPathFactory, written: Tour) -> Tour:
    """The same with each persona's draft in its place."""
    folder = tmp_path_factory.mktemp("redrawn")
    for name in NAMES:
        text = persona_draft.text(written.runs[name].report)
        (folder / f"{name}.toml").write_text(text, "utf-8")
    drafts = [str(folder / f"{name}.toml") for name in NAMES]
    found = tour(folder / "bank", drafts, Permit.WRITE)
    return Tour(runs=dict(zip(NAMES, found.runs.values(), strict=True)), ledger=found.ledger)


@pytest.mark.parametrize("name", NAMES)
def test_every_persona_is_usable_and_left_as_it_was(plain: Tour, name: str) -> None:
    report = plain.runs[name].report
    assert report.outcome is Outcome.USABLE, [
        (result.check.name, result.finding) for result in report.lacking
    ]
    assert report.not_restored == ()
    assert not report.broke_off


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_sends_or_tries_a_pin_is_typed(plain: Tour, name: str) -> None:
    typed = plain.runs[name].report.typed
    ctrl_z = [at for at, data in enumerate(typed) if b"\x1a" in data]
    # Once, alone, right after a question that proved the command line; before any prompt.
    assert [typed[at] for at in ctrl_z] == [b"\x1a\r"]
    assert typed[ctrl_z[0] - 1] == b"AT\r"
    assert not any(b"+CMGS=" in data for data in typed[: ctrl_z[0]])
    forbidden = re.compile(
        rb"\+CPIN=\"|\+CPWD|\+CLCK=\"[A-Z]+\",[01]|\+CMSS|\+CMGC|ATD|\+CMGW|\+CUSD=1|\+CFUN="
        rb"|AT&|ATZ|\+CMGL=[04]|\+CMGD=\d+,"
    )
    assert [data for data in typed if forbidden.search(data.upper())] == []


def test_the_network_saw_nothing_and_no_card_lost_a_try(plain: Tour) -> None:
    kinds = {line["kind"] for line in plain.ledger}
    assert not kinds & {"submit", "refused", "deliver", "report", "call", "ussd"}
    assert tries_left(plain) == {(3, 10)}


@pytest.mark.parametrize("name", NAMES)
def test_the_habits_of_the_persona_file_are_seen(written: Tour, name: str) -> None:
    seen, model = written.runs[name].report.seen, persona.load(name)
    assert seen.unknown_command == model.unknown_command
    assert seen.prompt == model.prompt.encode()
    assert seen.first_slot == model.first_slot
    assert seen.default_memory == model.default_memory
    assert set(seen.memories) <= {"SM", "ME", "MT", "SR", "BM"}
    assert seen.cpin_has_ok is model.cpin_has_ok
    # A short answer does not tell the mode: the suite does not set what it could not put back.
    is_told = model.creg_form is not RegistrationForm.URC
    assert seen.creg_is_quoted is (model.creg_is_quoted if is_told else None)
    refused = set(seen.cnmi_modes) - {mode for mode, _, _ in seen.cnmi_taken}
    assert set(model.cnmi_refused_modes) & set(seen.cnmi_modes) <= refused


@pytest.mark.parametrize("name", NAMES)
def test_a_draft_written_and_deleted_leaves_an_empty_storage(written: Tour, name: str) -> None:
    report = written.runs[name].report
    found = {result.check.name: result.finding for result in report.results}
    assert found["sms.draft"].verdict is Verdict.CAN, found["sms.draft"]
    assert found["sms.draft"].says.endswith("deleted")
    assert report.not_restored == ()


@pytest.mark.parametrize("name", NAMES)
def test_a_draft_of_the_persona_gets_the_same_verdicts(
    written: Tour, redrawn: Tour, name: str
) -> None:
    first, second = written.runs[name].report, redrawn.runs[name].report
    changed = [
        (before.check.name, before.finding, after.finding)
        for before, after in zip(first.results, second.results, strict=True)
        if before.finding.verdict is not after.finding.verdict
        # What is heard in a second is chance: some models say a word in twenty.
        and before.check.name != "noise.lines"
    ]
    assert changed == []


@pytest.mark.parametrize("name", NAMES)
def test_a_draft_holds_no_secret(written: Tour, name: str) -> None:
    report = written.runs[name].report
    text = persona_draft.text(report).upper()
    seen = report.seen
    assert seen.iccid is not None
    assert seen.imsi is not None
    assert seen.imei is not None
    swapped = "".join(b + a for a, b in zip(seen.iccid[::2], seen.iccid[1::2], strict=False))
    for secret in (seen.iccid, swapped[:18], seen.imsi, seen.imei, *seen.numbers):
        assert secret.upper() not in text


@pytest.mark.parametrize("name", NAMES)
def test_a_locked_card_is_told_and_its_tries_are_left_alone(locked: Tour, name: str) -> None:
    report = locked.runs[name].report
    assert report.outcome is Outcome.LACKING
    assert "card.usable" in {result.check.name for result in report.lacking}
    assert report.seen.pin_state == "SIM PIN"
    assert not any(b"+CPIN=" in data.upper() for data in report.typed)
    assert report.not_restored == ()
    assert tries_left(locked) == {(3, 10)}


@pytest.mark.parametrize("name", NAMES)
def test_the_tries_of_a_locked_card_are_read_wherever_there_is_a_way(
    locked: Tour, name: str
) -> None:
    seen = locked.runs[name].report.seen
    if seen.counter_command is not None:
        assert seen.pin_tries == 3
        assert seen.puk_tries in {10, None}
    else:
        found = {result.check.name: result.finding for result in locked.runs[name].report.results}
        assert found["card.tries"].verdict is Verdict.CANNOT


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Tour:
    only = [
        check for check in checks.ALL if check.name.startswith(("card.", "network.reg", "sms.st"))
    ]
    folder = tmp_path_factory.mktemp("opened") / "bank"
    return tour(folder, NAMES, Permit.PIN, is_locked=True, only=only)


@pytest.mark.parametrize("name", NAMES)
def test_a_right_pin_opens_every_card_whose_tries_are_known(opened: Tour, name: str) -> None:
    report = opened.runs[name].report
    found = {result.check.name: result.finding for result in report.results}
    typed = [data for data in report.typed if b"+CPIN=" in data]
    if report.seen.counter_command is None:
        assert typed == []
        assert "nobody knows" in found["card.pin"].says
    else:
        assert typed == [b'AT+CPIN="1234"\r']
        assert report.outcome is Outcome.USABLE, report.lacking
        assert tries_left(opened) == {(3, 10)}
