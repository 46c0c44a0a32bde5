"""A bank larger than the system allows: raised where that is allowed, told with the cure if not."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.bank import Bank
from simulator.story.scenario import Scenario


def served(limit: str, folder: Path) -> subprocess.Popen[str]:
    """A bank of 40 modems by a shell that sets a limit on open files first."""
    script = f'ulimit {limit}; exec "$0" -m simulator --modems 40 --dir "$1"'
    return subprocess.Popen(
        ["sh", "-c", script, sys.executable, folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_soft_limit_of_open_files_is_raised(tmp_path: Path) -> None:
    with served("-Sn 64", tmp_path / "bank") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ready 40 modems")
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_a_hard_limit_of_open_files_is_told_with_its_cure(tmp_path: Path) -> None:
    with served("-n 100", tmp_path / "bank") as process:
        said, errors = process.communicate(timeout=30)
    assert (process.returncode, said) == (2, "")
    assert errors.count("\n") == 1
    assert "100 are allowed" in errors
    assert "ulimit -Hn" in errors


async def test_the_end_of_the_pseudo_terminals_is_told_with_its_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter([os.openpty(), os.openpty()])

    def openpty() -> tuple[int, int]:
        found = next(left, None)
        if found is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return found

    monkeypatch.setattr(os, "openpty", openpty)
    bank = Bank(Scenario(modems=3), tmp_path)
    with pytest.raises(OSError, match=r"pseudo terminals: .*kernel\.pty\.max"):
        bank.open()
    bank.close()
