import os
import socket
from pathlib import Path

import pytest

from modemctl.clock import SystemClock
from modemctl.telemetry import ServiceManager


@pytest.mark.parametrize("is_abstract", [False, True])
def test_states_reach_the_manager_as_datagrams(tmp_path: Path, is_abstract: bool) -> None:
    name = f"@modemctl-test-{os.getpid()}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if is_abstract else name)
        manager.settimeout(5)
        service = ServiceManager(SystemClock(), {"NOTIFY_SOCKET": name})
        service.ready()
        service.watchdog()
        service.status("16 modems\nready")
        service.stopping()
        service.reloading()
        told = [manager.recv(256).decode() for _ in range(5)]
    assert told[:4] == ["READY=1", "WATCHDOG=1", "STATUS=16 modems ready", "STOPPING=1"]
    assert told[4].startswith("RELOADING=1\nMONOTONIC_USEC=")


def test_full_socket_does_not_block_the_daemon(tmp_path: Path) -> None:
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name)
        service = ServiceManager(SystemClock(), {"NOTIFY_SOCKET": name})
        for _ in range(5_000):
            service.watchdog()
        manager.settimeout(5)
        assert manager.recv(64) == b"WATCHDOG=1"


@pytest.mark.parametrize("name", ["", "/nowhere/notify", "relative"])
def test_without_a_manager_nothing_happens(name: str) -> None:
    ServiceManager(SystemClock(), {"NOTIFY_SOCKET": name}).ready()


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 20.0),
        ({"WATCHDOG_USEC": "60000000"}, 20.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_watchdog_is_fed_three_times_in_its_limit(
    environ: dict[str, str], interval: float | None
) -> None:
    assert ServiceManager(SystemClock(), environ).watchdog_interval == interval
