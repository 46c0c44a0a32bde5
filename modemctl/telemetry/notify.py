"""What the service manager is told. Source: sd_notify(3)."""

import os
import socket
from collections.abc import Mapping

from modemctl.clock import Clock


class ServiceManager:
    """Talks to systemd if it started us, else does nothing. Never waits, never fails."""

    def __init__(self, clock: Clock, environ: Mapping[str, str] | None = None) -> None:
        env = os.environ if environ is None else environ
        self._clock = clock
        self._address = env.get("NOTIFY_SOCKET", "")
        pid = env.get("WATCHDOG_PID", str(os.getpid()))
        feed = env.get("WATCHDOG_USEC", "")
        is_ours = feed.isdecimal() and pid == str(os.getpid())
        self._watchdog_seconds = int(feed) / 1e6 if is_ours else None

    @property
    def watchdog_interval(self) -> float | None:
        """Seconds between two feeds (a third of the limit), None where nobody watches."""
        return None if self._watchdog_seconds is None else self._watchdog_seconds / 3

    def ready(self) -> None:
        """The daemon serves."""
        self._send("READY=1")

    def waiting(self, text: str, *, seconds: float) -> None:
        """The start takes longer, at least `seconds` from now: for `text`."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")
        self.status(text)

    def stopping(self) -> None:
        """The daemon ends on purpose."""
        self._send("STOPPING=1")

    def reloading(self) -> None:
        """The configuration is read again; `ready()` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(self._clock.monotonic() * 1e6)}")

    def watchdog(self) -> None:
        """The daemon still turns."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send("STATUS=" + text.replace("\n", " "))

    def _send(self, state: str) -> None:
        if self._address[:1] not in {"/", "@"}:
            return
        # a leading @ means the abstract name space, which the kernel marks by a NUL
        address = self._address if self._address[0] == "/" else "\0" + self._address[1:]
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        with socket.socket(socket.AF_UNIX, kind) as notify:
            try:
                notify.sendto(state.encode(), address)
            except OSError:
                return  # a manager that does not listen must not end the daemon
