"""Exceptions of the drivers: what a caller cannot go on with (expected outcomes are values)."""

from __future__ import annotations

from drivers.interface import Cause


class DriverError(Exception):
    """Root of everything that `drivers` raises."""


class LinkError(DriverError):
    """The byte link is unusable; reopening with back-off may help."""

    def __init__(self, port: str, reason: str) -> None:
        super().__init__(f"{port}: {reason}")
        self.port = port
        self.reason = reason


class PortGone(LinkError):
    """The device node or the peer vanished (unplugged, hung up, connection closed)."""


class PortBusy(LinkError):
    """Another program holds the port; `holder` names it where the kernel tells (`pid name`)."""

    def __init__(self, port: str, reason: str, *, holder: str | None = None) -> None:
        super().__init__(port, reason if holder is None else f"{reason} (held by {holder})")
        self.holder = holder


class PortDenied(LinkError):
    """The operating system refuses access to the port."""


class CommandTimeout(DriverError):
    """No final result before the deadline; the link is out of step from here on."""

    def __init__(self, command: str, phase: str) -> None:
        super().__init__(f"no answer to {command} ({phase})")
        self.command = command
        self.phase = phase


class OutOfStep(DriverError):
    """A command was asked of a link that must be realigned first, or realignment failed."""


class ProtocolError(DriverError):
    """The modem said something that its standard does not allow; the raw line is kept."""

    def __init__(self, reason: str, raw: str) -> None:
        super().__init__(f"{reason}: {raw[:80]!r}")
        self.reason = reason
        self.raw = raw


class CommandError(DriverError):
    """A final error result: `ERROR`, `+CME ERROR: n` or `+CMS ERROR: n`.

    `cause` is its row in the code table, where the driver looked it up.
    """

    def __init__(
        self,
        command: str,
        *,
        cme: int | None = None,
        cms: int | None = None,
        cause: Cause | None = None,
    ) -> None:
        code = f"+CME ERROR: {cme}" if cme is not None else f"+CMS ERROR: {cms}"
        super().__init__(f"{command}: {'ERROR' if cme is None and cms is None else code}")
        self.command = command
        self.cme = cme
        self.cms = cms
        self.cause = cause

    @property
    def may_be_unknown(self) -> bool:
        """Whether it tells no reason, or that the modem does not know the command."""
        return self.cme in {None, 4, 100} and self.cms in {None, 303}
