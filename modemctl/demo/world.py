"""The demo's world: a simulated bank and the real daemon, as processes of their own."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from modemctl.cli.client import Client, Connection, Json, Record
from modemctl.cli.errors import ApiProblem, NoDaemon
from modemctl.errors import ModemctlError
from modemctl.vault import create_key

ADMINISTRATORS: Final = ("admin", "second-admin")
"""One asks for what takes two, the other one confirms."""

_PATIENCE: Final = 60.0  # seconds for a process to come up or go down


class DemoError(ModemctlError):
    """The demo could not be played; says where to look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A running bank and daemon in one folder."""

    folder: Path
    connection: Connection
    bank: Path
    daemon_pid: int
    simulator_pid: int

    @property
    def database(self) -> Path:
        """The daemon's SQLite file."""
        return self.folder / "state" / "modemctl.db"

    def ledger(self) -> list[Record]:
        """Everything that the simulated network saw, in order."""
        with (self.bank / "ledger.jsonl").open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines if line.endswith("\n")]

    def control(self, **request: Json) -> Record:
        """Ask the simulator something (a JSON line on its control socket).

        Raises:
            DemoError: it refused.
        """
        return ask_bank(self.bank, **request)

    @contextmanager
    def client(self, key: str | None = None) -> Iterator[Client]:
        """The API, as the owner of `key` (a file's name in the folder) or as this user."""
        key_file = None if key is None else self.folder / "keys" / key
        connection = Connection(
            config_path=self.connection.config_path,
            socket_path=self.connection.socket_path,
            key_file=key_file,
        )
        with connection.client() as client:
            yield client


@contextmanager
def open_world(
    *,
    n_modems: int,
    latency: float,
    seed: int,
    keep: Path | None,
    settings: Mapping[str, str],
    personas: str = "mixed",
) -> Iterator[World]:
    """Start everything in a folder of its own, stop it at the end.

    Args:
        n_modems: size of the bank.
        latency: seconds that the simulated network takes for one segment.
        seed: the same seed gives the same bank.
        keep: a folder to use and leave behind; otherwise a temporary one.
        settings: further settings, `section.key` → TOML value.
        personas: the models, as `modemctl simulate --persona` takes them.
    """
    folder = keep if keep is not None else Path(tempfile.mkdtemp(prefix="modemctl-demo-"))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    processes: list[subprocess.Popen[str]] = []
    try:
        bank = folder / "bank"
        simulator = _start_bank(
            folder, bank, n_modems=n_modems, latency=latency, seed=seed, personas=personas
        )
        processes.append(simulator)
        config = _write_config(folder, bank, settings)
        _modemctl(config, "db", "upgrade")
        for name in ADMINISTRATORS:
            _modemctl(config, "key", "bootstrap", "--name", name,
                      "--out", str(folder / "keys" / name))  # fmt: skip
        daemon = _start_daemon(folder, config)
        processes.append(daemon)
        connection = Connection(config_path=config, socket_path=folder / "api.sock", key_file=None)
        world = World(
            folder=folder, connection=connection, bank=bank, daemon_pid=daemon.pid,
            simulator_pid=simulator.pid,
        )  # fmt: skip
        _wait_for_api(world, daemon)
        yield world
    finally:
        for process in reversed(processes):
            _stop(process)
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def open_bank(
    folder: Path, *, n_modems: int, latency: float, seed: int, personas: str = "mixed"
) -> Iterator[Path]:
    """A simulated bank alone, for whoever drives it otherwise; yields the bank's folder.

    Raises:
        DemoError: it did not start.
    """
    process = _start_bank(
        folder, folder / "bank", n_modems=n_modems, latency=latency, seed=seed, personas=personas
    )
    try:
        yield folder / "bank"
    finally:
        _stop(process)


def ask_bank(bank: Path, **request: Json) -> Record:
    """Ask the simulator that serves from this folder something.

    Raises:
        DemoError: it refused.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(_PATIENCE)
        link.connect(str(bank / "control.sock"))
        link.sendall(json.dumps({"id": 1, **request}).encode() + b"\n")
        answer = json.loads(link.makefile(encoding="utf-8").readline())
    if not answer.get("ok"):
        raise DemoError(f"the simulator refused {request.get('do')}: {answer}")
    return dict(answer)


def _start_bank(
    folder: Path, bank: Path, *, n_modems: int, latency: float, seed: int, personas: str
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "simulator", "--modems", str(n_modems), "--dir", str(bank),
               "--latency", str(latency), "--seed", str(seed), "--pin", "random",
               "--persona", personas]  # fmt: skip
    process = _spawn(command, folder / "simulator.log", stdout=subprocess.PIPE)
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], _PATIENCE)
    line = process.stdout.readline() if readable else ""
    if not line.startswith("ready"):
        _stop(process)
        raise DemoError(f"the simulator did not start; see {folder / 'simulator.log'}")
    return process


def _write_config(folder: Path, bank: Path, settings: Mapping[str, str]) -> Path:
    (folder / "keys").mkdir(mode=0o700, exist_ok=True)
    for name in ("master.key", "audit.key"):
        if not (folder / "keys" / name).exists():
            create_key(folder / "keys" / name)
    values = {
        "site.id": '"demo"',
        "site.signature": '"【示例公司】"',
        "paths.state_dir": json.dumps(str(folder / "state")),
        "paths.master_key_file": json.dumps(str(folder / "keys" / "master.key")),
        "paths.audit_key_file": json.dumps(str(folder / "keys" / "audit.key")),
        "api.unix_socket": json.dumps(str(folder / "api.sock")),
        "api.tcp_port": "0",
        "bank.ports": json.dumps([str(bank / "ports" / "*")]),
        # Quiet hours off: the demo must pass at any hour.
        "hours.quiet_from": "00:00:00",
        "hours.quiet_until": "00:00:00",
        **settings,
    }
    sections: dict[str, list[str]] = {}
    for name, value in values.items():
        section, _, key = name.rpartition(".")
        sections.setdefault(section, []).append(f"{key} = {value}")
    text = "\n".join(f"[{name}]\n" + "\n".join(lines) + "\n" for name, lines in sections.items())
    config = folder / "modemctl.toml"
    config.write_text(text, encoding="utf-8")
    return config


def _modemctl(config: Path, *arguments: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own interpreter
        _command(config, *arguments), capture_output=True, text=True, check=False,
        timeout=_PATIENCE, env=_environment(),
    )  # fmt: skip
    if done.returncode != 0:
        raise DemoError(f"modemctl {' '.join(arguments[:2])} failed:\n{done.stderr or done.stdout}")


def _start_daemon(folder: Path, config: Path) -> subprocess.Popen[str]:
    return _spawn(_command(config, "run"), folder / "daemon.log", stdout=subprocess.DEVNULL)


def _command(config: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "modemctl", "--config", str(config), *arguments]


def _spawn(command: list[str], log: Path, *, stdout: int) -> subprocess.Popen[str]:
    with _append(log) as stderr:
        return subprocess.Popen(  # noqa: S603 - our own interpreter
            command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, text=True,
            env=_environment(), start_new_session=True,
        )  # fmt: skip


def _append(path: Path) -> TextIO:
    return path.open("a", encoding="utf-8")


def _environment() -> dict[str, str]:
    """Ours without settings that the caller may have made for another daemon."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MODEMCTL_")}


def _wait_for_api(world: World, daemon: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if daemon.poll() is not None:
            break
        try:
            with world.client() as client:
                client.get("/healthz")
        except (NoDaemon, ApiProblem):
            select.select([], [], [], 0.05)
        else:
            return
    log = world.folder / "daemon.log"
    tail = "".join(log.read_text(encoding="utf-8").splitlines(keepends=True)[-10:])
    raise DemoError(f"the daemon did not start (exit {daemon.poll()}):\n{tail}")


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()
