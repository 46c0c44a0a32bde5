"""Tables on a terminal: what an operator copies is not broken in two."""

import asyncio
import os
import pty
import re
import sys

import pytest

SHOW = """
from modemctl.cli.show import show_table
show_table(
    [
        {"bay": "pci-0000:00:14.0-usb-0:1.3.2", "state": "quarantined", "family": "simcom-2g",
         "model": "SIMCOM_SIM7600E-H", "iccid": "89860029103995500006",
         "reason": "unregistered (policy: SIM-01)"},
        {"bay": "x", "state": "ready", "family": None, "model": None, "iccid": None, "reason": ""},
    ],
    ("bay", "state", "family", "model", "iccid", "reason"), as_json=False,
    spare=SPARE,
)
"""


@pytest.mark.parametrize(
    ("width", "spare", "whole", "absent"),
    [
        (200, ("family", "model"), ("simcom-2g", "SIMCOM_SIM7600E-H"), ()),
        (110, ("family", "model"), ("quarantined", "SIMCOM_SIM7600E-H"), ("simcom-2g",)),
        (90, ("family", "model"), ("quarantined",), ("simcom-2g", "SIMCOM_SIM7600E-H")),
        (80, ("family", "model"), (), ("simcom-2g", "SIMCOM_SIM7600E-H")),
        (90, (), (), ()),
    ],
)
async def test_a_narrow_terminal_leaves_columns_out_before_it_breaks_a_name(
    width, spare, whole, absent
):
    shown = await _on_a_terminal(SHOW.replace("SPARE", repr(spare)), width)
    assert max(len(line.rstrip()) for line in shown.splitlines()[:-1]) <= width
    for word in ("pci-0000:00:14.0-usb-0:1.3.2", *whole):
        assert word in shown
    for word in absent:
        assert word not in shown
    if spare:
        assert "89860029103995500006" in shown
        assert ("no room for" in shown) == bool(absent)


LOCKS = """
from modemctl.cli.show import show_table
show_table(
    [{"iccid": "89860029103995500006", "bay": "modem01", "state": "locked", "is_locked": True,
      "verified_at": "2026-11-22T12:03:14Z", "reason": None}],
    ("iccid", "bay", "state", "is_locked", "verified_at", "reason"), as_json=False,
    spare=("is_locked",),
)
"""


async def test_an_instant_stays_on_one_line_where_a_spare_column_makes_room():
    heading, row, note = (await _on_a_terminal(LOCKS, 80)).splitlines()
    assert "verified at" in heading
    assert re.search(r"2026-11-2\d \d\d:\d\d:14[+-]\d\d:\d\d", row)
    assert note.startswith("no room for: is locked;")


async def test_a_spare_column_that_the_table_has_not_is_no_matter():
    shown = await _on_a_terminal(LOCKS.replace('("is_locked",)', '("kid", "is_locked")'), 80)
    assert "no room for: is locked;" in shown


async def _on_a_terminal(script: str, width: int) -> str:
    master, slave = pty.openpty()
    async with asyncio.timeout(60):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, stdin=slave, stdout=slave, stderr=slave,
            env={**os.environ, "COLUMNS": str(width), "TERM": "xterm"},
        )  # fmt: skip
        os.close(slave)
        shown = await asyncio.to_thread(_read_all, master)
        assert await process.wait() == 0
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())


def _read_all(terminal: int) -> bytes:
    octets = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            piece = b""
        if not piece:
            os.close(terminal)
            return octets
        octets += piece
