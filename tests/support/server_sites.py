"""A site whose database is on a real PostgreSQL, and a wire to it that can be cut."""

import contextlib
import json
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from modemctl.vault import create_key
from tests.support.banks import Site
from tests.support.postgres import SOCKET_NAME, Cluster


class Wire:
    """Between clients and the server; `url` is the database at this end of it."""

    def __init__(self, url: str) -> None:
        self._folder = Path(mkdtemp(prefix="modemctl-wire-", dir="/tmp"))  # a path is short
        address, _, self._home = url.partition("?host=")
        self.url = f"{address}?host={self._folder}"
        self._flows = threading.Event()
        self._ends: set[socket.socket] = set()
        self.n_clients = 0  # that came so far
        self._listener: socket.socket | None = None
        self.join()
        self.thaw()

    def join(self) -> None:
        """Take clients."""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._folder / SOCKET_NAME))
        self._listener.listen(64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Nobody reaches the server, as where its machine is off."""
        assert self._listener is not None
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        (self._folder / SOCKET_NAME).unlink()
        for one in list(self._ends):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def freeze(self) -> None:
        """Nothing comes through, and nobody is told."""
        self._flows.clear()

    def thaw(self) -> None:
        """All goes on."""
        self._flows.set()

    def close(self) -> None:
        """The end of it."""
        self.thaw()
        with contextlib.suppress(OSError):
            self.cut()
        shutil.rmtree(self._folder)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the listener is closed
            while True:
                client, _ = listener.accept()
                self.n_clients += 1
                server = socket.socket(socket.AF_UNIX)
                self._ends |= {client, server}
                try:
                    server.connect(str(Path(self._home) / SOCKET_NAME))
                except OSError:
                    client.close()
                    server.close()
                    continue
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while octets := source.recv(65_536):
                self._flows.wait()
                sink.sendall(octets)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            if one in self._ends:
                self._ends.discard(one)
            else:
                one.close()  # the other way has ended before


@contextmanager
def wire(url: str) -> Iterator[Wire]:
    """A wire to the database for a while."""
    opened = Wire(url)
    try:
        yield opened
    finally:
        opened.close()


class ServerSite(Site):
    """A site on PostgreSQL: its daemon goes by `through`, what a test asks goes straight."""

    def __init__(
        self, folder: Path, ports: str, *, cluster: Cluster, through: Wire | None, name: str,
        **settings: str,
    ) -> None:  # fmt: skip
        self._cluster, self._name = cluster, name
        at = cluster.url(name) if through is None else through.url
        super().__init__(folder, ports, paths__database=json.dumps(at), **settings)

    @property
    def url(self) -> str:
        """The database as SQLAlchemy names it."""
        return self._cluster.url(self._name)

    def query(self, statement: str, *values: object) -> list[tuple]:
        """Look into the database, also while the daemon runs."""
        with self._cluster.connect(self._name) as connection:
            rows = connection.execute(statement.replace("?", "%s"), values).fetchall()
        return [tuple(_plain(cell) for cell in row) for row in rows]


def _plain(cell: object) -> object:
    """Octets as SQLite gives them."""
    return bytes(cell) if isinstance(cell, memoryview) else cell


class OtherNode(ServerSite):
    """Another server of a site: the same settings and master key, a name and modems of its own."""

    def __init__(self, first: ServerSite, folder: Path, ports: str, through: Wire | None) -> None:
        self._cluster, self._name = first._cluster, first._name
        self.folder, self.config = folder, folder / "modemctl.toml"
        self.socket = folder / "api.sock"
        (folder / "keys").mkdir(parents=True)
        (folder / "state").mkdir(mode=0o700)
        shutil.copy2(first.folder / "keys" / "master.key", folder / "keys")
        create_key(folder / "keys" / "audit.key")
        lines = [
            line
            for line in first.config.read_text().splitlines()
            if line.partition(" ")[0] not in {"bank.ports", "paths.database", "site.node"}
        ]
        lines += [
            f"bank.ports = {json.dumps([ports])}",
            f"paths.database = {json.dumps(self.url if through is None else through.url)}",
            'site.node = "n2"',
        ]
        text = "\n".join(lines).replace(str(first.folder), str(folder))
        self.config.write_text(f"{text}\n")
        self.vault, self.staff = first.vault, first.staff
