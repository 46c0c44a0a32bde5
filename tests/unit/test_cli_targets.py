"""What a command writes is a new file: nothing is overwritten, nothing is asked for in vain."""

from pathlib import Path

import pytest

from tests.support.commands import call

ID = "6f2c0b5c-5d0b-4d7c-a7f2-0e9f2f1c8f11"
WRITING = {
    "export make": ("cards", "--columns", "iccid", "--recipient", "a", "--purpose", "b", "-o"),
    "evidence make": ("--batch", ID, "--request", ID, "--out"),
    "report make": ("stocktake", "-o"),
    "report fetch": (ID, "-o"),
    "audit export": ("--request", ID, "--out"),
    "stops reach": (ID, "--out"),
    "batch sheet": (ID, "--out"),
    "batch removed": (ID, "--out"),
}


@pytest.mark.parametrize("command", WRITING)
def test_what_is_there_is_not_overwritten_and_the_daemon_not_asked(
    command: str, tmp_path: Path
) -> None:
    there = tmp_path / "盘点.xlsx"
    there.write_text("mine")
    nobody = ("--socket", tmp_path / "nobody.sock", *command.split(), *WRITING[command])
    done = call(*nobody, there)
    assert done.status == 1
    assert f"{there} exists already" in done.err
    assert "name a new one" in done.err
    assert there.read_text() == "mine"
    lost = call(*nobody, tmp_path / "none" / "a.xlsx")
    assert lost.status == 1
    assert f"there is no folder {tmp_path / 'none'}" in lost.err


def test_a_package_is_not_opened_into_a_folder_that_is_there(tmp_path: Path) -> None:
    package = tmp_path / "case.evidence"
    package.write_bytes(b"x")
    done = call("evidence", "open", package, "--out", tmp_path, "--audit-key", "ab" * 32)
    assert done.status == 1
    assert "exists already" in done.err
