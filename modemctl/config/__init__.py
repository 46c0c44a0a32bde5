"""Settings: one TOML file, checked as a whole, handed out as frozen slices.

`load` reports every mistake at once, each with file, line and key. Secrets never stand in the
file: it names the key files, which systemd hands over as credentials.
"""

from modemctl.config.reference import reference_markdown
from modemctl.config.settings import (
    BUILT_IN_CHAINS,
    DEFAULT_PATH,
    ApiSettings,
    ApprovalsSettings,
    BankSettings,
    BayMode,
    HoursSettings,
    LimitsSettings,
    LockMode,
    LoggingSettings,
    LogLevel,
    OnDoubt,
    PathsSettings,
    QuietHours,
    RecipientLimits,
    RetentionSettings,
    Settings,
    SimsSettings,
    SiteSettings,
    SmsSettings,
)
from modemctl.config.toml_file import ENV_RESERVED, load

__all__ = [
    "BUILT_IN_CHAINS",
    "DEFAULT_PATH",
    "ENV_RESERVED",
    "ApiSettings",
    "ApprovalsSettings",
    "BankSettings",
    "BayMode",
    "HoursSettings",
    "LimitsSettings",
    "LockMode",
    "LogLevel",
    "LoggingSettings",
    "OnDoubt",
    "PathsSettings",
    "QuietHours",
    "RecipientLimits",
    "RetentionSettings",
    "Settings",
    "SimsSettings",
    "SiteSettings",
    "SmsSettings",
    "load",
    "reference_markdown",
]
