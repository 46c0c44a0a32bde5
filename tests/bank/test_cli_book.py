"""The page about the command line, typed line by line: real daemon, real store, simulated bank."""

import csv
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.banks import accepts
from tests.support.commands import Done, call, environment

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
PATIENCE = 60.0

FORM = """
category = "notice"
text = "尊敬的{name}：您的季度对账单已寄出。"
department = "sales"
drafter = "liu"
operator = "zhou"
list_owner = "liu"
list_source = "core banking"
"""
PEOPLE = "手机号,name\n13900000001,王小明\n13900000002,李娜\n12,nobody\n"


class Shell:
    """A folder, its exported variables, and the values of the page's own ones."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._patch = monkeypatch
        self.values: dict[str, str] = {}
        monkeypatch.chdir(folder)
        for name in [name for name in os.environ if name.startswith("MODEMCTL_")]:
            monkeypatch.delenv(name)

    def type(self, line: str) -> Done:
        """What a line of the page does; it must succeed."""
        for name, value in self.values.items():
            line = line.replace(f"${name}", value)
        words = shlex.split(line)
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            self._patch.setenv(name, value)
            return Done(0, "", "")
        assert words[0] == "modemctl", line
        done = call(*words[1:], answers="y\n")
        assert done.status == 0, (line, done)
        if asked := re.search(r"request confirm ([0-9a-f-]{36})", done.out):
            self.values["REQUEST"] = asked[1]
        return done


def sections() -> dict[str, list[str]]:
    """Heading → lines to type."""
    page = PAGE.read_text(encoding="utf-8")
    found = re.findall(r"^## (.+?)\n(.*?)```sh\n(.*?)```", page, re.MULTILINE | re.DOTALL)
    return {heading: commands.splitlines() for heading, _, commands in found}


@contextmanager
def running(*command: str, log: Path) -> Iterator[subprocess.Popen[str]]:
    """A process of ours until the block ends; it must end in order."""
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=out, text=True, env=environment(),
        )  # fmt: skip
    assert process.stdout is not None
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0, log.read_text(encoding="utf-8")[-3000:]
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()


def until(is_so: Callable[[], bool]) -> None:
    """Look again and again until it is so."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        select.select([], [], [], 0.1)


def write_site(folder: Path) -> None:
    (folder / "modemctl.toml").write_text(
        f"""
[paths]
state_dir = "{folder}/state"
master_key_file = "{folder}/master.key"
audit_key_file = "{folder}/audit.key"
[api]
unix_socket = "{folder}/api.sock"
tcp_port = 0
[bank]
ports = ["{folder}/bank/ports/*"]
""",
        encoding="utf-8",
    )
    (folder / "notice.toml").write_text(FORM, encoding="utf-8")
    (folder / "people.csv").write_text(PEOPLE, encoding="utf-8")


def write_cards(folder: Path) -> None:
    """The simulated cards as the register takes them."""
    with (folder / "bank" / "cards.csv").open(encoding="utf-8", newline="") as source:
        cards = list(csv.DictReader(source))
    with (folder / "cards.csv").open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(
            ("ICCID", "号码", "持有人", "部门", "权属", "核验人", "核验时间", "状态", "PIN")
        )
        for card in cards:
            writer.writerow(
                (card["iccid"], card["number"], "holder", "sales", "owned", "zhao", "2026-01-01",
                 "issued", card["pin"])
            )  # fmt: skip


def ready_bays() -> list[str]:
    """Bays whose cards may send."""
    rows = call("modems").out.splitlines()
    return [row.split()[0] for row in rows if " ready " in row]


def test_page_is_typed_from_the_first_key_to_the_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = sections()
    assert len(page) == 8, page.keys()
    write_site(tmp_path)
    shell = Shell(monkeypatch, tmp_path)
    monkeypatch.setenv("MODEMCTL_CONFIG", str(tmp_path / "modemctl.toml"))
    monkeypatch.setenv("MODEMCTL_SOCKET", str(tmp_path / "api.sock"))
    once, people, cards, batch, became, reports, servers, evidence = page.values()
    for line in once:
        shell.type(line)
    bank = ["simulator", "--modems", "2", "--dir", str(tmp_path / "bank"), "--pin", "random"]
    daemon = ["modemctl", "--config", str(tmp_path / "modemctl.toml"), "run"]
    with running(*bank, log=tmp_path / "bank.log") as simulator:
        assert simulator.stdout is not None
        assert simulator.stdout.readline().startswith("ready")
        write_cards(tmp_path)
        with running(*daemon, log=tmp_path / "daemon.log"):
            until(lambda: accepts(tmp_path / "api.sock"))
            for line in [*people, *cards]:
                shell.type(line)
            until(lambda: len(ready_bays()) == 2)
            shell.values = {"ID": str(uuid.uuid4()), "BAY": ready_bays()[0]}
            rest = [*batch, *became, *reports, *servers, *evidence]
            out = {line: shell.type(line).out for line in rest}
    assert "lines taken out: 1" in out[next(line for line in batch if "check" in line)]
    assert "done" in out["modemctl batch show $ID"]
    assert '"state": "sent"' in out["modemctl batch results $ID --json"] or (
        '"state": "delivered"' in out["modemctl batch results $ID --json"]
    )
    assert "+CSQ: " in out["modemctl at $BAY AT+CSQ"]
    assert "node-1" in out["modemctl node list"]
    assert "the very file of report" in out["modemctl report verify costs.xlsx"]
    assert (tmp_path / "form.pdf").read_bytes().startswith(b"%PDF")
    assert ": whole; " in out["modemctl --key-file chen.key audit verify"]
