"""What may stand in an account: its name, department, roles, and the reason for an act on it."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from modemctl.errors import InvalidRequest
from modemctl.service.principal import ROLES

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_OURS: Final = frozenset({"bootstrap", "modemctl", "sms"})
"""Who the audit log names for what no person did."""
_DEPARTMENT_MAX: Final = 128


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
        )
    if name.casefold() in _OURS | {node_id.casefold()}:
        raise InvalidRequest(
            "must not be a name that the controller itself acts under", field="name", value=name
        )


def check_department(department: str | None) -> None:
    """A department's name, or None for all of them.

    Raises:
        InvalidRequest: it is not.
    """
    if department is not None and not (
        0 < len(department) <= _DEPARTMENT_MAX and department.isprintable() and department != "*"
    ):
        raise InvalidRequest(
            f"must be 1 to {_DEPARTMENT_MAX} printable characters", field="department"
        )


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
