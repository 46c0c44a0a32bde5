"""A runbook names only commands that exist."""

import re
import shlex
from pathlib import Path

import click
import pytest

from modemctl.cli import cli

ROOT = Path(__file__).resolve().parents[2]
NAMED = sorted(
    {
        (page.name, " ".join(command.split()))
        for page in (ROOT / "docs/runbooks").glob("*.md")
        for command in re.findall(r"`modemctl ([a-z][^`]*)`", page.read_text(encoding="utf-8"))
    }
)


@pytest.mark.parametrize(("page", "line"), NAMED)
def test_commands_and_options_of_runbooks_exist(page: str, line: str) -> None:
    words = shlex.split(line)
    command: click.Command = cli
    while isinstance(command, click.Group):
        assert words, f"{page}: modemctl {line} is a group"
        inner = command.get_command(click.Context(command), words.pop(0))
        assert inner is not None, f"{page}: modemctl {line}"
        command = inner
    options = {name for option in command.params for name in option.opts}
    asked = {word for word in words if word.startswith("--")}
    assert asked <= options, f"{page}: modemctl {line}"
