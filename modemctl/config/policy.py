"""Which settings are policy: a change of them counts once two persons have confirmed it (SEC-04).

Only what differs from the defaults is looked at: a new version brings new settings, and an upgrade
that changes nobody's file changes nobody's policy.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Final, TypeAlias

import rfc8785

Include: TypeAlias = bool | set[str]
"""All of a section, or these keys of it."""

POLICY: Final[Mapping[str, Include]] = {
    "site": {"id", "timezone", "region", "signature"},
    "api": {"peers"},
    "bank": {"cards", "modems"},
    "people": True,
    "limits": True,
    "hours": True,
    "approvals": True,
    "content": True,
    "sims": True,
    "sms": {"on_doubt"},
    "retention": True,
    "reports": True,
    "exports": True,
    "evidence": True,
    "backup": True,
    "balances": True,
    "webhooks": {"allow", "plain_http"},
}
"""What decides whether something may be sent, by whom, and what is kept of it."""

DEFAULT_TIMEZONE: Final = "Asia/Shanghai"
"""The site's, where the settings name none."""

TECHNICAL: Final[Mapping[str, str]] = {
    "paths": "where files lie",
    "tariff": "what is shown as cost",
    "costs": "what is shown as cost",
    "logging": "what is written to the log",
}
"""Sections that are no policy at all, and what they say instead."""


def flat(settings: Mapping[str, object], before: str = "") -> dict[str, str]:
    """Nested settings as `section.key` and value, in order of the keys."""
    found: dict[str, str] = {}
    for name, value in sorted(settings.items()):
        if isinstance(value, dict):
            found |= flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = json.dumps(value, ensure_ascii=False)
    return found


def digest_of(values: Mapping[str, str]) -> str:
    """SHA-256 (hex) of a policy as `flat` gives it."""
    return hashlib.sha256(rfc8785.dumps({**values})).hexdigest()


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """What differs, each as `before → after`; a setting that is not named has its default."""
    return {
        name: f"{before.get(name, 'default')} → {after.get(name, 'default')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    }
