"""The byte I/O on real ptys, TCP and Unix sockets."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import pty
import resource
import subprocess
import sys
import termios
import threading
import tty
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import serial

from drivers import port as port_module
from drivers.errors import LinkError, PortBusy, PortDenied, PortGone
from drivers.port import BankSerial, Port, find_holder, open_port, stuck_operations


class Inbox:
    """A receiver that keeps what came."""

    def __init__(self) -> None:
        self.data = b""
        self.ends: list[LinkError | None] = []
        self._changed = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.data += data
        self._changed.set()

    def connection_lost(self, error: LinkError | None) -> None:
        self.ends.append(error)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


def descriptors() -> list[int]:
    return [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]


class Pty:
    """A pty pair; the slave stays open, as a device does."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        self.path = os.ttyname(self.slave)

    def unplug(self) -> None:
        if self.master >= 0:
            os.close(self.master)
            os.close(self.slave)
            self.master = -1


@pytest.fixture
def device() -> AsyncIterator[Pty]:
    made = Pty()
    yield made
    made.unplug()


@asynccontextmanager
async def opened(address: str) -> AsyncIterator[tuple[Port, Inbox]]:
    inbox = Inbox()
    port = await open_port(address, inbox)
    try:
        yield port, inbox
    finally:
        assert await port.close()


@asynccontextmanager
async def echo_server(kind: str, folder: Path) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """Yield an address, and what hangs its connections up."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    if kind == "tcp":
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        address = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    else:
        server = await asyncio.start_unix_server(serve, str(folder / "s"))
        address = f"unix:{folder / 's'}"

    def hang_up() -> None:
        for writer in writers:
            writer.close()

    try:
        yield address, hang_up
    finally:
        server.close()
        await server.wait_closed()


async def test_bytes_pass_both_ways_on_a_pty(device: Pty) -> None:
    async with opened(device.path) as (port, inbox):
        port.write(b"AT\r")
        assert await asyncio.to_thread(os.read, device.master, 100) == b"AT\r"
        os.write(device.master, b"\r\nOK\r\n\x11\x13\xff\x00")
        await inbox.until(lambda: inbox.data == b"\r\nOK\r\n\x11\x13\xff\x00")
    assert inbox.ends == [None]


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_bytes_pass_both_ways_on_a_socket(kind: str, tmp_path: Path) -> None:
    async with echo_server(kind, tmp_path) as (address, _), opened(address) as (port, inbox):
        port.write(b"AT\r")
        await inbox.until(lambda: inbox.data == b"AT\r")


async def test_host_name_is_resolved_off_the_default_executor(tmp_path: Path) -> None:
    async with echo_server("tcp", tmp_path) as (address, _):
        named = address.replace("127.0.0.1", "localhost")
        async with opened(named) as (port, inbox):
            port.write(b"x")
            await inbox.until(lambda: inbox.data == b"x")
        assert asyncio.get_running_loop()._default_executor is None


async def test_unplugged_device_is_gone_at_once(device: Pty) -> None:
    async with opened(device.path) as (port, inbox):
        device.unplug()
        await inbox.until(lambda: bool(inbox.ends))
        assert isinstance(inbox.ends[0], PortGone)
        port.write(b"AT\r")  # into the void, without an error
    assert len(inbox.ends) == 1


@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_peer_that_hangs_up_is_gone(kind: str, tmp_path: Path) -> None:
    async with echo_server(kind, tmp_path) as (address, hang_up), opened(address) as (port, inbox):
        port.write(b"x")
        await inbox.until(lambda: inbox.data == b"x")
        hang_up()
        await inbox.until(lambda: bool(inbox.ends))
        assert isinstance(inbox.ends[0], PortGone)


async def test_port_held_by_another_program_names_it(device: Pty) -> None:
    script = "import fcntl,sys; f=open(sys.argv[1],'rb+',0); fcntl.flock(f,2); print(); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script, device.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        await asyncio.to_thread(holder.stdout.readline)
        # This process has the slave open too, but without the lock.
        with pytest.raises(PortBusy) as busy:
            await open_port(device.path, Inbox())
        assert busy.value.holder is not None
        assert busy.value.holder.split()[0] == str(holder.pid)
        assert "python" in busy.value.holder
        assert busy.value.holder in str(busy.value)
        holder.communicate(b"\n")
    async with opened(device.path):
        pass


async def test_holder_of_another_user_is_named_by_its_lock(device: Pty) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can play another user")
    script = "import fcntl,sys; f=open(sys.argv[1],'rb+',0); fcntl.flock(f,2); print(); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script, device.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        await asyncio.to_thread(holder.stdout.readline)
        os.close(device.slave)  # ours is visible to everybody who is we
        device.slave = os.open("/dev/null", os.O_RDONLY)
        os.seteuid(65534)
        try:
            with pytest.raises(PermissionError):
                list(Path(f"/proc/{holder.pid}/fd").iterdir())
            assert (find_holder(device.path) or "").split()[0] == str(holder.pid)
        finally:
            os.seteuid(0)
        holder.communicate(b"\n")


async def test_port_opened_twice_by_ourselves_is_busy(device: Pty) -> None:
    async with opened(device.path):
        with pytest.raises(PortBusy):
            await open_port(device.path, Inbox())


def test_holder_of_a_missing_path_is_nobody() -> None:
    assert find_holder("/dev/no-such-tty") is None


def test_holder_of_a_plain_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("w"):
        assert (find_holder(str(path)) or "").split()[0] == str(os.getpid())
    assert find_holder(str(path)) is None


async def test_refused_access_names_the_cure(device: Pty) -> None:
    uid = os.geteuid()
    Path(device.path).chmod(0)
    if uid == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(PortDenied, match=r"dialout.*DeviceAllow"):
            await open_port(device.path, Inbox())
    finally:
        os.seteuid(uid)


@pytest.mark.parametrize(
    "address", ["/dev/no-such-tty", "unix:/no/such/socket", "tcp://127.0.0.1:1", "tcp://nowhere"]
)
async def test_nothing_there_is_gone(address: str) -> None:
    with pytest.raises(PortGone) as gone:
        await open_port(address, Inbox())
    assert gone.value.port == address


async def test_file_that_is_no_tty_is_gone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PortGone):
        await open_port(str(tmp_path / "file"), Inbox())


async def test_unsent_bytes_do_not_hold_up_the_close(device: Pty) -> None:
    port = await open_port(device.path, Inbox())
    port.write(b"x" * 1_000_000)  # nobody reads
    started = asyncio.get_running_loop().time()
    assert await port.close()
    assert asyncio.get_running_loop().time() - started < 5


async def test_close_twice_is_once(device: Pty) -> None:
    inbox = Inbox()
    port = await open_port(device.path, inbox)
    assert await port.close()
    assert await port.close()
    assert inbox.ends == [None]


async def test_device_is_opened_without_hang_up_on_close(device: Pty) -> None:
    async with opened(device.path):
        assert not termios.tcgetattr(device.slave)[2] & termios.HUPCL


async def test_one_port_takes_one_descriptor(device: Pty) -> None:
    before = len(descriptors())
    async with opened(device.path):
        assert len(descriptors()) == before + 1
    assert len(descriptors()) == before


async def test_three_hundred_ports_work_at_once() -> None:
    """Beyond descriptor 1023, where `select()` ends (measured: pyserial alone fails at 204)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    fillers = [os.open("/dev/null", os.O_RDONLY) for _ in range(400)]
    devices = [Pty() for _ in range(300)]
    inboxes = [Inbox() for _ in devices]
    ports: list[Port] = []
    try:
        for device, inbox in zip(devices, inboxes, strict=True):
            ports.append(await open_port(device.path, inbox))
        assert max(descriptors()) > 1023
        for number, device in enumerate(devices):
            os.write(device.master, b"%d" % number)
        for number, inbox in enumerate(inboxes):
            await inbox.until(lambda inbox=inbox, number=number: inbox.data == b"%d" % number)
        for number, port in enumerate(ports):
            port.write(b"%d" % number)
        for number, device in enumerate(devices):
            got = await asyncio.to_thread(os.read, device.master, 100)
            assert got == b"%d" % number
    finally:
        for port in ports:
            assert await port.close()
        for device in devices:
            device.unplug()
        for filler in fillers:
            os.close(filler)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# ---------------------------------------------------------------- a kernel that does not answer


async def test_close_that_the_kernel_holds_up_is_given_up(
    device: Pty, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    let_go, release = threading.Event(), port_module._release

    def slow_release(fd: int) -> None:
        let_go.wait(30)  # as `option` blocks close() of a device that stopped answering
        release(fd)

    monkeypatch.setattr(port_module, "_release", slow_release)
    port = await open_port(device.path, Inbox())
    assert not await port.close(timeout=0.05)
    assert stuck_operations() == 1
    assert "port.close_stuck" in caplog.text
    let_go.set()
    assert await port.close(timeout=60)
    assert stuck_operations() == 0


async def test_open_that_the_kernel_holds_up_is_given_up_and_closed_when_it_comes(
    device: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go, os_open = threading.Event(), os.open

    def slow_open(path: str, flags: int, *more: int) -> int:
        if path == device.path:
            let_go.wait(30)
        return os_open(path, flags, *more)

    before = len(descriptors())
    monkeypatch.setattr(os, "open", slow_open)
    with pytest.raises(PortGone, match="in time"):
        await open_port(device.path, Inbox(), timeout=0.05)
    assert stuck_operations() == 1
    let_go.set()
    async with asyncio.timeout(60):
        while stuck_operations() or len(descriptors()) > before:
            await asyncio.sleep(0)
    async with opened(device.path):
        pass


# ---------------------------------------------------------------- the device itself

TIOCGEXCL = 0x80045440


def is_exclusive(device: Pty) -> bool:
    answer = fcntl.ioctl(device.slave, TIOCGEXCL, b"\0\0\0\0")
    return int.from_bytes(answer, sys.byteorder) == 1


async def test_real_device_is_marked_exclusive_while_open(
    device: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(port_module, "_is_pty", lambda fd: False)
    async with opened(device.path):
        assert is_exclusive(device)
    assert not is_exclusive(device)


async def test_pty_is_not_marked_because_its_master_would_keep_the_mark(device: Pty) -> None:
    async with opened(device.path):
        assert not is_exclusive(device)


async def test_device_that_fails_while_it_is_set_up_is_let_go(
    device: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int) -> None:
        raise termios.error(5, "Input/output error")  # unplugged in this instant

    before = descriptors()
    monkeypatch.setattr(port_module, "_set_up", fail)
    with pytest.raises(PortGone, match="Input/output"):
        await open_port(device.path, Inbox())
    assert descriptors() == before


async def test_failing_descriptor_is_told_by_the_reader_alone(device: Pty) -> None:
    serial_port = BankSerial(device.path, baudrate=115_200, loop=asyncio.get_running_loop())
    assert serial_port.read(10) == b""  # nothing there yet
    null = os.open("/dev/null", os.O_WRONLY)
    os.dup2(null, serial_port.fileno())
    with pytest.raises(serial.SerialException):
        serial_port.read(10)
    os.close(null)
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, serial_port.fileno())
    os.close(null)
    assert serial_port.write(b"AT\r") == 3
    serial_port.flush()
    serial_port.close()
    serial_port.close()
    await serial_port.released.wait()


async def test_full_output_takes_nothing_more(device: Pty) -> None:
    serial_port = BankSerial(device.path, baudrate=115_200, loop=asyncio.get_running_loop())
    async with asyncio.timeout(60):
        # The kernel may make room once more while it hands octets to the other end.
        while serial_port.write(b"x" * 4096) or serial_port.write(b"x"):
            await asyncio.sleep(0)
    serial_port.close()
    await serial_port.released.wait()


async def test_bytes_leave_in_the_turn_in_which_they_are_written(device: Pty) -> None:
    os.set_blocking(device.master, False)
    async with opened(device.path) as (port, _):
        port.write(b"AT\r")
        assert os.read(device.master, 100) == b"AT\r"  # no turn of the loop between


async def test_what_the_kernel_does_not_take_at_once_follows_in_order(device: Pty) -> None:
    os.set_blocking(device.master, False)
    sent = b"".join(b"%06d" % n for n in range(20_000))
    found = b""
    async with opened(device.path) as (port, _), asyncio.timeout(30):
        for at in range(0, len(sent), 60):
            port.write(sent[at : at + 60])
            if at % 6_000 == 0:  # room for a later write, while earlier bytes still wait
                with contextlib.suppress(BlockingIOError):
                    found += os.read(device.master, 1_000)
        while len(found) < len(sent):
            try:
                found += os.read(device.master, 65_536)
            except BlockingIOError:
                await asyncio.sleep(0)
    assert found == sent


async def test_address_without_any_peer_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(port_module.socket, "getaddrinfo", lambda *args, **more: [])
    with pytest.raises(PortGone, match="no address"):
        await open_port("tcp://nobody:1", Inbox())


async def test_unreachable_device_error_keeps_its_reason(
    device: Pty, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str, flags: int, *more: int) -> int:
        raise OSError(errno.ETIMEDOUT, "Connection timed out")  # a dead `option` port

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(PortGone, match="timed out"):
        await open_port(device.path, Inbox())


async def test_thread_that_comes_back_after_the_loop_ended_harms_nobody() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    port_module._call_in(loop, lambda: None)
