"""A real pgbouncer before the tests' PostgreSQL."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from tests.support.tools import require_tool

_NOBODY = 65534  # pgbouncer refuses to run as root


@contextmanager
def pooler(url: str, mode: str) -> Iterator[str]:
    """The same database through a pooler of this mode, as SQLAlchemy's address.

    A test without the program is skipped, or fails where CI demands it.
    """
    program = require_tool("pgbouncer")
    address, _, home = url.partition("?host=")
    folder = Path(mkdtemp(prefix="modemctl-pool-", dir="/tmp"))  # a socket's path is short
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n* = host={home} user=modemctl\n"
        "[pgbouncer]\nlisten_addr =\nlisten_port = 5432\n"
        f"unix_socket_dir = {folder}\nauth_type = any\npool_mode = {mode}\n"
        "ignore_startup_parameters = options\n"
    )
    who = {}
    if os.geteuid() == 0:
        os.chown(folder, _NOBODY, _NOBODY)
        who = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
    running = subprocess.Popen(
        [program, str(settings)], cwd=folder, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **who,
    )  # fmt: skip
    assert running.stderr is not None
    try:
        for line in running.stderr:
            if b"process up" in line:
                break
        else:
            raise RuntimeError(f"pgbouncer did not start: {settings.read_text()}")
        yield f"{address}?host={folder}"
    finally:
        running.kill()
        running.communicate()
        rmtree(folder)
