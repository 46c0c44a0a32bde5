"""The AT console beside a daemon that sends: nothing lost, all audited, nothing around a gate."""

import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modemctl.service.accounts import bootstrap
from tests.support.approved import numbers
from tests.support.banks import DaemonProcess, Site, taken
from tests.support.commands import Done, environment, spawn
from tests.support.simulated import BankProcess

PATIENCE = 60.0
SECRET = "47114711"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[tuple[BankProcess, Site, DaemonProcess]]:
    """One modem and a daemon in which a maintainer has a key, `maintainer.key`."""
    flags = ("--modems", "1", "--persona", "generic", "--pin-lock", "off", "--seed", "7")
    with BankProcess(tmp_path / "bank", *flags) as bank:
        uid = os.getuid()
        site = Site(
            tmp_path / "site", f"{tmp_path}/bank/ports/*", **{"api.peers": f'{{ {uid} = "root" }}'}
        )
        site.write(lambda tx: bootstrap(tx, name="root"))
        site.add_cards(tmp_path / "bank")
        with DaemonProcess(site) as daemon:
            daemon.wait_until(lambda: site.n_ready() == 1, what="ready")
            for name, role in (("mei", "maintainer"), ("an", "auditor")):
                created = ctl(site, "account", "create", name, "--role", role)
                assert created.status == 0, created
                issued = ctl(site, "key", "issue", name, "--out", tmp_path / f"{role}.key")
                assert issued.status == 0, issued
            yield bank, site, daemon


def ctl(site: Site, *arguments: str | Path, key: str | None = None) -> Done:
    as_whom = () if key is None else ("--key-file", site.folder.parent / f"{key}.key")
    return spawn("--socket", site.socket, *as_whom, *arguments)


def bay_of(site: Site) -> str:
    (bay,) = site.modems()
    return bay


def piped(site: Site, commands: str, *options: str) -> Done:
    """The console with commands from a pipe, as the maintainer."""
    done = subprocess.run(
        [sys.executable, "-m", "modemctl", "--socket", str(site.socket), "--key-file",
         str(site.folder.parent / "maintainer.key"), "at", bay_of(site), *options],
        input=commands, capture_output=True, text=True, timeout=PATIENCE, check=False,
        env=environment(),
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def audited(site: Site) -> list[tuple[str, str, str, dict[str, str]]]:
    """What the audit log tells of AT commands: who, act, bay, details; oldest first."""
    done = ctl(site, "audit", "list", "--limit", "1000", "--json", key="auditor")
    assert done.status == 0, done
    assert SECRET not in done.out
    entries = [json.loads(line) for line in done.out.splitlines()]
    entries.sort(key=lambda one: one["seq"])
    return [
        (one["actor"], one["action"], one["subject"], one["details"])
        for one in entries
        if one["action"].startswith("modem.at")
    ]


class Terminal:
    """The console on a terminal, typed into and read from."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def interrupt(self, pattern: str) -> None:
        """Press Ctrl-C until a pattern is shown.

        One that comes while readline deals with a character waits for the next key (CPython).
        """
        for _ in range(3):
            self.type("\x03")
            if self._shows(pattern, 8.0):
                break
        self.wait_for(pattern)

    def _shows(self, pattern: str, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while re.search(pattern, self.seen) is None and time.monotonic() < deadline:
            self._listen(0.5)
        return re.search(pattern, self.seen) is not None

    def _listen(self, seconds: float) -> None:
        if select.select([self._fd], [], [], seconds)[0]:
            self.seen += self.read()

    def wait_for(self, pattern: str) -> str:
        """What was shown since the last wait, up to a pattern."""
        assert self._shows(pattern, PATIENCE), (pattern, self.seen)
        found = re.search(pattern, self.seen)
        assert found is not None
        shown, self.seen = self.seen[: found.end()], self.seen[found.end() :]
        return shown

    def read(self) -> str:
        try:
            return os.read(self._fd, 65_536).decode()
        except OSError:  # EIO: the program is gone
            return ""


@contextmanager
def terminal(
    site: Site, bay: str, home: Path
) -> Iterator[tuple[Terminal, subprocess.Popen[bytes]]]:
    """`modemctl at BAY` on a terminal of its own, which is its controlling one."""
    master, slave = pty.openpty()
    line = [sys.executable, "-m", "modemctl", "--socket", str(site.socket), "--key-file",
            str(site.folder.parent / "maintainer.key"), "at", bay]  # fmt: skip
    name = os.ttyname(slave)
    settings = {"XDG_STATE_HOME": str(home), "TERM": "dumb", "COLUMNS": "80"}
    process = subprocess.Popen(  # the shell leads a session: what it opens first, controls it
        ["sh", "-c", f"exec {shlex.join(line)} <{name} >{name} 2>&1"],
        env=environment(**settings), start_new_session=True,
    )  # fmt: skip
    try:
        yield Terminal(master), process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(slave)
        os.close(master)


def test_person_types_looks_and_leaves(
    world: tuple[BankProcess, Site, DaemonProcess], tmp_path: Path
) -> None:
    _, site, _ = world
    bay = bay_of(site)
    prompt = rf"{re.escape(bay)} ready> "
    home = tmp_path / "home"
    with terminal(site, bay, home) as (screen, process):
        assert "Ctrl-D leaves" in screen.wait_for(prompt)
        screen.type("at+csq\n")
        assert "+CSQ: " in screen.wait_for(prompt)
        screen.type("AT+CIMI\n")
        answer = screen.wait_for(prompt)
        assert re.search(r"\b4600\*\*\*\*\d{4}\b", answer), answer
        assert not re.search(r"\d{15}", answer)
        screen.type(f'AT+CPIN="{SECRET}"\n')
        refused = screen.wait_for(prompt)
        assert "[policy: SIM-06]" in refused
        assert "→ modemctl sims import" in refused
        screen.type("AT+CMGS=20\n")
        assert "[policy: SMS-01]" in screen.wait_for(prompt)
        screen.type("help\n")
        assert "modems:configure" in screen.wait_for(prompt)
        screen.type("state\n")
        assert "desired state" in screen.wait_for(prompt)
        screen.type("AT+CS")
        screen.wait_for(r"AT\+CS")
        screen.interrupt(prompt)  # the line is dropped, the console stays
        screen.type("\x04")
        assert process.wait(PATIENCE) == 0
    history = home / "modemctl" / "at_history"
    assert history.stat().st_mode & 0o777 == 0o600
    assert history.read_text().splitlines() == ["at+csq", "AT+CIMI"]
    with terminal(site, bay, home) as (screen, process):
        screen.wait_for(prompt)
        screen.type("\x10\x10\n")  # twice up: at+csq
        assert "+CSQ: " in screen.wait_for(prompt)
        screen.type("exit\n")
        assert process.wait(PATIENCE) == 0
    entries = audited(site)
    assert {(who, where) for who, _, where, _ in entries} == {("mei", bay)}
    refusals = [details for _, act, _, details in entries if act == "modem.at.refused"]
    assert [(one["what"], one["policy"]) for one in refusals] == [
        ("AT+CPIN…", "SIM-06"), ("AT+CMGS…", "SMS-01")
    ]  # fmt: skip


def test_batch_goes_on_while_somebody_types(
    world: tuple[BankProcess, Site, DaemonProcess], tmp_path: Path
) -> None:
    bank, site, daemon = world
    daemon.send(signal.SIGTERM)
    assert daemon.wait() == 0
    site.add_batch(numbers(24))
    with DaemonProcess(site) as again:
        again.wait_until(lambda: len(bank.ledger(kind="submit")) >= 3, what="the batch runs")
        typed = ["AT+CSQ", "AT+CREG?", "ATI", "AT+COPS?"] * 3
        before = len(bank.ledger(kind="submit"))
        done = piped(site, "# a comment\n\n" + "\n".join(typed), "--json")
        after = len(bank.ledger(kind="submit"))
        assert done.status == 0, done
        answers = [json.loads(line) for line in done.out.splitlines()]
        assert [one["command"] for one in answers] == typed
        for one in answers:
            name = one["command"].removeprefix("AT").rstrip("?")
            assert one["lines"][-1] == "OK"
            assert name == "I" or any(line.startswith(f"{name}:") for line in one["lines"])
        assert before < after, "sent between the commands"
        again.wait_until(
            lambda: site.segments()["delivered"] == 24, what="all delivered", seconds=90
        )
        acts = [(act, details) for _, act, _, details in audited(site)]
    assert [details["what"] for act, details in acts if act == "modem.at"] == typed
    asked = [details["wish_id"] for act, details in acts if act == "modem.at"]
    ended = [details["wish_id"] for act, details in acts if act == "modem.at.answered"]
    assert asked == ended == [one["wish_id"] for one in answers], "in the order of asking"
    assert {details["outcome"] for act, details in acts if act == "modem.at.answered"} == {"OK"}
    assert sorted(taken(bank).values()) == [1] * 24, "each once"


def test_script_goes_on_after_a_refusal_and_ends_with_status_1(
    world: tuple[BankProcess, Site, DaemonProcess],
) -> None:
    _, site, _ = world
    script = f'AT+CSQ\nAT+CPIN="{SECRET}"\nAT+CSQ;D{SECRET}\nAT+NOSUCH?\nATD{SECRET}\n'
    done = piped(site, script, "--json")
    assert done.status == 1
    assert SECRET not in done.out + done.err
    told = [json.loads(line) for line in done.out.splitlines()]
    assert [one["command"] for one in told] == ["AT+CSQ", "AT+CPIN", "AT+CSQ", "AT+NOSUCH?", "ATD"]
    assert [one["problem"]["policy"] for one in told if "problem" in one] == [
        "SIM-06", "TEL-06", "TEL-06"
    ]  # fmt: skip
    assert told[3]["lines"][-1] in {"ERROR", "+CME ERROR: 4"}
    plain = piped(site, script)
    assert (plain.status, SECRET in plain.out + plain.err) == (1, False)
    assert "> AT+CSQ\n+CSQ: " in plain.out
    assert "[policy: SIM-06]" in plain.err


def test_settings_ask_for_the_stronger_scope(
    world: tuple[BankProcess, Site, DaemonProcess],
) -> None:
    _, site, _ = world
    bay = bay_of(site)
    setting = "AT+CGATT=1"
    lacking = ctl(site, "at", bay, setting)  # root is an administrator
    assert lacking.status == 1
    assert "lacks modems:configure" in lacking.err
    done = ctl(site, "at", bay, setting, key="maintainer")
    assert done.out.splitlines()[-1] in {"OK", "ERROR"}, done
    acts = [(who, act, details.get("outcome")) for who, act, _, details in audited(site)]
    assert acts[0] == ("root", "modem.at.refused", "refused")
    assert acts[1][:2] == ("mei", "modem.at")
    assert acts[2] == ("mei", "modem.at.answered", done.out.splitlines()[-1])


def slow(bank: BankProcess, seconds: float) -> None:
    """The modem's next network scan takes so long."""
    bank.control.request(
        "set_fault",
        {"modem": "modem01", "fault": "slow_answer", "on": "+COPS", "seconds": seconds},
    )


def test_scan_shows_how_far_it_is_and_who_stops_waiting_leaves_the_link_in_step(
    world: tuple[BankProcess, Site, DaemonProcess], tmp_path: Path
) -> None:
    bank, site, _ = world
    bay = bay_of(site)
    prompt = rf"{re.escape(bay)} ready> "
    slow(bank, 7.0)
    with terminal(site, bay, tmp_path / "home") as (screen, process):
        screen.wait_for(prompt)
        screen.type("at+cops=?\n")
        assert "at most 315" in screen.wait_for(r"at it: 5 s, .*no longer")
        shown = screen.wait_for(prompt)
        assert "+COPS: (" in shown
        assert re.search(r"\bOK\b", shown), shown
        slow(bank, 8.0)
        screen.type("AT+COPS=?\n")
        screen.wait_for("at it: 5 s")
        screen.interrupt("not waited for")
        screen.wait_for(prompt)
        screen.type("AT+CSQ\n")
        shown = screen.wait_for(prompt)
        assert "+CSQ: " in shown
        assert "+COPS" not in shown
        screen.type("exit\n")
        assert process.wait(PATIENCE) == 0
    outcomes = [details["outcome"] for _, act, _, details in audited(site) if "answered" in act]
    assert outcomes == ["OK", "OK", "OK"], "the link stayed in step"


def test_scan_of_minutes_holds_up_no_stop(
    world: tuple[BankProcess, Site, DaemonProcess],
) -> None:
    bank, site, daemon = world
    slow(bank, 300.0)
    asking = subprocess.Popen(
        [sys.executable, "-m", "modemctl", "--socket", str(site.socket), "--key-file",
         str(site.folder.parent / "maintainer.key"), "at", bay_of(site), "AT+COPS=?"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    try:
        daemon.wait_until(lambda: bool(bank.ledger(kind="fault")), what="the scan runs")
        begun = time.monotonic()
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0
        assert time.monotonic() - begun < 15
    finally:
        out, err = asking.communicate(timeout=PATIENCE)
    assert asking.returncode == 1
    assert "+COPS" not in out
    assert "stopped" in err or "no daemon" in err or "daemon" in err, err


@pytest.mark.skipif(not os.environ.get("MODEMCTL_LONG"), reason="MODEMCTL_LONG is not set")
def test_modem_that_falls_silent_takes_its_time_limit_and_no_more(
    world: tuple[BankProcess, Site, DaemonProcess],
) -> None:
    """The person is told, the log knows, the modem recovers and answers again."""
    bank, site, daemon = world
    bank.control.request("set_fault", {"modem": "modem01", "fault": "silence"})
    done = ctl(site, "at", bay_of(site), "AT+CSQ", key="maintainer")
    assert done.status == 1
    assert "no answer" in done.err or "no link" in done.err, done.err
    bank.control.clear_faults()
    daemon.wait_until(lambda: site.n_ready() == 1, what="ready again", seconds=180)
    again = ctl(site, "at", bay_of(site), "AT+CSQ", key="maintainer")
    assert (again.status, again.out.splitlines()[-1]) == (0, "OK")
    outcomes = [details["outcome"] for _, act, _, details in audited(site) if "answered" in act]
    assert len(outcomes) == 2
    assert outcomes[0] != outcomes[1] == "OK"
