"""The page about the simulator, typed as a newcomer would: its files, commands and tables."""

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path

import click
import pytest

import simulator
from simulator import ledger
from simulator.cli import HOMES, cli, main
from simulator.cli.book import KINDS
from simulator.control.client import BankControl
from simulator.control.verbs import VERBS, Source
from simulator.faults import FaultKind
from simulator.network.carriers import Beyond, Carrier, Limit, Period
from simulator.network.latency import Latency, Shape
from simulator.network.rules import Fate, ReportFate, Rule
from simulator.network.ussd import Ending, Menu
from simulator.persona import EmptySlot, Moment, Persona, RegistrationForm, UssdCoding
from simulator.phone import CallOutcome
from simulator.story import scenario
from simulator.story.scenario import PortSets, Scenario, Transport
from tests.support.simulated import wait_until

PAGE = Path(__file__).parents[2] / "docs" / "simulator.md"
SOURCES = Path(simulator.__file__).parent
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


class Newcomer:
    """Sits in an empty folder, saves the page's files and types its lines."""

    def __init__(self) -> None:
        self.said: dict[str, str] = {}
        self._has_gammu = False
        self._running: list[tuple[str, subprocess.Popen[str]]] = []

    def follow(self, language: str, body: str) -> None:
        match language:
            case "toml" | "ini" | "csv":
                self._save(language, body)
            case "sh":
                for line in body.splitlines():
                    self._type(line)
            case "python":
                exec(compile(body, "docs/simulator.md", "exec"), {})
            case _:
                raise AssertionError(f"a block of {language}: who runs it?")

    def leave(self) -> None:
        """Everything that was started must have ended by what the page says."""
        for line, process in self._running:
            status = process.wait(30)
            assert status == (1 if "record" in line else 0), (line, status)

    def clean_up(self) -> None:
        for _, process in self._running:
            if process.poll() is None:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()

    @staticmethod
    def _save(language: str, body: str) -> None:
        name, _, rest = body.partition("\n")
        assert name.startswith("# "), f"what is this file called? {name}"
        content = rest if language == "csv" else body
        Path(name.removeprefix("# ")).write_text(content, encoding="utf-8")

    def _type(self, line: str) -> None:
        if line.startswith("until "):
            done = subprocess.run(["/bin/sh", "-c", line], timeout=30, check=False)
            assert done.returncode == 0, line
            return
        words = shlex.split(line.removesuffix("&"))
        match words[:2]:
            case ["modemctl", "sim"]:
                words = words[2:]
            case ["modemctl", "record" | "conformance"]:
                words = words[1:]
            case ["gammu", _]:
                self.said[line] = _gammu(words)
                self._has_gammu = bool(self.said[line])
                return
            case _:
                raise AssertionError(f"who runs this? {line}")
        if line.endswith("&"):
            self._start(line, words)
            return
        if words[0] in {"check", "ledger"} and (Path(words[1]) / "ready").exists():
            # A person is slower than the network.
            book = Path(words[1]) / "ledger.jsonl"
            kind = "submit" if words[0] == "check" or "submit" in words else "deliver"
            if kind == "deliver" or words[1] != "foreign" or self._has_gammu:
                wait_until(lambda: _has(book, kind), what=f"a {kind}")
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(words)
        assert status == 0, (line, out.getvalue(), err.getvalue())
        self.said[line] = out.getvalue()

    def _start(self, line: str, words: list[str]) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "simulator", *words], stdout=subprocess.PIPE, text=True
        )
        self._running.append((line, process))
        assert process.stdout is not None
        if words[0] == "record":
            wait_until(Path(words[-1]).exists, what="the recorder's port")
            return
        assert process.stdout.readline().startswith("ready "), line
        with BankControl(Path(words[-1]) / "control.sock") as control:
            wait_until(lambda: all(map(_is_settled, control.state())), what="registered")


def _is_settled(modem: dict[str, ledger.Fact]) -> bool:
    card = modem["card"]
    is_open = isinstance(card, dict) and card["state"] == "READY"
    return not is_open or modem["registration"] == 1


def _has(book: Path, kind: str) -> bool:
    return any(line["kind"] == kind for line in ledger.read(book))


def _gammu(words: list[str]) -> str:
    program = shutil.which(words[0])
    if program is None:
        assert not os.environ.get("MODEMCTL_REQUIRE_TOOLS"), "gammu is not installed"
        return ""
    done = subprocess.run(
        [program, *words[1:]], capture_output=True, text=True, timeout=60, check=False,
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done
    return done.stdout


@pytest.fixture
def newcomer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Newcomer]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    newcomer = Newcomer()
    yield newcomer
    newcomer.clean_up()


def test_page_is_typed_from_the_first_line_to_the_last(newcomer: Newcomer) -> None:
    for language, body in BLOCKS:
        newcomer.follow(language, body)
    newcomer.leave()
    said = newcomer.said
    assert "您好, hello" in said["modemctl sim ledger bank"]
    assert "generic" in said["modemctl sim state --dir bank"]
    assert (
        "in 7200 s of the bank's time"
        in said["modemctl sim run morning.toml --dir morning --until 2h"]
    )
    told = said["modemctl sim ledger morning --kind story --kind fault"]
    assert {"lose_coverage", "restore_coverage", "set_fault", "urc_in_answer"} <= set(told.split())
    raw = Path("morning.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbfn,time,kind,")
    assert "Revision: 2.11" in said["modemctl sim type modem01 ATI --dir trial"]
    assert '+EXINFO: "35600001' in said["modemctl sim type modem01 AT+EXINFO? --dir trial"]
    assert "+ICCID: 8986" in said["modemctl sim type modem01 AT+ICCID --dir trial"]
    assert "+EXPIN: 3,10" in said["modemctl sim type modem01 AT+EXPIN --dir trial"]
    lacking = said["modemctl sim type modem01 AT+CRSM=176,12258,0,0,10 --dir trial"]
    assert lacking.split() == ["AT+CRSM=176,12258,0,0,10", "ERROR"]
    assert "1 expected, 1 taken: they agree" in said["modemctl sim check sent expected.csv"]
    assert {path.name for path in Path("bank").iterdir()} >= {"ports.csv", "cards.csv"}
    if shutil.which("gammu"):
        assert "您好" in said["modemctl sim ledger foreign --kind submit"]


def table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading."""
    section = TEXT.split(f"\n{heading}\n")[1]
    rows = re.search(r"^\|.*?(?=\n\n|\Z)", section, re.MULTILINE | re.DOTALL)
    assert rows is not None
    cells = [re.split(r"(?<!\\)\|", line.strip()[1:-1]) for line in rows[0].splitlines()[2:]]
    return [[cell.strip() for cell in row] for row in cells]


def names(heading: str) -> list[str]:
    return [row[0].strip("`[]") for row in table(heading)]


def test_table_of_faults_names_them_all() -> None:
    assert names("## Faults") == [kind.value for kind in FaultKind]


def test_table_of_verbs_names_them_all_with_their_opposites() -> None:
    rows = {
        row[0].strip("`"): row[2].strip("` ") if len(row) > 2 else "" for row in table("## Verbs")
    }
    assert rows.keys() == VERBS.keys()
    for name, verb in VERBS.items():
        expected = "itself" if verb.undo == name else verb.undo
        assert rows[name].strip("|` ") == expected, name


def test_table_of_keys_names_them_all() -> None:
    own = {item.name for item in fields(Scenario)} - {"folder"}
    assert set(names("### Keys of a scenario")) == own
    defaults = {row[0].strip("`[]"): row[1].strip("`") for row in table("### Keys of a scenario")}
    plain = Scenario()
    for name in ("modems", "persona", "seed", "transport", "port_sets", "per_hub", "pin",
                 "pin_lock", "card_slots", "latency"):  # fmt: skip
        assert defaults[name] == str(getattr(plain, name)), name


def test_table_of_ledger_kinds_names_all_that_is_written() -> None:
    told = set(names("## The ledger"))
    code = "".join(path.read_text(encoding="utf-8") for path in SOURCES.rglob("*.py"))
    written = set(re.findall(r'(?:edger\.add|_note)\(\s*"(\w+)"', code))
    written |= set(re.findall(r'Waiting\(kind="(\w+)"', code))
    assert told == written == set(KINDS)


def test_page_names_transports_port_sets_scenarios_and_commands() -> None:
    assert names("## Transports and ports") == [item.value for item in Transport]
    assert f"`{PortSets.ALL.value}`" in TEXT
    for name in scenario.names():
        assert f"`{name}`" in TEXT, name
    for name in ("serve", "run", "state", "sms", "fault", "ledger", "check", "personas", "record"):
        assert name in HOMES
    used = set(re.findall(r"modemctl sim ([a-z][a-z-]*)", TEXT)) - {"replay"}
    assert used <= HOMES.keys()


def test_files_of_the_page_that_are_named_exist() -> None:
    for name in re.findall(r"`((?:simulator|tests)/[\w/.]+)`", TEXT):
        root = SOURCES.parent if name.startswith("simulator") else PAGE.parents[1]
        assert (root / name).exists(), name


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("### Carriers", Carrier),
        ("### Limits", Limit),
        ("### Times that vary", Latency),
        ("### USSD", Menu),
        ("### Rules", Rule),
        ("### Keys of a persona", Persona),
    ],
)
def test_table_of_keys_is_that_of_the_dataclass(heading: str, kind: type) -> None:
    rows = table(heading)
    assert [row[0].strip("`") for row in rows] == [item.name for item in fields(kind)]
    assert all(row[2] for row in rows)
    for row, item in zip(rows, fields(kind), strict=True):
        is_plain = isinstance(item.default, (int, float, str)) and item.default != ""
        if is_plain and not isinstance(item.default, float):
            told = row[1].strip("`").strip('"')
            wanted = str(item.default).lower() if isinstance(item.default, bool) else item.default
            assert told in {str(wanted), "…", repr(wanted).strip("'")} or "…" in told, item.name


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        ("### Limits", [*Period, *Beyond]),
        ("### Times that vary", Shape),
        ("### USSD", Ending),
        ("### Rules", [*Fate, *ReportFate]),
        ("### Keys of a persona", [*Moment, *UssdCoding, *RegistrationForm, *EmptySlot]),
        ("### Keys of the verbs", [*CallOutcome, *Source]),
    ],
)
def test_words_of_closed_sets_are_all_told(heading: str, words: Iterable[str]) -> None:
    told = {word for row in table(heading) for cell in row for word in re.findall(r"`(\w+)`", cell)}
    assert {str(word) for word in words} <= told


def test_table_of_the_verbs_keys_has_them_all() -> None:
    rows = {row[0].strip("`"): (row[1], row[2] if len(row) > 2 else "")
            for row in table("### Keys of the verbs")}  # fmt: skip
    assert rows.keys() == VERBS.keys()
    modems = {"one": "one", "all": "all", "place": "any place", "none": ""}
    for name, verb in VERBS.items():
        assert rows[name][0].strip("| ") == modems[verb.modem], name
        heads = [re.sub(r"\([^)]*\)", "", part).split(":")[0] for part in rows[name][1].split("; ")]
        told = {word for head in heads for word in re.findall(r"`(\w+)`", head)}
        keys = set(verb.keys()) - {"modem", "modems"}
        assert keys == told, name


def test_commands_with_json_are_all_in_the_table() -> None:
    told = {name for row in table("### `--json`") for name in re.findall(r"`([\w-]+)`", row[0])}
    context = click.Context(cli)
    commands = {name: cli.get_command(context, name) for name in HOMES}
    wanted = {
        name
        for name, one in commands.items()
        if one is not None
        and HOMES[name][0].startswith("simulator.cli")
        and any("--json" in param.opts for param in one.params)
    }
    assert told == wanted
