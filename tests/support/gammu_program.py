"""gammu and gammu-smsd as their users run them, on a port of a simulated bank."""

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Self

from tests.support.tools import require_file, require_tool

_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
_SCHEMA = "/usr/share/doc/gammu-smsd/examples/sqlite.sql"


def gammu(port: str, config: Path, *arguments: str, seconds: float = 110) -> str:
    """Run gammu to its end; what it printed. Fails where it does, or where it does not end."""
    program = require_tool("gammu")
    log = config.with_suffix(".log")
    log.unlink(missing_ok=True)
    config.write_text(
        f"[gammu]\ndevice = {port}\nconnection = at\nlogfile = {log}\nlogformat = textalldate\n"
    )
    try:
        done = subprocess.run(
            [program, "-c", str(config), *arguments],
            capture_output=True,
            check=False,
            text=True,
            timeout=seconds,
            env=_ENVIRONMENT,
        )
    except subprocess.TimeoutExpired:
        wire = log.read_text(errors="replace")[-3000:] if log.exists() else ""
        raise AssertionError(f"gammu {arguments}: no end in {seconds} s:\n{wire}") from None
    assert done.returncode == 0, f"gammu {arguments}: {done.stdout}{done.stderr}"
    return done.stdout


def facts(said: str) -> dict[str, str]:
    """`name : value` lines as a table."""
    pairs = (line.partition(":") for line in said.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


class Smsd:
    """A gammu-smsd that runs while the context is open, with the files or the SQL back end."""

    def __init__(self, port: str, folder: Path, *, pin: str, is_sql: bool = False) -> None:
        self.folder = folder
        self.is_sql = is_sql
        folder.mkdir(parents=True)
        self._config = folder / "smsdrc"
        service = self._sql() if is_sql else self._files()
        self._config.write_text(
            f"[gammu]\ndevice = {port}\nconnection = at\n"
            f"[smsd]\n{service}deliveryreport = sms\npin = {pin}\ncommtimeout = 1\n"
            f"sendtimeout = 30\nlogfile = {folder}/log\ndebuglevel = 0\nloopsleep = 1\n"
        )

    def __enter__(self) -> Self:
        command = [require_tool("gammu-smsd"), "-c", str(self._config)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_ENVIRONMENT
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=5)

    def inject(self, number: str, text: str) -> None:
        """Hand a text in, as a user of smsd does."""
        command = [require_tool("gammu-smsd-inject"), "-c", str(self._config)]
        subprocess.run(
            [*command, "TEXT", number, "-unicode", "-len", "300", "-text", text],
            check=True,
            capture_output=True,
            timeout=30,
            env=_ENVIRONMENT,
        )

    def log(self) -> str:
        """What it wrote of its doings."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def inbox(self) -> list[str]:
        """The texts that it received."""
        if self.is_sql:
            return [str(row[0]) for row in self._rows("SELECT TextDecoded FROM inbox")]
        files = sorted((self.folder / "inbox").iterdir())
        return [file.read_text(errors="replace") for file in files]

    def sent(self) -> list[str]:
        """How each segment that was sent stands."""
        if self.is_sql:
            return [str(row[0]) for row in self._rows("SELECT Status FROM sentitems")]
        return [file.name for file in (self.folder / "sent").iterdir()]

    def _files(self) -> str:
        lines = ["service = files"]
        for name in ("inbox", "outbox", "sent", "error"):
            (self.folder / name).mkdir()
            key = "sentsms" if name == "sent" else "errorsms" if name == "error" else name
            lines.append(f"{key}path = {self.folder}/{name}/")
        return "\n".join(lines) + "\n"

    def _sql(self) -> str:
        schema = require_file(_SCHEMA).read_text("utf-8")
        with closing(sqlite3.connect(self.folder / "smsd.db")) as database:
            database.executescript(schema)
            # smsd gives up for good when it meets somebody's lock: whoever looks takes none.
            database.execute("PRAGMA journal_mode = wal")
        return (
            "service = sql\ndriver = sqlite3\nhost = localhost\n"
            f"dbdir = {self.folder}/\ndatabase = smsd.db\n"
        )

    def _rows(self, statement: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.folder / "smsd.db", timeout=10)) as database:
            return database.execute(statement).fetchall()
