"""Kannel's bearerbox and smsbox, unmodified, on free loopback ports, with a web server behind."""

import socket
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import unquote_plus, unquote_to_bytes, urlencode
from urllib.request import urlopen

from tests.support.programs import run
from tests.support.simulated import wait_until
from tests.support.tools import require_tool

_CORE = """group = core
admin-port = {admin}
admin-interface = 127.0.0.1
admin-password = secret
smsbox-port = {boxes}
smsbox-interface = 127.0.0.1
box-allow-ip = "127.0.0.1"
log-file = "{folder}/bearerbox.log"
log-level = 0
dlr-storage = internal

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = {web}
sendsms-interface = 127.0.0.1
log-file = "{folder}/smsbox.log"
log-level = 0
global-sender = 10000

group = sendsms-user
username = tester
password = secret
max-messages = 5
concatenation = true

group = sms-service
keyword = default
catch-all = true
get-url = "http://127.0.0.1:{hook}/message?smsc=%i&from=%p&charset=%C&text=%b"
max-messages = 0
omit-empty = true

group = modems
id = plain
name = plain
detect-string = nothing
init-string = "AT+CNMI=1,2,0,1,0"

group = modems
id = acknowledging
name = acknowledging
detect-string = nothing
no-pin = true
init-string = "AT+CNMI=1,2,0,1,0"

group = modems
id = storing
name = storing
detect-string = nothing
init-string = "AT+CNMI=1,1,0,2,0"
"""
_SMSC = """
group = smsc
smsc = at
smsc-id = {name}
allowed-smsc-id = {name}
modemtype = {kind}
device = {device}
speed = 115200
pin = 1234
sms-center = "+8613800100500"
my-number = "+8613800000000"
sim-buffering = {is_storing}
log-file = "{folder}/{name}.log"
log-level = 0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Modem:
    """A modem as kannel is told of it: `plain`, `acknowledging` (phase 2+, no PIN) or `storing`."""

    name: str
    kind: str
    device: str


class Kannel:
    """Both boxes while the context is open."""

    def __init__(self, folder: Path, modems: Iterable[Modem]) -> None:
        self._folder = folder
        self._modems = list(modems)
        self._requests: list[str] = []
        self._open = ExitStack()

    def __enter__(self) -> Self:
        bearerbox, smsbox = require_tool("bearerbox"), require_tool("smsbox")
        self._folder.mkdir(parents=True)
        admin, boxes, self._web = _free_ports(3)
        with ExitStack() as starting:
            self._open = starting
            ports = {"admin": admin, "boxes": boxes, "web": self._web, "hook": self._listen()}
            parts = [_CORE.format(folder=self._folder, **ports)]
            for modem in self._modems:
                is_storing = "true" if modem.kind == "storing" else "false"
                values = {"name": modem.name, "kind": modem.kind, "device": modem.device}
                parts.append(_SMSC.format(folder=self._folder, is_storing=is_storing, **values))
            config = self._folder / "kannel.conf"
            config.write_text("".join(parts))
            run(starting, bearerbox, "-v", "4", str(config))
            wait_until(lambda: _is_open(boxes), what="bearerbox listens")
            run(starting, smsbox, "-v", "4", str(config))
            wait_until(lambda: _is_open(self._web), what="smsbox listens")
            self._open = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _listen(self) -> int:
        requests = self._requests

        class Hook(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                requests.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self._open.callback(server.server_close)
        self._open.callback(thread.join)
        self._open.callback(server.shutdown)
        self._hook = server.server_port
        return server.server_port

    def send(self, modem: str, *, number: str, text: str) -> None:
        """Hand an SMS to smsbox for a modem, with a report asked for."""
        query = {
            "username": "tester",
            "password": "secret",
            "smsc": modem,
            "to": number,
            "text": text,
            "charset": "UTF-8",
            "coding": "0" if text.isascii() else "2",
            "dlr-mask": "3",
            "dlr-url": f"http://127.0.0.1:{self._hook}/report?smsc=%i&type=%d",
        }
        address = f"http://127.0.0.1:{self._web}/cgi-bin/sendsms?{urlencode(query)}"
        with urlopen(address, timeout=30) as answer:
            assert answer.status == 202

    def told(self, path: str, modem: str) -> list[dict[str, str]]:
        """What the boxes told of a modem: `message` (from, text), `report` (type, 1 = arrived)."""
        found = [_fields(request.partition("?")[2]) for request in self._asked(path)]
        return [fields for fields in found if fields["smsc"] == modem]

    def _asked(self, path: str) -> list[str]:
        return [request for request in self._requests if request.startswith(f"/{path}?")]


def _fields(query: str) -> dict[str, str]:
    raw = dict(part.split("=", 1) for part in query.split("&"))
    fields = {name: unquote_plus(value) for name, value in raw.items()}
    if "text" in raw:
        octets = unquote_to_bytes(raw["text"].replace("+", " "))
        fields["text"] = octets.decode(fields["charset"])
    return fields


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
