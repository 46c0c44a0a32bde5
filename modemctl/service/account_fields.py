"""What may stand in an account: its name, department, roles, and the reason for an act on it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Sequence
from typing import Final

from modemctl.errors import InvalidRequest
from modemctl.policy.behaviour import UNIX
from modemctl.service.principal import ROLES

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_OURS: Final = frozenset({"bootstrap", "modemctl", "sms"})
"""Who the audit log names for what no person did."""
_DEPARTMENT_MAX: Final = 128
_ADDRESSES_MAX: Final = 32


def check_name(name: str, *, node_id: str) -> None:
    """An account's name: letters, digits, dots, dashes, underscores; none that we act under.

    Raises:
        InvalidRequest: it is not.
    """
    if _NAME.fullmatch(name) is None:
        raise InvalidRequest(
            "must be 1 to 64 letters from a to z, digits, dots, dashes or underscores",
            field="name",
            value=name[:80],
            cure="a name to sign in with, such as wang.fang for 王芳",
        )
    if name.casefold() in _OURS | {node_id.casefold()}:
        raise InvalidRequest(
            "must not be a name that the controller itself acts under", field="name", value=name
        )


def check_department(department: str | None, *, field: str = "department") -> None:
    """A department's name, or None for all of them.

    Raises:
        InvalidRequest: it is not.
    """
    if department is not None and not (
        0 < len(department) <= _DEPARTMENT_MAX and department.isprintable() and department != "*"
    ):
        raise InvalidRequest(f"must be 1 to {_DEPARTMENT_MAX} printable characters", field=field)


def check_roles(roles: Collection[str]) -> None:
    """Roles that exist.

    Raises:
        InvalidRequest: it is not.
    """
    for role in roles:
        if role not in ROLES:
            raise InvalidRequest(
                "no such role",
                field="roles",
                value=role[:80],
                cure=f"choose from {', '.join(sorted(ROLES))}",
            )


def check_reason(reason: str) -> None:
    """A reason that says something.

    Raises:
        InvalidRequest: it is not.
    """
    if not reason.strip():
        raise InvalidRequest("must say why", field="reason", policy="SEC-05")


def check_addresses(addresses: Sequence[str]) -> Sequence[str]:
    """Where an API key counts: networks as CIDR, each once and sorted, or `unix` for the socket.

    Raises:
        InvalidRequest: one is neither, or there are too many.
    """
    found = set()
    for one in addresses:
        try:
            found.add(UNIX if one == UNIX else str(ipaddress.ip_network(one)))
        except ValueError:
            raise InvalidRequest(
                "must be networks such as 10.1.2.0/24, single addresses, or unix",
                field="addresses",
                value=one[:80],
                policy="CC-02",
            ) from None
    if len(found) > _ADDRESSES_MAX:
        raise InvalidRequest(f"must be {_ADDRESSES_MAX} at most", field="addresses")
    return sorted(found)
