"""The real daemon as a process on a simulated bank, with cards and approved batches."""

import asyncio
import csv
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Self

from modemctl.clock import SystemClock
from modemctl.model import BatchId
from modemctl.store import Store
from modemctl.store.migrate import upgrade
from modemctl.store.wishes import body_place
from modemctl.vault import AuditKey, Vault, create_key
from tests.support.approved import GENERAL, SITE, Staff, add_batch, add_cards, add_staff
from tests.support.departments import register_usual
from tests.support.simulated import BankProcess, wait_until

_OF_TESTS = frozenset({"MODEMCTL_SEED", "MODEMCTL_TIME_FACTOR"})
_LIMITS = {
    "limits.segments_per_minute": "100000",
    "limits.segments_per_hour": "1000000",
    "limits.segments_per_day": "1000000",
    "limits.minimum_gap": "0.0",
    "hours.quiet_from": "08:00:00",
    "hours.quiet_until": "08:00:00",
}


def accepts(path: Path) -> bool:
    """Whether a connection is taken: the file is there a moment before."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


class Site:
    """A folder with settings, keys and a database; what is put in is put in while nothing runs."""

    def __init__(
        self, folder: Path, ports: str, *, departments: bool = True, **settings: str
    ) -> None:
        self.folder = folder
        self.config = folder / "modemctl.toml"
        self.socket = folder / "api.sock"
        (folder / "keys").mkdir(parents=True)
        for name in ("master.key", "audit.key"):
            create_key(folder / "keys" / name)
        values = {
            "site.id": json.dumps(SITE),
            "site.node": '"n1"',
            "paths.state_dir": json.dumps(str(folder / "state")),
            "paths.master_key_file": json.dumps(str(folder / "keys" / "master.key")),
            "paths.audit_key_file": json.dumps(str(folder / "keys" / "audit.key")),
            "api.unix_socket": json.dumps(str(self.socket)),
            "api.tcp_port": "0",
            "bank.ports": json.dumps([ports]),
            "bank.rescan_interval": "0.2",
            **_LIMITS,
            **{key.replace("__", "."): value for key, value in settings.items()},
        }
        self.config.write_text("".join(f"{key} = {value}\n" for key, value in values.items()))
        (folder / "state").mkdir(mode=0o700)
        self.vault = Vault.load(folder / "keys" / "master.key")
        now = SystemClock().now()
        upgrade(self.url, vault=self.vault, site_id=SITE, now=now)
        if departments:
            register_usual(self.url, self.vault, now=now)
        self.staff: Staff | None = None

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.folder / "state" / "modemctl.db"

    @property
    def url(self) -> str:
        """The database as SQLAlchemy names it."""
        return f"sqlite+pysqlite:///{self.database}"

    def write(self, *acts):
        """Run acts in the store; nothing else may have it open. Returns the last one's result."""

        async def run():
            async with Store(
                self.url,
                vault=self.vault,
                audit_key=AuditKey.load(self.folder / "keys" / "audit.key"),
                clock=SystemClock(),
                node_id="n1",
            ) as store:
                return [await store.write(act) for act in acts][-1]

        return asyncio.run(run())

    def add_cards(self, bank: Path, *, department: str = GENERAL) -> None:
        """Register every card of a bank, with its PIN, and hire the staff."""
        with (bank / "cards.csv").open() as lines:
            cards = list(csv.DictReader(lines))
        by_pin: dict[str, list[str]] = {}
        for card in cards:
            by_pin.setdefault(card["pin"], []).append(card["iccid"])
        imports = [
            lambda tx, pin=pin, iccids=iccids: add_cards(
                tx, iccids, department=department, pin=pin or None
            )
            for pin, iccids in by_pin.items()
        ]
        self.staff = self.write(*imports, add_staff)

    def add_batch(self, recipients: Sequence[str], **facts) -> BatchId:
        """An approved, running batch."""
        staff = self.staff
        assert staff is not None
        return self.write(lambda tx: add_batch(tx, staff, recipients, **facts))

    def query(self, statement: str, *values: object) -> list[tuple]:
        """Look into the database, also while the daemon runs."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=10)) as db:
            return db.execute(statement, values).fetchall()

    def retry(self, bay: str) -> None:
        """A person's wish that a failed bay is tried again, left as a row while the daemon runs."""
        at = SystemClock().now().replace(microsecond=0)
        facts: dict[str, object] = {
            "wish_id": str(uuid.uuid4()), "kind": "retry", "bay": bay, "requested_by": "tester",
            "at": at,
        }  # fmt: skip
        sealed = self.vault.encrypt_text("-", place=body_place(facts))  # a wish without a body
        with closing(sqlite3.connect(self.database, timeout=30)) as db, db:
            db.execute(
                "INSERT INTO wish (wish_id, kind, bay, requested_by, at, body_enc)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (*list(facts.values())[:4], int(at.timestamp() * 1000), sealed),
            )

    def segments(self) -> Counter[str]:
        """Segments by state."""
        return Counter(dict(self.query("SELECT state, count(*) FROM segment GROUP BY state")))

    def modems(self) -> Mapping[str, tuple[str, str]]:
        """Bay → state and reason."""
        return {row[0]: row[1:] for row in self.query("SELECT bay, state, reason FROM modem")}

    def n_ready(self) -> int:
        """Bays that are READY."""
        return sum(state == "ready" for state, _ in self.modems().values())


class DaemonProcess:
    """`modemctl run` while the context is open; ends in order, with status 0, unless killed."""

    def __init__(self, site: Site, *, environment: Mapping[str, str] | None = None) -> None:
        self.site = site
        self.log = site.folder / "daemon.log"
        self._extra = environment or {}
        self.good_ends = {0, -signal.SIGKILL}

    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        """Start the daemon; again where it has ended."""
        self._n_starts = self._count_starts()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "modemctl", "run", "-c", str(self.site.config)],
                stdout=log,
                stderr=log,
                env={**environment(), "PYTHONUNBUFFERED": "1", **self._extra},
            )

    def __exit__(self, kind: object, *_: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
                raise
        if kind is None:
            assert self._process.returncode in self.good_ends, self.tail()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self, seconds: float = 30.0) -> int:
        """Wait for the end; the exit status."""
        return self._process.wait(seconds)

    def kill(self) -> None:
        """`kill -9`, and wait for the end."""
        self._process.kill()
        self._process.wait()

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_octets(self) -> int:
        """Resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def wait_recovered(self) -> None:
        """Wait until what an earlier life left open was put in order."""
        self.wait_until(lambda: self._count_starts() > self._n_starts, what="start")

    def _count_starts(self) -> int:
        return self.log.read_text().count("daemon.recovered") if self.log.exists() else 0

    def tail(self, n_lines: int = 40) -> str:
        """The end of the log."""
        return "\n".join(self.log.read_text().splitlines()[-n_lines:])

    def wait_until(self, holds, *, what: str, seconds: float = 60.0) -> None:
        """Wait for a condition; a daemon that died is told with its log."""

        def check() -> bool:
            assert self.is_running, self.tail()
            return bool(holds())

        try:
            wait_until(check, what=what, seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail()}") from None


def environment() -> dict[str, str]:
    """Ours without what only tests read: the daemon refuses settings that it does not know."""
    return {name: value for name, value in os.environ.items() if name not in _OF_TESTS}


def taken(bank: BankProcess) -> Counter[tuple[str, str]]:
    """How often the simulated network took each TPDU to each number, whatever reference it got."""
    lines = bank.ledger(kind="submit")
    return Counter((str(line["destination"]), _without_mr(str(line["tpdu"]))) for line in lines)


def _without_mr(tpdu: str) -> str:
    return tpdu[:2] + tpdu[4:]
