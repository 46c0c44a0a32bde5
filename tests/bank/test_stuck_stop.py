"""The daemon's end where an actor hangs that nothing ends."""

import signal
import subprocess
import sys
from pathlib import Path

from tests.support.banks import Site

STUCK = """
import asyncio, contextlib, pathlib, sys
from modemctl import daemon
from modemctl.config import load
from modemctl.fleet import progress, supervisor
from modemctl.lifecycle import ModemState

async def never(address, sink, **more):
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

daemon.probe = never
progress.LIMITS = {**progress.LIMITS, ModemState.PROBING: 0.1}
progress._CLEAN_UP = 0.02
supervisor._LAST_LIMIT = 0.1
sys.exit(asyncio.run(daemon.run(load(pathlib.Path(sys.argv[1])))))
"""


def test_a_stop_waits_for_no_actor_that_was_left_behind(tmp_path: Path) -> None:
    (tmp_path / "bay-a").touch()
    site = Site(tmp_path / "site", str(tmp_path / "bay-a"))
    command = [sys.executable, "-c", STUCK, str(site.config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as daemon:
        try:
            assert daemon.stderr is not None
            assert any("actor.left_behind" in line for line in daemon.stderr)
            daemon.send_signal(signal.SIGTERM)
            said = daemon.communicate(timeout=30)[1]
        finally:
            daemon.kill()
    assert daemon.returncode == 0
    assert "daemon.left_behind" in said
