"""The console's history: a session begins and ends whatever becomes of the file."""

import pwd
import shutil
from pathlib import Path

import pytest

from modemctl.cli import at_console


def test_user_without_a_home_has_a_console_without_history(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    for name in ("HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with at_console._line_editing():
        pass
    assert "no history: " in capsys.readouterr().err


def test_history_that_cannot_be_written_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with at_console._line_editing():
        assert at_console.history_file().stat().st_mode & 0o777 == 0o600
        shutil.rmtree(tmp_path / "state")
