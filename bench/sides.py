"""The peers beside modemctl: how each is started, configured and fed, on a simulated bank.

The settings are the fastest documented ones that are safe; why each is as it is stands beside it.
Every message has a number of its own, asks for a delivery report and is one UCS-2 segment.
"""

from __future__ import annotations

import csv
import http.client
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlencode

from banks import TEXT, number_of, wait_until
from counting import members
from meters import Taken

from modemctl.demo.world import open_bank

_BLOCK: Final = 9
_BOOT: Final = 3.0  # seconds in which the simulated models boot, before a peer meets them
_PATIENCE: Final = 30.0
_AHEAD: Final = 3.0  # seconds of work that wait for each modem


class Side(Protocol):
    """One program that sends, started on a bank of its own."""

    bank: Path
    sessions: list[int]
    started: float  # seconds since 1970: its processes were spawned
    asked: dict[str, str]  # number → text
    modems: Sequence[str]

    def top_up(self, taken: Sequence[Taken]) -> None:
        """See to it that there is work for some seconds more."""

    def ask_each(self, n_messages: int) -> None:
        """Ask for so many messages a modem, all at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A modem as a peer's configuration names it."""

    name: str
    device: Path
    pin: str


@dataclass(slots=True, kw_only=True)
class Fed:
    """A peer that is fed message by message, each for a modem; `put` takes (modem, number, text).

    `ahead`: messages that wait for each modem from the beginning.
    """

    bank: Path
    sessions: list[int]
    started: float
    modems: Sequence[str]
    ahead: int
    put: Callable[[str, str, str], None]
    asked: dict[str, str] = field(default_factory=dict)
    _n_asked: Counter[str] = field(default_factory=Counter)

    def top_up(self, taken: Sequence[Taken]) -> None:
        """Put as much as each modem takes in the next seconds, by what it took in the last ones."""
        since = time.time() - _AHEAD
        n_taken = Counter(one.modem for one in taken)
        lately = Counter(one.modem for one in taken if one.at > since)
        for modem in self.modems:
            wanted = max(self.ahead, lately[modem])
            for _ in range(wanted - (self._n_asked[modem] - n_taken[modem])):
                self._ask(modem)

    def ask_each(self, n_messages: int) -> None:
        """Put so many for each modem."""
        for _ in range(n_messages):
            for modem in self.modems:
                self._ask(modem)

    def _ask(self, modem: str) -> None:
        index = len(self.asked)
        number, text = number_of(_BLOCK, index), TEXT.format(n=index)
        self.put(modem, number, text)
        self.asked[number] = text
        self._n_asked[modem] += 1


@contextmanager
def _opened(n_modems: int, latency: float, personas: str) -> Iterator[tuple[Path, list[Port]]]:
    folder = Path(tempfile.mkdtemp(prefix="modemctl-peers-"))
    try:
        with open_bank(
            folder, n_modems=n_modems, latency=latency, seed=1, personas=personas
        ) as bank:
            time.sleep(_BOOT)
            with (bank / "cards.csv").open(encoding="utf-8", newline="") as cards:
                pins = {card["modem"]: card["pin"] for card in csv.DictReader(cards)}
            ports = [
                Port(name=port.name, device=port, pin=pins[port.name])
                for port in sorted((bank / "ports").iterdir())
            ]
            yield folder, ports
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(stack: ExitStack, log: Path, *command: str) -> int:
    """Start a program in a session of its own, which is ended with the stack; its session."""
    output = stack.enter_context(log.open("ab"))
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
    )
    stack.callback(_stop, process)
    return process.pid


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in members([process.pid]):  # what it left behind: all of it is ours
        os.kill(pid, signal.SIGKILL)


_BACKUP: Final = """[SMSBackup000]
PDU = Status_Report
DateTime = 20260101T000000Z
State = Sent
Number = "{number}"
NumberUnicode = {number_units}
Name = ""
NameUnicode =
Text00 = {text_units}
Coding = Unicode_No_Compression
Folder = 1
Length = {length}
Class = -1
ReplySMSC = False
RejectDuplicates = False
ReplaceMessage = 0
MessageReference = 0
"""


@contextmanager
def open_gammu(n_modems: int, latency: float, personas: str) -> Iterator[Side]:
    """One gammu-smsd for each phone, as it needs to be, with its files back end."""
    program = _program("gammu-smsd")
    with _opened(n_modems, latency, personas) as (folder, ports), ExitStack() as stack:
        configs = [_write_gammu(folder / port.name, port) for port in ports]
        started = time.time()
        sessions = [
            _start(stack, folder / "gammu.log", program, "-c", str(config)) for config in configs
        ]

        def put(modem: str, number: str, text: str) -> None:
            # Taken in the order of their names. A plain .txt has no way to say UCS-2 and arrives
            # as question marks; this is the form that gammu-smsd-inject writes.
            name = f"OUTA20260101_000000_{number[-8:]}_{number}_sms0.smsbackup"
            content = _BACKUP.format(
                number=number,
                number_units=number.encode("utf-16-be").hex().upper(),
                text_units=text.encode("utf-16-be").hex().upper(),
                length=len(text),
            )
            _put(folder / modem / "outbox" / name, content.encode())

        yield Fed(
            bank=folder / "bank",
            sessions=sessions,
            started=started,
            modems=[port.name for port in ports],
            ahead=4,
            put=put,
        )


def _write_gammu(folder: Path, port: Port) -> Path:
    for name in ("inbox", "outbox", "sent", "error"):
        (folder / name).mkdir(parents=True)
    config = folder / "smsdrc"
    config.write_text(
        f"[gammu]\ndevice = {port.device}\nconnection = at\n"
        f"[smsd]\nservice = files\npin = {port.pin}\ndeliveryreport = log\n"
        # No log at all, a second's sleep only where there is nothing to do, no questions for
        # battery, signal and network between messages ("for higher throughput", its manual says).
        "debuglevel = 0\nloopsleep = 1\ncommtimeout = 1\nstatusfrequency = 0\n"
        "checkbattery = 0\nchecksignal = 0\nchecknetwork = 0\nsmsc = +8613800100500\n"
        f"inboxpath = {folder}/inbox/\noutboxpath = {folder}/outbox/\n"
        f"sentsmspath = {folder}/sent/\nerrorsmspath = {folder}/error/\n"
    )
    return config


SMSTOOLS_MOST: Final = 64
"""Devices that one smsd takes (`devices` in its manual)."""


@contextmanager
def open_smstools(n_modems: int, latency: float, personas: str) -> Iterator[Side]:
    """One smsd, which forks a process for each of its devices."""
    program = _program("smsd")
    with _opened(n_modems, latency, personas) as (folder, ports), ExitStack() as stack:
        queues = _smstools_queues(ports)
        config = _write_smstools(folder, ports, queues)
        started = time.time()
        session = _start(stack, folder / "smsd.out", program, f"-c{config}", "-t")

        def put(modem: str, number: str, text: str) -> None:
            # Straight into a modem's queue, whole at once: so the file needs no second look
            # (trust_spool) and no main process that moves it.
            head = f"To: {number.removeprefix('+')}\nAlphabet: UCS2\n\n".encode()
            _put(
                folder / "queues" / queues[modem] / f"m{number[-8:]}",
                head + text.encode("utf-16-be"),
            )

        yield Fed(
            bank=folder / "bank",
            sessions=[session],
            started=started,
            modems=[port.name for port in ports],
            ahead=4 if latency >= 0.5 else 16,
            put=put,
        )


def _smstools_queues(ports: Sequence[Port]) -> dict[str, str]:
    """Each modem's queue: one of its own; with all 64 devices two share one.

    With 64 queues smsd 3.1.21 ends at once: "Queue  directory definition is missing".
    """
    n = len(ports) if len(ports) < SMSTOOLS_MOST else len(ports) // 2
    return {port.name: f"queue{at % n:02}" for at, port in enumerate(ports)}


def _write_smstools(folder: Path, ports: Sequence[Port], queues: Mapping[str, str]) -> Path:
    folders = ("outgoing", "incoming", "checked", "sent", "failed", "report")
    names = sorted(set(queues.values()))
    for name in (*folders, *(f"queues/{queue}" for queue in names)):
        (folder / name).mkdir(parents=True)
    directories = "".join(f"{name} = {folder}/queues/{name}\n" for name in names)
    sections = "".join(
        f"[{port.name}]\ndevice = {port.device}\nqueues = {queues[port.name]}\npin = {port.pin}\n"
        for port in ports
    )
    config = folder / "smsd.conf"
    config.write_text(
        f"devices = {','.join(port.name for port in ports)}\nloglevel = 3\n"
        f"logfile = {folder}/log\npidfile = {folder}/pid\ninfofile = {folder}/info\n"
        + "".join(f"{name} = {folder}/{name}\n" for name in folders)
        # Files as they lie in the folder, no pauses but where there is nothing to do or an error;
        # a modem is never blocked for an hour after three errors.
        + "spool_directory_order = yes\ndelaytime = 1\nerrorsleeptime = 1\n"
        "blockafter = 1000\nautosplit = 0\nreceive_before_send = no\nstore_sent_pdu = 0\n"
        # A pty has no lines for a handshake; the network is asked for at the modem's start alone.
        "[default]\nincoming = yes\nreport = yes\ninit2 = AT+CNMI=1,1,0,2,0\nmemory_start = 1\n"
        "trust_spool = yes\nrtscts = no\ncheck_network = 0\npinsleeptime = 3\n"
        f"[queues]\n{directories}{sections}"
    )
    return config


_KANNEL: Final = """group = core
admin-port = {admin}
admin-interface = 127.0.0.1
admin-password = secret
smsbox-port = {boxes}
smsbox-interface = 127.0.0.1
box-allow-ip = "127.0.0.1"
log-file = "{folder}/bearerbox.log"
log-level = 2
dlr-storage = internal
store-type = spool
store-location = "{folder}/store"

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = {web}
sendsms-interface = 127.0.0.1
log-file = "{folder}/smsbox.log"
log-level = 2
global-sender = 10000

group = sendsms-user
username = bench
password = secret

group = sms-service
keyword = default
catch-all = true
text = ""
max-messages = 0

group = modems
id = bench
name = bench
detect-string = nothing
enable-mms = true
init-string = "AT+CNMI=1,2,0,1,0"
"""
# store-type: what was accepted is on disk, otherwise a kill loses all of it. enable-mms: the link
# stays open between messages (AT+CMMS). throughput is not set: no limit.
_KANNEL_MODEM: Final = """
group = smsc
smsc = at
smsc-id = {name}
allowed-smsc-id = {name}
modemtype = bench
device = {device}
speed = 115200
pin = {pin}
sms-center = "+8613800100500"
my-number = "+8613800000000"
"""


@contextmanager
def open_kannel(n_modems: int, latency: float, personas: str) -> Iterator[Side]:
    """bearerbox and smsbox with one smsc group for each modem, fed over HTTP."""
    bearerbox, smsbox = _program("bearerbox"), _program("smsbox")
    with _opened(n_modems, latency, personas) as (folder, ports), ExitStack() as stack:
        (folder / "store").mkdir()
        admin, boxes, web = _free_ports(3)
        values = {"admin": admin, "boxes": boxes, "web": web, "folder": folder}
        parts = [_KANNEL.format(**values)] + [
            _KANNEL_MODEM.format(name=port.name, device=port.device, pin=port.pin) for port in ports
        ]
        config = folder / "kannel.conf"
        config.write_text("".join(parts))
        hook = _listen(stack)
        log, started = folder / "kannel.out", time.time()
        sessions = [_start(stack, log, bearerbox, "-v", "4", str(config))]
        wait_until(lambda: _is_open(boxes), what="bearerbox listens", seconds=_PATIENCE)
        sessions.append(_start(stack, log, smsbox, "-v", "4", str(config)))
        wait_until(lambda: _is_open(web), what="smsbox listens", seconds=_PATIENCE)

        def put(modem: str, number: str, text: str) -> None:
            _send_http(web, hook, modem, number, text)

        yield Fed(
            bank=folder / "bank",
            sessions=sessions,
            started=started,
            modems=[port.name for port in ports],
            ahead=4,
            put=put,
        )


def _send_http(web: int, hook: int, modem: str, number: str, text: str) -> None:
    query = {
        "username": "bench", "password": "secret", "smsc": modem, "to": number, "text": text,
        "charset": "UTF-8", "coding": "2", "dlr-mask": "3",
        "dlr-url": f"http://127.0.0.1:{hook}/report?type=%d",
    }  # fmt: skip
    link = http.client.HTTPConnection("127.0.0.1", web, timeout=_PATIENCE)
    link.request("GET", f"/cgi-bin/sendsms?{urlencode(query)}")
    answer = link.getresponse()
    answer.read()
    link.close()
    if answer.status != 202:
        raise RuntimeError(f"Kannel refused a message: {answer.status}")


def _listen(stack: ExitStack) -> int:
    """A web server that takes Kannel's delivery reports; its port."""

    class Hook(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    stack.callback(server.server_close)
    stack.callback(thread.join)
    stack.callback(server.shutdown)
    return server.server_port


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _put(path: Path, content: bytes) -> None:
    """Write a file that is whole from the moment in which it has its name."""
    written = path.parent.parent / f".{path.name}"
    written.write_bytes(content)
    written.rename(path)


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise FileNotFoundError(name)
    return found


PEERS: Final = {
    "gammu-smsd": (("gammu-smsd",), "gammu-smsd", open_gammu),
    "smstools3": (("smsd",), "smstools", open_smstools),
    "kannel": (("bearerbox", "smsbox"), "kannel", open_kannel),
}
"""Peer → its programs, the Debian package that brings them, how to start it."""


def package_missing(peer: str) -> str | None:
    """The Debian package that a peer lacks here, if any."""
    programs, package, _ = PEERS[peer]
    try:
        for name in programs:
            _program(name)
    except FileNotFoundError:
        return package
    return None
