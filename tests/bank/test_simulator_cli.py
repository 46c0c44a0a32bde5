"""The simulator's command line, typed at a bank that is served."""

import contextlib
import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from simulator.cli import HOMES, cli, main
from simulator.cli.show import connect
from tests.support.simulated import BankProcess, wait_until, within

FLAGS = ("--modems", "3", "--persona", "generic", "--pin-lock", "off", "--latency", "0",
         "--report-delay", "0", "--per-hub", "2")  # fmt: skip


class Shell:
    """Types commands about one bank."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *words: str, status: int = 0) -> str:
        """What the command prints, on the stream that its status promises."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SIMULATOR_DIR", str(self.folder))
            patch.setenv("COLUMNS", "100")
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                found = main(words)
        assert found == status, (words, out.getvalue(), err.getvalue())
        assert status != 0 or not (out.getvalue() and err.getvalue())
        return out.getvalue() or err.getvalue()

    def json(self, *words: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in self(*words, "--json").splitlines()]


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BankProcess]:
    with BankProcess(tmp_path_factory.mktemp("cli") / "bank", *FLAGS) as bank:
        yield bank


@pytest.fixture
def shell(bank: BankProcess) -> Shell:
    def is_fresh() -> bool:
        return all(one["registration"] == 1 for one in bank.control.state())

    wait_until(is_fresh, what="registered")
    return Shell(bank.folder)


def test_state_is_a_table_or_json(shell: Shell) -> None:
    lines = shell("state").splitlines()
    assert lines[0].split() == ["modem", "persona", "hub", "power", "network", "number",
                                "card", "call", "faults"]  # fmt: skip
    assert lines[1].split() == ["modem01", "generic", "1", "on", "home",
                                "+8613800000001", "READY", "–", "–"]  # fmt: skip
    assert [one["modem"] for one in shell.json("state", "2-3")] == ["modem02", "modem03"]


def test_messages_calls_and_codes(shell: Shell, bank: BankProcess) -> None:
    assert shell("sms", "modem01", "退订", "--from", "10086") == "1 segment(s) on the way\n"
    assert shell.json("sms", "modem01", "x") == [{"segments": 1}]
    assert "1 segment(s) typed" in shell("send", "modem01", "+491712345678", "hi", "--report")
    bank.control.wait_for(lambda line: True, where={"kind": "report", "modem": "modem01"})
    shell("call", "modem02", "--number", "95588", "--rings", "1", "--outcome", "rejected")
    shell("ussd", "modem03", "*100#")
    bank.control.wait_for(lambda line: True, where={"kind": "ussd"}, count=2)
    bank.control.wait_for(lambda line: True, where={"kind": "call"})
    assert shell("type", "modem01", "AT+CGSN").splitlines()[0].startswith("AT+CGSN")
    assert "modem02: OK" in shell("type", "1-2", "ATE0")
    shell("traffic", "strangers", "--per-minute", "6000", "--limit", "3", "--modems", "2")
    bank.control.wait_for(lambda line: True, where={"kind": "deliver", "modem": "modem02"}, count=3)
    assert "ended" in shell("traffic", "--stop")


def test_faults_are_given_and_taken(shell: Shell) -> None:
    assert shell("fault", "1-2", "silence", "--rate", "0.5") == (
        "modem01: has silence\nmodem02: has silence\n"
    )
    shell("fault", "modem01", "garbage", "--count", "0")
    assert [one["faults"] for one in shell.json("state")] == ["garbage,silence", "silence", ""]
    shell("fault", "1", "silence", "--clear")
    assert [one["faults"] for one in shell.json("state")] == ["garbage", "silence", ""]
    shell("fault", "all", "--clear")
    assert [one["faults"] for one in shell.json("state")] == ["", "", ""]


def test_cards_cables_and_hubs(shell: Shell, bank: BankProcess) -> None:
    said = shell("pull", "modem01")
    iccid = said.split()[1]
    assert said == f"modem01: {iccid} is out\n"
    shell("insert", "modem01", iccid)
    shell("swap", "modem01", "modem02")
    shell("swap", "modem01", "modem02")
    assert shell("unplug", "modem03", "--keeps-power") == "modem03: unplugged\n"
    shell("plug", "modem03", "--renumbered")
    shell("unplug", "--hub", "1")
    assert [one["is_plugged"] for one in shell.json("state")] == [False, False, True]
    shell("plug", "--hub", "1")
    shell("reboot", "modem03")
    wait_until(lambda: all(one["is_on"] for one in bank.control.state()), what="all are on")
    assert "either MODEM or --hub" in shell("unplug", "modem01", "--hub", "1", status=2)
    assert "Missing argument" in shell("plug", status=2)


def test_network(shell: Shell, bank: BankProcess) -> None:
    shell("coverage", "lose", "--modem", "1-2")
    wait_until(lambda: bank.control.state("modem02")[0]["registration"] == 2, what="it is lost")
    shell("coverage", "restore")
    shell("registration", "modem03", "3")
    wait_until(lambda: bank.control.state("modem03")[0]["registration"] == 3, what="denied")
    shell("registration", "modem03")
    shell("cut-off", "modem01", "--cms", "28")
    shell("cut-off", "modem01", "--lift")
    shell("balance", "all", "3.50")
    shell("rule", "--destination", "+86139", "--cms", "38", "--rate", "0.2")
    shell("rule", "--clear")
    assert shell("latency", "1m", "--report-delay", "2s") == "it was 0.0 s\n"
    assert shell.json("do", "set_latency", "seconds=0", "report_delay=0")[0]["seconds"] == 60.0


def test_any_verb_can_be_done(shell: Shell) -> None:
    answer = json.loads(shell("do", "set_signal", "modem=modem01", "signal=5"))
    assert answer == {"places": ["modem01"]}
    assert "+CSQ: 5," in shell("type", "1", "AT+CSQ")
    assert "KEY=VALUE is needed" in shell("do", "reboot", "modem01", status=2)
    assert "did you mean reboot" in shell("do", "rebot", status=1)


def test_do_takes_numbers_where_texts_are_wanted(shell: Shell, bank: BankProcess) -> None:
    assert json.loads(shell("do", "set_signal", "modem=1", "signal=null")) == {
        "places": ["modem01"]
    }
    shell("do", "inject_sms", "to=modem01", "text=4711", "from=10086")
    line = bank.control.wait_for(lambda one: one["text"] == "4711", where={"kind": "deliver"})
    assert line["from"] == "10086"
    chosen = json.loads(shell("do", "clear_faults", 'modem=["modem01", "modem03"]'))
    assert chosen == {}


def test_what_is_unplugged_hears_nothing(shell: Shell) -> None:
    shell("unplug", "modem03")
    assert "modem03 is unplugged" in shell("type", "modem03", "AT", status=1)
    assert "modem03 is unplugged" in shell("reboot", "modem03", status=1)
    shell("plug", "modem03")
    wait_until(lambda: shell.json("state", "modem03")[0]["is_on"] is True, what="it is on")


def test_wrong_fault_is_told_in_short(shell: Shell) -> None:
    said = shell("fault", "modem01", "silense", status=2)
    assert said.endswith("unknown fault 'silense'; did you mean silence?\n")


def test_client_waits_for_a_bank_that_is_being_started(tmp_path: Path) -> None:
    folder = tmp_path / "bank"
    command = [sys.executable, "-m", "simulator", "serve", "--modems", "1", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        wait_until(folder.exists, what="its folder")
        assert "modem01" in Shell(folder)("state")
        Shell(folder)("stop")
        assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("program", "words", "said"),
    [
        ("modemctl sim", "sms", "Example: modemctl sim sms modem01"),
        ("modemctl sim", "unplug", "; a whole hub: modemctl sim unplug --hub 2"),
        ("modemctl sim", "coverage", "; modemctl sim coverage restore"),
        ("modemctl sim", "", "in another window: modemctl sim sms modem01 hello"),
        ("modemctl", "record", "Example: modemctl record /dev/ttyUSB2"),
        ("modemctl", "fault", "Example: modemctl sim fault modem01"),
    ],
)
def test_examples_can_be_typed_as_they_stand(program: str, words: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "simulator", *words.split(), "--help"],
        env=os.environ | {"SIMULATOR_PROGRAM": program, "COLUMNS": "80"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said in " ".join(done.stdout.split())
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "..." not in done.stdout.split("Commands:")[-1]


def test_refusals_are_one_line_or_one_object(shell: Shell, tmp_path: Path) -> None:
    assert shell("pull", "modem99", status=1).startswith("python -m simulator: no modem 'modem99'")
    problem = json.loads(shell("pull", "modem99", "--json", status=1))
    assert "no modem" in problem["error"]
    gone = shell("state", "--dir", str(tmp_path), status=1)
    assert gone.startswith(f"python -m simulator: no bank is served from {tmp_path}")
    assert gone.rstrip().endswith(f"start one with: python -m simulator serve --dir {tmp_path}")
    assert "Did you mean fault" in shell("fualt", status=2)
    assert "no ledger in" in shell("ledger", str(tmp_path), status=1)
    done = shell("serve", "--dir", str(tmp_path / ("x" * 120)), status=2)
    assert "too long for a socket" in done
    assert "seconds are needed" in shell("latency", "soon", status=2)


def test_ledger_is_filtered_and_exported(shell: Shell, bank: BankProcess, tmp_path: Path) -> None:
    texts = ["短信,一", 'say "hi"\nand more', "=1+1"]
    for text in texts:
        bank.control.inject_sms("modem03", text, origin="+8613700000007")
    wanted = ("--number", "13700000007", "--kind", "deliver")
    folder = str(bank.folder)
    plain = shell("ledger", folder, *wanted).splitlines()
    assert len(plain) == 3
    assert plain[0].endswith("+8613700000007  taken  短信,一")
    assert [one["text"] for one in shell.json("ledger", folder, *wanted)] == texts
    assert len(shell("ledger", *wanted, "--text", "短信").splitlines()) == 1
    assert len(shell("ledger", *wanted, "--last", "2").splitlines()) == 2
    for none in (("--modem", "modem77"), ("--until", "2020-01-01")):
        assert f"no line of {bank.folder / 'ledger.jsonl'} fits" in shell("ledger", *wanted, *none)
    assert "did you mean submit" in shell("ledger", "--kind", "submitt", status=2)
    assert len(shell("ledger", *wanted, "--since", "2020-01-01T00:00Z").splitlines()) == 3
    assert "a moment is needed" in shell("ledger", "--since", "noon", status=2)
    out = tmp_path / "out.csv"
    shell("ledger", *wanted, "--csv", "--bom", "--out", str(out))
    raw = out.read_bytes()
    assert raw.startswith(b"\xef\xbb\xbfn,time,kind,")
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    assert [row["text"] for row in rows] == texts
    iccid = rows[0]["iccid"]
    assert len(shell("ledger", *wanted, "--sim", iccid).splitlines()) == 3


def test_ledger_is_followed(shell: Shell, bank: BankProcess) -> None:
    command = [sys.executable, "-m", "simulator", "ledger", str(bank.folder), "--follow", "--text",
               "followed", "--json"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for n in range(3):
            bank.control.inject_sms("modem01", f"followed {n}", origin="10086")
            assert json.loads(process.stdout.readline())["text"] == f"followed {n}"
        process.terminate()
        process.wait(60)


def test_check_tells_whether_all_went_out_once(shell: Shell, bank: BankProcess) -> None:
    expected = bank.folder / "expected.csv"
    rows = [("+4930111", "one"), ("+4930111", "zwei"), ("+4930222", "长" * 100)]
    for to, text in rows:
        bank.control.send_sms("modem02", to, text)
    control = bank.control
    control.wait_for(lambda one: str(one["destination"]).startswith("+4930"), count=4,
                     where={"kind": "submit"})  # fmt: skip
    before = [line for line in control.ledger(kind="submit")
              if not str(line["destination"]).startswith("+4930")]  # fmt: skip
    everything = [("destination", "text"), *rows]
    everything += [(str(line["destination"]), str(line["text"])) for line in before]
    with expected.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(everything)
    assert "they agree" in shell("check", str(bank.folder), str(expected))
    control.send_sms("modem02", "+4930111", "one")
    control.wait_for(lambda one: one["text"] == "one", count=2, where={"kind": "submit"})
    with expected.open("a", encoding="utf-8") as file:
        file.write("+4930333,three\n")
    said = shell("check", str(bank.folder), str(expected), status=1)
    assert "missing     +4930333  three" in said
    assert "doubled     +4930111  one" in said
    assert "they differ" in said
    verdict = json.loads(shell("check", str(bank.folder), str(expected), "--json", status=1))
    assert verdict["agrees"] is False
    assert verdict["missing"][0]["expected"]["text"] == "three"
    assert len(verdict["doubled"][0]["extra"]) == 1
    expected.write_text("to,text\n1,x\n", encoding="utf-8")
    assert "expected.csv:2: destination: is missing" in shell(
        "check", str(bank.folder), str(expected), status=2
    )


def test_lists_of_what_there_is(shell: Shell) -> None:
    (quiet,) = [one for one in shell.json("scenarios") if one["name"] == "quiet"]
    assert quiet["modems"] == 4
    assert "modems = 4" in shell("scenarios", "--show", "quiet")
    assert "did you mean quiet" in shell("scenarios", "--show", "quite", status=2)
    assert any(one["name"] == "generic" for one in shell.json("personas"))
    assert "generic" in shell("personas")
    assert "inject_sms" in shell("verbs")
    assert "storm-of-faults (8 modems)" in shell("scenarios")
    for words in ("verbs", "scenarios", "state"):
        assert max(map(len, shell(words).splitlines())) <= 80, words
    assert any(one["verb"] == "set_fault" and one["undo"] for one in shell.json("verbs"))


def test_own_files_are_checked_and_shipped_ones_shown(shell: Shell, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(shell("personas", "--show", "zte"), encoding="utf-8")
    assert shell("personas", "--check", str(own)) == f"{own}: well-formed: ZTE INCORPORATED MF190\n"
    own.write_text('name = "x"\nmodle = "y"\n', encoding="utf-8")
    assert f"{own}:2: modle: unknown key 'modle'; did you mean model?" in shell(
        "personas", "--check", str(own), status=2
    )
    for text, said in (
        ('name = "x"\nvendor = [\n', ":2: not TOML: "),
        ('name = "x"\n', ": vendor: is missing"),
        ('first_slot = "x"\n', ':1: first_slot: "x": a whole number is needed'),
    ):
        own.write_text(text, encoding="utf-8")
        told = shell("personas", "--check", str(own), status=2)
        assert f"{own}{said}" in told
        assert "nput" not in told
    assert "no persona 'nokia'" in shell("personas", "--show", "nokia", status=2)


def test_several_modems_are_told_apart_and_wrong_words_explained(shell: Shell) -> None:
    shell("pull", "modem02")
    said = shell("cut-off", "1-2", status=1)
    assert said == "modem01: is cut off\n"
    shell("insert", "modem02", "+8613800000002")
    shell("cut-off", "all", "--lift")
    assert "modem03: told" in shell("ussd", "modem03", "您好", "--push")
    assert "one of silence" in shell("fault", "modem01", status=2)
    assert "Missing argument 'SOURCE'" in shell("traffic", status=2)
    (answer,) = shell.json("type", "1-2", "AT")
    assert within(answer, "modems", "modem01")
    assert within(answer, "modems", "modem02")


def test_run_tells_how_much_happened(shell: Shell, tmp_path: Path) -> None:
    said = shell("run", "chatter", "--dir", str(tmp_path / "a"), "--until", "10m")
    assert "in 600 s of the bank's time" in said
    (facts,) = shell.json("run", "chatter", "--dir", str(tmp_path / "b"), "--events", "50")
    assert int(str(facts["lines"])) >= 50
    again = shell("run", "chatter", "--dir", str(tmp_path / "b"), status=2)
    assert "an earlier run's ledger" in again
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('modems = 2\n\n[[timeline]]\ndo = "reboot"\nmodem = 3\n', encoding="utf-8")
    assert shell("run", str(wrong), "--dir", str(tmp_path / "c"), status=2) == (
        f"python -m simulator: {wrong}:5: timeline[1].modem: no bay 3: there are 1 to 2\n"
    )


def test_story_that_cannot_be_told_is_no_success(shell: Shell, tmp_path: Path) -> None:
    story = tmp_path / "story.toml"
    story.write_text(
        """
modems = 2
[[timeline]]
do = "pull_card"
modem = 1
[[timeline]]
at = 5
do = "cut_off"
modem = 1
every = 5
[[timeline]]
at = 5
every = 1
times = 50
do = "cut_off"
modem = "any"
""",
        encoding="utf-8",
    )
    words = ["run", str(story), "--until", "1m", "--dir"]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert main([*words, str(tmp_path / "a")]) == 1
        assert main([*words, str(tmp_path / "b"), "--json"]) == 1
    refusals = "1 entry refused; first: cut_off: modem01 has no card"
    assert err.getvalue() == f"python -m simulator: {refusals}\n" * 2
    assert json.loads(out.getvalue().splitlines()[-1])["refusals"] == refusals
    command = [sys.executable, "-m", "simulator", "serve", "--scenario", str(story), "--dir",
               str(tmp_path / "c"), "--time-factor", "100"]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        with connect(tmp_path / "c") as control:
            control.wait_for(lambda one: "refused" in str(one["outcome"]), where={"kind": "story"})
            control.stop()
        assert process.communicate(timeout=60)[1] == f"python -m simulator: {refusals}\n"


def walk() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(cli)
    for name in HOMES:
        command = cli.get_command(context, name)
        assert command is not None
        yield name, command


@pytest.mark.parametrize(("name", "command"), list(walk()), ids=lambda value: str(value)[:20])
def test_every_command_explains_itself(name: str, command: click.Command) -> None:
    assert (command.help or "").strip(), name
    for param in command.params:
        if isinstance(param, click.Option):
            assert param.help, (name, param.name)
    if HOMES[name][0].startswith("simulator.cli"):
        assert (command.epilog or "").startswith("Example: "), name
        words = HOMES[name][2].rstrip(".")
        assert " ".join((command.help or "").split()).startswith(words), name


def test_stop_ends_the_bank(tmp_path: Path) -> None:
    folder = tmp_path / "bank"
    with BankProcess(folder, "--modems", "1"):
        Shell(folder)("stop")
        wait_until(lambda: not (folder / "ready").exists(), what="it ended")
