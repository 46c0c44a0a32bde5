"""What the command line says of ordinary mistakes: one line or one JSON object, no traceback."""

import json
from pathlib import Path

import pytest

from simulator.cli import main

SUBMIT = {
    "n": 1, "kind": "submit", "time": "2026-01-01T00:00:00.000+00:00", "modem": "modem01",
    "iccid": "8986", "from": "+8613800000001", "destination": "1", "text": "中", "concat": None,
}  # fmt: skip


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    folder = tmp_path / "bank"
    folder.mkdir()
    (folder / "ledger.jsonl").write_text(json.dumps(SUBMIT) + "\n")
    (tmp_path / "gbk.csv").write_bytes("destination,text\n1,中\n".encode("gbk"))
    (tmp_path / "times.csv").write_text("destination,text,times\n1,中,²\n", encoding="utf-8")
    (tmp_path / "octets.csv").write_bytes(b"destination,text\n1,\xff\xff\n")
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe\x00")
    return folder


def test_list_in_gbk_agrees(bank: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(bank), str(bank.parent / "gbk.csv")]) == 0
    assert capsys.readouterr().out == "1 expected, 1 taken: they agree\n"


@pytest.mark.parametrize("broken", ["{broken\n", "[1]\n", "\xff\xfe\n", "7\n"])
def test_broken_line_of_a_ledger_is_left_out(
    bank: Path, broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with (bank / "ledger.jsonl").open("a", encoding="latin-1") as file:
        file.write(broken)
    assert main(["check", str(bank), str(bank.parent / "gbk.csv")]) == 0
    assert main(["ledger", str(bank), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == SUBMIT


@pytest.mark.parametrize(
    "words",
    [
        ["check", "{bank}", "{bank}/../times.csv"],
        ["check", "{bank}", "{bank}/../octets.csv"],
        ["check", "{bank}", "{bank}/../none.csv"],
        ["check", "{bank}/..", "{bank}/../gbk.csv"],
        ["check", "{bank}"],
        ["run", "quiet", "--dir", "{bank}/../run", "--until", "nan"],
        ["run", "quiet", "--dir", "{bank}/../run", "--until", "-1"],
        ["run", "quiet", "--dir", "{bank}/../run", "--until", "inf"],
        ["run", "{bank}/../a.toml", "--dir", "{bank}/../run"],
        ["personas", "--check", "{bank}/../a.toml"],
        ["personas", "--check", "{bank}/../none.toml"],
        ["personas", "--show", "none"],
        ["scenarios", "--show", "none"],
        ["state", "--dir", "{bank}"],
        ["state", "--none"],
        ["verbs", "none"],
        ["ledger", "{bank}", "--since", "noon"],
        ["nothing"],
    ],
    ids=lambda words: " ".join(words[:4]),
)
def test_mistake_is_one_line_or_one_object(
    bank: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    typed = [word.format(bank=bank) for word in words]
    status = main(typed)
    assert status in {1, 2}
    plain = capsys.readouterr().err
    assert plain
    assert "Traceback" not in plain
    assert main([*typed, "--json"]) == status
    problem = json.loads(capsys.readouterr().err)
    assert list(problem) == ["error"]
    assert problem["error"] in plain
