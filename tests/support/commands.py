"""The command line, run in this process or as a process of its own."""

import asyncio
import contextlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from modemctl.cli import main

PATIENCE = 60.0


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    status: int
    out: str
    err: str


class _Input(io.StringIO):
    """A terminal's answers, one a line."""


def call(*arguments: str | Path, answers: str = "") -> Done:
    """Run `modemctl` in this process; must not run beside another."""
    out, err = io.StringIO(), io.StringIO()
    before = sys.argv, sys.stdin
    sys.argv, sys.stdin = ["modemctl", *map(str, arguments)], _Input(answers)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main()
            except SystemExit as end:
                status = end.code
    finally:
        sys.argv, sys.stdin = before
    assert isinstance(status, int)
    assert "Traceback" not in err.getvalue(), err.getvalue()
    return Done(status, out.getvalue(), err.getvalue())


async def ask(*arguments: str | Path, answers: str = "") -> Done:
    """`call` beside a running loop, which serves what the command asks."""
    async with asyncio.timeout(PATIENCE):
        return await asyncio.to_thread(call, *arguments, answers=answers)


def spawn(*arguments: str | Path, **settings: str) -> Done:
    """Run `modemctl` as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "modemctl", *map(str, arguments)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE,
        check=False,
        env=environment(**settings),
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def environment(**settings: str) -> dict[str, str]:
    """Ours without what would lead to another daemon."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MODEMCTL_")}
    return kept | {"COLUMNS": "100"} | settings
