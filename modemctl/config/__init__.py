"""Settings: one TOML file, checked as a whole, handed out as frozen slices.

`load` reports every mistake at once, each with file, line and key. Secrets never stand in the
file: it names the key files, which systemd hands over as credentials.

What needs pydantic is imported at first use: the command line names `DEFAULT_PATH` in its help and
must not wait 100 ms for models that it does not build.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from modemctl.config.approvals import BUILT_IN_CHAINS, ApprovalsSettings
    from modemctl.config.behaviour import BehaviourSettings
    from modemctl.config.content import ContentSettings, CustomerRegister
    from modemctl.config.limits import CapSettings, LimitsSettings
    from modemctl.config.people import PeopleSettings
    from modemctl.config.reference import reference_markdown
    from modemctl.config.retention import PurgeMode, RetentionSettings
    from modemctl.config.settings import (
        ApiSettings,
        BankSettings,
        HoursSettings,
        LockMode,
        LoggingSettings,
        LogLevel,
        OnDoubt,
        PathsSettings,
        QuietHours,
        Settings,
        SimsSettings,
        SiteSettings,
        SmsSettings,
    )
    from modemctl.config.tariff import TariffSettings
    from modemctl.config.toml_file import ENV_RESERVED, load
    from modemctl.config.webhooks import WebhooksSettings

DEFAULT_PATH: Final = Path("/etc/modemctl/modemctl.toml")
"""Where the daemon looks when neither `--config` nor `MODEMCTL_CONFIG` says otherwise."""

_ELSEWHERE: Final = {
    "ApprovalsSettings": "approvals",
    "BUILT_IN_CHAINS": "approvals",
    "BehaviourSettings": "behaviour",
    "CapSettings": "limits",
    "ContentSettings": "content",
    "CustomerRegister": "content",
    "ENV_RESERVED": "toml_file",
    "LimitsSettings": "limits",
    "PeopleSettings": "people",
    "PurgeMode": "retention",
    "RetentionSettings": "retention",
    "TariffSettings": "tariff",
    "WebhooksSettings": "webhooks",
    "load": "toml_file",
    "reference_markdown": "reference",
}


if not TYPE_CHECKING:  # so that checkers still see a misspelt name

    def __getattr__(name: str) -> object:
        """Finds a public name in the module that defines it. Source: PEP 562."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = importlib.import_module(f"{__name__}.{_ELSEWHERE.get(name, 'settings')}")
        value: object = getattr(module, name)
        globals()[name] = value
        return value


__all__ = [
    "BUILT_IN_CHAINS",
    "DEFAULT_PATH",
    "ENV_RESERVED",
    "ApiSettings",
    "ApprovalsSettings",
    "BankSettings",
    "BehaviourSettings",
    "CapSettings",
    "ContentSettings",
    "CustomerRegister",
    "HoursSettings",
    "LimitsSettings",
    "LockMode",
    "LogLevel",
    "LoggingSettings",
    "OnDoubt",
    "PathsSettings",
    "PeopleSettings",
    "PurgeMode",
    "QuietHours",
    "RetentionSettings",
    "Settings",
    "SimsSettings",
    "SiteSettings",
    "SmsSettings",
    "TariffSettings",
    "WebhooksSettings",
    "load",
    "reference_markdown",
]
