"""What the side-by-side benchmark counts, and what it prints."""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.simulated import BankProcess, wait_until

_BENCH = Path(__file__).parents[2] / "bench"


def _module(monkeypatch: pytest.MonkeyPatch, name: str) -> ModuleType:
    # A benchmark is a script beside others: their names are found in its own folder.
    monkeypatch.syspath_prepend(str(_BENCH))
    for other in ("counting", "meters", name):
        monkeypatch.delitem(sys.modules, other, raising=False)
    return importlib.import_module(name)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return _module(monkeypatch, "counting")


def _taken(
    counting: ModuleType, at: float, to: str, *, modem: str = "m", text: str = "t"
) -> object:
    return counting.Taken(at=at, modem=modem, to=to, text=text)


def test_the_ledger_tells_lost_doubled_and_wrong(counting: ModuleType) -> None:
    asked = {"+1": "t", "+2": "t", "+3": "t", "+4": "t"}
    taken = [
        *(_taken(counting, at, to) for at, to in enumerate(["+1", "+2", "+2", "+2", "+3", "+3"])),
        _taken(counting, 9.0, "+4", text="????"),
        _taken(counting, 9.0, "+5"),
    ]
    found = counting.tally(asked, taken)
    assert (found.asked, found.missing, found.doubled) == (4, 1, 2)
    assert (found.copies, found.most, found.wrong) == (3, 3, 2)


def test_a_window_cuts_segments_evenly_and_counts_a_stall_in_full(counting: ModuleType) -> None:
    steady = [_taken(counting, at + 0.3, "+1") for at in range(20)]
    assert counting.window_rate(steady, begin=5.0, end=15.0) == pytest.approx(1.0)
    stalled = [one for one in steady if one.at < 10.0]
    assert counting.window_rate(stalled, begin=5.0, end=15.0) == pytest.approx(0.5)
    other = [_taken(counting, at + 0.3, "+1", modem="n") for at in range(20)]
    both = counting.window_rate([*stalled, *other], begin=5.0, end=15.0)
    assert both == pytest.approx(1.5)


def test_a_session_costs_what_its_children_cost(counting: ModuleType) -> None:
    spin = "import os; d = os.times().user + 0.2\nwhile os.times().user < d: pass"
    script = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {spin!r}]);"
        "other = subprocess.Popen([sys.executable, '-c', 'input()']);"
        "print('over', flush=True); other.wait()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdin is not None
        parent.stdout.readline()
        assert len(counting.members([parent.pid])) == 2
        assert os.getpid() not in counting.members([parent.pid])
        assert counting.session_cpu_seconds([parent.pid]) >= 0.2
        assert counting.session_pss_mb([parent.pid]) > 1
        parent.stdin.write("\n")
    assert counting.members([parent.pid]) == []


def test_what_a_bank_took_is_read_with_number_and_text(
    counting: ModuleType, tmp_path: Path
) -> None:
    meters = sys.modules["meters"]
    with BankProcess(tmp_path / "bank", "--modems", "1", "--pin-lock", "off") as bank:
        ledger = meters.LedgerReader(bank.folder / "ledger.jsonl")
        wait_until(lambda: bool(bank.ledger(kind="registration")), what="a network")
        bank.control.request(
            "send_sms", {"modem": "modem01", "to": "+8613900000001", "text": "你好"}
        )
        wait_until(lambda: bool(ledger.read()), what="taken")
    found = counting.tally({"+8613900000001": "你好"}, ledger.read())
    assert (found.missing, found.doubled, found.wrong) == (0, 0, 0)


def test_a_row_is_set_beside_ours_of_the_same_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = _module(monkeypatch, "peers")

    def row(side: str, modems: int, per_second: float) -> object:
        return peers.Row(
            side=side, modems=modems, latency_s=1.0, modems_sending=modems,
            messages_per_s=per_second, line_utilisation=per_second / modems, cpu_s_per_1000=2.0,
            pss_mb=100.0, start_s=1.0, rest_cores=0.0, asked=9, lost=1, left=0, doubled=2, wrong=0,
        )  # fmt: skip

    rows = [row("modemctl", 8, 7.5), row("kannel", 8, 2.5), row("kannel", 64, 20.0)]
    assert peers.ratios(rows[1], rows)["messages_ratio"] == pytest.approx(3.0)
    assert peers.ratios(rows[2], rows)["messages_ratio"] is None
    assert len(peers.line(rows[1], rows).split("|")) == len(peers.HEAD.splitlines()[0].split("|"))
    assert len(set(map(len, (text.split("|") for text in peers.HEAD.splitlines())))) == 1


def test_a_peer_that_is_missing_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    peers = _module(monkeypatch, "peers")
    monkeypatch.setitem(sys.modules["sides"].PEERS, "kannel", (("no-such-box",), "kannel", None))
    assert "kannel" not in peers._present(["kannel"])
    assert "apt install kannel" in capsys.readouterr().err
