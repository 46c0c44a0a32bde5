"""The line's own ceiling: a client that only speaks AT+CMGS, without store, approvals or recovery.

`python bench/raw_client.py BANK_FOLDER SECONDS TEXT` drives every modem of a simulated bank that
was started for it, one segment after the other, with no more code between two segments than writing
the next command. What it reaches, nobody can exceed; the benchmarks divide by it.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import os
import tty
from datetime import timedelta
from pathlib import Path
from typing import Final

from modemctl.sms import encode_submit, submits

_PATIENCE: Final = 30.0  # seconds that anything may take
_BOOT: Final = 20.0  # seconds in which a modem may not answer yet


class Line:
    """One modem's port, waited for by what the answer ends with."""

    def __init__(self, port: Path) -> None:
        self._fd = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self._fd)
        self._seen = bytearray()
        self._wanted: tuple[bytes, ...] = ()
        self._waiter: asyncio.Future[bytes] | None = None
        asyncio.get_running_loop().add_reader(self._fd, self._on_readable)

    def _on_readable(self) -> None:
        self._seen += os.read(self._fd, 65536)
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if any(one in self._seen for one in self._wanted):
            waiter.set_result(bytes(self._seen))

    async def ask(self, data: bytes, *wanted: bytes, seconds: float = _PATIENCE) -> bytes:
        """Write, then wait until one of `wanted` was read."""
        self._seen.clear()
        self._wanted = wanted
        self._waiter = asyncio.get_running_loop().create_future()
        os.write(self._fd, data)
        async with asyncio.timeout(seconds):
            return await self._waiter

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)


async def _set_up(line: Line, pin: str) -> None:
    deadline = asyncio.get_running_loop().time() + _BOOT
    while True:
        try:
            await line.ask(b"ATE0\r", b"OK\r\n", seconds=1.0)
            break
        except TimeoutError:
            if asyncio.get_running_loop().time() > deadline:
                raise
    if b"SIM PIN" in await line.ask(b"AT+CPIN?\r", b"OK\r\n", b"ERROR"):
        await line.ask(f'AT+CPIN="{pin}"\r'.encode(), b"OK\r\n")
    while b",1" not in await line.ask(b"AT+CREG?\r", b"OK\r\n", b"ERROR"):
        await asyncio.sleep(0.2)
    await line.ask(b"AT+CMGF=0\r", b"OK\r\n")


async def _send(line: Line, commands: tuple[bytes, bytes], until: float) -> int:
    loop = asyncio.get_running_loop()
    n_sent = 0
    announce, payload = commands
    while loop.time() < until:
        await line.ask(announce, b"> ")
        answer = await line.ask(payload, b"OK\r\n", b"ERROR")
        if b"+CMGS:" not in answer:
            raise RuntimeError(f"the modem refused: {answer!r}")
        n_sent += 1
    return n_sent


async def run(bank: Path, seconds: float, text: str) -> int:
    """Send for `seconds` on every modem at once; returns how many segments were taken."""
    by_name = await _open(bank, bank / "ports")
    commands = _commands(text)
    print("ready", flush=True)
    until = asyncio.get_running_loop().time() + seconds
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_send(line, commands, until)) for line in by_name.values()]
    for line in by_name.values():
        line.close()
    return sum(task.result() for task in tasks)


async def serve(bank: Path, ports: Path, address: Path, text: str) -> None:
    """Send one segment on the modem whose name comes in as a line, until terminated."""
    by_name = await _open(bank, ports)
    announce, payload = _commands(text)

    async def asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = by_name[(await reader.readline()).decode().strip()]
        await line.ask(announce, b"> ")
        await line.ask(payload, b"OK\r\n", b"ERROR")
        writer.write(b"sent\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(asked, address) as server:
        print("ready", flush=True)
        await server.serve_forever()


async def _open(bank: Path, ports: Path) -> dict[str, Line]:
    with (bank / "cards.csv").open(encoding="utf-8", newline="") as file:
        pins = {card["modem"]: card["pin"] for card in csv.DictReader(file)}
    by_name = {port.name: Line(port) for port in sorted(ports.iterdir())}
    async with asyncio.TaskGroup() as group:
        for name, line in by_name.items():
            group.create_task(_set_up(line, pins[name]))
    return by_name


def _commands(text: str) -> tuple[bytes, bytes]:
    validity = timedelta(hours=24)
    (piece,) = submits(text, "+8613900000001", reference=1, validity=validity, report=True)
    tpdu = encode_submit(piece)
    return f"AT+CMGS={len(tpdu)}\r".encode(), b"00" + tpdu.hex().upper().encode() + b"\x1a"


def main() -> None:
    """As the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("bank", type=Path)
    parser.add_argument("seconds", type=float, nargs="?", help="send for so long on every modem")
    parser.add_argument("text")
    parser.add_argument("--asked-at", type=Path, help="send when asked at this Unix socket instead")
    parser.add_argument("--ports", type=Path, help="the folder of the ports, if not the bank's")
    options = parser.parse_args()
    if options.asked_at is None:
        asyncio.run(run(options.bank, options.seconds, options.text))
        return
    ports = options.ports or options.bank / "ports"
    asyncio.run(serve(options.bank, ports, options.asked_at, options.text))


if __name__ == "__main__":
    main()
