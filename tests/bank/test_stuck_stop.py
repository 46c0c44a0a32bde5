"""The daemon's end where an actor hangs that nothing ends."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2

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


REFUSING = """
CREATE TRIGGER full BEFORE INSERT ON audit_entry
BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END
"""


@contextmanager
def stuck(tmp_path: Path) -> Iterator[tuple[Site, subprocess.Popen[str]]]:
    """A daemon one of whose actors hangs, until the block ends."""
    (tmp_path / "bay-a").touch()
    site = Site(tmp_path / "site", str(tmp_path / "bay-a"))
    command = [sys.executable, "-c", STUCK, str(site.config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as daemon:
        try:
            assert daemon.stderr is not None
            assert any("actor.left_behind" in line for line in daemon.stderr)
            yield site, daemon
        finally:
            daemon.kill()


def stopped(daemon: subprocess.Popen[str]) -> str:
    """What a daemon says that ends in order."""
    daemon.send_signal(signal.SIGTERM)
    said = daemon.communicate(timeout=60)[1]
    assert daemon.returncode == 0
    return said


def test_a_stop_waits_for_no_actor_that_was_left_behind(tmp_path: Path) -> None:
    with stuck(tmp_path) as (_, daemon):
        assert "daemon.left_behind" in stopped(daemon)


def test_a_database_that_takes_nothing_holds_up_no_stop(tmp_path: Path) -> None:
    """Who asked is still to be written down, an actor hangs: neither keeps the process."""
    with stuck(tmp_path) as (site, daemon):
        way = httpx2.HTTPTransport(uds=str(site.socket))
        with httpx2.Client(transport=way, base_url="http://modemctl", timeout=30) as http:
            assert http.get("/v1/whoami").status_code == 401
        with closing(sqlite3.connect(site.database, timeout=30)) as db, db:
            db.execute(REFUSING)
        assert "daemon.end_not_noted" in stopped(daemon)
