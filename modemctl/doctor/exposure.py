"""What of the daemon the network sees (CC-02, CC-05), and the unit that starts it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from modemctl.doctor.facts import Facts
from modemctl.doctor.findings import Finding, fail, ok, some, warn
from modemctl.doctor.subject import Subject
from modemctl.doctor.unit import Unit

_LISTENS: Final = "0A"  # state of a socket in /proc/net/tcp
_LOCAL_WORDS: Final = frozenset({"localhost", "127.0.0.0/8", "127.0.0.1", "::1", "::1/128"})
_STOP_MIN: Final = 200  # seconds that a planned stop may wait for submits


def check_exposure(subject: Subject) -> Iterator[Finding]:
    """The API listens on this machine only; no packet of the daemon leaves it."""
    api = subject.settings.api
    if api.tcp_port == 0:
        yield ok("network", f"no TCP; {api.unix_socket} only")
    else:
        foreign = [
            str(address)
            for address, port in listeners(subject.facts)
            if port == api.tcp_port and not address.is_loopback
        ]
        if foreign:
            cure = "find who: ss -ltnp; the API itself takes loopback addresses only (CC-02)"
            yield fail("network", f"port {api.tcp_port} is open on {some(foreign)}", cure)
        else:
            yield ok("network", f"{api.tcp_host}, port {api.tcp_port}: this machine only")
    if subject.unit is not None:
        yield _judge_packets(subject.unit)


def listeners(
    facts: Facts,
) -> Sequence[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]]:
    """Address and port of every TCP socket that listens."""
    found = []
    for file in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in facts.lines(file)[1:]:
            words = line.split()
            if len(words) > 3 and words[3] == _LISTENS:
                address, _, port = words[1].partition(":")
                try:
                    found.append((_address(address), int(port, 16)))
                except ValueError:  # a line that this kernel writes otherwise
                    continue
    return found


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address of /proc/net/tcp: 32-bit words, each with its octets turned round."""
    octets = bytes.fromhex(text)
    turned = b"".join(octets[at : at + 4][::-1] for at in range(0, len(octets), 4))
    address = ipaddress.ip_address(turned)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _judge_packets(unit: Unit) -> Finding:
    denied, allowed = unit.values("IPAddressDeny"), unit.values("IPAddressAllow")
    if "any" not in denied:
        seen = f"{unit.path} lets packets out"
        return warn("packets", seen, "IPAddressDeny=any and IPAddressAllow=localhost (CC-05)")
    beyond = [word for word in allowed if word not in _LOCAL_WORDS]
    if beyond:
        seen = f"{unit.path} also allows {some(beyond)}"
        return warn("packets", seen, "see that each is applied for and signed (CC-05)")
    return ok("packets", "the unit denies all addresses but this machine's (CC-05)")


def check_unit(subject: Subject, config_path: Path) -> Iterator[Finding]:
    """The unit is installed and starts this program with these settings."""
    unit, daemon = subject.unit, subject.daemon
    runs = "" if daemon is None else f"; the daemon runs as process {daemon.pid}"
    if unit is None:
        seen = f"modemctl.service is not installed{runs}"
        if daemon is not None:
            yield ok("unit", seen)
        else:
            yield warn("unit", seen, "install -m 644 systemd/modemctl.service /etc/systemd/system/")
        return
    words = (unit.value("ExecStart") or "").lstrip("-@:+!").split()
    program = words[0] if words else ""
    if not program or not subject.facts.may_run(program):
        cure = "correct ExecStart=, or install there: docs/install.md"
        yield fail("unit", f"{unit.path} starts {program or 'nothing'}, which is not there", cure)
        return
    config = _config_of(words)
    if config is not None and config != str(config_path):
        cure = f"modemctl -c {config} doctor"
        yield warn("unit", f"{unit.path} starts with {config}, not {config_path}", cure)
        return
    patience = unit.value("TimeoutStopSec") or ""
    if patience.removesuffix("s").isdecimal() and int(patience.removesuffix("s")) < _STOP_MIN:
        seen = f"{unit.path}: TimeoutStopSec={patience} kills submits that wait for an answer"
        yield warn("unit", seen, "TimeoutStopSec=220")
        return
    yield ok("unit", f"{unit.path}{runs}")


def _config_of(words: Sequence[str]) -> str | None:
    for at, word in enumerate(words):
        if word in {"--config", "-c"} and at + 1 < len(words):
            return words[at + 1]
        if word.startswith("--config="):
            return word.removeprefix("--config=")
    return None
