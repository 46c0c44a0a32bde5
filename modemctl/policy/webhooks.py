"""What a webhook gets, when it is tried again, where it may be: decided without a loop or clock."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias

from modemctl.config.webhooks import take_apart
from modemctl.model import EventKind

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

ALL: Final = "*"
"""The pattern of every event."""
HOLD_TRIES: Final = 5
"""Tries after which an event is put aside and the next of its endpoint goes on without it."""
LONGEST_WAIT: Final = timedelta(hours=1)
"""No receiver asks for a longer one."""
_USUAL: Final = frozenset({80, 443})
_FREE: Final = 1_024  # below it are the ports of a system's services
_WHSEC: Final = "whsec_"  # what each secret begins with

_WORD: Final = re.compile(r"[a-z0-9_]{1,48}")
_PATTERN: Final = re.compile(r"([a-z]+)\.(\*|[a-z0-9_]{1,48})")
_FIRST_WAIT: Final = 5.0  # seconds; each next one is twice as long
_WAIT_CAP: Final = 900.0
_TOLD_IN: Final[Mapping[EventKind, Sequence[str]]] = {
    EventKind.BATCH: ("state",),
    EventKind.MODEM: ("state", "desired_state", "breaker"),
    EventKind.SIM: ("state", "puk", "pin", "breaker"),
    EventKind.CALL: ("state",),
    EventKind.INBOX: ("kind",),
    EventKind.REQUEST: ("state",),
    EventKind.ALARM: ("alarm", "account", "key"),
}


class Verdict(StrEnum):
    """What an answer means for a delivery."""

    DELIVERED = "delivered"
    AGAIN = "again"
    GONE = "gone"


def event_type(kind: EventKind, data: Mapping[str, object]) -> str:
    """An event's type, such as `message.final`, `batch.done`, `alarm.card_missing`."""
    if kind is EventKind.MESSAGE:
        return f"{kind}.final"
    if kind is EventKind.BATCH and "segments" in data:
        return f"{kind}.progress"
    for name in _TOLD_IN[kind]:
        word = str(data.get(name, ""))
        if _WORD.fullmatch(word):
            return f"{kind}.{word}"
    return f"{kind}.changed"


def is_pattern(word: str) -> bool:
    """Whether it is `*`, or `kind.*` or `kind.word` of a kind that there is."""
    found = _PATTERN.fullmatch(word)
    return word == ALL or (found is not None and found[1] in set(EventKind))


def matches(patterns: Iterable[str], type_: str) -> bool:
    """Whether one of the patterns takes in events of this type."""
    kind = type_.partition(".")[0]
    return any(one in {ALL, type_, f"{kind}.*"} for one in patterns)


def kinds_of(patterns: Iterable[str]) -> frozenset[EventKind]:
    """The kinds of events that patterns may take in."""
    words = list(patterns)
    if ALL in words:
        return frozenset(EventKind)
    return frozenset(EventKind(one.partition(".")[0]) for one in words)


def message_id(event_id: int, at: datetime) -> str:
    """The `webhook-id` of an event: the same at each try, over restarts and replays.

    The time is part of it: a database that was restored counts some numbers anew.
    """
    return f"evt_{event_id}_{round(at.timestamp() * 1000):x}"


def event_id_of(text: str) -> int | None:
    """The number of the event that a `webhook-id` names; None where it is none of ours."""
    found = re.fullmatch(r"evt_([0-9]{1,18})_[0-9a-f]{1,12}", text)
    return None if found is None else int(found[1])


def shown_secret(secret: bytes) -> str:
    """A secret as receivers take it. Source: Standard Webhooks 1.0, "Signature scheme"."""
    return _WHSEC + base64.b64encode(secret).decode()


def sign(secrets: Iterable[bytes], id_: str, at: datetime, body: bytes) -> str:
    """The header `webhook-signature`: one `v1` signature for each secret that is valid.

    Source: Standard Webhooks 1.0, "Signature scheme" (HMAC-SHA256 over `id.timestamp.body`).
    """
    message = f"{id_}.{int(at.timestamp())}.".encode() + body
    digests = (hmac.new(one, message, hashlib.sha256).digest() for one in secrets)
    return " ".join(f"v1,{base64.b64encode(one).decode()}" for one in digests)


def judge(status: int | None) -> Verdict:
    """What an answer means; None: there was none. A redirect is not followed: no delivery."""
    if status is not None and 200 <= status < 300:
        return Verdict.DELIVERED
    return Verdict.GONE if status == 410 else Verdict.AGAIN


def wait_after(n_failures: int, *, jitter: float, asked: timedelta | None) -> timedelta:
    """How long to wait after the `n_failures`th failure in a row.

    `jitter`: 0 … 1, spreads the wait over half of its length. `asked` is the receiver's
    `Retry-After`: never shortens the wait, and counts up to `LONGEST_WAIT`.
    """
    full = min(_FIRST_WAIT * 2 ** min(max(n_failures, 1) - 1, 20), _WAIT_CAP)
    own = timedelta(seconds=full * (0.5 + 0.5 * jitter))
    return own if asked is None else max(own, min(asked, LONGEST_WAIT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Destinations:
    """Where webhooks may go (CC-05): hosts by name, and networks, each with its port or None.

    A host's name lets it be reached at public addresses only; loopback, private and all other
    special addresses need their network in the list. Without a port of its own a place lets 80,
    443 and those from 1024 on be reached: no port of a system's other services.
    """

    hosts: frozenset[tuple[str, int | None]]
    networks: tuple[tuple[Network, int | None], ...]
    plain_http: bool = False

    @classmethod
    def of(cls, words: Iterable[str], *, plain_http: bool) -> Destinations:
        """From the words of the settings, which are networks and names of hosts, with a port."""
        hosts: set[tuple[str, int | None]] = set()
        networks: list[tuple[Network, int | None]] = []
        for word in words:
            place, port = take_apart(word)
            try:
                networks.append((ipaddress.ip_network(place), port))
            except ValueError:
                hosts.add((place.lower(), port))
        return cls(hosts=frozenset(hosts), networks=tuple(networks), plain_http=plain_http)

    def may_name(self, scheme: str, host: str, port: int | None = None) -> bool:
        """Whether a URL with this host and port may be registered.

        The host's address is asked at each use; `port` None: the scheme's own.
        """
        if scheme != "https" and not (self.plain_http and scheme == "http"):
            return False
        port = port or (443 if scheme == "https" else 80)
        try:
            return self.may_reach(host, ipaddress.ip_address(host), port)
        except ValueError:
            is_let = any(_lets(one, port) for _, one in self.networks)
            return is_let or self._is_listed(host.lower(), port)

    def may_reach(self, host: str, address: Address, port: int) -> bool:
        """Whether this address of the host may be connected to at this port."""
        plain = _plain(address)
        if any(plain in network and _lets(one, port) for network, one in self.networks):
            return True
        is_public = plain.is_global and not plain.is_multicast
        return self._is_listed(host.lower(), port) and is_public and not _is_inside(plain)

    def _is_listed(self, host: str, port: int) -> bool:
        parents = host.split(".")[1:]
        names = {host} | {"*." + ".".join(parents[at:]) for at in range(len(parents))}
        return any(name in names and _lets(one, port) for name, one in self.hosts)


def _lets(listed: int | None, port: int) -> bool:
    return port in _USUAL or port >= _FREE if listed is None else port == listed


def _plain(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, so that none hides in the other."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFF_FFFF)
        return inner or address
    return address


def _is_inside(address: Address) -> bool:
    """Whether it is of one site alone, though `ipaddress` calls it global."""
    return any(address in network for network in _INSIDE)


_NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052
_INSIDE: Final = (
    IPv6Network("fec0::/10"),  # site-local, RFC 3879
    IPv6Network("64:ff9b:1::/48"),  # NAT64 of a site, RFC 8215
    IPv6Network("::/96"),  # IPv4-compatible, RFC 4291 §2.5.5.1
)
