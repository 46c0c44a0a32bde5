"""Third-party programs that run for a while, and a message bus for those that need one."""

import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from tests.support.simulated import wait_until
from tests.support.tools import require_tool

_BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
    <allow user="*"/>
  </policy>
</busconfig>
"""


def run(
    stack: ExitStack,
    *command: str,
    log: Path | None = None,
    environment: Mapping[str, str] | None = None,
    user: str | None = None,
) -> None:
    """Start a program that is told to end, and waited for, when the stack closes."""
    output: IO[bytes] | int = subprocess.DEVNULL
    if log is not None:
        output = stack.enter_context(log.open("wb"))
    program = stack.enter_context(
        subprocess.Popen(command, stdout=output, stderr=output, env=environment, user=user)
    )

    def stop() -> None:
        program.terminate()
        try:
            program.wait(timeout=30)
        except subprocess.TimeoutExpired:
            program.kill()
            raise

    stack.callback(stop)


def run_bus(stack: ExitStack, folder: Path) -> str:
    """Start a message bus in the folder; its address. Anybody may own and send anything."""
    socket, config = folder / "bus", folder / "bus.conf"
    config.write_text(_BUS.format(socket=socket))
    program = require_tool("dbus-daemon")
    command = (program, f"--config-file={config}", "--nofork", "--nopidfile")
    run(stack, *command, log=folder / "bus.log")
    wait_until(socket.exists, what="a message bus")
    return f"unix:path={socket}"
