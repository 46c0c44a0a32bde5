"""The settings with their defaults, ranges and meanings; nothing here reads a file."""

import ipaddress
import re
from datetime import date, time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from modemctl.config.approvals import ApprovalsSettings
from modemctl.config.backup import BackupSettings
from modemctl.config.balances import BalancesSettings
from modemctl.config.content import ContentSettings
from modemctl.config.evidence import EvidenceSettings
from modemctl.config.limits import LimitsSettings
from modemctl.config.people import PeopleSettings
from modemctl.config.policy import DEFAULT_TIMEZONE, POLICY, digest_of, flat
from modemctl.config.reports import CostsSettings, ExportsSettings, ReportsSettings
from modemctl.config.retention import RetentionSettings
from modemctl.config.slices import Count, Word
from modemctl.config.slices import Slice as _Slice
from modemctl.config.tariff import TariffSettings
from modemctl.config.webhooks import WebhooksSettings

_KEYS_DIR: Final = Path("/etc/modemctl")

Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class OnDoubt(StrEnum):
    """What becomes of a segment of which nobody knows whether it left."""

    ASK = "ask"
    HOLD = "hold"
    CLOSE = "close"


class LockMode(StrEnum):
    """Whether the daemon sets a missing PIN lock or only checks it."""

    ENFORCE = "enforce"
    VERIFY = "verify"


class PinMode(StrEnum):
    """Whether cards keep the PIN that they came with."""

    KEEP = "keep"
    RANDOM = "random"


class HubPower(StrEnum):
    """Who switches the power of a hub's port, where the recovery ladder comes to it."""

    OFF = "off"
    KERNEL = "kernel"
    UHUBCTL = "uhubctl"


class LogLevel(StrEnum):
    """Least severity that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class ListMode(StrEnum):
    """What is done about things that a list of the bank does not hold."""

    OFF = "off"
    LEARN = "learn"
    ENFORCE = "enforce"


class Weekday(StrEnum):
    """Days of the week, Monday first."""

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"


class SiteSettings(_Slice):
    """Who and where we are."""

    id: Word = Field(
        default="site", description="Name of this site; part of each signed batch header."
    )
    node: Word = Field(
        default="node-1", description="Name of this server; its audit chain bears it."
    )
    heartbeat: float = Field(
        default=10.0, ge=1.0, le=10.0,
        description="Seconds between two signs of life of this server, in commits that are made"
        " anyway; other servers on its database take over from one that gives none for 90 s.",
    )  # fmt: skip
    timezone: str = Field(
        default=DEFAULT_TIMEZONE,
        description="IANA time zone of quiet hours and of calendar limits; a card's own days and"
        " months may run in another one (`modemctl sims zone`). After a change what was sent counts"
        " in both zones until the day and the month have ended in both.",
    )
    signature: Annotated[str, StringConstraints(max_length=20)] = Field(
        default="", description="Company signature that a promotion must carry, such as `【公司】`."
    )
    region: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] = Field(
        default="CN",
        description="Region (ISO 3166) whose rules tell a mobile number from a landline.",
    )

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, OSError, ValueError) as error:
            raise ValueError("not a known IANA time zone, such as Asia/Shanghai") from error
        return value


_PASSWORD: Final = re.compile(r"[^:]+://[^@:]*:[^@]*@|.*[?&](ssl)?password=", re.IGNORECASE)
_DATABASE: Final = re.compile(
    r"sqlite(\+pysqlite)?:///.+"
    r"|postgresql\+psycopg://([^@]*@)?(\[[0-9A-Fa-f:.]+\]|[^@:/?\[\]]*)(:[0-9]+)?(/[^?]*)?(\?.*)?"
)


class PathsSettings(_Slice):
    """Files and folders."""

    state_dir: Path = Field(
        default=Path("/var/lib/modemctl"), description="Folder of database, state and archive."
    )
    database: str = Field(
        default="",
        description="SQLAlchemy URL of the database with its driver; empty means SQLite in "
        "`state_dir/modemctl.db`. A password stands in `database_password_file`, never here.",
    )
    database_password_file: str = Field(
        default="",
        description="File of one line with PostgreSQL's password, readable by its owner alone; "
        "empty means none. Under systemd the credential `database.password` is the default.",
    )
    database_wait: int = Field(
        default=300,
        ge=0,
        le=86_400,
        description="Seconds for which a start waits for PostgreSQL's server before it gives up.",
    )
    master_key_file: Path = Field(
        default=_KEYS_DIR / "master.key",
        description="Key that encrypts PINs and numbers. Under systemd the credential "
        "`master.key` is the default.",
    )
    audit_key_file: Path = Field(
        default=_KEYS_DIR / "audit.key",
        description="Key that signs the audit log. Under systemd the credential `audit.key` "
        "is the default.",
    )

    @field_validator("state_dir", "master_key_file", "audit_key_file")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        if not value.is_absolute() or "\0" in str(value):
            raise ValueError("must be an absolute path")
        return value

    @field_validator("database_password_file")
    @classmethod
    def _absolute_or_none(cls, value: str) -> str:
        if value and (not Path(value).is_absolute() or "\0" in value):
            raise ValueError("must be an absolute path, or empty")
        return value

    @field_validator("database")
    @classmethod
    def _known_url(cls, value: str) -> str:
        if value and _DATABASE.fullmatch(value) is None:
            raise ValueError("must be postgresql+psycopg://user@host:port/name, or sqlite:///path")
        if value.startswith("postgresql") and _PASSWORD.match(value):
            raise ValueError("holds a password; put it into a file (paths.database_password_file)")
        return value

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL, with the default filled in."""
        return self.database or f"sqlite+pysqlite:///{self.state_dir / 'modemctl.db'}"


class ApiSettings(_Slice):
    """Where the API listens."""

    unix_socket: Path = Field(
        default=Path("/run/modemctl/api.sock"),
        description="Unix socket of the API and command line.",
    )
    tcp_host: str = Field(default="127.0.0.1", description="Loopback address of the API over TCP.")
    tcp_port: int = Field(
        default=8480, ge=0, le=65_535, description="TCP port; 0 switches TCP off."
    )
    max_json_bytes: int = Field(
        default=1_048_576, ge=1_024, le=67_108_864, description="Largest JSON body, in bytes."
    )
    max_list_bytes: int = Field(
        default=268_435_456,
        ge=1_024,
        le=4_294_967_296,
        description="Largest recipient list, in bytes.",
    )
    metrics_open: bool = Field(
        default=True,
        description="Give `/metrics` without a key (loopback only, nothing personal in it).",
    )
    peers: dict[Annotated[int, Field(ge=0)], Word] = Field(
        default_factory=dict,
        description="User id on the Unix socket → account name that it acts as.",
    )

    @field_validator("tcp_host")
    @classmethod
    def _loopback(cls, value: str) -> str:
        try:
            is_loopback = ipaddress.ip_address(value).is_loopback
        except ValueError:
            is_loopback = False
        if not is_loopback:
            raise ValueError("must be a loopback address such as 127.0.0.1 or ::1")
        return value


class BankSettings(_Slice):
    """The modems and how they are driven."""

    ports: tuple[str, ...] = Field(
        default=("usb",),
        description="Modems: `usb` (all that are plugged in), globs of device nodes, "
        "`tcp://host:port` or `unix:/path`.",
    )
    baud: Count = Field(
        default=115_200, description="Line speed in bit/s; most USB modems ignore it."
    )
    start_parallel: int = Field(
        default=16, ge=1, le=512, description="Modems that are started at the same time."
    )
    start_parallel_per_hub: int = Field(
        default=4, ge=1, le=512, description="The same on one USB hub: peaks of current add up."
    )
    submit_timeout: Seconds = Field(
        default=180.0, description="Seconds that a modem may take to answer for one segment."
    )
    health_interval: Seconds = Field(
        default=30.0, description="Seconds between two checks of an idle modem."
    )
    rescan_interval: Seconds = Field(
        default=5.0, description="Seconds between two looks for ports."
    )
    cards: ListMode = Field(
        default=ListMode.LEARN,
        description="Cards tied to bays (SIM-07): `learn` notes which card a bay holds and tells "
        "when it is another one; `enforce` quarantines it, and a card that no bay is tied to; "
        "what a person tied is enforced in both.",
    )
    modems: ListMode = Field(
        default=ListMode.LEARN,
        description="Admission list of modems by IMEI (CC-01): `learn` notes who comes; `enforce` "
        "drives only those that two persons admitted. One that was expelled is refused in both.",
    )
    hub_power: HubPower = Field(
        default=HubPower.OFF,
        description="Last step of recovery, the power of a modem's hub port: `off` (never), "
        "`kernel` (the port's `disable` file below /sys) or `uhubctl` (the program).",
    )

    families: Path = Field(
        default=_KEYS_DIR / "families.d",
        description="Folder of the site's own families of modems, a TOML file each "
        "(`docs/families.md`); it need not exist.",
    )

    @field_validator("families")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        if not value.is_absolute() or "\0" in str(value):
            raise ValueError("must be an absolute path")
        return value

    @field_validator("ports")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for port in value:
            if port != "usb" and not port.startswith(("/", "tcp://", "unix:/")):
                raise ValueError("each port must be usb, or begin with /, tcp:// or unix:/")
            if "**" in port:  # the whole disk would be searched, every few seconds
                raise ValueError("a port's pattern has no **: * stays in its folder")
            if port.removeprefix("unix:").startswith("//"):
                raise ValueError("a port's path begins with one /")
        return value


def _local(value: time) -> time:
    if value.tzinfo is not None:
        raise ValueError("must be a local time such as 21:00")
    return value


LocalTime = Annotated[time, AfterValidator(_local)]


class QuietHours(_Slice):
    """Local time in which nothing of a category leaves; may span midnight."""

    quiet_from: LocalTime = Field(description="First quiet minute, local time of the site.")
    quiet_until: LocalTime = Field(description="First minute after it; equal means no quiet hours.")


class HoursSettings(_Slice):
    """When promotions, and other categories if named, must wait."""

    quiet_from: LocalTime = Field(
        default=time(21, 0),
        description="First quiet minute for promotions, local time of the site.",
    )
    quiet_until: LocalTime = Field(
        default=time(8, 0), description="First minute after it; equal to `quiet_from` means none."
    )
    working_days_only: tuple[Word, ...] = Field(
        default=(),
        description="Categories of which nothing leaves on the days of rest below.",
    )
    rest_weekdays: tuple[Weekday, ...] = Field(
        default=(), description="Weekdays without work, such as `saturday`, `sunday`."
    )
    holidays: tuple[date, ...] = Field(
        default=(), description="Further days without work, such as `2026-10-01`."
    )
    extra_working_days: tuple[date, ...] = Field(
        default=(), description="Days that are worked although their weekday is one of rest (调休)."
    )
    hold_after_outage_minutes: int = Field(
        default=60,
        ge=0,
        le=525_600,
        description="A daemon that was away for longer holds the batches that ran: a person "
        "resumes each. 0: never.",
    )
    categories: dict[Word, QuietHours] = Field(
        default_factory=dict,
        description="Quiet hours of one category: a table with `quiet_from` and `quiet_until`.",
    )

    @model_validator(mode="after")
    def _some_day_is_worked(self) -> Self:
        if len(set(self.rest_weekdays)) == len(Weekday):
            raise ValueError("rest_weekdays leaves no day to work; leave one out")
        both = set(self.holidays) & set(self.extra_working_days)
        if both:
            raise ValueError(f"{min(both)} is in holidays and in extra_working_days; leave one out")
        return self

    def quiet_for(self, category: str) -> QuietHours | None:
        """Quiet hours of a category, or None if it may leave at any time."""
        hours = self.categories.get(category)
        if hours is None and category == "promotion":
            hours = QuietHours(quiet_from=self.quiet_from, quiet_until=self.quiet_until)
        if hours is None or hours.quiet_from == hours.quiet_until:
            return None
        return hours


class SmsSettings(_Slice):
    """How messages are sent."""

    validity_hours: int = Field(
        default=24, ge=1, le=1_512, description="Hours that the network keeps trying (TP-VP)."
    )
    request_reports: bool = Field(default=True, description="Ask the network for delivery reports.")
    on_doubt: OnDoubt = Field(
        default=OnDoubt.ASK,
        description="What happens to segments in doubt: `ask` a person, `hold` the batch as "
        "well, or `close` them after the last possible report.",
    )


class SimsSettings(_Slice):
    """How cards are guarded."""

    lock: LockMode = Field(
        default=LockMode.ENFORCE,
        description="`enforce` switches a missing PIN lock on; `verify` alerts.",
    )
    pin: PinMode = Field(
        default=PinMode.KEEP,
        description="`random` gives each card whose imported PIN is proved a random PIN that "
        "only the vault knows, once; `keep` leaves PINs as they are.",
    )


class LoggingSettings(_Slice):
    """What is written to the log."""

    level: LogLevel = Field(
        default=LogLevel.INFO, description="`debug`, `info`, `warning` or `error`."
    )
    wire_log: bool = Field(
        default=False, description="Write what goes over the AT lines, secrets removed, at `debug`."
    )


class Settings(_Slice):
    """All settings; parts of the daemon receive the slice that they need."""

    site: SiteSettings = Field(default_factory=SiteSettings)
    paths: PathsSettings = Field(default_factory=PathsSettings)
    api: ApiSettings = Field(default_factory=ApiSettings)
    bank: BankSettings = Field(default_factory=BankSettings)
    people: PeopleSettings = Field(default_factory=PeopleSettings)
    limits: LimitsSettings = Field(default_factory=LimitsSettings)
    hours: HoursSettings = Field(default_factory=HoursSettings)
    approvals: ApprovalsSettings = Field(default_factory=ApprovalsSettings)
    content: ContentSettings = Field(default_factory=ContentSettings)
    sms: SmsSettings = Field(default_factory=SmsSettings)
    tariff: TariffSettings = Field(default_factory=TariffSettings)
    sims: SimsSettings = Field(default_factory=SimsSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    reports: ReportsSettings = Field(default_factory=ReportsSettings)
    exports: ExportsSettings = Field(default_factory=ExportsSettings)
    costs: CostsSettings = Field(default_factory=CostsSettings)
    balances: BalancesSettings = Field(default_factory=BalancesSettings)
    evidence: EvidenceSettings = Field(default_factory=EvidenceSettings)
    webhooks: WebhooksSettings = Field(default_factory=WebhooksSettings)
    backup: BackupSettings = Field(default_factory=BackupSettings)
    logging: LoggingSettings = Field(default_factory=LoggingSettings)

    @model_validator(mode="after")
    def _categories_have_chains(self) -> Self:
        named = {
            "hours.categories": set(self.hours.categories),
            "hours.working_days_only": set(self.hours.working_days_only),
        }
        for key, categories in named.items():
            unknown = categories - self.approvals.chains.keys()
            if unknown:
                raise ValueError(
                    f"{key} names {', '.join(sorted(unknown))}, "
                    "which approvals.chains does not know"
                )
        return self

    def policy_digest(self) -> str:
        """SHA-256 (hex) over what decides whether something may be sent."""
        return digest_of(self.policy())

    def policy(self) -> dict[str, str]:
        """The settings that are policy and differ from their defaults, by `section.key`."""
        return flat(self.model_dump(mode="json", include={**POLICY}, exclude_defaults=True))
