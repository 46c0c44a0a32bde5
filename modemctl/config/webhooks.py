"""The settings of webhooks: where events may be sent to, and how long that is tried."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from modemctl.config.slices import Slice

_MOST_WORDS: Final = 64
_HOST: Final = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]*[a-z0-9])?\.)*[a-z]([a-z0-9-]*[a-z0-9])?")

_WITH_PORT: Final = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]+)):([0-9]{1,5})")
_LAST_PORT: Final = 65_535


def _absolute(path: str) -> str:
    if path and (not Path(path).is_absolute() or "\0" in path):
        raise ValueError("must be an absolute path")
    return path


def take_apart(word: str) -> tuple[str, int | None]:
    """The host or network that a word of `webhooks.allow` names, and its port if it has one."""
    found = _WITH_PORT.fullmatch(word)
    return (word, None) if found is None else (found[1] or found[2], int(found[3]))


def _destination(word: str) -> str:
    told = "must be a host such as crm.example.com, or a network such as 10.1.0.0/16"
    place, port = take_apart(word)
    if port is not None and not 0 < port <= _LAST_PORT:
        raise ValueError(f"{told}, with a port from 1 to {_LAST_PORT}")
    try:
        ipaddress.ip_network(place)
    except ValueError as error:
        if not _HOST.fullmatch(place.lower()):
            raise ValueError(told) from error
    return word.lower()


class WebhooksSettings(Slice):
    """Where events are sent to (`modemctl webhook`); with an empty list nowhere (CC-05)."""

    allow: list[Annotated[str, Field(max_length=253), AfterValidator(_destination)]] = Field(
        default_factory=list,
        max_length=_MOST_WORDS,
        description="Hosts (`crm.example.com`, `*.example.com`) and networks (`10.1.0.0/16`) that "
        "may be sent to. A host's name stands for its public addresses only; loopback and private "
        "ones need their network here. With a port (`crm.example.com:8443`, `10.1.0.0/16:8443`, "
        "`[fd00::/8]:8443`) that one alone; else 80, 443 and those from 1024 on.",
    )
    plain_http: bool = Field(
        default=False, description="Also `http://` URLs: events go unencrypted, yet signed."
    )
    ca_file: Annotated[str, AfterValidator(_absolute)] = Field(
        default="",
        description="File with certificates (PEM) of a private authority, which counts beside "
        "those of the system; empty: none.",
    )
    timeout: float = Field(
        default=10.0, ge=1, le=60, description="Longest time of one try, from name to answer."
    )
    give_up_hours: int = Field(
        default=72, ge=1, le=720, description="Hours after which an event that fails is dead."
    )
    dead_days: int = Field(
        default=30, ge=1, le=3_650, description="Days that dead events are kept for a replay."
    )
